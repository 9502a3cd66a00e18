package import Codecs
package import KubeAPI
internal import Store

package enum Deletion: Sendable {
    /// The object is gone; this was its last state.
    case gone(EncodedObject)
    /// It waits for its grace period, its finalizers or (a namespace) its content.
    case pending(EncodedObject)

    package var object: EncodedObject {
        switch self {
        case .gone(let object), .pending(let object): object
        }
    }
}

extension Registry {
    /// - Parameter filter: called for the current state before each attempt; deletecollection checks its selectors.
    package func delete(
        _ resource: ServedResource, namespace: String, name: String, _ options: DeleteOptions, _ scope: RequestScope
    ) async throws(APIError) -> Deletion {
        let storage = storageResource(resource)
        var checked = false
        while true {
            let entry = try entry(resource, namespace, name)
            let old = try KubeObject(decoding: entry)
            try check(options, old, entry, resource)
            if !checked {
                checked = true
                let request = AdmissionRequest(
                    .delete, resource.gvr, resource.gvk, namespace: namespace, name: name, object: KubeObject(.null),
                    old: old, scope: scope)
                try await admission.validate(request, self)
                // Admission may have waited; what it saw is only good for the state that it saw.
            }
            do throws(StoreError) {
                let deletion = try await attempt(storage, entry, old, options, scope)
                guard resource.view != nil else { return deletion }
                do throws(APIError) {
                    switch deletion {
                    case .gone(let object): return .gone(try show(object, resource))
                    case .pending(let object): return .pending(try show(object, resource))
                    }
                } catch {
                    throw StoreError.unavailable(error.message)
                }
            } catch {
                switch error {
                case .conflict: if options.resourceVersion != nil { throw .modified(resource.gvr, name) }
                case .unavailable(let why) where why == Self.namespaceIsGoing:
                    throw .conflict(resource.gvr, name, why)
                default: throw apiError(error, resource, name)
                }
            }
        }
    }

    private static let namespaceIsGoing =
        "The system is ensuring all content is removed from this namespace.  Upon completion, this namespace will "
        + "automatically be purged by the system."

    private func check(
        _ options: DeleteOptions, _ old: KubeObject, _ entry: StoreEntry, _ resource: ServedResource
    ) throws(APIError) {
        if let uid = options.uid, uid != old.uid {
            throw .conflict(
                resource.gvr, old.name,
                "Precondition failed: UID in precondition: \(uid), UID in object meta: \(old.uid)")
        }
        if let version = options.resourceVersion, version != entry.modRevision {
            throw .conflict(
                resource.gvr, old.name,
                "Precondition failed: ResourceVersion in precondition: \(version), ResourceVersion in object meta: "
                    + "\(entry.modRevision)")
        }
    }

    private func attempt(
        _ resource: ServedResource, _ entry: StoreEntry, _ old: KubeObject, _ options: DeleteOptions,
        _ scope: RequestScope
    ) async throws(StoreError) -> Deletion {
        var object = old
        var changed = setFinalizers(&object, resource, options)
        let grace = setGracePeriod(&object, old, resource, options, scope)
        changed = changed || grace.changed
        let waits =
            grace.waits || !object.finalizers.isEmpty
            || resource.gvr == .namespaces && !object.spec["finalizers"].elements.isEmpty
        guard waits else {
            if scope.dryRun { return .gone(EncodedObject(bytes: entry.value, resourceVersion: entry.modRevision)) }
            let managed = ObjectTemplate.managedFields(in: entry.value)
            let last =
                object == old
                ? entry.value
                : ObjectTemplate(canonical(object, resource), managed: managed).encoded(revision: entry.modRevision)
            let (revision, previous) = try await store.delete(entry.key, expected: entry.modRevision) {
                ObjectTemplate.replacingVersion(in: last, with: $0)
            }
            hooks[resource.prefix]?.release(object)
            return .gone(EncodedObject(bytes: previous.value, resourceVersion: revision))
        }
        if !object.isBeingDeleted {
            object.metadata["deletionTimestamp"] = .string(scope.now.rfc3339)
            object.metadata["deletionGracePeriodSeconds"] = 0
            changed = true
        } else if resource.gvr == .namespaces, old.isBeingDeleted, !changed {
            throw .unavailable(Self.namespaceIsGoing)
        }
        guard changed else { return .pending(EncodedObject(bytes: entry.value, resourceVersion: entry.modRevision)) }
        if !old.isBeingDeleted {
            resource.strategy.markDeleted(&object)
            if old.generation > 0 { object.metadata["generation"] = .int(old.generation + 1) }
        }
        let written = try await commit(
            canonical(object, resource), over: entry, old, resource, subresource: "", dryRun: scope.dryRun)
        return .pending(written)
    }

