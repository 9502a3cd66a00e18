internal import Codecs

/// A list of operations (RFC 6902) over a document. Errors have the words of evanphx/json-patch, which kube-apiserver uses.
/// As there, an index may count from the end ("-1" is the last element).
struct JSONPatch {
    private struct Operation {
        var kind: String
        var path: String?
        var from: String?
        /// `.null` also where none is given.
        var value: JSON
    }

    private let operations: [Operation]

    init(_ patch: JSON) throws(APIError) {
        guard case .array(let list) = patch else {
            throw .badRequest("json: cannot unmarshal \(patch.goKind) into Go value of type jsonpatch.Patch")
        }
        guard list.count <= Patch.maximumOperations else {
            throw APIError(
                code: 413, reason: "RequestEntityTooLarge",
                message: "Request entity too large: The allowed maximum operations in a JSON patch is "
                    + "\(Patch.maximumOperations), got \(list.count)")
        }
        var operations: [Operation] = []
        for item in list {
            guard case .object = item else {
                throw .badRequest("json: cannot unmarshal \(item.goKind) into Go value of type jsonpatch.Operation")
            }
            operations.append(
                Operation(
                    kind: item["op"].string ?? "unknown", path: item["path"].string, from: item["from"].string,
                    value: item["value"]))
        }
        self.operations = operations
    }

    /// What is in operations that has no meaning there; for warnings and strict validation.
    static func unknownFields(_ patch: JSON) -> [String] {
        var found: [String] = []
        for (i, operation) in patch.elements.enumerated() {
            for (key, _) in operation.object ?? JSONObject() where !["op", "path", "from", "value"].contains(key) {
                found.append("json patch unknown field \"[\(i)].\(key)\"")
                if found.count == 100 { return found }
            }
        }
        return found
    }

    func apply(to document: JSON) throws(APIError) -> JSON {
        var document = document
        var copied = 0
        for operation in operations {
            do throws(Failure) {
                try perform(operation, on: &document, &copied)
            } catch {
                throw .unprocessable(error.message)
            }
        }
        return document
    }

    struct Failure: Error {
        var message: String
        init(_ message: String) { self.message = message }
    }

    private func perform(_ operation: Operation, on document: inout JSON, _ copied: inout Int) throws(Failure) {
        guard let path = operation.path else {
            throw Failure("\(operation.kind) operation failed to decode path: missing value")
        }
        switch operation.kind {
        case "add":
            try add(
                operation.value, at: path, to: &document,
                "add operation does not apply: doc is missing path: \"\(path)\"")
        case "remove":
            _ = try remove(path, from: &document, "remove operation does not apply: doc is missing path: \"\(path)\"")
        case "replace":
            guard try read(path, document) != nil else {
                throw Failure("replace operation does not apply: doc is missing key: \(path): missing value")
            }
            let missing = "replace operation does not apply: doc is missing path: \(path)"
            let value = operation.value
            try atContainer(path, &document, missing) { (container: inout JSON, key) throws(Failure) in
                try container.set(key, value, insert: false, path)
            }
        case "move":
            guard let from = operation.from else {
                throw Failure("move operation failed to decode from: missing value")
            }
            // Into itself there is no place to go to.
            guard !path.hasPrefix(from + "/") else {
                throw Failure("move operation does not apply: doc is missing destination path: \(path): missing value")
            }
            let value = try remove(
                from, from: &document, "move operation does not apply: doc is missing from path: \(from)")
            try add(
                value, at: path, to: &document,
                "move operation does not apply: doc is missing destination path: \(path)")
        case "copy":
            guard let from = operation.from else {
                throw Failure("copy operation failed to decode from: missing value")
            }
            guard let value = try read(from, document) else {
                throw Failure("copy operation does not apply: doc is missing from path: \(from): missing value")
            }
            copied += value.encode().count
            guard copied <= Patch.maximumCopiedBytes else {
                throw Failure(
                    "Unable to complete the copy, the accumulated size increase of copy is \(copied), exceeding the limit "
                        + "\(Patch.maximumCopiedBytes)")
            }
            try add(
                value, at: path, to: &document,
                "copy operation does not apply: doc is missing destination path: \(path)")
        case "test":
            let found = try read(path, document) ?? .null
            guard found == operation.value else {
                throw Failure("testing value \(path) failed: test failed")
            }
        default: throw Failure("Unexpected kind: \(operation.kind)")
        }
    }

    private func add(_ value: JSON, at path: String, to document: inout JSON, _ missing: String) throws(Failure) {
        try atContainer(path, &document, missing) { (container: inout JSON, key) throws(Failure) in
            try container.set(key, value, insert: true, path)
        }
    }

