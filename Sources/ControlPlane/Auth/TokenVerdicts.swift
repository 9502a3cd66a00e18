internal import Codecs
internal import KubeAPI
internal import Store

/// What a service account token says, once its signature has been checked.
struct TokenClaims: Sendable {
    struct Reference: Sendable {
        var name: String
        var uid: String

        init?(_ json: JSON) {
            guard let name = json["name"].string, !name.isEmpty else { return nil }
            (self.name, uid) = (name, json["uid"].string ?? "")
        }
    }

    var expires: Int64
    var notBefore: Int64
    var audiences: [String]
    var namespace: String
    var account: Reference
    var pod: Reference?
    var secret: Reference?
    var node: Reference?
    var id: String?

    /// What issued the tokens of Secrets, before there were others.
    static let lastingIssuer = "kubernetes/serviceaccount"
    static let lastingPrefix = "kubernetes.io/serviceaccount/"
    /// A Secret's token: without end, good as long as it stands in the Secret.
    var isLasting: Bool { expires == .max }

    /// The claims of a Secret's token.
    private init?(lasting json: JSON) {
        func text(_ key: String) -> String { json[Self.lastingPrefix + key].string ?? "" }
        guard !text("namespace").isEmpty,
            let account = Reference([
                "name": .string(text("service-account.name")), "uid": .string(text("service-account.uid")),
            ]), let secret = Reference(["name": .string(text("secret.name"))]),
            json["sub"].string == "system:serviceaccount:\(text("namespace")):\(account.name)"
        else { return nil }
        (expires, notBefore, audiences) = (.max, 0, [])
        (namespace, self.account, self.secret) = (text("namespace"), account, secret)
    }

    /// nil: not a token of this issuer, or not one of a service account.
    init?(_ json: JSON, issuer: String) {
        if json["iss"].string == Self.lastingIssuer {
            guard let lasting = Self(lasting: json) else { return nil }
            self = lasting
            return
        }
        let about = json["kubernetes.io"]
        guard json["iss"].string == issuer, let expires = json["exp"].int, expires < .max,
            let namespace = about["namespace"].string, let account = Reference(about["serviceaccount"])
        else { return nil }
        for kind in ["pod", "secret", "node"] where !about[kind].isNull && Reference(about[kind]) == nil { return nil }
        (self.expires, notBefore) = (expires, json["nbf"].int ?? 0)
        audiences = json["aud"].array?.compactMap(\.string) ?? [json["aud"].string ?? ""]
        (self.namespace, self.account) = (namespace, account)
        (pod, secret, node) = (Reference(about["pod"]), Reference(about["secret"]), Reference(about["node"]))
        id = json["jti"].string
    }
}

/// The tokens whose signatures were good, by the digest of the token: checking one costs more than the rest of a small
/// request. An entry goes with its token's expiry; at the limit, first the expired ones go, then all.
struct TokenVerdicts {
    static let limit = 512
    private var claims: [[UInt8]: TokenClaims] = [:]

    var count: Int { claims.count }

    func claims(of digest: [UInt8]) -> TokenClaims? { claims[digest] }

    mutating func add(_ new: TokenClaims, _ digest: [UInt8], now: Int64) {
        guard now < new.expires else { return }
        if claims.count >= Self.limit {
            claims = claims.filter { now < $0.value.expires }
            if claims.count >= Self.limit { claims = [:] }
        }
        claims[digest] = new
    }
}

extension Registry {
    /// An object's uid and when it was asked to go, read from its bytes.
    func identity(
        of resource: GroupVersionResource, namespace: String, name: String
    ) -> (uid: String, deleted: Timestamp?)? {
        guard let row = resources[resource], let entry = store.get(row.key(namespace, name)),
            let uid = RawJSON.text(of: ["metadata", "uid"], in: entry.value)
        else { return nil }
        return (uid, RawJSON.text(of: ["metadata", "deletionTimestamp"], in: entry.value).flatMap { Timestamp($0) })
    }
}
