import Codecs
import Linux
import Logging
import Synchronization

extension Runtime {
    /// Reads the records, connects to the shim (starting one when there is none), brings both into agreement, and
    /// removes what a crash has left behind. To be called once before anything else.
    package func start() async throws(RuntimeError) {
        for problem in cgroups.problems { logger.warning("\(problem)") }
        if cgroups.version != 0,
            let problem = cgroups.problems.first(where: { $0.contains("memory") || $0.contains("pids") })
        {
            throw RuntimeError(.unavailable, problem)
        }
        try await loadRecords()
        let processes = try await connect()
        await adopt(processes)
        await removeLeftovers()
    }

    private func loadRecords() async throws(RuntimeError) {
        let configuration = configuration
        let (sandboxes, containers) = try await onDisk(.io, "read records") {
            () throws(SysError) -> ([SandboxRecord], [ContainerRecord]) in
            var sandboxes: [SandboxRecord] = [], containers: [ContainerRecord] = []
            for entry in try Directories.list(configuration.root + "/sandboxes") {
                let bytes = try Files.readIfPresent(configuration.sandboxRoot(entry.name) + "/sandbox.json")
                if let record = bytes.flatMap(SandboxRecord.init), record.status.id == entry.name {
                    sandboxes.append(record)
                }
            }
            for entry in try Directories.list(configuration.root + "/containers") {
                let bytes = try Files.readIfPresent(configuration.containerRoot(entry.name) + "/container.json")
                if let record = bytes.flatMap(ContainerRecord.init), record.status.id == entry.name {
                    containers.append(record)
                }
            }
            return (sandboxes, containers)
        }
        state.withLock { state in
            for record in sandboxes { state.sandboxes[record.status.id] = record }
            for record in containers where state.sandboxes[record.status.sandbox] != nil {
                state.containers[record.status.id] = record
            }
        }
    }

    /// Connects to the shim, after starting it when nobody answers.
    private func connect() async throws(RuntimeError) -> [ShimProcess] {
        let directory = configuration.state
        let cgroup = configuration.shimCgroup
        let cgroups = cgroups
        do throws(SysError) {
            let client: ShimClient
            do throws(SysError) { client = try newClient() } catch {
                guard error.code == ENOENT || error.code == ECONNREFUSED else { throw error }
                // Best effort: without a cgroup of its own the shim still works.
                var refuge: [String] = []
                do throws(SysError) { refuge = try cgroups.createRefuge(cgroup) } catch {
                    logger.warning("shim cgroup: \(error)")
                }
                defer { cgroups.settled(cgroup) }
                try await ShimClient.startShim(
                    directory: directory, command: configuration.shimCommand, cgroupJoinFiles: refuge)
                client = try newClient()
            }
            let processes = try await client.hello()
            await upgrade(client)
            state.withLock { $0.shim = client }
            return processes
        } catch {
            throw RuntimeError(.unavailable, "container shim: \(error)")
        }
    }

    /// A shim that was started by another k3s becomes this one's, without its containers noticing.
    private func upgrade(_ client: ShimClient) async {
        guard let program = configuration.shimCommand.first, client.program != ShimClient.identity(of: program) else {
            return
        }
        do throws(SysError) {
            try await client.upgrade(to: program)
            logger.info("the container shim runs this k3s's program now")
        } catch { logger.warning("the container shim stays the older one: \(error)") }
    }

    private func newClient() throws(SysError) -> ShimClient {
        try ShimClient(
            directory: configuration.state,
            onExit: { [weak self] in self?.processExited($0) },
            onClose: { [weak self] in self?.shimClosed() })
    }

    /// The connection broke while we run: the shim was killed, or it found us not reading.
    private func shimClosed() {
        let starts = state.withLock { state in
            state.shim = nil
            // A connection that breaks while it is made is the business of who makes it.
            guard !state.stopped, !state.isReconnecting else { return false }
            state.isReconnecting = true
            return true
        }
        settleAll()
        guard starts else { return }
        logger.warning("the connection to the container shim broke, connecting again")
        Task { await reconnect() }
    }

    /// As long as it takes: without the shim there are no containers.
    private func reconnect() async {
        var failures = 0
        while !state.withLock({ $0.stopped }) {
            do throws(RuntimeError) {
                let processes = try await connect()
                await adopt(processes)
                let isBack = state.withLock { state in
                    // It may have broken again meanwhile.
                    guard state.shim?.isClosed == false else { return false }
                    state.isReconnecting = false
                    return true
                }
                if isBack { return }
            } catch { logger.error("\(error)") }
            failures += 1
            try? await Task.sleep(for: .seconds(min(failures, 10)))
        }
    }

