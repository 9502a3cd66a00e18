package import Codecs
package import KubeAPI

/// A kind that this server serves: its row of names and its strategy.
package final class ServedResource: Sendable {
    package let gvr: GroupVersionResource
    package let gvk: GroupVersionKind
    package let singular: String
    package let shortNames: [String]
    package let categories: [String]
    package let namespaced: Bool
    package let verbs: Set<String>
    package let subresources: [Subresource]
    let strategy: any ResourceStrategy
    /// Where the kind's objects lie in the store: "/registry/deployments.apps/".
    let prefix: String
    /// Set where this is another version's face of a kind that is stored elsewhere.
    let view: ResourceView?

    package struct Subresource: Sendable {
        package var name: String
        package var kind: GroupVersionKind
        package var verbs: [String]
    }

    init(
        gvr: GroupVersionResource, gvk: GroupVersionKind, singular: String, shortNames: [String], categories: [String],
        namespaced: Bool, verbs: Set<String>, subresources: [Subresource], strategy: any ResourceStrategy,
        view: ResourceView? = nil
    ) {
        (self.gvr, self.gvk, self.singular, self.shortNames) = (gvr, gvk, singular, shortNames)
        (self.categories, self.namespaced, self.verbs) = (categories, namespaced, verbs)
        (self.subresources, self.strategy, self.view) = (subresources, strategy, view)
        prefix = "/registry/" + (view?.storage ?? gvr).groupResource + "/"
    }

    package func subresource(_ name: String) -> Subresource? { subresources.first { $0.name == name } }
    var hasStatus: Bool { subresources.contains { $0.name == "status" } }

    func key(_ namespace: String, _ name: String) -> String {
        namespaced ? prefix + namespace + "/" + name : prefix + name
    }
    /// All objects, or those of a namespace.
    func prefix(namespace: String?) -> String {
        guard namespaced, let namespace, !namespace.isEmpty else { return prefix }
        return prefix + namespace + "/"
    }
    func key(of object: ObjectKey) -> String { key(object.namespace, object.name) }
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
