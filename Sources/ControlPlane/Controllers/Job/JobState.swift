internal import Codecs
internal import KubeAPI

/// A Job and its pods at one moment: what they count as, and whether the Job has come to an end. Pure.
/// Source: k8s.io/kubernetes/pkg/controller/job/job_controller.go; KEP-2307 (finalizers), 3850 (per index), 3998 (success).
struct JobState: Sendable {
    static let finalizer = "batch.kubernetes.io/job-tracking"
    static let indexKey = "batch.kubernetes.io/job-completion-index"
    static let failuresKey = "batch.kubernetes.io/job-index-failure-count"
    static let ignoredKey = "batch.kubernetes.io/job-index-ignored-failure-count"

    struct Finish: Sendable {
        var succeeds: Bool
        var reason: String
        var message: String
        /// The type of the condition that says it before the pods are let go.
        var interim: String { succeeds ? "SuccessCriteriaMet" : "FailureTarget" }
    }

    let job: KubeObject
    let pods: [KubeObject]
    let now: Timestamp
    let policy: PodFailurePolicy
    let completions: Int64?
    let isIndexed: Bool
    let isPerIndex: Bool
    /// Those that have not been counted yet, and how each pod counts.
    private(set) var newlySucceeded: [KubeObject] = []
    private(set) var newlyFailed: [KubeObject] = []
    private(set) var succeeded: Int64
    private(set) var failed: Int64
    let countedIndexes: IndexSet
    private(set) var succeededIndexes: IndexSet
    private(set) var failedIndexes: IndexSet
    /// Of an index that has to be tried again: its last failed pod, which carries the count of failures until the next one is there.
    private(set) var lastFailed: [Int64: KubeObject] = [:]
    var uncountedSucceeded: [String]
    var uncountedFailed: [String]

    init(job: KubeObject, pods: [KubeObject], now: Timestamp) {
        (self.job, self.pods, self.now) = (job, pods, now)
        policy = PodFailurePolicy(job)
        let completions = job.spec["completions"].int
        self.completions = completions
        isIndexed = job.spec["completionMode"].string == "Indexed"
        isPerIndex = isIndexed && !job.spec["backoffLimitPerIndex"].isNull
        let uncounted = job.status["uncountedTerminatedPods"]
        let tracked = Set(pods.filter { $0.finalizers.contains(Self.finalizer) }.map(\.uid))
        // Pods that were let go after the status had named them are counted for good.
        func split(_ key: String) -> (open: [String], done: Int64) {
            let uids = uncounted[key].elements.compactMap(\.string)
            let open = uids.filter(tracked.contains)
            return (open, Int64(uids.count - open.count))
        }
        let (s, f) = (split("succeeded"), split("failed"))
        (uncountedSucceeded, uncountedFailed) = (s.open, f.open)
        succeeded = job.status["succeeded"].int(or: 0) + s.done
        failed = job.status["failed"].int(or: 0) + f.done
        (countedSucceeded, countedFailed) = (succeeded, failed)
        let limit = isIndexed ? completions ?? 0 : 0
        countedIndexes = IndexSet(job.status["completedIndexes"].string ?? "", below: limit)
        succeededIndexes = countedIndexes
        failedIndexes = IndexSet(job.status["failedIndexes"].string ?? "", below: limit)
        sortPods()
    }

    /// What the status says, with those that were let go.
    var countedSucceeded: Int64
    var countedFailed: Int64

    var active: [KubeObject] { pods.filter(\.isActivePod) }
    var isSuspended: Bool { job.spec["suspend"].bool ?? false }
    /// Only pods that have really ended are replaced, not those that are ending.
    var replacesFailedOnly: Bool { job.spec["podReplacementPolicy"].string == "Failed" }

    static func index(of pod: KubeObject) -> Int64? {
        pod.annotations[indexKey].flatMap { Int64($0) }.flatMap { $0 < 0 ? nil : $0 }
    }
    func validIndex(of pod: KubeObject) -> Int64? {
        Self.index(of: pod).flatMap { $0 < completions ?? 0 ? $0 : nil }
    }

