internal import Codecs
package import KubeAPI
import Synchronization
package import Transport

/// Who may use the node's HTTP interface. A client is known by a certificate of the cluster's client CA or by a bearer
/// token (TokenReview), and may do what the API server says about the node's subresources (SubjectAccessReview).
/// Source: pkg/kubelet/server/auth.go; the times are k3s's defaults of webhook authentication and authorization.
package final class KubeletGate: Sendable {
    private struct User: Sendable {
        var name: String
        var uid = ""
        var groups: [String]
        var key: String { name + "\u{0}" + uid + "\u{0}" + groups.joined(separator: "\u{0}") }
    }

    /// Answers by question, of which no more than `limit` are kept.
    private struct Cache<Answer: Sendable>: Sendable {
        static var limit: Int { 512 }
        private var entries: [String: (answer: Answer, until: Timestamp)] = [:]

        func find(_ key: String, _ now: Timestamp) -> Answer? {
            guard let entry = entries[key], entry.until > now else { return nil }
            return entry.answer
        }
        mutating func keep(_ key: String, _ answer: Answer, until: Timestamp, _ now: Timestamp) {
            if entries.count >= Self.limit {
                entries = entries.filter { $0.value.until > now }
                if entries.count >= Self.limit { entries.removeAll() }
            }
            entries[key] = (answer, until)
        }
    }

    private let client: any KubeClient
    private let node: String
    private let clock: any KubeClock
    /// nil: the token is nobody's.
    private let tokens = Mutex(Cache<User?>())
    private let verdicts = Mutex(Cache<Bool>())

    package init(client: any KubeClient, node: String, clock: any KubeClock = SystemClock()) {
        (self.client, self.node, self.clock) = (client, node, clock)
    }

    /// The handler for a port that anyone can reach.
    package func guarding(_ handler: @escaping HTTPHandler) -> HTTPHandler {
        { request in
            if request.path == "/healthz" { return await handler(request) }
            let user: User?
            do throws(APIError) {
                user = try await self.user(of: request)
            } catch {
                return .text("Unauthorized", status: 401)
            }
            guard let user else { return .text("Unauthorized", status: 401) }
            do throws(APIError) {
                let subresources = Self.subresources(request.path)
                for subresource in subresources {
                    if try await self.mayUse(subresource, Self.verb(request.method), user) {
                        return await handler(request)
                    }
                }
                return .text(
                    "Forbidden (user=\(user.name), verb=\(Self.verb(request.method)), resource=nodes, "
                        + "subresource(s)=[\(subresources.joined(separator: " "))])", status: 403)
            } catch {
                return .text(
                    "Authorization error (user=\(user.name), verb=\(Self.verb(request.method)), resource=nodes): "
                        + error.message, status: 500)
            }
        }
    }

    // MARK: - Who

    private func user(of request: HTTPRequest) async throws(APIError) -> User? {
        if let peer = request.peer { return User(name: peer.commonName, groups: peer.organizations) }
        guard let header = request.headers["Authorization"], header.prefix(7).lowercased() == "bearer " else {
            return nil
        }
        let token = String(header.dropFirst(7))
        guard !token.isEmpty else { return nil }
        let key = SHA256.hexDigest(Array(token.utf8))
        let now = clock.now()
        if let known = tokens.withLock({ $0.find(key, now) }) { return known }
        let review = KubeObject([
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": ["token": .string(token)],
        ])
        let status = try await client.create(
            GroupVersionResource("authentication.k8s.io", "v1", "tokenreviews"), review
        ).status
        var user: User?
        if status["authenticated"].bool == true, let name = status["user"]["username"].string {
            user = User(
                name: name, uid: status["user"]["uid"].string ?? "",
                groups: status["user"]["groups"].elements.compactMap(\.string))
        }
        tokens.withLock { $0.keep(key, user, until: now.advanced(by: .seconds(120)), now) }
        return user
    }

    // MARK: - What

    private static func verb(_ method: String) -> String {
        switch method {
        case "POST": "create"
        case "PUT": "update"
        case "PATCH": "patch"
        case "DELETE": "delete"
        default: "get"
        }
    }

    /// Any of them is enough.
    private static func subresources(_ path: String) -> [String] {
        switch path.split(separator: "/").first {
        case "stats": ["stats"]
        case "metrics": ["metrics"]
        case "logs": ["log"]
        case "checkpoint": ["checkpoint"]
        case "pods", "runningpods": ["pods", "proxy"]
        case "configz": ["configz", "proxy"]
        case "livez", "readyz": ["healthz", "proxy"]
        default: ["proxy"]
        }
    }

    private func mayUse(_ subresource: String, _ verb: String, _ user: User) async throws(APIError) -> Bool {
        // The API server itself: must work also while it cannot be asked.
        if user.groups.contains("system:masters") { return true }
        let key = "\(subresource)\u{0}\(verb)\u{0}\(user.key)"
        let now = clock.now()
        if let known = verdicts.withLock({ $0.find(key, now) }) { return known }
        var spec: JSON = [
            "user": .string(user.name), "groups": .strings(user.groups),
            "resourceAttributes": [
                "group": "", "version": "v1", "resource": "nodes", "name": .string(node), "verb": .string(verb),
                "subresource": .string(subresource),
            ],
        ]
        if !user.uid.isEmpty { spec["uid"] = .string(user.uid) }
        let review = KubeObject([
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec,
        ])
        let status = try await client.create(
            GroupVersionResource("authorization.k8s.io", "v1", "subjectaccessreviews"), review
        ).status
        let allowed = status["allowed"].bool == true
        let until = now.advanced(by: .seconds(allowed ? 300 : 30))
        verdicts.withLock { $0.keep(key, allowed, until: until, now) }
        return allowed
    }
}
