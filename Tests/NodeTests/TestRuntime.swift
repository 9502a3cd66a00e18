import Codecs
import Containers
import KubeAPI
import Linux
import Synchronization

/// A runtime of records only: containers run until a test says otherwise.
final class TestRuntime: ContainerRuntime {
    private struct State {
        var sandboxes: [String: SandboxStatus] = [:]
        var containers: [String: ContainerStatus] = [:]
        var configs: [String: ContainerConfig] = [:]
        var next = 0
        var calls: [String] = []
        var startFailures: [String: String] = [:]
        var createFailures: [String: String] = [:]
        /// How long a container needs after its stop signal, by name.
        var stopTakes: [String: Duration] = [:]
        var execAnswers: [String: ExecResult] = [:]
        /// Exits at once with this code, by container name.
        var exitCodes: [String: Int32] = [:]
    }
    private let state = Mutex(State())
    private let inputs = Mutex<[AsyncStream<ContainerEvent>.Continuation]>([])
    let clock: any KubeClock
    let store: TestImages
    var images: any ImageService { store }

    init(clock: any KubeClock) {
        self.clock = clock
        store = TestImages(clock: clock)
    }

    // MARK: For tests

    func send(_ event: ContainerEvent) {
        for input in inputs.withLock({ $0 }) { input.yield(event) }
    }

    var calls: [String] { state.withLock { $0.calls } }
    func failStart(_ name: String, _ message: String?) { state.withLock { $0.startFailures[name] = message } }
    func failCreate(_ name: String, _ message: String?) { state.withLock { $0.createFailures[name] = message } }
    func stopTakes(_ name: String, _ duration: Duration) { state.withLock { $0.stopTakes[name] = duration } }
    func answer(_ command: String, _ code: Int32, _ output: String = "") {
        state.withLock { $0.execAnswers[command] = ExecResult(exitCode: code, stdout: Array(output.utf8), stderr: []) }
    }
    func exitsAtOnce(_ name: String, _ code: Int32?) { state.withLock { $0.exitCodes[name] = code } }
    func config(_ name: String) -> ContainerConfig? {
        state.withLock { state in
            state.containers.values.filter { $0.name == name }.max { $0.attempt < $1.attempt }.flatMap {
                state.configs[$0.id]
            }
        }
    }
    func sandboxConfig(_ name: String) -> SandboxConfig? {
        state.withLock { state in state.sandboxes.values.first { $0.config.name == name }?.config }
    }
    func id(_ name: String) -> String? {
        state.withLock { state in state.containers.values.filter { $0.name == name }.max { $0.attempt < $1.attempt }?.id
        }
    }
    func exit(_ name: String, _ code: Int32, reason: String = "", message: String = "") {
        guard let id = id(name) else { return }
        finish(id, code, reason: reason, message: message)
    }
    func kill(sandbox name: String) {
        let ids = state.withLock { state -> [String] in
            guard let id = state.sandboxes.values.first(where: { $0.config.name == name })?.id else { return [] }
            state.sandboxes[id]?.state = .notReady
            return state.containers.values.filter { $0.sandbox == id }.map(\.id)
        }
        for id in ids { finish(id, 137) }
    }

    private func finish(_ id: String, _ code: Int32, reason: String = "", message: String = "") {
        let now = clock.now().nanoseconds
        let event = state.withLock { state -> ContainerEvent? in
            guard var status = state.containers[id], status.state == .running || status.state == .created else {
                return nil
            }
            status.state = .exited
            status.exitCode = code
            status.finishedAt = now
            status.reason = reason.isEmpty ? (code == 0 ? "Completed" : "Error") : reason
            status.message = message
            state.containers[id] = status
            return ContainerEvent(.exited, container: id, sandbox: status.sandbox)
        }
        if let event { send(event) }
    }

    private func note(_ call: String) { state.withLock { $0.calls.append(call) } }

    // MARK: ContainerRuntime

    func runSandbox(_ config: SandboxConfig) async throws(RuntimeError) -> SandboxStatus {
        let now = clock.now().nanoseconds
        return state.withLock { state in
            state.next += 1
            var status = SandboxStatus()
            status.id = "sandbox\(state.next)"
            status.config = config
            status.createdAt = now
            state.sandboxes[status.id] = status
            state.calls.append("runSandbox \(config.name) \(config.attempt)")
            return status
        }
    }
    func stopSandbox(_ id: String) async throws(RuntimeError) {
        let running = state.withLock { state -> [String] in
            state.calls.append("stopSandbox \(id)")
            state.sandboxes[id]?.state = .notReady
            return state.containers.values.filter { $0.sandbox == id && $0.state == .running }.map(\.id)
        }
        for id in running { finish(id, 137) }
    }
    func removeSandbox(_ id: String) async throws(RuntimeError) {
        state.withLock { state in
            state.calls.append("removeSandbox \(id)")
            state.sandboxes[id] = nil
            state.containers = state.containers.filter { $0.value.sandbox != id }
        }
    }
    func sandboxes() async -> [SandboxStatus] { state.withLock { Array($0.sandboxes.values) } }