    func countsAsFailed(_ pod: KubeObject) -> Bool {
        if pod.podPhase == "Failed" { return true }
        // Deleted pods may never get to say that they failed.
        return !replacesFailedOnly && pod.isBeingDeleted && pod.podPhase != "Succeeded"
    }

    private mutating func sortPods() {
        let known = Set(uncountedSucceeded + uncountedFailed)
        for pod in pods where pod.finalizers.contains(Self.finalizer) && !known.contains(pod.uid) {
            if isIndexed, validIndex(of: pod) == nil { continue }
            if pod.podPhase == "Succeeded" {
                newlySucceeded.append(pod)
            } else if countsAsFailed(pod) {
                newlyFailed.append(pod)
            }
        }
        if isIndexed {
            for pod in newlySucceeded { if let index = validIndex(of: pod) { succeededIndexes.insert(index) } }
            succeeded = succeededIndexes.count
        } else {
            succeeded += Int64(uncountedSucceeded.count + newlySucceeded.count)
        }
        failed += Int64(uncountedFailed.count + newlyFailed.filter { policy.verdict(on: $0) != .ignore }.count)
        guard isPerIndex else { return }
        let limit = job.spec["backoffLimitPerIndex"].int(or: 0)
        for pod in newlyFailed {
            guard let index = validIndex(of: pod), !succeededIndexes.contains(index) else { continue }
            let verdict = policy.verdict(on: pod)
            if verdict == .failIndex || verdict != .ignore && Self.failures(pod).counted >= limit {
                failedIndexes.insert(index)
            }
        }
        let busy = Set(active.compactMap(Self.index))
        for pod in newlyFailed {
            guard let index = validIndex(of: pod), !busy.contains(index), !succeededIndexes.contains(index),
                !failedIndexes.contains(index)
            else { continue }
            if let other = lastFailed[index], Self.failures(other).all > Self.failures(pod).all { continue }
            lastFailed[index] = pod
        }
    }

    /// Earlier failures of a pod's index, as noted on the pod.
    static func failures(_ pod: KubeObject) -> (counted: Int64, all: Int64) {
        let counted = pod.annotations[failuresKey].flatMap { Int64($0) } ?? 0
        return (counted, counted + (pod.annotations[ignoredKey].flatMap { Int64($0) } ?? 0))
    }

    // MARK: - The end

    static func holds(_ job: KubeObject, _ type: String) -> Bool { job.condition(type)["status"].string == "True" }
    static func isFinished(_ job: KubeObject) -> Bool {
        holds(job, "Complete") || holds(job, "Failed")
    }

    /// Whether the Job ends now for another reason than that all is done.
    func finish() -> Finish? {
        for (type, succeeds) in [("SuccessCriteriaMet", true), ("FailureTarget", false)] {
            let known = job.condition(type)
            if known["status"].string == "True" {
                return Finish(
                    succeeds: succeeds, reason: known["reason"].string ?? "", message: known["message"].string ?? "")
            }
        }
        for pod in pods where countsAsFailed(pod) {
            if case .failJob(let message) = policy.verdict(on: pod) {
                return Finish(succeeds: false, reason: "PodFailurePolicy", message: message)
            }
        }
        if failed > job.spec["backoffLimit"].int(or: 6) || isPastRestarts {
            return Finish(
                succeeds: false, reason: "BackoffLimitExceeded", message: "Job has reached the specified backoff limit")
        }
        if let left = timeLeft, left <= .zero {
            return Finish(
                succeeds: false, reason: "DeadlineExceeded", message: "Job was active longer than specified deadline")
        }
        guard isIndexed else { return nil }
        if isPerIndex {
            if let most = job.spec["maxFailedIndexes"].int, failedIndexes.count > most {
                return Finish(
                    succeeds: false, reason: "MaxFailedIndexesExceeded",
                    message: "Job has exceeded the specified maximal number of failed indexes")
            }
            if !failedIndexes.isEmpty, failedIndexes.count + succeededIndexes.count >= completions ?? 0 {
                return Finish(succeeds: false, reason: "FailedIndexes", message: "Job has failed indexes")
            }
        }
        for (i, rule) in job.spec["successPolicy"]["rules"].elements.enumerated() where isMet(rule) {
            return Finish(succeeds: true, reason: "SuccessPolicy", message: "Matched rules at index \(i)")
        }
        return nil
    }

