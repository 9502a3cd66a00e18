import Linux

/// A unicast route of the main table unless said otherwise.
package struct Route: Sendable, Equatable {
    /// Nil is the default route.
    package var destination: IPPrefix?
    package var gateway: IPAddress?
    /// Index of the interface.
    package var link: Int32?
    /// Preferred source address.
    package var source: IPAddress?
    package var family: AddressFamily
    /// RT_SCOPE_*: 0 universe, 253 link.
    package var scope: UInt8
    package var table: UInt32
    package var metric: UInt32?
    /// RTPROT_*: who made it; 2 kernel, 3 boot (what `ip route add` uses), 4 static.
    package var origin: UInt8
    /// RTN_*: 1 unicast, 2 local, 6 blackhole.
    package var type: UInt8
    /// The gateway is taken to be on the link even if no address says so.
    package var isOnLink: Bool

    package init(
        to destination: IPPrefix?, family: AddressFamily, gateway: IPAddress? = nil, link: Int32? = nil,
        source: IPAddress? = nil, scope: UInt8? = nil, metric: UInt32? = nil, isOnLink: Bool = false, type: UInt8 = 1,
        origin: UInt8 = 4
    ) {
        (self.destination, self.family, self.gateway) = (destination, family, gateway)
        (self.link, self.source, self.metric) = (link, source, metric)
        self.scope = scope ?? (gateway == nil && family == .ipv4 && type == 1 ? 253 : 0)
        (table, self.origin, self.type, self.isOnLink) = (254, origin, type, isOnLink)
    }
}

extension RouteSocket {
    /// - Parameter replace: takes the place of a route to the same destination instead of failing with EEXIST.
    package func addRoute(_ route: Route, replace: Bool = false) throws(NetlinkError) {
        var buffer = MessageBuffer(capacity: 256)
        route.encode(replace: replace, into: &buffer)
        try socket.request(&buffer, "add route \(route)")
    }

    /// Idempotent.
    package func deleteRoute(_ route: Route) throws(NetlinkError) {
        do {
            try perform(.deleteRoute, [], "delete route \(route)") { route.encodeBody(into: &$0) }
        } catch { if !error.isNotFound { throw error } }
    }

    /// Routes of one table (the main one).
    package func routes(family: AddressFamily, table: UInt32 = 254) throws(NetlinkError) -> [Route] {
        var buffer = MessageBuffer(capacity: 64)
        buffer.message(type: RouteMessage.getRoute.rawValue, flags: [.request, .dump]) { message in
            message.appendRouteHeader(
                family: family, destinationLength: 0, table: 0, origin: 0, scope: 0, type: 0, flags: 0)
        }
        return try socket.dump(&buffer, "list \(family) routes") { Route($0) }.filter { $0.table == table }
    }

    /// The route that a packet to `address` would take; nil if there is none.
    package func route(to address: IPAddress) throws(NetlinkError) -> Route? {
        var buffer = MessageBuffer(capacity: 64)
        buffer.message(type: RouteMessage.getRoute.rawValue, flags: [.request, .ack]) { message in
            message.appendRouteHeader(
                family: address.family, destinationLength: UInt8(address.bitWidth), table: 0, origin: 0, scope: 0,
                type: 0,
                flags: 0)
            message.attribute(1, address)
        }
        do { return try socket.query(&buffer, "look up the route to \(address)") { Route($0) } } catch {
            if error.code == ENETUNREACH || error.code == EHOSTUNREACH { return nil }
            throw error
        }
    }
}

extension Route: CustomStringConvertible {
    package var description: String {
        var text = destination?.description ?? "default"
        if let gateway { text += " via \(gateway)" }
        if let link { text += " link \(link)" }
        return text
    }

    package func encode(replace: Bool = false, into buffer: inout MessageBuffer) {
        buffer.message(
            type: RouteMessage.newRoute.rawValue, flags: [.request, .ack, .create, replace ? .replace : .exclusive]
        ) { encodeBody(into: &$0) }
    }

    package func encodeDeletion(into buffer: inout MessageBuffer) {
        buffer.message(type: RouteMessage.deleteRoute.rawValue, flags: [.request, .ack]) { encodeBody(into: &$0) }
    }

    fileprivate func encodeBody(into message: inout MessageBuffer) {
        message.appendRouteHeader(
            family: family, destinationLength: destination?.length ?? 0, table: UInt8(exactly: table) ?? 252,
            origin: origin,
            scope: scope, type: type, flags: isOnLink ? 4 : 0)
        if let destination { message.attribute(1, destination.network) }
        if let gateway { message.attribute(5, gateway) }
        if let link { message.attribute(4, link) }
        if let source { message.attribute(7, source) }
        if let metric { message.attribute(6, metric) }
        message.attribute(15, table)
    }

    init?(_ message: MessageView) {
        let payload = message.payload
        guard message.type == RouteMessage.newRoute.rawValue, let rawFamily = payload.load(0, as: UInt8.self),
            let family = AddressFamily(rawValue: rawFamily), let length = payload.load(1, as: UInt8.self),
            let table = payload.load(4, as: UInt8.self), let origin = payload.load(5, as: UInt8.self),
            let scope = payload.load(6, as: UInt8.self), let type = payload.load(7, as: UInt8.self),
            let flags = payload.load(8, as: UInt32.self)
        else { return nil }
        self.init(to: nil, family: family, isOnLink: flags & 4 != 0, type: type)
        (self.scope, self.table, self.origin) = (scope, UInt32(table), origin)
        for attribute in payload.dropFirst(12).attributes {
            switch attribute.type {
            case 1: destination = attribute.value.address.flatMap { IPPrefix($0, length: Int(length)) }
            case 4: link = attribute.value.load(0)
            case 5: gateway = attribute.value.address
            case 6: metric = attribute.value.load(0)
            case 7: source = attribute.value.address
            case 15: self.table = attribute.value.load(0) ?? self.table
            default: break
            }
        }
    }
}

extension MessageBuffer {
    /// struct rtmsg.
    fileprivate mutating func appendRouteHeader(
        family: AddressFamily, destinationLength: UInt8, table: UInt8, origin: UInt8, scope: UInt8, type: UInt8,
        flags: UInt32
    ) {
        for byte in [family.rawValue, destinationLength, 0, 0, table, origin, scope, type] { append(byte) }
        append(flags)
    }
}
