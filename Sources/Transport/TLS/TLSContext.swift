import COpenSSL
import Synchronization

/// An owned `SSL_CTX`. Reference counted by OpenSSL too: connections that were made from it keep it alive.
final class SSLContext: @unchecked Sendable {
    let pointer: OpaquePointer

    fileprivate init(server: Bool) throws(TLSError) {
        ERR_clear_error()
        guard let pointer = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method()) else {
            throw .protocolError(openSSLErrorText(fallback: "SSL_CTX_new"))
        }
        self.pointer = pointer
        // Buffers go back when a connection is idle, writes may come from another address, and the chain sent is the
        // one configured, not one made up from the client CAs.
        let mode =
            Int(SSL_MODE_RELEASE_BUFFERS) | Int(SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER)
            | Int(SSL_MODE_ENABLE_PARTIAL_WRITE) | Int(SSL_MODE_NO_AUTO_CHAIN)
        SSL_CTX_ctrl(pointer, SSL_CTRL_MODE, mode, nil)
    }

    deinit {
        SSL_CTX_free(pointer)
    }

    fileprivate func setMinimumVersion(_ version: TLSVersion) {
        SSL_CTX_ctrl(pointer, SSL_CTRL_SET_MIN_PROTO_VERSION, version.wireValue, nil)
    }

    fileprivate func use(_ certificate: TLSCertificate, what: String) throws(TLSError) {
        let chain = try parseCertificates(certificate.chainPEM, what: what)
        defer { for x509 in chain { X509_free(x509) } }
        guard let leaf = chain.first else { throw .badInput(what: what, reason: "no certificate in the PEM text") }
        guard SSL_CTX_use_certificate(pointer, leaf) == 1 else {
            throw .badInput(what: what, reason: openSSLErrorText(fallback: "certificate not usable"))
        }
        for issuer in chain.dropFirst() {
            X509_up_ref(issuer)
            // SSL_CTX_add_extra_chain_cert takes the reference.
            SSL_CTX_ctrl(pointer, SSL_CTRL_EXTRA_CHAIN_CERT, 0, UnsafeMutableRawPointer(issuer))
        }
        let key = try parsePrivateKey(certificate.keyPEM, what: what)
        defer { EVP_PKEY_free(key) }
        guard SSL_CTX_use_PrivateKey(pointer, key) == 1 else {
            throw .badInput(what: what, reason: openSSLErrorText(fallback: "private key not usable"))
        }
        guard SSL_CTX_check_private_key(pointer) == 1 else {
            throw .badInput(what: what, reason: openSSLErrorText(fallback: "private key does not match certificate"))
        }
    }

    fileprivate func trust(_ pem: [UInt8], announce: Bool, what: String) throws(TLSError) {
        let authorities = try parseCertificates(pem, what: what)
        defer { for x509 in authorities { X509_free(x509) } }
        guard !authorities.isEmpty else { throw .badInput(what: what, reason: "no certificate in the PEM text") }
        let store = SSL_CTX_get_cert_store(pointer)
        for x509 in authorities {
            X509_STORE_add_cert(store, x509)
            if announce { SSL_CTX_add_client_CA(pointer, x509) }
        }
        // A CA of our own may be an intermediate: it is an anchor all the same, as in Go.
        X509_STORE_set_flags(store, UInt(X509_V_FLAG_PARTIAL_CHAIN))
    }
}

/// A server's TLS settings in use; `reload` swaps them for connections accepted from then on.
package final class TLSServerContext: Sendable {
    struct Loaded: Sendable {
        let main: SSLContext
        let named: [(names: [String], context: SSLContext)]
        let asksForCertificate: Bool
        /// The certificates (DER) of front proxies' authorities.
        let frontProxyCAs: [[UInt8]]
    }

    private let loaded: Mutex<Loaded>

    package init(_ configuration: TLSServerConfiguration) throws(TLSError) {
        loaded = Mutex(try TLSServerContext.load(configuration))
    }

    /// The old settings stay when this throws.
    package func reload(_ configuration: TLSServerConfiguration) throws(TLSError) {
        let fresh = try TLSServerContext.load(configuration)
        loaded.withLock { $0 = fresh }
    }

    var current: Loaded { loaded.withLock { $0 } }

    private static func load(_ configuration: TLSServerConfiguration) throws(TLSError) -> Loaded {
        let main = try serverContext(configuration, configuration.certificate, what: "serving certificate")
        var named: [(names: [String], context: SSLContext)] = []
        for entry in configuration.namedCertificates {
            let what = "serving certificate for \(entry.names.joined(separator: ","))"
            named.append((entry.names, try serverContext(configuration, entry.certificate, what: what)))
        }
        return Loaded(
            main: main, named: named, asksForCertificate: configuration.clientCAPEM != nil,
            frontProxyCAs: try frontProxyCAs(configuration))
    }

    private static func frontProxyCAs(_ configuration: TLSServerConfiguration) throws(TLSError) -> [[UInt8]] {
        guard let pem = configuration.frontProxyCAPEM else { return [] }
        let authorities = try parseCertificates(pem, what: "front proxy CA")
        defer { for x509 in authorities { X509_free(x509) } }
        return authorities.map { x509 in writeDER { i2d_X509(x509, $0) } }
    }

    private static func serverContext(
        _ configuration: TLSServerConfiguration, _ certificate: TLSCertificate, what: String
    ) throws(TLSError) -> SSLContext {
        let context = try SSLContext(server: true)
        context.setMinimumVersion(configuration.minimumVersion)
        // No session cache, no tickets: a resumed session would carry an identity past the rotation of its CA.
        SSL_CTX_ctrl(context.pointer, SSL_CTRL_SET_SESS_CACHE_MODE, Int(SSL_SESS_CACHE_OFF), nil)
        SSL_CTX_set_options(context.pointer, sslOption(14) | sslOption(30))
        SSL_CTX_set_num_tickets(context.pointer, 0)
        if let ciphers = configuration.cipherList, SSL_CTX_set_cipher_list(context.pointer, ciphers) != 1 {
            throw .badInput(what: "TLS cipher list", reason: openSSLErrorText(fallback: "no cipher matches"))
        }
        try context.use(certificate, what: what)
        if let pem = configuration.clientCAPEM {
            try context.trust(pem, announce: true, what: "client CA")
            if let pem = configuration.frontProxyCAPEM {
                try context.trust(pem, announce: true, what: "front proxy CA")
            }
            if configuration.requireClientCertificate {
                SSL_CTX_set_verify(context.pointer, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nil)
            } else {
                // The handshake goes on whatever the verdict; the handler keeps the first objection.
                SSL_CTX_set_verify(context.pointer, SSL_VERIFY_PEER) { good, store in
                    if good != 1 { TLSHandler.noteObjection(store) }
                    return 1
                }
            }
        }
        // Offered "h2" and "http/1.1" (Go, curl, browsers) the answer is "http/1.1".
        SSL_CTX_set_alpn_select_cb(
            context.pointer,
            { _, out, outLength, offered, offeredLength, _ in
                guard let offered, let out, let outLength else { return SSL_TLSEXT_ERR_NOACK }
                let list = UnsafeBufferPointer(start: offered, count: Int(offeredLength))
                var index = 0
                while index < list.count {
                    let length = Int(list[index])
                    guard index + 1 + length <= list.count else { break }
                    let name = list[(index + 1)..<(index + 1 + length)]
                    if name.elementsEqual("http/1.1".utf8) {
                        out.pointee = offered + index + 1
                        outLength.pointee = UInt8(length)
                        return SSL_TLSEXT_ERR_OK
                    }
                    index += 1 + length
                }
                return SSL_TLSEXT_ERR_NOACK
            }, nil)
        return context
    }
}

