internal import Codecs
internal import Containers
internal import GRPC
internal import Linux
import Synchronization

extension CRIServer {
    private static func name(_ config: SandboxConfig) -> String {
        "\(config.name)_\(config.namespace)_\(config.podUID)_\(config.attempt)"
    }

    func runPodSandbox(_ request: JSON) async throws(GRPCStatus) -> JSON {
        let given = request["config"]
        guard given["metadata"].object != nil else {
            throw GRPCStatus(.invalidArgument, "sandbox config must include metadata")
        }
        let handler = request["runtime_handler"].string ?? ""
        guard handler.isEmpty || handler == "runc" else {
            throw GRPCStatus(.unknown, "failed to get sandbox runtime: no runtime for \"\(handler)\" is configured")
        }
        var config = CRIValues.sandbox(given)
        if config.podUID.isEmpty { config.podUID = String(UInt64.random(in: 1...UInt64.max), radix: 16) }
        let name = Self.name(config)
        try reserve(name, "sandbox", taken: await runtime.sandboxes().first { Self.name($0.config) == name }?.id)
        defer { release(name) }
        let wanted = config
        let sandbox = try await step("failed to run pod sandbox") { () throws(RuntimeError) in
            try await runtime.runSandbox(wanted)
        }
        do throws(GRPCStatus) { try await attachNetwork(sandbox, given["port_mappings"].elements) } catch {
            await network.detach(sandbox: sandbox.id)
            try? await runtime.removeSandbox(sandbox.id)
            throw error
        }
        await announce(1, container: sandbox.id, sandbox: sandbox.id)
        return ["pod_sandbox_id": .string(sandbox.id)]
    }

    private func attachNetwork(_ sandbox: SandboxStatus, _ mappings: [JSON]) async throws(GRPCStatus) {
        let config = sandbox.config
        guard config.network != .node else { return }
        let path = try await step("failed to set up sandbox network") { () throws(RuntimeError) in
            try await runtime.networkNamespacePath(sandbox: sandbox.id)
        }
        var attachment = PodAttachment(
            sandbox: sandbox.id, namespacePath: path, podNamespace: config.namespace, podName: config.name,
            podUID: config.podUID)
        for mapping in mappings {
            guard let host = mapping["host_port"].int, host > 0 else { continue }
            guard let hostPort = UInt16(exactly: host), let port = UInt16(exactly: mapping["container_port"].int ?? 0)
            else { throw GRPCStatus(.invalidArgument, "port_mappings: expected ports from 1 to 65535, got \(host)") }
            let transports = ["TCP", "UDP", "SCTP"]
            let transport = Int(clamping: mapping["protocol"].int ?? 0)
            attachment.hostPorts.append(
                PodAttachment.HostPort(
                    hostIP: mapping["host_ip"].string ?? "", hostPort: hostPort, containerPort: port,
                    transport: transports.indices.contains(transport) ? transports[transport] : "TCP"))
        }
        do throws(PodNetworkingError) { _ = try await network.attach(attachment) } catch {
            throw GRPCStatus(
                .unknown, "failed to setup network for sandbox \"\(sandbox.id)\": \(error.message)")
        }
    }

    func stopPodSandbox(_ request: JSON) async throws(GRPCStatus) -> JSON {
        // What is not there is stopped.
        guard let sandbox = try? await sandbox(request["pod_sandbox_id"].string) else { return [:] }
        let wasReady = sandbox.state == .ready
        await network.detach(sandbox: sandbox.id)
        try await step("failed to stop sandbox \"\(sandbox.id)\"") { () throws(RuntimeError) in
            try await runtime.stopSandbox(sandbox.id)
        }
        if wasReady { await announce(2, container: sandbox.id, sandbox: sandbox.id) }
        return [:]
    }

    func removePodSandbox(_ request: JSON) async throws(GRPCStatus) -> JSON {
        guard let sandbox = try? await sandbox(request["pod_sandbox_id"].string) else { return [:] }
        await network.detach(sandbox: sandbox.id)
        let mounts = await runtime.containers().filter { $0.sandbox == sandbox.id }
        for container in mounts { try await remove(container) }
        try await step("failed to remove sandbox \"\(sandbox.id)\"") { () throws(RuntimeError) in
            try await runtime.removeSandbox(sandbox.id)
        }
        await announce(3, container: sandbox.id, sandbox: sandbox.id)
        return [:]
    }

    func updatePodSandboxResources(_ request: JSON) async throws(GRPCStatus) -> JSON {
        let sandbox = try await sandbox(request["pod_sandbox_id"].string)
        guard request["resources"].object != nil else { return [:] }
        let resources = CRIValues.resources(request["resources"], over: sandbox.config.resources)
        try await step("failed to update sandbox \"\(sandbox.id)\"") { () throws(RuntimeError) in
            try await runtime.updateSandboxResources(sandbox.id, resources)
        }
        return [:]
    }

