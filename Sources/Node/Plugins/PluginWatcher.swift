internal import Codecs
internal import GRPC
internal import KubeAPI
internal import Linux
internal import Logging
import Synchronization

/// What a plugin says of itself when it registers.
struct PluginInfo: Sendable {
    var type: String
    var name: String
    /// The socket of its service.
    var endpoint: String
    var versions: [String]
}

/// Why a plugin is not taken.
struct PluginError: Error, Sendable {
    var message: String
    init(_ message: String) { self.message = message }
}

/// Whoever takes plugins of one type ("DevicePlugin", "CSIPlugin").
protocol PluginHandler: Sendable {
    func register(_ plugin: PluginInfo) async throws(PluginError)
    /// Its registration socket has gone.
    func deregister(_ plugin: PluginInfo) async
}

/// Finds plugins by the sockets that they put below `<root>/plugins_registry`: asks each who it is, hands it to the handler
/// of its type and tells it the outcome; a plugin that does not answer is asked again, after half a second doubling to two
/// minutes. Without plugins it is an inotify descriptor. Source: pkg/kubelet/pluginmanager.
final class PluginWatcher: Sendable {
    private struct Known {
        /// Another one may have come under the same name.
        var identity: String
        var task: Task<Void, Never>
    }
    private struct State {
        var sockets: [String: Known] = [:]
        var registered: [String: PluginInfo] = [:]
    }

    private let path: String
    private let handlers: [String: any PluginHandler]
    private let clock: any KubeClock
    private let logger: Logger
    private let state = Mutex(State())

    init(path: String, handlers: [String: any PluginHandler], clock: any KubeClock, logger: Logger) {
        (self.path, self.handlers, self.clock, self.logger) = (path, handlers, clock, logger)
    }

    /// Until the task is cancelled. Plugins stay registered: the next kubelet asks them again.
    func run() async {
        while !Task.isCancelled {
            do throws(SysError) {
                if !Files.isDirectory(path) { try Directories.make(path, mode: 0o750) }
                let watch = try DirectoryWatch([path])
                defer { watch.close() }
                await look()
                try await watch.wait()
            } catch {
                if Task.isCancelled || error.code == ECANCELED { break }
                logger.warning("plugins are not found: \(error.description)")
                await clock.sleep(for: .seconds(30))
            }
        }
        let tasks = state.withLock { state -> [Task<Void, Never>] in
            defer { state.sockets = [:] }
            return state.sockets.values.map(\.task)
        }
        for task in tasks { task.cancel() }
    }

    /// Compares the sockets with those that are known.
    private func look() async {
        var found: [String: String] = [:]
        collect(path, &found, depth: 0)
        let gone = state.withLock { state -> [(Task<Void, Never>, PluginInfo?)] in
            var gone: [(Task<Void, Never>, PluginInfo?)] = []
            for (socket, known) in state.sockets where found[socket] != known.identity {
                state.sockets[socket] = nil
                // Its successor registers in its place.
                let plugin = found[socket] == nil ? state.registered.removeValue(forKey: socket) : nil
                gone.append((known.task, plugin))
            }
            return gone
        }
        for (task, plugin) in gone {
            task.cancel()
            guard let plugin else { continue }
            logger.info("plugin \(plugin.name) has gone")
            await handlers[plugin.type]?.deregister(plugin)
        }
        state.withLock { state in
            for (socket, identity) in found where state.sockets[socket] == nil {
                let task = Task { await self.register(socket) }
                state.sockets[socket] = Known(identity: identity, task: task)
            }
        }
    }

    private func collect(_ directory: String, _ found: inout [String: String], depth: Int) {
        for entry in (try? Directories.list(directory)) ?? [] where !entry.name.hasPrefix(".") {
            let path = directory + "/" + entry.name
            switch entry.kind {
            case .directory: if depth < 8 { collect(path, &found, depth: depth + 1) }
            case .other:
                guard found.count < 1024, let status = try? Files.status(path), status.st_mode & S_IFMT == S_IFSOCK
                else { continue }
                found[path] = "\(status.st_ino) \(status.st_mtim.tv_sec).\(status.st_mtim.tv_nsec)"
            case .file, .symbolicLink: break
            }
        }
    }

    private func register(_ socket: String) async {
        var delay = Duration.milliseconds(500)
        while !Task.isCancelled {
            do throws(PluginError) {
                return try await attempt(socket)
            } catch {
                if Task.isCancelled { return }
                logger.warning("plugin at \(socket) is not registered: \(error.message)")
            }
            await clock.sleep(for: delay)
            delay = min(delay * 2, .seconds(122))
        }
    }

    private func attempt(_ socket: String) async throws(PluginError) {
        var refusal: PluginError?
        do throws(GRPCStatus) {
            let client = try PluginClient(socket: socket, messages: PluginMessages.registration)
            defer { client.connection.close() }
            let service = "pluginregistration.Registration/"
            let info = try await client.call(service + "GetInfo", "InfoRequest", [:], "PluginInfo")
            var plugin = PluginInfo(
                type: info["type"].string ?? "", name: info["name"].string ?? "",
                endpoint: info["endpoint"].string ?? "",
                versions: info["supported_versions"].elements.compactMap(\.string))
            if plugin.endpoint.isEmpty { plugin.endpoint = socket }
            if let handler = handlers[plugin.type] {
                do throws(PluginError) { try await handler.register(plugin) } catch { refusal = error }
            } else {
                refusal = PluginError("no handler registered for plugin type: \(plugin.type) at socket \(socket)")
            }
            if Task.isCancelled { return }
            if refusal == nil { state.withLock { $0.registered[socket] = plugin } }
            let outcome: JSON =
                refusal.map { ["plugin_registered": false, "error": .string($0.message)] } ?? [
                    "plugin_registered": true
                ]
            _ = try await client.call(
                service + "NotifyRegistrationStatus", "RegistrationStatus", outcome, "RegistrationStatusResponse")
        } catch {
            throw refusal ?? PluginError(error.description)
        }
        if let refusal { throw refusal }
    }
}
