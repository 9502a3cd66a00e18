import Codecs
import ControlPlane
import KubeAPI
import Testing
import Transport

@Suite struct ServiceAccountTokenTests {
    static let issuer = "https://kubernetes.default.svc.cluster.local"

    private struct Fixture {
        let cluster: Cluster
        let tokens: ServiceAccountTokens
        let key: PrivateKey
        let account: KubeObject

        init() async throws {
            key = try PrivateKey.generate()
            cluster = try await Cluster()
            tokens = ServiceAccountTokens(
                key: key, keys: [key.publicKey], issuer: issuer, audiences: [issuer, "k3s"], clock: cluster.clock)
            tokens.attach(cluster.server.registry)
            account = try await cluster.client.get(.serviceAccounts, namespace: "default", name: "default")
        }

        func token(
            _ audiences: [String] = [], seconds: Int64 = 3600, bound: TokenRequestParameters.BoundObject? = nil
        ) async throws -> IssuedToken {
            try await tokens.issue(
                TokenRequestParameters(
                    namespace: "default", serviceAccount: "default", serviceAccountUID: account.uid,
                    audiences: audiences, expirationSeconds: seconds, bound: bound))
        }

        func user(_ token: String, _ audiences: [String] = []) async -> UserInfo? {
            await tokens.authenticate(token, audiences: audiences)?.user
        }

        func signed(_ change: (inout JSON) -> Void, key other: PrivateKey? = nil) throws -> String {
            let now = cluster.clock.now().seconds
            var claims: JSON = [
                "aud": [.string(issuer)], "exp": .int(now + 600), "iat": .int(now), "nbf": .int(now),
                "iss": .string(issuer), "sub": "system:serviceaccount:default:default",
                "kubernetes.io": [
                    "namespace": "default", "serviceaccount": ["name": "default", "uid": .string(account.uid)],
                ],
            ]
            change(&claims)
            return try JWT.sign(claims: claims.encode(), key: other ?? key)
        }
    }

    @Test func aTokenIsItsAccounts() async throws {
        let fixture = try await Fixture()
        let user = await fixture.user(try await fixture.token().token)
        #expect(user?.name == "system:serviceaccount:default:default" && user?.uid == fixture.account.uid)
        #expect(
            user?.groups == ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"])
        #expect(user?.extra["authentication.kubernetes.io/credential-id"]?.first?.hasPrefix("JTI=") == true)
    }

    @Test func aTokenExpiresAlsoWhenItIsRemembered() async throws {
        let fixture = try await Fixture()
        let issued = try await fixture.token(seconds: 600)
        #expect(issued.expirationSeconds == 600)
        #expect(issued.expirationTimestamp == fixture.cluster.clock.now().advanced(by: .seconds(600)).rfc3339)
        #expect(await fixture.user(issued.token) != nil)
        #expect(fixture.tokens.rememberedTokens == 1)
        fixture.cluster.clock.advance(by: .seconds(599))
        #expect(await fixture.user(issued.token) != nil)
        fixture.cluster.clock.advance(by: .seconds(1))
        #expect(await fixture.user(issued.token) == nil)
    }

    @Test func durationsAreBounded() async throws {
        let fixture = try await Fixture()
        #expect(try await fixture.token(seconds: 1).expirationSeconds == 600)
        #expect(try await fixture.token(seconds: .max).expirationSeconds == 1 << 32)
    }

    @Test func audiencesHaveToMatch() async throws {
        let fixture = try await Fixture()
        let own = try await fixture.token().token
        let vault = try await fixture.token(["vault", "other"]).token
        #expect(await fixture.user(own) != nil)
        #expect(await fixture.user(vault) == nil, "not for this server")
        let found = await fixture.tokens.authenticate(vault, audiences: ["x", "vault"])
        #expect(found?.audiences == ["vault"])
        #expect(await fixture.user(own, ["vault"]) == nil)
        #expect(await fixture.user(own, ["k3s"]) != nil)
    }

