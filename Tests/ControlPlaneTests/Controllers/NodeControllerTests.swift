import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

@Suite struct NodeControllerTests {
    func bench() async throws -> ControllerBench {
        let bench = try await ControllerBench { client, clock in
            [NodeController(client: client, clock: clock, clusterCIDR: "10.42.0.0/16")]
        }
        try await bench.create(.namespaces, ["metadata": ["name": "kube-node-lease"]])
        return bench
    }

    func node(_ bench: ControllerBench, _ name: String) async throws {
        try await bench.create(.nodes, Sample.node(name))
        var node = try await bench.get(.nodes, name)
        node.status = Sample.node(name)["status"]
        _ = try await bench.client.updateStatus(.nodes, node)
    }

    func renew(_ bench: ControllerBench, _ name: String) async throws {
        let spec: JSON = ["holderIdentity": .string(name), "renewTime": .string(bench.clock.now().rfc3339Micro)]
        if try await bench.find(.leases, name, "kube-node-lease") == nil {
            try await bench.create(
                .leases, ["metadata": ["name": .string(name), "namespace": "kube-node-lease"], "spec": spec])
        } else {
            _ = try await bench.client.patch(
                .leases, namespace: "kube-node-lease", name: name, ["spec": spec], type: .merge, subresource: nil)
        }
    }

    func taints(_ bench: ControllerBench, _ name: String) async throws -> [String] {
        try await bench.get(.nodes, name).spec["taints"].elements
            .map { "\($0["key"].string ?? ""):\($0["effect"].string ?? "")" }.sorted()
    }

    func pod(_ bench: ControllerBench, _ name: String, on node: String, tolerations: [JSON] = []) async throws {
        try await bench.create(.pods, Sample.pod(name, ["tolerations": .array(tolerations)]))
        try await bench.setPod(name, node: node)
    }

    @Test func everyNodeGetsANetworkOfItsOwn() async throws {
        let bench = try await bench()
        for name in ["a", "b", "c"] { try await node(bench, name) }
        try await bench.settle()
        var networks: [String] = []
        for name in ["a", "b", "c"] { networks.append(try await bench.get(.nodes, name).spec["podCIDR"].string ?? "") }
        #expect(Set(networks) == ["10.42.0.0/24", "10.42.1.0/24", "10.42.2.0/24"])
        try await bench.delete(.nodes, "a")
        try await node(bench, "d")
        try await bench.settle()
        #expect(try await bench.get(.nodes, "d").spec["podCIDR"].string == networks[0], "a free one is used again")
    }

