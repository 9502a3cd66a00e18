package import Codecs

/// One rule of a role, compiled. Source: rbac.authorization.k8s.io/v1 PolicyRule.
package struct PolicyRule: Sendable, Hashable {
    package var verbs: [String] = []
    package var groups: [String] = []
    package var resources: [String] = []
    package var names: [String] = []
    package var paths: [String] = []

    package init(
        verbs: [String], groups: [String] = [], resources: [String] = [], names: [String] = [], paths: [String] = []
    ) {
        (self.verbs, self.groups, self.resources, self.names, self.paths) = (verbs, groups, resources, names, paths)
    }

    package init(_ json: JSON) {
        func list(_ key: String) -> [String] { json[key].elements.compactMap(\.string) }
        self.init(
            verbs: list("verbs"), groups: list("apiGroups"), resources: list("resources"), names: list("resourceNames"),
            paths: list("nonResourceURLs"))
    }

    package var json: JSON {
        var json: JSON = [:]
        if !groups.isEmpty { json["apiGroups"] = .strings(groups) }
        if !paths.isEmpty { json["nonResourceURLs"] = .strings(paths) }
        if !names.isEmpty { json["resourceNames"] = .strings(names) }
        if !resources.isEmpty { json["resources"] = .strings(resources) }
        json["verbs"] = .strings(verbs)
        return json
    }

    func allows(_ attributes: AuthorizationAttributes) -> Bool {
        guard verbs.contains("*") || verbs.contains(attributes.verb) else { return false }
        guard attributes.isResource else { return paths.contains { Self.matches($0, path: attributes.path) } }
        guard groups.contains("*") || groups.contains(attributes.group) else { return false }
        guard names.isEmpty || names.contains(attributes.name) else { return false }
        let whole =
            attributes.subresource.isEmpty ? attributes.resource : attributes.resource + "/" + attributes.subresource
        return resources.contains { resource in
            resource == "*" || resource == whole
                || !attributes.subresource.isEmpty && resource == "*/" + attributes.subresource
        }
    }

    /// "*", "/healthz", "/healthz/*"
    private static func matches(_ pattern: String, path: String) -> Bool {
        pattern == "*" || pattern == path || pattern.hasSuffix("*") && path.hasPrefix(pattern.dropLast())
    }
}

/// To whom a binding gives its role.
struct PolicySubject: Sendable, Hashable {
    enum Kind: Sendable { case user, group, serviceAccount }
    var kind: Kind
    var name: String
    /// Of a service account.
    var namespace: String

    init?(_ json: JSON, bindingNamespace: String) {
        name = json["name"].string ?? ""
        let given = json["namespace"].string ?? ""
        namespace = given.isEmpty ? bindingNamespace : given
        switch json["kind"].string ?? "" {
        case "User": kind = .user
        case "Group": kind = .group
        case "ServiceAccount": kind = .serviceAccount
        default: return nil
        }
    }

    /// As a decision's reason names it.
    var text: String {
        switch kind {
        case .user: "User \"\(name)\""
        case .group: "Group \"\(name)\""
        case .serviceAccount: "ServiceAccount \"\(name)/\(namespace)\""
        }
    }

    func matches(_ user: UserInfo) -> Bool {
        switch kind {
        case .user: user.name == name
        case .group: user.groups.contains(name)
        case .serviceAccount: user.name == "system:serviceaccount:\(namespace):\(name)"
        }
    }
}
