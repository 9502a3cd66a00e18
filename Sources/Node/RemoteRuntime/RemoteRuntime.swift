internal import Codecs
package import Containers
internal import GRPC
internal import Linux
package import Logging
import Synchronization
package import Transport

/// Another container runtime of this node (containerd, CRI-O) in the place of the built-in one: what
/// `--container-runtime-endpoint` names. The kubelet's half of CRI v1: it makes the pods' cgroups, looks once a second for
/// what has changed (the runtime's events make that rarer), rotates logs and collects images.
///
/// The runtime may go away and come back: calls fail meanwhile, lists wait for it, and `notReadyReason` says so.
/// Source: k8s.io/cri-api v1; k8s.io/kubernetes/pkg/kubelet (kuberuntime, pleg, logs).
package final class RemoteRuntime: ContainerRuntime {
    package struct Settings: Sendable {
        /// "unix:///run/containerd/containerd.sock", or the path alone.
        package var endpoint: String
        package var imageEndpoint: String
        /// Put before every cgroup path.
        package var cgroupPrefix = ""
        /// Where the pods' logs are: <root>/<namespace>_<name>_<uid>.
        package var podLogs = "/var/log/pods"
        package var logMaxBytes: Int64 = 10 << 20
        package var logMaxFiles = 5
        package var logger = Logger(label: "runtime")

        package init(endpoint: String, imageEndpoint: String = "") {
            self.endpoint = endpoint
            self.imageEndpoint = imageEndpoint.isEmpty ? endpoint : imageEndpoint
        }
    }

    struct State {
        /// Of this process, by sandbox; of an earlier one they are asked for.
        var configs: [String: SandboxConfig] = [:]
        var namespacePaths: [String: String] = [:]
        /// Image ids by the paths at which volumes want them.
        var imageMounts: [String: String] = [:]
        var known = KnownPods()
        var events: [UInt64: AsyncStream<ContainerEvent>.Continuation] = [:]
        var nextEvents: UInt64 = 0
        var health = RemoteHealth()
        var cgroups: PodCgroups
    }

    let settings: Settings
    let runtime: RemoteService
    let remoteImages: RemoteImages
    let http: HTTPClient
    let state: Mutex<State>
    let walks = PacedDiskUsage()
    private let pokes: AsyncStream<Void>
    private let poker: AsyncStream<Void>.Continuation

    /// - Parameter http: for the streams of exec and attach.
    package init(_ settings: Settings, http: HTTPClient) throws(RuntimeError) {
        func target(_ text: String, _ flag: String) throws(RuntimeError) -> GRPCClient.Target {
            guard let target = GRPCClient.Target(text) else {
                throw RuntimeError(
                    .invalid, "--\(flag): \"\(text)\": expected a socket such as unix:///run/containerd/containerd.sock"
                )
            }
            return target
        }
        self.settings = settings
        self.http = http
        let endpoint = try target(settings.endpoint, "container-runtime-endpoint")
        let imageEndpoint = try target(settings.imageEndpoint, "image-service-endpoint")
        let table: ProtobufTable
        do throws(ProtobufError) { table = try ProtobufTable(CRIMessages.table) } catch {
            throw RuntimeError(.io, error.message)
        }
        do throws(SysError) {
            state = Mutex(State(cgroups: try PodCgroups(prefix: settings.cgroupPrefix)))
        } catch { throw RuntimeError(.io, error.description) }
        let client = GRPCClient(endpoint)
        runtime = RemoteService(client: client, table: table, name: "runtime.v1.RuntimeService")
        remoteImages = RemoteImages(
            images: RemoteService(
                client: imageEndpoint == endpoint ? client : GRPCClient(imageEndpoint), table: table,
                name: "runtime.v1.ImageService"),
            runtime: runtime)
        (pokes, poker) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    package var images: any ImageService { remoteImages }

    /// Made by the driver that the runtime has.
    var cgroups: PodCgroups { state.withLock { $0.cgroups } }

    // MARK: - Connection

    /// Waits for the runtime; its name and version as the node's `containerRuntimeVersion` has them.
    package func connect() async throws(RuntimeError) -> String {
        let version = try await whenThere("connect") { () throws(GRPCStatus) in
            try await self.runtime.call("Version", ["version": "0.1.0"], timeout: .seconds(10))
        }
        // Runtimes of before the call do as their file says, which is cgroupfs unless it was changed.
        if let driver = try? await runtime.call("RuntimeConfig"), driver["linux"].object != nil,
            (driver["linux"]["cgroup_driver"].int ?? 0) == 0
        {
            let cgroups = cgroups
            do throws(SysError) {
                let made = try await BlockingPool.shared.run { () throws(SysError) in try cgroups.made(by: .systemd) }
                state.withLock { $0.cgroups = made }
            } catch {
                throw RuntimeError(
                    .invalid,
                    "\(settings.endpoint): the runtime uses the cgroup driver systemd, which does not work here "
                        + "(\(error)): set SystemdCgroup = false (containerd) or cgroup_manager = \"cgroupfs\" (CRI-O)")
            }
        }
        _ = await lookAtStatus()
        let name = version["runtime_name"].string ?? ""
        return (name.isEmpty ? "unknown" : name) + "://" + (version["runtime_version"].string ?? "")
    }

    /// Until the task is cancelled: follows what runs, asks how the runtime is, rotates logs.
    package func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.followPods(self.pokes) }
            group.addTask { await self.followEvents() }
            group.addTask { await self.followStatus() }
            group.addTask { await self.rotateLogs() }
            await group.waitForAll()
        }
    }

    /// Look at once, not within the second.
    func poke() { poker.yield() }

    /// Again and again until it goes well: a runtime that is about to be ready fails in ways of its own. What it does not
    /// know it will not learn.
    func whenThere<R: Sendable>(
        _ what: String, _ body: @Sendable () async throws(GRPCStatus) -> R
    ) async throws(RuntimeError) -> R {
        var said = ""
        while true {
            do throws(GRPCStatus) { return try await body() } catch {
                guard error.code != .unimplemented, !Task.isCancelled else {
                    throw RuntimeError(.io, "\(settings.endpoint): \(what): \(error)")
                }
                if said != error.message { settings.logger.warning("container runtime: waiting: \(error.message)") }
                said = error.message
            }
            do { try await Task.sleep(for: .seconds(1)) } catch {
                throw RuntimeError(.unavailable, "\(settings.endpoint): \(what): \(said)")
            }
        }
    }

    /// Goes on to its end when the task is cancelled, as a call of the built-in runtime does: half a change to a pod is none.
    func call(
        _ method: String, _ request: JSON, timeout: Duration? = RemoteService.timeout,
        failure: RuntimeError.Code = .io
    ) async throws(RuntimeError) -> JSON {
        let runtime = runtime
        let task = Task { () -> Result<JSON, GRPCStatus> in
            do throws(GRPCStatus) { return .success(try await runtime.call(method, request, timeout: timeout)) } catch {
                return .failure(error)
            }
        }
        switch await task.value {
        case .success(let answer): return answer
        case .failure(let status): throw RuntimeError(status, failure)
        }
    }

    /// Of something that is gone it is right.
    func callIfThere(_ method: String, _ request: JSON, timeout: Duration? = RemoteService.timeout)
        async throws(RuntimeError)
    {
        do throws(RuntimeError) { _ = try await call(method, request, timeout: timeout) } catch {
            if error.code != .notFound { throw error }
        }
    }

    /// On a thread that may block.
    func onDisk<R: Sendable>(
        _ what: String, _ body: @escaping @Sendable () throws(SysError) -> R
    ) async throws(RuntimeError) -> R {
        do throws(SysError) { return try await BlockingPool.shared.run(body) } catch {
            throw RuntimeError(.io, "\(what): \(error)")
        }
    }
}
