import Linux
import Logging
import Synchronization

extension Runtime {
    package func createContainer(
        _ config: ContainerConfig, sandbox sandboxID: String
    ) async throws(RuntimeError) -> String {
        let sandbox = try sandboxRecord(sandboxID)
        guard sandbox.status.state == .ready else {
            throw RuntimeError(.invalid, "sandbox \(sandboxID) is not ready")
        }
        guard let image = await images.image(config.image) else {
            throw RuntimeError(.imageNotPresent, "image \"\(config.image)\": not present")
        }
        var record = ContainerRecord()
        do throws(ImageError) { record.lower = try await snapshotter.lowerDirectories(imageID: image.id) } catch {
            throw RuntimeError(.createFailed, "image \"\(config.image)\": \(error.message)")
        }
        record.config = config
        record.image = image.config
        let id = Self.newID()
        record.status.id = id
        record.status.sandbox = sandboxID
        (record.status.name, record.status.attempt) = (config.name, config.attempt)
        (record.status.image, record.status.imageID) = (config.image, image.id)
        (record.status.labels, record.status.annotations) = (config.labels, config.annotations)
        record.status.createdAt = WallClock.now()
        if !config.logPath.isEmpty {
            let directory = sandbox.status.config.logDirectory
            record.status.logPath = directory.isEmpty ? config.logPath : Path.join(directory, config.logPath)
        }
        record.user = try await resolveUser(record)
        let idBase = sandbox.status.config.idBase
        try checkIDs(record.user)
        if idBase != 0, max(record.user.uid, record.user.gid) >= Self.idsPerPod {
            throw RuntimeError(
                .createFailed,
                "user \(record.user.uid):\(record.user.gid): a pod with hostUsers: false has ids below \(Self.idsPerPod)"
            )
        }
        // Everything that can be wrong with the configuration is said now, not at the start.
        _ = try ContainerLaunch.capabilities(config.security, available: availableCapabilities)
        _ = try AppArmor.profile(config.security)
        var probe = ContainerLaunch()
        (probe.config, probe.image) = (config, image.config)
        _ = try probe.arguments
        let root = configuration.containerRoot(id)
        let volumes = image.config.volumes
        do throws(RuntimeError) {
            try await onDisk(.createFailed, "create container \(config.name)") { [self] () throws(SysError) in
                try Directories.make(root, mode: 0o711)
                try Directories.make(root + "/upper", mode: 0o755)
                try Directories.make(root + "/work", mode: 0o711)
                for index in volumes.indices { try Directories.make("\(root)/volumes/\(index)", mode: 0o755) }
                if idBase != 0 { try giveAway([root + "/upper"], to: idBase) }
            }
            state.withLock { $0.containers[id] = record }
            try await save(container: id)
        } catch {
            state.withLock { _ = $0.containers.removeValue(forKey: id) }
            try? Directories.removeTree(root)
            throw error
        }
        return id
    }

    private func resolveUser(_ record: ContainerRecord) async throws(RuntimeError) -> ResolvedUser {
        let (passwd, group) = try await users(of: record)
        return try UserResolver(passwd: passwd, group: group)
            .resolve(
                image: record.config.security.runAsUsername.isEmpty
                    ? record.image.user : record.config.security.runAsUsername, security: record.config.security)
    }

    /// The image's /etc/passwd and /etc/group, which are kept while they are short: looking takes a mount, whose end takes
    /// as long as anything that a container needs.
    private func users(of record: ContainerRecord) async throws(RuntimeError) -> (passwd: String, group: String) {
        let lower = record.lower
        let key = lower.joined(separator: ":")
        if let known = state.withLock({ $0.users[key] }) { return known }
        let users = try await onDisk(.createFailed, "read users of image \(record.status.image)") {
            () throws(SysError) -> (String, String) in
            let root = try Mounts.detachedOverlay(layers: lower)
            func text(_ path: String) throws(SysError) -> String {
                do throws(SysError) {
                    let file = try FileDescriptor.open(inRoot: root, path, O_RDONLY)
                    return String(decoding: try Files.read(file, path: path, limit: 4 << 20), as: UTF8.self)
                } catch {
                    if error.code == ENOENT || error.code == ENOTDIR { return "" }
                    throw error
                }
            }
            return (try text("/etc/passwd"), try text("/etc/group"))
        }
        if users.0.utf8.count + users.1.utf8.count <= 4096 {
            state.withLock { state in
                if state.users.count >= 32 { state.users = [:] }
                state.users[key] = users
            }
        }
        return users
    }

