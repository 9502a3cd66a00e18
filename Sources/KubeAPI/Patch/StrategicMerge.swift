internal import Codecs

/// The strategic merge patch: a merge patch that knows which lists are keyed, with directives for what a merge cannot say.
///
/// - `$patch: replace | delete` in an object or in an element of a keyed list
/// - `$retainKeys: [...]`: members of the original that are not named are dropped
/// - `$deleteFromPrimitiveList/NAME: [...]`: removes values from a list of scalars
/// - `$setElementOrder/NAME: [...]`: the order of a list's elements; those that only the server has keep their place
struct StrategicMerge {
    let schema: Schema

    static let directive = "$patch"
    static let retainKeys = "$retainKeys"
    static let deletePrefix = "$deleteFromPrimitiveList"
    static let orderPrefix = "$setElementOrder"

    /// How a member is merged: what it holds, and its field's facts where it is one.
    struct Member {
        var type: ValueType?
        var field: FieldSchema?
        var name: String
        var merges: Bool { field?.flags.contains(.patchMerge) ?? false }
        var replaces: Bool { field?.flags.contains(.patchReplace) ?? false }
        var mergeKey: String? { field?.mergeKey }
        var element: ValueType? { if case .array(let element)? = type { element } else { nil } }
    }

    func member(_ key: String, of type: ValueType?) throws(APIError) -> Member {
        switch type {
        case .object(let id):
            let owner = schema.type(id)
            guard let field = owner.field(key) else {
                throw .badRequest("unable to find api field in struct \(owner.name) for the json field \"\(key)\"")
            }
            return Member(type: field.type, field: field, name: key)
        case .map(let element): return Member(type: element, field: nil, name: key)
        default: return Member(type: nil, field: nil, name: key)
        }
    }

    func merge(_ patch: JSONObject, into original: JSONObject, _ type: ValueType?) throws(APIError) -> JSONObject {
        var patch = patch
        if let directive = patch[Self.directive] {
            switch directive {
            case "replace":
                patch[Self.directive] = nil
                return patch
            case "delete": return JSONObject()
            default: throw .badRequest("unknown patch type: \(directive.goText) in map: \(JSON.object(patch).goText)")
            }
        }
        var result = original
        try retain(&patch, &result)
        try applyOrders(&patch, &result, type)
        for (key, value) in patch { try mergeMember(key, value, into: &result, type) }
        return result
    }

    private func mergeMember(_ name: String, _ value: JSON, into result: inout JSONObject, _ type: ValueType?)
        throws(APIError)
    {
        var key = name
        let deletes = name.hasPrefix(Self.deletePrefix)
        if deletes { key = try Self.suffix(name, Self.deletePrefix, "invalid patch format of primitive list") }
        if value.isNull {
            result[key] = nil
            return
        }
        guard let known = result[key] else {
            if !deletes { result[key] = value.withoutNulls.withoutDirectives }
            return
        }
        switch (known, value) {
        case (.object(let object), .object(let changes)):
            let member = try member(key, of: type)
            result[key] = member.replaces ? value : .object(try merge(changes, into: object, member.type))
        case (.array(let list), .array(let changes)):
            let member = try member(key, of: type)
            result[key] = .array(try mergeList(changes, into: list, member, deletes: deletes))
        default:
            if !deletes { result[key] = value.withoutNulls.withoutDirectives }
        }
    }

    private static func suffix(_ key: String, _ prefix: String, _ message: String) throws(APIError) -> String {
        let parts = key.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, parts[0] == prefix else { throw .badRequest(message) }
        return String(parts[1])
    }

    /// Drops what the patch does not want to retain; everything that the patch sets must be retained.
    private func retain(_ patch: inout JSONObject, _ result: inout JSONObject) throws(APIError) {
        guard let list = patch[Self.retainKeys] else { return }
        patch[Self.retainKeys] = nil
        guard case .array(let names) = list else { throw .badRequest("invalid patch format of retainKeys") }
        let retained = Set(names.compactMap(\.string))
        for (key, value) in patch
        where !value.isNull && !key.hasPrefix(Self.deletePrefix) && !key.hasPrefix(Self.orderPrefix) {
            guard retained.contains(key) else { throw .badRequest("invalid patch format of retainKeys") }
        }
        result.removeAll { !retained.contains($0.key) }
    }

