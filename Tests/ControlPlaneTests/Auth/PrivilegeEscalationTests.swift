import Codecs
import ControlPlane
import KubeAPI
import Testing

/// Nobody gives away what he has not.
@Suite struct PrivilegeEscalationTests {
    /// A cluster in which jane may write roles and bindings, and has these rules besides.
    private func cluster(_ rules: JSON, in namespace: String? = nil) async throws -> (Cluster, LocalClient) {
        let rbac = RBACAuthorizer()
        RBACAuthorizerTests.observe(
            rbac,
            [
                RBACAuthorizerTests.role("mine", rules, namespace: namespace),
                RBACAuthorizerTests.binding(
                    "mine", to: "mine", kind: namespace == nil ? "ClusterRole" : "Role", RBACAuthorizerTests.toJane,
                    namespace: namespace),
            ])
        let cluster = try await Cluster {
            $0.admission.plugins.append(
                .privilegeEscalation(authorizer: rbac) { rbac.rules(of: $0, namespace: $1) })
        }
        return (cluster, cluster.server.client(as: RBACAuthorizerTests.jane))
    }

    private static func rule(_ verbs: [String], _ resources: [String], names: [String] = []) -> JSON {
        var rule: JSON = ["verbs": .strings(verbs), "apiGroups": [""], "resources": .strings(resources)]
        if !names.isEmpty { rule["resourceNames"] = .strings(names) }
        return rule
    }

    static let grants: [(String, JSON, JSON, Bool)] = [
        ("the same", [rule(["get"], ["pods"])], [rule(["get"], ["pods"])], true),
        ("less", [rule(["get", "list"], ["pods", "secrets"])], [rule(["get"], ["pods"])], true),
        (
            "from two rules", [rule(["get"], ["pods"]), rule(["list"], ["pods"])], [rule(["get", "list"], ["pods"])],
            true
        ),
        ("more verbs", [rule(["get"], ["pods"])], [rule(["get", "list"], ["pods"])], false),
        ("all verbs", [rule(["get", "list", "watch"], ["pods"])], [rule(["*"], ["pods"])], false),
        ("under a wildcard", [rule(["*"], ["*"])], [rule(["delete"], ["pods/log"])], true),
        ("under a subresource wildcard", [rule(["update"], ["*/scale"])], [rule(["update"], ["x/scale"])], true),
        ("all names of one", [rule(["get"], ["pods"], names: ["a"])], [rule(["get"], ["pods"])], false),
        ("one name of all", [rule(["get"], ["pods"])], [rule(["get"], ["pods"], names: ["a"])], true),
        ("another name", [rule(["get"], ["pods"], names: ["a"])], [rule(["get"], ["pods"], names: ["a", "b"])], false),
        (
            "a path below", [["verbs": ["get"], "nonResourceURLs": ["/a/*"]]],
            [["verbs": ["get"], "nonResourceURLs": ["/a/b"]]], true
        ),
        (
            "another path", [["verbs": ["get"], "nonResourceURLs": ["/a"]]],
            [["verbs": ["get"], "nonResourceURLs": ["/a/*"]]], false
        ),
    ]

    @Test(arguments: grants)
    func aRoleHoldsRightsOfItsWriter(_ name: String, _ own: JSON, _ wanted: JSON, _ allowed: Bool) async throws {
        let (cluster, jane) = try await cluster(own)
        let role = RBACAuthorizerTests.role("new", wanted)
        if allowed {
            _ = try await jane.create(.clusterRoles, role)
        } else {
            let error = await #expect(throws: APIError.self, "\(name)") { try await jane.create(.clusterRoles, role) }
            #expect(error?.code == 403)
            // The administrator may.
            _ = try await cluster.client.create(.clusterRoles, role)
            // And so a binding to it is refused as well.
            let binding = RBACAuthorizerTests.binding("new", to: "new", RBACAuthorizerTests.toJane)
            await #expect(throws: APIError.self, "\(name)") { try await jane.create(.clusterRoleBindings, binding) }
        }
    }

