import Codecs
import ControlPlane
import KubeAPI
import Store
import Testing

@Suite struct ServiceTests {
    static let services = "/api/v1/namespaces/default/services"

    func service(_ name: String, _ spec: JSON = [:]) -> JSON {
        var spec = spec
        if spec["ports"].isNull, spec["type"].string != "ExternalName" { spec["ports"] = [["port": 80]] }
        return ["metadata": ["name": .string(name)], "spec": spec]
    }

    @Test func everyServiceGetsItsOwnAddress() async throws {
        let cluster = try await Cluster()
        let addresses = try await withThrowingTaskGroup(of: String.self) { group in
            for i in 0..<200 {
                group.addTask {
                    let made = try await cluster.call("POST", Self.services, service("s\(i)", ["type": "NodePort"]))
                    let spec = made.json["spec"]
                    #expect(spec["clusterIPs"] == [spec["clusterIP"]])
                    #expect(spec["ipFamilies"] == ["IPv4"] && spec["ipFamilyPolicy"] == "SingleStack")
                    return "\(spec["clusterIP"].string ?? "") \(spec["ports"][0]["nodePort"].int ?? 0)"
                }
            }
            var all: [String] = []
            for try await address in group { all.append(address) }
            return all
        }
        #expect(Set(addresses.map { $0.split(separator: " ")[0] }).count == 200)
        #expect(Set(addresses.map { $0.split(separator: " ")[1] }).count == 200)
        #expect(addresses.allSatisfy { $0.hasPrefix("10.43.") })
    }

