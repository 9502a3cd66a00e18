import Linux
import Netlink
import NetworkTesting
import Testing

@Suite(.enabled(if: Live.isRoot, "needs root and network namespaces"))
struct RouteLiveTests {
    let namespace: NetworkNamespace
    let route: RouteSocket

    init() throws {
        namespace = try NetworkNamespace.make()
        route = try RouteSocket(in: namespace)
    }

    @Test func aNewNamespaceHoldsOnlyLoopback() throws {
        let links = try route.links()
        #expect(links.map(\.name) == ["lo"])
        #expect(links.first?.isLoopback == true && links.first?.isUp == false)
    }

    @Test func bridgeWithPortInAnotherNamespace() throws {
        let pod = try NetworkNamespace.make()
        try route.addLink(LinkSpec("cni0", .bridge, mtu: 1400, mac: MACAddress("0a:58:0a:2a:00:01"), isUp: true))
        let bridge = try #require(try route.link(name: "cni0"))
        #expect(bridge.kind == "bridge" && bridge.isUp && bridge.mtu == 1400)
        #expect(bridge.mac?.description == "0a:58:0a:2a:00:01")
        try route.addLink(
            LinkSpec(
                "veth1", .veth(VethPeer(name: "eth0", namespace: pod, mac: MACAddress("0a:58:0a:2a:00:05"), mtu: 1400)),
                mtu: 1400, master: bridge.index, isUp: true))
        let port = try #require(try route.link(name: "veth1"))
        #expect(port.master == bridge.index && port.kind == "veth")
        try route.setBridgePort(port.index, hairpin: true)
        #expect(shell("bridge -d link show dev veth1", in: namespace).output.contains("hairpin on"))
        let inside = try RouteSocket(in: pod)
        let eth0 = try #require(try inside.link(name: "eth0"))
        #expect(eth0.mac?.description == "0a:58:0a:2a:00:05" && eth0.mtu == 1400 && !eth0.isUp)
        #expect(try route.links(master: bridge.index).map(\.name) == ["veth1"])
        try route.deleteLink(name: "veth1")
        try route.deleteLink(name: "veth1")
        #expect(try inside.link(name: "eth0") == nil)
    }

    @Test func renameMoveAndMTU() throws {
        let other = try NetworkNamespace.make()
        try route.addLink(LinkSpec("d0", .veth(VethPeer(name: "p0"))))
        let index = try #require(try route.link(name: "d0")).index
        try route.setLink(index, LinkChange(mtu: 1300, name: "d1"))
        #expect(try route.link(index)?.name == "d1")
        try route.setLink(index, LinkChange(namespace: other))
        #expect(try route.link(name: "d1") == nil)
        #expect(try RouteSocket(in: other).link(name: "d1")?.mtu == 1300)
    }

    @Test func addressesAndRoutesOfBothFamilies() throws {
        try route.addLink(LinkSpec("d0", .bridge, isUp: true))
        let index = try #require(try route.link(name: "d0")).index
        let four = try #require(IPPrefix("10.42.0.1/24"))
        let six = try #require(IPPrefix("fd00:42::1/64"))
        try route.addAddress(four, to: index)
        try route.addAddress(six, to: index, flags: .noDuplicateDetection)
        #expect(try route.addresses(family: .ipv4, link: index).map(\.prefix) == [four])
        let sixes = try route.addresses(family: .ipv6, link: index)
        #expect(sixes.contains { $0.prefix == six && !$0.isTentative })
        #expect(throws: NetlinkError.self) { try route.addAddress(four, to: index) }

        let gateway = try #require(IPAddress("10.42.0.254"))
        try route.addRoute(Route(to: nil, family: .ipv4, gateway: gateway))
        let target = try #require(IPPrefix("10.99.0.0/16"))
        try route.addRoute(Route(to: target, family: .ipv4, gateway: gateway, link: index))
        let routes = try route.routes(family: .ipv4)
        #expect(routes.contains { $0.destination == nil && $0.gateway == gateway && $0.link == index })
        #expect(routes.contains { $0.destination == target })
        #expect(try route.route(to: #require(IPAddress("8.8.8.8")))?.source == four.address)
        try route.deleteRoute(Route(to: target, family: .ipv4, gateway: gateway, link: index))
        try route.deleteRoute(Route(to: target, family: .ipv4, gateway: gateway, link: index))
        #expect(try !route.routes(family: .ipv4).contains { $0.destination == target })
        try route.deleteAddress(four, from: index)
        try route.deleteAddress(four, from: index)
        #expect(try route.addresses(family: .ipv4, link: index).isEmpty)
        #expect(try route.route(to: #require(IPAddress("8.8.8.8"))) == nil)
    }

