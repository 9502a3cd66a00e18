import Linux
import Synchronization

/// A container runtime in memory, for the node's tests: nothing runs, and the test says when a container ends, what an
/// exec answers and which operations fail.
package final class FakeRuntime: ContainerRuntime {
    package struct Exec: Sendable {
        package var container: String
        package var command: [String]
    }

    private struct State {
        var sandboxes: [String: SandboxStatus] = [:]
        var containers: [String: ContainerStatus] = [:]
        var configs: [String: ContainerConfig] = [:]
        var stats: [String: ContainerStats] = [:]
        var waiters: [String: [CheckedContinuation<Int32, Never>]] = [:]
        var subscribers: [UInt64: AsyncStream<ContainerEvent>.Continuation] = [:]
        var next: UInt64 = 0
        var failures: [String: [RuntimeError]] = [:]
        var calls: [String] = []
        var cgroups: [String: ContainerResources] = [:]
        var ignoresTerm: Set<String> = []
        var answer: @Sendable (Exec) -> ExecResult = { _ in ExecResult(exitCode: 0, stdout: [], stderr: []) }
    }

    private let state = Mutex(State())
    package let images: any ImageService
    /// Clock of all timestamps, nanoseconds since the epoch.
    private let now: @Sendable () -> Int64

    package init(images: any ImageService, now: @escaping @Sendable () -> Int64 = { WallClock.now() }) {
        self.images = images
        self.now = now
    }

    // MARK: - Control

    /// The next call of `operation` ("startContainer") throws.
    package func fail(_ operation: String, with error: RuntimeError) {
        state.withLock { $0.failures[operation, default: []].append(error) }
    }

    /// What exec and execSync answer from now on.
    package func answerExec(_ answer: @escaping @Sendable (Exec) -> ExecResult) {
        state.withLock { $0.answer = answer }
    }

    /// The container does not end on a stop signal, only on SIGKILL.
    package func ignoreStopSignal(_ id: String) { state.withLock { _ = $0.ignoresTerm.insert(id) } }

    package func setStats(_ id: String, _ stats: ContainerStats) { state.withLock { $0.stats[id] = stats } }

    /// Operations so far, in order: "startContainer app".
    package var calls: [String] { state.withLock { $0.calls } }

    package func config(_ id: String) -> ContainerConfig? { state.withLock { $0.configs[id] } }

    /// Ends a running container.
    package func exit(_ id: String, code: Int32, reason: String? = nil, message: String = "") {
        let time = now()
        let waiters = state.withLock { state -> [CheckedContinuation<Int32, Never>] in
            guard var status = state.containers[id], status.state == .running else { return [] }
            status.state = .exited
            status.pid = 0
            status.finishedAt = time
            status.exitCode = code
            status.reason = reason ?? (code == 0 ? "Completed" : "Error")
            status.message = message
            state.containers[id] = status
            emit(.exited, status, &state)
            return state.waiters.removeValue(forKey: id) ?? []
        }
        for waiter in waiters { waiter.resume(returning: code) }
    }

    private func emit(_ kind: ContainerEvent.Kind, _ status: ContainerStatus, _ state: inout State) {
        for subscriber in state.subscribers.values {
            subscriber.yield(ContainerEvent(kind, container: status.id, sandbox: status.sandbox))
        }
    }

    private func begin(_ operation: String, _ subject: String) throws(RuntimeError) {
        let failure = state.withLock { state -> RuntimeError? in
            state.calls.append(operation + " " + subject)
            guard var queue = state.failures[operation], !queue.isEmpty else { return nil }
            let failure = queue.removeFirst()
            state.failures[operation] = queue
            return failure
        }
        if let failure { throw failure }
    }

    private func status(_ id: String) throws(RuntimeError) -> ContainerStatus {
        guard let status = state.withLock({ $0.containers[id] }) else {
            throw RuntimeError(.notFound, "container \(id): not found")
        }
        return status
    }

    // MARK: - Sandboxes

    package func runSandbox(_ config: SandboxConfig) async throws(RuntimeError) -> SandboxStatus {
        try begin("runSandbox", config.name)
        var status = SandboxStatus()
        status.id = Runtime.newID()
        status.config = config
        status.createdAt = now()
        state.withLock { [status] in $0.sandboxes[status.id] = status }
        return status
    }

    package func stopSandbox(_ id: String) async throws(RuntimeError) {
        try begin("stopSandbox", state.withLock { $0.sandboxes[id]?.config.name } ?? id)
        let running = state.withLock { state in
            state.containers.values.filter { $0.sandbox == id && $0.state == .running }.map(\.id)
        }
        for container in running { exit(container, code: 137) }
        state.withLock { $0.sandboxes[id]?.state = .notReady }
    }

    package func removeSandbox(_ id: String) async throws(RuntimeError) {
        try begin("removeSandbox", state.withLock { $0.sandboxes[id]?.config.name } ?? id)
        let containers = state.withLock { state in state.containers.values.filter { $0.sandbox == id }.map(\.id) }
        for container in containers { try await removeContainer(container) }
        state.withLock { _ = $0.sandboxes.removeValue(forKey: id) }
    }

    package func sandboxes() async -> [SandboxStatus] {
        state.withLock { $0.sandboxes.values.sorted { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) } }
    }

    package func updateSandboxResources(_ id: String, _ resources: ContainerResources) async throws(RuntimeError) {
        try begin("updateSandboxResources", id)
        state.withLock { $0.sandboxes[id]?.config.resources = resources }
    }

    package func updateCgroup(_ path: String, _ resources: ContainerResources) async throws(RuntimeError) {
        state.withLock { $0.cgroups[path] = resources }
    }

    /// Limits of the cgroups above the pods.
    package func cgroup(_ path: String) -> ContainerResources? { state.withLock { $0.cgroups[path] } }

    package func networkStats(sandbox: String) async throws(RuntimeError) -> [InterfaceStats] { [] }

    package func mountImage(_ id: String, at path: String) async throws(RuntimeError) {
        try begin("mountImage", id)
        do throws(SysError) { try Directories.make(path) } catch { throw RuntimeError(.io, "\(error)") }
    }

    package func diskUsage(_ id: String) async throws(RuntimeError) -> ContainerDiskUsage {
        _ = try status(id)
        return ContainerDiskUsage()
    }

    package func sandboxStats(_ id: String) async throws(RuntimeError) -> ContainerStats {
        try begin("sandboxStats", id)
        return state.withLock { $0.stats[id] } ?? ContainerStats()
    }

    package func networkNamespacePath(sandbox: String) async throws(RuntimeError) -> String {
        guard state.withLock({ $0.sandboxes[sandbox]?.state }) == .ready else {
            throw RuntimeError(.notFound, "sandbox \(sandbox): not found or not ready")
        }
        return "/proc/self/ns/net"
    }

    /// The port in the test's own network namespace.
    package func dial(sandbox: String, port: UInt16) async throws(RuntimeError) -> Int32 {
        try begin("dial", "\(port)")
        do throws(SysError) { return try Loopback.connect(port: port, version6: false) } catch {
            throw RuntimeError(.unavailable, "failed to connect to localhost:\(port): \(error)")
        }
    }

    // MARK: - Containers

    package func createContainer(_ config: ContainerConfig, sandbox: String) async throws(RuntimeError) -> String {
        try begin("createContainer", config.name)
        guard let owner = state.withLock({ $0.sandboxes[sandbox] }), owner.state == .ready else {
            throw RuntimeError(.notFound, "sandbox \(sandbox): not found or not ready")
        }
        guard let image = await images.image(config.image) else {
            throw RuntimeError(.imageNotPresent, "image \"\(config.image)\": not present")
        }
        var status = ContainerStatus()
        status.id = Runtime.newID()
        status.sandbox = sandbox
        (status.name, status.attempt) = (config.name, config.attempt)
        (status.image, status.imageID) = (config.image, image.id)
        (status.labels, status.annotations) = (config.labels, config.annotations)
        if !config.logPath.isEmpty { status.logPath = Path.join(owner.config.logDirectory, config.logPath) }
        status.createdAt = now()
        state.withLock { [status] state in
            state.containers[status.id] = status
            state.configs[status.id] = config
        }
        return status.id
    }

    package func startContainer(_ id: String) async throws(RuntimeError) {
        var status = try status(id)
        do throws(RuntimeError) { try begin("startContainer", status.name) } catch {
            status.state = .exited
            (status.exitCode, status.reason, status.message) = (128, "StartError", error.message)
            status.finishedAt = now()
            state.withLock { [status] state in
                state.containers[id] = status
                emit(.exited, status, &state)
            }
            throw error
        }
        guard status.state == .created else {
            throw RuntimeError(.invalid, "container \(status.name) (\(id)) is not in state created")
        }
        status.state = .running
        status.startedAt = now()
        state.withLock { state in
            state.next += 1
            status.pid = Int32(truncatingIfNeeded: 1_000_000 + state.next)
            state.containers[id] = status
            emit(.started, status, &state)
        }
    }

    package func stopContainer(_ id: String, signal: Int32?, grace: Duration) async throws(RuntimeError) {
        try begin("stopContainer", state.withLock { $0.containers[id]?.name } ?? id)
        let stubborn = state.withLock { $0.ignoresTerm.contains(id) }
        if stubborn, signal != SIGKILL {
            try? await Task.sleep(for: grace)
        }
        exit(id, code: stubborn || grace == .zero ? 137 : 143)
    }

    package func removeContainer(_ id: String) async throws(RuntimeError) {
        guard let status = state.withLock({ $0.containers[id] }) else { return }
        try begin("removeContainer", status.name)
        exit(id, code: 137)
        state.withLock { state in
            state.containers[id] = nil
            state.configs[id] = nil
            emit(.removed, status, &state)
        }
    }

    package func container(_ id: String) async throws(RuntimeError) -> ContainerStatus { try status(id) }

    package func containers() async -> [ContainerStatus] {
        state.withLock { $0.containers.values.sorted { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) } }
    }

    package func updateResources(_ id: String, _ resources: ContainerResources) async throws(RuntimeError) {
        let status = try status(id)
        try begin("updateResources", status.name)
        state.withLock { $0.configs[id]?.resources = resources }
    }

    package func stats(_ id: String) async throws(RuntimeError) -> ContainerStats {
        let status = try status(id)
        try begin("stats", status.name)
        return state.withLock { $0.stats[id] } ?? ContainerStats()
    }

    package func events() -> AsyncStream<ContainerEvent> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: ContainerEvent.self, bufferingPolicy: .bufferingNewest(4096))
        let number = state.withLock { state in
            state.next += 1
            state.subscribers[state.next] = continuation
            return state.next
        }
        continuation.onTermination = { [weak self] _ in
            self?.state.withLock { _ = $0.subscribers.removeValue(forKey: number) }
        }
        return stream
    }

    // MARK: - Streams

    private func result(_ id: String, _ command: [String]) throws(RuntimeError) -> ExecResult {
        let status = try status(id)
        try begin("exec", status.name + " " + command.joined(separator: " "))
        guard status.state == .running else {
            throw RuntimeError(.invalid, "container \(status.name) (\(id)) is not running")
        }
        return state.withLock { $0.answer }(Exec(container: id, command: command))
    }

    package func exec(_ id: String, _ request: ExecRequest) async throws(RuntimeError) -> any ContainerProcess {
        FakeProcess(try result(id, request.command))
    }

    package func execSync(
        _ id: String, command: [String], timeout: Duration
    ) async throws(RuntimeError) -> ExecResult {
        try result(id, command)
    }

    package func attach(_ id: String, _ request: AttachRequest) async throws(RuntimeError) -> any ContainerProcess {
        let status = try status(id)
        try begin("attach", status.name)
        return FakeProcess(ExecResult(exitCode: 0, stdout: [], stderr: [])) { [self] in
            await withCheckedContinuation { continuation in
                let code = state.withLock { state -> Int32? in
                    guard let status = state.containers[id], status.state == .running else {
                        return state.containers[id]?.exitCode ?? 0
                    }
                    state.waiters[id, default: []].append(continuation)
                    return nil
                }
                if let code { continuation.resume(returning: code) }
            }
        }
    }
}

