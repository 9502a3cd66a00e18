import Synchronization

/// A SPDY/3.1 session over any stream of bytes, either end: streams with half close, reset, ping, GOAWAY and windows.
///
/// Flow control towards the peer starts with the peer's first WINDOW_UPDATE or initial-window setting: the
/// implementation in every Kubernetes client (moby/spdystream) knows no windows and would never open one. What the peer
/// sends is bounded by not reading the connection while a stream's consumer is behind, and by windows for peers that
/// have them.
package final class SPDYSession: Sendable {
    enum Role: Sendable {
        case server
        case client
    }

    private struct State: ~Copyable {
        var encoder: SPDYEncoder
        var streams: [UInt32: SPDYStream] = [:]
        var nextID: UInt32
        var lastPeerID: UInt32 = 0
        var goneAway = false
        var peerHasWindows = false
        var initialWindow: Int64 = 65536
    }

    static let largestStreams = 1024
    private let connection: any ByteStream
    private let role: Role
    private let state: Mutex<State>

    init(_ connection: any ByteStream, role: Role) throws(ZlibError) {
        self.connection = connection
        self.role = role
        state = Mutex(State(encoder: try SPDYEncoder(), nextID: role == .client ? 1 : 2))
    }

    // MARK: - Reading

    /// Serves the session until the peer is gone: `onStream` is called in order for each stream that the peer opens and
    /// must not wait. Returns at the end of the connection; every stream has ended or failed then.
    func run(onStream: @Sendable (SPDYStream) -> Void) async throws {
        defer { endStreams() }
        var decoder = try SPDYDecoder()
        while let bytes = try await connection.read() {
            decoder.feed(bytes)
            do {
                while let frame = try decoder.next() { try await handle(frame, onStream) }
            } catch let error as SPDYError {
                goAway(status: 1)
                throw error
            }
        }
    }

    private func endStreams() {
        let streams = state.withLock { state in
            state.goneAway = true
            defer { state.streams = [:] }
            return Array(state.streams.values)
        }
        for stream in streams { stream.connectionEnded() }
    }

    private func handle(_ frame: SPDYFrame, _ onStream: @Sendable (SPDYStream) -> Void) async throws {
        switch frame {
        case .synStream(let id, _, _, let headers, let fin): try opened(id, headers, fin, onStream)
        case .synReply(let id, let headers, let fin):
            let stream = stream(id)
            stream?.receivedReply(headers)
            if fin { stream?.receivedEnd() }
        case .data(let id, let bytes, let fin):
            guard let stream = stream(id) else { return }
            if !bytes.isEmpty { try await stream.received(bytes) }
            if fin { stream.receivedEnd() }
        case .headers(let id, _, let fin):
            if fin { stream(id)?.receivedEnd() }
        case .rstStream(let id, let status):
            let stream = state.withLock { $0.streams.removeValue(forKey: id) }
            stream?.receivedReset(status)
        case .ping(let id):
            // Odd numbers are the client's; an answer to one of ours needs no answer.
            if (id & 1 == 1) == (role == .server) { sendFrame(.ping(id)) }
        case .goAway: state.withLock { $0.goneAway = true }
        case .windowUpdate(let id, let delta):
            state.withLock { $0.peerHasWindows = true }
            // Stream 0 is the session's window (3.1), which TCP stands in for.
            if id != 0 { stream(id)?.windowOpened(by: Int64(delta)) }
        case .settings(let settings):
            for setting in settings where setting.id == SPDYSetting.initialWindowSize {
                let streams = state.withLock { state in
                    let change = Int64(setting.value) - state.initialWindow
                    state.peerHasWindows = true
                    state.initialWindow = Int64(setting.value)
                    return state.streams.values.map { ($0, change) }
                }
                for (stream, change) in streams { stream.windowOpened(by: change) }
            }
        }
    }

    private func stream(_ id: UInt32) -> SPDYStream? {
        state.withLock { $0.streams[id] }
    }

    private func opened(
        _ id: UInt32, _ headers: HTTPHeaderFields, _ fin: Bool, _ onStream: @Sendable (SPDYStream) -> Void
    ) throws(SPDYError) {
        guard (id & 1 == 1) == (role == .server) else { throw .protocolError("stream \(id) opened by the wrong side") }
        enum Verdict {
            case refused
            case repeated
            case accepted(SPDYStream)
        }
        let verdict = state.withLock { state -> Verdict in
            guard id > state.lastPeerID else { return .repeated }
            state.lastPeerID = id
            guard !state.goneAway, state.streams.count < SPDYSession.largestStreams else { return .refused }
            let stream = SPDYStream(
                id: id, headers: headers, session: self, window: state.initialWindow, replied: false)
            state.streams[id] = stream
            return .accepted(stream)
        }
        switch verdict {
        case .repeated: throw .protocolError("stream \(id) opened out of order")
        case .refused: sendFrame(.rstStream(id: id, status: SPDYStatus.refusedStream))
        case .accepted(let stream):
            if fin { stream.receivedEnd() }
            onStream(stream)
        }
    }

    // MARK: - Writing

    var peerHasWindows: Bool { state.withLock { $0.peerHasWindows } }

    /// Compressed and queued under one lock: header blocks leave in the order of their compression.
    func sendFrame(_ frame: SPDYFrame) {
        state.withLock { connection.send($0.encoder.encode(frame)) }
    }

    func drained() async throws {
        try await connection.drained()
    }

    /// Opens a stream; the peer's reply is not waited for.
    func open(_ headers: HTTPHeaderFields) throws(SPDYError) -> SPDYStream {
        let stream = state.withLock { state -> SPDYStream? in
            guard !state.goneAway else { return nil }
            let id = state.nextID
            state.nextID += 2
            let stream = SPDYStream(id: id, headers: headers, session: self, window: state.initialWindow, replied: true)
            state.streams[id] = stream
            let frame = SPDYFrame.synStream(id: id, associated: 0, priority: 0, headers: headers, fin: false)
            connection.send(state.encoder.encode(frame))
            return stream
        }
        guard let stream else { throw .protocolError("session is closing") }
        return stream
    }

    func goAway(status: UInt32 = 0) {
        let last = state.withLock { state in
            state.goneAway = true
            return state.lastPeerID
        }
        sendFrame(.goAway(lastGood: last, status: status))
    }

    func forget(_ id: UInt32) {
        state.withLock { _ = $0.streams.removeValue(forKey: id) }
    }
}
