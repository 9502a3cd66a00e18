import COpenSSL

/// A certificate chain (leaf first) and its private key, PEM. The key is never logged or described.
package struct TLSCertificate: Sendable, CustomStringConvertible {
    package var chainPEM: [UInt8]
    package var keyPEM: [UInt8]

    package init(chainPEM: [UInt8], keyPEM: [UInt8]) {
        self.chainPEM = chainPEM
        self.keyPEM = keyPEM
    }

    package init(chainFile: String, keyFile: String) throws(TLSError) {
        chainPEM = try readSmallFile(chainFile)
        keyPEM = try readSmallFile(keyFile)
    }

    package var description: String { "TLSCertificate(\(chainPEM.count) bytes of chain)" }
}

package enum TLSVersion: Sendable {
    case tls12
    case tls13

    var wireValue: Int {
        switch self {
        case .tls12: 0x0303
        case .tls13: 0x0304
        }
    }
}

package struct TLSServerConfiguration: Sendable {
    package var certificate: TLSCertificate
    /// Certificates chosen by the server name that the client asks for; `*.example.org` covers one label.
    package var namedCertificates: [(names: [String], certificate: TLSCertificate)] = []
    /// CA certificates for clients (PEM, any number). nil: clients are not asked for a certificate.
    package var clientCAPEM: [UInt8]?
    /// The CA of front proxies (PEM), who speak for others: certificates of these are `HTTPRequest.frontProxy`, never
    /// `peer`. Only with `clientCAPEM`.
    package var frontProxyCAPEM: [UInt8]?
    /// Whether a handshake without a client certificate that verifies fails. When false, as in kube-apiserver, the
    /// connection goes on without `HTTPRequest.peer`.
    package var requireClientCertificate = false
    package var minimumVersion = TLSVersion.tls12
    /// OpenSSL cipher list for TLS 1.2; nil is the library's default.
    package var cipherList: String?

    package init(certificate: TLSCertificate, clientCAPEM: [UInt8]? = nil) {
        self.certificate = certificate
        self.clientCAPEM = clientCAPEM
    }
}

package struct TLSClientConfiguration: Sendable {
    package enum Trust: Sendable {
        /// Only these CA certificates (PEM, any number).
        case authorities(pem: [UInt8])
        /// The system's roots (`/etc/ssl/certs`, or the bundles of other distributions).
        case system
        /// No verification: for fetching a cluster's CA before its hash is checked, and for kubelet probes.
        case insecure
    }

    package var trust: Trust
    package var certificate: TLSCertificate?
    /// Name or IP address to verify and to send as SNI; nil is the URL's host.
    package var serverName: String?
    package var minimumVersion = TLSVersion.tls12

    package init(trust: Trust, certificate: TLSCertificate? = nil, serverName: String? = nil) {
        self.trust = trust
        self.certificate = certificate
        self.serverName = serverName
    }
}

package enum TLSError: Error, Sendable, Equatable, CustomStringConvertible {
    /// A file or PEM text that cannot be used; `what` names it.
    case badInput(what: String, reason: String)
    case handshakeFailed(String)
    /// The peer's certificate does not verify (client side).
    case untrusted(String)
    case protocolError(String)
    case timedOut

    package var description: String {
        switch self {
        case .badInput(let what, let reason): "\(what): \(reason)"
        case .handshakeFailed(let reason): "TLS handshake failed: \(reason)"
        case .untrusted(let reason): "tls: failed to verify certificate: x509: \(reason)"
        case .protocolError(let reason): "TLS error: \(reason)"
        case .timedOut: "TLS handshake timed out"
        }
    }
}

/// The whole of a file of at most 1 MiB (certificates, keys).
func readSmallFile(_ path: String) throws(TLSError) -> [UInt8] {
    ERR_clear_error()
    guard let file = BIO_new_file(path, "r") else {
        throw .badInput(what: path, reason: openSSLErrorText(fallback: "cannot be opened"))
    }
    defer { BIO_free(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 8192)
    while true {
        let count = BIO_read(file, &chunk, Int32(chunk.count))
        guard count > 0 else { return bytes }
        bytes.append(contentsOf: chunk[..<Int(count)])
        guard bytes.count <= 1 << 20 else { throw .badInput(what: path, reason: "larger than 1 MiB") }
    }
}

/// The newest entry of OpenSSL's error queue of this thread, which is emptied.
func openSSLErrorText(fallback: String) -> String {
    let code = ERR_peek_last_error()
    defer { ERR_clear_error() }
    guard code != 0 else { return fallback }
    guard let reason = ERR_reason_error_string(code) else { return "OpenSSL error \(code)" }
    return String(cString: reason)
}
