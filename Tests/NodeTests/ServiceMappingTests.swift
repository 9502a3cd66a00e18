import Codecs
import Iptables
import KubeAPI
import Netlink
import Synchronization
import Testing

@testable import Node

@Suite("Service mapping") struct ServiceMappingTests {
    static func service(_ name: String, _ spec: JSON = [:]) -> KubeObject {
        var object = KubeObject(GroupVersionKind("", "v1", "Service"), name: name, namespace: "default")
        object.spec = spec
        object.spec["clusterIP"] = "10.43.0.7"
        if object.spec["ports"].isNull { object.spec["ports"] = [["name": "http", "port": 80, "protocol": "TCP"]] }
        return object
    }
    static func slice(_ name: String, _ service: String, _ endpoints: [JSON]) -> KubeObject {
        var object = KubeObject(
            GroupVersionKind("discovery.k8s.io", "v1", "EndpointSlice"), name: name, namespace: "default")
        object.labels = ["kubernetes.io/service-name": service]
        object["ports"] = [["name": "http", "port": 8080, "protocol": "TCP"]]
        object["endpoints"] = .array(endpoints)
        return object
    }
    static func endpoint(_ address: String, ready: Bool = true, serving: Bool = true, node: String = "node-2") -> JSON {
        [
            "addresses": [.string(address)], "conditions": ["ready": .bool(ready), "serving": .bool(serving)],
            "nodeName": .string(node),
        ]
    }
    let key = ObjectKey(namespace: "default", name: "web")

    @Test func readyEndpointsTakeTraffic() {
        var mapping = ServiceMapping(node: "node-1")
        #expect(mapping.set(Self.service("web")) == ["default/web:http"])
        #expect(
            mapping.set(
                slice: Self.slice(
                    "web-1", "web",
                    [Self.endpoint("10.42.0.5", node: "node-1"), Self.endpoint("10.42.1.5", ready: false)])) == [key])
        #expect(mapping.set(slice: Self.slice("web-2", "web", [Self.endpoint("10.42.1.6")])) == [key])
        // The same again is no news.
        #expect(mapping.set(slice: Self.slice("web-2", "web", [Self.endpoint("10.42.1.6")])).isEmpty)
        let ports = mapping.ports(of: key)
        #expect(ports.map(\.id) == ["default/web:http"])
        #expect(
            ports[0].endpoints == [
                ProxyEndpoint(.v4(0x0A2A_0005), 8080, isLocal: true), ProxyEndpoint(.v4(0x0A2A_0106), 8080),
            ])
        #expect(mapping.remove(slice: ObjectKey(namespace: "default", name: "web-2")) == [key])
        #expect(mapping.ports(of: key)[0].endpoints.count == 1)
    }

    @Test func endingEndpointsAreTheLastResort() {
        var mapping = ServiceMapping(node: "node-1")
        _ = mapping.set(Self.service("web"))
        _ = mapping.set(
            slice: Self.slice(
                "web-1", "web",
                [
                    Self.endpoint("10.42.1.5", ready: false, serving: true),
                    Self.endpoint("10.42.1.6", ready: false, serving: false),
                ]))
        #expect(mapping.ports(of: key)[0].endpoints.map(\.address) == [.v4(0x0A2A_0105)])
    }

    @Test func theSpecsFieldsArrive() {
        var mapping = ServiceMapping(node: "node-1")
        var service = Self.service(
            "web",
            [
                "type": "LoadBalancer", "sessionAffinity": "ClientIP", "externalTrafficPolicy": "Local",
                "externalIPs": ["192.0.2.9"],
                "loadBalancerSourceRanges": ["198.51.100.0/24"],
                "ports": [["port": 53, "protocol": "UDP", "nodePort": 30053]],
            ])
        service.status = [
            "loadBalancer": ["ingress": [["ip": "192.0.2.10"], ["ip": "192.0.2.11", "ipMode": "Proxy"]]]
        ]
        _ = mapping.set(service)
        let port = mapping.ports(of: key)[0]
        #expect(port.id == "default/web:")
        #expect(port.transport == .udp)
        #expect(port.nodePort == 30053)
        #expect(port.sessionAffinityTimeoutSeconds == 10800)
        #expect(port.externalTrafficLocal && !port.internalTrafficLocal)
        #expect(port.externalIPs == [.v4(0xC000_0209)])
        #expect(port.loadBalancerIPs == [.v4(0xC000_020A)])
        #expect(port.loadBalancerSourceRanges.count == 1)
    }

    @Test func headlessAndForeignServicesAreLeftOut() {
        var mapping = ServiceMapping(node: "node-1")
        var headless = Self.service("web")
        headless.spec["clusterIP"] = "None"
        #expect(mapping.set(headless).isEmpty)
        var foreign = Self.service("web")
        foreign.labels = ["service.kubernetes.io/service-proxy-name": "other"]
        #expect(mapping.set(foreign).isEmpty)
        #expect(mapping.set(Self.service("web", ["type": "ExternalName"])).isEmpty)
        // From here on it counts; and when it goes its port is to be removed.
        #expect(mapping.set(Self.service("web")) == ["default/web:http"])
        #expect(mapping.set(headless) == ["default/web:http"])
        #expect(mapping.ports(of: key).isEmpty)
    }
}

