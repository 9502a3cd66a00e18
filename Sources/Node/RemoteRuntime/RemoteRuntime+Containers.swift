internal import Codecs
package import Containers
internal import GRPC
internal import Linux
internal import Logging
import Synchronization

extension RemoteRuntime {
    package func createContainer(
        _ config: ContainerConfig, sandbox: String
    ) async throws(RuntimeError) -> String {
        let pod = try await self.config(of: sandbox)
        var config = config
        // A group needs a user with it.
        if config.security.runAsGroup != nil, config.security.runAsUser == nil, config.security.runAsUsername.isEmpty {
            let user = await remoteImages.image(config.image)?.config.user ?? ""
            if let id = Int64(user) { config.security.runAsUser = id } else { config.security.runAsUsername = user }
        }
        let images = state.withLock { $0.imageMounts }
        let request: JSON = [
            "pod_sandbox_id": .string(sandbox),
            "config": CRIValues.request(config, in: pod, imageMounts: images),
            "sandbox_config": CRIValues.request(pod, cgroup: cgroups.parent(of: pod)),
        ]
        let answer = try await call("CreateContainer", request, failure: .createFailed)
        guard let id = answer["container_id"].string, !id.isEmpty else {
            throw RuntimeError(.createFailed, "CreateContainer: the answer has no id")
        }
        return id
    }

    package func startContainer(_ id: String) async throws(RuntimeError) {
        _ = try await call("StartContainer", ["container_id": .string(id)], failure: .startFailed)
        poke()
    }

    /// The signal is what the container was made with, where the runtime knows such a thing.
    package func stopContainer(_ id: String, signal: Int32?, grace: Duration) async throws(RuntimeError) {
        let seconds = signal == SIGKILL ? 0 : max(0, grace.components.seconds)
        try await callIfThere(
            "StopContainer", ["container_id": .string(id), "timeout": .int(seconds)],
            timeout: RemoteService.timeout + .seconds(seconds))
        poke()
    }

    package func removeContainer(_ id: String) async throws(RuntimeError) {
        try await callIfThere("RemoveContainer", ["container_id": .string(id)])
        state.withLock { $0.known.containers[id] = nil }
    }

    package func container(_ id: String) async throws(RuntimeError) -> ContainerStatus {
        let answer = try await call("ContainerStatus", ["container_id": .string(id)])
        var status = CRIValues.containerStatus(answer["status"])
        status.sandbox = state.withLock { $0.known.containers[id]?.sandbox } ?? status.sandbox
        return status
    }

    /// With how each has ended. Waits while the runtime is away.
    package func containers() async -> [ContainerStatus] {
        let answer = try? await whenThere("list the containers") { () throws(GRPCStatus) in
            try await self.runtime.call("ListContainers")
        }
        var list: [ContainerStatus] = []
        for item in answer?["containers"].elements ?? [] {
            let id = item["id"].string ?? ""
            var details: JSON?
            // One that is left out would be taken for gone, and made once more.
            while details == nil, !Task.isCancelled {
                do throws(RuntimeError) {
                    details = try await call("ContainerStatus", ["container_id": .string(id)])
                } catch {
                    if error.code == .notFound { break }
                    settings.logger.warning("container runtime: container \(id): \(error.message)")
                    try? await Task.sleep(for: .seconds(1))
                }
            }
            guard let details else { continue }
            var status = CRIValues.containerStatus(details["status"])
            status.sandbox = item["pod_sandbox_id"].string ?? ""
            list.append(status)
        }
        return list
    }

    package func updateResources(_ id: String, _ resources: ContainerResources) async throws(RuntimeError) {
        _ = try await call(
            "UpdateContainerResources", ["container_id": .string(id), "linux": CRIValues.request(resources)])
    }

    // MARK: - Usage

    package func stats(_ id: String) async throws(RuntimeError) -> ContainerStats {
        let cgroups = cgroups
        if let pod = state.withLock({ $0.known.containers[id]?.sandbox }), let uid = try? await podUID(pod),
            let stats = try await onDisk(
                "stats of container \(id)",
                { () throws(SysError) in
                    try cgroups.stats(podUID: uid, container: id)
                })
        {
            return stats
        }
        let answer = try await call("ContainerStats", ["container_id": .string(id)])["stats"]
        func number(_ json: JSON) -> UInt64 { UInt64(clamping: json["value"].int ?? 0) }
        var stats = ContainerStats()
        stats.cpuNanoseconds = number(answer["cpu"]["usage_core_nano_seconds"])
        let memory = answer["memory"]
        stats.memoryWorkingSetBytes = number(memory["working_set_bytes"])
        stats.memoryUsageBytes = number(memory["usage_bytes"])
        stats.memoryRSSBytes = number(memory["rss_bytes"])
        (stats.pageFaults, stats.majorPageFaults) = (number(memory["page_faults"]), number(memory["major_page_faults"]))
        stats.memorySwapBytes = number(answer["swap"]["swap_usage_bytes"])
        return stats
    }

