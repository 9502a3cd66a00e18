import Codecs
import Containers
import KubeAPI
import Linux
import Logging
import Synchronization
import Testing

@testable import Node

/// Pods get addresses one after the other.
final class TestNetwork: PodNetworking {
    private struct State {
        var next = 2
        var attached: [String: [String]] = [:]
        var reason: String?
        var calls: [String] = []
        var failure: String?
        var onLookup: (@Sendable (String) async -> Void)?
    }
    private let state = Mutex(State())

    var calls: [String] { state.withLock { $0.calls } }
    func setNotReady(_ reason: String?) { state.withLock { $0.reason = reason } }
    func failAttach(_ message: String?) { state.withLock { $0.failure = message } }

    func notReadyReason() async -> String? { state.withLock { $0.reason } }
    func configure(podCIDRs: [String], annotations: [String: String]) async throws(PodNetworkingError) {
        state.withLock { $0.calls.append("configure \(podCIDRs.joined(separator: ","))") }
    }
    func peersChanged(_ peers: [NetworkPeer]) async {
        state.withLock { $0.calls.append("peers \(peers.map(\.name).joined(separator: ","))") }
    }
    func attach(_ attachment: PodAttachment) async throws(PodNetworkingError) -> [String] {
        let result = state.withLock { state -> Result<[String], PodNetworkingError> in
            if let failure = state.failure { return .failure(PodNetworkingError(failure)) }
            state.calls.append("attach \(attachment.podName)")
            let addresses = state.attached[attachment.sandbox] ?? ["10.42.0.\(state.next)"]
            state.next += 1
            state.attached[attachment.sandbox] = addresses
            return .success(addresses)
        }
        return try result.get()
    }
    func detach(sandbox: String) async {
        state.withLock { state in
            state.calls.append("detach \(sandbox)")
            state.attached[sandbox] = nil
        }
    }
    /// Runs before somebody learns the addresses of a sandbox.
    func onLookup(_ body: @escaping @Sendable (String) async -> Void) { state.withLock { $0.onLookup = body } }
    func addresses(sandbox: String) async -> [String] {
        let body = state.withLock { $0.onLookup }
        await body?(sandbox)
        return state.withLock { $0.attached[sandbox] ?? [] }
    }
}

/// Directories in place of mounts.
final class TestMounter: VolumeMounter {
    private let calls = Mutex<[String]>([])
    var log: [String] { calls.withLock { $0 } }
    func mountTmpfs(_ path: String, sizeBytes: Int64?, mode: UInt32) throws(SysError) {
        calls.withLock { $0.append("tmpfs \(Path.last(path)) \(sizeBytes ?? 0)") }
    }
    func bind(_ source: String, to target: String, readOnly: Bool) throws(SysError) {
        let resolved = (try? Files.readLink(source)) ?? source
        calls.withLock { $0.append("bind \(resolved) \(target)") }
    }
    func unmount(_ path: String) throws(SysError) {}
    func mounts(below path: String) -> [String] { [] }
}

/// Probes and hooks that answer as a test says; exec goes to the runtime.
final class TestActions: ActionRunner {
    private struct State {
        var answers: [String: ActionResult] = [:]
        var asked: [String] = []
    }
    private let state = Mutex(State())
    let runtime: TestRuntime
    let clock: any KubeClock
    init(runtime: TestRuntime, clock: any KubeClock) { (self.runtime, self.clock) = (runtime, clock) }

    var asked: [String] { state.withLock { $0.asked } }
    func answer(_ what: String, _ result: ActionResult) { state.withLock { $0.answers[what] = result } }

    func run(_ action: ResolvedAction, container: String, timeout: Duration) async -> ActionResult {
        let what: String
        switch action {
        case .exec(let command): what = "exec \(command.joined(separator: " "))"
        case .http(let host, let port, let path, _, _): what = "http \(host):\(port)\(path)"
        case .tcp(let host, let port): what = "tcp \(host):\(port)"
        case .grpc(let host, let port, let service): what = "grpc \(host):\(port) \(service)"
        case .sleep(let seconds):
            await clock.sleep(for: .seconds(seconds))
            what = "sleep \(seconds)"
        case .impossible(let message): return .error(message)
        }
        return state.withLock { state in
            state.asked.append(what)
            return state.answers[what] ?? .success("")
        }
    }
}

/// A node agent on fakes, in virtual time and a directory of its own.
final class NodeHarness: Sendable {
    let clock = VirtualClock()
    let client: FakeKubeClient
    let runtime: TestRuntime
    let network = TestNetwork()
    let mounter = TestMounter()
    let actions: TestActions
    let directory: String
    let configuration: NodeConfiguration
    private let running = Mutex<(agent: NodeAgent, task: Task<Void, Never>)?>(nil)

