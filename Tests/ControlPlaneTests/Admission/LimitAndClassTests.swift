import Codecs
import ControlPlane
import KubeAPI
import Testing

/// Limit ranges, and the classes of storage, ingresses and runtimes.
@Suite struct LimitAndClassTests {
    private static let core = "/api/v1/namespaces/default/"

    private func make(_ cluster: Cluster, _ target: String, _ body: JSON) async throws {
        let answer = try await cluster.call("POST", target, body)
        #expect(answer.code == 201, "\(answer.text)")
    }

    private func limits(_ cluster: Cluster, _ limit: JSON) async throws {
        try await make(
            cluster, Self.core + "limitranges", ["metadata": ["name": "l"], "spec": ["limits": [limit]]])
    }

    private func pod(_ cluster: Cluster, _ resources: JSON) async throws -> Cluster.Answer {
        var pod = cluster.pod("p")
        pod.json["spec"]["containers"][0]["resources"] = resources
        return try await cluster.call("POST", Self.core + "pods?dryRun=All", pod.json)
    }

    @Test func containersGetTheDefaultsOfTheirNamespace() async throws {
        let cluster = try await Cluster()
        try await limits(
            cluster,
            ["type": "Container", "default": ["cpu": "200m", "memory": "1Gi"], "defaultRequest": ["cpu": "100m"]])
        let made = try await pod(cluster, [:])
        #expect(
            made.json["spec"]["containers"][0]["resources"] == [
                "limits": ["cpu": "200m", "memory": "1Gi"], "requests": ["cpu": "100m", "memory": "1Gi"],
            ], "\(made.text)")
        #expect(
            made.json["metadata"]["annotations"]["kubernetes.io/limit-ranger"]
                == "LimitRanger plugin set: cpu, memory request for container main; cpu, memory limit for container main"
        )
        #expect(made.json["status"]["qosClass"] == "Burstable")
        let own = try await pod(cluster, ["limits": ["cpu": "50m"]])
        #expect(own.json["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "50m")
    }

    static let refusals: [(JSON, JSON, String)] = [
        (
            ["type": "Container", "max": ["cpu": "1"]], ["limits": ["cpu": "2"]],
            "pods \"p\" is forbidden: maximum cpu usage per Container is 1, but limit is 2"
        ),
        (
            ["type": "Container", "min": ["memory": "64Mi"]], ["requests": ["memory": "1Mi"]],
            "pods \"p\" is forbidden: minimum memory usage per Container is 64Mi, but request is 1Mi"
        ),
        (
            ["type": "Pod", "max": ["cpu": "1"], "min": ["memory": "1Mi"]], [:],
            "pods \"p\" is forbidden: [minimum memory usage per Pod is 1Mi.  No request is specified, maximum cpu usage per Pod is 1.  No limit is specified]"
        ),
        (
            ["type": "Container", "maxLimitRequestRatio": ["cpu": "2"]],
            ["requests": ["cpu": "100m"], "limits": ["cpu": "250m"]],
            "pods \"p\" is forbidden: cpu max limit to request ratio per Container is 2, but provided ratio is 2.500000"
        ),
    ]

    @Test(arguments: refusals)
    func podsStayWithinTheLimits(_ limit: JSON, _ resources: JSON, _ message: String) async throws {
        let cluster = try await Cluster()
        try await limits(cluster, limit)
        let answer = try await pod(cluster, resources)
        #expect(answer.code == 403 && answer.message == message, "\(answer.text)")
    }

    @Test func whatSeveralContainersHaveInCommonIsSaidOnce() async throws {
        let cluster = try await Cluster()
        try await limits(cluster, ["type": "Container", "max": ["cpu": "1"]])
        let two: JSON = ["limits": ["cpu": "2"]]
        var pod = cluster.pod("p")
        pod.json["spec"]["containers"] = [
            ["name": "main", "image": "busybox", "resources": two],
            ["name": "second", "image": "busybox", "resources": two],
        ]
        let same = try await cluster.call("POST", Self.core + "pods?dryRun=All", pod.json)
        #expect(same.message == "pods \"p\" is forbidden: maximum cpu usage per Container is 1, but limit is 2")
        pod.json["spec"]["initContainers"] = [
            ["name": "first", "image": "busybox", "resources": ["limits": ["cpu": "3"]]]
        ]
        let answer = try await cluster.call("POST", Self.core + "pods?dryRun=All", pod.json)
        #expect(
            answer.message
                == "pods \"p\" is forbidden: [maximum cpu usage per Container is 1, but limit is 2, maximum cpu usage per Container is 1, but limit is 3]"
        )
    }

    /// The pod as a whole: its own resources count where it has some, its runtime's overhead never.
    @Test func podsAreMeasuredAsAWhole() async throws {
        let cluster = try await Cluster()
        try await make(
            cluster, "/apis/node.k8s.io/v1/runtimeclasses",
            ["metadata": ["name": "vm"], "handler": "vm", "overhead": ["podFixed": ["cpu": "5"]]])
        try await limits(cluster, ["type": "Pod", "max": ["cpu": "1"]])
        func create(_ spec: JSON) async throws -> Cluster.Answer {
            var pod = cluster.pod("p")
            for (key, value) in spec.object ?? JSONObject() { pod.json["spec"][key] = value }
            return try await cluster.call("POST", Self.core + "pods?dryRun=All", pod.json)
        }
        let one: JSON = ["limits": ["cpu": "1"], "requests": ["cpu": "500m"]]
        let container: JSON = ["name": "c", "image": "i", "resources": one]
        let fits = try await create(["runtimeClassName": "vm", "containers": .array([container])])
        #expect(fits.code == 201 && fits.json["spec"]["overhead"] == ["cpu": "5"], "\(fits.text)")
        var other = container
        other["name"] = "d"
        let two = try await create(["containers": .array([container, other])])
        #expect(two.message.hasSuffix("maximum cpu usage per Pod is 1, but limit is 2"), "\(two.text)")
        let whole = try await create([
            "containers": [["name": "c", "image": "i"]],
            "resources": ["limits": ["cpu": "3"], "requests": ["cpu": "1"]],
        ])
        #expect(whole.message.hasSuffix("maximum cpu usage per Pod is 1, but limit is 3"), "\(whole.text)")
    }

    @Test func resizesStayWithinLimitsAndQuotas() async throws {
        let cluster = try await Cluster()
        var pod = cluster.pod("p")
        pod.json["spec"]["containers"][0]["resources"] = ["requests": ["cpu": "100m"], "limits": ["cpu": "200m"]]
        try await make(cluster, Self.core + "pods", pod.json)
        try await limits(cluster, ["type": "Container", "max": ["cpu": "1"]])
        try await make(
            cluster, Self.core + "resourcequotas",
            ["metadata": ["name": "q"], "spec": ["hard": ["requests.cpu": "500m"]]])
        func resize(_ request: String, _ limit: String) async throws -> Cluster.Answer {
            let container: JSON = [
                "name": "main",
                "resources": ["requests": ["cpu": .string(request)], "limits": ["cpu": .string(limit)]],
            ]
            return try await cluster.call(
                "PATCH", Self.core + "pods/p/resize", ["spec": ["containers": .array([container])]],
                type: "application/strategic-merge-patch+json")
        }
        let wide = try await resize("100m", "2")
        #expect(
            wide.message == "pods \"p\" is forbidden: maximum cpu usage per Container is 1, but limit is 2",
            "\(wide.text)")
        let large = try await resize("600m", "700m")
        #expect(
            large.message
                == "pods \"p\" is forbidden: exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=100m, limited: requests.cpu=500m",
            "\(large.text)")
        #expect(try await resize("500m", "700m").code == 200)
    }

    static let claimRefusals: [(JSON, String, String)] = [
        (
            ["max": ["storage": "2Gi"]], "3Gi",
            "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi"
        ),
        (
            ["min": ["storage": "1Gi"]], "1Mi",
            "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi"
        ),
    ]

    @Test(arguments: claimRefusals)
    func claimsAreRefusedInUpstreamsWords(_ limit: JSON, _ size: String, _ message: String) async throws {
        let cluster = try await Cluster()
        var limit = limit
        limit["type"] = "PersistentVolumeClaim"
        try await limits(cluster, limit)
        let answer = try await cluster.call(
            "POST", Self.core + "persistentvolumeclaims",
            [
                "metadata": ["name": "c"],
                "spec": ["accessModes": ["ReadWriteOnce"], "resources": ["requests": ["storage": .string(size)]]],
            ])
        #expect(answer.message == "persistentvolumeclaims \"c\" is forbidden: " + message, "\(answer.text)")
    }

    @Test func claimsStayWithinTheLimits() async throws {
        let cluster = try await Cluster()
        try await limits(
            cluster, ["type": "PersistentVolumeClaim", "max": ["storage": "2Gi"], "min": ["storage": "1Gi"]])
        for (size, code) in [("1Gi", 201), ("3Gi", 403), ("1Mi", 403)] {
            let answer = try await cluster.call(
                "POST", Self.core + "persistentvolumeclaims",
                [
                    "metadata": ["generateName": "c-"],
                    "spec": [
                        "accessModes": ["ReadWriteOnce"], "resources": ["requests": ["storage": .string(size)]],
                    ],
                ])
            #expect(answer.code == code, "\(answer.text)")
        }
    }

    @Test func theDefaultClassIsTheNewest() async throws {
        let cluster = try await Cluster()
        let claim: JSON = [
            "metadata": ["name": "c"],
            "spec": ["accessModes": ["ReadWriteOnce"], "resources": ["requests": ["storage": "1Gi"]]],
        ]
        let none = try await cluster.call("POST", Self.core + "persistentvolumeclaims?dryRun=All", claim)
        #expect(none.json["spec"]["storageClassName"].isNull)
        for (name, marked) in [("old", "true"), ("new", "true"), ("other", "false")] {
            cluster.clock.advance(by: .seconds(1))
            try await make(
                cluster, "/apis/storage.k8s.io/v1/storageclasses",
                [
                    "metadata": [
                        "name": .string(name),
                        "annotations": ["storageclass.kubernetes.io/is-default-class": .string(marked)],
                    ], "provisioner": "acme.io/disk",
                ])
        }
        let made = try await cluster.call("POST", Self.core + "persistentvolumeclaims?dryRun=All", claim)
        #expect(made.json["spec"]["storageClassName"] == "new", "\(made.text)")
        var own = claim
        own["spec"]["storageClassName"] = ""
        let kept = try await cluster.call("POST", Self.core + "persistentvolumeclaims?dryRun=All", own)
        #expect(kept.json["spec"]["storageClassName"] == "")
    }

    @Test func ingressesGetTheDefaultClass() async throws {
        let cluster = try await Cluster()
        try await make(
            cluster, "/apis/networking.k8s.io/v1/ingressclasses",
            [
                "metadata": [
                    "name": "web", "annotations": ["ingressclass.kubernetes.io/is-default-class": "true"],
                ], "spec": ["controller": "acme.io/web"],
            ])
        let made = try await cluster.call(
            "POST", "/apis/networking.k8s.io/v1/namespaces/default/ingresses",
            ["metadata": ["name": "i"], "spec": ["rules": [["host": "a.test"]]]])
        #expect(made.json["spec"]["ingressClassName"] == "web", "\(made.text)")
    }

    @Test func aRuntimeClassBringsOverheadAndPlacement() async throws {
        let cluster = try await Cluster()
        try await make(
            cluster, "/apis/node.k8s.io/v1/runtimeclasses",
            [
                "metadata": ["name": "vm"], "handler": "vm", "overhead": ["podFixed": ["cpu": "250m"]],
                "scheduling": ["nodeSelector": ["vm": "yes"], "tolerations": [["key": "vm", "operator": "Exists"]]],
            ])
        try await make(
            cluster, "/apis/node.k8s.io/v1/runtimeclasses", ["metadata": ["name": "plain"], "handler": "plain"])
        func create(_ spec: JSON) async throws -> Cluster.Answer {
            var pod = cluster.pod("p")
            for (key, value) in spec.object ?? JSONObject() { pod.json["spec"][key] = value }
            return try await cluster.call("POST", Self.core + "pods?dryRun=All", pod.json)
        }
        // Of two tolerations of which one covers the other, the wider is kept.
        let merged = try await create([
            "runtimeClassName": "vm",
            "tolerations": [["key": "vm", "operator": "Equal", "value": "x", "effect": "NoSchedule"], ["key": "z"]],
        ])
        #expect(
            merged.json["spec"]["tolerations"].elements.filter { $0["effect"] != "NoExecute" } == [
                ["key": "z"], ["key": "vm", "operator": "Exists"],
            ], "\(merged.text)")
        let made = try await create(["runtimeClassName": "vm", "nodeSelector": ["a": "b"]])
        #expect(made.json["spec"]["overhead"] == ["cpu": "250m"], "\(made.text)")
        #expect(made.json["spec"]["nodeSelector"] == ["a": "b", "vm": "yes"])
        #expect(made.json["spec"]["tolerations"].elements.contains { $0["key"] == "vm" })
        let table: [(JSON, String)] = [
            (["runtimeClassName": "none"], "pod rejected: RuntimeClass \"none\" not found"),
            (
                ["runtimeClassName": "vm", "overhead": ["cpu": "1"]],
                "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
            ),
            (
                ["overhead": ["cpu": "1"]],
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
            ),
            (
                ["runtimeClassName": "plain", "overhead": ["cpu": "1"]],
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
            ),
            (
                ["runtimeClassName": "vm", "nodeSelector": ["vm": "no"]],
                "conflict: runtimeClass.scheduling.nodeSelector[vm] = yes; pod.spec.nodeSelector[vm] = no"
            ),
        ]
        for (spec, message) in table {
            let answer = try await create(spec)
            #expect(answer.code == 403 && answer.message.hasSuffix(message), "\(answer.text)")
        }
    }

    @Test func claimsGrowWhereTheirClassAllowsIt() async throws {
        let cluster = try await Cluster()
        for (name, grows) in [("fixed", false), ("elastic", true)] {
            try await make(
                cluster, "/apis/storage.k8s.io/v1/storageclasses",
                [
                    "metadata": ["name": .string(name)], "provisioner": "acme.io/disk",
                    "allowVolumeExpansion": .bool(grows),
                ])
            try await make(
                cluster, Self.core + "persistentvolumeclaims",
                [
                    "metadata": ["name": .string(name)],
                    "spec": [
                        "accessModes": ["ReadWriteOnce"], "resources": ["requests": ["storage": "1Gi"]],
                        "storageClassName": .string(name),
                    ],
                ])
            let target = Self.core + "persistentvolumeclaims/" + name
            _ = try await cluster.call(
                "PATCH", target + "/status", ["status": ["phase": "Bound", "capacity": ["storage": "1Gi"]]],
                type: "application/merge-patch+json")
            let grown = try await cluster.call(
                "PATCH", target, ["spec": ["resources": ["requests": ["storage": "2Gi"]]]],
                type: "application/merge-patch+json")
            #expect(grown.code == (grows ? 200 : 403), "\(grown.text)")
            if !grows {
                #expect(grown.message.contains("only dynamically provisioned pvc can be resized"))
            }
        }
    }
}
