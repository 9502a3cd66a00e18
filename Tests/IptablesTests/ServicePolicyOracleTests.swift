import Iptables
import Netlink
import Testing

/// Services and policies together: who reaches whom by a service's address, told by the tables of both and by their words.
private struct ServiceWorld {
    var policy = PolicyWorld()
    var services: [String: ServicePort] = [:]
    let node: IPAddress
    static let clusterCIDRs = ["10.42.0.0/16", "fd00:42::/56"].compactMap { IPPrefix($0) }

    /// Everything that may become of a connection to that address.
    func fates(
        _ source: IPAddress, _ address: IPAddress, _ transport: TransportProtocol, _ port: UInt16
    ) -> Set<RulesetInterpreter.Fate> {
        let isNodePort = address == node
        let service = services.values.first {
            $0.transport == transport
                && (isNodePort ? $0.nodePort == port : $0.port == port && $0.clusterIPs.contains(address))
        }
        func judge(_ address: IPAddress, _ port: UInt16) -> RulesetInterpreter.Fate {
            policy.mayConnect(source, address, transport, port) ? .delivered(address, port) : .refused
        }
        guard let service else { return [judge(address, port)] }
        let all = service.endpoints.filter { $0.address.family == address.family }
        if all.isEmpty { return [.refused] }
        var chosen = all
        // By its address alone: a pod that is not there (yet) is one of the cluster's all the same.
        let isInside = Self.clusterCIDRs.contains { $0.contains(source) }
        if isNodePort {
            // Pods and the node reach all, others with their own address only what is here.
            if service.externalTrafficLocal, !isInside { chosen = all.filter(\.isLocal) }
        } else if service.internalTrafficLocal {
            chosen = all.filter(\.isLocal)
        }
        if chosen.isEmpty { return [.dropped] }
        return Set(chosen.map { judge($0.address, $0.port) })
    }
}

extension PolicyWorldMaker {
    fileprivate mutating func service(_ number: Int, _ world: PolicyWorld) -> ServicePort {
        let candidates = world.pods.values.filter { !$0.addresses.isEmpty }.sorted { $0.id < $1.id }
        var service = ServicePort(
            "default/s\(number)",
            clusterIPs: [.v4(0x0a2b_0010 + UInt32(number)), .v6(0xfd00_0043_0000_0000, 0x10 + UInt64(number))],
            port: 80, transport: transport(), nodePort: dice.roll(2) == 0 ? UInt16(30_000 + number) : nil)
        service.externalTrafficLocal = dice.roll(3) == 0
        service.internalTrafficLocal = dice.roll(4) == 0
        if !candidates.isEmpty {
            for _ in 0..<dice.roll(4) {
                let pod = dice.pick(candidates)
                for address in pod.addresses {
                    let endpoint = ProxyEndpoint(address, dice.pick([53, 80, 8080]), isLocal: pod.isLocal)
                    if !service.endpoints.contains(where: { $0.address == address }) {
                        service.endpoints.append(endpoint)
                    }
                }
            }
        }
        return service
    }
}

@Suite struct ServicePolicyOracleTests {
    @Test(arguments: [11, 12, 13, 14] as [UInt64])
    func tablesOfServicesAndPoliciesAllowWhatTheWordsAllow(seed: UInt64) throws {
        var maker = PolicyWorldMaker(dice: Dice(state: seed))
        let own = try #require(IPAddress("10.42.0.1"))
        var world = ServiceWorld(node: own)
        let fake = FakeRuleset()
        let families: [AddressFamily] = [.ipv4, .ipv6]
        let enforcer = PolicyEnforcer(backend: fake, settings: PolicySettings(families: families))
        let proxy = ServiceProxy(
            backend: fake, connections: nil,
            settings: ProxySettings(
                clusterCIDRs: ServiceWorld.clusterCIDRs, families: families))
        try enforcer.reset(PolicyChanges())
        try proxy.update([])
        let outside = try #require(IPAddress("198.51.100.7"))
        var seen: [String: Int] = [:]
        for round in 0..<250 {
            if maker.dice.roll(2) == 0 {
                try enforcer.update(maker.change(&world.policy))
            } else {
                let service = maker.service(maker.dice.roll(6), world.policy)
                if maker.dice.roll(6) == 0 {
                    world.services[service.id] = nil
                    try proxy.update([], removing: [service.id])
                } else {
                    world.services[service.id] = service
                    try proxy.update([service])
                }
            }
            let rulesets = fake.tables().compactMap { fake.ruleset($0) }
            let machine = RulesetInterpreter(rulesets, local: [own])
            let sources = (0..<12).flatMap { number -> [IPAddress] in
                [.v4(0x0a2a_0002 + UInt32(number)), .v6(0xfd00_0042_0000_0000, 2 + UInt64(number))]
            }
            for _ in 0..<30 {
                let isNodePort = maker.dice.roll(3) == 0
                let source =
                    isNodePort && maker.dice.roll(2) == 0
                    ? outside : maker.dice.pick(sources.filter { !isNodePort || $0.isIPv4 })
                let number = maker.dice.roll(6)
                let address: IPAddress =
                    isNodePort
                    ? own
                    : source.isIPv4
                        ? .v4(0x0a2b_0010 + UInt32(number)) : .v6(0xfd00_0043_0000_0000, 0x10 + UInt64(number))
                let transport = maker.transport()
                let port: UInt16 = isNodePort ? UInt16(30_000 + number) : 80
                let expected = world.fates(source, address, transport, port)
                let found = machine.fates(SimulatedPacket(source, address, transport.rawValue, port))
                #expect(found == expected, "round \(round): \(source) to \(address):\(port)/\(transport)")
                for fate in expected {
                    switch fate {
                    case .delivered: seen["delivered", default: 0] += 1
                    case .dropped: seen["dropped", default: 0] += 1
                    case .refused: seen["refused", default: 0] += 1
                    }
                }
            }
        }
        #expect(seen.count == 3 && seen.values.allSatisfy { $0 > 20 }, "\(seen)")
    }
}
