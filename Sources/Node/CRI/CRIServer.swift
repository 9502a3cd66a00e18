internal import Codecs
package import Containers
internal import GRPC
package import Linux
package import Logging
import Synchronization
package import Transport

/// The container runtime's own socket: CRI v1 (RuntimeService and ImageService), for crictl, critest and whoever else speaks
/// it. The kubelet does not: it calls the runtime. Pods made here and the kubelet's are of one list.
///
/// At rest it is a listening socket in the process's epoll. The table of messages comes with the first client and goes with
/// the last; the server for exec, attach and port-forward streams listens on the loopback while somebody has a use for it.
/// Checkpoints are not made. Source: k8s.io/cri-api, v1; codes and texts of errors as containerd's.
package final class CRIServer: Sendable {
    /// Opens plain HTTP on a free port of the loopback.
    package typealias Listener = @Sendable (@escaping HTTPHandler) async throws -> (port: Int, server: HTTPServer)

    struct State {
        var table: ProtobufTable?
        var isUsed = false
        /// CPU nanoseconds at a moment, by container or sandbox: for the usage since the last question.
        var samples: [String: (at: Int64, cpu: UInt64)] = [:]
        /// Sandboxes and containers that are being made, by the name that no two may have.
        var reserved: [String: String] = [:]
        var events: [UInt64: AsyncStream<JSON>.Continuation] = [:]
        var nextEvents: UInt64 = 0
    }

    let runtime: Runtime
    let network: any PodNetworking
    let streams: CRIStreams
    let version: String
    let logger: Logger
    let state = Mutex(State())

    /// - Parameter version: of k3s, as the runtime's.
    package init(
        runtime: Runtime, network: any PodNetworking, version: String, listen: @escaping Listener, logger: Logger
    ) {
        (self.runtime, self.network, self.version, self.logger) = (runtime, network, version, logger)
        streams = CRIStreams(runtime: runtime, listen: listen)
    }

    package var socketPath: String { runtime.configuration.state + "/containerd.sock" }

    /// Until the task is cancelled.
    package func run() async throws(SysError) {
        let server = GRPCServer(inUse: { [weak self] used in self?.inUse(used) }) { [weak self] service, method in
            self?.method(service, method)
        }
        try await server.run(UnixSocket.listen(socketPath, .stream, backlog: 128, mode: 0o660))
        await streams.stop()
    }

    private func inUse(_ used: Bool) {
        state.withLock { state in
            state.isUsed = used
            if !used { (state.table, state.samples) = (nil, [:]) }
        }
        if !used { streams.stopWhenIdle() }
    }

    func table() throws(GRPCStatus) -> ProtobufTable {
        if let table = state.withLock({ $0.table }) { return table }
        do throws(ProtobufError) {
            let table = try ProtobufTable(CRIMessages.table)
            state.withLock { state in if state.isUsed { state.table = table } }
            return table
        } catch { throw GRPCStatus(.internal, error.message) }
    }

    // MARK: - Methods

    static let runtimeMethods: Set<String> = [
        "Version", "Status", "UpdateRuntimeConfig", "RuntimeConfig", "RunPodSandbox", "StopPodSandbox",
        "RemovePodSandbox", "PodSandboxStatus", "ListPodSandbox", "UpdatePodSandboxResources", "CreateContainer",
        "StartContainer", "StopContainer", "RemoveContainer", "ListContainers", "ContainerStatus",
        "UpdateContainerResources", "ReopenContainerLog", "ExecSync", "Exec", "Attach", "PortForward", "ContainerStats",
        "ListContainerStats", "PodSandboxStats", "ListPodSandboxStats", "ListMetricDescriptors",
        "ListPodSandboxMetrics",
    ]
    static let imageMethods: Set<String> = [
        "ListImages", "ImageStatus", "PullImage", "RemoveImage", "ImageFsInfo",
    ]

    /// The list that a stream is of (KEP-5825), and the names of both lists.
    static let streamMethods: [String: (list: String, from: String, to: String)] = [
        "StreamPodSandboxes": ("ListPodSandbox", "items", "pod_sandboxes"),
        "StreamContainers": ("ListContainers", "containers", "containers"),
        "StreamContainerStats": ("ListContainerStats", "stats", "container_stats"),
        "StreamPodSandboxStats": ("ListPodSandboxStats", "stats", "pod_sandbox_stats"),
        "StreamPodSandboxMetrics": ("ListPodSandboxMetrics", "pod_metrics", "pod_sandbox_metrics"),
        "StreamImages": ("ListImages", "images", "images"),
    ]

    private func method(_ service: String, _ method: String) -> GRPCMethod? {
        let isImages = service == "runtime.v1.ImageService"
        guard isImages || service == "runtime.v1.RuntimeService" else { return nil }
        if let stream = Self.streamMethods[method], (method == "StreamImages") == isImages {
            return .serverStream { [self] request, call throws(GRPCStatus) in
                let answer = try await respond(stream.list, try decode(method + "Request", request.message))
                var rest = answer[stream.from].elements[...]
                while !rest.isEmpty {
                    let part = JSON.array(Array(rest.prefix(100)))
                    rest = rest.dropFirst(100)
                    try await call.send(try encode(method + "Response", .object([stream.to: part])))
                }
            }
        }
        if method == "GetContainerEvents", !isImages {
            return .serverStream { [self] _, call throws(GRPCStatus) in try await sendEvents(call) }
        }
        guard (isImages ? Self.imageMethods : Self.runtimeMethods).contains(method) else { return nil }
        return .unary { [self] request throws(GRPCStatus) in
            let answer = try await respond(method, try decode(method + "Request", request.message))
            return try encode(method + "Response", answer)
        }
    }

    private func decode(_ message: String, _ bytes: [UInt8]) throws(GRPCStatus) -> JSON {
        let table = try table()
        do throws(ProtobufError) { return try table.decode(message, bytes) } catch {
            throw GRPCStatus(.internal, "grpc: failed to unmarshal the received message: \(error.message)")
        }
    }

    private func encode(_ message: String, _ value: JSON) throws(GRPCStatus) -> [UInt8] {
        let table = try table()
        do throws(ProtobufError) { return try table.encode(message, value) } catch {
            throw GRPCStatus(.internal, "grpc: error while marshaling: \(error.message)")
        }
    }

    private func respond(_ method: String, _ request: JSON) async throws(GRPCStatus) -> JSON {
        switch method {
        case "Version":
            return [
                "version": "0.1.0", "runtime_name": "k3s", "runtime_version": .string(version),
                "runtime_api_version": "v1",
            ]
        case "Status": return await status(request)
        // The pod network is the node's own; as containerd without a template for CNI.
        case "UpdateRuntimeConfig": return [:]
        case "RuntimeConfig": return ["linux": ["cgroup_driver": runtime.usesSystemd ? 0 : 1]]
        case "RunPodSandbox": return try await runPodSandbox(request)
        case "StopPodSandbox": return try await stopPodSandbox(request)
        case "RemovePodSandbox": return try await removePodSandbox(request)
        case "PodSandboxStatus": return try await podSandboxStatus(request)
        case "ListPodSandbox": return try await listPodSandbox(request)
        case "UpdatePodSandboxResources": return try await updatePodSandboxResources(request)
        case "CreateContainer": return try await createContainer(request)
        case "StartContainer": return try await startContainer(request)
        case "StopContainer": return try await stopContainer(request)
        case "RemoveContainer": return try await removeContainer(request)
        case "ListContainers": return try await listContainers(request)
        case "ContainerStatus": return try await containerStatus(request)
        case "UpdateContainerResources": return try await updateContainerResources(request)
        case "ReopenContainerLog": return try await reopenContainerLog(request)
        case "ExecSync": return try await execSync(request)
        case "Exec": return try await exec(request)
        case "Attach": return try await attach(request)
        case "PortForward": return try await portForward(request)
        case "ContainerStats": return try await containerStats(request)
        case "ListContainerStats": return try await listContainerStats(request)
        case "PodSandboxStats": return try await podSandboxStats(request)
        case "ListPodSandboxStats": return try await listPodSandboxStats(request)
        case "ListMetricDescriptors": return Self.metricDescriptors
        case "ListPodSandboxMetrics": return await listPodSandboxMetrics()
        case "ListImages": return await listImages(request)
        case "ImageStatus": return await imageStatus(request)
        case "PullImage": return try await pullImage(request)
        case "RemoveImage": return try await removeImage(request)
        case "ImageFsInfo": return try await imageFsInfo()
        default: throw GRPCStatus(.unimplemented, "unknown method \(method)")
        }
    }

    private func status(_ request: JSON) async -> JSON {
        let problem = await network.notReadyReason()
        let isConnected = runtime.isConnected
        var ready: JSON = ["type": "RuntimeReady", "status": .bool(isConnected)]
        if !isConnected {
            (ready["reason"], ready["message"]) = ("ShimNotConnected", "the container shim is not connected")
        }
        var reachable: JSON = ["type": "NetworkReady", "status": .bool(problem == nil)]
        if let problem {
            (reachable["reason"], reachable["message"]) = (
                "NetworkPluginNotReady", .string("Network plugin returns error: \(problem)")
            )
        }
        let features: JSON = ["recursive_read_only_mounts": true, "user_namespaces": true]
        var answer: JSON = [
            "status": ["conditions": [ready, reachable]],
            "runtime_handlers": [["features": features], ["name": "runc", "features": features]],
            "features": ["supplemental_groups_policy": true],
        ]
        if request["verbose"].bool == true {
            let configuration = runtime.configuration
            let config: JSON = [
                "containerdRootDir": .string(configuration.root), "stateDir": .string(configuration.state),
                "containerdEndpoint": .string(socketPath), "snapshotter": "overlayfs",
                "systemdCgroup": .bool(runtime.usesSystemd),
                "logMaxBytes": .int(Int64(configuration.logMaxBytes)),
                "logMaxFiles": .int(Int64(configuration.logMaxFiles)),
            ]
            answer["info"] = [
                "config": .string(String(decoding: config.encode(), as: UTF8.self)),
                "version": .string("\"\(version)\""),
            ]
        }
        return answer
    }
}

