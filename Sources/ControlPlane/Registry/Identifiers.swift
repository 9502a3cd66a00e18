internal import Linux
import Synchronization

/// Random identifiers: uids (RFC 9562 version 4) and the suffixes of generated names.
enum Identifiers {
    /// Random words that have been fetched from the kernel and not been used: a system call for 16 uids.
    private static let words = Mutex<[UInt64]>([])

    static func uid() -> String {
        let (first, second) = words.withLock { words in
            if words.count < 2 { words = fetch(32) }
            return (words.removeLast(), words.removeLast())
        }
        let high = first & 0xFFFF_FFFF_FFFF_0FFF | 0x4000
        let low = second & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
        return String(unsafeUninitializedCapacity: 36) { out in
            var at = 0
            for i in 0..<32 {
                if i == 8 || i == 12 || i == 16 || i == 20 {
                    out[at] = UInt8(ascii: "-")
                    at += 1
                }
                let word = i < 16 ? high : low
                let digit = UInt8(truncatingIfNeeded: word >> UInt64((15 - i % 16) * 4) & 15)
                out[at] = digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10
                at += 1
            }
            return at
        }
    }

    private static func fetch(_ count: Int) -> [UInt64] {
        var words = [UInt64](repeating: 0, count: count)
        let result = words.withUnsafeMutableBytes { bytes in
            bytes.baseAddress.map { getentropy($0, bytes.count) }
        }
        guard result == 0 else {
            var random = SystemRandomNumberGenerator()
            return (0..<count).map { _ in random.next() }
        }
        return words
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
