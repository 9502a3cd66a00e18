internal import Codecs
internal import Linux
internal import Transport

/// Why the bus does not do what is asked.
struct DBusError: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

/// A connection to a message bus as this process's user: calls with their answers, one at a time, and signals.
/// Source: the D-Bus specification, "Authentication Protocol" (EXTERNAL) and "Message Bus Messages".
actor DBusConnection {
    private let socket: AsyncFD
    private var received: [UInt8] = []
    /// In the order in which they came; closed where nobody takes them.
    private var descriptors: [Int32] = []
    private var serial: UInt32 = 0
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
        let user = hex("\(getuid())".utf8)
        try await send(Array("\u{0}AUTH EXTERNAL \(user)\r\n".utf8))
        try await expect("OK ")
        try await send(Array("NEGOTIATE_UNIX_FD\r\n".utf8))
        try await expect("AGREE_UNIX_FD")
        try await send(Array("BEGIN\r\n".utf8))
        _ = try await call(
            .call("Hello", on: "/org/freedesktop/DBus", "org.freedesktop.DBus", at: "org.freedesktop.DBus"))
    }

    /// The answer; `takeDescriptor` gives the descriptor that came with it.
    func call(_ message: DBusMessage) async throws(DBusError) -> DBusMessage {
        serial += 1
        var message = message
        message.serial = serial
        try await send(message.encoded())
        while true {
            let answer = try await next()
            guard answer.answers == serial else {
                // Not for ever: who floods us with signals is not logind.
                if answer.kind == .signal, signals.count < 64 { signals.append(answer) }
                continue
            }
            if answer.kind == .error {
                var text = answer.errorName
                if case .string(let reason)? = answer.body.first { text += ": " + reason }
                throw DBusError("\(message.member): \(text)")
            }
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
        while true {
            if let end = received.firstIndex(of: UInt8(ascii: "\n")) {
                let line = String(decoding: received[..<end], as: UTF8.self)
                received.removeSubrange(...end)
                guard line.hasPrefix(word) else { throw DBusError("the bus does not let this process in: \(line)") }
                return
            }
            guard received.count < 4096 else { throw DBusError("the bus does not speak D-Bus") }
            try await receive()
        }
    }

    private func next() async throws(DBusError) -> DBusMessage {
        while true {
            do throws(DBusMessage.Malformed) {
                if let length = try DBusMessage.length(received[...]), received.count >= length {
                    let message = try DBusMessage(decoding: received[..<length])
                    received.removeSubrange(..<length)
                    return message
                }
            } catch {
                throw DBusError("a message of the bus does not decode")
            }
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
        received += chunk.prefix(Int(size))
    }
}
