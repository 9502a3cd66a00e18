import Codecs
import KubeAPI
import Synchronization
import Testing
import Transport

@testable import ControlPlane

@Suite struct AutoscalerTests {
    static let now = Timestamp(seconds: 1_800_000_000)

    static func pod(
        _ name: String, phase: String = "Running", ready: Bool = true, age: Int64 = 3600, request: String? = "100m"
    ) -> KubeObject {
        var pod = KubeObject(Sample.pod(name))
        pod.metadata["uid"] = .string(name)
        if let request {
            pod.spec["containers"] = [["name": "main", "resources": ["requests": ["cpu": .string(request)]]]]
        }
        let start = now.advanced(by: .seconds(-age)).rfc3339
        pod.status = [
            "phase": .string(phase), "startTime": .string(start),
            "conditions": [
                ["type": "Ready", "status": ready ? "True" : "False", "lastTransitionTime": .string(start)]
            ],
        ]
        return pod
    }

    static func usage(_ milliCPU: Int64) -> PodUsage {
        PodUsage(milliCPU: ["main": milliCPU], memory: ["main": milliCPU << 20], time: now, window: .seconds(15))
    }

    struct Case: Sendable {
        var current: Int64
        var used: [Int64?]
        var target: ReplicaCalculator.Target
        var replicas: Int64
        var unready = 0
        var pending = 0
        var note: String
    }

    /// Pods that request 100m each, and what they use of it (nil: no metrics).
    @Test(arguments: [
        Case(current: 2, used: [100, 100], target: .utilization(50), replicas: 4, note: "twice as much"),
        Case(current: 4, used: [25, 25, 25, 25], target: .utilization(50), replicas: 2, note: "half as much"),
        Case(current: 3, used: [52, 54, 53], target: .utilization(50), replicas: 3, note: "within the tolerance"),
        Case(current: 3, used: [60, 60, 60], target: .utilization(50), replicas: 4, note: "rounded up"),
        Case(current: 2, used: [300, 300], target: .average(100), replicas: 6, note: "an amount for each"),
        Case(
            current: 3, used: [100, 100, nil], target: .utilization(50), replicas: 4,
            note: "unknown counts as idle when growing"),
        Case(
            current: 3, used: [20, 20, nil], target: .utilization(50), replicas: 3, note: "and as busy when shrinking"),
        Case(
            current: 2, used: [100], target: .utilization(50), replicas: 2, unready: 1,
            note: "an unready pod counts as idle when growing"),
        Case(
            current: 4, used: [20, 20, 20], target: .utilization(50), replicas: 2, unready: 1,
            note: "and not at all when shrinking"),
        Case(
            current: 2, used: [150], target: .utilization(50), replicas: 3, pending: 1,
            note: "pending pods count as idle"),
    ]) func replicasFollowUsage(_ test: Case) throws {
        var pods: [KubeObject] = []
        var usage: [String: PodUsage] = [:]
        for (i, used) in test.used.enumerated() {
            pods.append(Self.pod("p\(i)"))
            if let used { usage["p\(i)"] = Self.usage(used) }
        }
        for i in 0..<test.unready {
            pods.append(Self.pod("u\(i)", ready: false))
            usage["u\(i)"] = Self.usage(500)
        }
        for i in 0..<test.pending { pods.append(Self.pod("w\(i)", phase: "Pending", ready: false)) }
        let calculator = ReplicaCalculator(resource: .cpu, container: nil, now: Self.now)
        let proposal = try calculator.proposal(test.current, pods: pods, usage: usage, target: test.target)
        #expect(proposal.replicas == test.replicas, "\(test.note)")
    }

    @Test func requestsAtTheEndOfTheirTypeStopNothing() throws {
        let pods = (0..<3).map { Self.pod("p\($0)", request: "9223372036854775807m") }
        let calculator = ReplicaCalculator(resource: .cpu, container: nil, now: Self.now)
        let usage = ["p0": Self.usage(.max), "p1": Self.usage(1)]
        for target in [.utilization(2_147_483_647), .utilization(1), .average(1)] as [ReplicaCalculator.Target] {
            let proposal = try calculator.proposal(3, pods: pods, usage: usage, target: target)
            #expect(proposal.replicas >= 0)
        }
    }

