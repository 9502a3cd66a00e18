import ClusterDNS
import Codecs
import Containers
import ControlPlane
import Iptables
import KubeAPI
import Linux
import Logging
import NIOCore
import Netlink
import Node
import PodNetwork
import Transport

/// The node on this machine: images, runtime, pod network, service proxy and agent.
struct NodeRole: Sendable {
    let configuration: ServerConfiguration
    let address: String
    let group: any EventLoopGroup
    let logger: Logger
    let registries: RegistriesConfig
    let pods: PodNetworkConfiguration
    let backend: BackendConfiguration

    /// Reads the configuration files of the node and looks whether the kernel can do what pods need of it; what is wrong is
    /// known before anything is made.
    init(_ configuration: ServerConfiguration, address: String, group: any EventLoopGroup, logger: Logger) throws {
        (self.configuration, self.address, self.group, self.logger) = (configuration, address, group, logger)
        registries = try Self.loadRegistries(configuration, logger: logger)
        pods = try configuration.network.podNetwork(stateDirectory: configuration.stateDirectory)
        backend = try configuration.network.backendConfiguration(stateDirectory: configuration.stateDirectory)
        var settings = NodeConfiguration(name: configuration.nodeName, internalIPs: [address])
        _ = try applyKubeletArguments(&settings)
        do { try KernelSupport.check(KernelRuleset()) } catch { throw StartupError("\(error)") }
    }

    /// Address of the interface with the default route; nil: there is none.
    static func defaultAddress() -> String? {
        let interface = try? HostAddress.defaultInterface()
        return (interface?.ipv4.first ?? interface?.ipv6.first)?.address.description
    }

    private static func loadRegistries(_ configuration: ServerConfiguration, logger: Logger) throws -> RegistriesConfig
    {
        var registries = RegistriesConfig()
        let file = configuration.registriesFile
        if let bytes = try Files.readIfPresent(file, limit: 1 << 20) {
            var warnings: [String] = []
            let document: JSON
            do throws(YAMLError) {
                document = try YAML.parse(bytes)
            } catch {
                throw StartupError("--private-registry: \(file): \(error.message)")
            }
            if !document.isNull {
                do throws(ImageError) {
                    registries = try RegistriesConfig(document, file: file, warnings: &warnings)
                } catch {
                    throw StartupError("--private-registry: \(error.message)")
                }
            }
            for warning in warnings { logger.warning("\(warning)") }
        }
        registries.disableDefaultEndpoint = configuration.disableDefaultRegistryEndpoint
        return registries
    }

    /// Until the task is cancelled; the pods go on.
    func run(_ access: NodeCluster) async throws {
        if let note = configuration.network.backendNote(backend.kind, isServer: configuration.isServer) {
            logger.warning("\(note)")
        }
        let agentDirectory = configuration.dataDirectory + "/agent"
        try Directories.make(agentDirectory, mode: 0o755)
        try Directories.make(agentDirectory + "/images", mode: 0o755)

        let (configured, notes) = try nodeConfiguration()
        var node = configured
        let engine = try await configuration.runtimeEndpoint == nil ? builtInRuntime(node) : remoteRuntime(&node)
        defer { for task in engine.tasks { task.cancel() } }
        let (runtime, network) = (engine.runtime, engine.network)
        var settings = ProxySettings(clusterCIDRs: pods.clusterCIDRs)
        settings.families = pods.clusterCIDRs.map(\.family)
        let services = ServiceProxy(
            backend: try KernelRuleset(), connections: try ConntrackSocket(), settings: settings)

        var proxy: any ServiceProxying = KernelServiceProxy(proxy: services, settings: settings)
        if let ports = configuration.rootless?.ports { proxy = PublishingProxy(inner: proxy, ports: ports) }

        for note in notes { logger.warning("\(note)") }
        // Pods go before the node does; what the kernel refuses (no CAP_SYS_RESOURCE) is no reason to stop.
        do throws(SysError) { try Files.overwrite("/proc/self/oom_score_adj", "-999") } catch {
            logger.debug("oom_score_adj stays as it is: \(error)")
        }
        if let folder = node.staticPodPath, !Files.exists(folder) { try Directories.make(folder, mode: 0o750) }
        let names = try clusterNames()
        defer { names?.server.stop() }
        let metrics = await serveMetrics(of: names)
        defer { Task { await metrics?.stop() } }
        let agent = NodeAgent(
            clients: access.clients, runtime: runtime, network: network, proxy: proxy,
            policies: try networkPolicies(settings.families, names), names: names,
            listen: { [group, host = configuration.network.anyAddress] port, handler in
                let server = HTTPServer(group: group, handler: handler)
                try await server.start(host: host, port: Int(port))
                return server
            }, configuration: node, logger: logger)

        let monitor = CertificateMonitor(
            client: access.clients.kubelet, clock: SystemClock(), node: configuration.nodeName,
            dataDirectory: configuration.dataDirectory)
        let monitoring = Task { await monitor.run() }
        defer { monitoring.cancel() }
        let kubelet = KubeletServer(agent)
        access.connect(kubelet.handler)
        access.connectPods { [agent] in await agent.hasPod(at: $0, port: $1) }
        let listener = try await serve(kubelet, access)
        defer { Task { await listener.stop() } }
        try await agent.run()
    }

