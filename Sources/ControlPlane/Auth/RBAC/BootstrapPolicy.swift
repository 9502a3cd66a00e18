internal import Codecs
package import KubeAPI

/// The roles and bindings that every cluster starts with. Names, labels and annotations are upstream's
/// (k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac/bootstrappolicy); roles of parts that do not exist here are left out.
package enum BootstrapPolicy {
    private static let read = ["get", "list", "watch"]
    private static let write = ["create", "delete", "deletecollection", "patch", "update"]
    private static let rbac = "rbac.authorization.k8s.io"

    private static func rule(_ verbs: [String], _ groups: [String], _ resources: [String], names: [String] = [])
        -> PolicyRule
    {
        PolicyRule(verbs: verbs, groups: groups, resources: resources, names: names)
    }

    /// Reading what is not secret, in a namespace.
    private static let view: [PolicyRule] = [
        rule(
            read, [""],
            [
                "configmaps", "endpoints", "persistentvolumeclaims", "persistentvolumeclaims/status", "pods",
                "replicationcontrollers", "replicationcontrollers/scale", "serviceaccounts", "services",
                "services/status",
            ]),
        rule(
            read, [""],
            [
                "bindings", "events", "limitranges", "namespaces/status", "pods/log", "pods/status",
                "replicationcontrollers/status", "resourcequotas", "resourcequotas/status",
            ]),
        rule(read, [""], ["namespaces"]),
        rule(read, ["discovery.k8s.io"], ["endpointslices"]),
        rule(
            read, ["apps"],
            [
                "controllerrevisions", "daemonsets", "daemonsets/status", "deployments", "deployments/scale",
                "deployments/status", "replicasets", "replicasets/scale", "replicasets/status", "statefulsets",
                "statefulsets/scale", "statefulsets/status",
            ]),
        rule(read, ["autoscaling"], ["horizontalpodautoscalers", "horizontalpodautoscalers/status"]),
        rule(read, ["batch"], ["cronjobs", "cronjobs/status", "jobs", "jobs/status"]),
        rule(read, ["policy"], ["poddisruptionbudgets", "poddisruptionbudgets/status"]),
        rule(read, ["networking.k8s.io"], ["ingresses", "ingresses/status", "networkpolicies"]),
    ]

    private static let edit: [PolicyRule] = [
        rule(read, [""], ["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets", "services/proxy"]),
        rule(["impersonate"], [""], ["serviceaccounts"]),
        rule(write, [""], ["pods", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy"]),
        rule(["create"], [""], ["pods/eviction"]),
        rule(
            write, [""],
            [
                "configmaps", "events", "persistentvolumeclaims", "replicationcontrollers",
                "replicationcontrollers/scale",
                "secrets", "serviceaccounts", "services", "services/proxy",
            ]),
        rule(["create"], [""], ["serviceaccounts/token"]),
        rule(
            write, ["apps"],
            [
                "daemonsets", "deployments", "deployments/rollback", "deployments/scale", "replicasets",
                "replicasets/scale",
                "statefulsets", "statefulsets/scale",
            ]),
        rule(write, ["autoscaling"], ["horizontalpodautoscalers"]),
        rule(write, ["batch"], ["cronjobs", "jobs"]),
        rule(write, ["policy"], ["poddisruptionbudgets"]),
        rule(write, ["networking.k8s.io"], ["ingresses", "networkpolicies"]),
        rule(write + read, ["coordination.k8s.io"], ["leases"]),
    ]

    private static let admin: [PolicyRule] = [
        rule(["create"], ["authorization.k8s.io"], ["localsubjectaccessreviews"]),
        rule(write + read, [rbac], ["rolebindings", "roles"]),
    ]

    private static let events = rule(["create", "patch", "update"], ["", "events.k8s.io"], ["events"])

    private static func certificates(
        _ name: String, _ verbs: [String], _ resource: String, _ names: [String] = []
    ) -> (String, [PolicyRule]) {
        ("system:certificates.k8s.io:" + name, [rule(verbs, ["certificates.k8s.io"], [resource], names: names)])
    }

    /// Name and rules of the roles that are not aggregated.
    private static let clusterRoles: [(String, [PolicyRule])] = [
        (
            "cluster-admin",
            [rule(["*"], ["*"], ["*"]), PolicyRule(verbs: ["*"], paths: ["*"])]
        ),
        (
            "system:discovery",
            [
                PolicyRule(
                    verbs: ["get"],
                    paths: [
                        "/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz",
                        "/version", "/version/",
                    ])
            ]
        ),
        (
            "system:public-info-viewer",
            [PolicyRule(verbs: ["get"], paths: ["/healthz", "/livez", "/readyz", "/version", "/version/"])]
        ),
        (
            "system:basic-user",
            [
                rule(["create"], ["authorization.k8s.io"], ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]),
                rule(["create"], ["authentication.k8s.io"], ["selfsubjectreviews"]),
            ]
        ),
        certificates("certificatesigningrequests:nodeclient", ["create"], "certificatesigningrequests/nodeclient"),
        certificates(
            "certificatesigningrequests:selfnodeclient", ["create"], "certificatesigningrequests/selfnodeclient"),
        certificates("kube-apiserver-client-approver", ["approve"], "signers", ["kubernetes.io/kube-apiserver-client"]),
        certificates(
            "kube-apiserver-client-kubelet-approver", ["approve"], "signers",
            ["kubernetes.io/kube-apiserver-client-kubelet"]),
        certificates("kubelet-serving-approver", ["approve"], "signers", ["kubernetes.io/kubelet-serving"]),
        certificates("legacy-unknown-approver", ["approve"], "signers", ["kubernetes.io/legacy-unknown"]),
        (
            "system:monitoring",
            [
                PolicyRule(
                    verbs: ["get"],
                    paths: [
                        "/healthz", "/healthz/*", "/livez", "/livez/*", "/metrics", "/metrics/slis", "/readyz",
                        "/readyz/*",
                    ])
            ]
        ),
        (
            "system:auth-delegator",
            [
                rule(["create"], ["authentication.k8s.io"], ["tokenreviews"]),
                rule(["create"], ["authorization.k8s.io"], ["subjectaccessreviews"]),
            ]
        ),
        (
            "system:service-account-issuer-discovery",
            [
                PolicyRule(
                    verbs: ["get"],
                    paths: [
                        "/.well-known/openid-configuration", "/.well-known/openid-configuration/", "/openid/v1/jwks",
                        "/openid/v1/jwks/",
                    ])
            ]
        ),
        (
            "system:kubelet-api-admin",
            [
                rule(read, [""], ["nodes"]), rule(["proxy"], [""], ["nodes"]),
                rule(["*"], [""], ["nodes/log", "nodes/metrics", "nodes/proxy", "nodes/stats"]),
            ]
        ),
        (
            "system:node",
            [
                rule(["create"], ["authentication.k8s.io"], ["tokenreviews"]),
                rule(["create"], ["authorization.k8s.io"], ["localsubjectaccessreviews", "subjectaccessreviews"]),
                rule(read, [""], ["services"]), rule(["create"] + read, [""], ["nodes"]),
                rule(["patch", "update"], [""], ["nodes/status"]), rule(["patch", "update"], [""], ["nodes"]), events,
                rule(read, [""], ["pods"]), rule(["create", "delete"], [""], ["pods"]),
                rule(["patch", "update"], [""], ["pods/status"]), rule(["create"], [""], ["pods/eviction"]),
                rule(read, [""], ["configmaps", "secrets"]),
                rule(["get"], [""], ["persistentvolumeclaims", "persistentvolumes"]),
                rule(["get"], [""], ["endpoints"]), rule(["create"], [""], ["serviceaccounts/token"]),
                rule(["get"], [""], ["serviceaccounts"]),
                rule(["create", "delete", "get", "patch", "update"], ["coordination.k8s.io"], ["leases"]),
                rule(read, ["node.k8s.io"], ["runtimeclasses"]),
                rule(["create"] + read, ["certificates.k8s.io"], ["certificatesigningrequests"]),
            ]
        ),
        (
            "system:node-proxier",
            [
                rule(["list", "watch"], [""], ["endpoints", "services"]), rule(read, [""], ["nodes"]), events,
                rule(["list", "watch"], ["discovery.k8s.io"], ["endpointslices"]),
            ]
        ),
        (
            // What k3s's own part of a node follows: other nodes, policies, names.
            "system:k3s-controller",
            [
                rule(read, [""], ["endpoints", "namespaces", "nodes", "pods", "services"]),
                rule(["patch", "update"], [""], ["nodes", "nodes/status"]), events,
                rule(read, [""], ["configmaps"], names: ["cluster-dns", "coredns", "coredns-custom"]),
                rule(read, ["discovery.k8s.io"], ["endpointslices"]),
                rule(read, ["networking.k8s.io"], ["networkpolicies"]),
            ]
        ),
        (
            "system:kube-dns",
            [rule(["list", "watch"], [""], ["endpoints", "services"])]
        ),
        (
            "system:node-bootstrapper",
            [rule(["create"] + read, ["certificates.k8s.io"], ["certificatesigningrequests"])]
        ),
        (
            "system:kube-scheduler",
            [
                events, rule(["create"], ["coordination.k8s.io"], ["leases"]),
                rule(["get", "update"], ["coordination.k8s.io"], ["leases"], names: ["kube-scheduler"]),
                rule(read, [""], ["nodes"]), rule(["delete"] + read, [""], ["pods"]),
                rule(["create"], [""], ["bindings", "pods/binding"]), rule(["patch", "update"], [""], ["pods/status"]),
                rule(
                    read, [""],
                    ["namespaces", "persistentvolumeclaims", "persistentvolumes", "replicationcontrollers", "services"]),
                rule(read, ["apps"], ["replicasets", "statefulsets"]), rule(read, ["policy"], ["poddisruptionbudgets"]),
            ]
        ),
        (
            "system:kube-controller-manager",
            [
                events, rule(["*"], ["coordination.k8s.io"], ["leases"]), rule(["list", "watch"], ["*"], ["*"]),
                rule(["create"], [""], ["secrets", "serviceaccounts", "serviceaccounts/token"]),
                rule(["delete", "get", "update"], [""], ["secrets", "serviceaccounts"]),
                rule(["get"], [""], ["configmaps", "namespaces"]),
                rule(["create"], ["authentication.k8s.io"], ["tokenreviews"]),
                rule(["create"], ["authorization.k8s.io"], ["subjectaccessreviews"]),
            ]
        ),
    ]

    private static let aggregated: [(name: String, parts: [(String, [PolicyRule])])] = [
        ("admin", [("system:aggregate-to-admin", admin)]),
        ("edit", [("system:aggregate-to-edit", edit)]),
        ("view", [("system:aggregate-to-view", view)]),
    ]

    private static let clusterBindings: [(role: String, subjects: [(kind: String, name: String)])] = [
        ("cluster-admin", [("Group", "system:masters")]),
        ("system:monitoring", [("Group", "system:monitoring")]),
        ("system:discovery", [("Group", "system:authenticated")]),
        ("system:basic-user", [("Group", "system:authenticated")]),
        ("system:public-info-viewer", [("Group", "system:authenticated"), ("Group", "system:unauthenticated")]),
        ("system:service-account-issuer-discovery", [("Group", "system:serviceaccounts")]),
        ("system:node-proxier", [("User", "system:kube-proxy")]),
        ("system:k3s-controller", [("User", "system:k3s-controller")]),
        ("system:node-bootstrapper", [("Group", BootstrapToken.defaultGroup)]),
        ("system:kubelet-api-admin", [("User", "kube-apiserver")]),
        ("system:kube-controller-manager", [("User", "system:kube-controller-manager")]),
        ("system:kube-scheduler", [("User", "system:kube-scheduler")]),
    ]

    // MARK: - Objects

    private static func object(_ kind: String, _ name: String, labels: [String: String] = [:]) -> KubeObject {
        var object = KubeObject(GroupVersionKind(rbac, "v1", kind), name: name)
        var labels = labels
        labels["kubernetes.io/bootstrapping"] = "rbac-defaults"
        object.labels = labels
        object.annotations = ["rbac.authorization.kubernetes.io/autoupdate": "true"]
        return object
    }

    package static func defaultClusterRoles() -> [KubeObject] {
        func role(_ name: String, _ rules: [PolicyRule], labels: [String: String] = [:]) -> KubeObject {
            var role = object("ClusterRole", name, labels: labels)
            role["rules"] = .array(rules.map(\.json))
            return role
        }
        var roles = clusterRoles.map { role($0.0, $0.1) }
        let order = ["admin", "edit", "view"]
        for (name, parts) in aggregated {
            for (part, rules) in parts {
                roles.append(role(part, rules, labels: ["rbac.authorization.k8s.io/aggregate-to-\(name)": "true"]))
            }
            var whole = object("ClusterRole", name)
            // edit contains view, and admin contains both: their aggregates carry each other's label.
            let i = order.firstIndex(of: name) ?? 0
            if i > 0 { whole.metadata["labels"]["rbac.authorization.k8s.io/aggregate-to-\(order[i - 1])"] = "true" }
            whole["aggregationRule"] = [
                "clusterRoleSelectors": [
                    ["matchLabels": .map(["rbac.authorization.k8s.io/aggregate-to-\(name)": "true"])]
                ]
            ]
            whole["rules"] = .array(
                (order[i...].flatMap { n in aggregated.first { $0.name == n }?.parts ?? [] }).flatMap(\.1).map(\.json))
            roles.append(whole)
        }
        return roles
    }

    package static func defaultClusterRoleBindings() -> [KubeObject] {
        clusterBindings.map { role, subjects in
            var binding = object("ClusterRoleBinding", role)
            binding["roleRef"] = ["apiGroup": .string(rbac), "kind": "ClusterRole", "name": .string(role)]
            binding["subjects"] = .array(
                subjects.map { ["apiGroup": .string(rbac), "kind": .string($0.kind), "name": .string($0.name)] })
            return binding
        }
    }

    /// Makes what is missing and brings back what was taken from a default role or binding, unless its annotation
    /// `autoupdate` says "false". Additions of the user stay.
    package static func reconcile(_ client: any KubeClient) async throws(APIError) {
        for (resource, wanted) in [
            (GroupVersionResource.clusterRoles, defaultClusterRoles()),
            (GroupVersionResource.clusterRoleBindings, defaultClusterRoleBindings()),
        ] {
            try await concurrently(wanted) { object throws(APIError) in
                guard let there = try await client.getIfPresent(resource, namespace: "", name: object.name) else {
                    do throws(APIError) {
                        _ = try await client.create(resource, object)
                    } catch {
                        if !error.isAlreadyExists { throw error }
                    }
                    return
                }
                guard there.annotations["rbac.authorization.kubernetes.io/autoupdate"] != "false" else { return }
                if there["roleRef"] != object["roleRef"] {
                    // A binding keeps its role; another one takes its place.
                    _ = try await client.delete(resource, namespace: "", name: object.name, options: DeleteOptions())
                    _ = try await client.create(resource, object)
                    return
                }
                var updated = there
                updated.labels.merge(object.labels) { have, _ in have }
                updated.annotations.merge(object.annotations) { have, _ in have }
                if !object["aggregationRule"].isNull, there["aggregationRule"].isNull {
                    updated["aggregationRule"] = object["aggregationRule"]
                }
                if object["aggregationRule"].isNull {
                    for field in ["rules", "subjects"] {
                        let have = there[field].elements
                        let missing = object[field].elements.filter { !have.contains($0) }
                        if !missing.isEmpty { updated[field] = .array(have + missing) }
                    }
                }
                if updated != there { _ = try await client.update(resource, updated) }
            }
        }
    }
}