    @Test func whatOnlyTheOldTypeNeedsGoesWithIt() async throws {
        let cluster = try await Cluster()
        let fixed: JSON = ["clusterIP": "10.43.0.20", "type": "NodePort", "ports": [["port": 1, "nodePort": 30099]]]
        #expect(try await cluster.call("POST", Self.services, service("a", fixed)).code == 201)
        let changed = try await cluster.call(
            "PATCH", Self.services + "/a", ["spec": ["type": "ExternalName", "externalName": "example.com"]],
            type: "application/merge-patch+json")
        #expect(changed.code == 200, "\(changed.text)")
        let spec = changed.json["spec"]
        for key in ["clusterIP", "clusterIPs", "externalTrafficPolicy"] { #expect(spec[key].isNull, "\(spec[key])") }
        #expect(spec["ports"][0]["nodePort"].isNull && spec["ports"][0]["port"] == 1)
        // Both are free again.
        #expect(try await cluster.call("POST", Self.services, service("b", fixed)).code == 201)
        let kept = try await cluster.call(
            "PATCH", Self.services + "/b", ["spec": ["type": "ClusterIP", "ports": [["port": 1, "nodePort": 30098]]]],
            type: "application/merge-patch+json")
        #expect(kept.message.contains("spec.ports[0].nodePort: Forbidden"), "a port that is asked for is not forgotten")
    }

    @Test func whatIsTakenIsTakenUntilItIsDeleted() async throws {
        let cluster = try await Cluster()
        let fixed: JSON = ["clusterIP": "10.43.0.10", "type": "NodePort", "ports": [["port": 53, "nodePort": 30053]]]
        #expect(try await cluster.call("POST", Self.services, service("a", fixed)).code == 201)
        let second = try await cluster.call("POST", Self.services, service("b", ["clusterIP": "10.43.0.10"]))
        #expect(second.code == 422)
        #expect(
            second.message
                == "Service \"b\" is invalid: spec.clusterIPs: Invalid value: [\"10.43.0.10\"]: failed to allocate IP 10.43.0.10: provided IP is already allocated"
        )
        let port = try await cluster.call(
            "POST", Self.services, service("c", ["type": "NodePort", "ports": [["port": 1, "nodePort": 30053]]]))
        #expect(
            port.message.hasSuffix("spec.ports[0].nodePort: Invalid value: 30053: provided port is already allocated"))
        // A dry run takes nothing, a failed creation gives back, a second server over the same store knows.
        _ = try await cluster.call("POST", Self.services + "?dryRun=All", service("d", ["clusterIP": "10.43.0.11"]))
        #expect(try await cluster.call("POST", Self.services, service("a", ["clusterIP": "10.43.0.12"])).code == 409)
        for last in [11, 12] {
            let free = service("free\(last)", ["clusterIP": .string("10.43.0.\(last)")])
            #expect(try await cluster.call("POST", Self.services, free).code == 201)
        }
        let other = APIServer(store: cluster.store).client(as: .system)
        var object = KubeObject(service("e", ["clusterIP": "10.43.0.10"]))
        object.json["kind"] = "Service"
        object.json["apiVersion"] = "v1"
        object.namespace = "default"
        let asked = object
        let error = await #expect(throws: APIError.self) { try await other.create(.services, asked) }
        #expect(error?.message.contains("provided IP is already allocated") == true)
        _ = try await cluster.call("DELETE", Self.services + "/a")
        #expect(try await cluster.call("POST", Self.services, service("b", fixed)).code == 201)
    }

    @Test func addressesStayOverUpdates() async throws {
        let cluster = try await Cluster()
        let made = try await cluster.call("POST", Self.services, service("s"))
        let address = made.json["spec"]["clusterIP"]
        var changed = made.json
        changed["spec"]["clusterIP"] = nil
        changed["spec"]["clusterIPs"] = nil
        changed["spec"]["type"] = "NodePort"
        let put = try await cluster.call("PUT", Self.services + "/s", changed)
        #expect(put.json["spec"]["clusterIP"] == address)
        let node = put.json["spec"]["ports"][0]["nodePort"].int ?? 0
        #expect((30000...32767).contains(node))
        let moved = try await cluster.call(
            "PATCH", Self.services + "/s", ["spec": ["clusterIP": "10.43.7.7", "clusterIPs": ["10.43.7.7"]]],
            type: "application/merge-patch+json")
        #expect(moved.code == 422)
        #expect(moved.message.contains("spec.clusterIPs[0]: Invalid value: [\"10.43.7.7\"]: may not change once set"))
        let back = try await cluster.call(
            "PATCH", Self.services + "/s", ["spec": ["type": "ClusterIP"]],
            type: "application/strategic-merge-patch+json")
        #expect(back.code == 200 && back.json["spec"]["ports"][0]["nodePort"].isNull, "\(back.text)")
        // The port that was given back and the address that the failed update wanted are free.
        let reuse = service(
            "t", ["type": "NodePort", "clusterIP": "10.43.7.7", "ports": [["port": 1, "nodePort": .int(node)]]])
        #expect(try await cluster.call("POST", Self.services, reuse).code == 201)
    }

    @Test func someServicesHaveNoAddress() async throws {
        let cluster = try await Cluster()
        let headless = try await cluster.call("POST", Self.services, service("h", ["clusterIP": "None"]))
        #expect(headless.json["spec"]["clusterIPs"] == ["None"])
        let external = try await cluster.call(
            "POST", Self.services, service("x", ["type": "ExternalName", "externalName": "example.com"]))
        #expect(external.code == 201 && external.json["spec"]["clusterIP"].isNull)
        let toCluster = try await cluster.call(
            "PATCH", Self.services + "/x",
            ["spec": ["type": "ClusterIP", "externalName": nil, "ports": [["port": 80]]]],
            type: "application/merge-patch+json")
        #expect(toCluster.json["spec"]["clusterIP"].string?.hasPrefix("10.43.") == true, "\(toCluster.text)")
        let back = try await cluster.call(
            "PATCH", Self.services + "/x", ["spec": ["type": "ExternalName", "externalName": "example.org"]],
            type: "application/merge-patch+json")
        #expect(back.code == 200 && back.json["spec"]["clusterIP"].isNull, "\(back.text)")
    }

    @Test func everyClusterHasItsBeginnings() async throws {
        let cluster = try await Cluster { try $0.advertise("192.0.2.10", port: 6443) }
        try await cluster.server.bootstrap()
        let revision = cluster.store.revision
        try await cluster.server.bootstrap()
        #expect(cluster.store.revision == revision)
        let names = try await cluster.client.list(.namespaces).decoded().map(\.name)
        #expect(names == ["default", "kube-node-lease", "kube-public", "kube-system", "other"])
        let service = try await cluster.client.get(.services, namespace: "default", name: "kubernetes")
        #expect(service.spec["clusterIP"] == "10.43.0.1")
        let slice = try await cluster.client.get(.endpointSlices, namespace: "default", name: "kubernetes")
        #expect(slice["endpoints"][0]["addresses"] == ["192.0.2.10"] && slice["ports"][0]["port"] == 6443)
    }

    /// `--advertise-address 127.0.0.1`: a server for its own machine starts, though nobody can be sent there.
    @Test func aServerOnTheLoopbackHasNoEndpoints() async throws {
        let cluster = try await Cluster { try $0.advertise("127.0.0.1", port: 6443) }
        try await cluster.server.bootstrap()
        let service = try await cluster.client.get(.services, namespace: "default", name: "kubernetes")
        #expect(service.spec["clusterIP"] == "10.43.0.1")
        #expect(try await cluster.client.list(.endpointSlices).items.isEmpty)
    }

    @Test func eventsGoAfterAnHour() async throws {
        let cluster = try await Cluster()
        let task = Task { await cluster.server.expireEvents() }
        var event = KubeObject(GroupVersionKind(.core, "Event"), name: "e", namespace: "default")
        event.json["involvedObject"] = ["namespace": "default"]
        _ = try await cluster.client.create(.events, event)
        while cluster.clock.sleeping == 0 { await Task.yield() }
        cluster.clock.advance(by: .seconds(3700))
        while try await cluster.client.getIfPresent(.events, namespace: "default", name: "e") != nil {
            await Task.yield()
        }
        task.cancel()
    }
}
