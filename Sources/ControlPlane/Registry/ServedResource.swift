package import Codecs
package import KubeAPI

/// A kind that this server serves: its row of the resource table and its strategy.
package final class ServedResource: Sendable {
    package let info: ResourceInfo
    package let gvr: GroupVersionResource
    package let gvk: GroupVersionKind
    package let namespaced: Bool
    let strategy: any ResourceStrategy
    /// Where the kind's objects lie in the store: "/registry/deployments.apps/".
    let prefix: String
    /// Set where this is another version's face of a kind that is stored elsewhere.
    let view: ResourceView?
    let hasStatus: Bool
    /// Whether an update may come without a resource version.
    let allowsUnconditionalUpdate: Bool
    /// Whether an update makes an object that is not there.
    let isCreatedByUpdate: Bool
    /// False for a view.
    package var isStored: Bool { view == nil }

    init(_ info: ResourceInfo, strategy: any ResourceStrategy, view: ResourceView? = nil) {
        (self.info, self.strategy, self.view) = (info, strategy, view)
        (gvr, gvk, namespaced) = (info.gvr, info.gvk, info.namespaced)
        hasStatus = info.subresource("status") != nil
        allowsUnconditionalUpdate = !Self.conditional.contains(info.gvr.resource)
        isCreatedByUpdate = Self.createdByUpdate.contains(info.gvr.resource)
        prefix = "/registry/" + (view?.storage ?? info.gvr).groupResource + "/"
    }

    private static let conditional: Set<String> = [
        "apiservices", "csidrivers", "csinodes", "csistoragecapacities", "customresourcedefinitions", "leases",
        "mutatingadmissionpolicies", "mutatingadmissionpolicybindings", "mutatingwebhookconfigurations",
        "poddisruptionbudgets", "runtimeclasses", "validatingadmissionpolicies", "validatingadmissionpolicybindings",
        "validatingwebhookconfigurations", "volumeattachments",
    ]
    private static let createdByUpdate: Set<String> = [
        "clusterrolebindings", "clusterroles", "endpoints", "events", "leases", "limitranges", "rolebindings",
        "roles", "runtimeclasses", "services",
    ]

    func key(_ namespace: String, _ name: String) -> String {
        namespaced ? prefix + namespace + "/" + name : prefix + name
    }
    /// All objects, or those of a namespace.
    func prefix(namespace: String?) -> String {
        guard namespaced, let namespace, !namespace.isEmpty else { return prefix }
        return prefix + namespace + "/"
    }
}

/// How a stored kind looks in another group or version.
struct ResourceView: Sendable {
    let storage: GroupVersionResource
    /// From the stored form to the served one.
    let show: @Sendable (KubeObject) -> KubeObject
    /// And back; `old` is the stored object that is being replaced.
    let store: @Sendable (KubeObject, _ old: KubeObject?) -> KubeObject
    /// A field selector's name in the stored form.
    let field: @Sendable (String) -> String
}