    @Test func aNodeThatDoesNotRenewBecomesUnknownAndComesBack() async throws {
        let bench = try await bench()
        try await node(bench, "n1")
        try await renew(bench, "n1")
        try await bench.settle()
        try await pod(bench, "p", on: "n1")
        for _ in 0..<5 {
            try await bench.advance(.seconds(40))
            try await renew(bench, "n1")
        }
        #expect(try await bench.get(.nodes, "n1").condition("Ready")["status"] == "True")
        #expect(try await taints(bench, "n1") == [])
        try await bench.advance(.seconds(110))
        var node = try await bench.get(.nodes, "n1")
        #expect(node.condition("Ready")["status"] == "Unknown")
        #expect(node.condition("Ready")["reason"] == "NodeStatusUnknown")
        #expect(node.condition("Ready")["message"] == "Kubelet stopped posting node status.")
        #expect(node.condition("MemoryPressure")["status"] == "Unknown")
        #expect(
            try await taints(bench, "n1")
                == ["node.kubernetes.io/unreachable:NoExecute", "node.kubernetes.io/unreachable:NoSchedule"])
        #expect(try await bench.get(.pods, "p").isReadyPod == false, "services must not lead there")
        #expect(try await bench.events("n1") == ["NodeNotReady Node n1 status is now: NodeNotReady"])
        // The kubelet is back.
        try await renew(bench, "n1")
        node.status["conditions"] = Sample.node("n1")["status"]["conditions"]
        node.resourceVersion = 0
        _ = try await bench.client.updateStatus(.nodes, node)
        try await bench.settle()
        #expect(try await taints(bench, "n1") == [])
        #expect(try await bench.get(.pods, "p").isReadyPod)
    }

    @Test func aServerThatWasDownGivesNodesTimeToReport() async throws {
        let bench = try await bench()
        try await node(bench, "n1")
        try await renew(bench, "n1")
        // Nobody looked for an hour.
        bench.clock.advance(by: .seconds(3600))
        try await bench.settle()
        #expect(try await bench.get(.nodes, "n1").condition("Ready")["status"] == "True")
        try await bench.advance(.seconds(51))
        #expect(try await bench.get(.nodes, "n1").condition("Ready")["status"] == "Unknown")
    }

    struct Taint: Sendable {
        var change: JSON
        var expected: [String]
    }

    @Test(arguments: [
        Taint(
            change: [["type": "Ready", "status": "False"]], expected: ["not-ready:NoExecute", "not-ready:NoSchedule"]),
        Taint(
            change: [["type": "Ready", "status": "True"], ["type": "MemoryPressure", "status": "True"]],
            expected: ["memory-pressure:NoSchedule"]),
        Taint(
            change: [["type": "Ready", "status": "True"], ["type": "DiskPressure", "status": "True"]],
            expected: ["disk-pressure:NoSchedule"]),
        Taint(
            change: [["type": "Ready", "status": "True"], ["type": "PIDPressure", "status": "False"]], expected: []),
    ]) func conditionsBecomeTaints(_ taint: Taint) async throws {
        let bench = try await bench()
        try await node(bench, "n1")
        try await renew(bench, "n1")
        try await bench.patch(
            .nodes, "n1", ["spec": ["taints": [["key": "mine", "effect": "NoSchedule", "value": "x"]]]])
        var node = try await bench.get(.nodes, "n1")
        node.status["conditions"] = taint.change
        _ = try await bench.client.updateStatus(.nodes, node)
        try await bench.settle()
        #expect(
            try await taints(bench, "n1")
                == (taint.expected.map { "node.kubernetes.io/" + $0 } + ["mine:NoSchedule"]).sorted())
        node = try await bench.get(.nodes, "n1")
        node.status["conditions"] = [["type": "Ready", "status": "True"]]
        _ = try await bench.client.updateStatus(.nodes, node)
        try await bench.settle()
        #expect(try await taints(bench, "n1") == ["mine:NoSchedule"], "one's own taint stays")
    }

    @Test func cordonedNodesAreTainted() async throws {
        let bench = try await bench()
        try await node(bench, "n1")
        try await bench.patch(.nodes, "n1", ["spec": ["unschedulable": true]])
        try await bench.settle()
        #expect(try await taints(bench, "n1") == ["node.kubernetes.io/unschedulable:NoSchedule"])
    }

    // MARK: - Eviction

    @Test func podsLeaveWhenTheirPatienceEnds() async throws {
        let bench = try await bench()
        try await node(bench, "n1")
        try await renew(bench, "n1")
        try await bench.settle()
        try await pod(bench, "intolerant", on: "n1")
        try await pod(
            bench, "patient", on: "n1",
            tolerations: [["key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30]])
        try await pod(
            bench, "stoic", on: "n1", tolerations: [["key": "gpu", "operator": "Exists", "effect": "NoExecute"]])
        try await bench.patch(
            .nodes, "n1", ["spec": ["taints": [["key": "gpu", "value": "broken", "effect": "NoExecute"]]]])
        try await bench.settle()
        let gone = try await bench.get(.pods, "intolerant")
        #expect(gone.isBeingDeleted)
        #expect(gone.condition("DisruptionTarget")["reason"] == "DeletionByTaintManager")
        #expect(
            try await bench.events("intolerant")
                == ["TaintManagerEviction Marking for deletion Pod default/intolerant"])
        try await bench.advance(.seconds(29))
        #expect(try await !bench.get(.pods, "patient").isBeingDeleted)
        try await bench.advance(.seconds(1))
        #expect(try await bench.get(.pods, "patient").isBeingDeleted)
        try await bench.advance(.seconds(20))
        #expect(try await !bench.get(.pods, "stoic").isBeingDeleted)
        // Who comes later leaves as well.
        try await pod(bench, "late", on: "n1")
        try await bench.settle()
        #expect(try await bench.get(.pods, "late").isBeingDeleted)
    }

    @Test func aTaintThatGoesInTimeSparesThePods() async throws {
        let bench = try await bench()
        try await node(bench, "n1")
        try await renew(bench, "n1")
        try await bench.settle()
        try await pod(
            bench, "p", on: "n1",
            tolerations: [["key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30]])
        let taint: JSON = ["spec": ["taints": [["key": "gpu", "effect": "NoExecute"]]]]
        try await bench.patch(.nodes, "n1", taint)
        try await bench.advance(.seconds(20))
        try await renew(bench, "n1")
        try await bench.patch(.nodes, "n1", ["spec": ["taints": nil]])
        try await bench.advance(.seconds(20))
        try await renew(bench, "n1")
        try await bench.patch(.nodes, "n1", taint)
        try await bench.advance(.seconds(20))
        #expect(try await !bench.get(.pods, "p").isBeingDeleted, "the time starts anew")
        try await bench.advance(.seconds(10))
        #expect(try await bench.get(.pods, "p").isBeingDeleted)
    }

    @Test func podsOfANodeThatIsGoneGoAfterAWhile() async throws {
        let bench = try await bench()
        try await node(bench, "n1")
        try await bench.settle()
        try await pod(bench, "p", on: "n1")
        try await bench.delete(.nodes, "n1")
        try await bench.settle()
        try await bench.advance(.seconds(39))
        #expect(try await bench.find(.pods, "p") != nil)
        try await bench.advance(.seconds(2))
        #expect(try await bench.find(.pods, "p") == nil)
    }

    @Test func aNodeThatComesBackKeepsItsPods() async throws {
        let bench = try await bench()
        try await node(bench, "n1")
        try await bench.settle()
        try await pod(bench, "p", on: "n1")
        try await bench.delete(.nodes, "n1")
        try await bench.advance(.seconds(20))
        try await node(bench, "n1")
        try await bench.advance(.seconds(30))
        #expect(try await bench.find(.pods, "p") != nil)
    }
}
