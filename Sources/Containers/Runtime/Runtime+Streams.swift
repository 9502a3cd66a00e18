import Linux
import Logging
import Synchronization

extension Runtime {
    package func exec(_ id: String, _ request: ExecRequest) async throws(RuntimeError) -> any ContainerProcess {
        try await startExec(id, request)
    }

    /// Starts a process on descriptors of somebody else's (stdin, stdout, stderr), or on a terminal of its own, whose
    /// master the caller owns. `waitForExit`, `exit(of:)` and `dropExit` tell how it ends.
    func exec(
        _ id: String, _ request: ExecRequest, on stdio: [Int32]
    ) async throws(RuntimeError) -> (name: String, master: Int32) {
        let record = try containerRecord(id)
        guard record.status.state == .running else {
            throw RuntimeError(.invalid, "container \(record.config.name) (\(id)) is not running")
        }
        let plan = try launchInput(record).execPlan(request)
        let name = "exec-" + String(Runtime.newID().prefix(32))
        expectExit(name)
        var flags = [K3S_SHIM_EXEC, K3S_SHIM_JOIN_PID]
        if request.tty { flags.append(K3S_SHIM_TTY) }
        do throws(RuntimeError) {
            let reply = try await launch(plan, id: name, parent: id, flags: flags, stdio: stdio)
            return (name, reply.descriptors.take()?.take() ?? -1)
        } catch {
            dropExit(name)
            throw RuntimeError(error.code, "exec failed: \(error.message)")
        }
    }

    func startExec(_ id: String, _ request: ExecRequest) async throws(RuntimeError) -> ShimExecProcess {
        let record = try containerRecord(id)
        guard record.status.state == .running else {
            throw RuntimeError(.invalid, "container \(record.config.name) (\(id)) is not running")
        }
        let plan: LaunchPlan
        do throws(RuntimeError) { plan = try launchInput(record).execPlan(request) } catch {
            throw RuntimeError(error.code, "exec failed: \(error.message)")
        }
        let name = "exec-" + String(Runtime.newID().prefix(32))
        expectExit(name)
        do throws(RuntimeError) {
            return try await startExec(name, plan, request, container: id)
        } catch {
            dropExit(name)
            throw RuntimeError(error.code, "exec failed: \(error.message)")
        }
    }

    private func startExec(
        _ name: String, _ plan: LaunchPlan, _ request: ExecRequest, container id: String
    ) async throws(RuntimeError) -> ShimExecProcess {
        var flags = [K3S_SHIM_EXEC, K3S_SHIM_JOIN_PID]
        if request.tty { flags.append(K3S_SHIM_TTY) }
        var streams = ProcessStreams()
        do throws(SysError) {
            if request.tty {
                let reply = try await launchExec(plan, name, id, flags, [])
                guard let master = reply.descriptors.take() else { throw SysError(EIO, "exec terminal") }
                let terminal = try AsyncFD(master)
                streams.terminal = terminal
                streams.output = terminal
                if request.stdin { streams.input = terminal }
                return ShimExecProcess(self, name, streams)
            }
            // A child's ends live until the shim has its copies.
            let null = try FileDescriptor.open("/dev/null", O_RDWR)
            let input = request.stdin ? try FileDescriptor.pipe() : nil
            let output = request.stdout ? try FileDescriptor.pipe() : nil
            let error = request.stderr ? try FileDescriptor.pipe() : nil
            var ends: [Int32] = [null.raw, null.raw, null.raw]
            if let input {
                let (read, write) = input.takeBoth()
                ends[0] = read
                streams.input = try AsyncFD(FileDescriptor(owning: write))
            }
            if let output {
                let (read, write) = output.takeBoth()
                ends[1] = write
                streams.output = try AsyncFD(FileDescriptor(owning: read))
            }
            if let error {
                let (read, write) = error.takeBoth()
                ends[2] = write
                streams.error = try AsyncFD(FileDescriptor(owning: read))
            }
            defer { for end in ends where end != null.raw { close(end) } }
            _ = try await launchExec(plan, name, id, flags, ends)
            return ShimExecProcess(self, name, streams)
        } catch let failure {
            streams.closeAll()
            // The launch's own message is the better one.
            if let message = takeLaunchError(name) { throw message }
            throw RuntimeError(.io, "exec: \(failure)")
        }
    }

