internal import Codecs
internal import KubeAPI
package import Transport

/// Who sent a request: by a front proxy's word, by client certificate, by bearer token; then whom they act for.
///
/// Order and rules are kube-apiserver's: a certificate that verified decides; otherwise the token; nothing at all is
/// anonymous, which k3s refuses (`--kube-apiserver-arg=anonymous-auth=true` allows it).
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
        if let proxy = request.frontProxy, let user = Self.frontProxied(request, proxy) { return user }
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
        let hasBadCertificate = request.peerCertificateError != nil || request.frontProxy != nil
        return !hasBadCertificate && allowAnonymous(request) ? .anonymous : nil
    }

    // MARK: - Front proxy

    /// The name that a front proxy must have; k3s' `--requestheader-allowed-names`.
    package static let frontProxyName = "system:auth-proxy"

    /// `X-Remote-User`, `-Group`, `-Extra-*`, which only count with the certificate of a proxy.
    private static func frontProxied(_ request: HTTPRequest, _ proxy: PeerIdentity) -> UserInfo? {
        guard proxy.commonName == frontProxyName, let name = request.headers["X-Remote-User"], !name.isEmpty else {
            return nil
        }
        var user = UserInfo(
            name, uid: request.headers["X-Remote-Uid"] ?? "", groups: request.headers.values("X-Remote-Group"))
        for (key, value) in extra(request.headers, "x-remote-extra-") { user.extra[key, default: []].append(value) }
        return user
    }

    // MARK: - Impersonation

    /// `Impersonate-User`, `-Group`, `-Uid`, `-Extra-*`: each needs the right to impersonate it.
    private func impersonated(_ request: HTTPRequest, by user: UserInfo) async -> AuthenticationResult {
        let name = request.headers["Impersonate-User"] ?? ""
        let groups = request.headers.values("Impersonate-Group")
        let uid = request.headers["Impersonate-Uid"] ?? ""
        let extra = Self.extra(request.headers, "impersonate-extra-")
        guard !name.isEmpty || !groups.isEmpty || !uid.isEmpty || !extra.isEmpty else { return .authenticated(user) }
        guard !name.isEmpty else {
            let what = !groups.isEmpty ? "groups" : !extra.isEmpty ? "extra" : "UID"
            return .failed(.badRequest("requested [\(what)] impersonation without impersonating a user"))
        }
        let authentication = "authentication.k8s.io"
        var asked: [AuthorizationAttributes] = []
        func ask(_ resource: String, _ name: String, group: String = "", namespace: String = "", sub: String = "") {
            asked.append(
                AuthorizationAttributes(
                    user: user, verb: "impersonate", group: group, version: "v1", resource: resource, subresource: sub,
                    namespace: namespace, name: name))
        }
        var target = UserInfo(name, uid: uid, groups: groups, extra: [:])
        let account = name.hasPrefix("system:serviceaccount:") ? name.split(separator: ":") : []
        if account.count == 4 {
            ask("serviceaccounts", String(account[3]), namespace: String(account[2]))
            if groups.isEmpty { target.groups = ["system:serviceaccounts", "system:serviceaccounts:\(account[2])"] }
        } else {
            ask("users", name)
        }
        for group in groups { ask("groups", group) }
        if !uid.isEmpty { ask("uids", uid, group: authentication) }
        for (key, value) in extra {
            ask("userextras", value, group: authentication, sub: key)
            target.extra[key, default: []].append(value)
        }
        for attributes in asked {
            let decision = await authorizer.authorize(attributes)
            if decision.isAllowed { continue }
            let info = RequestInfo(attributes)
            return .failed(APIServer.forbidden(info, user, decision.reason))
        }
        let implied = name == UserInfo.anonymous.name ? "system:unauthenticated" : "system:authenticated"
        if !target.groups.contains("system:authenticated"), !target.groups.contains("system:unauthenticated") {
            target.groups.append(implied)
        }
        return .impersonated(target, by: user)
    }

    /// `Impersonate-Extra-<key>` and the like: keys are in lower case and percent-encoded, a key may come more than once.
    private static func extra(_ headers: HTTPHeaderFields, _ prefix: String) -> [(key: String, value: String)] {
        headers.fields.compactMap { field in
            let length = prefix.utf8.count
            guard field.name.utf8.count > length, isSame(field.name.utf8.prefix(length), prefix) else { return nil }
            let key = field.name.lowercased().dropFirst(length)
            // The text itself where the encoding is broken.
            return (percentDecoded(key.utf8, plusIsSpace: false) ?? String(key), field.value)
        }
    }

    /// - Parameter lower: in lower case.
    private static func isSame(_ name: Substring.UTF8View, _ lower: String) -> Bool {
        name.elementsEqual(lower.utf8) { $0 == $1 || $0 | 0x20 == $1 && $1 >= 0x61 && $1 <= 0x7A }
    }

    private static func decodeURL(_ text: some StringProtocol) -> String? {
        Base64.decodeURL(text).map { String(decoding: $0, as: UTF8.self) }
    }
}
