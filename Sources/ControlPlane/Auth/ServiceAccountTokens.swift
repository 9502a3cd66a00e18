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
    private let client = Mutex<(any KubeClient)?>(nil)

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

    package func attach(_ client: any KubeClient) { self.client.withLock { $0 = client } }

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
    package func authenticate(_ token: String, audiences wanted: [String]) async -> (
        user: UserInfo, audiences: [String]
    )? {
        guard let bytes = try? verifier.verify(token), let claims = try? JSON.parse(bytes),
            claims["iss"].string == issuer
        else { return nil }
        let now = clock.now().seconds
        guard let expires = claims["exp"].int, now < expires, now >= claims["nbf"].int ?? 0 else { return nil }
        let carried = claims["aud"].array?.compactMap(\.string) ?? [claims["aud"].string ?? ""]
        let good = (wanted.isEmpty ? audiences : wanted).filter(carried.contains)
        guard !good.isEmpty else { return nil }
        let about = claims["kubernetes.io"]
        let account = about["serviceaccount"]
        guard let namespace = about["namespace"].string, let name = account["name"].string,
            let uid = account["uid"].string,
            await exists(.serviceAccounts, namespace, name, uid)
        else { return nil }
        var extra: [String: [String]] = [:]
        for (kind, resource) in [("pod", GroupVersionResource.pods), ("secret", .secrets)] where !about[kind].isNull {
            guard let name = about[kind]["name"].string, let uid = about[kind]["uid"].string,
                await exists(resource, namespace, name, uid)
            else { return nil }
            if kind == "pod" {
                extra["authentication.kubernetes.io/pod-name"] = [name]
                extra["authentication.kubernetes.io/pod-uid"] = [uid]
            }
        }
        if let node = about["node"]["name"].string { extra["authentication.kubernetes.io/node-name"] = [node] }
        if let node = about["node"]["uid"].string { extra["authentication.kubernetes.io/node-uid"] = [node] }
        if let id = claims["jti"].string { extra["authentication.kubernetes.io/credential-id"] = ["JTI=" + id] }
        let user = UserInfo(
            "system:serviceaccount:\(namespace):\(name)", uid: uid,
            groups: ["system:serviceaccounts", "system:serviceaccounts:\(namespace)", "system:authenticated"],
            extra: extra)
        return (user, good)
    }

    private func exists(_ resource: GroupVersionResource, _ namespace: String, _ name: String, _ uid: String) async
        -> Bool
    {
        guard let client = client.withLock({ $0 }) else { return false }
        let object = try? await client.getIfPresent(resource, namespace: namespace, name: name)
        guard let object, object.uid == uid else { return false }
        // A minute beyond its deletion an object's tokens are still good, so that a pod can say goodbye.
        guard let deleted = object.deletionTimestamp else { return true }
        return clock.now() < deleted.advanced(by: .seconds(60))
    }
}
