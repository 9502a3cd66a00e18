internal import Codecs
package import KubeAPI

/// Gives every namespace its `default` ServiceAccount and the ConfigMap `kube-root-ca.crt`.
/// Source: k8s.io/kubernetes/pkg/controller/serviceaccount and certificates/rootcacertpublisher.
package struct ServiceAccountController: Controller {
    package let name = "serviceaccount-controller"
    private let client: any KubeClient
    /// PEM of the CA that signs the API server's certificate.
    private let rootCA: String
    private static let configMap = "kube-root-ca.crt"

    package init(client: any KubeClient, rootCA: String) { (self.client, self.rootCA) = (client, rootCA) }

    package var sources: [WatchSource] {
        [
            WatchSource(.namespaces) { namespace, kind in kind == .deleted ? [] : [ObjectKey(name: namespace.name)] },
            WatchSource(.serviceAccounts, needsMetadataOnly: true) { account, kind in
                kind == .deleted && account.name == "default" ? [ObjectKey(name: account.namespace)] : []
            },
            WatchSource(.configMaps, needsMetadataOnly: true) { map, kind in
                map.name == Self.configMap && kind != .added ? [ObjectKey(name: map.namespace)] : []
            },
        ]
    }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        guard let namespace = try await client.getIfPresent(.namespaces, namespace: "", name: key.name),
            namespace.status["phase"].string != "Terminating", !namespace.isBeingDeleted
        else { return nil }
        if try await client.getIfPresent(.serviceAccounts, namespace: key.name, name: "default") == nil {
            let account = KubeObject(GroupVersionKind("", "v1", "ServiceAccount"), name: "default", namespace: key.name)
            do throws(APIError) {
                _ = try await client.create(.serviceAccounts, account)
            } catch {
                if !error.isAlreadyExists { throw error }
            }
        }
        var map = KubeObject(GroupVersionKind("", "v1", "ConfigMap"), name: Self.configMap, namespace: key.name)
        map.metadata["annotations"]["kubernetes.io/description"] =
            "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."
        map["data"] = ["ca.crt": .string(rootCA)]
        if let there = try await client.getIfPresent(.configMaps, namespace: key.name, name: Self.configMap) {
            guard there["data"] != map["data"] else { return nil }
            var updated = there
            updated["data"] = map["data"]
            _ = try await client.update(.configMaps, updated)
        } else {
            _ = try await client.create(.configMaps, map)
        }
        return nil
    }
}