    func containerCgroup(_ record: ContainerRecord) throws(RuntimeError) -> String {
        configuration.cgroup(of: try sandboxRecord(record.status.sandbox).status.config) + "/" + record.status.id
    }

    /// What the launch plans of a container depend on.
    func launchInput(_ record: ContainerRecord) throws(RuntimeError) -> ContainerLaunch {
        let sandbox = try sandboxRecord(record.status.sandbox)
        let (config, id) = (sandbox.status.config, record.status.id)
        let (root, directory) = (configuration.containerRoot(id), configuration.sandboxState(sandbox.status.id))
        let cgroup = try containerCgroup(record)
        var launch = ContainerLaunch()
        launch.config = record.config
        launch.image = record.image
        launch.user = record.user
        launch.hostname = config.network == .node ? SandboxFiles.nodeHostname() : config.hostname
        launch.lower = record.lower
        (launch.upper, launch.work) = (root + "/upper", root + "/work")
        launch.rootMountPoint = configuration.rootMountPoint
        if config.network != .node {
            launch.networkNamespace = directory + "/net"
            launch.utsNamespace = directory + "/uts"
        }
        if config.ipc != .node {
            launch.ipcNamespace = directory + "/ipc"
            launch.sharedMemory = directory + "/shm"
        } else {
            launch.sharedMemory = "/dev/shm"
        }
        if config.privateUsers {
            launch.userNamespace = directory + "/user"
            launch.idBase = config.idBase
        }
        if !IDMap.groups.contains(5) { launch.terminalGroup = nil }
        if !IDMap.canSetGroups { launch.user.groups = [] }
        launch.appArmor = try AppArmor.profile(record.config.security)
        switch record.config.pid ?? config.pid {
        case .container: launch.pid = .own
        case .node: launch.pid = .host
        case .pod, .target: launch.pid = .joined
        }
        launch.cgroupDirectory = cgroups.cloneDirectory(cgroup)
        launch.cgroupJoinFiles = launch.cgroupDirectory == nil ? cgroups.joinFiles(cgroup) : []
        launch.cgroupMounts = cgroups.containerMounts
        let files = configuration.sandboxRoot(sandbox.status.id)
        launch.files = SandboxFiles.names.map {
            ContainerMount(
                hostPath: files + "/" + $0, containerPath: "/etc/" + $0,
                readOnly: record.config.security.readOnlyRootFilesystem)
        }
        launch.volumes = record.image.volumes.enumerated().map {
            ContainerMount(hostPath: "\(root)/volumes/\($0.offset)", containerPath: $0.element)
        }
        launch.availableCapabilities = availableCapabilities
        launch.seccomp =
            record.config.security.privileged
            ? nil
            : try seccomp.program(
                record.config.security.seccomp,
                capabilities: try ContainerLaunch.capabilities(
                    record.config.security, available: availableCapabilities),
                profileRoot: configuration.seccompProfileRoot)
        launch.logPath = record.status.logPath.isEmpty ? nil : record.status.logPath
        launch.exitPath = root + "/exit"
        if cgroups.version != 0 {
            launch.oomPath = cgroups.oomFile(cgroup)
            // In a PID namespace of its own everything dies with PID 1.
            if launch.pid != .own { launch.killPath = cgroups.killFile(cgroup) }
        }
        return launch
    }

    package func startContainer(_ id: String) async throws(RuntimeError) {
        let record = try state.withLock { state throws(RuntimeError) -> ContainerRecord in
            guard let record = state.containers[id] else { throw RuntimeError(.notFound, "container \(id): not found") }
            guard record.status.state == .created, !record.starting, !record.removing else {
                throw RuntimeError(.invalid, "container \(record.config.name) (\(id)) is not in state created")
            }
            state.containers[id]?.starting = true
            return record
        }
        do throws(RuntimeError) {
            let parent = try pidParent(record)
            let input = try launchInput(record)
            var plan = try await prepareStart(record, input)
            (plan.logMaxBytes, plan.logMaxFiles) = (configuration.logMaxBytes, configuration.logMaxFiles)
            var flags: [k3s_shim_flags] = []
            if record.config.tty { flags.append(K3S_SHIM_TTY) }
            if record.config.stdin { flags.append(K3S_SHIM_STDIN) }
            if record.config.stdinOnce { flags.append(K3S_SHIM_STDIN_ONCE) }
            if !parent.isEmpty { flags.append(K3S_SHIM_JOIN_PID) }
            try await noteOOMKills(id, record)
            let reply = try await launch(plan, id: id, parent: parent, flags: flags)
            cgroups.settled(try containerCgroup(record))
            started(id, reply.message)
        } catch {
            await startFailed(id, error.message)
            throw RuntimeError(error.code == .unavailable ? .unavailable : .startFailed, error.message)
        }
    }