    package func diskUsage(_ id: String) async throws(RuntimeError) -> ContainerDiskUsage {
        let layer = try await call("ContainerStats", ["container_id": .string(id)])["stats"]["writable_layer"]
        var usage = ContainerDiskUsage()
        usage.layerBytes = layer["used_bytes"]["value"].int ?? 0
        usage.layerFiles = layer["inodes_used"]["value"].int ?? 0
        guard let log = await logPath(id) else { return usage }
        let walks = walks
        let logs = try await onDisk("logs of container \(id)") { () throws(SysError) in
            try walks.measure(Path.parent(log), prefix: Path.last(log))
        }
        (usage.logBytes, usage.logFiles) = (logs.bytes, logs.files)
        return usage
    }

    /// nil: it has none, or is gone.
    func logPath(_ id: String) async -> String? {
        if let path = state.withLock({ $0.known.containers[id]?.logPath }) { return path }
        guard let path = try? await container(id).logPath, path.hasPrefix("/") else { return nil }
        state.withLock { $0.known.containers[id]?.logPath = path }
        return path
    }

    // MARK: - Image volumes

    /// The runtime mounts the image itself, when the container is made (CRI since Kubernetes 1.31).
    package func mountImage(_ id: String, at path: String) async throws(RuntimeError) {
        try await onDisk("image volume") { () throws(SysError) in try Directories.make(path, mode: 0o755) }
        state.withLock { state in
            state.imageMounts = state.imageMounts.filter { Files.isDirectory($0.key) }
            state.imageMounts[path] = id
        }
    }

    // MARK: - Commands

    package func execSync(
        _ id: String, command: [String], timeout: Duration
    ) async throws(RuntimeError) -> ExecResult {
        let seconds = timeout > .zero ? max(1, timeout.components.seconds) : 0
        let limit = 16 << 10
        do throws(GRPCStatus) {
            let answer = try await runtime.call(
                "ExecSync",
                ["container_id": .string(id), "cmd": .strings(command), "timeout": .int(seconds)],
                timeout: seconds > 0 ? .seconds(seconds) + RemoteService.timeout : nil)
            func output(_ name: String) -> [UInt8] {
                Array((Base64.decode(answer[name].string ?? "") ?? []).prefix(limit))
            }
            return ExecResult(
                exitCode: Int32(clamping: answer["exit_code"].int ?? 0), stdout: output("stdout"),
                stderr: output("stderr"))
        } catch {
            if error.code == .deadlineExceeded || error.message.contains("timeout") {
                throw RuntimeError(
                    .timedOut, "command \"\(command.joined(separator: " "))\" timed out after \(timeout)")
            }
            throw RuntimeError(error)
        }
    }

    package func exec(_ id: String, _ request: ExecRequest) async throws(RuntimeError) -> any ContainerProcess {
        let isTerminal = request.tty
        let answer = try await call(
            "Exec",
            [
                "container_id": .string(id), "cmd": .strings(request.command), "tty": .bool(isTerminal),
                "stdin": .bool(request.stdin), "stdout": .bool(request.stdout),
                "stderr": .bool(request.stderr && !isTerminal),
            ])
        return try await RemoteProcess.connect(
            answer["url"].string ?? "", http, stdin: request.stdin, stdout: request.stdout, stderr: request.stderr,
            tty: isTerminal)
    }

    package func attach(_ id: String, _ request: AttachRequest) async throws(RuntimeError) -> any ContainerProcess {
        // Whether there is a terminal was decided when the container was made.
        let info = try await call("ContainerStatus", ["container_id": .string(id), "verbose": true])["info"]["info"]
        let config = (try? JSON.parse(Array((info.string ?? "").utf8)))?["config"]
        let isTerminal = config?["tty"].bool ?? false
        let answer = try await call(
            "Attach",
            [
                "container_id": .string(id), "tty": .bool(isTerminal), "stdin": .bool(request.stdin),
                "stdout": .bool(request.stdout), "stderr": .bool(request.stderr && !isTerminal),
            ])
        return try await RemoteProcess.connect(
            answer["url"].string ?? "", http, stdin: request.stdin, stdout: request.stdout, stderr: request.stderr,
            tty: isTerminal)
    }
}
