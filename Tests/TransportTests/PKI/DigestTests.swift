import Testing

@testable import Transport

@Suite struct DigestTests {
    /// FIPS 180-2, appendix B.
    @Test func sha256OfKnownTexts() {
        #expect(SHA256.hexDigest([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        #expect(
            SHA256.hexDigest(Array("abc".utf8)) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    }

    @Test func sha256InPiecesIsTheSame() {
        let bytes = (0..<10_000).map { UInt8(truncatingIfNeeded: $0 * 7) }
        var hash = SHA256()
        for start in stride(from: 0, to: bytes.count, by: 333) {
            hash.update(Array(bytes[start..<min(start + 333, bytes.count)]))
        }
        #expect(hash.finish() == SHA256.digest(bytes))
        hash.update(Array("abc".utf8))
        #expect(hash.finish() == SHA256.digest(Array("abc".utf8)))
    }

    /// RFC 4231, test cases 1 and 6.
    @Test func hmacOfKnownTexts() {
        #expect(
            hex(HMACSHA256.code(key: [UInt8](repeating: 0x0B, count: 20), Array("Hi There".utf8)))
                == "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7")
        #expect(
            hex(
                HMACSHA256.code(
                    key: [UInt8](repeating: 0xAA, count: 131),
                    Array("Test Using Larger Than Block-Size Key - Hash Key First".utf8)))
                == "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54")
    }

    @Test func comparisonSeesEveryDifference() {
        #expect(constantTimeEqual("secret", "secret"))
        #expect(!constantTimeEqual("secret", "secreT"))
        #expect(!constantTimeEqual("secret", "secret1"))
        #expect(constantTimeEqual("", ""))
    }

    @Test func randomBytesDiffer() throws {
        let first = try SecureRandom.bytes(32)
        #expect(first.count == 32)
        #expect(try SecureRandom.bytes(32) != first)
    }
}
