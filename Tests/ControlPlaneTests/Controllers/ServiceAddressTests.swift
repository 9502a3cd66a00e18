import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

/// ServiceCIDR and IPAddress objects and the addresses of services.
@Suite struct ServiceAddressTests {
    private static let cidrs = ServiceAddresses.cidrs
    private static let addresses = ServiceAddresses.addresses

    private func bench(_ networks: [String] = ["10.43.0.0/16"]) async throws -> ControllerBench {
        try await ControllerBench(networks: networks) { client, clock in
            guard let allocator = client.registry.hooks["/registry/services/"] as? ServiceAllocator else { return [] }
            return [
                ServiceAddressController(client: client, allocator: allocator),
                ServiceCIDRController(client: client, clock: clock, allocator: allocator),
            ]
        }
    }

    @discardableResult
    private func service(_ bench: ControllerBench, _ name: String, _ spec: JSON = [:]) async throws -> KubeObject {
        var spec = spec
        spec["ports"] = [["port": 80]]
        return try await bench.create(.services, ["metadata": ["name": .string(name)], "spec": spec])
    }

    private func names(_ bench: ControllerBench) async throws -> [String] {
        try await bench.settle()
        return try await bench.client.list(Self.addresses).decoded().map(\.name)
    }

    @Test func everyAddressOfAServiceHasItsObject() async throws {
        let bench = try await bench(["10.43.0.0/16", "fd00:43::/112"])
        let made = try await service(bench, "s", ["ipFamilyPolicy": "PreferDualStack"])
        try await service(bench, "headless", ["clusterIP": "None"])
        let own = made.spec["clusterIPs"].elements.compactMap(\.string)
        #expect(try await Set(names(bench)) == Set(own) && own.count == 2)
        let object = try await bench.client.get(Self.addresses, namespace: "", name: own[1])
        #expect(object.spec["parentRef"] == ["resource": "services", "namespace": "default", "name": "s"])
        #expect(
            object.labels == [
                "ipaddress.kubernetes.io/ip-family": "IPv6", "ipaddress.kubernetes.io/managed-by": "ipallocator",
            ])
        _ = try await bench.client.patch(
            .services, namespace: "default", name: "s",
            ["spec": ["ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"], "clusterIPs": [.string(own[0])]]],
            type: .merge, subresource: nil)
        #expect(try await names(bench) == [own[0]])
        _ = try await bench.client.delete(Self.addresses, namespace: "", name: own[0], options: DeleteOptions())
        #expect(try await names(bench) == [own[0]], "what is in use comes back")
        _ = try await bench.client.delete(.services, namespace: "default", name: "s", options: DeleteOptions())
        #expect(try await names(bench).isEmpty)
        #expect(bench.errors.isEmpty, "\(bench.errors)")
    }

    @Test func anAddressFollowsItsService() async throws {
        let bench = try await bench()
        try await service(bench, "a", ["clusterIP": "10.43.0.99"])
        #expect(try await names(bench) == ["10.43.0.99"])
        _ = try await bench.client.delete(.services, namespace: "default", name: "a", options: DeleteOptions())
        try await service(bench, "b", ["clusterIP": "10.43.0.99"])
        _ = try await names(bench)
        let object = try await bench.client.get(Self.addresses, namespace: "", name: "10.43.0.99")
        #expect(object.spec["parentRef"]["name"] == "b")
    }

    @Test func anAddressThatSomebodyKeepsIsNotGivenAway() async throws {
        let bench = try await bench()
        try await bench.create(
            Self.addresses,
            ["metadata": ["name": "10.43.0.7"], "spec": ["parentRef": ["resource": "vips", "name": "v"]]])
        await #expect(throws: APIError.self) { try await service(bench, "s", ["clusterIP": "10.43.0.7"]) }
        #expect(try await names(bench) == ["10.43.0.7"])
        _ = try await bench.client.delete(Self.addresses, namespace: "", name: "10.43.0.7", options: DeleteOptions())
        #expect(try await service(bench, "s", ["clusterIP": "10.43.0.7"]).spec["clusterIP"] == "10.43.0.7")
    }

    @Test func moreNetworksGiveMoreAddresses() async throws {
        let bench = try await bench(["10.43.0.0/29"])
        for i in 0..<6 { try await service(bench, "s\(i)") }
        await #expect(throws: APIError.self) { try await service(bench, "full") }
        try await bench.create(Self.cidrs, ["metadata": ["name": "more"], "spec": ["cidrs": ["10.99.0.0/24"]]])
        try await bench.settle()
        let cidr = try await bench.client.get(Self.cidrs, namespace: "", name: "more")
        #expect(cidr.condition("Ready")["status"] == "True" && cidr.finalizers == [ServiceAddresses.finalizer])
        let made = try await service(bench, "full")
        #expect(made.spec["clusterIP"].string?.hasPrefix("10.99.0.") == true)
        try await bench.settle()

        _ = try await bench.client.delete(Self.cidrs, namespace: "", name: "more", options: DeleteOptions())
        try await bench.settle()
        let going = try await bench.client.get(Self.cidrs, namespace: "", name: "more")
        #expect(going.condition("Ready")["status"] == "False" && going.condition("Ready")["reason"] == "Terminating")
        await #expect(throws: APIError.self) { try await service(bench, "late", ["clusterIP": "10.99.0.50"]) }
        _ = try await bench.client.delete(.services, namespace: "default", name: "full", options: DeleteOptions())
        try await bench.advance(.seconds(30))
        #expect(try await bench.client.getIfPresent(Self.cidrs, namespace: "", name: "more") == nil)
    }

    @Test func whatWasGivenOutIsKnownAfterARestart() async throws {
        let bench = try await bench()
        try await bench.create(Self.cidrs, ["metadata": ["name": "more"], "spec": ["cidrs": ["10.99.0.0/24"]]])
        try await bench.create(
            Self.addresses,
            ["metadata": ["name": "10.99.0.7"], "spec": ["parentRef": ["resource": "vips", "name": "v"]]])
        let again = APIServer(store: bench.cluster.store, configuration: bench.cluster.server.configuration)
        let client = again.client(as: .system)
        func make(_ name: String, _ address: String) async throws {
            var object = KubeObject(GroupVersionKind(.core, "Service"), name: name, namespace: "default")
            object.json["spec"] = ["clusterIP": .string(address), "ports": [["port": 80]]]
            _ = try await client.create(.services, object)
        }
        await #expect(throws: APIError.self) { try await make("kept", "10.99.0.7") }
        try await make("s", "10.99.0.8")
    }

    @Test func theClustersOwnNetworkIsAnObject() async throws {
        let cluster = try await Cluster { try $0.setServiceNetworks(["10.43.0.0/16", "fd00:43::/112"]) }
        try await cluster.server.bootstrap()
        let answer = try await cluster.call("GET", "/apis/networking.k8s.io/v1/servicecidrs/kubernetes")
        #expect(answer.json["spec"] == ["cidrs": ["10.43.0.0/16", "fd00:43::/112"]], "\(answer.text)")
    }
}
