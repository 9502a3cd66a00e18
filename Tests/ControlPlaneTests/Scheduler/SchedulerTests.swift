import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

@Suite struct SchedulerTests {
    func bench() async throws -> ControllerBench {
        try await ControllerBench { client, clock in [Scheduler(client: client, clock: clock)] }
    }

    func node(_ bench: ControllerBench, _ name: String, cpu: String = "1", pods: Int64 = 110) async throws {
        try await bench.create(.nodes, Sample.node(name))
        var node = try await bench.get(.nodes, name)
        node.status = Sample.node(name, cpu: cpu, pods: pods)["status"]
        _ = try await bench.client.updateStatus(.nodes, node)
    }

    @discardableResult
    func pod(_ bench: ControllerBench, _ name: String, cpu: String = "500m", _ extra: JSON = [:]) async throws
        -> KubeObject
    {
        var spec: JSON = [
            "containers": [["name": "main", "image": "i", "resources": ["requests": ["cpu": .string(cpu)]]]]
        ]
        for (key, value) in extra.object?.members ?? [] { spec[key] = value }
        return try await bench.create(.pods, ["metadata": ["name": .string(name)], "spec": spec])
    }

    func place(_ bench: ControllerBench, _ name: String) async throws -> String {
        try await bench.get(.pods, name).spec["nodeName"].string ?? ""
    }

    @Test func podsAreSpreadAndNeverTooMany() async throws {
        let bench = try await bench()
        for name in ["n1", "n2"] { try await node(bench, name) }
        for i in 0..<5 { try await pod(bench, "p\(i)") }
        try await bench.settle()
        var counts: [String: Int] = [:]
        for i in 0..<5 { counts[try await place(bench, "p\(i)"), default: 0] += 1 }
        #expect(counts == ["n1": 2, "n2": 2, "": 1])
        #expect(try await bench.get(.pods, "p0").condition("PodScheduled")["status"] == "True")
        #expect(
            try await bench.events("p0")
                == ["Scheduled Successfully assigned default/p0 to \(try await place(bench, "p0"))"])
    }

    @Test func whatDoesNotFitSaysWhy() async throws {
        let bench = try await bench()
        try await node(bench, "n1")
        try await node(bench, "n2")
        try await bench.patch(.nodes, "n2", ["spec": ["unschedulable": true]])
        try await pod(bench, "first", cpu: "800m")
        try await bench.settle()
        try await pod(bench, "p", cpu: "600m")
        try await bench.settle()
        let condition = try await bench.get(.pods, "p").condition("PodScheduled")
        let text =
            "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable. preemption: 0/2 nodes are "
            + "available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling."
        #expect(condition["status"] == "False" && condition["reason"] == "Unschedulable")
        #expect(condition["message"].string == text)
        #expect(try await bench.events("p") == ["FailedScheduling " + text])
    }

    @Test func noNodesAtAllIsSaidInOneLine() async throws {
        let bench = try await bench()
        try await pod(bench, "p")
        try await bench.settle()
        #expect(
            try await bench.get(.pods, "p").condition("PodScheduled")["message"]
                == "no nodes available to schedule pods")
    }

    @Test func askingForMoreThanANodeHasCannotBeHelped() async throws {
        let bench = try await bench()
        try await node(bench, "n1")
        try await pod(bench, "p", cpu: "2")
        try await bench.settle()
        #expect(
            try await bench.get(.pods, "p").condition("PodScheduled")["message"]
                == "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        )
    }

    // MARK: - Who waits is woken

    @Test func aPodThatLeavesMakesRoom() async throws {
        let bench = try await bench()
        try await node(bench, "n1")
        try await pod(bench, "first", cpu: "1")
        try await bench.settle()
        try await pod(bench, "second", cpu: "1")
        try await bench.settle()
        #expect(try await place(bench, "second") == "")
        try await bench.setPod("first", phase: "Succeeded", ready: false)
        try await bench.settle()
        #expect(try await place(bench, "second") == "n1", "a finished pod takes nothing")
        try await pod(bench, "third", cpu: "1")
        try await bench.settle()
        try await bench.delete(.pods, "second", grace: 0)
        try await bench.settle()
        #expect(try await place(bench, "third") == "n1")
    }

    @Test func aNodeThatComesOrChangesIsTried() async throws {
        let bench = try await bench()
        try await pod(bench, "p", ["nodeSelector": ["disk": "ssd"]])
        try await bench.settle()
        try await node(bench, "n1")
        try await bench.settle()
        #expect(try await place(bench, "p") == "")
        try await bench.patch(.nodes, "n1", ["metadata": ["labels": ["disk": "ssd"]]])
        try await bench.settle()
        #expect(try await place(bench, "p") == "n1")
    }

    @Test func aPodThatChangesIsTriedAgain() async throws {
        let bench = try await bench()
        try await node(bench, "n1")
        try await bench.patch(
            .nodes, "n1", ["spec": ["taints": [["key": "k", "value": "v", "effect": "NoSchedule"]]]])
        try await pod(bench, "p")
        try await bench.settle()
        #expect(try await place(bench, "p") == "")
        let tolerations = try await bench.get(.pods, "p").spec["tolerations"].elements
        let more: JSON = ["key": "k", "operator": "Exists", "effect": "NoSchedule"]
        try await bench.patch(.pods, "p", ["spec": ["tolerations": .array(tolerations + [more])]])
        try await bench.settle()
        #expect(try await place(bench, "p") == "n1")
    }

    @Test func gatedAndForeignPodsAreLeftAlone() async throws {
        let bench = try await bench()
        try await node(bench, "n1")
        try await pod(bench, "gated", ["schedulingGates": [["name": "example.com/wait"]]])
        try await pod(bench, "foreign", ["schedulerName": "mine"])
        try await bench.settle()
        #expect(try await place(bench, "gated") == "")
        #expect(try await place(bench, "foreign") == "")
        #expect(try await bench.get(.pods, "foreign").condition("PodScheduled").isNull)
        try await bench.patch(.pods, "gated", ["spec": ["schedulingGates": nil]])
        try await bench.settle()
        #expect(try await place(bench, "gated") == "n1")
    }

    // MARK: - Races

    @Test func aPodThatSomebodyElseBoundCountsThere() async throws {
        let bench = try await bench()
        for name in ["n1", "n2"] { try await node(bench, name) }
        try await bench.patch(.nodes, "n2", ["spec": ["unschedulable": true]])
        // The scheduler sees the pod as unbound, but another one is faster.
        let made = try await pod(bench, "p", cpu: "1")
        let racing = Racing(bench.client) { try? await bench.bind("p", to: "n1") }
        let second = Scheduler(client: racing, clock: bench.clock)
        for source in second.sources where source.resource == .nodes {
            for node in try await bench.list(.nodes) { _ = source.keys(node, .added) }
        }
        await #expect(throws: APIError.self) { _ = try await second.reconcile(made.key) }
        #expect(try await second.reconcile(made.key) == nil, "it is not ours any more")
        // n1 is full, although no event told so.
        let next = try await pod(bench, "q", cpu: "1")
        #expect(try await second.reconcile(next.key) != nil)
        #expect(try await place(bench, "q") == "")
    }

    @Test func aPodThatIsGoneBeforeItsBindingTakesNothing() async throws {
        let bench = try await bench()
        try await node(bench, "n1")
        let made = try await pod(bench, "p", cpu: "1")
        let racing = Racing(bench.client) { try? await bench.delete(.pods, "p", grace: 0) }
        let scheduler = Scheduler(client: racing, clock: bench.clock)
        for source in scheduler.sources where source.resource == .nodes {
            for node in try await bench.list(.nodes) { _ = source.keys(node, .added) }
        }
        await #expect(throws: APIError.self) { _ = try await scheduler.reconcile(made.key) }
        let next = try await pod(bench, "q", cpu: "1")
        #expect(try await scheduler.reconcile(next.key) == nil)
        #expect(try await place(bench, "q") == "n1")
    }
}

