/// Why the bus does not do what is asked.
package struct DBusError: Error, CustomStringConvertible, Equatable {
    /// Of an answer: "org.freedesktop.systemd1.NoSuchUnit"; empty where there was no answer.
    package var name = ""
    package var description: String
    package init(_ description: String, name: String = "") { (self.description, self.name) = (description, name) }
}

/// One end of a D-Bus stream, without IO: what arrived goes in, lines of the handshake and messages come out.
/// Source: the D-Bus specification, "Authentication Protocol" (EXTERNAL) and "Message Protocol".
package struct DBusStream: Sendable {
    private var received: [UInt8] = []
    private var serial: UInt32 = 0

    package init() {}

    /// The first bytes: who this is, by the credentials that the kernel passes.
    package static func greeting(user: UInt32) -> [UInt8] {
        // The number's decimal digits, each as its ASCII code in hexadecimal.
        Array("\u{0}AUTH EXTERNAL \(String(user).map { "3\($0)" }.joined())\r\n".utf8)
    }

    package mutating func receive(_ bytes: some Sequence<UInt8>) { received += bytes }

    /// Takes the other end's next line, which has to begin with `word`; false: more has to arrive.
    package mutating func expect(_ word: String) throws(DBusError) -> Bool {
        guard let end = received.firstIndex(of: UInt8(ascii: "\n")) else {
            guard received.count < 4096 else { throw DBusError("the bus does not speak D-Bus") }
            return false
        }
        let line = String(decoding: received[..<end], as: UTF8.self)
        received.removeSubrange(...end)
        guard line.hasPrefix(word) else { throw DBusError("the bus does not let this process in: \(line)") }
        return true
    }

    /// The next message; nil: more has to arrive.
    package mutating func next() throws(DBusError) -> DBusMessage? {
        do throws(DBusMessage.Malformed) {
            guard let length = try DBusMessage.length(received[...]), received.count >= length else { return nil }
            let message = try DBusMessage(decoding: received[..<length])
            received.removeSubrange(..<length)
            return message
        } catch {
            throw DBusError("a message of the bus does not decode")
        }
    }

    /// The call as it is sent, with the number by which its answer is known.
    package mutating func number(_ call: DBusMessage) -> (serial: UInt32, bytes: [UInt8]) {
        serial += 1
        var call = call
        call.serial = serial
        return (serial, call.encoded())
    }
}

extension DBusMessage {
    /// A bus itself is asked to make this process its member.
    package static let hello = DBusMessage.call(
        "Hello", on: "/org/freedesktop/DBus", "org.freedesktop.DBus", at: "org.freedesktop.DBus")

    /// What an answer says that is an error. `member`: what was called.
    package func failure(of member: String) -> DBusError? {
        guard kind == .error else { return nil }
        var text = errorName
        if case .string(let reason)? = body.first { text += ": " + reason }
        return DBusError("\(member): \(text)", name: errorName)
    }
}
