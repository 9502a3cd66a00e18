/// What a handler answers.
///
/// `Content-Length`, `Transfer-Encoding`, `Connection` and `Date` are written by the server; a handler sets the others.
package struct HTTPResponse: Sendable {
    package var status: Int
    package var headers: HTTPHeaderFields
    package var body: Body

    package enum Body: Sendable {
        case bytes([UInt8])
        /// A concatenation, written piece by piece without being joined (lists of stored objects).
        case chunks([[UInt8]])
        /// A concatenation whose pieces are made when they are sent (long lists): so many calls, each appends a piece. A
        /// short one is sent with its length, a long one in chunks.
        case pieces(Int, @Sendable (Int, inout [UInt8]) throws -> Void)
        /// Written by the closure as it goes (watches, logs, proxied bodies). Without a length it is sent chunked. The task
        /// that runs the closure is cancelled when the client goes away. Throwing, or writing another number of bytes
        /// than `length`, breaks the connection: that is how a client sees that the body is not whole.
        case stream(length: Int64?, @Sendable (HTTPBodyWriter) async throws -> Void)
        /// After status 101, or 200 to CONNECT: the closure owns the connection's bytes in both directions; the connection closes when
        /// it returns. Set `Upgrade` in the headers (`HTTPResponse.upgrade`).
        case upgrade(@Sendable (any ByteStream) async -> Void)
    }

    /// All bytes of a body that is not a stream, at most `limit`; nil for a longer one, and for a stream.
    package func wholeBody(limit: Int = Int.max) throws -> [UInt8]? {
        switch body {
        case .bytes(let bytes): return bytes.count <= limit ? bytes : nil
        case .chunks(let chunks):
            return chunks.reduce(0) { $0 + $1.count } <= limit ? Array(chunks.joined()) : nil
        case .pieces(let count, let append):
            var bytes: [UInt8] = []
            for i in 0..<count {
                try append(i, &bytes)
                if bytes.count > limit { return nil }
            }
            return bytes
        case .stream, .upgrade: return nil
        }
    }

    package init(status: Int, headers: HTTPHeaderFields = HTTPHeaderFields(), body: Body = .bytes([])) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    package init(status: Int, contentType: String, _ bytes: [UInt8]) {
        self.init(status: status, headers: ["Content-Type": contentType], body: .bytes(bytes))
    }

    package static func json(_ bytes: [UInt8], status: Int = 200) -> HTTPResponse {
        HTTPResponse(status: status, contentType: "application/json", bytes)
    }

    package static func text(_ text: String, status: Int = 200) -> HTTPResponse {
        HTTPResponse(status: status, contentType: "text/plain; charset=utf-8", Array(text.utf8))
    }

    /// 101 with `Upgrade: name` and `Connection: Upgrade`.
    package static func upgrade(
        protocol name: String, headers: HTTPHeaderFields = HTTPHeaderFields(),
        _ run: @escaping @Sendable (any ByteStream) async -> Void
    ) -> HTTPResponse {
        var all: HTTPHeaderFields = ["Upgrade": name, "Connection": "Upgrade"]
        all.append(contentsOf: headers)
        return HTTPResponse(status: 101, headers: all, body: .upgrade(run))
    }
}

/// Writes a streamed response body. Every write goes out at once; `write` suspends while the peer is slow.
package struct HTTPBodyWriter: Sendable {
    enum Sink: Sendable {
        case connection(any HTTPBodySink)
        case closure(@Sendable ([UInt8]) async throws -> Void)
    }

    let sink: Sink

    init(connection: any HTTPBodySink) {
        sink = .connection(connection)
    }

    /// A writer into anything: tests, and handlers called without a socket.
    package init(_ write: @escaping @Sendable ([UInt8]) async throws -> Void) {
        sink = .closure(write)
    }

    /// Sends these bytes now, as one chunk.
    /// - Throws: `HTTPConnectionError.peerGone` once the client is gone, `CancellationError` if the task was cancelled
    ///   while the peer was slow.
    package func write(_ bytes: [UInt8]) async throws {
        switch sink {
        case .connection(let connection): try await connection.writeBody(bytes)
        case .closure(let write): try await write(bytes)
        }
    }
}

/// What a connection offers to the writer of its current response.
protocol HTTPBodySink: AnyObject, Sendable {
    func writeBody(_ bytes: [UInt8]) async throws
}

package enum HTTPConnectionError: Error, Equatable, CustomStringConvertible {
    case peerGone
    case bodyLengthMismatch(expected: Int64, written: Int64)

    package var description: String {
        switch self {
        case .peerGone: "the peer has closed the connection"
        case .bodyLengthMismatch(let expected, let written):
            "response body has \(written) bytes where Content-Length says \(expected)"
        }
    }
}

/// A full-duplex stream of bytes: a connection after `101 Switching Protocols`, a SPDY stream, a WebSocket tunnel.
package protocol ByteStream: Sendable {
    /// The next bytes (never empty), nil once the peer has finished its side. One reader at a time.
    func read() async throws -> [UInt8]?

    /// Queues bytes in call order without waiting; dropped once the stream is closed.
    func send(_ bytes: [UInt8])

    /// Waits until what was sent has mostly left (below the write watermark).
    func drained() async throws

    /// Finishes our side; reading goes on.
    func closeWrite()

    /// Ends both directions. What was sent before still goes out.
    func close()

    /// Ends both directions at once: for a peer that is thought dead.
    func abort()
}

extension ByteStream {
    package func abort() { close() }

    /// `send` with backpressure. Throws once the peer is gone.
    package func write(_ bytes: [UInt8]) async throws {
        send(bytes)
        try await drained()
    }
}

/// A connection after `101 Switching Protocols`; bytes received behind the request head are kept.
package typealias UpgradedConnection = any ByteStream

/// Reason phrases of RFC 9110 15 and RFC 6585.
package func httpReasonPhrase(_ status: Int) -> String {
    switch status {
    case 100: "Continue"
    case 101: "Switching Protocols"
    case 200: "OK"
    case 201: "Created"
    case 202: "Accepted"
    case 204: "No Content"
    case 206: "Partial Content"
    case 301: "Moved Permanently"
    case 302: "Found"
    case 303: "See Other"
    case 304: "Not Modified"
    case 307: "Temporary Redirect"
    case 308: "Permanent Redirect"
    case 400: "Bad Request"
    case 401: "Unauthorized"
    case 403: "Forbidden"
    case 404: "Not Found"
    case 405: "Method Not Allowed"
    case 406: "Not Acceptable"
    case 408: "Request Timeout"
    case 409: "Conflict"
    case 410: "Gone"
    case 411: "Length Required"
    case 413: "Request Entity Too Large"
    case 414: "Request URI Too Long"
    case 415: "Unsupported Media Type"
    case 416: "Requested Range Not Satisfiable"
    case 417: "Expectation Failed"
    case 422: "Unprocessable Entity"
    case 426: "Upgrade Required"
    case 429: "Too Many Requests"
    case 431: "Request Header Fields Too Large"
    case 500: "Internal Server Error"
    case 501: "Not Implemented"
    case 502: "Bad Gateway"
    case 503: "Service Unavailable"
    case 504: "Gateway Timeout"
    case 505: "HTTP Version Not Supported"
    default: "status code \(status)"
    }
}
