import Iptables
import Linux
import Netlink
import Testing

@Suite struct RulesetTests {
    private let table = NFTable(.ip, "k3s-test")
    private let hosts = NFSet("hosts", key: [.ipv4])
    private let ports = NFSet("ports", key: [.protocolNumber, .port], value: .data([.ipv4, .port]))

    private func rule(_ mark: UInt8) -> NFRule {
        NFRule([
            .meta(.mark, into: NFRegister(0)), .compare(NFRegister(0), .equal, [mark, 0, 0, 0]),
            .lookup("hosts", key: NFRegister(0)),
        ])
    }

    private func ruleset(
        hosts addresses: [String], ports pairs: [UInt8] = [], marks: [UInt8] = [1], extra: Bool = false
    ) -> Ruleset {
        var hostElements = NFElements(for: hosts)
        for address in addresses { hostElements.append(key: IPAddress(address)?.bytes ?? []) }
        var portElements = NFElements(for: ports)
        for pair in pairs { portElements.append(key: [6, 0, 0, 0, 0, 80, 0, 0], data: [10, 0, 0, pair, 0, 80, 0, 0]) }
        var chains = [Ruleset.Chain(NFChain("main", hook: NFHook(.filter, .input, priority: 0)), marks.map(rule))]
        if extra { chains.append(Ruleset.Chain(NFChain("extra"), [rule(9)])) }
        return Ruleset(table, sets: [.init(hosts, hostElements), .init(ports, portElements)], chains: chains)
    }

    @Test func equalRulesetsNeedNoCommands() {
        let one = ruleset(hosts: ["10.0.0.1"])
        #expect(one.commands(replacing: one).isEmpty)
    }

    /// Whatever the two rulesets, the difference leads from one to the other, and it never starts over.
    @Test func differencesLeadToTheSameStateAsALoad() throws {
        let all = [
            ruleset(hosts: []), ruleset(hosts: ["10.0.0.1", "10.0.0.2"]),
            ruleset(hosts: ["10.0.0.2", "10.0.0.3"], ports: [1]),
            ruleset(hosts: ["10.0.0.2"], ports: [2], marks: [1, 2]),
            ruleset(hosts: ["10.0.0.2"], ports: [2], marks: [2], extra: true),
        ]
        for from in all {
            for to in all {
                let fake = FakeRuleset()
                try fake.commit(from.load(), purpose: "load")
                let commands = to.commands(replacing: from)
                #expect(!commands.contains(.deleteTable(table)))
                if from != to { try fake.commit(commands, purpose: "change") }
                let fresh = FakeRuleset()
                try fresh.commit(to.load(), purpose: "load")
                #expect(fake.dump() == fresh.dump())
            }
        }
    }

    @Test func aChangedSetDefinitionIsAFullLoad() {
        var changed = ruleset(hosts: [])
        changed.sets[0] = .init(NFSet("hosts", key: [.ipv6]))
        #expect(changed.commands(replacing: ruleset(hosts: [])).contains(.deleteTable(table)))
    }

    @Test func theFakeRefusesWhatTheKernelRefuses() throws {
        let fake = FakeRuleset()
        try fake.commit(ruleset(hosts: ["10.0.0.1"], extra: true).load(), purpose: "load")
        let before = fake.dump()
        var gone = NFElements(for: hosts)
        gone.append(key: [10, 0, 0, 9])
        let refused: [(NFCommand, Int32)] = [
            (.deleteElements(table, hosts, gone), ENOENT), (.deleteSet(table, "hosts"), EBUSY),
            (.deleteChain(table, "nope"), ENOENT),
            (.flushChain(NFTable(.ip, "other"), "main"), ENOENT),
            (.addSet(table, NFSet("hosts", key: [.port])), EEXIST),
            (.addRule(table, chain: "main", NFRule([.lookup("nope", key: NFRegister(0))])), ENOENT),
            (.addRule(table, chain: "main", NFRule([.verdict(.jump("nope"))])), ENOENT),
        ]
        for (command, code) in refused {
            let error = #expect(throws: NetlinkError.self) {
                try fake.commit([.addChain(table, NFChain("new")), command], purpose: "try")
            }
            #expect(error?.code == code && error?.messageIndex == 2, "\(command.summary)")
            #expect(fake.dump() == before)
        }
    }
}

@Suite struct PodRulesTests {
    @Test func hostPortsAndMasqueradeAreValues() throws {
        var rules = PodRules(
            podCIDR: try #require(IPPrefix("10.42.3.0/24")), clusterCIDRs: [try #require(IPPrefix("10.42.0.0/16"))])
        let pod = try #require(IPAddress("10.42.3.5"))
        rules.bindings = [
            .init(HostPort(hostPort: 8080, podPort: 80), to: pod),
            .init(HostPort(hostAddress: IPAddress("192.0.2.1"), transport: .udp, hostPort: 53, podPort: 5353), to: pod),
            .init(HostPort(hostAddress: IPAddress("0.0.0.0"), transport: .sctp, hostPort: 9, podPort: 9), to: pod),
        ]
        let fake = FakeRuleset()
        try fake.commit(rules.ruleset().load(), purpose: "load")
        let dump = fake.dump()
        for part in [
            "table ip k3s-pods", "tcp . 8080 : 10.42.3.5 . 80", "192.0.2.1 . udp . 53 : 10.42.3.5 . 5353",
            "sctp . 9 : 10.42.3.5 . 9",
            "10.42.0.0 - 10.42.255.255", "224.0.0.0 - 239.255.255.255", "10.42.3.5 . 10.42.3.5",
            "cmp equal 0 0x0a2a0300 ] [ payload load 4b @ network + 16 => 0 ] [ lookup 0 !@cluster-cidrs ] [ masq fully-random ]",
        ] { #expect(dump.contains(part), "missing \(part) in\n\(dump)") }
        rules.masquerades = false
        #expect(rules.ruleset().commands(replacing: nil).count < 40)
        #expect(!rules.ruleset().chains.flatMap(\.rules).contains { $0.comment == "pods to outside the cluster" })
    }
}
