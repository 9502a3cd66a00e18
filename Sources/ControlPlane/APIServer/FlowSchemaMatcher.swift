internal import Codecs
package import KubeAPI
internal import Store
import Synchronization

/// Which flow schema a request belongs to: the first, by precedence and name, of whose rules one is for the user and for
/// what he wants. Clients are told by two headers of every answer.
///
/// The schemas are compiled when they were written since; what may concern a user is kept per user, so that a request
/// costs a look-up and the few rules that are left.
/// Source: k8s.io/apiserver/pkg/util/flowcontrol (rule.go, apf_controller.go), KEP-1040.
final class FlowSchemaMatcher: WriteHook {
    static let prefixes = [
        "/registry/flowschemas.flowcontrol.apiserver.k8s.io/",
        "/registry/prioritylevelconfigurations.flowcontrol.apiserver.k8s.io/",
    ]
    static let schemaHeader = "X-Kubernetes-Pf-Flowschema-Uid"
    static let levelHeader = "X-Kubernetes-Pf-Prioritylevel-Uid"

    /// The UIDs of what a request was matched with.
    struct Match: Sendable, Equatable {
        var schema: String
        var level: String
    }

    private struct Rule: Sendable {
        var verbs: [String]
        var groups: [String] = []
        var resources: [String] = []
        var clusterScope = false
        var namespaces: [String] = []
        var paths: [String] = []

        func covers(_ info: RequestInfo) -> Bool {
            func has(_ list: [String], _ item: String) -> Bool { list.contains(item) || list.contains("*") }
            guard has(verbs, info.verb), info.isResource == paths.isEmpty else { return false }
            guard info.isResource else {
                return paths.contains { path in
                    path == "*" || path == info.path
                        || path.hasSuffix("/*") && info.path.hasPrefix(path.dropLast())
                }
            }
            guard has(groups, info.group) else { return false }
            let resource = info.subresource.isEmpty ? info.resource : info.resource + "/" + info.subresource
            guard has(resources, resource) else { return false }
            // Of a namespace itself upstream sees a request within it.
            return info.namespace.isEmpty ? clusterScope : has(namespaces, info.namespace)
        }
    }

    /// Rules of one schema that share their subjects.
    private struct Clause: Sendable {
        var match: Match
        var subjects: [JSON]
        var rules: [Rule]

        func concerns(_ user: UserInfo) -> Bool {
            subjects.contains { subject in
                switch subject["kind"].string ?? "" {
                case "User":
                    let name = subject["user"]["name"].string ?? ""
                    return name == "*" || name == user.name
                case "Group":
                    let name = subject["group"]["name"].string ?? ""
                    return name == "*" || user.groups.contains(name)
                case "ServiceAccount":
                    let account = subject["serviceAccount"]
                    let start = "system:serviceaccount:\(account["namespace"].string ?? ""):"
                    guard user.name.hasPrefix(start) else { return false }
                    let name = account["name"].string ?? ""
                    return name == "*" || user.name.dropFirst(start.count) == name
                default: return false
                }
            }
        }
    }

    private struct Known: Sendable {
        var groups: [String]
        var clauses: [Clause]
    }

    private struct State {
        var isStale = true
        var clauses: [Clause] = []
        /// Clauses that may concern a user, in order.
        var users: [String: Known] = [:]
    }
    private let state = Mutex(State())
    /// More users at once than a cluster has components and people at work.
    private static let userLimit = 512

    // MARK: - Writes

    func reserve(
        _ object: inout KubeObject, old: KubeObject?, scope: RequestScope
    ) throws(APIError) -> Reservation {
        if let old, old.spec == object.spec { return .none }
        return Reservation(commit: { [self] in forget() }, rollback: {})
    }

    func release(_ object: KubeObject) { forget() }

    private func forget() { state.withLock { $0.isStale = true } }

    // MARK: - Requests

    /// nil: no schema is for it (there are none yet).
    func match(_ info: RequestInfo, _ user: UserInfo, _ registry: Registry) -> Match? {
        let clauses = state.withLock { state -> [Clause] in
            if state.isStale {
                // Before reading: what is written meanwhile makes it stale again.
                (state.isStale, state.users) = (false, [:])
                state.clauses = Self.compile(registry)
            }
            if let known = state.users[user.name], known.groups == user.groups { return known.clauses }
            let known = Known(groups: user.groups, clauses: state.clauses.filter { $0.concerns(user) })
            if state.users.count >= Self.userLimit { state.users.removeAll() }
            state.users[user.name] = known
            return known.clauses
        }
        return clauses.first { clause in clause.rules.contains { $0.covers(info) } }?.match
    }

    private static func compile(_ registry: Registry) -> [Clause] {
        func objects(_ prefix: String) -> [KubeObject] {
            let entries = (try? registry.store.range(prefix: prefix).entries) ?? []
            return entries.compactMap { try? KubeObject(decoding: $0) }
        }
        var levels: [String: String] = [:]
        for level in objects(prefixes[1]) { levels[level.name] = level.uid }
        func precedence(_ schema: KubeObject) -> Int64 { schema.spec["matchingPrecedence"].int ?? 1000 }
        let schemas = objects(prefixes[0]).sorted { (precedence($0), $0.name) < (precedence($1), $1.name) }
        return schemas.flatMap { schema -> [Clause] in
            // A schema without its level takes no part.
            guard let level = levels[schema.spec["priorityLevelConfiguration"]["name"].string ?? ""] else { return [] }
            let match = Match(schema: schema.uid, level: level)
            return schema.spec["rules"].elements.map {
                Clause(match: match, subjects: $0["subjects"].elements, rules: rules($0))
            }
        }
    }

    private static func rules(_ json: JSON) -> [Rule] {
        func list(_ json: JSON, _ key: String) -> [String] { json[key].elements.compactMap(\.string) }
        return json["resourceRules"].elements.map {
            Rule(
                verbs: list($0, "verbs"), groups: list($0, "apiGroups"), resources: list($0, "resources"),
                clusterScope: $0["clusterScope"].bool ?? false, namespaces: list($0, "namespaces"))
        } + json["nonResourceRules"].elements.map { Rule(verbs: list($0, "verbs"), paths: list($0, "nonResourceURLs")) }
    }
}
