import Codecs
import ControlPlane
import KubeAPI
import Testing

/// Who may do what under which roles and bindings.
@Suite struct RBACAuthorizerTests {
    static let group = "rbac.authorization.k8s.io"

    static func role(_ name: String, _ rules: JSON, namespace: String? = nil) -> KubeObject {
        let kind = namespace == nil ? "ClusterRole" : "Role"
        var role = KubeObject(GroupVersionKind(group, "v1", kind), name: name, namespace: namespace)
        role["rules"] = rules
        return role
    }

    static func binding(
        _ name: String, to role: String, kind: String = "ClusterRole", _ subjects: JSON, namespace: String? = nil
    ) -> KubeObject {
        let bindingKind = namespace == nil ? "ClusterRoleBinding" : "RoleBinding"
        var binding = KubeObject(GroupVersionKind(group, "v1", bindingKind), name: name, namespace: namespace)
        binding["roleRef"] = ["apiGroup": .string(group), "kind": .string(kind), "name": .string(role)]
        binding["subjects"] = subjects
        return binding
    }

    static func observe(_ rbac: RBACAuthorizer, _ objects: [KubeObject]) {
        for object in objects {
            let resource: GroupVersionResource =
                switch object.kind {
                case "ClusterRole": .clusterRoles
                case "Role": .roles
                case "ClusterRoleBinding": .clusterRoleBindings
                default: .roleBindings
                }
            rbac.observe(resource, object, deleted: false)
        }
    }

    static let jane = UserInfo("jane", groups: ["dev", "system:authenticated"])
    static let toJane: JSON = [["kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"]]

    static func ask(
        _ verb: String, _ resource: String, group: String = "", sub: String = "", in namespace: String = "",
        name: String = "", as user: UserInfo = jane
    ) -> AuthorizationAttributes {
        AuthorizationAttributes(
            user: user, verb: verb, group: group, resource: resource, subresource: sub, namespace: namespace, name: name
        )
    }

