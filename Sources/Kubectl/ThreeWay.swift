import Codecs
import KubeAPI

/// What an object is to become by `apply`: fields that the last configuration had and this one lacks go, fields of this
/// one are set, and what others have set stays. Lists with keys are merged by them where the type is a known one.
///
/// Upstream sends the difference as a strategic merge patch; here the whole result is worked out, and sent as a merge
/// patch that is bound to the revision it was worked out from.
struct ThreeWay {
    private let schema = Schema.shared
    private let root: ValueType?

    init(apiVersion: String, kind: String) {
        root = GroupVersion(apiVersion).flatMap { Schema.shared.kind(GroupVersionKind($0, kind)) }.map {
            .object($0.id)
        }
    }

    func result(original: JSON, modified: JSON, current: JSON) -> JSON {
        merged(original, modified, current, root, retains: false)
    }

    private func merged(_ original: JSON, _ modified: JSON, _ current: JSON, _ type: ValueType?, retains: Bool) -> JSON
    {
        guard case .object(let wanted) = modified, case .object(let have) = current else { return modified }
        var result = have
        for (key, _) in original.object ?? JSONObject() where wanted[key] == nil { result[key] = nil }
        if retains { result.removeAll { wanted[$0.key] == nil } }
        for (key, value) in wanted {
            if value.isNull {
                result[key] = nil
                continue
            }
            guard let known = result[key] else {
                result[key] = value
                continue
            }
            let (field, inner) = member(key, type)
            switch (value, known) {
            case (.object, .object):
                result[key] =
                    field?.flags.contains(.patchReplace) == .some(true)
                    ? value
                    : merged(
                        original[key], value, known, inner,
                        retains: field?.flags.contains(.patchRetainKeys) ?? false)
            case (.array(let list), .array(let mine)):
                guard let field, field.flags.contains(.patchMerge) else {
                    result[key] = value
                    continue
                }
                result[key] = .array(lists(original[key].elements, list, mine, field, inner))
            default: result[key] = value
            }
        }
        return .object(result)
    }

    private func member(_ key: String, _ type: ValueType?) -> (FieldSchema?, ValueType?) {
        switch type {
        case .object(let id)?:
            let field = schema.type(id).field(key)
            return (field, field?.type)
        case .map(let element)?: return (nil, element)
        default: return (nil, nil)
        }
    }

    private func lists(
        _ original: [JSON], _ modified: [JSON], _ current: [JSON], _ field: FieldSchema, _ type: ValueType?
    ) -> [JSON] {
        var element: ValueType?
        if case .array(let inner)? = type { element = inner }
        let mergeKey = field.mergeKey
        func identity(_ value: JSON) -> String { mergeKey.map { value[$0].text } ?? value.text }
        let wanted = Set(modified.map(identity))
        let had = Set(original.map(identity))
        var places: [String: Int] = [:]
        for (i, value) in current.enumerated().reversed() { places[identity(value)] = i }
        let retains = field.flags.contains(.patchRetainKeys)
        let mine: [(place: Int?, value: JSON)] = modified.map { value in
            let id = identity(value)
            guard let place = places[id], mergeKey != nil else { return (places[id], value) }
            let before = original.first { identity($0) == id } ?? .null
            return (place, merged(before, value, current[place], element, retains: retains))
        }
        // What others have put in keeps its place among those that were there.
        let others = current.enumerated().filter {
            !wanted.contains(identity($0.element)) && !had.contains(identity($0.element))
        }
        var result: [JSON] = []
        var next = others[...]
        for (place, value) in mine {
            while let other = next.first, let place, other.offset < place {
                result.append(other.element)
                next = next.dropFirst()
            }
            result.append(value)
        }
        return result + next.map(\.element)
    }

    /// The merge patch from one document to another; nil: they are the same.
    static func difference(_ from: JSON, _ to: JSON) -> JSON? {
        guard case .object(let a) = from, case .object(let b) = to else {
            return from == to ? JSON?.none : JSON?.some(to)
        }
        var patch = JSONObject()
        for (key, _) in a where b[key] == nil { patch.append(key, .null) }
        for (key, value) in b {
            if let old = a[key] {
                if let change = difference(old, value) { patch.append(key, change) }
            } else {
                patch.append(key, value)
            }
        }
        return patch.isEmpty ? JSON?.none : JSON?.some(.object(patch))
    }
}
