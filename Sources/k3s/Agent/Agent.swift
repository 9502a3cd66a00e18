import Codecs
import KubeAPI
import Linux
import Logging
import NIOCore
import NIOPosix
import Netlink
import Node
import Transport

/// The process is to start again, in place.
struct RestartRequest: Error {}

/// The parts of an agent and their order.
///
///     checks ─▶ load balancer ─▶ join (for ever) ─▶ node, tunnels, servers ─▶ until SIGTERM
///
/// The node's pods do not need the server: while it is away they go on, and every part here tries again by itself.
struct Agent: Sendable {
    let configuration: AgentConfiguration
    let logger: Logger

    func run() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        logger.info("Starting k3s agent: \(Root.version)")
        var node = configuration.node
        let address = node.nodeIP ?? NodeRole.defaultAddress() ?? ""
        guard !address.isEmpty else {
            throw StartupError("no default route found: give the node's address with --node-ip")
        }
        // What is wrong with the node's files is said before the cluster is asked for anything.
        _ = try NodeRole(node, address: address, group: group, logger: logger)
        let files = AgentFiles(node.dataDirectory)
        try files.make()
        let password = try NodeIdentity.password(node.nodePasswordFile)

        let balancer = try await startBalancer(group, files)
        var server = configuration.server
        if balancer != nil, let port = configuration.balancerPort { (server.host, server.port) = ("127.0.0.1", port) }
        // No connection is kept: certificates and trust change from step to step.
        var limits = HTTPClient.Limits()
        limits.idlePerHost = 0
        let joined = try await AgentJoin(
            configuration: configuration, server: server, files: files, password: password,
            nodeIPs: node.network.nodeAddresses(primary: address) + node.externalIPs,
            http: HTTPClient(group: group, limits: limits), logger: logger
        ).run()
        try joined.description.apply(to: &node)
        logger.info("Joined the cluster of \(configuration.server.hostField) as node \(node.nodeName)")

        let http = HTTPClient(group: group)
        func context(_ certificate: TLSCertificate) throws -> TLSClientContext {
            try TLSClientContext(
                TLSClientConfiguration(trust: .authorities(pem: joined.ca), certificate: certificate))
        }
        func client(_ certificate: TLSCertificate) throws -> RemoteClient {
            RemoteClient(
                http: http, server: server, tls: try context(certificate), userAgent: "k3s/" + Version.git)
        }
        let clients = NodeClients(
            kubelet: try client(joined.kubelet), proxy: try client(joined.proxy),
            cluster: try client(joined.controller))
        let access = NodeCluster(clients: clients, certificate: joined.serving, clientCA: joined.clientCA)
        let role = try NodeRole(node, address: address, group: group, logger: logger)
        let servers = AgentServers(
            balancer: balancer, defaultServer: configuration.serverAddress, url: configuration.server.description,
            files: files, client: clients.proxy, logger: logger)
        let tunnels = AgentTunnels(
            http: http, group: group, tls: try context(joined.kubelet),
            policy: try tunnelPolicy(joined.description, address), balancer: balancer,
            defaultServer: configuration.serverAddress, logger: logger)
        logger.info("k3s agent is up and running")
        ServiceManager.ready()
        do {
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask { try await role.run(access) }
                tasks.addTask { await servers.follow() }
                tasks.addTask { try await renewal(of: joined, clients.kubelet) }
                tasks.addTask { await tunnels.run(servers.changes) }
                // The first part that ends, ends the agent; cancelling ends them all.
                try await tasks.next()
                tasks.cancelAll()
            }
        } catch {
            await balancer?.stop()
            throw error
        }
        await balancer?.stop()
    }

    /// Certificates are made at each start. An agent that runs for most of a year needs new ones in between: it starts
    /// itself again, when there is a server to give them; the pods go on as with any restart.
    private func renewal(of joined: JoinedCluster, _ client: any KubeClient) async throws {
        let chains = [joined.serving, joined.kubelet, joined.proxy, joined.controller]
        let leaves = try chains.compactMap { try Certificate.chain(pem: $0.chainPEM, what: "certificate").first }
        while true {
            try await Task.sleep(for: .seconds(6 * 3600))
            let now = SystemClock().now().seconds
            guard leaves.contains(where: { Self.isDue(notBefore: $0.notBefore, notAfter: $0.notAfter, now: now) })
            else { continue }
            let there = try? await client.get(.nodes, namespace: "", name: configuration.node.nodeName)
            if there != nil { throw RestartRequest() }
        }
    }

    /// In the last third of a certificate's life, as the server's own certificates.
    static func isDue(notBefore: Int64, notAfter: Int64, now: Int64) -> Bool {
        notAfter - now < (notAfter - notBefore) / 3
    }

    /// `--egress-selector-mode` of the server: `pod` is here the addresses of pods, whichever node they are on, since the
    /// node's own range is not known before it is registered; only the server's choice of the tunnel differs.
    private func tunnelPolicy(_ cluster: ClusterDescription, _ address: String) throws -> AgentTunnels.Policy {
        var policy = AgentTunnels.Policy(kubeletPort: UInt16(configuration.node.kubeletPort))
        switch cluster.egressSelectorMode {
        case "cluster":
            policy.networks = (cluster.clusterCIDRs + [address]).compactMap {
                IPPrefix($0) ?? IPAddress($0).map { IPPrefix(host: $0) }
            }
        case "pod": policy.networks = cluster.clusterCIDRs.compactMap { IPPrefix($0) }
        default: break
        }
        return policy
    }

    private func startBalancer(_ group: any EventLoopGroup, _ files: AgentFiles) async throws -> LoadBalancer? {
        guard let port = configuration.balancerPort else { return nil }
        let balancer = LoadBalancer(group: group, defaultServer: configuration.serverAddress) {
            [logger] address, state in
            logger.debug("load balancer: server \(address) is \(state)")
        }
        balancer.set(files.knownServers(of: configuration.server.description))
        do {
            try await balancer.start(host: "127.0.0.1", port: port)
        } catch let error as IOError {
            throw StartupError(
                "--lb-server-port: listen tcp 127.0.0.1:\(port): bind: \(SysError.text(error.errnoCode).lowercased())")
        }
        logger.info(
            "Running load balancer k3s-agent-load-balancer 127.0.0.1:\(port) -> \(balancer.addresses) [default: \(configuration.serverAddress)]"
        )
        return balancer
    }
}
