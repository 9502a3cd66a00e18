import Codecs
import Containers
import KubeAPI
import Linux
import Testing

@testable import Node

@Suite("Eviction thresholds") struct EvictionThresholdTests {
    private func at(_ seconds: Int64) -> Timestamp { Timestamp(nanoseconds: seconds * 1_000_000_000) }
    private func memory(_ available: Int64) -> [EvictionSignal: EvictionObservation] {
        [.memoryAvailable: EvictionObservation(available: available, capacity: 1000)]
    }

    @Test func k3sWatchesItsDisksAlone() throws {
        let thresholds = try EvictionSettings().thresholds()
        #expect(thresholds.map(\.signal) == [.imageFSAvailable, .nodeFSAvailable])
        #expect(thresholds.allSatisfy { $0.amount == .share(5000) && $0.minimumReclaim == .share(10_000) })
        #expect(thresholds.allSatisfy { $0.grace == nil })
    }

    @Test func aHardThresholdIsMetAtOnceAndUntilTheMinimumIsReclaimed() throws {
        var settings = EvictionSettings()
        settings.hard = ["memory.available": "100"]
        settings.minimumReclaim = ["memory.available": "5%"]
        var state = try EvictionState(settings)
        #expect(state.observe(memory(100), now: at(0)).isEmpty)
        #expect(state.observe(memory(99), now: at(10)).count == 1)
        #expect(state.conditions == ["MemoryPressure"])
        // 100 and 5 % of 1000.
        #expect(state.observe(memory(149), now: at(20)).count == 1)
        #expect(state.observe(memory(150), now: at(30)).isEmpty)
        #expect(state.observe(memory(101), now: at(40)).isEmpty)
    }

    @Test func aConditionStaysForTheTransitionPeriod() throws {
        var settings = EvictionSettings()
        settings.hard = ["memory.available": "10%"]
        settings.transitionPeriod = .seconds(60)
        var state = try EvictionState(settings)
        _ = state.observe(memory(99), now: at(0))
        _ = state.observe(memory(500), now: at(60))
        #expect(state.conditions == ["MemoryPressure"])
        _ = state.observe(memory(500), now: at(61))
        #expect(state.conditions.isEmpty)
    }

    @Test func aSoftThresholdWaitsForItsGraceButIsShown() throws {
        var settings = EvictionSettings()
        settings.hard = [:]
        settings.soft = ["memory.available": "300"]
        settings.softGrace = ["memory.available": "1m30s"]
        settings.minimumReclaim = [:]
        var state = try EvictionState(settings)
        #expect(state.observe(memory(200), now: at(0)).isEmpty)
        #expect(state.conditions == ["MemoryPressure"])
        #expect(state.observe(memory(200), now: at(89)).isEmpty)
        #expect(state.observe(memory(200), now: at(90)).count == 1)
        // Better in between: from the beginning.
        #expect(state.observe(memory(300), now: at(100)).isEmpty)
        #expect(state.observe(memory(200), now: at(110)).isEmpty)
    }

    @Test(arguments: [
        (["memory.available": "x"], "is not an amount"), (["memory.free": "1"], "is not one of memory.available"),
        (["nodefs.available": "101%"], "is not an amount"), (["nodefs.available": "-1"], "is not an amount"),
    ])
    func nonsenseIsRefused(_ hard: [String: String], _ reason: String) {
        var settings = EvictionSettings()
        settings.hard = hard
        do throws(SettingsError) {
            _ = try settings.thresholds()
            Issue.record("taken: \(hard)")
        } catch {
            #expect(error.message.contains(reason), "\(error.message)")
        }
    }

    @Test func aSoftThresholdNeedsAGracePeriod() {
        var settings = EvictionSettings()
        settings.soft = ["pid.available": "10"]
        #expect(throws: SettingsError.self) { try settings.thresholds() }
    }
}

@Suite("Eviction ranking") struct EvictionRankingTests {
    private func pod(_ name: String, priority: Int64 = 0, memory: Int64, request: Int64, processes: Int64 = 0)
        -> EvictionCandidate
    {
        var pod = EvictionCandidate(uid: name)
        (pod.priority, pod.memory, pod.memoryRequest, pod.processes) = (priority, memory, request, processes)
        var container = EvictionCandidate.Container(name: "app")
        (container.memory, container.memoryRequest) = (memory, request)
        pod.containers = [container]
        return pod
    }

