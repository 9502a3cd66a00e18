import Codecs
import ControlPlane
import KubeAPI
import Synchronization
import Testing

@Suite struct AccessReviewTests {
    static let authorization = "/apis/authorization.k8s.io/v1/"

    private func cluster() async throws -> Cluster {
        let rbac = RBACAuthorizer()
        let rule: JSON = ["verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]]
        RBACAuthorizerTests.observe(
            rbac,
            [
                RBACAuthorizerTests.role("r", [rule], namespace: "default"),
                RBACAuthorizerTests.binding(
                    "b", to: "r", kind: "Role", RBACAuthorizerTests.toJane, namespace: "default"),
                RBACAuthorizerTests.role("paths", [["verbs": ["get"], "nonResourceURLs": ["/metrics"]]]),
                RBACAuthorizerTests.binding("paths", to: "paths", RBACAuthorizerTests.toJane),
            ])
        return try await Cluster {
            $0.authenticator = FixedUser(RBACAuthorizerTests.jane)
            $0.reviews = AccessReviews(
                authorizer: rbac, rules: { rbac.rules(of: $0, namespace: $1) },
                authenticateToken: { token, audiences in
                    token == "good" ? (UserInfo("robot", uid: "7", groups: ["g"], extra: ["k": ["v"]]), ["api"]) : nil
                })
        }
    }

    private func review(_ cluster: Cluster, _ resource: String, _ spec: JSON) async throws -> Cluster.Answer {
        try await cluster.call("POST", Self.authorization + resource, ["spec": spec])
    }

    @Test func selfReviewsAreAboutTheCaller() async throws {
        let cluster = try await cluster()
        let table: [(JSON, Bool)] = [
            (["resourceAttributes": ["verb": "get", "resource": "pods", "namespace": "default"]], true),
            (["resourceAttributes": ["verb": "get", "resource": "pods", "namespace": "other"]], false),
            (["resourceAttributes": ["verb": "get", "resource": "pods"]], false),
            (
                [
                    "resourceAttributes": [
                        "verb": "get", "resource": "pods", "subresource": "log", "namespace": "default",
                    ]
                ], false
            ),
            (["nonResourceAttributes": ["verb": "get", "path": "/metrics"]], true),
            (["nonResourceAttributes": ["verb": "get", "path": "/other"]], false),
        ]
        for (spec, allowed) in table {
            let answer = try await review(cluster, "selfsubjectaccessreviews", spec)
            #expect(answer.code == 201 && answer.json["kind"] == "SelfSubjectAccessReview", "\(answer.text)")
            #expect(answer.json["status"]["allowed"] == .bool(allowed), "\(spec.text)")
            #expect(answer.json["spec"] == spec)
        }
        let allowed = try await review(cluster, "selfsubjectaccessreviews", table[0].0)
        #expect(
            allowed.json["status"]["reason"]
                == "RBAC: allowed by RoleBinding \"b/default\" of Role \"r\" to User \"jane\"")
    }

    @Test func subjectReviewsAreAboutSomebodyElse() async throws {
        let cluster = try await cluster()
        let attributes: JSON = ["verb": "list", "resource": "pods", "namespace": "default"]
        let jane = try await review(
            cluster, "subjectaccessreviews", ["user": "jane", "resourceAttributes": attributes])
        #expect(jane.json["status"]["allowed"] == true)
        let joe = try await review(
            cluster, "subjectaccessreviews",
            ["user": "joe", "groups": ["dev"], "resourceAttributes": attributes])
        #expect(joe.json["status"]["allowed"] == false)
        let master = try await review(
            cluster, "subjectaccessreviews", ["groups": ["system:masters"], "resourceAttributes": attributes])
        #expect(master.json["status"]["allowed"] == true)
    }

