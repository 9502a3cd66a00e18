/// The words of an expression. Source: github.com/google/cel-spec, langdef.md, "Syntax".
struct CELLexer {
    enum Token: Equatable {
        case end
        case identifier(String)
        case int(UInt64)
        case uint(UInt64)
        case double(Double)
        case string(String)
        case bytes([UInt8])
        case symbol(String)
    }

    let source: String
    private let bytes: [UInt8]
    private(set) var at = 0

    init(_ source: String) {
        self.source = source
        bytes = Array(source.utf8)
    }

    private func byte(_ ahead: Int = 0) -> UInt8 { at + ahead < bytes.count ? bytes[at + ahead] : 0 }
    func fail(_ message: String, at place: Int) -> CELError {
        CELProgram.report("Syntax error: " + message, at: place, in: source)
    }

    /// The next word and where it begins.
    mutating func next() throws(CELError) -> (Token, Int) {
        skip()
        let start = at
        guard at < bytes.count else { return (.end, start) }
        let first = byte()
        if Self.isLetter(first) {
            if let literal = try prefixed() { return (literal, start) }
            while Self.isLetter(byte()) || Self.isDigit(byte()) { at += 1 }
            return (.identifier(String(decoding: bytes[start..<at], as: UTF8.self)), start)
        }
        if Self.isDigit(first) || first == UInt8(ascii: ".") && Self.isDigit(byte(1)) { return (try number(), start) }
        if first == UInt8(ascii: "\"") || first == UInt8(ascii: "'") {
            return (.string(try text(try quoted(isRaw: false, isBytes: false), start)), start)
        }
        let two = String(decoding: bytes[at..<min(at + 2, bytes.count)], as: UTF8.self)
        if ["&&", "||", "==", "!=", "<=", ">="].contains(two) {
            at += 2
            return (.symbol(two), start)
        }
        at += 1
        if "()[]{}.,:?!<>+-*/%".utf8.contains(first) {
            return (.symbol(String(decoding: [first], as: UTF8.self)), start)
        }
        throw fail("token recognition error at: '\(String(decoding: [first], as: UTF8.self))'", at: start)
    }

    private mutating func skip() {
        while at < bytes.count {
            if [9, 10, 12, 13, 32].contains(bytes[at]) {
                at += 1
            } else if byte() == UInt8(ascii: "/"), byte(1) == UInt8(ascii: "/") {
                while at < bytes.count, bytes[at] != 10 { at += 1 }
            } else {
                return
            }
        }
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (65...90).contains(byte) || (97...122).contains(byte) || byte == UInt8(ascii: "_")
    }
    private static func isDigit(_ byte: UInt8) -> Bool { (48...57).contains(byte) }