    /// What the node agent is told; `notes`: what was asked for in vain.
    private func nodeConfiguration() throws -> (node: NodeConfiguration, notes: [String]) {
        let agentDirectory = configuration.dataDirectory + "/agent"
        var node = NodeConfiguration(
            name: configuration.nodeName, internalIPs: configuration.network.nodeAddresses(primary: address))
        node.isServer = configuration.isServer
        node.offersEgress = configuration.offersEgress
        node.balancesServices = configuration.isServer && !configuration.disabled.contains("servicelb")
        if configuration.isRootless { node.balancerAddress = "127.0.0.1" }
        node.labels = configuration.nodeLabels
        node.taints = configuration.nodeTaints
        node.externalIPs = configuration.externalIPs
        node.rootDirectory = configuration.kubeletRoot
        node.podLogs = configuration.podLogs
        if configuration.podLogs != "/var/log/pods" { node.containerLogs = configuration.podLogs + "/.containers" }
        node.clusterDNS = configuration.network.clusterDNS
        node.clusterDomain = configuration.clusterDomain
        node.staticPodPath = agentDirectory + "/pod-manifests"
        node.kubernetesVersion = Version.git
        node.kubeletPort = UInt16(configuration.kubeletPort)
        node.imageDirectory = agentDirectory + "/containerd"
        node.resolvConf =
            try configuration.resolvConf ?? ResolvConfChoice.path(generated: agentDirectory + "/etc/resolv.conf")
        let notes = try applyKubeletArguments(&node)
        return (node, notes)
    }

    private func applyKubeletArguments(_ node: inout NodeConfiguration) throws -> [String] {
        do throws(SettingsError) {
            return try KubeletSettings.apply(configuration.kubeletArguments, to: &node)
        } catch {
            throw UsageError("--kubelet-arg: \(error.message)")
        }
    }

    /// nil: not wanted; what an earlier start loaded goes.
    private func networkPolicies(_ families: [AddressFamily], _ names: ClusterNames?) throws -> KernelPolicyEnforcer? {
        let backend = try KernelRuleset()
        if configuration.disableNetworkPolicy {
            try backend.commit(PolicyEnforcer.removal, purpose: "remove the tables of network policy")
            return nil
        }
        if BridgeFiltering.problem(families) != nil { loadModule(BridgeFiltering.module) }
        if let problem = BridgeFiltering.problem(families) { logger.warning("\(problem)") }
        var settings = PolicySettings(families: families)
        if let names { (settings.nameServers, settings.nameServerPort) = ([names.address], names.port) }
        return KernelPolicyEnforcer(PolicyEnforcer(backend: backend, settings: settings))
    }

    /// With the program that the kernel itself would use; where that does not work, whoever needs the module says so.
    private func loadModule(_ name: String) {
        let path = (try? Files.readString("/proc/sys/kernel/modprobe"))?[...].trimmingSpaces() ?? ""
        guard !path.isEmpty, Files.exists(path) else { return }
        BlockingPool.waitForFreshThread(name: "modprobe") {
            do throws(SysError) {
                var process = try Spawned.start([path, "--", name])
                while try process.poll() == nil { usleep(2_000) }
            } catch {}
        }
    }

    /// The cluster's name server, on its service address of this machine.
    private func clusterNames() throws -> ClusterNames? {
        guard let address = configuration.network.clusterDNS.first.flatMap({ IPAddress($0) }) else {
            throw StartupError("--cluster-dns: expected an IP address")
        }
        if configuration.disabled.contains("coredns") {
            try DNSAddress.remove(address)
            return nil
        }
        guard
            let zone = ClusterZone(domain: configuration.clusterDomain, serverAddresses: [address])
        else { throw StartupError("--cluster-domain: \"\(configuration.clusterDomain)\" is not a domain name") }
        try DNSAddress.add(address)
        let server = DNSServer(zone: zone, resolvConf: configuration.resolvConf ?? "/etc/resolv.conf")
        do throws(SysError) {
            return ClusterNames(server: server, address: address, port: try server.listen(on: address, port: 53))
        } catch {
            // Another name server of this machine serves all addresses: the service proxy leads to ours.
            guard error.code == EADDRINUSE else { throw error }
            let port = try server.listen(on: address, port: 0)
            logger.warning("cluster DNS: port 53 of \(address) is taken by another program; serving on port \(port)")
            return ClusterNames(server: server, address: address, port: port)
        }
    }

    /// The name server's metrics, where Prometheus finds CoreDNS's.
    private func serveMetrics(of names: ClusterNames?) async -> HTTPServer? {
        guard let names else { return nil }
        let server = HTTPServer(group: group) { request in
            request.path == "/metrics"
                ? .text(names.server.metrics) : .text("404 page not found\n", status: 404)
        }
        do {
            try await server.start(host: names.address.description, port: ClusterNames.metricsPort)
            return server
        } catch {
            logger.warning("cluster DNS: metrics on \(names.address):\(ClusterNames.metricsPort): \(error)")
            return nil
        }
    }

    /// The node's own API on port 10250, for the API server and whom the API server knows and allows.
    private func serve(_ kubelet: KubeletServer, _ access: NodeCluster) async throws -> HTTPServer {
        var tls = TLSServerConfiguration(certificate: access.certificate, clientCAPEM: access.clientCA)
        tls.requireClientCertificate = false
        let gate = KubeletGate(client: access.clients.kubelet, node: configuration.nodeName)
        let server = HTTPServer(group: group, tls: try TLSServerContext(tls), handler: gate.guarding(kubelet.handler))
        do {
            try await server.start(host: configuration.network.anyAddress, port: configuration.kubeletPort)
        } catch let error as IOError {
            throw StartupError(
                "listen tcp 0.0.0.0:\(configuration.kubeletPort): bind: \(SysError.text(error.errnoCode).lowercased())")
        }
        return server
    }
}
