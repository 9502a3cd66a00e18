internal import Codecs
internal import KubeAPI
package import Transport

/// Who sent a request: by client certificate, by bearer token; then whom they act for.
///
/// Order and rules are kube-apiserver's: a certificate that verified decides; otherwise the token; nothing at all is
/// anonymous, which k3s refuses except for the paths that probes use.
package struct RequestAuthenticator: Authenticator {
    private let authorizer: any Authorizer
    private let authenticateToken: @Sendable (String, [String]) async -> (user: UserInfo, audiences: [String])?
    private let allowAnonymous: @Sendable (HTTPRequest) -> Bool

    package init(
        authorizer: any Authorizer,
        authenticateToken: @escaping @Sendable (String, [String]) async -> (user: UserInfo, audiences: [String])?,
        allowAnonymous: @escaping @Sendable (HTTPRequest) -> Bool
    ) {
        (self.authorizer, self.authenticateToken) = (authorizer, authenticateToken)
        self.allowAnonymous = allowAnonymous
    }

    package func authenticate(_ request: HTTPRequest) async -> AuthenticationResult {
        guard var user = await identify(request) else {
            return .refused(reason: request.peerCertificateError ?? "no valid credential")
        }
        if !user.groups.contains("system:unauthenticated"), !user.groups.contains("system:authenticated") {
            user.groups.append("system:authenticated")
        }
        return await impersonated(request, by: user)
    }

    private func identify(_ request: HTTPRequest) async -> UserInfo? {
        if let peer = request.peer { return UserInfo(peer.commonName, groups: peer.organizations) }
        if let header = request.headers["Authorization"] {
            let parts = header.split(separator: " ", maxSplits: 1)
            guard parts.count == 2, parts[0].lowercased() == "bearer" else { return nil }
            return await authenticateToken(String(parts[1]), [])?.user
        }
        // A websocket from a browser cannot set a header: the token comes as a subprotocol.
        for protocols in request.headers.values("Sec-WebSocket-Protocol") {
            for name in protocols.split(separator: ",") {
                let name = name.drop { $0 == " " }
                let prefix = "base64url.bearer.authorization.k8s.io."
                guard name.hasPrefix(prefix), let bytes = Self.decodeURL(name.dropFirst(prefix.count)) else { continue }
                return await authenticateToken(bytes, [])?.user
            }
        }
        return request.peerCertificateError == nil && allowAnonymous(request) ? .anonymous : nil
    }

    // MARK: - Impersonation

    /// `Impersonate-User`, `-Group`, `-Uid`, `-Extra-*`: each needs the right to impersonate it.
    private func impersonated(_ request: HTTPRequest, by user: UserInfo) async -> AuthenticationResult {
        let name = request.headers["Impersonate-User"] ?? ""
        let groups = request.headers.values("Impersonate-Group")
        let uid = request.headers["Impersonate-Uid"] ?? ""
        guard !name.isEmpty || !groups.isEmpty || !uid.isEmpty else { return .authenticated(user) }
        guard !name.isEmpty else {
            return .failed(
                .badRequest(
                    "requested [\(groups.isEmpty ? "UID" : "groups")] impersonation without impersonating a user"))
        }
        var asked: [(String, AuthorizationAttributes)] = []
        var target = UserInfo(name, uid: uid, groups: groups)
        let account = name.hasPrefix("system:serviceaccount:") ? name.split(separator: ":") : []
        if account.count == 4 {
            asked.append(
                (
                    "serviceaccounts",
                    AuthorizationAttributes(
                        user: user, verb: "impersonate", group: "", resource: "serviceaccounts",
                        namespace: String(account[2]), name: String(account[3]))
                ))
            if groups.isEmpty { target.groups = ["system:serviceaccounts", "system:serviceaccounts:\(account[2])"] }
        } else {
            asked.append(
                (
                    "users",
                    AuthorizationAttributes(user: user, verb: "impersonate", group: "", resource: "users", name: name)
                ))
        }
        for group in groups {
            asked.append(
                (
                    "groups",
                    AuthorizationAttributes(user: user, verb: "impersonate", group: "", resource: "groups", name: group)
                ))
        }
        if !uid.isEmpty {
            asked.append(
                (
                    "uids",
                    AuthorizationAttributes(
                        user: user, verb: "impersonate", group: "authentication.k8s.io", resource: "uids", name: uid)
                ))
        }
        for (resource, attributes) in asked {
            let decision = await authorizer.authorize(attributes)
            guard decision.isAllowed else {
                let gvr = GroupVersionResource(attributes.group, "v1", resource)
                return .failed(
                    .forbidden(
                        gvr, attributes.name,
                        "User \"\(user.name)\" cannot impersonate resource \"\(resource)\" in API group \"\(attributes.group)\""
                            + (attributes.namespace.isEmpty
                                ? " at the cluster scope" : " in the namespace \"\(attributes.namespace)\"")))
            }
        }
        if target.name != "system:anonymous", !target.groups.contains("system:authenticated") {
            target.groups.append("system:authenticated")
        }
        return .authenticated(target)
    }

    private static func decodeURL(_ text: some StringProtocol) -> String? {
        Base64.decodeURL(text).map { String(decoding: $0, as: UTF8.self) }
    }
}
