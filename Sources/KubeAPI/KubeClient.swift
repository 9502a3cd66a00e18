package import Codecs

/// How components reach the API: in the server's own process the API server itself (no HTTP, no copies), on another node
/// HTTPS. A component cannot tell which one it has.
///
/// Semantics are those of the HTTP API: the object that comes back is the stored one; `APIError` is the Status.
package protocol KubeClient: Sendable {
    func get(_ resource: GroupVersionResource, namespace: String, name: String) async throws(APIError) -> KubeObject
    /// namespace nil: all namespaces (or a resource without any).
    func list(
        _ resource: GroupVersionResource, namespace: String?, options: ListOptions
    ) async throws(APIError) -> ObjectList
    /// From `options.resourceVersion` (exclusive) on; without it, first an ADDED for each object there is.
    func watch(
        _ resource: GroupVersionResource, namespace: String?, options: ListOptions
    ) async throws(APIError) -> any WatchStream
    func create(
        _ resource: GroupVersionResource, _ object: KubeObject, subresource: String?, name: String?
    ) async throws(APIError) -> KubeObject
    /// `object.resourceVersion` 0 means: whatever is there. subresource: nil, "status", "scale", ...
    func update(
        _ resource: GroupVersionResource, _ object: KubeObject, subresource: String?
    ) async throws(APIError) -> KubeObject
    func patch(
        _ resource: GroupVersionResource, namespace: String, name: String, _ patch: JSON, type: PatchType,
        subresource: String?
    ) async throws(APIError) -> KubeObject
    /// The object as it is now (being deleted) or was last (gone).
    @discardableResult
    func delete(
        _ resource: GroupVersionResource, namespace: String, name: String, options: DeleteOptions
    ) async throws(APIError) -> KubeObject
}

package enum PatchType: String, Sendable {
    case json = "application/json-patch+json"
    case merge = "application/merge-patch+json"
    case strategic = "application/strategic-merge-patch+json"
    case apply = "application/apply-patch+yaml"
}

package struct ListOptions: Sendable {
    package var labelSelector = LabelSelector.everything
    package var fieldSelector = FieldSelector.everything
    /// nil: most recent.
    package var resourceVersion: Int64?
    /// A hint: objects that are controlled by another uid than this one may be left out. Who gives it looks for itself.
    package var claimant: String?
    package init(
        labels: LabelSelector = .everything, fields: FieldSelector = .everything, resourceVersion: Int64? = nil,
        claimant: String? = nil
    ) {
        (labelSelector, fieldSelector, self.resourceVersion) = (labels, fields, resourceVersion)
        self.claimant = claimant
    }
}

package struct ObjectList: Sendable {
    package var items: [EncodedObject]
    /// Watch from here to see everything after this list.
    package var resourceVersion: Int64
    package init(items: [EncodedObject], resourceVersion: Int64) {
        (self.items, self.resourceVersion) = (items, resourceVersion)
    }
    package func decoded() throws(APIError) -> [KubeObject] {
        var objects: [KubeObject] = []
        objects.reserveCapacity(items.count)
        for item in items { objects.append(try item.decode()) }
        return objects
    }
}

package struct DeleteOptions: Sendable {
    package enum Propagation: String, Sendable {
        case orphan = "Orphan"
        case background = "Background"
        case foreground = "Foreground"
    }
    package var gracePeriodSeconds: Int64?
    package var uid: String?
    package var resourceVersion: Int64?
    package var propagation: Propagation?
    package init(
        gracePeriodSeconds: Int64? = nil, uid: String? = nil, resourceVersion: Int64? = nil,
        propagation: Propagation? = nil
    ) {
        self.gracePeriodSeconds = gracePeriodSeconds
        self.uid = uid
        self.resourceVersion = resourceVersion
        self.propagation = propagation
    }
}

package struct WatchEvent: Sendable {
    package enum Kind: String, Sendable {
        case added = "ADDED"
        case modified = "MODIFIED"
        case deleted = "DELETED"
        case bookmark = "BOOKMARK"
    }
    package var kind: Kind
    package var object: EncodedObject
    package init(_ kind: Kind, _ object: EncodedObject) { (self.kind, self.object) = (kind, object) }
}

package protocol WatchStream: Sendable {
    /// The next event; nil: the stream ended (closed, or the task was cancelled): list and watch again.
    /// Throws `expired` where the revision is no longer there.
    func next() async throws(APIError) -> WatchEvent?
    func close()
}

extension KubeClient {
    package func create(_ resource: GroupVersionResource, _ object: KubeObject) async throws(APIError) -> KubeObject {
        try await create(resource, object, subresource: nil, name: nil)
    }
    package func update(_ resource: GroupVersionResource, _ object: KubeObject) async throws(APIError) -> KubeObject {
        try await update(resource, object, subresource: nil)
    }
    package func updateStatus(
        _ resource: GroupVersionResource, _ object: KubeObject
    ) async throws(APIError) -> KubeObject {
        try await update(resource, object, subresource: "status")
    }
    package func list(
        _ resource: GroupVersionResource, namespace: String? = nil
    ) async throws(APIError) -> ObjectList {
        try await list(resource, namespace: namespace, options: ListOptions())
    }
    package func getIfPresent(
        _ resource: GroupVersionResource, namespace: String, name: String
    ) async throws(APIError) -> KubeObject? {
        do throws(APIError) {
            return try await get(resource, namespace: namespace, name: name)
        } catch {
            if error.isNotFound { return nil }
            throw error
        }
    }
    /// Deletes this very object (by its uid), which may be gone already: then the answer is false.
    @discardableResult
    package func deleteIfPresent(
        _ resource: GroupVersionResource, _ object: KubeObject, propagation: DeleteOptions.Propagation? = nil
    ) async throws(APIError) -> Bool {
        let options = DeleteOptions(uid: object.uid.isEmpty ? nil : object.uid, propagation: propagation)
        do throws(APIError) {
            try await delete(resource, namespace: object.namespace, name: object.name, options: options)
            return true
        } catch {
            if error.isNotFound { return false }
            throw error
        }
    }
}
