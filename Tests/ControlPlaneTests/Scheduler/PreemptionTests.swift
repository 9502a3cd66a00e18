import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

@Suite struct PreemptionTests {
    func bench(_ nodes: [String]) async throws -> ControllerBench {
        let bench = try await ControllerBench { client, clock in [Scheduler(client: client, clock: clock)] }
        for (name, value) in [("low", 10), ("middle", 50), ("high", 1000)] as [(String, Int64)] {
            try await bench.create(
                GroupVersionResource("scheduling.k8s.io", "v1", "priorityclasses"),
                ["metadata": ["name": .string(name)], "value": .int(value)])
        }
        for name in nodes {
            try await bench.create(.nodes, Sample.node(name))
            var node = try await bench.get(.nodes, name)
            node.status = Sample.node(name, cpu: "2")["status"]
            _ = try await bench.client.updateStatus(.nodes, node)
        }
        return bench
    }

    @discardableResult
    func pod(
        _ bench: ControllerBench, _ name: String, cpu: String, priority: String? = nil, app: String = "x",
        _ extra: JSON = [:]
    ) async throws -> KubeObject {
        var spec: JSON = [
            "containers": [["name": "main", "image": "i", "resources": ["requests": ["cpu": .string(cpu)]]]]
        ]
        if let priority { spec["priorityClassName"] = .string(priority) }
        for (key, value) in extra.object?.members ?? [] { spec[key] = value }
        let made = try await bench.create(
            .pods, ["metadata": ["name": .string(name), "labels": ["app": .string(app)]], "spec": spec])
        try await bench.settle()
        return made
    }
    func place(_ bench: ControllerBench, _ name: String) async throws -> String {
        try await bench.get(.pods, name).spec["nodeName"].string ?? ""
    }
    /// Names of pods that are asked to go.
    func leaving(_ bench: ControllerBench) async throws -> [String] {
        try await bench.list(.pods).filter(\.isBeingDeleted).map(\.name)
    }
    /// The kubelet has ended them.
    func end(_ bench: ControllerBench, _ names: [String]) async throws {
        for name in names { try await bench.delete(.pods, name, grace: 0) }
        try await bench.settle()
    }

