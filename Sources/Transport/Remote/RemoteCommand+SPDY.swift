import Codecs
import Synchronization

extension RemoteCommand {
    /// Names of `X-Stream-Protocol-Version`, newest first.
    static let spdyProtocols = [
        "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io",
    ]

    static func acceptSPDY(
        _ request: HTTPRequest, _ options: RemoteCommandOptions, _ run: @escaping Body
    ) -> HTTPResponse {
        guard let chosen = negotiate(request, spdyProtocols, fallback: "channel.k8s.io") else {
            return protocolRefusal(request, spdyProtocols)
        }
        return .upgrade(protocol: "SPDY/3.1", headers: ["X-Stream-Protocol-Version": chosen]) { connection in
            let version = chosen == "channel.k8s.io" ? 1 : Int(chosen.utf8.dropFirst().first ?? 0x31) - 0x30
            await serveSPDY(connection, version: version, options, run)
        }
    }

    /// The client's first protocol that we speak. Clients of old send none.
    static func negotiate(_ request: HTTPRequest, _ known: [String], fallback: String) -> String? {
        let offered = request.headers.listMembers("X-Stream-Protocol-Version")
        if offered.isEmpty { return fallback }
        return offered.first { known.contains($0) }
    }

    static func protocolRefusal(_ request: HTTPRequest, _ known: [String]) -> HTTPResponse {
        let offered = request.headers.listMembers("X-Stream-Protocol-Version")
        var response = HTTPResponse.text(
            "unable to upgrade: unable to negotiate protocol: client supports \(offered), server accepts \(known)",
            status: 403)
        for name in known { response.headers.add("X-Accepted-Stream-Protocol-Versions", name) }
        return response
    }

    private static func serveSPDY(
        _ connection: any ByteStream, version: Int, _ options: RemoteCommandOptions, _ run: @escaping Body
    ) async {
        guard let session = try? SPDYSession(connection, role: .server) else { return }
        let channels = SPDYChannels(session, expects: options, version: version)
        let command = RemoteCommandSession(options: options, stdin: channels, output: channels)
        await race(
            command,
            reader: {
                try? await session.run { channels.opened($0) }
                channels.connectionEnded()
            },
            { command in
                guard await withTimeLimit(seconds: 30, { await channels.complete() }) == true else {
                    return .failed("timed out waiting for client to create streams")
                }
                return await withTaskGroup(of: RemoteCommandResult?.self) { group in
                    group.addTask { await run(command) }
                    group.addTask {
                        await channels.receiveResizes(command)
                        return nil
                    }
                    while let outcome = await group.next() {
                        guard let result = outcome else { continue }
                        group.cancelAll()
                        return result
                    }
                    return .failed("no result")
                }
            },
            finish: { result in await channels.finish(result, connection) })
    }
}

/// One SPDY stream per channel, told apart by the header `streamType`.
final class SPDYChannels: RemoteCommandInput, RemoteCommandOutput {
    private struct State {
        var streams: [String: SPDYStream] = [:]
        var ended = false
        var waiter: LockWaiter<Bool>?
    }

    private let session: SPDYSession
    private let expected: Set<String>
    private let version: Int
    private let state = Mutex(State())
    private let peerEnded = LockWaiter<Void>()

    init(_ session: SPDYSession, expects options: RemoteCommandOptions, version: Int) {
        self.session = session
        self.version = version
        var expected: Set = ["error"]
        if options.stdin { expected.insert("stdin") }
        if options.stdout { expected.insert("stdout") }
        if options.stderr { expected.insert("stderr") }
        if options.tty, version >= 3 { expected.insert("resize") }
        self.expected = expected
    }

    func opened(_ stream: SPDYStream) {
        guard let type = stream.headers["streamType"], expected.contains(type) else {
            stream.reset(SPDYStatus.refusedStream)
            return
        }
        stream.reply()
        let waiter = state.withLock { state -> LockWaiter<Bool>? in
            state.streams[type] = stream
            return state.streams.count == expected.count ? state.waiter : nil
        }
        waiter?.resume(.success(true))
    }

    func connectionEnded() {
        let waiter = state.withLock { state in
            state.ended = true
            return state.waiter
        }
        waiter?.resume(.success(false))
        peerEnded.resume(.success(()))
    }

    /// Whether all the streams asked for have been opened.
    func complete() async -> Bool {
        let waiter = LockWaiter<Bool>()
        state.withLock { state in
            if state.streams.count == expected.count {
                waiter.resume(.success(true))
            } else if state.ended {
                waiter.resume(.success(false))
            } else {
                state.waiter = waiter
            }
        }
        return (try? await waiter.wait()) ?? false
    }

    private func stream(_ type: String) -> SPDYStream? {
        state.withLock { $0.streams[type] }
    }

    func receiveResizes(_ command: RemoteCommandSession) async {
        guard let stream = stream("resize") else { return }
        while let bytes = try? await stream.read() { command.receivedResize(bytes) }
    }

    func read() async throws -> [UInt8]? {
        try await stream("stdin")?.read()
    }

    func write(_ channel: RemoteCommandChannel, _ bytes: [UInt8]) async throws {
        try await stream(channel == .stdout ? "stdout" : "stderr")?.write(bytes)
    }

    func finish(_ result: RemoteCommandResult, _ connection: any ByteStream) async {
        let streams = state.withLock { $0.streams }
        if let error = streams["error"] {
            if version >= 4 {
                error.send(result.status.encode())
            } else if let text = result.plainText {
                error.send(Array(text.utf8))
            }
        }
        for stream in streams.values { stream.close() }
        session.goAway()
        connection.closeWrite()
        // The client closes once it has read everything; our reader sees that.
        _ = await withTimeLimit(seconds: 10) { [peerEnded] in try? await peerEnded.wait() }
    }
}
