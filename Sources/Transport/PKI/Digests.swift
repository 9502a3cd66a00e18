import COpenSSL

/// SHA-256, fed in pieces.
package struct SHA256: ~Copyable, Sendable {
    package static let byteCount = 32

    // Owned by this value, which moves from task to task but is never shared.
    nonisolated(unsafe) private let context: OpaquePointer?

    package init() {
        context = EVP_MD_CTX_new()
        EVP_DigestInit_ex(context, EVP_sha256(), nil)
    }

    deinit { EVP_MD_CTX_free(context) }

    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        EVP_DigestUpdate(context, bytes.baseAddress, bytes.count)
    }

    package mutating func update(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { update($0) }
    }

    /// The digest of all that was fed; the value starts anew.
    package mutating func finish() -> [UInt8] {
        let digest = [UInt8](unsafeUninitializedCapacity: Self.byteCount) { buffer, count in
            var length: UInt32 = 0
            EVP_DigestFinal_ex(context, buffer.baseAddress, &length)
            count = Int(length)
        }
        EVP_DigestInit_ex(context, EVP_sha256(), nil)
        return digest
    }

    package static func digest(_ bytes: [UInt8]) -> [UInt8] {
        var hash = SHA256()
        hash.update(bytes)
        return hash.finish()
    }

    package static func hexDigest(_ bytes: [UInt8]) -> String { hex(digest(bytes)) }
}

/// HMAC with SHA-256 (RFC 2104).
package enum HMACSHA256 {
    package static func code(key: [UInt8], _ message: [UInt8]) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: SHA256.byteCount) { buffer, count in
            var length: UInt32 = 0
            HMAC(EVP_sha256(), key, Int32(clamping: key.count), message, message.count, buffer.baseAddress, &length)
            count = Int(length)
        }
    }
}

/// Compares secrets in a time that depends on their length only.
package func constantTimeEqual(_ left: [UInt8], _ right: [UInt8]) -> Bool {
    left.count == right.count && CRYPTO_memcmp(left, right, left.count) == 0
}

package func constantTimeEqual(_ left: String, _ right: String) -> Bool {
    constantTimeEqual(Array(left.utf8), Array(right.utf8))
}

package enum SecureRandom {
    /// Bytes fit for keys and passwords.
    package static func bytes(_ count: Int) throws(PKIError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        guard RAND_bytes(&bytes, Int32(clamping: count)) == 1 else { throw .openSSL("random bytes") }
        return bytes
    }
}

/// Lower-case hexadecimal.
package func hex(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    for byte in bytes {
        text.append(digits[Int(byte >> 4)])
        text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
}

/// For names that others' programs derive by it; not for security.
package enum SHA1 {
    package static func hexDigest(_ bytes: [UInt8]) -> String {
        var digest = [UInt8](repeating: 0, count: 20)
        EVP_Digest(bytes, bytes.count, &digest, nil, EVP_sha1(), nil)
        return hex(digest)
    }
}
