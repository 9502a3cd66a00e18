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
    private let group: any EventLoopGroup
    private let logger: Logger
    private let registries: RegistriesConfig

    /// Reads the configuration files of the node; what is wrong with them is known before anything is made.
    init(_ configuration: ServerConfiguration, address: String, group: any EventLoopGroup, logger: Logger) throws {
        (self.configuration, self.address, self.group, self.logger) = (configuration, address, group, logger)
        registries = try Self.loadRegistries(configuration, logger: logger)
    }

    /// Address of the interface with the default route; nil: there is none.
    static func defaultAddress() -> String? {
        (try? HostAddress.defaultInterface())?.ipv4.first?.address.description
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
    func run(_ plane: ControlPlaneRole) async throws {
        let agentDirectory = configuration.dataDirectory + "/agent"
        try Directories.make(agentDirectory, mode: 0o755)
        try Directories.make(agentDirectory + "/images", mode: 0o755)

        let images = try ImageStore(
            root: agentDirectory + "/containerd/images", registries: registries,
            transport: RegistryClientBridge(group: group), sha256: { RegistryDigest() }, logger: logger)
        var runtimeConfiguration = RuntimeConfiguration(
            root: agentDirectory + "/containerd", state: configuration.stateDirectory + "/containerd")
        runtimeConfiguration.cgroupPrefix =
            configuration.cgroupRoot == "/" ? "" : String(configuration.cgroupRoot.drop { $0 == "/" })
        runtimeConfiguration.seccompProfileRoot = configuration.kubeletRoot + "/seccomp"
        runtimeConfiguration.logger = logger
        let runtime = try Runtime(configuration: runtimeConfiguration, images: images)
        try await runtime.start()
        images.setInUseCheck { [weak runtime] id in
            await runtime?.isInUse(image: id) ?? false
        }

        guard let cluster = IPPrefix(configuration.clusterCIDR) else {
            throw StartupError("--cluster-cidr: \(configuration.clusterCIDR)")
        }
        let network = PodNetworkAdapter(
            template: PodNetworkConfiguration(
                podCIDRs: [], clusterCIDRs: [cluster], stateDirectory: configuration.stateDirectory + "/network"),
            runtime: runtime)
        let settings = ProxySettings(clusterCIDRs: [cluster])
        let proxy = ServiceProxy(backend: try KernelRuleset(), connections: try ConntrackSocket(), settings: settings)

        let report = await images.importDirectory(agentDirectory + "/images")
        for error in report.errors { logger.error("image import: \(error.message)") }
        let importing = Task { [logger] in
            do throws(ImageError) {
                try await images.watchDirectory(agentDirectory + "/images")
            } catch {
                logger.error("images that are added later are imported at the next start only: \(error.message)")
            }
        }
        defer { importing.cancel() }
        // The warnings are the store's own.
        let collecting = Task { await images.collectGarbage(ImageGCPolicy()) { _ in } }
        defer { collecting.cancel() }
        let control = ControlServer(runtime: runtime, images: images, logger: logger)
        let controlling = Task { [logger] in
            do throws(SysError) { try await control.run() } catch {
                if !Task.isCancelled { logger.error("k3s ctr and k3s crictl do not work: \(error)") }
            }
        }
        defer { controlling.cancel() }

        var node = NodeConfiguration(name: configuration.nodeName, internalIPs: [address])
        node.isServer = true
        node.labels = configuration.nodeLabels
        node.rootDirectory = configuration.kubeletRoot
        node.podLogs = configuration.podLogs
        if configuration.podLogs != "/var/log/pods" { node.containerLogs = configuration.podLogs + "/.containers" }
        node.clusterDNS = [configuration.clusterDNS]
        node.clusterDomain = configuration.clusterDomain
        node.kubernetesVersion = Version.git
        node.kubeletPort = UInt16(configuration.kubeletPort)
        if let file = configuration.resolvConf { node.resolvConf = file }
        let names = try clusterNames()
        defer { names?.server.stop() }
        let agent = NodeAgent(
            client: plane.client, runtime: runtime, network: network,
            proxy: KernelServiceProxy(proxy: proxy, settings: settings), names: names, configuration: node,
            logger: logger)

        let kubelet = KubeletServer(agent)
        plane.nodes.connect(configuration.nodeName, kubelet.handler)
        let listener = try await serve(kubelet, plane)
        defer { Task { await listener.stop() } }
        try await agent.run()
    }

    /// The cluster's name server, on its service address of this machine.
    private func clusterNames() throws -> ClusterNames? {
        guard let address = IPAddress(configuration.clusterDNS) else {
            throw StartupError("--cluster-dns: \"\(configuration.clusterDNS)\" is not an IP address")
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

    /// The node's own API on port 10250, for those with a certificate that the API server has.
    private func serve(_ kubelet: KubeletServer, _ plane: ControlPlaneRole) async throws -> HTTPServer {
        let key = try PrivateKey.load(plane.pki.path("serving-kubelet.key"))
        let chain = try plane.pki.issue(
            .kubeletServing(nodeName: configuration.nodeName, addresses: [address, "127.0.0.1"]), for: key.publicKey)
        var tls = TLSServerConfiguration(
            certificate: TLSCertificate(chainPEM: chain, keyPEM: key.pem), clientCAPEM: plane.pki.client.pem)
        tls.requireClientCertificate = false
        let handler = kubelet.handler
        let server = HTTPServer(group: group, tls: try TLSServerContext(tls)) { request in
            if request.path == "/healthz" { return await handler(request) }
            guard let peer = request.peer else { return .text("Unauthorized", status: 401) }
            guard peer.organizations.contains("system:masters") else { return .text("Forbidden", status: 403) }
            return await handler(request)
        }
        do {
            try await server.start(host: "0.0.0.0", port: configuration.kubeletPort)
        } catch let error as IOError {
            throw StartupError(
                "listen tcp 0.0.0.0:\(configuration.kubeletPort): bind: \(SysError.text(error.errnoCode).lowercased())")
        }
        return server
    }
}
