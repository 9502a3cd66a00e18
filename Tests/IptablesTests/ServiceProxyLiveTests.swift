import Linux
import Iptables
import Netlink
import NetworkTesting
import Testing

/// Real packets through real rules, in namespaces; with bridged packets passing the firewall (br_netfilter) and without.
struct ProxyLab {
    let lab: Lab
    let a: NetworkNamespace
    let b: NetworkNamespace
    let proxy: ServiceProxy
    let settings: ProxySettings

    init(bridgeFiltering: Bool) throws {
        lab = try Lab(bridgeFiltering: bridgeFiltering)
        (a, b) = (try lab.pod(2), try lab.pod(3))
        var settings = ProxySettings(clusterCIDRs: ["10.42.0.0/16", "fd00:42::/56"].compactMap { IPPrefix($0) })
        settings.families = [.ipv4, .ipv6]
        self.settings = settings
        proxy = ServiceProxy(
            backend: try KernelRuleset(in: lab.node), connections: try ConntrackSocket(in: lab.node), settings: settings
        )
    }

    func address(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }

    func service(
        _ endpoints: [String], transport: Iptables.TransportProtocol = .tcp,
        _ change: (inout ServicePort) -> Void = { _ in }
    ) throws -> ServicePort {
        var service = ServicePort(
            "default/web:\(transport)", clusterIPs: [try address("10.43.0.10"), try address("fd00:43::10")], port: 80,
            transport: transport,
            endpoints: try endpoints.map { ProxyEndpoint(try address($0), 8080, isLocal: true) })
        change(&service)
        return service
    }

    func servers(udp: Bool = false) throws -> [ProbeServer] {
        [
            try ProbeServer("a", in: a, port: 8080, udp: udp), try ProbeServer("b", in: b, port: 8080, udp: udp),
            try ProbeServer("a", in: a, port: 8080, udp: udp, family: .ipv6),
        ]
    }

    func expectPrintable(_ comment: Comment? = nil) {
        let listing = nftRuleset(lab.node)
        #expect(listing.status == 0, "\(listing.output)")
    }
}

@Suite(.enabled(if: Live.isRoot, "needs root and network namespaces"))
struct ServiceProxyLiveTests {
    @Test(arguments: [true, false])
    func podsReachServicesOnTheSameNodeAndThemselves(bridgeFiltering: Bool) throws {
        let at = try ProxyLab(bridgeFiltering: bridgeFiltering)
        let running = try at.servers()
        defer { running.forEach { $0.close_() } }
        try at.proxy.sync(
            ProxyState(services: [at.service(["10.42.0.2", "10.42.0.3", "fd00:42::2"])], settings: at.settings))
        at.expectPrintable()
        var seen: [String: Set<String>] = [:]
        for _ in 0..<40 {
            let result = probe(from: at.a, "10.43.0.10", 80)
            let server = try #require(result.server, "\(result)")
            seen[server, default: []].insert(result.client ?? "")
        }
        // Both endpoints are used; the pod's own at.address survives to the other pod, a hairpin comes from the node.
        #expect(seen["b"] == ["10.42.0.2"])
        #expect(seen["a"] == ["10.42.0.1"])
        #expect(probe(from: at.b, "fd00:43::10", 80).client == "fd00:42::3")
        #expect(probe(from: at.a, "fd00:43::10", 80).server == "a")
    }

    @Test(arguments: [true, false])
    func theNodeItselfAndTheOutsideReachClusterAddresses(bridgeFiltering: Bool) throws {
        let at = try ProxyLab(bridgeFiltering: bridgeFiltering)
        let running = try at.servers()
        defer { running.forEach { $0.close_() } }
        try at.proxy.sync(ProxyState(services: [at.service(["10.42.0.3"])], settings: at.settings))
        try at.lab.route.addRoute(Route(to: IPPrefix("10.43.0.0/16"), family: .ipv4, gateway: IPAddress("172.30.0.2")))
        #expect(probe(from: at.lab.node, "10.43.0.10", 80).server == "b")
        // Not from the cluster's range, so masqueraded.
        #expect(probe(from: at.lab.outside, "10.43.0.10", 80) == .answer("b 10.42.0.1"))
    }

