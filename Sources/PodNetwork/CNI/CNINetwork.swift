import Codecs
import Linux
import Netlink

/// Where plugins and their configuration are; the defaults are containerd's, which k3s uses when its own network is off.
package struct CNISettings: Sendable, Equatable {
    package var configurationDirectory = "/etc/cni/net.d"
    package var pluginDirectories = ["/opt/cni/bin"]
    /// Results of ADD, for DEL: on disk, since plugins keep address leases there too.
    package var cacheDirectory: String
    package var timeoutSeconds: Int64 = 120
    /// PATH of the plugins: where they find iptables and the like.
    package var searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

    package init(cacheDirectory: String) { self.cacheDirectory = cacheDirectory }
}

/// Pod networks made by plugins of others: the runtime's side of the CNI specification 1.0, as far as containerd has one for
/// pods: ADD and DEL (nobody there asks for CHECK).
///
///     let addresses = try await cni.add(attachment)
///     try await cni.delete(container: id)
///
/// What ADD was told and gave is cached, so that DEL undoes that very thing, also after a restart, another configuration, or
/// the pod's end.
package final class CNINetwork: Sendable {
    package let settings: CNISettings

    package init(_ settings: CNISettings) { self.settings = settings }

    /// The configuration in force; nil: none yet.
    package func configuration() -> (configuration: CNIConfiguration?, problems: [String]) {
        var problems: [String] = []
        let found = CNIConfiguration.load(directory: settings.configurationDirectory, problems: &problems)
        return (found?.configuration, problems)
    }

    /// Runs the list's plugins for a pod; on failure undoes what was done. Returns the pod's addresses.
    package func add(_ attachment: CNIAttachment) async throws(PodNetworkError) -> [String] {
        guard RecordStore.isValid(attachment.container) else {
            throw PodNetworkError(.invalid, "sandbox id \"\(attachment.container)\" is no file name")
        }
        if let cached = cached(attachment.container), let result = cached.result {
            if cached.attachment == attachment { return CNIResult.addresses(result) }
            try await delete(container: attachment.container)
        }
        let (found, problems) = configuration()
        guard let configuration = found else {
            throw PodNetworkError(
                .invalid,
                (["no network config found in \(settings.configurationDirectory)"] + problems).joined(
                    separator: "; "))
        }
        var entry = CacheEntry(configuration: configuration, attachment: attachment, result: nil)
        // First: whatever happens next, DEL finds it.
        try save(entry)
        var result: JSON?
        do throws(PodNetworkError) {
            for plugin in configuration.plugins {
                let output = try await run(.add, plugin, configuration, attachment, previous: result)
                guard let parsed = try? JSON.parse(output), parsed.object != nil else {
                    throw PodNetworkError(
                        .invalid,
                        "plugin type=\"\(plugin["type"].string ?? "")\" failed (add): its result is no JSON object")
                }
                result = parsed
            }
            entry.result = result ?? [:]
            try save(entry)
        } catch {
            try? await delete(container: attachment.container)
            throw error
        }
        return CNIResult.addresses(result ?? [:])
    }

    /// Idempotent. Every plugin is told, in reverse order, also when one fails; the first failure is thrown, and the cache
    /// kept, for another try.
    package func delete(container: String) async throws(PodNetworkError) {
        guard RecordStore.isValid(container), let entry = cached(container) else { return }
        var attachment = entry.attachment
        if !Files.exists(attachment.namespacePath) { attachment.namespacePath = "" }
        var failure: PodNetworkError?
        for plugin in entry.configuration.plugins.reversed() {
            do throws(PodNetworkError) {
                _ = try await run(.delete, plugin, entry.configuration, attachment, previous: entry.result)
            } catch { failure = failure ?? error }
        }
        if let failure { throw failure }
        do throws(SysError) { try Files.remove(path(container)) } catch {
            throw PodNetworkError("remove the CNI result of \(container)", error)
        }
    }

    /// Of an attachment that was made, also by an earlier process.
    package func addresses(container: String) -> [String] {
        cached(container)?.result.map(CNIResult.addresses) ?? []
    }

    /// Sandboxes with something to undo.
    package var containers: [String] {
        ((try? Directories.list(settings.cacheDirectory)) ?? []).filter { $0.kind == .file }.map(\.name)
            .filter(RecordStore.isValid).sorted()
    }

    // MARK: running a plugin

    private func run(
        _ command: CNIInvocation.Command, _ plugin: JSON, _ configuration: CNIConfiguration,
        _ attachment: CNIAttachment, previous: JSON?
    ) async throws(PodNetworkError) -> [UInt8] {
        let invocation = CNIInvocation(
            command, plugin, of: configuration, attachment, previous: previous, path: settings.pluginDirectories,
            searchPath: settings.searchPath)
        let what = "plugin type=\"\(invocation.plugin)\" failed (\(command.rawValue.lowercased()))"
        guard
            let program = settings.pluginDirectories.map({ Path.join($0, invocation.plugin) }).first(where: {
                Files.exists($0)
            })
        else {
            throw PodNetworkError(
                .invalid,
                "failed to find plugin \"\(invocation.plugin)\" in path "
                    + "[\(settings.pluginDirectories.joined(separator: " "))]")
        }
        let timeout = settings.timeoutSeconds
        let (exit, output, errors) = try await BlockingPool.onFreshThread(name: "cni") { () throws(PodNetworkError) in
            do throws(SysError) {
                return try PluginProcess.run(
                    program, environment: invocation.environment, input: invocation.input.encode(), seconds: timeout)
            } catch { throw PodNetworkError(.invalid, "\(what): \(error)") }
        }
        guard exit == 0 else {
            let words = CNIResult.failure(output) ?? String(decoding: (errors + output).prefix(2048), as: UTF8.self)
            throw PodNetworkError(.invalid, "\(what): \(words.isEmpty ? "exit status \(exit)" : words)")
        }
        return output
    }

    // MARK: cache

    private struct CacheEntry {
        var configuration: CNIConfiguration
        var attachment: CNIAttachment
        var result: JSON?
    }

    private func path(_ container: String) -> String { Path.join(settings.cacheDirectory, container) }

    private func save(_ entry: CacheEntry) throws(PodNetworkError) {
        let attachment = entry.attachment
        var json: JSON = [
            "kind": "cniCacheV1", "containerId": .string(attachment.container), "ifName": .string(attachment.interface),
            "netns": .string(attachment.namespacePath), "config": entry.configuration.document,
            "cniArgs": .array(attachment.arguments.map { .array([.string($0.key), .string($0.value)]) }),
        ]
        for (name, value) in attachment.capabilities { json["capabilityArgs"][name] = value }
        if let result = entry.result { json["result"] = result }
        do throws(SysError) {
            try Directories.make(settings.cacheDirectory, mode: 0o700)
            try Files.writeAtomically(path(attachment.container), json.text, mode: 0o600, sync: false)
        } catch { throw PodNetworkError("save the CNI result of \(attachment.container)", error) }
    }

    private func cached(_ container: String) -> CacheEntry? {
        guard let bytes = try? Files.readIfPresent(path(container), limit: 4 << 20), let json = try? JSON.parse(bytes),
            let configuration = try? CNIConfiguration(json["config"], file: path(container))
        else { return nil }
        var attachment = CNIAttachment(container: container, namespacePath: json["netns"].string ?? "")
        attachment.interface = json["ifName"].string ?? "eth0"
        attachment.arguments = json["cniArgs"].elements.compactMap { pair in
            guard let key = pair[0].string, let value = pair[1].string else { return nil }
            return (key, value)
        }
        for (name, value) in json["capabilityArgs"].object ?? JSONObject() { attachment.capabilities[name] = value }
        // A JSON of its own reads `nil` as null: the absent result has to be an Optional's.
        let result = json["result"]
        return CacheEntry(
            configuration: configuration, attachment: attachment, result: result.isNull ? Optional.none : result)
    }
}

