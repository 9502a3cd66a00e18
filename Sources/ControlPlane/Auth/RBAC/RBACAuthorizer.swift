internal import Codecs
package import KubeAPI
import Synchronization

/// Role-based access control: everything is refused that no role allows.
///
/// Roles and bindings are kept compiled; the controller manager's watches feed them (a controller whose keys are never
/// worked on), so that a decision reads memory only. Source: k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac.
package final class RBACAuthorizer: Authorizer, Controller {
    package let name = "rbac-authorizer"

    private struct Binding: Sendable {
        var subjects: [PolicySubject]
        /// Name of a ClusterRole, or of a Role in the binding's namespace.
        var role: String
        var isClusterRole: Bool
        /// The beginning of a decision's reason.
        var text: String

        func reason(for user: UserInfo) -> String {
            let subject = subjects.first { $0.matches(user) }
            return "RBAC: allowed by \(text) to \(subject?.text ?? "")"
        }
    }
    private struct Policy: Sendable {
        var clusterRoles: [String: [PolicyRule]] = [:]
        var roles: [ObjectKey: [PolicyRule]] = [:]
        var clusterBindings: [String: Binding] = [:]
        var bindings: [String: [String: Binding]] = [:]
    }
    private let policy = Mutex(Policy())

    package init() {}

    package var sources: [WatchSource] {
        [.clusterRoles, .roles, .clusterRoleBindings, .roleBindings].map { resource in
            WatchSource(resource, relisting: { [self] in forget(resource) }) { [self] object, kind in
                observe(resource, object, deleted: kind == .deleted)
                return []
            }
        }
    }
    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? { nil }

    private func forget(_ resource: GroupVersionResource) {
        policy.withLock { policy in
            switch resource {
            case .clusterRoles: policy.clusterRoles = [:]
            case .roles: policy.roles = [:]
            case .clusterRoleBindings: policy.clusterBindings = [:]
            default: policy.bindings = [:]
            }
        }
    }

    /// Takes an object in; also used to load the defaults before the first request.
    package func observe(_ resource: GroupVersionResource, _ object: KubeObject, deleted: Bool) {
        policy.withLock { policy in
            switch resource {
            case .clusterRoles: policy.clusterRoles[object.name] = deleted ? nil : Self.rules(object)
            case .roles: policy.roles[object.key] = deleted ? nil : Self.rules(object)
            case .clusterRoleBindings: policy.clusterBindings[object.name] = deleted ? nil : Self.binding(object)
            default:
                policy.bindings[object.namespace, default: [:]][object.name] = deleted ? nil : Self.binding(object)
                if policy.bindings[object.namespace]?.isEmpty == true { policy.bindings[object.namespace] = nil }
            }
        }
    }

    private static func rules(_ object: KubeObject) -> [PolicyRule] { object["rules"].elements.map(PolicyRule.init) }

    private static func binding(_ object: KubeObject) -> Binding {
        let reference = object["roleRef"]
        let role = reference["name"].string ?? ""
        let kind = reference["kind"].string ?? ""
        return Binding(
            subjects: object["subjects"].elements.compactMap {
                PolicySubject($0, bindingNamespace: object.namespace)
            },
            role: role, isClusterRole: kind == "ClusterRole",
            text:
                "\(object.kind) \"\(object.name)\(object.namespace.isEmpty ? "" : "/" + object.namespace)\" of \(kind) "
                + "\"\(role)\"")
    }

    package func authorize(_ attributes: AuthorizationAttributes) async -> AuthorizationDecision {
        if attributes.user.groups.contains("system:masters") { return .allow(reason: "") }
        return policy.withLock { policy in
            var decision = AuthorizationDecision.deny(reason: "")
            Self.visit(policy, attributes.user, namespace: attributes.namespace) { rules, binding in
                guard rules.contains(where: { $0.allows(attributes) }) else { return true }
                decision = .allow(reason: binding.reason(for: attributes.user))
                return false
            }
            return decision
        }
    }

    /// Everything a user may do in a namespace (`kubectl auth can-i --list`).
    package func rules(of user: UserInfo, namespace: String) -> [PolicyRule] {
        policy.withLock { policy in
            var rules: [PolicyRule] = []
            if user.groups.contains("system:masters") {
                rules.append(PolicyRule(verbs: ["*"], groups: ["*"], resources: ["*"]))
                rules.append(PolicyRule(verbs: ["*"], paths: ["*"]))
            }
            var seen = Set(rules)
            Self.visit(policy, user, namespace: namespace) { more, _ in
                rules += more.filter { seen.insert($0).inserted }
                return true
            }
            return rules
        }
    }

    /// The rules of each binding that concerns the user, until `body` says stop.
    private static func visit(
        _ policy: Policy, _ user: UserInfo, namespace: String, _ body: ([PolicyRule], Binding) -> Bool
    ) {
        for binding in policy.clusterBindings.values where binding.subjects.contains(where: { $0.matches(user) }) {
            guard let rules = policy.clusterRoles[binding.role] else { continue }
            if !body(rules, binding) { return }
        }
        guard !namespace.isEmpty, let bindings = policy.bindings[namespace] else { return }
        for binding in bindings.values where binding.subjects.contains(where: { $0.matches(user) }) {
            let rules =
                binding.isClusterRole
                ? policy.clusterRoles[binding.role]
                : policy.roles[ObjectKey(namespace: namespace, name: binding.role)]
            if let rules, !body(rules, binding) { return }
        }
    }
}
