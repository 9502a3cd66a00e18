/// A domain name in wire form (RFC 1035, 3.1): labels with their lengths and the root's zero at the end, never
/// compressed, at most 255 bytes, ASCII letters in lower case. So equal names are equal bytes.
package struct DNSName: Hashable, Sendable {
    package let wire: [UInt8]

    package static let root = DNSName(unchecked: [0])

    /// `wire` must be a whole name in lower case.
    init(unchecked wire: [UInt8]) { self.wire = wire }

    /// From labels without their lengths; nil where one is empty or longer than 63 bytes or all are longer than 255.
    package init?(labels: some Collection<ArraySlice<UInt8>>) {
        var wire: [UInt8] = []
        wire.reserveCapacity(64)
        for label in labels {
            guard (1...63).contains(label.count), wire.count + label.count + 2 <= 255 else { return nil }
            wire.append(UInt8(label.count))
            for byte in label { wire.append(DNSName.lower(byte)) }
        }
        wire.append(0)
        self.wire = wire
    }

    /// From text, with or without the dot at the end. A backslash escapes as in master files ("\." and "\032").
    package init?(_ text: some StringProtocol) {
        if text == "." {
            self = .root
            return
        }
        var labels: [ArraySlice<UInt8>] = []
        var label: [UInt8] = []
        var bytes = Array(text.utf8)[...]
        while let byte = bytes.popFirst() {
            switch byte {
            case UInt8(ascii: "."):
                labels.append(label[...])
                label = []
            case UInt8(ascii: "\\"):
                let digits = bytes.prefix(3)
                if digits.count == 3, digits.allSatisfy({ (0x30...0x39).contains($0) }) {
                    let value = digits.reduce(0) { $0 * 10 + Int($1 - 0x30) }
                    guard let escaped = UInt8(exactly: value) else { return nil }
                    label.append(escaped)
                    bytes = bytes.dropFirst(3)
                } else {
                    guard let escaped = bytes.popFirst() else { return nil }
                    label.append(escaped)
                }
            default: label.append(byte)
            }
        }
        if !label.isEmpty { labels.append(label[...]) }
        guard !labels.isEmpty else { return nil }
        self.init(labels: labels)
    }

    @inline(__always)
    static func lower(_ byte: UInt8) -> UInt8 { byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte }

    /// Without lengths, the leftmost first.
    package var labels: [ArraySlice<UInt8>] {
        var out: [ArraySlice<UInt8>] = []
        var index = 0
        while index < wire.count, wire[index] != 0 {
            let end = index + 1 + Int(wire[index])
            out.append(wire[index + 1..<end])
            index = end
        }
        return out
    }

    package var isRoot: Bool { wire.count == 1 }

    /// Whether the name is `zone` or below it.
    package func isInside(_ zone: DNSName) -> Bool {
        let offset = wire.count - zone.wire.count
        if offset < 0 { return false }
        if offset == 0 { return wire == zone.wire }
        var index = 0
        while index < offset { index += 1 + Int(wire[index]) }
        guard index == offset else { return false }
        return wire[offset...].elementsEqual(zone.wire)
    }

    /// Labels in front of `zone`, which the name must be inside of.
    package func labels(before zone: DNSName) -> [ArraySlice<UInt8>] {
        Array(labels.dropLast(zone.labels.count))
    }

    /// The name with labels in front; nil where that is too long.
    package func prepending(_ labels: [[UInt8]]) -> DNSName? {
        var bytes: [UInt8] = []
        for label in labels {
            guard (1...63).contains(label.count) else { return nil }
            bytes.append(UInt8(label.count))
            for byte in label { bytes.append(DNSName.lower(byte)) }
        }
        guard bytes.count + wire.count <= 255 else { return nil }
        return DNSName(unchecked: bytes + wire)
    }
}

extension DNSName: CustomStringConvertible {
    /// Text with the dot at the end, what is no plain character escaped.
    package var description: String {
        if isRoot { return "." }
        var text = ""
        for label in labels {
            for byte in label {
                switch byte {
                case UInt8(ascii: "."), UInt8(ascii: "\\"): text += "\\" + String(UnicodeScalar(byte))
                case 0x21...0x7e: text.unicodeScalars.append(UnicodeScalar(byte))
                default:
                    let digits = String(byte)
                    text += "\\" + String(repeating: "0", count: 3 - digits.count) + digits
                }
            }
            text += "."
        }
        return text
    }
}
