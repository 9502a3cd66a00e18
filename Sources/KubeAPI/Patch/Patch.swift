package import Codecs

/// Applies the patches of the API's PATCH verb to a document.
///
/// Source: RFC 6902 and RFC 7386, and for the strategic merge patch the Kubernetes API conventions
/// (sig-architecture, strategic-merge-patch.md). Server-side apply (`PatchType.apply`) works on sets of owned fields, not on
/// documents, and is not in here.
package enum Patch {
    /// What a JSON patch may at most do and how much it may copy.
    package static let maximumOperations = 10_000
    package static let maximumCopiedBytes = 3 * 1024 * 1024

    /// The document with the patch applied; nothing is checked against the schema or defaulted yet.
    /// - Throws: BadRequest for a malformed patch, Invalid (422) for one that does not apply.
    package static func apply(
        _ type: PatchType, _ patch: JSON, to document: JSON, as gvk: GroupVersionKind, schema: Schema = .shared
    ) throws(APIError) -> JSON {
        switch type {
        case .json: return try JSONPatch(patch).apply(to: document)
        case .merge:
            guard case .object = patch else { throw .badRequest("Invalid JSON Patch") }
            return merge(patch, into: document)
        case .strategic:
            guard let root = schema.kind(gvk) else {
                throw .unsupportedMediaType([
                    PatchType.json.rawValue, PatchType.merge.rawValue, PatchType.apply.rawValue,
                ])
            }
            guard case .object(let changes) = patch else { throw .badRequest("invalid JSON document") }
            let merger = StrategicMerge(schema: schema)
            return .object(try merger.merge(changes, into: document.object ?? JSONObject(), .object(root.id)))
        case .apply: throw .unsupportedMediaType([PatchType.json, .merge, .strategic].map(\.rawValue))
        }
    }

    /// From the bytes of a request to the object to be admitted: applied, decoded with defaults, unknown and duplicate
    /// fields reported as `validation` says.
    package static func apply(
        _ type: PatchType, bytes: [UInt8], to document: JSON, as gvk: GroupVersionKind, validation: FieldValidation,
        schema: Schema = .shared, clock: any KubeClock = SystemClock()
    ) throws(APIError) -> DecodedObject {
        var duplicates: [String] = []
        let patch: JSON
        do throws(JSONError) {
            patch = try JSON.parse(bytes, duplicates: &duplicates)
        } catch {
            throw .badRequest(type == .strategic ? error.message : "error decoding patch: \(error.message)")
        }
        let patched = try apply(type, patch, to: document, as: gvk, schema: schema)
        do throws(APIError) {
            let prefix = type == .json ? "json patch " : ""
            var decoded = try schema.decode(
                patched, as: gvk, validation: validation == .ignore ? .ignore : .warn, defaults: true, clock: clock)
            if validation == .ignore { return decoded }
            decoded.warnings =
                (type == .json ? JSONPatch.unknownFields(patch) : [])
                + Set(duplicates).sorted().map { "\(prefix)duplicate field \"\($0)\"" } + decoded.warnings
            if validation == .strict, !decoded.warnings.isEmpty {
                throw .badRequest("strict decoding error: " + decoded.warnings.joined(separator: ", "))
            }
            return decoded
        } catch {
            // A patch whose result is no object of the kind is an invalid patch, not a bad request.
            let text = error.message
            let detail = text.firstRange(of: ": ").map { String(text[$0.upperBound...]) } ?? text
            let reason = error.message.hasPrefix("strict decoding error") ? error.message : detail
            let shown = JSON.string(type == .strategic ? patch.goText : patched.text)
            throw .invalid(GroupVersionKind("", "", ""), "", [.invalid("patch", shown, reason)])
        }
    }

    /// RFC 7386: null removes, an object merges, anything else replaces.
    package static func merge(_ patch: JSON, into document: JSON) -> JSON {
        guard case .object(let changes) = patch else { return patch }
        var result = document.object ?? JSONObject()
        // Positions are kept in a table where a linear search for every member would be quadratic.
        guard changes.count > 16, result.count > 16 else {
            for (key, value) in changes { result[key] = merged(value, result[key]) }
            return .object(result)
        }
        var members: [(key: String, value: JSON?)] = result.members.map { ($0.key, $0.value) }
        var places = [String: Int](minimumCapacity: members.count + changes.count)
        for (i, member) in members.enumerated() { places[member.key] = i }
        for (key, value) in changes {
            if let i = places[key] {
                members[i].value = merged(value, members[i].value)
            } else if let value = merged(value, nil) {
                places[key] = members.count
                members.append((key, value))
            }
        }
        return .object(JSONObject(members: members.compactMap { key, value in value.map { (key, $0) } }))
    }

    private static func merged(_ value: JSON, _ known: JSON?) -> JSON? {
        if case .null = value { return .none }
        return merge(value, into: known ?? .null)
    }
}

extension APIError {
    /// The patch is well formed but cannot be applied; upstream hides the reason, which helps nobody.
    static func unprocessable(_ detail: String) -> APIError {
        var error = APIError(
            code: 422, reason: "Invalid",
            message: "the server rejected our request due to an error in our request: \(detail)")
        error.causes = [Cause(reason: "FieldValueInvalid", message: detail, field: "patch")]
        return error
    }
}
