import Synchronization

/// How much a tunnel session may hold.
package struct TunnelLimits: Sendable {
    /// The peer is asked to pause a connection when more waits for its reader, and to resume when less does.
    package var pauseAbove = 256 << 10
    package var resumeBelow = 64 << 10
    /// What may wait for a reader at all (what was on its way when the peer was asked to pause): more ends the connection.
    package var connectionBytes = 8 << 20
    package var sessionBytes = 32 << 20
    package var connections = 4096

    package init() {}
}

/// Many connections over one WebSocket between an agent and a server (remotedialer's protocol, see `TunnelFrame`). Either
/// side may open connections as far as the other's policy allows; in k3s the server does, to reach the agent's kubelet
/// and pods.
///
///     let session = TunnelSession(socket, role: .client, allow: { $0.port == 10250 }, dial: { try await ... })
///     try await session.run()     // until the connection ends
package final class TunnelSession: Sendable {
    package typealias Dialer = @Sendable (TunnelAddress) async throws -> any ByteStream

    /// Seconds. The client pings and syncs; both give up when nothing at all has come for the deadline.
    private static let pingInterval = 5.0
    private static let syncEvery = 12
    private static let readDeadline = 60.0
    private static let dialTimeout = 60.0

    private struct State {
        var connections: [Int64: TunnelStream] = [:]
        var lastConnection: Int64 = 0
        var lastMessage: Int64 = 0
        var syncRound = 0
        var bufferedBytes = 0
        var ended = false
        /// Connections that the peer asked for.
        var tasks: [Int64: Task<Void, Never>] = [:]
    }

    package let limits: TunnelLimits
    private let socket: WebSocketConnection
    private let role: WebSocketConnection.Role
    private let allow: @Sendable (TunnelAddress) -> Bool
    private let dialer: Dialer?
    private let state = Mutex(State())

    /// - Parameters:
    ///   - allow: whether the peer may have us connect to an address; without a `dial` it never may.
    ///   - dial: makes such a connection.
    package init(
        _ socket: WebSocketConnection, role: WebSocketConnection.Role, limits: TunnelLimits = TunnelLimits(),
        allow: @escaping @Sendable (TunnelAddress) -> Bool = { _ in false }, dial: Dialer? = nil
    ) {
        self.socket = socket
        self.role = role
        self.limits = limits
        self.allow = allow
        dialer = dial
    }

    /// Largest WebSocket message to accept; for `WebSocketHandshake`.
    package static let messageLimit = 1 << 20

    package var connectionCount: Int { state.withLock { $0.connections.count } }
    package var isEnded: Bool { state.withLock { $0.ended } }

    /// Opens a connection on the peer's side. There is no answer to wait for: what goes wrong there comes as the error
    /// of the first read.
    package func dial(_ address: TunnelAddress) throws(TunnelError) -> TunnelStream {
        let made = state.withLock { state -> Result<TunnelStream, TunnelError> in
            guard !state.ended else { return .failure(.sessionEnded) }
            guard state.connections.count < limits.connections else {
                return .failure(.tooManyConnections(limit: limits.connections))
            }
            repeat { state.lastConnection += 1 } while state.connections[state.lastConnection] != nil
            let stream = TunnelStream(
                id: state.lastConnection, address: address, round: state.syncRound, session: self)
            state.connections[stream.id] = stream
            return .success(stream)
        }
        let stream = try made.get()
        let payload = Array(address.description.utf8)
        guard payload.count <= TunnelFrame.addressLimit else {
            forget(stream.id)
            throw .malformed("connect address of \(payload.count) bytes")
        }
        send(.connect, stream.id, payload[...])
        return stream
    }

    package func dial(_ network: String, _ address: String) throws(TunnelError) -> TunnelStream {
        try dial(try TunnelAddress(network: network, address: address))
    }

    // MARK: - Life

    /// Serves the session until the connection ends, is found dead, or the task is cancelled; all its connections end
    /// with it.
    /// - Throws: why the connection ended, if not by a close frame of the peer.
    package func run() async throws {
        let outcome: Result<Void, any Error>
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await self.receive() }
                group.addTask { try await self.keepAlive() }
                defer { group.cancelAll() }
                _ = try await group.next()
            }
            outcome = .success(())
        } catch {
            outcome = .failure(error)
        }
        let closedHere = end()
        if case .failure(let error) = outcome, let error = error as? TunnelError {
            socket.sendClose(1002, error.description)
        }
        // A dead peer takes nothing any more: waiting for what was sent to leave would be for ever.
        socket.abort()
        if !closedHere { try outcome.get() }
    }

    /// Ends the session: `run` returns.
    package func close() {
        end()
        socket.sendClose(1000, "")
        socket.abort()
    }

    /// Whether the session had been ended before.
    @discardableResult
    private func end() -> Bool {
        let (before, streams, tasks) = state.withLock { state in
            defer { (state.ended, state.connections, state.tasks) = (true, [:], [:]) }
            return (state.ended, Array(state.connections.values), Array(state.tasks.values))
        }
        for stream in streams { stream.finish(.sessionEnded) }
        for task in tasks { task.cancel() }
        return before
    }

    private func receive() async throws {
        while let message = try await socket.receive() {
            do throws(TunnelError) {
                try handle(try TunnelFrame(decoding: message.bytes))
            } catch {
                if case .unknownType = error { continue }
                throw error
            }
        }
    }

    private func keepAlive() async throws {
        var beats = 0
        while !isEnded {
            let silence = socket.secondsSinceReceipt
            if silence >= Self.readDeadline { throw HTTPConnectionError.peerGone }
            guard role == .client else {
                try await Task.sleep(nanoseconds: UInt64((Self.readDeadline - silence + 0.1) * 1e9))
                continue
            }
            try await Task.sleep(nanoseconds: UInt64(Self.pingInterval * 1e9))
            socket.ping()
            beats += 1
            if beats % Self.syncEvery == 0 { sendSync() }
        }
    }

    /// Tells the server which connections are alive here.
    func sendSync() {
        let (id, connections) = state.withLock { state in
            state.lastMessage += 1
            return (state.lastMessage, state.connections.keys.sorted())
        }
        socket.sendNow(binary: TunnelFrame.sync(id: id, connections: connections).encoded)
    }

    // MARK: - Frames in

    private func handle(_ frame: TunnelFrame) throws(TunnelError) {
        switch frame.kind {
        case .connect: try connect(frame)
        case .syncConnections: synchronize(Set(frame.connections))
        // Sessions of other servers' agents are none of ours: every agent connects to every server.
        case .addClient, .removeClient: break
        case .data, .error, .pause, .resume:
            guard let stream = state.withLock({ $0.connections[frame.connection] }) else {
                if frame.kind == .data { sendError(frame.connection, "connection not found \(frame.connection)") }
                return
            }
            switch frame.kind {
            case .data:
                if let error = stream.received(frame.payload) { end(stream, error) }
            case .pause: stream.receivedPause()
            case .resume: stream.receivedResume()
            default:
                forget(stream.id)
                let text = String(decoding: frame.payload, as: UTF8.self)
                stream.finish(text == "EOF" ? nil : .closedByPeer(text))
            }
        }
    }

    private func connect(_ frame: TunnelFrame) throws(TunnelError) {
        let address: TunnelAddress
        do throws(TunnelError) {
            address = try TunnelAddress(decoding: frame.payload)
        } catch {
            sendError(frame.connection, error.description)
            return
        }
        guard let dialer, allow(address) else {
            sendError(frame.connection, "connect not allowed")
            return
        }
        enum Refusal: Error {
            case known
            case full
        }
        let made = state.withLock { state -> Result<TunnelStream, Refusal> in
            guard state.connections[frame.connection] == nil else { return .failure(.known) }
            guard !state.ended, state.connections.count < limits.connections else { return .failure(.full) }
            let stream = TunnelStream(id: frame.connection, address: address, round: state.syncRound, session: self)
            state.connections[frame.connection] = stream
            state.tasks[frame.connection] = Task { await self.serve(stream, dialer) }
            return .success(stream)
        }
        switch made {
        case .success: break
        case .failure(.known): throw .malformed("connect message: connection \(frame.connection) is open already")
        case .failure(.full):
            sendError(frame.connection, TunnelError.tooManyConnections(limit: limits.connections).description)
        }
    }

    /// Dials and copies both directions.
    private func serve(_ stream: TunnelStream, _ dialer: @escaping Dialer) async {
        defer { state.withLock { _ = $0.tasks.removeValue(forKey: stream.id) } }
        let dialed: Result<any ByteStream, any Error> =
            await withTimeLimit(seconds: Self.dialTimeout) {
                do { return .success(try await dialer(stream.address)) } catch { return .failure(error) }
            } ?? .failure(TunnelError.closedByPeer("dial \(stream.address): i/o timeout"))
        switch dialed {
        case .failure(let error): stream.close(.closedByPeer("\(error)"))
        case .success(let target):
            await withTaskGroup(of: Void.self) { group in
                // The end of either direction is the end of the connection.
                group.addTask {
                    while let bytes = try? await target.read() {
                        do { try await stream.write(bytes) } catch { break }
                    }
                    stream.close()
                }
                group.addTask {
                    while let bytes = try? await stream.read() {
                        do { try await target.write(bytes) } catch { break }
                    }
                    target.close()
                }
                await group.waitForAll()
            }
        }
    }

    private func synchronize(_ alive: Set<Int64>) {
        let stale = state.withLock { state -> [TunnelStream] in
            // One that was opened since the last sync may be younger than this list.
            let stale = state.connections.values.filter { $0.round < state.syncRound && !alive.contains($0.id) }
            for stream in stale { state.connections[stream.id] = nil }
            state.syncRound += 1
            return stale
        }
        for stream in stale { stream.finish(.closedByPeer("connection no longer active on the other side")) }
    }

    // MARK: - Frames out

    func send(_ kind: TunnelFrame.Kind, _ connection: Int64, _ payload: ArraySlice<UInt8> = []) {
        let id = state.withLock { state -> Int64? in
            guard !state.ended else { return nil }
            state.lastMessage &+= 1
            return state.lastMessage
        }
        guard let id else { return }
        let header = TunnelFrame(id: id, connection: connection, kind: kind).header
        socket.sendNow(binary: payload, prefix: header)
    }

    private func sendError(_ connection: Int64, _ text: String) {
        send(.error, connection, Array(text.utf8.prefix(TunnelFrame.errorLimit))[...])
    }

    func drained() async throws {
        try await socket.drained()
    }

    // MARK: - For the streams

    /// Ends a connection from this side; the peer is told once.
    func end(_ stream: TunnelStream, _ error: TunnelError?) {
        if forget(stream.id) {
            switch error {
            case nil: sendError(stream.id, "EOF")
            case .closedByPeer(let text): sendError(stream.id, text)
            case .some(let error): sendError(stream.id, error.description)
            }
        }
        stream.finish(error, discarding: true)
    }

    @discardableResult
    private func forget(_ id: Int64) -> Bool {
        state.withLock { $0.connections.removeValue(forKey: id) != nil }
    }

    /// Whether the session has room for bytes that wait for a reader.
    func reserve(_ count: Int) -> Bool {
        state.withLock { state in
            guard state.bufferedBytes + count <= limits.sessionBytes else { return false }
            state.bufferedBytes += count
            return true
        }
    }

    func release(_ count: Int) {
        guard count > 0 else { return }
        state.withLock { $0.bufferedBytes -= count }
    }
}
