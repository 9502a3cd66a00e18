internal import Codecs
internal import Containers
internal import KubeAPI
internal import Linux
import Synchronization

extension PodWorker {
    /// What the runtime is told of a container: environment, command, mounts, limits, security.
    func containerConfig(
        _ container: ContainerSpec, _ pod: Pod, attempt: UInt32, image: ImageInfo
    ) async throws(ContainerConfigError) -> ContainerConfig {
        try SecurityContext.checkNonRoot(pod, container, imageUser: image.config.user)
        let configuration = context.configuration
        let client = context.client
        let isUnreachable = Mutex(false)
        let environment = ContainerEnvironment(
            facts: facts(pod), container: container,
            services: context.services.variables(
                namespace: pod.namespace, links: pod.spec["enableServiceLinks"].bool ?? true),
            object: { reference throws(APIError) in
                do throws(APIError) {
                    return try await client.getIfPresent(
                        reference.kind.resource, namespace: reference.namespace, name: reference.name)
                } catch {
                    if error.code == 503 { isUnreachable.withLock { $0 = true } }
                    throw error
                }
            })
        let variables: [ContainerEnvironment.Variable]
        do throws(ContainerConfigError) {
            variables = try await environment.build()
            if environment.readsObjects { environments[container.hash] = variables }
        } catch {
            guard isUnreachable.withLock({ $0 }), let known = environments[container.hash] else { throw error }
            variables = known
        }
        var values: [String: String] = [:]
        for variable in variables { values[variable.name] = variable.value }
        let lookup = { (name: String) in values[name] }

        var config = ContainerConfig()
        config.name = container.name
        config.attempt = attempt
        config.image = image.id.isEmpty ? container.image : image.id
        config.command = container.command.map { Expansion.expand($0, lookup) }
        config.args = container.args.map { Expansion.expand($0, lookup) }
        config.workingDirectory = container.workingDirectory
        config.environment = variables
        config.stdin = container.json["stdin"].bool ?? false
        config.stdinOnce = container.json["stdinOnce"].bool ?? false
        config.tty = container.json["tty"].bool ?? false
        config.logPath = "\(container.name)/\(attempt).log"
        config.labels = [
            RuntimeLabels.podUID: pod.uid, RuntimeLabels.podName: pod.name, RuntimeLabels.podNamespace: pod.namespace,
            RuntimeLabels.containerName: container.name,
        ]
        config.annotations = [
            RuntimeLabels.hash: container.hash, RuntimeLabels.restartCount: String(attempt),
            RuntimeLabels.terminationMessagePath: container.terminationMessagePath,
            RuntimeLabels.terminationMessagePolicy: container.fallsBackToLogs ? "FallbackToLogsOnError" : "File",
        ]
        config.resources = PodResources.container(
            container, of: pod, on: context.resources.machine)
        config.security = try SecurityContext.merged(
            pod, container, seccompRoot: configuration.rootDirectory + "/seccomp")
        config.stopSignal = container.stopSignal ?? ""
        config.mounts = try mounts(container, pod, attempt: attempt, lookup)
        for device in container.json["volumeDevices"].elements {
            let name = device["name"].string ?? ""
            guard let volume = volumes[name], volume.isBlock else {
                throw ContainerConfigError(
                    "cannot find volume \"\(name)\" to pass into container \"\(container.name)\"")
            }
            config.devices.append(
                "\(volume.path):\(device["devicePath"].string ?? ""):\(volume.readOnly ? "r" : "rwm")")
        }
        try await addDevices(&config, container, pod)
        if let name = container.json["targetContainerName"].string, !name.isEmpty {
            guard let target = runningContainer(name) else {
                throw ContainerConfigError("unable to find target container \"\(name)\"")
            }
            config.pid = .target(target)
        }
        return config
    }

    private func mounts(
        _ container: ContainerSpec, _ pod: Pod, attempt: UInt32, _ variable: (String) -> String?
    ) throws(ContainerConfigError) -> [ContainerMount] {
        var mounts: [ContainerMount] = []
        let directory = context.volumes.podDirectory(pod.uid)
        let subPaths = SubPaths(mounter: context.mounter, podDirectory: directory)
        let group = pod.security["fsGroup"].int.flatMap { UInt32(exactly: $0) }
        for (index, mount) in container.volumeMounts.enumerated() {
            let name = mount["name"].string ?? ""
            let inside = mount["mountPath"].string ?? ""
            guard let volume = volumes[name] else {
                throw ContainerConfigError(
                    "cannot find volume \"\(name)\" to mount into container \"\(container.name)\"")
            }
            let source = try part(mount, variable, container.name)
            var path = volume.path
            if !source.isEmpty {
                do throws(SysError) {
                    path = try subPaths.prepare(
                        volume: volume.path, volumeName: name, subPath: source, container: container.name, index: index,
                        group: group)
                } catch {
                    throw ContainerConfigError(
                        "failed to prepare subPath for volumeMount \"\(name)\" of container \"\(container.name)\": \(error.description)"
                    )
                }
            }
            var result = ContainerMount(
                hostPath: path, containerPath: inside.hasPrefix("/") ? inside : "/" + inside,
                readOnly: volume.readOnly || mount["readOnly"].bool == true)
            // IfPossible is always: kernels since 5.12 can.
            result.recursiveReadOnly =
                result.readOnly && ["Enabled", "IfPossible"].contains(mount["recursiveReadOnly"].string ?? "")
            switch mount["mountPropagation"].string {
            case "HostToContainer": result.propagation = .hostToContainer
            case "Bidirectional": result.propagation = .bidirectional
            default: break
            }
            mounts.append(result)
        }
        try addNodeFiles(container, pod, attempt: attempt, directory: directory, &mounts)
        return mounts
    }

