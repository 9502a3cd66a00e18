internal import Codecs
internal import KubeAPI
internal import Linux

extension VolumeManager {
    /// A token that the pod's service account may use, bound to the pod: the one in the file while it has more than a
    /// fifth of its time left (and is not older than a day), else a new one (TokenRequest).
    func serviceAccountToken(
        _ audience: String, _ seconds: Int64, current path: String, _ pod: Pod
    ) async throws(APIError) -> [UInt8] {
        if let bytes = try? Files.read(path, limit: 64 << 10), let due = Self.renewal(of: bytes), clock.now() < due {
            return bytes
        }
        let status = try await Self.requestToken(audience, seconds, pod, client)
        return Array((status["token"].string ?? "").utf8)
    }

    /// The status of a TokenRequest for the pod's service account, bound to the pod.
    static func requestToken(
        _ audience: String, _ seconds: Int64, _ pod: Pod, _ client: any KubeClient
    ) async throws(APIError) -> JSON {
        var request = KubeObject(GroupVersionKind("authentication.k8s.io", "v1", "TokenRequest"), name: "")
        request.json["metadata"] = [:]
        request.spec = [
            "audiences": audience.isEmpty ? [] : [.string(audience)], "expirationSeconds": .int(seconds),
            "boundObjectRef": ["apiVersion": "v1", "kind": "Pod", "name": .string(pod.name), "uid": .string(pod.uid)],
        ]
        request.namespace = pod.namespace
        let account = pod.spec["serviceAccountName"].string.flatMap { $0.isEmpty ? nil : $0 } ?? "default"
        let answer = try await client.create(.serviceAccounts, request, subresource: "token", name: account)
        guard let token = answer.status["token"].string, !token.isEmpty else {
            throw .internalError("the TokenRequest for service account \(account) was answered without a token")
        }
        return answer.status
    }

    /// When the earliest token of a volume is due; nil: it shows none.
    func tokenRenewal(_ spec: JSON, _ directory: String) -> Timestamp? {
        var first: Timestamp?
        for source in spec["projected"]["sources"].elements where !source["serviceAccountToken"].isNull {
            let path = directory + "/" + (source["serviceAccountToken"]["path"].string ?? "token")
            guard let bytes = try? Files.read(path, limit: 64 << 10), let due = Self.renewal(of: bytes) else {
                continue
            }
            first = first.map { min($0, due) } ?? due
        }
        return first
    }

    /// At 80 % of a token's life, from its own claims. nil: not a token with times.
    static func renewal(of token: [UInt8]) -> Timestamp? {
        let parts = String(decoding: token, as: UTF8.self).split(separator: ".")
        guard parts.count == 3, let payload = Base64.decodeURL(parts[1]), let claims = try? JSON.parse(payload),
            let issued = claims["iat"].int, let expires = claims["exp"].int, expires > issued
        else { return nil }
        return Timestamp(seconds: issued + min((expires - issued) / 5 * 4, 86400))
    }
}
