import NIOCore
import NIOPosix
import Synchronization

/// A TCP forwarder on loopback in front of a cluster's servers: what an agent's clients connect to, so that they need not
/// know which servers there are. It looks at no byte.
package final class LoadBalancer: Sendable {
    private struct State {
        var pool: ServerPool
        /// Connections by server, to close them when it fails.
        var channels: [String: [ObjectIdentifier: any Channel]] = [:]
    }

    private let group: any EventLoopGroup
    private let state: Mutex<State>
    private let listener = Mutex<(any Channel)?>(nil)
    private let onChange: @Sendable (String, ServerPool.State) -> Void
    private static let dialSeconds: Int64 = 10

    /// - Parameters:
    ///   - defaultServer: `host:port`
    ///   - onChange: told when a server's state changes.
    package init(
        group: any EventLoopGroup, defaultServer: String,
        onChange: @escaping @Sendable (String, ServerPool.State) -> Void = { _, _ in }
    ) {
        (self.group, self.onChange) = (group, onChange)
        state = Mutex(State(pool: ServerPool(defaultServer: defaultServer, now: Self.now())))
    }

    package var servers: [ServerPool.Server] { state.withLock { $0.pool.servers } }
    /// Servers of the list.
    package var addresses: [String] { state.withLock { $0.pool.addresses } }

    /// Listens on an address of this machine (port 0: any free one) and returns the port.
    @discardableResult
    package func start(host: String, port: Int) async throws -> Int {
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 128)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .acceptedReadingOnDemand()
            .childChannelInitializer { [weak self] client in
                client.eventLoop.makeCompletedFuture {
                    try client.pipeline.syncOperations.addHandler(AcceptedHandler { self?.accepted($0) })
                }
            }
        let channel = try await bootstrap.bind(host: host, port: port).get()
        listener.withLock { $0 = channel }
        return channel.localAddress?.port ?? port
    }

    package func stop() async {
        let channel = listener.withLock { listener in
            defer { listener = nil }
            return listener
        }
        try? await channel?.close()
        for server in servers { close(server.address) }
    }

    /// The servers there are.
    package func set(_ addresses: [String]) { change { $0.set(addresses, now: Self.now()) } }

    /// What a look at a server gave, of which nothing is sent through here.
    package func checked(_ address: String, isHealthy: Bool) {
        change {
            isHealthy
                ? $0.succeeded(address, .healthCheck, now: Self.now())
                : $0.failed(address, .healthCheck, now: Self.now())
        }
    }

    private func change(_ body: (inout ServerPool) -> [String]) {
        let (closing, changed) = state.withLock { state -> ([String], [ServerPool.Server]) in
            let before = state.pool
            let closing = body(&state.pool)
            return (closing, state.pool.servers.filter { before[$0.address]?.state != $0.state })
        }
        for address in closing { close(address) }
        for server in changed { onChange(server.address, server.state) }
    }

    private func close(_ address: String) {
        let channels = state.withLock { $0.channels[address].map { Array($0.values) } ?? [] }
        for channel in channels { channel.close(promise: nil) }
    }

    private static func now() -> Int64 { Int64(NIODeadline.now().uptimeNanoseconds / 1_000_000_000) }

    // MARK: - Connections; on the loop of the client's channel

    private func accepted(_ client: any Channel) {
        let order = state.withLock { $0.pool.servers.filter { $0.state != .invalid }.map(\.address) }
        dial(order[...], client)
    }

    private func dial(_ servers: ArraySlice<String>, _ client: any Channel) {
        guard let address = servers.first else {
            client.close(promise: nil)
            return
        }
        guard let (host, port) = Self.split(address) else { return dial(servers.dropFirst(), client) }
        let bootstrap = ClientBootstrap(group: client.eventLoop)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(.socketOption(.so_keepalive), value: 1)
            .readingOnDemand()
            .connectTimeout(.seconds(Self.dialSeconds))
        // A name is looked up, which an address need not be.
        let socket = try? SocketAddress(ipAddress: host, port: port)
        let dialed = socket.map { bootstrap.connect(to: $0) } ?? bootstrap.connect(host: host, port: port)
        dialed.whenComplete { [weak self] result in
            guard let self else {
                client.close(promise: nil)
                return
            }
            switch result {
            case .failure:
                change { $0.failed(address, .dial, now: Self.now()) }
                // Who has hung up meanwhile needs no other server.
                if client.isActive { dial(servers.dropFirst(), client) }
            case .success(let server):
                do {
                    try join(client, server, address)
                } catch {
                    server.close(promise: nil)
                    client.close(promise: nil)
                }
            }
        }
    }

    private func join(_ client: any Channel, _ server: any Channel, _ address: String) throws {
        try client.pipeline.syncOperations.addHandler(ForwardingHandler(to: server))
        try server.pipeline.syncOperations.addHandler(ForwardingHandler(to: client))
        let id = ObjectIdentifier(server)
        state.withLock { state in
            state.pool.opened(address)
            state.channels[address, default: [:]][id] = server
        }
        server.closeFuture.whenComplete { [weak self] _ in
            client.close(promise: nil)
            self?.state.withLock { state in
                state.channels[address]?[id] = nil
                if state.channels[address]?.isEmpty == true { state.channels[address] = nil }
                state.pool.closed(address)
            }
        }
        client.closeFuture.whenComplete { _ in server.close(promise: nil) }
        change { $0.succeeded(address, .dial, now: Self.now()) }
        client.read()
        server.read()
    }

    /// `host:port`, `[address]:port`
    package static func split(_ address: String) -> (host: String, port: Int)? {
        guard let colon = address.lastIndex(of: ":"), let port = UInt16(address[address.index(after: colon)...]),
            port > 0
        else { return nil }
        var host = address[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        return host.isEmpty ? nil : (String(host), Int(port))
    }
}

/// Waits for a connection to be active: one that is read before stays silent.
private final class AcceptedHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let start: (any Channel) -> Void

    init(_ start: @escaping (any Channel) -> Void) { self.start = start }

    func channelActive(context: ChannelHandlerContext) {
        context.fireChannelActive()
        start(context.channel)
    }
}

/// Writes what one channel reads to the other: reads on when it has left, passes half closes on.
private final class ForwardingHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer

    private let peer: any Channel

    init(to peer: any Channel) { self.peer = peer }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        peer.write(Self.unwrapInboundIn(data), promise: nil)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        peer.flush()
        if peer.isWritable { context.read() }
    }

    /// What is slow to read holds back the one that writes to it.
    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { peer.read() }
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .some(.inputClosed) = event as? ChannelEvent {
            peer.close(mode: .output, promise: nil)
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
