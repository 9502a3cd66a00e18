import Iptables
import Linux
import Logging
import Netlink
import Synchronization

/// Ports of the host that lead inside: node ports, ports of load balancers and host ports of pods, TCP and UDP.
///
/// Connections are accepted on a socket of the host's network and continued inside, to the service's cluster address or to the
/// node's host port, where the node's rules are in force. Ports below 1024, which the user may not have, are 10,000 higher, as in
/// the original.
final class PublishedPorts: Sendable {
    struct Port: Hashable, Sendable {
        var number: UInt16
        var isUDP = false
    }
    struct Target: Equatable, Sendable {
        var address: IPAddress
        var port: UInt16
        /// Who may connect; empty: everybody.
        var sources: [IPPrefix] = []

        func admits(_ client: IPAddress?) -> Bool {
            guard !sources.isEmpty else { return true }
            return client.map { client in sources.contains { $0.contains(client) } } ?? false
        }
    }
    private struct State {
        /// By whom: a service's port, a sandbox.
        var wanted: [String: [Port: Target]] = [:]
        var open: [Port: (target: Target, stop: @Sendable () -> Void)] = [:]
        /// Could not be opened, so that it is said once.
        var failed: Set<Port> = []
        var isRetrying = false
    }
    static let limit = 4096

    private let sockets: HostSockets
    private let node: IPAddress
    private let bind: IPAddress
    private let logger: Logger
    private let state = Mutex(State())
    private let connections = Atomic(0)

    /// - Parameter bind: the host's address, or 0.0.0.0.
    init(_ sockets: HostSockets, node: IPAddress, bind: IPAddress, logger: Logger) {
        (self.sockets, self.node, self.bind, self.logger) = (sockets, node, bind, logger)
    }

    static func hostPort(_ port: UInt16) -> UInt16 { port < 1024 ? port + 10_000 : port }

    /// Of a service's port.
    static func targets(_ service: ServicePort) -> [Port: Target] {
        guard service.transport != .sctp, let address = service.clusterIPs.first(where: \.isIPv4) else { return [:] }
        var targets: [Port: Target] = [:]
        func place(_ number: UInt16) -> Port { Port(number: hostPort(number), isUDP: service.transport == .udp) }
        if let port = service.nodePort { targets[place(port)] = Target(address: address, port: service.port) }
        if !service.loadBalancerIPs.isEmpty || !service.externalIPs.isEmpty {
            targets[place(service.port)] = Target(
                address: address, port: service.port, sources: service.loadBalancerSourceRanges)
        }
        return targets
    }

    func load(_ services: [ServicePort]) {
        change { wanted in
            for key in wanted.keys where key.hasPrefix("service ") { wanted[key] = nil }
            for service in services { wanted["service " + service.id] = Self.targets(service) }
        }
    }

    func update(_ changed: [ServicePort], removing removed: Set<String>) {
        change { wanted in
            for id in removed { wanted["service " + id] = nil }
            for service in changed { wanted["service " + service.id] = Self.targets(service) }
        }
    }

    func set(sandbox: String, hostPorts: [Port]) {
        change { wanted in
            wanted["sandbox " + sandbox] = Dictionary(
                hostPorts.map {
                    (Port(number: Self.hostPort($0.number), isUDP: $0.isUDP), Target(address: node, port: $0.number))
                }, uniquingKeysWith: { $1 })
        }
    }

    func remove(sandbox: String) { change { $0["sandbox " + sandbox] = nil } }

    private func change(_ body: (inout [String: [Port: Target]]) -> Void) {
        state.withLock { state in
            body(&state.wanted)
            apply(&state)
        }
    }

    /// Who comes first by name has a port that several want.
    private func apply(_ state: inout State) {
        state.wanted = state.wanted.filter { !$0.value.isEmpty }
        var ports: [Port: Target] = [:]
        for (_, targets) in state.wanted.sorted(by: { $0.key < $1.key }) {
            ports.merge(targets) { first, _ in first }
        }
        for (port, open) in state.open where ports[port] != open.target {
            open.stop()
            state.open[port] = nil
        }
        state.failed.formIntersection(ports.keys)
        for (port, target) in ports where state.open[port] == nil {
            do throws(SysError) {
                state.open[port] = (target, try listen(port, target))
                if state.failed.remove(port) != nil { logger.info("port \(port.number) of the host is served now") }
            } catch {
                if state.failed.insert(port).inserted {
                    logger.warning("port \(port.number) of the host, for \(target.address):\(target.port): \(error)")
                }
            }
        }
        if !state.failed.isEmpty, !state.isRetrying { retry(&state) }
    }

    /// Whoever has the port may let it go.
    private func retry(_ state: inout State) {
        state.isRetrying = true
        Task { [weak self] in
            try? await Task.sleep(for: .seconds(30))
            self?.state.withLock { state in
                state.isRetrying = false
                self?.apply(&state)
            }
        }
    }

    /// Returns what ends it.
    private func listen(_ port: Port, _ target: Target) throws(SysError) -> @Sendable () -> Void {
        let socket = try sockets.make(AF_INET, stream: !port.isUDP)
        try InternetSocket.bind(socket, bind, port: port.number, backlog: port.isUDP ? nil : 128, reuse: !port.isUDP)
        if port.isUDP {
            let relay = try DatagramRelay(socket) { client in
                guard target.admits(client) else { return -1 }
                do throws(SysError) {
                    let inside = try InternetSocket.make(.ipv4, stream: false)
                    try InternetSocket.connect(inside, target.address, port: target.port)
                    return inside.take()
                } catch { return -1 }
            }
            return { relay.stop() }
        }
        let listener = try SocketListener(socket) { [weak self] client in
            guard let self else { return _ = close(client) }
            accepted(FileDescriptor(owning: client), target)
        }
        return { listener.stop() }
    }

    private func accepted(_ client: consuming FileDescriptor, _ target: Target) {
        guard target.admits(InternetSocket.peer(client.raw)), connections.load(ordering: .relaxed) < Self.limit
        else { return }
        do throws(SysError) {
            let server = try InternetSocket.make(.ipv4, stream: true)
            try InternetSocket.connect(server, target.address, port: target.port)
            connections.add(1, ordering: .relaxed)
            SocketRelay.start(client, connecting: server) { [self] in connections.subtract(1, ordering: .relaxed) }
        } catch {}
    }
}