    /// One rule, one question, the answer.
    static let rules: [(String, JSON, AuthorizationAttributes, Bool)] = [
        ("verb", ["verbs": ["get"], "apiGroups": [""], "resources": ["pods"]], ask("get", "pods"), true),
        ("other verb", ["verbs": ["get"], "apiGroups": [""], "resources": ["pods"]], ask("list", "pods"), false),
        ("any verb", ["verbs": ["*"], "apiGroups": [""], "resources": ["pods"]], ask("frobnicate", "pods"), true),
        (
            "group", ["verbs": ["get"], "apiGroups": ["apps"], "resources": ["deployments"]],
            ask("get", "deployments", group: "apps"), true
        ),
        (
            "other group", ["verbs": ["get"], "apiGroups": [""], "resources": ["deployments"]],
            ask("get", "deployments", group: "apps"), false
        ),
        (
            "any group", ["verbs": ["get"], "apiGroups": ["*"], "resources": ["deployments"]],
            ask("get", "deployments", group: "apps"), true
        ),
        (
            "subresource is not its resource", ["verbs": ["get"], "apiGroups": [""], "resources": ["pods"]],
            ask("get", "pods", sub: "log"), false
        ),
        (
            "subresource", ["verbs": ["get"], "apiGroups": [""], "resources": ["pods/log"]],
            ask("get", "pods", sub: "log"), true
        ),
        (
            "resource is not its subresource", ["verbs": ["get"], "apiGroups": [""], "resources": ["pods/log"]],
            ask("get", "pods"), false
        ),
        (
            "subresource of anything", ["verbs": ["update"], "apiGroups": ["*"], "resources": ["*/scale"]],
            ask("update", "deployments", group: "apps", sub: "scale"), true
        ),
        (
            "subresource of anything, not the thing",
            ["verbs": ["update"], "apiGroups": ["*"], "resources": ["*/scale"]],
            ask("update", "deployments", group: "apps"), false
        ),
        (
            "any resource has its subresources", ["verbs": ["get"], "apiGroups": [""], "resources": ["*"]],
            ask("get", "pods", sub: "log"), true
        ),
        (
            "resource/* is no pattern", ["verbs": ["get"], "apiGroups": [""], "resources": ["pods/*"]],
            ask("get", "pods", sub: "log"), false
        ),
        (
            "name", ["verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a", "b"]],
            ask("get", "secrets", name: "b"), true
        ),
        (
            "other name", ["verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]],
            ask("get", "secrets", name: "b"), false
        ),
        (
            "a list has no name",
            ["verbs": ["list"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]],
            ask("list", "secrets"), false
        ),
        (
            "path", ["verbs": ["get"], "nonResourceURLs": ["/metrics"]],
            AuthorizationAttributes(user: jane, verb: "get", path: "/metrics"), true
        ),
        (
            "longer path", ["verbs": ["get"], "nonResourceURLs": ["/metrics"]],
            AuthorizationAttributes(user: jane, verb: "get", path: "/metrics/slis"), false
        ),
        (
            "below a path", ["verbs": ["get"], "nonResourceURLs": ["/healthz/*"]],
            AuthorizationAttributes(user: jane, verb: "get", path: "/healthz/ping"), true
        ),
        (
            "any path", ["verbs": ["get"], "nonResourceURLs": ["*"]],
            AuthorizationAttributes(user: jane, verb: "get", path: "/x"), true
        ),
        ("paths are no resources", ["verbs": ["*"], "nonResourceURLs": ["*"]], ask("get", "pods"), false),
        (
            "resources are no paths", ["verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]],
            AuthorizationAttributes(user: jane, verb: "get", path: "/x"), false
        ),
        ("no verbs", ["verbs": [], "apiGroups": ["*"], "resources": ["*"]], ask("get", "pods"), false),
    ]

    @Test(arguments: rules)
    func aRuleAllowsWhatItNames(
        _ name: String, _ rule: JSON, _ question: AuthorizationAttributes, _ allowed: Bool
    ) async {
        let rbac = RBACAuthorizer()
        Self.observe(rbac, [Self.role("r", [rule]), Self.binding("b", to: "r", Self.toJane)])
        #expect(await rbac.authorize(question).isAllowed == allowed, "\(name)")
    }

    static let account: JSON = [["kind": "ServiceAccount", "name": "robot", "namespace": "ci"]]
    static let subjects: [(String, JSON, UserInfo, Bool)] = [
        ("user", toJane, jane, true),
        ("other user", toJane, UserInfo("joe", groups: ["dev"]), false),
        ("a user is no group", [["kind": "User", "name": "dev"]], jane, false),
        ("group", [["kind": "Group", "name": "dev"]], jane, true),
        ("other group", [["kind": "Group", "name": "ops"]], jane, false),
        ("service account", account, UserInfo("system:serviceaccount:ci:robot"), true),
        ("service account of another namespace", account, UserInfo("system:serviceaccount:prod:robot"), false),
        (
            "all service accounts of a namespace", [["kind": "Group", "name": "system:serviceaccounts:ci"]],
            UserInfo("system:serviceaccount:ci:x", groups: ["system:serviceaccounts:ci"]), true
        ),
        ("unknown kind of subject", [["kind": "Robot", "name": "jane"]], jane, false),
        ("second subject", [["kind": "User", "name": "x"], ["kind": "User", "name": "jane"]], jane, true),
        ("nobody", [], jane, false),
    ]

    @Test(arguments: subjects)
    func aBindingIsForItsSubjects(_ name: String, _ subjects: JSON, _ user: UserInfo, _ allowed: Bool) async {
        let rbac = RBACAuthorizer()
        let rule: JSON = ["verbs": ["get"], "apiGroups": [""], "resources": ["pods"]]
        Self.observe(rbac, [Self.role("r", [rule]), Self.binding("b", to: "r", subjects)])
        #expect(await rbac.authorize(Self.ask("get", "pods", in: "any", as: user)).isAllowed == allowed, "\(name)")
    }

    static let readPods: JSON = [["verbs": ["get"], "apiGroups": [""], "resources": ["pods"]]]

    @Test func aRoleBindingCountsInItsNamespaceOnly() async {
        let rbac = RBACAuthorizer()
        Self.observe(
            rbac,
            [
                Self.role("reader", Self.readPods, namespace: "a"), Self.role("reader", Self.readPods),
                Self.binding("one", to: "reader", kind: "Role", Self.toJane, namespace: "a"),
                // There is no such Role in this namespace, and a ClusterRole of that name does not stand in for it.
                Self.binding("two", to: "reader", kind: "Role", Self.toJane, namespace: "b"),
                Self.binding("three", to: "reader", kind: "ClusterRole", Self.toJane, namespace: "c"),
            ])
        #expect(await rbac.authorize(Self.ask("get", "pods", in: "a")).isAllowed)
        #expect(await !rbac.authorize(Self.ask("get", "pods", in: "b")).isAllowed)
        #expect(await rbac.authorize(Self.ask("get", "pods", in: "c")).isAllowed)
        #expect(await !rbac.authorize(Self.ask("get", "pods", in: "d")).isAllowed)
        #expect(await !rbac.authorize(Self.ask("get", "pods")).isAllowed, "not in all namespaces together")
    }

    @Test func aServiceAccountWithoutNamespaceIsOfTheBindings() async {
        let rbac = RBACAuthorizer()
        Self.observe(
            rbac,
            [
                Self.role("r", Self.readPods, namespace: "a"),
                Self.binding(
                    "b", to: "r", kind: "Role", [["kind": "ServiceAccount", "name": "robot", "namespace": ""]],
                    namespace: "a"),
            ])
        #expect(
            await rbac.authorize(Self.ask("get", "pods", in: "a", as: UserInfo("system:serviceaccount:a:robot")))
                .isAllowed)
    }

