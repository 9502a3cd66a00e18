import Linux
import Netlink

/// The node's own address, as k3s chooses it: that of the interface with the default route.
package enum HostAddress {
    package struct Interface: Sendable, Equatable {
        package var index: Int32
        package var name: String
        package var mtu: UInt32
        /// Global addresses with their prefixes, the preferred one first, by family.
        package var ipv4: [IPPrefix]
        package var ipv6: [IPPrefix]
    }

    /// Nil when there is no default route of either family.
    package static func defaultInterface(in namespace: NetworkNamespace? = nil) throws(NetlinkError) -> Interface? {
        try defaultInterface(try RouteSocket(in: namespace))
    }

    static func defaultInterface(_ route: RouteSocket) throws(NetlinkError) -> Interface? {
        for family in AddressFamily.allCases {
            let candidates = try route.routes(family: family)
                .filter { ($0.destination == nil || $0.destination?.length == 0) && $0.type == 1 }
                .sorted { ($0.metric ?? 0) < ($1.metric ?? 0) }
            for candidate in candidates {
                guard let index = candidate.link, let link = try route.link(index), link.isUp else { continue }
                return try describe(route, link, preferred: candidate.source)
            }
        }
        return nil
    }

    /// An interface by name (`--flannel-iface`); nil if there is none.
    package static func interface(named name: String, in namespace: NetworkNamespace? = nil) throws(NetlinkError)
        -> Interface?
    {
        try interface(named: name, try RouteSocket(in: namespace))
    }

    static func interface(named name: String, _ route: RouteSocket) throws(NetlinkError) -> Interface? {
        guard let link = try route.link(name: name) else { return nil }
        return try describe(route, link, preferred: nil)
    }

    /// The interface that has the address.
    static func interface(with address: IPAddress, _ route: RouteSocket) throws(NetlinkError) -> Interface? {
        guard let owner = try route.addresses(family: address.family).first(where: { $0.prefix.address == address }),
            let link = try route.link(owner.link)
        else { return nil }
        return try describe(route, link, preferred: address)
    }

    private static func describe(
        _ route: RouteSocket, _ link: Link, preferred: IPAddress?
    ) throws(NetlinkError) -> Interface {
        Interface(
            index: link.index, name: link.name, mtu: link.mtu, ipv4: try global(route, link.index, .ipv4, preferred),
            ipv6: try global(route, link.index, .ipv6, preferred))
    }

    /// The address of the default interface.
    /// - Throws: `.invalid` with what to do when there is none, as k3s refuses to start then.
    package static func defaultInterfaceAddress(
        _ family: AddressFamily = .ipv4, in namespace: NetworkNamespace? = nil
    ) throws(PodNetworkError) -> IPAddress {
        let interface = try kernel("find the default interface") { () throws(NetlinkError) in
            try defaultInterface(in: namespace)
        }
        guard let interface else {
            throw PodNetworkError(
                .invalid,
                "no default route: add one (ip route add default via ... dev ...) or give the address with --node-ip")
        }
        guard let prefix = (family == .ipv4 ? interface.ipv4 : interface.ipv6).first else {
            throw PodNetworkError(
                .invalid,
                "interface \(interface.name) has the default route but no global \(family) address: add one or use --node-ip"
            )
        }
        return prefix.address
    }

    private static func global(
        _ route: RouteSocket, _ index: Int32, _ family: AddressFamily, _ preferred: IPAddress?
    ) throws(NetlinkError) -> [IPPrefix] {
        let all = try route.addresses(family: family, link: index)
            .filter { $0.scope == 0 && !$0.isTentative && !$0.prefix.address.isLinkLocal }
        // The route's preferred source, then primary before secondary and deprecated addresses, else the kernel's order.
        func rank(_ address: InterfaceAddress) -> Int {
            if address.prefix.address == preferred { return 0 }
            return address.isDeprecated ? 3 : address.isSecondary ? 2 : 1
        }
        return all.enumerated().sorted { (rank($0.element), $0.offset) < (rank($1.element), $1.offset) }.map(
            \.element.prefix)
    }
}
