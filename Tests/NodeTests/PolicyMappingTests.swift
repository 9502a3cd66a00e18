import Codecs
import Iptables
import KubeAPI
import Logging
import Netlink
import Synchronization
import Testing

@testable import Node

@Suite("Policy mapping") struct PolicyMappingTests {
    static func policy(_ name: String, _ spec: JSON) -> KubeObject {
        var object = KubeObject(
            GroupVersionKind("networking.k8s.io", "v1", "NetworkPolicy"), name: name, namespace: "default")
        object.spec = spec
        return object
    }
    static func pod(
        _ name: String, _ address: String?, labels: [String: String] = [:], node: String = "node-1", spec: JSON = [:],
        phase: String = "Running"
    ) -> KubeObject {
        var object = KubeObject(GroupVersionKind("", "v1", "Pod"), name: name, namespace: "default")
        object.labels = labels
        object.spec = spec
        object.spec["nodeName"] = .string(node)
        object.status = ["phase": .string(phase)]
        if let address { object.status["podIPs"] = [["ip": .string(address)]] }
        return object
    }

    @Test func policyTypesDecideWhatIsIsolated() {
        func map(_ spec: JSON) -> NetworkPolicy { PolicyMapping.policy(Self.policy("p", spec)) }
        let ingress = map(["podSelector": [:], "policyTypes": ["Ingress"]])
        #expect(ingress.ingress == [] && ingress.egress == nil)
        #expect(ingress.id == "default/p" && ingress.pods == .everything)
        let egress = map(["podSelector": [:], "policyTypes": ["Egress"], "ingress": [[:]]])
        #expect(egress.ingress == nil && egress.egress == [])
        let both = map(["podSelector": [:], "egress": [[:]]])
        #expect(both.ingress == [] && both.egress == [PolicyRule()])
    }

    @Test func peersAndPortsAreThoseOfTheAPI() throws {
        let spec: JSON = [
            "podSelector": ["matchLabels": ["app": "web"]], "policyTypes": ["Ingress"],
            "ingress": [
                [
                    "from": [
                        ["podSelector": ["matchExpressions": [["key": "tier", "operator": "NotIn", "values": ["x"]]]]],
                        ["namespaceSelector": [:]],
                        [
                            "namespaceSelector": ["matchLabels": ["team": "a"]],
                            "podSelector": ["matchLabels": ["app": "b"]],
                        ],
                        ["ipBlock": ["cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]]],
                    ],
                    "ports": [
                        ["port": 80], ["port": "http", "protocol": "TCP"], ["protocol": "UDP"],
                        ["port": 1000, "endPort": 2000, "protocol": "SCTP"],
                    ],
                ]
            ],
        ]
        let policy = PolicyMapping.policy(Self.policy("p", spec))
        let block = try #require(IPPrefix("10.0.0.0/8"))
        #expect(policy.pods == .equal(["app": "web"]))
        #expect(
            policy.ingress == [
                PolicyRule(
                    peers: [
                        .pods(LabelMatch([.init("tier", .noneOf(["x"]))])),
                        .namespaces(.everything, pods: .everything),
                        .namespaces(.equal(["team": "a"]), pods: .equal(["app": "b"])),
                        .block(block, except: [try #require(IPPrefix("10.1.0.0/16"))]),
                    ],
                    ports: [
                        PolicyPort(.tcp, 80), PolicyPort(.tcp, .named("http")), PolicyPort(.udp),
                        PolicyPort(.sctp, .range(1000, 2000)),
                    ])
            ])
    }

    @Test func whatMakesNoSenseSelectsNothing() {
        let spec: JSON = [
            "policyTypes": ["Ingress"],
            "ingress": [
                ["from": [["ipBlock": ["cidr": "10.0.0.0/8", "except": ["nonsense"]]]]],
                ["from": [["podSelector": ["matchExpressions": [["key": "a", "operator": "Near"]]]]]],
                ["ports": [["port": 70000], ["port": 20, "endPort": 10]]],
            ],
        ]
        #expect(
            PolicyMapping.policy(Self.policy("p", spec)).ingress == [
                PolicyRule(peers: []), PolicyRule(peers: []), PolicyRule(ports: []),
            ])
    }

    @Test func onlyPodsWithAnAddressOfTheirOwnCount() throws {
        let ports: JSON = [
            "containers": [["ports": [["name": "http", "containerPort": 8080], ["containerPort": 81]]]],
            "initContainers": [
                ["restartPolicy": "Always", "ports": [["name": "mesh", "containerPort": 15000, "protocol": "UDP"]]],
                ["ports": [["name": "setup", "containerPort": 1]]],
            ],
        ]
        let pod = try #require(
            PolicyMapping.pod(Self.pod("a", "10.42.0.2", labels: ["x": "y"], spec: ports), node: "node-1"))
        #expect(pod.id == "default/a" && pod.isLocal && pod.labels == ["x": "y"])
        #expect(pod.ports == [.init("http", .tcp, 8080), .init("mesh", .udp, 15000)])
        #expect(PolicyMapping.pod(Self.pod("a", "10.42.0.2", node: "node-2"), node: "node-1")?.isLocal == false)
        #expect(PolicyMapping.pod(Self.pod("a", nil), node: "node-1") == nil)
        #expect(PolicyMapping.pod(Self.pod("a", "10.42.0.2", spec: ["hostNetwork": true]), node: "node-1") == nil)
        #expect(PolicyMapping.pod(Self.pod("a", "10.42.0.2", phase: "Succeeded"), node: "node-1") == nil)
    }
}

/// Writes down what it is told, into a real enforcer over nf_tables in memory.
private final class TestEnforcer: PolicyEnforcing {
    let fake = FakeRuleset()
    let enforcer: PolicyEnforcer
    let failing = Mutex(false)
    let unloads = Mutex(0)
    init() { enforcer = PolicyEnforcer(backend: fake, settings: PolicySettings()) }

