import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

@Suite struct CronJobTests {
    func bench() async throws -> ControllerBench {
        try await ControllerBench { client, clock in
            [CronJobController(client: client, clock: clock, recheck: .seconds(86400 * 400))]
        }
    }

    static func cron(_ schedule: String, _ extra: JSON = [:]) -> JSON {
        var spec: JSON = [
            "schedule": .string(schedule), "timeZone": "UTC",
            "jobTemplate": [
                "metadata": ["labels": ["from": "cron"], "annotations": ["a": "b"]],
                "spec": [
                    "template": ["spec": ["containers": [["name": "c", "image": "i"]], "restartPolicy": "Never"]]
                ],
            ],
        ]
        for (key, value) in extra.object?.members ?? [] { spec[key] = value }
        return ["metadata": ["name": "tick"], "spec": spec]
    }

    func jobs(_ bench: ControllerBench) async throws -> [String] { try await bench.list(.jobs).map(\.name) }

    func finish(_ bench: ControllerBench, _ name: String, _ type: String = "Complete") async throws {
        var job = try await bench.get(.jobs, name)
        let now = bench.clock.now()
        job.status["startTime"] = job.metadata["creationTimestamp"]
        if type == "Complete" { job.status["completionTime"] = .string(now.rfc3339) }
        var conditions = job.status["conditions"]
        // What the API asks for before the final condition.
        let interim = type == "Complete" ? "SuccessCriteriaMet" : "FailureTarget"
        for type in [interim, type] {
            setCondition(&conditions, type: type, status: "True", reason: "X", message: "", now: now)
        }
        job.status["conditions"] = conditions
        job.status["uncountedTerminatedPods"] = [:]
        _ = try await bench.client.updateStatus(.jobs, job)
    }

    @Test func aJobIsMadeWhenItIsTime() async throws {
        let bench = try await bench()
        let cron = try await bench.create(.cronJobs, Self.cron("*/5 * * * *"))
        try await bench.settle()
        #expect(try await jobs(bench) == [])
        try await bench.advance(.seconds(299))
        #expect(try await jobs(bench) == [])
        try await bench.advance(.seconds(1))
        let minute = bench.clock.now().seconds / 60
        let job = try await bench.get(.jobs, "tick-\(minute)")
        #expect(job.controller?.uid == cron.uid && job.labels["from"] == "cron")
        #expect(job.annotations["batch.kubernetes.io/cronjob-scheduled-timestamp"] == "2026-01-01T00:05:00Z")
        #expect(job.annotations["a"] == "b")
        let status = try await bench.get(.cronJobs, "tick").status
        #expect(status["lastScheduleTime"] == "2026-01-01T00:05:00Z")
        #expect(status["active"].elements.map { $0["name"].string } == ["tick-\(minute)"])
        #expect(try await bench.events("tick") == ["SuccessfulCreate Created job tick-\(minute)"])
    }

    @Test func finishedJobsLeaveTheListAndTheOldestGo() async throws {
        let bench = try await bench()
        try await bench.create(
            .cronJobs, Self.cron("*/5 * * * *", ["successfulJobsHistoryLimit": 2, "failedJobsHistoryLimit": 1]))
        for i in 0..<6 {
            try await bench.advance(.seconds(300))
            let name = try #require(try await bench.get(.cronJobs, "tick").status["active"][0]["name"].string)
            try await finish(bench, name, i % 3 == 2 ? "Failed" : "Complete")
            try await bench.settle()
            #expect(try await bench.get(.cronJobs, "tick").status["active"].isNull)
        }
        let left = try await bench.list(.jobs)
        #expect(left.filter { JobState.holds($0, "Complete") }.count == 2)
        #expect(left.filter { JobState.holds($0, "Failed") }.count == 1)
        #expect(try await bench.get(.cronJobs, "tick").status["lastSuccessfulTime"] == "2026-01-01T00:25:00Z")
    }

    struct Policy: Sendable {
        var policy: String
        var names: Int
        var active: Int
    }

    @Test(arguments: [
        Policy(policy: "Allow", names: 3, active: 3), Policy(policy: "Forbid", names: 1, active: 1),
        Policy(policy: "Replace", names: 1, active: 1),
    ]) func jobsThatRunOn(_ test: Policy) async throws {
        let bench = try await bench()
        try await bench.create(
            .cronJobs, Self.cron("* * * * *", ["concurrencyPolicy": .string(test.policy)]))
        try await bench.advance(.seconds(60))
        let first = try await jobs(bench)
        try await bench.advance(.seconds(120))
        #expect(try await jobs(bench).count == test.names)
        #expect(try await bench.get(.cronJobs, "tick").status["active"].elements.count == test.active)
        #expect(try await jobs(bench).contains(first[0]) == (test.policy != "Replace"))
        if test.policy == "Forbid" {
            // It starts as soon as the other one is through.
            try await finish(bench, first[0])
            try await bench.settle()
            #expect(try await jobs(bench).count == 2)
        }
    }

