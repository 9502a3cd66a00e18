import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

@Suite struct NodeControllerTests {
    func bench(_ clusterCIDRs: [String] = ["10.42.0.0/16"]) async throws -> ControllerBench {
        let bench = try await ControllerBench { client, clock in
            [try NodeController(client: client, clock: clock, clusterCIDRs: clusterCIDRs)]
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

    @Test func nodesGetARangeOfEachFamily() async throws {
        let bench = try await bench(["fd00:42::/56", "10.42.0.0/16"])
        for name in ["a", "b"] { try await node(bench, name) }
        try await bench.settle()
        var all: Set<[String]> = []
        for name in ["a", "b"] {
            let spec = try await bench.get(.nodes, name).spec
            all.insert(spec["podCIDRs"].elements.compactMap(\.string))
            #expect(spec["podCIDR"] == spec["podCIDRs"][0])
        }
        #expect(all == [["fd00:42::/64", "10.42.0.0/24"], ["fd00:42:0:1::/64", "10.42.1.0/24"]])
    }

    @Test func aClusterNetworkThatIsUsedUpIsSaid() async throws {
        let bench = try await bench(["10.42.0.0/23"])
        for name in ["a", "b", "c"] { try await node(bench, name) }
        try await bench.settle()
        var without: [String] = []
        for name in ["a", "b", "c"] where try await bench.get(.nodes, name).spec["podCIDR"].isNull {
            without.append(name)
        }
        #expect(without.count == 1)
        let reasons = try await bench.list(.events).map { $0["reason"].string ?? "" }
        #expect(reasons.contains("CIDRNotAvailable"))
        try await bench.delete(.nodes, without == ["a"] ? "b" : "a")
        try await bench.advance(.seconds(11))
        #expect(try await !bench.get(.nodes, without[0]).spec["podCIDR"].isNull)
    }

    @Test func twoNodesWithOneRangeAreReported() async throws {
        let bench = try await bench()
        try await node(bench, "a")
        try await bench.settle()
        let range = try await bench.get(.nodes, "a").spec["podCIDR"].string ?? ""
        var twin = Sample.node("twin")
        twin["spec"]["podCIDR"] = .string(range)
        twin["spec"]["podCIDRs"] = .strings([range])
        try await bench.create(.nodes, twin)
        try await node(bench, "b")
        try await bench.settle()
        let conflicts = try await bench.list(.events).filter { $0["reason"].string == "CIDRConflict" }
        #expect(conflicts.count == 1)
        #expect(conflicts.first?["message"].string?.contains("is also that of node a") == true)
        #expect(try await bench.get(.nodes, "b").spec["podCIDR"].string == "10.42.1.0/24")
    }

    @Test func rangesAreNeverGivenTwice() throws {
        var ranges = try PodRanges(["10.42.0.0/16", "fd00:42::/48"], lengthIPv4: 26, lengthIPv6: 64)
        var seen: [String: [String]] = [:]
        var generator = SystemRandomNumberGenerator()
        for step in 0..<4000 {
            let name = "n\(step % 700)"
            if seen[name] != nil, UInt8.random(in: 0...3, using: &generator) == 0 {
                ranges.release(name)
                seen[name] = nil
            } else {
                let given = ranges.allocate(for: name)
                let got = try #require(given)
                #expect(seen[name] == nil || seen[name] == got)
                seen[name] = got
            }
        }
        let all = seen.values.joined()
        #expect(Set(all).count == all.count)
        // Whatever size others have given counts.
        let (others, strangers) = (
            ranges.adopt(["10.42.0.0/24"], by: "stranger"), ranges.adopt(["192.0.2.0/24", "rubbish"], by: "stranger")
        )
        #expect(others.allSatisfy { seen[$0] != nil } && strangers.isEmpty)
        for (networks, words) in [
            (["10.42.0.0/16", "10.44.0.0/16"], "one network of each family"), (["10.42.0.0/25"], "mask size 24"),
            (["10.0.0.0/7"], "mask size 24"), (["fd00::/40"], "mask size 64"), ([], "at least one"),
            (["x"], "10.42.0.0/16"),
        ] {
            let error = #expect(throws: APIError.self) { _ = try PodRanges(networks) }
            #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
        }
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