    @Test func tokensDieWithTheirAccount() async throws {
        let fixture = try await Fixture()
        let token = try await fixture.token().token
        #expect(await fixture.user(token) != nil)
        _ = try await fixture.cluster.client.delete(
            .serviceAccounts, namespace: "default", name: "default", options: DeleteOptions())
        #expect(await fixture.user(token) == nil)
        // A new account of the same name is another one.
        _ = try await fixture.cluster.client.create(
            .serviceAccounts,
            KubeObject(GroupVersionKind(.core, "ServiceAccount"), name: "default", namespace: "default"))
        #expect(await fixture.user(token) == nil)
    }

    @Test func tokensDieWithTheirSecret() async throws {
        let fixture = try await Fixture()
        let secret = try await fixture.cluster.client.create(
            .secrets, KubeObject(GroupVersionKind(.core, "Secret"), name: "s", namespace: "default"))
        let token = try await fixture.token(bound: .init(kind: "Secret", apiVersion: "v1", name: "s", uid: secret.uid))
        #expect(await fixture.user(token.token) != nil)
        _ = try await fixture.cluster.client.delete(.secrets, namespace: "default", name: "s", options: DeleteOptions())
        #expect(await fixture.user(token.token) == nil)
    }

    @Test func aPodsTokenOutlivesItsDeletionByAMinute() async throws {
        let fixture = try await Fixture()
        let client = fixture.cluster.client
        let pod = try await client.create(.pods, fixture.cluster.pod("p"))
        let node = (name: "n", uid: "node-uid")
        let token = try await fixture.token(
            bound: .init(kind: "Pod", apiVersion: "v1", name: "p", uid: pod.uid, node: node)
        ).token
        let user = await fixture.user(token)
        #expect(user?.extra["authentication.kubernetes.io/pod-name"] == ["p"])
        #expect(user?.extra["authentication.kubernetes.io/pod-uid"] == [pod.uid])
        #expect(user?.extra["authentication.kubernetes.io/node-name"] == ["n"])
        let binding: JSON = ["metadata": ["name": "p"], "target": ["name": "n"]]
        _ = try await fixture.cluster.call("POST", "/api/v1/namespaces/default/pods/p/binding", binding)
        _ = try await client.delete(
            .pods, namespace: "default", name: "p", options: DeleteOptions(gracePeriodSeconds: 30))
        #expect(await fixture.user(token) != nil)
        fixture.cluster.clock.advance(by: .seconds(30 + 59))
        #expect(await fixture.user(token) != nil)
        fixture.cluster.clock.advance(by: .seconds(1))
        #expect(await fixture.user(token) == nil)
    }

    @Test func theTokenOfEveryPodLivesAYearButIsToBeRenewedInAnHour() async throws {
        let fixture = try await Fixture()
        let pod = try await fixture.cluster.client.create(.pods, fixture.cluster.pod("p"))
        let token = try await fixture.token(
            seconds: 3607, bound: .init(kind: "Pod", apiVersion: "v1", name: "p", uid: pod.uid))
        #expect(token.expirationSeconds == 3607)
        #expect(token.expirationTimestamp == fixture.cluster.clock.now().advanced(by: .seconds(3607)).rfc3339)
        fixture.cluster.clock.advance(by: .seconds(364 * 86400))
        #expect(await fixture.user(token.token) != nil)
        fixture.cluster.clock.advance(by: .seconds(86400))
        #expect(await fixture.user(token.token) == nil)
    }

    @Test func tokensOfOthersAreNotGood() async throws {
        let fixture = try await Fixture()
        #expect(await fixture.user(try fixture.signed { _ in }) != nil, "what follows differs from this in one thing")
        let table: [(String, @Sendable (inout JSON) -> Void)] = [
            ("issuer", { $0["iss"] = "https://example.com" }), ("expiry", { $0["exp"] = .null }),
            ("not yet", { $0["nbf"] = .int($0["nbf"].int! + 60) }),
            ("audience", { $0["aud"] = ["other"] }), ("no account", { $0["kubernetes.io"] = [:] }),
            ("account's uid", { $0["kubernetes.io"]["serviceaccount"]["uid"] = "x" }),
            ("namespace", { $0["kubernetes.io"]["namespace"] = "other" }),
            ("unknown pod", { $0["kubernetes.io"]["pod"] = ["name": "p", "uid": "x"] }),
            ("nameless pod", { $0["kubernetes.io"]["pod"] = ["uid": "x"] }),
            ("unknown node", { $0["kubernetes.io"]["node"] = ["name": "n", "uid": "x"] }),
        ]
        for (name, change) in table {
            #expect(await fixture.user(try fixture.signed(change)) == nil, "\(name)")
        }
        let stranger = try PrivateKey.generate()
        #expect(await fixture.user(try fixture.signed({ _ in }, key: stranger)) == nil)
    }

