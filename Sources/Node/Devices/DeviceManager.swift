internal import Codecs
internal import GRPC
internal import KubeAPI
internal import Linux
internal import Logging
import Synchronization

/// Devices that plugins offer (v1beta1): follows each plugin's list, counts it into the node's capacity, gives devices to
/// containers when their pod is admitted, and remembers in a file which container has which.
///
/// Until the first plugin registers it is a listening socket. A plugin that ends leaves its devices unhealthy, and after
/// five minutes nothing of them. Source: pkg/kubelet/cm/devicemanager.
final class DeviceManager: Sendable {
    /// What a container has of one resource.
    struct Grant: Sendable, Equatable {
        var devices: [String]
        /// The plugin's ContainerAllocateResponse; nil until it has answered.
        var answer: [UInt8]?
    }

    struct Resource: Sendable {
        var healthy: Set<String> = []
        var unhealthy: Set<String> = []
        var options: JSON = .null
        var client: PluginClient?
        /// Tells a plugin from its successor.
        var generation: UInt64 = 0
        var task: Task<Void, Never>?
        /// The plugin has ended, or has not come again since the start of this process.
        var stoppedAt: Timestamp?
    }

    struct State {
        var resources: [String: Resource] = [:]
        /// By uid, container and resource.
        var grants: [String: [String: [String: Grant]]] = [:]
        /// Resources whose plugins are gone for good: the node shows that there is nothing of them.
        var removed: Set<String> = []
        var generation: UInt64 = 0
        var changed: (@Sendable () -> Void)?
    }

    static let grace = Duration.seconds(300)

    let directory: String
    let context: Context
    let state: Mutex<State>
    /// What the checkpoint's file holds.
    let written = Mutex<[UInt8]>([])

    struct Context: Sendable {
        var clock: any KubeClock
        var timers: TimerQueue
        var logger: Logger
    }

    init(root: String, clock: any KubeClock, timers: TimerQueue, logger: Logger) {
        directory = root + "/device-plugins"
        context = Context(clock: clock, timers: timers, logger: logger)
        state = Mutex(State())
        restore()
    }

    /// Called when the node has other devices than before.
    func onChange(_ body: @escaping @Sendable () -> Void) { state.withLock { $0.changed = body } }

    func tell() { state.withLock { $0.changed }?() }

    /// Capacity and allocatable of every resource that plugins offer or once offered.
    var amounts: [String: (capacity: Int64, allocatable: Int64)] {
        let now = context.clock.now()
        return state.withLock { state in
            for (name, resource) in state.resources {
                guard let stopped = resource.stoppedAt, now.duration(since: stopped) >= Self.grace else { continue }
                state.resources[name] = nil
                state.removed.insert(name)
            }
            var amounts: [String: (capacity: Int64, allocatable: Int64)] = [:]
            for name in state.removed { amounts[name] = (0, 0) }
            for (name, resource) in state.resources {
                let healthy = Int64(resource.healthy.count)
                amounts[name] = (healthy + Int64(resource.unhealthy.count), healthy)
            }
            return amounts
        }
    }

    // MARK: Plugins

    /// The registration service, until the task is cancelled.
    func run() async {
        while !Task.isCancelled {
            do throws(SysError) {
                if !Files.isDirectory(directory) { try Directories.make(directory, mode: 0o750) }
                // A plugin sees by its socket's end that it has to register again.
                for entry in try Directories.list(directory) where entry.kind != .directory {
                    if entry.name != Self.checkpointName { try Files.remove(directory + "/" + entry.name) }
                }
                let server = GRPCServer { [weak self] service, method in
                    guard service == "v1beta1.Registration", method == "Register", let self else { return nil }
                    return .unary { request throws(GRPCStatus) in try self.register(request.message) }
                }
                try await server.run(UnixSocket.listen(directory + "/kubelet.sock", .stream))
            } catch {
                if Task.isCancelled { break }
                context.logger.warning("device plugins cannot register: \(error.description)")
                await context.clock.sleep(for: .seconds(30))
            }
        }
        let resources = state.withLock { Array($0.resources.values) }
        for resource in resources {
            resource.task?.cancel()
            resource.client?.connection.close()
        }
    }

    private func register(_ message: [UInt8]) throws(GRPCStatus) -> [UInt8] {
        let table: ProtobufTable
        let request: JSON
        do throws(ProtobufError) {
            table = try ProtobufTable(PluginMessages.devices)
            request = try table.decode("RegisterRequest", message)
        } catch { throw GRPCStatus(.internal, error.message) }
        do throws(PluginError) {
            let endpoint = request["endpoint"].string ?? ""
            guard !endpoint.isEmpty, !endpoint.contains("/"), endpoint != "kubelet.sock" else {
                throw PluginError("endpoint: expected the name of a socket in \(directory), got \"\(endpoint)\"")
            }
            let plugin = PluginInfo(
                type: "DevicePlugin", name: request["resource_name"].string ?? "",
                endpoint: directory + "/" + endpoint, versions: [request["version"].string ?? ""])
            let options: JSON = request["options"].isNull ? [:] : request["options"]
            try connect(plugin, options: options)
        } catch { throw GRPCStatus(.unknown, error.message) }
        return []
    }