    func update(_ changes: PolicyChanges) async throws {
        if failing.withLock({ $0 }) { fake.failNextCommit(NetlinkError(12, "no memory")) }
        _ = try enforcer.update(changes)
    }
    func unload() async throws {
        try enforcer.unload()
        unloads.withLock { $0 += 1 }
    }
    func verify() async throws -> String? { try enforcer.verify() }
    var dump: String { fake.dump() }
}

@Suite("Policy follower") struct PolicyFollowerTests {
    private func run(
        _ body: (FakeKubeClient, VirtualClock, TestEnforcer) async throws -> Void
    ) async throws {
        let harness = try NodeHarness()
        let enforcer = TestEnforcer()
        let context = NodeContext(
            clients: NodeClients(harness.client), runtime: harness.runtime, network: harness.network,
            configuration: harness.configuration, clock: harness.clock, logger: .init(label: "test"),
            mounter: harness.mounter, actions: harness.actions, resources: NodeResources())
        let follower = PolicyFollower(context: context, enforcer: enforcer)
        let task = Task { await follower.run() }
        defer { task.cancel() }
        try await body(harness.client, harness.clock, enforcer)
    }

    private func until(
        _ clock: VirtualClock, _ what: Comment, _ condition: () -> Bool
    ) async throws {
        for _ in 0..<3000 {
            if condition() { return }
            clock.advance(by: .milliseconds(20))
            try await Task.sleep(for: .milliseconds(2))
        }
        Issue.record(what)
    }

    @Test func podsAreFollowedOnlyWhileThereIsAPolicy() async throws {
        try await run { client, clock, enforcer in
            client.put(.pods, PolicyMappingTests.pod("a", "10.42.0.2", labels: ["app": "a"]))
            client.put(.namespaces, KubeObject(GroupVersionKind("", "v1", "Namespace"), name: "default"))
            try await until(clock, "an earlier process's tables go") { enforcer.unloads.withLock { $0 } == 1 }
            #expect(enforcer.dump.isEmpty && enforcer.enforcer.podCount == 0)
            let spec: JSON = ["podSelector": ["matchLabels": ["app": "a"]], "policyTypes": ["Ingress"]]
            client.put(.networkPolicies, PolicyMappingTests.policy("deny", spec))
            try await until(clock, "the pod is isolated") { enforcer.dump.contains("10.42.0.2 : goto isolate") }
            client.put(.pods, PolicyMappingTests.pod("b", "10.42.0.3", labels: ["app": "a"]))
            try await until(clock, "a new pod too") { enforcer.dump.contains("10.42.0.3 : goto isolate") }
            client.put(.pods, PolicyMappingTests.pod("b", "10.42.0.3", labels: ["app": "a"], phase: "Succeeded"))
            try await until(clock, "one that has ended is not") { !enforcer.dump.contains("10.42.0.3") }
            try await client.delete(.networkPolicies, namespace: "default", name: "deny", options: DeleteOptions())
            try await until(clock, "nothing is left") { enforcer.dump.isEmpty && enforcer.enforcer.podCount == 0 }
            client.put(.networkPolicies, PolicyMappingTests.policy("deny", spec))
            try await until(clock, "and again") { enforcer.dump.contains("10.42.0.2 : goto isolate") }
        }
    }

    @Test func whatFailedIsMadeGood() async throws {
        try await run { client, clock, enforcer in
            client.put(.pods, PolicyMappingTests.pod("a", "10.42.0.2"))
            client.put(.namespaces, KubeObject(GroupVersionKind("", "v1", "Namespace"), name: "default"))
            enforcer.failing.withLock { $0 = true }
            client.put(.networkPolicies, PolicyMappingTests.policy("deny", ["policyTypes": ["Ingress"]]))
            for _ in 0..<50 {
                clock.advance(by: .milliseconds(100))
                try await Task.sleep(for: .milliseconds(2))
            }
            #expect(enforcer.dump.isEmpty)
            enforcer.failing.withLock { $0 = false }
            try await until(clock, "loaded after all") { enforcer.dump.contains("10.42.0.2 : goto isolate") }
        }
    }
}
