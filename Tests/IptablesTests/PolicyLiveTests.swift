import Iptables
import Linux
import Netlink
import NetworkTesting
import Testing

/// Real packets against policies: pods on one bridge, the node, the outside, services; with bridged packets passing the
/// firewall (br_netfilter) and without.
struct PolicyLab {
    let lab: Lab
    let a: NetworkNamespace
    let b: NetworkNamespace
    let enforcer: PolicyEnforcer
    let bridgeFiltering: Bool

    init(bridgeFiltering: Bool) throws {
        self.bridgeFiltering = bridgeFiltering
        var settings = PolicySettings(families: [.ipv4, .ipv6])
        settings.filtersBridgedFrames = bridgeFiltering
        lab = try Lab(bridgeFiltering: bridgeFiltering)
        (a, b) = (try lab.pod(2), try lab.pod(3))
        enforcer = PolicyEnforcer(backend: try KernelRuleset(in: lab.node), settings: settings)
        // The outside knows the way to pods.
        let far = try RouteSocket(in: lab.outside)
        try far.addRoute(Route(to: IPPrefix("10.42.0.0/16"), family: .ipv4, gateway: IPAddress("172.30.0.1")))
    }

    func pod(_ number: Int, _ app: String) throws -> PolicyPod {
        PolicyPod(
            "default/\(app)", namespace: "default", labels: ["app": app],
            addresses: try ["10.42.0.\(number)", "fd00:42::\(number)"].map { try #require(IPAddress($0)) },
            ports: [.init("web", .tcp, 8080)])
    }

    func load(_ policies: [NetworkPolicy]) throws {
        try enforcer.reset(
            PolicyChanges(
                pods: [pod(2, "a"), pod(3, "b")], namespaces: ["default": ["team": "x"]], policies: policies))
        let listing = nftRuleset(lab.node)
        #expect(listing.status == 0, "\(listing.output)")
    }

    /// What is refused over UDP may also be silence: the kernel limits how many ICMP errors it sends.
    ///
    /// TCP and UDP on 8080 and TCP on 8081 in both pods and outside, both families.
    func servers() throws -> [ProbeServer] {
        var out: [ProbeServer] = []
        for (name, space) in [("a", a), ("b", b), ("outside", lab.outside), ("node", lab.node)] {
            for family in AddressFamily.allCases {
                out.append(try ProbeServer(name, in: space, port: 8080, family: family))
                out.append(try ProbeServer(name, in: space, port: 8080, udp: true, family: family))
                out.append(try ProbeServer(name, in: space, port: 8081, family: family))
            }
        }
        return out
    }
}

@Suite(.enabled(if: Live.isRoot, "needs root and network namespaces"))
struct PolicyLiveTests {
    @Test(arguments: [true, false])
    func nothingComesInWhenNothingMay(bridgeFiltering: Bool) throws {
        let at = try PolicyLab(bridgeFiltering: bridgeFiltering)
        let running = try at.servers()
        defer { running.forEach { $0.close_() } }
        #expect(probe(from: at.b, "10.42.0.2", 8080).server == "a")
        try at.load([NetworkPolicy("deny", namespace: "default", pods: .equal(["app": "a"]), ingress: [])])
        for address in ["10.42.0.2", "fd00:42::2"] {
            #expect(probe(from: at.b, address, 8080) == .failed(ECONNREFUSED))
            #expect(probe(from: at.b, address, 8080, udp: true, milliseconds: 500).server == nil)
            // The node reaches its pods (probes), and a pod itself.
            #expect(probe(from: at.lab.node, address, 8080).server == "a")
            #expect(probe(from: at.a, address, 8080).server == "a")
            // What it asks for is answered.
            let other = address == "10.42.0.2" ? "10.42.0.3" : "fd00:42::3"
            #expect(probe(from: at.a, other, 8080).server == "b")
            #expect(probe(from: at.a, other, 8080, udp: true).server == "b")
        }
        #expect(probe(from: at.lab.outside, "10.42.0.2", 8080) == .failed(ECONNREFUSED))
        #expect(probe(from: at.lab.outside, "10.42.0.3", 8080).server == "b")
        try at.enforcer.unload()
        #expect(probe(from: at.b, "10.42.0.2", 8080).server == "a")
    }

