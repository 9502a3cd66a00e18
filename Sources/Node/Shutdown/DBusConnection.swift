internal import Linux

/// A connection to a message bus as this process's user: calls with their answers, one at a time, and signals.
/// Source: the D-Bus specification, "Authentication Protocol" (EXTERNAL) and "Message Bus Messages".
actor DBusConnection {
    private let socket: AsyncFD
    private var stream = DBusStream()
    /// In the order in which they came; closed where nobody takes them.
    private var descriptors: [Int32] = []
    private var signals: [DBusMessage] = []

    init(path: String) async throws(DBusError) {
        do throws(SysError) { socket = try AsyncFD(try UnixSocket.connect(path, .stream)) } catch {
            throw DBusError(error.description)
        }
    }

    deinit {
        socket.close()
        for descriptor in descriptors { Glibc.close(descriptor) }
    }

    /// Says who this is and becomes a member of the bus.
    func join() async throws(DBusError) {
        try await send(DBusStream.greeting(user: getuid()))
        try await expect("OK ")
        try await send(Array("NEGOTIATE_UNIX_FD\r\n".utf8))
        try await expect("AGREE_UNIX_FD")
        try await send(Array("BEGIN\r\n".utf8))
        _ = try await call(.hello)
    }

    /// The answer; `takeDescriptor` gives the descriptor that came with it.
    func call(_ message: DBusMessage) async throws(DBusError) -> DBusMessage {
        let (serial, bytes) = stream.number(message)
        try await send(bytes)
        while true {
            let answer = try await next()
            guard answer.answers == serial else {
                // Not for ever: who floods us with signals is not logind.
                if answer.kind == .signal, signals.count < 64 { signals.append(answer) }
                continue
            }
            if let failure = answer.failure(of: message.member) { throw failure }
            return answer
        }
    }

    func takeDescriptor() -> FileDescriptor? {
        descriptors.isEmpty ? nil : FileDescriptor(owning: descriptors.removeFirst())
    }

    /// Waits for the next signal of this name.
    func signal(_ member: String) async throws(DBusError) -> DBusMessage {
        while true {
            if let index = signals.firstIndex(where: { $0.member == member }) { return signals.remove(at: index) }
            let message = try await next()
            if message.kind == .signal, message.member == member { return message }
        }
    }

    nonisolated func close() { socket.close() }

    private func send(_ bytes: [UInt8]) async throws(DBusError) {
        do throws(SysError) { try await socket.write(bytes) } catch { throw DBusError(error.description) }
    }

    private func expect(_ word: String) async throws(DBusError) {
        while try !stream.expect(word) { try await receive() }
    }

    private func next() async throws(DBusError) -> DBusMessage {
        while true {
            if let message = try stream.next() { return message }
            try await receive()
        }
    }

    private func receive() async throws(DBusError) {
        var chunk = [UInt8](repeating: 0, count: 4096)
        var passed = [Int32](repeating: -1, count: 8)
        var count: Int32 = 8
        let size: Int64
        do throws(SysError) {
            size = try await socket.whenReadable("recvmsg") { fd in
                count = 8
                return chunk.withUnsafeMutableBytes {
                    k3s_recv_fds(fd, $0.baseAddress, $0.count, &passed, &count, Int32(MSG_DONTWAIT))
                }
            }
        } catch {
            throw DBusError(error.description)
        }
        descriptors += passed.prefix(Int(max(count, 0)))
        guard size > 0 else { throw DBusError("the bus has closed the connection") }
        stream.receive(chunk.prefix(Int(size)))
    }
}
