import CShims
import Codecs
import Linux
import NIOCore
import Node
import Transport

/// What goes on while somebody looks: `exec`, `attach`, `port-forward`, by the URLs that the runtime answers; and `logs`.
enum CrictlStreams {
    static let verbs: [CrictlVerb] = [
        CrictlVerb(
            "exec", "[CONTAINER-ID] COMMAND [ARG...]", "Run a command in a running container",
            """
            +|ignore-errors|e||b|||Ignore errors during command execution
            +|image|||s|||Exec command for all containers matching this container image filter
            +|interactive|i||b|||Keep STDIN open
            +|label|||l|||Exec command for all containers matching this key=value label filter
            +|last|n||s|||Exec command for all last n containers, set to 0 for unlimited
            +|latest|l||b|||Exec command for the most recently created container
            +|name|||s|||Exec command for all containers matching this name filter regular expression pattern
            +|pod|p||s|||Exec command for all containers matching this pod ID filter
            +|quiet|q||b|||Do not print the container ID if multiple containers are selected
            +|state|||s|||Exec command for all containers matching this container state filter
            +|sync|s||b|||Run the command synchronously
            +|timeout|||s|0||Timeout in seconds
            +|transport|r||s|spdy||Transport protocol to use: spdy
            +|tty|t||b|||Allocate a pseudo-TTY
            """, argumentsEndFlags: true, exec),
        CrictlVerb(
            "attach", "CONTAINER-ID", "Attach to a running container",
            """
            +|stdin|i||b|||Keep STDIN open
            +|transport|r||s|spdy||Transport protocol to use: spdy
            +|tty|t||b|||Allocate a pseudo-TTY
            """
        ) { session in
            guard session.arguments.count == 1 else { throw UsageError("ID cannot be empty") }
            let (stdin, tty) = (session.values.bool("stdin"), session.values.bool("tty"))
            let streams = try Streams(session, stdin: stdin, tty: tty)
            let request: JSON = [
                "container_id": .string(session.arguments[0]), "stdin": .bool(stdin), "tty": .bool(tty), "stdout": true,
                "stderr": .bool(!tty),
            ]
            return try streams.run(try session.call("Attach", request, "attaching running container failed"))
        },
        CrictlVerb(
            "port-forward", "POD-ID [LOCAL_PORT:]REMOTE_PORT", "Forward local port to a pod",
            "+|transport|r||s|spdy||Transport protocol to use: spdy", forward),
        CrictlLogs.verb,
    ]

    private static let filters = ["name", "pod", "image", "state", "label", "latest", "last"]

    private static func exec(_ session: CrictlSession) throws -> Int32 {
        let values = session.values
        var ids = Array(session.arguments.prefix(1))
        var command = Array(session.arguments.dropFirst())
        var isNamed = false
        if filters.contains(where: { values.isSet($0) }) {
            command = session.arguments
            ids = try CrictlLists.containers(session).compactMap { $0["id"].string }
            isNamed = !values.bool("quiet")
            if ids.isEmpty { throw UsageError("No containers found per filter flags") }
        }
        guard !command.isEmpty else { throw CrictlVerb.ShowHelp() }
        var result: Int32 = 0
        for id in ids {
            if isNamed { Terminal.write(id + ":\n", to: STDOUT_FILENO) }
            do {
                let code = try exec(session, id, command)
                if result == 0 { result = code }
            } catch {
                if !values.bool("ignore-errors") { throw error }
            }
        }
        return values.bool("ignore-errors") ? 0 : result
    }

    private static func exec(_ session: CrictlSession, _ id: String, _ command: [String]) throws -> Int32 {
        let values = session.values
        if values.bool("sync") {
            let request: JSON = [
                "container_id": .string(id), "cmd": .strings(command),
                "timeout": .int(try session.number("timeout") ?? 0),
            ]
            let answer = try session.call(
                "ExecSync", request, "execing command in container \(id) synchronously")
            for key in ["stdout", "stderr"] {
                Terminal.write((answer[key].string.flatMap(Base64.decode) ?? []) + [10], to: STDOUT_FILENO)
            }
            return Int32(clamping: answer["exit_code"].int ?? 0)
        }
        let (stdin, tty) = (values.bool("interactive"), values.bool("tty"))
        let streams = try Streams(session, stdin: stdin, tty: tty)
        let request: JSON = [
            "container_id": .string(id), "cmd": .strings(command), "stdin": .bool(stdin), "tty": .bool(tty),
            "stdout": true, "stderr": .bool(!tty),
        ]
        return try streams.run(try session.call("Exec", request, "execing command in container \(id)"))
    }

    /// This process's own streams, as the command's or the container's.
    private struct Streams {
        let options: RemoteCommandOptions
        private let resizes: AsyncStream<Int32>?

        /// Before there are other threads: they inherit the blocked signal.
        init(_ session: CrictlSession, stdin: Bool, tty: Bool) throws {
            let transport = session.values.string("transport") ?? "spdy"
            guard transport == "spdy" else { throw UsageError("transport \"\(transport)\": only spdy is there") }
            guard !tty || stdin else { throw UsageError("tty=true must be specified with interactive=true") }
            guard !tty || isatty(STDIN_FILENO) == 1 else { throw UsageError("input is not a terminal") }
            options = RemoteCommandOptions(stdin: stdin, stdout: true, stderr: !tty, tty: tty)
            resizes = tty ? try Signals.stream([SIGWINCH]) : nil
        }

