/// Bounds of one server. Durations in seconds.
package struct HTTPServerLimits: Sendable {
    /// Request line and header fields together; more is answered with 431.
    package var headerBytes = 128 << 10
    /// Request body; more is answered with `HTTPServerHooks.bodyTooLarge`. kube-apiserver's limit is 3 MiB.
    package var bodyBytes: Int64 = 3 << 20
    /// From the first byte of a request (or the end of the TLS handshake) to the end of its header.
    package var headerTimeout: Double = 32
    /// TCP accept to the end of the TLS handshake.
    package var handshakeTimeout: Double = 10
    /// Longest pause inside a request body.
    package var bodyPauseTimeout: Double = 60
    /// Keep-alive connection without a request.
    package var idleTimeout: Double = 90
    /// Longest pause of a client that does not take the response.
    package var writePauseTimeout: Double = 120
    /// Connections beyond this many are closed at once.
    package var connections = 8192

    package init() {}
}

/// Answers the server gives before a handler runs, so that an API server can speak `Status` objects.
package struct HTTPServerHooks: Sendable {
    /// `limit` in bytes.
    package var bodyTooLarge: @Sendable (_ limit: Int64) -> HTTPResponse = { limit in
        .text("Request entity too large: limit is \(limit)", status: 413)
    }
    package var badRequest: @Sendable (_ status: Int, _ message: String) -> HTTPResponse = { status, message in
        .text(message, status: status)
    }
    /// Reports what an operator may want to know (TLS handshakes that fail, ...), never a secret.
    package var log: (@Sendable (_ message: String) -> Void)?

    package init() {}
}

package struct HTTPServerConfiguration: Sendable {
    package var limits = HTTPServerLimits()
    package var hooks = HTTPServerHooks()
    /// Compress response bodies over 128 KiB for clients that accept gzip, as kube-apiserver does.
    package var gzip = false

    package init(
        limits: HTTPServerLimits = HTTPServerLimits(), hooks: HTTPServerHooks = HTTPServerHooks(), gzip: Bool = false
    ) {
        self.limits = limits
        self.hooks = hooks
        self.gzip = gzip
    }
}
