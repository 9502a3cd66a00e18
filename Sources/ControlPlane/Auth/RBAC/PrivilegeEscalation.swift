internal import Codecs
internal import KubeAPI
internal import Store

extension AdmissionPlugin {
    /// Nobody gives away what he has not: a role's rules must be rights of its writer, unless he may "escalate" the role;
    /// a binding's role likewise, unless he may "bind" it. Source: k8s.io/kubernetes/pkg/registry/rbac/*/policybased.
    ///
    /// - Parameter rules: everything that a user may do in a namespace ("": in the whole cluster).
    package static func privilegeEscalation(
        authorizer: any Authorizer, rules: @escaping @Sendable (UserInfo, String) -> [PolicyRule]
    ) -> AdmissionPlugin {
        let escalation = PrivilegeEscalation(authorizer: authorizer, rules: rules)
        return AdmissionPlugin(
            "RBACEscalation", operations: [.create, .update],
            resources: [.roles, .clusterRoles, .roleBindings, .clusterRoleBindings],
            validate: { request, registry throws(APIError) in try await escalation.check(request, registry) })
    }
}

struct PrivilegeEscalation: Sendable {
    let authorizer: any Authorizer
    let rules: @Sendable (UserInfo, String) -> [PolicyRule]

    /// How many single permissions of a role are looked at.
    private static let limit = 50_000
    private static let everything = [
        PolicyRule(verbs: ["*"], groups: ["*"], resources: ["*"]), PolicyRule(verbs: ["*"], paths: ["*"]),
    ]

    func check(_ request: AdmissionRequest, _ registry: Registry) async throws(APIError) {
        let user = request.scope.user
        guard request.subresource.isEmpty, !user.groups.contains("system:masters") else { return }
        if request.resource == .roles || request.resource == .clusterRoles {
            try await check(role: request)
        } else {
            try await check(binding: request, registry)
        }
    }

    private func check(role request: AdmissionRequest) async throws(APIError) {
        let (new, old) = (request.object, request.old)
        let keys = ["rules", "aggregationRule"]
        if let old, keys.allSatisfy({ new[$0] == old[$0] || new[$0].elements.isEmpty && old[$0].elements.isEmpty }) {
            return
        }
        if await may("escalate", request.resource, request, name: old?.name ?? "") { return }
        // What an aggregate will hold is not known yet.
        if !new["aggregationRule"].isNull { try confirm(Self.everything, request) }
        try confirm(new["rules"].elements.map(PolicyRule.init), request)
    }

    private func check(binding request: AdmissionRequest, _ registry: Registry) async throws(APIError) {
        let (new, old) = (request.object, request.old)
        if let old, new["roleRef"] == old["roleRef"], new["subjects"] == old["subjects"] { return }
        let isClusterRole = new["roleRef"]["kind"].string == "ClusterRole"
        let name = new["roleRef"]["name"].string ?? ""
        let resource: GroupVersionResource = isClusterRole ? .clusterRoles : .roles
        if await may("bind", resource, request, name: name) { return }
        let row = try registry.resource(resource)
        guard let entry = registry.store.get(row.key(request.namespace, name)) else { throw .notFound(resource, name) }
        try confirm(try KubeObject(decoding: entry)["rules"].elements.map(PolicyRule.init), request)
    }

    private func may(
        _ verb: String, _ resource: GroupVersionResource, _ request: AdmissionRequest, name: String
    ) async -> Bool {
        await authorizer.authorize(
            AuthorizationAttributes(
                user: request.scope.user, verb: verb, group: resource.group, resource: resource.resource,
                namespace: request.namespace, name: name)
        ).isAllowed
    }

    private func confirm(_ wanted: [PolicyRule], _ request: AdmissionRequest) throws(APIError) {
        let user = request.scope.user
        let own = rules(user, request.namespace)
        guard wanted.reduce(0, { min($0 + min($1.singleCount, Self.limit + 1), Self.limit + 1) }) <= Self.limit else {
            throw request.forbidden("the rules come to more than \(Self.limit) single permissions: use wildcards")
        }
        var missing: [PolicyRule] = []
        for rule in wanted {
            missing += rule.single.filter { single in !own.contains { $0.covers(single) } }
        }
        if missing.isEmpty { return }
        let texts = Set(PolicyRule.compact(missing).map(\.text)).sorted()
        let groups = user.groups.map { "\"\($0)\"" }.joined(separator: " ")
        throw request.forbidden(
            "user \"\(user.name)\" (groups=[\(groups)]) is attempting to grant RBAC permissions not currently held:\n"
                + texts.joined(separator: "\n"))
    }
}

extension PolicyRule {
    /// How many parts `single` has, saturating.
    var singleCount: Int {
        var count = 1
        for factor in [verbs.count, groups.count, resources.count, max(names.count, 1)] {
            let (product, overflow) = count.multipliedReportingOverflow(by: factor)
            if overflow { return .max }
            count = product
        }
        let (all, overflow) = count.addingReportingOverflow(verbs.count * min(paths.count, 1 << 20))
        return overflow ? .max : all
    }

    /// The rule in parts of one verb, group, resource and name each; a rule of paths in parts of one verb and path.
    var single: [PolicyRule] {
        var parts: [PolicyRule] = []
        for verb in verbs {
            for group in groups {
                for resource in resources {
                    if names.isEmpty { parts.append(PolicyRule(verbs: [verb], groups: [group], resources: [resource])) }
                    for name in names {
                        parts.append(
                            PolicyRule(verbs: [verb], groups: [group], resources: [resource], names: [name]))
                    }
                }
            }
            for path in paths { parts.append(PolicyRule(verbs: [verb], paths: [path])) }
        }
        return parts
    }

    /// Whether this rule alone gives all that `part`, a single one, gives.
    func covers(_ part: PolicyRule) -> Bool {
        guard verbs.contains("*") || part.verbs.allSatisfy(verbs.contains) else { return false }
        if !part.paths.isEmpty {
            return part.paths.allSatisfy { path in
                paths.contains { own in
                    own == path || own == "*" || own.hasSuffix("*") && path.hasPrefix(own.dropLast())
                }
            }
        }
        guard groups.contains("*") || part.groups.allSatisfy(groups.contains) else { return false }
        guard names.isEmpty || !part.names.isEmpty && part.names.allSatisfy(names.contains) else { return false }
        return resources.contains("*")
            || part.resources.allSatisfy { resource in
                guard !resources.contains(resource) else { return true }
                let slash = resource.utf8.firstIndex(of: UInt8(ascii: "/"))
                return slash.map { resources.contains("*" + resource[$0...]) } ?? false
            }
    }

    /// Parts that differ only in their verbs, together.
    static func compact(_ parts: [PolicyRule]) -> [PolicyRule] {
        var order: [PolicyRule] = []
        var verbs: [PolicyRule: [String]] = [:]
        for part in parts {
            var key = part
            key.verbs = []
            if verbs[key] == nil { order.append(key) }
            verbs[key, default: []] += part.verbs
        }
        return order.map { key in
            var rule = key
            rule.verbs = verbs[key] ?? []
            return rule
        }
    }

    /// `{APIGroups:["apps"], Resources:["deployments"], Verbs:["get" "list"]}`
    var text: String {
        let fields = [
            ("APIGroups", groups), ("Resources", resources), ("NonResourceURLs", paths), ("ResourceNames", names),
            ("Verbs", verbs),
        ]
        let shown = fields.filter { !$0.1.isEmpty }.map { name, values in
            "\(name):[\(values.map { "\"\($0)\"" }.joined(separator: " "))]"
        }
        return "{\(shown.joined(separator: ", "))}"
    }
}
