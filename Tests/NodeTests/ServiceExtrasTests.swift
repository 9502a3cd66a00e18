import ClusterDNS
import Codecs
import Iptables
import KubeAPI
import Netlink
import Testing

@testable import Node

/// What services have beside their endpoints: hints, health checks, names, load balancer addresses.
@Suite("Service extras") struct ServiceExtrasTests {
    let key = ObjectKey(namespace: "default", name: "web")

    private func hinted(_ address: String, zone: String? = nil, node: String? = nil, on: String = "node-2") -> JSON {
        var endpoint = ServiceMappingTests.endpoint(address, node: on)
        if let zone { endpoint["hints"]["forZones"] = [["name": .string(zone)]] }
        if let node { endpoint["hints"]["forNodes"] = [["name": .string(node)]] }
        return endpoint
    }

    private func targets(_ endpoints: [JSON], zone: String? = "a", spec: JSON = [:]) -> [String] {
        var mapping = ServiceMapping(node: "node-1")
        mapping.zone = zone
        _ = mapping.set(ServiceMappingTests.service("web", spec))
        _ = mapping.set(slice: ServiceMappingTests.slice("web-1", "web", endpoints))
        return mapping.ports(of: key).flatMap(\.endpoints).map(\.address.description)
    }

    @Test func endpointsMeantForTheZoneArePreferred() {
        let list = [hinted("10.42.0.5", zone: "a"), hinted("10.42.1.5", zone: "b")]
        #expect(targets(list) == ["10.42.0.5"])
        #expect(targets(list, zone: nil).count == 2, "a node without a zone takes all")
        #expect(targets(list, zone: "c").count == 2, "so does one for whose zone there is none")
        #expect(targets(list + [hinted("10.42.2.5")]).count == 3, "an endpoint without hints: hints are not complete")
        #expect(targets(list, spec: ["externalTrafficPolicy": "Local"]).count == 2, "local policies know no zones")
    }

    @Test func endpointsMeantForTheNodeComeBeforeItsZone() {
        let list = [hinted("10.42.0.5", zone: "a", node: "node-1"), hinted("10.42.1.5", zone: "a", node: "node-2")]
        #expect(targets(list) == ["10.42.0.5"])
    }

