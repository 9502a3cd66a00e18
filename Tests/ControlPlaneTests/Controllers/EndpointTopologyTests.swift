import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

/// Families, zones and hints of endpoint slices.
@Suite struct EndpointTopologyTests {
    func bench(_ spec: JSON, annotations: [String: String] = [:], pods: [(String, String)]) async throws
        -> ControllerBench
    {
        let bench = try await ControllerBench { client, clock in [EndpointSliceController(client: client, clock: clock)]
        }
        for (name, zone) in [("n1", "a"), ("n2", "b"), ("n3", "c")] {
            var node = KubeObject(GroupVersionKind("", "v1", "Node"), name: name)
            node.labels = ["topology.kubernetes.io/zone": zone]
            try await bench.create(.nodes, node.json)
            var status = try await bench.client.get(.nodes, namespace: "", name: name)
            status.status["conditions"] = [["type": "Ready", "status": "True"]]
            status.status["allocatable"] = ["cpu": name == "n3" ? "0" : "4"]
            _ = try await bench.client.update(.nodes, status, subresource: "status")
        }
        var full: JSON = ["selector": ["app": "web"], "ports": [["name": "http", "port": 80, "targetPort": 8080]]]
        for (key, value) in spec.object?.members ?? [] { full[key] = value }
        try await bench.create(
            .services, ["metadata": ["name": "web", "annotations": .map(annotations)], "spec": full])
        for (name, node) in pods {
            try await bench.create(.pods, Sample.pod(name, labels: ["app": "web"], ["nodeName": .string(node)]))
            try await bench.setPod(name)
        }
        return bench
    }

    /// "pod zone forZones forNodes"
    func hints(_ bench: ControllerBench) async throws -> [String] {
        try await bench.settle()
        return try await bench.list(.endpointSlices, ["kubernetes.io/service-name": "web"])
            .flatMap { $0["endpoints"].elements }.map { endpoint in
                let zones = endpoint["hints"]["forZones"].elements.compactMap { $0["name"].string }
                let nodes = endpoint["hints"]["forNodes"].elements.compactMap { $0["name"].string }
                return [endpoint["targetRef"]["name"].string ?? "", endpoint["zone"].string ?? "-"].joined(
                    separator: " ")
                    + " " + (zones.isEmpty ? "-" : zones.joined(separator: ","))
                    + " " + (nodes.isEmpty ? "-" : nodes.joined(separator: ","))
            }.sorted()
    }

    @Test func endpointsAreHintedAsTrafficIsToBeDistributed() async throws {
        let pods = [("p1", "n1"), ("p2", "n2")]
        let none = try await bench([:], pods: pods)
        #expect(try await hints(none) == ["p1 a - -", "p2 b - -"])
        for wish in ["PreferClose", "PreferSameZone"] {
            let near = try await bench(["trafficDistribution": .string(wish)], pods: pods)
            #expect(try await hints(near) == ["p1 a a -", "p2 b b -"])
        }
        let node = try await bench(["trafficDistribution": "PreferSameNode"], pods: pods)
        #expect(try await hints(node) == ["p1 a a n1", "p2 b b n2"])
        // Hints go with the wish, and zones follow the nodes.
        var service = try await node.client.get(.services, namespace: "default", name: "web")
        service.spec["trafficDistribution"] = .null
        _ = try await node.client.update(.services, service)
        var moved = try await node.client.get(.nodes, namespace: "", name: "n1")
        moved.labels["topology.kubernetes.io/zone"] = "z"
        _ = try await node.client.update(.nodes, moved)
        #expect(try await hints(node) == ["p1 z - -", "p2 b - -"])
    }