    // MARK: - Looking

    func listPodSandbox(_ request: JSON) async throws(GRPCStatus) -> JSON {
        let filter = request["filter"]
        let items = await runtime.sandboxes().filter { sandbox in
            let id = filter["id"].string ?? ""
            // A state of zero is not written: the message around it says that it is asked for.
            let state = filter["state"].object != nil ? filter["state"]["state"].int ?? 0 : nil
            return sandbox.id.hasPrefix(id) && (state == nil || state == CRIValues.state(sandbox))
                && Self.has(sandbox.config.labels, filter["label_selector"])
        }
        return ["items": .array(items.map(CRIValues.listed))]
    }

    func podSandboxStatus(_ request: JSON) async throws(GRPCStatus) -> JSON {
        let sandbox = try await sandbox(request["pod_sandbox_id"].string)
        var answer: JSON = [
            "status": await describe(sandbox), "timestamp": .int(WallClock.now()),
            "containers_statuses": .array(await statuses(of: sandbox.id)),
        ]
        if request["verbose"].bool == true {
            let path = try? await runtime.networkNamespacePath(sandbox: sandbox.id)
            let info: JSON = [
                "pid": 0, "processStatus": sandbox.state == .ready ? "running" : "deleted",
                "netNamespaceClosed": .bool(sandbox.state != .ready), "networkNamespace": .string(path ?? ""),
                "runtimeHandler": "", "runtimeType": "k3s",
                "config": [
                    "metadata": CRIValues.metadata(sandbox.config), "hostname": .string(sandbox.config.hostname),
                    "log_directory": .string(sandbox.config.logDirectory),
                    "linux": ["cgroup_parent": .string(sandbox.config.cgroupParent)],
                ],
            ]
            answer["info"] = ["info": .string(String(decoding: info.encode(), as: UTF8.self))]
        }
        return answer
    }

    func describe(_ sandbox: SandboxStatus) async -> JSON {
        let config = sandbox.config
        var json = CRIValues.listed(sandbox)
        let addresses =
            config.network == .node || sandbox.state != .ready ? [] : await network.addresses(sandbox: sandbox.id)
        var reached: JSON = [:]
        if let first = addresses.first { reached["ip"] = .string(first) }
        if addresses.count > 1 {
            reached["additional_ips"] = .array(addresses.dropFirst().map { ["ip": .string($0)] })
        }
        json["network"] = reached
        json["linux"] = ["namespaces": ["options": CRIValues.namespaces(config)]]
        return json
    }

    func statuses(of sandbox: String) async -> [JSON] {
        var list: [JSON] = []
        for container in await runtime.containers() where container.sandbox == sandbox {
            list.append(await describe(container))
        }
        return list
    }

    // MARK: - Events

    /// Of a sandbox, or of a container's creation: the runtime tells the rest itself.
    func announce(_ kind: Int64, container: String, sandbox: String) async {
        guard state.withLock({ !$0.events.isEmpty }) else { return }
        let event = await event(kind, container: container, sandbox: sandbox)
        state.withLock { state in for listener in state.events.values { listener.yield(event) } }
    }

    private func event(_ kind: Int64, container: String, sandbox: String) async -> JSON {
        var event: JSON = [
            "container_id": .string(container), "container_event_type": .int(kind), "created_at": .int(WallClock.now()),
            "containers_statuses": .array(await statuses(of: sandbox)),
        ]
        if let status = await runtime.sandboxes().first(where: { $0.id == sandbox }) {
            event["pod_sandbox_status"] = await describe(status)
        }
        return event
    }

    /// From now on, until the client goes.
    func sendEvents(_ call: GRPCStream) async throws(GRPCStatus) {
        let (stream, continuation) = AsyncStream.makeStream(of: JSON.self, bufferingPolicy: .bufferingNewest(1000))
        let number = state.withLock { state in
            state.nextEvents += 1
            state.events[state.nextEvents] = continuation
            return state.nextEvents
        }
        let following = Task {
            for await event in runtime.events() {
                let kind: Int64 =
                    switch event.kind {
                    case .started: 1
                    case .exited: 2
                    case .removed: 3
                    }
                continuation.yield(await self.event(kind, container: event.container, sandbox: event.sandbox))
            }
            continuation.finish()
        }
        defer {
            following.cancel()
            state.withLock { _ = $0.events.removeValue(forKey: number) }
        }
        let table = try table()
        for await event in stream {
            let bytes: [UInt8]
            do throws(ProtobufError) { bytes = try table.encode("ContainerEventResponse", event) } catch {
                throw GRPCStatus(.internal, error.message)
            }
            try await call.send(bytes)
        }
        if Task.isCancelled { throw GRPCStatus(.cancelled, "context canceled") }
    }
}
