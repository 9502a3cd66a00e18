import Iptables
import Netlink
import Testing

@Suite struct PolicyTests {
    private func address(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }
    private func prefix(_ text: String) throws -> IPPrefix { try #require(IPPrefix(text)) }

    private func table(_ fake: FakeRuleset, _ family: NFFamily = .ip) -> String {
        var isInside = false
        return fake.dump().split(separator: "\n").filter { line in
            if line.hasPrefix("table ") { isInside = line == "table \(family.name) k3s-policy {" }
            return isInside
        }.joined(separator: "\n")
    }

    @Test func aKernelThatCannotFilterBridgedFramesIsTold() {
        let both = ["net/bridge/bridge-nf-call-iptables": "0", "net/bridge/bridge-nf-call-ip6tables": "1"]
        #expect(BridgeFiltering.problem([.ipv4, .ipv6], setting: { both[$0] }) == nil)
        let old = ["net/bridge/bridge-nf-call-iptables": "1"]
        #expect(BridgeFiltering.problem([.ipv4], setting: { old[$0] }) == nil)
        for (families, settings) in [([AddressFamily.ipv4, .ipv6], old), ([.ipv4], [:])] {
            let problem = BridgeFiltering.problem(families, setting: { settings[$0] })
            #expect(problem?.contains("modprobe br_netfilter") == true && problem?.contains("\n") == false)
        }
    }

    @Test func aPolicyIsTwoElementsAPodAndARuleAPeer() throws {
        let fake = FakeRuleset()
        let enforcer = PolicyEnforcer(backend: fake, settings: PolicySettings())
        let web = PolicyPod(
            "shop/web", namespace: "shop", labels: ["app": "web"], addresses: [try address("10.42.0.2")],
            ports: [.init("http", .tcp, 8080)])
        let client = PolicyPod(
            "shop/client", namespace: "shop", labels: ["app": "client"], addresses: [try address("10.42.1.3")],
            isLocal: false)
        let policy = NetworkPolicy(
            "allow", namespace: "shop", pods: .equal(["app": "web"]),
            ingress: [
                PolicyRule(
                    peers: [
                        .pods(.equal(["app": "client"])),
                        .block(try prefix("192.0.2.0/24"), except: [try prefix("192.0.2.64/26")]),
                    ],
                    ports: [
                        PolicyPort(.tcp, .named("http")), PolicyPort(.udp, .range(5000, 5010)), PolicyPort(.udp, 5011),
                    ])
            ])
        try enforcer.reset(PolicyChanges(pods: [web, client], namespaces: ["shop": [:]], policies: [policy]))
        #expect(
            table(fake) == """
                table ip k3s-policy {
                  set blocks-3 {
                    192.0.2.0 - 192.0.2.63
                    192.0.2.128 - 192.0.2.255
                  }
                  set egress {
                  }
                  set ingress {
                    10.42.0.2 : goto isolate-1
                  }
                  set named-4 {
                    10.42.0.2 . tcp . 8080
                  }
                  set pods-1 {
                    10.42.1.3
                  }
                  set ports-2 {
                    udp . 5000 - udp . 5011
                  }
                  set self {
                    10.42.0.2 . 10.42.0.2
                  }
                  chain egress-forward filter forward -5 {
                    [ ct load state => 0 ] [ bitwise 0 = (0 & 0x06000000) ^ 0x00000000 ] [ cmp notEqual 0 0x00000000 ] [ accept ] # replies, and what goes on
                    [ payload load 4b @ network + 12 => 0 ] [ payload load 4b @ network + 16 => 1 ] [ lookup 0 @self ] [ accept ] # a pod cannot be cut off from itself
                    [ payload load 4b @ network + 12 => 0 ] [ lookup 0 @egress => verdict ]
                  }
                  chain egress-input filter input -5 {
                    [ ct load state => 0 ] [ bitwise 0 = (0 & 0x06000000) ^ 0x00000000 ] [ cmp notEqual 0 0x00000000 ] [ accept ] # replies, and what goes on
                    [ payload load 4b @ network + 12 => 0 ] [ lookup 0 @egress => verdict ]
                  }
                  chain ingress-forward filter forward 0 {
                    [ ct load state => 0 ] [ bitwise 0 = (0 & 0x06000000) ^ 0x00000000 ] [ cmp notEqual 0 0x00000000 ] [ accept ] # replies, and what goes on
                    [ payload load 4b @ network + 12 => 0 ] [ payload load 4b @ network + 16 => 1 ] [ lookup 0 @self ] [ accept ] # a pod cannot be cut off from itself
                    [ payload load 4b @ network + 16 => 0 ] [ lookup 0 @ingress => verdict ]
                  }
                  chain ingress/shop/allow {
                    [ payload load 4b @ network + 12 => 0 ] [ lookup 0 @pods-1 ] [ meta load transportProtocol => 0 ] [ payload load 2b @ transport + 2 => 1 ] [ lookup 0 @ports-2 ] [ accept ] # from pods app=client in shop
                    [ payload load 4b @ network + 12 => 0 ] [ lookup 0 @blocks-3 ] [ meta load transportProtocol => 0 ] [ payload load 2b @ transport + 2 => 1 ] [ lookup 0 @ports-2 ] [ accept ] # from addresses
                    [ payload load 4b @ network + 12 => 0 ] [ lookup 0 @pods-1 ] [ payload load 4b @ network + 16 => 0 ] [ meta load transportProtocol => 1 ] [ payload load 2b @ transport + 2 => 2 ] [ lookup 0 @named-4 ] [ accept ] # from pods app=client in shop
                    [ payload load 4b @ network + 12 => 0 ] [ lookup 0 @blocks-3 ] [ payload load 4b @ network + 16 => 0 ] [ meta load transportProtocol => 1 ] [ payload load 2b @ transport + 2 => 2 ] [ lookup 0 @named-4 ] [ accept ] # from addresses
                  }
                  chain isolate-1 {
                    [ jump ingress/shop/allow ]
                    [ goto reject ]
                  }
                  chain reject {
                    [ meta load transportProtocol => 0 ] [ cmp equal 0 0x06 ] [ reject tcp reset ]
                    [ reject port-unreachable ]
                  }
                }
                """)
    }

