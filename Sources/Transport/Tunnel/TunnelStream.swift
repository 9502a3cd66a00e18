import Synchronization

/// One connection through a tunnel, as a stream of bytes. The protocol has no half close: `closeWrite` is an end for this
/// side only, and an end by the peer ends both directions (what it sent before can still be read).
package final class TunnelStream: ByteStream {
    /// The largest piece in one message, as Go's io.Copy makes them.
    private static let pieceSize = 32 << 10
    /// How long a stream whose own side has ended waits for the peer's, in seconds: the peer cannot know of it.
    private static let lingering = 30.0

    private struct State {
        var buffered: [[UInt8]] = []
        var bufferedBytes = 0
        /// The peer was asked to pause.
        var pausing = false
        /// The peer asked us to.
        var paused = false
        var writeEnded = false
        /// The peer's end, or ours; nil as error is a normal end.
        var ended = false
        var failure: TunnelError?
        var reader: LockWaiter<[UInt8]?>?
        var drainers: [LockWaiter<Void>] = []
        var linger: Task<Void, Never>?
    }

    package let id: Int64
    package let address: TunnelAddress
    /// Session-wide syncs received before this stream was opened.
    let round: Int
    private let session: TunnelSession
    private let state = Mutex(State())

    init(id: Int64, address: TunnelAddress, round: Int, session: TunnelSession) {
        self.id = id
        self.address = address
        self.round = round
        self.session = session
    }

    // MARK: - From the session

    /// Takes bytes of the peer. Returns the reason to end the connection when too much waits.
    func received(_ bytes: [UInt8]) -> TunnelError? {
        guard !bytes.isEmpty else { return nil }
        let limits = session.limits
        let (reader, pause, overflow) = state.withLock { state -> (LockWaiter<[UInt8]?>?, Bool, Bool) in
            guard !state.ended else { return (nil, false, false) }
            if let reader = state.reader {
                state.reader = nil
                return (reader, false, false)
            }
            guard state.bufferedBytes + bytes.count <= limits.connectionBytes, session.reserve(bytes.count) else {
                return (nil, false, true)
            }
            state.buffered.append(bytes)
            state.bufferedBytes += bytes.count
            guard state.bufferedBytes > limits.pauseAbove, !state.pausing else { return (nil, false, false) }
            state.pausing = true
            return (nil, true, false)
        }
        if overflow { return .overflow(limit: limits.connectionBytes) }
        if pause { session.send(.pause, id) }
        if let reader, !reader.resume(.success(bytes)) {
            // The reader was cancelled in the meantime: the bytes are for the next one.
            return received(bytes)
        }
        return nil
    }

    func receivedPause() {
        state.withLock { $0.paused = true }
    }

    func receivedResume() {
        let drainers = state.withLock { state in
            state.paused = false
            defer { state.drainers = [] }
            return state.drainers
        }
        for waiter in drainers { waiter.resume(.success(())) }
    }

    /// Ends both directions; what waits can still be read. Nothing is sent.
    func finish(_ failure: TunnelError?, discarding: Bool = false) {
        let (reader, drainers, linger, dropped) = state.withLock { state in
            if !state.ended {
                state.ended = true
                state.failure = failure
            }
            state.writeEnded = true
            var dropped = 0
            if discarding {
                dropped = state.bufferedBytes
                state.buffered = []
                state.bufferedBytes = 0
            }
            defer { (state.reader, state.drainers, state.linger) = (nil, [], nil) }
            return (state.reader, state.drainers, state.linger, dropped)
        }
        session.release(dropped)
        linger?.cancel()
        if let failure { reader?.resume(.failure(failure)) } else { reader?.resume(.success(nil)) }
        for waiter in drainers { waiter.resume(.failure(failure ?? TunnelError.closedByPeer("EOF"))) }
    }

    // MARK: - ByteStream

    package func read() async throws -> [UInt8]? {
        let waiter = LockWaiter<[UInt8]?>()
        let (taken, resume) = state.withLock { state -> (Int, Bool) in
            if !state.buffered.isEmpty {
                // In pieces of at most what one read should be.
                var bytes = state.buffered.removeFirst()
                while let next = state.buffered.first, bytes.count + next.count <= 64 << 10 {
                    bytes.append(contentsOf: next)
                    state.buffered.removeFirst()
                }
                state.bufferedBytes -= bytes.count
                waiter.resume(.success(bytes))
                guard state.pausing, state.bufferedBytes < session.limits.resumeBelow, !state.ended else {
                    return (bytes.count, false)
                }
                state.pausing = false
                return (bytes.count, true)
            }
            if let failure = state.failure {
                waiter.resume(.failure(failure))
            } else if state.ended {
                waiter.resume(.success(nil))
            } else {
                state.reader = waiter
            }
            return (0, false)
        }
        session.release(taken)
        if resume { session.send(.resume, id) }
        return try await waiter.wait()
    }

    package func send(_ bytes: [UInt8]) {
        // Pieces of one call stay together; those of two calls keep the order of the calls only if their tasks do.
        guard state.withLock({ !$0.writeEnded }) else { return }
        var start = 0
        while start < bytes.count {
            let end = min(start + Self.pieceSize, bytes.count)
            session.send(.data, id, bytes[start..<end])
            start = end
        }
    }

    package func drained() async throws {
        while true {
            let waiter = LockWaiter<Void>()
            let wait = state.withLock { state -> Bool in
                if state.ended {
                    waiter.resume(.failure(state.failure ?? TunnelError.closedByPeer("EOF")))
                } else if state.paused {
                    state.drainers.append(waiter)
                } else {
                    return false
                }
                return true
            }
            guard wait else { break }
            try await waiter.wait()
        }
        try await session.drained()
    }

    package func closeWrite() {
        state.withLock { state in
            guard !state.writeEnded else { return }
            state.writeEnded = true
            state.linger = Task { [weak self] in
                try? await Task.sleep(nanoseconds: UInt64(Self.lingering * 1e9))
                if !Task.isCancelled { self?.close() }
            }
        }
    }

    package func close() {
        session.end(self, nil)
    }

    /// Ends the connection and tells the peer why.
    package func close(_ error: TunnelError) {
        session.end(self, error)
    }

    package func abort() {
        close()
    }
}
