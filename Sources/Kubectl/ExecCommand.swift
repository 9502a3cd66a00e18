import CShims
import Codecs
import KubeAPI
import Linux
import Transport

enum ExecCommands {
    private static let streams = """
        i|stdin|b||Pass stdin to the container
        t|tty|b||Stdin is a TTY
        q|quiet|b||Only print output from the remote session
        c|container|s||Container name.
        |pod-running-timeout|s|1m0s|The length of time to wait until at least one pod is running

        """

    static let all: [Command] = [
        Command(
            "exec", "(POD | TYPE/NAME) [-c CONTAINER] [flags] -- COMMAND [args...]", "Execute a command in a container",
            streams + Flags.files, exec),
        Command(
            "attach", "(POD | TYPE/NAME) -c CONTAINER [options]", "Attach to a running container", streams
        ) { session in
            guard let word = session.arguments.first else {
                throw CommandError.usage("at least 1 argument is required for attach", "attach")
            }
            try attach(session, try session.pod(word))
        },
    ]

    private static func exec(_ session: Session) throws {
        let dash = session.options.dash
        guard let word = session.arguments.first, dash != 0 else {
            throw CommandError.usage("pod, type/name or --filename must be specified", "exec")
        }
        guard session.arguments.count > 1 else {
            throw CommandError("you must specify at least one command for the container")
        }
        guard dash == 1 else {
            throw CommandError.usage(
                "exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead", "exec")
        }
        let pod = try session.pod(word)
        let phase = pod["status"]["phase"].string ?? ""
        if phase == "Succeeded" || phase == "Failed" {
            throw CommandError("cannot exec into a container in a completed pod; current phase is \(phase)")
        }
        let command = session.arguments.dropFirst().map { ("command", $0) }
        try run(session, pod, "exec", command, container: try session.container(of: pod))
    }

    static func attach(_ session: Session, _ pod: JSON, container: String? = nil) throws {
        let phase = pod["status"]["phase"].string ?? ""
        if phase == "Succeeded" || phase == "Failed" {
            throw CommandError("cannot attach a container in a completed pod; current phase is \(phase)")
        }
        let name = try container ?? session.container(of: pod)
        if session.options.bool("stdin"), session.options.bool("tty"), !session.options.bool("quiet") {
            Terminal.error("If you don't see a command prompt, try pressing enter.")
        }
        try run(session, pod, "attach", [], container: name)
    }

    private static func run(
        _ session: Session, _ pod: JSON, _ subresource: String, _ command: [(String, String)], container: String
    ) throws {
        let wantsInput = session.options.bool("stdin")
        var tty = session.options.bool("tty")
        if tty, !wantsInput || isatty(STDIN_FILENO) == 0 {
            tty = isatty(STDIN_FILENO) == 1 && wantsInput
            if !tty { Terminal.error("Unable to use a TTY - input is not a terminal or the right kind of file") }
        }
        let stream = RemoteStream(
            api: try session.api, path: RemoteStream.path(pod, subresource), tty: tty,
            query: command + [("container", container)])
        let input: (@Sendable () -> [UInt8]?)? = wantsInput ? RemoteStream.readInput : nil
        let code = try stream.run(input: input) { bytes, isError in
            Terminal.write(bytes, to: isError ? STDERR_FILENO : STDOUT_FILENO)
        }
        if code != 0 { throw CommandError("command terminated with exit code \(code)", code: code, plain: true) }
    }
}

/// A command's streams over a WebSocket (v5.channel.k8s.io): the first byte of each message is its channel.
struct RemoteStream: Sendable {
    let api: Connection
    let path: String
    let tty: Bool
    let query: [(String, String)]

    static func path(_ pod: JSON, _ subresource: String) -> String {
        "/api/v1/namespaces/\(pod["metadata"]["namespace"].string ?? "")/pods/\(pod["metadata"]["name"].string ?? "")/\(subresource)"
    }

    /// The next of standard input; nil at its end.
    @Sendable static func readInput() -> [UInt8]? {
        var chunk = [UInt8](repeating: 0, count: 16384)
        while true {
            let n = read(STDIN_FILENO, &chunk, chunk.count)
            if n < 0, errno == EINTR { continue }
            return n > 0 ? Array(chunk[..<n]) : nil
        }
    }

    /// - Parameter input: called on a thread of its own until it gives nil; may block.
    /// - Returns: the exit code.
    func run(
        input: (@Sendable () -> [UInt8]?)?, output: ([UInt8], Bool) throws -> Void
    ) throws -> Int32 {
        var query = query + [("stdout", "true")]
        if input != nil { query.append(("stdin", "true")) }
        query.append(tty ? ("tty", "true") : ("stderr", "true"))
        let (api, url) = (self.api, self.api.url(path, query))
        // Before other threads are there: they inherit the blocked signal.
        let resizes = tty ? try Signals.stream([SIGWINCH]) : nil
        let opened = try Terminal.wait {
            try await WebSocketHandshake.connect(
                api.http, url, headers: api.headers, protocols: ["v5.channel.k8s.io", "v4.channel.k8s.io"])
        }
        guard let socket = opened.socket else { throw try Connection.failure(opened.response) }
        let closes = opened.subprotocol == "v5.channel.k8s.io"

        var saved = termios()
        let isRaw = tty && tcgetattr(STDIN_FILENO, &saved) == 0
        if isRaw {
            var raw = saved
            cfmakeraw(&raw)
            tcsetattr(STDIN_FILENO, TCSANOW, &raw)
        }
        defer { if isRaw { tcsetattr(STDIN_FILENO, TCSANOW, &saved) } }
        if let resizes {
            Task {
                try? await Self.sendSize(socket)
                for await _ in resizes { try? await Self.sendSize(socket) }
            }
        }
        if let input {
            PosixThread.start(name: "stdin") {
                while let bytes = input() {
                    guard (try? Terminal.wait { try await socket.send(binary: bytes, prefix: [0]) }) != nil else {
                        return
                    }
                }
                // Channel 255 closes the one that it names.
                if closes { _ = try? Terminal.wait { try await socket.send(binary: [0], prefix: [255]) } }
            }
        }
        var status = JSON.null
        while let message = try Terminal.wait({ try await socket.receive() }) {
            let bytes = message.bytes
            guard let channel = bytes.first else { continue }
            let payload = Array(bytes.dropFirst())
            switch channel {
            case 1, 2: if !payload.isEmpty { try output(payload, channel == 2) }
            case 3: status = (try? JSON.parse(payload)) ?? .null
            default: break
            }
        }
        return try Self.exitCode(status)
    }

    private static func exitCode(_ status: JSON) throws -> Int32 {
        guard status["status"].string == "Failure" else { return 0 }
        if status["reason"].string == "NonZeroExitCode",
            let code = status["details"]["causes"].elements.first(where: { $0["reason"].string == "ExitCode" })?[
                "message"
            ]
            .string.flatMap({ Int32($0) })
        {
            return code
        }
        throw CommandError(status["message"].string ?? "the command could not be run")
    }

    private static func sendSize(_ socket: WebSocketConnection) async throws {
        var size = winsize()
        guard k3s_ioctl_ptr(0, UInt(TIOCGWINSZ), &size) >= 0, size.ws_col > 0 else { return }
        let json: JSON = ["Width": .int(Int64(size.ws_col)), "Height": .int(Int64(size.ws_row))]
        try await socket.send(binary: json.encode(), prefix: [4])
    }
}