    func createContainer(_ config: ContainerConfig, sandbox: String) async throws(RuntimeError) -> String {
        let now = clock.now().nanoseconds
        let result = state.withLock { state -> Result<String, RuntimeError> in
            if let message = state.createFailures[config.name] { return .failure(RuntimeError(.createFailed, message)) }
            guard state.sandboxes[sandbox] != nil else {
                return .failure(RuntimeError(.notFound, "no sandbox \(sandbox)"))
            }
            state.next += 1
            var status = ContainerStatus()
            status.id = "container\(state.next)"
            (status.sandbox, status.name, status.attempt) = (sandbox, config.name, config.attempt)
            (status.image, status.imageID) = (config.image, config.image)
            (status.labels, status.annotations) = (config.labels, config.annotations)
            status.createdAt = now
            status.logPath = config.logPath
            state.containers[status.id] = status
            state.configs[status.id] = config
            state.calls.append("create \(config.name) \(config.attempt)")
            return .success(status.id)
        }
        return try result.get()
    }
    func startContainer(_ id: String) async throws(RuntimeError) {
        let now = clock.now().nanoseconds
        let (failure, code) = state.withLock { state -> (RuntimeError?, Int32?) in
            guard var status = state.containers[id] else { return (RuntimeError(.notFound, "no container \(id)"), nil) }
            if let message = state.startFailures[status.name] {
                status.state = .exited
                status.exitCode = 128
                status.reason = "StartError"
                status.message = message
                status.finishedAt = now
                state.containers[id] = status
                return (RuntimeError(.startFailed, message), nil)
            }
            status.state = .running
            status.startedAt = now
            state.containers[id] = status
            state.calls.append("start \(status.name) \(status.attempt)")
            return (nil, state.exitCodes[status.name])
        }
        if let failure { throw failure }
        if let code { finish(id, code) }
    }
    func stopContainer(_ id: String, signal: Int32?, grace: Duration) async throws(RuntimeError) {
        let takes = state.withLock { state -> Duration in
            let name = state.containers[id]?.name ?? ""
            state.calls.append("stop \(name) \(grace.components.seconds) \(signal ?? 15)")
            return state.stopTakes[name] ?? .zero
        }
        if takes > .zero { await clock.sleep(for: min(takes, grace)) }
        if Task.isCancelled { return }
        finish(id, takes > grace ? 137 : 143)
    }
    func removeContainer(_ id: String) async throws(RuntimeError) {
        state.withLock { state in
            state.calls.append("remove \(state.containers[id]?.name ?? id) \(state.containers[id]?.attempt ?? 0)")
            state.containers[id] = nil
        }
    }
    func container(_ id: String) async throws(RuntimeError) -> ContainerStatus {
        guard let status = state.withLock({ $0.containers[id] }) else {
            throw RuntimeError(.notFound, "no container \(id)")
        }
        return status
    }
    func containers() async -> [ContainerStatus] { state.withLock { Array($0.containers.values) } }
    func updateResources(_ id: String, _ resources: ContainerResources) async throws(RuntimeError) {
        state.withLock { state in
            state.configs[id]?.resources = resources
            state.calls.append("resources \(state.containers[id]?.name ?? "")")
        }
    }
    func updateSandboxResources(_ id: String, _ resources: ContainerResources) async throws(RuntimeError) {
        state.withLock { state in
            state.sandboxes[id]?.config.resources = resources
            state.calls.append("resources of \(state.sandboxes[id]?.config.name ?? "")")
        }
    }
    func sandboxStats(_ id: String) async throws(RuntimeError) -> ContainerStats {
        var stats = ContainerStats()
        stats.cpuNanoseconds = 2_000_000_000
        stats.memoryWorkingSetBytes = 9 << 20
        return stats
    }
    let cgroups = Mutex<[String: ContainerResources]>([:])
    func updateCgroup(_ path: String, _ resources: ContainerResources) async throws(RuntimeError) {
        cgroups.withLock { $0[path] = resources }
    }
    let mountedImages = Mutex<[String: String]>([:])
    func mountImage(_ id: String, at path: String) async throws(RuntimeError) {
        mountedImages.withLock { $0[path] = id }
        do throws(SysError) { try Directories.make(path) } catch { throw RuntimeError(.io, "\(error)") }
    }
    func diskUsage(_ id: String) async throws(RuntimeError) -> ContainerDiskUsage {
        var usage = ContainerDiskUsage()
        (usage.layerBytes, usage.layerFiles, usage.logBytes, usage.logFiles) = (7 << 20, 70, 1 << 20, 1)
        return usage
    }
    func networkStats(sandbox: String) async throws(RuntimeError) -> [InterfaceStats] {
        InterfaceStats.parse("  eth0: 100 2 3 4 0 0 0 0 500 6 7 8 0 0 0 0\n")
    }
    func events() -> AsyncStream<ContainerEvent> {
        let (stream, input) = AsyncStream<ContainerEvent>.makeStream()
        inputs.withLock { $0.append(input) }
        return stream
    }