    @Test func neighboursAndForwardingEntries() throws {
        try route.addLink(LinkSpec("d0", .bridge, isUp: true))
        let index = try #require(try route.link(name: "d0")).index
        try route.addAddress(#require(IPPrefix("10.42.0.1/24")), to: index)
        let mac = MACAddress("0a:58:0a:2a:00:05")
        let arp = Neighbour(.arp, link: index, address: IPAddress("10.42.0.5"), mac: mac)
        try route.setNeighbour(arp)
        #expect(try route.neighbours(.arp, link: index) == [arp])
        try route.deleteNeighbour(arp)
        #expect(try route.neighbours(.arp, link: index).isEmpty)

        try route.addLink(
            LinkSpec(
                "flannel.1",
                .vxlan(VXLANSettings(identifier: 1, port: 8472, local: IPAddress("10.42.0.1"), device: index)),
                isUp: true))
        let vxlan = try #require(try route.link(name: "flannel.1"))
        #expect(vxlan.kind == "vxlan")
        let shown = shell("ip -d link show flannel.1", in: namespace).output
        #expect(
            shown.contains("vxlan id 1 local 10.42.0.1 dev d0") && shown.contains("nolearning")
                && shown.contains("dstport 8472"))
        let entry = Neighbour(.forwarding, link: vxlan.index, address: IPAddress("10.42.0.9"), mac: mac)
        try route.setNeighbour(entry)
        #expect(try route.neighbours(.forwarding, link: vxlan.index) == [entry])
        try route.deleteNeighbour(entry)
        #expect(try route.neighbours(.forwarding, link: vxlan.index).isEmpty)
    }

    @Test func theKernelsWordsAreInTheError() throws {
        let gateway = IPAddress.v4(0x0a00_0001)
        let error = #expect(throws: NetlinkError.self) {
            try route.addRoute(Route(to: nil, family: .ipv4, gateway: gateway))
        }
        #expect(error?.code == ENETUNREACH)
        #expect(error?.kernelMessage?.contains("gateway") == true)
        #expect(error?.description.contains("add route default via 10.0.0.1") == true)
    }

    @Test func unknownKindNamesTheModule() {
        let error = #expect(throws: NetlinkError.self) { try route.addLink(LinkSpec("x0", .other("nosuchkind"))) }
        #expect(error?.description.contains("modprobe nosuchkind") == true)
    }

    @Test func longNameIsRefusedWithAReason() {
        let error = #expect(throws: NetlinkError.self) { try route.addLink(LinkSpec("aNameOfSixteenCh", .bridge)) }
        #expect(error?.hint?.contains("15 bytes") == true)
    }

    @Test func dumpOfManyLinksNeedsSeveralDatagrams() throws {
        for index in 0..<150 { try route.addLink(LinkSpec("d\(index)", .bridge)) }
        #expect(try route.links().count == 151)
    }

    @Test func settingsBelongToTheNamespace() throws {
        let before = Sysctl.get("net/ipv4/ip_forward")
        try namespace.run { () throws(NetlinkError) in try Sysctl.set("net/ipv4/ip_forward", "1") }
        let inside = try namespace.run { () throws(NetlinkError) in Sysctl.get("net/ipv4/ip_forward") }
        #expect(inside == "1")
        #expect(Sysctl.get("net/ipv4/ip_forward") == before)
        #expect(throws: NetlinkError.self) { try Sysctl.set("net/ipv4/no_such_setting", "1") }
    }

    @Test func concurrentRequestsOnOneSocketGetTheirOwnAnswers() async throws {
        for index in 0..<8 { try route.addLink(LinkSpec("c\(index)", .bridge)) }
        let route = self.route
        let wrong = try await withThrowingTaskGroup(of: Int.self) { group in
            for index in 0..<8 {
                group.addTask {
                    var wrong = 0
                    for _ in 0..<50 { if try route.link(name: "c\(index)")?.name != "c\(index)" { wrong += 1 } }
                    return wrong
                }
            }
            return try await group.reduce(0, +)
        }
        #expect(wrong == 0)
    }
}
