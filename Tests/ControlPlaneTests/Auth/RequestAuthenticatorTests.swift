import Codecs
import ControlPlane
import KubeAPI
import Testing
import Transport

@Suite struct RequestAuthenticatorTests {
    private static let token = UserInfo("robot", groups: ["system:serviceaccounts"])

    private func authenticator(_ rbac: RBACAuthorizer = RBACAuthorizer()) -> RequestAuthenticator {
        RequestAuthenticator(
            authorizer: rbac,
            authenticateToken: { token, audiences in
                #expect(audiences.isEmpty)
                return token == "good" ? (Self.token, ["api"]) : nil
            }, allowAnonymous: { $0.path == "/livez" })
    }

    private func request(
        _ headers: HTTPHeaderFields = [:], peer: PeerIdentity? = nil, path: String = "/api"
    ) throws -> HTTPRequest {
        try HTTPRequest(method: "GET", target: path, headers: headers, peer: peer)
    }

    private func user(_ result: AuthenticationResult) -> UserInfo? {
        switch result {
        case .authenticated(let user), .impersonated(let user, by: _): user
        default: nil
        }
    }

    private static let admin = PeerIdentity(commonName: "root", organizations: ["system:masters"])

    @Test func aCertificateNamesUserAndGroups() async throws {
        let found = user(await authenticator().authenticate(try request(peer: Self.admin)))
        #expect(found == UserInfo("root", groups: ["system:masters", "system:authenticated"]))
    }

    @Test func aCertificateWinsOverAToken() async throws {
        let found = user(
            await authenticator().authenticate(try request(["Authorization": "Bearer good"], peer: Self.admin)))
        #expect(found?.name == "root")
    }

    static let headers: [(HTTPHeaderFields, String?)] = [
        (["Authorization": "Bearer good"], "robot"), (["Authorization": "bearer good"], "robot"),
        (["Authorization": "Bearer bad"], nil), (["Authorization": "Bearer"], nil),
        (["Authorization": "Basic good"], nil), (["Authorization": ""], nil),
        (["Sec-WebSocket-Protocol": "v4.channel.k8s.io, base64url.bearer.authorization.k8s.io.Z29vZA"], "robot"),
        (["Sec-WebSocket-Protocol": "base64url.bearer.authorization.k8s.io.YmFk"], nil),
        (["Sec-WebSocket-Protocol": "base64url.bearer.authorization.k8s.io.!"], nil), ([:], nil),
    ]

    @Test(arguments: headers)
    func tokensComeInHeaders(_ headers: HTTPHeaderFields, _ name: String?) async throws {
        #expect(user(await authenticator().authenticate(try request(headers)))?.name == name)
    }

