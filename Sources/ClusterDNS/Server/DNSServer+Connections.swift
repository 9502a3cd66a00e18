import Linux
import Synchronization

extension DNSServer {
    /// A TCP client: messages with their length in front, answered in any order (RFC 7766).
    struct Connection: Sendable {
        var fd: Int32
        var token: Reactor.Token
        var input: [UInt8] = []
        var output: [UInt8] = []
        var lastActive: Int64
        var wantsToWrite = false
    }

    func acceptConnections(_ listener: Int32) {
        while true {
            let fd = state.withLock { $0.isStopped ? 0 : accept(listener, nil, nil) }
            if fd == 0 { return }
            if fd < 0 {
                if errno == EINTR || errno == ECONNABORTED { continue }
                return
            }
            let descriptor = FileDescriptor(owning: fd)
            let full = state.withLock { $0.connections.count >= limits.connections || $0.isStopped }
            if full { continue }
            do throws(SysError) {
                try descriptor.setNonBlocking()
                try descriptor.setCloseOnExec()
            } catch { continue }
            register(descriptor.take())
        }
    }

    private func register(_ fd: Int32) {
        let now = MonotonicClock.now()
        state.withLock { state in
            let number = state.next
            state.next += 1
            guard
                let token = try? reactor.add(
                    fd, events: EPOLLIN.rawValue, level: true, { [weak self] in self?.connectionReady(number, $0) })
            else {
                close(fd)
                return
            }
            state.connections[number] = Connection(fd: fd, token: token, lastActive: now)
            startTicking(&state)
        }
    }

    private func connectionReady(_ number: UInt64, _ events: UInt32) {
        let now = MonotonicClock.now()
        state.withLock { state in
            guard let connection = state.connections[number] else { return }
            if events & EPOLLOUT.rawValue != 0 { flush(number, &state) }
            guard events & (EPOLLIN.rawValue | EPOLLHUP.rawValue | EPOLLERR.rawValue) != 0 else { return }
            let chunk = [UInt8](unsafeUninitializedCapacity: 16 << 10) { buffer, count in
                count = max(0, recv(connection.fd, buffer.baseAddress, buffer.count, 0))
            }
            if chunk.isEmpty {
                drop(number, &state)
                return
            }
            state.connections[number]?.lastActive = now
            state.connections[number]?.input += chunk
            answerMessages(number, &state, now)
        }
    }

    private func answerMessages(_ number: UInt64, _ state: inout State, _ now: Int64) {
        while let input = state.connections[number]?.input, input.count >= 2 {
            let length = Int(input[0]) << 8 | Int(input[1])
            guard length >= 12 else {
                drop(number, &state)
                return
            }
            guard input.count >= 2 + length else { return }
            state.connections[number]?.input.removeFirst(2 + length)
            input.withUnsafeBytes { bytes in
                answer(UnsafeRawBufferPointer(rebasing: bytes[2..<2 + length]), .stream(number), &state, now)
            }
        }
    }

    func reply(_ bytes: [UInt8], on number: UInt64, _ state: inout State) {
        guard let unsent = state.connections[number]?.output.count else { return }
        if unsent + bytes.count > limits.unsentBytes {
            drop(number, &state)
            return
        }
        state.connections[number]?.output += [UInt8(bytes.count >> 8 & 0xff), UInt8(bytes.count & 0xff)] + bytes
        flush(number, &state)
    }

    private func flush(_ number: UInt64, _ state: inout State) {
        guard var connection = state.connections[number] else { return }
        if !connection.output.isEmpty {
            let sent = DNSSocket.transmit(connection.fd, connection.output)
            if sent < 0, errno != EAGAIN, errno != EINTR {
                drop(number, &state)
                return
            }
            if sent > 0 { connection.output.removeFirst(sent) }
        }
        let wants = !connection.output.isEmpty
        if wants != connection.wantsToWrite {
            let events = EPOLLIN.rawValue | (wants ? EPOLLOUT.rawValue : 0)
            try? reactor.modify(connection.token, connection.fd, events: events, level: true)
            connection.wantsToWrite = wants
        }
        state.connections[number] = connection
    }

    private func drop(_ number: UInt64, _ state: inout State) {
        guard let connection = state.connections.removeValue(forKey: number) else { return }
        release(connection.fd, connection.token)
    }

    func expireConnections(_ state: inout State, _ now: Int64) {
        for (number, connection) in state.connections where now - connection.lastActive > limits.idleNanoseconds {
            drop(number, &state)
        }
    }
}