    private func text(_ bytes: [UInt8], _ start: Int) throws(CELError) -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else { throw fail("not UTF-8", at: start) }
        return text
    }

    // MARK: - Numbers

    private mutating func number() throws(CELError) -> Token {
        let start = at
        if byte() == 48, byte(1) | 0x20 == UInt8(ascii: "x") {
            at += 2
            while Self.isDigit(byte()) || (97...102).contains(byte() | 0x20) { at += 1 }
            let digits = String(decoding: bytes[(start + 2)..<at], as: UTF8.self)
            guard let value = UInt64(digits, radix: 16) else { throw fail("invalid int literal", at: start) }
            return suffixed(value)
        }
        var isDouble = false
        while Self.isDigit(byte()) { at += 1 }
        if byte() == UInt8(ascii: "."), Self.isDigit(byte(1)) {
            isDouble = true
            at += 1
            while Self.isDigit(byte()) { at += 1 }
        }
        let sign = byte(1) == UInt8(ascii: "+") || byte(1) == UInt8(ascii: "-")
        if byte() | 0x20 == UInt8(ascii: "e"), Self.isDigit(byte(sign ? 2 : 1)) {
            isDouble = true
            at += sign ? 2 : 1
            while Self.isDigit(byte()) { at += 1 }
        }
        let text = String(decoding: bytes[start..<at], as: UTF8.self)
        if isDouble {
            guard let value = Double(text), value.isFinite else { throw fail("invalid double literal", at: start) }
            return .double(value)
        }
        guard let value = UInt64(text) else { throw fail("invalid int literal", at: start) }
        return suffixed(value)
    }

    private mutating func suffixed(_ value: UInt64) -> Token {
        guard byte() | 0x20 == UInt8(ascii: "u") else { return .int(value) }
        at += 1
        return .uint(value)
    }

    // MARK: - Strings

    /// `r"..."`, `b"..."`, `rb"..."`; nil: an identifier.
    private mutating func prefixed() throws(CELError) -> Token? {
        let start = at
        var (isRaw, isBytes, length) = (false, false, 0)
        prefix: while true {
            switch byte(length) | 0x20 {
            case UInt8(ascii: "r") where !isRaw: isRaw = true
            case UInt8(ascii: "b") where !isBytes: isBytes = true
            default: break prefix
            }
            length += 1
        }
        guard length > 0, byte(length) == UInt8(ascii: "\"") || byte(length) == UInt8(ascii: "'") else { return nil }
        at += length
        let content = try quoted(isRaw: isRaw, isBytes: isBytes)
        return isBytes ? .bytes(content) : .string(try text(content, start))
    }

    private mutating func quoted(isRaw: Bool, isBytes: Bool) throws(CELError) -> [UInt8] {
        let (start, quote) = (at, byte())
        let isTriple = byte(1) == quote && byte(2) == quote
        at += isTriple ? 3 : 1
        var content: [UInt8] = []
        while at < bytes.count {
            if byte() == quote, !isTriple || byte(1) == quote && byte(2) == quote {
                at += isTriple ? 3 : 1
                return content
            }
            if !isTriple, byte() == 10 || byte() == 13 { break }
            if byte() == UInt8(ascii: "\\"), !isRaw {
                try escape(&content, isBytes)
            } else {
                content.append(byte())
                at += 1
            }
        }
        throw fail("token recognition error at: '\(String(decoding: bytes[start..<at], as: UTF8.self))'", at: start)
    }

    private mutating func escape(_ content: inout [UInt8], _ isBytes: Bool) throws(CELError) {
        let start = at
        let letter = byte(1)
        at += 2
        switch letter {
        case UInt8(ascii: "a"): content.append(7)
        case UInt8(ascii: "b"): content.append(8)
        case UInt8(ascii: "f"): content.append(12)
        case UInt8(ascii: "n"): content.append(10)
        case UInt8(ascii: "r"): content.append(13)
        case UInt8(ascii: "t"): content.append(9)
        case UInt8(ascii: "v"): content.append(11)
        case UInt8(ascii: "\\"), UInt8(ascii: "?"), UInt8(ascii: "\""), UInt8(ascii: "'"), UInt8(ascii: "`"):
            content.append(letter)
        case UInt8(ascii: "x"), UInt8(ascii: "X"): try code(2, 16, start, isBytes, &content)
        case UInt8(ascii: "u") where !isBytes: try code(4, 16, start, false, &content)
        case UInt8(ascii: "U") where !isBytes: try code(8, 16, start, false, &content)
        case 48...51:
            at -= 1
            try code(3, 8, start, isBytes, &content)
        default: throw fail("unable to unescape string", at: start)
        }
    }

    private mutating func code(
        _ digits: Int, _ radix: Int, _ start: Int, _ isBytes: Bool, _ content: inout [UInt8]
    ) throws(CELError) {
        let text = String(decoding: bytes[min(at, bytes.count)..<min(at + digits, bytes.count)], as: UTF8.self)
        guard text.utf8.count == digits, text.utf8.allSatisfy({ $0 != 43 && $0 != 45 }),
            let value = UInt32(text, radix: radix)
        else { throw fail("unable to unescape string", at: start) }
        at += digits
        if isBytes {
            content.append(UInt8(truncatingIfNeeded: value))
        } else {
            guard let scalar = Unicode.Scalar(value) else { throw fail("unable to unescape string", at: start) }
            content.append(contentsOf: Array(String(Character(scalar)).utf8))
        }
    }
}
