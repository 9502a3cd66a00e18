import COpenSSL
import Linux

/// A private key. Shared by reference; never printed, and written with mode 0600 only.
package final class PrivateKey: @unchecked Sendable, CustomStringConvertible {
    let pointer: OpaquePointer

    package let publicKey: PublicKey

    /// Takes ownership.
    init(owning pointer: OpaquePointer) {
        self.pointer = pointer
        publicKey = PublicKey(sharing: pointer)
    }

    deinit { EVP_PKEY_free(pointer) }

    /// A new key on the curve P-256.
    package static func generate() throws(PKIError) -> PrivateKey {
        let context = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, nil)
        defer { EVP_PKEY_CTX_free(context) }
        var key: OpaquePointer?
        guard EVP_PKEY_keygen_init(context) == 1,
            EVP_PKEY_CTX_set_ec_paramgen_curve_nid(context, NID_X9_62_prime256v1) == 1,
            EVP_PKEY_generate(context, &key) == 1, let key
        else { throw .openSSL("generate a P-256 key") }
        return PrivateKey(owning: key)
    }

    /// - Parameter der: SEC 1, PKCS #1 or unencrypted PKCS #8.
    package convenience init(der: [UInt8], what: String) throws(PKIError) {
        let key = P256KeyForm.read(der) ?? readDER(der) { cursor, length in d2i_AutoPrivateKey(nil, cursor, length) }
        guard let key else { throw .malformed(what: what, reason: "not a private key") }
        self.init(owning: key)
    }

    /// The first private key of a PEM text.
    package convenience init(pem: [UInt8], what: String) throws(PKIError) {
        for block in try PEM.blocks(pem, what: what) {
            switch block.label {
            case "EC PRIVATE KEY", "RSA PRIVATE KEY", "PRIVATE KEY":
                try self.init(der: block.der, what: what)
                return
            case "ENCRYPTED PRIVATE KEY":
                throw .malformed(what: what, reason: "the private key is encrypted; a plain one is needed")
            default: continue
            }
        }
        throw .malformed(what: what, reason: "no private key in the PEM text")
    }

    package static func load(_ path: String) throws(PKIError) -> PrivateKey {
        try PrivateKey(pem: try readFile(path), what: path)
    }

    /// Replaces the file; mode 0600.
    package func save(_ path: String) throws(PKIError) { try writeFile(path, pem, mode: 0o600) }

    /// SEC 1 for curves and PKCS #1 for RSA, the forms that k3s writes and all tools read.
    package var pem: [UInt8] {
        let algorithm = algorithm
        let label = algorithm == .rsa ? "RSA PRIVATE KEY" : algorithm == nil ? "PRIVATE KEY" : "EC PRIVATE KEY"
        let short = algorithm == .p256 ? P256KeyForm.write(pointer) : nil
        return PEM.encode(PEM.Block(label: label, der: short ?? writeDER { i2d_PrivateKey(pointer, $0) }))
    }

    package var algorithm: KeyAlgorithm? { KeyAlgorithm(of: pointer) }

    package func matches(_ certificate: Certificate) -> Bool {
        defer { ERR_clear_error() }
        return X509_check_private_key(certificate.pointer, pointer) == 1
    }

    package var description: String { "PrivateKey(\(algorithm.map { "\($0)" } ?? "other"))" }
}

/// A file of at most `PEM.limit` bytes.
func readFile(_ path: String) throws(PKIError) -> [UInt8] {
    do throws(SysError) { return try Files.read(path, limit: PEM.limit) } catch { throw .file("\(error)") }
}

func writeFile(_ path: String, _ bytes: [UInt8], mode: UInt32) throws(PKIError) {
    do throws(SysError) {
        try Files.writeAtomically(path, bytes, mode: mode, sync: false)
    } catch {
        throw .file("\(error)")
    }
}
