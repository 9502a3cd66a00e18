import Linux
import NIOCore
import NIOPosix
import Synchronization

/// An HTTP/1.1 server over TCP, with TLS when given a context.
///
/// Handlers run as tasks on the event loop of their connection; one that blocks its thread blocks that loop's
/// connections.
package final class HTTPServer: Sendable {
    /// What its connections need of a server; they keep it alive, not the listener.
    final class Core: Sendable {
        let configuration: HTTPServerConfiguration
        let handler: HTTPHandler
        let tls: TLSServerContext?
        private let state = Mutex(State())

        private struct State {
            var connections: [ObjectIdentifier: HTTPServerConnection] = [:]
            var draining = false
        }

        init(configuration: HTTPServerConfiguration, tls: TLSServerContext?, handler: @escaping HTTPHandler) {
            self.configuration = configuration
            self.tls = tls
            self.handler = handler
        }

        var isTLS: Bool { tls != nil }
        var isDraining: Bool { draining.load(ordering: .relaxed) }
        private let draining = Atomic(false)

        func add(_ connection: HTTPServerConnection) {
            state.withLock { $0.connections[ObjectIdentifier(connection)] = connection }
        }

        func remove(_ connection: HTTPServerConnection) {
            state.withLock { _ = $0.connections.removeValue(forKey: ObjectIdentifier(connection)) }
        }

        var connections: [HTTPServerConnection] { state.withLock { Array($0.connections.values) } }
        var connectionCount: Int { state.withLock { $0.connections.count } }

        func startDraining() {
            draining.store(true, ordering: .relaxed)
        }
    }

    private let core: Core
    private let group: any EventLoopGroup
    private let listeners = Mutex<[any Channel]>([])

    package init(
        group: any EventLoopGroup, tls: TLSServerContext? = nil,
        configuration: HTTPServerConfiguration = HTTPServerConfiguration(), handler: @escaping HTTPHandler
    ) {
        self.group = group
        core = Core(configuration: configuration, tls: tls, handler: handler)
    }

    /// Listens on an address and port (0: any free one) and returns the port. May be called for several addresses.
    @discardableResult
    package func start(host: String, port: Int) async throws -> Int {
        let listener = try await bootstrap.bind(host: host, port: port).get()
        listeners.withLock { $0.append(listener) }
        return listener.localAddress?.port ?? port
    }

    /// Listens on a socket that is bound already, perhaps in another network namespace; it is the server's from now on.
    package func start(socket: consuming Linux.FileDescriptor) async throws {
        let listener = try await bootstrap.withBoundSocket(socket.take()).get()
        listeners.withLock { $0.append(listener) }
    }

    private var bootstrap: ServerBootstrap {
        let core = core
        return ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 1024)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(AcceptBackoffHandler())
                }
            }
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.socketOption(.so_keepalive), value: 1)
            .acceptedReadingOnDemand()
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try HTTPServer.setUp(channel, core) }
            }
    }

    private static func setUp(_ channel: any Channel, _ core: Core) throws {
        guard !core.isDraining, core.connectionCount < core.configuration.limits.connections else {
            throw ChannelError.operationUnsupported
        }
        let loop = LoopContext.of(channel.eventLoop)
        let pipeline = channel.pipeline.syncOperations
        let tls = try core.tls.map { try TLSHandler(role: .server($0.current), loop: loop) }
        if let tls { try pipeline.addHandler(tls) }
        try pipeline.addHandler(HTTPServerConnection(channel: channel, tls: tls, loop: loop, server: core))
    }

    /// Connections open now.
    package var connectionCount: Int { core.connectionCount }

    /// Address and port of the first listener.
    package var address: (host: String, port: Int)? {
        listeners.withLock { listeners in
            guard let address = listeners.first?.localAddress, let port = address.port else { return nil }
            return (address.ipAddress ?? "", port)
        }
    }

    /// Stops listening, lets requests under way finish for at most `seconds`, then closes what is left. Idle connections
    /// close at once.
    package func stop(within seconds: Double = 0) async {
        let listeners = listeners.withLock { listeners in
            defer { listeners = [] }
            return listeners
        }
        for listener in listeners { try? await listener.close().get() }
        core.startDraining()
        for connection in core.connections {
            connection.channel.eventLoop.execute { connection.drain() }
        }
        let deadline = NIODeadline.now() + .nanoseconds(Int64(seconds * 1e9))
        while core.connectionCount > 0, NIODeadline.now() < deadline {
            try? await Task.sleep(nanoseconds: 20_000_000)
        }
        while !Task.isCancelled {
            // Each time: one that was being accepted meanwhile is there only now.
            let left = core.connections
            if left.isEmpty { return }
            for connection in left { connection.channel.close(promise: nil) }
            try? await Task.sleep(nanoseconds: 5_000_000)
        }
    }
}
