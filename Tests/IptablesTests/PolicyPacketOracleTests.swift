import Iptables
import Netlink
import NetworkTesting
import Testing

/// Random policies with real packets: three pods, both families, TCP.
@Suite(.enabled(if: Live.isRoot, "needs root and network namespaces"))
struct PolicyPacketOracleTests {
    @Test func packetsArriveWhereTheWordsAllow() throws {
        let at = try PolicyLab(bridgeFiltering: true)
        let c = try at.lab.pod(4)
        let spaces = [2: at.a, 3: at.b, 4: c]
        var running: [ProbeServer] = []
        defer { running.forEach { $0.close_() } }
        for (number, space) in spaces {
            for family in AddressFamily.allCases {
                for port in [80, 8080] as [UInt16] {
                    running.append(try ProbeServer("p\(number)", in: space, port: port, family: family))
                }
            }
        }
        var maker = PolicyWorldMaker(dice: Dice(state: 99))
        var world = PolicyWorld()
        world.namespaces = ["red": ["team": "x"], "blue": ["team": "y"], "green": [:]]
        try at.enforcer.reset(PolicyChanges(namespaces: world.namespaces))
        var seen: [Bool: Int] = [:]
        for round in 0..<60 {
            var changes = PolicyChanges()
            for _ in 0..<2 {
                var pod = maker.pod(maker.dice.roll(3))
                pod.isLocal = true
                if pod.addresses.isEmpty { continue }
                let address = pod.addresses[0]
                for id in world.pods.keys where world.pods[id]?.addresses.contains(address) == true && id != pod.id {
                    world.pods[id] = nil
                    changes.removedPods.append(id)
                }
                changes.pods.removeAll { $0.addresses.contains(address) }
                changes.removedPods.removeAll { $0 == pod.id }
                world.pods[pod.id] = pod
                changes.pods.append(pod)
                let policy = maker.policy(maker.dice.roll(3))
                world.policies[policy.id] = policy
                changes.policies.removeAll { $0.id == policy.id }
                changes.policies.append(policy)
            }
            try at.enforcer.update(changes)
            for _ in 0..<4 {
                let (from, to) = (maker.dice.roll(3) + 2, maker.dice.roll(3) + 2)
                guard from != to, let source = spaces[from] else { continue }
                let isIPv4 = maker.dice.roll(2) == 0
                func address(_ number: Int) -> IPAddress {
                    isIPv4 ? .v4(0x0a2a_0000 + UInt32(number)) : .v6(0xfd00_0042_0000_0000, UInt64(number))
                }
                let port: UInt16 = maker.dice.pick([80, 8080])
                let expected = world.mayConnect(address(from), address(to), .tcp, port)
                let found = probe(from: source, address(to).description, port)
                seen[expected, default: 0] += 1
                #expect(
                    found.server == (expected ? "p\(to)" : nil),
                    "round \(round): \(from) to \(address(to)):\(port): \(found)")
            }
        }
        #expect(seen[true] ?? 0 > 20 && seen[false] ?? 0 > 20, "\(seen)")
        let listing = nftRuleset(at.lab.node)
        #expect(listing.status == 0, "\(listing.output)")
        #expect(try at.enforcer.verify() == nil)
    }
}