    @Test func whatIsMissingIsSaid() {
        let calculator = ReplicaCalculator(resource: .cpu, container: nil, now: Self.now)
        #expect(throws: ReplicaCalculator.Problem(description: "missing request for cpu in container main of Pod p")) {
            try calculator.proposal(
                1, pods: [Self.pod("p", request: nil)], usage: ["p": Self.usage(5)], target: .utilization(50))
        }
        #expect(
            throws: ReplicaCalculator.Problem(
                description: "did not receive metrics for targeted pods (pods might be unready)")
        ) { try calculator.proposal(1, pods: [Self.pod("p")], usage: [:], target: .utilization(50)) }
    }

    // MARK: - Behavior

    static func behavior(_ json: JSON, least: Int64 = 1, most: Int64 = 100) -> ScalingBehavior {
        ScalingBehavior(
            KubeObject(["spec": ["minReplicas": .int(least), "maxReplicas": .int(most), "behavior": json]]))
    }

    @Test func growthIsAtMostDoubleOrFourByDefault() {
        for (current, expected) in [(1, 5), (3, 7), (10, 20)] as [(Int64, Int64)] {
            var past = ScalingBehavior.Past()
            let outcome = Self.behavior([:]).outcome(current: current, wanted: 90, &past, now: Self.now)
            #expect(outcome.replicas == expected)
            #expect(outcome.limited.is && outcome.limited.reason == "ScaleUpLimit")
        }
    }

    @Test func shrinkingWaitsFiveMinutesByDefault() {
        let behavior = Self.behavior([:])
        var past = ScalingBehavior.Past()
        #expect(behavior.outcome(current: 10, wanted: 10, &past, now: Self.now).replicas == 10)
        for seconds in [15, 150, 299] as [Int64] {
            let outcome = behavior.outcome(
                current: 10, wanted: 2, &past, now: Self.now.advanced(by: .seconds(seconds)))
            #expect(outcome.replicas == 10 && outcome.able.reason == "ScaleDownStabilized")
        }
        let outcome = behavior.outcome(current: 10, wanted: 2, &past, now: Self.now.advanced(by: .seconds(301)))
        #expect(outcome.replicas == 2 && outcome.able.reason == "ReadyForNewScale")
    }

    @Test func policiesBoundTheChangeOfTheirPeriod() {
        let json: JSON = [
            "scaleDown": [
                "stabilizationWindowSeconds": 0, "selectPolicy": "Min",
                "policies": [
                    ["type": "Pods", "value": 2, "periodSeconds": 60],
                    ["type": "Percent", "value": 50, "periodSeconds": 60],
                ],
            ]
        ]
        let behavior = Self.behavior(json)
        var past = ScalingBehavior.Past()
        let first = behavior.outcome(current: 20, wanted: 1, &past, now: Self.now)
        #expect(first.replicas == 18 && first.limited.reason == "ScaleDownLimit")
        behavior.note(change: -2, &past, now: Self.now)
        let soon = behavior.outcome(current: 18, wanted: 1, &past, now: Self.now.advanced(by: .seconds(30)))
        #expect(soon.replicas == 18, "the period's share is used up")
        let later = behavior.outcome(current: 18, wanted: 1, &past, now: Self.now.advanced(by: .seconds(61)))
        #expect(later.replicas == 16)
        var fresh = ScalingBehavior.Past()
        let off = Self.behavior(["scaleUp": ["selectPolicy": "Disabled"]])
        #expect(off.outcome(current: 3, wanted: 9, &fresh, now: Self.now).replicas == 3)
    }

    @Test func theBoundsHold() {
        var past = ScalingBehavior.Past()
        let behavior = Self.behavior(["scaleDown": ["stabilizationWindowSeconds": 0]], least: 2, most: 6)
        let up = behavior.outcome(current: 5, wanted: 50, &past, now: Self.now)
        #expect(up.replicas == 6 && up.limited.reason == "TooManyReplicas")
        past = ScalingBehavior.Past()
        let down = behavior.outcome(current: 5, wanted: 0, &past, now: Self.now)
        #expect(down.replicas == 2 && down.limited.reason == "TooFewReplicas")
    }

    // MARK: - The controller

    final class FixedMetrics: MetricsSource {
        let milliCPU = Mutex<Int64?>(nil)
        func usage(of pods: [KubeObject]) async -> [String: PodUsage]? {
            milliCPU.withLock { milliCPU in
                guard let milliCPU else { return nil }
                var usage: [String: PodUsage] = [:]
                for pod in pods {
                    usage[pod.uid] = PodUsage(
                        milliCPU: ["main": milliCPU], memory: [:], time: Timestamp(seconds: 1_900_000_000),
                        window: .seconds(15))
                }
                return usage
            }
        }
    }

    @Test func aDeploymentGrowsAndShrinksWithItsLoad() async throws {
        let metrics = FixedMetrics()
        let bench = try await ControllerBench { client, clock in
            [
                HorizontalAutoscaler(client: client, clock: clock, metrics: metrics),
                DeploymentController(client: client, clock: clock), ReplicaSetController(client: client, clock: clock),
            ]
        }
        bench.runPods()
        var deployment = Sample.workload("d", replicas: 2)
        deployment["spec"]["template"]["spec"]["containers"] = [
            ["name": "main", "image": "i", "resources": ["requests": ["cpu": "100m"]]]
        ]
        try await bench.create(.deployments, deployment)
        try await bench.create(
            .horizontalPodAutoscalers,
            [
                "metadata": ["name": "d"],
                "spec": [
                    "scaleTargetRef": ["apiVersion": "apps/v1", "kind": "Deployment", "name": "d"], "minReplicas": 1,
                    "maxReplicas": 6,
                    "metrics": [
                        [
                            "type": "Resource",
                            "resource": ["name": "cpu", "target": ["type": "Utilization", "averageUtilization": 50]],
                        ]
                    ],
                ],
            ])
        try await bench.settle()
        var autoscaler = try await bench.get(.horizontalPodAutoscalers, "d")
        #expect(autoscaler.condition("ScalingActive")["reason"] == "FailedGetResourceMetric")
        #expect(try await bench.list(.pods).count == 2, "nothing is known, nothing changes")
        metrics.milliCPU.withLock { $0 = 100 }
        // Past the first minutes, in which CPU use says nothing.
        try await bench.advance(.seconds(330))
        #expect(try await bench.get(.deployments, "d").specReplicas == 6)
        autoscaler = try await bench.get(.horizontalPodAutoscalers, "d")
        #expect(autoscaler.condition("AbleToScale")["status"] == "True")
        #expect(autoscaler.condition("ScalingActive")["reason"] == "ValidMetricFound")
        #expect(autoscaler.status["currentMetrics"][0]["resource"]["current"]["averageUtilization"] == 100)
        #expect(
            try await bench.events("d").contains {
                $0.hasSuffix("reason: cpu resource utilization (percentage of request) above target")
            })
        metrics.milliCPU.withLock { $0 = 10 }
        try await bench.advance(.seconds(240))
        #expect(try await bench.get(.deployments, "d").specReplicas == 6)
        try await bench.advance(.seconds(600))
        #expect(try await bench.get(.deployments, "d").specReplicas < 3)
        try await bench.patch(.deployments, "d", ["spec": ["replicas": 0]])
        try await bench.advance(.seconds(30))
        #expect(
            try await bench.get(.horizontalPodAutoscalers, "d").condition("ScalingActive")["reason"]
                == "ScalingDisabled")
    }

    @Test func ratesComeFromTwoSamples() async throws {
        let clock = VirtualClock()
        let metrics = NodeMetrics(nodes: NoNodes(), clock: clock)
        func summary(_ nanoseconds: Int64) -> JSON {
            [
                "pods": [
                    [
                        "podRef": ["uid": "u"],
                        "containers": [
                            [
                                "name": "main", "cpu": ["usageCoreNanoSeconds": .int(nanoseconds)],
                                "memory": ["workingSetBytes": 1000],
                            ]
                        ],
                    ]
                ]
            ]
        }
        var pod = KubeObject(Sample.pod("p"))
        pod.metadata["uid"] = "u"
        metrics.note(summary(5_000_000_000), clock.now())
        #expect(await metrics.usage(of: [pod]) == [:])
        clock.advance(by: .seconds(20))
        metrics.note(summary(9_000_000_000), clock.now())
        let usage = try #require(await metrics.usage(of: [pod])?["u"])
        #expect(usage.milliCPU == ["main": 200] && usage.memory == ["main": 1000] && usage.window == .seconds(20))
        // A restarted container begins at zero.
        clock.advance(by: .seconds(20))
        metrics.note(summary(1_000_000_000), clock.now())
        #expect(await metrics.usage(of: [pod]) == [:])
    }
}

struct NoNodes: NodeConnections {
    func handler(forNode name: String) -> HTTPHandler? { nil }
}
