import COpenSSL
import Codecs
import Synchronization

/// A public key (elliptic curve or RSA). Shared by reference: OpenSSL keys do not change once they are made.
package final class PublicKey: @unchecked Sendable {
    /// May be a whole key pair: only the public half is used.
    let pointer: OpaquePointer
    /// Encoding a key takes OpenSSL 3.0 a tenth of a millisecond, decoding half of one.
    private let encoded = Mutex<[UInt8]?>(nil)

    /// Takes ownership.
    init(owning pointer: OpaquePointer) { self.pointer = pointer }

    /// Shares the key, which must not be nil.
    init(sharing pointer: OpaquePointer) {
        EVP_PKEY_up_ref(pointer)
        self.pointer = pointer
    }

    deinit { EVP_PKEY_free(pointer) }

    /// - Parameter der: a SubjectPublicKeyInfo.
    package convenience init(der: [UInt8], what: String) throws(PKIError) {
        let key = readDER(der) { cursor, length in d2i_PUBKEY(nil, cursor, length) }
        guard let key else { throw .malformed(what: what, reason: "not a public key") }
        self.init(owning: key)
    }

    /// All the public keys of a PEM text: of PUBLIC KEY blocks, certificates, and private keys. That is what a service
    /// account key file may hold.
    package static func keys(pem: [UInt8], what: String) throws(PKIError) -> [PublicKey] {
        var keys: [PublicKey] = []
        for block in try PEM.blocks(pem, what: what) {
            switch block.label {
            case "PUBLIC KEY": keys.append(try PublicKey(der: block.der, what: what))
            case "CERTIFICATE": keys.append(try Certificate(der: block.der, what: what).publicKey)
            case "EC PRIVATE KEY", "RSA PRIVATE KEY", "PRIVATE KEY":
                keys.append(try PrivateKey(der: block.der, what: what).publicKey)
            default: continue
            }
        }
        guard !keys.isEmpty else { throw .malformed(what: what, reason: "no public key in the PEM text") }
        return keys
    }

    /// The SubjectPublicKeyInfo.
    package var der: [UInt8] {
        encoded.withLock { encoded in
            if let encoded { return encoded }
            let der = writeDER { i2d_PUBKEY(pointer, $0) }
            encoded = der
            return der
        }
    }

    package var pem: [UInt8] { PEM.encode(PEM.Block(label: "PUBLIC KEY", der: der)) }

    /// The key id of tokens, as the Kubernetes API server makes it: base64url of the SHA-256 of the DER.
    package var keyID: String { Base64.encodeURL(SHA256.digest(der)) }

    package var algorithm: KeyAlgorithm? { KeyAlgorithm(of: pointer) }

    /// The members of a JSON Web Key (RFC 7517, 7518) that describe the key itself; empty for other key types.
    package var jwk: [(name: String, value: String)] {
        switch algorithm {
        case .rsa?:
            guard let modulus = number("n"), let exponent = number("e") else { return [] }
            return [("kty", "RSA"), ("n", Base64.encodeURL(modulus)), ("e", Base64.encodeURL(exponent))]
        case let curve?:
            guard let x = number("qx"), let y = number("qy") else { return [] }
            let width = curve.coordinateBytes
            return [
                ("kty", "EC"), ("crv", curve.curveName), ("x", Base64.encodeURL(padded(x, to: width))),
                ("y", Base64.encodeURL(padded(y, to: width))),
            ]
        case nil:
            return []
        }
    }

    private func number(_ parameter: String) -> [UInt8]? {
        var number: OpaquePointer?
        guard EVP_PKEY_get_bn_param(pointer, parameter, &number) == 1, let number else { return nil }
        defer { BN_free(number) }
        return bytes(of: number)
    }
}

/// What a key can sign with.
package enum KeyAlgorithm: Sendable {
    case p256, p384, p521, rsa

    init?(of key: OpaquePointer) {
        switch EVP_PKEY_get_base_id(key) {
        case EVP_PKEY_RSA: self = .rsa
        case EVP_PKEY_EC:
            switch EVP_PKEY_get_bits(key) {
            case 256 where Self.group(of: key) == "prime256v1": self = .p256
            case 384 where Self.group(of: key) == "secp384r1": self = .p384
            case 521 where Self.group(of: key) == "secp521r1": self = .p521
            default: return nil
            }
        default: return nil
        }
    }

    private static func group(of key: OpaquePointer) -> String {
        var name = [CChar](repeating: 0, count: 80)
        var length = 0
        guard EVP_PKEY_get_group_name(key, &name, name.count, &length) == 1 else { return "" }
        return String(decoding: name.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    var digest: OpaquePointer? {
        switch self {
        case .p256, .rsa: EVP_sha256()
        case .p384: EVP_sha384()
        case .p521: EVP_sha512()
        }
    }

    /// The name in a token's header (RFC 7518).
    package var tokenAlgorithm: String {
        switch self {
        case .p256: "ES256"
        case .p384: "ES384"
        case .p521: "ES512"
        case .rsa: "RS256"
        }
    }

    var curveName: String {
        switch self {
        case .p256: "P-256"
        case .p384: "P-384"
        case .p521: "P-521"
        case .rsa: ""
        }
    }

    var coordinateBytes: Int {
        switch self {
        case .p256: 32
        case .p384: 48
        case .p521: 66
        case .rsa: 0
        }
    }
}

// MARK: Bytes in and out of OpenSSL

/// Reads one DER value with a `d2i` function; nil if it is malformed or something follows it.
func readDER(
    _ der: [UInt8], _ read: (UnsafeMutablePointer<UnsafePointer<UInt8>?>, Int) -> OpaquePointer?
) -> OpaquePointer? {
    ERR_clear_error()
    defer { ERR_clear_error() }
    var consumed = 0
    let value = der.withUnsafeBufferPointer { buffer -> OpaquePointer? in
        var cursor = buffer.baseAddress
        let value = read(&cursor, buffer.count)
        if let cursor, let base = buffer.baseAddress { consumed = cursor - base }
        return value
    }
    return consumed == der.count ? value : nil
}

/// The result of an `i2d` function.
func writeDER(_ write: (UnsafeMutablePointer<UnsafeMutablePointer<UInt8>?>?) -> Int32) -> [UInt8] {
    let length = write(nil)
    guard length > 0 else { return [] }
    return [UInt8](unsafeUninitializedCapacity: Int(length)) { buffer, count in
        var cursor = buffer.baseAddress
        count = max(0, Int(write(&cursor)))
    }
}

func bytes(of number: OpaquePointer?) -> [UInt8] {
    let length = Int((BN_num_bits(number) + 7) / 8)
    return [UInt8](unsafeUninitializedCapacity: max(1, length)) { buffer, count in
        count = Int(BN_bn2bin(number, buffer.baseAddress))
    }
}

func padded(_ bytes: [UInt8], to width: Int) -> [UInt8] {
    [UInt8](repeating: 0, count: max(0, width - bytes.count)) + bytes
}
