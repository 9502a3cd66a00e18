/// Random identifiers: uids (RFC 9562 version 4) and the suffixes of generated names.
enum Identifiers {
    static func uid() -> String {
        var random = SystemRandomNumberGenerator()
        let high = random.next() & 0xFFFF_FFFF_FFFF_0FFF | 0x4000
        let low = random.next() & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
        let digits = Array("0123456789abcdef".utf8)
        var out: [UInt8] = []
        out.reserveCapacity(36)
        for i in 0..<32 {
            if i == 8 || i == 12 || i == 16 || i == 20 { out.append(UInt8(ascii: "-")) }
            let word = i < 16 ? high : low
            out.append(digits[Int(truncatingIfNeeded: word >> UInt64((15 - i % 16) * 4) & 15)])
        }
        return String(decoding: out, as: UTF8.self)
    }

    /// Letters and digits that make no words and are not mistaken for each other (k8s.io/apimachinery/pkg/util/rand).
    private static let alphabet = Array("bcdfghjklmnpqrstvwxz2456789".utf8)

    static func suffix(_ length: Int = 5) -> String {
        String(decoding: (0..<length).map { _ in alphabet[Int.random(in: 0..<alphabet.count)] }, as: UTF8.self)
    }

    /// `metadata.generateName` and a suffix, within the 63 bytes that most names may have.
    static func name(generatedFrom base: String) -> String {
        var base = base
        while base.utf8.count > 58 { base.removeLast() }
        return base + suffix()
    }
}
