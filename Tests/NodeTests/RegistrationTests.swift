import Codecs
import KubeAPI
import Logging
import Testing

@testable import Node

@Suite("Registration") struct RegistrationTests {
    @Test func theNodeIsThereAndReadyAtOnce() async throws {
        let node = try NodeHarness()
        node.start()
        try await node.until("registered") { node.client.object(.nodes, "", "node-1") != nil }
        let object = try #require(node.client.object(.nodes, "", "node-1"))
        #expect(object.labels["kubernetes.io/hostname"] == "node-1")
        #expect(object.labels["node.kubernetes.io/instance-type"] == "k3s")
        #expect(object.labels["node-role.kubernetes.io/control-plane"] == "true")
        #expect(object.annotations["k3s.io/internal-ip"] == "192.0.2.1")
        #expect(object.annotations["alpha.kubernetes.io/provided-node-ip"] == "192.0.2.1")
        let status = object.status
        #expect(
            status["conditions"].elements.map { $0["type"].string } == [
                "MemoryPressure", "DiskPressure", "PIDPressure", "Ready",
            ])
        #expect(status["conditions"][3]["reason"].string == "KubeletReady")
        #expect(status["addresses"][0] == ["type": "InternalIP", "address": "192.0.2.1"])
        #expect(status["capacity"]["pods"].string == "110")
        #expect((status["capacity"]["memory"].string ?? "").hasSuffix("Ki"))
        #expect(status["nodeInfo"]["osImage"].string == "Test OS 1")
        #expect(status["nodeInfo"]["kernelVersion"].string?.isEmpty == false)
        #expect(status["daemonEndpoints"]["kubeletEndpoint"]["Port"].int == 10250)
        await node.stop()
    }

    @Test func theLeaseIsRenewedEveryTenSecondsAndTheStatusIsLeftAlone() async throws {
        let node = try NodeHarness()
        node.start()
        try await node.until("lease") { node.client.object(.leases, "kube-node-lease", "node-1") != nil }
        let first = node.client.object(.leases, "kube-node-lease", "node-1")?.spec["renewTime"].string
        #expect(first == "2026-01-01T00:00:00.000000Z")
        await node.settle()
        for _ in 0..<5 {
            node.clock.advance(by: .seconds(10))
            await node.settle()
        }
        #expect(
            node.client.object(.leases, "kube-node-lease", "node-1")?.spec["renewTime"].string
                == "2026-01-01T00:00:50.000000Z")
        #expect(node.client.patches.filter { $0.0.resource == .nodes }.isEmpty)
        for _ in 0..<26 {
            node.clock.advance(by: .seconds(10))
            await node.settle()
        }
        #expect(node.client.patches.filter { $0.0.resource == .nodes }.count == 1)
        await node.stop()
    }

    @Test func podsWaitForTheNetwork() async throws {
        let node = try NodeHarness()
        node.network.setNotReady("cni plugin not initialized")
        node.start()
        try await node.until("registered") { node.client.object(.nodes, "", "node-1") != nil }
        let ready = node.client.object(.nodes, "", "node-1")?.status["conditions"][3] ?? .null
        #expect(ready["status"].string == "False")
        #expect(
            ready["message"].string
                == "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized"
        )
        node.create("web")
        node.create("host", ["hostNetwork": true])
        try await node.until("a pod of the host's network runs") { node.isReady("host") }
        #expect(node.pod("host")?.status["podIP"].string == "192.0.2.1")
        #expect(!node.isReady("web"))
        node.network.setNotReady(nil)
        var own = try #require(node.client.object(.nodes, "", "node-1"))
        own.spec["podCIDRs"] = ["10.42.0.0/24"]
        node.client.put(.nodes, own)
        try await node.until("without a timer") { node.isReady("web") }
        #expect(node.network.calls.contains("configure 10.42.0.0/24"))
        try await node.until("node is ready") {
            node.client.object(.nodes, "", "node-1")?.status["conditions"].elements.last?["status"].string == "True"
        }
        await node.stop()
    }

    @Test func anObjectOfAnEarlierLifeIsKept() async throws {
        let node = try NodeHarness()
        var old = KubeObject(GroupVersionKind("", "v1", "Node"), name: "node-1")
        old.labels = ["mine": "yes", "kubernetes.io/arch": "wrong"]
        old.spec = ["unschedulable": true, "podCIDRs": ["10.42.3.0/24"]]
        old.status = ["capacity": ["example.com/dongle": "4"], "conditions": [["type": "Custom", "status": "True"]]]
        node.client.put(.nodes, old)
        node.start()
        try await node.until("configured") { node.network.calls.contains("configure 10.42.3.0/24") }
        try await node.until("status written") {
            !(node.client.object(.nodes, "", "node-1")?.status["nodeInfo"].isNull ?? true)
        }
        let now = try #require(node.client.object(.nodes, "", "node-1"))
        #expect(now.labels["mine"] == "yes")
        #expect(now.labels["kubernetes.io/arch"] != "wrong")
        #expect(now.spec["unschedulable"].bool == true)
        #expect(now.status["allocatable"]["example.com/dongle"].string == "4")
        #expect(now.status["conditions"].elements.contains { $0["type"].string == "Custom" })
        await node.stop()
    }

    @Test func peersAreHandedToTheNetwork() async throws {
        let node = try NodeHarness()
        node.start()
        try await node.until("registered") { node.client.object(.nodes, "", "node-1") != nil }
        var other = KubeObject(GroupVersionKind("", "v1", "Node"), name: "node-2")
        other.spec = ["podCIDR": "10.42.1.0/24"]
        node.client.put(.nodes, other)
        try await node.until("told") { node.network.calls.contains("peers node-2") }
        await node.stop()
    }
}