    static let refusals: [(String, JSON, String)] = [
        (
            "selfsubjectaccessreviews", [:],
            "SelfSubjectAccessReview.authorization.k8s.io \"\" is invalid: spec.resourceAttributes: Invalid value: null: "
                + "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        ),
        (
            "selfsubjectaccessreviews",
            ["resourceAttributes": ["verb": "get"], "nonResourceAttributes": ["verb": "get", "path": "/"]],
            "spec.nonResourceAttributes: Invalid value: {\"path\":\"/\",\"verb\":\"get\"}: cannot be specified in "
                + "combination with resourceAttributes"
        ),
        (
            "subjectaccessreviews", ["user": "", "resourceAttributes": ["verb": "get"]],
            "spec.user: Invalid value: \"\": at least one of user or group must be specified"
        ),
        (
            "../../apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews",
            ["user": "jane", "resourceAttributes": ["verb": "get", "resource": "pods", "namespace": "other"]],
            "spec.resourceAttributes.namespace: Invalid value: \"other\": must match metadata.namespace"
        ),
        (
            "../../apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews",
            ["user": "jane", "nonResourceAttributes": ["verb": "get", "path": "/"]],
            "disallowed on this kind of request"
        ),
    ]

    @Test(arguments: refusals)
    func badReviewsAreRefused(_ resource: String, _ spec: JSON, _ message: String) async throws {
        let target =
            resource.hasPrefix("../..")
            ? String(resource.dropFirst("../..".count)) : Self.authorization + resource
        let answer = try await cluster().call("POST", target, ["spec": spec])
        #expect(answer.code == 422 && answer.message.contains(message), "\(answer.text)")
    }

    @Test func localReviewsStayInTheirNamespace() async throws {
        let cluster = try await cluster()
        let answer = try await cluster.call(
            "POST", "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews",
            [
                "spec": [
                    "user": "jane", "resourceAttributes": ["verb": "get", "resource": "pods", "namespace": "default"],
                ]
            ])
        #expect(answer.code == 201 && answer.json["status"]["allowed"] == true, "\(answer.text)")
    }

    @Test func rulesReviewsListWhatTheCallerMay() async throws {
        let cluster = try await cluster()
        let answer = try await review(cluster, "selfsubjectrulesreviews", ["namespace": "default"])
        #expect(
            answer.json["status"] == [
                "resourceRules": [["apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]]],
                "nonResourceRules": [["verbs": ["get"], "nonResourceURLs": ["/metrics"]]], "incomplete": false,
            ])
        let other = try await review(cluster, "selfsubjectrulesreviews", ["namespace": "other"])
        #expect(other.json["status"]["resourceRules"].elements.isEmpty)
        let none = try await review(cluster, "selfsubjectrulesreviews", [:])
        #expect(none.code == 400 && none.message == "no namespace on request")
    }

    @Test func tokenReviewsTellWhoseTokenItIs() async throws {
        let cluster = try await cluster()
        let target = "/apis/authentication.k8s.io/v1/tokenreviews"
        let good = try await cluster.call("POST", target, ["spec": ["token": "good", "audiences": ["api", "x"]]])
        #expect(
            good.json["status"] == [
                "authenticated": true, "audiences": ["api"],
                "user": ["username": "robot", "uid": "7", "groups": ["g"], "extra": ["k": ["v"]]],
            ], "\(good.text)")
        let bad = try await cluster.call("POST", target, ["spec": ["token": "bad"]])
        #expect(bad.code == 201 && bad.json["status"]["authenticated"].bool != true)
        #expect(bad.json["status"]["error"] == "[invalid bearer token, token lookup failed]")
        let none = try await cluster.call("POST", target, ["spec": [:]])
        #expect(none.code == 400)
    }

    @Test func selfReviewsSayWhoTheCallerIs() async throws {
        let answer = try await cluster().call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", [:])
        #expect(
            answer.json["status"]["userInfo"] == ["username": "jane", "groups": ["dev", "system:authenticated"]],
            "\(answer.text)")
    }

    /// Remembers what it was asked.
    private final class Listener: Authorizer {
        let heard = Mutex<[AuthorizationAttributes]>([])
        func authorize(_ attributes: AuthorizationAttributes) async -> AuthorizationDecision {
            heard.withLock { $0.append(attributes) }
            return .deny(reason: "")
        }
    }

    @Test func selectorsReachTheAuthorizer() async throws {
        let listener = Listener()
        let cluster = try await Cluster {
            $0.reviews = AccessReviews(
                authorizer: listener, rules: { _, _ in [] }, authenticateToken: { _, _ in nil })
        }
        func ask(_ field: JSON, _ label: JSON) async throws -> AuthorizationAttributes? {
            var attributes: JSON = ["verb": "list", "resource": "pods"]
            if !field.isNull { attributes["fieldSelector"] = field }
            if !label.isNull { attributes["labelSelector"] = label }
            let answer = try await review(
                cluster, "subjectaccessreviews", ["user": "jane", "resourceAttributes": attributes])
            #expect(answer.code == 201, "\(answer.text)")
            return listener.heard.withLock { $0.last }
        }
        let raw = try await ask(["rawSelector": "spec.nodeName=n"], ["rawSelector": "a=b"])
        #expect(raw?.fieldSelector?.text == "spec.nodeName=n" && raw?.labelSelector?.text == "a=b")
        let terms = try await ask(
            [
                "requirements": [
                    ["key": "spec.nodeName", "operator": "In", "values": ["n"]],
                    ["key": "status.phase", "operator": "NotIn", "values": ["Failed"]],
                    ["key": "other", "operator": "Exists"], ["key": "new", "operator": "Near", "values": ["x"]],
                ]
            ], ["requirements": [["key": "a", "operator": "Exists"], ["key": "b", "operator": "Near"]]])
        #expect(terms?.fieldSelector?.text == "spec.nodeName=n,status.phase!=Failed")
        #expect(terms?.labelSelector?.text == "a")
        let none = try await ask(.null, .null)
        #expect(none?.fieldSelector == nil && none?.labelSelector == nil)
    }
}