    /// Takes the plugin in place of one that offered the same resource before.
    private func connect(_ plugin: PluginInfo, options: JSON) throws(PluginError) {
        guard plugin.versions.contains("v1beta1") else {
            let version = plugin.versions.first ?? ""
            throw PluginError(
                "requested API version \"\(version)\" is not supported by kubelet. Supported version is [\"v1beta1\"]")
        }
        guard ResourceName.isExtended(plugin.name) else {
            throw PluginError("the ResourceName \"\(plugin.name)\" is invalid")
        }
        let client: PluginClient
        do throws(GRPCStatus) {
            client = try PluginClient(socket: plugin.endpoint, messages: PluginMessages.devices)
        } catch { throw PluginError(error.description) }
        let (old, generation) = state.withLock { state -> (Resource?, UInt64) in
            let old = state.resources[plugin.name]
            state.generation += 1
            var fresh = old ?? Resource()
            (fresh.client, fresh.options, fresh.stoppedAt, fresh.task) = (client, options, nil, nil)
            fresh.generation = state.generation
            state.resources[plugin.name] = fresh
            state.removed.remove(plugin.name)
            return (old, state.generation)
        }
        old?.task?.cancel()
        old?.client?.connection.close()
        context.logger.info("device plugin for \(plugin.name) has registered at \(plugin.endpoint)")
        let task = Task { await self.follow(plugin.name, client, generation) }
        let isOld = state.withLock { state in
            guard state.resources[plugin.name]?.generation == generation else { return true }
            state.resources[plugin.name]?.task = task
            return false
        }
        if isOld { task.cancel() }
    }

    /// Follows a plugin's list of devices until it ends.
    private func follow(_ name: String, _ client: PluginClient, _ generation: UInt64) async {
        do throws(GRPCStatus) {
            let stream = try await open(client)
            defer { stream.cancel() }
            while let message = try await stream.next() {
                let list = try client.decode("ListAndWatchResponse", message)
                take(name, generation, list["devices"].elements)
            }
            context.logger.info("device plugin for \(name) has ended its list")
        } catch {
            if !Task.isCancelled { context.logger.info("device plugin for \(name) has ended: \(error.description)") }
        }
        client.connection.close()
        stopped(name, generation)
    }

    /// A plugin may register a moment before it listens.
    private func open(_ client: PluginClient) async throws(GRPCStatus) -> GRPCStream {
        var attempts = 0
        while true {
            do throws(GRPCStatus) {
                return try await client.connection.stream("/v1beta1.DevicePlugin/ListAndWatch", [])
            } catch {
                attempts += 1
                guard error.code == .unavailable, attempts < 20, !Task.isCancelled else { throw error }
            }
            try? await Task.sleep(for: .milliseconds(500))
        }
    }

    private func take(_ name: String, _ generation: UInt64, _ devices: [JSON]) {
        let isNews = state.withLock { state in
            guard var resource = state.resources[name], resource.generation == generation else { return false }
            let before = (resource.healthy, resource.unhealthy)
            (resource.healthy, resource.unhealthy) = ([], [])
            for device in devices {
                guard let id = device["ID"].string else { continue }
                if device["health"].string == "Healthy" {
                    resource.healthy.insert(id)
                } else {
                    resource.unhealthy.insert(id)
                }
            }
            resource.unhealthy.subtract(resource.healthy)
            state.resources[name] = resource
            return before != (resource.healthy, resource.unhealthy)
        }
        save()
        if isNews { tell() }
    }

    private func stopped(_ name: String, _ generation: UInt64) {
        let now = context.clock.now()
        let isCurrent = state.withLock { state in
            guard var resource = state.resources[name], resource.generation == generation else { return false }
            resource.unhealthy.formUnion(resource.healthy)
            (resource.healthy, resource.client, resource.task, resource.stoppedAt) = ([], nil, nil, now)
            state.resources[name] = resource
            return true
        }
        guard isCurrent, !Task.isCancelled else { return }
        save()
        tell()
        expire()
    }

    /// When the grace of what has stopped is over, the node is told.
    func expire() {
        _ = context.timers.schedule(after: Self.grace) { [weak self] in
            guard let self else { return }
            tell()
            save()
        }
    }
}

extension DeviceManager: PluginHandler {
    func register(_ plugin: PluginInfo) async throws(PluginError) {
        guard plugin.versions.contains("v1beta1") else {
            throw PluginError(
                "manager version, \"v1beta1\", is not among plugin supported versions \(plugin.versions)")
        }
        let options: JSON
        do throws(GRPCStatus) {
            let client = try PluginClient(socket: plugin.endpoint, messages: PluginMessages.devices)
            defer { client.connection.close() }
            options = try await client.call(
                "v1beta1.DevicePlugin/GetDevicePluginOptions", "Empty", [:], "DevicePluginOptions")
        } catch { throw PluginError("failed to get device plugin options: \(error.description)") }
        try connect(plugin, options: options)
    }

    func deregister(_ plugin: PluginInfo) async {
        let client = state.withLock { state -> PluginClient? in
            guard let resource = state.resources[plugin.name], resource.client?.socket == plugin.endpoint else {
                return nil
            }
            return resource.client
        }
        // What follows its list sees the end.
        client?.connection.close()
    }
}
