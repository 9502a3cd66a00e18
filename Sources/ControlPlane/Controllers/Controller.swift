internal import Codecs
package import KubeAPI

/// A controller: brings the objects behind one key to the state that their spec asks for.
///
/// Level-triggered: a reconcile reads what it needs through the client and does not know which event woke it. It may run
/// at any time, twice, or after a crash half way; keys of one controller are reconciled one at a time, so it needs no
/// locks. Throwing means "again, after a back-off". Nothing is remembered between calls but what makes them cheaper.
package protocol Controller: Sendable {
    /// As in log lines and user agents: "deployment-controller".
    var name: String { get }
    var sources: [WatchSource] { get }
    /// How many keys may be reconciled at the same time.
    var concurrency: Int { get }
    /// Returns after which time to look again even without an event.
    func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration?
    /// The keys that a key stands for ("whoever wants this orphan"): they are queued and worked on in its place, each by
    /// itself, so that no two workers ever are at one object. nil: the key stands for itself.
    func expand(_ key: ObjectKey) async throws(APIError) -> [ObjectKey]?
}

extension Controller {
    package var concurrency: Int { 1 }
    package func expand(_ key: ObjectKey) async throws(APIError) -> [ObjectKey]? { nil }
}

extension KubeClient {
    /// Writes the status that an object's controller has worked out, where it differs from the one that was read. What
    /// else has changed in the object meanwhile is no hindrance; a status that somebody else has written is a conflict.
    func writeStatus(
        _ status: JSON, of object: KubeObject, _ resource: GroupVersionResource
    ) async throws(APIError) {
        guard status != object.status else { return }
        _ = try await changeStatus(of: object, resource) { current throws(APIError) in
            if current.status != object.status { throw .modified(resource, object.name) }
            current.status = status
        }
    }

    /// Changes something in an object's status and leaves what others write there: where one was faster, the change is made
    /// to what is there then.
    func changeStatus(
        of object: KubeObject, _ resource: GroupVersionResource, _ change: (inout KubeObject) throws(APIError) -> Void
    ) async throws(APIError) -> KubeObject {
        var current = object
        var attempt = 1
        while true {
            var changed = current
            try change(&changed)
            do throws(APIError) {
                return try await updateStatus(resource, changed)
            } catch {
                if !error.isConflict || attempt == 5 { throw error }
                current = try await get(resource, namespace: object.namespace, name: object.name)
                if current.uid != object.uid { throw error }
                attempt += 1
            }
        }
    }
}

/// Which events concern a controller, and whom they wake.
package struct WatchSource: Sendable {
    package let resource: GroupVersionResource
    /// Keys to reconcile because of this object. An object's last state comes with `.deleted`.
    package let keys: @Sendable (KubeObject, WatchEvent.Kind) -> [ObjectKey]
    /// A new list follows: deletions may have been missed. For those who keep an index.
    package let relisting: @Sendable () -> Void
    /// `keys` looks at nothing but the metadata: where that holds for all who watch, no more is decoded.
    package let needsMetadataOnly: Bool

    package init(
        _ resource: GroupVersionResource, needsMetadataOnly: Bool = false,
        relisting: @escaping @Sendable () -> Void = {},
        keys: @escaping @Sendable (KubeObject, WatchEvent.Kind) -> [ObjectKey]
    ) {
        (self.resource, self.relisting, self.keys) = (resource, relisting, keys)
        self.needsMetadataOnly = needsMetadataOnly
    }

    /// The object itself.
    package static func own(_ resource: GroupVersionResource) -> WatchSource {
        WatchSource(resource) { object, _ in [object.key] }
    }

    /// The controller that owns the object, if it is of this kind.
    /// - Parameter onlyDeleted: whatever else happens to the object is the controller's own doing.
    package static func owner(
        _ kind: String, of resource: GroupVersionResource, onlyDeleted: Bool = false
    ) -> WatchSource {
        WatchSource(resource) { object, event in
            guard let owner = object.controller, owner.kind == kind, event == .deleted || !onlyDeleted else {
                return []
            }
            return [ObjectKey(namespace: object.namespace, name: owner.name)]
        }
    }

    /// An object that nobody controls: any workload of its namespace that selects it may want it. See `Orphans`.
    package static func orphans(of resource: GroupVersionResource) -> WatchSource {
        WatchSource(resource) { object, kind in
            guard kind != .deleted, !object.isBeingDeleted, object.controller == nil, !object.metadata["labels"].isNull
            else { return [] }
            return [Orphans.key(object)]
        }
    }
}

/// Keys that stand for "whoever wants this orphan". Not names that objects can have.
enum Orphans {
    private static let prefix = "\u{1}orphan:"

    static func key(_ object: KubeObject) -> ObjectKey {
        ObjectKey(namespace: object.namespace, name: prefix + object.name)
    }

    /// The owners of the namespace whose selector matches the orphan; nil for any other key.
    static func wanted(
        _ key: ObjectKey, in resource: GroupVersionResource = .pods, by owners: GroupVersionResource,
        _ client: any KubeClient
    ) async throws(APIError) -> [ObjectKey]? {
        guard key.name.hasPrefix(prefix) else { return nil }
        let name = String(key.name.dropFirst(prefix.count))
        guard let orphan = try await client.getIfPresent(resource, namespace: key.namespace, name: name),
            orphan.controller == nil, !orphan.isBeingDeleted
        else { return [] }
        let labels = orphan.labels
        var wanted: [ObjectKey] = []
        for item in try await client.list(owners, namespace: key.namespace).items {
            let owner = try item.decode()
            if !owner.isBeingDeleted, try LabelSelector(workload: owner).matches(labels) { wanted.append(owner.key) }
        }
        return wanted
    }
}

extension LabelSelector {
    /// `spec.selector`: a label selector, or the plain map that a ReplicationController has.
    init(workload: KubeObject) throws(APIError) {
        if workload.kind == "ReplicationController" {
            let labels = workload.spec["selector"].stringMap
            self = labels.isEmpty ? .nothing : .equal(labels)
        } else {
            try self.init(json: workload.spec["selector"])
        }
    }
}
