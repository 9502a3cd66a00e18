import Linux

/// rtnetlink: links, addresses, routes and neighbours of one network namespace. Cheap to keep open (one descriptor),
/// usable from any thread. See rtnetlink(7) and linux/rtnetlink.h, linux/if_link.h.
package final class RouteSocket: Sendable {
    let socket: NetlinkSocket

    /// The namespace of the calling thread, or `namespace`.
    package init(in namespace: NetworkNamespace? = nil) throws(NetlinkError) {
        socket = try NetlinkSocket(.route, in: namespace)
    }

    /// For callers that put several requests into one datagram.
    package func request(_ buffer: inout MessageBuffer, _ operation: @autoclosure () -> String) throws(NetlinkError) {
        try socket.request(&buffer, operation())
    }

    func perform(
        _ type: RouteMessage, _ flags: MessageFlags, _ operation: @autoclosure () -> String,
        _ body: (inout MessageBuffer) -> Void
    ) throws(NetlinkError) {
        var buffer = MessageBuffer(capacity: 512)
        buffer.message(type: type.rawValue, flags: flags.union([.request, .ack]), body)
        try socket.request(&buffer, operation())
    }
}

/// nlmsg_type values of rtnetlink.
enum RouteMessage: UInt16 {
    case newLink = 16, deleteLink, getLink, setLink
    case newAddress = 20, deleteAddress, getAddress
    case newRoute = 24, deleteRoute, getRoute
    case newNeighbour = 28, deleteNeighbour, getNeighbour
}

/// IFLA_* of linux/if_link.h.
enum LinkAttribute {
    static let address: UInt16 = 1, name: UInt16 = 3, mtu: UInt16 = 4, link: UInt16 = 5, master: UInt16 = 10
    static let protocolInfo: UInt16 = 12, operState: UInt16 = 16, info: UInt16 = 18, namespaceDescriptor: UInt16 = 28
    static let infoKind: UInt16 = 1, infoData: UInt16 = 2
    static let vethPeer: UInt16 = 1
    static let bridgePortMode: UInt16 = 4, bridgePortLearning: UInt16 = 8
}
