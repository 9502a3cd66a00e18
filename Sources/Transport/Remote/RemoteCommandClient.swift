import Codecs
import Synchronization

/// The other end of an exec or attach: what a kubelet asks of a container runtime's streaming server. SPDY with
/// v4.channel.k8s.io, which every such server speaks and which can end stdin alone.
package final class RemoteCommandClient: Sendable {
    private static let version = "v4.channel.k8s.io"

    private let session: SPDYSession
    private let connection: any ByteStream
    private let reading: Task<Void, Never>
    private let error: SPDYStream
    private let stdin: SPDYStream?
    private let stdout: SPDYStream?
    private let stderr: SPDYStream?
    private let resizes: SPDYStream?

    private init(_ connection: any ByteStream, _ options: RemoteCommandOptions) throws {
        let session = try SPDYSession(connection, role: .client)
        func open(_ type: String, _ wanted: Bool) throws(SPDYError) -> SPDYStream? {
            wanted ? try session.open(["streamtype": type]) : nil
        }
        (self.session, self.connection) = (session, connection)
        // The order is client-go's.
        error = try session.open(["streamtype": "error"])
        stdin = try open("stdin", options.stdin)
        stdout = try open("stdout", options.stdout)
        stderr = try open("stderr", options.stderr)
        resizes = try open("resize", options.tty)
        // Nothing comes that way.
        error.closeWrite()
        stdout?.closeWrite()
        stderr?.closeWrite()
        reading = Task {
            try? await session.run { $0.reset(SPDYStatus.refusedStream) }
            connection.close()
        }
    }

    deinit { close() }

    /// - Throws: what the server answers in place of the upgrade, or why it cannot be reached.
    package static func connect(
        _ client: HTTPClient, _ url: HTTPURL, options: RemoteCommandOptions
    ) async throws -> RemoteCommandClient {
        try RemoteCommandClient(await upgrade(client, url, version: version), options)
    }

    /// The connection as it is after the upgrade to SPDY.
    static func upgrade(_ client: HTTPClient, _ url: HTTPURL, version: String) async throws -> any ByteStream {
        var request = HTTPClientRequest("POST", url)
        request.headers.add("Connection", "Upgrade")
        request.headers.add("Upgrade", "SPDY/3.1")
        request.headers.add("X-Stream-Protocol-Version", version)
        request.headerTimeout = 30
        let response = try await client.execute(request)
        guard response.status == 101, let connection = response.upgraded else {
            let body = try await response.body.collect(upTo: 4096)
            throw HTTPClientError.badResponse(
                "status \(response.status): " + String(decoding: body, as: UTF8.self))
        }
        return connection
    }

    package func writeStdin(_ bytes: [UInt8]) async throws {
        guard let stdin else { throw HTTPConnectionError.peerGone }
        try await stdin.write(bytes)
    }

    package func closeStdin() { stdin?.closeWrite() }

    /// nil at the end.
    package func readStdout() async -> [UInt8]? { try? await stdout?.read() }
    package func readStderr() async -> [UInt8]? { try? await stderr?.read() }

    package func resize(_ size: TerminalSize) {
        resizes?.send(Array("{\"Width\":\(size.width),\"Height\":\(size.height)}\n".utf8))
    }

    /// How the command ended; waits for it.
    package func result() async -> RemoteCommandResult {
        var text: [UInt8] = []
        do {
            while let bytes = try await error.read(), text.count < 64 << 10 { text += bytes }
        } catch { return .failed("the runtime has closed the connection") }
        return RemoteCommandResult(statusText: text)
    }

    package func close() {
        session.goAway()
        connection.close()
        reading.cancel()
    }
}

extension RemoteCommandResult {
    /// From the `Status` on the error channel; nothing is success.
    init(statusText: [UInt8]) {
        guard !statusText.isEmpty else {
            self = .success
            return
        }
        guard let status = try? JSON.parse(statusText) else {
            self = .failed(String(decoding: statusText, as: UTF8.self))
            return
        }
        if status["status"].string == "Success" {
            self = .success
        } else if status["reason"].string == "NonZeroExitCode",
            let cause = status["details"]["causes"].elements.first(where: { $0["reason"].string == "ExitCode" }),
            let code = cause["message"].string.flatMap({ Int32($0) })
        {
            self = .exited(code: code)
        } else {
            self = .failed(status["message"].string ?? String(decoding: statusText, as: UTF8.self))
        }
    }
}
