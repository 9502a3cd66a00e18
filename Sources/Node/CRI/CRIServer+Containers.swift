internal import Codecs
internal import Containers
internal import GRPC
internal import Linux

extension CRIServer {
    /// Below it each container has its images mounted.
    private var imageMounts: String { runtime.configuration.root + "/cri-images" }

    func createContainer(_ request: JSON) async throws(GRPCStatus) -> JSON {
        let given = request["config"]
        guard given["metadata"].object != nil else {
            throw GRPCStatus(.invalidArgument, "container config must include metadata")
        }
        let sandbox = try await sandbox(request["pod_sandbox_id"].string)
        guard sandbox.state == .ready else {
            throw GRPCStatus(.unknown, "sandbox \"\(sandbox.id)\" is not ready")
        }
        var config = try CRIValues.container(given)
        guard let image = await runtime.images.image(config.image) else {
            throw GRPCStatus(.notFound, "failed to resolve image \"\(config.image)\": not found")
        }
        if case .target(let id) = config.pid {
            let target = try await container(id)
            guard target.sandbox == sandbox.id else {
                throw GRPCStatus(.unknown, "target container \"\(id)\" is not of sandbox \"\(sandbox.id)\"")
            }
            config.pid = .target(target.id)
        }
        let name =
            "\(config.name)_\(sandbox.config.name)_\(sandbox.config.namespace)_\(sandbox.config.podUID)_\(config.attempt)"
        let (own, attempt) = (config.name, config.attempt)
        let taken = await runtime.containers().first {
            $0.sandbox == sandbox.id && $0.name == own && $0.attempt == attempt
        }
        try reserve(name, "container", taken: taken?.id)
        defer { release(name) }
        let mounts = imageMounts + "/" + String(UInt64.random(in: 1...UInt64.max), radix: 16)
        do throws(GRPCStatus) {
            for (index, json) in given["mounts"].elements.enumerated() {
                var mount = try CRIValues.mount(json)
                if let reference = json["image"]["image"].string, !reference.isEmpty {
                    mount.hostPath = try await mountImage(
                        reference, at: "\(mounts)/\(index)", json["image_sub_path"].string ?? "")
                    mount.readOnly = true
                }
                guard mount.hostPath.hasPrefix("/") else {
                    throw GRPCStatus(
                        .invalidArgument,
                        "mounts: \(mount.containerPath): host_path \"\(mount.hostPath)\" is not absolute")
                }
                config.mounts.append(mount)
            }
            let devices = given["CDI_devices"].elements.compactMap { $0["name"].string }
            if !devices.isEmpty {
                do throws(ContainerConfigError) { try DeviceSpecifications.standard.add(devices, &config) } catch {
                    throw GRPCStatus(
                        .unknown, "failed to create container: CDI device injection failed: \(error.message)")
                }
            }
            if config.image != image.id { config.image = image.tags.first ?? image.digests.first ?? image.id }
            let wanted = config
            let id = try await step("failed to create container") { () throws(RuntimeError) in
                try await runtime.createContainer(wanted, sandbox: sandbox.id)
            }
            await announce(0, container: id, sandbox: sandbox.id)
            return ["container_id": .string(id)]
        } catch {
            await releaseImages(mounts)
            throw error
        }
    }

    private func mountImage(
        _ reference: String, at path: String, _ part: String
    ) async throws(GRPCStatus) -> String {
        guard let image = await runtime.images.image(reference) else {
            throw GRPCStatus(.notFound, "image volume: image \"\(reference)\": not found")
        }
        try await step("image volume") { () throws(RuntimeError) in try await runtime.mountImage(image.id, at: path) }
        guard !part.isEmpty else { return path }
        // The image may hold links that lead out of it.
        let found: String? = await BlockingPool.shared.run {
            guard let root = try? FileDescriptor.open(path, O_PATH | O_DIRECTORY),
                let file = try? FileDescriptor.open(inRoot: root, part, O_PATH)
            else { return nil }
            return try? Files.readLink("/proc/self/fd/\(file.raw)")
        }
        guard let found, found == path || found.hasPrefix(path + "/") else {
            throw GRPCStatus(.unknown, "image volume: \"\(part)\" is not in image \"\(reference)\"")
        }
        return found
    }

    private func releaseImages(_ directory: String) async {
        await BlockingPool.shared.run {
            guard Files.isDirectory(directory) else { return }
            for name in (try? Directories.list(directory).map(\.name)) ?? [] {
                try? Mounts.unmount(directory + "/" + name)
            }
            try? Directories.removeTree(directory)
        }
    }

    func startContainer(_ request: JSON) async throws(GRPCStatus) -> JSON {
        let container = try await container(request["container_id"].string)
        guard container.state == .created else {
            throw GRPCStatus(
                .unknown,
                "failed to set starting state for container \"\(container.id)\": container is in \(Self.name(container.state)) state"
            )
        }
        try await step("failed to start container \"\(container.id)\"") { () throws(RuntimeError) in
            try await runtime.startContainer(container.id)
        }
        return [:]
    }