        /// - Returns: the command's exit code.
        func run(_ answer: JSON) throws -> Int32 {
            let url = try HTTPURL(CrictlStreams.absolute(answer["url"].string ?? ""))
            var saved = termios()
            let isRaw = options.tty && tcgetattr(STDIN_FILENO, &saved) == 0
            if isRaw {
                var raw = saved
                cfmakeraw(&raw)
                tcsetattr(STDIN_FILENO, TCSANOW, &raw)
            }
            defer { if isRaw { tcsetattr(STDIN_FILENO, TCSANOW, &saved) } }
            let (options, resizes) = (options, resizes)
            let result = try CommandTask.waitWithLoops { group -> RemoteCommandResult in
                let client = try await RemoteCommandClient.connect(HTTPClient(group: group), url, options: options)
                if options.stdin { Self.copyInput(client) }
                return await withTaskGroup(of: Void.self) { tasks in
                    if let resizes {
                        tasks.addTask {
                            Self.resize(client)
                            for await _ in resizes { Self.resize(client) }
                        }
                    }
                    async let errors: Void = Self.copyErrors(client)
                    while let bytes = await client.readStdout() { Terminal.write(bytes, to: STDOUT_FILENO) }
                    await errors
                    let result = await client.result()
                    tasks.cancelAll()
                    client.close()
                    return result
                }
            }
            switch result {
            case .success: return 0
            case .exited(let code): return code
            case .failed(let message): throw UsageError(message)
            }
        }

        private static func copyErrors(_ client: RemoteCommandClient) async {
            while let bytes = await client.readStderr() { Terminal.write(bytes, to: STDERR_FILENO) }
        }

        private static func copyInput(_ client: RemoteCommandClient) {
            PosixThread.start(name: "stdin") {
                var chunk = [UInt8](repeating: 0, count: 32 << 10)
                while true {
                    let count = read(STDIN_FILENO, &chunk, chunk.count)
                    if count < 0, errno == EINTR { continue }
                    guard count > 0 else { return client.closeStdin() }
                    let bytes = Array(chunk[..<count])
                    guard (try? CommandTask.wait { try await client.writeStdin(bytes) }) != nil else { return }
                }
            }
        }

        private static func resize(_ client: RemoteCommandClient) {
            var size = winsize()
            guard k3s_ioctl_ptr(STDIN_FILENO, UInt(TIOCGWINSZ), &size) >= 0, size.ws_col > 0 else { return }
            client.resize(TerminalSize(width: size.ws_col, height: size.ws_row))
        }
    }

    /// A runtime may leave out where its streams are: at the kubelet's, then.
    private static func absolute(_ url: String) -> String { url.hasPrefix("/") ? "http://127.0.0.1:10250" + url : url }

    // MARK: - Ports

    private static func forward(_ session: CrictlSession) throws -> Int32 {
        guard session.arguments.count > 1 else { throw CrictlVerb.ShowHelp() }
        let answer = try session.call(
            "PortForward", ["pod_sandbox_id": .string(session.arguments[0])], "port forward")
        let url = try HTTPURL(absolute(answer["url"].string ?? ""))
        let pairs = try session.arguments.dropFirst().map(ports)
        try CommandTask.waitWithLoops { group in
            let client = try await PortForwardClient.connect(HTTPClient(group: group), url)
            await withTaskGroup(of: Void.self) { tasks in
                for (local, remote) in pairs {
                    var chosen = local
                    for address in ["127.0.0.1", "::1"] {
                        guard let (listener, port) = listen(address, chosen) else { continue }
                        chosen = port
                        let shown = address == "::1" ? "[::1]" : address
                        Terminal.write("Forwarding from \(shown):\(port) -> \(remote)\n", to: STDOUT_FILENO)
                        tasks.addTask { await serve(listener, client, port, remote) }
                    }
                }
                tasks.addTask {
                    await client.wait()
                    isLost()
                }
                await tasks.waitForAll()
            }
        }
        return 0
    }

    /// Without its streams there is nothing left to do.
    private static func isLost() {
        Terminal.error("error: lost connection to pod")
        exit(1)
    }

    static func ports(_ text: String) throws -> (local: UInt16, remote: UInt16) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard parts.count < 3, let remote = UInt16(parts.last ?? ""), remote > 0 else {
            throw UsageError("port forward: invalid port format '\(text)'")
        }
        if parts.count == 1 { return (remote, remote) }
        guard let local = parts[0].isEmpty ? 0 : UInt16(parts[0]) else {
            throw UsageError("port forward: error parsing local port '\(parts[0])'")
        }
        return (local, remote)
    }

    private static func listen(_ address: String, _ port: UInt16) -> (AsyncFD, UInt16)? {
        do throws(SysError) {
            let listener = try TCPListener(address, port)
            let number = listener.port
            return (try AsyncFD(listener.take()), number)
        } catch {
            if error.code != EAFNOSUPPORT, error.code != EADDRNOTAVAIL {
                Terminal.error("Unable to listen on port \(port): \(error)")
            }
            return nil
        }
    }

    private static func serve(_ listener: AsyncFD, _ client: PortForwardClient, _ local: UInt16, _ remote: UInt16) async
    {
        await withDiscardingTaskGroup { group in
            while let fd = try? await listener.whenReadable("accept", { k3s_accept($0) }),
                let socket = try? AsyncFD(FileDescriptor(owning: fd))
            {
                Terminal.write("Handling connection for \(local)\n", to: STDOUT_FILENO)
                group.addTask {
                    do {
                        let (stream, failure) = try client.open(port: remote)
                        async let failing: Void = {
                            guard let text = await failure() else { return }
                            Terminal.error("an error occurred forwarding \(local) -> \(remote): \(text)")
                            socket.close()
                        }()
                        await KubeletServer.join(stream, socket)
                        await failing
                    } catch {
                        socket.close()
                        Terminal.error("\(local) -> \(remote): \(error)")
                    }
                }
            }
        }
    }
}