    @Test(arguments: [true, false])
    func aServiceWithoutEndpointsIsRefusedAtOnce(bridgeFiltering: Bool) throws {
        let at = try ProxyLab(bridgeFiltering: bridgeFiltering)
        try at.proxy.sync(
            ProxyState(services: [at.service([]), at.service([], transport: .udp)], settings: at.settings))
        at.expectPrintable()
        #expect(probe(from: at.a, "10.43.0.10", 80) == .failed(ECONNREFUSED))
        #expect(probe(from: at.a, "10.43.0.10", 80, udp: true) == .failed(ECONNREFUSED))
        #expect(probe(from: at.a, "fd00:43::10", 80) == .failed(ECONNREFUSED))
        try at.lab.route.addRoute(Route(to: IPPrefix("10.43.0.0/16"), family: .ipv4, gateway: IPAddress("172.30.0.2")))
        #expect(probe(from: at.lab.node, "10.43.0.10", 80) == .failed(ECONNREFUSED))
    }

    @Test(arguments: [true, false])
    func endpointsComeAndGoOneByOne(bridgeFiltering: Bool) throws {
        let at = try ProxyLab(bridgeFiltering: bridgeFiltering)
        let running = try at.servers()
        defer { running.forEach { $0.close_() } }
        try at.proxy.sync(ProxyState(services: [at.service(["10.42.0.2"])], settings: at.settings))
        #expect(probe(from: at.b, "10.43.0.10", 80).server == "a")
        #expect(try !at.proxy.update([at.service(["10.42.0.3"])]).wasFullLoad)
        #expect(probe(from: at.b, "10.43.0.10", 80).server == "b")
        try at.proxy.update([at.service([])])
        #expect(probe(from: at.b, "10.43.0.10", 80) == .failed(ECONNREFUSED))
        try at.proxy.update([at.service(["10.42.0.2", "10.42.0.3"])])
        #expect(probe(from: at.b, "10.43.0.10", 80).server != nil)
        #expect(try at.proxy.verify() == .intact)
        try at.proxy.update([], removing: ["default/web:tcp"])
        // No rule any more and no route from the node: unreachable.
        #expect(probe(from: at.b, "10.43.0.10", 80, milliseconds: 200).server == nil)
    }

    @Test(arguments: [true, false])
    func udpFollowsItsEndpoints(bridgeFiltering: Bool) throws {
        let at = try ProxyLab(bridgeFiltering: bridgeFiltering)
        let running = try at.servers(udp: true)
        defer { running.forEach { $0.close_() } }
        try at.proxy.sync(ProxyState(services: [at.service(["10.42.0.2"], transport: .udp)], settings: at.settings))
        #expect(probe(from: at.b, "10.43.0.10", 80, udp: true, localPort: 4001).server == "a")
        // The same client port: conntrack would keep it at the old endpoint.
        let result = try at.proxy.update([at.service(["10.42.0.3"], transport: .udp)])
        #expect(result.flowsDeleted == 1)
        #expect(probe(from: at.b, "10.43.0.10", 80, udp: true, localPort: 4001).server == "b")
        try at.proxy.update([at.service([], transport: .udp)])
        #expect(probe(from: at.b, "10.43.0.10", 80, udp: true, localPort: 4001) == .failed(ECONNREFUSED))
        try at.proxy.update([at.service(["10.42.0.2"], transport: .udp)])
        #expect(probe(from: at.b, "10.43.0.10", 80, udp: true, localPort: 4001).server == "a")
    }