    /// `launch`, with its error kept aside: inside it is one system error among others.
    private func launchExec(
        _ plan: LaunchPlan, _ name: String, _ id: String, _ flags: [k3s_shim_flags], _ ends: [Int32]
    ) async throws(SysError) -> ShimClient.Reply {
        do throws(RuntimeError) {
            return try await launch(plan, id: name, parent: id, flags: flags, stdio: ends)
        } catch {
            state.withLock { $0.exits[name]?.launchError = error }
            throw SysError(EIO, "exec")
        }
    }

    private func takeLaunchError(_ name: String) -> RuntimeError? { state.withLock { $0.exits[name]?.launchError } }

    package func execSync(
        _ id: String, command: [String], timeout: Duration
    ) async throws(RuntimeError) -> ExecResult {
        try await execSync(id, command: command, timeout: timeout, limit: 16 << 10)
    }

    /// - Parameter limit: bytes of each stream that are kept.
    package func execSync(
        _ id: String, command: [String], timeout: Duration, limit: Int
    ) async throws(RuntimeError) -> ExecResult {
        let process = try await startExec(id, ExecRequest(command))
        async let stdout = Self.drain(limit) { await process.readStdout() }
        async let stderr = Self.drain(limit) { await process.readStderr() }
        guard await waitForExit(process.name, timeout: timeout > .zero ? timeout : nil) else {
            await process.close()
            _ = await (stdout, stderr)
            throw RuntimeError(.timedOut, "command \"\(command.joined(separator: " "))\" timed out after \(timeout)")
        }
        let code = try await process.wait()
        // A daemon that the command left behind may hold the pipes for ever.
        let cut = Task {
            try await Task.sleep(for: .seconds(1))
            await process.close()
        }
        let result = await ExecResult(exitCode: code, stdout: stdout, stderr: stderr)
        cut.cancel()
        await process.close()
        return result
    }

    private static func drain(_ limit: Int, _ read: @Sendable () async -> [UInt8]?) async -> [UInt8] {
        var result: [UInt8] = []
        while let chunk = await read() {
            let room = limit - result.count
            if room > 0 { result += chunk.prefix(room) }
        }
        return result
    }

    /// After somebody has renamed the container's log file: what comes now goes to a new one of the old name.
    package func reopenLog(_ id: String) async throws(RuntimeError) {
        guard try containerRecord(id).status.state == .running else {
            throw RuntimeError(.invalid, "container is not running")
        }
        let shim = try shim()
        do throws(SysError) {
            let reply = try await shim.request(k3s_shim_message(K3S_SHIM_REOPEN_LOG, id: id))
            if reply.message.error != 0 { throw SysError(reply.message.error, "reopen") }
        } catch { throw RuntimeError(.io, "log of container \(id): \(error)") }
    }

    package func attach(_ id: String, _ request: AttachRequest) async throws(RuntimeError) -> any ContainerProcess {
        let record = try containerRecord(id)
        guard record.status.state == .running else {
            throw RuntimeError(.invalid, "container \(record.config.name) (\(id)) is not running")
        }
        var message = k3s_shim_message(K3S_SHIM_ATTACH, id: id)
        message.set(K3S_SHIM_STDIN, request.stdin && record.config.stdin)
        message.set(K3S_SHIM_STDOUT, request.stdout || record.config.tty)
        message.set(K3S_SHIM_STDERR, request.stderr && !record.config.tty)
        let shim = try shim()
        do throws(SysError) {
            let reply = try await shim.request(message)
            if reply.message.error != 0 { throw SysError(reply.message.error, "attach") }
            var streams = ProcessStreams()
            // In the order of the protocol.
            if reply.message.has(K3S_SHIM_STDIN) { streams.input = try Self.next(reply) }
            if reply.message.has(K3S_SHIM_STDOUT) { streams.output = try Self.next(reply) }
            if reply.message.has(K3S_SHIM_STDERR) { streams.error = try Self.next(reply) }
            return AttachedProcess(self, record, streams)
        } catch {
            throw RuntimeError(.unavailable, "attach to container \(record.config.name): \(error)")
        }
    }

    private static func next(_ reply: ShimClient.Reply) throws(SysError) -> AsyncFD {
        guard let fd = reply.descriptors.take() else { throw SysError(EIO, "attach") }
        return try AsyncFD(fd)
    }
}

/// The ends of a process's streams on this side.
struct ProcessStreams: Sendable {
    var input: AsyncFD?
    var output: AsyncFD?
    var error: AsyncFD?
    var terminal: AsyncFD?

    func closeAll() {
        for stream in [input, output, error, terminal] { stream?.close() }
    }