    /// Records against processes.
    private func adopt(_ processes: [ShimProcess]) async {
        let listed = Dictionary(processes.map { ($0.id, $0) }, uniquingKeysWith: { $1 })
        let (containers, sandboxes) = state.withLock { (Array($0.containers.values), Array($0.sandboxes.values)) }
        for record in containers where record.status.state != .exited {
            let id = record.status.id
            if let process = listed[id] {
                suppressStart(id)
                if process.state == .running { markRunning(process) } else { await containerExited(process) }
            } else if let exit = await lostExit(record) {
                suppressStart(id)
                await containerExited(exit)
            }
        }
        for record in sandboxes where record.status.state == .ready {
            let alive =
                await namespacesAlive(record) && (!record.hasPause || listed[record.status.id]?.state == .running)
            if !alive { state.withLock { $0.sandboxes[record.status.id]?.status.state = .notReady } }
        }
        // Processes that belong to no record any more, execs of a former k3s among them.
        guard let shim = try? shim() else { return }
        for process in processes {
            let known = state.withLock { $0.containers[process.id] != nil || $0.sandboxes[process.id] != nil }
            if process.state == .exited {
                _ = try? await shim.request(k3s_shim_message(K3S_SHIM_FORGET, id: process.id))
            } else if !known {
                logger.warning("killing process \(process.pid) of unknown container \(process.id)")
                _ = try? await shim.request(signalMessage(process.id, SIGKILL))
            }
        }
    }

    /// A start that a former process has seen is no event any more.
    private func suppressStart(_ id: String) { state.withLock { $0.containers[id]?.announcedStart = true } }

    private func markRunning(_ process: ShimProcess) {
        state.withLock { state in
            guard var record = state.containers[process.id], record.status.state != .exited else { return }
            record.starting = false
            record.status.state = .running
            record.status.pid = process.pid
            record.status.startedAt = process.startedAt
            state.containers[process.id] = record
        }
    }

    /// How a container that the shim does not have ended: as the shim has written down, or, when the shim was killed or
    /// the machine restarted, unobserved (255). nil: it has never been started.
    private func lostExit(_ record: ContainerRecord) async -> ShimProcess? {
        let id = record.status.id
        let path = configuration.containerRoot(id) + "/exit"
        let bytes: [UInt8]?
        do throws(RuntimeError) {
            bytes = try await onDisk(.io, "read exit of container \(id)") { () throws(SysError) in
                try Files.readIfPresent(path)
            }
        } catch {
            logger.warning("\(error)")
            bytes = []
        }
        if bytes == nil, record.status.state == .created, !record.starting { return nil }
        if let process = ShimProcess(id: id, record: bytes ?? []) { return process }
        logger.warning("container \(id) ended unobserved")
        return ShimProcess(unobserved: id, finishedAt: WallClock.now())
    }

    private func namespacesAlive(_ record: SandboxRecord) async -> Bool {
        let config = record.status.config
        let directory = configuration.sandboxState(record.status.id)
        var names: [String] = []
        if config.network != .node { names += ["net", "uts"] }
        if config.ipc != .node { names.append("ipc") }
        if config.privateUsers { names.append("user") }
        let alive = try? await onDisk(.io, "check namespaces") { [names] () throws(SysError) -> Bool in
            // A name whose bind mount is gone is an ordinary empty file.
            for name in names {
                var status = statfs()
                let path = directory + "/" + name
                guard statfs(path, &status) == 0, Int64(status.f_type) == 0x6e73_6673 else { return false }
            }
            return true
        }
        return alive ?? false
    }

    /// Directories, mounts and cgroups of sandboxes and containers that have no record.
    private func removeLeftovers() async {
        let configuration = configuration
        let cgroups = cgroups
        let (sandboxes, containers, pods) = state.withLock { state in
            (
                Set(state.sandboxes.keys), Set(state.containers.keys),
                Set(state.sandboxes.values.map { configuration.cgroup(of: $0.status.config) })
            )
        }
        do throws(RuntimeError) {
            try await onDisk(.io, "remove leftovers") { () throws(SysError) in
                for entry in try Directories.list(configuration.state + "/sandboxes")
                where !sandboxes.contains(entry.name) {
                    let path = configuration.sandboxState(entry.name)
                    try Mounts.unmountTree(path)
                    try Directories.removeTree(path)
                }
                for entry in try Directories.list(configuration.root + "/sandboxes")
                where !sandboxes.contains(entry.name) {
                    try Directories.removeTree(configuration.sandboxRoot(entry.name))
                }
                for entry in try Directories.list(configuration.root + "/containers")
                where !containers.contains(entry.name) {
                    try Directories.removeTree(configuration.containerRoot(entry.name))
                }
                for parent in ["kubepods", "kubepods/burstable", "kubepods/besteffort"] {
                    let path = configuration.cgroup(parent)
                    for pod in try cgroups.children(path) where pod.hasPrefix("pod") {
                        let cgroup = path + "/" + pod
                        if pods.contains(cgroup) {
                            for name in try cgroups.children(cgroup)
                            where !containers.contains(name) && !sandboxes.contains(name) {
                                try cgroups.kill(cgroup + "/" + name)
                                try cgroups.remove(cgroup + "/" + name)
                            }
                        } else {
                            try cgroups.kill(cgroup)
                            try cgroups.remove(cgroup)
                        }
                    }
                }
            }
        } catch { logger.warning("\(error)") }
    }
}
