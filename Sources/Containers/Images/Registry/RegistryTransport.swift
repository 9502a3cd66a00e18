/// How the image store reaches registries. The module knows neither sockets nor TLS: the executable brings its HTTP
/// client. Redirects, authorization, retries and resumption are decided here, so an implementation must not follow
/// redirects or retry on its own.
package protocol RegistryTransport: Sendable {
    /// Sends a request and returns once the response's head has arrived. Cancelling the task must end the call soon.
    func send(_ request: RegistryRequest) async throws(RegistryTransportError) -> RegistryResponse
}

package struct RegistryRequest: Sendable {
    /// "GET", "HEAD" or "POST"
    package var method: String
    package var url: RegistryURL
    package var headers: [(name: String, value: String)]
    package var body: [UInt8]
    package var tls: RegistryTLS

    package init(
        method: String = "GET", url: RegistryURL, headers: [(name: String, value: String)] = [], body: [UInt8] = [],
        tls: RegistryTLS = RegistryTLS()
    ) {
        (self.method, self.url, self.headers, self.body, self.tls) = (method, url, headers, body, tls)
    }
}

/// Paths of PEM files, "" for none; the system's certificate authorities are trusted besides `caFile`.
package struct RegistryTLS: Sendable, Hashable {
    package var caFile = ""
    package var certFile = ""
    package var keyFile = ""
    package var insecureSkipVerify = false
    package init(caFile: String = "", certFile: String = "", keyFile: String = "", insecureSkipVerify: Bool = false) {
        (self.caFile, self.certFile, self.keyFile) = (caFile, certFile, keyFile)
        self.insecureSkipVerify = insecureSkipVerify
    }
}

package struct RegistryResponse: Sendable {
    package var status: Int
    package var headers: [(name: String, value: String)]
    package var body: any RegistryBody

    package init(status: Int, headers: [(name: String, value: String)], body: any RegistryBody) {
        (self.status, self.headers, self.body) = (status, headers, body)
    }

    /// The first header of this name, whatever its case.
    func header(_ name: String) -> String? {
        headers.first { $0.name.lowercased() == name }?.value
    }
}

/// A response's body, read by one task. Whoever gets a response reads it to the end or cancels it.
package protocol RegistryBody: Sendable {
    /// The next bytes (64 KiB or so), nil at the proper end: a connection that breaks before Content-Length bytes or
    /// the last chunk is an error. Nothing is read ahead without bound. Cancelling the task must end the call soon.
    func next() async throws(RegistryTransportError) -> [UInt8]?
    /// Closes the connection. Idempotent.
    func cancel() async
}

package struct RegistryTransportError: Error, Sendable, CustomStringConvertible {
    package enum Kind: Sendable, Equatable {
        /// No connection (name not found, refused, unreachable).
        case connect
        /// The handshake failed: certificates, protocol versions.
        case tls
        case timedOut
        /// The connection broke in the middle.
        case closed
        /// Bytes that are not HTTP, or a message above the limits.
        case protocolViolation
    }
    package var kind: Kind
    package var message: String
    package var description: String { message }
    package init(_ kind: Kind, _ message: String) { (self.kind, self.message) = (kind, message) }
}