    var manifests: String { directory + "/pod-manifests" }

    /// `adjust`: what the node is told beside the defaults.
    init(staticPods: Bool = false, adjust: (inout NodeConfiguration) -> Void = { _ in }) throws {
        client = FakeKubeClient(clock: clock)
        runtime = TestRuntime(clock: clock)
        actions = TestActions(runtime: runtime, clock: clock)
        directory = "/tmp/k3s-node-test-\(getpid())-\(UInt32.random(in: .min ... .max))"
        try Directories.make(directory + "/etc")
        try Files.write(directory + "/etc/resolv.conf", Array("nameserver 192.0.2.53\nsearch example.test\n".utf8))
        try Files.write(directory + "/etc/hosts", Array("127.0.0.1 localhost\n".utf8))
        try Files.write(directory + "/etc/os-release", Array("PRETTY_NAME=\"Test OS 1\"\n".utf8))
        var configuration = NodeConfiguration(name: "node-1", internalIPs: ["192.0.2.1"])
        configuration.rootDirectory = directory + "/kubelet"
        configuration.podLogs = directory + "/logs/pods"
        configuration.containerLogs = directory + "/logs/containers"
        configuration.etc = directory + "/etc"
        configuration.resolvConf = directory + "/etc/resolv.conf"
        configuration.isServer = true
        if staticPods {
            try Directories.make(directory + "/pod-manifests")
            configuration.staticPodPath = directory + "/pod-manifests"
        }
        adjust(&configuration)
        self.configuration = configuration
    }

    deinit { try? Directories.removeTree(directory) }

    var agent: NodeAgent? { running.withLock { $0?.agent } }

    func start() {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let agent = NodeAgent(
            clients: NodeClients(client), runtime: runtime, network: network, configuration: configuration,
            clock: clock,
            logger: logger,
            mounter: mounter, actions: actions)
        let task = Task { _ = try? await agent.run() }
        running.withLock { $0 = (agent, task) }
    }

    /// As a restart of k3s: the agent goes, the runtime and the API stay.
    func stop() async {
        let task = running.withLock { running in
            defer { running = nil }
            return running?.task
        }
        task?.cancel()
        await task?.value
    }

    /// Waits, in real time, until something has become true; time stands still meanwhile unless `ticking`.
    func until(
        _ what: String, ticking: Duration? = nil, limit: Int = 20_000, location: SourceLocation = #_sourceLocation,
        _ condition: @Sendable () async -> Bool
    ) async throws {
        for _ in 0..<limit {
            if await condition() { return }
            if let ticking { clock.advance(by: ticking) }
            try await Task.sleep(for: .milliseconds(1))
        }
        Issue.record("never: \(what)", sourceLocation: location)
        throw TimedOut()
    }
    struct TimedOut: Error {}

    /// Lets everything that is due happen.
    func settle() async {
        for _ in 0..<20 { try? await Task.sleep(for: .milliseconds(1)) }
    }

    // MARK: Pods

    @discardableResult
    func create(_ name: String, _ spec: JSON = [:], containers: [JSON] = [["name": "app", "image": "busybox:1"]])
        -> String
    {
        var object = KubeObject(GroupVersionKind("", "v1", "Pod"), name: name, namespace: "default")
        object.metadata["generation"] = 1
        object.metadata["creationTimestamp"] = .string(clock.now().rfc3339)
        object.spec = spec
        object.spec["nodeName"] = "node-1"
        object.spec["containers"] = .array(containers)
        object.status = ["phase": "Pending"]
        return client.put(.pods, object).uid
    }

    func pod(_ name: String) -> KubeObject? { client.object(.pods, "default", name) }
    func phase(_ name: String) -> String { pod(name)?.status["phase"].string ?? "" }
    func containerStatus(_ pod: String, _ name: String = "app") -> JSON {
        let status = self.pod(pod)?.status ?? .null
        return
            (status["containerStatuses"].elements + status["initContainerStatuses"].elements
            + status["ephemeralContainerStatuses"].elements)
            .first { $0["name"].string == name } ?? .null
    }
    func condition(_ pod: String, _ type: String) -> JSON {
        self.pod(pod)?.status["conditions"].elements.first { $0["type"].string == type } ?? .null
    }
    func isReady(_ pod: String) -> Bool { condition(pod, "Ready")["status"].string == "True" }
}
