import Codecs

/// Which streams an exec or attach asks for.
package struct RemoteCommandOptions: Sendable, Equatable {
    package var stdin: Bool
    package var stdout: Bool
    package var stderr: Bool
    package var tty: Bool

    package init(stdin: Bool = false, stdout: Bool = true, stderr: Bool = true, tty: Bool = false) {
        self.stdin = stdin
        self.stdout = stdout
        // A terminal has one output.
        self.stderr = stderr && !tty
        self.tty = tty
    }

    /// From `stdin=true&stdout=true&stderr=true&tty=true`; nil when none of the three streams is asked for.
    package init?(query: HTTPQuery) {
        func isSet(_ name: String, _ short: String) -> Bool {
            // The API's own names, and those of the kubelet's `/exec` (`input=1`).
            for value in query.values(name) + query.values(short) where value == "true" || value == "1" { return true }
            return false
        }
        self.init(
            stdin: isSet("stdin", "input"), stdout: isSet("stdout", "output"), stderr: isSet("stderr", "error"),
            tty: isSet("tty", "tty"))
        if !stdin && !stdout && !stderr { return nil }
    }
}

package struct TerminalSize: Sendable, Equatable {
    package var width: UInt16
    package var height: UInt16

    package init(width: UInt16, height: UInt16) {
        self.width = width
        self.height = height
    }
}

/// How a command ended; sent on the error channel.
package enum RemoteCommandResult: Sendable, Equatable {
    case success
    case exited(code: Int32)
    /// The command could not be run or watched.
    case failed(String)

    /// The `Status` of protocol versions from v4 on, as client-go's error decoder reads it.
    var status: JSON {
        switch self {
        case .success, .exited(code: 0): return ["metadata": [:], "status": "Success"]
        case .exited(let code):
            return [
                "metadata": [:], "status": "Failure",
                "message": .string("command terminated with non-zero exit code: exit status \(code)"),
                "reason": "NonZeroExitCode",
                "details": ["causes": [["reason": "ExitCode", "message": .string("\(code)")]]],
            ]
        case .failed(let message):
            return [
                "metadata": [:], "status": "Failure", "message": .string("Internal error occurred: \(message)"),
                "reason": "InternalError", "details": ["causes": [["message": .string(message)]]], "code": 500,
            ]
        }
    }

    /// The plain text of the protocol versions before v4; nil for success.
    var plainText: String? {
        switch self {
        case .success, .exited(code: 0): nil
        case .exited, .failed: status["message"].string
        }
    }
}

/// One running exec or attach as the kubelet sees it, whatever the wire protocol.
package final class RemoteCommandSession: Sendable {
    package let options: RemoteCommandOptions
    /// Sizes of the client's terminal; only the newest waits. Ends with the connection.
    package let resizes: AsyncStream<TerminalSize>
    private let resize: AsyncStream<TerminalSize>.Continuation
    let stdin: any RemoteCommandInput
    private let output: any RemoteCommandOutput

    init(options: RemoteCommandOptions, stdin: any RemoteCommandInput, output: any RemoteCommandOutput) {
        self.options = options
        self.stdin = stdin
        self.output = output
        (resizes, resize) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// The next bytes for the command; nil when the client has no more, or asked for no stdin.
    package func readStdin() async throws -> [UInt8]? {
        guard options.stdin else { return nil }
        return try await stdin.read()
    }

    /// Waits while the client is slow; throws once it is gone.
    package func writeStdout(_ bytes: [UInt8]) async throws {
        guard options.stdout, !bytes.isEmpty else { return }
        try await output.write(.stdout, bytes)
    }

    package func writeStderr(_ bytes: [UInt8]) async throws {
        guard options.stderr, !bytes.isEmpty else { return }
        try await output.write(.stderr, bytes)
    }

    /// `{"Width":80,"Height":24}` objects, as they come in on the resize channel.
    func receivedResize(_ bytes: [UInt8]) {
        for line in bytes.split(separator: UInt8(ascii: "\n")) {
            guard let json = try? JSON.parse(Array(line)), let width = json["Width"].int,
                let height = json["Height"].int
            else { continue }
            resize.yield(TerminalSize(width: UInt16(clamping: width), height: UInt16(clamping: height)))
        }
    }

    func ended() {
        resize.finish()
    }
}

enum RemoteCommandChannel: UInt8, Sendable {
    case stdin = 0
    case stdout = 1
    case stderr = 2
    case error = 3
    case resize = 4
    /// v5: the next byte names the channel that its sender closes.
    case close = 255
}

protocol RemoteCommandInput: Sendable {
    func read() async throws -> [UInt8]?
}

protocol RemoteCommandOutput: Sendable {
    func write(_ channel: RemoteCommandChannel, _ bytes: [UInt8]) async throws
}

/// Serves `kubectl exec` and `attach`: WebSocket channel protocols (KEP-4006) and SPDY (`k8s.io/kubelet` remotecommand).
package enum RemoteCommand {
    package typealias Body = @Sendable (RemoteCommandSession) async -> RemoteCommandResult

    /// Answers the upgrade request. `run`'s task is cancelled when the client goes away; its result reaches the client
    /// on the error channel.
    package static func accept(
        _ request: HTTPRequest, options: RemoteCommandOptions, _ run: @escaping Body
    ) -> HTTPResponse {
        if request.wantsUpgrade(to: "websocket") {
            return acceptWebSocket(request, options, run)
        }
        if request.wantsUpgrade(to: "SPDY/3.1") {
            return acceptSPDY(request, options, run)
        }
        return upgradeRequired()
    }

    static func upgradeRequired() -> HTTPResponse {
        let status: JSON = [
            "kind": "Status", "apiVersion": "v1", "metadata": [:], "status": "Failure",
            "message": "Upgrade request required", "reason": "BadRequest", "code": 400,
        ]
        return .json(status.encode(), status: 400)
    }

    /// Runs the command beside the connection's reader. Whichever ends first ends the other.
    static func race(
        _ session: RemoteCommandSession, reader: @escaping @Sendable () async -> Void, _ run: @escaping Body,
        finish: @escaping @Sendable (RemoteCommandResult) async -> Void
    ) async {
        let reading = Task {
            await reader()
            session.ended()
        }
        let running = Task { await run(session) }
        let watching = Task {
            await reading.value
            running.cancel()
        }
        let result = await withTaskCancellationHandler {
            await running.value
        } onCancel: {
            running.cancel()
            reading.cancel()
        }
        session.ended()
        await finish(result)
        reading.cancel()
        await watching.value
    }
}