@Suite("Service follower") struct ServiceFollowerTests {
    final class Recorder: ServiceProxying {
        private let state = Mutex<(loads: Int, updates: [String], failures: Int)>((0, [], 0))
        var loads: Int { state.withLock { $0.loads } }
        var updates: [String] { state.withLock { $0.updates } }
        func failNext(_ count: Int) { state.withLock { $0.failures = count } }
        struct Refused: Error {}
        private func check() throws {
            let fails = state.withLock { state -> Bool in
                guard state.failures > 0 else { return false }
                state.failures -= 1
                return true
            }
            if fails { throw Refused() }
        }
        func load(_ ports: [ServicePort]) async throws {
            try check()
            state.withLock { $0.loads += 1 }
        }
        func update(_ changed: [ServicePort], removing removed: Set<String>) async throws {
            try check()
            let text = changed.map { "\($0.id)=\($0.endpoints.count)" } + removed.sorted().map { "-" + $0 }
            state.withLock { $0.updates.append(text.joined(separator: " ")) }
        }
    }

    @Test func changesReachTheProxyOnce() async throws {
        let node = try NodeHarness()
        let proxy = Recorder()
        let agent = NodeAgent(
            clients: NodeClients(node.client), runtime: node.runtime, network: node.network, proxy: proxy,
            configuration: node.configuration,
            clock: node.clock, mounter: node.mounter, actions: node.actions)
        let task = Task { _ = try? await agent.run() }
        try await node.until("loaded", ticking: .milliseconds(5)) { proxy.loads == 1 }
        node.client.put(.services, ServiceMappingTests.service("web"))
        try await node.until("service", ticking: .milliseconds(5)) { proxy.updates.last == "default/web:http=0" }
        node.client.put(
            .endpointSlices, ServiceMappingTests.slice("web-1", "web", [ServiceMappingTests.endpoint("10.42.0.5")]))
        try await node.until("endpoint", ticking: .milliseconds(5)) { proxy.updates.last == "default/web:http=1" }
        let count = proxy.updates.count
        node.client.put(
            .endpointSlices, ServiceMappingTests.slice("web-1", "web", [ServiceMappingTests.endpoint("10.42.0.5")]))
        await node.settle()
        #expect(proxy.updates.count == count)
        proxy.failNext(1)
        _ = try await node.client.delete(.services, namespace: "default", name: "web", options: DeleteOptions())
        try await node.until("loaded again after a failure", ticking: .milliseconds(100)) { proxy.loads == 2 }
        task.cancel()
        await task.value
    }
}
