/// Looks into encoded objects without decoding them: where a member's value lies, and nothing else.
///
/// Selectors, list metadata and watches need two or three strings of each object; building a tree for that would cost
/// more than the rest of the request. The bytes are ones that a server of ours encoded (compact, valid); on anything else
/// the functions return nil, they never read past the end.
package struct RawJSON {
    private let text: UnsafeBufferPointer<UInt8>
    private var at: Int

    private init(_ text: UnsafeBufferPointer<UInt8>, at: Int = 0) { (self.text, self.at) = (text, at) }

    /// Where the value at a path of keys lies; a string with its quotes.
    package static func range(of path: [String], in bytes: [UInt8], from start: Int = 0) -> Range<Int>? {
        bytes.withUnsafeBufferPointer { buffer in
            var cursor = RawJSON(buffer, at: start)
            for key in path { guard cursor.enter(key) else { return nil } }
            let begin = cursor.at
            guard cursor.skipValue() else { return nil }
            return begin..<cursor.at
        }
    }

    /// A string's value, or the text of a number or boolean; nil where there is no such member.
    package static func text(of path: [String], in bytes: [UInt8], from start: Int = 0) -> String? {
        guard let range = range(of: path, in: bytes, from: start) else { return nil }
        return text(at: range, in: bytes)
    }

    /// Where the elements of the array at a path lie; nil where there is none, or it is cut short.
    package static func elements(of path: [String], in bytes: [UInt8]) -> [Range<Int>]? {
        bytes.withUnsafeBufferPointer { buffer in
            var cursor = RawJSON(buffer)
            for key in path { guard cursor.enter(key) else { return nil } }
            guard cursor.take(UInt8(ascii: "[")) else { return nil }
            var ranges: [Range<Int>] = []
            if cursor.take(UInt8(ascii: "]")) { return ranges }
            while true {
                let begin = cursor.at
                guard cursor.skipValue() else { return nil }
                ranges.append(begin..<cursor.at)
                if cursor.take(UInt8(ascii: "]")) { return ranges }
                guard cursor.take(UInt8(ascii: ",")) else { return nil }
            }
        }
    }

    private static func text(at range: Range<Int>, in bytes: [UInt8]) -> String? {
        guard bytes[range.lowerBound] == UInt8(ascii: "\"") else {
            return String(decoding: bytes[range], as: UTF8.self)
        }
        let inner = bytes[range.lowerBound + 1..<range.upperBound - 1]
        if !inner.contains(UInt8(ascii: "\\")) { return String(decoding: inner, as: UTF8.self) }
        return (try? JSON.parse(Array(bytes[range])))?.string
    }

    /// Moves to the value of a member of the object that begins here.
    private mutating func enter(_ key: String) -> Bool {
        guard take(UInt8(ascii: "{")) else { return false }
        var key = key
        return key.withUTF8 { wanted in
            while at < text.count, text[at] == UInt8(ascii: "\"") {
                let begin = at + 1
                guard skipString() else { return false }
                let length = at - 1 - begin
                guard take(UInt8(ascii: ":")) else { return false }
                if length == wanted.count, equal(begin, wanted) { return true }
                guard skipValue() else { return false }
                if !take(UInt8(ascii: ",")) { return false }
            }
            return false
        }
    }

    private func equal(_ begin: Int, _ wanted: UnsafeBufferPointer<UInt8>) -> Bool {
        for i in 0..<wanted.count where text[begin + i] != wanted[i] { return false }
        return true
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard at < text.count, text[at] == byte else { return false }
        at += 1
        return true
    }

    private mutating func skipString() -> Bool {
        at += 1
        while at < text.count {
            switch text[at] {
            case UInt8(ascii: "\""):
                at += 1
                return true
            case UInt8(ascii: "\\"): at += 2
            default: at += 1
            }
        }
        return false
    }

    private mutating func skipValue() -> Bool {
        guard at < text.count else { return false }
        switch text[at] {
        case UInt8(ascii: "\""): return skipString()
        case UInt8(ascii: "{"), UInt8(ascii: "["):
            var depth = 0
            while at < text.count {
                switch text[at] {
                case UInt8(ascii: "\""):
                    guard skipString() else { return false }
                    continue
                case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
                case UInt8(ascii: "}"), UInt8(ascii: "]"):
                    depth -= 1
                    if depth == 0 {
                        at += 1
                        return true
                    }
                default: break
                }
                at += 1
            }
            return false
        default:
            let begin = at
            while at < text.count {
                switch text[at] {
                case UInt8(ascii: ","), UInt8(ascii: "}"), UInt8(ascii: "]"): return at > begin
                default: at += 1
                }
            }
            return at > begin
        }
    }
}
