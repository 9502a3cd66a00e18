import Codecs
import KubeAPI
import Testing

@testable import ControlPlane

/// The flow schemas and priority levels that every cluster has.
@Suite struct FlowControlTests {
    private static let path = "/apis/flowcontrol.apiserver.k8s.io/v1/"

    /// Upstream's precedence of each schema and its level; the order is that of `kubectl get flowschemas`.
    static let schemas: [String: (level: String, precedence: Int64)] = [
        "exempt": ("exempt", 1), "probes": ("exempt", 2), "system-leader-election": ("leader-election", 100),
        "endpoint-controller": ("workload-high", 150), "workload-leader-election": ("leader-election", 200),
        "system-node-high": ("node-high", 400), "system-nodes": ("system", 500),
        "kube-controller-manager": ("workload-high", 800), "kube-scheduler": ("workload-high", 800),
        "kube-system-service-accounts": ("workload-high", 900), "service-accounts": ("workload-low", 9000),
        "global-default": ("global-default", 9900), "catch-all": ("catch-all", 10000),
    ]

    @Test func everyClusterHasTheDefaults() async throws {
        let cluster = try await Cluster()
        try await cluster.server.bootstrap()
        let schemas = try await cluster.client.list(FlowControlDefaults.schemas).decoded()
        #expect(schemas.count == Self.schemas.count)
        for schema in schemas {
            let row = Self.schemas[schema.name]
            #expect(schema.spec["priorityLevelConfiguration"]["name"].string == row?.level, "\(schema.name)")
            #expect(schema.spec["matchingPrecedence"].int == row?.precedence, "\(schema.name)")
            #expect(schema.annotations == ["apf.kubernetes.io/autoupdate-spec": "true"])
        }
        let probes = try #require(schemas.first { $0.name == "probes" })
        #expect(
            probes.spec["rules"][0]["nonResourceRules"] == [
                ["verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]]
            ])
        #expect(probes.spec["rules"][0]["resourceRules"].isNull && probes.spec["distinguisherMethod"].isNull)
        let nodes = try #require(schemas.first { $0.name == "system-node-high" })
        #expect(
            nodes.spec["rules"][0]["resourceRules"] == [
                [
                    "verbs": ["*"], "apiGroups": [""], "resources": ["nodes", "nodes/status"], "clusterScope": true,
                    "namespaces": ["*"],
                ],
                [
                    "verbs": ["*"], "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "namespaces": ["*"],
                ],
            ], "\(nodes.json.text)")
        let levels = try await cluster.client.list(FlowControlDefaults.levels).decoded()
        #expect(
            levels.map(\.name) == [
                "catch-all", "exempt", "global-default", "leader-election", "node-high", "system", "workload-high",
                "workload-low",
            ])
        #expect(levels[0].spec["limited"]["limitResponse"] == ["type": "Reject"])
        #expect(levels[1].spec["exempt"] == ["nominalConcurrencyShares": 0, "lendablePercent": 0])
        #expect(
            levels[7].spec["limited"]["limitResponse"]["queuing"] == [
                "queues": 128, "handSize": 6, "queueLengthLimit": 50,
            ])
    }

    @Test func aSecondStartWritesOnlyWhatSomebodyChanged() async throws {
        let cluster = try await Cluster()
        try await cluster.server.bootstrap()
        let before = try await cluster.client.list(FlowControlDefaults.schemas).decoded()
        for (name, follows) in [("catch-all", "false"), ("probes", "true"), ("service-accounts", "false")] {
            var changed = try await cluster.client.get(FlowControlDefaults.schemas, namespace: "", name: name)
            changed.annotations["apf.kubernetes.io/autoupdate-spec"] = follows
            changed.json["spec"]["rules"] = []
            _ = try await cluster.client.update(FlowControlDefaults.schemas, changed)
        }
        try await cluster.client.delete(
            FlowControlDefaults.schemas, namespace: "", name: "global-default", options: DeleteOptions())
        try await cluster.server.bootstrap()
        let after = try await cluster.client.list(FlowControlDefaults.schemas).decoded()
        #expect(after.count == before.count)
        for (old, new) in zip(before, after) {
            switch old.name {
            case "catch-all", "probes", "global-default": #expect(new.spec == old.spec, "\(old.name)")
            // Its owner has said that it is his.
            case "service-accounts":
                #expect(new.spec["rules"].elements.isEmpty)
                #expect(new.annotations["apf.kubernetes.io/autoupdate-spec"] == "false")
            default: #expect(new.resourceVersion == old.resourceVersion, "\(old.name)")
            }
        }
    }

    @Test func aSchemaSaysWhetherItsLevelIsThere() async throws {
        let bench = try await ControllerBench { client, clock in [FlowSchemaController(client: client, clock: clock)] }
        let rule: JSON = [
            "subjects": [["kind": "Group", "group": ["name": "g"]]],
            "nonResourceRules": [["verbs": ["*"], "nonResourceURLs": ["*"]]],
        ]
        try await bench.create(
            FlowControlDefaults.schemas,
            [
                "metadata": ["name": "mine"],
                "spec": [
                    "matchingPrecedence": 7, "priorityLevelConfiguration": ["name": "gold"], "rules": .array([rule]),
                ],
            ])
        try await bench.settle()
        func condition() async throws -> JSON {
            try await bench.client.get(FlowControlDefaults.schemas, namespace: "", name: "mine").status["conditions"][0]
        }
        let missing = try await condition()
        #expect(missing["type"] == "Dangling" && missing["status"] == "True" && missing["reason"] == "NotFound")
        #expect(
            missing["message"]
                == "This FlowSchema references the PriorityLevelConfiguration object named \"gold\" but there is no such object"
        )
        try await bench.create(
            FlowControlDefaults.levels,
            [
                "metadata": ["name": "gold"],
                "spec": ["type": "Limited", "limited": ["limitResponse": ["type": "Reject"]]],
            ])
        try await bench.settle()
        let there = try await condition()
        #expect(there["status"] == "False" && there["reason"] == "Found")
        #expect(there["message"].string?.hasSuffix("named \"gold\" and it exists") ?? false)
    }
}
