internal import Codecs
package import KubeAPI

/// Fills Secrets of type `kubernetes.io/service-account-token` with a token that does not expire, the CA and the
/// namespace, and removes those whose account is gone.
/// Source: k8s.io/kubernetes/pkg/controller/serviceaccount/tokens_controller.go.
package struct ServiceAccountTokenController: Controller {
    package let name = "serviceaccount-token-controller"
    private let client: any KubeClient
    private let tokens: ServiceAccountTokens
    /// PEM of the CA that signs the API server's certificate.
    private let rootCA: String
    private static let type = "kubernetes.io/service-account-token"
    private static let account = "kubernetes.io/service-account.name"
    private static let accountUID = "kubernetes.io/service-account.uid"
    private static let ofAccount = "\u{1}account:"

    package init(client: any KubeClient, tokens: ServiceAccountTokens, rootCA: String) {
        (self.client, self.tokens, self.rootCA) = (client, tokens, rootCA)
    }

    package var sources: [WatchSource] {
        [
            WatchSource(.secrets) { secret, kind in
                kind == .deleted || secret["type"].string != Self.type ? [] : [secret.key]
            },
            WatchSource(.serviceAccounts, needsMetadataOnly: true) { account, kind in
                kind == .modified ? [] : [ObjectKey(namespace: account.namespace, name: Self.ofAccount + account.name)]
            },
        ]
    }

    package func expand(_ key: ObjectKey) async throws(APIError) -> [ObjectKey]? {
        guard key.name.hasPrefix(Self.ofAccount) else { return nil }
        let name = String(key.name.dropFirst(Self.ofAccount.count))
        var options = ListOptions()
        options.fieldSelector.terms.append(.init("type", Self.type))
        return try await client.list(.secrets, namespace: key.namespace, options: options).items.compactMap {
            let secret = try? $0.decode()
            return secret?.annotations[Self.account] == name ? secret?.key : nil
        }
    }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        guard
            var secret = try await client.getIfPresent(.secrets, namespace: key.namespace, name: key.name),
            !secret.isBeingDeleted, secret["type"].string == Self.type,
            let name = secret.annotations[Self.account]
        else { return nil }
        let found = try await client.getIfPresent(.serviceAccounts, namespace: key.namespace, name: name)
        guard let account = found, [nil, "", account.uid].contains(secret.annotations[Self.accountUID]) else {
            // Another account of the same name is not the one that the token stood for.
            var options = DeleteOptions()
            options.uid = secret.uid
            _ = try await client.delete(.secrets, namespace: key.namespace, name: key.name, options: options)
            return nil
        }
        let before = secret
        secret.metadata["annotations"][Self.accountUID] = .string(account.uid)
        func set(_ key: String, _ text: String) { secret["data"][key] = .string(Base64.encode(text.utf8)) }
        set("ca.crt", rootCA)
        set("namespace", key.namespace)
        if (secret["data"]["token"].string ?? "").isEmpty {
            set(
                "token",
                try tokens.lasting(
                    namespace: key.namespace, account: name, accountUID: account.uid, secret: key.name))
        }
        if secret != before { _ = try await client.update(.secrets, secret) }
        return nil
    }
}