    @Test func whoExceedsItsRequestGoesBeforeWhoDoesNotThenPriorityThenAmount() {
        let pods = [
            pod("modest", memory: 900, request: 1000), pod("greedy", memory: 500, request: 100),
            pod("greedier", memory: 700, request: 100), pod("important", priority: 10, memory: 5000, request: 0),
        ]
        let order = EvictionRanking.ranked(pods, for: .memoryAvailable).map(\.uid)
        #expect(order == ["greedier", "greedy", "important", "modest"])
    }

    @Test func processesAreRankedByPriorityAndNumber() {
        let pods = [
            pod("few", memory: 0, request: 0, processes: 2), pod("many", memory: 0, request: 0, processes: 200),
            pod("important", priority: 1, memory: 0, request: 0, processes: 900),
        ]
        #expect(EvictionRanking.ranked(pods, for: .pidAvailable).map(\.uid) == ["many", "few", "important"])
    }

    @Test func theMessageNamesWhatAndHowMuch() {
        let met = EvictionState.Met(
            threshold: EvictionThreshold(signal: .memoryAvailable, amount: .quantity(100 << 20)),
            observation: EvictionObservation(available: 50 << 20, capacity: 1 << 30))
        #expect(
            EvictionRanking.message(pod("p", memory: 300 << 20, request: 64 << 20), met)
                == "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. "
                + "Container app was using 300Mi, request is 64Mi, has larger consumption of memory. ")
        let pids = EvictionState.Met(
            threshold: EvictionThreshold(signal: .pidAvailable, amount: .share(10_000)),
            observation: EvictionObservation(available: 50, capacity: 1000))
        #expect(
            EvictionRanking.message(pod("p", memory: 1, request: 0), pids)
                == "The node was low on resource: pids. Threshold quantity: 100, available: 50. ")
    }
}

@Suite("Storage limits") struct StorageLimitsTests {
    private let limits = StorageLimits(
        Pod(
            KubeObject([
                "spec": [
                    "volumes": [
                        ["name": "scratch", "emptyDir": ["sizeLimit": "1Mi"]],
                        ["name": "shm", "emptyDir": ["medium": "Memory", "sizeLimit": "1Mi"]],
                    ],
                    "containers": [
                        ["name": "a", "resources": ["limits": ["ephemeral-storage": "2Mi"]]],
                        ["name": "b", "resources": ["limits": ["ephemeral-storage": "1Mi"]]],
                    ],
                ]
            ])))

    @Test func volumesPodsAndContainersAreHeldToTheirLimits() {
        #expect(limits.isSet)
        #expect(limits.violation(volumes: ["scratch": 1 << 20], containers: ["a": 1 << 20]) == nil)
        #expect(
            limits.violation(volumes: ["scratch": (1 << 20) + 1], containers: [:])
                == "Usage of EmptyDir volume \"scratch\" exceeds the limit \"1Mi\". ")
        #expect(
            limits.violation(volumes: ["other": 3 << 20], containers: ["b": 1])
                == "Pod ephemeral local storage usage exceeds the total limit of containers 3Mi. ")
        #expect(
            limits.violation(volumes: [:], containers: ["b": 2 << 20])
                == "Container b exceeded its local ephemeral storage limit \"1Mi\". ")
    }
}

@Suite("Eviction") struct EvictionTests {
    /// A node whose /proc says what the test wants.
    private func node(
        available: Int64, adjust: (inout EvictionSettings) -> Void = { _ in }
    ) throws -> NodeHarness {
        let node = try NodeHarness { configuration in
            configuration.proc = configuration.etc + "/proc"
            configuration.eviction.hard = ["memory.available": "100Mi"]
            configuration.eviction.minimumReclaim = [:]
            adjust(&configuration.eviction)
        }
        try Directories.make(node.configuration.proc)
        try set(node, available: available)
        return node
    }
    private func set(_ node: NodeHarness, available: Int64) throws {
        let text = "MemTotal: 1048576 kB\nMemFree: \(available / 1024) kB\nInactive(file): 0 kB\n"
        try Files.writeAtomically(node.configuration.proc + "/meminfo", Array(text.utf8), mode: 0o644)
    }
    private func isUnderPressure(_ node: NodeHarness, _ type: String = "MemoryPressure") -> Bool {
        node.client.object(.nodes, "", "node-1")?.status["conditions"].elements
            .contains { $0["type"].string == type && $0["status"].string == "True" } ?? false
    }

