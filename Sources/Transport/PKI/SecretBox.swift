import COpenSSL

/// NaCl's secretbox: XSalsa20 and Poly1305, which kube-apiserver offers for encryption at rest. OpenSSL has the latter
/// only. Source: cr.yp.to/highspeed/naclcrypto-20090310.pdf, sections 9 and 10.
enum SecretBox {
    static let keyBytes = 32
    static let nonceBytes = 24
    static let tagBytes = 16

    /// Tag, then the encrypted message.
    static func seal(_ message: ArraySlice<UInt8>, key: [UInt8], nonce: ArraySlice<UInt8>) throws(PKIError) -> [UInt8] {
        let (authenticator, sealed) = applied(message, key, nonce)
        return try tag(sealed, authenticator) + sealed
    }

    /// nil: not what was sealed with this key.
    static func open(_ box: ArraySlice<UInt8>, key: [UInt8], nonce: ArraySlice<UInt8>) throws(PKIError) -> [UInt8]? {
        guard box.count >= tagBytes else { return nil }
        let sealed = box.dropFirst(tagBytes)
        let (authenticator, message) = applied(sealed, key, nonce)
        guard constantTimeEqual(try tag(Array(sealed), authenticator), Array(box.prefix(tagBytes))) else { return nil }
        return message
    }

    /// The stream over a message: its first 32 bytes are the authenticator's key, the rest hides the message.
    private static func applied(
        _ message: ArraySlice<UInt8>, _ key: [UInt8], _ nonce: ArraySlice<UInt8>
    ) -> (authenticator: [UInt8], output: [UInt8]) {
        let nonce = Array(nonce)
        let subkey = hsalsa(key, Array(nonce[..<16]))
        var out: [UInt8] = []
        out.reserveCapacity(message.count)
        var authenticator: [UInt8] = []
        var block: [UInt8] = []
        var used = 64
        var counter: UInt64 = 0
        func next() {
            var input = Array(nonce[16...])
            for shift in stride(from: UInt64(0), to: 64, by: 8) {
                input.append(UInt8(truncatingIfNeeded: counter >> shift))
            }
            block = salsa(subkey, input)
            counter += 1
            used = 0
        }
        next()
        authenticator = Array(block[..<32])
        used = 32
        for byte in message {
            if used == 64 { next() }
            out.append(byte ^ block[used])
            used += 1
        }
        return (authenticator, out)
    }

    // MARK: - Salsa20

    private static let constants: [UInt32] = [0x6170_7865, 0x3320_646E, 0x7962_2D32, 0x6B20_6574]

    private static func word(_ bytes: [UInt8], _ at: Int) -> UInt32 {
        (0..<4).reduce(0) { $0 | UInt32(bytes[at + $1]) << UInt32($1 * 8) }
    }

    private static func state(_ key: [UInt8], _ input: [UInt8]) -> [UInt32] {
        var x = [UInt32](repeating: 0, count: 16)
        for i in 0..<4 {
            x[i * 5] = constants[i]
            x[1 + i] = word(key, i * 4)
            x[11 + i] = word(key, 16 + i * 4)
            x[6 + i] = word(input, i * 4)
        }
        return x
    }

    private static func rounds(_ x: inout [UInt32]) {
        func quarter(_ a: Int, _ b: Int, _ c: Int, _ d: Int) {
            func rotated(_ value: UInt32, _ by: UInt32) -> UInt32 { value << by | value >> (32 - by) }
            x[b] ^= rotated(x[a] &+ x[d], 7)
            x[c] ^= rotated(x[b] &+ x[a], 9)
            x[d] ^= rotated(x[c] &+ x[b], 13)
            x[a] ^= rotated(x[d] &+ x[c], 18)
        }
        for _ in 0..<10 {
            quarter(0, 4, 8, 12)
            quarter(5, 9, 13, 1)
            quarter(10, 14, 2, 6)
            quarter(15, 3, 7, 11)
            quarter(0, 1, 2, 3)
            quarter(5, 6, 7, 4)
            quarter(10, 11, 8, 9)
            quarter(15, 12, 13, 14)
        }
    }

    private static func bytes(_ words: [UInt32]) -> [UInt8] {
        words.flatMap { word in [0, 8, 16, 24].map { UInt8(truncatingIfNeeded: word >> UInt32($0)) } }
    }

    private static func salsa(_ key: [UInt8], _ input: [UInt8]) -> [UInt8] {
        let start = state(key, input)
        var x = start
        rounds(&x)
        return bytes(zip(x, start).map { $0 &+ $1 })
    }

    private static func hsalsa(_ key: [UInt8], _ input: [UInt8]) -> [UInt8] {
        var x = state(key, input)
        rounds(&x)
        return bytes([0, 5, 10, 15, 6, 7, 8, 9].map { x[$0] })
    }

    // MARK: - Poly1305

    private static func tag(_ message: [UInt8], _ key: [UInt8]) throws(PKIError) -> [UInt8] {
        guard let mac = EVP_MAC_fetch(nil, "POLY1305", nil) else { throw .openSSL("Poly1305") }
        defer { EVP_MAC_free(mac) }
        guard let context = EVP_MAC_CTX_new(mac) else { throw .openSSL("Poly1305") }
        defer { EVP_MAC_CTX_free(context) }
        var out = [UInt8](repeating: 0, count: tagBytes)
        var length = 0
        guard EVP_MAC_init(context, key, key.count, nil) == 1, EVP_MAC_update(context, message, message.count) == 1,
            EVP_MAC_final(context, &out, &length, tagBytes) == 1, length == tagBytes
        else { throw .openSSL("Poly1305") }
        return out
    }
}
