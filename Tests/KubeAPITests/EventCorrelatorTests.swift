import Codecs
import Testing

@testable import KubeAPI

@Suite struct EventCorrelatorTests {
    private let pod = EventSubject(kind: "Pod", namespace: "default", name: "web", uid: "u", resourceVersion: "7")
    private let start = Timestamp(nanoseconds: 1_767_225_600_000_000_000)

    private func after(_ seconds: Int64) -> Timestamp {
        Timestamp(nanoseconds: start.nanoseconds + seconds * 1_000_000_000)
    }

    @Test func theFirstOneIsCreatedAndTheNextOnesRaiseItsCount() throws {
        var correlator = EventCorrelator(component: "scheduler", host: "node-1")
        let firstWrite = correlator.correlate(pod, .warning, "Failed", "no", now: start)
        let first = try #require(firstWrite)
        let secondWrite = correlator.correlate(pod, .warning, "Failed", "no", now: after(5))
        let second = try #require(secondWrite)
        #expect(first.isFirst && !second.isFirst)
        #expect(first.name == second.name && first.name.hasPrefix("web."))
        #expect(second.patch == ["count": 2, "lastTimestamp": "2026-01-01T00:00:05Z", "message": "no"])
        let event = first.object
        #expect(event["involvedObject"]["resourceVersion"].string == "7")
        #expect(event["source"] == ["component": "scheduler", "host": "node-1"])
        #expect(event["type"].string == "Warning" && event.namespace == "default")
    }

    @Test(arguments: ["subject", "type", "reason", "message"]) func whatDiffersIsAnotherEvent(_ part: String) throws {
        var correlator = EventCorrelator(component: "test")
        var other = pod
        if part == "subject" { other.fieldPath = "spec.containers{app}" }
        _ = correlator.correlate(pod, .normal, "Pulled", "image", now: start)
        let second = correlator.correlate(
            other, part == "type" ? .warning : .normal, part == "reason" ? "Pulling" : "Pulled",
            part == "message" ? "another" : "image", now: start)
        #expect(second?.isFirst == true)
    }

    @Test func anotherResourceVersionIsTheSameEvent() {
        var correlator = EventCorrelator(component: "test")
        var later = pod
        later.resourceVersion = "8"
        _ = correlator.correlate(pod, .normal, "Pulled", "image", now: start)
        let write1 = correlator.correlate(later, .normal, "Pulled", "image", now: start)
        #expect(write1?.count == 2)
    }

    @Test func twentyFiveAtOnceThenOneInFiveMinutes() {
        var correlator = EventCorrelator(component: "test")
        let many = (0..<40).compactMap { _ in correlator.correlate(pod, .normal, "Tick", "tick", now: start) }
        #expect(many.count == 25)
        let write2 = correlator.correlate(pod, .normal, "Tick", "tick", now: after(299))
        #expect(write2 == nil)
        let write3 = correlator.correlate(pod, .normal, "Tick", "tick", now: after(301))
        #expect(write3?.count == 26)
        let write4 = correlator.correlate(pod, .normal, "Tick", "tick", now: after(302))
        #expect(write4 == nil)
        var other = pod
        other.uid = "v"
        let write5 = correlator.correlate(other, .normal, "Tick", "tick", now: after(302))
        #expect(write5 != nil)
    }

    @Test func objectsWithoutUIDDoNotShareABudget() {
        var correlator = EventCorrelator(component: "test")
        let nodes = ["a", "b"].map { EventSubject(kind: "Node", namespace: "", name: $0, uid: "") }
        for _ in 0..<30 { _ = correlator.correlate(nodes[0], .normal, "Tick", "tick", now: start) }
        let write6 = correlator.correlate(nodes[1], .normal, "Tick", "tick", now: start)
        #expect(write6?.namespace == "default")
    }

    @Test func similarOnesAreCombinedUntilTenMinutesHavePassed() throws {
        var correlator = EventCorrelator(component: "test")
        let writes = (0..<12).compactMap { correlator.correlate(pod, .normal, "Tick", "number \($0)", now: start) }
        #expect(writes.prefix(10).allSatisfy { $0.isFirst && $0.message.hasPrefix("number") })
        #expect(writes[10].message == "(combined from similar events): number 10" && writes[10].isFirst)
        #expect(writes[11].count == 2 && writes[11].name == writes[10].name)
        let laterWrite = correlator.correlate(pod, .normal, "Tick", "number 99", now: after(601))
        let later = try #require(laterWrite)
        #expect(later.message == "number 99" && later.isFirst)
    }

    @Test func aForgottenOneIsCreatedAfresh() throws {
        var correlator = EventCorrelator(component: "test")
        let firstWrite = correlator.correlate(pod, .normal, "Tick", "tick", now: start)
        let first = try #require(firstWrite)
        correlator.forget(first.name)
        let secondWrite = correlator.correlate(pod, .normal, "Tick", "tick", now: start)
        let second = try #require(secondWrite)
        #expect(second.isFirst && second.name != first.name)
    }

    @Test func longMessagesAreCut() throws {
        var correlator = EventCorrelator(component: "test")
        let text = String(repeating: "ä", count: 2000)
        let cut = correlator.correlate(pod, .normal, "Tick", text, now: start)
        let write = try #require(cut)
        #expect(write.message.utf8.count <= 1026 && write.message.hasSuffix("..."))
    }

    @Test func whatIsRememberedIsBounded() {
        var correlator = EventCorrelator(component: "test", limit: 10)
        for index in 0..<1000 {
            var subject = pod
            subject.uid = "\(index)"
            let write7 = correlator.correlate(subject, .normal, "Tick", "tick", now: after(Int64(index)))
            #expect(write7 != nil)
        }
        // The newest is still known, the oldest is not.
        var newest = pod
        newest.uid = "999"
        let write8 = correlator.correlate(newest, .normal, "Tick", "tick", now: after(1000))
        #expect(write8?.count == 2)
        var oldest = pod
        oldest.uid = "0"
        let write9 = correlator.correlate(oldest, .normal, "Tick", "tick", now: after(1000))
        #expect(write9?.isFirst == true)
    }
}
