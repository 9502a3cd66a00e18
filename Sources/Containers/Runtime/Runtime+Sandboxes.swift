import Linux
import Logging
import Synchronization

extension Runtime {
    package func runSandbox(_ config: SandboxConfig) async throws(RuntimeError) -> SandboxStatus {
        guard !config.podUID.isEmpty, !config.podUID.contains("/") else {
            throw RuntimeError(.invalid, "sandbox: podUID: expected the pod's UID, got \"\(config.podUID)\"")
        }
        var record = SandboxRecord()
        record.status.id = Self.newID()
        record.status.config = config
        record.status.createdAt = WallClock.now()
        let id = record.status.id
        let claimed = config.privateUsers ? try claimIDs(podUID: config.podUID) : 0
        record.status.config.idBase = claimed
        defer { if claimed != 0 { state.withLock { _ = $0.claimedIDs.remove(claimed) } } }
        do throws(RuntimeError) {
            try await prepareSandbox(record)
            if record.hasPause { try await startPause(record) }
            try await save(record)
        } catch {
            await discardSandbox(record)
            throw RuntimeError(
                error.code == .invalid ? .invalid : .createFailed,
                "sandbox of \(config.namespace)/\(config.name): \(error.message)")
        }
        state.withLock { $0.sandboxes[id] = record }
        return record.status
    }

    private func prepareSandbox(_ record: SandboxRecord) async throws(RuntimeError) {
        let (config, id) = (record.status.config, record.status.id)
        let (root, directory) = (configuration.sandboxRoot(id), configuration.sandboxState(id))
        let cgroup = configuration.cgroup(of: config)
        let cgroups = cgroups
        let limits = CgroupLimits(config.resources)
        let files = SandboxFiles(config)
        try await onDisk(.createFailed, "prepare") { () throws(SysError) in
            try Directories.make(root, mode: 0o711)
            try Directories.make(directory, mode: 0o711)
            if !config.logDirectory.isEmpty { try Directories.make(config.logDirectory, mode: 0o755) }
            try files.write(to: root)
            try cgroups.create(cgroup)
            try cgroups.apply(limits, to: cgroup)
            if config.ipc != .node {
                let shm = directory + "/shm"
                try Directories.make(shm, mode: 0o1777)
                try Mounts.mountFilesystem(
                    "tmpfs", at: shm, flags: UInt(MS_NOSUID | MS_NODEV | MS_NOEXEC), options: "mode=1777,size=65536k")
            }
        }
        var kinds: [NamespaceKind] = []
        if config.network != .node { kinds += [.net, .uts] }
        if config.ipc != .node { kinds.append(.ipc) }
        if kinds.isEmpty {
            if !config.sysctls.isEmpty {
                throw RuntimeError(.invalid, "sysctls: not allowed with the node's network and IPC namespaces")
            }
            return
        }
        let sysctls = try Sysctls.settings(config)
        let hostname = config.network == .node ? nil : config.hostname
        let prepare = { @Sendable () throws(SysError) in
            if config.network != .node { try checked("set lo up") { k3s_interface_up("lo") } }
            if let hostname, !hostname.isEmpty {
                try syscall("sethostname") { sethostname(hostname, hostname.utf8.count) }
            }
            for setting in sysctls {
                do throws(SysError) { try Files.overwrite(setting.file, setting.value) } catch {
                    if !setting.optional { throw error }
                }
            }
        }
        do throws(SysError) {
            if config.privateUsers {
                try await makeUserNamespaces(record, kinds, prepare)
            } else {
                try await Namespaces.make(kinds, in: directory, prepare: prepare)
            }
        } catch { throw RuntimeError(.createFailed, "namespaces: \(error)") }
    }

    private func pauseCgroup(_ record: SandboxRecord) -> String {
        configuration.cgroup(of: record.status.config) + "/" + record.status.id
    }

    private func startPause(_ record: SandboxRecord) async throws(RuntimeError) {
        let cgroup = pauseCgroup(record)
        let cgroups = cgroups
        try await onDisk(.createFailed, "prepare") { () throws(SysError) in try cgroups.create(cgroup) }
        let plan = ContainerLaunch.pausePlan(
            cgroupJoinFiles: cgroups.cloneDirectory(cgroup) == nil ? cgroups.joinFiles(cgroup) : [],
            cgroupDirectory: cgroups.cloneDirectory(cgroup), idBase: record.status.config.idBase)
        _ = try await launch(plan, id: record.status.id, parent: "", flags: [])
        cgroups.settled(cgroup)
    }

