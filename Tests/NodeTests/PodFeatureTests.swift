import Codecs
import Containers
import KubeAPI
import Synchronization
import Testing

@testable import Node

@Suite("Container restart rules") struct RestartRuleTests {
    private static func container(_ policy: String?, _ rules: JSON = .null) -> JSON {
        var json: JSON = ["name": "app", "image": "busybox:1"]
        if let policy { json["restartPolicy"] = .string(policy) }
        if !rules.isNull { json["restartPolicyRules"] = rules }
        return json
    }
    private static func rule(_ oper: String, _ codes: Int64...) -> JSON {
        [["action": "Restart", "exitCodes": ["operator": .string(oper), "values": .array(codes.map { .int($0) })]]]
    }

    @Test func aRuleRestartsWhatThePodWouldLeave() async throws {
        let node = try NodeHarness()
        node.start()
        node.create(
            "job", ["restartPolicy": "Never"], containers: [Self.container("Never", Self.rule("In", 42))])
        try await node.until("it runs") { node.isReady("job") }
        node.runtime.exit("app", 42)
        try await node.until("again", ticking: .seconds(1)) {
            node.runtime.calls.contains("start app 1")
        }
        #expect(node.phase("job") == "Running")
        node.runtime.exit("app", 42)
        try await node.until("it waits") {
            node.containerStatus("job")["state"]["waiting"]["reason"].string == "CrashLoopBackOff"
        }
        #expect(node.phase("job") == "Running")
        try await node.until("and again", ticking: .seconds(1)) {
            node.runtime.calls.contains("start app 2")
        }
        node.runtime.exit("app", 43)
        try await node.until("no rule for that", ticking: .seconds(1)) { node.phase("job") == "Failed" }
        await node.stop()
    }

    @Test(arguments: [
        (container("Always"), "Never", Int32(0), true), (container("Never"), "Always", 1, false),
        (container("OnFailure"), "Always", 0, false), (container("OnFailure"), "Never", 1, true),
        (container("Never", rule("NotIn", 1, 2)), "Never", 3, true),
        (container("Never", rule("NotIn", 1, 2)), "Never", 2, false),
        (container("Never", rule("In", 1, 2)), "Always", 2, true), (container(nil), "Always", 0, true),
    ])
    func theContainersWordCountsBeforeThePods(_ json: JSON, _ policy: String, _ code: Int32, _ restarts: Bool) {
        let pod = Pod(KubeObject(["spec": ["restartPolicy": .string(policy), "containers": [json]]]))
        var status = ContainerStatus()
        (status.state, status.exitCode) = (.exited, code)
        #expect(PodPlanner.restarts(pod.containers[0], of: pod, after: ContainerRecord(status)) == restarts)
    }
}

@Suite("Readiness gates") struct ReadinessGateTests {
    @Test func aPodIsReadyWhenItsGatesAre() async throws {
        let node = try NodeHarness()
        node.start()
        node.create("web", ["readinessGates": [["conditionType": "example.com/lb"]]])
        try await node.until("containers are ready") {
            node.condition("web", "ContainersReady")["status"].string == "True"
        }
        #expect(!node.isReady("web"))
        #expect(node.condition("web", "Ready")["reason"].string == "ReadinessGatesNotReady")
        #expect(
            node.condition("web", "Ready")["message"].string
                == "corresponding condition of pod readiness gate \"example.com/lb\" does not exist.")
        for (value, ready) in [("True", true), ("False", false)] {
            _ = try await node.client.patch(
                .pods, namespace: "default", name: "web",
                ["status": ["conditions": [["type": "example.com/lb", "status": .string(value)]]]], type: .strategic,
                subresource: "status")
            try await node.until("the gate counts") { node.isReady("web") == ready }
        }
        await node.stop()
    }
}

