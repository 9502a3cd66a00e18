internal import Codecs
package import KubeAPI
import Synchronization

/// Removes objects whose owners are gone, and carries out foreground and orphaning deletions.
/// Source: k8s.io/kubernetes/pkg/controller/garbagecollector.
///
/// It keeps no graph of all objects: only who names whom as owner (a uid and a place for each object that has owners),
/// and the owners that wait in a foreground or orphaning deletion.
package final class GarbageCollector: Controller {
    package let name = "garbage-collector-controller"
    package let concurrency = 4

    /// Where an object is.
    struct Place: Sendable, Hashable {
        var resource: GroupVersionResource
        var key: ObjectKey
        var uid: String
    }
    private struct Index {
        /// Owner's uid to the places of those it owns.
        var dependents: [String: Set<Place>] = [:]
        /// Dependent's uid to its owners' uids.
        var owners: [String: [String]] = [:]
        /// Owners with a finalizer of ours.
        var waiting: [String: Place] = [:]
    }

    private let client: any KubeClient
    private let resources: [GroupVersionResource]
    private let resolve: @Sendable (GroupVersionKind) -> (resource: GroupVersionResource, namespaced: Bool)?
    private let index = Mutex(Index())

    /// `resolve`: where objects of a kind live; nil: no such kind is served, and nothing is concluded from its absence.
    package init(
        client: any KubeClient, resources: [GroupVersionResource],
        resolve: @escaping @Sendable (GroupVersionKind) -> (resource: GroupVersionResource, namespaced: Bool)?
    ) {
        (self.client, self.resources, self.resolve) = (client, resources, resolve)
    }

    private static let foreground = "foregroundDeletion"
    private static let orphan = "orphan"

    package var sources: [WatchSource] {
        resources.map { resource in
            WatchSource(resource, needsMetadataOnly: true, relisting: { [self] in forget(resource) }) {
                [self] object, kind in
                observe(resource, object, kind)
            }
        }
    }

    // MARK: - Index

    private func forget(_ resource: GroupVersionResource) {
        index.withLock { index in
            for (owner, places) in index.dependents {
                let kept = places.filter { $0.resource != resource }
                for place in places where place.resource == resource { index.owners[place.uid] = nil }
                index.dependents[owner] = kept.isEmpty ? nil : kept
            }
            index.waiting = index.waiting.filter { $0.value.resource != resource }
        }
    }

    /// Keys are uids: of an owner that is gone or waits (namespace "owner"), or of a dependent to check ("dependent").
    private func observe(_ resource: GroupVersionResource, _ object: KubeObject, _ kind: WatchEvent.Kind) -> [ObjectKey]
    {
        let uid = object.uid
        let place = Place(resource: resource, key: object.key, uid: uid)
        let owners = kind == .deleted ? [] : object.ownerReferences.map(\.uid)
        let finalizers = object.isBeingDeleted && kind != .deleted ? object.finalizers : []
        let waits = finalizers.contains(Self.foreground) || finalizers.contains(Self.orphan)
        return index.withLock { index in
            var keys: [ObjectKey] = []
            let before = index.owners[uid] ?? []
            if before != owners {
                for owner in before where !owners.contains(owner) {
                    index.dependents[owner]?.remove(place)
                    if index.dependents[owner]?.isEmpty == true { index.dependents[owner] = nil }
                }
                for owner in owners { index.dependents[owner, default: []].insert(place) }
                index.owners[uid] = owners.isEmpty ? nil : owners
                if !owners.isEmpty { keys.append(ObjectKey(namespace: "dependent", name: uid)) }
            }
            // An owner that waits for this one looks again.
            for owner in before where index.waiting[owner] != nil {
                keys.append(ObjectKey(namespace: "owner", name: owner))
            }
            index.waiting[uid] = waits ? place : nil
            if waits || kind == .deleted && index.dependents[uid] != nil {
                keys.append(ObjectKey(namespace: "owner", name: uid))
            }
            return keys
        }
    }

    // MARK: - Work

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        let (dependents, waiting) = index.withLock { index in
            (Array(index.dependents[key.name] ?? []), index.waiting[key.name])
        }
        if key.namespace == "dependent" {
            let place = index.withLock { index in
                index.owners[key.name]?.first.flatMap { index.dependents[$0]?.first { $0.uid == key.name } }
            }
            if let place { try await collect(place) }
        } else if let waiting {
            try await finishDeletion(of: waiting, dependents)
        } else {
            try await concurrently(dependents) { [self] place throws(APIError) in try await collect(place) }
        }
        return nil
    }

    /// Deletes an object none of whose owners exists; strikes out single owners that do not.
    private func collect(_ place: Place) async throws(APIError) {
        guard let object = try await current(place), !object.isBeingDeleted else { return }
        var (solid, dangling, waiting): ([OwnerReference], [OwnerReference], [OwnerReference]) = ([], [], [])
        for reference in object.ownerReferences {
            switch try await state(of: reference, namespace: object.namespace) {
            case .absent: dangling.append(reference)
            case .waiting: waiting.append(reference)
            case .present: solid.append(reference)
            }
        }
        guard !dangling.isEmpty || !waiting.isEmpty else { return }
        if !solid.isEmpty {
            _ = try await client.patch(
                place.resource, namespace: place.key.namespace, name: place.key.name,
                ["metadata": ["uid": .string(place.uid), "ownerReferences": .array(solid.map(\.json))]], type: .merge,
                subresource: nil)
            return
        }
        let dependents = index.withLock { $0.dependents[place.uid] ?? [] }
        if !waiting.isEmpty, !dependents.isEmpty {
            // A dependent that itself waits for its dependents: a circle, in which each would block the other.
            let isCircle = index.withLock { index in dependents.contains { index.waiting[$0.uid] != nil } }
            if isCircle { try await unblock(object, place) }
            try await delete(place, .foreground)
        } else {
            let finalizers = object.finalizers
            try await delete(
                place,
                finalizers.contains(Self.orphan)
                    ? .orphan : finalizers.contains(Self.foreground) ? .foreground : .background)
        }
    }

    private func unblock(_ object: KubeObject, _ place: Place) async throws(APIError) {
        var references = object.ownerReferences
        for i in references.indices { references[i].blockOwnerDeletion = false }
        guard references != object.ownerReferences else { return }
        _ = try await client.patch(
            place.resource, namespace: place.key.namespace, name: place.key.name,
            ["metadata": ["uid": .string(place.uid), "ownerReferences": .array(references.map(\.json))]], type: .merge,
            subresource: nil)
    }

    private enum OwnerState { case present, waiting, absent }

    private func state(of reference: OwnerReference, namespace: String) async throws(APIError) -> OwnerState {
        guard let gv = GroupVersion(reference.apiVersion),
            let (resource, namespaced) = resolve(GroupVersionKind(gv, reference.kind)),
            // What is of the whole cluster cannot be owned from within a namespace: nothing follows from such a reference.
            !namespaced || !namespace.isEmpty
        else { return .present }
        guard
            let owner = try await client.getIfPresent(
                resource, namespace: namespaced ? namespace : "", name: reference.name), owner.uid == reference.uid
        else { return .absent }
        return owner.isBeingDeleted && owner.finalizers.contains(Self.foreground) ? .waiting : .present
    }

    private func finishDeletion(of owner: Place, _ dependents: [Place]) async throws(APIError) {
        guard let object = try await current(owner), object.isBeingDeleted else { return }
        if object.finalizers.contains(Self.orphan) {
            try await concurrently(dependents) { [self] place throws(APIError) in
                guard let dependent = try await current(place) else { return }
                let kept = dependent.ownerReferences.filter { $0.uid != owner.uid }
                _ = try await client.patch(
                    place.resource, namespace: place.key.namespace, name: place.key.name,
                    ["metadata": ["uid": .string(place.uid), "ownerReferences": .array(kept.map(\.json))]],
                    type: .merge,
                    subresource: nil)
            }
            try await remove(Self.orphan, from: object, owner)
        } else if object.finalizers.contains(Self.foreground) {
            var blocking = 0
            for place in dependents {
                guard let dependent = try await current(place) else { continue }
                if dependent.ownerReferences.contains(where: { $0.uid == owner.uid && $0.blockOwnerDeletion }) {
                    blocking += 1
                }
                if !dependent.isBeingDeleted { try await collect(place) }
            }
            if blocking == 0 { try await remove(Self.foreground, from: object, owner) }
        }
    }

    private func remove(_ finalizer: String, from object: KubeObject, _ place: Place) async throws(APIError) {
        _ = try await client.patch(
            place.resource, namespace: place.key.namespace, name: place.key.name,
            [
                "metadata": [
                    "resourceVersion": .string(String(object.resourceVersion)),
                    "finalizers": .strings(object.finalizers.filter { $0 != finalizer }),
                ]
            ], type: .merge, subresource: nil)
    }

    /// nil: gone, or another object of the same name.
    private func current(_ place: Place) async throws(APIError) -> KubeObject? {
        let object = try await client.getIfPresent(place.resource, namespace: place.key.namespace, name: place.key.name)
        return object?.uid == place.uid ? object : nil
    }

    private func delete(_ place: Place, _ propagation: DeleteOptions.Propagation) async throws(APIError) {
        do throws(APIError) {
            try await client.delete(
                place.resource, namespace: place.key.namespace, name: place.key.name,
                options: DeleteOptions(uid: place.uid, propagation: propagation))
        } catch {
            if !error.isNotFound && !error.isConflict { throw error }
        }
    }
}