extension CRIServer {
    /// Runs a step of the runtime; its error becomes a status with `what` before it.
    func step<R: Sendable>(
        _ what: String, _ body: () async throws(RuntimeError) -> R
    ) async throws(GRPCStatus) -> R {
        do throws(RuntimeError) { return try await body() } catch {
            let code: GRPCStatus.Code =
                switch error.code {
                case .notFound, .imageNotPresent: .notFound
                case .alreadyExists: .alreadyExists
                case .unavailable: .unavailable
                case .timedOut: .deadlineExceeded
                case .invalid, .createFailed, .startFailed, .io: .unknown
                }
            throw GRPCStatus(code, what.isEmpty ? error.message : "\(what): \(error.message)")
        }
    }

    /// By id, or by the beginning of one that is no other's.
    static func find<T>(_ id: String, _ all: [T], _ kind: String, key: (T) -> String) throws(GRPCStatus) -> T {
        let found = id.isEmpty ? [] : all.filter { key($0).hasPrefix(id) }
        if let exact = found.first(where: { key($0) == id }) { return exact }
        guard let first = found.first, found.count == 1 else {
            throw GRPCStatus(.notFound, "an error occurred when try to find \(kind) \"\(id)\": not found")
        }
        return first
    }

    func sandbox(_ id: String?) async throws(GRPCStatus) -> SandboxStatus {
        try Self.find(id ?? "", await runtime.sandboxes(), "sandbox") { $0.id }
    }

    func container(_ id: String?) async throws(GRPCStatus) -> ContainerStatus {
        try Self.find(id ?? "", await runtime.containers(), "container") { $0.id }
    }

    static func has(_ labels: [String: String], _ selector: JSON) -> Bool {
        selector.stringMap.allSatisfy { labels[$0.key] == $0.value }
    }

    /// Nobody else makes something of this name before `release`.
    func reserve(_ name: String, _ kind: String, taken: String?) throws(GRPCStatus) {
        let other = state.withLock { state -> String? in
            if let owner = taken ?? state.reserved[name] { return owner }
            state.reserved[name] = "another request"
            return nil
        }
        if let other {
            throw GRPCStatus(
                .unknown, "failed to reserve \(kind) name \"\(name)\": name \"\(name)\" is reserved for \"\(other)\"")
        }
    }

    func release(_ name: String) { state.withLock { _ = $0.reserved.removeValue(forKey: name) } }
}
