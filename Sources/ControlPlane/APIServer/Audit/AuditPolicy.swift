internal import Codecs
package import KubeAPI

/// Which requests are written to the audit log, and how much of them: the first rule that matches decides.
/// Source: audit.k8s.io/v1 Policy; k8s.io/apiserver/pkg/audit/policy.
package struct AuditPolicy: Sendable {
    enum Level: String, Sendable {
        case none = "None"
        case metadata = "Metadata"
        case request = "Request"
        case requestResponse = "RequestResponse"

        var hasRequest: Bool { self == .request || self == .requestResponse }
    }
    enum Stage: String, Sendable {
        case requestReceived = "RequestReceived"
        case responseStarted = "ResponseStarted"
        case responseComplete = "ResponseComplete"
        case panic = "Panic"
    }
    struct Resources: Sendable {
        let group: String
        /// None: all of the group.
        let resources: [String]
        let names: [String]
    }
    struct Rule: Sendable {
        let level: Level
        let users: [String]
        let groups: [String]
        let verbs: [String]
        let namespaces: [String]
        let resources: [Resources]
        let paths: [String]
        let omitted: [Stage]
        let omitsManagedFields: Bool
    }
    /// What is decided for a request.
    struct Decision: Sendable {
        var level: Level
        var omitted: [Stage]
        var omitsManagedFields: Bool
        static let nothing = Decision(level: .none, omitted: [], omitsManagedFields: false)
    }

    private let rules: [Rule]

    /// - Parameter path: names the file in errors.
    package init(_ bytes: [UInt8], path: String) throws(APIError) {
        let json: JSON
        do throws(YAMLError) {
            json = try YAML.parse(bytes)
        } catch {
            throw .badRequest("\(path): \(error.message)")
        }
        guard json["kind"].string == "Policy", json["apiVersion"].string == "audit.k8s.io/v1" else {
            throw .badRequest("\(path): expected kind Policy of audit.k8s.io/v1")
        }
        let omitted = try Self.stages(json["omitStages"], "\(path): omitStages")
        var rules: [Rule] = []
        for (i, rule) in json["rules"].elements.enumerated() {
            rules.append(try Self.rule(rule, json, omitted, "\(path): rules[\(i)]"))
        }
        guard !rules.isEmpty else { throw .badRequest("\(path): rules: expected at least one") }
        self.rules = rules
    }

    private static let ruleFields: Set<String> = [
        "level", "users", "userGroups", "verbs", "resources", "namespaces", "nonResourceURLs", "omitStages",
        "omitManagedFields",
    ]

    private static func rule(_ rule: JSON, _ policy: JSON, _ omitted: [Stage], _ place: String) throws(APIError) -> Rule
    {
        for (key, value) in rule.object ?? JSONObject() {
            guard ruleFields.contains(key) else { throw .badRequest("\(place): unknown field \"\(key)\"") }
            if key != "level", key != "omitManagedFields", value.array == nil {
                throw .badRequest("\(place).\(key): expected a list")
            }
        }
        guard let level = Level(rawValue: rule["level"].string ?? "") else {
            throw .badRequest("\(place).level: expected None, Metadata, Request or RequestResponse")
        }
        func strings(_ key: String) -> [String] { rule[key].elements.compactMap(\.string) }
        let resources = rule["resources"].elements.map { item in
            Resources(
                group: item["group"].string ?? "", resources: item["resources"].elements.compactMap(\.string),
                names: item["resourceNames"].elements.compactMap(\.string))
        }
        for (i, item) in resources.enumerated() where item.resources.isEmpty && !item.names.isEmpty {
            throw .badRequest(
                "\(place).resources[\(i)].resourceNames: using resourceNames requires at least one resource")
        }
        let paths = strings("nonResourceURLs")
        for path in paths where path != "*" && !path.hasPrefix("/") {
            throw .badRequest("\(place).nonResourceURLs: \(JSON.string(path).text): must start with '/', or be '*'")
        }
        for path in paths where path.dropLast().contains("*") {
            throw .badRequest(
                "\(place).nonResourceURLs: \(JSON.string(path).text): wildcards are only allowed at the end")
        }
        guard paths.isEmpty || resources.isEmpty && strings("namespaces").isEmpty else {
            throw .badRequest(
                "\(place).nonResourceURLs: rules cannot apply to both regular resources and non-resource URLs")
        }
        return Rule(
            level: level, users: strings("users"), groups: strings("userGroups"), verbs: strings("verbs"),
            namespaces: strings("namespaces"), resources: resources, paths: paths,
            omitted: omitted + (try stages(rule["omitStages"], "\(place).omitStages")),
            omitsManagedFields: rule["omitManagedFields"].bool ?? policy["omitManagedFields"].bool ?? false)
    }

    private static func stages(_ json: JSON, _ place: String) throws(APIError) -> [Stage] {
        var stages: [Stage] = []
        for item in json.elements {
            guard let stage = Stage(rawValue: item.string ?? "") else {
                throw .badRequest("\(place): \(item.text) is no stage")
            }
            stages.append(stage)
        }
        return stages
    }

    // MARK: - Decision

    func decide(_ info: RequestInfo, _ user: UserInfo) -> Decision {
        for rule in rules where matches(rule, info, user) {
            return Decision(
                level: rule.level, omitted: rule.omitted, omitsManagedFields: rule.omitsManagedFields)
        }
        return .nothing
    }

    private func matches(_ rule: Rule, _ info: RequestInfo, _ user: UserInfo) -> Bool {
        if !rule.users.isEmpty, !rule.users.contains(user.name) { return false }
        if !rule.groups.isEmpty, !rule.groups.contains(where: { user.groups.contains($0) }) { return false }
        if !rule.verbs.isEmpty, !rule.verbs.contains(info.verb) { return false }
        if !rule.namespaces.isEmpty || !rule.resources.isEmpty { return matches(resource: rule, info) }
        if !rule.paths.isEmpty {
            return !info.isResource && rule.paths.contains { Self.matches(path: $0, info.path) }
        }
        return true
    }

    private func matches(resource rule: Rule, _ info: RequestInfo) -> Bool {
        guard info.isResource else { return false }
        if !rule.namespaces.isEmpty, !rule.namespaces.contains(info.namespace) { return false }
        if rule.resources.isEmpty { return true }
        let whole = info.subresource.isEmpty ? info.resource : info.resource + "/" + info.subresource
        for item in rule.resources where item.group == info.group {
            if item.resources.isEmpty { return true }
            if !item.names.isEmpty, !item.names.contains(info.name) { continue }
            for resource in item.resources {
                if resource == "*" || resource == whole { return true }
                if resource.hasPrefix("*/"), !info.subresource.isEmpty, resource.dropFirst(2) == info.subresource {
                    return true
                }
                if resource.hasSuffix("/*"), resource.dropLast(2) == info.resource { return true }
            }
        }
        return false
    }

    private static func matches(path rule: String, _ path: String) -> Bool {
        if rule == "*" || rule == path { return true }
        return rule.hasSuffix("*") && path.hasPrefix(rule.dropLast())
    }
}