    @Test func aPodThatChangesIsAChangeOfElementsOnly() throws {
        let fake = FakeRuleset()
        let enforcer = PolicyEnforcer(backend: fake, settings: PolicySettings())
        let policy = NetworkPolicy("deny", namespace: "a", ingress: [PolicyRule(peers: [.pods(.everything)])])
        func pod(_ number: UInt32) -> PolicyPod {
            PolicyPod(
                "a/p\(number)", namespace: "a", labels: ["n": "\(number)"], addresses: [.v4(0x0a2a_0000 + number)])
        }
        try enforcer.reset(PolicyChanges(pods: (2..<200).map(pod), namespaces: ["a": [:]], policies: [policy]))
        let rules = try fake.rulesDigest(NFTable(.ip, "k3s-policy"))
        // One element each of ingress, self and peers, in a batch of a few hundred bytes.
        let result = try enforcer.update(PolicyChanges(pods: [pod(250)]))
        #expect(!result.wasFullLoad && result.bytes > 0 && result.bytes < 600, "\(result)")
        var removal = PolicyChanges()
        removal.removedPods = ["a/p250"]
        #expect(try enforcer.update(removal).bytes < 600)
        #expect(try enforcer.update(PolicyChanges(pods: [pod(3)])).bytes == 0)
        #expect(try fake.rulesDigest(NFTable(.ip, "k3s-policy")) == rules)
    }

