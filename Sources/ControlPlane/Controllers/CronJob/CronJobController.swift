internal import Codecs
package import KubeAPI

/// Makes Jobs by the clock. Source: k8s.io/kubernetes/pkg/controller/cronjob (version 2).
///
/// A Job's name follows from the minute it was due, so that a crash between making it and noting it makes no second one.
package struct CronJobController: Controller {
    package let name = "cronjob-controller"
    private let client: any KubeClient
    private let clock: any KubeClock
    private let events: EventRecorder
    /// A machine's clock may be set while we sleep (one without a battery starts in the past).
    private let recheck: Duration

    package init(client: any KubeClient, clock: any KubeClock, recheck: Duration = .seconds(600)) {
        (self.client, self.clock, self.recheck) = (client, clock, recheck)
        events = EventRecorder(client: client, clock: clock, component: "cronjob-controller")
    }

    package var sources: [WatchSource] { [.own(.cronJobs), .owner("CronJob", of: .jobs)] }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        guard var cron = try await client.getIfPresent(.cronJobs, namespace: key.namespace, name: key.name) else {
            return nil
        }
        let before = cron.status
        let jobs = try await PodClaims(client: client, resource: .jobs).owned(by: cron)
        await account(for: jobs, in: &cron)
        var wait: Duration?
        var failure: APIError?
        if !cron.isBeingDeleted {
            do throws(APIError) {
                wait = try await run(&cron)
            } catch {
                failure = error
            }
            try await cleanUp(jobs, cron)
        }
        if cron.status != before { _ = try await client.updateStatus(.cronJobs, cron) }
        if let failure { throw failure }
        return wait.map { min($0, recheck) }
    }

    // MARK: - What became of the jobs

    private func account(for jobs: [KubeObject], in cron: inout KubeObject) async {
        var active = cron.status["active"].elements
        for job in jobs {
            let isActive = active.contains { $0["uid"].string == job.uid }
            if !JobState.isFinished(job) {
                if !isActive {
                    await events.event(
                        cron, type: .warning, reason: "UnexpectedJob",
                        "Saw a job that the controller did not create or forgot: \(job.name)")
                }
                continue
            }
            let hasSucceeded = JobState.holds(job, "Complete")
            if isActive {
                active.removeAll { $0["uid"].string == job.uid }
                await events.event(
                    cron, reason: "SawCompletedJob",
                    "Saw completed job: \(job.name), condition: \(hasSucceeded ? "Complete" : "Failed")")
            }
            if hasSucceeded, let time = job.status["completionTime"].string.flatMap({ Timestamp($0) }) {
                let last = cron.status["lastSuccessfulTime"].string.flatMap { Timestamp($0) }
                if last.map({ time > $0 }) ?? true { cron.status["lastSuccessfulTime"] = .string(time.rfc3339) }
            }
        }
        let there = Set(jobs.map(\.uid))
        for reference in active where !there.contains(reference["uid"].string ?? "") {
            await events.event(
                cron, reason: "MissingJob", "Active job went missing: \(reference["name"].string ?? "")")
        }
        active.removeAll { !there.contains($0["uid"].string ?? "") }
        cron.status["active"] = active.isEmpty ? .null : .array(active)
    }

    private func cleanUp(_ jobs: [KubeObject], _ cron: KubeObject) async throws(APIError) {
        for (succeeded, field) in [(true, "successfulJobsHistoryLimit"), (false, "failedJobsHistoryLimit")] {
            guard let limit = cron.spec[field].int else { continue }
            let ended = jobs.filter { JobState.holds($0, succeeded ? "Complete" : "Failed") }
                .filter { !$0.isBeingDeleted }
                .sorted {
                    ($0.status["startTime"].string ?? "", $0.name) < ($1.status["startTime"].string ?? "", $1.name)
                }
            for job in ended.dropLast(Int(clamping: max(0, limit))) { try await delete(job, of: cron) }
        }
    }

    private func delete(_ job: KubeObject, of cron: KubeObject) async throws(APIError) {
        guard try await client.deleteIfPresent(.jobs, job, propagation: .background) else { return }
        await events.event(cron, reason: "SuccessfulDelete", "Deleted job \(job.name)")
    }

    // MARK: - By the clock

    private func run(_ cron: inout KubeObject) async throws(APIError) -> Duration? {
        let zone: TimeZoneRules
        if let name = cron.spec["timeZone"].string {
            guard let known = TimeZoneRules.named(name) else {
                await events.event(
                    cron, type: .warning, reason: "UnknownTimeZone",
                    "invalid timeZone: \"\(name)\": unknown time zone \(name)")
                return nil
            }
            zone = known
        } else {
            zone = .local()
        }
        if cron.spec["suspend"].bool == true { return nil }
        let text = cron.spec["schedule"].string ?? ""
        let schedule: CronSchedule
        do throws(CronSchedule.Problem) {
            schedule = try CronSchedule(text)
        } catch {
            await events.event(
                cron, type: .warning, reason: "UnparseableSchedule", "unparseable schedule: \"\(text)\" : \(error)")
            return nil
        }
        let now = clock.now()
        try await start(&cron, schedule, zone, now)
        return Self.next(of: cron, schedule, zone, now)
    }

    private static func next(
        of cron: KubeObject, _ schedule: CronSchedule, _ zone: TimeZoneRules, _ now: Timestamp
    ) -> Duration? {
        // "@every" counts from the last run.
        var from = max(cron.creationTimestamp ?? now, lastRun(of: cron) ?? Timestamp(seconds: 0))
        if let last = schedule.last(after: from, upTo: now, in: zone) { from = last.time }
        return schedule.next(after: from, in: zone)?.duration(since: now)
    }

    private static func lastRun(of cron: KubeObject) -> Timestamp? {
        cron.status["lastScheduleTime"].string.flatMap { Timestamp($0) }
    }

    private func start(
        _ cron: inout KubeObject, _ schedule: CronSchedule, _ zone: TimeZoneRules, _ now: Timestamp
    ) async throws(APIError) {
        let deadline = cron.spec["startingDeadlineSeconds"].int
        var earliest = Self.lastRun(of: cron) ?? cron.creationTimestamp ?? now
        if let deadline { earliest = max(earliest, now.advanced(by: .seconds(-deadline))) }
        guard let (due, missed) = schedule.last(after: earliest, upTo: now, in: zone) else { return }
        if missed > 100 {
            await events.event(
                cron, type: .warning, reason: "TooManyMissedTimes",
                "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew")
        }
        let name = "\(cron.name)-\(due.seconds / 60)"
        let active = cron.status["active"].elements
        if active.contains(where: { $0["name"].string == name }) { return }
        let policy = cron.spec["concurrencyPolicy"].string
        if policy == "Forbid", !active.isEmpty {
            await events.event(
                cron, reason: "JobAlreadyActive",
                "Not starting job because prior execution is running and concurrency policy is Forbid")
            return
        }
        if policy == "Replace" {
            for reference in active {
                var job = KubeObject(
                    GroupVersionKind("batch", "v1", "Job"), name: reference["name"].string ?? "",
                    namespace: cron.namespace)
                job.metadata["uid"] = reference["uid"]
                try await delete(job, of: cron)
            }
            cron.status["active"] = .null
        }
        guard let job = try await make(name, due, zone, cron) else { return }
        cron.status["active"].append([
            "kind": "Job", "namespace": .string(job.namespace), "name": .string(job.name), "uid": .string(job.uid),
            "apiVersion": "batch/v1", "resourceVersion": .string(String(job.resourceVersion)),
        ])
        cron.status["lastScheduleTime"] = .string(due.rfc3339)
    }

    /// nil: somebody else's job has the name.
    private func make(
        _ name: String, _ due: Timestamp, _ zone: TimeZoneRules, _ cron: KubeObject
    ) async throws(APIError) -> KubeObject? {
        let template = cron.spec["jobTemplate"]
        var job = KubeObject(GroupVersionKind("batch", "v1", "Job"), name: name, namespace: cron.namespace)
        job.metadata["labels"] = template["metadata"]["labels"]
        job.metadata["annotations"] = template["metadata"]["annotations"]
        job.metadata["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"] = .string(zone.rfc3339(due))
        job.ownerReferences = [OwnerReference(controller: cron)]
        job.spec = template["spec"]
        do throws(APIError) {
            let made = try await client.create(.jobs, job)
            await events.event(cron, reason: "SuccessfulCreate", "Created job \(name)")
            return made
        } catch {
            if error.isAlreadyExists {
                // Ours, if we ended between making and noting it.
                let there = try await client.get(.jobs, namespace: cron.namespace, name: name)
                return there.controller?.uid == cron.uid && !JobState.isFinished(there) ? there : nil
            }
            if error.isForbidden, error.causes.contains(where: { $0.reason == "NamespaceTerminating" }) { return nil }
            await events.event(
                cron, type: .warning, reason: "FailedCreate", "Error creating job: \(error.message)")
            throw error
        }
    }
}
