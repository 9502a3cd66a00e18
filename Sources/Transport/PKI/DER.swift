/// The few DER values (X.690) that certificate names and extensions are made of. Reading is OpenSSL's.
enum DER {
    static func value(_ tag: UInt8, _ content: [UInt8]) -> [UInt8] {
        var out = [tag]
        if content.count < 0x80 {
            out.append(UInt8(content.count))
        } else {
            var length: [UInt8] = []
            var rest = content.count
            while rest > 0 {
                length.insert(UInt8(truncatingIfNeeded: rest), at: 0)
                rest >>= 8
            }
            out.append(0x80 | UInt8(length.count))
            out += length
        }
        return out + content
    }

    static func sequence(_ parts: [[UInt8]]) -> [UInt8] { value(0x30, parts.flatMap { $0 }) }
    static func set(_ parts: [[UInt8]]) -> [UInt8] { value(0x31, parts.flatMap { $0 }) }
    static func octetString(_ bytes: [UInt8]) -> [UInt8] { value(0x04, bytes) }
    static func utf8String(_ text: String) -> [UInt8] { value(0x0C, Array(text.utf8)) }
    static let yes: [UInt8] = [0x01, 0x01, 0xFF]

    /// An object identifier in its encoded form.
    static func objectIdentifier(_ encoded: [UInt8]) -> [UInt8] { value(0x06, encoded) }

    /// A BIT STRING of named bits, bit 0 first.
    static func namedBits(_ bits: [Int]) -> [UInt8] {
        guard let highest = bits.max() else { return value(0x03, [0]) }
        var bytes = [UInt8](repeating: 0, count: highest / 8 + 1)
        for bit in bits { bytes[bit / 8] |= 0x80 >> UInt8(bit % 8) }
        return value(0x03, [UInt8(7 - highest % 8)] + bytes)
    }
}
