import Iptables
import Linux
import Netlink

/// Network policy with 5,000 pods of this node that policies select, in 50 namespaces of five applications each: every pod is
/// denied all but what comes from its own application and from one team's namespaces.
enum PolicyFigures {
    private static func pod(_ index: Int, generation: Int = 0) -> PolicyPod {
        let namespace = "team-\(index % 50)"
        return PolicyPod(
            "\(namespace)/pod-\(index)", namespace: namespace,
            labels: ["app": "app-\(index / 50 % 5)", "version": "\(generation)"],
            addresses: [.v4(0x0a2a_0002 + UInt32(index))], ports: [.init("http", .tcp, 8080)])
    }

    private static func policies(_ namespace: Int, port: UInt16 = 8080) -> [NetworkPolicy] {
        let name = "team-\(namespace)"
        let deny = NetworkPolicy("deny", namespace: name, ingress: [])
        return [deny]
            + (0..<5).map { app in
                NetworkPolicy(
                    "app-\(app)", namespace: name, pods: .equal(["app": "app-\(app)"]),
                    ingress: [
                        PolicyRule(
                            peers: [
                                .pods(.equal(["app": "app-\(app)"])),
                                .namespaces(.equal(["team": "shared"]), pods: .everything),
                            ], ports: [PolicyPort(.tcp, port)])
                    ], egress: [PolicyRule(peers: [.block(everywhere, except: [])])])
            }
    }
    private static let everywhere = IPPrefix(host: .v4(0)).wide

    static func run() throws {
        let namespace = try NetworkNamespace.make()
        var settings = PolicySettings()
        settings.filtersBridgedFrames = false
        let backend = try MeasuredRuleset(in: namespace)
        let enforcer = PolicyEnforcer(backend: backend, settings: settings)
        let clock = ContinuousClock()
        func measure(_ what: String, _ changes: PolicyChanges) throws {
            let (start, busy) = (clock.now, MeasuredRuleset.cpuTime())
            let bytes = try enforcer.update(changes).bytes
            let (wall, cpu) = (clock.now - start, MeasuredRuleset.cpuTime() - busy)
            print(
                "network policy: \(what) \(milliseconds(wall)) ms, \(milliseconds(cpu)) ms of it CPU, of that in the kernel "
                    + "\(milliseconds(backend.takeCommitTime())) ms (\(bytes) bytes)")
        }
        let before = residentKiB()
        var all = PolicyChanges(pods: (0..<5000).map { pod($0) }, policies: (0..<50).flatMap { policies($0) })
        for index in 0..<50 { all.namespaces["team-\(index)"] = index == 7 ? ["team": "shared"] : [:] }
        try measure("5,000 selected pods and 300 policies loaded in", all)
        print("network policy: memory for them \(residentKiB() - before) KiB")

        var again = PolicyChanges()
        again.pods = (0..<5000).map { pod($0, generation: 1) }
        try measure("new labels on all 5,000 pods, none of which a policy asks for", again)
        again = PolicyChanges()
        again.removedPolicies = (0..<50).map { "team-\($0)/deny" }
        try measure("5,000 pods with one policy less each", again)
        again = PolicyChanges(policies: (0..<50).map { policies($0)[0] })
        try measure("5,000 pods with one policy more each", again)
        again = PolicyChanges()
        again.pods = (0..<5000).map {
            var moved = pod($0, generation: 1)
            moved.addresses = [.v4(0x0a2b_0002 + UInt32($0))]
            return moved
        }
        try measure("all 5,000 pods with other addresses", again)

        var times: [Duration] = []
        for round in 0..<200 {
            var changed = pod(round * 23 % 5000, generation: 1)
            changed.addresses = [.v4(0x0a2c_0002 + UInt32(round))]
            let start = clock.now
            try enforcer.update(PolicyChanges(pods: [changed]))
            times.append(clock.now - start)
        }
        print("network policy: one pod with another address \(milliseconds(times.sorted()[100])) ms")
        times = []
        for round in 0..<50 {
            let changed = PolicyChanges(policies: [policies(round, port: UInt16(9000 + round))[1]])
            let start = clock.now
            try enforcer.update(changed)
            times.append(clock.now - start)
        }
        print("network policy: one policy with another port \(milliseconds(times.sorted()[25])) ms")
        let start = clock.now
        _ = try KernelRuleset(in: namespace).commit([.addTable(NFTable(.ip, "other"))], purpose: "add another table")
        let found = try enforcer.verify()
        print(
            "network policy: full verify \(milliseconds(clock.now - start)) ms\(found.map { ", DIFFERENT: \($0)" } ?? "")"
        )
    }

    private static func milliseconds(_ duration: Duration) -> String {
        let micro = Int64(duration / .microseconds(1))
        let rest = String(micro % 1000)
        return "\(micro / 1000).\(String(repeating: "0", count: 3 - rest.count))\(rest)"
    }
}

extension IPPrefix {
    /// The whole address space.
    fileprivate var wide: IPPrefix { IPPrefix(address, length: 0) ?? self }
}