    @Test func lowMemoryEndsThePodThatUsesMostAndKeepsOthersAway() async throws {
        let node = try node(available: 500 << 20)
        node.start()
        node.create(
            "modest",
            containers: [["name": "m", "image": "busybox:1", "resources": ["requests": ["memory": "64Mi"]]]])
        node.create("greedy")
        node.create("system", ["priority": 2_000_000_000], containers: [["name": "s", "image": "busybox:1"]])
        for name in ["modest", "greedy", "system"] { try await node.until("\(name) runs") { node.isReady(name) } }
        #expect(!isUnderPressure(node))
        try set(node, available: 50 << 20)
        try await node.until("greedy is evicted", ticking: .milliseconds(500)) { node.phase("greedy") == "Failed" }
        try set(node, available: 500 << 20)
        let status = node.pod("greedy")?.status ?? .null
        #expect(status["reason"].string == "Evicted")
        #expect(
            status["message"].string
                == "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. "
                + "Container app was using 8Mi, request is 0, has larger consumption of memory. ")
        #expect(node.condition("greedy", "DisruptionTarget")["status"].string == "True")
        #expect(node.condition("greedy", "DisruptionTarget")["reason"].string == "TerminationByKubelet")
        #expect(node.runtime.calls.contains("stop app 1 15"))
        try await node.until("the node says so") { isUnderPressure(node) }
        try await node.until("events", ticking: .milliseconds(100)) { node.client.eventCount("Evicted") == 1 }
        #expect(node.client.eventTexts().contains("EvictionThresholdMet: Attempting to reclaim memory"))
        // Nobody comes without a request; who has one does.
        node.create("late")
        try await node.until("late is refused", ticking: .milliseconds(100)) { node.phase("late") == "Failed" }
        #expect(node.pod("late")?.status["reason"].string == "Evicted")
        #expect(
            node.pod("late")?.status["message"].string
                == "Pod was rejected: The node had condition: [MemoryPressure]. ")
        node.create(
            "burstable",
            containers: [["name": "b", "image": "busybox:1", "resources": ["requests": ["memory": "1Mi"]]]])
        try await node.until("burstable runs", ticking: .milliseconds(100)) { node.isReady("burstable") }
        #expect(node.isReady("modest") && node.isReady("system"))
        try await node.until("it passes", ticking: .seconds(20)) { !isUnderPressure(node) }
        await node.stop()
    }

    @Test func staticAndCriticalPodsStay() async throws {
        let node = try node(available: 50 << 20)
        node.start()
        node.create("system", ["priority": 2_000_001_000])
        try await node.until("it runs", ticking: .milliseconds(100)) { node.isReady("system") }
        for _ in 0..<50 { node.clock.advance(by: .seconds(10)); await node.settle() }
        #expect(node.isReady("system"))
        #expect(node.client.eventCount("Evicted") == 0)
        await node.stop()
    }

    @Test func aVolumeOverItsLimitEndsItsPod() async throws {
        let node = try node(available: 500 << 20)
        node.start()
        node.create(
            "full", ["volumes": [["name": "scratch", "emptyDir": ["sizeLimit": "64Ki"]]]],
            containers: [
                [
                    "name": "app", "image": "busybox:1",
                    "volumeMounts": [["name": "scratch", "mountPath": "/scratch"]],
                ]
            ])
        try await node.until("it runs") { node.isReady("full") }
        let uid = try #require(node.pod("full")?.uid)
        let path = node.configuration.rootDirectory + "/pods/\(uid)/volumes/kubernetes.io~empty-dir/scratch"
        try Files.write(path + "/big", [UInt8](repeating: 1, count: 100 << 10))
        try await node.until("it is evicted", ticking: .milliseconds(500)) { node.phase("full") == "Failed" }
        #expect(node.pod("full")?.status["reason"].string == "Evicted")
        #expect(
            node.pod("full")?.status["message"].string
                == "Usage of EmptyDir volume \"scratch\" exceeds the limit \"64Ki\". ")
        await node.stop()
    }
}
