import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

/// What pods ask of each other, through the API.
@Suite struct SchedulerPlacementTests {
    func bench(zones: [String], _ profiles: [SchedulerProfile] = [SchedulerProfile()]) async throws -> ControllerBench {
        let bench = try await ControllerBench { client, clock in
            [Scheduler(client: client, clock: clock, profiles: profiles)]
        }
        for (i, zone) in zones.enumerated() {
            var node = Sample.node("n\(i + 1)")
            node["metadata"]["labels"]["topology.kubernetes.io/zone"] = .string(zone)
            try await bench.create(.nodes, node)
            var made = try await bench.get(.nodes, "n\(i + 1)")
            made.status = node["status"]
            _ = try await bench.client.updateStatus(.nodes, made)
        }
        return bench
    }

    @discardableResult
    func pod(_ bench: ControllerBench, _ name: String, app: String, _ spec: JSON = [:]) async throws -> KubeObject {
        try await bench.create(.pods, Sample.pod(name, labels: ["app": app], spec))
    }
    func place(_ bench: ControllerBench, _ name: String) async throws -> String {
        try await bench.get(.pods, name).spec["nodeName"].string ?? ""
    }
    func message(_ bench: ControllerBench, _ name: String) async throws -> String {
        try await bench.get(.pods, name).condition("PodScheduled")["message"].string ?? ""
    }

    static func affinity(_ kind: String, app: String, key: String = "kubernetes.io/hostname", _ more: JSON = [:])
        -> JSON
    {
        var term: JSON = ["topologyKey": .string(key), "labelSelector": ["matchLabels": ["app": .string(app)]]]
        for (key, value) in more.object?.members ?? [] { term[key] = value }
        let rule: JSON = ["requiredDuringSchedulingIgnoredDuringExecution": [term]]
        return ["affinity": .object(JSONObject(members: [(kind, rule)]))]
    }