    package func stopSandbox(_ id: String) async throws(RuntimeError) {
        guard let record = state.withLock({ $0.sandboxes[id] }) else { return }
        let running = state.withLock { state in
            state.containers.values.filter { $0.status.sandbox == id && $0.status.state != .exited }.map(\.status.id)
        }
        await withTaskGroup(of: Void.self) { group in
            for container in running {
                group.addTask {
                    do throws(RuntimeError) {
                        try await self.stopContainer(container, signal: SIGKILL, grace: .zero)
                    } catch { self.logger.warning("stop container \(container): \(error)") }
                }
            }
        }
        if record.hasPause {
            _ = try? await shim().request(signalMessage(id, SIGKILL))
            _ = await waitForExit(id, timeout: .seconds(5))
        }
        try await releaseNamespaces(id)
        var stopped = record
        stopped.status.state = .notReady
        let stillThere = state.withLock { state -> Bool in
            guard state.sandboxes[id] != nil else { return false }
            state.sandboxes[id]?.status.state = .notReady
            return true
        }
        if stillThere, record.status.state != .notReady { try await save(stopped) }
    }

    func signalMessage(_ id: String, _ signal: Int32) -> k3s_shim_message {
        var message = k3s_shim_message(K3S_SHIM_SIGNAL, id: id)
        message.value = signal
        return message
    }

    func releaseNamespaces(_ id: String) async throws(RuntimeError) {
        let directory = configuration.sandboxState(id)
        try await onDisk(.io, "release namespaces of sandbox \(id)") { () throws(SysError) in
            for name in ["net", "uts", "ipc", "user", "shm"] where Files.exists(directory + "/" + name) {
                try Mounts.unmount(directory + "/" + name)
            }
            try Directories.removeTree(directory)
        }
    }

    package func removeSandbox(_ id: String) async throws(RuntimeError) {
        guard let record = state.withLock({ $0.sandboxes[id] }) else { return }
        try await stopSandbox(id)
        let containers = state.withLock { $0.containers.values.filter { $0.status.sandbox == id }.map(\.status.id) }
        for container in containers { try await removeContainer(container) }
        try await removeSandboxFiles(record)
        state.withLock { _ = $0.sandboxes.removeValue(forKey: id) }
    }

    /// A failed creation leaves nothing behind.
    private func discardSandbox(_ record: SandboxRecord) async {
        if record.hasPause {
            _ = try? await shim().request(signalMessage(record.status.id, SIGKILL))
            _ = await waitForExit(record.status.id, timeout: .seconds(2))
        }
        try? await releaseNamespaces(record.status.id)
        try? await removeSandboxFiles(record)
    }

    private func removeSandboxFiles(_ record: SandboxRecord) async throws(RuntimeError) {
        let id = record.status.id
        let root = configuration.sandboxRoot(id)
        let cgroups = cgroups
        let pause = pauseCgroup(record)
        let pod = configuration.cgroup(of: record.status.config)
        // A pod that was restarted has a younger sandbox in the same cgroup.
        let shared = state.withLock { state in
            state.sandboxes.values.contains {
                $0.status.id != id && $0.status.config.podUID == record.status.config.podUID
            }
        }
        try await onDisk(.io, "remove sandbox \(id)") { () throws(SysError) in
            try cgroups.remove(pause)
            if !shared, cgroups.exists(pod) {
                try cgroups.kill(pod)
                try cgroups.remove(pod)
            }
            try Directories.removeTree(root)
        }
    }

    package func updateSandboxResources(_ id: String, _ resources: ContainerResources) async throws(RuntimeError) {
        var record = try sandboxRecord(id)
        let cgroup = configuration.cgroup(of: record.status.config)
        let cgroups = cgroups
        try await onDisk(.io, "update sandbox \(id)") { () throws(SysError) in
            try cgroups.apply(CgroupLimits(resources), to: cgroup)
        }
        record.status.config.resources = resources
        state.withLock { $0.sandboxes[id]?.status.config.resources = resources }
        try await save(record)
    }

