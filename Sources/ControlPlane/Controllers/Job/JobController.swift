internal import Codecs
package import KubeAPI
import Synchronization

/// Runs pods to their end as a Job asks for, counts each exactly once, and removes finished Jobs whose time has come.
/// Source: k8s.io/kubernetes/pkg/controller/{job,ttlafterfinished}.
///
/// Every pod has a finalizer until it is counted: its uid is written to the status, then the finalizer goes, then the
/// number rises. A crash in between neither loses a pod nor counts it twice.
package final class JobController: Controller {
    package let name = "job-controller"
    package let concurrency = 2
    let client: any KubeClient
    let clock: any KubeClock
    let events: EventRecorder
    let control: PodControl
    /// No more pods are made, removed or counted in one go.
    static let burst = 500

    /// Failures in a row, for the time to wait before the next attempt.
    struct Backoff: Sendable {
        var failures: Int64 = 0
        var last: Timestamp?
    }
    private let backoffs = Mutex<[String: Backoff]>([:])

    package init(client: any KubeClient, clock: any KubeClock) {
        (self.client, self.clock) = (client, clock)
        events = EventRecorder(client: client, clock: clock, component: "job-controller")
        control = PodControl(client: client, events: events)
    }

    package var sources: [WatchSource] { [.own(.jobs), .owner("Job", of: .pods), .orphans(of: .pods)] }

    package func expand(_ key: ObjectKey) async throws(APIError) -> [ObjectKey]? {
        try await Orphans.wanted(key, by: .jobs, client)
    }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        guard let job = try await client.getIfPresent(.jobs, namespace: key.namespace, name: key.name) else {
            try await releasePods(of: key, uid: nil)
            return nil
        }
        let manager = job.spec["managedBy"].string ?? ""
        guard manager.isEmpty || manager == "kubernetes.io/job-controller" else { return nil }
        if JobState.isFinished(job) {
            backoffs.withLock { _ = $0.removeValue(forKey: job.uid) }
            try await releasePods(of: key, uid: job.uid)
            return try await expire(job)
        }
        return try await sync(job)
    }

    private func sync(_ old: KubeObject) async throws(APIError) -> Duration? {
        var job = old
        let now = clock.now()
        let claims = PodClaims(client: client)
        let pods = try await claims.claim(for: job, selector: try LabelSelector(json: job.spec["selector"]))
        if job.status["startTime"].isNull, job.spec["suspend"].bool != true {
            job.status["startTime"] = .string(now.rfc3339)
        }
        let state = JobState(job: job, pods: pods, now: now)
        let backoff = note(state)
        var wait = state.timeLeft.flatMap { $0 > .zero ? $0 : nil }
        var finish = state.finish()
        var failure: APIError?
        if finish != nil {
            // Those that still run go with the Job, finalizers and all: they are counted.
            try await control.delete(Array(state.active.prefix(Self.burst)), of: job)
            if state.active.count > Self.burst { finish = nil }
        } else if !job.isBeingDeleted {
            do throws(APIError) {
                if let later = try await manage(state, backoff) { wait = min(wait ?? later, later) }
            } catch {
                failure = error
            }
        }
        let after = try await claims.owned(by: job)
        let active = after.filter(\.isActivePod)
        if finish == nil {
            if state.isComplete(active: active.count) {
                finish = JobState.Finish(
                    succeeds: true, reason: "CompletionsReached",
                    message: "Reached expected number of succeeded pods")
            } else if failure == nil, !job.isBeingDeleted {
                await setSuspended(&job, state.isSuspended, now)
            }
        }
        setCount(&job, "active", active.count)
        job.status["ready"] = .int(Int64(active.filter(\.isReadyPod).count))
        let terminating = after.filter(\.isTerminatingPod).count
        job.status["terminating"] = .int(Int64(terminating))
        try await track(state, old, &job, finish, terminating: terminating)
        if let failure { throw failure }
        return wait
    }

    // MARK: - Attempts

    /// Failures since the last success, of pods that were not seen ended before.
    private func note(_ state: JobState) -> Backoff {
        backoffs.withLock { backoffs in
            var known = backoffs[state.job.uid] ?? Backoff()
            let failures = state.newlyFailed.map { JobState.endTime(of: $0, state.now) }
            if let success = state.newlySucceeded.map({ JobState.endTime(of: $0, state.now) }).max() {
                known.failures = Int64(failures.filter { $0 > success }.count)
            } else {
                known.failures += Int64(failures.count)
            }
            if let last = failures.max() { known.last = max(known.last ?? last, last) }
            backoffs[state.job.uid] = known
            return known
        }
    }

    /// 10 s, 20 s, 40 s ... at most ten minutes after the last failure.
    private static func remaining(_ failures: Int64, _ last: Timestamp?, _ now: Timestamp) -> Duration {
        guard failures > 0, let last else { return .zero }
        let seconds = min(600, 10 << min(failures - 1, 7))
        return max(.zero, last.advanced(by: .seconds(seconds)).duration(since: now))
    }

    /// Makes and removes pods. Returns when to look again.
    private func manage(_ state: JobState, _ backoff: Backoff) async throws(APIError) -> Duration? {
        let active = state.active.count
        if state.isSuspended {
            try await drop(state.surplus(active), state)
            return nil
        }
        let wanted = Int(clamping: state.wantedActive)
        let doomed = state.surplus(max(0, active - wanted))
        guard doomed.isEmpty else {
            try await drop(Array(doomed.prefix(Self.burst)), state)
            return .zero
        }
        let ending = state.replacesFailedOnly ? state.pods.filter(\.isTerminatingPod).count : 0
        let missing = min(Self.burst, wanted - active - ending)
        guard missing > 0 else { return nil }
        guard state.isIndexed else {
            let wait = Self.remaining(backoff.failures, backoff.last, state.now)
            guard wait <= .zero else { return wait }
            try await control.create((0..<missing).map { _ in pod(state, index: nil) }, for: state.job)
            return nil
        }
        var indexes = state.pendingIndexes(missing)
        var wait = state.isPerIndex ? nil : Self.remaining(backoff.failures, backoff.last, state.now)
        if state.isPerIndex {
            // Each index waits for itself.
            var waits: [Duration] = []
            indexes = indexes.filter { index in
                guard let last = state.lastFailed[index] else { return true }
                let left = Self.remaining(
                    JobState.failures(last).all + 1, JobState.endTime(of: last, state.now), state.now)
                if left > .zero { waits.append(left) }
                return left <= .zero
            }
            wait = waits.min()
        } else if let left = wait, left > .zero {
            return left
        } else {
            wait = nil
        }
        try await control.create(indexes.map { pod(state, index: $0) }, for: state.job)
        return wait
    }

    private func pod(_ state: JobState, index: Int64?) -> KubeObject {
        let job = state.job
        let prefix = index.map { "\(job.name)-\($0)-" } ?? job.name + "-"
        var pod = KubeObject.pod(from: job.spec["template"], generateName: prefix, owner: job)
        if !pod.finalizers.contains(JobState.finalizer) { pod.finalizers = pod.finalizers + [JobState.finalizer] }
        guard let index else { return pod }
        let text = String(index)
        pod.metadata["annotations"][JobState.indexKey] = .string(text)
        pod.metadata["labels"][JobState.indexKey] = .string(text)
        pod.spec["hostname"] = .string("\(job.name)-\(text)")
        if state.isPerIndex {
            var (counted, ignored): (Int64, Int64) = (0, 0)
            if let last = state.lastFailed[index] {
                let before = JobState.failures(last)
                let isIgnored = state.policy.verdict(on: last) == .ignore
                counted = before.counted + (isIgnored ? 0 : 1)
                ignored = before.all - before.counted + (isIgnored ? 1 : 0)
            }
            pod.metadata["annotations"][JobState.failuresKey] = .string(String(counted))
            if ignored > 0 { pod.metadata["annotations"][JobState.ignoredKey] = .string(String(ignored)) }
        }
        let variable: JSON = [
            "name": "JOB_COMPLETION_INDEX",
            "valueFrom": ["fieldRef": ["fieldPath": .string("metadata.labels['\(JobState.indexKey)']")]],
        ]
        for list in ["initContainers", "containers"] {
            let containers = pod.spec[list].elements.map { container in
                guard !container["env"].elements.contains(where: { $0["name"] == variable["name"] }) else {
                    return container
                }
                var container = container
                container["env"].append(variable)
                return container
            }
            if !containers.isEmpty { pod.spec[list] = .array(containers) }
        }
        return pod
    }

    /// Removes pods that are not wanted any more: they do not count as failed.
    private func drop(_ pods: [KubeObject], _ state: JobState) async throws(APIError) {
        try await letGo(pods)
        try await control.delete(pods, of: state.job)
    }

    // MARK: - Conditions

    private func setSuspended(_ job: inout KubeObject, _ isSuspended: Bool, _ now: Timestamp) async {
        let known = job.condition("Suspended")["status"].string
        guard known == "True" ? !isSuspended : isSuspended else { return }
        var conditions = job.status["conditions"]
        JobController.set(
            &conditions, "Suspended", isSuspended, isSuspended ? "JobSuspended" : "JobResumed",
            isSuspended ? "Job suspended" : "Job resumed", now)
        job.status["conditions"] = conditions
        // The deadline counts the time that the Job is active without a break.
        job.status["startTime"] = isSuspended ? .null : .string(now.rfc3339)
        await events.event(
            job, reason: isSuspended ? "Suspended" : "Resumed", isSuspended ? "Job suspended" : "Job resumed")
    }

    static func set(
        _ conditions: inout JSON, _ type: String, _ status: Bool, _ reason: String, _ message: String, _ now: Timestamp
    ) {
        setCondition(
            &conditions, type: type, status: status ? "True" : "False", reason: reason, message: message, now: now)
        // A Job's conditions also say when they were looked at last.
        var list = conditions.elements
        guard let i = list.firstIndex(where: { $0["type"].string == type }) else { return }
        list[i]["lastProbeTime"] = .string(now.rfc3339)
        conditions = .array(list)
    }

    // MARK: - After the end

    private func expire(_ job: KubeObject) async throws(APIError) -> Duration? {
        guard let seconds = job.spec["ttlSecondsAfterFinished"].int, !job.isBeingDeleted else { return nil }
        let condition = job.condition(JobState.holds(job, "Complete") ? "Complete" : "Failed")
        guard let end = condition["lastTransitionTime"].string.flatMap({ Timestamp($0) }) else { return nil }
        let now = clock.now()
        let due = end.advanced(by: .seconds(seconds))
        guard due <= now else { return due.duration(since: now) }
        do throws(APIError) {
            try await client.delete(
                .jobs, namespace: job.namespace, name: job.name,
                options: DeleteOptions(uid: job.uid, resourceVersion: job.resourceVersion, propagation: .foreground))
        } catch {
            if !error.isNotFound { throw error }
        }
        return nil
    }
}
