import COpenSSL

/// A certificate signing request (PKCS #10). One that exists has a valid signature: its sender holds the key.
package final class CertificateRequest: @unchecked Sendable {
    private let pointer: OpaquePointer

    private init(owning pointer: OpaquePointer) { self.pointer = pointer }

    deinit { X509_REQ_free(pointer) }

    /// Signs a request with the key.
    package static func create(
        subject: DistinguishedName, names: AlternativeNames = AlternativeNames(), key: PrivateKey
    ) throws(PKIError) -> CertificateRequest {
        guard let pointer = X509_REQ_new() else { throw .openSSL("make a certificate request") }
        let request = CertificateRequest(owning: pointer)
        let name = readDER(subject.der) { cursor, length in d2i_X509_NAME(nil, cursor, length) }
        defer { X509_NAME_free(name) }
        guard name != nil, X509_REQ_set_version(pointer, 0) == 1, X509_REQ_set_subject_name(pointer, name) == 1,
            X509_REQ_set_pubkey(pointer, key.pointer) == 1
        else { throw .openSSL("make a certificate request") }
        if !names.isEmpty {
            let made = makeExtension(NID_subject_alt_name, names.der, critical: false)
            let extensions = OPENSSL_sk_new_null()
            defer {
                OPENSSL_sk_free(extensions)
                X509_EXTENSION_free(made)
            }
            guard let made, OPENSSL_sk_push(extensions, UnsafeRawPointer(made)) > 0,
                X509_REQ_add_extensions(pointer, extensions) == 1
            else { throw .openSSL("extend a certificate request") }
        }
        guard X509_REQ_sign(pointer, key.pointer, key.algorithm?.digest) > 0 else {
            throw .openSSL("sign a certificate request")
        }
        return request
    }

    package convenience init(der: [UInt8], what: String = "certificate request") throws(PKIError) {
        guard let pointer = readDER(der, { cursor, length in d2i_X509_REQ(nil, cursor, length) }) else {
            throw .malformed(what: what, reason: "not a PKCS #10 certificate request")
        }
        self.init(owning: pointer)
        defer { ERR_clear_error() }
        guard let key = X509_REQ_get0_pubkey(pointer), X509_REQ_verify(pointer, key) == 1 else {
            throw .malformed(what: what, reason: "the signature does not verify")
        }
    }

    /// The first request of a PEM text.
    package convenience init(pem: [UInt8], what: String = "certificate request") throws(PKIError) {
        for block in try PEM.blocks(pem, what: what)
        where block.label == "CERTIFICATE REQUEST" || block.label == "NEW CERTIFICATE REQUEST" {
            try self.init(der: block.der, what: what)
            return
        }
        throw .malformed(what: what, reason: "no certificate request in the PEM text")
    }

    package var der: [UInt8] { writeDER { i2d_X509_REQ(pointer, $0) } }

    package var pem: [UInt8] { PEM.encode(PEM.Block(label: "CERTIFICATE REQUEST", der: der)) }

    package var subject: DistinguishedName { DistinguishedName(X509_REQ_get_subject_name(pointer)) }

    package var names: AlternativeNames {
        guard let extensions = X509_REQ_get_extensions(pointer) else { return AlternativeNames() }
        defer {
            OPENSSL_sk_pop_free(extensions) { X509_EXTENSION_free($0.map { OpaquePointer($0) }) }
        }
        return AlternativeNames(generalNames: X509V3_get_d2i(extensions, NID_subject_alt_name, nil, nil))
    }

    package var publicKey: PublicKey {
        get throws(PKIError) {
            guard let key = X509_REQ_get0_pubkey(pointer) else { throw .openSSL("read a certificate request's key") }
            return PublicKey(sharing: key)
        }
    }
}
