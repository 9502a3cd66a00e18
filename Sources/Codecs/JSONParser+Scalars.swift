extension JSONParser {
    mutating func string() throws(JSONError) -> String {
        at += 1
        let start = at
        // The common case: no escape, one copy.
        at = Self.plainEnd(text, from: at)
        while at < text.count {
            let byte = text[at]
            if byte == UInt8(ascii: "\"") {
                let slice = UnsafeBufferPointer(rebasing: text[start..<at])
                at += 1
                // Go replaces invalid UTF-8 by U+FFFD; so does this.
                return String(decoding: slice, as: UTF8.self)
            }
            if byte == UInt8(ascii: "\\") { return try escapedString(from: start) }
            guard byte >= 0x20 else { throw unexpected("in string literal") }
            at += 1
        }
        throw unexpected("")
    }

    /// Steps over eight bytes at a time, as long as there is no quote, backslash or control character among them.
    private static func plainEnd(_ text: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
        let (ones, highs): (UInt64, UInt64) = (0x0101_0101_0101_0101, 0x8080_8080_8080_8080)
        let raw = UnsafeRawBufferPointer(text)
        var at = start
        while at + 8 <= raw.count {
            let word = raw.loadUnaligned(fromByteOffset: at, as: UInt64.self)
            let quote = word ^ (ones &* 0x22)
            let escape = word ^ (ones &* 0x5C)
            // The highest bit of each byte that is zero, or less than 0x20; bytes above such a one may be wrong.
            let hits =
                ((quote &- ones) & ~quote) | ((escape &- ones) & ~escape) | ((word &- ones &* 0x20) & ~word)
            if hits & highs != 0 { break }
            at += 8
        }
        return at
    }

    private mutating func escapedString(from start: Int) throws(JSONError) -> String {
        var out: [UInt8] = Array(UnsafeBufferPointer(rebasing: text[start..<at]))
        while at < text.count {
            let byte = text[at]
            if byte == UInt8(ascii: "\"") {
                at += 1
                return String(decoding: out, as: UTF8.self)
            }
            guard byte >= 0x20 else { throw unexpected("in string literal") }
            at += 1
            guard byte == UInt8(ascii: "\\") else {
                out.append(byte)
                continue
            }
            guard at < text.count else { break }
            let escape = text[at]
            switch escape {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): out.append(escape)
            case UInt8(ascii: "b"): out.append(0x08)
            case UInt8(ascii: "f"): out.append(0x0C)
            case UInt8(ascii: "n"): out.append(0x0A)
            case UInt8(ascii: "r"): out.append(0x0D)
            case UInt8(ascii: "t"): out.append(0x09)
            case UInt8(ascii: "u"):
                at += 1
                appendScalar(try unicodeEscape(), to: &out)
                continue
            default: throw unexpected("in string escape code")
            }
            at += 1
        }
        throw unexpected("")
    }

    /// After "\u": four hex digits, and the second half of a surrogate pair where there is one.
    private mutating func unicodeEscape() throws(JSONError) -> UInt32 {
        let first = try hex4()
        guard (0xD800..<0xDC00).contains(first), at + 1 < text.count, text[at] == UInt8(ascii: "\\"),
            text[at + 1] == UInt8(ascii: "u")
        else { return first }
        let mark = at
        at += 2
        let second = try hex4()
        guard (0xDC00..<0xE000).contains(second) else {
            at = mark
            return 0xFFFD
        }
        return 0x10000 + (first - 0xD800) << 10 + (second - 0xDC00)
    }

    private mutating func hex4() throws(JSONError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard at < text.count else { throw unexpected("") }
            let digit: UInt8
            switch text[at] {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = text[at] - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = text[at] - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = text[at] - UInt8(ascii: "A") + 10
            default: throw unexpected("in \\u hexadecimal character escape")
            }
            value = value << 4 | UInt32(digit)
            at += 1
        }
        return value
    }

    private func appendScalar(_ value: UInt32, to out: inout [UInt8]) {
        let scalar = Unicode.Scalar(value) ?? "\u{FFFD}"
        out.append(contentsOf: Array(String(Character(scalar)).utf8))
    }

    mutating func number() throws(JSONError) -> JSON {
        let start = at
        var negative = false
        var integral = true
        if text[at] == UInt8(ascii: "-") {
            negative = true
            at += 1
        }
        guard at < text.count, isDigit(text[at]) else { throw unexpected("in numeric literal") }
        var magnitude: UInt64 = 0
        var overflow = false
        if text[at] == UInt8(ascii: "0") {
            at += 1
        } else {
            while at < text.count, isDigit(text[at]) {
                let (product, o1) = magnitude.multipliedReportingOverflow(by: 10)
                let (sum, o2) = product.addingReportingOverflow(UInt64(text[at] - UInt8(ascii: "0")))
                magnitude = sum
                overflow = overflow || o1 || o2
                at += 1
            }
        }
        if at < text.count, text[at] == UInt8(ascii: ".") {
            integral = false
            at += 1
            guard at < text.count, isDigit(text[at]) else { throw unexpected("after decimal point in numeric literal") }
            while at < text.count, isDigit(text[at]) { at += 1 }
        }
        if at < text.count, text[at] | 0x20 == UInt8(ascii: "e") {
            integral = false
            at += 1
            if at < text.count, text[at] == UInt8(ascii: "+") || text[at] == UInt8(ascii: "-") { at += 1 }
            guard at < text.count, isDigit(text[at]) else { throw unexpected("in exponent of numeric literal") }
            while at < text.count, isDigit(text[at]) { at += 1 }
        }
        if integral, !overflow {
            if negative {
                if magnitude <= UInt64(Int64.max) + 1 { return .int(Int64(truncatingIfNeeded: 0 &- magnitude)) }
            } else if magnitude <= UInt64(Int64.max) {
                return .int(Int64(magnitude))
            }
        }
        let slice = String(decoding: UnsafeBufferPointer(rebasing: text[start..<at]), as: UTF8.self)
        guard let value = Double(slice), value.isFinite else { throw fail("number \(slice) is out of range") }
        return .double(value)
    }

    private func isDigit(_ byte: UInt8) -> Bool { byte &- UInt8(ascii: "0") < 10 }
}