@Suite("Events") struct NodeEventsTests {
    private func recorder() -> (NodeEvents, FakeKubeClient, VirtualClock, Task<Void, Never>) {
        let clock = VirtualClock()
        let client = FakeKubeClient(clock: clock)
        let recorder = NodeEvents(client: client, clock: clock, node: "node-1", logger: Logger(label: "test"))
        let task = Task { await recorder.run() }
        return (recorder, client, clock, task)
    }
    private func wait(_ condition: () -> Bool) async throws {
        for _ in 0..<3000 where !condition() { try await Task.sleep(for: .milliseconds(1)) }
        #expect(condition())
    }

    @Test func equalEventsAreCounted() async throws {
        let (recorder, client, clock, task) = recorder()
        let subject = EventSubject(
            kind: "Pod", namespace: "default", name: "web", uid: "u", fieldPath: "spec.containers{app}")
        for _ in 0..<3 {
            recorder.record(subject, .warning, "Unhealthy", "sick")
            clock.advance(by: .seconds(1))
        }
        try await wait { client.eventCount("Unhealthy") == 3 }
        #expect(client.all(.events).count == 1)
        let event = client.all(.events)[0]
        #expect(event["involvedObject"]["fieldPath"].string == "spec.containers{app}")
        #expect(event["source"] == ["component": "kubelet", "host": "node-1"])
        #expect(event["firstTimestamp"].string == "2026-01-01T00:00:00Z")
        #expect(event["lastTimestamp"].string == "2026-01-01T00:00:02Z")
        task.cancel()
    }

    @Test func oneObjectCannotFloodTheAPI() async throws {
        let (recorder, client, _, task) = recorder()
        let subject = EventSubject(kind: "Pod", namespace: "default", name: "web", uid: "u")
        for index in 0..<100 { recorder.record(subject, .normal, "Tick", "number \(index)") }
        recorder.record(
            EventSubject(kind: "Pod", namespace: "default", name: "other", uid: "v"), .normal, "Tock", "done")
        try await wait { client.eventCount("Tock") == 1 }
        #expect(client.eventCount("Tick") == 25)
        // Ten of their own, then one for all that are alike.
        #expect(client.all(.events).filter { $0["reason"].string == "Tick" }.count == 11)
        #expect(client.eventTexts().contains { $0.hasPrefix("Tick: (combined from similar events): number") })
        task.cancel()
    }
}
