import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

@Suite struct StatefulSetTests {
    func bench() async throws -> ControllerBench {
        try await ControllerBench { client, clock in [StatefulSetController(client: client, clock: clock)] }
    }

    static func set(_ replicas: Int64, _ extra: JSON = [:]) -> JSON {
        var json = Sample.workload("web", replicas: replicas, extra)
        json["spec"]["serviceName"] = "web"
        return json
    }
    static let claims: JSON = [
        "volumeClaimTemplates": [
            [
                "metadata": ["name": "data", "labels": ["tier": "db"]],
                "spec": ["accessModes": ["ReadWriteOnce"], "resources": ["requests": ["storage": "1Gi"]]],
            ]
        ]
    ]

    func names(_ bench: ControllerBench) async throws -> [String] {
        try await bench.list(.pods).filter { !$0.isBeingDeleted }.map(\.name)
    }
    /// "name image"
    func images(_ bench: ControllerBench) async throws -> [String] {
        try await bench.list(.pods).map { "\($0.name) \($0.spec["containers"][0]["image"].string ?? "")" }
    }
    func roll(_ bench: ControllerBench, _ image: String) async throws {
        try await bench.patch(.statefulSets, "web", ["spec": ["template": Sample.template("web", image: image)]])
    }

    @Test func podsComeOneAfterTheOther() async throws {
        let bench = try await bench()
        try await bench.create(.statefulSets, Self.set(3))
        try await bench.settle()
        #expect(try await names(bench) == ["web-0"])
        try await bench.setPod("web-0", ready: false)
        try await bench.settle()
        #expect(try await names(bench) == ["web-0"], "running is not ready")
        try await bench.setPod("web-0")
        try await bench.settle()
        #expect(try await names(bench) == ["web-0", "web-1"])
        bench.runPods()
        try await bench.settle()
        #expect(try await names(bench) == ["web-0", "web-1", "web-2"])
        let status = try await bench.get(.statefulSets, "web").status
        #expect(status["replicas"] == 3 && status["readyReplicas"] == 3 && status["availableReplicas"] == 3)
        #expect(status["currentReplicas"] == 3 && status["updatedReplicas"] == 3)
        #expect(status["currentRevision"] == status["updateRevision"])
    }

    @Test func parallelPodsComeAllAtOnce() async throws {
        let bench = try await bench()
        try await bench.create(.statefulSets, Self.set(3, ["podManagementPolicy": "Parallel"]))
        try await bench.settle()
        #expect(try await names(bench) == ["web-0", "web-1", "web-2"])
        try await bench.patch(.statefulSets, "web", ["spec": ["replicas": 1]])
        try await bench.settle()
        #expect(try await names(bench) == ["web-0"])
    }