    @Test func loadBalancersWithLocalPolicyAreAskedForLocalEndpoints() throws {
        var mapping = ServiceMapping(node: "node-1")
        _ = mapping.set(
            ServiceMappingTests.service(
                "web", ["type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 31000]))
        #expect(mapping.healthCheck(of: key)?.localEndpoints == 0)
        let endpoints = [
            hinted("10.42.0.5", on: "node-1"), hinted("10.42.0.6", on: "node-1"), hinted("10.42.1.5"),
            ServiceMappingTests.endpoint("10.42.0.7", ready: false, node: "node-1"),
        ]
        _ = mapping.set(slice: ServiceMappingTests.slice("web-1", "web", endpoints))
        let check = try #require(mapping.healthCheck(of: key))
        #expect(check.port == 31000 && check.localEndpoints == 2)
        _ = mapping.set(ServiceMappingTests.service("web", ["type": "LoadBalancer"]))
        #expect(mapping.healthCheck(of: key) == nil)
    }

    @Test func theNodesOwnNameServerIsNotTranslated() throws {
        let address = try #require(IPAddress("10.43.0.7"))
        var mapping = ServiceMapping(node: "node-1")
        _ = mapping.set(
            ServiceMappingTests.service("web", ["ports": [["name": "dns", "port": 53, "protocol": "UDP"]]]))
        #expect(mapping.ports(of: key).count == 1)
        mapping.ownNames = [address: 53]
        #expect(mapping.ports(of: key).isEmpty)
        mapping.ownNames = [address: 5300]
        #expect(mapping.ports(of: key).first?.endpoints == [ProxyEndpoint(address, 5300, isLocal: true)])
    }

    @Test func namesHaveReadyEndpointsWithTheirHostnames() throws {
        var mapping = ServiceMapping(node: "node-1")
        var first = ServiceMappingTests.endpoint("10.42.0.5")
        first["hostname"] = "web-0"
        _ = mapping.set(
            slice: ServiceMappingTests.slice(
                "web-1", "web", [first, ServiceMappingTests.endpoint("10.42.0.6", ready: false)]))
        let port = DNSService.Port(name: "http", transport: "tcp", port: 8080)
        #expect(
            mapping.names(of: key) == [
                DNSEndpoint(try #require(IPAddress("10.42.0.5")), hostname: "web-0", ports: [port])
            ])
    }

    @Test func servicesAreRecordedByTheirKind() throws {
        var service = ServiceMappingTests.service("web")
        #expect(ClusterNames.record(service).addresses == [try #require(IPAddress("10.43.0.7"))])
        service.spec["clusterIP"] = "None"
        #expect(ClusterNames.record(service).addresses == [])
        #expect(ClusterNames.record(service).ports == [DNSService.Port(name: "http", transport: "tcp", port: 80)])
        service.spec["type"] = "ExternalName"
        service.spec["externalName"] = "example.com"
        #expect(ClusterNames.record(service).externalName == "example.com")
    }

    // MARK: load balancer addresses

    private func node(_ name: String, internalIP: String, external: String? = nil, ready: Bool = true) -> KubeObject {
        var node = KubeObject(GroupVersionKind("", "v1", "Node"), name: name)
        var addresses: [JSON] = [["type": "InternalIP", "address": .string(internalIP)]]
        if let external { addresses.append(["type": "ExternalIP", "address": .string(external)]) }
        node.status = [
            "addresses": .array(addresses),
            "conditions": [["type": "Ready", "status": .string(ready ? "True" : "False")]],
        ]
        return node
    }

    private func balancer(_ name: String, port: Int64 = 80, created: String = "2026-01-01T00:00:00Z") -> KubeObject {
        var service = ServiceMappingTests.service(
            name, ["type": "LoadBalancer", "ports": [["port": .int(port), "protocol": "TCP"]]])
        service.metadata["creationTimestamp"] = .string(created)
        return service
    }

    private func wanted(_ balancer: ServiceLoadBalancer) -> [String: [String]] {
        Dictionary(uniqueKeysWithValues: balancer.wanted().map { ($0.service.name, $0.addresses) })
    }

    @Test func loadBalancersGetTheAddressesOfReadyNodes() {
        let it = ServiceLoadBalancer()
        it.set(balancer("web"))
        it.node("node-1", node("node-1", internalIP: "192.0.2.11"))
        it.node("node-2", node("node-2", internalIP: "192.0.2.2"))
        it.node("node-3", node("node-3", internalIP: "192.0.2.3", ready: false))
        #expect(wanted(it) == ["web": ["192.0.2.2", "192.0.2.11"]])
        it.node("node-2", node("node-2", internalIP: "192.0.2.2", external: "198.51.100.2"))
        #expect(wanted(it) == ["web": ["198.51.100.2"]], "external addresses win")
        it.node("node-2", nil)
        #expect(wanted(it) == ["web": ["192.0.2.11"]])
    }

    @Test func aPortBelongsToTheFirstService() {
        let it = ServiceLoadBalancer()
        it.node("node-1", node("node-1", internalIP: "192.0.2.1"))
        it.set(balancer("second", created: "2026-01-02T00:00:00Z"))
        it.set(balancer("first"))
        it.set(balancer("other", port: 81, created: "2026-01-03T00:00:00Z"))
        #expect(wanted(it) == ["first": ["192.0.2.1"], "second": [], "other": ["192.0.2.1"]])
        it.remove(ObjectKey(namespace: "default", name: "first"))
        #expect(wanted(it) == ["second": ["192.0.2.1"], "other": ["192.0.2.1"]])
    }

    @Test func othersLoadBalancersAndOrdinaryServicesAreLeftAlone() {
        let it = ServiceLoadBalancer()
        it.node("node-1", node("node-1", internalIP: "192.0.2.1"))
        var other = balancer("other")
        other.spec["loadBalancerClass"] = "example.com/lb"
        it.set(other)
        it.set(ServiceMappingTests.service("plain"))
        var former = ServiceMappingTests.service("former", ["type": "ClusterIP"])
        former.status = ["loadBalancer": ["ingress": [["ip": "192.0.2.1"]]]]
        it.set(former)
        #expect(wanted(it) == ["former": []], "what was one loses its addresses")
    }
}