    // MARK: - Lists

    func mergeList(_ patch: [JSON], into original: [JSON], _ member: Member, deletes: Bool) throws(APIError) -> [JSON] {
        guard member.merges || deletes else { return patch }
        guard !original.isEmpty || !patch.isEmpty else { return original }
        try checkElements(original + patch, member)
        guard case .object? = (original.first ?? patch.first) else {
            if deletes {
                let unwanted = Set(patch.map(\.text))
                return original.filter { !unwanted.contains($0.text) }
            }
            var seen: Set<String> = []
            let merged = (original + patch).filter { seen.insert($0.text).inserted }
            return try ordered(merged, by: patch, original, mergeKey: nil)
        }
        guard let key = member.mergeKey else {
            throw .badRequest("cannot merge lists without merge key for \(member.name)")
        }
        let (base, changes) = try applyElementDirectives(patch, original, key)
        var merged = base
        var places: [String: Int] = [:]
        for (i, element) in base.enumerated().reversed() { places[try keyText(element, key)] = i }
        for element in changes {
            guard case .object(let object) = element else { continue }
            let text = try keyText(element, key)
            if let place = places[text] {
                merged[place] = .object(try merge(object, into: merged[place].object ?? JSONObject(), member.element))
            } else {
                places[text] = merged.count
                merged.append(element.withoutNulls)
            }
        }
        return try ordered(merged, by: changes, base, mergeKey: key)
    }

    /// Elements that are deletions, or that say the list replaces the original.
    private func applyElementDirectives(
        _ patch: [JSON], _ original: [JSON], _ key: String
    ) throws(APIError) -> (original: [JSON], patch: [JSON]) {
        var plain: [JSON] = []
        var deleted: Set<String> = []
        var replaces = false
        for element in patch {
            guard case .object(let object) = element, let directive = object[Self.directive] else {
                plain.append(element)
                continue
            }
            switch directive {
            case "delete": deleted.insert(try keyText(element, key))
            case "replace": replaces = true
            case "merge": throw .badRequest("merging lists cannot yet be specified in the patch")
            default: throw .badRequest("unknown patch type: \(directive.goText) in map: \(element.goText)")
            }
        }
        if replaces { return (plain, []) }
        if deleted.isEmpty { return (original, plain) }
        var kept: [JSON] = []
        for element in original where !deleted.contains(try keyText(element, key)) { kept.append(element) }
        return (kept, plain)
    }

    /// All elements objects, or none; never lists.
    private func checkElements(_ elements: [JSON], _ member: Member) throws(APIError) {
        var objects = 0
        for element in elements {
            switch element {
            case .array: throw .unprocessable("lists of lists are not supported")
            case .object: objects += 1
            default: break
            }
        }
        guard objects == 0 || objects == elements.count else {
            throw .badRequest(
                "list elements of \(member.name) are of different kinds: expected a map, but received a scalar")
        }
    }

    private func keyText(_ element: JSON, _ key: String) throws(APIError) -> String {
        guard case .object(let object) = element, let value = object[key] else {
            throw .badRequest("map: \(element.goText) does not contain declared merge key: \(key)")
        }
        return value.text
    }

    private func identity(_ element: JSON, _ mergeKey: String?) throws(APIError) -> String {
        if let mergeKey { try keyText(element, mergeKey) } else { element.text }
    }

