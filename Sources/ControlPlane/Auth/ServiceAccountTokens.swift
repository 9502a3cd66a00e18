internal import Codecs
package import KubeAPI
import Synchronization
package import Transport

/// Tokens of service accounts: signed JSON Web Tokens that die with the account and with the object they are bound to.
/// Source: k8s.io/kubernetes/pkg/serviceaccount (claims.go), KEP-1205.
package final class ServiceAccountTokens: TokenIssuer {
    private let key: PrivateKey
    private let verifier: JWTVerifier
    private let publicKeys: [PublicKey]
    private let issuer: String
    private let audiences: [String]
    private let clock: any KubeClock
    /// Where accounts and bound objects are looked up; given once the API server exists.
    private let registry = Mutex<Registry?>(nil)
    private let verdicts = Mutex(TokenVerdicts())

    private static let year: Int64 = 365 * 86400
    /// What kubelets ask for the token that every pod gets. Libraries older than 2021 never read it again, so it lives a
    /// year, and says from when on its use deserves a warning.
    private static let defaultForPods: Int64 = 3607

    /// `keys`: every key whose tokens are good; `key` signs new ones.
    package init(key: PrivateKey, keys: [PublicKey], issuer: String, audiences: [String], clock: any KubeClock) {
        (self.key, self.issuer, self.audiences, self.clock) = (key, issuer, audiences, clock)
        publicKeys = keys
        verifier = JWTVerifier(keys: keys)
    }

    package func attach(_ registry: Registry) { self.registry.withLock { $0 = registry } }

    // MARK: - Issuing

    package func issue(_ request: TokenRequestParameters) async throws(APIError) -> IssuedToken {
        let now = clock.now().seconds
        let wanted = max(600, min(request.expirationSeconds, 1 << 32))
        let isExtended = wanted == Self.defaultForPods && request.bound?.kind == "Pod" && request.audiences.isEmpty
        let expires = now + (isExtended ? Self.year : wanted)
        let audiences = request.audiences.isEmpty ? self.audiences : request.audiences
        var about: JSON = [
            "namespace": .string(request.namespace),
            "serviceaccount": ["name": .string(request.serviceAccount), "uid": .string(request.serviceAccountUID)],
        ]
        if let bound = request.bound {
            about[bound.kind.lowercased()] = ["name": .string(bound.name), "uid": .string(bound.uid)]
            if let node = bound.node { about["node"] = ["name": .string(node.name), "uid": .string(node.uid)] }
        }
        if isExtended { about["warnafter"] = .int(now + Self.defaultForPods) }
        let claims: JSON = [
            "aud": .strings(audiences), "exp": .int(expires), "iat": .int(now), "iss": .string(issuer),
            "jti": .string(Identifiers.uid()), "kubernetes.io": about, "nbf": .int(now),
            "sub": .string("system:serviceaccount:\(request.namespace):\(request.serviceAccount)"),
        ]
        do throws(PKIError) {
            return IssuedToken(
                token: try JWT.sign(claims: claims.encode(), key: key), audiences: audiences,
                expirationTimestamp: Timestamp(seconds: isExtended ? now + wanted : expires).rfc3339,
                expirationSeconds: wanted)
        } catch {
            throw .internalError("token: \(error)")
        }
    }

    /// The token of a Secret: it has no end and dies with the Secret.
    package func lasting(
        namespace: String, account: String, accountUID: String, secret: String
    ) throws(APIError) -> String {
        let prefix = TokenClaims.lastingPrefix
        let claims: JSON = [
            "iss": .string(TokenClaims.lastingIssuer),
            "sub": .string("system:serviceaccount:\(namespace):\(account)"),
            prefix + "namespace": .string(namespace), prefix + "secret.name": .string(secret),
            prefix + "service-account.name": .string(account), prefix + "service-account.uid": .string(accountUID),
        ]
        do throws(PKIError) {
            return try JWT.sign(claims: claims.encode(), key: key)
        } catch {
            throw .internalError("token: \(error)")
        }
    }

    package var openIDConfiguration: [UInt8] {
        JSON.object([
            "issuer": .string(issuer), "jwks_uri": .string("https://kubernetes.default.svc/openid/v1/jwks"),
            "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        ]).encode()
    }

    package var keySet: [UInt8] {
        let keys = publicKeys.map { key -> JSON in
            var json: JSON = [
                "use": "sig", "alg": .string(key.algorithm == .rsa ? "RS256" : "ES256"), "kid": .string(key.keyID),
            ]
            for (name, value) in key.jwk { json[name] = .string(value) }
            return json
        }
        return JSON.object(["keys": .array(keys)]).encode()
    }

    // MARK: - Checking

    /// The account behind a token and those of the wanted audiences that it is good for; nil: not a good token.
    ///
    /// Signatures are checked once; what can change (time, the account, the bound object) is looked at each time.
    package func authenticate(_ token: String, audiences wanted: [String]) async -> (
        user: UserInfo, audiences: [String]
    )? {
        let now = clock.now().seconds
        guard let claims = verified(token, now: now) else { return nil }
        guard now < claims.expires, now >= claims.notBefore else { return nil }
        // A Secret's token names no audience: it is for this server.
        let meant = claims.isLasting ? audiences : claims.audiences
        let good = (wanted.isEmpty ? audiences : wanted).filter(meant.contains)
        guard !good.isEmpty, exists(.serviceAccounts, claims.namespace, claims.account) else { return nil }
        var extra: [String: [String]] = [:]
        if claims.isLasting {
            guard let secret = claims.secret, isToken(token, of: secret.name, claims.namespace) else { return nil }
        } else if let secret = claims.secret, !exists(.secrets, claims.namespace, secret) {
            return nil
        }
        if let pod = claims.pod {
            guard exists(.pods, claims.namespace, pod) else { return nil }
            extra["authentication.kubernetes.io/pod-name"] = [pod.name]
            extra["authentication.kubernetes.io/pod-uid"] = [pod.uid]
        }
        if let node = claims.node {
            // A pod's node is information; a token that is bound to the node itself dies with it.
            if claims.pod == nil, claims.secret == nil, !exists(.nodes, "", node) { return nil }
            extra["authentication.kubernetes.io/node-name"] = [node.name]
            if !node.uid.isEmpty { extra["authentication.kubernetes.io/node-uid"] = [node.uid] }
        }
        if let id = claims.id { extra["authentication.kubernetes.io/credential-id"] = ["JTI=" + id] }
        let user = UserInfo(
            "system:serviceaccount:\(claims.namespace):\(claims.account.name)", uid: claims.account.uid,
            groups: [
                "system:serviceaccounts", "system:serviceaccounts:\(claims.namespace)", "system:authenticated",
            ], extra: extra)
        return (user, good)
    }

    /// Whether a Secret is there and has this token; taking it out of the Secret revokes it.
    private func isToken(_ token: String, of secret: String, _ namespace: String) -> Bool {
        guard let registry = registry.withLock({ $0 }),
            let object = try? registry.get(registry.resource(.secrets), namespace: namespace, name: secret).decode(),
            !object.isBeingDeleted, object.labels["kubernetes.io/legacy-token-invalid-since"] == nil,
            let stored = object["data"]["token"].string.flatMap({ Base64.decode($0) })
        else { return false }
        return stored == Array(token.utf8)
    }

    private func verified(_ token: String, now: Int64) -> TokenClaims? {
        let digest = SHA256.digest(Array(token.utf8))
        if let known = verdicts.withLock({ $0.claims(of: digest) }) { return known }
        guard let bytes = try? verifier.verify(token), let json = try? JSON.parse(bytes),
            let claims = TokenClaims(json, issuer: issuer)
        else { return nil }
        verdicts.withLock { $0.add(claims, digest, now: now) }
        return claims
    }

    /// How many tokens' signatures are remembered at the moment.
    package var rememberedTokens: Int { verdicts.withLock { $0.count } }

    private func exists(_ resource: GroupVersionResource, _ namespace: String, _ object: TokenClaims.Reference) -> Bool
    {
        guard let registry = registry.withLock({ $0 }),
            let found = registry.identity(of: resource, namespace: namespace, name: object.name),
            found.uid == object.uid
        else { return false }
        // A minute beyond its deletion an object's tokens are still good, so that a pod can say goodbye.
        guard let deleted = found.deleted else { return true }
        return clock.now() < deleted.advanced(by: .seconds(60))
    }
}
