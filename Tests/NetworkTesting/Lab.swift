import Netlink

/// A node with a bridge and pods behind it, and a machine outside, each a network namespace:
///
///     outside 172.30.0.2 --- 172.30.0.1 node 10.42.0.1 (cni0) --- pod a 10.42.0.2, pod b 10.42.0.3, ...
///
/// Pods route everything through the node (no prefix route), as PodNetwork sets them up.
package final class Lab: Sendable {
    package let node: NetworkNamespace
    package let outside: NetworkNamespace
    package let route: RouteSocket

    /// - Parameter bridgeFiltering: bridged packets pass the firewall too (br_netfilter); the proxy must work either way.
    package init(bridgeFiltering: Bool) throws {
        node = try NetworkNamespace.make()
        outside = try NetworkNamespace.make()
        route = try RouteSocket(in: node)
        try route.setLink(1, LinkChange(isUp: true))
        try route.addLink(LinkSpec("cni0", .bridge))
        // The node looks for pods from its link-local address, which duplicate detection would hold back for a second.
        try node.run { () throws(NetlinkError) in try Sysctl.set("net/ipv6/conf/cni0/accept_dad", "0") }
        let bridge = try index("cni0")
        try route.setLink(bridge, LinkChange(isUp: true))
        try route.addAddress(prefix("10.42.0.1/24"), to: bridge)
        try route.addAddress(prefix("fd00:42::1/64"), to: bridge, flags: .noDuplicateDetection)
        try route.addLink(LinkSpec("wan", .veth(VethPeer(name: "eth0", namespace: outside)), isUp: true))
        try route.addAddress(prefix("172.30.0.1/24"), to: index("wan"))
        let far = try RouteSocket(in: outside)
        try far.setLink(1, LinkChange(isUp: true))
        guard let eth0 = try far.link(name: "eth0") else { throw NetlinkError(19, "no eth0 outside") }
        try far.setLink(eth0.index, LinkChange(isUp: true))
        try far.addAddress(prefix("172.30.0.2/24"), to: eth0.index)
        try far.addRoute(Route(to: nil, family: .ipv4, gateway: IPAddress("172.30.0.1")))
        try node.run { () throws(NetlinkError) in
            for name in ["net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"] {
                if Sysctl.get(name) != nil { try Sysctl.set(name, bridgeFiltering ? "1" : "0") }
            }
            try Sysctl.set("net/ipv4/ip_forward", "1")
            try Sysctl.set("net/ipv6/conf/all/forwarding", "1")
            try Sysctl.set("net/ipv4/conf/all/send_redirects", "0")
            try Sysctl.set("net/ipv4/conf/cni0/send_redirects", "0")
        }
    }

    private func prefix(_ text: String) throws -> IPPrefix {
        guard let prefix = IPPrefix(text) else { throw NetlinkError(22, text) }
        return prefix
    }
    private func index(_ name: String) throws -> Int32 {
        guard let link = try route.link(name: name) else { throw NetlinkError(19, name) }
        return link.index
    }

    /// A pod with 10.42.0.`number` and fd00:42::`number`.
    package func pod(_ number: Int) throws -> NetworkNamespace {
        let pod = try NetworkNamespace.make()
        try route.addLink(
            LinkSpec("veth\(number)", .veth(VethPeer(name: "eth0", namespace: pod)), master: index("cni0"), isUp: true))
        try route.setBridgePort(index("veth\(number)"), hairpin: true)
        let inside = try RouteSocket(in: pod)
        try inside.setLink(1, LinkChange(isUp: true))
        // The node always sends IPv6 redirects for packets that leave by the interface they came from.
        try pod.run { () throws(NetlinkError) in
            try Sysctl.set("net/ipv6/conf/all/accept_redirects", "0")
            try Sysctl.set("net/ipv6/conf/eth0/accept_redirects", "0")
        }
        guard let eth0 = try inside.link(name: "eth0") else { throw NetlinkError(19, "eth0") }
        try inside.setLink(eth0.index, LinkChange(isUp: true))
        try inside.addAddress(prefix("10.42.0.\(number)/24"), to: eth0.index, flags: .noPrefixRoute)
        try inside.addAddress(
            prefix("fd00:42::\(number)/64"), to: eth0.index, flags: [.noPrefixRoute, .noDuplicateDetection])
        for gateway in ["10.42.0.1", "fd00:42::1"] {
            guard let address = IPAddress(gateway) else { continue }
            try inside.addRoute(Route(to: IPPrefix(host: address), family: address.family, link: eth0.index))
            try inside.addRoute(Route(to: nil, family: address.family, gateway: address, link: eth0.index))
        }
        return pod
    }
}
