import Codecs
import ControlPlane
import KubeAPI
import Testing
import Transport

/// Evictions ask the disruption budgets.
@Suite struct EvictionTests {
    private static let budgets = GroupVersionResource("policy", "v1", "poddisruptionbudgets")

    private func cluster(pods: Int = 2, phase: String = "Running", ready: Bool = true) async throws -> Cluster {
        let cluster = try await Cluster()
        for i in 0..<pods {
            var pod = cluster.pod("p\(i)")
            pod.labels = ["app": "web"]
            pod = try await cluster.client.create(.pods, pod)
            pod.json["status"]["phase"] = .string(phase)
            pod.json["status"]["conditions"] = [["type": "Ready", "status": ready ? "True" : "False"]]
            _ = try await cluster.client.updateStatus(.pods, pod)
        }
        return cluster
    }

    private func budget(
        _ cluster: Cluster, _ name: String = "b", allowed: Int64, healthy: Int64 = 2, desired: Int64 = 1,
        policy: String? = nil, observed: Int64 = 1
    ) async throws {
        var budget = KubeObject(
            GroupVersionKind("policy", "v1", "PodDisruptionBudget"), name: name, namespace: "default")
        budget.json["spec"] = ["minAvailable": .int(desired), "selector": ["matchLabels": ["app": "web"]]]
        if let policy { budget.json["spec"]["unhealthyPodEvictionPolicy"] = .string(policy) }
        budget = try await cluster.client.create(Self.budgets, budget)
        budget.json["status"] = [
            "disruptionsAllowed": .int(allowed), "currentHealthy": .int(healthy), "desiredHealthy": .int(desired),
            "expectedPods": 2, "observedGeneration": .int(observed),
        ]
        _ = try await cluster.client.updateStatus(Self.budgets, budget)
    }

    private func evict(_ cluster: Cluster, _ pod: String, _ body: JSON = [:]) async throws -> Cluster.Answer {
        try await cluster.call("POST", "/api/v1/namespaces/default/pods/\(pod)/eviction", body)
    }

    private func exists(_ cluster: Cluster, _ pod: String) async throws -> Bool {
        try await cluster.client.getIfPresent(.pods, namespace: "default", name: pod) != nil
    }

    @Test func withoutABudgetPodsGo() async throws {
        let cluster = try await cluster()
        #expect(try await evict(cluster, "p0").code == 201)
        #expect(try await !exists(cluster, "p0"))
    }

    @Test func aBudgetIsUsedUp() async throws {
        let cluster = try await cluster()
        try await budget(cluster, allowed: 1)
        #expect(try await evict(cluster, "p0").code == 201)
        let used = try await cluster.client.get(Self.budgets, namespace: "default", name: "b")
        #expect(used.status["disruptionsAllowed"] == 0)
        #expect(used.status["disruptedPods"]["p0"] == "2026-01-01T00:00:00Z")
        #expect(used.status["conditions"][0]["reason"] == "InsufficientPods")
        let refused = try await evict(cluster, "p1")
        #expect(refused.code == 429 && refused.reason == "TooManyRequests")
        #expect(refused.message == "Cannot evict pod as it would violate the pod's disruption budget.")
        #expect(
            refused.json["details"]["causes"] == [
                [
                    "reason": "DisruptionBudget",
                    "message": "The disruption budget b needs 1 healthy pods and has 2 currently",
                ]
            ], "\(refused.text)")
        #expect(try await exists(cluster, "p1"))
    }

    @Test func evictionsAtTheSameTimeDoNotOverdraw() async throws {
        let cluster = try await cluster(pods: 12)
        try await budget(cluster, allowed: 3, healthy: 12, desired: 9)
        let codes = await withTaskGroup(of: Int.self) { group in
            for i in 0..<12 {
                group.addTask { (try? await self.evict(cluster, "p\(i)").code) ?? 0 }
            }
            var codes: [Int] = []
            for await code in group { codes.append(code) }
            return codes
        }
        #expect(codes.count { $0 == 201 } == 3 && codes.count { $0 == 429 } == 9, "\(codes)")
    }

    @Test func aTryTakesNothing() async throws {
        let cluster = try await cluster()
        try await budget(cluster, allowed: 1)
        let answer = try await evict(cluster, "p0", ["deleteOptions": ["dryRun": ["All"]]])
        #expect(answer.code == 201, "\(answer.text)")
        #expect(try await exists(cluster, "p0"))
        let budget = try await cluster.client.get(Self.budgets, namespace: "default", name: "b")
        #expect(budget.status["disruptionsAllowed"] == 1)
    }

    @Test(arguments: ["Pending", "Succeeded", "Failed"])
    func podsThatDoNotRunGo(_ phase: String) async throws {
        let cluster = try await cluster(phase: phase)
        try await budget(cluster, allowed: 0)
        #expect(try await evict(cluster, "p0").code == 201)
    }

    @Test func podsThatAreNotReadyGoWhereEnoughAre() async throws {
        for (healthy, policy, code) in [(Int64(0), nil, 429), (1, nil, 201), (0, "AlwaysAllow", 201)] {
            let cluster = try await cluster(ready: false)
            try await budget(cluster, allowed: 0, healthy: healthy, policy: policy)
            #expect(try await evict(cluster, "p0").code == code)
        }
    }

    @Test func aBudgetThatIsNotUnderstoodYetAllowsNothing() async throws {
        let cluster = try await cluster()
        try await budget(cluster, allowed: 1, observed: 0)
        let answer = try await evict(cluster, "p0")
        #expect(answer.code == 429 && answer.headers["Retry-After"] == "10")
        #expect(
            answer.json["details"]["causes"][0]["message"]
                == "The disruption budget b is still being processed by the server.")
    }

    @Test func twoBudgetsAreOneTooMany() async throws {
        let cluster = try await cluster()
        try await budget(cluster, allowed: 1)
        try await budget(cluster, "c", allowed: 1)
        let answer = try await evict(cluster, "p0")
        #expect(answer.code == 500 && answer.message.contains("more than one PodDisruptionBudget"))
    }
}
