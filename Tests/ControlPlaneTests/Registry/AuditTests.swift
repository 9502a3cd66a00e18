import Codecs
import KubeAPI
import Linux
import Store
import Testing
import Transport

@testable import ControlPlane

@Suite struct AuditTests {
    static let maps = "/api/v1/namespaces/default/configmaps"

    private func policy(_ rules: String, _ more: String = "") throws -> AuditPolicy {
        try AuditPolicy(
            Array("apiVersion: audit.k8s.io/v1\nkind: Policy\n\(more)rules: \(rules)\n".utf8), path: "policy")
    }
    private func level(_ policy: AuditPolicy, _ method: String, _ path: String, _ user: UserInfo = UserInfo("jane"))
        -> AuditPolicy.Level
    {
        policy.decide(RequestInfo(method: method, path: path, watches: false), user).level
    }

    @Test func theFirstRuleThatMatchesDecides() throws {
        let policy = try policy(
            """
            [{level: None, users: ["system:kube-proxy"], verbs: [watch, get]},
             {level: None, nonResourceURLs: ["/healthz*", "/version"]},
             {level: RequestResponse, resources: [{group: "", resources: ["pods", "pods/log"], resourceNames: ["a"]}]},
             {level: Metadata, resources: [{group: "", resources: ["secrets", "*/status"]}]},
             {level: Request, resources: [{group: "apps"}], namespaces: ["kube-system"]},
             {level: None, userGroups: ["quiet"]},
             {level: Metadata}]
            """)
        let pods = "/api/v1/namespaces/x/pods"
        #expect(level(policy, "GET", pods, UserInfo("system:kube-proxy")) == .metadata)
        #expect(level(policy, "GET", pods + "/b", UserInfo("system:kube-proxy")) == .none)
        #expect(level(policy, "GET", "/healthz/etcd") == .none)
        #expect(level(policy, "GET", "/version") == .none)
        #expect(level(policy, "GET", pods + "/a") == .requestResponse)
        #expect(level(policy, "GET", pods + "/a/log") == .requestResponse)
        #expect(level(policy, "PUT", pods + "/b/status", UserInfo("q", groups: ["quiet"])) == .metadata)
        #expect(level(policy, "GET", pods + "/b/exec", UserInfo("q", groups: ["quiet"])) == .none)
        #expect(level(policy, "GET", "/apis/apps/v1/namespaces/kube-system/deployments") == .request)
        #expect(level(policy, "GET", "/apis/apps/v1/namespaces/x/deployments") == .metadata)
    }

    private static func rule(_ rule: String, _ message: String) -> (String, String) {
        ("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [\(rule)]", "policy: " + message)
    }

