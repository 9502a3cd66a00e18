import Codecs
import ControlPlane
import KubeAPI
import Testing

/// Namespaces stay within their quotas.
@Suite struct QuotaTests {
    private static let core = "/api/v1/namespaces/default/"

    private func quota(_ cluster: Cluster, _ spec: JSON, name: String = "q") async throws {
        let answer = try await cluster.call(
            "POST", Self.core + "resourcequotas", ["metadata": ["name": .string(name)], "spec": spec])
        #expect(answer.code == 201, "\(answer.text)")
    }

    private func pod(
        _ cluster: Cluster, _ name: String, _ resources: JSON = [:], _ more: JSON = [:]
    ) async throws -> Cluster.Answer {
        var pod = cluster.pod(name)
        pod.json["spec"]["containers"][0]["resources"] = resources
        for (key, value) in more.object ?? JSONObject() { pod.json["spec"][key] = value }
        return try await cluster.call("POST", Self.core + "pods", pod.json)
    }

    @Test func whatIsTooMuchIsRefused() async throws {
        let cluster = try await Cluster()
        try await quota(cluster, ["hard": ["pods": "2", "requests.cpu": "1", "limits.memory": "1Gi"]])
        let unsaid = try await pod(cluster, "unsaid")
        #expect(
            unsaid.message
                == "pods \"unsaid\" is forbidden: failed quota: q: must specify requests.cpu for: main; limits.memory for: main"
                || unsaid.message
                    == "pods \"unsaid\" is forbidden: failed quota: q: must specify limits.memory for: main; requests.cpu for: main",
            "\(unsaid.text)")
        let half: JSON = ["requests": ["cpu": "400m"], "limits": ["memory": "256Mi"]]
        #expect(try await pod(cluster, "a", half).code == 201)
        let large = try await pod(cluster, "b", ["requests": ["cpu": "700m"], "limits": ["memory": "256Mi"]])
        #expect(large.code == 403)
        #expect(
            large.message
                == "pods \"b\" is forbidden: exceeded quota: q, requested: requests.cpu=700m, used: requests.cpu=400m, limited: requests.cpu=1"
        )
        #expect(try await pod(cluster, "b", half).code == 201)
        let third = try await pod(cluster, "c", half)
        #expect(
            third.message
                == "pods \"c\" is forbidden: exceeded quota: q, requested: pods=1,requests.cpu=400m, used: pods=2,requests.cpu=800m, limited: pods=2,requests.cpu=1"
        )
        _ = try await cluster.client.delete(.pods, namespace: "default", name: "a", options: DeleteOptions())
        #expect(try await pod(cluster, "c", half).code == 201)
    }

    @Test func podsThatHaveEndedDoNotCount() async throws {
        let cluster = try await Cluster()
        try await quota(cluster, ["hard": ["pods": "1", "count/pods": "2"]])
        #expect(try await pod(cluster, "a").code == 201)
        #expect(try await pod(cluster, "b").code == 403)
        var ended = try await cluster.client.get(.pods, namespace: "default", name: "a")
        ended.json["status"]["phase"] = "Succeeded"
        _ = try await cluster.client.updateStatus(.pods, ended)
        #expect(try await pod(cluster, "b").code == 201)
        let third = try await pod(cluster, "c")
        #expect(third.message.contains("requested: count/pods=1,pods=1"), "\(third.text)")
    }

    /// The case that a quota is for.
    @Test func creationsAtTheSameTimeNeverOvershoot() async throws {
        let cluster = try await Cluster()
        try await quota(cluster, ["hard": ["configmaps": "7", "count/configmaps": "7"]])
        let codes = await withTaskGroup(of: Int.self) { group in
            for i in 0..<100 {
                group.addTask {
                    (try? await cluster.call("POST", Self.core + "configmaps", cluster.configMap("m\(i)").json).code)
                        ?? 0
                }
            }
            return await group.reduce(into: [Int]()) { $0.append($1) }
        }
        #expect(codes.count { $0 == 201 } == 7 && codes.count { $0 == 403 } == 93, "\(codes)")
        let list = try await cluster.call("GET", Self.core + "configmaps")
        #expect(list.json["items"].elements.count == 7)
    }

    @Test func refusedCreationsTakeNothing() async throws {
        let cluster = try await Cluster()
        try await quota(cluster, ["hard": ["configmaps": "1"]])
        let bad: JSON = ["metadata": ["name": "m"], "data": ["bad key": "x"]]
        #expect(try await cluster.call("POST", Self.core + "configmaps", bad).code == 422)
        let map = cluster.configMap("m").json
        #expect(try await cluster.call("POST", Self.core + "configmaps?dryRun=All", map).code == 201)
        #expect(try await cluster.call("POST", Self.core + "configmaps", map).code == 201)
        #expect(try await cluster.call("POST", Self.core + "configmaps", map).code != 201)
    }

    @Test func scopesChooseTheirPods() async throws {
        let cluster = try await Cluster()
        try await quota(cluster, ["hard": ["pods": "0"], "scopes": ["BestEffort"]], name: "best")
        try await quota(cluster, ["hard": ["pods": "0"], "scopes": ["Terminating"]], name: "ends")
        try await quota(
            cluster,
            [
                "hard": ["pods": "0"],
                "scopeSelector": [
                    "matchExpressions": [
                        ["scopeName": "PriorityClass", "operator": "In", "values": ["system-node-critical"]]
                    ]
                ],
            ], name: "high")
        let some: JSON = ["requests": ["cpu": "1m"]]
        #expect(try await pod(cluster, "a").message.contains("exceeded quota: best"))
        #expect(try await pod(cluster, "b", some).code == 201)
        #expect(
            try await pod(cluster, "c", some, ["activeDeadlineSeconds": 5]).message.contains("exceeded quota: ends"))
        #expect(
            try await pod(cluster, "d", some, ["priorityClassName": "system-node-critical"]).message.contains(
                "exceeded quota: high"))
    }

    @Test func servicesAndClaimsCountWhatTheyNeed() async throws {
        let cluster = try await Cluster()
        try await quota(
            cluster,
            [
                "hard": [
                    "services.nodeports": "1", "requests.storage": "3Gi",
                    "fast.storageclass.storage.k8s.io/requests.storage": "1Gi",
                ]
            ])
        func service(_ name: String, _ type: String) async throws -> Int {
            try await cluster.call(
                "POST", Self.core + "services",
                [
                    "metadata": ["name": .string(name)],
                    "spec": ["type": .string(type), "ports": [["port": 80]]],
                ]
            ).code
        }
        #expect(try await service("a", "NodePort") == 201)
        #expect(try await service("b", "NodePort") == 403)
        #expect(try await service("c", "ClusterIP") == 201)
        let grown = try await cluster.call(
            "PATCH", Self.core + "services/c", ["spec": ["type": "NodePort"]], type: "application/merge-patch+json")
        #expect(grown.code == 403 && grown.message.contains("services.nodeports=1"), "\(grown.text)")
        func claim(_ name: String, _ size: String, _ storageClass: JSON = .null) async throws -> Int {
            var spec: JSON = ["accessModes": ["ReadWriteOnce"], "resources": ["requests": ["storage": .string(size)]]]
            spec["storageClassName"] = storageClass
            return try await cluster.call(
                "POST", Self.core + "persistentvolumeclaims", ["metadata": ["name": .string(name)], "spec": spec]
            ).code
        }
        #expect(try await claim("a", "2Gi", "fast") == 403)
        #expect(try await claim("b", "1Gi", "fast") == 201)
        #expect(try await claim("c", "2Gi") == 201)
        #expect(try await claim("d", "1Mi") == 403)
    }

    /// Every scope with a pod that it means and one that it does not.
    static let scopes: [(scope: String, op: String, values: [String], meant: JSON, other: JSON)] = [
        ("Terminating", "Exists", [], ["activeDeadlineSeconds": 5], [:]),
        ("NotTerminating", "Exists", [], [:], ["activeDeadlineSeconds": 5]),
        ("BestEffort", "Exists", [], [:], ["containers": [requesting]]),
        ("NotBestEffort", "Exists", [], ["containers": [requesting]], [:]),
        ("PriorityClass", "In", [critical], ["priorityClassName": .string(critical)], [:]),
        ("PriorityClass", "NotIn", [critical], [:], ["priorityClassName": .string(critical)]),
        ("PriorityClass", "Exists", [], ["priorityClassName": .string(critical)], [:]),
        ("PriorityClass", "DoesNotExist", [], [:], ["priorityClassName": .string(critical)]),
        ("CrossNamespacePodAffinity", "Exists", [], ["affinity": affinity(["namespaces": ["x"]])], [:]),
        (
            "CrossNamespacePodAffinity", "Exists", [], ["affinity": affinity(["namespaceSelector": [:]])],
            ["affinity": affinity([:])]
        ),
    ]
    static let critical = "system-cluster-critical"
    static let requesting: JSON = ["name": "c", "image": "i", "resources": ["requests": ["cpu": "1m"]]]

    static func affinity(_ more: JSON) -> JSON {
        var term: JSON = ["topologyKey": "zone", "labelSelector": [:]]
        for (key, value) in more.object ?? JSONObject() { term[key] = value }
        return ["podAntiAffinity": ["requiredDuringSchedulingIgnoredDuringExecution": .array([term])]]
    }

    @Test(arguments: scopes.indices)
    func aScopeMeansItsPods(_ index: Int) async throws {
        let row = Self.scopes[index]
        let cluster = try await Cluster()
        var term: JSON = ["scopeName": .string(row.scope), "operator": .string(row.op)]
        if !row.values.isEmpty { term["values"] = .strings(row.values) }
        try await quota(
            cluster, ["hard": ["pods": "0"], "scopeSelector": ["matchExpressions": .array([term])]])
        let meant = try await pod(cluster, "a", [:], row.meant)
        #expect(meant.message.contains("exceeded quota: q, requested: pods=1"), "\(meant.text)")
        let other = try await pod(cluster, "b", [:], row.other)
        #expect(other.code == 201, "\(other.text)")
    }

    @Test func objectsOfAnyKindAreCounted() async throws {
        let cluster = try await Cluster()
        let hard: JSON = [
            "count/deployments.apps": "0", "count/leases.coordination.k8s.io": "1", "count/events": "0",
            "gpu.deviceclass.resource.k8s.io/devices": "3", "requests.ephemeral-storage": "1Gi",
        ]
        try await quota(cluster, ["hard": hard])
        func make(_ path: String, _ body: JSON) async throws -> Cluster.Answer {
            try await cluster.call("POST", path, body)
        }
        let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
        #expect(try await make(leases, ["metadata": ["name": "a"], "spec": [:]]).code == 201)
        #expect(
            try await make(leases, ["metadata": ["name": "b"], "spec": [:]]).message
                == "leases.coordination.k8s.io \"b\" is forbidden: exceeded quota: q, requested: count/leases.coordination.k8s.io=1, used: count/leases.coordination.k8s.io=1, limited: count/leases.coordination.k8s.io=1"
        )
        // Events are never counted.
        let event: JSON = [
            "metadata": ["name": "e"], "involvedObject": ["namespace": "default"], "type": "Normal", "reason": "x",
        ]
        #expect(try await make(Self.core + "events", event).code == 201)
        let claims = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims"
        func claim(_ name: String, _ requests: JSON) -> JSON {
            ["metadata": ["name": .string(name)], "spec": ["devices": ["requests": requests]]]
        }
        let two = claim("two", [["name": "r", "exactly": ["deviceClassName": "gpu", "count": 2]]])
        #expect(try await make(claims, two).code == 201)
        let all = claim("all", [["name": "r", "exactly": ["deviceClassName": "gpu", "allocationMode": "All"]]])
        let refused = try await make(claims, all)
        #expect(
            refused.message.contains("requested: gpu.deviceclass.resource.k8s.io/devices=32, used: gpu.deviceclass"),
            "\(refused.text)")
        let large = try await pod(cluster, "p", ["requests": ["ephemeral-storage": "2Gi"]])
        #expect(large.message.contains("requested: requests.ephemeral-storage=2Gi"), "\(large.text)")
    }

    @Test func nodePortsThatAreAskedForCount() async throws {
        let cluster = try await Cluster()
        try await quota(cluster, ["hard": ["services.nodeports": "1", "services.loadbalancers": "2"]])
        func balancer(_ name: String, _ ports: JSON) async throws -> Int {
            try await cluster.call(
                "POST", Self.core + "services",
                [
                    "metadata": ["name": .string(name)],
                    "spec": ["type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "ports": ports],
                ]
            ).code
        }
        #expect(try await balancer("none", [["name": "a", "port": 1], ["name": "b", "port": 2]]) == 201)
        #expect(
            try await balancer(
                "two", [["name": "a", "port": 1, "nodePort": 30001], ["name": "b", "port": 2, "nodePort": 30002]])
                == 403)
        #expect(
            try await balancer("one", [["name": "a", "port": 1, "nodePort": 30001], ["name": "b", "port": 2]]) == 201)
        #expect(try await balancer("third", [["name": "a", "port": 1]]) == 403)
    }

    @Test func theStatusSaysWhatIsUsed() async throws {
        let cluster = try await Cluster()
        try await quota(cluster, ["hard": ["pods": "4", "requests.cpu": "2", "count/configmaps": "9"]])
        #expect(try await pod(cluster, "a", ["requests": ["cpu": "250m"]]).code == 201)
        let controller = QuotaStatusController(
            client: cluster.client, registry: cluster.server.registry, ledger: cluster.server.quotas, resources: [])
        _ = try await controller.reconcile(ObjectKey(namespace: "default", name: "q"))
        let quota = try await cluster.call("GET", Self.core + "resourcequotas/q")
        #expect(quota.json["status"]["hard"] == ["count/configmaps": "9", "pods": "4", "requests.cpu": "2"])
        #expect(quota.json["status"]["used"] == ["count/configmaps": "0", "pods": "1", "requests.cpu": "250m"])
        _ = try await controller.reconcile(ObjectKey(namespace: "default", name: "q"))
        let again = try await cluster.call("GET", Self.core + "resourcequotas/q")
        #expect(again.json["metadata"]["resourceVersion"] == quota.json["metadata"]["resourceVersion"])
    }
}
