import Linux
import Logging
import Synchronization

/// Who waits for the end of a process of the shim, and how it ended, once it has.
struct ExitWaiters {
    var exit: ShimProcess?
    /// Why an exec was not started.
    var launchError: RuntimeError?
    var waiters: [UInt64: CheckedContinuation<Bool, Never>] = [:]
    /// Waits whose time was over before they began.
    var expired: Set<UInt64> = []
    var next: UInt64 = 0
}

extension Runtime {
    /// Called by the shim's client for every exit, in order.
    func processExited(_ process: ShimProcess) {
        let (isContainer, isSandbox) = state.withLock { state in
            (state.containers[process.id] != nil, state.sandboxes[process.id] != nil)
        }
        if isContainer {
            Task { await containerExited(process) }
            return
        }
        if isSandbox {
            // PID 1 of the pod: without it nothing can be started in the sandbox.
            state.withLock { $0.sandboxes[process.id]?.status.state = .notReady }
        }
        settle(process)
        Task { await forget(process.id) }
    }

    /// How often the kernel has killed in the pod until now, where the container's own count may be gone when it is asked.
    func noteOOMKills(_ id: String, _ record: ContainerRecord) async throws(RuntimeError) {
        guard cgroups.isSystemd else { return }
        let kills = try await podOOMKills(record)
        state.withLock { $0.oomKills[id] = kills }
    }

    private func podOOMKills(_ record: ContainerRecord) async throws(RuntimeError) -> UInt64 {
        let pod = configuration.cgroup(of: try sandboxRecord(record.status.sandbox).status.config)
        let cgroups = cgroups
        return try await onDisk(.io, "cgroup of the pod") { () throws(SysError) in try cgroups.stats(pod).oomKills }
    }

    /// systemd removes a scope as soon as it is empty, perhaps before the shim has read what happened in it. The pod's
    /// slice counts as well, and stays.
    private func withOOMKill(_ process: ShimProcess) async -> ShimProcess {
        let before = state.withLock { $0.oomKills.removeValue(forKey: process.id) }
        guard let before, !process.oomKilled, process.exitCode == 137,
            let record = state.withLock({ $0.containers[process.id] }),
            let now = try? await podOOMKills(record), now > before
        else { return process }
        var process = process
        process.oomKilled = true
        return process
    }

    func containerExited(_ process: ShimProcess) async {
        let process = await withOOMKill(process)
        let result = state.withLock { state -> (ContainerRecord, Bool)? in
            guard var record = state.containers[process.id], record.status.state != .exited else { return nil }
            record.starting = false
            record.status.state = .exited
            record.status.pid = 0
            if record.status.startedAt == 0 { record.status.startedAt = process.startedAt }
            record.status.finishedAt = process.finishedAt
            record.status.exitCode = process.exitCode
            record.status.reason =
                process.exitCode == 0 ? "Completed" : process.oomKilled ? "OOMKilled" : "Error"
            let announce = !record.announcedStart
            record.announcedStart = true
            state.containers[process.id] = record
            return (record, announce)
        }
        // Who waits learns it at once: the exit is on disk already, in the shim's record.
        settle(process)
        if let (record, announce) = result {
            if announce { emit(.started, record.status) }
            emit(.exited, record.status)
            await cleanAfterExit(record)
        }
        await forget(process.id)
    }

    private func forget(_ id: String) async {
        _ = try? await shim().request(k3s_shim_message(K3S_SHIM_FORGET, id: id))
    }

    /// What is left of the container's processes goes, and its cgroup with them.
    func cleanAfterExit(_ record: ContainerRecord) async {
        guard let cgroup = try? containerCgroup(record) else { return }
        let cgroups = cgroups
        do throws(RuntimeError) {
            try await onDisk(.io, "clean up container \(record.status.id)") { () throws(SysError) in
                guard cgroups.exists(cgroup) else { return }
                try cgroups.kill(cgroup)
                try cgroups.remove(cgroup)
            }
        } catch { logger.warning("\(error)") }
    }

    // MARK: - Waiting

    /// To be called before a process is started whose exit somebody will ask for.
    func expectExit(_ id: String) { state.withLock { $0.exits[id] = ExitWaiters() } }

    private func settle(_ process: ShimProcess) {
        let waiters = state.withLock { state -> [CheckedContinuation<Bool, Never>] in
            guard var entry = state.exits[process.id] else { return [] }
            entry.exit = process
            let waiters = Array(entry.waiters.values)
            entry.waiters = [:]
            // Containers have their record; only the exits of execs have to be kept until asked for.
            state.exits[process.id] = process.isExec ? entry : nil
            return waiters
        }
        for waiter in waiters { waiter.resume(returning: true) }
    }

    /// The shim is gone: no exit will be told any more.
    func settleAll() {
        let waiters = state.withLock { state in
            let waiters = state.exits.values.flatMap(\.waiters.values)
            state.exits = [:]
            return waiters
        }
        for waiter in waiters { waiter.resume(returning: false) }
    }

    /// How an exec ended; nil: not yet.
    func exit(of id: String) -> ShimProcess? { state.withLock { $0.exits[id]?.exit } }

    func dropExit(_ id: String) { state.withLock { _ = $0.exits.removeValue(forKey: id) } }

    private func alive(_ id: String, _ state: borrowing State) -> Bool {
        if let container = state.containers[id] { return container.status.state == .running || container.starting }
        // Waiting makes an entry for any process: what a sandbox's PID 1 does is known from the sandbox.
        if let sandbox = state.sandboxes[id] { return sandbox.status.state == .ready }
        return state.exits[id].map { $0.exit == nil } ?? false
    }

    /// true: the process has exited (and, for a container, its record says so). nil timeout: as long as it takes.
    func waitForExit(_ id: String, timeout: Duration?) async -> Bool {
        let (number, timer) = state.withLock { state -> (UInt64, Bool) in
            var entry = state.exits[id] ?? ExitWaiters()
            entry.next += 1
            state.exits[id] = entry
            return (entry.next, timeout != nil)
        }
        let timeoutTask =
            timer
            ? Task { [weak self] in
                try? await Task.sleep(for: timeout ?? .zero)
                if !Task.isCancelled { self?.wake(id, number) }
            } : nil
        defer { timeoutTask?.cancel() }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Bool, Never>) in
                let immediate = state.withLock { state -> Bool? in
                    if !alive(id, state) {
                        if let entry = state.exits[id], entry.exit == nil, entry.waiters.isEmpty {
                            state.exits[id] = nil
                        }
                        return true
                    }
                    if Task.isCancelled { return false }
                    // The timer may have been faster.
                    guard var entry = state.exits[id], !entry.expired.contains(number) else { return false }
                    entry.waiters[number] = continuation
                    state.exits[id] = entry
                    return nil
                }
                if let immediate { continuation.resume(returning: immediate) }
            }
        } onCancel: {
            wake(id, number)
        }
    }

    private func wake(_ id: String, _ number: UInt64) {
        let waiter = state.withLock { state -> CheckedContinuation<Bool, Never>? in
            if let waiter = state.exits[id]?.waiters.removeValue(forKey: number) { return waiter }
            state.exits[id]?.expired.insert(number)
            return nil
        }
        waiter?.resume(returning: false)
    }
}
