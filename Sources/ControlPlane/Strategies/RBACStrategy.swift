internal import Codecs
internal import KubeAPI

/// Roles and their bindings. Source: pkg/apis/rbac/validation.
struct RoleStrategy: ResourceStrategy {
    let namespaced: Bool
    var nameRule: NameRule { .pathSegment }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        for (i, rule) in object["rules"].elements.enumerated() { checkRule(rule, "rules[\(i)]", &check) }
        for (i, selector) in object["aggregationRule"]["clusterRoleSelectors"].elements.enumerated() {
            Selectors.validate(selector, "aggregationRule.clusterRoleSelectors[\(i)]", &check)
        }
        if !object["aggregationRule"].isNull, object["aggregationRule"]["clusterRoleSelectors"].elements.isEmpty {
            check.add(
                .required(
                    "aggregationRule.clusterRoleSelectors",
                    "at least one clusterRoleSelector required if aggregationRule is non-nil"))
        }
    }

    private func checkRule(_ rule: JSON, _ path: String, _ check: inout Validation) {
        if rule["verbs"].elements.isEmpty {
            check.add(.required("\(path).verbs", "verbs must contain at least one value"))
        }
        let groups = rule["apiGroups"].elements
        let resources = rule["resources"].elements
        let urls = rule["nonResourceURLs"].elements
        guard urls.isEmpty else {
            if namespaced {
                check.add(
                    .invalid(
                        "\(path).nonResourceURLs", .array(urls), "namespaced rules cannot apply to non-resource URLs"))
            }
            if !groups.isEmpty || !resources.isEmpty || !rule["resourceNames"].elements.isEmpty {
                check.add(
                    .invalid(
                        "\(path).nonResourceURLs", .array(urls),
                        "rules cannot apply to both regular resources and non-resource URLs"))
            }
            return
        }
        if groups.isEmpty {
            check.add(.required("\(path).apiGroups", "resource rules must supply at least one api group"))
        }
        if resources.isEmpty {
            check.add(.required("\(path).resources", "resource rules must supply at least one resource"))
        }
    }
}

struct RoleBindingStrategy: ResourceStrategy {
    let namespaced: Bool
    var nameRule: NameRule { .pathSegment }
    private static let group = "rbac.authorization.k8s.io"

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        let role = object["roleRef"]
        if role["apiGroup"].string != Self.group {
            check.add(.notSupported("roleRef.apiGroup", role["apiGroup"].isNull ? "" : role["apiGroup"], [Self.group]))
        }
        let kinds = namespaced ? ["Role", "ClusterRole"] : ["ClusterRole"]
        if !kinds.contains(role["kind"].string ?? "") {
            check.add(.notSupported("roleRef.kind", role["kind"].isNull ? "" : role["kind"], kinds))
        }
        let name = role["name"].string ?? ""
        if name.isEmpty {
            check.add(.required("roleRef.name"))
        } else if let problem = LabelSyntax.pathSegmentProblem(name) {
            check.add(.invalid("roleRef.name", .string(name), problem))
        }
        for (i, subject) in object["subjects"].elements.enumerated() { checkSubject(subject, "subjects[\(i)]", &check) }
    }

    private func checkSubject(_ subject: JSON, _ path: String, _ check: inout Validation) {
        let name = subject["name"].string ?? ""
        if name.isEmpty { check.add(.required("\(path).name")) }
        let group = subject["apiGroup"].string ?? ""
        switch subject["kind"].string ?? "" {
        case "ServiceAccount":
            if !name.isEmpty, let problem = LabelSyntax.subdomainProblem(name) {
                check.add(.invalid("\(path).name", .string(name), problem))
            }
            if !group.isEmpty { check.add(.notSupported("\(path).apiGroup", .string(group), [""])) }
            if !namespaced, (subject["namespace"].string ?? "").isEmpty {
                check.add(.required("\(path).namespace"))
            } else if namespaced, (subject["namespace"].string ?? "").isEmpty {
                check.add(.required("\(path).namespace"))
            }
        case "User", "Group":
            if group != Self.group { check.add(.notSupported("\(path).apiGroup", .string(group), [Self.group])) }
        case let kind:
            check.add(.notSupported("\(path).kind", .string(kind), ["ServiceAccount", "User", "Group"]))
        }
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        validateCreate(object, &check)
        check.immutable(object["roleRef"], old["roleRef"], "roleRef", "cannot change roleRef")
    }
}