    func write(_ bytes: [UInt8]) async throws(RuntimeError) {
        guard let input else { throw RuntimeError(.invalid, "stdin is not attached") }
        do throws(SysError) { try await input.write(bytes) } catch {
            throw RuntimeError(.io, "stdin: \(error)")
        }
    }

    static func read(_ stream: AsyncFD?) async -> [UInt8]? {
        guard let stream else { return nil }
        return try? await stream.read()
    }
}

/// A process started by exec: its streams come from the kernel directly, the shim only tells its end.
final class ShimExecProcess: ContainerProcess {
    let name: String
    private let runtime: Runtime
    private let streams: ProcessStreams
    private let code = Mutex<Int32?>(nil)

    init(_ runtime: Runtime, _ name: String, _ streams: ProcessStreams) {
        (self.runtime, self.name, self.streams) = (runtime, name, streams)
    }

    deinit {
        streams.closeAll()
        runtime.abandonExec(name)
    }

    func writeStdin(_ bytes: [UInt8]) async throws(RuntimeError) { try await streams.write(bytes) }

    func closeStdin() async {
        // A terminal has no half-close: ^D ends a line-wise reader, as a user at a keyboard would.
        if let terminal = streams.terminal {
            try? await terminal.write([4])
        } else {
            streams.input?.close()
        }
    }

    func readStdout() async -> [UInt8]? { await ProcessStreams.read(streams.output) }
    func readStderr() async -> [UInt8]? { await ProcessStreams.read(streams.error) }

    func resize(columns: UInt16, rows: UInt16) async {
        _ = try? streams.terminal?.withDescriptor { k3s_set_window_size($0, columns, rows) }
    }

    func wait() async throws(RuntimeError) -> Int32 {
        if let known = code.withLock({ $0 }) { return known }
        guard await runtime.waitForExit(name, timeout: nil), let exit = runtime.exit(of: name) else {
            throw RuntimeError(.unavailable, "exec: the exit code is lost, the container shim went away")
        }
        code.withLock { $0 = exit.exitCode }
        return exit.exitCode
    }

    func close() async {
        streams.closeAll()
        guard code.withLock({ $0 }) == nil, runtime.exit(of: name) == nil, let shim = try? runtime.shim() else {
            return
        }
        _ = try? await shim.request(runtime.signalMessage(name, SIGKILL))
    }
}

extension Runtime {
    /// The last reference to an exec is gone.
    func abandonExec(_ name: String) {
        guard let entry = state.withLock({ $0.exits.removeValue(forKey: name) }), entry.exit == nil else { return }
        Task {
            guard let shim = try? self.shim() else { return }
            _ = try? await shim.request(self.signalMessage(name, SIGKILL))
        }
    }
}

/// A client of a container's main process.
final class AttachedProcess: ContainerProcess {
    private let runtime: Runtime
    private let record: ContainerRecord
    private let streams: ProcessStreams

    init(_ runtime: Runtime, _ record: ContainerRecord, _ streams: ProcessStreams) {
        (self.runtime, self.record, self.streams) = (runtime, record, streams)
    }

    deinit { streams.closeAll() }

    func writeStdin(_ bytes: [UInt8]) async throws(RuntimeError) { try await streams.write(bytes) }

    func closeStdin() async {
        if record.config.tty {
            try? await streams.input?.write([4])
            return
        }
        streams.input?.close()
        // The shim holds the pipe open for later clients, unless the container wants only one.
        guard streams.input != nil, record.config.stdinOnce, let shim = try? runtime.shim() else { return }
        _ = try? await shim.request(k3s_shim_message(K3S_SHIM_CLOSE_STDIN, id: record.status.id))
    }

    func readStdout() async -> [UInt8]? { await ProcessStreams.read(streams.output) }
    func readStderr() async -> [UInt8]? { await ProcessStreams.read(streams.error) }

    func resize(columns: UInt16, rows: UInt16) async {
        var message = k3s_shim_message(K3S_SHIM_RESIZE, id: record.status.id)
        (message.columns, message.rows) = (columns, rows)
        guard let shim = try? runtime.shim() else { return }
        _ = try? await shim.request(message)
    }

    func wait() async throws(RuntimeError) -> Int32 {
        let id = record.status.id
        guard await runtime.waitForExit(id, timeout: nil) else {
            throw RuntimeError(.unavailable, "attach: the container shim went away")
        }
        return try runtime.containerRecord(id).status.exitCode
    }

    func close() async { streams.closeAll() }
}
