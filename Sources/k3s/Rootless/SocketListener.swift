import Linux
import Synchronization

/// Accepts the connections of a listening socket on the reactor's thread and hands each over: who gets the descriptor closes it.
final class SocketListener: Sendable {
    private struct State {
        /// -1: stopped.
        var fd: Int32
        var token: Reactor.Token?
    }
    private let state: Mutex<State>
    private let reactor: Reactor
    private let accept: @Sendable (Int32) -> Void
    /// Accepted in one go, so that other descriptors have their turn.
    private static let batch = 16

    init(
        _ socket: consuming FileDescriptor, reactor: Reactor = .shared,
        _ accept: @escaping @Sendable (Int32) -> Void
    ) throws(SysError) {
        let fd = socket.take()
        self.reactor = reactor
        self.accept = accept
        state = Mutex(State(fd: fd))
        do throws(SysError) {
            let token = try reactor.add(fd, events: EPOLLIN.rawValue, level: true) { [weak self] _ in self?.ready() }
            state.withLock { $0.token = token }
        } catch {
            close(fd)
            throw error
        }
    }

    deinit { stop() }

    func stop() {
        let (fd, token) = state.withLock { state in
            defer { state = State(fd: -1) }
            return (state.fd, state.token)
        }
        guard fd >= 0 else { return }
        if let token { reactor.remove(token, fd) }
        close(fd)
    }

    private func ready() {
        for _ in 0..<Self.batch {
            let result = state.withLock { $0.fd < 0 ? -EAGAIN : k3s_accept($0.fd) }
            guard result < 0 else {
                accept(result)
                continue
            }
            // Without descriptors the event would come again and again.
            if result != -EAGAIN, result != -ECONNABORTED, result != -EINTR { pause() }
            return
        }
    }

    private func pause() {
        watch(0)
        Task { [weak self] in
            try? await Task.sleep(for: .seconds(1))
            self?.watch(EPOLLIN.rawValue)
        }
    }

    private func watch(_ events: UInt32) {
        state.withLock { state in
            guard let token = state.token, state.fd >= 0 else { return }
            try? reactor.modify(token, state.fd, events: events, level: true)
        }
    }
}
