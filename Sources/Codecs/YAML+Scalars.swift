/// What plain scalars mean by the rules of YAML 1.1 as Go's yaml.v2 applies them.
enum YAMLScalar {
    static func resolve(_ text: String) -> JSON {
        guard let first = text.utf8.first else { return .null }
        switch first {
        case UInt8(ascii: "~"): return text == "~" ? .null : .string(text)
        case UInt8(ascii: "."), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
            return number(text) ?? .string(text)
        default: return words[text] ?? .string(text)
        }
    }

    private static let words: [String: JSON] = {
        var words: [String: JSON] = ["null": .null, "Null": .null, "NULL": .null]
        for word in ["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"] {
            words[word] = .bool(true)
        }
        for word in ["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"] {
            words[word] = .bool(false)
        }
        return words
    }()

    static func tag(of value: JSON) -> String {
        let short =
            switch value {
            case .null: "null"
            case .bool: "bool"
            case .int: "int"
            case .double: "float"
            default: "str"
            }
        return "tag:yaml.org,2002:" + short
    }

    private static func number(_ text: String) -> JSON? {
        // Infinities and NaN have no form in JSON; Go's conversion refuses them, here they stay text.
        if let value = integer(text) { return .int(value) }
        guard isFloat(text), let value = Double(text.last == "." ? text + "0" : text), value.isFinite else {
            return nil
        }
        // As it would be after a trip through JSON, where 1e3 is 1000.
        if let whole = Int64(exactly: value) { return .int(whole) }
        return .double(value)
    }

    /// Decimal, 0x, 0o, 0b, and octal by a leading zero; underscores are skipped.
    private static func integer(_ text: String) -> Int64? {
        var digits = text.utf8.filter { $0 != UInt8(ascii: "_") }[...]
        guard let first = digits.first else { return nil }
        let negative = first == UInt8(ascii: "-")
        if negative || first == UInt8(ascii: "+") { digits = digits.dropFirst() }
        guard let lead = digits.first, lead &- 48 < 10 else { return nil }
        var radix: Int64 = 10
        if lead == UInt8(ascii: "0"), digits.count > 1 {
            switch digits[digits.startIndex + 1] | 0x20 {
            case UInt8(ascii: "x"): (radix, digits) = (16, digits.dropFirst(2))
            case UInt8(ascii: "o"): (radix, digits) = (8, digits.dropFirst(2))
            case UInt8(ascii: "b"): (radix, digits) = (2, digits.dropFirst(2))
            default: (radix, digits) = (8, digits.dropFirst())
            }
        }
        guard !digits.isEmpty else { return nil }
        var value: Int64 = 0
        for byte in digits {
            let digit: Int64
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = Int64(byte - 48)
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = Int64(byte - 87)
            case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = Int64(byte - 55)
            default: return nil
            }
            guard digit < radix else { return nil }
            // Counted downwards, because there is one more negative number than positive ones.
            let (product, tooMuch) = value.multipliedReportingOverflow(by: radix)
            let (sum, overflow) = product.subtractingReportingOverflow(digit)
            guard !tooMuch, !overflow else { return nil }
            value = sum
        }
        if negative { return value }
        return value == .min ? nil : -value
    }

    /// [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?
    private static func isFloat(_ text: String) -> Bool {
        var rest = Array(text.utf8)[...]
        func skipDigits() -> Int {
            let count = rest.prefix { $0 &- 48 < 10 }.count
            rest = rest.dropFirst(count)
            return count
        }
        if rest.first == UInt8(ascii: "-") || rest.first == UInt8(ascii: "+") { rest = rest.dropFirst() }
        let whole = skipDigits()
        if rest.first == UInt8(ascii: ".") {
            rest = rest.dropFirst()
            if skipDigits() == 0, whole == 0 { return false }
        } else if whole == 0 {
            return false
        }
        if let byte = rest.first, byte | 0x20 == UInt8(ascii: "e") {
            rest = rest.dropFirst()
            if rest.first == UInt8(ascii: "-") || rest.first == UInt8(ascii: "+") { rest = rest.dropFirst() }
            if skipDigits() == 0 { return false }
        }
        return rest.isEmpty
    }

    /// 1:20 and the like were numbers to base 60 once; they are quoted for old readers.
    static func isBase60(_ text: String) -> Bool {
        guard text.utf8.contains(UInt8(ascii: ":")), let first = text.utf8.first,
            first == UInt8(ascii: "-") || first == UInt8(ascii: "+") || first &- 48 < 10
        else { return false }
        let parts = text.drop { $0 == "-" || $0 == "+" }.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count > 1 else { return false }
        for (i, part) in parts.enumerated() {
            let digits = i == parts.count - 1 ? part.split(separator: ".", maxSplits: 1).first ?? part : part
            guard !digits.isEmpty, digits.utf8.allSatisfy({ $0 &- 48 < 10 || $0 == UInt8(ascii: "_") }) else {
                return false
            }
            if i > 0, digits.utf8.count > 2 || (digits.utf8.count == 2 && (digits.utf8.first ?? 0) > UInt8(ascii: "5"))
            {
                return false
            }
        }
        return true
    }
}
