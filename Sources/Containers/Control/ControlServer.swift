import CShims
import Codecs
import Linux
import Logging

/// What `k3s ctr` talks to (`k3s crictl` speaks CRI): a socket for root in the runtime's state directory. A connection
/// carries one request, a line of JSON (with the caller's stdin, stdout and stderr for an exec, as descriptors), and its
/// answer, a line of JSON: {"ok": ...} or {"error": "..."}. Nothing runs and nothing is allocated while nobody connects.
package final class ControlServer: Sendable {
    package static let socketName = "control.sock"
    static let requestLimit = 256 << 10

    let runtime: Runtime
    let images: ImageStore
    let logger: Logger

    package init(runtime: Runtime, images: ImageStore, logger: Logger) {
        (self.runtime, self.images, self.logger) = (runtime, images, logger)
    }

    /// Until the task is cancelled.
    package func run() async throws(SysError) {
        let path = runtime.configuration.state + "/" + Self.socketName
        let listener = try AsyncFD(UnixSocket.listen(path, .stream, mode: 0o600))
        defer { listener.close() }
        while !Task.isCancelled {
            let fd = try await listener.whenReadable("accept") { k3s_accept($0) }
            let connection = try AsyncFD(FileDescriptor(owning: fd))
            Task { await serve(connection) }
        }
    }

    private func serve(_ connection: AsyncFD) async {
        defer { connection.close() }
        guard let (request, descriptors) = await receive(connection) else { return }
        var answer: JSON
        do throws(RuntimeError) {
            answer = ["ok": try await respond(request, descriptors, connection)]
        } catch { answer = ["error": .string(error.message)] }
        try? await connection.write(answer.encode() + [UInt8(ascii: "\n")])
    }

    private func receive(_ connection: AsyncFD) async -> (JSON, PassedDescriptors)? {
        var line: [UInt8] = []
        var passed = PassedDescriptors([])
        while line.last != UInt8(ascii: "\n"), line.count < Self.requestLimit {
            var chunk = [UInt8](repeating: 0, count: 16 << 10)
            var descriptors = [Int32](repeating: -1, count: 8)
            var count: Int32 = 0
            let size = try? await connection.whenReadable("recvmsg") { fd -> Int64 in
                count = 8
                return chunk.withUnsafeMutableBytes {
                    k3s_recv_fds(fd, $0.baseAddress, $0.count, &descriptors, &count, Int32(MSG_DONTWAIT))
                }
            }
            guard let size, size > 0 else { return nil }
            if count > 0 { passed = PassedDescriptors(Array(descriptors.prefix(Int(count)))) }
            line += chunk.prefix(Int(size))
        }
        guard let request = try? JSON.parse(line) else { return nil }
        return (request, passed)
    }

    private func respond(
        _ request: JSON, _ descriptors: PassedDescriptors, _ connection: AsyncFD
    ) async throws(RuntimeError) -> JSON {
        let id = request["id"].string ?? ""
        switch request["verb"].string ?? "" {
        case "images": return .array(await images.images().map(Self.json))
        case "pull", "remove-image", "import", "export", "tag": return try await image(request, id)
        case "containers": return .array(await runtime.containers().map(Self.json))
        case "inspect": return try await inspect(id)
        case "stop":
            let container = try await container(id)
            let grace = Duration.seconds(max(0, request["timeout"].int ?? 0))
            try await runtime.stopContainer(container.id, signal: nil, grace: grace)
            return .string(container.id)
        case "rm":
            let container = try await container(id)
            guard container.state != .running || request["force"].bool == true else {
                throw RuntimeError(
                    .invalid, "container \"\(container.id)\" is running, please stop it first or remove it by force")
            }
            try await runtime.removeContainer(container.id)
            return .string(container.id)
        case "exec": return try await exec(request, try await container(id), descriptors, connection)
        case let verb: throw RuntimeError(.invalid, "unknown request \"\(verb)\"")
        }
    }

    private func image(_ request: JSON, _ reference: String) async throws(RuntimeError) -> JSON {
        do throws(ImageError) {
            switch request["verb"].string {
            case "pull":
                var credentials: RegistryCredentials?
                if let user = request["username"].string {
                    credentials = RegistryCredentials(username: user, password: request["password"].string ?? "")
                }
                return Self.json(try await images.pull(reference, credentials: credentials))
            case "export":
                let references = request["references"].elements.compactMap(\.string)
                try await images.export(
                    references, to: request["path"].string ?? "", platform: request["platform"].string)
                return .strings(references)
            case "import": return .array(try await images.importArchive(path: reference).map(Self.json))
            case "tag": return Self.json(try await images.tag(reference, as: request["target"].string ?? ""))
            default:
                guard await images.image(reference) != nil else {
                    throw ImageError(.notFound, "image \"\(reference)\": not found")
                }
                try await images.remove(reference)
                return .string(reference)
            }
        } catch {
            throw RuntimeError(error.code == .notFound ? .notFound : .io, error.message)
        }
    }

    // MARK: - Lookup

    /// By id, or an unambiguous beginning of one.
    private func container(_ prefix: String) async throws(RuntimeError) -> ContainerStatus {
        let found = prefix.isEmpty ? [] : await runtime.containers().filter { $0.id.hasPrefix(prefix) }
        if let exact = found.first(where: { $0.id == prefix }) { return exact }
        guard let first = found.first else {
            throw RuntimeError(.notFound, "could not find container \"\(prefix)\": ID does not exist")
        }
        guard found.count == 1 else {
            throw RuntimeError(.invalid, "container \"\(prefix)\": the beginning of several IDs")
        }
        return first
    }

    private func inspect(_ id: String) async throws(RuntimeError) -> JSON {
        let container = try await container(id)
        var json = Self.json(container)
        json["config"] = try runtime.containerRecord(container.id).config.json
        // Values of the environment may be secrets.
        json["config"]["env"] = .null
        return json
    }

    // MARK: - Exec

    /// The process works on the caller's own descriptors, or on a terminal whose master the caller is given.
    private func exec(
        _ request: JSON, _ container: ContainerStatus, _ passed: PassedDescriptors, _ connection: AsyncFD
    ) async throws(RuntimeError) -> JSON {
        var exec = ExecRequest(request["command"].elements.compactMap(\.string))
        exec.tty = request["tty"].bool ?? false
        var stdio: [Int32] = []
        while let fd = passed.take()?.take() { stdio.append(fd) }
        defer { for fd in stdio { close(fd) } }
        guard exec.tty || stdio.count == 3 else { throw RuntimeError(.invalid, "exec: expected three descriptors") }
        let (name, master) = try await runtime.exec(container.id, exec, on: exec.tty ? [] : stdio)
        if master >= 0 {
            let line: [UInt8] = Array("{\"terminal\":true}\n".utf8)
            _ = try? connection.withDescriptor { fd in
                line.withUnsafeBytes { k3s_send_fds(fd, $0.baseAddress, $0.count, [master], 1, 0) }
            }
            close(master)
        }
        // Whoever asked for it may go: the process goes with him.
        let watcher = Task { [runtime] in
            _ = try? await connection.read(limit: 1)
            if !Task.isCancelled { runtime.abandonExec(name) }
        }
        defer { watcher.cancel() }
        guard await runtime.waitForExit(name, timeout: nil), let exit = runtime.exit(of: name) else {
            throw RuntimeError(.unavailable, "exec: the exit code is lost")
        }
        runtime.dropExit(name)
        return ["exit": .int(Int64(exit.exitCode))]
    }
}

extension ControlServer {
    static func json(_ image: ImageInfo) -> JSON {
        [
            "id": .string(image.id), "tags": .strings(image.tags), "digests": .strings(image.digests),
            "size": .int(image.sizeBytes), "pinned": .bool(image.pinned), "labels": .map(image.config.labels),
        ]
    }

    static func json(_ container: ContainerStatus) -> JSON {
        let state =
            switch container.state {
            case .created: "Created"
            case .running: "Running"
            case .exited: "Exited"
            case .unknown: "Unknown"
            }
        return [
            "id": .string(container.id), "pod": .string(container.sandbox), "name": .string(container.name),
            "attempt": .int(Int64(container.attempt)), "image": .string(container.image),
            "imageID": .string(container.imageID), "state": .string(state), "pid": .int(Int64(container.pid)),
            "created": .int(container.createdAt), "started": .int(container.startedAt),
            "finished": .int(container.finishedAt), "exitCode": .int(Int64(container.exitCode)),
            "reason": .string(container.reason), "message": .string(container.message),
            "log": .string(container.logPath), "labels": .map(container.labels),
        ]
    }
}
