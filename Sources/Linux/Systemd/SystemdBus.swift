/// A conversation with systemd, on the socket that it keeps for root, or on the message bus where there is none. It
/// blocks, for as long as a job may take at most; each is for one operation, so that pods do not wait for each other.
/// Source: org.freedesktop.systemd1(5).
package final class SystemdBus {
    package struct Address: Sendable {
        package var isBus: Bool
        package var path: String
        package init(path: String, isBus: Bool) { (self.path, self.isBus) = (path, isBus) }
        package static let usual = [
            Address(path: "/run/systemd/private", isBus: false),
            Address(path: "/run/dbus/system_bus_socket", isBus: true),
        ]
    }

    private static let manager = "org.freedesktop.systemd1.Manager"
    package static let path = "/org/freedesktop/systemd1"
    private let socket: FileDescriptor
    private let deadline: Int64
    private var stream = DBusStream()
    /// Jobs that have ended before anybody asked: (job, result).
    private var ended: [(job: String, result: String)] = []

    /// - Parameter limit: of the whole conversation.
    package init(_ addresses: [Address] = Address.usual, limit: Duration = .seconds(30)) throws(DBusError) {
        deadline = MonotonicClock.now() + limit.nanoseconds
        var isBus = false
        socket = try Self.connect(addresses, &isBus)
        // BEGIN is not kept back until the OK: systemd, which serves its own socket, never looks at a message that it has
        // read together with BEGIN, until another one arrives.
        try send(DBusStream.greeting(user: getuid()) + Array("BEGIN\r\n".utf8))
        while try !stream.expect("OK ") { try receive() }
        guard isBus else { return }
        _ = try call(.hello)
        let own = "org.freedesktop.DBus"
        let rule = "type='signal',interface='\(Self.manager)',member='JobRemoved',path='\(Self.path)'"
        _ = try call(.call("AddMatch", on: "/org/freedesktop/DBus", own, at: own, [.string(rule)]))
        // On a socket of its own everybody is told.
        _ = try call("Subscribe", [])
    }

    /// The first that is there.
    private static func connect(_ addresses: [Address], _ isBus: inout Bool) throws(DBusError) -> FileDescriptor {
        var reason = "no address"
        for address in addresses {
            isBus = address.isBus
            do throws(SysError) { return try UnixSocket.connect(address.path, .stream) } catch {
                reason = error.description
            }
        }
        throw DBusError(reason)
    }

    /// The manager's answer.
    package func call(
        _ member: String, _ body: [DBusMessage.Value]
    ) throws(DBusError) -> DBusMessage {
        try call(.call(member, on: Self.path, Self.manager, at: "org.freedesktop.systemd1", body))
    }

    /// A property of the manager ("Version") or, by its path, of another object.
    package func property(
        _ name: String, of interface: String = "org.freedesktop.systemd1.Manager", at path: String = SystemdBus.path
    ) throws(DBusError) -> DBusMessage.Value? {
        let answer = try call(
            .call(
                "Get", on: path, "org.freedesktop.DBus.Properties", at: "org.freedesktop.systemd1",
                [.string(interface), .string(name)]))
        guard case .variant(let value)? = answer.body.first else { return nil }
        return value
    }

    /// Asks for something that systemd does as a job, and waits until it is done.
    package func job(_ member: String, _ body: [DBusMessage.Value]) throws(DBusError) {
        guard case .objectPath(let job)? = try call(member, body).body.first else {
            throw DBusError("\(member): systemd names no job")
        }
        while true {
            if let end = ended.first(where: { $0.job == job }) {
                if end.result == "done" { return }
                throw DBusError("\(member): the job's result is \(end.result)", name: end.result)
            }
            note(try next())
        }
    }

    private func call(_ message: DBusMessage) throws(DBusError) -> DBusMessage {
        let (serial, bytes) = stream.number(message)
        try send(bytes)
        while true {
            let answer = try next()
            guard answer.answers == serial else {
                note(answer)
                continue
            }
            if let failure = answer.failure(of: message.member) { throw failure }
            return answer
        }
    }

    private func note(_ message: DBusMessage) {
        guard message.kind == .signal, message.member == "JobRemoved", message.body.count == 4,
            case .objectPath(let job) = message.body[1], case .string(let result) = message.body[3]
        else { return }
        ended.append((job, result))
    }

    private func next() throws(DBusError) -> DBusMessage {
        while true {
            if let message = try stream.next() { return message }
            try receive()
        }
    }

    // MARK: IO

    private func wait(_ events: Int32) throws(DBusError) {
        let left = (deadline - MonotonicClock.now()) / 1_000_000
        var entry = pollfd(fd: socket.raw, events: Int16(events), revents: 0)
        let ready = left > 0 ? poll(&entry, 1, Int32(clamping: left)) : 0
        if ready == 0 { throw DBusError("systemd does not answer in time") }
    }

    private func send(_ bytes: [UInt8]) throws(DBusError) {
        try wait(POLLOUT)
        do throws(SysError) { try socket.writeAll(bytes) } catch { throw DBusError("systemd: \(error)") }
    }

    private func receive() throws(DBusError) {
        try wait(POLLIN)
        var chunk = [UInt8](repeating: 0, count: 8192)
        var count = 0
        do throws(SysError) {
            let socket = socket.raw
            count = try syscall("read") {
                chunk.withUnsafeMutableBytes { Glibc.read(socket, $0.baseAddress, $0.count) }
            }
        } catch { throw DBusError("systemd: \(error)") }
        guard count > 0 else { throw DBusError("systemd has closed the connection") }
        stream.receive(chunk.prefix(count))
    }
}
