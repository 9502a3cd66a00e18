package struct HTTPClientRequest: Sendable {
    package var method: String
    package var url: HTTPURL
    package var headers: HTTPHeaderFields
    package var body: [UInt8]
    /// Settings for `https` other than the client's own.
    package var tls: TLSClientContext?
    /// Seconds for name resolution, TCP and TLS.
    package var connectTimeout: Double = 30
    /// Seconds from the request to the response header; nil: as long as it takes.
    package var headerTimeout: Double?
    /// Seconds without a byte of the body; nil: as long as it takes (watches).
    package var bodyPauseTimeout: Double?

    package init(
        _ method: String, _ url: HTTPURL, headers: HTTPHeaderFields = HTTPHeaderFields(), body: [UInt8] = []
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
    }
}

package struct HTTPClientResponse: Sendable {
    package var status: Int
    package var headers: HTTPHeaderFields
    package var body: HTTPClientBody
    /// After 101: the connection's bytes.
    package var upgraded: (any ByteStream)?
}

package enum HTTPClientError: Error, Equatable, CustomStringConvertible {
    case connectTimedOut(String)
    case connectFailed(String, reason: String)
    case headerTimedOut(String)
    case bodyTimedOut
    /// Before a response header had come.
    case closedBeforeResponse
    /// In the middle of the body.
    case bodyCutShort
    case badResponse(String)
    case bodyTooLarge(limit: Int)

    package var description: String {
        switch self {
        case .connectTimedOut(let peer): "dial \(peer): i/o timeout"
        case .connectFailed(let peer, let reason): "dial \(peer): \(reason)"
        case .headerTimedOut(let peer): "\(peer): timeout awaiting response headers"
        case .bodyTimedOut: "timeout while reading body"
        case .closedBeforeResponse: "connection closed before the response (EOF)"
        case .bodyCutShort: "response body ended early (unexpected EOF)"
        case .badResponse(let why): "malformed HTTP response: \(why)"
        case .bodyTooLarge(let limit): "response body is larger than \(limit) bytes"
        }
    }
}

/// The body of a response, pulled as it is needed: at most about 64 KiB wait in memory, then the connection is not read.
/// Dropping it before its end closes the connection. One reader at a time.
package final class HTTPClientBody: AsyncSequence, Sendable {
    package typealias Element = [UInt8]

    private let connection: HTTPClientConnection?
    private let body: HTTPClientConnection.Body?

    init(connection: HTTPClientConnection?, body: HTTPClientConnection.Body?) {
        self.connection = connection
        self.body = body
    }

    deinit {
        if let body { connection?.abandonBody(body) }
    }

    /// The next bytes, nil at the end.
    package func next() async throws -> [UInt8]? {
        guard let connection, let body else { return nil }
        return try await connection.nextBody(body)
    }

    /// Ends it before its end: who reads gets an error, the connection is closed.
    package func cancel() {
        if let body { connection?.abandonBody(body) }
    }

    /// All that is left.
    package func collect(upTo limit: Int) async throws -> [UInt8] {
        var result: [UInt8] = []
        while let bytes = try await next() {
            guard result.count + bytes.count <= limit else { throw HTTPClientError.bodyTooLarge(limit: limit) }
            if result.isEmpty { result = bytes } else { result.append(contentsOf: bytes) }
        }
        return result
    }

    package struct AsyncIterator: AsyncIteratorProtocol {
        let body: HTTPClientBody

        package mutating func next() async throws -> [UInt8]? {
            try await body.next()
        }
    }

    package func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(body: self)
    }
}
