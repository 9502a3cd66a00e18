internal import Codecs
package import Containers
internal import GRPC
internal import Linux
internal import Logging
import Synchronization

extension RemoteRuntime {
    /// Twice the others', as upstream: the runtime may have to get the image of the pods' first process.
    private static let sandboxTimeout: Duration = .seconds(240)

    package func runSandbox(_ config: SandboxConfig) async throws(RuntimeError) -> SandboxStatus {
        guard !config.podUID.isEmpty, !config.podUID.contains("/") else {
            throw RuntimeError(.invalid, "sandbox: podUID: expected the pod's UID, got \"\(config.podUID)\"")
        }
        guard !config.privateUsers else {
            throw RuntimeError(.invalid, "hostUsers: false: needs the built-in runtime of k3s")
        }
        let cgroups = cgroups
        try await onDisk("cgroup of the pod") { () throws(SysError) in try cgroups.create(config) }
        let request = CRIValues.request(config, cgroup: cgroups.parent(of: config))
        let id: String
        do throws(RuntimeError) {
            let answer = try await call(
                "RunPodSandbox", ["config": request], timeout: Self.sandboxTimeout, failure: .createFailed)
            id = answer["pod_sandbox_id"].string ?? ""
            guard !id.isEmpty else { throw RuntimeError(.createFailed, "RunPodSandbox: the answer has no id") }
        } catch {
            await discard(config)
            throw error
        }
        var status = SandboxStatus()
        (status.id, status.config, status.createdAt) = (id, config, WallClock.now())
        state.withLock { state in
            state.configs[id] = config
            state.known.sandboxes[id] = KnownPods.Sandbox(uid: config.podUID, isReady: true)
        }
        return status
    }

    /// What a failed attempt may have left in the runtime, where it holds the name of the next one; then the cgroup.
    private func discard(_ config: SandboxConfig) async {
        let filter: JSON = ["label_selector": ["io.kubernetes.pod.uid": .string(config.podUID)]]
        let found = try? await call("ListPodSandbox", ["filter": filter])["items"].elements
        var isShared = found == nil
        for item in found ?? [] {
            // One that is ready is not what is left of a failure, whoever made it.
            guard let id = item["id"].string, item["metadata"]["attempt"].int ?? 0 == Int64(config.attempt),
                item["state"].int ?? 0 != 0, state.withLock({ $0.configs[id] == nil })
            else {
                isShared = true
                continue
            }
            do throws(RuntimeError) {
                try await callIfThere("StopPodSandbox", ["pod_sandbox_id": .string(id)])
                try await callIfThere("RemovePodSandbox", ["pod_sandbox_id": .string(id)])
            } catch { settings.logger.warning("container runtime: sandbox \(id): \(error.message)") }
        }
        guard !isShared else { return }
        let (cgroups, uid) = (cgroups, config.podUID)
        try? await onDisk("cgroup of the pod") { () throws(SysError) in try cgroups.remove(podUID: uid) }
    }

    package func stopSandbox(_ id: String) async throws(RuntimeError) {
        state.withLock { state in
            state.namespacePaths[id] = nil
            state.known.sandboxes[id]?.isReady = false
        }
        try await callIfThere("StopPodSandbox", ["pod_sandbox_id": .string(id)], timeout: Self.sandboxTimeout)
        poke()
    }

    package func removeSandbox(_ id: String) async throws(RuntimeError) {
        let uid = state.withLock { $0.configs[id]?.podUID ?? $0.known.sandboxes[id]?.uid ?? "" }
        try await stopSandbox(id)
        try await callIfThere("RemovePodSandbox", ["pod_sandbox_id": .string(id)])
        // A pod that was restarted has a younger sandbox in the same cgroup.
        let isShared = state.withLock { state in
            (state.configs[id], state.known.sandboxes[id]) = (nil, nil)
            return state.known.sandboxes.values.contains { $0.uid == uid }
        }
        let cgroups = cgroups
        if !isShared, !uid.isEmpty {
            try await onDisk("cgroup of the pod") { () throws(SysError) in try cgroups.remove(podUID: uid) }
        }
    }

    /// Waits while the runtime is away: whoever asks would take none for gone.
    package func sandboxes() async -> [SandboxStatus] {
        let answer = try? await whenThere("list the sandboxes") { () throws(GRPCStatus) in
            try await self.runtime.call("ListPodSandbox")
        }
        let list = answer?["items"].elements.map { CRIValues.sandboxStatus($0) } ?? []
        return state.withLock { state in
            list.map { status in
                var status = status
                if let config = state.configs[status.id] { status.config = config }
                return status
            }
        }
    }

