import Linux
import Synchronization

/// Copies between two stream sockets, each perhaps still on its way, until both directions have ended. Nothing is kept for a
/// connection at rest but its two descriptors; what one end does not take at once (64 KiB at most) holds the other back.
///
/// Runs on the reactor's thread. Holds itself until it ends.
final class SocketRelay: Sendable {
    private struct End {
        var fd: Int32
        var token: Reactor.Token?
        var isConnecting: Bool
        /// Read to its end.
        var hasEnded = false
        /// What it has not taken yet.
        var output: [UInt8] = []
        var watched: UInt32 = 0
    }
    private struct State {
        var ends: [End]
        var isClosed = false
    }
    private let state: Mutex<State>
    private let reactor: Reactor
    private let onEnd: @Sendable () -> Void
    private static let chunk = 64 << 10

    /// `b` is on its way, `a` is connected.
    static func start(
        _ a: consuming FileDescriptor, connecting b: consuming FileDescriptor, reactor: Reactor = .shared,
        onEnd: @escaping @Sendable () -> Void = {}
    ) {
        let relay = SocketRelay(a.take(), b.take(), reactor, onEnd)
        relay.begin()
    }

    private init(_ a: Int32, _ b: Int32, _ reactor: Reactor, _ onEnd: @escaping @Sendable () -> Void) {
        state = Mutex(State(ends: [End(fd: a, isConnecting: false), End(fd: b, isConnecting: true)]))
        (self.reactor, self.onEnd) = (reactor, onEnd)
        for fd in [a, b] {
            InternetSocket.set(fd, Int32(IPPROTO_TCP), TCP_NODELAY)
            InternetSocket.set(fd, SOL_SOCKET, SO_KEEPALIVE)
        }
    }

    private func begin() {
        state.withLock { state in
            for index in 0..<2 {
                let events = Self.interest(state, index)
                // Strongly: the registrations are what keeps the relay alive.
                guard
                    let token = try? reactor.add(
                        state.ends[index].fd, events: events, level: true, { self.ready(index, $0) })
                else { return close(&state) }
                (state.ends[index].token, state.ends[index].watched) = (token, events)
            }
        }
    }

    private static func interest(_ state: State, _ index: Int) -> UInt32 {
        let (own, other) = (state.ends[index], state.ends[1 - index])
        var events: UInt32 = 0
        if own.isConnecting || !own.output.isEmpty { events |= EPOLLOUT.rawValue }
        if !own.isConnecting, !own.hasEnded, !other.isConnecting, other.output.isEmpty { events |= EPOLLIN.rawValue }
        return events
    }

    private func ready(_ index: Int, _ events: UInt32) {
        state.withLock { state in
            guard !state.isClosed else { return }
            let failed = events & (EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0
            if state.ends[index].isConnecting {
                var (code, size): (Int32, socklen_t) = (0, 4)
                getsockopt(state.ends[index].fd, SOL_SOCKET, SO_ERROR, &code, &size)
                guard code == 0 else { return close(&state) }
                if events & EPOLLOUT.rawValue != 0 { state.ends[index].isConnecting = false }
            }
            if !state.ends[index].output.isEmpty, !flush(&state, index) { return close(&state) }
            if failed, state.ends[1 - index].isConnecting || !state.ends[1 - index].output.isEmpty {
                // Told again and again until it is read, which it cannot be now.
                suspend(&state, index)
            } else if events & EPOLLIN.rawValue != 0 || failed {
                guard pump(&state, index) else { return close(&state) }
            }
            // The other may have been waiting for this one to take something, and is told of by nobody else: all of it, as far
            // as it is taken. What a closed socket still has is bounded by its buffer.
            for _ in 0..<1024 {
                let (own, other) = (state.ends[index], state.ends[1 - index])
                guard other.token == nil, own.output.isEmpty, !other.hasEnded else { break }
                guard pump(&state, 1 - index) else { return close(&state) }
            }
            if state.ends.allSatisfy({ $0.hasEnded && $0.output.isEmpty }) { return close(&state) }
            for end in 0..<2 { watch(&state, end) }
        }
    }

    private func suspend(_ state: inout State, _ index: Int) {
        guard let token = state.ends[index].token else { return }
        reactor.remove(token, state.ends[index].fd)
        state.ends[index].token = nil
    }

    private func watch(_ state: inout State, _ index: Int) {
        let events = Self.interest(state, index)
        guard let token = state.ends[index].token, events != state.ends[index].watched else { return }
        try? reactor.modify(token, state.ends[index].fd, events: events, level: true)
        state.ends[index].watched = events
    }

    /// Reads what is there and passes it on. False: the connection is broken.
    private func pump(_ state: inout State, _ index: Int) -> Bool {
        let other = 1 - index
        return withUnsafeTemporaryAllocation(byteCount: Self.chunk, alignment: 16) { buffer in
            // A bounded number of rounds, so that other connections have their turn.
            for _ in 0..<4 {
                guard !state.ends[index].hasEnded, state.ends[other].output.isEmpty else { return true }
                let count = recv(state.ends[index].fd, buffer.baseAddress, buffer.count, 0)
                if count < 0 { return errno == EAGAIN || errno == EINTR }
                if count == 0 {
                    state.ends[index].hasEnded = true
                    shutdown(state.ends[other].fd, Int32(SHUT_WR))
                    return true
                }
                var sent = send(state.ends[other].fd, buffer.baseAddress, count, Int32(MSG_NOSIGNAL))
                if sent < 0 {
                    guard errno == EAGAIN || errno == EINTR else { return false }
                    sent = 0
                }
                if sent < count {
                    state.ends[other].output = Array(UnsafeRawBufferPointer(rebasing: buffer[sent..<count]))
                }
                if count < buffer.count { return true }
            }
            return true
        }
    }

    /// False: the connection is broken.
    private func flush(_ state: inout State, _ index: Int) -> Bool {
        let output = state.ends[index].output
        let sent = output.withUnsafeBytes { send(state.ends[index].fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        if sent < 0 { return errno == EAGAIN || errno == EINTR }
        state.ends[index].output = sent == output.count ? [] : Array(output[sent...])
        if state.ends[index].output.isEmpty, state.ends[1 - index].hasEnded {
            shutdown(state.ends[index].fd, Int32(SHUT_WR))
        }
        return true
    }

    private func close(_ state: inout State) {
        guard !state.isClosed else { return }
        state.isClosed = true
        for index in 0..<2 {
            // What was cut off looks so at the other end.
            if !state.ends[index].hasEnded || !state.ends[index].output.isEmpty {
                var reset = linger(l_onoff: 1, l_linger: 0)
                let size = socklen_t(MemoryLayout<linger>.size)
                setsockopt(state.ends[index].fd, SOL_SOCKET, SO_LINGER, &reset, size)
            }
            if let token = state.ends[index].token { reactor.remove(token, state.ends[index].fd) }
            Glibc.close(state.ends[index].fd)
            state.ends[index].token = nil
        }
        onEnd()
    }
}
