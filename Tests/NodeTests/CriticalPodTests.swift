import Codecs
import KubeAPI
import Testing

@testable import Node

@Suite("Critical pods") struct CriticalPodTests {
    private func candidate(_ uid: String, _ qos: Pod.QOSClass, _ cpu: Int64, _ memory: Int64 = 0)
        -> CriticalPods.Candidate
    {
        CriticalPods.Candidate(uid: uid, qos: qos, request: ["cpu": cpu, "memory": memory, "pods": 1])
    }

    @Test func theLeastThatIsEnoughGoes() {
        let pods = [
            candidate("small", .burstable, 100), candidate("large", .burstable, 500, 10),
            candidate("light", .burstable, 500, 5), candidate("sure", .guaranteed, 900),
        ]
        func victims(_ missing: [String: Int64]) -> [String]? {
            CriticalPods.victims(for: missing, among: pods)?.map(\.uid)
        }
        #expect(victims(["cpu": 80]) == ["small"])
        #expect(victims(["cpu": 400]) == ["light"])
        #expect(victims(["cpu": 1100]) == ["light", "large", "small"])
        #expect(victims(["cpu": 1200])?.contains("sure") == true)
        #expect(victims(["cpu": 2100]) == nil)
        // Where only the number of pods is too great, who asks for nothing goes first.
        let idle = candidate("idle", .bestEffort, 0)
        #expect(CriticalPods.victims(for: ["pods": 1], among: pods + [idle])?.map(\.uid) == ["idle"])
    }

    private func container(_ name: String, _ memory: String) -> [JSON] {
        [["name": .string(name), "image": "busybox:1", "resources": ["requests": ["memory": .string(memory)]]]]
    }

    @Test func aFullNodeTakesACriticalPod() async throws {
        let node = try NodeHarness { $0.maximumPods = 2 }
        node.start()
        node.create("important", ["priority": 2_000_001_000], containers: container("a", "1Mi"))
        node.create("other", ["priority": 0], containers: container("b", "1Mi"))
        try await node.until("both run") { node.isReady("important") && node.isReady("other") }
        node.create("plain", ["priority": 5], containers: container("c", "1Mi"))
        try await node.until("plain is refused") { node.phase("plain") == "Failed" }
        #expect(node.pod("plain")?.status["reason"].string == "OutOfpods")
        // No amount is too much to be refused.
        node.create("greedy", ["priority": 5], containers: container("g", "8Ei"))
        try await node.until("greedy is refused") { node.phase("greedy") == "Failed" }
        node.create("critical", ["priority": 2_000_001_000], containers: container("d", "1Mi"))
        try await node.until("critical runs", ticking: .milliseconds(50)) { node.isReady("critical") }
        try await node.until("other has ended") { node.phase("other") == "Failed" }
        #expect(node.isReady("important"))
        #expect(node.pod("other")?.status["reason"].string == "Preempting")
        #expect(node.pod("other")?.status["message"].string == "Preempted in order to admit critical pod")
        let condition = node.condition("other", "DisruptionTarget")
        #expect(condition["reason"].string == "TerminationByKubelet")
        #expect(
            condition["message"].string == "Pod was preempted by Kubelet to accommodate a critical pod.")
        try await node.until("the event") {
            node.client.eventTexts().contains("Preempting: Preempted in order to admit critical pod")
        }
        node.create("second", ["priority": 2_000_000_000], containers: container("e", "1Mi"))
        try await node.until("second is refused") { node.phase("second") == "Failed" }
        #expect(node.pod("second")?.status["reason"].string == "UnexpectedAdmissionError")
        #expect(
            node.pod("second")?.status["message"].string?.hasSuffix(
                "no set of running pods found to reclaim resources: [(res: pods, q: 1), ]") == true)
        await node.stop()
    }
}