    private func isMet(_ rule: JSON) -> Bool {
        if let text = rule["succeededIndexes"].string {
            let wanted = IndexSet(text, below: completions ?? 0)
            return wanted.count(in: succeededIndexes) >= rule["succeededCount"].int ?? wanted.count
        }
        return rule["succeededCount"].int.map { succeededIndexes.count >= $0 } ?? false
    }

    /// Restarts inside pods count where the kubelet restarts containers.
    private var isPastRestarts: Bool {
        guard job.spec["template"]["spec"]["restartPolicy"].string == "OnFailure" else { return false }
        var restarts: Int64 = 0
        for pod in pods where pod.podPhase == "Running" || pod.podPhase == "Pending" {
            for list in ["initContainerStatuses", "containerStatuses"] {
                for status in pod.status[list].elements { restarts += status["restartCount"].int(or: 0) }
            }
        }
        let limit = job.spec["backoffLimit"].int(or: 6)
        return limit == 0 ? restarts > 0 : restarts >= limit
    }

    /// Of the active deadline; nil: there is none.
    var timeLeft: Duration? {
        guard !isSuspended, let seconds = job.spec["activeDeadlineSeconds"].int,
            let start = job.status["startTime"].string.flatMap({ Timestamp($0) })
        else { return nil }
        return start.advanced(by: .seconds(seconds)).duration(since: now)
    }

    func isComplete(active: Int) -> Bool {
        guard active == 0 else { return false }
        guard let completions else { return succeeded > 0 }
        return succeeded >= completions
    }

    // MARK: - Pods to have

    var wantedActive: Int64 {
        let parallelism = job.spec["parallelism"].int(or: 1)
        guard let completions else { return succeeded > 0 ? Int64(active.count) : parallelism }
        return max(0, min(parallelism, completions - succeeded - failedIndexes.count))
    }

    /// Pods that are too many: of an index twice, of no index that there is, then those whose loss hurts least.
    func surplus(_ atLeast: Int) -> [KubeObject] {
        let active = active
        var doomed: [KubeObject] = []
        var kept = active
        if isIndexed {
            kept = []
            var best: [Int64: KubeObject] = [:]
            for pod in active {
                guard let index = validIndex(of: pod) else {
                    doomed.append(pod)
                    continue
                }
                guard let other = best[index] else {
                    best[index] = pod
                    continue
                }
                let loser = PodRanking.victims([pod, other], count: 1, related: [], now: now)[0]
                doomed.append(loser)
                best[index] = loser.uid == pod.uid ? other : pod
            }
            kept = best.sorted { $0.key < $1.key }.map(\.value)
        }
        if doomed.count < atLeast {
            doomed += PodRanking.victims(kept, count: atLeast - doomed.count, related: active, now: now)
        }
        return doomed
    }

    /// The first indexes that have neither succeeded nor failed nor a pod.
    func pendingIndexes(_ count: Int) -> [Int64] {
        var busy = Set(active.compactMap(Self.index))
        if replacesFailedOnly { busy.formUnion(pods.filter(\.isTerminatingPod).compactMap(Self.index)) }
        var pending: [Int64] = []
        var index: Int64 = 0
        while pending.count < count, index < completions ?? 0 {
            if !busy.contains(index), !succeededIndexes.contains(index), !failedIndexes.contains(index) {
                pending.append(index)
            }
            index += 1
        }
        return pending
    }

    /// When a pod ended, as far as it is known.
    static func endTime(of pod: KubeObject, _ now: Timestamp) -> Timestamp {
        let ends = pod.status["containerStatuses"].elements.compactMap {
            $0["state"]["terminated"]["finishedAt"].string.flatMap { Timestamp($0) }
        }
        if let end = ends.max() { return end }
        let ready = pod.condition("Ready")["lastTransitionTime"].string.flatMap { Timestamp($0) }
        return pod.deletionTimestamp.map { min($0, now) } ?? ready ?? now
    }
}
