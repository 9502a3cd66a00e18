import Linux
import Logging
import Synchronization

/// The container runtime of the node: sandboxes and containers as records, their processes in the care of the shim.
///
/// Records live in `configuration.root` and are written before the step they announce; processes belong to the shim and
/// outlive this one. `start()` brings the two together again: containers that still run keep their ids, those that
/// ended meanwhile report how.
package final class Runtime: ContainerRuntime {
    package let configuration: RuntimeConfiguration
    package let images: any ImageService
    let snapshotter: any Snapshotter
    let cgroups: any Cgroups
    let seccomp = SeccompCompiler()
    let availableCapabilities = CapabilitySet.bounding()
    let logger: Logger
    package let walks = PacedDiskUsage()
    let state = Mutex(State())
    /// Held while a container's record is written.
    let writing = Mutex(())

    struct State {
        var sandboxes: [String: SandboxRecord] = [:]
        var containers: [String: ContainerRecord] = [:]
        /// Processes started by exec, and the main processes somebody waits for.
        var exits: [String: ExitWaiters] = [:]
        var subscribers: [UInt64: AsyncStream<ContainerEvent>.Continuation] = [:]
        var nextSubscriber: UInt64 = 0
        /// Events before the first subscriber; bounded.
        var backlog: [ContainerEvent] = []
        var shim: ShimClient?
        /// Somebody is at it already.
        var isReconnecting = false
        var stopped = false
        /// Of pods whose cgroups systemd makes, when a container was started: by the container.
        var oomKills: [String: UInt64] = [:]
        /// Of images, by their layers, which never change: /etc/passwd and /etc/group.
        var users: [String: (passwd: String, group: String)] = [:]
        /// Of sandboxes that are being made: their records come later.
        var claimedIDs: Set<UInt32> = []
    }

    /// `images` and `snapshotter` are usually one object.
    package init(
        configuration: RuntimeConfiguration, images: any ImageService & Snapshotter, cgroups: (any Cgroups)? = nil
    ) throws(RuntimeError) {
        self.configuration = configuration
        self.images = images
        snapshotter = images
        logger = configuration.logger
        do throws(SysError) {
            if let cgroups { self.cgroups = cgroups } else { self.cgroups = try CgroupDetection.detect() }
            for directory in [
                configuration.root, configuration.root + "/sandboxes", configuration.root + "/containers",
                configuration.state, configuration.state + "/sandboxes", configuration.rootMountPoint,
            ] { try Directories.make(directory, mode: 0o711) }
        } catch { throw RuntimeError(.io, "container runtime: \(error)") }
    }

    /// Stops serving: the connection to the shim goes, containers live on.
    package func shutdown() {
        let (shim, subscribers) = state.withLock { state in
            state.stopped = true
            defer {
                state.shim = nil
                state.subscribers = [:]
            }
            return (state.shim, state.subscribers)
        }
        shim?.close()
        for subscriber in subscribers.values { subscriber.finish() }
    }

    /// Ends the shim, for an uninstallation; EBUSY while a process lives.
    package func stopShim() async throws(RuntimeError) {
        let shim = try shim()
        state.withLock { $0.stopped = true }
        do throws(SysError) {
            let reply = try await shim.request(k3s_shim_message(K3S_SHIM_SHUTDOWN))
            if reply.message.error != 0 { throw SysError(reply.message.error, "stop shim") }
        } catch {
            // The shim ends with requests of ours unread, which resets the connection: that is success.
            if error.code == ECONNRESET || error.code == ECANCELED { return }
            state.withLock { $0.stopped = false }
            throw RuntimeError(.io, "\(error)")
        }
    }

    /// systemd makes the cgroups.
    package var usesSystemd: Bool { cgroups.isSystemd }

    /// Processes can be started and watched.
    package var isConnected: Bool { state.withLock { $0.shim != nil } }

    /// Process id of the shim, for measurements.
    package func shimPID() async throws(RuntimeError) -> Int32 {
        let text = try await onDisk(.io, "shim") { [configuration] () throws(SysError) in
            try Files.readString(configuration.state + "/shim.lock")
        }
        guard let pid = Int32(text.filter(\.isNumber)) else { throw RuntimeError(.unavailable, "shim.lock has no pid") }
        return pid
    }

    // MARK: - Lookup

    package func sandboxes() async -> [SandboxStatus] {
        state.withLock { $0.sandboxes.values.map(\.status) }.sorted { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) }
    }

    package func containers() async -> [ContainerStatus] {
        state.withLock { $0.containers.values.map(\.status) }.sorted { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) }
    }

    package func container(_ id: String) async throws(RuntimeError) -> ContainerStatus {
        try containerRecord(id).status
    }

    package func sandboxRecord(_ id: String) throws(RuntimeError) -> SandboxRecord {
        guard let record = state.withLock({ $0.sandboxes[id] }) else {
            throw RuntimeError(.notFound, "sandbox \(id): not found")
        }
        return record
    }

    package func containerRecord(_ id: String) throws(RuntimeError) -> ContainerRecord {
        guard let record = state.withLock({ $0.containers[id] }) else {
            throw RuntimeError(.notFound, "container \(id): not found")
        }
        return record
    }

    func shim() throws(RuntimeError) -> ShimClient {
        guard let shim = state.withLock({ $0.shim }) else {
            throw RuntimeError(.unavailable, "the container shim is not connected")
        }
        return shim
    }

    /// 64 hexadecimal digits, as containerd's ids.
    static func newID() -> String {
        var text = ""
        for _ in 0..<4 {
            let part = String(UInt64.random(in: 0...UInt64.max), radix: 16)
            text += String(repeating: "0", count: 16 - part.count) + part
        }
        return text
    }

    // MARK: - Disk

    /// Runs file work off the concurrency pool, and turns its error into ours.
    func onDisk<R: Sendable>(
        _ code: RuntimeError.Code, _ what: String, _ body: @escaping @Sendable () throws(SysError) -> R
    ) async throws(RuntimeError) -> R {
        do throws(SysError) { return try await BlockingPool.shared.run(body) } catch {
            throw RuntimeError(code, "\(what): \(error)")
        }
    }

    /// Writes the container's record as it is now, unless the container is being removed. Not synced: a power failure
    /// ends the containers as well, and an unreadable record is cleaned up.
    func save(container id: String) async throws(RuntimeError) {
        let path = configuration.containerRoot(id) + "/container.json"
        try await onDisk(.io, "save container \(id)") { [self] () throws(SysError) in
            // One writer at a time, each with the newest state: an older one never overwrites it.
            try writing.withLock { _ throws(SysError) in
                guard let record = state.withLock({ $0.containers[id] }), !record.removing else { return }
                try Files.writeAtomically(path, record.encode(), mode: 0o600, sync: false)
            }
        }
    }

    func save(_ record: SandboxRecord) async throws(RuntimeError) {
        let path = configuration.sandboxRoot(record.status.id) + "/sandbox.json"
        try await onDisk(.io, "save sandbox \(record.status.id)") { () throws(SysError) in
            try Files.writeAtomically(path, record.encode(), mode: 0o600, sync: false)
        }
    }

    // MARK: - Events

    package func events() -> AsyncStream<ContainerEvent> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: ContainerEvent.self, bufferingPolicy: .bufferingNewest(4096))
        let number = state.withLock { state in
            for event in state.backlog { continuation.yield(event) }
            state.backlog = []
            state.nextSubscriber += 1
            state.subscribers[state.nextSubscriber] = continuation
            return state.nextSubscriber
        }
        continuation.onTermination = { [weak self] _ in
            self?.state.withLock { _ = $0.subscribers.removeValue(forKey: number) }
        }
        return stream
    }

    func emit(_ kind: ContainerEvent.Kind, _ status: ContainerStatus) {
        let event = ContainerEvent(kind, container: status.id, sandbox: status.sandbox)
        state.withLock { state in
            if state.subscribers.isEmpty {
                if state.backlog.count < 4096 { state.backlog.append(event) }
            } else {
                for subscriber in state.subscribers.values { subscriber.yield(event) }
            }
        }
    }
}