    /// The process in whose PID namespace the container is born: the pod's PID 1, or another container's.
    private func pidParent(_ record: ContainerRecord) throws(RuntimeError) -> String {
        let sandbox = try sandboxRecord(record.status.sandbox)
        switch record.config.pid ?? sandbox.status.config.pid {
        case .container, .node: return ""
        case .pod: return record.status.sandbox
        case .target(let target):
            guard try containerRecord(target).status.state == .running else {
                throw RuntimeError(.startFailed, "PID namespace of container \(target): it is not running")
            }
            return target
        }
    }

    private func prepareStart(
        _ record: ContainerRecord, _ input: ContainerLaunch
    ) async throws(RuntimeError) -> LaunchPlan {
        let cgroup = try containerCgroup(record)
        let (cgroups, config) = (cgroups, record.config)
        let (nodes, rules) = try HostDevices.resolve(config)
        try await onDisk(.startFailed, "start container \(config.name)") { () throws(SysError) in
            try cgroups.create(cgroup)
            try cgroups.apply(CgroupLimits(config.resources), to: cgroup)
            try cgroups.killTogether(cgroup)
            // In a user namespace the kernel takes no filter, and lets nobody have what its user may not use.
            if IDMap.users.isInitial { try cgroups.restrictDevices(rules, of: cgroup) }
            for mount in config.mounts where !Files.exists(mount.hostPath) {
                // As Docker and containerd: a missing host path becomes a directory.
                try Directories.make(mount.hostPath)
            }
        }
        var input = input
        input.devices = nodes
        // Some hierarchies of version 1 are joined only where a limit has made a directory.
        if input.cgroupDirectory == nil { input.cgroupJoinFiles = cgroups.joinFiles(cgroup) }
        return try input.plan()
    }

    /// Sends a plan to the shim; returns when exec has happened.
    func launch(
        _ plan: LaunchPlan, id: String, parent: String, flags: [k3s_shim_flags], stdio: [Int32] = []
    ) async throws(RuntimeError) -> ShimClient.Reply {
        let reply: ShimClient.Reply
        do throws(SysError) {
            let bytes = try plan.encode()
            let file = FileDescriptor(owning: try checked("memfd_create") { k3s_memfd_create("plan", 1) })
            let raw = file.raw
            try file.writeAll(bytes)
            try checked("seal") { k3s_memfd_seal(raw) }
            var message = k3s_shim_message(K3S_SHIM_START, id: id, parent: parent)
            for flag in flags { message.set(flag) }
            guard let shim = state.withLock({ $0.shim }) else { throw SysError(ECONNRESET, "shim") }
            reply = try await shim.request(message, descriptors: [raw] + stdio)
        } catch {
            throw RuntimeError(error.code == ECONNRESET ? .unavailable : .startFailed, "start process: \(error)")
        }
        let message = reply.message
        guard message.error == 0 else {
            throw RuntimeError(
                .startFailed, plan.failure(step: Int(message.op), errno: message.error, detail: message.detail))
        }
        return reply
    }

    /// Not written down: the shim tells what runs, and leaves a record of what ran.
    private func started(_ id: String, _ message: k3s_shim_message) {
        let record = state.withLock { state -> ContainerRecord? in
            guard var record = state.containers[id] else { return nil }
            record.starting = false
            if record.status.state == .created {
                record.status.state = .running
                record.status.pid = message.pid
                record.status.startedAt = message.started_at
            }
            let announce = !record.announcedStart
            record.announcedStart = true
            state.containers[id] = record
            return announce ? record : nil
        }
        guard let record else { return }
        emit(.started, record.status)
    }

    private func startFailed(_ id: String, _ text: String) async {
        let record = state.withLock { state -> ContainerRecord? in
            guard var record = state.containers[id], record.status.state == .created else { return nil }
            record.starting = false
            record.status.state = .exited
            record.status.finishedAt = WallClock.now()
            record.status.exitCode = 128
            (record.status.reason, record.status.message) = ("StartError", text)
            state.containers[id] = record
            return record
        }
        guard let record else { return }
        await cleanAfterExit(record)
        do throws(RuntimeError) { try await save(container: id) } catch { logger.warning("\(error)") }
        emit(.exited, record.status)
    }

