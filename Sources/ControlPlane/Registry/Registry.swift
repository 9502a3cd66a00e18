package import Codecs
package import KubeAPI
package import Store
import Synchronization

/// The objects of the cluster: every read and write of every kind, from whichever side it comes (HTTP, or a component of
/// this process through `LocalClient`). A kind is a row (`ServedResource`); what happens to it is here.
///
/// Source: k8s.io/apiserver/pkg/registry/generic/registry and pkg/registry/rest.
package final class Registry: Sendable {
    package let store: any Store
    package let clock: any KubeClock
    package let schema: Schema
    package let resources: ResourceSet
    let hub: WatchHub
    let admission: AdmissionChain
    let hooks: [String: any WriteHook]

    package init(
        store: any Store, clock: any KubeClock = SystemClock(), schema: Schema = .shared,
        resources: ResourceSet, admission: AdmissionChain = AdmissionChain(), hooks: [String: any WriteHook] = [:]
    ) {
        (self.store, self.clock, self.schema, self.resources) = (store, clock, schema, resources)
        (self.admission, self.hooks) = (admission, hooks)
        hub = WatchHub(clock: clock)
    }

    // MARK: - Reading

    package func get(_ resource: ServedResource, namespace: String, name: String) throws(APIError) -> EncodedObject {
        let entry = try entry(resource, namespace, name)
        return try show(EncodedObject(bytes: entry.value, resourceVersion: entry.modRevision), resource)
    }

    func entry(_ resource: ServedResource, _ namespace: String, _ name: String) throws(APIError) -> StoreEntry {
        guard let entry = store.get(resource.key(namespace, name)) else { throw .notFound(resource.gvr, name) }
        return entry
    }

    /// The object as the request's group and version have it.
    func show(_ object: EncodedObject, _ resource: ServedResource) throws(APIError) -> EncodedObject {
        guard let view = resource.view else { return object }
        let shown = canonical(view.show(try object.decode()), resource)
        let bytes = ObjectTemplate(shown, managed: ObjectTemplate.managedFields(in: object.stored))
            .encoded(revision: object.resourceVersion)
        return EncodedObject(bytes: bytes, resourceVersion: object.resourceVersion)
    }

    /// The members in the schema's order, so that the same object always has the same bytes.
    func canonical(_ object: KubeObject, _ resource: ServedResource) -> KubeObject {
        guard let decoded = try? schema.decode(object.json, as: resource.gvk, clock: clock) else { return object }
        return KubeObject(decoded.json)
    }

    func resource(_ gvr: GroupVersionResource) throws(APIError) -> ServedResource {
        guard let resource = resources[gvr] else { throw .pathNotFound() }
        return resource
    }

    // MARK: - Errors of the store

    func apiError(_ error: StoreError, _ resource: ServedResource, _ name: String) -> APIError {
        switch error {
        case .keyExists: .alreadyExists(resource.gvr, name)
        case .keyNotFound: .notFound(resource.gvr, name)
        case .conflict: .modified(resource.gvr, name)
        case .compacted(let oldest):
            .expired("The resourceVersion for the provided watch is too old (the oldest available is \(oldest)).")
        case .futureRevision(let current): Self.tooLargeResourceVersion(nil, current: current)
        case .tooLarge(_, _, let limit): .tooLarge(limit: Int64(limit))
        case .unavailable(let why): .unavailable(why)
        case .watchOverflow: .expired("too old resource version: the watch fell behind")
        }
    }

    static func tooLargeResourceVersion(_ asked: Int64?, current: Int64) -> APIError {
        var error = APIError.timeout(
            "Too large resource version: \(asked.map(String.init) ?? "unknown"), current: \(current)")
        error.causes = [.init(reason: "ResourceVersionTooLarge", message: "Too large resource version", field: "")]
        error.retryAfterSeconds = 1
        return error
    }
}

/// What has to be set aside before a write and given back if the write comes to nothing or the object goes: service
/// addresses and ports.
package protocol WriteHook: Sendable {
    /// May change the object. `old` is nil for a creation.
    func reserve(_ object: inout KubeObject, old: KubeObject?, scope: RequestScope) throws(APIError) -> Reservation
    /// The object has gone.
    func release(_ object: KubeObject)
}

package struct Reservation: Sendable {
    /// The write is done: what the old object had and the new one has not is free again.
    let commit: @Sendable () -> Void
    /// The write came to nothing.
    let rollback: @Sendable () -> Void
    package init(commit: @escaping @Sendable () -> Void, rollback: @escaping @Sendable () -> Void) {
        (self.commit, self.rollback) = (commit, rollback)
    }
    package static let none = Reservation(commit: {}, rollback: {})
}

/// The kinds that are served, by group, version and plural name.
package struct ResourceSet: Sendable {
    package let all: [ServedResource]
    private let index: [GroupVersionResource: ServedResource]

    package init(_ resources: [ServedResource]) {
        all = resources
        var index: [GroupVersionResource: ServedResource] = [:]
        for resource in resources { index[resource.gvr] = resource }
        self.index = index
    }

    package subscript(gvr: GroupVersionResource) -> ServedResource? { index[gvr] }
    package func first(kind: GroupVersionKind) -> ServedResource? { all.first { $0.gvk == kind } }
}