    /// A pod that was asked to go can be asked to go sooner, never later.
    private func setGracePeriod(
        _ object: inout KubeObject, _ old: KubeObject, _ resource: ServedResource, _ options: DeleteOptions,
        _ scope: RequestScope
    ) -> (waits: Bool, changed: Bool) {
        guard let grace = resource.strategy.gracePeriod(of: old, requested: options.gracePeriodSeconds) else {
            return (false, false)
        }
        let from: Timestamp
        let seconds: Int64
        if old.isBeingDeleted {
            let existing = old.metadata["deletionGracePeriodSeconds"].int ?? 0
            guard existing > 0 else { return (false, false) }
            guard let asked = options.gracePeriodSeconds, asked < existing else { return (true, false) }
            from = old.deletionTimestamp?.advanced(by: .seconds(-existing)) ?? scope.now
            seconds = max(asked, 0)
        } else {
            guard grace > 0 else { return (false, false) }
            (from, seconds) = (scope.now, grace)
        }
        object.metadata["deletionTimestamp"] = .string(from.advanced(by: .seconds(seconds)).rfc3339)
        object.metadata["deletionGracePeriodSeconds"] = .int(seconds)
        return (seconds > 0, true)
    }

    /// The garbage collector's two finalizers, by the propagation policy. Returns whether they changed.
    private func setFinalizers(_ object: inout KubeObject, _ resource: ServedResource, _ options: DeleteOptions) -> Bool
    {
        let old = object.finalizers
        var wanted: String?
        switch options.propagation {
        case .orphan: wanted = "orphan"
        case .foreground: wanted = "foregroundDeletion"
        case .background: wanted = nil
        case nil:
            if old.contains("orphan") {
                wanted = "orphan"
            } else if old.contains("foregroundDeletion") {
                wanted = "foregroundDeletion"
            } else if resource.strategy.orphansDependents {
                wanted = "orphan"
            }
        }
        var finalizers = old.filter { $0 != "orphan" && $0 != "foregroundDeletion" || $0 == wanted }
        if let wanted, !finalizers.contains(wanted) { finalizers.append(wanted) }
        guard finalizers != old else { return false }
        object.finalizers = finalizers
        return true
    }

    /// Deletes what a list with these parameters would show; what goes meanwhile is fine.
    package func deleteCollection(
        _ resource: ServedResource, namespace: String?, _ parameters: ListParameters, _ options: DeleteOptions,
        _ scope: RequestScope
    ) async throws(APIError) -> ListPage {
        let page = try list(resource, namespace: namespace, parameters)
        for item in page.items {
            let name = RawJSON.text(of: ["metadata", "name"], in: item.stored) ?? ""
            let space = RawJSON.text(of: ["metadata", "namespace"], in: item.stored) ?? ""
            do throws(APIError) {
                _ = try await delete(resource, namespace: space, name: name, options, scope)
            } catch {
                if !error.isNotFound, !(resource.gvr == .namespaces && error.isConflict) { throw error }
            }
        }
        return page
    }
}