/// Runs a program with bytes for its input and collects what it says; on a thread that may block.
enum PluginProcess {
    /// More than any plugin says.
    private static let limit = 1 << 20

    static func run(
        _ program: String, environment: [String], input: [UInt8], seconds: Int64
    ) throws(SysError) -> (exit: Int32, output: [UInt8], errors: [UInt8]) {
        // Files in memory instead of pipes: nobody can block, and there is nothing to poll.
        let stdin = try memoryFile(input), stdout = try memoryFile([]), stderr = try memoryFile([])
        var process = try Spawned.start(
            [program], environment: environment, stdio: (stdin.raw, stdout.raw, stderr.raw), newSession: true)
        let deadline = MonotonicClock.now() + seconds * 1_000_000_000
        var pause: UInt32 = 500
        while true {
            if let exit = try process.poll() {
                return (exit.code, contents(stdout), contents(stderr))
            }
            guard MonotonicClock.now() < deadline else {
                try process.signal(SIGKILL)
                _ = try process.poll()
                throw SysError(ETIMEDOUT, "wait for plugin", path: program)
            }
            usleep(pause)
            pause = min(pause * 2, 20_000)
        }
    }

    private static func memoryFile(_ bytes: [UInt8]) throws(SysError) -> FileDescriptor {
        let raw = k3s_memfd_create("cni", 0)
        guard raw >= 0 else { throw SysError(-raw, "memfd_create") }
        let file = FileDescriptor(owning: raw)
        var written = 0
        while written < bytes.count {
            let count = bytes[written...].withUnsafeBytes { write(raw, $0.baseAddress, $0.count) }
            guard count > 0 else { throw SysError(errno, "write") }
            written += count
        }
        lseek(raw, 0, SEEK_SET)
        return file
    }

    private static func contents(_ file: borrowing FileDescriptor) -> [UInt8] {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16384)
        while bytes.count < limit {
            let count = pread(file.raw, &buffer, buffer.count, off_t(bytes.count))
            if count <= 0 { break }
            bytes += buffer[..<count]
        }
        return bytes
    }
}

/// What every pod has, and no plugin of the list makes: its loopback interface.
package enum PodLoopback {
    package static func bringUp(namespacePath: String) throws(PodNetworkError) {
        try kernel("bring up the loopback interface of \(namespacePath)") { () throws(NetlinkError) in
            try RouteSocket(in: try NetworkNamespace(path: namespacePath)).setLink(1, LinkChange(isUp: true))
        }
    }
}
