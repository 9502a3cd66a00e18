extension JSON {
    /// Compact text, members in their order.
    package func encode() -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(512)
        encode(into: &out)
        return out
    }

    package var text: String { String(decoding: encode(), as: UTF8.self) }

    package func encode(into out: inout [UInt8]) {
        switch self {
        case .null: out.append(ascii: "null")
        case .bool(let b): out.append(ascii: b ? "true" : "false")
        case .int(let i): out.append(decimal: i)
        case .double(let d): out.append(contentsOf: JSON.text(of: d).utf8)
        case .string(let s): out.append(jsonString: s)
        case .array(let list):
            out.append(UInt8(ascii: "["))
            var first = true
            for value in list {
                if !first { out.append(UInt8(ascii: ",")) }
                first = false
                value.encode(into: &out)
            }
            out.append(UInt8(ascii: "]"))
        case .object(let object):
            out.append(UInt8(ascii: "{"))
            var first = true
            for (key, value) in object.members {
                if !first { out.append(UInt8(ascii: ",")) }
                first = false
                out.append(jsonString: key)
                out.append(UInt8(ascii: ":"))
                value.encode(into: &out)
            }
            out.append(UInt8(ascii: "}"))
        }
    }

    /// Indented by two spaces, for people and for files that people read.
    package func encodePretty(indent: Int = 0) -> String {
        let pad = String(repeating: "  ", count: indent + 1)
        let end = String(repeating: "  ", count: indent)
        switch self {
        case .array(let list) where !list.isEmpty:
            return "[\n" + list.map { pad + $0.encodePretty(indent: indent + 1) }.joined(separator: ",\n") + "\n\(end)]"
        case .object(let object) where !object.isEmpty:
            let lines = object.map { pad + JSON.string($0.key).text + ": " + $0.value.encodePretty(indent: indent + 1) }
            return "{\n" + lines.joined(separator: ",\n") + "\n\(end)}"
        default: return text
        }
    }

    private static func text(of value: Double) -> String {
        guard value.isFinite else { return "null" }
        if let whole = Int64(exactly: value), abs(whole) < 1 << 53 { return String(whole) }
        return value.description
    }
}

extension [UInt8] {
    package mutating func append(ascii text: StaticString) {
        append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    package mutating func append(decimal value: Int64) {
        if value >= 0, value < 10 {
            append(UInt8(ascii: "0") + UInt8(value))
            return
        }
        var magnitude = value.magnitude
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 20) { digits in
            var n = 20
            repeat {
                n -= 1
                digits[n] = UInt8(ascii: "0") + UInt8(magnitude % 10)
                magnitude /= 10
            } while magnitude > 0
            if value < 0 { append(UInt8(ascii: "-")) }
            append(contentsOf: UnsafeBufferPointer(rebasing: UnsafeBufferPointer(digits)[n...]))
        }
    }

    /// A quoted string. Control characters, quotes and backslashes are escaped; `<`, `>`, `&` and the two line separators
    /// as well, because Go's encoder does so and digests of objects are compared with its output.
    package mutating func append(jsonString text: String) {
        append(UInt8(ascii: "\""))
        var copy = text
        copy.withUTF8 { bytes in
            var start = 0
            var i = JSONEscapes.plainEnd(bytes, from: 0)
            while i < bytes.count {
                let byte = bytes[i]
                if JSONEscapes.plain(byte) {
                    i += 1
                    if i & 7 == 0 { i = JSONEscapes.plainEnd(bytes, from: i) }
                    continue
                }
                if byte == 0xE2 {
                    // U+2028 and U+2029 are E2 80 A8 and E2 80 A9.
                    if i + 2 < bytes.count, bytes[i + 1] == 0x80, bytes[i + 2] | 1 == 0xA9 {
                        append(contentsOf: UnsafeBufferPointer(rebasing: bytes[start..<i]))
                        append(ascii: bytes[i + 2] == 0xA8 ? "\\u2028" : "\\u2029")
                        i += 3
                        start = i
                    } else {
                        i += 1
                    }
                    continue
                }
                append(contentsOf: UnsafeBufferPointer(rebasing: bytes[start..<i]))
                switch byte {
                case UInt8(ascii: "\""): append(ascii: "\\\"")
                case UInt8(ascii: "\\"): append(ascii: "\\\\")
                case 0x08: append(ascii: "\\b")
                case 0x0C: append(ascii: "\\f")
                case 0x0A: append(ascii: "\\n")
                case 0x0D: append(ascii: "\\r")
                case 0x09: append(ascii: "\\t")
                default:
                    append(ascii: "\\u00")
                    append(JSONEscapes.hex(byte >> 4))
                    append(JSONEscapes.hex(byte & 15))
                }
                i += 1
                start = i
            }
            append(contentsOf: UnsafeBufferPointer(rebasing: bytes[start...]))
        }
        append(UInt8(ascii: "\""))
    }
}

private enum JSONEscapes {
    @inline(__always)
    static func plain(_ byte: UInt8) -> Bool {
        byte >= 0x20 && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\") && byte != UInt8(ascii: "<")
            && byte != UInt8(ascii: ">") && byte != UInt8(ascii: "&") && byte != 0xE2
    }
    /// Steps over eight bytes at a time, as long as all of them are plain.
    static func plainEnd(_ text: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
        let (ones, highs): (UInt64, UInt64) = (0x0101_0101_0101_0101, 0x8080_8080_8080_8080)
        // The highest bit of each byte that is zero; bytes above such a one may be wrong.
        @inline(__always) func zeros(_ word: UInt64) -> UInt64 { (word &- ones) & ~word }
        let raw = UnsafeRawBufferPointer(text)
        var at = start
        while at + 8 <= raw.count {
            let word = raw.loadUnaligned(fromByteOffset: at, as: UInt64.self)
            let quotes = zeros(word ^ (ones &* 0x22)) | zeros(word ^ (ones &* 0x5C)) | zeros(word ^ (ones &* 0xE2))
            // `<` and `>` differ in one bit, as `&` and `$` do; `$` is looked at once more.
            let markup = zeros((word | (ones &* 2)) ^ (ones &* 0x3E)) | zeros((word | (ones &* 2)) ^ (ones &* 0x26))
            let controls = (word &- ones &* 0x20) & ~word
            if (quotes | markup | controls) & highs != 0 { break }
            at += 8
        }
        return at
    }
    static func hex(_ nibble: UInt8) -> UInt8 {
        nibble < 10 ? UInt8(ascii: "0") + nibble : UInt8(ascii: "a") + nibble - 10
    }
}
