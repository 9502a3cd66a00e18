import Synchronization

/// A non-blocking descriptor with async reads and writes: pipes, ptys, sockets, eventfds (not regular files).
///
/// One reader and one writer at a time. Writes are backpressured: `write` returns when the kernel has taken
/// everything. `close()` and task cancellation wake a waiter with ECANCELED.
package final class AsyncFD: Sendable {
    private enum Side: Sendable {
        case idle
        /// An event came while nobody waited.
        case ready
        case waiting(CheckedContinuation<Bool, Never>)
    }

    private struct State {
        var read = Side.idle
        var write = Side.idle
        var token: Reactor.Token?
        /// -1 when closed.
        var fd: Int32
        /// System calls in flight on `fd`: a close waits for the last one, so that the number cannot be reused under it.
        var users = 0
        var closing = false

        subscript(direction: Direction) -> Side {
            get { direction == .read ? read : write }
            set { if direction == .read { read = newValue } else { write = newValue } }
        }
    }

    private let state: Mutex<State>
    private let reactor: Reactor

    /// Takes the descriptor over and makes it non-blocking.
    package init(_ fd: consuming FileDescriptor, reactor: Reactor = .shared) throws(SysError) {
        try fd.setNonBlocking()
        let raw = fd.take()
        self.reactor = reactor
        state = Mutex(State(fd: raw))
        do throws(SysError) {
            let token = try reactor.add(
                raw, events: EPOLLIN.rawValue | EPOLLOUT.rawValue | EPOLLRDHUP.rawValue
            ) { [weak self] events in self?.handle(events) }
            state.withLock { $0.token = token }
        } catch {
            Glibc.close(raw)
            state.withLock { $0.fd = -1 }
            throw error
        }
    }

    deinit { close() }

    private func handle(_ events: UInt32) {
        let hangup = events & (EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0
        let readable = hangup || events & (EPOLLIN.rawValue | EPOLLRDHUP.rawValue) != 0
        let writable = hangup || events & EPOLLOUT.rawValue != 0
        let (reader, writer) = state.withLock { state in
            (readable ? AsyncFD.signal(&state.read) : nil, writable ? AsyncFD.signal(&state.write) : nil)
        }
        reader?.resume(returning: true)
        writer?.resume(returning: true)
    }

    private static func signal(_ side: inout Side) -> CheckedContinuation<Bool, Never>? {
        if case .waiting(let continuation) = side {
            side = .idle
            return continuation
        }
        side = .ready
        return nil
    }

    /// Deregisters, closes, wakes who waits. Idempotent.
    package func close() {
        let (waiters, token, fd, now) = state.withLock { state in
            var waiters: [CheckedContinuation<Bool, Never>] = []
            if case .waiting(let continuation) = state.read { waiters.append(continuation) }
            if case .waiting(let continuation) = state.write { waiters.append(continuation) }
            (state.read, state.write) = (.ready, .ready)
            let token = state.token
            state.token = nil
            guard !state.closing else { return (waiters, token, Int32(-1), false) }
            state.closing = true
            let fd = state.fd
            let now = state.users == 0
            if now { state.fd = -1 }
            return (waiters, token, fd, now)
        }
        if let token, fd >= 0 { reactor.remove(token, fd) }
        if now, fd >= 0 { Glibc.close(fd) }
        for waiter in waiters { waiter.resume(returning: false) }
    }

    package var isClosed: Bool { state.withLock { $0.closing } }

    /// Runs a short, non-blocking call on the descriptor. -EBADF after close.
    package func withDescriptor<R>(_ body: (Int32) -> R) throws(SysError) -> R {
        let fd = state.withLock { state in
            guard !state.closing else { return Int32(-1) }
            state.users += 1
            return state.fd
        }
        if fd < 0 { throw SysError(ECANCELED, "io") }
        let result = body(fd)
        let last = state.withLock { state in
            state.users -= 1
            guard state.closing, state.users == 0, state.fd >= 0 else { return Int32(-1) }
            defer { state.fd = -1 }
            return state.fd
        }
        if last >= 0 { Glibc.close(last) }
        return result
    }

    private enum Direction { case read, write }

    /// Waits for the next readiness event, or returns at once when one came since the last wait.
    private func wait(_ direction: Direction) async throws(SysError) {
        let woken = await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Bool, Never>) in
                let immediate = state.withLock { state -> Bool? in
                    if state.closing || Task.isCancelled { return false }
                    switch state[direction] {
                    case .ready:
                        state[direction] = .idle
                        return true
                    case .idle:
                        state[direction] = .waiting(continuation)
                        return nil
                    case .waiting: return false
                    }
                }
                if let immediate { continuation.resume(returning: immediate) }
            }
        } onCancel: {
            let waiter = state.withLock { state -> CheckedContinuation<Bool, Never>? in
                guard case .waiting(let continuation) = state[direction] else { return nil }
                state[direction] = .idle
                return continuation
            }
            waiter?.resume(returning: false)
        }
        if !woken { throw SysError(ECANCELED, direction == .read ? "read" : "write") }
    }

    /// Waits until `body` no longer answers -EAGAIN; for accept, connect, recvmsg and the like.
    package func whenReadable<R: SignedInteger & FixedWidthInteger>(
        _ call: StaticString, _ body: (Int32) -> R
    ) async throws(SysError) -> R {
        try await retry(.read, call, body)
    }

    package func whenWritable<R: SignedInteger & FixedWidthInteger>(
        _ call: StaticString, _ body: (Int32) -> R
    ) async throws(SysError) -> R {
        try await retry(.write, call, body)
    }

    private func retry<R: SignedInteger & FixedWidthInteger>(
        _ direction: Direction, _ call: StaticString, _ body: (Int32) -> R
    ) async throws(SysError) -> R {
        while true {
            let result = try withDescriptor(body)
            if result >= 0 { return result }
            switch Int32(-result) {
            case EINTR: continue
            case EAGAIN: try await wait(direction)
            case let code: throw SysError(code, call)
            }
        }
    }

    /// Reads what is there, at most `limit` bytes; nil at the end. A pty whose other side is closed ends, too (EIO).
    package func read(limit: Int = 32 << 10) async throws(SysError) -> [UInt8]? {
        while true {
            let result = try withDescriptor { fd -> Result<[UInt8], SysError> in
                var code: Int32 = 0
                let bytes = [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
                    let got = Glibc.read(fd, buffer.baseAddress, limit)
                    if got < 0 { code = errno }
                    count = max(0, got)
                }
                return code == 0 ? .success(bytes) : .failure(SysError(code, "read"))
            }
            switch result {
            case .success(let bytes): return bytes.isEmpty ? nil : bytes
            case .failure(let error) where error.code == EAGAIN: try await wait(.read)
            case .failure(let error) where error.code == EINTR: continue
            case .failure(let error) where error.code == EIO: return nil
            case .failure(let error): throw error
            }
        }
    }

    /// Writes everything. EPIPE when the reader is gone (SIGPIPE must be ignored: `Signals.ignoreBrokenPipe`).
    package func write(_ bytes: [UInt8]) async throws(SysError) {
        try await write(bytes[...])
    }

    package func write(_ slice: ArraySlice<UInt8>) async throws(SysError) {
        var rest = slice
        while !rest.isEmpty {
            let chunk = rest
            let count = try await retry(.write, "write") { fd in
                let result = chunk.withUnsafeBytes { Glibc.write(fd, $0.baseAddress, $0.count) }
                return result < 0 ? -Int(errno) : result
            }
            rest = rest.dropFirst(count)
        }
    }

    /// Waits until a pidfd (or anything else that becomes readable once) is readable, without reading.
    package func readable() async throws(SysError) {
        while true {
            let ready = try withDescriptor { fd -> Bool in
                var entry = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
                return poll(&entry, 1, 0) > 0
            }
            if ready { return }
            try await wait(.read)
        }
    }
}
