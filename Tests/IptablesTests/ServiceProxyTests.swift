import Iptables
import Linux
import Netlink
import Synchronization
import Testing

/// The proxy against the fake, without root.
@Suite struct ServiceProxyTests {
    private final class Connections: ConnectionTable {
        let flows: Mutex<[Flow]>
        init(_ flows: [Flow]) { self.flows = Mutex(flows) }
        func deleteFlows(_ family: AddressFamily, where wanted: (Flow) -> Bool) -> Int {
            flows.withLock { flows in
                let before = flows.count
                flows.removeAll { $0.original.source.family == family && wanted($0) }
                return before - flows.count
            }
        }
    }

    private let fake = FakeRuleset()
    private let settings = ProxySettings(clusterCIDRs: [IPPrefix("10.42.0.0/16")].compactMap { $0 })
    private func proxy(_ connections: (any ConnectionTable)? = nil) -> ServiceProxy {
        ServiceProxy(backend: fake, connections: connections, settings: settings)
    }
    private func ip(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }
    private func service(
        _ id: String, _ address: String, _ endpoints: [String], transport: Iptables.TransportProtocol = .tcp
    ) throws -> ServicePort {
        ServicePort(
            id, clusterIPs: [try ip(address)], port: 80, transport: transport,
            endpoints: try endpoints.map { ProxyEndpoint(try ip($0), 8080) })
    }
    private func loaded(_ services: [ServicePort]) throws -> String {
        let other = FakeRuleset()
        try ServiceProxy(backend: other, connections: nil, settings: settings).sync(
            ProxyState(services: services, settings: settings))
        return other.dump()
    }