/// A client's TLS settings, parsed once and shared by its connections. Connections are pooled per context.
package final class TLSClientContext: Sendable {
    let context: SSLContext
    let verifies: Bool
    let serverName: String?

    package init(_ configuration: TLSClientConfiguration) throws(TLSError) {
        context = try SSLContext(server: false)
        serverName = configuration.serverName
        context.setMinimumVersion(configuration.minimumVersion)
        SSL_CTX_ctrl(context.pointer, SSL_CTRL_SET_SESS_CACHE_MODE, Int(SSL_SESS_CACHE_OFF), nil)
        SSL_CTX_set_options(context.pointer, sslOption(30))
        switch configuration.trust {
        case .authorities(let pem):
            try context.trust(pem, announce: false, what: "certificate authority")
            verifies = true
        case .system:
            TLSClientContext.loadSystemRoots(context.pointer)
            verifies = true
        case .insecure: verifies = false
        }
        SSL_CTX_set_verify(context.pointer, verifies ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nil)
        if let certificate = configuration.certificate {
            try context.use(certificate, what: "client certificate")
        }
        var protocols: [UInt8] = [8]
        protocols.append(contentsOf: "http/1.1".utf8)
        SSL_CTX_set_alpn_protos(context.pointer, protocols, UInt32(protocols.count))
    }

    /// OpenSSL's own default, then the bundles of the common distributions: a static binary runs on all of them.
    private static func loadSystemRoots(_ pointer: OpaquePointer) {
        SSL_CTX_set_default_verify_paths(pointer)
        for bundle in [
            "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
            "/etc/ssl/cert.pem",
        ] where SSL_CTX_load_verify_file(pointer, bundle) == 1 { break }
        SSL_CTX_load_verify_dir(pointer, "/etc/ssl/certs")
        ERR_clear_error()
    }
}

/// `SSL_OP_BIT(n)`, a macro: 14 is NO_TICKET, 30 is NO_RENEGOTIATION.
private func sslOption(_ bit: UInt64) -> UInt64 { 1 << bit }

/// Every certificate of a PEM text, in order; the caller frees them.
func parseCertificates(_ pem: [UInt8], what: String) throws(TLSError) -> [OpaquePointer] {
    guard let bio = BIO_new_mem_buf(pem, Int32(clamping: pem.count)) else {
        throw .badInput(what: what, reason: "out of memory")
    }
    defer { BIO_free(bio) }
    ERR_clear_error()
    var result: [OpaquePointer] = []
    while let x509 = PEM_read_bio_X509(bio, nil, nil, nil) { result.append(x509) }
    let code = ERR_peek_last_error()
    // The end of the text is reported as "no start line".
    if code != 0, code & 0x7F_FFFF != UInt(PEM_R_NO_START_LINE) {
        for x509 in result { X509_free(x509) }
        throw .badInput(what: what, reason: openSSLErrorText(fallback: "bad PEM"))
    }
    ERR_clear_error()
    return result
}

/// The caller frees it.
func parsePrivateKey(_ pem: [UInt8], what: String) throws(TLSError) -> OpaquePointer {
    guard let bio = BIO_new_mem_buf(pem, Int32(clamping: pem.count)) else {
        throw .badInput(what: what, reason: "out of memory")
    }
    defer { BIO_free(bio) }
    ERR_clear_error()
    // A pass phrase is never asked for on a terminal.
    guard let key = PEM_read_bio_PrivateKey(bio, nil, { _, _, _, _ in 0 }, nil) else {
        throw .badInput(what: what, reason: openSSLErrorText(fallback: "no private key in the PEM text"))
    }
    return key
}
