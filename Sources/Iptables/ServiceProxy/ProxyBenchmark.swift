import Netlink

/// Measures the proxy in a network namespace (root needed): a full load of `services` with `endpoints` each,
/// then single changes.
package struct ProxyBenchmark: Sendable, CustomStringConvertible {
    package var services: Int
    package var endpoints: Int
    package var load: Duration
    package var loadBytes: Int
    /// Median of 200 changes of one endpoint each.
    package var change: Duration
    package var changeBytes: Int
    /// Median of 50 services added, one at a time.
    package var add: Duration
    /// A sync that finds nothing to do, and a verify that reads everything back.
    package var idleSync: Duration
    package var verify: Duration

    package var description: String {
        "\(services) services x \(endpoints): load \(load) (\(loadBytes) bytes), one endpoint \(change) (\(changeBytes) bytes), "
            + "one service added \(add), sync without change \(idleSync), full verify \(verify)"
    }

    package static func services(_ count: Int, endpoints: Int) -> [ServicePort] {
        (0..<count).map { index in
            ServicePort(
                "default/s\(index):http", clusterIPs: [.v4(0x0a2b_0001 + UInt32(index))], port: 80,
                endpoints: (0..<endpoints).map { number in
                    ProxyEndpoint(.v4(0x0a2a_0001 + UInt32((index * endpoints + number) % 60_000)), 8080)
                })
        }
    }

    /// In a network namespace of its own.
    package static func run(services count: Int) throws(NetlinkError) -> ProxyBenchmark {
        let namespace = try NetworkNamespace.make()
        return try run(services: count, in: namespace, try KernelRuleset(in: namespace))
    }

    package static func run(
        services count: Int, endpoints: Int = 3, in namespace: NetworkNamespace, _ backend: any RulesetBackend,
        afterLoad: () -> Void = {}
    ) throws(NetlinkError) -> ProxyBenchmark {
        let settings = ProxySettings(clusterCIDRs: [IPPrefix("10.42.0.0/16")].compactMap { $0 })
        let proxy = ServiceProxy(backend: backend, connections: nil, settings: settings)
        var services = ProxyBenchmark.services(count, endpoints: endpoints)
        let clock = ContinuousClock()

        var start = clock.now
        let loaded = try proxy.sync(ProxyState(services: services, settings: settings))
        let load = clock.now - start
        afterLoad()

        start = clock.now
        try proxy.sync(ProxyState(services: services, settings: settings))
        let idleSync = clock.now - start

        var changes: [Duration] = []
        var bytes = 0
        for round in 0..<200 {
            let index = (round * 7919) % count
            services[index].endpoints[0].port = UInt16(9000 + round)
            start = clock.now
            bytes = try proxy.update([services[index]]).bytes
            changes.append(clock.now - start)
        }
        var adds: [Duration] = []
        for round in 0..<50 {
            var service = services[0]
            service.id = "default/new\(round)"
            service.clusterIPs = [.v4(0x0a3b_0001 + UInt32(round))]
            start = clock.now
            try proxy.update([service])
            adds.append(clock.now - start)
        }
        // Somebody else's transaction makes verify look at everything.
        let other = try KernelRuleset(in: namespace)
        _ = try other.commit([.addTable(NFTable(.ip, "other"))], purpose: "add another table")
        start = clock.now
        let outcome = try proxy.verify()
        let verify = clock.now - start
        guard outcome == .intact else { throw NetlinkError(71, "verify found the table changed: \(outcome)") }
        return ProxyBenchmark(
            services: count, endpoints: endpoints, load: load, loadBytes: loaded.bytes, change: changes.sorted()[100],
            changeBytes: bytes, add: adds.sorted()[25], idleSync: idleSync, verify: verify)
    }
}
