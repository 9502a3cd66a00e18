import Codecs
import KubeAPI
import Synchronization
import Testing
import Transport

@testable import ControlPlane

/// The headers that name the flow schema and the priority level of a request.
@Suite struct FlowSchemaMatcherTests {
    /// Takes who asks from a header: a name and groups.
    private struct Named: Authenticator {
        func authenticate(_ request: HTTPRequest) async -> AuthenticationResult {
            guard let text = request.headers["X-Test-User"] else { return .refused(reason: "nobody") }
            let parts = text.split(separator: " ").map(String.init)
            return .authenticated(UserInfo(parts[0], groups: Array(parts.dropFirst()) + ["system:authenticated"]))
        }
    }

    private struct DenyAll: Authorizer {
        func authorize(_ attributes: AuthorizationAttributes) async -> AuthorizationDecision { .deny(reason: "no") }
    }

    private func cluster(_ configure: (inout APIServerConfiguration) -> Void = { _ in }) async throws -> Cluster {
        let cluster = try await Cluster {
            $0.authenticator = Named()
            configure(&$0)
        }
        try await cluster.server.bootstrap()
        return cluster
    }

    /// "schema/level" of an answer.
    private func flow(
        _ cluster: Cluster, _ user: String, _ method: String = "GET", _ target: String = "/api/v1/pods",
        _ body: JSON? = nil
    ) async throws -> String {
        let answer = try await cluster.call(method, target, body, headers: ["X-Test-User": user])
        let (schema, level) = (
            answer.headers["X-Kubernetes-PF-FlowSchema-UID"], answer.headers["X-Kubernetes-PF-PriorityLevel-UID"]
        )
        let schemas = try await cluster.client.list(FlowControlDefaults.schemas).decoded()
        let levels = try await cluster.client.list(FlowControlDefaults.levels).decoded()
        let names = (schemas.first { $0.uid == schema }?.name, levels.first { $0.uid == level }?.name)
        return "\(names.0 ?? "none")/\(names.1 ?? "none")"
    }

    static let requests: [(user: String, method: String, target: String, flow: String)] = [
        ("root system:masters", "GET", "/api/v1/pods", "exempt/exempt"),
        ("jane", "GET", "/api/v1/pods", "global-default/global-default"),
        ("jane", "GET", "/readyz", "probes/exempt"),
        ("jane", "GET", "/version", "global-default/global-default"),
        ("system:node:n system:nodes", "PUT", "/api/v1/nodes/n/status", "system-node-high/node-high"),
        (
            "system:node:n system:nodes", "PUT",
            "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n", "system-node-high/node-high"
        ),
        ("system:node:n system:nodes", "GET", "/api/v1/pods", "system-nodes/system"),
        (
            "system:kube-scheduler", "PUT", "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/s",
            "system-leader-election/leader-election"
        ),
        ("system:kube-scheduler", "GET", "/api/v1/pods", "kube-scheduler/workload-high"),
        (
            "system:serviceaccount:kube-system:coredns system:serviceaccounts", "GET", "/api/v1/pods",
            "kube-system-service-accounts/workload-high"
        ),
        (
            "system:serviceaccount:default:app system:serviceaccounts", "GET", "/api/v1/pods",
            "service-accounts/workload-low"
        ),
    ]

    @Test(arguments: requests)
    func answersNameTheirFlow(_ user: String, _ method: String, _ target: String, _ wanted: String) async throws {
        #expect(try await flow(try await cluster(), user, method, target) == wanted)
    }

    @Test func refusalsNameItTooButStrangersAreNotMatched() async throws {
        let cluster = try await cluster { $0.authorizer = DenyAll() }
        #expect(try await flow(cluster, "jane") == "global-default/global-default")
        let stranger = try await cluster.call("GET", "/api/v1/pods")
        #expect(stranger.code == 401 && stranger.headers["X-Kubernetes-PF-FlowSchema-UID"] == nil)
    }

    /// A schema counts from the answer to its creation on, and its level has to be there.
    @Test func writtenSchemasCountAtOnce() async throws {
        let cluster = try await cluster()
        #expect(try await flow(cluster, "jane") == "global-default/global-default")
        let rule: JSON = [
            "subjects": [["kind": "User", "user": ["name": "jane"]]],
            "resourceRules": [
                ["verbs": ["list"], "apiGroups": [""], "resources": ["pods"], "clusterScope": true]
            ],
        ]
        func schema(_ level: String) -> JSON {
            [
                "metadata": ["name": "jane"],
                "spec": [
                    "matchingPrecedence": 50, "priorityLevelConfiguration": ["name": .string(level)], "rules": [rule],
                ],
            ]
        }
        let path = "/apis/flowcontrol.apiserver.k8s.io/v1/"
        #expect(
            try await flow(cluster, "root system:masters", "POST", path + "flowschemas", schema("own"))
                == "exempt/exempt")
        #expect(try await flow(cluster, "jane") == "global-default/global-default", "its level is missing")
        let level: JSON = [
            "metadata": ["name": "own"], "spec": ["type": "Limited", "limited": ["limitResponse": ["type": "Reject"]]],
        ]
        _ = try await flow(cluster, "root system:masters", "POST", path + "prioritylevelconfigurations", level)
        #expect(try await flow(cluster, "jane") == "jane/own")
        #expect(
            try await flow(cluster, "jane", "GET", "/api/v1/namespaces/default/pods")
                == "global-default/global-default",
            "the rule is for the whole cluster")
        #expect(try await flow(cluster, "jane", "GET", "/api/v1/nodes") == "global-default/global-default")
        _ = try await flow(cluster, "root system:masters", "DELETE", path + "flowschemas/jane")
        #expect(try await flow(cluster, "jane") == "global-default/global-default")
    }
}
