/// What is wrong with a JSON text, in the words of Go's encoding/json, because users and clients know them.
package struct JSONError: Error, Sendable, Equatable, CustomStringConvertible {
    package var message: String
    /// Bytes from the start of the text.
    package var offset: Int
    package var description: String { message }
}

extension JSON {
    /// Bounds of what is accepted: a text outside of them is an error, never a deep recursion or a large allocation.
    package struct Limits: Sendable {
        package var depth = 512
        /// Values in all (a list of 100,000 elements counts 100,001).
        package var values = 2_000_000
        package init(depth: Int = 512, values: Int = 2_000_000) { (self.depth, self.values) = (depth, values) }
    }

    package static func parse(_ bytes: [UInt8], limits: Limits = Limits()) throws(JSONError) -> JSON {
        var duplicates: [String] = []
        return try parse(bytes, limits: limits, duplicates: &duplicates)
    }

    /// Where a key is given twice the last value wins, as in Go; its dotted path ("spec.ports[0].name") is added to `duplicates`.
    package static func parse(
        _ bytes: [UInt8], limits: Limits = Limits(), duplicates: inout [String]
    ) throws(JSONError) -> JSON {
        var found: [String] = []
        let result: Result<JSON, JSONError> = bytes.withUnsafeBufferPointer { buffer in
            var parser = JSONParser(text: buffer, limits: limits)
            do throws(JSONError) {
                let value = try parser.document()
                found = parser.duplicates
                return .success(value)
            } catch {
                return .failure(error)
            }
        }
        duplicates.append(contentsOf: found)
        return try result.get()
    }

    /// The first `count` bytes.
    package static func parse(_ bytes: [UInt8], count: Int) throws(JSONError) -> JSON {
        let result: Result<JSON, JSONError> = bytes.withUnsafeBufferPointer { buffer in
            var parser = JSONParser(text: UnsafeBufferPointer(rebasing: buffer.prefix(count)), limits: Limits())
            do throws(JSONError) {
                return .success(try parser.document())
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    package static func parse(_ text: String, limits: Limits = Limits()) throws(JSONError) -> JSON {
        try parse(Array(text.utf8), limits: limits)
    }
}

/// A recursive-descent parser over borrowed bytes.
struct JSONParser {
    let text: UnsafeBufferPointer<UInt8>
    var at = 0
    var depth = 0
    var values = 0
    let limits: JSON.Limits
    var duplicates: [String] = []
    /// Keys and indexes from the root to here, kept for the duplicates' paths only.
    var path: [PathStep] = []

    enum PathStep {
        case key(String)
        case index(Int)
    }

    init(text: UnsafeBufferPointer<UInt8>, limits: JSON.Limits) {
        (self.text, self.limits) = (text, limits)
    }

    func fail(_ message: String) -> JSONError { JSONError(message: message, offset: at) }

    /// "invalid character 'x' after object key", or the end of the text.
    func unexpected(_ context: String) -> JSONError {
        guard at < text.count else { return fail("unexpected end of JSON input") }
        let byte = text[at]
        let shown: String =
            switch byte {
            case 0x0A: "\\n"
            case 0x0D: "\\r"
            case 0x09: "\\t"
            case 0x27: "\\'"
            case 0x20..<0x7F: String(Unicode.Scalar(byte))
            default: "\\x" + String(byte, radix: 16)
            }
        return fail("invalid character '\(shown)' \(context)")
    }

    mutating func skipSpace() {
        while at < text.count {
            switch text[at] {
            case 0x20, 0x0A, 0x0D, 0x09: at += 1
            default: return
            }
        }
    }

    mutating func document() throws(JSONError) -> JSON {
        skipSpace()
        let value = try value()
        skipSpace()
        guard at == text.count else { throw unexpected("after top-level value") }
        return value
    }

    mutating func value() throws(JSONError) -> JSON {
        values += 1
        guard values <= limits.values else { throw fail("more than \(limits.values) values") }
        guard at < text.count else { throw unexpected("") }
        switch text[at] {
        case UInt8(ascii: "{"): return try object()
        case UInt8(ascii: "["): return try array()
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default: throw unexpected("looking for beginning of value")
        }
    }

    mutating func word(_ word: StaticString, _ value: JSON) throws(JSONError) -> JSON {
        for i in 0..<word.utf8CodeUnitCount {
            guard at < text.count, text[at] == word.utf8Start[i] else { throw unexpected("in literal \(word)") }
            at += 1
        }
        return value
    }

    mutating func enter() throws(JSONError) {
        depth += 1
        guard depth <= limits.depth else { throw fail("exceeded max depth") }
        at += 1
    }

    mutating func object() throws(JSONError) -> JSON {
        try enter()
        defer { depth -= 1 }
        var object = JSONObject()
        skipSpace()
        if at < text.count, text[at] == UInt8(ascii: "}") {
            at += 1
            return .object(object)
        }
        // A set once there are many members, so that a hostile object of 100,000 keys is not quadratic.
        var seen: Set<String>?
        while true {
            skipSpace()
            guard at < text.count, text[at] == UInt8(ascii: "\"") else {
                throw unexpected("looking for beginning of object key string")
            }
            let key = try string()
            skipSpace()
            guard at < text.count, text[at] == UInt8(ascii: ":") else { throw unexpected("after object key") }
            at += 1
            skipSpace()
            path.append(.key(key))
            let value = try value()
            let known: Bool
            if seen != nil {
                known = seen?.insert(key).inserted == false
            } else {
                known = object.index(of: key) != nil
                if object.count == 32 { seen = Set(object.keys + [key]) }
            }
            if known {
                duplicates.append(dottedPath())
                object[key] = value
            } else {
                object.append(key, value)
            }
            path.removeLast()
            skipSpace()
            guard at < text.count else { throw unexpected("") }
            if text[at] == UInt8(ascii: ",") {
                at += 1
            } else if text[at] == UInt8(ascii: "}") {
                at += 1
                return .object(object)
            } else {
                throw unexpected("after object key:value pair")
            }
        }
    }

    mutating func array() throws(JSONError) -> JSON {
        try enter()
        defer { depth -= 1 }
        var list: [JSON] = []
        skipSpace()
        if at < text.count, text[at] == UInt8(ascii: "]") {
            at += 1
            return .array(list)
        }
        while true {
            skipSpace()
            path.append(.index(list.count))
            list.append(try value())
            path.removeLast()
            skipSpace()
            guard at < text.count else { throw unexpected("") }
            if text[at] == UInt8(ascii: ",") {
                at += 1
            } else if text[at] == UInt8(ascii: "]") {
                at += 1
                return .array(list)
            } else {
                throw unexpected("after array element")
            }
        }
    }

    func dottedPath() -> String {
        var out = ""
        for step in path {
            switch step {
            case .key(let key): out += out.isEmpty ? key : "." + key
            case .index(let index): out += "[\(index)]"
            }
        }
        return out
    }
}