/// A client on which somebody else is faster: something happens right before its first binding.
struct Racing: KubeClient {
    let client: LocalClient
    let first: @Sendable () async -> Void

    init(_ client: LocalClient, _ first: @escaping @Sendable () async -> Void) {
        (self.client, self.first) = (client, first)
    }

    func get(_ resource: GroupVersionResource, namespace: String, name: String) async throws(APIError) -> KubeObject {
        try await client.get(resource, namespace: namespace, name: name)
    }
    func list(
        _ resource: GroupVersionResource, namespace: String?, options: ListOptions
    ) async throws(APIError) -> ObjectList { try await client.list(resource, namespace: namespace, options: options) }
    func watch(
        _ resource: GroupVersionResource, namespace: String?, options: ListOptions
    ) async throws(APIError) -> any WatchStream {
        try await client.watch(resource, namespace: namespace, options: options)
    }
    func create(
        _ resource: GroupVersionResource, _ object: KubeObject, subresource: String?, name: String?
    ) async throws(APIError) -> KubeObject {
        if subresource == "binding" { await first() }
        return try await client.create(resource, object, subresource: subresource, name: name)
    }
    func update(
        _ resource: GroupVersionResource, _ object: KubeObject, subresource: String?
    ) async throws(APIError) -> KubeObject { try await client.update(resource, object, subresource: subresource) }
    func patch(
        _ resource: GroupVersionResource, namespace: String, name: String, _ patch: JSON, type: PatchType,
        subresource: String?
    ) async throws(APIError) -> KubeObject {
        try await client.patch(
            resource, namespace: namespace, name: name, patch, type: type, subresource: subresource)
    }
    func delete(
        _ resource: GroupVersionResource, namespace: String, name: String, options: DeleteOptions
    ) async throws(APIError) -> KubeObject {
        try await client.delete(resource, namespace: namespace, name: name, options: options)
    }
}