    func stopContainer(_ request: JSON) async throws(GRPCStatus) -> JSON {
        guard let container = try? await container(request["container_id"].string) else { return [:] }
        let seconds = min(max(0, request["timeout"].int ?? 0), 1 << 31)
        try await step("failed to stop container \"\(container.id)\"") { () throws(RuntimeError) in
            try await runtime.stopContainer(container.id, signal: nil, grace: .seconds(seconds))
        }
        return [:]
    }

    func removeContainer(_ request: JSON) async throws(GRPCStatus) -> JSON {
        guard let container = try? await container(request["container_id"].string) else { return [:] }
        try await remove(container)
        return [:]
    }

    func remove(_ container: ContainerStatus) async throws(GRPCStatus) {
        let mounts = (try? runtime.containerRecord(container.id).config.mounts) ?? []
        try await step("failed to remove container \"\(container.id)\"") { () throws(RuntimeError) in
            try await runtime.removeContainer(container.id)
        }
        let prefix = imageMounts + "/"
        if let mount = mounts.first(where: { $0.hostPath.hasPrefix(prefix) }) {
            await releaseImages(prefix + mount.hostPath.dropFirst(prefix.count).prefix { $0 != "/" })
        }
    }

    func updateContainerResources(_ request: JSON) async throws(GRPCStatus) -> JSON {
        let container = try await container(request["container_id"].string)
        guard request["linux"].object != nil else { return [:] }
        try await step("failed to update resources of container \"\(container.id)\"") { () throws(RuntimeError) in
            let old = try runtime.containerRecord(container.id).config.resources
            try await runtime.updateResources(container.id, CRIValues.resources(request["linux"], over: old))
        }
        return [:]
    }

    func reopenContainerLog(_ request: JSON) async throws(GRPCStatus) -> JSON {
        let container = try await container(request["container_id"].string)
        try await step("failed to reopen container log") { () throws(RuntimeError) in
            try await runtime.reopenLog(container.id)
        }
        return [:]
    }

    // MARK: - Looking

    static func number(_ state: ContainerStatus.State) -> Int64 {
        switch state {
        case .created: 0
        case .running: 1
        case .exited: 2
        case .unknown: 3
        }
    }

    static func name(_ state: ContainerStatus.State) -> String {
        "CONTAINER_" + ["CREATED", "RUNNING", "EXITED", "UNKNOWN"][Int(number(state))]
    }

    func listContainers(_ request: JSON) async throws(GRPCStatus) -> JSON {
        let filter = request["filter"]
        let (id, pod) = (filter["id"].string ?? "", filter["pod_sandbox_id"].string ?? "")
        let state = filter["state"].object != nil ? filter["state"]["state"].int ?? 0 : nil
        var list: [JSON] = []
        for container in await runtime.containers() {
            guard container.id.hasPrefix(id), container.sandbox.hasPrefix(pod),
                state == nil || state == Self.number(container.state),
                Self.has(container.labels, filter["label_selector"])
            else { continue }
            var json = await shared(container)
            json["pod_sandbox_id"] = .string(container.sandbox)
            list.append(json)
        }
        return ["containers": .array(list)]
    }

    /// The members that a container in a list and its status share.
    private func shared(_ container: ContainerStatus) async -> JSON {
        let image = await runtime.images.image(container.imageID)
        let asked = container.image.hasPrefix("sha256:") ? image?.tags.first : container.image
        return [
            "id": .string(container.id),
            "metadata": ["name": .string(container.name), "attempt": .int(Int64(container.attempt))],
            "image": ["image": .string(asked ?? container.imageID)],
            "image_ref": .string(image?.digests.first ?? container.imageID), "image_id": .string(container.imageID),
            "state": .int(Self.number(container.state)), "created_at": .int(container.createdAt),
            "labels": .map(container.labels), "annotations": .map(container.annotations),
        ]
    }

    func describe(_ container: ContainerStatus) async -> JSON {
        var json = await shared(container)
        json["started_at"] = .int(container.startedAt)
        json["finished_at"] = .int(container.finishedAt)
        json["exit_code"] = .int(Int64(container.exitCode))
        json["reason"] = .string(container.reason)
        json["message"] = .string(container.message)
        json["log_path"] = .string(container.logPath)
        guard let record = try? runtime.containerRecord(container.id) else { return json }
        json["mounts"] = .array(record.config.mounts.map(CRIValues.json))
        json["resources"] = ["linux": CRIValues.json(record.config.resources)]
        json["user"] = [
            "linux": [
                "uid": .int(Int64(record.user.uid)), "gid": .int(Int64(record.user.gid)),
                "supplemental_groups": .array(record.user.groups.map { .int(Int64($0)) }),
            ]
        ]
        let signal = record.config.stopSignal.isEmpty ? record.image.stopSignal : record.config.stopSignal
        json["stop_signal"] = .int(CRIValues.signalNumber(signal.isEmpty ? "SIGTERM" : signal))
        return json
    }

