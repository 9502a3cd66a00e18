import Synchronization

/// One forwarded connection: the client's bytes for a port of the pod.
package struct PortForwardConnection: Sendable {
    package let port: UInt16
    /// Half close works in both directions: nil from `read` is the client's end of stream.
    package let stream: any ByteStream
    private let report: @Sendable (String) -> Void

    init(port: UInt16, stream: any ByteStream, report: @escaping @Sendable (String) -> Void) {
        self.port = port
        self.stream = stream
        self.report = report
    }

    /// Tells the client why the port could not be reached; kubectl prints it and ends the forward.
    package func reportError(_ message: String) {
        report(message)
    }
}

/// Serves `kubectl port-forward`: over SPDY (`portforward.k8s.io`), over SPDY inside a WebSocket
/// (`SPDY/3.1+portforward.k8s.io`, KEP-4006, kubectl from 1.31 on), and over bare WebSocket channels
/// (`v4.channel.k8s.io` with ports in the query: the Python client).
package enum PortForward {
    package typealias Handler = @Sendable (PortForwardConnection) async -> Void

    static let version = "portforward.k8s.io"
    static let tunnel = "SPDY/3.1+portforward.k8s.io"

    /// Answers the upgrade request. `handle` runs once per forwarded connection, concurrently; its task is cancelled when
    /// the client goes away, and the connection ends when it returns.
    package static func accept(_ request: HTTPRequest, _ handle: @escaping Handler) -> HTTPResponse {
        if request.wantsUpgrade(to: "websocket") {
            let offered = request.headers.listMembers("Sec-WebSocket-Protocol")
            if offered.contains(tunnel) {
                return WebSocketHandshake.accept(request, protocols: [tunnel], limit: 2 << 20) { socket, _ in
                    await serveSPDY(WebSocketByteStream(socket), handle)
                    await socket.close()
                }
            }
            return acceptChannels(request, handle)
        }
        guard request.wantsUpgrade(to: "SPDY/3.1") else { return RemoteCommand.upgradeRequired() }
        guard RemoteCommand.negotiate(request, [version], fallback: version) != nil else {
            return RemoteCommand.protocolRefusal(request, [version])
        }
        return .upgrade(protocol: "SPDY/3.1", headers: ["X-Stream-Protocol-Version": version]) { connection in
            await serveSPDY(connection, handle)
            await connection.closeLingering(seconds: 2)
        }
    }

    private static func serveSPDY(_ connection: any ByteStream, _ handle: @escaping Handler) async {
        guard let session = try? SPDYSession(connection, role: .server) else { return }
        let (pairs, found) = AsyncStream<PortForwardPairs.Pair>.makeStream()
        let pending = PortForwardPairs(found)
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                try? await session.run { pending.opened($0) }
                found.finish()
            }
            for await pair in pairs {
                group.addTask { await serve(pair, handle) }
            }
            // The client is gone.
            group.cancelAll()
        }
    }

    private static func serve(_ pair: PortForwardPairs.Pair, _ handle: Handler) async {
        let connection = PortForwardConnection(port: pair.port, stream: pair.data) { message in
            pair.error.send(Array(message.utf8))
        }
        await handle(connection)
        pair.data.close()
        pair.error.close()
    }
}

/// Matches the error and data streams of one forwarded connection by their `requestID`.
final class PortForwardPairs: Sendable {
    struct Pair: Sendable {
        var port: UInt16
        var error: SPDYStream
        var data: SPDYStream
    }

    private struct Half {
        var error: SPDYStream?
        var data: SPDYStream?
    }

    private let found: AsyncStream<Pair>.Continuation
    private let halves = Mutex<[String: Half]>([:])

    init(_ found: AsyncStream<Pair>.Continuation) {
        self.found = found
    }

    func opened(_ stream: SPDYStream) {
        guard let port = stream.headers["port"].flatMap({ UInt16($0) }), port > 0,
            let type = stream.headers["streamType"], type == "error" || type == "data"
        else {
            stream.reset(SPDYStatus.refusedStream)
            return
        }
        // Clients of old open the error stream just before the data stream and send no requestID.
        let request = stream.headers["requestID"] ?? "\(type == "error" ? stream.id : stream.id &- 2)"
        stream.reply()
        let pair = halves.withLock { halves -> Pair? in
            var half = halves[request] ?? Half()
            if type == "error" { half.error = stream } else { half.data = stream }
            guard let error = half.error, let data = half.data else {
                halves[request] = half
                return nil
            }
            halves[request] = nil
            return Pair(port: port, error: error, data: data)
        }
        if let pair { found.yield(pair) }
    }
}
