internal import Codecs
internal import KubeAPI

/// Counting pods that have ended, exactly once each.
extension JobController {
    func setCount(_ job: inout KubeObject, _ field: String, _ count: Int) {
        job.status[field] = count > 0 ? .int(Int64(count)) : .null
    }

    /// Writes what is known, lets counted pods go, and says that the Job has finished when nothing is left to wait for.
    func track(
        _ state: JobState, _ old: KubeObject, _ job: inout KubeObject, _ finish: JobState.Finish?, terminating: Int
    ) async throws(APIError) {
        var uncounted = (succeeded: state.uncountedSucceeded, failed: state.uncountedFailed)
        var done: [KubeObject] = []
        var indexes = state.countedIndexes
        var hasMore = false
        for pod in state.pods where pod.finalizers.contains(JobState.finalizer) {
            let hasFailed = state.countsAsFailed(pod)
            guard canLetGo(pod, state, isFinishing: finish != nil, hasFailed: hasFailed) else { continue }
            guard done.count < Self.burst else {
                hasMore = true
                break
            }
            done.append(pod)
            if uncounted.succeeded.contains(pod.uid) || uncounted.failed.contains(pod.uid) { continue }
            let index = state.validIndex(of: pod)
            if pod.podPhase == "Succeeded" {
                if !state.isIndexed {
                    uncounted.succeeded.append(pod.uid)
                } else if let index {
                    // The index is enough not to count it again.
                    indexes.insert(index)
                }
            } else if hasFailed || finish.map({ !$0.succeeds }) ?? false, !state.isIndexed || index != nil,
                state.policy.verdict(on: pod) != .ignore
            {
                uncounted.failed.append(pod.uid)
            }
        }
        setCount(&job, "succeeded", Int(clamping: state.isIndexed ? indexes.count : state.countedSucceeded))
        setCount(&job, "failed", Int(clamping: state.countedFailed))
        if state.isIndexed {
            job.status["completedIndexes"] = indexes.isEmpty ? .null : .string(indexes.text)
            if state.isPerIndex { job.status["failedIndexes"] = .string(state.failedIndexes.text) }
        }
        if let finish, !JobState.holds(job, finish.interim) {
            var conditions = job.status["conditions"]
            Self.set(&conditions, finish.interim, true, finish.reason, finish.message, state.now)
            job.status["conditions"] = conditions
        }
        if !done.isEmpty {
            setUncounted(&job, uncounted)
            job = try await write(job, over: old)
            try await letGo(done)
            let gone = Set(done.map(\.uid))
            let succeeded = uncounted.succeeded.filter(gone.contains).count
            let failed = uncounted.failed.filter(gone.contains).count
            if !state.isIndexed {
                setCount(&job, "succeeded", Int(clamping: state.countedSucceeded) + succeeded)
            }
            setCount(&job, "failed", Int(clamping: state.countedFailed) + failed)
            uncounted.succeeded.removeAll(where: gone.contains)
            uncounted.failed.removeAll(where: gone.contains)
        }
        setUncounted(&job, uncounted)
        let isOver =
            finish != nil && !hasMore && terminating == 0 && uncounted.succeeded.isEmpty
            && uncounted.failed.isEmpty
        if isOver, let finish {
            var conditions = job.status["conditions"]
            Self.set(
                &conditions, finish.succeeds ? "Complete" : "Failed", true, finish.reason, finish.message, state.now)
            job.status["conditions"] = conditions
            if finish.succeeds { job.status["completionTime"] = .string(state.now.rfc3339) }
        }
        job = try await write(job, over: old)
        if isOver, let finish {
            if finish.succeeds {
                await events.event(job, reason: "Completed", "Job completed")
            } else {
                await events.event(job, type: .warning, reason: finish.reason, finish.message)
            }
        }
    }

    private func canLetGo(_ pod: KubeObject, _ state: JobState, isFinishing: Bool, hasFailed: Bool) -> Bool {
        if state.job.isBeingDeleted || isFinishing || pod.podPhase == "Succeeded" { return true }
        guard hasFailed else { return false }
        guard let index = JobState.index(of: pod) else { return true }
        // It remembers the index's failures until its successor does.
        return state.lastFailed[index]?.uid != pod.uid
    }

    private func setUncounted(_ job: inout KubeObject, _ uncounted: (succeeded: [String], failed: [String])) {
        var json: JSON = [:]
        if !uncounted.succeeded.isEmpty { json["succeeded"] = .strings(uncounted.succeeded) }
        if !uncounted.failed.isEmpty { json["failed"] = .strings(uncounted.failed) }
        job.status["uncountedTerminatedPods"] = json
    }

    /// With the version that was read: somebody else's change means that all is looked at again.
    private func write(_ job: KubeObject, over old: KubeObject) async throws(APIError) -> KubeObject {
        if job.resourceVersion == old.resourceVersion, job.status == old.status { return job }
        return try await client.updateStatus(.jobs, job)
    }

    /// Takes the finalizer away.
    func letGo(_ pods: [KubeObject]) async throws(APIError) {
        try await concurrently(pods.filter { $0.finalizers.contains(JobState.finalizer) }) {
            [client] pod throws(APIError) in
            do throws(APIError) {
                _ = try await client.patch(
                    .pods, namespace: pod.namespace, name: pod.name,
                    [
                        "metadata": [
                            "uid": .string(pod.uid),
                            "finalizers": .strings(pod.finalizers.filter { $0 != JobState.finalizer }),
                        ]
                    ], type: .merge, subresource: nil)
            } catch {
                // Gone, or another pod of that name.
                if !error.isNotFound && !error.isConflict { throw error }
            }
        }
    }

    /// Pods of a Job that is gone or finished (`uid`) have nobody who would count them.
    func releasePods(of key: ObjectKey, uid: String?) async throws(APIError) {
        var left: [KubeObject] = []
        let options = ListOptions(claimant: uid)
        for item in try await client.list(.pods, namespace: key.namespace, options: options).items {
            let pod = try item.decode()
            guard pod.finalizers.contains(JobState.finalizer), let owner = pod.controller, owner.kind == "Job",
                owner.name == key.name, uid == nil || owner.uid == uid
            else { continue }
            left.append(pod)
        }
        try await letGo(left)
    }
}