/// Answers with what it was given; keeps what was written to its stdin.
package final class FakeProcess: ContainerProcess {
    private struct State {
        var stdout: [UInt8]?
        var stderr: [UInt8]?
        var stdin: [UInt8] = []
        var closed = false
    }

    private let state: Mutex<State>
    private let end: @Sendable () async -> Int32

    init(_ result: ExecResult, end: (@Sendable () async -> Int32)? = nil) {
        state = Mutex(State(stdout: result.stdout, stderr: result.stderr))
        self.end = end ?? { result.exitCode }
    }

    package var stdin: [UInt8] { state.withLock { $0.stdin } }

    package func writeStdin(_ bytes: [UInt8]) async throws(RuntimeError) {
        let closed = state.withLock { state in
            if !state.closed { state.stdin += bytes }
            return state.closed
        }
        if closed { throw RuntimeError(.io, "stdin: broken pipe") }
    }

    package func closeStdin() async { state.withLock { $0.closed = true } }

    package func readStdout() async -> [UInt8]? {
        state.withLock { state in
            defer { state.stdout = nil }
            return state.stdout.flatMap { $0.isEmpty ? nil : $0 }
        }
    }

    package func readStderr() async -> [UInt8]? {
        state.withLock { state in
            defer { state.stderr = nil }
            return state.stderr.flatMap { $0.isEmpty ? nil : $0 }
        }
    }

    package func resize(columns: UInt16, rows: UInt16) async {}
    package func wait() async throws(RuntimeError) -> Int32 { await end() }
    package func close() async { await closeStdin() }
}
