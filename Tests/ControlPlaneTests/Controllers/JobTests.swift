import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

@Suite struct JobTests {
    func bench() async throws -> ControllerBench {
        try await ControllerBench { client, clock in [JobController(client: client, clock: clock)] }
    }

    static func job(_ extra: JSON = [:], restart: String = "Never") -> JSON {
        var spec: JSON = [
            "manualSelector": true, "selector": ["matchLabels": ["app": "j"]],
            "template": Sample.template("j", extra: ["restartPolicy": .string(restart)]),
        ]
        for (key, value) in extra.object?.members ?? [] { spec[key] = value }
        return ["metadata": ["name": "j"], "spec": spec]
    }

    func active(_ bench: ControllerBench) async throws -> [KubeObject] {
        try await bench.list(.pods).filter(\.isActivePod)
    }

    /// Ends a pod as its kubelet would.
    func end(
        _ bench: ControllerBench, _ pod: KubeObject, code: Int64 = 0, conditions: [JSON] = []
    ) async throws {
        try await bench.setPod(
            pod.name, phase: code == 0 ? "Succeeded" : "Failed", ready: false,
            containers: [
                [
                    "name": "main",
                    "state": [
                        "terminated": ["exitCode": .int(code), "finishedAt": .string(bench.clock.now().rfc3339)]
                    ],
                ]
            ])
        guard !conditions.isEmpty else { return }
        var now = try await bench.get(.pods, pod.name)
        now.status["conditions"] = .array(now.status["conditions"].elements + conditions)
        _ = try await bench.client.updateStatus(.pods, now)
    }

    func status(_ bench: ControllerBench) async throws -> JSON { try await bench.get(.jobs, "j").status }
    func reason(_ bench: ControllerBench, _ type: String) async throws -> String? {
        let condition = try await bench.get(.jobs, "j").condition(type)
        return condition["status"].string == "True" ? condition["reason"].string : nil
    }

    @Test func podsRunUntilThereAreEnoughSuccesses() async throws {
        let bench = try await bench()
        try await bench.create(.jobs, Self.job(["completions": 3, "parallelism": 2]))
        try await bench.settle()
        var pods = try await active(bench)
        try #require(pods.count == 2)
        #expect(pods.allSatisfy { $0.finalizers == [JobState.finalizer] && $0.name.hasPrefix("j-") })
        #expect(try await status(bench)["active"] == 2)
        try await end(bench, pods[0])
        try await bench.settle()
        #expect(try await bench.get(.pods, pods[0].name).finalizers == [], "counted and let go")
        #expect(try await status(bench)["succeeded"] == 1)
        #expect(try await active(bench).count == 2)
        for pod in try await active(bench) { try await end(bench, pod) }
        try await bench.settle()
        pods = try await active(bench)
        let status = try await status(bench)
        #expect(pods.isEmpty && status["succeeded"] == 3 && status["active"].isNull)
        #expect(try await reason(bench, "SuccessCriteriaMet") == "CompletionsReached")
        #expect(try await reason(bench, "Complete") == "CompletionsReached")
        #expect(status["completionTime"] == "2026-01-01T00:00:00Z" && status["uncountedTerminatedPods"] == [:])
        #expect(try await bench.events("j").contains("Completed Job completed"))
        #expect(bench.errors.isEmpty)
    }

    @Test func aWorkQueueIsDoneWhenOneSucceedsAndTheOthersEnd() async throws {
        let bench = try await bench()
        try await bench.create(.jobs, Self.job(["parallelism": 3]))
        try await bench.settle()
        let pods = try await active(bench)
        try #require(pods.count == 3)
        try await end(bench, pods[0])
        try await bench.settle()
        #expect(try await active(bench).count == 2, "nothing new after a success, the others go on")
        #expect(try await reason(bench, "Complete") == nil)
        try await end(bench, pods[1])
        try await end(bench, pods[2], code: 1)
        try await bench.settle()
        #expect(try await reason(bench, "Complete") != nil)
        #expect(try await status(bench)["succeeded"] == 2)
    }