    @Test(arguments: [true, false])
    func selectorsAndPortsLetIn(bridgeFiltering: Bool) throws {
        let at = try PolicyLab(bridgeFiltering: bridgeFiltering)
        let c = try at.lab.pod(4)
        let running = try at.servers()
        defer { running.forEach { $0.close_() } }
        let rule = PolicyRule(peers: [.pods(.equal(["app": "b"]))], ports: [PolicyPort(.tcp, .named("web"))])
        try at.load([
            NetworkPolicy("allow", namespace: "default", pods: .equal(["app": "a"]), ingress: [rule])
        ])
        for address in ["10.42.0.2", "fd00:42::2"] {
            #expect(probe(from: at.b, address, 8080).server == "a")
            #expect(probe(from: at.b, address, 8081) == .failed(ECONNREFUSED))
            #expect(probe(from: at.b, address, 8080, udp: true, milliseconds: 500).server == nil)
            #expect(probe(from: c, address, 8080) == .failed(ECONNREFUSED))
        }
        // The same pod comes with another label: it is another's turn.
        try at.enforcer.update(PolicyChanges(pods: [at.pod(4, "c")]))
        #expect(probe(from: c, "10.42.0.2", 8080) == .failed(ECONNREFUSED))
        var relabelled = try at.pod(4, "c")
        relabelled.labels = ["app": "b"]
        try at.enforcer.update(PolicyChanges(pods: [relabelled]))
        #expect(probe(from: c, "10.42.0.2", 8080).server == "a")
        #expect(probe(from: c, "fd00:42::2", 8080).server == "a")
        // A second policy adds to the first.
        let block = PolicyPeer.block(
            try #require(IPPrefix("172.30.0.0/24")), except: [try #require(IPPrefix("172.30.0.128/25"))])
        try at.enforcer.update(
            PolicyChanges(policies: [
                NetworkPolicy(
                    "outside", namespace: "default",
                    ingress: [PolicyRule(peers: [block], ports: [PolicyPort(.tcp, .range(8000, 8081))])])
            ]))
        #expect(probe(from: at.lab.outside, "10.42.0.2", 8081).server == "a")
        #expect(probe(from: at.b, "10.42.0.2", 8080).server == "a")
        let far = try RouteSocket(in: at.lab.outside)
        let link = try #require(try far.link(name: "eth0")).index
        try far.deleteAddress(#require(IPPrefix("172.30.0.2/24")), from: link)
        try far.addAddress(#require(IPPrefix("172.30.0.200/24")), to: link)
        try far.addRoute(Route(to: IPPrefix("10.42.0.0/16"), family: .ipv4, gateway: IPAddress("172.30.0.1")))
        #expect(probe(from: at.lab.outside, "10.42.0.2", 8081) == .failed(ECONNREFUSED))
        #expect(probe(from: at.lab.outside, "172.30.0.1", 8081).client == "172.30.0.200")
        let listing = nftRuleset(at.lab.node)
        #expect(listing.status == 0, "\(listing.output)")
        #expect(try at.enforcer.verify() == nil)
    }

    @Test(arguments: [true, false])
    func whatGoesOutIsFilteredToPodsTheNodeAndTheWorld(bridgeFiltering: Bool) throws {
        let at = try PolicyLab(bridgeFiltering: bridgeFiltering)
        let running = try at.servers()
        defer { running.forEach { $0.close_() } }
        let deny = NetworkPolicy("deny", namespace: "default", pods: .equal(["app": "a"]), egress: [])
        try at.load([deny])
        for address in ["10.42.0.3", "10.42.0.1", "172.30.0.1", "172.30.0.2", "fd00:42::3", "fd00:42::1"] {
            #expect(probe(from: at.a, address, 8080) == .failed(ECONNREFUSED), "\(address)")
            #expect(probe(from: at.a, address, 8080, udp: true, milliseconds: 500).server == nil, "\(address)")
        }
        // Answers go out, also those to the node.
        for source in [at.b, at.lab.node] {
            #expect(probe(from: source, "10.42.0.2", 8080).server == "a")
            #expect(probe(from: source, "fd00:42::2", 8080).server == "a")
        }
        #expect(probe(from: at.lab.outside, "10.42.0.2", 8080).server == "a")
        func allow(_ cidr: String) throws {
            let rule = PolicyRule(
                peers: [.block(try #require(IPPrefix(cidr)), except: [])], ports: [PolicyPort(.udp, 8080)])
            try at.enforcer.update(
                PolicyChanges(policies: [
                    NetworkPolicy("allow", namespace: "default", pods: .equal(["app": "a"]), egress: [rule])
                ]))
        }
        // A service of the node itself, as the cluster's names are.
        try allow("10.42.0.1/32")
        #expect(probe(from: at.a, "10.42.0.1", 8080, udp: true).server == "node")
        #expect(probe(from: at.a, "10.42.0.1", 8080) == .failed(ECONNREFUSED))
        #expect(probe(from: at.a, "172.30.0.2", 8080, udp: true, milliseconds: 500).server == nil)
        try allow("0.0.0.0/0")
        #expect(probe(from: at.a, "172.30.0.2", 8080, udp: true).server == "outside")
        #expect(probe(from: at.a, "fd00:42::3", 8080, udp: true, milliseconds: 500).server == nil)
        try allow("::/0")
        #expect(probe(from: at.a, "fd00:42::3", 8080, udp: true).server == "b")
        #expect(probe(from: at.a, "172.30.0.2", 8080, udp: true, milliseconds: 500).server == nil)
    }

    @Test(arguments: [true, false])
    func bothSidesHaveToAgreeBetweenPodsOfANode(bridgeFiltering: Bool) throws {
        let at = try PolicyLab(bridgeFiltering: bridgeFiltering)
        let running = try at.servers()
        defer { running.forEach { $0.close_() } }
        let out = NetworkPolicy(
            "out", namespace: "default", pods: .equal(["app": "a"]),
            egress: [PolicyRule(peers: [.pods(.equal(["app": "b"]))])])
        let into = NetworkPolicy(
            "in", namespace: "default", pods: .equal(["app": "b"]),
            ingress: [PolicyRule(ports: [PolicyPort(.tcp, 8081)])])
        try at.load([out, into])
        #expect(probe(from: at.a, "10.42.0.3", 8080) == .failed(ECONNREFUSED))
        #expect(probe(from: at.a, "10.42.0.3", 8081).server == "b")
        #expect(probe(from: at.a, "172.30.0.2", 8081) == .failed(ECONNREFUSED))
        #expect(probe(from: at.lab.outside, "10.42.0.3", 8081).server == "b")
    }

    @Test(arguments: [true, false])
    func servicesAreJudgedByTheirEndpoints(bridgeFiltering: Bool) throws {
        let at = try PolicyLab(bridgeFiltering: bridgeFiltering)
        let running = try at.servers()
        defer { running.forEach { $0.close_() } }
        var settings = ProxySettings(clusterCIDRs: ["10.42.0.0/16", "fd00:42::/56"].compactMap { IPPrefix($0) })
        settings.families = [.ipv4, .ipv6]
        let proxy = ServiceProxy(backend: try KernelRuleset(in: at.lab.node), connections: nil, settings: settings)
        let service = ServicePort(
            "default/b", clusterIPs: try ["10.43.0.10", "fd00:43::10"].map { try #require(IPAddress($0)) }, port: 80,
            nodePort: 30080,
            endpoints: try ["10.42.0.3", "fd00:42::3"].map {
                ProxyEndpoint(try #require(IPAddress($0)), 8080, isLocal: true)
            })
        try proxy.sync(ProxyState(services: [service], settings: settings))
        try at.lab.route.addRoute(Route(to: IPPrefix("10.43.0.0/16"), family: .ipv4, gateway: IPAddress("172.30.0.2")))
        func allow(_ port: UInt16) throws {
            let rule = PolicyRule(peers: [.pods(.equal(["app": "b"]))], ports: [PolicyPort(.tcp, port)])
            try at.load([
                NetworkPolicy("allow", namespace: "default", pods: .equal(["app": "a"]), egress: [rule]),
                // From outside a node port is the client's own address.
                NetworkPolicy(
                    "in", namespace: "default", pods: .equal(["app": "b"]),
                    ingress: [
                        PolicyRule(peers: [
                            .pods(.everything), .block(try #require(IPPrefix("172.30.0.2/32")), except: []),
                        ])
                    ]),
            ])
        }
        try allow(80)
        // Where the refusal is sent by a bridge it does not find its way back through the translation.
        #expect(probe(from: at.a, "10.43.0.10", 80, milliseconds: 1000).server == nil)
        try allow(8080)
        for address in ["10.43.0.10", "fd00:43::10"] { #expect(probe(from: at.a, address, 80).server == "b") }
        #expect(probe(from: at.lab.outside, "172.30.0.1", 30080).server == "b")
        #expect(probe(from: at.lab.node, "10.43.0.10", 80).server == "b")
        // A pod reaches itself through its service, whatever is denied.
        #expect(probe(from: at.b, "10.43.0.10", 80).server == "b")
        try at.load([NetworkPolicy("deny", namespace: "default", ingress: [], egress: [])])
        #expect(probe(from: at.b, "10.43.0.10", 80).server == "b")
        #expect(probe(from: at.b, "fd00:43::10", 80).server == "b")
        #expect(probe(from: at.a, "10.43.0.10", 80, milliseconds: 1000).server == nil)
    }

    @Test func hostPortsOfBothFamiliesLeadToThePodThatPoliciesGuard() throws {
        let at = try PolicyLab(bridgeFiltering: false)
        let running = try at.servers()
        defer { running.forEach { $0.close_() } }
        let backend = try KernelRuleset(in: at.lab.node)
        for (cidr, pod) in [("10.42.0.0/24", "10.42.0.2"), ("fd00:42::/64", "fd00:42::2")] {
            let prefix = try #require(IPPrefix(cidr))
            var rules = PodRules(podCIDR: prefix, clusterCIDRs: [prefix])
            rules.bindings = [
                PodRules.Binding(HostPort(hostPort: 9000, podPort: 8080), to: try #require(IPAddress(pod))),
                PodRules.Binding(
                    HostPort(transport: .udp, hostPort: 9000, podPort: 8080), to: try #require(IPAddress(pod))),
            ]
            try backend.commit(rules.ruleset().load(), purpose: "load host ports")
        }
        #expect(probe(from: at.lab.outside, "172.30.0.1", 9000).server == "a")
        for address in ["10.42.0.1", "fd00:42::1"] {
            #expect(probe(from: at.b, address, 9000).server == "a")
            #expect(probe(from: at.b, address, 9000, udp: true).server == "a")
            #expect(probe(from: at.b, address, 9001) == .failed(ECONNREFUSED))
        }
        try at.load([NetworkPolicy("deny", namespace: "default", pods: .equal(["app": "a"]), ingress: [])])
        #expect(probe(from: at.lab.outside, "172.30.0.1", 9000) == .failed(ECONNREFUSED))
        #expect(probe(from: at.b, "fd00:42::1", 9000) == .failed(ECONNREFUSED))
    }

    @Test func tamperingIsFoundAndRepaired() throws {
        let at = try PolicyLab(bridgeFiltering: false)
        let running = try at.servers()
        defer { running.forEach { $0.close_() } }
        try at.load([NetworkPolicy("deny", namespace: "default", pods: .equal(["app": "a"]), ingress: [])])
        #expect(shell("nft add table ip foreign", in: at.lab.node).status == 0)
        #expect(try at.enforcer.verify() == nil)
        for damage in [
            "nft delete element ip k3s-policy ingress \"{ 10.42.0.2 }\"",
            "nft insert rule ip k3s-policy ingress-forward accept", "nft delete table ip6 k3s-policy",
            "nft add element ip k3s-policy self \"{ 10.42.0.3 . 10.42.0.2 }\"",
            "nft add chain ip k3s-policy other", "nft flush ruleset",
        ] {
            let done = shell(damage, in: at.lab.node)
            #expect(done.status == 0, "\(damage): \(done.output)")
            #expect(try at.enforcer.verify() != nil, "not found: \(damage)")
            #expect(probe(from: at.b, "10.42.0.2", 8080) == .failed(ECONNREFUSED), "\(damage)")
            #expect(try at.enforcer.verify() == nil)
        }
    }

    /// A pod that sends frames straight to its neighbour is filtered where bridged packets pass the firewall.
    @Test(.enabled(if: Sysctl.get("net/bridge/bridge-nf-call-iptables") != nil, "needs br_netfilter"))
    func neighboursCannotGoRoundTheNode() throws {
        let at = try PolicyLab(bridgeFiltering: true)
        let running = try at.servers()
        defer { running.forEach { $0.close_() } }
        try at.load([NetworkPolicy("deny", namespace: "default", pods: .equal(["app": "a"]), ingress: [])])
        // A route that says the neighbour is on the link.
        #expect(shell("ip route add 10.42.0.2/32 dev eth0", in: at.b).status == 0)
        #expect(shell("ip route add 10.42.0.3/32 dev eth0", in: at.a).status == 0)
        #expect(probe(from: at.b, "10.42.0.2", 8080) == .failed(ECONNREFUSED))
        #expect(probe(from: at.a, "10.42.0.3", 8080).server == "b")
    }
}