    @Test(arguments: [
        ("kind: Policy", "policy: expected kind Policy of audit.k8s.io/v1"),
        ("apiVersion: audit.k8s.io/v1\nkind: Policy", "policy: rules: expected at least one"),
        (
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: All}]",
            "policy: rules[0].level: expected None, Metadata, Request or RequestResponse"
        ),
        (
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [Begin]\nrules: [{level: None}]",
            "policy: omitStages: \"Begin\" is no stage"
        ),
        rule("{level: None, verb: [get]}", "rules[0]: unknown field \"verb\""),
        rule("{level: None, users: jane}", "rules[0].users: expected a list"),
        rule(
            "{level: None, resources: [{group: apps, resourceNames: [a]}]}",
            "rules[0].resources[0].resourceNames: using resourceNames requires at least one resource"),
        rule(
            "{level: None, nonResourceURLs: [healthz]}",
            "rules[0].nonResourceURLs: \"healthz\": must start with '/', or be '*'"),
        rule(
            "{level: None, nonResourceURLs: [/a*b]}",
            "rules[0].nonResourceURLs: \"/a*b\": wildcards are only allowed at the end"),
        rule(
            "{level: None, nonResourceURLs: [/a], namespaces: [b]}",
            "rules[0].nonResourceURLs: rules cannot apply to both regular resources and non-resource URLs"),
    ])
    func whatIsWrongIsNamed(text: String, message: String) {
        let error = #expect(throws: APIError.self) { try AuditPolicy(Array(text.utf8), path: "policy") }
        #expect(error?.message == message)
    }

    /// The events that a cluster with this policy writes while `body` runs.
    private func events(
        _ rules: String, _ more: String = "", _ body: (Cluster) async throws -> Void
    ) async throws -> [JSON] {
        let path = "/tmp/k3s-audit-\(UInt64.random(in: 0...UInt64.max))"
        defer { try? Directories.removeTree(path) }
        let log = AuditLog(try policy(rules, more), .init(path: path + "/audit.log"))
        let cluster = try await Cluster { $0.audit = log }
        try await body(cluster)
        await log.flush()
        #expect(try Files.status(path + "/audit.log").st_mode & 0o777 == 0o600)
        return try Files.readString(path + "/audit.log").split(separator: "\n").map { try JSON.parse(String($0)) }
    }

    @Test func eventsSayWhoDidWhat() async throws {
        let events = try await events("[{level: RequestResponse, omitManagedFields: true}]") { cluster in
            _ = try await cluster.call(
                "POST", Self.maps + "?fieldManager=x", ["metadata": ["name": "a"], "data": ["k": "v"]],
                headers: ["User-Agent": "kubectl/v1.36"])
            _ = try await cluster.call("GET", Self.maps + "/none")
        }
        #expect(
            events.map { $0["stage"].string } == [
                "RequestReceived", "ResponseComplete", "RequestReceived", "ResponseComplete",
            ])
        let made = events[1]
        #expect(made["kind"] == "Event" && made["apiVersion"] == "audit.k8s.io/v1")
        #expect(made["verb"] == "create" && made["level"] == "RequestResponse")
        #expect(made["requestURI"].string == Self.maps + "?fieldManager=x")
        #expect(made["user"]["username"] == "system:apiserver" && made["userAgent"] == "kubectl/v1.36")
        #expect(made["sourceIPs"] == ["127.0.0.1"])
        #expect(made["objectRef"] == ["resource": "configmaps", "namespace": "default", "apiVersion": "v1"])
        #expect(made["responseStatus"] == ["metadata": [:], "code": 201])
        #expect(made["requestObject"]["data"] == ["k": "v"] && made["responseObject"]["data"] == ["k": "v"])
        #expect(made["responseObject"]["metadata"]["managedFields"].isNull)
        #expect(made["auditID"] == events[0]["auditID"] && !made["stageTimestamp"].isNull)
        #expect(made["annotations"]["authorization.k8s.io/decision"] == "allow")
        #expect(events[3]["responseStatus"]["reason"] == "NotFound" && events[3]["responseStatus"]["code"] == 404)
    }

    @Test func whatAdmissionFoundIsWritten() async throws {
        let events = try await events("[{level: Metadata}]", "omitStages: [RequestReceived]\n") { cluster in
            _ = try await cluster.call(
                "PATCH", "/api/v1/namespaces/default",
                ["metadata": ["labels": ["pod-security.kubernetes.io/audit": "baseline"]]],
                type: "application/merge-patch+json")
            var pod = cluster.pod("p")
            pod.json["spec"]["hostPID"] = true
            #expect(try await cluster.call("POST", "/api/v1/namespaces/default/pods", pod.json).code == 201)
        }
        let notes = events[events.count - 1]["annotations"]
        #expect(notes["pod-security.kubernetes.io/enforce-policy"] == "privileged:latest", "\(notes.text)")
        #expect(
            notes["pod-security.kubernetes.io/audit-violations"].string?.hasPrefix(
                "would violate PodSecurity \"baseline:latest\": host namespaces") == true, "\(notes.text)")
        #expect(notes["authorization.k8s.io/decision"] == "allow")
    }

    /// Headers of impersonation, and a user who may nothing.
    @Test func whoActsForWhomIsWritten() async throws {
        struct Acting: Authenticator {
            func authenticate(_ request: HTTPRequest) async -> AuthenticationResult {
                .impersonated(
                    UserInfo("jane", groups: ["dev"], extra: ["scope": ["x"]]), by: UserInfo("boss", uid: "7"))
            }
        }
        let path = "/tmp/k3s-audit-\(UInt64.random(in: 0...UInt64.max))"
        defer { try? Directories.removeTree(path) }
        let log = AuditLog(try policy("[{level: Metadata, users: [boss]}]"), .init(path: path + "/a.log"))
        let cluster = try await Cluster {
            $0.audit = log
            $0.authenticator = Acting()
            $0.authorizer = RBACAuthorizer()
        }
        #expect(try await cluster.call("GET", Self.maps).code == 403)
        await log.flush()
        let lines = try Files.readString(path + "/a.log").split(separator: "\n").map { try JSON.parse(String($0)) }
        #expect(lines.last?["user"] == ["username": "boss", "uid": "7"])
        #expect(
            lines.last?["impersonatedUser"] == ["username": "jane", "groups": ["dev"], "extra": ["scope": ["x"]]])
        #expect(lines.last?["annotations"]["authorization.k8s.io/decision"] == "forbid")
        #expect(lines.last?["responseStatus"]["code"] == 403)
    }

    @Test func levelsAndStagesBoundWhatIsWritten() async throws {
        let events = try await events("[{level: Metadata}]", "omitStages: [RequestReceived]\n") { cluster in
            _ = try await cluster.call("POST", Self.maps, ["metadata": ["name": "a"]])
            let watch = try await cluster.call(
                "GET", Self.maps + "?watch=true&timeoutSeconds=1&resourceVersion=1000000")
            #expect(watch.code == 504)
        }
        #expect(events.map { $0["stage"].string } == ["ResponseComplete", "ResponseComplete"])
        #expect(events[0]["requestObject"].isNull && events[0]["responseObject"].isNull)
    }

    @Test func whoIsNotKnownOrNotAllowedIsWrittenToo() async throws {
        struct Nobody: Authenticator {
            func authenticate(_ request: HTTPRequest) async -> AuthenticationResult { .refused(reason: "") }
        }
        let path = "/tmp/k3s-audit-\(UInt64.random(in: 0...UInt64.max))"
        defer { try? Directories.removeTree(path) }
        let log = AuditLog(try policy("[{level: Metadata}]"), .init(path: path + "/a.log"))
        let cluster = try await Cluster {
            $0.audit = log
            $0.authenticator = Nobody()
        }
        #expect(try await cluster.call("GET", Self.maps).code == 401)
        await log.flush()
        let lines = try Files.readString(path + "/a.log").split(separator: "\n").map { try JSON.parse(String($0)) }
        #expect(lines.last?["responseStatus"]["code"] == 401)
    }

    @Test func filesAreTurnedOver() async throws {
        let path = "/tmp/k3s-audit-\(UInt64.random(in: 0...UInt64.max))"
        defer { try? Directories.removeTree(path) }
        var options = AuditLog.Options(path: path + "/audit.log")
        (options.maximumBytes, options.backups) = (100, 2)
        let clock = VirtualClock()
        let log = AuditLog(try policy("[{level: Metadata}]"), options, clock: clock)
        for i in 0..<5 {
            clock.advance(by: .seconds(1))
            log.write(["number": .int(Int64(i)), "fill": .string(String(repeating: "x", count: 60))])
            await log.flush()
        }
        let names = try Directories.list(path).map(\.name).sorted()
        #expect(names.count == 3 && names.last == "audit.log")
        #expect(try Files.readString(path + "/audit.log").contains(#""number":4"#))
        #expect(log.counts == (5, 0))
    }
}