    @Test func reasonsNameTheBinding() async {
        let rbac = RBACAuthorizer()
        Self.observe(
            rbac,
            [
                Self.role("r", Self.readPods), Self.binding("all", to: "r", [["kind": "Group", "name": "dev"]]),
                Self.role("s", [["verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]]], namespace: "a"),
                Self.binding("some", to: "s", kind: "Role", Self.toJane, namespace: "a"),
            ])
        #expect(
            await rbac.authorize(Self.ask("get", "pods")).reason
                == "RBAC: allowed by ClusterRoleBinding \"all\" of ClusterRole \"r\" to Group \"dev\"")
        #expect(
            await rbac.authorize(Self.ask("get", "secrets", in: "a")).reason
                == "RBAC: allowed by RoleBinding \"some/a\" of Role \"s\" to User \"jane\"")
        #expect(await rbac.authorize(Self.ask("get", "nodes")) == .deny(reason: ""))
    }

    @Test func whatGoesNoLongerCounts() async {
        let rbac = RBACAuthorizer()
        let (role, binding) = (Self.role("r", Self.readPods), Self.binding("b", to: "r", Self.toJane))
        Self.observe(rbac, [role, binding])
        #expect(await rbac.authorize(Self.ask("get", "pods")).isAllowed)
        rbac.observe(.clusterRoleBindings, binding, deleted: true)
        #expect(await !rbac.authorize(Self.ask("get", "pods")).isAllowed)
        rbac.observe(.clusterRoleBindings, binding, deleted: false)
        rbac.observe(.clusterRoles, role, deleted: true)
        #expect(await !rbac.authorize(Self.ask("get", "pods")).isAllowed)
    }

    @Test func mastersMayEverything() async {
        let admin = UserInfo("root", groups: ["system:masters"])
        #expect(await RBACAuthorizer().authorize(Self.ask("delete", "nodes", as: admin)).isAllowed)
        #expect(
            RBACAuthorizer().rules(of: admin, namespace: "a").contains(
                PolicyRule(verbs: ["*"], groups: ["*"], resources: ["*"])))
    }

    @Test func rulesOfAUserAreThoseOfItsNamespace() {
        let rbac = RBACAuthorizer()
        Self.observe(
            rbac,
            [
                Self.role("r", Self.readPods), Self.binding("all", to: "r", Self.toJane),
                Self.binding("again", to: "r", Self.toJane),
                Self.role("s", [["verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]]], namespace: "a"),
                Self.binding("some", to: "s", kind: "Role", Self.toJane, namespace: "a"),
            ])
        #expect(rbac.rules(of: Self.jane, namespace: "a").map(\.resources) == [["pods"], ["secrets"]])
        #expect(rbac.rules(of: Self.jane, namespace: "b").map(\.resources) == [["pods"]])
    }

    @Test func defaultRolesAreLayered() async throws {
        let rbac = RBACAuthorizer()
        Self.observe(rbac, BootstrapPolicy.defaultClusterRoles())
        for role in ["view", "edit", "admin"] {
            Self.observe(
                rbac,
                [
                    Self.binding(
                        role, to: role, [["kind": "User", "name": .string(role)]], namespace: "a")
                ])
        }
        let table: [(String, String, String, Bool, Bool, Bool)] = [
            ("get", "pods", "", true, true, true), ("get", "secrets", "", false, true, true),
            ("create", "pods", "", false, true, true), ("create", "deployments", "apps", false, true, true),
            ("create", "jobs", "batch", false, true, true),
            ("create", "roles", "rbac.authorization.k8s.io", false, false, true),
            ("create", "nodes", "", false, false, false), ("delete", "namespaces", "", false, false, false),
        ]
        for (verb, resource, group, view, edit, admin) in table {
            for (user, expected) in [("view", view), ("edit", edit), ("admin", admin)] {
                let decision = await rbac.authorize(
                    Self.ask(verb, resource, group: group, in: "a", as: UserInfo(user)))
                #expect(decision.isAllowed == expected, "\(user) \(verb) \(resource)")
            }
        }
    }

    @Test func aggregatesHoldTheRulesOfTheirParts() async throws {
        let cluster = try await Cluster()
        var whole = Self.role("whole", [])
        whole["aggregationRule"] = ["clusterRoleSelectors": [["matchLabels": ["into": "whole"]]]]
        _ = try await cluster.client.create(.clusterRoles, whole)
        var part = Self.role("part", Self.readPods)
        part.labels = ["into": "whole"]
        part = try await cluster.client.create(.clusterRoles, part)
        let controller = ClusterRoleAggregationController(client: cluster.client)
        _ = try await controller.reconcile(ObjectKey(name: "all"))
        let filled = try await cluster.client.get(.clusterRoles, namespace: "", name: "whole")
        #expect(filled["rules"] == Self.readPods)
        _ = try await controller.reconcile(ObjectKey(name: "all"))
        #expect(
            try await cluster.client.get(.clusterRoles, namespace: "", name: "whole").resourceVersion
                == filled.resourceVersion, "nothing is written twice")
        part.labels = [:]
        _ = try await cluster.client.update(.clusterRoles, part)
        _ = try await controller.reconcile(ObjectKey(name: "all"))
        #expect(try await cluster.client.get(.clusterRoles, namespace: "", name: "whole")["rules"].elements.isEmpty)
    }
}