    @Test func failuresWaitLongerAndLongerUpToTheLimit() async throws {
        let bench = try await bench()
        try await bench.create(.jobs, Self.job(["backoffLimit": 2]))
        try await bench.settle()
        var waits: [Int] = []
        for _ in 0..<3 {
            try await end(bench, try #require(try await active(bench).first), code: 1)
            try await bench.settle()
            var seconds = 0
            while try await active(bench).isEmpty, seconds < 100 {
                try await bench.advance(.seconds(1))
                seconds += 1
            }
            waits.append(seconds)
        }
        #expect(waits == [10, 20, 100], "then no more")
        let status = try await status(bench)
        #expect(status["failed"] == 3)
        #expect(try await reason(bench, "FailureTarget") == "BackoffLimitExceeded")
        #expect(try await reason(bench, "Failed") == "BackoffLimitExceeded")
        #expect(
            try await bench.events("j").contains(
                "BackoffLimitExceeded Job has reached the specified backoff limit"))
    }

    @Test func restartsInsideAPodCountTowardsTheLimit() async throws {
        let bench = try await bench()
        try await bench.create(.jobs, Self.job(["backoffLimit": 3], restart: "OnFailure"))
        try await bench.settle()
        let pod = try #require(try await active(bench).first)
        try await bench.setPod(pod.name, containers: [["name": "main", "restartCount": 2]])
        try await bench.settle()
        #expect(try await reason(bench, "FailureTarget") == nil)
        try await bench.setPod(pod.name, containers: [["name": "main", "restartCount": 3]])
        try await bench.settle()
        #expect(try await reason(bench, "FailureTarget") == "BackoffLimitExceeded")
        #expect(try await bench.get(.pods, pod.name).isBeingDeleted)
        #expect(try await reason(bench, "Failed") == nil, "its pod still ends")
        try await bench.delete(.pods, pod.name, grace: 0)
        try await bench.settle()
        #expect(try await reason(bench, "Failed") == "BackoffLimitExceeded")
    }

    @Test func theDeadlineEndsIt() async throws {
        let bench = try await bench()
        try await bench.create(.jobs, Self.job(["activeDeadlineSeconds": 60]))
        try await bench.advance(.seconds(59))
        #expect(try await reason(bench, "FailureTarget") == nil)
        try await bench.advance(.seconds(1))
        #expect(try await reason(bench, "Failed") == "DeadlineExceeded")
        #expect(try await active(bench).isEmpty)
        #expect(try await status(bench)["failed"] == 1)
    }

    @Test func aDeletedPodCountsAsFailedOrWaitsByPolicy() async throws {
        for (policy, failed) in [("TerminatingOrFailed", 1), ("Failed", 0)] {
            let bench = try await bench()
            try await bench.create(.jobs, Self.job(["podReplacementPolicy": .string(policy)]))
            try await bench.settle()
            let pod = try #require(try await active(bench).first)
            try await bench.setPod(pod.name)
            try await bench.delete(.pods, pod.name)
            try await bench.settle()
            try await bench.advance(.seconds(30))
            #expect(try await status(bench)["failed"].int(or: 0) == Int64(failed), "\(policy)")
            #expect(try await active(bench).count == failed, "a replacement only when it counts")
        }
    }

    // MARK: - Indexes

