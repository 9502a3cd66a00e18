import COpenSSL
import Codecs

/// Why a token is refused. The texts never hold the token.
package enum JWTError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Not a JSON Web Token at all: other authenticators may know it.
    case malformed(String)
    /// A token, but signed with an algorithm or key that is not ours, or tampered with.
    case untrusted(String)

    package var description: String {
        switch self {
        case .malformed(let reason): "malformed token: \(reason)"
        case .untrusted(let reason): "untrusted token: \(reason)"
        }
    }
}

/// Signed JSON Web Tokens (RFC 7515, compact form) of service accounts. The claims are bytes here; who reads them checks
/// times, issuer and audiences.
package enum JWT {
    /// Service account tokens have about 1 KB.
    static let limit = 16 << 10

    /// - Parameter claims: a JSON object.
    package static func sign(claims: [UInt8], key: PrivateKey) throws(PKIError) -> String {
        guard let algorithm = key.algorithm else {
            throw .malformed(what: "token key", reason: "neither RSA nor on the curve P-256, P-384 or P-521")
        }
        let keyID = key.publicKey.keyID
        let header = #"{"alg":"\#(algorithm.tokenAlgorithm)","kid":"\#(keyID)"}"#
        let input = Base64.encodeURL(header.utf8) + "." + Base64.encodeURL(claims)
        let signature = try rawSignature(Array(input.utf8), key: key, algorithm: algorithm)
        return input + "." + Base64.encodeURL(signature)
    }

    private static func rawSignature(
        _ input: [UInt8], key: PrivateKey, algorithm: KeyAlgorithm
    ) throws(PKIError) -> [UInt8] {
        let context = EVP_MD_CTX_new()
        defer { EVP_MD_CTX_free(context) }
        var length = Int(EVP_PKEY_get_size(key.pointer))
        var signature = [UInt8](repeating: 0, count: max(0, length))
        guard EVP_DigestSignInit(context, nil, algorithm.digest, nil, key.pointer) == 1,
            EVP_DigestSign(context, &signature, &length, input, input.count) == 1
        else { throw .openSSL("sign a token") }
        signature.removeSubrange(length...)
        guard algorithm != .rsa else { return signature }
        // JOSE has the two numbers side by side where X.509 has a DER sequence.
        guard let pair = readDER(signature, { cursor, length in d2i_ECDSA_SIG(nil, cursor, length) }) else {
            throw .openSSL("sign a token")
        }
        defer { ECDSA_SIG_free(pair) }
        let width = algorithm.coordinateBytes
        return padded(bytes(of: ECDSA_SIG_get0_r(pair)), to: width)
            + padded(bytes(of: ECDSA_SIG_get0_s(pair)), to: width)
    }
}

/// Checks tokens against a set of keys.
package struct JWTVerifier: Sendable {
    fileprivate struct Key: Sendable {
        var id: String
        var algorithm: KeyAlgorithm
        var key: PublicKey
    }

    fileprivate let keys: [Key]

    /// Keys of other kinds than RSA and the three curves are left out.
    package init(keys: [PublicKey]) {
        self.keys = keys.compactMap { key in
            key.algorithm.map { Key(id: key.keyID, algorithm: $0, key: key) }
        }
    }

    /// The claims, a JSON object, of a token that one of the keys has signed.
    package func verify(_ token: String) throws(JWTError) -> [UInt8] {
        guard token.utf8.count <= JWT.limit else { throw .malformed("longer than \(JWT.limit) bytes") }
        let parts = token.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 3 else { throw .malformed("\(parts.count) parts, expected three") }
        guard let header = Base64.decodeURL(Substring(parts[0])), let claims = Base64.decodeURL(Substring(parts[1])),
            let signature = Base64.decodeURL(Substring(parts[2]))
        else { throw .malformed("not base64url") }
        guard case .object(let fields)? = try? JSON.parse(header, limits: JSON.Limits(depth: 8, values: 256)) else {
            throw .malformed("the header is not a JSON object")
        }
        guard let algorithm = fields["alg"]?.string else { throw .malformed("the header has no alg") }
        guard fields["crit"] == nil else { throw .untrusted("the header has critical extensions") }
        let id = fields["kid"]?.string
        let input = Array(token.utf8.prefix(parts[0].count + 1 + parts[1].count))
        // The algorithm is the key's; the header may only agree. A known key id settles the key.
        let known = keys.filter { $0.id == id }
        for key in known.isEmpty ? keys : known where key.algorithm.tokenAlgorithm == algorithm {
            if key.isSigner(of: input, signature) { return claims }
        }
        throw .untrusted("the signature is of none of the \(keys.count) keys")
    }
}

extension JWTVerifier.Key {
    func isSigner(of input: [UInt8], _ raw: [UInt8]) -> Bool {
        defer { ERR_clear_error() }
        var signature = raw
        if algorithm != .rsa {
            let width = algorithm.coordinateBytes
            guard raw.count == 2 * width, let pair = ECDSA_SIG_new() else { return false }
            defer { ECDSA_SIG_free(pair) }
            let r = BN_bin2bn(raw, Int32(width), nil)
            let s = raw.withUnsafeBufferPointer { BN_bin2bn($0.baseAddress.map { $0 + width }, Int32(width), nil) }
            // On success the pair owns the numbers.
            guard ECDSA_SIG_set0(pair, r, s) == 1 else {
                BN_free(r)
                BN_free(s)
                return false
            }
            signature = writeDER { i2d_ECDSA_SIG(pair, $0) }
        } else if EVP_PKEY_get_bits(key.pointer) < 2_048 {
            return false
        }
        let context = EVP_MD_CTX_new()
        defer { EVP_MD_CTX_free(context) }
        return EVP_DigestVerifyInit(context, nil, algorithm.digest, nil, key.pointer) == 1
            && EVP_DigestVerify(context, signature, signature.count, input, input.count) == 1
    }
}
