/// The query of a request: ordered, multi-valued, percent-decoded (`+` is a space, as in HTML forms and Go's net/url).
package struct HTTPQuery: Sendable, Equatable {
    package struct Item: Sendable, Equatable {
        package var name: String
        package var value: String

        package init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    package private(set) var items: [Item] = []

    package init() {}

    package init(_ pairs: [(String, String)]) {
        for (name, value) in pairs { items.append(Item(name: name, value: value)) }
    }

    /// Parses the part after `?`. Items that do not decode are dropped, as Go's `url.Query()` does.
    package init(parsing text: Substring) {
        guard !text.isEmpty else { return }
        for part in text.utf8.split(separator: UInt8(ascii: "&")) {
            let equals = part.firstIndex(of: UInt8(ascii: "="))
            let name = part[part.startIndex..<(equals ?? part.endIndex)]
            let value = equals.map { part[part.index(after: $0)...] } ?? part[part.endIndex...]
            guard let name = percentDecoded(name, plusIsSpace: true),
                let value = percentDecoded(value, plusIsSpace: true)
            else { continue }
            items.append(Item(name: name, value: value))
        }
    }

    package var isEmpty: Bool { items.isEmpty }

    /// The first value of the name, or nil.
    package subscript(_ name: String) -> String? {
        for item in items where item.name == name { return item.value }
        return nil
    }

    package func values(_ name: String) -> [String] {
        var result: [String] = []
        for item in items where item.name == name { result.append(item.value) }
        return result
    }

    package func contains(_ name: String) -> Bool {
        items.contains { $0.name == name }
    }

    package mutating func add(_ name: String, _ value: String) {
        items.append(Item(name: name, value: value))
    }

    /// The encoded form without `?`.
    package var encoded: String {
        var text = ""
        for item in items {
            if !text.isEmpty { text.append("&") }
            text += percentEncoded(item.name, keeping: isUnreserved)
            text.append("=")
            text += percentEncoded(item.value, keeping: isUnreserved)
        }
        return text
    }
}

// MARK: - Percent coding (RFC 3986 2.1)

/// nil when an escape is malformed or the result is not UTF-8.
package func percentDecoded<C: Collection<UInt8>>(_ bytes: C, plusIsSpace: Bool) -> String? {
    var out: [UInt8] = []
    out.reserveCapacity(bytes.count)
    var iterator = bytes.makeIterator()
    while let byte = iterator.next() {
        if byte == UInt8(ascii: "%") {
            guard let high = iterator.next().flatMap(hexDigitValue), let low = iterator.next().flatMap(hexDigitValue)
            else { return nil }
            out.append(high << 4 | low)
        } else if plusIsSpace, byte == UInt8(ascii: "+") {
            out.append(0x20)
        } else {
            out.append(byte)
        }
    }
    return String(validating: out, as: UTF8.self)
}

package func percentEncoded(_ text: String, keeping: (UInt8) -> Bool) -> String {
    var out: [UInt8] = []
    out.reserveCapacity(text.utf8.count)
    for byte in text.utf8 {
        if keeping(byte) {
            out.append(byte)
        } else {
            out.append(UInt8(ascii: "%"))
            out.append(upperHexDigit(byte >> 4))
            out.append(upperHexDigit(byte & 15))
        }
    }
    return String(decoding: out, as: UTF8.self)
}

/// Bytes that need no escape in a query item.
package func isUnreserved(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
        UInt8(ascii: "~"):
        true
    default: false
    }
}

/// Bytes that need no escape in a path.
package func isPathByte(_ byte: UInt8) -> Bool {
    isUnreserved(byte) || "/:@!$&'()*+,;=".utf8.contains(byte)
}

func hexDigitValue(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
    default: nil
    }
}

func upperHexDigit(_ value: UInt8) -> UInt8 {
    value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "A") + value - 10
}
