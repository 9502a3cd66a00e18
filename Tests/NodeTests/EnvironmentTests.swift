import Codecs
import Containers
import KubeAPI
import Testing

@testable import Node

@Suite("Expansion") struct ExpansionTests {
    @Test(arguments: [
        ("$(A)", "1"), ("$$(A)", "$(A)"), ("$(B)", "$(B)"), ("$A", "$A"), ("$(A)$(A)", "11"), ("x$", "x$"),
        ("$(A", "$(A"),
        ("$$$(A)", "$1"), ("", ""), ("$()", "$()"), ("a$(A)b", "a1b"),
    ])
    func isUpstreams(_ text: String, _ expected: String) {
        #expect(Expansion.expand(text) { $0 == "A" ? "1" : nil } == expected)
    }
}

@Suite("Environment") struct EnvironmentTests {
    private func pod(_ spec: JSON = [:]) -> Pod {
        var object = KubeObject(GroupVersionKind("", "v1", "Pod"), name: "web", namespace: "default")
        object.metadata["uid"] = "u"
        object.annotations = ["note": "hi"]
        object.spec = spec
        return Pod(object)
    }
    private func build(
        _ container: JSON, services: [String: String] = [:], objects: [ObjectReference: KubeObject] = [:]
    ) async throws -> [String: String] {
        let facts = PodFacts(
            pod: pod(), podIPs: ["10.0.0.1", "fd00::1"], hostIPs: ["192.0.2.1"],
            allocatable: ["memory": Quantity(1 << 30)])
        let environment = ContainerEnvironment(
            facts: facts, container: ContainerSpec(container, .regular), services: services, object: { objects[$0] })
        return Dictionary(uniqueKeysWithValues: try await environment.build().map { ($0.name, $0.value) })
    }

    @Test func laterWinsAndServicesComeLast() async throws {
        let map = VolumeTests.configMap("m", ["A": "map", "B": "map"])
        let values = try await build(
            [
                "name": "app",
                "envFrom": [["prefix": "P_", "configMapRef": ["name": "m"]], ["configMapRef": ["name": "m"]]],
                "env": [
                    ["name": "A", "value": "own"], ["name": "C", "value": "$(P_B)-$(WEB_SERVICE_HOST)"],
                    ["name": "IPS", "valueFrom": ["fieldRef": ["fieldPath": "status.podIPs"]]],
                    ["name": "NOTE", "valueFrom": ["fieldRef": ["fieldPath": "metadata.annotations['note']"]]],
                    [
                        "name": "MEMORY",
                        "valueFrom": ["resourceFieldRef": ["resource": "limits.memory", "divisor": "1Mi"]],
                    ],
                    ["name": "MAYBE", "valueFrom": ["secretKeyRef": ["name": "none", "key": "k", "optional": true]]],
                ],
            ], services: ["WEB_SERVICE_HOST": "10.43.0.9", "A": "service"],
            objects: [ObjectReference(.configMap, "default", "m"): map])
        #expect(values["A"] == "own")
        #expect(values["B"] == "map")
        #expect(values["P_A"] == "map")
        #expect(values["C"] == "map-10.43.0.9")
        #expect(values["IPS"] == "10.0.0.1,fd00::1")
        #expect(values["NOTE"] == "hi")
        #expect(values["MEMORY"] == "1024")
        #expect(values["MAYBE"] == nil)
        #expect(values["WEB_SERVICE_HOST"] == "10.43.0.9")
    }

