import Iptables
import Linux
import Netlink

/// The network namespace of a rootless node: an interface that stands for the way to the world, and rules that lead what
/// would go there to the node's own proxy. Nothing ever leaves by the interface.
enum RootlessNetwork {
    static let interface = "node0"
    private static let table = "k3s-rootless"

    static func setUp(_ settings: RootlessSettings, nameServers: Int) throws {
        try checked("set lo up") { k3s_interface_up("lo") }
        let route = try RouteSocket()
        // A veth pair, as pods need them anyway; the other end is only there to be up.
        let peer = interface + "-host"
        try route.addLink(
            LinkSpec(interface, .veth(VethPeer(name: peer, mtu: settings.mtu)), mtu: settings.mtu, isUp: true))
        guard let link = try route.link(name: interface), let other = try route.link(name: peer) else {
            throw NetlinkError(ENODEV, "find link \(interface)")
        }
        try route.setLink(other.index, LinkChange(isUp: true))
        try route.setLink(link.index, LinkChange(isUp: true))
        if let own = IPPrefix(settings.node, length: Int(settings.network.length)) {
            try route.addAddress(own, to: link.index)
        }
        for index in 0..<nameServers {
            try route.addAddress(IPPrefix(host: settings.nameServer(index)), to: link.index)
        }
        try route.addRoute(Route(to: nil, family: .ipv4, gateway: settings.gateway, link: link.index))
    }

    /// TCP to outside of the cluster goes to `port` of the node; the rest of it is refused, which programs see at once.
    /// - Parameter inside: networks of pods and services.
    static func rules(_ settings: RootlessSettings, inside: [IPPrefix], port: UInt16) -> Ruleset {
        let set = NFSet("inside", key: [.ipv4], isInterval: true)
        var elements = NFElements(for: set)
        let fixed = ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4"].compactMap { IPPrefix($0) }
        var seen: [IPPrefix] = []
        for prefix in fixed + [settings.network] + inside where prefix.family == .ipv4 {
            // The kernel refuses overlapping ranges.
            guard !seen.contains(where: { $0.contains(prefix.network) || prefix.contains($0.network) }) else {
                continue
            }
            seen.append(prefix)
            elements.append(range: prefix.network.bytes, prefix.lastAddress.bytes)
        }
        let tcp: [NFExpression] = [
            .meta(.transportProtocol, into: NFRegister(0)), .compare(NFRegister(0), .equal, [6]),
        ]
        let destination = NFExpression.payload(.network, offset: 16, length: 4, into: NFRegister(0))
        let proxy: [NFExpression] = [
            .immediate(settings.node.bytes, into: NFRegister(0)),
            .immediate([UInt8(port >> 8), UInt8(port & 0xff)], into: NFRegister(1)),
            .destinationNAT(.ipv4, address: NFRegister(0), port: NFRegister(1)),
        ]
        let leaves = [destination, .lookup(set.name, key: NFRegister(0), inverted: true)]
        var redirect = [NFRule(tcp + leaves + proxy, comment: "connections to the world")]
        if !settings.hidesHostLoopback {
            redirect.append(
                NFRule(
                    tcp + [destination, .compare(NFRegister(0), .equal, settings.gateway.bytes)] + proxy,
                    comment: "connections to the host's loopback"))
        }
        let refuse = [NFRule(leaves + [.reject(.portUnreachable(.ipv4))], comment: "there is no way to the world")]
        // After services (-100) and host ports (-99): what they translate stays inside.
        return Ruleset(
            NFTable(.ip, table), sets: [Ruleset.NamedSet(set, elements)],
            chains: [
                Ruleset.Chain(NFChain("prerouting", hook: NFHook(.nat, .prerouting, priority: -90)), redirect),
                Ruleset.Chain(NFChain("output", hook: NFHook(.nat, .output, priority: -90)), redirect),
                Ruleset.Chain(NFChain("forward", hook: NFHook(.filter, .forward, priority: 10)), refuse),
                Ruleset.Chain(NFChain("refuse", hook: NFHook(.filter, .output, priority: 10)), refuse),
            ])
    }
}
