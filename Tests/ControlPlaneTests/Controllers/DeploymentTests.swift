import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

@Suite struct DeploymentTests {
    func bench() async throws -> ControllerBench {
        try await ControllerBench { client, clock in
            [DeploymentController(client: client, clock: clock), ReplicaSetController(client: client, clock: clock)]
        }
    }

    func images(_ bench: ControllerBench) async throws -> [String: Int] {
        var images: [String: Int] = [:]
        for pod in try await bench.list(.pods) {
            images[pod.spec["containers"][0]["image"].string ?? "", default: 0] += 1
        }
        return images
    }

    @Test func aDeploymentGetsItsPodsAndSaysSo() async throws {
        let bench = try await bench()
        try await bench.create(.deployments, Sample.workload("d", replicas: 3))
        try await bench.settle()
        var deployment = try await bench.get(.deployments, "d")
        #expect(try await bench.list(.pods).count == 3)
        #expect(deployment.condition("Available")["status"] == "False")
        #expect(deployment.condition("Progressing")["reason"] == "ReplicaSetUpdated")
        #expect(deployment.status["unavailableReplicas"] == 3)
        bench.runPods()
        try await bench.settle()
        deployment = try await bench.get(.deployments, "d")
        #expect(deployment.status["availableReplicas"] == 3 && deployment.status["updatedReplicas"] == 3)
        #expect(deployment.status["unavailableReplicas"].isNull)
        #expect(deployment.condition("Available")["reason"] == "MinimumReplicasAvailable")
        #expect(deployment.condition("Progressing")["reason"] == "NewReplicaSetAvailable")
        #expect(deployment.annotations[Rollout.revisionKey] == "1")
        let set = try #require(try await bench.list(.replicaSets).first)
        #expect(
            deployment.condition("Progressing")["message"].string
                == "ReplicaSet \"\(set.name)\" has successfully progressed.")
        #expect(set.name == "d-" + (set.labels[Rollout.hashLabel] ?? ""))
        #expect(
            try await bench.events("d") == ["ScalingReplicaSet Scaled up replica set \(set.name) from 0 to 3"])
        #expect(bench.errors.isEmpty)
    }

    @Test func aRollingUpdateKeepsItsBounds() async throws {
        let bench = try await bench()
        try await bench.create(
            .deployments,
            Sample.workload(
                "d", replicas: 4, ["strategy": ["rollingUpdate": ["maxSurge": 1, "maxUnavailable": 1]]]))
        bench.runPods()
        try await bench.settle()
        var most = 0
        var fewest = Int.max
        let run = bench.afterRound
        bench.afterRound = { bench in
            let pods = try await bench.list(.pods).filter(\.isActivePod)
            most = max(most, pods.count)
            fewest = min(fewest, pods.filter(\.isReadyPod).count)
            try await run?(bench)
        }
        try await bench.patch(.deployments, "d", ["spec": ["template": Sample.template("d", image: "two")]])
        try await bench.settle()
        #expect(try await images(bench) == ["two": 4])
        #expect(most == 5, "replicas + maxSurge")
        #expect(fewest == 3, "replicas - maxUnavailable")
        #expect(try await bench.get(.deployments, "d").annotations[Rollout.revisionKey] == "2")
    }

    @Test func aStuckRolloutMissesItsDeadline() async throws {
        let bench = try await bench()
        try await bench.create(
            .deployments, Sample.workload("d", replicas: 2, ["progressDeadlineSeconds": 60]))
        bench.runPods { $0.spec["containers"][0]["image"] == "busybox" }
        try await bench.settle()
        try await bench.patch(.deployments, "d", ["spec": ["template": Sample.template("d", image: "broken")]])
        try await bench.settle()
        try await bench.advance(.seconds(59))
        #expect(try await bench.get(.deployments, "d").condition("Progressing")["status"] == "True")
        try await bench.advance(.seconds(5))
        let deployment = try await bench.get(.deployments, "d")
        #expect(deployment.condition("Progressing")["status"] == "False")
        #expect(deployment.condition("Progressing")["reason"] == "ProgressDeadlineExceeded")
        #expect(try await images(bench) == ["busybox": 2, "broken": 1], "25% of 2: one more, none less")
        // It is not forgotten when it recovers.
        bench.runPods()
        try await bench.settle()
        #expect(
            try await bench.get(.deployments, "d").condition("Progressing")["reason"] == "NewReplicaSetAvailable")
    }

    @Test func aPausedDeploymentScalesButDoesNotRoll() async throws {
        let bench = try await bench()
        try await bench.create(.deployments, Sample.workload("d", replicas: 2))
        bench.runPods()
        try await bench.settle()
        try await bench.patch(
            .deployments, "d", ["spec": ["paused": true, "template": Sample.template("d", image: "two")]])
        try await bench.settle()
        #expect(try await images(bench) == ["busybox": 2])
        #expect(try await bench.get(.deployments, "d").condition("Progressing")["reason"] == "DeploymentPaused")
        try await bench.patch(.deployments, "d", ["spec": ["replicas": 5]])
        try await bench.settle()
        #expect(try await images(bench) == ["busybox": 5])
        try await bench.patch(.deployments, "d", ["spec": ["paused": false]])
        try await bench.settle()
        #expect(try await images(bench) == ["two": 5])
    }

    @Test func goingBackUsesTheOldSetUnderANewNumber() async throws {
        let bench = try await bench()
        try await bench.create(.deployments, Sample.workload("d", replicas: 2))
        bench.runPods()
        try await bench.settle()
        let first = try #require(try await bench.list(.replicaSets).first)
        try await bench.patch(.deployments, "d", ["spec": ["template": Sample.template("d", image: "two")]])
        try await bench.settle()
        try await bench.patch(.deployments, "d", ["spec": ["template": Sample.template("d")]])
        try await bench.settle()
        let sets = try await bench.list(.replicaSets)
        #expect(sets.count == 2)
        let again = try await bench.get(.replicaSets, first.name)
        #expect(again.specReplicas == 2 && again.revision == 3)
        #expect(again.annotations[Rollout.historyKey] == "1")
        #expect(try await bench.get(.deployments, "d").annotations[Rollout.revisionKey] == "3")
    }

    @Test func oldSetsGoBeyondTheHistoryLimit() async throws {
        let bench = try await bench()
        try await bench.create(.deployments, Sample.workload("d", replicas: 1, ["revisionHistoryLimit": 2]))
        bench.runPods()
        for image in ["b", "c", "d", "e"] {
            try await bench.settle()
            try await bench.patch(
                .deployments, "d", ["spec": ["template": Sample.template("d", image: image)]])
        }
        try await bench.settle()
        let revisions = try await bench.list(.replicaSets).map(\.revision).sorted()
        #expect(revisions == [3, 4, 5], "the new one and two before it")
    }

    @Test func recreateWaitsForTheLastOldPod() async throws {
        let bench = try await bench()
        try await bench.create(
            .deployments, Sample.workload("d", replicas: 2, ["strategy": ["type": "Recreate"]]))
        bench.runPods()
        try await bench.settle()
        // From now on nobody ends pods.
        bench.afterRound = nil
        try await bench.patch(.deployments, "d", ["spec": ["template": Sample.template("d", image: "two")]])
        try await bench.settle()
        #expect(try await images(bench) == ["busybox": 2])
        #expect(try await bench.list(.pods).allSatisfy(\.isBeingDeleted))
        let old = try await bench.list(.pods)
        try await bench.delete(.pods, old[0].name, grace: 0)
        try await bench.settle()
        #expect(try await images(bench) == ["busybox": 1], "one old pod is left")
        try await bench.delete(.pods, old[1].name, grace: 0)
        try await bench.settle()
        #expect(try await images(bench) == ["two": 2])
    }

    @Test func aForeignSetOfTheSameNameIsAvoided() async throws {
        let bench = try await bench()
        let deployment = try await bench.create(.deployments, Sample.workload("d", replicas: 1))
        let hash = Rollout.templateHash(deployment.spec["template"], collisions: 0)
        try await bench.create(.replicaSets, Sample.workload("d-\(hash)", replicas: 0))
        try await bench.settle()
        try await bench.advance(.seconds(2))
        #expect(try await bench.get(.deployments, "d").status["collisionCount"] == 1)
        let own = try await bench.list(.replicaSets).filter { $0.controller?.uid == deployment.uid }
        #expect(own.count == 1 && own[0].name != "d-\(hash)")
    }

    @Test func aSetThatMatchesIsAdopted() async throws {
        let bench = try await bench()
        var set = Sample.workload("loose", replicas: 0)
        set["metadata"]["labels"] = ["app": "d"]
        set["spec"]["selector"]["matchLabels"] = ["app": "d"]
        set["spec"]["template"] = Sample.template("d")
        try await bench.create(.replicaSets, set)
        let deployment = try await bench.create(.deployments, Sample.workload("d", replicas: 1))
        try await bench.settle()
        let adopted = try await bench.get(.replicaSets, "loose")
        #expect(adopted.controller?.uid == deployment.uid)
        #expect(adopted.specReplicas == 1, "it has the template: nothing new is made")
        #expect(try await bench.list(.replicaSets).count == 1)
    }

    @Test func refusedPodsShowInTheConditions() async throws {
        let bench = try await bench()
        var deployment = Sample.workload("d", replicas: 1)
        deployment["spec"]["template"]["spec"]["priorityClassName"] = "no-such-class"
        try await bench.create(.deployments, deployment)
        try await bench.settle()
        let failure = try await bench.get(.deployments, "d").condition("ReplicaFailure")
        #expect(failure["status"] == "True" && failure["reason"] == "FailedCreate")
        #expect(failure["message"].string?.contains("no PriorityClass with name no-such-class was found") == true)
    }
}
