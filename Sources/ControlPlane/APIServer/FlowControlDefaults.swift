internal import Codecs
package import KubeAPI

/// The flow schemas and priority levels that kube-apiserver makes: the mandatory ones are always as they are here, the
/// suggested ones as long as their annotation says so.
/// Source: k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap, pkg/registry/flowcontrol/{rest,ensurer}.
package enum FlowControlDefaults {
    package static let schemas = GroupVersionResource("flowcontrol.apiserver.k8s.io", "v1", "flowschemas")
    package static let levels = GroupVersionResource(
        "flowcontrol.apiserver.k8s.io", "v1", "prioritylevelconfigurations")
    static let annotation = "apf.kubernetes.io/autoupdate-spec"
    static let mandatory: Set<String> = ["exempt", "catch-all"]

    /// Name, shares, lendable percent; queues, hand size and length where requests wait.
    private static let levelRows: [(name: String, shares: Int64, lendable: Int64, queues: [Int64])] = [
        ("exempt", 0, 0, []), ("catch-all", 5, 0, []), ("system", 30, 33, [64, 6, 50]),
        ("node-high", 40, 25, [64, 6, 50]), ("leader-election", 10, 0, [16, 4, 50]),
        ("workload-high", 40, 50, [128, 6, 50]), ("workload-low", 100, 90, [128, 6, 50]),
        ("global-default", 20, 50, [128, 6, 50]),
    ]

    /// Name, level, precedence, distinguisher ("N"amespace, "U"ser), subjects and rules. Subjects are groups, "U:" users or
    /// "S:" service accounts of kube-system; a rule is verbs, group, resources and scope ("C"luster, "N"amespaces, both),
    /// a path rule verb and paths, no rules mean everything.
    private static let schemaRows: [(String, String, Int64, String, subjects: String, rules: [String])] = [
        ("exempt", "exempt", 1, "", "system:masters", []),
        ("probes", "exempt", 2, "", "system:unauthenticated system:authenticated", ["get /healthz,/readyz,/livez"]),
        (
            "system-leader-election", "leader-election", 100, "U",
            "U:system:kube-controller-manager U:system:kube-scheduler S:*",
            ["get,create,update coordination.k8s.io leases N"]
        ),
        (
            "endpoint-controller", "workload-high", 150, "U",
            "U:system:kube-controller-manager S:endpoint-controller S:endpointslicemirroring-controller",
            ["get,create,update - endpoints N"]
        ),
        (
            "workload-leader-election", "leader-election", 200, "U", "S:*",
            ["get,create,update - endpoints,configmaps N", "get,create,update coordination.k8s.io leases N"]
        ),
        (
            "system-node-high", "node-high", 400, "U", "system:nodes",
            ["* - nodes,nodes/status CN", "* coordination.k8s.io leases N"]
        ),
        ("system-nodes", "system", 500, "U", "system:nodes", []),
        ("kube-controller-manager", "workload-high", 800, "N", "U:system:kube-controller-manager", []),
        ("kube-scheduler", "workload-high", 800, "N", "U:system:kube-scheduler", []),
        ("kube-system-service-accounts", "workload-high", 900, "N", "S:*", []),
        ("service-accounts", "workload-low", 9000, "U", "system:serviceaccounts", []),
        ("global-default", "global-default", 9900, "U", "system:unauthenticated system:authenticated", []),
        ("catch-all", "catch-all", 10000, "U", "system:unauthenticated system:authenticated", []),
    ]

    static func objects() -> [(GroupVersionResource, KubeObject)] {
        levelRows.map { row in
            let shares: JSON = ["lendablePercent": .int(row.lendable), "nominalConcurrencyShares": .int(row.shares)]
            var spec: JSON = ["type": "Exempt", "exempt": shares]
            if row.name != "exempt" {
                var response: JSON = ["type": "Reject"]
                if row.queues.count == 3 {
                    response = [
                        "type": "Queue",
                        "queuing": [
                            "handSize": .int(row.queues[1]), "queueLengthLimit": .int(row.queues[2]),
                            "queues": .int(row.queues[0]),
                        ],
                    ]
                }
                spec = ["type": "Limited", "limited": shares]
                spec["limited"]["limitResponse"] = response
            }
            return (levels, object("PriorityLevelConfiguration", row.name, spec))
        }
            + schemaRows.map { name, level, precedence, method, subjects, rules in
                var rule: JSON = ["subjects": .array(subjects.split(separator: " ").map { subject(String($0)) })]
                let scopes = rules.isEmpty ? ["* * * CN", "* *"] : rules
                let parts = scopes.map { $0.split(separator: " ").map(String.init) }
                let (resources, paths) = (parts.filter { $0.count == 4 }, parts.filter { $0.count == 2 })
                if !resources.isEmpty { rule["resourceRules"] = .array(resources.map(resourceRule)) }
                if !paths.isEmpty {
                    rule["nonResourceRules"] = .array(
                        paths.map { ["verbs": list($0[0]), "nonResourceURLs": list($0[1])] })
                }
                var spec: JSON = [
                    "matchingPrecedence": .int(precedence), "priorityLevelConfiguration": ["name": .string(level)],
                    "rules": .array([rule]),
                ]
                if !method.isEmpty {
                    spec["distinguisherMethod"] = ["type": method == "N" ? "ByNamespace" : "ByUser"]
                }
                return (schemas, object("FlowSchema", name, spec))
            }
    }

    private static func object(_ kind: String, _ name: String, _ spec: JSON) -> KubeObject {
        var object = KubeObject(GroupVersionKind("flowcontrol.apiserver.k8s.io", "v1", kind), name: name)
        object.annotations = [annotation: "true"]
        object.json["spec"] = spec
        return object
    }

    private static func list(_ text: String) -> JSON { .strings(text.split(separator: ",").map(String.init)) }

    private static func resourceRule(_ parts: [String]) -> JSON {
        var rule: JSON = [
            "verbs": list(parts[0]), "apiGroups": parts[1] == "-" ? [""] : list(parts[1]),
            "resources": list(parts[2]),
        ]
        if parts[3].utf8.contains(UInt8(ascii: "C")) { rule["clusterScope"] = true }
        if parts[3].utf8.contains(UInt8(ascii: "N")) { rule["namespaces"] = ["*"] }
        return rule
    }

    private static func subject(_ text: String) -> JSON {
        let name = JSON.string(String(text.dropFirst(2)))
        if text.hasPrefix("U:") { return ["kind": "User", "user": ["name": name]] }
        if text.hasPrefix("S:") {
            return ["kind": "ServiceAccount", "serviceAccount": ["name": name, "namespace": "kube-system"]]
        }
        return ["kind": "Group", "group": ["name": .string(text)]]
    }

    // MARK: - At start

    static func ensure(_ client: any KubeClient) async throws(APIError) {
        for (resource, wanted) in objects() {
            guard let found = try await client.getIfPresent(resource, namespace: "", name: wanted.name) else {
                do throws(APIError) {
                    _ = try await client.create(resource, wanted)
                } catch {
                    if !error.isAlreadyExists { throw error }
                }
                continue
            }
            // Without the annotation: nobody has changed a spec of the first generation.
            let follows =
                mandatory.contains(wanted.name)
                || found.annotations[annotation].map { $0 == "true" } ?? (found.metadata["generation"].int ?? 1 == 1)
            var next = found
            next.annotations[annotation] = follows ? "true" : "false"
            if follows { next.json["spec"] = wanted.json["spec"] }
            if next != found { _ = try await client.update(resource, next) }
        }
    }
}