    @Test(arguments: [true, false])
    func nodePortsAnswerOnEveryAddressOfTheNode(bridgeFiltering: Bool) throws {
        let at = try ProxyLab(bridgeFiltering: bridgeFiltering)
        let running = try at.servers()
        defer { running.forEach { $0.close_() } }
        try at.proxy.sync(
            ProxyState(services: [at.service(["10.42.0.3"]) { $0.nodePort = 30080 }], settings: at.settings))
        at.expectPrintable()
        #expect(probe(from: at.lab.outside, "172.30.0.1", 30080) == .answer("b 10.42.0.1"))
        #expect(probe(from: at.a, "172.30.0.1", 30080).server == "b")
        #expect(probe(from: at.a, "10.42.0.1", 30080).server == "b")
        #expect(probe(from: at.lab.node, "172.30.0.1", 30080).server == "b")
        #expect(probe(from: at.lab.node, "127.0.0.1", 30080) == .failed(ECONNREFUSED))
        try at.proxy.update([at.service([]) { $0.nodePort = 30080 }])
        #expect(probe(from: at.lab.outside, "172.30.0.1", 30080) == .failed(ECONNREFUSED))
    }

    @Test(arguments: [true, false])
    func nodePortsCanBeLimitedToAddresses(bridgeFiltering: Bool) throws {
        let at = try ProxyLab(bridgeFiltering: bridgeFiltering)
        let running = try at.servers()
        defer { running.forEach { $0.close_() } }
        var limited = at.settings
        limited.nodePortAddresses = [try #require(IPPrefix("10.42.0.1/32"))]
        try at.proxy.sync(ProxyState(services: [at.service(["10.42.0.3"]) { $0.nodePort = 30080 }], settings: limited))
        #expect(probe(from: at.a, "10.42.0.1", 30080).server == "b")
        #expect(probe(from: at.lab.outside, "172.30.0.1", 30080) == .failed(ECONNREFUSED))
    }

    @Test(arguments: [true, false])
    func externalTrafficPolicyLocalKeepsTheClientsAddress(bridgeFiltering: Bool) throws {
        let at = try ProxyLab(bridgeFiltering: bridgeFiltering)
        let running = try at.servers()
        defer { running.forEach { $0.close_() } }
        let local = try at.service(["10.42.0.3"]) {
            $0.nodePort = 30080; $0.externalTrafficLocal = true; $0.externalIPs = [try! at.address("172.30.0.50")]
        }
        try at.proxy.sync(ProxyState(services: [local], settings: at.settings))
        at.expectPrintable()
        #expect(probe(from: at.lab.outside, "172.30.0.1", 30080) == .answer("b 172.30.0.2"))
        #expect(probe(from: at.a, "172.30.0.1", 30080) == .answer("b 10.42.0.2"))
        #expect(probe(from: at.lab.node, "172.30.0.1", 30080).server == "b")
        // No endpoint on this node: outsiders get nothing, pods still everything.
        let remote = try at.service(["10.42.0.3"]) {
            $0.nodePort = 30080; $0.externalTrafficLocal = true; $0.endpoints[0].isLocal = false
        }
        try at.proxy.update([remote])
        #expect(probe(from: at.lab.outside, "172.30.0.1", 30080, milliseconds: 300) == .failed(ETIMEDOUT))
        #expect(probe(from: at.a, "172.30.0.1", 30080).server == "b")
        #expect(try at.proxy.verify() == .intact)
    }

    @Test(arguments: [true, false])
    func internalTrafficPolicyLocalUsesOnlyThisNode(bridgeFiltering: Bool) throws {
        let at = try ProxyLab(bridgeFiltering: bridgeFiltering)
        let running = try at.servers()
        defer { running.forEach { $0.close_() } }
        let mixed = try at.service(["10.42.0.2", "10.42.0.3"]) {
            $0.internalTrafficLocal = true; $0.endpoints[0].isLocal = false
        }
        try at.proxy.sync(ProxyState(services: [mixed], settings: at.settings))
        for _ in 0..<10 { #expect(probe(from: at.a, "10.43.0.10", 80).server == "b") }
        let none = try at.service(["10.42.0.2"]) {
            $0.internalTrafficLocal = true; $0.endpoints[0].isLocal = false
        }
        try at.proxy.update([none])
        #expect(probe(from: at.b, "10.43.0.10", 80, milliseconds: 300) == .failed(ETIMEDOUT))
    }

    @Test(arguments: [true, false])
    func loadBalancerSourceRangesAreEnforced(bridgeFiltering: Bool) throws {
        let at = try ProxyLab(bridgeFiltering: bridgeFiltering)
        let running = try at.servers()
        defer { running.forEach { $0.close_() } }
        func balanced(_ ranges: [String]) throws -> ServicePort {
            try at.service(["10.42.0.3"]) {
                $0.loadBalancerIPs = [IPAddress.v4(0xac1e_0032)]
                $0.loadBalancerSourceRanges = ranges.compactMap { IPPrefix($0) }
            }
        }
        try at.lab.route.addAddress(
            #require(IPPrefix("172.30.0.50/32")), to: #require(try at.lab.route.link(name: "wan")).index)
        try at.proxy.sync(ProxyState(services: [balanced([])], settings: at.settings))
        #expect(probe(from: at.lab.outside, "172.30.0.50", 80).server == "b")
        try at.proxy.update([balanced(["203.0.113.0/24"])])
        at.expectPrintable()
        #expect(probe(from: at.lab.outside, "172.30.0.50", 80, milliseconds: 300) == .failed(ETIMEDOUT))
        try at.proxy.update([balanced(["203.0.113.0/24", "172.30.0.0/24", "172.30.0.2/32"])])
        #expect(probe(from: at.lab.outside, "172.30.0.50", 80).server == "b")
        #expect(try at.proxy.verify() == .intact)
    }

    @Test(arguments: [true, false])
    func sessionAffinityHoldsAClientAndMovesItWhenItsEndpointGoes(bridgeFiltering: Bool) throws {
        let at = try ProxyLab(bridgeFiltering: bridgeFiltering)
        let running = try at.servers()
        defer { running.forEach { $0.close_() } }
        func sticky(_ endpoints: [String]) throws -> ServicePort {
            try at.service(endpoints) {
                $0.sessionAffinityTimeoutSeconds = 10800; $0.nodePort = 30080
            }
        }
        try at.proxy.sync(
            ProxyState(services: [sticky(["10.42.0.2", "10.42.0.3", "fd00:42::2"])], settings: at.settings))
        at.expectPrintable()
        for (target, port) in [("10.43.0.10", 80), ("172.30.0.1", 30080)] as [(String, UInt16)] {
            let first = try #require(probe(from: at.lab.outside, target, port).server)
            for _ in 0..<20 { #expect(probe(from: at.lab.outside, target, port).server == first) }
        }
        #expect(probe(from: at.b, "fd00:43::10", 80).server == "a")
        let held = try #require(probe(from: at.lab.outside, "10.43.0.10", 80).server)
        // A new process (or a reload) keeps remembered clients.
        let next = ServiceProxy(backend: try KernelRuleset(in: at.lab.node), connections: nil, settings: at.settings)
        #expect(
            try next.sync(
                ProxyState(services: [sticky(["10.42.0.2", "10.42.0.3", "fd00:42::2"])], settings: at.settings)
            ).wasFullLoad)
        for _ in 0..<10 { #expect(probe(from: at.lab.outside, "10.43.0.10", 80).server == held) }
        let other = held == "a" ? "b" : "a"
        try next.update([sticky([held == "a" ? "10.42.0.3" : "10.42.0.2"])])
        for _ in 0..<5 { #expect(probe(from: at.lab.outside, "10.43.0.10", 80).server == other) }
        at.expectPrintable()
    }

    /// A client that has been away for longer than the timeout is as good as new: either endpoint may be next.
    @Test func sessionAffinityEndsWithItsTimeout() throws {
        let at = try ProxyLab(bridgeFiltering: false)
        let running = try at.servers()
        defer { running.forEach { $0.close_() } }
        try at.proxy.sync(
            ProxyState(
                services: [at.service(["10.42.0.2", "10.42.0.3"]) { $0.sessionAffinityTimeoutSeconds = 1 }],
                settings: at.settings))
        let first = try #require(probe(from: at.lab.outside, "10.43.0.10", 80).server)
        var met: Set<String> = [first]
        for _ in 0..<24 where met.count < 2 {
            usleep(1_500_000)
            if let next = probe(from: at.lab.outside, "10.43.0.10", 80).server { met.insert(next) }
        }
        #expect(met == ["a", "b"])
    }

    @Test(arguments: [true, false])
    func tamperingIsFoundAndRepaired(bridgeFiltering: Bool) throws {
        let at = try ProxyLab(bridgeFiltering: bridgeFiltering)
        let running = try at.servers()
        defer { running.forEach { $0.close_() } }
        try at.proxy.sync(
            ProxyState(services: [at.service(["10.42.0.3"]) { $0.nodePort = 30080 }], settings: at.settings))
        #expect(shell("nft add table ip foreign && nft add chain ip foreign c", in: at.lab.node).status == 0)
        #expect(try at.proxy.verify() == .intact)
        for damage in [
            "nft delete element ip k3s-proxy endpoints \"{ 10.43.0.10 . tcp . 80 . 0 }\"",
            "nft flush chain ip k3s-proxy prerouting", "nft add rule ip k3s-proxy output drop",
            "nft delete table ip k3s-proxy",
            "nft flush ruleset", "nft add chain ip k3s-proxy extra",
            "nft add element ip k3s-proxy cluster-cidrs \"{ 10.99.0.0/16 }\"",
        ] {
            let done = shell(damage, in: at.lab.node)
            #expect(done.status == 0, "\(damage): \(done.output)")
            guard case .reloaded = try at.proxy.verify() else {
                Issue.record("not found: \(damage)")
                continue
            }
            #expect(probe(from: at.a, "10.43.0.10", 80).server == "b", "after \(damage)")
            #expect(try at.proxy.verify() == .intact)
        }
    }

    @Test(arguments: [true, false])
    func foreignTablesStay(bridgeFiltering: Bool) throws {
        let at = try ProxyLab(bridgeFiltering: bridgeFiltering)
        #expect(shell("nft add table ip foreign", in: at.lab.node).status == 0)
        try at.proxy.sync(ProxyState(services: [at.service(["10.42.0.3"])], settings: at.settings))
        try at.proxy.unload()
        let listing = nftRuleset(at.lab.node).output
        #expect(listing.contains("table ip foreign") && !listing.contains("k3s-proxy"))
    }

    @Test(arguments: [true, false])
    func aLostTableIsRebuiltByTheNextUpdate(bridgeFiltering: Bool) throws {
        let at = try ProxyLab(bridgeFiltering: bridgeFiltering)
        let running = try at.servers()
        defer { running.forEach { $0.close_() } }
        try at.proxy.sync(ProxyState(services: [at.service(["10.42.0.2"])], settings: at.settings))
        #expect(shell("nft flush ruleset", in: at.lab.node).status == 0)
        #expect(try at.proxy.update([at.service(["10.42.0.3"])]).wasFullLoad)
        #expect(probe(from: at.a, "10.43.0.10", 80).server == "b")
    }
}

@Suite(.enabled(if: Live.isRoot, "needs root and network namespaces"))
struct ProxyBenchmarkTests {
    @Test func oneChangeCostsTheSameWhateverIsLoaded() throws {
        let small = try ProxyBenchmark.run(services: 100)
        let large = try ProxyBenchmark.run(services: 5_000)
        print(small)
        print(large)
        #expect(small.changeBytes == large.changeBytes)
        #expect(large.changeBytes < 512)
        #expect(large.loadBytes < 5_000 * 260)
    }
}