    @Test func theImportantPodGetsTheRoomAndTheOtherIsToldWhy() async throws {
        let bench = try await bench(["n1"])
        try await pod(bench, "low", cpu: "1500m", priority: "low")
        let high = try await pod(bench, "high", cpu: "1", priority: "high")
        #expect(try await leaving(bench) == ["low"])
        let victim = try await bench.get(.pods, "low")
        let condition = victim.condition("DisruptionTarget")
        #expect(condition["status"] == "True" && condition["reason"] == "PreemptionByScheduler")
        #expect(
            condition["message"] == "default-scheduler: preempting to accommodate a higher priority pod")
        #expect(victim.metadata["deletionGracePeriodSeconds"] == 30, "it ends gracefully")
        #expect(try await bench.events("low").contains("Preempted Preempted by pod \(high.uid) on node n1"))
        let waiting = try await bench.get(.pods, "high")
        #expect(waiting.status["nominatedNodeName"] == "n1")
        #expect(waiting.condition("PodScheduled")["message"] == "0/1 nodes are available: 1 Insufficient cpu.")
        // Meanwhile nobody of less importance takes the room that will be free, and nobody else has to go.
        try await pod(bench, "middle", cpu: "600m", priority: "middle")
        #expect(try await place(bench, "middle") == "")
        try await end(bench, ["low"])
        #expect(try await place(bench, "high") == "n1")
        #expect(try await place(bench, "middle") == "n1", "there is room for both")
    }

    @Test func roomThatBecomesFreeIsKeptForTheNominated() async throws {
        let bench = try await bench(["n1"])
        try await pod(bench, "low", cpu: "2", priority: "low")
        try await pod(bench, "high", cpu: "2", priority: "high")
        try await pod(bench, "middle", cpu: "1", priority: "middle")
        try await end(bench, ["low"])
        #expect(try await place(bench, "high") == "n1")
        #expect(try await place(bench, "middle") == "")
    }

    @Test func theLeastImportantVictimsAreChosenAndNoMoreThanNeeded() async throws {
        let bench = try await bench(["n1", "n2"])
        try await pod(bench, "a", cpu: "2", priority: "middle", ["nodeSelector": ["kubernetes.io/hostname": "n1"]])
        let onTwo: JSON = ["nodeSelector": ["kubernetes.io/hostname": "n2"]]
        try await pod(bench, "b", cpu: "1", priority: "low", onTwo)
        bench.clock.advance(by: .seconds(60))
        try await pod(bench, "c", cpu: "1", priority: "low", onTwo)
        try await pod(bench, "high", cpu: "1", priority: "high")
        #expect(try await leaving(bench) == ["c"], "the younger of two equals, on the node of lesser ones")
        #expect(try await bench.get(.pods, "high").status["nominatedNodeName"] == "n2")
    }

    @Test func budgetsAreKeptWhereThereIsAChoice() async throws {
        let bench = try await bench(["n1", "n2"])
        for (name, app, node) in [("a", "guarded", "n1"), ("b", "free", "n2")] {
            try await pod(
                bench, name, cpu: "2", priority: name == "a" ? "low" : "middle", app: app,
                ["nodeSelector": ["kubernetes.io/hostname": .string(node)]])
        }
        let budget = try await bench.create(
            .podDisruptionBudgets,
            [
                "metadata": ["name": "guard"],
                "spec": ["minAvailable": 1, "selector": ["matchLabels": ["app": "guarded"]]],
            ])
        var stored = budget
        stored.status = ["disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1]
        _ = try await bench.client.updateStatus(.podDisruptionBudgets, stored)
        try await pod(bench, "high", cpu: "1", priority: "high")
        #expect(try await leaving(bench) == ["b"], "rather a more important pod than a broken budget")
        // Where there is no choice, budgets do not hold it up.
        try await pod(bench, "second", cpu: "2", priority: "high")
        #expect(try await leaving(bench) == ["a", "b"])
    }

    @Test func ofThoseWhoWaitTheMoreImportantIsWokenFirst() async throws {
        let bench = try await bench(["n1"])
        try await bench.create(
            GroupVersionResource("scheduling.k8s.io", "v1", "priorityclasses"),
            ["metadata": ["name": "top"], "value": 5000])
        try await pod(bench, "first", cpu: "2", priority: "top")
        try await pod(bench, "a-low", cpu: "2", priority: "low")
        try await pod(bench, "b-high", cpu: "2", priority: "high")
        try await end(bench, ["first"])
        #expect(try await place(bench, "b-high") == "n1")
        #expect(try await place(bench, "a-low") == "")
    }

    @Test func onlyWhatMayHelpWakesAPod() async throws {
        let bench = try await bench(["n1"])
        try await pod(bench, "other", cpu: "1")
        try await pod(bench, "picky", cpu: "1", ["nodeSelector": ["disk": "ssd"]])
        let before = bench.reconciliations
        try await bench.setPod("other", phase: "Succeeded", ready: false)
        try await bench.settle()
        #expect(bench.reconciliations == before, "room is not what it lacks")
        try await bench.patch(.nodes, "n1", ["metadata": ["labels": ["disk": "ssd"]]])
        try await bench.settle()
        #expect(try await place(bench, "picky") == "n1")
    }

    @Test func whoNeverPreemptsWaits() async throws {
        let bench = try await bench(["n1"])
        try await bench.create(
            GroupVersionResource("scheduling.k8s.io", "v1", "priorityclasses"),
            ["metadata": ["name": "patient"], "value": 2000, "preemptionPolicy": "Never"])
        try await pod(bench, "low", cpu: "2", priority: "low")
        try await pod(bench, "p", cpu: "1", priority: "patient")
        #expect(try await leaving(bench).isEmpty)
        #expect(
            try await bench.get(.pods, "p").condition("PodScheduled")["message"]
                == "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never."
        )
    }

    @Test func equalsAreNotDisplaced() async throws {
        let bench = try await bench(["n1"])
        try await pod(bench, "a", cpu: "2", priority: "middle")
        try await pod(bench, "b", cpu: "1", priority: "middle")
        #expect(try await leaving(bench).isEmpty)
        #expect(
            try await bench.get(.pods, "b").condition("PodScheduled")["message"].string?.contains(
                "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.") == true)
    }

    @Test func podsThatKeepOthersAwayAreDisplacedToo() async throws {
        let bench = try await bench(["n1"])
        let apart = SchedulerPlacementTests.affinity("podAntiAffinity", app: "y")
        try await pod(bench, "a", cpu: "100m", priority: "low", apart)
        try await pod(bench, "other", cpu: "100m", priority: "low", app: "z")
        try await pod(bench, "b", cpu: "100m", priority: "high", app: "y")
        #expect(try await leaving(bench) == ["a"])
        try await end(bench, ["a"])
        #expect(try await place(bench, "b") == "n1")
    }

    @Test func aSecondAttemptWaitsForVictimsOfTheFirst() async throws {
        let bench = try await bench(["n1"])
        try await pod(bench, "a", cpu: "1", priority: "low")
        try await pod(bench, "b", cpu: "1", priority: "low")
        try await pod(bench, "high", cpu: "1", priority: "high")
        #expect(try await leaving(bench).count == 1)
        try await bench.advance(.seconds(301))
        #expect(try await leaving(bench).count == 1, "looked at again, but nobody else has to go")
    }

    @Test func nominationsOutliveTheProcess() async throws {
        let bench = try await bench(["n1"])
        try await pod(bench, "low", cpu: "2", priority: "low")
        try await pod(bench, "high", cpu: "2", priority: "high")
        let middle = try await bench.create(
            .pods,
            [
                "metadata": ["name": "middle"],
                "spec": [
                    "priorityClassName": "middle", "schedulerName": "later",
                    "containers": [["name": "c", "image": "i", "resources": ["requests": ["cpu": "1"]]]],
                ],
            ])
        try await bench.delete(.pods, "low", grace: 0)
        var profile = SchedulerProfile()
        profile.name = "later"
        let second = Scheduler(client: bench.client, clock: bench.clock, profiles: [SchedulerProfile(), profile])
        for source in second.sources where source.resource == .nodes || source.resource == .pods {
            for object in try await bench.list(source.resource) { _ = source.keys(object, .added) }
        }
        #expect(try await second.reconcile(middle.key) != nil, "the room is high's")
        #expect(try await place(bench, "middle") == "")
    }
}
