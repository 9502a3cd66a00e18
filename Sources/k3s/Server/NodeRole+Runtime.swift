import Containers
import KubeAPI
import Linux
import Logging
import Node
import PodNetwork
import Transport

extension NodeRole {
    /// A container runtime with the network of its pods, and what goes on beside it until it is cancelled.
    struct Engine {
        var runtime: any ContainerRuntime
        var network: any PodNetworking
        var tasks: [Task<Void, Never>] = []
    }

    private func policy(_ node: NodeConfiguration) -> ImageGCPolicy {
        var policy = ImageGCPolicy()
        (policy.highThreshold, policy.lowThreshold) = (node.imageGCHighPercent, node.imageGCLowPercent)
        policy.minimumAge = node.imageMinimumAge
        return policy
    }

    /// Of the machine; made by systemd where that is asked for, or has started this process (`CgroupDriver.usual`).
    private func cgroups(_ driver: CgroupDriver?) async throws -> any Cgroups {
        if let rootless = configuration.rootless {
            return try rootless.cgroups(stateDirectory: configuration.stateDirectory)
        }
        let started = getenv("INVOCATION_ID").map { ["INVOCATION_ID": String(cString: $0)] } ?? [:]
        let (cgroups, problem) = try await BlockingPool.shared.run {
            () throws(SysError) in try CgroupDetection.detect(driver: driver, environment: started)
        }
        if let problem { logger.warning("\(problem): cgroups are made without systemd") }
        return cgroups
    }

    /// Where `k3s crictl` finds the runtime.
    private func writeToolConfiguration(runtime: String, images: String) {
        do throws(SysError) {
            try Directories.make(configuration.dataDirectory + "/agent/etc")
            let text = "runtime-endpoint: \(runtime)\nimage-endpoint: \(images)\n"
            try Files.writeAtomically(configuration.dataDirectory + "/agent/etc/crictl.yaml", text, sync: false)
        } catch { logger.warning("crictl.yaml is not written: \(error)") }
    }

    private var cgroupPrefix: String {
        configuration.cgroupRoot == "/" ? "" : String(configuration.cgroupRoot.drop { $0 == "/" })
    }

    // MARK: - Built in

    /// With the images that lie in the agent's folder.
    func builtInRuntime(_ node: NodeConfiguration) async throws -> Engine {
        let agentDirectory = configuration.dataDirectory + "/agent"
        let images = try ImageStore(
            root: agentDirectory + "/containerd/images", registries: registries,
            transport: RegistryClientBridge(group: group), sha256: { RegistryDigest() }, logger: logger)
        var settings = RuntimeConfiguration(
            root: agentDirectory + "/containerd", state: configuration.stateDirectory + "/containerd")
        settings.cgroupPrefix = cgroupPrefix
        settings.seccompProfileRoot = configuration.kubeletRoot + "/seccomp"
        settings.logger = logger
        let runtime = try Runtime(
            configuration: settings, images: images, cgroups: try await cgroups(node.cgroupDriver))
        try await runtime.start()
        images.setInUseCheck { [weak runtime] id in
            await runtime?.isInUse(image: id) ?? false
        }
        let network = podNetwork(runtime)
        // The warnings are the store's own.
        let report = await images.importDirectory(agentDirectory + "/images")
        for error in report.errors { logger.error("image import: \(error.message)") }
        var engine = Engine(runtime: runtime, network: network)
        engine.tasks.append(
            Task { [logger] in
                do throws(ImageError) {
                    try await images.watchDirectory(agentDirectory + "/images")
                } catch {
                    logger.error("images that are added later are imported at the next start only: \(error.message)")
                }
            })
        let policy = policy(node)
        engine.tasks.append(Task { await images.collectGarbage(policy) { _ in } })
        let control = ControlServer(runtime: runtime, images: images, logger: logger)
        engine.tasks.append(
            Task { [logger] in
                do throws(SysError) { try await control.run() } catch {
                    if !Task.isCancelled { logger.error("k3s ctr does not work: \(error)") }
                }
            })
        let cri = CRIServer(
            runtime: runtime, network: network, version: Version.git,
            listen: { [group] handler in
                let server = HTTPServer(group: group, handler: handler)
                return (try await server.start(host: "127.0.0.1", port: 0), server)
            }, logger: logger)
        let endpoint = "unix://" + cri.socketPath
        writeToolConfiguration(runtime: endpoint, images: endpoint)
        engine.tasks.append(
            Task { [logger] in
                do throws(SysError) { try await cri.run() } catch {
                    if !Task.isCancelled { logger.error("\(cri.socketPath): the CRI socket does not work: \(error)") }
                }
            })
        return engine
    }

    private func podNetwork(_ runtime: Runtime) -> any PodNetworking {
        if configuration.network.backend == .none {
            var settings = CNISettings(cacheDirectory: configuration.dataDirectory + "/agent/cni/results")
            settings.pluginDirectories.append(configuration.dataDirectory + "/data/cni")
            settings.searchPath = configuration.searchPath
            return CNINetworkAdapter(settings, builtIn: pods, backend: backend, runtime: runtime, logger: logger)
        }
        let network = PodNetworkAdapter(template: pods, backend: backend, runtime: runtime, logger: logger)
        guard let ports = configuration.rootless?.ports else { return network }
        return PublishingNetwork(inner: network, ports: ports)
    }

    // MARK: - Another one

    /// Waits for the runtime. `node` is told its name and where it has its images.
    func remoteRuntime(_ node: inout NodeConfiguration) async throws -> Engine {
        var settings = RemoteRuntime.Settings(
            endpoint: configuration.runtimeEndpoint ?? "", imageEndpoint: configuration.imageEndpoint ?? "")
        settings.cgroupPrefix = cgroupPrefix
        settings.podLogs = configuration.podLogs
        settings.logger = logger
        let runtime: RemoteRuntime
        do throws(RuntimeError) { runtime = try RemoteRuntime(settings, http: HTTPClient(group: group)) } catch {
            throw StartupError("--container-runtime-endpoint: \(error.message)")
        }
        var builtIn: PodNetworkAdapter?
        var tasks: [Task<Void, Never>] = []
        if configuration.network.backend != .none {
            let network = PodNetworkAdapter(template: pods, backend: backend, runtime: runtime, logger: logger)
            builtIn = network
            let server = CNIServer(network: network, state: configuration.stateDirectory, logger: logger)
            try server.install(dataDirectory: configuration.dataDirectory)
            tasks.append(
                Task { [logger] in
                    do throws(SysError) { try await server.run() } catch {
                        if !Task.isCancelled { logger.error("pods get no network: the CNI plugin's socket: \(error)") }
                    }
                })
        }
        do throws(RuntimeError) { node.runtimeVersion = try await runtime.connect() } catch {
            for task in tasks { task.cancel() }
            throw StartupError("--container-runtime-endpoint: \(error.message)")
        }
        writeToolConfiguration(runtime: settings.endpoint, images: settings.imageEndpoint)
        logger.info("container runtime \(node.runtimeVersion) at \(settings.endpoint)")
        node.imageDirectory = await runtime.imageDirectory()
        tasks.append(Task { await runtime.run() })
        let policy = policy(node)
        tasks.append(Task { await runtime.collectGarbage(policy) })
        return Engine(runtime: runtime, network: RemotePodNetwork(runtime, builtIn: builtIn), tasks: tasks)
    }
}