    @Test func nobodyIsLetInOnlyWhereItIsAllowed() async throws {
        let found = user(await authenticator().authenticate(try request(path: "/livez")))
        #expect(found == UserInfo("system:anonymous", groups: ["system:unauthenticated"]))
        #expect(user(await authenticator().authenticate(try request(path: "/api"))) == nil)
        // A bad token is not nobody.
        #expect(
            user(await authenticator().authenticate(try request(["Authorization": "Bearer bad"], path: "/livez")))
                == nil
        )
        var bad = try request(path: "/livez")
        bad.peerCertificateError = "expired"
        guard case .refused(let reason) = await authenticator().authenticate(bad) else {
            Issue.record("let in with a bad certificate")
            return
        }
        #expect(reason == "expired")
    }

    // MARK: - Front proxy

    @Test func aFrontProxySaysForWhomItAsks() async throws {
        var asked = try request([
            "X-Remote-User": "jane", "X-Remote-Group": "dev", "X-Remote-Extra-Acme.com%2fScope": "one",
            "X-Remote-Uid": "42",
        ])
        asked.headers.add("X-Remote-Group", "ops")
        // Without the proxy's certificate the headers are nothing.
        #expect(user(await authenticator().authenticate(asked)) == nil)
        var byPeer = asked
        byPeer.peer = Self.admin
        #expect(user(await authenticator().authenticate(byPeer))?.name == "root")
        asked.frontProxy = PeerIdentity(commonName: "system:auth-proxy", organizations: [])
        let found = user(await authenticator().authenticate(asked))
        #expect(
            found
                == UserInfo(
                    "jane", uid: "42", groups: ["dev", "ops", "system:authenticated"],
                    extra: ["acme.com/scope": ["one"]]))
        // Another certificate of the same authority, and a proxy that names nobody.
        var other = asked
        other.frontProxy = PeerIdentity(commonName: "other", organizations: [])
        #expect(user(await authenticator().authenticate(other)) == nil)
        var nobody = try request(path: "/livez")
        nobody.frontProxy = asked.frontProxy
        #expect(user(await authenticator().authenticate(nobody)) == nil)
    }

    // MARK: - Impersonation

    static let impersonations: [(HTTPHeaderFields, UserInfo)] = [
        (["Impersonate-User": "jane"], UserInfo("jane", groups: ["system:authenticated"])),
        (
            ["Impersonate-User": "jane", "Impersonate-Group": "dev", "Impersonate-Uid": "42"],
            UserInfo("jane", uid: "42", groups: ["dev", "system:authenticated"])
        ),
        (
            ["Impersonate-User": "system:serviceaccount:ci:robot"],
            UserInfo(
                "system:serviceaccount:ci:robot",
                groups: ["system:serviceaccounts", "system:serviceaccounts:ci", "system:authenticated"])
        ),
        (
            ["Impersonate-User": "system:serviceaccount:ci:robot", "Impersonate-Group": "only"],
            UserInfo("system:serviceaccount:ci:robot", groups: ["only", "system:authenticated"])
        ),
        (
            ["Impersonate-User": "system:anonymous"],
            UserInfo("system:anonymous", groups: ["system:unauthenticated"])
        ),
        (
            ["Impersonate-User": "jane", "Impersonate-Extra-Acme.com%2fScope": "one"],
            UserInfo("jane", groups: ["system:authenticated"], extra: ["acme.com/scope": ["one"]])
        ),
    ]

    @Test(arguments: impersonations)
    func mastersActAsAnybody(_ headers: HTTPHeaderFields, _ expected: UserInfo) async throws {
        #expect(user(await authenticator().authenticate(try request(headers, peer: Self.admin))) == expected)
    }

    /// Who may act as the users jane and (in namespace ci) robot, as group dev, with the extra scope=one.
    static let refusals: [(HTTPHeaderFields, String?)] = [
        (["Impersonate-User": "jane", "Impersonate-Group": "dev"], nil),
        (["Impersonate-User": "jane", "Impersonate-Extra-scope": "one"], nil),
        (
            ["Impersonate-User": "joe"],
            "users \"joe\" is forbidden: User \"boss\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope"
        ),
        (
            ["Impersonate-User": "jane", "Impersonate-Group": "system:masters"],
            "groups \"system:masters\" is forbidden: User \"boss\" cannot impersonate resource \"groups\" in API group \"\" at the cluster scope"
        ),
        (
            ["Impersonate-User": "system:serviceaccount:prod:robot"],
            "serviceaccounts \"robot\" is forbidden: User \"boss\" cannot impersonate resource \"serviceaccounts\" in API group \"\" in the namespace \"prod\""
        ),
        (
            ["Impersonate-User": "jane", "Impersonate-Uid": "1"],
            "uids.authentication.k8s.io \"1\" is forbidden: User \"boss\" cannot impersonate resource \"uids\" in API group \"authentication.k8s.io\" at the cluster scope"
        ),
        (
            ["Impersonate-User": "jane", "Impersonate-Extra-scope": "two"],
            "userextras.authentication.k8s.io \"two\" is forbidden: User \"boss\" cannot impersonate resource \"userextras/scope\" in API group \"authentication.k8s.io\" at the cluster scope"
        ),
        (["Impersonate-Group": "dev"], "requested [groups] impersonation without impersonating a user"),
    ]

    @Test(arguments: refusals)
    func whoMayActAsWhomIsARight(_ headers: HTTPHeaderFields, _ message: String?) async throws {
        let rbac = RBACAuthorizer()
        RBACAuthorizerTests.observe(
            rbac,
            [
                RBACAuthorizerTests.role(
                    "act",
                    [
                        [
                            "verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"],
                            "resourceNames": ["jane"],
                        ],
                        [
                            "verbs": ["impersonate"], "apiGroups": [""], "resources": ["groups"],
                            "resourceNames": ["dev"],
                        ],
                        [
                            "verbs": ["impersonate"], "apiGroups": ["authentication.k8s.io"],
                            "resources": ["userextras/scope"], "resourceNames": ["one"],
                        ],
                    ]),
                RBACAuthorizerTests.binding("act", to: "act", [["kind": "User", "name": "boss"]]),
            ])
        let boss = PeerIdentity(commonName: "boss", organizations: [])
        let result = await authenticator(rbac).authenticate(try request(headers, peer: boss))
        switch (result, message) {
        case (.impersonated(let user, by: let boss), nil): #expect(user.name == "jane" && boss.name == "boss")
        case (.failed(let error), let message?): #expect(error.message == message)
        default: Issue.record("\(result)")
        }
    }
}