    @Test func everyIndexSucceedsOnce() async throws {
        let bench = try await bench()
        try await bench.create(
            .jobs, Self.job(["completions": 5, "parallelism": 3, "completionMode": "Indexed"]))
        try await bench.settle()
        var pods = try await active(bench)
        #expect(pods.compactMap(JobState.index).sorted() == [0, 1, 2])
        let one = try #require(pods.first { JobState.index(of: $0) == 1 })
        #expect(one.name.hasPrefix("j-1-") && one.spec["hostname"] == "j-1")
        #expect(one.labels[JobState.indexKey] == "1")
        #expect(
            one.spec["containers"][0]["env"][0]["valueFrom"]["fieldRef"]["fieldPath"]
                == "metadata.labels['batch.kubernetes.io/job-completion-index']")
        for pod in pods where JobState.index(of: pod) != 1 { try await end(bench, pod) }
        try await bench.settle()
        #expect(try await status(bench)["completedIndexes"] == "0,2")
        pods = try await active(bench)
        #expect(pods.compactMap(JobState.index).sorted() == [1, 3, 4])
        try await end(bench, one, code: 1)
        try await bench.advance(.seconds(10))
        #expect(try await active(bench).compactMap(JobState.index).sorted() == [1, 3, 4], "the failed one again")
        for pod in try await active(bench) { try await end(bench, pod) }
        try await bench.settle()
        let status = try await status(bench)
        #expect(status["completedIndexes"] == "0-4" && status["succeeded"] == 5 && status["failed"] == 1)
        #expect(try await reason(bench, "Complete") != nil)
    }

    @Test func eachIndexHasItsOwnLimit() async throws {
        let bench = try await bench()
        try await bench.create(
            .jobs,
            Self.job([
                "completions": 2, "parallelism": 2, "completionMode": "Indexed", "backoffLimitPerIndex": 1,
            ]))
        try await bench.settle()
        func pod(_ index: Int64) async throws -> KubeObject? {
            try await active(bench).first { JobState.index(of: $0) == index }
        }
        let first = try #require(try await pod(0))
        try await end(bench, first, code: 1)
        try await bench.settle()
        #expect(try await bench.get(.pods, first.name).finalizers == [JobState.finalizer], "it remembers the failure")
        try await bench.advance(.seconds(10))
        let second = try #require(try await pod(0))
        #expect(second.annotations[JobState.failuresKey] == "1")
        #expect(try await bench.get(.pods, first.name).finalizers == [])
        try await end(bench, second, code: 1)
        try await bench.settle()
        #expect(try await status(bench)["failedIndexes"] == "0")
        #expect(try await reason(bench, "FailureTarget") == nil, "the other index goes on")
        try await end(bench, try #require(try await pod(1)))
        try await bench.settle()
        let status = try await status(bench)
        #expect(status["completedIndexes"] == "1" && status["failed"] == 2)
        #expect(try await reason(bench, "Failed") == "FailedIndexes")
    }

    @Test func tooManyFailedIndexesEndIt() async throws {
        let bench = try await bench()
        try await bench.create(
            .jobs,
            Self.job([
                "completions": 5, "parallelism": 5, "completionMode": "Indexed", "backoffLimitPerIndex": 0,
                "maxFailedIndexes": 1,
            ]))
        try await bench.settle()
        let pods = try await active(bench)
        try #require(pods.count > 2)
        try await end(bench, pods[0], code: 1)
        try await bench.settle()
        #expect(try await reason(bench, "FailureTarget") == nil)
        try await end(bench, pods[1], code: 1)
        try await bench.settle()
        #expect(try await reason(bench, "FailureTarget") == "MaxFailedIndexesExceeded")
        #expect(try await active(bench).isEmpty)
    }

    struct Success: Sendable {
        var rule: JSON
        var enough: [Int64]
        var notEnough: [Int64]
    }

    @Test(arguments: [
        Success(rule: ["succeededIndexes": "0,2-3"], enough: [0, 2, 3], notEnough: [0, 1, 2]),
        Success(rule: ["succeededCount": 2], enough: [1, 4], notEnough: [1]),
        Success(rule: ["succeededIndexes": "0-2", "succeededCount": 1], enough: [2], notEnough: [3, 4]),
    ]) func aSuccessPolicyEndsItEarly(_ success: Success) async throws {
        for (indexes, isMet) in [(success.notEnough, false), (success.enough, true)] {
            let bench = try await bench()
            try await bench.create(
                .jobs,
                Self.job([
                    "completions": 5, "parallelism": 5, "completionMode": "Indexed",
                    "successPolicy": ["rules": [success.rule]],
                ]))
            try await bench.settle()
            for pod in try await active(bench) where indexes.contains(JobState.index(of: pod) ?? -1) {
                try await end(bench, pod)
            }
            try await bench.settle()
            #expect(try await reason(bench, "SuccessCriteriaMet") == (isMet ? "SuccessPolicy" : nil))
            #expect(try await active(bench).isEmpty == isMet, "the others are ended")
            if isMet {
                #expect(try await reason(bench, "Complete") == "SuccessPolicy")
                #expect(try await status(bench)["failed"].isNull, "those that were ended have not failed")
            }
        }
    }

    @Test func indexSetsMergeAndPrint() {
        var set = IndexSet("0,2-4,9", below: 10)
        #expect(set.text == "0,2-4,9" && set.count == 5)
        set.insert(1)
        #expect(set.text == "0-4,9")
        set.insert(8)
        #expect(set.text == "0-4,8,9", "two neighbours are written one by one")
        #expect(set.contains(3) && !set.contains(5) && set.contains(9))
        #expect(IndexSet("0-99,x,7-3,-1", below: 5).text == "0-4")
        #expect(IndexSet("1-3,6", below: 9).count(in: IndexSet("2-6", below: 9)) == 3)
    }

    // MARK: - Failure policy

    struct Failure: Sendable {
        var rule: JSON
        var code: Int64 = 42
        var conditions: [JSON] = []
        var failed: Int64
        var ends: Bool
    }

    static let disrupted: JSON = ["type": "DisruptionTarget", "status": "True"]

    @Test(arguments: [
        Failure(
            rule: ["action": "FailJob", "onExitCodes": ["operator": "In", "values": [42]]], failed: 1, ends: true),
        Failure(
            rule: ["action": "FailJob", "onExitCodes": ["operator": "In", "values": [1]]], failed: 1, ends: false),
        Failure(
            rule: ["action": "FailJob", "onExitCodes": ["operator": "NotIn", "values": [1]]], failed: 1, ends: true),
        Failure(
            rule: ["action": "FailJob", "onExitCodes": ["containerName": "other", "operator": "In", "values": [42]]],
            failed: 1, ends: false),
        Failure(
            rule: ["action": "Ignore", "onExitCodes": ["operator": "In", "values": [42]]], failed: 0, ends: false),
        Failure(rule: ["action": "Count", "onExitCodes": ["operator": "In", "values": [42]]], failed: 1, ends: false),
        Failure(
            rule: ["action": "Ignore", "onPodConditions": [["type": "DisruptionTarget", "status": "True"]]],
            conditions: [disrupted], failed: 0, ends: false),
        Failure(
            rule: ["action": "FailJob", "onPodConditions": [["type": "DisruptionTarget", "status": "True"]]],
            conditions: [disrupted], failed: 1, ends: true),
    ]) func whatAFailureMeans(_ failure: Failure) async throws {
        let bench = try await bench()
        var job = Self.job(["podFailurePolicy": ["rules": [failure.rule]]])
        var containers = job["spec"]["template"]["spec"]["containers"].array ?? []
        containers.append(["name": "other", "image": "other"])
        job["spec"]["template"]["spec"]["containers"] = .array(containers)
        try await bench.create(.jobs, job)
        try await bench.settle()
        let pod = try #require(try await active(bench).first)
        try await end(bench, pod, code: failure.code, conditions: failure.conditions)
        try await bench.settle()
        #expect(try await status(bench)["failed"].int(or: 0) == failure.failed)
        #expect(try await reason(bench, "Failed") == (failure.ends ? "PodFailurePolicy" : nil))
        if failure.ends, failure.conditions.isEmpty {
            #expect(
                try await bench.get(.jobs, "j").condition("Failed")["message"].string
                    == "Container main for pod default/\(pod.name) failed with exit code 42 matching FailJob rule at "
                    + "index 0")
        }
    }

    // MARK: - Suspension, the end

    @Test func aSuspendedJobLetsItsPodsGoUncounted() async throws {
        let bench = try await bench()
        try await bench.create(.jobs, Self.job(["parallelism": 2, "completions": 2, "activeDeadlineSeconds": 100]))
        try await bench.settle()
        try await bench.advance(.seconds(90))
        try await bench.patch(.jobs, "j", ["spec": ["suspend": true]])
        try await bench.settle()
        #expect(try await bench.list(.pods).isEmpty)
        var status = try await status(bench)
        #expect(status["failed"].isNull && status["startTime"].isNull)
        #expect(try await reason(bench, "Suspended") == "JobSuspended")
        try await bench.advance(.seconds(50))
        try await bench.patch(.jobs, "j", ["spec": ["suspend": false]])
        try await bench.settle()
        #expect(try await active(bench).count == 2)
        #expect(try await bench.get(.jobs, "j").condition("Suspended")["reason"] == "JobResumed")
        try await bench.advance(.seconds(90))
        #expect(try await reason(bench, "FailureTarget") == nil, "the deadline starts anew")
        status = try await self.status(bench)
        #expect(status["startTime"] == "2026-01-01T00:02:20Z")
        #expect(try await bench.events("j").contains("Resumed Job resumed"))
    }

    @Test func lessParallelismEndsPodsUncounted() async throws {
        let bench = try await bench()
        try await bench.create(.jobs, Self.job(["parallelism": 3, "completions": 9]))
        try await bench.settle()
        try await bench.patch(.jobs, "j", ["spec": ["parallelism": 1]])
        try await bench.settle()
        #expect(try await active(bench).count == 1)
        #expect(try await status(bench)["failed"].isNull)
    }

    @Test func aFinishedJobGoesWhenItsTimeHasCome() async throws {
        let bench = try await bench()
        try await bench.create(.jobs, Self.job(["ttlSecondsAfterFinished": 100]))
        try await bench.settle()
        try await end(bench, try #require(try await active(bench).first))
        try await bench.settle()
        try await bench.advance(.seconds(99))
        #expect(try await bench.get(.jobs, "j").isBeingDeleted == false)
        try await bench.advance(.seconds(1))
        #expect(try await bench.get(.jobs, "j").finalizers == ["foregroundDeletion"])
    }

    @Test func podsOfAJobThatIsGoneAreLetGo() async throws {
        let bench = try await bench()
        try await bench.create(.jobs, Self.job())
        try await bench.settle()
        let pod = try #require(try await active(bench).first)
        try await bench.delete(.jobs, "j", .background)
        try await bench.settle()
        #expect(try await bench.get(.pods, pod.name).finalizers == [])
    }

    @Test func anotherManagersJobIsLeftAlone() async throws {
        let bench = try await bench()
        try await bench.create(.jobs, Self.job(["managedBy": "example.com/kueue"]))
        try await bench.settle()
        #expect(try await bench.list(.pods).isEmpty)
    }

    /// A crash at any write: the pods are counted exactly once in the end.
    @Test(arguments: 0..<8) func aCrashNeitherLosesNorDoubles(_ writes: Int) async throws {
        let bench = try await bench()
        try await bench.create(.jobs, Self.job(["completions": 4, "parallelism": 4, "backoffLimit": 9]))
        try await bench.settle()
        let pods = try await active(bench)
        try #require(pods.count > 2)
        try await end(bench, pods[0])
        try await end(bench, pods[1], code: 1)
        let failing = FailingWrites(bench.client, after: writes)
        let key = ObjectKey(namespace: "default", name: "j")
        _ = try? await JobController(client: failing, clock: bench.clock).reconcile(key)
        try await bench.settle()
        let status = try await status(bench)
        #expect(status["succeeded"] == 1 && status["failed"] == 1)
        #expect(status["uncountedTerminatedPods"] == [:])
    }
}
