import NIOCore
import NIOPosix
import Synchronization

/// An HTTP/1.1 client with a pool of kept-alive connections.
package final class HTTPClient: Sendable {
    package typealias Dialer = @Sendable (_ host: String, _ port: Int) async throws -> (any ByteStream)?

    private struct Key: Hashable {
        var isTLS: Bool
        var host: String
        var port: Int
        var tls: ObjectIdentifier?
    }

    private struct Idle {
        var connection: HTTPClientConnection
        var expiry: Scheduled<Void>
    }

    package struct Limits: Sendable {
        package var idlePerHost = 8
        package var idleSeconds = 60.0

        package init() {}
    }

    private let group: any EventLoopGroup
    private let tls: TLSClientContext?
    private let limits: Limits
    private let resolve: (@Sendable (String) async throws -> [String])?
    private let dial: Dialer?
    private let pool = Mutex<[Key: [Idle]]>([:])

    /// - Parameters:
    ///   - tls: used for `https` requests that bring no context of their own; nil: the system's roots.
    ///   - resolve: addresses of a host name; nil: the C library's resolver.
    ///   - dial: another way to a host than a socket (a tunnel); where it gives none, the client connects by itself.
    package init(
        group: any EventLoopGroup, tls: TLSClientContext? = nil, limits: Limits = Limits(),
        resolve: (@Sendable (String) async throws -> [String])? = nil, dial: Dialer? = nil
    ) {
        self.group = group
        self.dial = dial
        self.tls = tls
        self.limits = limits
        self.resolve = resolve
    }

    deinit {
        closeIdle()
    }

    /// Closes connections that carry nothing, as when credentials have been replaced.
    package func closeIdle() {
        let all = pool.withLock { pool in
            defer { pool = [:] }
            return pool.values.flatMap { $0 }
        }
        for idle in all {
            idle.expiry.cancel()
            idle.connection.channel.close(promise: nil)
        }
    }

    /// Sends a request; returns with the response header. A kept-alive connection that turns out to be dead is
    /// replaced once, when the request may be repeated (RFC 9110 9.2.2).
    package func execute(_ request: HTTPClientRequest) async throws -> HTTPClientResponse {
        let context = try request.url.isTLS ? (request.tls ?? tls ?? HTTPClient.systemTrust()) : nil
        let key = Key(
            isTLS: request.url.isTLS, host: request.url.host, port: request.url.port,
            tls: context.map { ObjectIdentifier($0) })
        while let connection = takeIdle(key) {
            do {
                return try await connection.exchange(request)
            } catch HTTPClientError.closedBeforeResponse where HTTPClient.mayRepeat(request) {
                continue
            } catch is IOError where HTTPClient.mayRepeat(request) {
                continue
            }
        }
        let connection = try await connect(request, context)
        connection.channel.eventLoop.runOnLoop { [weak self] in
            guard let client = self else { return }
            connection.onIdle = { [weak client] in client?.keep($0, key) }
            connection.onClose = { [weak client] in client?.forget($0, key) }
        }
        return try await connection.exchange(request)
    }

    package func get(_ url: HTTPURL, headers: HTTPHeaderFields = HTTPHeaderFields()) async throws -> HTTPClientResponse
    {
        try await execute(HTTPClientRequest("GET", url, headers: headers))
    }

    private static func mayRepeat(_ request: HTTPClientRequest) -> Bool {
        ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"].contains(request.method) && !request.headers.contains("Upgrade")
    }

    private static let system = Mutex<TLSClientContext?>(nil)

    private static func systemTrust() throws(TLSError) -> TLSClientContext {
        if let known = system.withLock({ $0 }) { return known }
        let context = try TLSClientContext(TLSClientConfiguration(trust: .system))
        system.withLock { $0 = context }
        return context
    }

    // MARK: - Pool

    private func takeIdle(_ key: Key) -> HTTPClientConnection? {
        let idle = pool.withLock { pool -> Idle? in
            guard var list = pool[key] else { return nil }
            let last = list.popLast()
            pool[key] = list.isEmpty ? nil : list
            return last
        }
        idle?.expiry.cancel()
        return idle?.connection
    }

    private func keep(_ connection: HTTPClientConnection, _ key: Key) {
        let channel = connection.channel
        let expiry = channel.eventLoop.scheduleTask(in: .nanoseconds(Int64(limits.idleSeconds * 1e9))) {
            channel.close(promise: nil)
        }
        let kept = pool.withLock { pool -> Bool in
            guard pool[key, default: []].count < limits.idlePerHost else { return false }
            pool[key, default: []].append(Idle(connection: connection, expiry: expiry))
            return true
        }
        guard kept else {
            expiry.cancel()
            channel.close(promise: nil)
            return
        }
    }

    private func forget(_ connection: HTTPClientConnection, _ key: Key) {
        pool.withLock { pool in
            guard var list = pool[key], let index = list.firstIndex(where: { $0.connection === connection }) else {
                return
            }
            list.remove(at: index).expiry.cancel()
            pool[key] = list.isEmpty ? nil : list
        }
    }

    // MARK: - Connecting

    private func connect(_ request: HTTPClientRequest, _ tls: TLSClientContext?) async throws -> HTTPClientConnection {
        let host = request.url.host
        let peer = request.url.hostField
        let made = MadeConnection()
        if let stream = try await dial?(host, request.url.port) {
            do {
                let socket = try await StreamConnector.descriptor(for: stream, group: group)
                let channel = try await HTTPClient.bootstrap(group.any(), host: host, tls: tls, made)
                    .withConnectedSocket(socket).get()
                return try await HTTPClient.handshake(channel, made, seconds: request.connectTimeout)
            } catch {
                stream.close()
                throw HTTPClient.dialError(error, peer)
            }
        }
        let bootstrap = HTTPClient.bootstrap(group.any(), host: host, tls: tls, made)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .connectTimeout(.nanoseconds(Int64(request.connectTimeout * 1e9)))
        var failure: any Error = HTTPClientError.connectFailed(peer, reason: "no address")
        for address in try await addresses(host) {
            let channel: any Channel
            do {
                if let socket = try? SocketAddress(ipAddress: address, port: request.url.port) {
                    channel = try await bootstrap.connect(to: socket).get()
                } else {
                    channel = try await bootstrap.connect(host: address, port: request.url.port).get()
                }
            } catch {
                failure = HTTPClient.dialError(error, peer)
                try Task.checkCancellation()
                continue
            }
            // An address that answers is the one: its certificate is judged, no other address tried.
            do {
                return try await HTTPClient.handshake(channel, made, seconds: request.connectTimeout)
            } catch {
                throw HTTPClient.dialError(error, peer)
            }
        }
        throw failure
    }

    private func addresses(_ host: String) async throws -> [String] {
        if (try? SocketAddress(ipAddress: host, port: 0)) != nil { return [host] }
        if asciiCaseInsensitiveEqual(host, "localhost") { return ["127.0.0.1", "::1"] }
        return try await resolve?(host) ?? [host]
    }

    /// A connection over a TCP or Unix socket that is connected already; the descriptor is taken over.
    package static func connection(
        over descriptor: Int32, group: any EventLoopGroup, host: String, tls: TLSClientContext?
    ) async throws -> HTTPClientOneShot {
        let made = MadeConnection()
        let bootstrap = bootstrap(group.any(), host: host, tls: tls, made)
        let channel = try await bootstrap.withConnectedSocket(descriptor).get()
        return HTTPClientOneShot(connection: try await handshake(channel, made, seconds: 30))
    }

    /// The handler of the channel made last: an early end of the connection takes it out of the pipeline.
    private final class MadeConnection: Sendable {
        let value = Mutex<HTTPClientConnection?>(nil)
    }

    private static func bootstrap(
        _ loop: any EventLoop, host: String, tls: TLSClientContext?, _ made: MadeConnection
    ) -> ClientBootstrap {
        ClientBootstrap(group: loop)
            .readingOnDemand()
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let loop = LoopContext.of(channel.eventLoop)
                    let handler = try tls.map { try TLSHandler(role: .client($0, host: host), loop: loop) }
                    if let handler { try channel.pipeline.syncOperations.addHandler(handler) }
                    let connection = HTTPClientConnection(channel: channel, tls: handler, loop: loop)
                    made.value.withLock { $0 = connection }
                    try channel.pipeline.syncOperations.addHandler(connection)
                }
            }
    }

    private static func handshake(
        _ channel: any Channel, _ made: MadeConnection, seconds: Double
    ) async throws -> HTTPClientConnection {
        guard let connection = made.value.withLock({ $0 }) else { throw HTTPClientError.closedBeforeResponse }
        let timer = channel.eventLoop.scheduleTask(in: .nanoseconds(Int64(seconds * 1e9))) {
            channel.pipeline.fireErrorCaught(TLSError.timedOut)
        }
        defer { timer.cancel() }
        try await withTaskCancellationHandler {
            try await connection.ready.get()
        } onCancel: {
            channel.close(promise: nil)
        }
        return connection
    }

    static func dialError(_ error: any Error, _ peer: String) -> any Error {
        switch error {
        case let error as TLSError: error
        case ChannelError.connectTimeout: HTTPClientError.connectTimedOut(peer)
        case let error as IOError:
            HTTPClientError.connectFailed(peer, reason: "connect: \(errorText(error.errnoCode))")
        case let error as NIOConnectionError:
            HTTPClientError.connectFailed(peer, reason: connectionErrorText(error))
        case let error as HTTPClientError: error
        case is CancellationError: error
        default: HTTPClientError.connectFailed(peer, reason: "\(error)")
        }
    }

    private static func connectionErrorText(_ error: NIOConnectionError) -> String {
        for single in error.connectionErrors {
            if let io = single.error as? IOError { return "connect: \(errorText(io.errnoCode))" }
        }
        if error.dnsAError != nil || error.dnsAAAAError != nil { return "lookup \(error.host): no such host" }
        return "connect: no address answered"
    }
}

/// A client over one connection that the caller has made.
package struct HTTPClientOneShot: Sendable {
    let connection: HTTPClientConnection

    /// One request at a time.
    package func execute(_ request: HTTPClientRequest) async throws -> HTTPClientResponse {
        try await connection.exchange(request)
    }

    package func close() {
        connection.channel.close(promise: nil)
    }
}
