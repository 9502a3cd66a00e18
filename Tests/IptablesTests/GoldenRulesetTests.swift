import Iptables
import Linux
import Netlink
import Testing

/// The tables of a few services and policies as a whole, compared with text that was read and found right
/// (Tests/Fixtures/network). Environment K3S_WRITE_GOLDEN=1 writes the files anew: read the difference.
@Suite struct GoldenRulesetTests {
    private func expectGolden(_ found: String, _ name: String) throws {
        var parts = #filePath.split(separator: "/")
        parts.removeLast(2)
        let path = "/" + parts.joined(separator: "/") + "/Fixtures/network/\(name).txt"
        if getenv("K3S_WRITE_GOLDEN") != nil { try Files.write(path, Array((found + "\n").utf8)) }
        let wanted = String(decoding: try Files.read(path, limit: 1 << 20), as: UTF8.self).split(separator: "\n")
        let lines = found.split(separator: "\n")
        #expect(lines.count == wanted.count, "\(name)")
        for (line, expected) in zip(lines, wanted) { #expect(line == expected, "\(name)") }
    }

    private func ip(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }

    @Test func servicesOfEveryKind() throws {
        let settings = ProxySettings(
            clusterCIDRs: ["10.42.0.0/16", "fd00:42::/56"].compactMap { IPPrefix($0) })
        let endpoints = [
            ProxyEndpoint(try ip("10.42.0.2"), 8080, isLocal: true), ProxyEndpoint(try ip("10.42.1.3"), 8080),
            ProxyEndpoint(try ip("fd00:42::2"), 8080, isLocal: true),
        ]
        var web = ServicePort(
            "a/web", clusterIPs: [try ip("10.43.0.9"), try ip("fd00:43::9")], port: 80, nodePort: 30080,
            endpoints: endpoints)
        web.externalTrafficLocal = true
        web.loadBalancerIPs = [try ip("198.51.100.9")]
        web.loadBalancerSourceRanges = [try #require(IPPrefix("203.0.113.0/24"))]
        var sticky = ServicePort(
            "a/sticky", clusterIPs: [try ip("10.43.0.10")], port: 53, transport: .udp, endpoints: [endpoints[1]])
        sticky.sessionAffinityTimeoutSeconds = 10_800
        let empty = ServicePort(
            "a/empty", clusterIPs: [try ip("10.43.0.11")], port: 9, transport: .sctp, nodePort: 30009, endpoints: [])
        var local = ServicePort(
            "a/local", clusterIPs: [try ip("10.43.0.12")], port: 80, endpoints: [endpoints[1]])
        local.internalTrafficLocal = true
        local.externalIPs = [try ip("192.0.2.99")]
        let fake = FakeRuleset()
        try ServiceProxy(backend: fake, connections: nil, settings: settings).sync(
            ProxyState(services: [web, sticky, empty, local], settings: settings))
        try expectGolden(fake.dump(), "services")
    }

    @Test func policiesOfEveryKind() throws {
        let fake = FakeRuleset()
        var settings = PolicySettings(families: [.ipv4, .ipv6])
        settings.filtersBridgedFrames = false
        let enforcer = PolicyEnforcer(backend: fake, settings: settings)
        var changes = PolicyChanges(
            pods: [
                PolicyPod(
                    "a/web", namespace: "a", labels: ["app": "web"],
                    addresses: [try ip("10.42.0.2"), try ip("fd00:42::2")], ports: [.init("http", .tcp, 8080)])
            ],
            policies: [
                NetworkPolicy(
                    "allow", namespace: "a", pods: .equal(["app": "web"]),
                    ingress: [
                        PolicyRule(
                            peers: [.namespaces(.equal(["team": "b"]), pods: .everything)],
                            ports: [
                                PolicyPort(.tcp, .named("http")), PolicyPort(.udp, .range(1000, 2000)),
                                PolicyPort(.sctp, .any),
                            ])
                    ],
                    egress: [
                        PolicyRule(peers: [
                            .block(
                                try #require(IPPrefix("192.0.2.0/24")),
                                except: [try #require(IPPrefix("192.0.2.64/26"))])
                        ])
                    ])
            ])
        changes.namespaces = ["a": [:], "b": ["team": "b"]]
        try enforcer.reset(changes)
        try enforcer.update(
            PolicyChanges(pods: [
                PolicyPod("b/client", namespace: "b", addresses: [try ip("10.42.1.7")], isLocal: false)
            ]))
        try expectGolden(fake.dump(), "policies")
    }
}
