import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

@Suite struct DisruptionTests {
    func bench() async throws -> ControllerBench {
        try await ControllerBench { client, clock in
            [
                DisruptionController(client: client, clock: clock), DeploymentController(client: client, clock: clock),
                ReplicaSetController(client: client, clock: clock),
            ]
        }
    }

    func budget(_ bench: ControllerBench, _ spec: JSON, app: String = "d") async throws {
        var spec = spec
        if spec["selector"].isNull { spec["selector"] = ["matchLabels": ["app": .string(app)]] }
        try await bench.create(.podDisruptionBudgets, ["metadata": ["name": "b"], "spec": spec])
    }

    func numbers(_ bench: ControllerBench) async throws -> [Int64] {
        let status = try await bench.get(.podDisruptionBudgets, "b").status
        return ["expectedPods", "desiredHealthy", "currentHealthy", "disruptionsAllowed"].map { status[$0].int(or: -1) }
    }

    struct Case: Sendable {
        var spec: JSON
        var ready: Int
        /// expected, desired, healthy, allowed
        var numbers: [Int64]
    }

    /// A deployment of ten, of which some are ready.
    @Test(arguments: [
        Case(spec: ["minAvailable": 8], ready: 10, numbers: [10, 8, 10, 2]),
        Case(spec: ["minAvailable": 8], ready: 8, numbers: [10, 8, 8, 0]),
        Case(spec: ["minAvailable": 8], ready: 5, numbers: [10, 8, 5, 0]),
        Case(spec: ["minAvailable": "75%"], ready: 10, numbers: [10, 8, 10, 2]),
        Case(spec: ["maxUnavailable": 1], ready: 10, numbers: [10, 9, 10, 1]),
        Case(spec: ["maxUnavailable": "25%"], ready: 10, numbers: [10, 7, 10, 3]),
        Case(spec: ["maxUnavailable": "100%"], ready: 4, numbers: [10, 0, 4, 4]),
    ]) func budgetsCount(_ test: Case) async throws {
        let bench = try await bench()
        try await bench.create(.deployments, Sample.workload("d", replicas: 10))
        try await bench.settle()
        for pod in try await bench.list(.pods).prefix(test.ready) { try await bench.setPod(pod.name) }
        try await budget(bench, test.spec)
        try await bench.settle()
        #expect(try await numbers(bench) == test.numbers)
        let condition = try await bench.get(.podDisruptionBudgets, "b").condition("DisruptionAllowed")
        #expect(condition["reason"].string == (test.numbers[3] > 0 ? "SufficientPods" : "InsufficientPods"))
        #expect(condition["observedGeneration"] == 1)
    }

    @Test func aRolloutsOldAndNewSetsCountOnce() async throws {
        let bench = try await bench()
        try await bench.create(.deployments, Sample.workload("d", replicas: 4))
        bench.runPods { $0.spec["containers"][0]["image"] == "busybox" }
        try await bench.settle()
        try await bench.patch(.deployments, "d", ["spec": ["template": Sample.template("d", image: "broken")]])
        try await budget(bench, ["maxUnavailable": 2])
        try await bench.settle()
        #expect(try await numbers(bench)[0] == 4)
        #expect(try await bench.list(.pods).count > 4)
    }

    @Test func numbersFollowThePods() async throws {
        let bench = try await bench()
        try await bench.create(.deployments, Sample.workload("d", replicas: 3))
        bench.runPods()
        try await budget(bench, ["minAvailable": 2])
        try await bench.settle()
        #expect(try await numbers(bench) == [3, 2, 3, 1])
        bench.afterRound = nil
        try await bench.setPod(try #require(try await bench.list(.pods).first).name, ready: false)
        try await bench.settle()
        #expect(try await numbers(bench) == [3, 2, 2, 0])
        try await bench.delete(.pods, try #require(try await bench.list(.pods).last).name)
        try await bench.settle()
        #expect(try await numbers(bench)[2] == 1, "a pod that is going is not healthy")
    }

    @Test func podsOfNobodyCannotBeCountedInPercent() async throws {
        let bench = try await bench()
        try await bench.create(.pods, Sample.pod("bare", labels: ["app": "d"]))
        try await bench.setPod("bare")
        try await budget(bench, ["minAvailable": "50%"])
        try await bench.settle()
        #expect(try await numbers(bench) == [0, 0, 1, 0])
        #expect(try await bench.events("b").contains { $0.hasPrefix("UnmanagedPods ") })
        try await bench.patch(.podDisruptionBudgets, "b", ["spec": ["minAvailable": 0]])
        try await bench.settle()
        #expect(try await numbers(bench) == [1, 0, 1, 1])
    }

    @Test func whatCannotBeCountedIsNotAllowed() async throws {
        let bench = try await bench()
        var pod = Sample.pod("p", labels: ["app": "d"])
        pod["metadata"]["ownerReferences"] = [
            ["apiVersion": "apps/v1", "kind": "DaemonSet", "name": "x", "uid": "u", "controller": true]
        ]
        try await bench.create(.pods, pod)
        try await bench.setPod("p")
        try await budget(bench, ["maxUnavailable": 1])
        try await bench.settle()
        #expect(try await numbers(bench)[3] == 0)
        let condition = try await bench.get(.podDisruptionBudgets, "b").condition("DisruptionAllowed")
        #expect(condition["reason"] == "SyncFailed")
        #expect(condition["message"] == "daemonsets.apps does not implement the scale subresource")
    }

    @Test func anEvictedPodIsNotHealthyUntilItIsGoneOrForgotten() async throws {
        let bench = try await bench()
        try await bench.create(.deployments, Sample.workload("d", replicas: 3))
        bench.runPods()
        try await budget(bench, ["minAvailable": 1])
        try await bench.settle()
        let name = try #require(try await bench.list(.pods).first).name
        var budget = try await bench.get(.podDisruptionBudgets, "b")
        budget.status["disruptedPods"][name] = .string(bench.clock.now().rfc3339)
        budget.status["disruptionsAllowed"] = 1
        _ = try await bench.client.updateStatus(.podDisruptionBudgets, budget)
        try await bench.settle()
        #expect(try await numbers(bench) == [3, 1, 2, 1])
        try await bench.advance(.seconds(121))
        #expect(try await numbers(bench) == [3, 1, 3, 2])
        #expect(try await bench.get(.podDisruptionBudgets, "b").status["disruptedPods"].isNull)
    }

    @Test func withoutBudgetsPodsWakeNobody() async throws {
        let client = try await Cluster()
        let controller = DisruptionController(client: client.client, clock: client.clock)
        let pods = try #require(controller.sources.first { $0.resource == .pods })
        #expect(pods.keys(client.pod("a"), .added) == [])
    }
}
