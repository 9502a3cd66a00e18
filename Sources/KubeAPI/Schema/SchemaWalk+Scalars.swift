internal import Codecs

/// Values whose text has a form of its own.
extension SchemaWalk {
    func scalar(_ value: JSON, _ type: ValueType) throws(DecodingFailure) -> JSON {
        switch type {
        case .bytes:
            guard case .string(let text) = value else { throw mismatch(value, "[]uint8") }
            return .string(try Self.base64(text))
        case .time: return try Self.time(value, micro: false)
        case .microTime: return try Self.time(value, micro: true)
        case .duration:
            guard case .string(let text) = value else { throw Self.plain(value, "string") }
            guard let nanoseconds = GoDuration.parse(text) else {
                throw DecodingFailure(message: "time: invalid duration \(JSON.string(text).text)")
            }
            return .string(GoDuration.text(nanoseconds))
        case .quantity: return try Self.quantity(value)
        case .intOrString:
            switch value {
            case .string: return value
            case .int(let i) where Int32(exactly: i) != nil: return value
            case .int, .double: throw Self.plain("number \(value.text)", "int32")
            default: throw Self.plain(value, "int32")
            }
        default: return value
        }
    }

    /// An error inside of a type's own decoder, which does not know where it is.
    private static func plain(_ value: JSON, _ name: String) -> DecodingFailure { plain(value.goKind, name) }
    private static func plain(_ found: String, _ name: String) -> DecodingFailure {
        DecodingFailure(message: "json: cannot unmarshal \(found) into Go value of type \(name)")
    }

    private static func quantity(_ value: JSON) throws(DecodingFailure) -> JSON {
        let text: String
        switch value {
        case .string(let s): text = s
        case .int, .double: text = value.text
        default: text = ""
        }
        if let quantity = Quantity(text) { return .string(quantity.description) }
        // Upstream tells a bad number from a bad suffix.
        let tail = text.drop { "+-.0123456789".contains($0) }
        if !text.isEmpty, tail.count < text.count, !tail.isEmpty,
            tail.allSatisfy({ "eEinumkKMGTP+-0123456789".contains($0) })
        {
            return try failQuantity("unable to parse quantity's suffix")
        }
        return try failQuantity(
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")
    }

    private static func failQuantity(_ message: String) throws(DecodingFailure) -> JSON {
        throw DecodingFailure(message: message)
    }

    private static func time(_ value: JSON, micro: Bool) throws(DecodingFailure) -> JSON {
        guard case .string(let text) = value else { throw plain(value, "string") }
        if let time = Timestamp(text) {
            if !micro, text.utf8.count == 20, text.utf8.last == UInt8(ascii: "Z") { return value }
            return .string(micro ? time.rfc3339Micro : time.rfc3339)
        }
        // Outside of what 64 bits of nanoseconds hold: year one is Go's "unset", others stay as they are.
        if text == "0001-01-01T00:00:00Z" { return .null }
        if let rest = yearMoved(text), Timestamp(rest) != nil { return value }
        let layout = micro ? "2006-01-02T15:04:05.000000Z07:00" : "2006-01-02T15:04:05Z07:00"
        throw DecodingFailure(
            message:
                "parsing time \(JSON.string(text).text) as \"\(layout)\": cannot parse \(JSON.string(text).text) as \"2006\""
        )
    }

    /// The same date in 2000 (a leap year), if the text begins with a four-digit year.
    private static func yearMoved(_ text: String) -> String? {
        let year = text.utf8.prefix(4)
        guard year.count == 4, year.allSatisfy({ $0 &- 48 < 10 }) else { return nil }
        return "2000" + text.dropFirst(4)
    }

    /// Standard alphabet with padding; line breaks are dropped.
    static func base64(_ text: String) throws(DecodingFailure) -> String {
        var clean = true
        var length = 0
        var padding = 0
        var bad: Int?
        for (offset, byte) in text.utf8.enumerated() {
            switch byte {
            case UInt8(ascii: "\n"), UInt8(ascii: "\r"):
                clean = false
                continue
            case UInt8(ascii: "="):
                padding += 1
                // Only in the last two places of a group of four.
                if padding > 2 || length % 4 < 2 { bad = bad ?? offset }
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "/"):
                if padding > 0 { bad = bad ?? offset }
            default: bad = bad ?? offset
            }
            length += 1
        }
        if length % 4 != 0 { bad = bad ?? length / 4 * 4 }
        if let bad { throw DecodingFailure(message: "illegal base64 data at input byte \(bad)") }
        return clean ? text : String(decoding: text.utf8.filter { $0 != 10 && $0 != 13 }, as: UTF8.self)
    }
}
