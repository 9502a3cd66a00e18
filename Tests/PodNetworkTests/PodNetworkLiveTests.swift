import Iptables
import Linux
import Netlink
import NetworkTesting
import PodNetwork
import Testing

/// A node, its pod network, and a machine outside (172.30.0.2 behind 172.30.0.1), in namespaces and a temporary directory.
private final class Node: Sendable {
    let namespace: NetworkNamespace
    let outside: NetworkNamespace
    let route: RouteSocket
    let directory: String

    init() throws {
        namespace = try NetworkNamespace.make()
        outside = try NetworkNamespace.make()
        route = try RouteSocket(in: namespace)
        try route.setLink(1, LinkChange(isUp: true))
        try route.addLink(
            LinkSpec("wan", .veth(VethPeer(name: "eth0", namespace: outside, mtu: 1400)), mtu: 1400, isUp: true))
        let wan = try #require(try route.link(name: "wan")).index
        try route.addAddress(#require(IPPrefix("172.30.0.1/24")), to: wan)
        try route.addRoute(Route(to: nil, family: .ipv4, gateway: IPAddress("172.30.0.2")))
        let far = try RouteSocket(in: outside)
        try far.setLink(1, LinkChange(isUp: true))
        let eth0 = try #require(try far.link(name: "eth0")).index
        try far.setLink(eth0, LinkChange(isUp: true))
        try far.addAddress(#require(IPPrefix("172.30.0.2/24")), to: eth0)
        directory = "/tmp/k3s-podnet-test.\(getpid()).\(UInt64.random(in: 0 ... .max))"
    }

    deinit { try? Directories.removeTree(directory) }

    func configuration(_ cidrs: [String] = ["10.42.0.0/24", "fd00:42::/64"]) -> PodNetworkConfiguration {
        PodNetworkConfiguration(
            podCIDRs: cidrs.compactMap { IPPrefix($0) },
            clusterCIDRs: ["10.42.0.0/16", "fd00:42::/56"].compactMap { IPPrefix($0) },
            stateDirectory: directory)
    }

    func open(_ cidrs: [String] = ["10.42.0.0/24", "fd00:42::/64"]) async throws -> PodNetwork {
        try await PodNetwork.open(configuration(cidrs), in: namespace)
    }
}

@Suite(.enabled(if: Live.isRoot, "needs root and network namespaces"))
struct PodNetworkLiveTests {
    private let node: Node

    init() throws { node = try Node() }

    @Test func podsReachEachOtherTheNodeAndTheWorld() async throws {
        let network = try await node.open()
        let a = try NetworkNamespace.make(), b = try NetworkNamespace.make()
        let first = try await network.attach(sandboxID: "a", netnsPath: a.processPath)
        let second = try await network.attach(sandboxID: "b", netnsPath: b.processPath)
        #expect(first.ips.map(\.description) == ["10.42.0.2", "fd00:42::2"])
        #expect(second.ips.map(\.description) == ["10.42.0.3", "fd00:42::3"])
        #expect(first.mac.description == "0a:58:0a:2a:00:02")
        let servers = [
            try ProbeServer("b", in: b, port: 80), try ProbeServer("b", in: b, port: 80, family: .ipv6),
            try ProbeServer("node", in: node.namespace, port: 81), try ProbeServer("world", in: node.outside, port: 82),
            try ProbeServer("a", in: a, port: 83),
        ]
        defer { servers.forEach { $0.close_() } }
        #expect(probe(from: a, "10.42.0.3", 80) == .answer("b 10.42.0.2"))
        #expect(probe(from: a, "fd00:42::3", 80) == .answer("b fd00:42::2"))
        #expect(probe(from: a, "127.0.0.1", 83) == .answer("a 127.0.0.1"))
        #expect(probe(from: a, "10.42.0.1", 81) == .answer("node 10.42.0.2"))
        #expect(probe(from: node.namespace, "10.42.0.3", 80) == .answer("b 10.42.0.1"))
        // The world sees the node.
        #expect(probe(from: a, "172.30.0.2", 82) == .answer("world 172.30.0.1"))
        #expect(nftRuleset(node.namespace).status == 0)
    }

    @Test func insideThePod() async throws {
        let network = try await node.open()
        let pod = try NetworkNamespace.make()
        let got = try await network.attach(sandboxID: "a", netnsPath: pod.processPath)
        let inside = try RouteSocket(in: pod)
        let lo = try #require(try inside.link(name: "lo")), eth0 = try #require(try inside.link(name: "eth0"))
        #expect(lo.isUp && eth0.isUp && eth0.mac == got.mac && eth0.mtu == 1400)
        #expect(try inside.addresses(family: .ipv4, link: eth0.index).map(\.prefix.description) == ["10.42.0.2/24"])
        let routes = try inside.routes(family: .ipv4).map(\.description).sorted()
        #expect(routes == ["10.42.0.1/32 link \(eth0.index)", "default via 10.42.0.1 link \(eth0.index)"])
        let host = try #require(try node.route.link(name: got.interface))
        #expect(host.isUp && host.mtu == 1400)
        #expect(shell("bridge -d link show dev \(got.interface)", in: node.namespace).output.contains("hairpin on"))
        let bridge = try #require(try node.route.link(name: "cni0"))
        #expect(host.master == bridge.index && bridge.mac?.description == "0a:58:0a:2a:00:01")
        let forward = try node.namespace.run { () throws(NetlinkError) in Sysctl.get("net/ipv4/ip_forward") }
        #expect(forward == "1")
    }

    @Test func attachAndDetachAreIdempotent() async throws {
        let network = try await node.open()
        let pod = try NetworkNamespace.make()
        let first = try await network.attach(sandboxID: "a", netnsPath: pod.processPath)
        #expect(try await network.attach(sandboxID: "a", netnsPath: pod.processPath) == first)
        #expect(network.addresses(sandboxID: "a") == first)
        try await network.detach(sandboxID: "a")
        try await network.detach(sandboxID: "a")
        #expect(network.addresses(sandboxID: "a") == nil)
        #expect(try node.route.link(name: first.interface) == nil)
        #expect(try RouteSocket(in: pod).link(name: "eth0") == nil)
        #expect(try Directories.list(node.directory).isEmpty)
        let again = try await network.attach(sandboxID: "a", netnsPath: pod.processPath)
        #expect(again.ips.first?.description == "10.42.0.3")
        // The pod's namespace went first.
        var held = [try NetworkNamespace.make()]
        let gone = try await network.attach(sandboxID: "short", netnsPath: held[0].processPath)
        #expect(held.removeLast().processPath.hasPrefix("/proc/"))
        try await network.detach(sandboxID: "short")
        #expect(try node.route.link(name: gone.interface) == nil)
    }

    @Test func restartAdoptsRunningPods() async throws {
        let a = try NetworkNamespace.make(), b = try NetworkNamespace.make()
        let before = try await node.open().attach(
            sandboxID: "a", netnsPath: a.processPath, hostPorts: [HostPort(hostPort: 8000, podPort: 80)])
        let server = try ProbeServer("a", in: a, port: 80)
        defer { server.close_() }
        let link = try #require(try node.route.link(name: before.interface))
        let next = try await node.open()
        #expect(next.addresses(sandboxID: "a") == before)
        #expect(try node.route.link(name: before.interface) == link)
        let second = try await next.attach(sandboxID: "b", netnsPath: b.processPath)
        #expect(second.ips.first?.description == "10.42.0.3")
        #expect(probe(from: b, "10.42.0.2", 80) == .answer("a 10.42.0.3"))
        #expect(probe(from: node.outside, "172.30.0.1", 8000) == .answer("a 172.30.0.2"))
        // A damaged record is dropped, its address free again.
        try Files.write(node.directory + "/b", Array("k3s-pod-network 1\nrubbish".utf8))
        let third = try await node.open()
        #expect(third.sandboxIDs == ["a"])
        #expect(try await third.gc(live: ["a"]).isEmpty)
        #expect(try node.route.link(name: second.interface) == nil)
    }

    @Test func aFamilyThatIsNoLongerUsedLeavesNothing() async throws {
        _ = try await node.open()
        #expect(shell("nft list tables", in: node.namespace).output.contains("table ip6 k3s-pods"))
        let network = try await node.open(["10.42.0.0/24"])
        #expect(shell("nft list tables", in: node.namespace).output == "table ip k3s-pods\n")
        #expect(try await !network.verifyRules())
        let bridge = try #require(try node.route.link(name: "cni0")).index
        let addresses = try node.route.addresses(link: bridge).map(\.prefix).filter { !$0.address.isLinkLocal }
        #expect(addresses.map(\.description) == ["10.42.0.1/24"])
    }

    @Test func gcRemovesWhatIsNotLive() async throws {
        let network = try await node.open()
        let pods = try (0..<3).map { _ in try NetworkNamespace.make() }
        for (index, pod) in pods.enumerated() {
            _ = try await network.attach(sandboxID: "p\(index)", netnsPath: pod.processPath)
        }
        // Somebody else's interfaces stay, also on the bridge.
        let bridge = try #require(try node.route.link(name: "cni0")).index
        try node.route.addLink(LinkSpec("veth0badcafe", .veth(VethPeer(name: "leak")), master: bridge))
        try node.route.addLink(LinkSpec("other0", .veth(VethPeer(name: "other1")), master: bridge))
        #expect(try await network.gc(live: ["p1"]) == ["p0", "p2"])
        #expect(network.sandboxIDs == ["p1"])
        #expect(try node.route.link(name: "veth0badcafe") == nil)
        #expect(try node.route.link(name: "other0") != nil)
        #expect(try node.route.links(master: bridge).count == 2)
    }

    @Test func hostPortsLeadToThePod() async throws {
        let network = try await node.open()
        let pod = try NetworkNamespace.make(), other = try NetworkNamespace.make()
        let local = try #require(IPAddress("10.42.0.1"))
        let ports = [
            HostPort(hostPort: 8000, podPort: 80), HostPort(hostAddress: local, hostPort: 8001, podPort: 80),
            HostPort(transport: .udp, hostPort: 8000, podPort: 80),
        ]
        _ = try await network.attach(sandboxID: "a", netnsPath: pod.processPath, hostPorts: ports)
        _ = try await network.attach(sandboxID: "b", netnsPath: other.processPath)
        let servers = [try ProbeServer("a", in: pod, port: 80), try ProbeServer("a", in: pod, port: 80, udp: true)]
        defer { servers.forEach { $0.close_() } }
        #expect(probe(from: node.outside, "172.30.0.1", 8000) == .answer("a 172.30.0.2"))
        #expect(probe(from: node.outside, "172.30.0.1", 8000, udp: true) == .answer("a 172.30.0.2"))
        #expect(probe(from: other, "172.30.0.1", 8000) == .answer("a 10.42.0.3"))
        #expect(probe(from: pod, "172.30.0.1", 8000) == .answer("a 10.42.0.1"))
        #expect(probe(from: node.namespace, "172.30.0.1", 8000).server == "a")
        #expect(probe(from: other, "10.42.0.1", 8001).server == "a")
        #expect(probe(from: node.outside, "172.30.0.1", 8001) == .failed(ECONNREFUSED))
        let listing = nftRuleset(node.namespace)
        #expect(listing.status == 0 && listing.output.contains("tcp . 8000 : 10.42.0.2 . 80"), "\(listing.output)")

        let error = await #expect(throws: PodNetworkError.self) {
            try await network.attach(
                sandboxID: "c", netnsPath: other.processPath,
                hostPorts: [HostPort(hostAddress: local, hostPort: 8000, podPort: 1)])
        }
        #expect(error?.code == .hostPortTaken)
        #expect(error?.message.contains("sandbox a") == true)
        try await network.detach(sandboxID: "a")
        #expect(probe(from: node.outside, "172.30.0.1", 8000) == .failed(ECONNREFUSED))
    }

    @Test func changedRulesAreFoundAndRepaired() async throws {
        let network = try await node.open()
        let pod = try NetworkNamespace.make()
        _ = try await network.attach(
            sandboxID: "a", netnsPath: pod.processPath, hostPorts: [HostPort(hostPort: 8000, podPort: 80)])
        let server = try ProbeServer("a", in: pod, port: 80)
        defer { server.close_() }
        #expect(try await !network.verifyRules())
        for damage in [
            "nft flush chain ip k3s-pods prerouting", "nft flush ruleset", "nft flush map ip k3s-pods hostports",
        ] {
            #expect(shell(damage, in: node.namespace).status == 0)
            #expect(try await network.verifyRules(), "\(damage)")
            #expect(probe(from: node.outside, "172.30.0.1", 8000).server == "a")
        }
        #expect(shell("nft add table ip foreign", in: node.namespace).status == 0)
        #expect(try await !network.verifyRules())
    }

    @Test func aFullRangeIsAClearErrorAndRecovers() async throws {
        let network = try await node.open(["10.42.0.0/30"])
        let pod = try NetworkNamespace.make(), other = try NetworkNamespace.make()
        _ = try await network.attach(sandboxID: "a", netnsPath: pod.processPath)
        let error = await #expect(throws: PodNetworkError.self) {
            try await network.attach(sandboxID: "b", netnsPath: other.processPath)
        }
        #expect(error?.code == .exhausted)
        try await network.detach(sandboxID: "a")
        #expect(
            try await network.attach(sandboxID: "b", netnsPath: other.processPath).ips.map(\.description) == [
                "10.42.0.2"
            ])
    }

    @Test func aFailedAttachLeavesNothing() async throws {
        let network = try await node.open()
        let error = await #expect(throws: PodNetworkError.self) {
            try await network.attach(sandboxID: "a", netnsPath: "/proc/self/ns/no-such")
        }
        #expect(error?.message.contains("/proc/self/ns/no-such") == true)
        await #expect(throws: PodNetworkError.self) {
            try await network.attach(sandboxID: "../a", netnsPath: "/proc/self/ns/net")
        }
        // The name of the pod's interface is taken: fails half way.
        let pod = try NetworkNamespace.make()
        try RouteSocket(in: pod).addLink(LinkSpec("eth0", .bridge))
        await #expect(throws: PodNetworkError.self) {
            try await network.attach(sandboxID: "a", netnsPath: pod.processPath)
        }
        #expect(network.sandboxIDs.isEmpty)
        #expect(try Directories.list(node.directory).isEmpty)
        #expect(try node.route.links().map(\.name).sorted() == ["cni0", "lo", "wan"])
    }

    @Test func aLeftoverInterfaceOfThatNameIsReplaced() async throws {
        let network = try await node.open()
        try node.route.addLink(LinkSpec(InterfaceName.make("a"), .veth(VethPeer(name: "stale"))))
        let pod = try NetworkNamespace.make()
        let got = try await network.attach(sandboxID: "a", netnsPath: pod.processPath)
        #expect(try node.route.link(name: got.interface)?.master != nil)
        #expect(try node.route.link(name: "stale") == nil)
    }

    @Test func manyPodsAtOnce() async throws {
        let network = try await node.open()
        let pods = try (0..<60).map { _ in try NetworkNamespace.make() }
        let clock = ContinuousClock()
        let start = clock.now
        let all = try await withThrowingTaskGroup(of: PodAddresses.self) { group in
            for (index, pod) in pods.enumerated() {
                group.addTask { try await network.attach(sandboxID: "p\(index)", netnsPath: pod.processPath) }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        let each = (clock.now - start) / 60
        #expect(Set(all.flatMap(\.ips)).count == 120)
        #expect(Set(all.map(\.interface)).count == 60)
        print("attach: \(each) per pod, 60 pods at once")
        var detach: [Duration] = []
        var attach: [Duration] = []
        for index in 0..<20 {
            let start = clock.now
            try await network.detach(sandboxID: "p\(index)")
            let middle = clock.now
            _ = try await network.attach(sandboxID: "p\(index)", netnsPath: pods[index].processPath)
            detach.append(middle - start)
            attach.append(clock.now - middle)
        }
        print(
            "alone: detach median \(detach.sorted()[10]), attach median \(attach.sorted()[10]) least \(attach.sorted()[0])"
        )
    }

    @Test func aWrongRangeOrBridgeIsExplained() async throws {
        await #expect(throws: PodNetworkError.self) { try await node.open(["10.42.0.0/24", "10.43.0.0/24"]) }
        await #expect(throws: PodNetworkError.self) { try await node.open([]) }
        let error = await #expect(throws: PodNetworkError.self) {
            var configuration = node.configuration()
            configuration.bridge = "wan"
            _ = try await PodNetwork.open(configuration, in: node.namespace)
        }
        #expect(error?.message.contains("is no bridge") == true)
    }

    @Test func tearDownRemovesBridgeAndTables() async throws {
        let network = try await node.open()
        let pod = try NetworkNamespace.make()
        _ = try await network.attach(sandboxID: "a", netnsPath: pod.processPath)
        try await network.tearDown()
        #expect(try node.route.links().map(\.name).sorted() == ["lo", "wan"])
        #expect(nftRuleset(node.namespace).output.isEmpty)
    }

    @Test func theDefaultInterfaceIsFound() throws {
        let found = try #require(try HostAddress.defaultInterface(in: node.namespace))
        #expect(found.name == "wan" && found.mtu == 1400)
        #expect(try HostAddress.defaultInterfaceAddress(in: node.namespace).description == "172.30.0.1")
        let error = #expect(throws: PodNetworkError.self) {
            try HostAddress.defaultInterfaceAddress(.ipv6, in: node.namespace)
        }
        #expect(error?.message.contains("--node-ip") == true)
        #expect(throws: PodNetworkError.self) { try HostAddress.defaultInterfaceAddress(in: NetworkNamespace.make()) }
        #expect(
            try HostAddress.interface(named: "wan", in: node.namespace)?.ipv4.map(\.description) == ["172.30.0.1/24"])
    }
}
