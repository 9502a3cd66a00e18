/// One message from the kernel, decoded: what dumps, queries and acknowledgements are made of.
package enum NetlinkReply: Sendable, Equatable {
    case link(Link)
    case address(InterfaceAddress)
    case route(Route)
    case neighbour(Neighbour)
    case wireGuard(WireGuardDevice)
    /// NLMSG_ERROR and NLMSG_DONE: 0 or a negative errno, and the kernel's words.
    case acknowledgement(code: Int32, message: String?)
    case other(type: UInt16)

    /// The messages of one datagram; `isMalformed`: the rest of it makes no sense. A function of the bytes alone that never
    /// traps, whatever they are.
    ///
    ///     let (replies, isMalformed) = NetlinkReply.decode(bytes)
    ///
    /// - Parameter wireGuardFamily: number of the generic netlink family whose messages are WireGuard's, 0 for none.
    package static func decode(
        _ bytes: UnsafeRawBufferPointer, wireGuardFamily: UInt16 = 0
    ) -> (replies: [NetlinkReply], isMalformed: Bool) {
        var replies: [NetlinkReply] = []
        var messages = MessageSequence(bytes)
        while let message = messages.next() { replies.append(NetlinkReply(message, wireGuardFamily)) }
        return (replies, messages.malformed)
    }

    package static func decode(_ bytes: [UInt8], wireGuardFamily: UInt16 = 0) -> (
        replies: [NetlinkReply], isMalformed: Bool
    ) { bytes.withUnsafeBytes { decode($0, wireGuardFamily: wireGuardFamily) } }

    init(_ message: MessageView, _ wireGuardFamily: UInt16) {
        if message.type == 2 || message.type == 3 {
            self = .acknowledgement(code: message.payload.load(0) ?? 0, message: message.kernelMessage)
        } else if let link = Link(message) {
            self = .link(link)
        } else if let address = InterfaceAddress(message) {
            self = .address(address)
        } else if let route = Route(message) {
            self = .route(route)
        } else if let neighbour = Neighbour(message) {
            self = .neighbour(neighbour)
        } else if wireGuardFamily != 0, message.type == wireGuardFamily, let device = WireGuardDevice(message) {
            self = .wireGuard(device)
        } else {
            self = .other(type: message.type)
        }
    }
}

extension MessageView {
    /// The kernel's words in an acknowledgement (NLMSGERR_ATTR_MSG). With capped acknowledgements the header of the request
    /// (16 bytes) follows the code, without the whole request; then the attributes.
    var kernelMessage: String? {
        guard flags.rawValue & 0x200 != 0 else { return nil }
        var skip = 4
        if type == 2 {
            let original = Int(min(payload.load(4, as: UInt32.self) ?? 16, 1 << 24))
            skip = 4 + (flags.rawValue & 0x100 != 0 ? 16 : (original + 3) & ~3)
        }
        return payload.dropFirst(skip).attribute(1)?.string
    }
}