    package func updateCgroup(_ path: String, _ resources: ContainerResources) async throws(RuntimeError) {
        let cgroup = configuration.cgroup(path)
        let cgroups = cgroups
        try await onDisk(.io, "limits of cgroup \(cgroup)") { () throws(SysError) in
            try cgroups.create(cgroup)
            try cgroups.apply(CgroupLimits(resources), to: cgroup)
        }
    }

    package func sandboxStats(_ id: String) async throws(RuntimeError) -> ContainerStats {
        let cgroup = configuration.cgroup(of: try sandboxRecord(id).status.config)
        let cgroups = cgroups
        let pids = state.withLock { state in
            state.containers.values.filter { $0.status.sandbox == id && $0.status.state == .running }.map(\.status.pid)
        }
        return ContainerStats(
            try await onDisk(.io, "stats of sandbox \(id)") { () throws(SysError) in
                try cgroups.version == 0 ? ProcessTree.stats(of: pids) : cgroups.stats(cgroup)
            })
    }

    package func networkStats(sandbox id: String) async throws(RuntimeError) -> [InterfaceStats] {
        try await InterfaceStats.inside(networkNamespacePath(sandbox: id), sandbox: id)
    }

    package func networkNamespacePath(sandbox id: String) async throws(RuntimeError) -> String {
        let record = try sandboxRecord(id)
        if record.status.config.network == .node { return "/proc/1/ns/net" }
        guard record.status.state == .ready else {
            throw RuntimeError(.invalid, "sandbox \(id) is not ready: its network namespace is gone")
        }
        return configuration.sandboxState(id) + "/net"
    }

    package func dial(sandbox id: String, port: UInt16) async throws(RuntimeError) -> Int32 {
        try await Loopback.dial(port: port, namespace: networkNamespacePath(sandbox: id), sandbox: id)
    }
}

extension InterfaceStats {
    /// Of a sandbox's network namespace, without the loopback.
    package static func inside(_ namespace: String, sandbox: String) async throws(RuntimeError) -> [InterfaceStats] {
        do throws(SysError) {
            let text = try await Namespaces.inside(.net, path: namespace) { () throws(SysError) in
                try Files.readString("/proc/thread-self/net/dev")
            }
            return parse(text).filter { $0.name != "lo" }
        } catch { throw RuntimeError(.io, "network statistics of sandbox \(sandbox): \(error)") }
    }
}

package enum Loopback {
    /// A connected, blocking socket to localhost of a pod's network namespace.
    package static func dial(port: UInt16, namespace: String, sandbox: String) async throws(RuntimeError) -> Int32 {
        do throws(SysError) {
            return try await Namespaces.inside(.net, path: namespace) { () throws(SysError) -> Int32 in
                do throws(SysError) { return try connect(port: port, version6: false) } catch {
                    // A server that listens on ::1 only.
                    guard error.code == ECONNREFUSED, let fd = try? connect(port: port, version6: true) else {
                        throw error
                    }
                    return fd
                }
            }
        } catch {
            throw RuntimeError(
                .unavailable, "failed to connect to localhost:\(port) inside sandbox \(sandbox): \(error)")
        }
    }

    /// A connected, blocking socket.
    static func connect(port: UInt16, version6: Bool) throws(SysError) -> Int32 {
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let fd = FileDescriptor(
            owning: try syscall("socket") { socket(version6 ? AF_INET6 : AF_INET, type, 0) })
        let raw = fd.raw
        if version6 {
            var address = sockaddr_in6()
            address.sin6_family = sa_family_t(AF_INET6)
            address.sin6_port = port.bigEndian
            address.sin6_addr = in6addr_loopback
            try connect(raw, &address)
        } else {
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
            try connect(raw, &address)
        }
        return fd.take()
    }

    private static func connect<A>(_ fd: Int32, _ address: inout A) throws(SysError) {
        let result = withUnsafeBytes(of: &address) { bytes -> Int32 in
            guard let base = bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self) else { return -1 }
            return Glibc.connect(fd, base, socklen_t(bytes.count))
        }
        if result != 0 { throw SysError(errno, "connect") }
    }
}