    func containerStatus(_ request: JSON) async throws(GRPCStatus) -> JSON {
        let container = try await container(request["container_id"].string)
        var answer: JSON = ["status": await describe(container)]
        if request["verbose"].bool == true, let record = try? runtime.containerRecord(container.id) {
            let config = record.config
            // Without the environment: its values may be secrets.
            let info: JSON = [
                "sandboxID": .string(container.sandbox), "pid": .int(Int64(container.pid)),
                "removing": .bool(record.removing), "snapshotter": "overlayfs", "runtimeType": "k3s",
                "config": [
                    "metadata": ["name": .string(config.name), "attempt": .int(Int64(config.attempt))],
                    "image": ["image": .string(config.image)], "command": .strings(config.command),
                    "args": .strings(config.args), "working_dir": .string(config.workingDirectory),
                    "log_path": .string(config.logPath), "stdin": .bool(config.stdin), "tty": .bool(config.tty),
                    "linux": ["resources": CRIValues.json(config.resources)],
                ],
            ]
            answer["info"] = ["info": .string(String(decoding: info.encode(), as: UTF8.self))]
        }
        return answer
    }

    // MARK: - Commands

    func running(_ id: String?) async throws(GRPCStatus) -> ContainerStatus {
        guard let id, !id.isEmpty else { throw GRPCStatus(.invalidArgument, "missing required container_id") }
        let container = try await container(id)
        guard container.state == .running else {
            throw GRPCStatus(.unknown, "container is in \(Self.name(container.state)) state")
        }
        return container
    }

    /// Both outputs and the rest of the message fit the largest message there is.
    private static let outputLimit = (8 << 20) - 4096

    func execSync(_ request: JSON) async throws(GRPCStatus) -> JSON {
        let container = try await running(request["container_id"].string)
        let seconds = min(max(0, request["timeout"].int ?? 0), 1 << 31)
        let command = CRIValues.strings(request["cmd"])
        guard !command.isEmpty else { throw GRPCStatus(.invalidArgument, "cmd: no command specified") }
        do throws(GRPCStatus) {
            let result = try await step("failed to exec in container") { () throws(RuntimeError) in
                try await runtime.execSync(
                    container.id, command: command, timeout: .seconds(seconds), limit: Self.outputLimit)
            }
            return [
                "stdout": .string(Base64.encode(result.stdout)), "stderr": .string(Base64.encode(result.stderr)),
                "exit_code": .int(Int64(result.exitCode)),
            ]
        } catch {
            guard error.code == .deadlineExceeded else { throw error }
            throw GRPCStatus(
                .deadlineExceeded,
                "failed to exec in container: timeout \(seconds)s exceeded: context deadline exceeded")
        }
    }

    func exec(_ request: JSON) async throws(GRPCStatus) -> JSON {
        let container = try await running(request["container_id"].string)
        let options = try Self.streams(request)
        let command = CRIValues.strings(request["cmd"])
        guard !command.isEmpty else { throw GRPCStatus(.invalidArgument, "cmd: no command specified") }
        var exec = ExecRequest(command)
        (exec.stdin, exec.stdout, exec.stderr, exec.tty) = (options.stdin, options.stdout, options.stderr, options.tty)
        return ["url": .string(try await streams.url(.exec(container.id, exec)))]
    }

    func attach(_ request: JSON) async throws(GRPCStatus) -> JSON {
        let container = try await running(request["container_id"].string)
        let options = try Self.streams(request)
        return ["url": .string(try await streams.url(.attach(container.id, options)))]
    }

    func portForward(_ request: JSON) async throws(GRPCStatus) -> JSON {
        guard let id = request["pod_sandbox_id"].string, !id.isEmpty else {
            throw GRPCStatus(.invalidArgument, "missing required pod_sandbox_id")
        }
        let sandbox = try await sandbox(id)
        guard sandbox.state == .ready else { throw GRPCStatus(.unknown, "sandbox container is not running") }
        return ["url": .string(try await streams.url(.portForward(sandbox.id)))]
    }

    private static func streams(_ request: JSON) throws(GRPCStatus) -> CRIStreams.Options {
        let options = CRIStreams.Options(
            stdin: request["stdin"].bool ?? false, stdout: request["stdout"].bool ?? false,
            stderr: request["stderr"].bool ?? false, tty: request["tty"].bool ?? false)
        if options.tty, options.stderr {
            throw GRPCStatus(.invalidArgument, "tty and stderr cannot both be true")
        }
        guard options.stdin || options.stdout || options.stderr else {
            throw GRPCStatus(.invalidArgument, "one of stdin, stdout, or stderr must be set")
        }
        return options
    }
}
