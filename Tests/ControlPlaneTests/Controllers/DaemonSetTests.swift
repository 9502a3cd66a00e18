import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

@Suite struct DaemonSetTests {
    func bench(nodes: [String] = ["n1", "n2", "n3"]) async throws -> ControllerBench {
        let bench = try await ControllerBench { client, clock in [DaemonSetController(client: client, clock: clock)] }
        for node in nodes { try await bench.create(.nodes, Sample.node(node)) }
        return bench
    }

    static func set(_ extra: JSON = [:], update: JSON = nil) -> JSON {
        var json = Sample.workload("d", replicas: 0, extra)
        json["spec"]["replicas"] = .null
        if !update.isNull { json["spec"]["updateStrategy"] = update }
        return json
    }

    func places(_ bench: ControllerBench) async throws -> [String] {
        try await bench.list(.pods).filter { !$0.isBeingDeleted }.map(DaemonPlan.targetNode).sorted()
    }

    func images(_ bench: ControllerBench) async throws -> [String: Int] {
        var images: [String: Int] = [:]
        for pod in try await bench.list(.pods) {
            images[pod.spec["containers"][0]["image"].string ?? "", default: 0] += 1
        }
        return images
    }

    @Test func everyNodeThatFitsHasOnePod() async throws {
        let bench = try await bench()
        try await bench.patch(.nodes, "n2", ["metadata": ["labels": ["gpu": "no"]]])
        var set = Self.set()
        set["spec"]["template"]["spec"]["affinity"] = [
            "nodeAffinity": [
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    "nodeSelectorTerms": [["matchExpressions": [["key": "gpu", "operator": "DoesNotExist"]]]]
                ]
            ]
        ]
        try await bench.create(.daemonSets, set)
        try await bench.settle()
        #expect(try await places(bench) == ["n1", "n3"])
        try await bench.patch(.nodes, "n2", ["metadata": ["labels": ["gpu": nil]]])
        try await bench.patch(.nodes, "n1", ["metadata": ["labels": ["gpu": "yes"]]])
        try await bench.settle()
        #expect(try await places(bench) == ["n2", "n3"], "pods follow the labels")
        try await bench.create(.nodes, Sample.node("n4"))
        try await bench.delete(.nodes, "n3")
        try await bench.settle()
        #expect(try await places(bench) == ["n2", "n4"])
        let pod = try #require(try await bench.list(.pods).first)
        #expect(pod.name.hasPrefix("d-") && pod.controller?.kind == "DaemonSet")
        #expect((pod.spec["nodeName"].string ?? "").isEmpty, "the scheduler binds it")
    }

    @Test func daemonsStayInTroubleButNotEverywhere() async throws {
        let bench = try await bench()
        func taint(_ node: String, _ key: String, _ effect: String) async throws {
            try await bench.patch(
                .nodes, node, ["spec": ["taints": [["key": .string(key), "effect": .string(effect)]]]])
        }
        try await taint("n1", "node.kubernetes.io/not-ready", "NoExecute")
        try await taint("n2", "node.kubernetes.io/unschedulable", "NoSchedule")
        try await taint("n3", "mine", "NoSchedule")
        try await bench.create(.daemonSets, Self.set())
        bench.runPods()
        try await bench.settle()
        #expect(try await places(bench) == ["n1", "n2"])
        // Who runs already may stay where nothing new would be put, but not where it is sent away.
        try await taint("n1", "mine", "NoSchedule")
        try await taint("n2", "mine", "NoExecute")
        try await bench.settle()
        #expect(try await places(bench) == ["n1"])
        let status = try await bench.get(.daemonSets, "d").status
        #expect(status["desiredNumberScheduled"] == 0 && status["numberMisscheduled"] == 1)
    }

    @Test func aHeartbeatWakesNobody() async throws {
        let bench = try await bench()
        try await bench.create(.daemonSets, Self.set())
        try await bench.settle()
        let before = bench.reconciliations
        var node = try await bench.get(.nodes, "n1")
        node.status["conditions"] = [["type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:10Z"]]
        _ = try await bench.client.updateStatus(.nodes, node)
        try await bench.settle()
        #expect(bench.reconciliations == before)
    }

    @Test func statusCountsNodes() async throws {
        let bench = try await bench()
        try await bench.create(.daemonSets, Self.set(["minReadySeconds": 10]))
        bench.runPods { DaemonPlan.targetNode(of: $0) != "n3" }
        try await bench.settle()
        var status = try await bench.get(.daemonSets, "d").status
        #expect(status["desiredNumberScheduled"] == 3 && status["currentNumberScheduled"] == 3)
        #expect(status["numberReady"] == 2 && status["numberAvailable"].isNull && status["numberUnavailable"] == 3)
        #expect(status["updatedNumberScheduled"] == 3 && status["observedGeneration"] == 1)
        try await bench.advance(.seconds(10))
        status = try await bench.get(.daemonSets, "d").status
        #expect(status["numberAvailable"] == 2 && status["numberUnavailable"] == 1)
    }

    // MARK: - Updates

    @Test func aRollingUpdateTakesSoManyNodesAtATime() async throws {
        let bench = try await bench(nodes: (1...6).map { "n\($0)" })
        try await bench.create(
            .daemonSets, Self.set(update: ["type": "RollingUpdate", "rollingUpdate": ["maxUnavailable": "30%"]]))
        bench.runPods()
        try await bench.settle()
        var fewest = Int.max
        let run = bench.afterRound
        bench.afterRound = { bench in
            fewest = min(fewest, try await bench.list(.pods).filter { $0.isActivePod && $0.isReadyPod }.count)
            try await run?(bench)
        }
        try await bench.patch(.daemonSets, "d", ["spec": ["template": Sample.template("d", image: "two")]])
        try await bench.settle()
        #expect(try await images(bench) == ["two": 6])
        #expect(fewest == 4, "30% of 6, rounded up")
    }

    @Test func aBrokenTemplateStopsAfterTheFirstNode() async throws {
        let bench = try await bench()
        try await bench.create(.daemonSets, Self.set())
        bench.runPods { $0.spec["containers"][0]["image"] == "busybox" }
        try await bench.settle()
        try await bench.patch(.daemonSets, "d", ["spec": ["template": Sample.template("d", image: "broken")]])
        try await bench.settle()
        #expect(try await images(bench) == ["busybox": 2, "broken": 1])
        // Back: the broken one goes although it is not available.
        try await bench.patch(.daemonSets, "d", ["spec": ["template": Sample.template("d")]])
        try await bench.settle()
        #expect(try await images(bench) == ["busybox": 3])
    }

    @Test func surgingStartsTheNewOneFirst() async throws {
        let bench = try await bench()
        try await bench.create(
            .daemonSets,
            Self.set(
                update: ["type": "RollingUpdate", "rollingUpdate": ["maxSurge": 1, "maxUnavailable": 0]]))
        bench.runPods()
        try await bench.settle()
        var fewest = Int.max
        var most = 0
        let run = bench.afterRound
        bench.afterRound = { bench in
            let pods = try await bench.list(.pods).filter(\.isActivePod)
            fewest = min(fewest, pods.filter(\.isReadyPod).count)
            most = max(most, pods.count)
            try await run?(bench)
        }
        try await bench.patch(.daemonSets, "d", ["spec": ["template": Sample.template("d", image: "two")]])
        try await bench.settle()
        #expect(try await images(bench) == ["two": 3])
        #expect(fewest == 3 && most == 4)
    }

    @Test func onDeleteWaitsForTheDeletion() async throws {
        let bench = try await bench()
        try await bench.create(.daemonSets, Self.set(update: ["type": "OnDelete"]))
        bench.runPods()
        try await bench.settle()
        try await bench.patch(.daemonSets, "d", ["spec": ["template": Sample.template("d", image: "two")]])
        try await bench.settle()
        #expect(try await images(bench) == ["busybox": 3])
        try await bench.delete(.pods, try #require(try await bench.list(.pods).first).name)
        try await bench.settle()
        #expect(try await images(bench) == ["busybox": 2, "two": 1])
        #expect(try await bench.get(.daemonSets, "d").status["updatedNumberScheduled"] == 1)
    }

    @Test func aRevisionThatIsDeletedIsMadeAgain() async throws {
        let bench = try await bench()
        try await bench.create(.daemonSets, Self.set())
        try await bench.settle()
        let first = try #require(try await bench.list(.controllerRevisions).first)
        try await bench.delete(.controllerRevisions, first.name)
        try await bench.settle()
        let again = try await bench.list(.controllerRevisions)
        #expect(again.map(\.name) == [first.name] && again.first?.uid != first.uid)
    }

    @Test func revisionsRememberTemplates() async throws {
        let bench = try await bench()
        try await bench.create(.daemonSets, Self.set(["revisionHistoryLimit": 1]))
        bench.runPods()
        try await bench.settle()
        for image in ["two", "three", "busybox"] {
            try await bench.patch(.daemonSets, "d", ["spec": ["template": Sample.template("d", image: image)]])
            try await bench.settle()
        }
        let revisions = try await bench.list(.controllerRevisions)
        let images = revisions.sorted { $0["revision"].int(or: 0) < $1["revision"].int(or: 0) }
            .map { $0["data"]["spec"]["template"]["spec"]["containers"][0]["image"].string ?? "" }
        #expect(images == ["three", "busybox"], "one old one is kept")
        #expect(revisions.map { $0["revision"].int(or: 0) }.max() == 4)
        #expect(revisions[0]["data"]["spec"]["template"]["$patch"] == "replace")
        let hash = try #require(revisions.last?.labels[RevisionHistory.hashLabel])
        #expect(revisions.last?.name == "d-" + hash)
    }

    @Test func goingBackUsesTheOldRevisionUnderANewNumber() async throws {
        let bench = try await bench()
        try await bench.create(.daemonSets, Self.set())
        try await bench.settle()
        for image in ["two", "busybox"] {
            try await bench.patch(.daemonSets, "d", ["spec": ["template": Sample.template("d", image: image)]])
            try await bench.settle()
        }
        let revisions = try await bench.list(.controllerRevisions)
        #expect(revisions.count == 2)
        #expect(revisions.map { $0["revision"].int(or: 0) }.sorted() == [2, 3])
    }

    // MARK: - Ended pods

    @Test func aFailedDaemonIsReplacedMoreAndMoreSlowly() async throws {
        let bench = try await bench(nodes: ["n1"])
        try await bench.create(.daemonSets, Self.set())
        bench.afterRound = { bench in
            for pod in try await bench.list(.pods) {
                if pod.isBeingDeleted {
                    try await bench.delete(.pods, pod.name, grace: 0)
                } else if pod.podPhase == "Pending" {
                    try await bench.setPod(pod.name, phase: "Failed", ready: false, reason: "Evicted")
                }
            }
        }
        try await bench.settle()
        var names: Set<String> = []
        for _ in 0..<60 {
            try await bench.advance(.seconds(1))
            for pod in try await bench.list(.pods) { names.insert(pod.name) }
        }
        // At once, then after 1, 3, 7, 15, 31 s.
        #expect((5...8).contains(names.count), "\(names.count) attempts in a minute")
        #expect(
            try await bench.events("d").contains { $0.hasPrefix("FailedDaemonPod Found failed daemon pod default/d-") })
    }

    @Test func orphansAreAdoptedAndDoublesGo() async throws {
        let bench = try await bench(nodes: ["n1"])
        var pod = Sample.pod("loose", labels: ["app": "d"])
        pod["spec"]["nodeName"] = "n1"
        try await bench.create(.pods, pod)
        let set = try await bench.create(.daemonSets, Self.set(update: ["type": "OnDelete"]))
        try await bench.settle()
        #expect(try await bench.list(.pods).map(\.name) == ["loose"])
        #expect(try await bench.get(.pods, "loose").controller?.uid == set.uid)
        pod["metadata"]["name"] = "double"
        try await bench.create(.pods, pod)
        bench.runPods()
        try await bench.settle()
        #expect(try await bench.list(.pods).count == 1)
    }
}
