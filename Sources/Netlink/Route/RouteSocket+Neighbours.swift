import Linux

/// An entry of the neighbour table (ARP, ND) or, with family AF_BRIDGE, of a bridge's or vxlan's forwarding table.
package struct Neighbour: Sendable, Hashable {
    package enum Table: Sendable, Hashable {
        case arp
        /// Forwarding entry of the device itself (NTF_SELF): vxlan; `address` is the remote tunnel endpoint.
        case forwarding
        /// Forwarding entry of the bridge that the device is a port of (NTF_MASTER).
        case bridge
    }
    package var table: Table
    package var link: Int32
    package var address: IPAddress?
    package var mac: MACAddress?
    /// NUD_*: 0x80 permanent, 0x02 reachable, 0x04 stale, 0x40 noarp.
    package var state: UInt16

    package init(_ table: Table, link: Int32, address: IPAddress?, mac: MACAddress?, state: UInt16 = 0x80) {
        (self.table, self.link, self.address, self.mac, self.state) = (table, link, address, mac, state)
    }
}

extension RouteSocket {
    /// Adds or replaces.
    package func setNeighbour(_ neighbour: Neighbour) throws(NetlinkError) {
        try perform(.newNeighbour, [.create, .replace], "set neighbour \(neighbour)") {
            neighbour.encodeBody(into: &$0)
        }
    }

    /// Idempotent.
    package func deleteNeighbour(_ neighbour: Neighbour) throws(NetlinkError) {
        do {
            try perform(.deleteNeighbour, [], "delete neighbour \(neighbour)") { neighbour.encodeBody(into: &$0) }
        } catch { if !error.isNotFound { throw error } }
    }

    package func neighbours(_ table: Neighbour.Table, link: Int32) throws(NetlinkError) -> [Neighbour] {
        var buffer = MessageBuffer(capacity: 64)
        buffer.message(type: RouteMessage.getNeighbour.rawValue, flags: [.request, .dump]) { message in
            // A strict dump of AF_BRIDGE takes the device from the header, one of ARP from NDA_IFINDEX.
            message.appendNeighbourHeader(
                family: table == .arp ? 0 : UInt8(AF_BRIDGE), link: table == .arp ? 0 : link, state: 0, flags: 0)
            if table == .arp { message.attribute(8, UInt32(bitPattern: link)) }
        }
        return try socket.dump(&buffer, "list neighbours of link \(link)") { Neighbour($0) }
            .filter { $0.link == link && ($0.table == .arp) == (table == .arp) && (table == .arp || $0.table == table) }
    }
}

extension Neighbour: CustomStringConvertible {
    package var description: String {
        "\(address?.description ?? "-") \(mac?.description ?? "-") on link \(link)"
    }

    /// RTM_NEWNEIGH, adding or replacing; or RTM_DELNEIGH.
    package func encode(isDeletion: Bool = false, into buffer: inout MessageBuffer) {
        let type: RouteMessage = isDeletion ? .deleteNeighbour : .newNeighbour
        let flags: MessageFlags = isDeletion ? [.request, .ack] : [.request, .ack, .create, .replace]
        buffer.message(type: type.rawValue, flags: flags) { encodeBody(into: &$0) }
    }

    fileprivate func encodeBody(into message: inout MessageBuffer) {
        let flags: UInt8 = table == .forwarding ? 2 : table == .bridge ? 4 : 0
        let family = table == .arp ? address?.family.rawValue ?? 0 : UInt8(AF_BRIDGE)
        message.appendNeighbourHeader(family: family, link: link, state: state, flags: flags)
        if let address { message.attribute(1, address) }
        if let mac { message.attribute(2, bytes: mac.bytes) }
    }

    init?(_ message: MessageView) {
        guard message.type == RouteMessage.newNeighbour.rawValue, let family = message.payload.load(0, as: UInt8.self),
            let link = message.payload.load(4, as: Int32.self), let state = message.payload.load(8, as: UInt16.self),
            let flags = message.payload.load(10, as: UInt8.self)
        else { return nil }
        let table: Table = family == UInt8(AF_BRIDGE) ? (flags & 2 != 0 ? .forwarding : .bridge) : .arp
        let attributes = message.payload.dropFirst(12)
        self.init(
            table, link: link, address: attributes.attribute(1)?.address,
            mac: (attributes.attribute(2)?.bytes).flatMap { MACAddress(bytes: $0) }, state: state)
    }
}

extension MessageBuffer {
    /// struct ndmsg.
    fileprivate mutating func appendNeighbourHeader(family: UInt8, link: Int32, state: UInt16, flags: UInt8) {
        append(family)
        append(UInt8(0))
        append(UInt16(0))
        append(link)
        append(state)
        append(flags)
        append(UInt8(0))
    }
}
