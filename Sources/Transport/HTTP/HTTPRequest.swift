/// A whole request as a server handler sees it: the body has been read before the handler starts (bounded by
/// `HTTPServerLimits.bodyBytes`).
package struct HTTPRequest: Sendable {
    /// Upper case as sent: `GET`, `POST`, `PATCH`, ...
    package var method: String
    /// Percent-decoded; empty and dot segments resolved (`HTTPTarget`); starts with `/`. A trailing slash is kept.
    package var path: String
    /// The path as it was sent, still escaped, without the query: what a proxy passes on.
    package var rawPath: String
    /// The query as it was sent, without `?`.
    package var rawQuery: String
    package var query: HTTPQuery
    package var headers: HTTPHeaderFields
    package var body: [UInt8]
    /// The client certificate, only when it verified against the server's client CA.
    package var peer: PeerIdentity?
    /// The certificate of a front proxy, which may say in headers for whom it asks. Then `peer` is nil.
    package var frontProxy: PeerIdentity?
    /// Why a presented client certificate did not verify; kube-apiserver answers 401 unless another credential is good.
    package var peerCertificateError: String?
    /// Address of the TCP peer without port: `10.42.0.7`, `fe80::1`.
    package var remoteAddress: String
    package var remotePort: Int
    package var isTLS: Bool
    /// Name from the TLS server name indication, if any.
    package var serverName: String?

    /// For tests and in-process calls; `target` is a path with optional query.
    package init(
        method: String, target: String, headers: HTTPHeaderFields = HTTPHeaderFields(), body: [UInt8] = [],
        peer: PeerIdentity? = nil, remoteAddress: String = "127.0.0.1", isTLS: Bool = false
    ) throws(HTTPTargetError) {
        let parsed = try HTTPTarget(target)
        self.init(
            method: method, target: parsed, headers: headers, body: body, peer: peer, peerCertificateError: nil,
            remoteAddress: remoteAddress, remotePort: 0, isTLS: isTLS, serverName: nil)
    }

    init(
        method: String, target: HTTPTarget, headers: HTTPHeaderFields, body: [UInt8], peer: PeerIdentity?,
        peerCertificateError: String?, remoteAddress: String, remotePort: Int, isTLS: Bool, serverName: String?
    ) {
        self.method = method
        self.path = target.path
        self.rawPath = target.rawPath
        self.rawQuery = target.rawQuery
        self.query = target.query
        self.headers = headers
        self.body = body
        self.peer = peer
        frontProxy = nil
        self.peerCertificateError = peerCertificateError
        self.remoteAddress = remoteAddress
        self.remotePort = remotePort
        self.isTLS = isTLS
        self.serverName = serverName
    }

    /// `Upgrade: name` asked for (`Connection: Upgrade` included), compared without regard to case.
    package func wantsUpgrade(to name: String) -> Bool {
        headers.hasMember("Connection", "upgrade") && headers.hasMember("Upgrade", name)
    }

    /// Any upgrade asked for.
    package var wantsUpgrade: Bool {
        headers.hasMember("Connection", "upgrade") && headers.contains("Upgrade")
    }
}

/// A client certificate that verified.
package struct PeerIdentity: Sendable, Equatable {
    package var commonName: String
    package var organizations: [String]
    /// The leaf certificate.
    package var der: [UInt8]

    package init(commonName: String, organizations: [String], der: [UInt8] = []) {
        self.commonName = commonName
        self.organizations = organizations
        self.der = der
    }
}

package typealias HTTPHandler = @Sendable (HTTPRequest) async -> HTTPResponse
