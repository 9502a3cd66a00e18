package import KubeAPI
package import Transport

/// Who asks. Source: k8s.io/apiserver/pkg/authentication/user.
package struct UserInfo: Sendable, Equatable {
    package var name: String
    package var uid: String
    package var groups: [String]
    package var extra: [String: [String]]

    package init(_ name: String, uid: String = "", groups: [String] = [], extra: [String: [String]] = Dictionary()) {
        (self.name, self.uid, self.groups, self.extra) = (name, uid, groups, extra)
    }

    /// The components of the server's own process: no authorizer refuses them.
    package static let system = UserInfo(
        "system:apiserver", groups: ["system:masters", "system:authenticated"])
    package static let anonymous = UserInfo("system:anonymous", groups: ["system:unauthenticated"])
}

package enum AuthenticationResult: Sendable {
    case authenticated(UserInfo)
    /// Somebody acts for somebody else, and may.
    case impersonated(UserInfo, by: UserInfo)
    /// No credential that anybody knows, or a bad one: 401. The reason goes to the log, not to the client.
    case refused(reason: String)
    /// Authentication went well but what follows did not (impersonation that is not allowed): this Status.
    case failed(APIError)
}

/// Finds out who sent a request: client certificate, bearer token, front proxy headers, anonymous.
package protocol Authenticator: Sendable {
    func authenticate(_ request: HTTPRequest) async -> AuthenticationResult
}

/// What somebody wants to do. Source: k8s.io/apiserver/pkg/authorization/authorizer.
package struct AuthorizationAttributes: Sendable, Equatable {
    package var user: UserInfo
    /// get, list, watch, create, update, patch, delete, deletecollection, bind, escalate, impersonate, use, ...; for a
    /// path that is no resource the HTTP method in lower case.
    package var verb: String
    package var group = ""
    package var version = ""
    package var resource = ""
    package var subresource = ""
    package var namespace = ""
    package var name = ""
    package var labelSelector: LabelSelector?
    package var fieldSelector: FieldSelector?
    /// The path, for what is no resource: "/healthz".
    package var path = ""
    package var isResource: Bool { path.isEmpty }

    /// Access to a resource.
    package init(
        user: UserInfo, verb: String, group: String, version: String = "*", resource: String, subresource: String = "",
        namespace: String = "", name: String = ""
    ) {
        (self.user, self.verb, self.group, self.version) = (user, verb, group, version)
        (self.resource, self.subresource, self.namespace, self.name) = (resource, subresource, namespace, name)
    }

    /// Access to a path.
    package init(user: UserInfo, verb: String, path: String) {
        (self.user, self.verb, self.path) = (user, verb, path)
    }
}

package enum AuthorizationDecision: Sendable, Equatable {
    case allow(reason: String)
    /// Nobody allowed it; the reason ("" for none) ends the text that the client gets.
    case deny(reason: String)

    package var isAllowed: Bool { if case .allow = self { true } else { false } }
    package var reason: String {
        switch self {
        case .allow(let reason), .deny(let reason): reason
        }
    }
}

package protocol Authorizer: Sendable {
    func authorize(_ attributes: AuthorizationAttributes) async -> AuthorizationDecision
}

/// Allows everything: tests, and `--authorization-mode=AlwaysAllow`.
package struct AllowAll: Authorizer {
    package init() {}
    package func authorize(_ attributes: AuthorizationAttributes) async -> AuthorizationDecision {
        .allow(reason: "")
    }
}

/// Takes everybody for one user: tests, and sockets that only root can open.
package struct FixedUser: Authenticator {
    let user: UserInfo
    package init(_ user: UserInfo) { self.user = user }
    package func authenticate(_ request: HTTPRequest) async -> AuthenticationResult { .authenticated(user) }
}

/// A service account token that is asked for (`serviceaccounts/token`).
package struct TokenRequestParameters: Sendable {
    package var namespace: String
    package var serviceAccount: String
    package var serviceAccountUID: String
    /// Empty: the server's own audiences.
    package var audiences: [String]
    package var expirationSeconds: Int64
    /// The object with which the token dies.
    package var bound: BoundObject?

    package struct BoundObject: Sendable, Equatable {
        package var kind: String
        package var apiVersion: String
        package var name: String
        package var uid: String
        /// For a pod that is bound to a node: the node's name and uid, which go into the token too.
        package var node: (name: String, uid: String)?

        package init(
            kind: String, apiVersion: String, name: String, uid: String, node: (name: String, uid: String)? = nil
        ) {
            (self.kind, self.apiVersion, self.name, self.uid, self.node) = (kind, apiVersion, name, uid, node)
        }

        package static func == (a: Self, b: Self) -> Bool {
            a.kind == b.kind && a.apiVersion == b.apiVersion && a.name == b.name && a.uid == b.uid
                && a.node?.name == b.node?.name && a.node?.uid == b.node?.uid
        }
    }

    package init(
        namespace: String, serviceAccount: String, serviceAccountUID: String, audiences: [String],
        expirationSeconds: Int64, bound: BoundObject? = nil
    ) {
        (self.namespace, self.serviceAccount) = (namespace, serviceAccount)
        (self.serviceAccountUID, self.audiences) = (serviceAccountUID, audiences)
        (self.expirationSeconds, self.bound) = (expirationSeconds, bound)
    }
}

package struct IssuedToken: Sendable {
    package var token: String
    package var audiences: [String]
    /// RFC 3339.
    package var expirationTimestamp: String
    /// What the server settled on: the duration may have been shortened or lengthened.
    package var expirationSeconds: Int64

    package init(token: String, audiences: [String], expirationTimestamp: String, expirationSeconds: Int64) {
        (self.token, self.audiences) = (token, audiences)
        (self.expirationTimestamp, self.expirationSeconds) = (expirationTimestamp, expirationSeconds)
    }
}

/// Makes service account tokens and publishes what is needed to check them.
package protocol TokenIssuer: Sendable {
    func issue(_ request: TokenRequestParameters) async throws(APIError) -> IssuedToken
    /// `/.well-known/openid-configuration`
    var openIDConfiguration: [UInt8] { get }
    /// `/openid/v1/jwks`
    var keySet: [UInt8] { get }
}

/// The kinds that are questions and not objects: TokenReview, SubjectAccessReview and its relatives. They are created,
/// answered and forgotten; `object` comes decoded and defaulted, the answer is the same object with its status.
package protocol ReviewHandler: Sendable {
    func review(
        _ resource: GroupVersionResource, namespace: String, _ object: KubeObject, user: UserInfo
    ) async throws(APIError) -> KubeObject
}
