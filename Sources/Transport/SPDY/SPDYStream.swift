import Synchronization

/// One stream of a SPDY session.
package final class SPDYStream: ByteStream {
    /// What may wait for the consumer before the session stops reading.
    private static let inboundLimit = 128 << 10
    private static let largestFrame = 32 << 10
    /// Bytes consumed before the peer's window is opened again.
    private static let windowStep = 32 << 10

    private struct State {
        var window: Int64
        var replied: Bool
        /// Bytes that the peer's window has no room for yet.
        var pending: [UInt8] = []
        var finPending = false
        var finSent = false
        var inputEnded = false
        var consumed = 0
        var failure: HTTPConnectionError?
        var drainers: [LockWaiter<Void>] = []
    }

    package let id: UInt32
    package let headers: HTTPHeaderFields
    private let session: SPDYSession
    private let inbound = ByteQueue(limit: SPDYStream.inboundLimit)
    private let state: Mutex<State>

    init(id: UInt32, headers: HTTPHeaderFields, session: SPDYSession, window: Int64, replied: Bool) {
        self.id = id
        self.headers = headers
        self.session = session
        state = Mutex(State(window: window, replied: replied))
    }

    /// SYN_REPLY, once; for the side that did not open the stream.
    package func reply(_ headers: HTTPHeaderFields = HTTPHeaderFields()) {
        let first = state.withLock { state in
            defer { state.replied = true }
            return !state.replied && state.failure == nil
        }
        if first { session.sendFrame(.synReply(id: id, headers: headers, fin: false)) }
    }

    /// RST_STREAM: both directions end at once.
    package func reset(_ status: UInt32 = 5) {
        session.sendFrame(.rstStream(id: id, status: status))
        session.forget(id)
        fail()
        inbound.end()
    }

    // MARK: - From the session

    func received(_ bytes: [UInt8]) async throws {
        try await inbound.push(bytes)
    }

    func receivedReply(_ headers: HTTPHeaderFields) {}

    func receivedEnd() {
        let over = state.withLock { state in
            state.inputEnded = true
            return state.finSent
        }
        inbound.end()
        if over { session.forget(id) }
    }

    func receivedReset(_ status: UInt32) {
        fail()
        inbound.end()
    }

    func connectionEnded() {
        fail()
        inbound.fail(HTTPConnectionError.peerGone)
    }

    private func fail() {
        let drainers = state.withLock { state in
            state.failure = .peerGone
            state.pending = []
            defer { state.drainers = [] }
            return state.drainers
        }
        for waiter in drainers { waiter.resume(.failure(HTTPConnectionError.peerGone)) }
    }

    func windowOpened(by delta: Int64) {
        let (drainers, over) = state.withLock { state -> ([LockWaiter<Void>], Bool) in
            state.window += delta
            flushPending(&state, windows: true)
            guard state.pending.isEmpty else { return ([], false) }
            defer { state.drainers = [] }
            return (state.drainers, state.finSent && state.inputEnded)
        }
        for waiter in drainers { waiter.resume(.success(())) }
        if over { session.forget(id) }
    }

    // MARK: - ByteStream

    package func read() async throws -> [UInt8]? {
        guard let bytes = try await inbound.pop() else { return nil }
        let step = state.withLock { state -> Int in
            state.consumed += bytes.count
            guard state.consumed >= SPDYStream.windowStep, !state.inputEnded, state.failure == nil else { return 0 }
            defer { state.consumed = 0 }
            return state.consumed
        }
        if step > 0 { session.sendFrame(.windowUpdate(id: id, delta: UInt32(step))) }
        return bytes
    }

    package func send(_ bytes: [UInt8]) {
        let windows = session.peerHasWindows
        state.withLock { state in
            guard state.failure == nil, !state.finSent, !state.finPending else { return }
            state.pending.append(contentsOf: bytes)
            flushPending(&state, windows: windows)
        }
    }

    private func flushPending(_ state: inout State, windows: Bool) {
        var sent = 0
        while sent < state.pending.count {
            let room = windows ? max(0, state.window) : Int64.max
            let count = Int(min(Int64(min(state.pending.count - sent, SPDYStream.largestFrame)), room))
            guard count > 0 else { break }
            session.sendFrame(.data(id: id, Array(state.pending[sent..<(sent + count)]), fin: false))
            state.window -= Int64(count)
            sent += count
        }
        if sent == state.pending.count { state.pending = [] } else { state.pending.removeFirst(sent) }
        if state.pending.isEmpty, state.finPending, !state.finSent {
            state.finSent = true
            session.sendFrame(.data(id: id, [], fin: true))
        }
    }

    package func drained() async throws {
        let waiter = LockWaiter<Void>()
        state.withLock { state in
            if state.failure != nil {
                waiter.resume(.failure(HTTPConnectionError.peerGone))
            } else if state.pending.isEmpty {
                waiter.resume(.success(()))
            } else {
                state.drainers.append(waiter)
            }
        }
        try await waiter.wait()
        try await session.drained()
    }

    package func closeWrite() {
        let windows = session.peerHasWindows
        let over = state.withLock { state -> Bool in
            guard state.failure == nil, !state.finSent, !state.finPending else { return false }
            state.finPending = true
            flushPending(&state, windows: windows)
            return state.finSent && state.inputEnded
        }
        if over { session.forget(id) }
    }

    /// Ends our side; what the peer still sends is thrown away.
    package func close() {
        state.withLock { $0.inputEnded = true }
        inbound.end()
        closeWrite()
    }
}