    @Test func topologyAwareHintsShareEndpointsByZones() throws {
        func endpoint(_ zone: String?, ready: Bool = true) -> JSON {
            var json: JSON = ["conditions": ["ready": .bool(ready)]]
            if let zone { json["zone"] = .string(zone) }
            return json
        }
        func place(_ zone: String?, _ cpu: Int64) -> EndpointTopology.Place {
            EndpointTopology.Place(zone: zone, isCounted: true, cpu: cpu)
        }
        func share(_ zones: [String?], _ places: [EndpointTopology.Place]) -> [String] {
            EndpointTopology.share(zones.map { endpoint($0) }, places).map(\.1)
        }
        let even = [place("a", 4000), place("b", 4000)]
        #expect(share(["a", "b"], even) == ["a", "b"])
        // Three to one: one of a's serves b.
        #expect(share(["a", "a", "a", "b"], even).sorted() == ["a", "a", "b", "b"])
        #expect(share(["a"], even) == [], "fewer endpoints than zones")
        #expect(share(["a", nil], even) == [], "an endpoint of no zone")
        #expect(share(["a", "b"], [place("a", 4000), place(nil, 4000)]) == [], "a node of no zone")
        #expect(share(["a", "b"], [place("a", 4000)]) == [], "one zone only")
        #expect(share(["a", "b"], [place("a", 1000), place("b", 9000)]) == [], "more than a fifth of overload")
        #expect(EndpointTopology.share([endpoint("a"), endpoint("b", ready: false)], even).isEmpty)
    }

    @Test func aFamilyHasSlicesOfItsOwn() async throws {
        let bench = try await bench([:], pods: [("p1", "n1"), ("p2", "n2")])
        var pod = try await bench.client.get(.pods, namespace: "default", name: "p1")
        let four = pod.status["podIP"].string ?? ""
        pod.status["podIPs"] = [["ip": .string(four)], ["ip": "fd00:42::5"]]
        _ = try await bench.client.update(.pods, pod, subresource: "status")
        var service = try await bench.client.get(.services, namespace: "default", name: "web")
        // As on a cluster of two families.
        #expect(EndpointSliceController.families(service) == ["IPv4"])
        service.spec["ipFamilies"] = ["IPv4", "IPv6"]
        #expect(EndpointSliceController.families(service) == ["IPv4", "IPv6"])
        #expect(EndpointSliceController.address(pod, "IPv6") == "fd00:42::5")
        #expect(EndpointSliceController.address(pod, "IPv4") == four)
        service.spec["ipFamilies"] = .null
        service.spec["clusterIP"] = "fd00:43::9"
        #expect(EndpointSliceController.families(service) == ["IPv6"])
    }

    @Test func bothFamiliesOfAServiceAreWrittenAndOneGoes() async throws {
        let bench = try await ControllerBench(networks: ["10.43.0.0/16", "fd00:43::/112"]) { client, clock in
            [EndpointSliceController(client: client, clock: clock)]
        }
        try await bench.create(
            .services,
            [
                "metadata": ["name": "web"],
                "spec": [
                    "selector": ["app": "web"], "ports": [["port": 80]], "ipFamilyPolicy": "PreferDualStack",
                ],
            ])
        try await bench.create(.pods, Sample.pod("p", labels: ["app": "web"]))
        try await bench.setPod("p")
        var pod = try await bench.client.get(.pods, namespace: "default", name: "p")
        let four = pod.status["podIP"]
        pod.status["podIPs"] = [["ip": four], ["ip": "fd00:42::5"]]
        _ = try await bench.client.update(.pods, pod, subresource: "status")
        func slices() async throws -> [String] {
            try await bench.settle()
            return try await bench.list(.endpointSlices, ["kubernetes.io/service-name": "web"]).map { slice in
                let all = slice["endpoints"].elements.flatMap { $0["addresses"].elements.compactMap(\.string) }
                return "\(slice["addressType"].string ?? "") \(all.joined(separator: ","))"
            }.sorted()
        }
        #expect(try await slices() == ["IPv4 \(four.string ?? "")", "IPv6 fd00:42::5"])
        var service = try await bench.client.get(.services, namespace: "default", name: "web")
        service.spec["ipFamilyPolicy"] = "SingleStack"
        _ = try await bench.client.update(.services, service)
        #expect(try await slices() == ["IPv4 \(four.string ?? "")"])
    }
}