    @Test func elementsOfOneService() throws {
        try proxy().sync(
            ProxyState(services: [service("a", "10.43.0.1", ["10.42.0.2", "10.42.0.3"])], settings: settings))
        let dump = fake.dump()
        #expect(dump.contains("10.43.0.1 . tcp . 80 : goto n2"))
        #expect(dump.contains("10.43.0.1 . tcp . 80 . 0 : 10.42.0.2 . 8080"))
        #expect(dump.contains("10.43.0.1 . tcp . 80 . 1 : 10.42.0.3 . 8080"))
        #expect(
            dump.contains(
                "[ payload load 4b @ network + 16 => 0 ] [ meta load transportProtocol => 1 ] "
                    + "[ payload load 2b @ transport + 2 => 2 ] [ numgen random mod 2 => 3 ] [ lookup 0 @endpoints => 0 ] [ dnat 0:1 ]"
            ))
        #expect(fake.sysctls.isEmpty)
    }

    @Test func nothingToDoCommitsNothing() throws {
        let proxy = proxy()
        let state = ProxyState(services: [try service("a", "10.43.0.1", ["10.42.0.2"])], settings: settings)
        #expect(try proxy.sync(state).wasFullLoad)
        let commits = fake.commitCount
        #expect(try proxy.sync(state).bytes == 0)
        #expect(fake.commitCount == commits)
    }

    /// After any sequence of random changes the kernel's state is that of a fresh load of the same services.
    @Test(arguments: 0..<8) func incrementsEndWhereAFullLoadWould(seed: UInt64) throws {
        var random = SplitMix(state: seed)
        let proxy = proxy()
        var services: [String: ServicePort] = [:]
        try proxy.sync(ProxyState(settings: settings))
        for _ in 0..<60 {
            var changed: [ServicePort] = []
            var removed: Set<String> = []
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let number = Int.random(in: 0..<8, using: &random)
                let id = "s\(number)"
                if Int.random(in: 0..<4, using: &random) == 0 {
                    removed.insert(id)
                    continue
                }
                var service = try service(id, "10.43.0.\(number)", [])
                service.endpoints = (0..<Int.random(in: 0..<5, using: &random)).map { _ in
                    ProxyEndpoint(
                        .v4(0x0a2a_0002 + UInt32.random(in: 0..<6, using: &random)), 8080,
                        isLocal: Bool.random(using: &random))
                }
                if Bool.random(using: &random) { service.nodePort = UInt16(30000 + number) }
                if Bool.random(using: &random) { service.externalIPs = [.v4(0xc000_0201 + UInt32(number))] }
                if Bool.random(using: &random) {
                    service.loadBalancerIPs = [.v4(0xc633_6401 + UInt32(number))]
                    service.loadBalancerSourceRanges =
                        Bool.random(using: &random) ? [IPPrefix("192.0.2.0/24")].compactMap { $0 } : []
                }
                service.sessionAffinityTimeoutSeconds =
                    Bool.random(using: &random) ? UInt32.random(in: 1...2, using: &random) * 60 : nil
                service.externalTrafficLocal = Bool.random(using: &random)
                service.internalTrafficLocal = Int.random(in: 0..<4, using: &random) == 0
                changed.removeAll { $0.id == id }
                changed.append(service)
            }
            changed.removeAll { removed.contains($0.id) }
            for id in removed { services[id] = nil }
            for service in changed { services[service.id] = service }
            #expect(try !proxy.update(changed, removing: removed).wasFullLoad)
            let elements = fake.dump().split(separator: "\n").prefix { !$0.contains("  chain ") }
            let fresh = try loaded(Array(services.values)).split(separator: "\n").prefix { !$0.contains("  chain ") }
            #expect(elements == fresh)
        }
        #expect(try proxy.verify() == .intact)
    }

    @Test func changingOneEndpointTouchesOneElement() throws {
        let proxy = proxy()
        try proxy.sync(
            ProxyState(
                services: [service("a", "10.43.0.1", ["10.42.0.2", "10.42.0.3", "10.42.0.4"])], settings: settings))
        let bytes = try proxy.update([service("a", "10.43.0.1", ["10.42.0.2", "10.42.0.9", "10.42.0.4"])]).bytes
        // Two messages with one element each, between begin and end.
        #expect(bytes < 300)
    }

    /// Large sets have a fixed size: what does not fit is loaded with more room, and nothing is lost.
    @Test func aSetThatIsFullIsMadeLarger() throws {
        func services(_ range: Range<Int>) throws -> [ServicePort] {
            try range.map { try service("s\($0)", "10.44.\($0 / 250).\($0 % 250)", ["10.42.0.2", "10.42.0.3"]) }
        }
        let proxy = proxy()
        try proxy.sync(ProxyState(services: services(0..<2100), settings: settings))
        let table = NFTable(.ip, "k3s-proxy")
        func size() throws -> UInt32? {
            try #require(fake.ruleset(table)).sets.first { $0.set.name == "endpoints" }?.set.size
        }
        #expect(try size() == 8192)
        // There is room for some.
        #expect(try !proxy.update(services(2100..<4000)).wasFullLoad)
        #expect(try size() == 8192)
        // Those that go in the same transaction make room.
        #expect(try !proxy.update(services(4000..<4200), removing: Set(services(0..<200).map(\.id))).wasFullLoad)
        #expect(try proxy.update(services(0..<200)).wasFullLoad)
        #expect(try size() == 16384)
        #expect(try fake.dump() == loaded(services(0..<4200)))
        #expect(try proxy.verify() == .intact)
    }

    @Test func aServiceThatComesTwiceCountsAsItCameLast() throws {
        let proxy = proxy()
        let first = try service("a", "10.43.0.1", ["10.42.0.2"])
        let second = try service("a", "10.43.0.1", ["10.42.0.3"])
        try proxy.sync(ProxyState(services: [first, second], settings: settings))
        #expect(try fake.dump() == loaded([second]))
    }

    @Test func aSecondClaimantWaitsForTheAddress() throws {
        let proxy = proxy()
        let first = try service("first", "10.43.0.1", ["10.42.0.2"])
        let second = try service("second", "10.43.0.1", ["10.42.0.3"])
        let key = FrontendKey(try ip("10.43.0.1"), .tcp, 80)
        let result = try proxy.sync(ProxyState(services: [first, second], settings: settings))
        #expect(result.conflicts == [key: ["second"]])
        #expect(try fake.dump() == loaded([first]))
        #expect(try proxy.update([], removing: ["first"]).conflicts.isEmpty)
        #expect(fake.dump().contains("10.43.0.1 . tcp . 80 . 0 : 10.42.0.3 . 8080"))
        #expect(!fake.dump().contains("10.42.0.2 . 8080"))
        try proxy.update([], removing: ["second"])
        #expect(!fake.dump().contains("10.43.0.1"))
    }

    @Test func anAddressMovesBetweenServicesInOneCall() throws {
        let proxy = proxy()
        try proxy.sync(
            ProxyState(
                services: [service("a", "10.43.0.1", ["10.42.0.2"]), service("b", "10.43.0.2", ["10.42.0.3"])],
                settings: settings))
        let result = try proxy.update([
            service("a", "10.43.0.2", ["10.42.0.2"]), service("b", "10.43.0.1", ["10.42.0.3"]),
        ])
        #expect(result.conflicts.isEmpty && !result.wasFullLoad)
        #expect(fake.dump().contains("10.43.0.1 . tcp . 80 . 0 : 10.42.0.3 . 8080"))
        #expect(fake.dump().contains("10.43.0.2 . tcp . 80 . 0 : 10.42.0.2 . 8080"))
    }

    @Test func aFailedCommitIsMadeUpForByTheNext() throws {
        let proxy = proxy()
        try proxy.sync(ProxyState(services: [service("a", "10.43.0.1", ["10.42.0.2"])], settings: settings))
        fake.failNextCommit(NetlinkError(ENOBUFS, "try"))
        let service = try service("b", "10.43.0.2", ["10.42.0.3"])
        #expect(throws: NetlinkError.self) { try proxy.update([service]) }
        let next = try proxy.update([])
        #expect(next.wasFullLoad)
        #expect(fake.dump().contains("10.43.0.2 . tcp . 80 : goto n1"))
    }

    @Test func changedSettingsLoadEverythingAgain() throws {
        let proxy = proxy()
        let services = [try service("a", "10.43.0.1", ["10.42.0.2"])]
        try proxy.sync(ProxyState(services: services, settings: settings))
        var other = settings
        other.clusterCIDRs = [try #require(IPPrefix("10.99.0.0/16"))]
        #expect(try proxy.sync(ProxyState(services: services, settings: other)).wasFullLoad)
        #expect(fake.dump().contains("10.99.0.0 - 10.99.255.255"))
        #expect(fake.dump().contains("10.43.0.1 . tcp . 80 : goto n1"))
    }

    @Test func staleUDPFlowsGo() throws {
        func flow(
            _ client: String, _ service: String, _ endpoint: String, port: UInt16 = 80, transport: UInt8 = 17,
            seenAs: String? = nil
        ) throws -> Flow {
            Flow(
                original: FlowTuple(
                    source: try ip(client), destination: try ip(service), transport: transport, sourcePort: 4000,
                    destinationPort: port),
                reply: FlowTuple(
                    source: try ip(endpoint), destination: try ip(seenAs ?? client), transport: transport,
                    sourcePort: 8080, destinationPort: 4000))
        }
        let connections = Connections([])
        let proxy = proxy(connections)
        var udp = try service("dns", "10.43.0.10", ["10.42.0.2", "10.42.0.3"], transport: .udp)
        udp.nodePort = 30053
        try proxy.sync(ProxyState(services: [udp], settings: settings))
        let kept = [
            try flow("10.42.0.9", "10.43.0.10", "10.42.0.3"), try flow("10.42.0.9", "10.43.0.99", "10.42.0.2"),
            try flow("10.42.0.9", "10.43.0.10", "10.42.0.2", transport: 6),
            // A pod's own masqueraded traffic to that port number somewhere else.
            try flow("10.42.0.9", "192.0.2.9", "192.0.2.9", port: 30053, seenAs: "172.30.0.1"),
        ]
        connections.flows.withLock {
            $0 = kept
        }
        let stale = [
            try flow("10.42.0.9", "10.43.0.10", "10.42.0.2"),
            try flow("192.0.2.1", "172.30.0.1", "10.42.0.2", port: 30053),
        ]
        connections.flows.withLock { $0 += stale }
        udp.endpoints.removeFirst()
        #expect(try proxy.update([udp]).flowsDeleted == 2)
        #expect(connections.flows.withLock { $0 } == kept)
        // Adding an endpoint deletes nothing.
        udp.endpoints.append(ProxyEndpoint(try ip("10.42.0.7"), 8080))
        #expect(try proxy.update([udp]).flowsDeleted == 0)
    }

    @Test func verifyRepairsTheFake() throws {
        let proxy = proxy()
        try proxy.sync(ProxyState(services: [service("a", "10.43.0.1", ["10.42.0.2"])], settings: settings))
        try fake.commit([.addTable(NFTable(.ip, "foreign"))], purpose: "other")
        #expect(try proxy.verify() == .intact)
        try fake.commit([.flushSet(NFTable(.ip, "k3s-proxy"), "endpoints")], purpose: "damage")
        // Our own next commit does not hide it.
        try proxy.update([service("b", "10.43.0.2", ["10.42.0.2"])])
        #expect(try proxy.verify() == .reloaded(reason: "elements of ip k3s-proxy endpoints were changed"))
        #expect(fake.dump().contains("10.43.0.1 . tcp . 80 . 0 : 10.42.0.2 . 8080"))
        #expect(fake.dump().contains("10.43.0.2 . tcp . 80 . 0 : 10.42.0.2 . 8080"))
        #expect(try proxy.verify() == .intact)
    }
}

private struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
