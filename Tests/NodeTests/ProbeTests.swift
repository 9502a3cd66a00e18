import Codecs
import Containers
import KubeAPI
import Testing

@testable import Node

@Suite("Probes") struct ProbeTests {
    @Test func readinessDecidesWhetherAPodIsReady() async throws {
        let node = try NodeHarness()
        node.actions.answer("http 10.42.0.2:80/ready", .failure("HTTP probe failed with statuscode: 503"))
        node.start()
        node.create(
            "web",
            containers: [
                [
                    "name": "app", "image": "busybox:1", "ports": [["name": "http", "containerPort": 80]],
                    "readinessProbe": ["httpGet": ["path": "/ready", "port": "http"], "periodSeconds": 5],
                ]
            ])
        try await node.until("runs") { node.phase("web") == "Running" }
        try await node.until("asked") { node.actions.asked.contains("http 10.42.0.2:80/ready") }
        #expect(!node.isReady("web"))
        #expect(node.condition("web", "ContainersReady")["message"].string == "containers with unready status: [app]")
        try await node.until("event") {
            node.client.eventTexts().contains(
                "Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 503")
        }
        node.actions.answer("http 10.42.0.2:80/ready", .success("ok"))
        try await node.until("ready", ticking: .milliseconds(500)) { node.isReady("web") }
        node.actions.answer("http 10.42.0.2:80/ready", .failure("no"))
        try await node.until("not ready after three failures", ticking: .milliseconds(500)) { !node.isReady("web") }
        #expect(node.containerStatus("web")["restartCount"].int == 0)
        await node.stop()
    }

    @Test func aFailedLivenessProbeRestartsTheContainer() async throws {
        let node = try NodeHarness()
        node.start()
        node.create(
            "web",
            containers: [
                [
                    "name": "app", "image": "busybox:1",
                    "livenessProbe": [
                        "exec": ["command": ["check"]], "initialDelaySeconds": 15, "failureThreshold": 1,
                    ],
                ]
            ])
        try await node.until("ready") { node.isReady("web") }
        node.clock.advance(by: .seconds(14))
        await node.settle()
        #expect(node.actions.asked.isEmpty)
        node.actions.answer("exec check", .failure("sick"))
        try await node.until("restarted", ticking: .milliseconds(250)) {
            node.containerStatus("web")["restartCount"].int == 1
        }
        #expect(node.client.eventTexts().contains("Unhealthy: Liveness probe failed: sick"))
        #expect(node.client.eventTexts().contains("Killing: Container app failed liveness probe, will be restarted"))
        await node.stop()
    }

    @Test func aStartupProbeHoldsTheOthersBack() async throws {
        let node = try NodeHarness()
        node.actions.answer("exec started", .failure("not yet"))
        node.start()
        node.create(
            "web",
            containers: [
                [
                    "name": "app", "image": "busybox:1",
                    "startupProbe": ["exec": ["command": ["started"]], "periodSeconds": 1, "failureThreshold": 30],
                    "livenessProbe": ["exec": ["command": ["alive"]], "periodSeconds": 1],
                ]
            ])
        try await node.until("asked often", ticking: .milliseconds(250)) {
            node.actions.asked.filter { $0 == "exec started" }.count > 3
        }
        #expect(!node.actions.asked.contains("exec alive"))
        #expect(node.containerStatus("web")["started"].bool == false)
        #expect(!node.isReady("web"))
        node.actions.answer("exec started", .success(""))
        try await node.until("ready", ticking: .milliseconds(250)) { node.isReady("web") }
        try await node.until("liveness begins", ticking: .milliseconds(250)) {
            node.actions.asked.contains("exec alive")
        }
        let startups = node.actions.asked.filter { $0 == "exec started" }.count
        node.clock.advance(by: .seconds(5))
        await node.settle()
        #expect(node.actions.asked.filter { $0 == "exec started" }.count == startups)
        await node.stop()
    }

    @Test func thresholdsCountInARow() {
        var spec = ProbeSpec(.exec(["x"]))
        spec.successThreshold = 2
        var counter = ProbeCounter(initial: false)
        let changes = [true, false, true, true, false, false, false].map { success -> Bool in
            counter.record(success, spec)
        }
        #expect(changes == [false, false, false, true, false, false, true])
        #expect(counter.result == false)
    }
}

@Suite("TimerQueue") struct TimerQueueTests {
    @Test func timersFireInOrderAndCanBeCancelled() async throws {
        let clock = VirtualClock()
        let timers = TimerQueue(clock: clock)
        let (stream, input) = AsyncStream<Int>.makeStream()
        for (index, seconds) in [5, 1, 3].enumerated() {
            timers.schedule(after: .seconds(seconds)) { input.yield(index) }
        }
        let cancelled = timers.schedule(after: .seconds(2)) { input.yield(99) }
        timers.cancel(cancelled)
        while clock.sleeping == 0 { await Task.yield() }
        clock.advance(by: .seconds(10))
        var seen: [Int] = []
        for await index in stream {
            seen.append(index)
            if seen.count == 3 { break }
        }
        #expect(seen == [1, 2, 0])
        timers.stop()
    }

    @Test func aSecondSleeperDoesNotStay() async throws {
        let clock = VirtualClock()
        let timers = TimerQueue(clock: clock)
        timers.schedule(after: .seconds(100)) {}
        timers.schedule(after: .seconds(50)) {}
        timers.schedule(after: .seconds(10)) {}
        for _ in 0..<2000 where clock.sleeping != 1 { try await Task.sleep(for: .milliseconds(1)) }
        #expect(clock.sleeping == 1)
        timers.stop()
    }

    @Test func deadlinesAreAlignedUpwards() {
        #expect(TimerQueue.aligned(Timestamp(nanoseconds: 1)).nanoseconds == 250_000_000)
        #expect(TimerQueue.aligned(Timestamp(nanoseconds: 500_000_000)).nanoseconds == 500_000_000)
    }
}

@Suite("BackOff") struct BackOffTests {
    @Test func itDoublesToFiveMinutesAndForgets() {
        var backOff = BackOff()
        var now = Timestamp(seconds: 1_000_000)
        #expect(backOff.remaining(since: now, now: now) == nil)
        var delays: [Int64] = []
        for _ in 0..<7 {
            backOff.next(since: now, now: now)
            delays.append(backOff.delay.components.seconds)
            now = now.advanced(by: backOff.delay)
        }
        #expect(delays == [10, 20, 40, 80, 160, 300, 300])
        let later = now.advanced(by: .seconds(601))
        #expect(backOff.remaining(since: later, now: later) == nil)
        backOff.next(since: later, now: later)
        #expect(backOff.delay == .seconds(10))
    }
}
