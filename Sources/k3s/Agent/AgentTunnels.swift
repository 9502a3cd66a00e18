import KubeAPI
import Linux
import Logging
import NIOCore
import Netlink
import Synchronization
import Transport

/// The agent's connections to the servers, one WebSocket each, by which they reach what they cannot dial: the node's own
/// API, and in some modes pods. They are the load balancer's health checks, too.
/// Source: k3s's pkg/agent/tunnel.
final class AgentTunnels: Sendable {
    /// What the servers may be connected to.
    struct Policy: Sendable {
        var kubeletPort: UInt16
        /// Beyond the node's own API: any port of these,
        var networks: [IPPrefix] = []
        /// and where it says that a pod of this node is.
        var isPod: (@Sendable (IPAddress, UInt16) async -> Bool)?

        /// nil: the node has to be asked (`allows`).
        func decides(_ address: TunnelAddress) -> Bool? {
            guard address.network == "tcp" else { return false }
            if isKubelet(address) { return true }
            guard let target = IPAddress(address.host) else { return false }
            if networks.contains(where: { $0.contains(target) }) { return true }
            return isPod == nil ? false : nil
        }

        func allows(_ address: TunnelAddress) async -> Bool {
            if let decision = decides(address) { return decision }
            guard let target = IPAddress(address.host) else { return false }
            return await isPod?(target, address.port) ?? false
        }

        func isKubelet(_ address: TunnelAddress) -> Bool {
            ["127.0.0.1", "::1", "localhost"].contains(address.host) && address.port == kubeletPort
        }
    }

    private let http: HTTPClient
    private let group: any EventLoopGroup
    private let tls: TLSClientContext
    private let policy: Policy
    private let balancer: LoadBalancer?
    private let defaultServer: String
    private let logger: Logger
    private struct State {
        var tasks: [String: Task<Void, Never>] = [:]
        var connected: Set<String> = []
        var listed: Set<String> = []
    }
    private let state = Mutex(State())

    init(
        http: HTTPClient, group: any EventLoopGroup, tls: TLSClientContext, policy: Policy, balancer: LoadBalancer?,
        defaultServer: String, logger: Logger
    ) {
        (self.http, self.group, self.tls, self.policy) = (http, group, tls, policy)
        (self.balancer, self.defaultServer, self.logger) = (balancer, defaultServer, logger)
    }

    /// Until the task is cancelled. `changes`: the servers, whenever there are others.
    func run(_ changes: AsyncStream<[String]>) async {
        for await addresses in changes {
            // The server that the agent was given is there for when none of the others can be dialed.
            let wanted = Set(addresses).union([defaultServer])
            let gone = state.withLock { state in
                let gone = state.tasks.filter { !wanted.contains($0.key) }
                for address in gone.keys { state.tasks[address] = nil }
                state.listed = Set(addresses)
                return gone.values
            }
            for task in gone { task.cancel() }
            for address in wanted where !state.withLock({ $0.tasks[address] != nil }) {
                let task = Task { await self.keep(address) }
                state.withLock { $0.tasks[address] = task }
            }
        }
        let tasks = state.withLock { state in
            defer { state.tasks = [:] }
            return state.tasks.values
        }
        for task in tasks { task.cancel() }
    }

    /// A connection to one server, again and again.
    private func keep(_ address: String) async {
        var reporter = FailureReporter(logger: logger)
        var delay = 3.0
        while !Task.isCancelled {
            // Servers are often given by another name than the one they are listed under: one connection is enough,
            // and a server keeps one of each node only.
            let isNeeded = state.withLock { $0.listed.contains(address) || $0.connected.isEmpty }
            if isNeeded {
                do {
                    try await connect(address) { delay = 3 }
                    logger.info("Tunnel to \(address) was closed")
                } catch {
                    if Task.isCancelled { break }
                    reporter.report("Remotedialer proxy error; reconnecting to \(address): \(error)")
                }
            }
            try? await Task.sleep(for: .seconds(delay * Double.random(in: 1...1.2)))
            delay = min(delay * 1.5, 15)
        }
    }

    private func connect(_ address: String, _ connected: () -> Void) async throws {
        guard let (host, port) = LoadBalancer.split(address) else { throw JoinError("\(address) is no address") }
        let url = HTTPURL(isTLS: true, host: host, port: port, target: "/v1-k3s/connect")
        let opened = try await WebSocketHandshake.connect(http, url, tls: tls, limit: TunnelSession.messageLimit)
        guard let socket = opened.socket else {
            let text = (try? await opened.response.body.collect(upTo: 4 << 10)) ?? []
            throw JoinError("\(url): \(opened.response.status): \(String(decoding: text.prefix(200), as: UTF8.self))")
        }
        connected()
        logger.info("Connected to proxy at wss://\(address)/v1-k3s/connect")
        let (policy, group) = (policy, group)
        let session = TunnelSession(
            socket, role: .client, allow: { policy.decides($0) != false },
            dial: { address in
                guard await policy.allows(address) else { throw JoinError("connect not allowed") }
                // The kubelet listens on all addresses.
                let host = policy.isKubelet(address) ? "127.0.0.1" : address.host
                return try await StreamConnector.connect(host: host, port: Int(address.port), group: group)
            })
        state.withLock { _ = $0.connected.insert(address) }
        let health = Task { await self.vouch(for: address) }
        defer {
            health.cancel()
            state.withLock { _ = $0.connected.remove(address) }
            if !Task.isCancelled { balancer?.checked(address, isHealthy: false) }
        }
        try await withTaskCancellationHandler {
            try await session.run()
        } onCancel: {
            session.close()
        }
    }

    /// The load balancer takes a server up in steps; after that there is no news as long as the connection stands.
    private func vouch(for address: String) async {
        for seconds in [0, 1, 1, 61] {
            try? await Task.sleep(for: .seconds(seconds))
            if Task.isCancelled { return }
            balancer?.checked(address, isHealthy: true)
        }
    }
}

/// What the node says of its pods, once it runs.
final class NodePods: Sendable {
    typealias Lookup = @Sendable (IPAddress, UInt16) async -> Bool
    private let lookup = Mutex<Lookup?>(nil)

    func connect(_ body: @escaping Lookup) { lookup.withLock { $0 = body } }

    func have(_ address: IPAddress, _ port: UInt16) async -> Bool {
        await lookup.withLock { $0 }?(address, port) ?? false
    }
}