    @Test func everyChangedByteIsSeen() async throws {
        let fixture = try await Fixture()
        let token = try await fixture.token().token
        #expect(await fixture.user(token) != nil)
        var bytes = Array(token.utf8)
        for at in stride(from: 0, to: bytes.count - 1, by: 7) {
            let old = bytes[at]
            bytes[at] = old == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
            #expect(await fixture.user(String(decoding: bytes, as: UTF8.self)) == nil, "byte \(at)")
            bytes[at] = old
        }
        for text in ["", ".", "..", "a.b.c", String(token.dropLast()), token + ".", "\u{0}"] {
            #expect(await fixture.user(text) == nil)
        }
        // An unsigned token, and one that is signed by the public key's text as an HMAC secret would be.
        let parts = token.split(separator: ".")
        let none = Base64.encodeURL(Array(#"{"alg":"none"}"#.utf8))
        #expect(await fixture.user("\(none).\(parts[1]).") == nil)
    }

    @Test func memoryOfTokensIsBounded() async throws {
        let fixture = try await Fixture()
        for i in 0..<600 {
            let token = try fixture.signed { $0["jti"] = .string("\(i)") }
            #expect(await fixture.user(token) != nil)
        }
        #expect(fixture.tokens.rememberedTokens <= 512)
    }

    /// A token as a Secret has it: it has no end, and is good as long as it stands there.
    @Test func aSecretsTokenIsGoodWhileItStandsThere() async throws {
        let fixture = try await Fixture()
        let client = fixture.cluster.client
        let token = try fixture.tokens.lasting(
            namespace: "default", account: "default", accountUID: fixture.account.uid, secret: "s")
        #expect(await fixture.user(token) == nil, "there is no such secret")
        var secret = KubeObject(GroupVersionKind(.core, "Secret"), name: "s", namespace: "default")
        secret.annotations = ["kubernetes.io/service-account.name": "default"]
        secret.json["type"] = "kubernetes.io/service-account-token"
        secret.json["data"] = ["token": .string(Base64.encode(token.utf8))]
        secret = try await client.create(.secrets, secret)
        let user = await fixture.user(token)
        #expect(user?.name == "system:serviceaccount:default:default" && user?.uid == fixture.account.uid)
        fixture.cluster.clock.advance(by: .seconds(20 * 365 * 86400))
        #expect(await fixture.user(token) != nil)
        let vault = await fixture.tokens.authenticate(token, audiences: ["vault"])
        #expect(vault == nil, "it is for this server only")
        // A token that claims to have no end but is of the other kind has an end.
        #expect(await fixture.user(try fixture.signed { $0["exp"] = .int(.max) }) == nil)
        secret.labels["kubernetes.io/legacy-token-invalid-since"] = "2026-01-01"
        secret = try await client.update(.secrets, secret)
        #expect(await fixture.user(token) == nil)
        secret.labels = [:]
        secret.json["data"]["token"] = .string(Base64.encode("other".utf8))
        _ = try await client.update(.secrets, secret)
        #expect(await fixture.user(token) == nil)
    }

    @Test func keysArePublished() async throws {
        let fixture = try await Fixture()
        let keys = try JSON.parse(fixture.tokens.keySet)["keys"].elements
        #expect(keys.count == 1 && keys[0]["kid"].string == fixture.key.publicKey.keyID && keys[0]["d"].isNull)
        let document = try JSON.parse(fixture.tokens.openIDConfiguration)
        #expect(document["issuer"].string == Self.issuer)
    }
}
