package import KubeAPI

/// What a request is about, read from its method and path.
/// Source: k8s.io/apiserver/pkg/endpoints/request/requestinfo.go.
package struct RequestInfo: Sendable, Equatable {
    package var verb: String
    package var path: String
    package var isResource = false
    package var group = ""
    package var version = ""
    /// For a namespace itself its own name, as authorization wants it.
    package var namespace = ""
    package var resource = ""
    package var subresource = ""
    package var name = ""
    /// What follows the subresource: the path that a proxy passes on, without its first slash.
    package var rest = ""

    /// What a question to the authorizer is about, so that its refusal reads like any other.
    init(_ attributes: AuthorizationAttributes) {
        (verb, path, isResource) = (attributes.verb, attributes.path, attributes.isResource)
        (group, version, namespace) = (attributes.group, attributes.version, attributes.namespace)
        (resource, subresource, name) = (attributes.resource, attributes.subresource, attributes.name)
    }

    package var gvr: GroupVersionResource { GroupVersionResource(group, version, resource) }

    /// - Parameter watches: whether the query asks for a watch.
    package init(method: String, path: String, watches: Bool) {
        self.path = path
        verb = Self.lowercased(method)
        // By bytes: a slash is no part of any other character.
        var parts = path.utf8.split(separator: UInt8(ascii: "/")).map(Substring.init)[...]
        guard let root = parts.popFirst(), root == "api" || root == "apis" else { return }
        if root == "apis" {
            guard parts.count >= 3, let group = parts.popFirst() else { return }
            self.group = String(group)
        }
        guard parts.count >= 2, let version = parts.popFirst() else {
            group = ""
            return
        }
        self.version = String(version)
        isResource = true
        switch method {
        case "POST": verb = "create"
        case "GET", "HEAD": verb = "get"
        case "PUT": verb = "update"
        case "PATCH": verb = "patch"
        case "DELETE": verb = "delete"
        default: verb = ""
        }
        if parts.first == "watch", parts.count > 1 {
            verb = "watch"
            parts.removeFirst()
        }
        if parts.first == "namespaces", parts.count > 1 {
            namespace = String(parts[parts.startIndex + 1])
            if parts.count > 2 {
                let third = parts[parts.startIndex + 2]
                if third != "status", third != "finalize" { parts.removeFirst(2) }
            }
        }
        resource = parts.popFirst().map(String.init) ?? ""
        name = parts.popFirst().map(String.init) ?? ""
        subresource = parts.popFirst().map(String.init) ?? ""
        if !parts.isEmpty || subresource == "proxy" { rest = Self.rest(of: path, behind: subresource, parts) }
        if name.isEmpty {
            if verb == "get" { verb = "list" }
            if verb == "delete" { verb = "deletecollection" }
        }
        if verb == "list", watches { verb = "watch" }
        // GET .../pods/x?watch=true watches the one.
        if verb == "get", watches, subresource.isEmpty { verb = "watch" }
    }

    /// The text of the path behind the subresource, with its trailing slash.
    private static func rest(of path: String, behind subresource: String, _ parts: ArraySlice<Substring>) -> String {
        guard let first = parts.first else { return path.hasSuffix("/") ? "/" : "" }
        return String(path[first.startIndex...])
    }

    private static func lowercased(_ method: String) -> String {
        switch method {
        case "GET": "get"
        case "POST": "post"
        case "PUT": "put"
        case "PATCH": "patch"
        case "DELETE": "delete"
        default: method.lowercased()
        }
    }

    package func attributes(of user: UserInfo) -> AuthorizationAttributes {
        guard isResource else { return AuthorizationAttributes(user: user, verb: verb, path: path) }
        return AuthorizationAttributes(
            user: user, verb: verb, group: group, version: version, resource: resource, subresource: subresource,
            namespace: namespace, name: name)
    }
}
