import Linux

/// Addresses and ports of one direction of a connection.
package struct FlowTuple: Hashable, Sendable {
    package var source: IPAddress
    package var destination: IPAddress
    /// IPPROTO_*.
    package var transport: UInt8
    package var sourcePort: UInt16
    package var destinationPort: UInt16

    package init(
        source: IPAddress, destination: IPAddress, transport: UInt8, sourcePort: UInt16, destinationPort: UInt16
    ) {
        (self.source, self.destination, self.transport) = (source, destination, transport)
        (self.sourcePort, self.destinationPort) = (sourcePort, destinationPort)
    }
}

/// A connection tracking entry: the packet as the client sent it, and as answers come back (after translation).
package struct Flow: Sendable, Equatable {
    package var original: FlowTuple
    package var reply: FlowTuple
    package var identifier: UInt32?

    package init(original: FlowTuple, reply: FlowTuple, identifier: UInt32? = nil) {
        (self.original, self.reply, self.identifier) = (original, reply, identifier)
    }
}

/// The connection tracking table of one network namespace (linux/netfilter/nfnetlink_conntrack.h).
package final class ConntrackSocket: Sendable {
    private let socket: NetlinkSocket

    package init(in namespace: NetworkNamespace? = nil) throws(NetlinkError) {
        socket = try NetlinkSocket(.netfilter, in: namespace)
    }

    /// The flows of one family for which `wanted` is true.
    package func flows(_ family: AddressFamily, where wanted: (Flow) -> Bool) throws(NetlinkError) -> [Flow] {
        var buffer = MessageBuffer(capacity: 64)
        buffer.message(type: 1 << 8 | 1, flags: [.request, .dump]) { $0.appendNetfilterHeader(family: family.rawValue) }
        return try socket.dump(&buffer, "list \(family) connections") { message in
            guard let flow = Flow(message), wanted(flow) else { return nil }
            return flow
        }
    }

    /// Idempotent: a flow that has ended meanwhile is no error.
    package func delete(_ flow: Flow) throws(NetlinkError) {
        var buffer = MessageBuffer(capacity: 256)
        buffer.message(type: 1 << 8 | 2, flags: [.request, .ack]) { message in
            message.appendNetfilterHeader(family: flow.original.source.family.rawValue)
            message.nested(1) { flow.original.encode(into: &$0) }
            if let identifier = flow.identifier { message.attribute(12, big: identifier) }
        }
        do { try socket.request(&buffer, "delete connection to \(flow.original.destination)") } catch {
            if !error.isNotFound { throw error }
        }
    }

    /// Deletes what `wanted` names and returns how many there were.
    @discardableResult
    package func deleteFlows(_ family: AddressFamily, where wanted: (Flow) -> Bool) throws(NetlinkError) -> Int {
        let found = try flows(family, where: wanted)
        for flow in found { try delete(flow) }
        return found.count
    }
}

extension FlowTuple {
    fileprivate func encode(into message: inout MessageBuffer) {
        message.nested(1) { addresses in
            addresses.attribute(source.isIPv4 ? 1 : 3, source)
            addresses.attribute(source.isIPv4 ? 2 : 4, destination)
        }
        message.nested(2) { transportPart in
            transportPart.attribute(1, transport)
            transportPart.attribute(2, big: sourcePort)
            transportPart.attribute(3, big: destinationPort)
        }
    }

    fileprivate init?(_ view: ByteView) {
        guard let addresses = view.attribute(1), let ports = view.attribute(2),
            let source = (addresses.attribute(1) ?? addresses.attribute(3))?.address,
            let destination = (addresses.attribute(2) ?? addresses.attribute(4))?.address,
            let transport = ports.attribute(1)?.load(0, as: UInt8.self)
        else { return nil }
        self.init(
            source: source, destination: destination, transport: transport, sourcePort: ports.attribute(2)?.big() ?? 0,
            destinationPort: ports.attribute(3)?.big() ?? 0)
    }
}

extension Flow {
    init?(_ message: MessageView) {
        guard message.type == 1 << 8 else { return nil }
        let attributes = message.payload.dropFirst(4)
        guard let original = attributes.attribute(1).flatMap(FlowTuple.init(_:)),
            let reply = attributes.attribute(2).flatMap(FlowTuple.init(_:))
        else { return nil }
        self.init(original: original, reply: reply, identifier: attributes.attribute(12)?.big())
    }
}