    /// Elements named by `order` in that order, the others in the server's, woven together so that what the server had
    /// before an element stays before it.
    private func ordered(
        _ merged: [JSON], by order: [JSON], _ server: [JSON], mergeKey: String?
    ) throws(APIError) -> [JSON] {
        var wanted: [String: Int] = [:]
        for (i, element) in order.enumerated().reversed() { wanted[try identity(element, mergeKey)] = i }
        var had: [String: Int] = [:]
        for (i, element) in server.enumerated().reversed() { had[try identity(element, mergeKey)] = i }
        var named: [(rank: Int, server: Int?, value: JSON)] = []
        var others: [(rank: Int, server: Int?, value: JSON)] = []
        for element in merged {
            let id = try identity(element, mergeKey)
            if let rank = wanted[id] {
                named.append((rank, had[id], element))
            } else {
                others.append((had[id] ?? .max, had[id], element))
            }
        }
        // Swift's sort is stable in practice but does not promise it; equal ranks are equal keys.
        let right = named.enumerated().sorted { ($0.element.rank, $0.offset) < ($1.element.rank, $1.offset) }.map(
            \.element)
        let left = others.enumerated().sorted { ($0.element.rank, $0.offset) < ($1.element.rank, $1.offset) }.map(
            \.element)
        var result: [JSON] = []
        result.reserveCapacity(merged.count)
        var i = 0
        var j = 0
        while i < left.count || j < right.count {
            if j == right.count {
                result.append(left[i].value)
                i += 1
            } else if i < left.count, let mine = left[i].server, let theirs = right[j].server, mine < theirs {
                result.append(left[i].value)
                i += 1
            } else {
                result.append(right[j].value)
                j += 1
            }
        }
        return result
    }

    // MARK: - $setElementOrder

    /// Merges the lists that have an order and takes them out of the patch.
    private func applyOrders(_ patch: inout JSONObject, _ result: inout JSONObject, _ type: ValueType?) throws(APIError)
    {
        for (name, value) in patch.members where name.hasPrefix(Self.orderPrefix) {
            patch[name] = nil
            let message = "invalid patch format of setElementOrder list"
            let key = try Self.suffix(name, Self.orderPrefix, message)
            guard case .array(let order) = value else { throw .badRequest(message) }
            let member = try member(key, of: type)
            let known = try list(result[key], key)
            let changes = try list(patch[key], key)
            if let changes { try checkOrder(changes, order, member) }
            let merged: [JSON]
            switch (known, changes) {
            case (nil, nil): continue
            case (let known?, nil): merged = known
            case (nil, let changes?): merged = JSON.array(changes).withoutNulls.withoutDirectives?.elements ?? []
            case (let known?, let changes?): merged = try mergeList(changes, into: known, member, deletes: false)
            }
            result[key] = .array(try ordered(merged, by: order, known ?? [], mergeKey: member.mergeKey))
            patch[key] = nil
        }
    }

    private func list(_ value: JSON?, _ key: String) throws(APIError) -> [JSON]? {
        switch value {
        case nil, .null: return nil
        case .array(let list): return list
        default: throw .badRequest("\(key): expected a []interface {}, but received a \(value?.goKind ?? "null")")
        }
    }

    /// The patch's elements must be in the order's list, in its order.
    private func checkOrder(_ patch: [JSON], _ order: [JSON], _ member: Member) throws(APIError) {
        guard !order.isEmpty, !patch.isEmpty else { return }
        var next = 0
        for element in patch {
            if case .object(let object) = element, object[Self.directive] != nil { continue }
            let id = try identity(element, member.mergeKey)
            while next < order.count, try identity(order[next], member.mergeKey) != id { next += 1 }
            guard next < order.count else {
                throw .badRequest(
                    "The order in patch list:\n\(JSON.array(patch).goText)\n doesn't match \(Self.orderPrefix) list:\n"
                        + "\(JSON.array(order).goText)\n")
            }
            next += 1
        }
    }
}

extension JSON {
    /// Without members that are null, at any depth: a null that matches nothing says nothing.
    var withoutNulls: JSON {
        switch self {
        case .array(let list): return .array(list.map(\.withoutNulls))
        case .object(let object):
            return .object(
                JSONObject(
                    members: object.members.compactMap { key, value in value.isNull ? nil : (key, value.withoutNulls) })
            )
        default: return self
        }
    }

    /// Without objects that are directives; nil for one that is itself.
    var withoutDirectives: JSON? {
        switch self {
        case .object(let object):
            if object[StrategicMerge.directive] != nil { return nil }
            return .object(
                JSONObject(
                    members: object.members.compactMap { key, value in value.withoutDirectives.map { (key, $0) } }))
        case .array(let list): return .array(list.compactMap(\.withoutDirectives))
        default: return self
        }
    }
}