    @Test func podsThatWantToBeApartAreAndTheThirdWaits() async throws {
        let bench = try await bench(zones: ["a", "b"])
        for i in 0..<3 {
            try await pod(bench, "p\(i)", app: "x", Self.affinity("podAntiAffinity", app: "x"))
        }
        try await bench.settle()
        let places = [try await place(bench, "p0"), try await place(bench, "p1")].sorted()
        #expect(places == ["n1", "n2"])
        #expect(
            try await message(bench, "p2")
                == "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules. preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."
        )
        // One who does not mind is refused by those who do.
        try await pod(bench, "q", app: "x")
        try await bench.settle()
        #expect(
            try await message(bench, "q").contains(
                "2 node(s) didn't satisfy existing pods anti-affinity rules"))
        try await bench.delete(.pods, "p0", grace: 0)
        try await bench.settle()
        let taken = [try await place(bench, "p2"), try await place(bench, "q")]
        #expect(taken.contains { !$0.isEmpty })
    }

    @Test func whoWantsToBeNearWaitsForTheOther() async throws {
        let bench = try await bench(zones: ["a", "b"])
        try await pod(
            bench, "web", app: "web", Self.affinity("podAffinity", app: "db", key: "topology.kubernetes.io/zone"))
        try await bench.settle()
        #expect(try await message(bench, "web").contains("2 node(s) didn't match pod affinity rules"))
        try await pod(bench, "db", app: "db", ["nodeSelector": ["topology.kubernetes.io/zone": "b"]])
        try await bench.settle()
        #expect(try await place(bench, "web") == "n2")
    }

    @Test func namespacesAreSelectedByTheirLabels() async throws {
        let bench = try await bench(zones: ["a", "b"])
        try await bench.create(.namespaces, ["metadata": ["name": "prod", "labels": ["stage": "prod"]]])
        try await bench.create(.serviceAccounts, ["metadata": ["name": "default", "namespace": "prod"]])
        var other = Sample.pod("db", labels: ["app": "db"], ["nodeSelector": ["topology.kubernetes.io/zone": "b"]])
        other["metadata"]["namespace"] = "prod"
        try await bench.create(.pods, other)
        let selector: JSON = ["namespaceSelector": ["matchLabels": ["stage": "test"]]]
        try await pod(bench, "web", app: "web", Self.affinity("podAffinity", app: "db", selector))
        try await bench.settle()
        #expect(try await place(bench, "web") == "")
        try await bench.patch(.namespaces, "prod", ["metadata": ["labels": ["stage": "test"]]])
        try await bench.settle()
        #expect(try await place(bench, "web") == "n2", "the namespace's labels woke it")
    }

    @Test func constraintsSpreadAndMissingLabelsAreSaid() async throws {
        let bench = try await bench(zones: ["a", "b", "b"])
        let spread: JSON = [
            "topologySpreadConstraints": [
                [
                    "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule",
                    "labelSelector": ["matchLabels": ["app": "x"]],
                ]
            ]
        ]
        for i in 0..<4 { try await pod(bench, "p\(i)", app: "x", spread) }
        try await bench.settle()
        var inA = 0
        for i in 0..<4 {
            if try await place(bench, "p\(i)") == "n1" { inA += 1 }
        }
        #expect(inA == 2)
        try await bench.patch(.nodes, "n1", ["spec": ["unschedulable": true]])
        try await bench.patch(.nodes, "n2", ["metadata": ["labels": ["topology.kubernetes.io/zone": nil]]])
        for i in 5..<10 { try await pod(bench, "p\(i)", app: "x", spread) }
        try await bench.settle()
        var messages: [String] = []
        for i in 5..<10 { messages.append(try await message(bench, "p\(i)")) }
        #expect(
            messages.contains {
                $0.contains("1 node(s) didn't match pod topology spread constraints (missing required label)")
                    && $0.contains("1 node(s) were unschedulable")
            }, "\(messages)")
    }

    @Test func podsOfAServiceSpreadWithoutAskingForIt() async throws {
        let bench = try await bench(zones: ["a", "a", "b"])
        try await bench.create(
            .services,
            ["metadata": ["name": "x"], "spec": ["selector": ["app": "x"], "ports": [["port": 80]]]])
        for i in 0..<3 { try await pod(bench, "p\(i)", app: "x") }
        try await bench.settle()
        var places: Set<String> = []
        for i in 0..<3 { places.insert(try await place(bench, "p\(i)")) }
        #expect(places == ["n1", "n2", "n3"])
    }

    @Test func aSecondProfilePacks() async throws {
        var packing = SchedulerProfile()
        packing.name = "packing"
        packing.strategy = .mostAllocated
        let bench = try await bench(zones: ["a", "b", "c"], [SchedulerProfile(), packing])
        for i in 0..<4 { try await pod(bench, "p\(i)", app: "x", ["schedulerName": "packing"]) }
        try await bench.settle()
        var places: Set<String> = []
        for i in 0..<4 { places.insert(try await place(bench, "p\(i)")) }
        #expect(places.count == 1)
    }

    @Test func aDaemonsPodAsksOnlyItsNode() async throws {
        let bench = try await bench(zones: ["a", "b"])
        let only: JSON = [
            "affinity": [
                "nodeAffinity": [
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        "nodeSelectorTerms": [
                            ["matchFields": [["key": "metadata.name", "operator": "In", "values": ["n2"]]]]
                        ]
                    ]
                ]
            ]
        ]
        try await bench.patch(.nodes, "n2", ["spec": ["unschedulable": true]])
        try await pod(bench, "d", app: "d", only)
        try await bench.settle()
        #expect(
            try await message(bench, "d")
                == "0/2 nodes are available: 1 node(s) were unschedulable. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        )
        try await bench.patch(.nodes, "n2", ["spec": ["unschedulable": nil]])
        try await bench.settle()
        #expect(try await place(bench, "d") == "n2")
    }
}