    @Test func missedRunsAreMadeUpForOnce() async throws {
        let bench = try await bench()
        try await bench.create(.cronJobs, Self.cron("0 * * * *"))
        try await bench.settle()
        // Nobody looks for five hours and a half.
        bench.clock.advance(by: .seconds(5 * 3600 + 1800))
        try await bench.settle()
        let due = try #require(Timestamp("2026-01-01T05:00:00Z")).seconds / 60
        #expect(try await jobs(bench) == ["tick-\(due)"])
        try await bench.advance(.seconds(1800))
        #expect(try await jobs(bench) == ["tick-\(due)", "tick-\(due + 60)"])
    }

    @Test func aRunThatIsTooLateIsLeftOut() async throws {
        let bench = try await bench()
        try await bench.create(.cronJobs, Self.cron("0 * * * *", ["startingDeadlineSeconds": 600]))
        try await bench.settle()
        bench.clock.advance(by: .seconds(3600 + 601))
        try await bench.settle()
        #expect(try await jobs(bench) == [])
        bench.clock.advance(by: .seconds(3600 - 301))
        try await bench.settle()
        #expect(try await jobs(bench).count == 1, "five minutes late is in time")
    }

    @Test func suspendedOnesWait() async throws {
        let bench = try await bench()
        try await bench.create(.cronJobs, Self.cron("* * * * *", ["suspend": true]))
        try await bench.advance(.seconds(600))
        #expect(try await jobs(bench) == [])
        try await bench.patch(.cronJobs, "tick", ["spec": ["suspend": false]])
        try await bench.settle()
        #expect(try await jobs(bench).count == 1)
    }

    @Test func aCrashBetweenMakingAndNotingMakesNoSecondJob() async throws {
        let bench = try await bench()
        try await bench.create(.cronJobs, Self.cron("0 * * * *"))
        try await bench.advance(.seconds(3600))
        let name = try #require(try await jobs(bench).first)
        var cron = try await bench.get(.cronJobs, "tick")
        cron.status = .null
        _ = try await bench.client.updateStatus(.cronJobs, cron)
        try await bench.settle()
        #expect(try await jobs(bench) == [name])
        #expect(try await bench.get(.cronJobs, "tick").status["active"][0]["name"].string == name)
    }

    @Test func anActiveJobThatIsGoneIsForgotten() async throws {
        let bench = try await bench()
        try await bench.create(.cronJobs, Self.cron("0 * * * *", ["concurrencyPolicy": "Forbid"]))
        try await bench.advance(.seconds(3600))
        let name = try #require(try await jobs(bench).first)
        try await bench.delete(.jobs, name, .background)
        try await bench.settle()
        #expect(try await bench.get(.cronJobs, "tick").status["active"].isNull)
        #expect(try await bench.events("tick").contains("MissingJob Active job went missing: \(name)"))
    }

    @Test func aYearGoesByInAMoment() async throws {
        let bench = try await bench()
        try await bench.create(
            .cronJobs, Self.cron("0 3 * * *", ["timeZone": "UTC", "successfulJobsHistoryLimit": 1]))
        let controller = CronJobController(
            client: bench.client, clock: bench.clock, recheck: .seconds(86400 * 400))
        let end = bench.clock.now().advanced(by: .seconds(365 * 86400))
        var made: Set<String> = []
        var times: [String] = []
        var rounds = 0
        while let wait = try await controller.reconcile(ObjectKey(namespace: "default", name: "tick")) {
            rounds += 1
            if let name = try await bench.get(.cronJobs, "tick").status["active"][0]["name"].string {
                made.insert(name)
                times.append(bench.clock.now().rfc3339)
                try await finish(bench, name)
            }
            if bench.clock.now().advanced(by: wait) > end { break }
            bench.clock.advance(by: wait)
        }
        #expect(made.count == 365)
        #expect(times.allSatisfy { $0.hasSuffix("T03:00:00Z") })
        // One look for each job, and one for each that has ended.
        #expect(rounds <= 2 * 365 + 2)
    }
}