    package func stopContainer(_ id: String, signal: Int32?, grace: Duration) async throws(RuntimeError) {
        guard let record = state.withLock({ $0.containers[id] }) else { return }
        // A start in progress ends one way or the other within milliseconds.
        if record.starting {
            for _ in 0..<100 where state.withLock({ $0.containers[id]?.starting == true }) {
                try? await Task.sleep(for: .milliseconds(20))
            }
        }
        guard state.withLock({ $0.containers[id]?.status.state }) == .running else { return }
        let first =
            signal ?? Signals.number(record.config.stopSignal) ?? Signals.number(record.image.stopSignal) ?? SIGTERM
        if grace > .zero, first != SIGKILL {
            try await send(first, to: id)
            if await waitForExit(id, timeout: grace) { return }
        }
        try await send(SIGKILL, to: id)
        if await waitForExit(id, timeout: .seconds(10)) { return }
        throw RuntimeError(.timedOut, "container \(record.config.name) (\(id)) did not die of SIGKILL within 10 s")
    }

    /// Signals the main process; one that has just gone is fine.
    private func send(_ number: Int32, to id: String) async throws(RuntimeError) {
        let shim = try shim()
        do throws(SysError) { try await shim.request(signalMessage(id, number)) } catch {
            throw RuntimeError(.unavailable, "stop container \(id): \(error)")
        }
    }

    package func removeContainer(_ id: String) async throws(RuntimeError) {
        guard state.withLock({ $0.containers[id] }) != nil else { return }
        try await stopContainer(id, signal: SIGKILL, grace: .zero)
        let record = state.withLock { state -> ContainerRecord? in
            guard state.containers[id]?.removing == false else { return nil }
            state.containers[id]?.removing = true
            return state.containers[id]
        }
        guard let record else { return }
        let root = configuration.containerRoot(id)
        do throws(RuntimeError) {
            await cleanAfterExit(record)
            try await onDisk(.io, "remove container \(id)") { [self] () throws(SysError) in
                writing.withLock { _ in }  // a write that began before `removing` was set
                try Directories.removeTree(root)
            }
        } catch {
            state.withLock { $0.containers[id]?.removing = false }
            throw error
        }
        state.withLock { _ = $0.containers.removeValue(forKey: id) }
        emit(.removed, record.status)
    }

    package func updateResources(_ id: String, _ resources: ContainerResources) async throws(RuntimeError) {
        let record = try containerRecord(id)
        let cgroup = try containerCgroup(record)
        let cgroups = cgroups
        if record.status.state == .running {
            try await onDisk(.io, "update container \(record.config.name)") { () throws(SysError) in
                try cgroups.apply(CgroupLimits(resources), to: cgroup)
            }
        }
        state.withLock { $0.containers[id]?.config.resources = resources }
        try await save(container: id)
    }

    package func diskUsage(_ id: String) async throws(RuntimeError) -> ContainerDiskUsage {
        let record = try containerRecord(id)
        let root = configuration.containerRoot(id)
        let log = record.status.logPath
        let walks = walks
        return try await onDisk(.io, "disk usage of container \(id)") { () throws(SysError) in
            var usage = ContainerDiskUsage()
            for part in ["upper", "volumes"] {
                let tree = try walks.measure(root + "/" + part)
                usage.layerBytes += tree.bytes
                usage.layerFiles += tree.files
            }
            if !log.isEmpty {
                // The log and its rotated predecessors, which share its name.
                let logs = try walks.measure(Path.parent(log), prefix: Path.last(log))
                (usage.logBytes, usage.logFiles) = (logs.bytes, logs.files)
            }
            return usage
        }
    }

    package func stats(_ id: String) async throws(RuntimeError) -> ContainerStats {
        let record = try containerRecord(id)
        guard record.status.state == .running else {
            throw RuntimeError(.invalid, "container \(record.config.name) (\(id)) is not running")
        }
        let cgroup = try containerCgroup(record)
        let (cgroups, pid) = (cgroups, record.status.pid)
        return ContainerStats(
            try await onDisk(.io, "stats of container \(id)") { () throws(SysError) in
                try cgroups.version == 0 ? ProcessTree.stats(of: [pid]) : cgroups.stats(cgroup)
            })
    }
}