    @Test func podsKnowWhoTheyAre() async throws {
        let bench = try await bench()
        try await bench.create(.statefulSets, Self.set(1, ["ordinals": ["start": 5]]))
        try await bench.settle()
        let pod = try await bench.get(.pods, "web-5")
        #expect(pod.spec["hostname"] == "web-5" && pod.spec["subdomain"] == "web")
        #expect(pod.labels["statefulset.kubernetes.io/pod-name"] == "web-5")
        #expect(pod.labels["apps.kubernetes.io/pod-index"] == "5")
        #expect(
            pod.labels["controller-revision-hash"]
                == (try await bench.get(.statefulSets, "web").status["updateRevision"].string))
    }

    @Test func scalingDownGoesFromTheTopOneByOne() async throws {
        let bench = try await bench()
        try await bench.create(.statefulSets, Self.set(4))
        bench.runPods()
        try await bench.settle()
        bench.afterRound = nil
        try await bench.patch(.statefulSets, "web", ["spec": ["replicas": 2]])
        try await bench.settle()
        #expect(try await names(bench) == ["web-0", "web-1", "web-2"], "web-3 is still going")
        try await bench.delete(.pods, "web-3", grace: 0)
        // A sick one below holds the next step.
        try await bench.setPod("web-0", ready: false)
        try await bench.settle()
        #expect(try await names(bench) == ["web-0", "web-1", "web-2"])
        try await bench.setPod("web-0")
        try await bench.settle()
        #expect(try await names(bench) == ["web-0", "web-1"])
    }

    @Test func aFailedPodIsMadeAnewUnderItsName() async throws {
        let bench = try await bench()
        try await bench.create(.statefulSets, Self.set(2))
        bench.runPods()
        try await bench.settle()
        let old = try await bench.get(.pods, "web-0").uid
        try await bench.setPod("web-0", phase: "Failed", ready: false)
        try await bench.settle()
        let new = try await bench.get(.pods, "web-0")
        #expect(new.uid != old && new.podPhase == "Running")
        #expect(
            try await bench.events("web").contains(
                "RecreatingFailedPod StatefulSet default/web is recreating failed Pod web-0"))
    }

    @Test func minReadySecondsSlowTheRollOut() async throws {
        let bench = try await bench()
        try await bench.create(.statefulSets, Self.set(2, ["minReadySeconds": 10]))
        bench.runPods()
        try await bench.settle()
        #expect(try await names(bench) == ["web-0"])
        try await bench.advance(.seconds(9))
        #expect(try await names(bench) == ["web-0"])
        try await bench.advance(.seconds(1))
        #expect(try await names(bench) == ["web-0", "web-1"])
    }

    // MARK: - Updates

    @Test func updatesGoFromTheTopAndWaitForEachPod() async throws {
        let bench = try await bench()
        try await bench.create(.statefulSets, Self.set(3))
        bench.runPods { $0.spec["containers"][0]["image"] != "broken" }
        try await bench.settle()
        try await roll(bench, "two")
        try await bench.settle()
        #expect(try await images(bench) == ["web-0 two", "web-1 two", "web-2 two"])
        var status = try await bench.get(.statefulSets, "web").status
        #expect(status["currentRevision"] == status["updateRevision"])
        try await roll(bench, "broken")
        try await bench.settle()
        #expect(try await images(bench) == ["web-0 two", "web-1 two", "web-2 broken"])
        status = try await bench.get(.statefulSets, "web").status
        #expect(status["currentRevision"] != status["updateRevision"])
        #expect(status["updatedReplicas"] == 1 && status["currentReplicas"] == 2)
    }

    @Test func thePartitionKeepsTheLowerOnes() async throws {
        let bench = try await bench()
        try await bench.create(
            .statefulSets,
            Self.set(3, ["updateStrategy": ["type": "RollingUpdate", "rollingUpdate": ["partition": 2]]]))
        bench.runPods()
        try await bench.settle()
        try await roll(bench, "two")
        try await bench.settle()
        #expect(try await images(bench) == ["web-0 busybox", "web-1 busybox", "web-2 two"])
        // A pod below the partition that is lost comes back as it was.
        try await bench.delete(.pods, "web-1", grace: 0)
        try await bench.delete(.pods, "web-2", grace: 0)
        try await bench.settle()
        #expect(try await images(bench) == ["web-0 busybox", "web-1 busybox", "web-2 two"])
        try await bench.patch(
            .statefulSets, "web", ["spec": ["updateStrategy": ["rollingUpdate": ["partition": 0]]]])
        try await bench.settle()
        #expect(try await images(bench) == ["web-0 two", "web-1 two", "web-2 two"])
    }

    @Test func onDeleteUpdatesWhatIsDeleted() async throws {
        let bench = try await bench()
        try await bench.create(.statefulSets, Self.set(2, ["updateStrategy": ["type": "OnDelete"]]))
        bench.runPods()
        try await bench.settle()
        try await roll(bench, "two")
        try await bench.settle()
        #expect(try await images(bench) == ["web-0 busybox", "web-1 busybox"])
        try await bench.delete(.pods, "web-0", grace: 0)
        try await bench.settle()
        #expect(try await images(bench) == ["web-0 two", "web-1 busybox"])
    }

    @Test func severalMayBeReplacedAtATime() async throws {
        let bench = try await bench()
        try await bench.create(
            .statefulSets,
            Self.set(
                5,
                [
                    "podManagementPolicy": "Parallel",
                    "updateStrategy": ["type": "RollingUpdate", "rollingUpdate": ["maxUnavailable": 2]],
                ]))
        bench.runPods()
        try await bench.settle()
        bench.afterRound = nil
        try await roll(bench, "two")
        try await bench.settle()
        #expect(try await names(bench) == ["web-0", "web-1", "web-2"])
    }

    @Test func aRevisionThatSomebodyDeletesIsMadeAgain() async throws {
        let bench = try await bench()
        try await bench.create(.statefulSets, Self.set(0))
        try await bench.settle()
        let made = try await bench.list(.controllerRevisions)
        #expect(made.count == 1)
        try await bench.client.delete(
            .controllerRevisions, namespace: "default", name: made[0].name, options: DeleteOptions())
        try await bench.settle()
        let again = try await bench.list(.controllerRevisions)
        #expect(again.map(\.name) == made.map(\.name) && again.first?.uid != made[0].uid)
    }

    @Test func goingBackUsesTheOldRevision() async throws {
        let bench = try await bench()
        try await bench.create(.statefulSets, Self.set(1))
        bench.runPods()
        try await bench.settle()
        let first = try await bench.get(.statefulSets, "web").status["currentRevision"]
        try await roll(bench, "two")
        try await bench.settle()
        try await roll(bench, "busybox")
        try await bench.settle()
        #expect(try await bench.get(.statefulSets, "web").status["currentRevision"] == first)
        #expect(try await bench.list(.controllerRevisions).count == 2)
        #expect(try await images(bench) == ["web-0 busybox"])
    }

    @Test func oldRevisionsGoBeyondTheLimit() async throws {
        let bench = try await bench()
        try await bench.create(.statefulSets, Self.set(1, ["revisionHistoryLimit": 1]))
        bench.runPods()
        for image in ["b", "c", "d"] {
            try await bench.settle()
            try await roll(bench, image)
        }
        try await bench.settle()
        let revisions = try await bench.list(.controllerRevisions).map { $0["revision"].int(or: 0) }.sorted()
        #expect(revisions == [3, 4], "the current one and one before it")
    }

    // MARK: - Claims

    @Test func eachPodHasItsClaimAndFindsItAgain() async throws {
        let bench = try await bench()
        try await bench.create(.statefulSets, Self.set(2, Self.claims))
        bench.runPods()
        try await bench.settle()
        let claims = try await bench.list(.persistentVolumeClaims)
        #expect(claims.map(\.name) == ["data-web-0", "data-web-1"])
        #expect(claims[0].labels == ["app": "web", "tier": "db"] && claims[0].ownerReferences.isEmpty)
        let pod = try await bench.get(.pods, "web-1")
        #expect(pod.spec["volumes"][0]["name"] == "data")
        #expect(pod.spec["volumes"][0]["persistentVolumeClaim"]["claimName"] == "data-web-1")
        try await bench.patch(.statefulSets, "web", ["spec": ["replicas": 0]])
        try await bench.settle()
        #expect(try await bench.list(.persistentVolumeClaims).map(\.uid) == claims.map(\.uid), "claims outlive pods")
        try await bench.patch(.statefulSets, "web", ["spec": ["replicas": 2]])
        try await bench.settle()
        #expect(try await bench.list(.persistentVolumeClaims).map(\.uid) == claims.map(\.uid))
    }

    @Test func aPodWaitsForAClaimThatIsGoing() async throws {
        let bench = try await bench()
        try await bench.create(
            .persistentVolumeClaims,
            [
                "metadata": ["name": "data-web-0", "finalizers": ["kubernetes.io/pvc-protection"]],
                "spec": Self.claims["volumeClaimTemplates"][0]["spec"],
            ])
        try await bench.delete(.persistentVolumeClaims, "data-web-0")
        try await bench.create(.statefulSets, Self.set(1, Self.claims))
        try await bench.settle()
        #expect(try await names(bench) == [])
        try await bench.patch(.persistentVolumeClaims, "data-web-0", ["metadata": ["finalizers": nil]])
        try await bench.advance(.seconds(5))
        #expect(try await names(bench) == ["web-0"])
        #expect(try await bench.list(.persistentVolumeClaims).count == 1)
    }

    struct Retention: Sendable {
        var deleted: String
        var scaled: String
        var kept: [String]
        var condemned: [String]
    }

    /// Owners of the claim of a pod that stays and of one that goes.
    @Test(arguments: [
        Retention(deleted: "Retain", scaled: "Retain", kept: [], condemned: []),
        Retention(deleted: "Delete", scaled: "Retain", kept: ["StatefulSet"], condemned: ["StatefulSet"]),
        Retention(deleted: "Retain", scaled: "Delete", kept: [], condemned: ["Pod"]),
        Retention(deleted: "Delete", scaled: "Delete", kept: ["StatefulSet"], condemned: ["Pod"]),
    ]) func claimsGoWithTheirOwners(_ retention: Retention) async throws {
        let bench = try await bench()
        var extra = Self.claims
        extra["persistentVolumeClaimRetentionPolicy"] = [
            "whenDeleted": .string(retention.deleted), "whenScaled": .string(retention.scaled),
        ]
        try await bench.create(.statefulSets, Self.set(2, extra))
        bench.runPods()
        try await bench.settle()
        bench.afterRound = nil
        try await bench.patch(.statefulSets, "web", ["spec": ["replicas": 1]])
        try await bench.settle()
        func owners(_ name: String) async throws -> [String] {
            try await bench.get(.persistentVolumeClaims, name).ownerReferences.map(\.kind)
        }
        #expect(try await owners("data-web-0") == retention.kept)
        #expect(try await owners("data-web-1") == retention.condemned)
    }
}