    package func isReady(sandbox id: String) async -> Bool {
        do throws(RuntimeError) {
            let status = try await call("PodSandboxStatus", ["pod_sandbox_id": .string(id)])["status"]
            return (status["state"].int ?? 0) == 0
        } catch { return error.code != .notFound }
    }

    /// As it was asked for; of an earlier process's sandbox, as far as the runtime tells.
    func config(of id: String) async throws(RuntimeError) -> SandboxConfig {
        if let config = state.withLock({ $0.configs[id] }) { return config }
        let status = try await call("PodSandboxStatus", ["pod_sandbox_id": .string(id)])["status"]
        var config = CRIValues.sandboxStatus(status).config
        let options = status["linux"]["namespaces"]["options"]
        (config.network, config.pid, config.ipc) = (
            CRIValues.mode(options["network"]), CRIValues.mode(options["pid"]), CRIValues.mode(options["ipc"])
        )
        config.logDirectory = "\(settings.podLogs)/\(config.namespace)_\(config.name)_\(config.podUID)"
        if config.network == .pod { config.hostname = config.name }
        let found = config
        state.withLock { $0.configs[id] = found }
        return config
    }

    func podUID(_ sandbox: String) async throws(RuntimeError) -> String {
        if let uid = state.withLock({ $0.known.sandboxes[sandbox]?.uid }), !uid.isEmpty { return uid }
        return try await config(of: sandbox).podUID
    }

    // MARK: - Limits and usage

    package func updateSandboxResources(_ id: String, _ resources: ContainerResources) async throws(RuntimeError) {
        let uid = try await podUID(id)
        let cgroups = cgroups
        try await onDisk("limits of sandbox \(id)") { () throws(SysError) in
            try cgroups.update(podUID: uid, resources)
        }
        state.withLock { $0.configs[id]?.resources = resources }
    }

    package func updateCgroup(_ path: String, _ resources: ContainerResources) async throws(RuntimeError) {
        let cgroups = cgroups
        try await onDisk("limits of cgroup \(path)") { () throws(SysError) in
            try cgroups.update(class: path, resources)
        }
    }

    package func sandboxStats(_ id: String) async throws(RuntimeError) -> ContainerStats {
        let uid = try await podUID(id)
        let cgroups = cgroups
        let stats = try await onDisk("stats of sandbox \(id)") { () throws(SysError) in try cgroups.stats(podUID: uid) }
        guard let stats else { throw RuntimeError(.notFound, "stats of sandbox \(id): its cgroup is gone") }
        return stats
    }

    // MARK: - Network

    /// Addresses that the runtime's CNI plugins gave it; none in the node's network.
    func addresses(sandbox id: String) async throws(RuntimeError) -> [String] {
        let network = try await call("PodSandboxStatus", ["pod_sandbox_id": .string(id)])["status"]["network"]
        let all = [network["ip"].string] + network["additional_ips"].elements.map { $0["ip"].string }
        return all.compactMap { $0 }.filter { !$0.isEmpty }
    }

    /// From what the runtime says beyond CRI, as containerd and CRI-O do: the OCI runtime's configuration, or a process.
    package func networkNamespacePath(sandbox id: String) async throws(RuntimeError) -> String {
        if let path = state.withLock({ $0.namespacePaths[id] }) { return path }
        let answer = try await call("PodSandboxStatus", ["pod_sandbox_id": .string(id), "verbose": true])
        if (answer["status"]["state"].int ?? 0) != 0 {
            throw RuntimeError(.invalid, "sandbox \(id) is not ready: its network namespace is gone")
        }
        if (answer["status"]["linux"]["namespaces"]["options"]["network"].int ?? 0) == 2 { return "/proc/1/ns/net" }
        let info = (try? JSON.parse(Array((answer["info"]["info"].string ?? "").utf8))) ?? .null
        let spaces = info["runtimeSpec"]["linux"]["namespaces"].elements
        var path = spaces.first { $0["type"].string == "network" }?["path"].string ?? ""
        if path.isEmpty, let pid = info["pid"].int, pid > 0 { path = "/proc/\(pid)/ns/net" }
        guard path.hasPrefix("/") else {
            throw RuntimeError(.invalid, "sandbox \(id): the runtime does not tell its network namespace")
        }
        let found = path
        state.withLock { $0.namespacePaths[id] = found }
        return path
    }

    package func networkStats(sandbox id: String) async throws(RuntimeError) -> [InterfaceStats] {
        try await InterfaceStats.inside(networkNamespacePath(sandbox: id), sandbox: id)
    }

    package func dial(sandbox id: String, port: UInt16) async throws(RuntimeError) -> Int32 {
        try await Loopback.dial(port: port, namespace: networkNamespacePath(sandbox: id), sandbox: id)
    }
}
