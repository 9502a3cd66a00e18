import Linux

/// Generic netlink: families of messages that have a name, and a number that the kernel gives them when their module is
/// loaded. See linux/genetlink.h.
package final class GenericSocket: Sendable {
    let socket: NetlinkSocket

    /// The namespace of the calling thread, or `namespace`.
    package init(in namespace: NetworkNamespace? = nil) throws(NetlinkError) {
        socket = try NetlinkSocket(.generic, in: namespace)
    }

    /// Number of a family; nil if the kernel has none of that name.
    package func family(_ name: String) throws(NetlinkError) -> UInt16? {
        var buffer = MessageBuffer(capacity: 64)
        // The controller: GENL_ID_CTRL, CTRL_CMD_GETFAMILY.
        buffer.message(type: 0x10, flags: [.request, .ack]) { message in
            message.appendGenericHeader(command: 3, version: 2)
            message.attribute(2, string: name)
        }
        do {
            return try socket.query(&buffer, "look up generic netlink family \(name)") {
                $0.payload.dropFirst(4).attribute(1)?.load(0)
            }
        } catch {
            if error.isNotFound { return nil }
            throw error
        }
    }
}

extension MessageBuffer {
    /// struct genlmsghdr.
    mutating func appendGenericHeader(command: UInt8, version: UInt8) {
        append(command)
        append(version)
        append(UInt16(0))
    }
}
