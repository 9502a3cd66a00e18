import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

@Suite struct ReplicaSetTests {
    func bench() async throws -> ControllerBench {
        try await ControllerBench { client, clock in [ReplicaSetController(client: client, clock: clock)] }
    }

    @Test func podsAreMadeAndReplaced() async throws {
        let bench = try await bench()
        let set = try await bench.create(.replicaSets, Sample.workload("r", replicas: 3))
        try await bench.settle()
        var pods = try await bench.list(.pods)
        #expect(pods.count == 3)
        #expect(
            pods.allSatisfy { $0.controller?.uid == set.uid && $0.name.hasPrefix("r-") && $0.labels == ["app": "r"] })
        try await bench.setPod(pods[0].name, phase: "Failed", ready: false)
        try await bench.delete(.pods, pods[1].name, grace: 0)
        try await bench.settle()
        pods = try await bench.list(.pods)
        #expect(pods.filter(\.isActivePod).count == 3, "a failed and a deleted pod are replaced")
        let status = try await bench.get(.replicaSets, "r").status
        #expect(status["replicas"] == 3 && status["fullyLabeledReplicas"] == 3 && status["observedGeneration"] == 1)
    }

    @Test func podsCountAsAvailableAfterMinReadySeconds() async throws {
        let bench = try await bench()
        try await bench.create(.replicaSets, Sample.workload("r", replicas: 1, ["minReadySeconds": 30]))
        bench.runPods()
        try await bench.settle()
        var status = try await bench.get(.replicaSets, "r").status
        #expect(status["readyReplicas"] == 1 && status["availableReplicas"].isNull)
        try await bench.advance(.seconds(29))
        #expect(try await bench.get(.replicaSets, "r").status["availableReplicas"].isNull)
        try await bench.advance(.seconds(1))
        status = try await bench.get(.replicaSets, "r").status
        #expect(status["availableReplicas"] == 1)
    }

    @Test func terminatingPodsAreCountedApart() async throws {
        let bench = try await bench()
        try await bench.create(.replicaSets, Sample.workload("r", replicas: 2))
        try await bench.settle()
        for pod in try await bench.list(.pods) { try await bench.setPod(pod.name) }
        try await bench.patch(.replicaSets, "r", ["spec": ["replicas": 1]])
        try await bench.settle()
        let status = try await bench.get(.replicaSets, "r").status
        #expect(status["replicas"] == 1 && status["terminatingReplicas"] == 1)
    }

    // MARK: - Ownership

    @Test func matchingOrphansAreAdoptedAndCounted() async throws {
        let bench = try await bench()
        try await bench.create(.pods, Sample.pod("loose", labels: ["app": "r"]))
        try await bench.create(.pods, Sample.pod("other", labels: ["app": "x"]))
        let set = try await bench.create(.replicaSets, Sample.workload("r", replicas: 2))
        try await bench.settle()
        #expect(try await bench.get(.pods, "loose").controller?.uid == set.uid)
        #expect(try await bench.get(.pods, "other").controller == nil)
        #expect(try await bench.list(.pods, ["app": "r"]).count == 2)
    }

    @Test func aPodThatNoLongerMatchesIsLetGoAndReplaced() async throws {
        let bench = try await bench()
        try await bench.create(.replicaSets, Sample.workload("r", replicas: 1))
        try await bench.settle()
        let pod = try #require(try await bench.list(.pods).first)
        try await bench.patch(.pods, pod.name, ["metadata": ["labels": ["app": "debug"]]])
        try await bench.settle()
        #expect(try await bench.get(.pods, pod.name).controller == nil)
        #expect(try await bench.list(.pods, ["app": "r"]).count == 1)
        // Labelled back it is taken back, and one too many goes.
        try await bench.patch(.pods, pod.name, ["metadata": ["labels": ["app": "r"]]])
        try await bench.settle()
        #expect(try await bench.list(.pods, ["app": "r"]).count == 1)
    }

    @Test func otherOwnersPodsAreLeftAlone() async throws {
        let bench = try await bench()
        var pod = Sample.pod("owned", labels: ["app": "r"])
        pod["metadata"]["ownerReferences"] = [
            ["apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "else", "uid": "u", "controller": true]
        ]
        try await bench.create(.pods, pod)
        try await bench.create(.replicaSets, Sample.workload("r", replicas: 1))
        try await bench.settle()
        #expect(try await bench.get(.pods, "owned").controller?.name == "else")
        #expect(try await bench.list(.pods).count == 2)
    }

    @Test func aSetThatIsGoingMakesNothing() async throws {
        let bench = try await bench()
        var set = Sample.workload("r", replicas: 2)
        set["metadata"]["finalizers"] = ["example.com/hold"]
        try await bench.create(.replicaSets, set)
        try await bench.delete(.replicaSets, "r")
        try await bench.create(.pods, Sample.pod("loose", labels: ["app": "r"]))
        try await bench.settle()
        #expect(try await bench.list(.pods).count == 1)
        #expect(try await bench.get(.pods, "loose").controller == nil)
    }

    // MARK: - Victims

    static let now = Timestamp(seconds: 1_800_000_000)

    static func pod(
        _ name: String, node: String = "n", phase: String = "Running", readyFor: Int64? = 1000, cost: String? = nil,
        restarts: Int64 = 0, age: Int64 = 5000
    ) -> KubeObject {
        var pod = KubeObject(Sample.pod(name))
        pod.metadata["uid"] = .string(name)
        pod.metadata["creationTimestamp"] = .string(now.advanced(by: .seconds(-age)).rfc3339)
        if let cost { pod.metadata["annotations"] = ["controller.kubernetes.io/pod-deletion-cost": .string(cost)] }
        if !node.isEmpty { pod.spec["nodeName"] = .string(node) }
        pod.status = ["phase": .string(phase), "containerStatuses": [["restartCount": .int(restarts)]]]
        if let readyFor {
            pod.status["conditions"] = [
                [
                    "type": "Ready", "status": "True",
                    "lastTransitionTime": .string(now.advanced(by: .seconds(-readyFor)).rfc3339),
                ]
            ]
        }
        return pod
    }

    struct Ranking: Sendable {
        var first: KubeObject
        var second: KubeObject
        var why: String
    }

    @Test(arguments: [
        Ranking(first: pod("b", node: ""), second: pod("a"), why: "not assigned before assigned"),
        Ranking(first: pod("b", phase: "Pending"), second: pod("a", phase: "Unknown"), why: "pending before unknown"),
        Ranking(first: pod("b", phase: "Unknown"), second: pod("a"), why: "unknown before running"),
        Ranking(first: pod("b", readyFor: nil), second: pod("a", cost: "-9"), why: "not ready before cheap"),
        Ranking(first: pod("b", cost: "-1"), second: pod("a"), why: "lower cost first"),
        Ranking(first: pod("b"), second: pod("a", cost: "10"), why: "higher cost later"),
        Ranking(first: pod("b", readyFor: 100), second: pod("a", readyFor: 1000), why: "shorter ready first"),
        Ranking(first: pod("a", readyFor: 700), second: pod("b", readyFor: 600), why: "same magnitude: by uid"),
        Ranking(first: pod("b", restarts: 3), second: pod("a", restarts: 1), why: "more restarts first"),
        Ranking(first: pod("b", age: 100), second: pod("a", age: 9000), why: "younger first"),
    ]) func theOneThatHurtsLessGoesFirst(_ ranking: Ranking) {
        for pods in [[ranking.first, ranking.second], [ranking.second, ranking.first]] {
            let victims = PodRanking.victims(pods, count: 1, related: pods, now: Self.now)
            #expect(victims.map(\.name) == [ranking.first.name], "\(ranking.why)")
        }
    }

    @Test func neighboursOfTheWholeDeploymentCount() {
        let mine = [Self.pod("a", node: "n1"), Self.pod("b", node: "n2")]
        let related = mine + [Self.pod("x", node: "n2"), Self.pod("y", node: "n2")]
        #expect(PodRanking.victims(mine, count: 1, related: mine, now: Self.now).map(\.name) == ["a"])
        #expect(PodRanking.victims(mine, count: 1, related: related, now: Self.now).map(\.name) == ["b"])
    }

    @Test func scalingDownAsksTheSiblingsOfItsDeployment() async throws {
        let bench = try await bench()
        var first = Sample.workload("r", replicas: 2)
        let owner: JSON = [
            ["apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "u", "controller": true]
        ]
        first["metadata"]["ownerReferences"] = owner
        var second = Sample.workload("s", replicas: 2)
        second["metadata"]["ownerReferences"] = owner
        try await bench.create(.replicaSets, first)
        try await bench.create(.replicaSets, second)
        try await bench.settle()
        let pods = try await bench.list(.pods, ["app": "r"])
        try await bench.setPod(pods[0].name, node: "n1")
        try await bench.setPod(pods[1].name, node: "n2")
        for pod in try await bench.list(.pods, ["app": "s"]) { try await bench.setPod(pod.name, node: "n2") }
        try await bench.patch(.replicaSets, "r", ["spec": ["replicas": 1]])
        try await bench.settle()
        let left = try await bench.list(.pods, ["app": "r"]).filter(\.isActivePod)
        #expect(left.map { $0.spec["nodeName"].string } == ["n1"])
    }
}