    private func remove(_ path: String, from document: inout JSON, _ missing: String) throws(Failure) -> JSON {
        var removed = JSON.null
        try atContainer(path, &document, missing) { (container: inout JSON, key) throws(Failure) in
            switch container {
            case .object(var object):
                container = .null
                let value = object.removeValue(forKey: key)
                container = .object(object)
                guard let value else {
                    throw Failure(
                        "error in remove for path: '\(path)': Unable to remove nonexistent key: \(key): missing value")
                }
                removed = value
            case .array(var list):
                let index = try JSON.index(key, count: list.count, inserting: false, "remove", path)
                container = .null
                removed = list.remove(at: index)
                container = .array(list)
            default: break
            }
        }
        return removed
    }

    /// The value at a path; nil where the last step leads nowhere.
    private func read(_ path: String, _ document: JSON) throws(Failure) -> JSON? {
        guard let keys = Self.split(path) else { return nil }
        var value = document
        for key in keys {
            switch value {
            case .object(let object):
                guard let next = object[key] else { return nil }
                value = next
            case .array(let list):
                guard let index = Int(key), index < list.count, index >= -list.count else { return nil }
                value = list[index < 0 ? index + list.count : index]
            default: return nil
            }
        }
        return value
    }

    /// Hands the object or array that holds a path's last key to `body`, changing it in place.
    private func atContainer(
        _ path: String, _ document: inout JSON, _ missing: String, _ body: (inout JSON, String) throws(Failure) -> Void
    ) throws(Failure) {
        guard let keys = Self.split(path), let last = keys.last else { throw Failure(missing + ": missing value") }
        try Self.descend(keys[...].dropLast(), &document, missing) { (node: inout JSON) throws(Failure) in
            switch node {
            case .object, .array: try body(&node, last)
            default: throw Failure(missing + ": missing value")
            }
        }
    }

    private static func descend(
        _ keys: ArraySlice<String>, _ node: inout JSON, _ missing: String, _ body: (inout JSON) throws(Failure) -> Void
    ) throws(Failure) {
        guard let key = keys.first else { return try body(&node) }
        switch node {
        case .object(var object):
            guard var child = object[key] else { throw Failure(missing + ": missing value") }
            node = .null
            object[key] = .null  // the child is held here alone while it changes
            defer {
                object[key] = child
                node = .object(object)
            }
            try descend(keys.dropFirst(), &child, missing, body)
        case .array(var list):
            guard let given = Int(key), given < list.count, given >= -list.count else {
                throw Failure(missing + ": missing value")
            }
            let index = given < 0 ? given + list.count : given
            node = .null
            var child = list[index]
            list[index] = .null
            defer {
                list[index] = child
                node = .array(list)
            }
            try descend(keys.dropFirst(), &child, missing, body)
        default: throw Failure(missing + ": missing value")
        }
    }

    /// The keys of a JSON pointer (RFC 6901); nil for the document itself and for what does not begin with "/".
    private static func split(_ path: String) -> [String]? {
        guard path.utf8.first == UInt8(ascii: "/") else { return nil }
        let parts = path.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= 512 else { return nil }
        return parts.map { part in
            guard part.utf8.contains(UInt8(ascii: "~")) else { return String(part) }
            var out: [UInt8] = []
            var tilde = false
            for byte in part.utf8 {
                if tilde, byte == UInt8(ascii: "0") || byte == UInt8(ascii: "1") {
                    out[out.count - 1] = byte == UInt8(ascii: "1") ? UInt8(ascii: "/") : UInt8(ascii: "~")
                    tilde = false
                } else {
                    out.append(byte)
                    tilde = byte == UInt8(ascii: "~")
                }
            }
            return String(decoding: out, as: UTF8.self)
        }
    }
}

extension JSON {
    fileprivate mutating func set(_ key: String, _ value: JSON, insert: Bool, _ path: String) throws(JSONPatch.Failure)
    {
        switch self {
        case .object(var object):
            self = .null
            object[key] = .some(value)
            self = .object(object)
        case .array(var list):
            if insert, key == "-" {
                self = .null
                list.append(value)
            } else {
                let index = try Self.index(key, count: list.count, inserting: insert, insert ? "add" : "replace", path)
                self = .null
                if insert { list.insert(value, at: index) } else { list[index] = value }
            }
            self = .array(list)
        default: break
        }
    }

    fileprivate static func index(
        _ key: String, count: Int, inserting: Bool, _ operation: String, _ path: String
    ) throws(JSONPatch.Failure) -> Int {
        let prefix = "error in \(operation) for path: '\(path)': "
        guard let given = Int(key) else {
            throw JSONPatch.Failure(
                prefix
                    + "value was not a proper array index: '\(key)': strconv.Atoi: parsing \"\(key)\": invalid syntax")
        }
        let limit = inserting ? count + 1 : count
        guard given < limit, given >= -limit else {
            throw JSONPatch.Failure(prefix + "Unable to access invalid index: \(given): invalid index referenced")
        }
        return given < 0 ? given + limit : given
    }
}