@Suite("Names of pods") struct PodNameTests {
    @Test func aDomainNameThatIsTooLongIsToldAndShorterOnesAreSet() async throws {
        let node = try NodeHarness()
        node.start()
        let long = String(repeating: "x", count: 50)
        node.create("web", ["hostname": .string(long), "subdomain": "group", "setHostnameAsFQDN": true])
        try await node.until("the event") {
            node.client.eventTexts().contains {
                $0.contains("FailedCreatePodSandBox")
                    && $0.contains("is too long (64 characters is the max, 82 characters requested)")
            }
        }
        node.create("ok", ["hostname": "h", "subdomain": "group", "setHostnameAsFQDN": true])
        try await node.until("it runs") { node.isReady("ok") }
        #expect(node.runtime.sandboxConfig("ok")?.hostname == "h.group.default.svc.cluster.local")
        await node.stop()
    }
}

@Suite("Sandboxes of an earlier process") struct AdoptedSandboxTests {
    /// k3s was killed after it had made the sandbox and before the network knew of it.
    @Test func oneWithoutAnAddressIsReplaced() async throws {
        let node = try NodeHarness()
        let uid = node.create("web")
        var config = SandboxConfig()
        (config.podUID, config.name, config.namespace) = (uid, "web", "default")
        config.labels[RuntimeLabels.podUID] = uid
        let old = try await node.runtime.runSandbox(config)
        node.start()
        try await node.until("it runs", ticking: .milliseconds(100)) { node.isReady("web") }
        #expect(node.pod("web")?.status["podIP"].string == "10.42.0.2")
        let calls = node.runtime.calls
        #expect(calls.contains("runSandbox web 1") && calls.contains("stopSandbox \(old.id)"))
        #expect(calls.filter { $0.hasPrefix("start app") } == ["start app 0"])
        await node.stop()
    }
}

@Suite("Limits of the node") struct NodeLimitTests {
    @Test func thePodsCgroupIsHeldToWhatIsNotReserved() async throws {
        let node = try NodeHarness { configuration in
            configuration.kubeReserved = ["memory": Quantity(1 << 20), "pid": Quantity(1000)]
            configuration.eviction.hard = ["memory.available": "1Gi"]
        }
        node.start()
        @Sendable func pods() -> ContainerResources? { node.runtime.cgroups.withLock { $0["kubepods"] } }
        try await node.until("the limits are set") { pods()?.pidsLimit != nil }
        let facts = HostFacts.read(proc: "/proc", sys: "/sys", etc: "/etc", disk: "/tmp")
        #expect(pods()?.memoryLimitBytes == facts.memoryBytes - (1 << 20))
        #expect(pods()?.pidsLimit == facts.maximumProcesses - 1000)
        #expect(node.agent?.context.resources.allocatable["memory"]?.value == facts.memoryBytes - (1 << 20) - (1 << 30))
        await node.stop()
    }

    @Test func burstableContainersSwapByTheirShare() {
        var machine = PodResources.Machine()
        (machine.memory, machine.swap, machine.limitsSwap) = (8 << 30, 4 << 30, true)
        func swap(_ resources: JSON, _ spec: JSON = [:]) -> Int64? {
            var spec = spec
            spec["containers"] = [["name": "app", "resources": resources]]
            let pod = Pod(KubeObject(["spec": spec]))
            return PodResources.container(pod.containers[0], of: pod, on: machine).swapLimitBytes
        }
        #expect(swap(["requests": ["memory": "1Gi"]]) == 512 << 20)
        #expect(swap(["requests": ["memory": "1Gi"], "limits": ["memory": "2Gi"]]) == 512 << 20)
        // Best-effort, guaranteed, what asks for its limit, and what is critical.
        #expect(swap(.null) == 0)
        #expect(swap(["requests": ["memory": "1Gi", "cpu": "1"], "limits": ["memory": "1Gi", "cpu": "1"]]) == 0)
        #expect(swap(["requests": ["memory": "1Gi"], "limits": ["memory": "1Gi"]]) == 0)
        #expect(swap(["requests": ["memory": "1Gi"]], ["priority": 2_000_000_000]) == 0)
        machine.limitsSwap = false
        #expect(swap(["requests": ["memory": "1Gi"]]) == nil)
        // What is above the containers does not stand in the way.
        #expect(QOSCgroups.limits(node: [:], burstableMilliCPU: 0, limitsSwap: true)[0].resources.swapLimitBytes == -1)
    }
}