    @Test func whatIsMissingIsNamed() async throws {
        await #expect(throws: ContainerConfigError("couldn't find key k in Secret default/s")) {
            try await build(
                ["name": "a", "env": [["name": "X", "valueFrom": ["secretKeyRef": ["name": "s", "key": "k"]]]]],
                objects: [ObjectReference(.secret, "default", "s"): KubeObject(["data": [:]])])
        }
        await #expect(throws: ContainerConfigError("secret \"s\" not found")) {
            try await build([
                "name": "a", "env": [["name": "X", "valueFrom": ["secretKeyRef": ["name": "s", "key": "k"]]]],
            ])
        }
    }

    @Test func servicesBecomeVariables() {
        let directory = ServiceDirectory()
        func service(_ namespace: String, _ name: String, _ ip: String) -> KubeObject {
            var object = KubeObject(GroupVersionKind("", "v1", "Service"), name: name, namespace: namespace)
            object.spec = [
                "clusterIP": .string(ip),
                "ports": [["name": "web-ui", "port": 80, "protocol": "TCP"], ["port": 53, "protocol": "UDP"]],
            ]
            return object
        }
        directory.reset([
            service("default", "kubernetes", "10.43.0.1"), service("shop", "red-shoes", "10.43.0.7"),
            service("shop", "headless", "None"), service("other", "hidden", "10.43.0.8"),
        ])
        let values = directory.variables(namespace: "shop", links: true)
        #expect(values["RED_SHOES_SERVICE_HOST"] == "10.43.0.7")
        #expect(values["RED_SHOES_SERVICE_PORT"] == "80")
        #expect(values["RED_SHOES_SERVICE_PORT_WEB_UI"] == "80")
        #expect(values["RED_SHOES_PORT"] == "tcp://10.43.0.7:80")
        #expect(values["RED_SHOES_PORT_53_UDP_PROTO"] == "udp")
        #expect(values["KUBERNETES_SERVICE_HOST"] == "10.43.0.1")
        #expect(values.keys.contains { $0.hasPrefix("HIDDEN") || $0.hasPrefix("HEADLESS") } == false)
        let few = directory.variables(namespace: "shop", links: false)
        #expect(few["RED_SHOES_SERVICE_HOST"] == nil)
        #expect(few["KUBERNETES_SERVICE_HOST"] == "10.43.0.1")
    }

    @Test func hostsFilesAreUpstreams() {
        let plain = HostFiles.hosts(
            pod(["hostAliases": [["ip": "1.2.3.4", "hostnames": ["a", "b"]]]]), podIPs: ["10.0.0.1"],
            clusterDomain: "cluster.local", nodeHosts: "")
        #expect(
            plain
                == "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n10.0.0.1\tweb\n\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"
        )
        let host = HostFiles.hosts(
            pod(["hostNetwork": true]), podIPs: [], clusterDomain: "", nodeHosts: "127.0.0.1 here\n")
        #expect(host == "# Kubernetes-managed hosts file (host network).\n127.0.0.1 here\n")
    }

    @Test func theResolverFollowsThePolicy() {
        let node = HostFiles.Resolver(
            parsing: "# x\nnameserver 9.9.9.9\nsearch corp.example.\noptions ndots:2 rotate\n")
        #expect(
            node
                == HostFiles.Resolver(servers: ["9.9.9.9"], searches: ["corp.example"], options: ["ndots:2", "rotate"]))
        func resolver(_ spec: JSON) -> HostFiles.Resolver {
            HostFiles.resolver(pod(spec), clusterDNS: ["10.43.0.10"], clusterDomain: "cluster.local", host: node)
        }
        #expect(
            resolver([:]).searches == [
                "default.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example",
            ])
        #expect(resolver(["hostNetwork": true]) == node)
        #expect(resolver(["hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"]).servers == ["10.43.0.10"])
        #expect(resolver(["dnsPolicy": "Default"]) == node)
        let own = resolver([
            "dnsPolicy": "None",
            "dnsConfig": [
                "nameservers": ["1.1.1.1"], "searches": ["x.example"],
                "options": [["name": "ndots", "value": "1"], ["name": "edns0"]],
            ],
        ])
        #expect(own.text == "search x.example\nnameserver 1.1.1.1\noptions ndots:1 edns0\n")
    }

    @Test func theQualityOfServiceFollowsFromResources() {
        func qos(_ resources: [JSON]) -> Pod.QOSClass {
            pod([
                "containers": .array(
                    resources.enumerated().map { ["name": .string("c\($0.offset)"), "resources": $0.element] })
            ]).qosClass
        }
        #expect(qos([[:]]) == .bestEffort)
        #expect(qos([["limits": ["cpu": "1", "memory": "1Gi"]]]) == .guaranteed)
        #expect(qos([["limits": ["cpu": "1", "memory": "1Gi"]], [:]]) == .burstable)
        #expect(qos([["requests": ["cpu": "1"], "limits": ["cpu": "2", "memory": "1Gi"]]]) == .burstable)
    }
}