    @Test func theRefusalSaysWhatIsMissing() async throws {
        let (_, jane) = try await cluster([Self.rule(["get"], ["pods"])])
        let role = RBACAuthorizerTests.role(
            "new", [Self.rule(["get", "list", "delete"], ["pods"]), Self.rule(["get"], ["nodes"])])
        let error = await #expect(throws: APIError.self) { try await jane.create(.clusterRoles, role) }
        #expect(
            error?.message == """
                clusterroles.rbac.authorization.k8s.io "new" is forbidden: user "jane" (groups=["dev" \
                "system:authenticated"]) is attempting to grant RBAC permissions not currently held:
                {APIGroups:[""], Resources:["nodes"], Verbs:["get"]}
                {APIGroups:[""], Resources:["pods"], Verbs:["list" "delete"]}
                """)
    }

    @Test func escalateIsARight() async throws {
        let (_, jane) = try await cluster([
            [
                "verbs": ["escalate"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"],
            ]
        ])
        _ = try await jane.create(.clusterRoles, RBACAuthorizerTests.role("new", [Self.rule(["get"], ["nodes"])]))
    }

    @Test func bindIsARightThatCanBeOfOneRole() async throws {
        let (cluster, jane) = try await cluster([
            [
                "verbs": ["bind"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"],
                "resourceNames": ["a"],
            ]
        ])
        for name in ["a", "b"] {
            _ = try await cluster.client.create(
                .clusterRoles, RBACAuthorizerTests.role(name, [Self.rule(["get"], ["nodes"])]))
        }
        _ = try await jane.create(
            .roleBindings, RBACAuthorizerTests.binding("x", to: "a", RBACAuthorizerTests.toJane, namespace: "default"))
        let other = RBACAuthorizerTests.binding("y", to: "b", RBACAuthorizerTests.toJane, namespace: "default")
        let error = await #expect(throws: APIError.self) { try await jane.create(.roleBindings, other) }
        #expect(error?.code == 403)
        let none = RBACAuthorizerTests.binding("z", to: "none", RBACAuthorizerTests.toJane, namespace: "default")
        let missing = await #expect(throws: APIError.self) { try await jane.create(.roleBindings, none) }
        #expect(missing?.message == "clusterroles.rbac.authorization.k8s.io \"none\" not found")
    }

    @Test func rightsInOneNamespaceAreNoneInAnother() async throws {
        let (_, jane) = try await cluster([Self.rule(["get"], ["pods"])], in: "default")
        let rules: JSON = [Self.rule(["get"], ["pods"])]
        _ = try await jane.create(.roles, RBACAuthorizerTests.role("r", rules, namespace: "default"))
        let elsewhere = RBACAuthorizerTests.role("r", rules, namespace: "other")
        await #expect(throws: APIError.self) { try await jane.create(.roles, elsewhere) }
        let everywhere = RBACAuthorizerTests.role("r", rules)
        await #expect(throws: APIError.self) { try await jane.create(.clusterRoles, everywhere) }
    }

    @Test func changesThatGiveNothingAwayAreFine() async throws {
        let (cluster, jane) = try await cluster([])
        var role = try await cluster.client.create(
            .clusterRoles, RBACAuthorizerTests.role("r", [Self.rule(["get"], ["nodes"])]))
        role.labels = ["a": "b"]
        role = try await jane.update(.clusterRoles, role)
        role["rules"] = [Self.rule(["get", "list"], ["nodes"])]
        let more = role
        await #expect(throws: APIError.self) { try await jane.update(.clusterRoles, more) }
        role["rules"] = []
        _ = try await jane.update(.clusterRoles, role)
    }

    @Test func anAggregateNeedsAllRights() async throws {
        var role = RBACAuthorizerTests.role("r", [])
        role["aggregationRule"] = ["clusterRoleSelectors": [["matchLabels": ["a": "b"]]]]
        let (_, jane) = try await cluster([Self.rule(["*"], ["*"])])
        let wanted = role
        await #expect(throws: APIError.self) { try await jane.create(.clusterRoles, wanted) }
        let (_, queen) = try await cluster([
            ["verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]], ["verbs": ["*"], "nonResourceURLs": ["*"]],
        ])
        _ = try await queen.create(.clusterRoles, wanted)
    }

    @Test func aRoleOfAbsurdSizeIsRefusedQuickly() async throws {
        let (_, jane) = try await cluster([Self.rule(["get"], ["pods"])])
        let many = (0..<5000).map { "x\($0)" }
        let role = RBACAuthorizerTests.role("r", [Self.rule(many, many, names: many)])
        let error = await #expect(throws: APIError.self) { try await jane.create(.clusterRoles, role) }
        #expect(error?.message.contains("more than 50000 single permissions") == true)
    }
}