    @Test func addressRangesAreCutAndMerged() throws {
        func blocks(_ peers: [PolicyPeer]) throws -> [String] {
            let fake = FakeRuleset()
            let enforcer = PolicyEnforcer(backend: fake, settings: PolicySettings(families: [.ipv4, .ipv6]))
            try enforcer.reset(
                PolicyChanges(policies: [NetworkPolicy("n", namespace: "a", egress: [PolicyRule(peers: peers)])]))
            return [NFFamily.ip, .ip6].flatMap { family in
                table(fake, family).split(separator: "\n").filter { $0.contains(" - ") && !$0.contains("#") }.map {
                    String($0.drop { $0 == " " })
                }
            }
        }
        #expect(
            try blocks([.block(prefix("10.0.0.0/8"), except: [prefix("10.0.0.0/9"), prefix("10.255.255.255/32")])])
                == ["10.128.0.0 - 10.255.255.254"])
        #expect(
            try blocks([.block(prefix("10.0.0.0/9"), except: []), .block(prefix("10.128.0.0/9"), except: [])])
                == ["10.0.0.0 - 10.255.255.255"])
        #expect(try blocks([.block(prefix("10.0.0.0/8"), except: [prefix("0.0.0.0/0")])]) == [])
        #expect(
            try blocks([.block(prefix("0.0.0.0/0"), except: [prefix("255.0.0.0/8")])])
                == ["0.0.0.0 - 254.255.255.255"])
        #expect(
            try blocks([.block(prefix("fd00::/126"), except: [prefix("fd00::1/128")])])
                == ["fd00:: - fd00::", "fd00::2 - fd00::3"])
    }

    @Test func anAddressThatAnotherPodTakesOverIsItsAlone() throws {
        let fake = FakeRuleset()
        let enforcer = PolicyEnforcer(backend: fake, settings: PolicySettings())
        let policy = NetworkPolicy("deny", namespace: "a", pods: .equal(["app": "x"]), ingress: [])
        let address = try address("10.42.0.9")
        let old = PolicyPod("a/old", namespace: "a", labels: ["app": "x"], addresses: [address])
        let new = PolicyPod("a/new", namespace: "a", addresses: [address])
        try enforcer.reset(PolicyChanges(pods: [old], namespaces: ["a": [:]], policies: [policy]))
        #expect(table(fake).contains("10.42.0.9 : goto isolate-1"))
        try enforcer.update(PolicyChanges(pods: [new]))
        #expect(!table(fake).contains("10.42.0.9"))
        var gone = PolicyChanges()
        gone.removedPods = ["a/old"]
        // The chain of its policies goes, no element: there is none.
        #expect(try enforcer.update(gone).bytes > 0)
        #expect(!table(fake).contains("isolate-1"))
        #expect(try enforcer.verify() == nil)
    }

    @Test func aFailedUpdateIsMadeGoodByAFullLoad() throws {
        let fake = FakeRuleset()
        let enforcer = PolicyEnforcer(backend: fake, settings: PolicySettings())
        let pod = PolicyPod("a/p", namespace: "a", addresses: [try address("10.42.0.9")])
        try enforcer.reset(
            PolicyChanges(namespaces: ["a": [:]], policies: [NetworkPolicy("deny", namespace: "a", ingress: [])]))
        fake.failNextCommit(NetlinkError(12, "no memory"))
        #expect(throws: NetlinkError.self) { try enforcer.update(PolicyChanges(pods: [pod])) }
        #expect(try enforcer.update(PolicyChanges(namespaces: ["b": [:]])).wasFullLoad)
        #expect(table(fake).contains("10.42.0.9 : goto isolate-1"))
        try enforcer.unload()
        #expect(fake.tables().isEmpty)
    }

    @Test func aNameServerOnAnotherPortIsMeantByPort53() throws {
        let fake = FakeRuleset()
        var settings = PolicySettings()
        settings.nameServers = [try address("10.43.0.10")]
        settings.nameServerPort = 5353
        let enforcer = PolicyEnforcer(backend: fake, settings: settings)
        let pod = PolicyPod("a/p", namespace: "a", addresses: [try address("10.42.0.9")])
        let policy = NetworkPolicy("dns", namespace: "a", egress: [PolicyRule(ports: [PolicyPort(.udp, 53)])])
        try enforcer.reset(PolicyChanges(pods: [pod], namespaces: ["a": [:]], policies: [policy]))
        let machine = RulesetInterpreter(enforcer.rulesets, local: [try address("10.43.0.10")])
        func fate(_ transport: UInt8, _ port: UInt16) throws -> Set<RulesetInterpreter.Fate> {
            machine.fates(SimulatedPacket(try address("10.42.0.9"), try address("10.43.0.10"), transport, port))
        }
        #expect(try fate(17, 5353) == [.delivered(address("10.43.0.10"), 5353)])
        #expect(try fate(6, 5353) == [.refused])
        #expect(try fate(17, 5354) == [.refused])
    }
}

@Suite struct PolicyOracleTests {
    /// 1,000 random changes: after each the tables allow what the API's words allow, and what was changed bit by bit is
    /// what a full load would make.
    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func tablesAllowWhatTheWordsAllow(seed: UInt64) throws {
        var maker = PolicyWorldMaker(dice: Dice(state: seed))
        var world = PolicyWorld()
        let fake = FakeRuleset()
        let enforcer = PolicyEnforcer(backend: fake, settings: PolicySettings(families: [.ipv4, .ipv6]))
        let own = try #require(IPAddress("10.42.0.1"))
        let outside = try ["198.51.100.7", "198.51.100.200", "fd00:99::1"].map { try #require(IPAddress($0)) }
        try enforcer.reset(PolicyChanges())
        var allowed = 0
        var refused = 0
        for round in 0..<250 {
            try enforcer.update(maker.change(&world))
            let rulesets = [NFFamily.ip, .ip6].compactMap { fake.ruleset(NFTable($0, "k3s-policy")) }
            let machine = RulesetInterpreter(rulesets, local: [own])
            let all =
                (0..<12).flatMap { number -> [IPAddress] in
                    [.v4(0x0a2a_0002 + UInt32(number)), .v6(0xfd00_0042_0000_0000, 2 + UInt64(number))]
                } + outside + [own]
            for _ in 0..<60 {
                let source = maker.dice.pick(all.filter { $0 != own })
                let destination = maker.dice.pick(all.filter { $0.family == source.family })
                let transport = maker.transport()
                let port = maker.dice.pick([53, 80, 85, 8080, 9999] as [UInt16])
                let expected = world.mayConnect(source, destination, transport, port)
                let fates = machine.fates(SimulatedPacket(source, destination, transport.rawValue, port))
                if expected { allowed += 1 } else { refused += 1 }
                #expect(
                    fates == [expected ? .delivered(destination, port) : .refused],
                    "round \(round): \(source) to \(destination):\(port)/\(transport)")
            }
            if round % 10 == 0 {
                let fresh = FakeRuleset()
                for ruleset in enforcer.rulesets { try fresh.commit(ruleset.load(), purpose: "load") }
                #expect(fresh.dump() == fake.dump(), "round \(round)")
                #expect(try enforcer.verify() == nil)
            }
        }
        // Both happen often, or the test says little.
        #expect(allowed > 1000 && refused > 1000, "\(allowed) allowed, \(refused) refused")
    }
}