    func exec(_ id: String, _ request: ExecRequest) async throws(RuntimeError) -> any ContainerProcess {
        throw RuntimeError(.unavailable, "no streams here")
    }
    func execSync(_ id: String, command: [String], timeout: Duration) async throws(RuntimeError) -> ExecResult {
        note("exec " + command.joined(separator: " "))
        return state.withLock { $0.execAnswers[command.joined(separator: " ")] }
            ?? ExecResult(exitCode: 0, stdout: [], stderr: [])
    }
    func attach(_ id: String, _ request: AttachRequest) async throws(RuntimeError) -> any ContainerProcess {
        throw RuntimeError(.unavailable, "no streams here")
    }
    func stats(_ id: String) async throws(RuntimeError) -> ContainerStats {
        var stats = ContainerStats()
        stats.cpuNanoseconds = 1_500_000_000
        stats.memoryUsageBytes = 10 << 20
        stats.memoryWorkingSetBytes = 8 << 20
        return stats
    }
    func networkNamespacePath(sandbox: String) async throws(RuntimeError) -> String { "/proc/1/ns/net" }
    func dial(sandbox: String, port: UInt16) async throws(RuntimeError) -> Int32 {
        throw RuntimeError(.unavailable, "connection refused")
    }
}

/// Images by reference; everything can be pulled unless a test says otherwise.
final class TestImages: ImageService {
    private struct State {
        var present: [String: ImageInfo] = [:]
        var failures: [String: ImageError] = [:]
        var pulls: [String] = []
        var credentials: [RegistryCredentials?] = []
        var pullTakes: Duration = .zero
        var configs: [String: ImageConfig] = [:]
    }
    private let state = Mutex(State())
    let clock: any KubeClock
    init(clock: any KubeClock) { self.clock = clock }

    var pulls: [String] { state.withLock { $0.pulls } }
    var credentials: [RegistryCredentials?] { state.withLock { $0.credentials } }
    func fail(_ reference: String, _ error: ImageError?) { state.withLock { $0.failures[reference] = error } }
    func pullTakes(_ duration: Duration) { state.withLock { $0.pullTakes = duration } }
    func configure(_ reference: String, _ config: ImageConfig) { state.withLock { $0.configs[reference] = config } }
    func put(_ reference: String) {
        state.withLock { $0.present[reference] = Self.info(reference, $0.configs[reference] ?? ImageConfig()) }
    }

    private static func info(_ reference: String, _ config: ImageConfig) -> ImageInfo {
        var info = ImageInfo()
        info.id = "sha256:\(reference)"
        info.tags = ["docker.io/library/\(reference)"]
        info.digests = ["docker.io/library/\(reference)@sha256:digest"]
        info.sizeBytes = 4096
        info.config = config
        return info
    }

    func image(_ reference: String) async -> ImageInfo? {
        state.withLock { state in state.present[reference] ?? state.present.values.first { $0.id == reference } }
    }
    func images() async -> [ImageInfo] { state.withLock { Array($0.present.values) } }
    func pull(_ reference: String, credentials: RegistryCredentials?) async throws(ImageError) -> ImageInfo {
        let takes = state.withLock { state -> Duration in
            state.pulls.append(reference)
            state.credentials.append(credentials)
            return state.pullTakes
        }
        if takes > .zero { await clock.sleep(for: takes) }
        let result = state.withLock { state -> Result<ImageInfo, ImageError> in
            if let failure = state.failures[reference] { return .failure(failure) }
            let info = Self.info(reference, state.configs[reference] ?? ImageConfig())
            state.present[reference] = info
            return .success(info)
        }
        return try result.get()
    }
    func remove(_ reference: String) async throws(ImageError) { state.withLock { $0.present[reference] = nil } }
}
