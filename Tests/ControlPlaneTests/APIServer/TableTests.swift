import Codecs
import ControlPlane
import KubeAPI
import Testing
import Transport

@Suite struct TableTests {
    static let accept =
        "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"

    func cells(_ cluster: Cluster, _ target: String) async throws -> [[JSON]] {
        let answer = try await cluster.call("GET", target, headers: ["Accept": Self.accept])
        #expect(answer.json["kind"] == "Table" && answer.json["apiVersion"] == "meta.k8s.io/v1", "\(answer.text)")
        let columns = answer.json["columnDefinitions"].elements.count
        let rows = answer.json["rows"].elements.map { $0["cells"].elements }
        #expect(rows.allSatisfy { $0.count == columns })
        return rows
    }

    static let statuses: [(String, String, String, String)] = [
        (#"{"phase":"Pending"}"#, "0/1", "Pending", "0"),
        (
            #"{"phase":"Pending","containerStatuses":[{"name":"main","ready":false,"restartCount":0,"state":{"waiting":{"reason":"ContainerCreating"}}}]}"#,
            "0/1", "ContainerCreating", "0"
        ),
        (
            #"{"phase":"Running","conditions":[{"type":"Ready","status":"True"}],"containerStatuses":[{"name":"main","ready":true,"restartCount":0,"state":{"running":{}}}]}"#,
            "1/1", "Running", "0"
        ),
        (
            #"{"phase":"Running","containerStatuses":[{"name":"main","ready":false,"restartCount":3,"state":{"waiting":{"reason":"CrashLoopBackOff"}},"lastState":{"terminated":{"exitCode":1,"finishedAt":"2025-12-31T23:55:00Z"}}}]}"#,
            "0/1", "CrashLoopBackOff", "3 (5m ago)"
        ),
        (
            #"{"phase":"Succeeded","containerStatuses":[{"name":"main","ready":false,"restartCount":0,"state":{"terminated":{"exitCode":0,"reason":"Completed"}}}]}"#,
            "0/1", "Completed", "0"
        ),
        (
            #"{"phase":"Failed","containerStatuses":[{"name":"main","ready":false,"restartCount":0,"state":{"terminated":{"exitCode":7}}}]}"#,
            "0/1", "ExitCode:7", "0"
        ),
        (#"{"phase":"Failed","reason":"Evicted"}"#, "0/1", "Evicted", "0"),
        (
            #"{"phase":"Pending","initContainerStatuses":[{"name":"i","ready":false,"restartCount":1,"state":{"running":{}}}]}"#,
            "0/1", "Init:0/1", "1"
        ),
        (
            #"{"phase":"Pending","initContainerStatuses":[{"name":"i","ready":false,"restartCount":2,"state":{"waiting":{"reason":"CrashLoopBackOff"}}}]}"#,
            "0/1", "Init:CrashLoopBackOff", "2"
        ),
    ]

    @Test(arguments: statuses)
    func podRowsSayHowItGoes(_ status: String, _ ready: String, _ reason: String, _ restarts: String) async throws {
        let cluster = try await Cluster()
        var pod = cluster.pod("p")
        if status.contains("initContainerStatuses") {
            pod.json["spec"]["initContainers"] = [["name": "i", "image": "i"]]
        }
        pod = try await cluster.client.create(.pods, pod)
        pod.json["status"] = try JSON.parse(status)
        _ = try await cluster.client.updateStatus(.pods, pod)
        cluster.clock.advance(by: .seconds(30))
        let row = try await cells(cluster, "/api/v1/namespaces/default/pods")[0]
        let expected = restarts == "3 (5m ago)" ? "3 (5m30s ago)" : restarts
        #expect(row.prefix(5) == ["p", .string(ready), .string(reason), .string(expected), "30s"])
        #expect(row.suffix(4) == ["<none>", "<none>", "<none>", "<none>"])
    }

    @Test func aPodThatGoesIsTerminating() async throws {
        let cluster = try await Cluster()
        _ = try await cluster.client.create(.pods, cluster.pod("p"))
        let binding: JSON = ["metadata": ["name": "p"], "target": ["kind": "Node", "name": "n"]]
        let bound = try await cluster.call("POST", "/api/v1/namespaces/default/pods/p/binding", binding)
        #expect(bound.code == 201 && bound.json["status"] == "Success")
        let going = try await cluster.call("DELETE", "/api/v1/namespaces/default/pods/p")
        #expect(going.code == 200 && going.json["kind"] == "Pod")
        let row = try await cells(cluster, "/api/v1/namespaces/default/pods")[0]
        #expect(row[2] == "Terminating" && row[6] == "n")
    }

    @Test func servicesShowWhereTheyAre() async throws {
        let cluster = try await Cluster()
        let services = "/api/v1/namespaces/default/services"
        _ = try await cluster.call(
            "POST", services,
            [
                "metadata": ["name": "s"],
                "spec": [
                    "type": "NodePort", "clusterIP": "10.43.0.9", "selector": ["b": "2", "a": "1"],
                    "ports": [
                        ["name": "x", "port": 80, "nodePort": 30080],
                        ["name": "y", "port": 53, "protocol": "UDP", "nodePort": 30053],
                    ],
                ],
            ])
        _ = try await cluster.call(
            "POST", services,
            ["metadata": ["name": "t"], "spec": ["type": "LoadBalancer", "ports": [["port": 1, "nodePort": 30001]]]])
        let rows = try await cells(cluster, services)
        #expect(rows[0] == ["s", "NodePort", "10.43.0.9", "<none>", "80:30080/TCP,53:30053/UDP", "0s", "a=1,b=2"])
        #expect(rows[1][3] == "<pending>" && rows[1][6] == "<none>")
    }

    @Test func nodesShowRolesAndReadiness() async throws {
        let cluster = try await Cluster()
        var node = KubeObject(GroupVersionKind(.core, "Node"), name: "n")
        node.labels = ["node-role.kubernetes.io/control-plane": "true"]
        node.json["spec"] = ["unschedulable": true]
        node.json["status"] = [
            "conditions": [["type": "Ready", "status": "True"]],
            "addresses": [["type": "InternalIP", "address": "192.0.2.1"]],
            "nodeInfo": [
                "kubeletVersion": "v1.36.4+k3s1", "osImage": "Debian", "kernelVersion": "6.1",
                "containerRuntimeVersion": "k3s://1",
            ],
        ]
        _ = try await cluster.client.create(.nodes, node)
        let row = try await cells(cluster, "/api/v1/nodes")[0]
        #expect(
            row == [
                "n", "Ready,SchedulingDisabled", "control-plane", "0s", "v1.36.4+k3s1", "192.0.2.1", "<none>", "Debian",
                "6.1",
                "k3s://1",
            ])
    }

    @Test func questionsHaveNoTable() async throws {
        let cluster = try await Cluster {
            $0.reviews = AccessReviews(authorizer: AllowAll(), rules: { _, _ in [] }) { _, _ in nil }
        }
        let target = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        let body: JSON = ["spec": ["resourceAttributes": ["verb": "get", "resource": "pods"]]]
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io"
        let refused = try await cluster.call("POST", target, body, headers: ["Accept": table])
        #expect(refused.code == 406 && refused.reason == "NotAcceptable", "\(refused.text)")
        // What the client takes instead is what it gets.
        let plain = try await cluster.call("POST", target, body, headers: ["Accept": Self.accept])
        #expect(plain.json["kind"] == "SelfSubjectAccessReview", "\(plain.text)")
    }

    @Test func everyListedKindHasATable() async throws {
        let cluster = try await Cluster()
        let kinds: [(String, GroupVersionKind, JSON)] = [
            ("/api/v1/namespaces/default/secrets", GroupVersionKind(.core, "Secret"), ["data": ["k": "dg=="]]),
            ("/api/v1/namespaces/default/configmaps", GroupVersionKind(.core, "ConfigMap"), ["data": ["k": "v"]]),
            (
                "/api/v1/namespaces/default/endpoints", GroupVersionKind(.core, "Endpoints"),
                [
                    "subsets": [
                        [
                            "addresses": [["ip": "1.1.1.1"], ["ip": "1.1.1.2"]],
                            "ports": [["port": 80, "name": "a"], ["port": 81, "name": "b"]],
                        ]
                    ]
                ]
            ),
            (
                "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
                GroupVersionKind("discovery.k8s.io", "v1", "EndpointSlice"),
                ["addressType": "IPv4", "endpoints": [["addresses": ["1.1.1.1"]]], "ports": [["port": 80]]]
            ),
            (
                "/apis/rbac.authorization.k8s.io/v1/clusterroles",
                GroupVersionKind("rbac.authorization.k8s.io", "v1", "ClusterRole"), [:]
            ),
            (
                "/apis/coordination.k8s.io/v1/namespaces/default/leases",
                GroupVersionKind("coordination.k8s.io", "v1", "Lease"), ["spec": ["holderIdentity": "me"]]
            ),
            (
                "/api/v1/namespaces/default/events", GroupVersionKind(.core, "Event"),
                [
                    "involvedObject": ["kind": "Pod", "name": "p", "namespace": "default"], "reason": "R",
                    "message": " m", "type": "Normal", "count": 2, "lastTimestamp": "2025-12-31T23:59:00Z",
                    "source": ["component": "kubelet", "host": "n"],
                ]
            ),
        ]
        for (target, gvk, content) in kinds {
            var object = content
            object["kind"] = .string(gvk.kind)
            object["apiVersion"] = .string(gvk.groupVersion.description)
            object["metadata"] = ["name": "x"]
            let made = try await cluster.call("POST", target, object)
            #expect(made.code == 201, "\(made.text)")
        }
        #expect(try await cells(cluster, kinds[0].0)[0] == ["x", "Opaque", 1, "0s"])
        #expect(try await cells(cluster, kinds[1].0)[0] == ["x", 1, "0s"])
        #expect(try await cells(cluster, kinds[2].0)[0] == ["x", "1.1.1.1:80,1.1.1.2:80,1.1.1.1:81 + 1 more...", "0s"])
        #expect(try await cells(cluster, kinds[3].0)[0] == ["x", "IPv4", "80", "1.1.1.1", "0s"])
        #expect(try await cells(cluster, kinds[4].0)[0] == ["x", "2026-01-01T00:00:00Z"])
        #expect(try await cells(cluster, kinds[5].0)[0] == ["x", "me", "0s"])
        #expect(
            try await cells(cluster, kinds[6].0)[0] == [
                "60s", "Normal", "R", "pod/p", "", "kubelet, n", "m", "<unknown>", 2, "x",
            ])
        for resource in cluster.server.registry.resources.all where resource.info.verbs.contains(.list) {
            let gv = resource.gvr.groupVersion
            let path = (gv.group.isEmpty ? "/api/v1/" : "/apis/\(gv)/") + resource.gvr.resource
            _ = try await cells(cluster, path)
        }
    }
}