    /// subPath, or subPathExpr with its variables; "" for the whole volume.
    private func part(
        _ mount: JSON, _ variable: (String) -> String?, _ container: String
    ) throws(ContainerConfigError) -> String {
        var path = mount["subPath"].string ?? ""
        if let expression = mount["subPathExpr"].string, !expression.isEmpty {
            let missing = Expansion.missing(expression, variable)
            guard missing.isEmpty else {
                throw ContainerConfigError("missing value for \"\(missing[0])\"")
            }
            path = Expansion.expand(expression, variable)
        }
        guard !path.isEmpty else { return "" }
        if path.hasPrefix("/") { throw ContainerConfigError("error SubPath `\(path)` must not be an absolute path") }
        if path.split(separator: "/").contains("..") {
            throw ContainerConfigError("unable to provision SubPath `\(path)`: must not contain '..'")
        }
        return path
    }

    /// /etc/hosts, /etc/hostname, /etc/resolv.conf and the termination message, unless the container mounts its own.
    private func addNodeFiles(
        _ container: ContainerSpec, _ pod: Pod, attempt: UInt32, directory: String, _ mounts: inout [ContainerMount]
    ) throws(ContainerConfigError) {
        let taken = Set(mounts.map(\.containerPath))
        do throws(SysError) {
            for (file, inside) in Self.nodeFiles where !taken.contains(inside) {
                let path = directory + "/" + file
                if Files.exists(path) {
                    mounts.append(ContainerMount(hostPath: path, containerPath: inside))
                }
            }
            let message = terminationMessageFile(container.name, attempt, pod)
            try Directories.make(Path.parent(message), mode: 0o750)
            // Any user of the container may write it.
            try Files.write(message, [], mode: 0o666)
            try syscall("chmod", message) { chmod(message, 0o666) }
            if !taken.contains(container.terminationMessagePath) {
                mounts.append(ContainerMount(hostPath: message, containerPath: container.terminationMessagePath))
            }
        } catch {
            throw ContainerConfigError(error.description)
        }
    }

    private static let nodeFiles = [
        ("etc-hosts", "/etc/hosts"), ("hostname", "/etc/hostname"), ("resolv.conf", "/etc/resolv.conf"),
    ]

    /// Written when a sandbox has its addresses.
    func writeHostFiles(_ pod: Pod) throws(RuntimeError) {
        let configuration = context.configuration
        let directory = context.volumes.podDirectory(pod.uid)
        let hosts = HostFiles.hosts(
            pod, podIPs: state.sandbox?.addresses ?? [], clusterDomain: configuration.clusterDomain,
            nodeHosts: Files.text(configuration.etc + "/hosts") ?? "")
        let resolver = HostFiles.resolver(
            pod, clusterDNS: configuration.clusterDNS, clusterDomain: configuration.clusterDomain,
            host: HostFiles.Resolver(parsing: Files.text(configuration.resolvConf) ?? ""))
        let hostname =
            pod.hostNetwork && pod.spec["hostnameOverride"].string == nil
            ? configuration.hostname : HostFiles.systemHostname(pod, clusterDomain: configuration.clusterDomain)
        do throws(SysError) {
            try Directories.make(directory, mode: 0o750)
            try Files.write(directory + "/etc-hosts", Array(hosts.utf8), mode: 0o644)
            try Files.write(directory + "/resolv.conf", Array(resolver.text.utf8), mode: 0o644)
            try Files.write(directory + "/hostname", Array((hostname + "\n").utf8), mode: 0o644)
        } catch {
            throw RuntimeError(.io, error.description)
        }
    }

    // MARK: Termination messages

    private func terminationMessageFile(_ container: String, _ attempt: UInt32, _ pod: Pod) -> String {
        "\(context.volumes.podDirectory(pod.uid))/containers/\(container)/\(attempt).message"
    }

    /// Reads, once, what an ended container has left: at most 4096 bytes of its file; or, where the policy says so and
    /// it failed, the end of its log (80 lines, 2048 bytes).
    func readTerminationMessage(_ index: Int) {
        guard !state.containers[index].messageRead, let pod = decode() else { return }
        let record = state.containers[index]
        state.containers[index].messageRead = true
        let path = terminationMessageFile(record.name, record.attempt, pod)
        var text = ""
        if let fd = try? FileDescriptor.open(path, O_RDONLY | O_NOFOLLOW) {
            var buffer = [UInt8](repeating: 0, count: 4096)
            let count = (try? buffer.withUnsafeMutableBytes { try fd.read(into: $0) }) ?? 0
            text = String(decoding: buffer[..<count], as: UTF8.self)
        }
        if text.isEmpty, record.exitCode != 0, pod.container(record.name)?.fallsBackToLogs == true {
            let log = "\(context.podLogDirectory(pod))/\(record.name)/\(record.attempt).log"
            text = LogFile.tail(log, lines: 80, bytes: 2048)
        }
        if !text.isEmpty { state.containers[index].message = text }
        try? Files.remove(path)
    }
}
