package import Codecs
package import KubeAPI
internal import Store

extension Registry {
    /// Makes the new state from the current one; called again when somebody else was faster.
    package typealias Change = (KubeObject) async throws(APIError) -> KubeObject
    /// The same, for those who also say who owns what; nil: the writer owns what it changes.
    typealias OwningChange = (KubeObject, EncodedObject) async throws(APIError) -> (KubeObject, ManagedFields?)

    /// Replaces an object (`subresource` "") or what a subresource owns of it.
    ///
    /// - Parameter retries: how often a patch is put on the new state when somebody else was faster. nil: an update, which
    ///   is refused then if it came with a resource version and goes on until it succeeds if it did not.
    package func update(
        _ resource: ServedResource, namespace: String, name: String, subresource: String = "",
        _ scope: RequestScope, retries: Int? = nil, change: Change
    ) async throws(APIError) -> (stored: EncodedObject, object: KubeObject) {
        try await update(
            resource, namespace: namespace, name: name, subresource: subresource, scope, retries: retries
        ) { old, _ throws(APIError) in (try await change(old), nil) }
    }

    func update(
        _ resource: ServedResource, namespace: String, name: String, subresource: String,
        _ scope: RequestScope, retries: Int?, change: OwningChange
    ) async throws(APIError) -> (stored: EncodedObject, object: KubeObject) {
        var attempt = 0
        while true {
            attempt += 1
            let entry = try entry(resource, namespace, name)
            let old = try KubeObject(decoding: entry)
            let shownOld = resource.view.map { canonical($0.show(old), resource) } ?? old
            let current = EncodedObject(bytes: entry.value, resourceVersion: entry.modRevision)
            let (changed, managed) = try await change(shownOld, current)
            var new = changed
            try checkIdentity(new, old: old, resource, namespace, name)
            let asked = new.resourceVersion
            if asked != 0, asked != entry.modRevision { throw .modified(resource.gvr, name) }
            if asked == 0, !resource.allowsUnconditionalUpdate {
                // Sic: the plural, and the number as upstream prints it.
                throw .invalid(
                    GroupVersionKind(resource.gvr.groupVersion, resource.gvr.resource), name,
                    [.init(.invalid, "metadata.resourceVersion", "Invalid value: 0x0: must be specified for an update")]
                )
            }
            let owners =
                managed
                ?? fieldsOfUpdated(&new, shownOld, current, resource, subresource: subresource, scope)
            if let result = try await replace(
                entry, old, with: new, owners, resource, namespace, subresource, scope)
            {
                return result
            }
            if retries.map({ attempt >= $0 }) ?? (asked != 0) || Task.isCancelled {
                throw .modified(resource.gvr, name)
            }
        }
    }

    /// nil: somebody else was faster.
    private func replace(
        _ entry: StoreEntry, _ old: KubeObject, with new: KubeObject, _ owners: ManagedFields?,
        _ resource: ServedResource, _ namespace: String, _ subresource: String, _ scope: RequestScope
    ) async throws(APIError) -> (stored: EncodedObject, object: KubeObject)? {
        var object = new
        object.metadata.withObject { keepSystemFields(&$0, of: old.metadata) }
        var request = AdmissionRequest(
            .update, resource.gvr, resource.gvk, subresource: subresource, namespace: namespace, name: old.name,
            object: object, old: old, scope: scope)
        object = KubeObject(.null)
        defer { scope.finish() }
        try await admission.mutate(&request, self)
        object = request.object
        request.object = KubeObject(.null)

        let storage = storageResource(resource)
        if let view = resource.view { object = view.store(object, old) }
        keepOtherHalf(&object, old, storage, subresource)
        storage.strategy.prepareForUpdate(&object, old: old, subresource: subresource, scope)
        let reservation =
            subresource.isEmpty ? try hooks[resource.prefix]?.reserve(&object, old: old, scope: scope) ?? .none : .none
        do throws(APIError) {
            object = canonical(object, storage)
            countGeneration(&object, old, storage, subresource)
            var check = Validation()
            validateMetadata(object, storage, &check)
            validateMetadataUpdate(object, old, &check)
            // Of the version that was asked for: some are stricter than the one that is stored.
            resource.strategy.validateUpdate(object, old: old, subresource: subresource, &check)
            if !check.errors.isEmpty { throw .invalid(resource.gvk, old.name, check.errors) }
            let isChange =
                !storage.strategy.tracksGeneration || object.metadata["generation"] != old.metadata["generation"]
            if subresource.isEmpty, isChange {
                for warning in storage.strategy.warnings(for: object) { scope.warn(warning) }
            }
            request.object = object
            try await admission.validate(request, self)
            request.object = KubeObject(.null)
        } catch {
            reservation.rollback()
            throw error
        }
        let written: EncodedObject
        do throws(StoreError) {
            written = try await commit(
                object, owners, over: entry, old, storage, subresource: subresource, dryRun: scope.dryRun)
        } catch {
            reservation.rollback()
            if case .conflict = error { return nil }
            throw apiError(error, resource, old.name)
        }
        if scope.dryRun { reservation.rollback() } else { reservation.commit() }
        object.resourceVersion = written.resourceVersion
        guard resource.view != nil else { return (written, object) }
        let shown = try show(written, resource)
        return (shown, try shown.decode())
    }

    /// Writes, unless nothing changed; removes an object that was only waiting for its last finalizer.
    /// - Parameter owners: nil: as they are.
    func commit(
        _ object: KubeObject, _ owners: ManagedFields? = nil, over entry: StoreEntry, _ old: KubeObject,
        _ resource: ServedResource,
        subresource: String, dryRun: Bool
    ) async throws(StoreError) -> EncodedObject {
        let managed = owners.map(StoredManagedFields.encode) ?? ObjectTemplate.managedFields(in: entry.value)
        let template = ObjectTemplate(object, managed: managed)
        if template.matches(entry.value) {
            return EncodedObject(bytes: entry.value, resourceVersion: entry.modRevision)
        }
        if dryRun {
            return EncodedObject(
                bytes: template.encoded(revision: entry.modRevision), resourceVersion: entry.modRevision)
        }
        if object.isBeingDeleted, old.isBeingDeleted, resource.strategy.isReadyToGo(object) {
            let (revision, previous) = try await store.delete(entry.key, expected: entry.modRevision) {
                template.encoded(revision: $0)
            }
            hooks[resource.prefix]?.release(object)
            return EncodedObject(bytes: previous.value, resourceVersion: revision)
        }
        let urgency = resource.strategy.durability(of: object, old: old, subresource: subresource)
        let written = try await store.update(
            entry.key, expected: entry.modRevision, durability: urgency == .deferred ? .deferred : .durable
        ) { template.encoded(revision: $0) }
        return EncodedObject(bytes: written.value, resourceVersion: written.modRevision)
    }

    func checkIdentity(
        _ new: KubeObject, old: KubeObject, _ resource: ServedResource, _ namespace: String, _ name: String
    ) throws(APIError) {
        try checkKind(new, resource)
        guard new.name == name else {
            if new.name.isEmpty {
                throw .badRequest("name must be provided")
            }
            throw .badRequest(
                "the name of the object (\(new.name)) does not match the name on the URL (\(name))")
        }
        if resource.namespaced, !new.namespace.isEmpty, new.namespace != namespace {
            throw .badRequest(
                "the namespace of the object (\(new.namespace)) does not match the namespace on the request (\(namespace))"
            )
        }
        if !new.uid.isEmpty, new.uid != old.uid {
            throw .conflict(
                resource.gvr, name,
                "Precondition failed: UID in precondition: \(new.uid), UID in object meta: \(old.uid)")
        }
    }

    /// What no client may change comes from the stored object; where a client sent something else, validation will
    /// have seen it as a conflict or it is ignored as upstream does.
    private func keepSystemFields(_ metadata: inout JSONObject, of old: JSON) {
        for key in ["namespace", "generateName", "selfLink", "uid", "generation"] {
            metadata[key] = old[key].isNull ? nil : old[key]
        }
        for key in ["creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"]
        where metadata[key] == nil || metadata[key] == .null {
            metadata[key] = old[key].isNull ? nil : old[key]
        }
    }

    /// An object's own endpoint leaves the status alone, the status endpoint everything but status and metadata.
    private func keepOtherHalf(
        _ object: inout KubeObject, _ old: KubeObject, _ resource: ServedResource, _ subresource: String
    ) {
        if subresource.isEmpty, resource.hasStatus {
            object.json["status"] = old.json["status"]
        } else if subresource == "status" {
            let (metadata, status) = (object.metadata, object.status)
            object = old
            object.json["metadata"] = metadata
            object.json["status"] = status
            // Who owns an object is not its status.
            object.metadata["ownerReferences"] = old.metadata["ownerReferences"]
            object.metadata["finalizers"] = old.metadata["finalizers"]
        }
    }

    private func countGeneration(
        _ object: inout KubeObject, _ old: KubeObject, _ resource: ServedResource, _ subresource: String
    ) {
        // Being bound is not a change of what was asked for.
        guard resource.strategy.tracksGeneration, subresource != "status", subresource != "binding" else { return }
        let same =
            (object.json.object ?? JSONObject()).members.allSatisfy { key, value in
                key == "metadata" || key == "status" || key == "apiVersion" || key == "kind" || value == old.json[key]
            } && (old.json.object ?? JSONObject()).keys.allSatisfy { $0 == "status" || !object.json[$0].isNull }
        let marked = object.isBeingDeleted && !old.isBeingDeleted
        let counted = resource.strategy.metadataCounted.contains { object.metadata[$0] != old.metadata[$0] }
        object.metadata["generation"] = .int(max(old.generation, 1) + (same && !marked && !counted ? 0 : 1))
    }
}

extension KubeObject {
    init(decoding entry: StoreEntry) throws(APIError) {
        self = try EncodedObject(bytes: entry.value, resourceVersion: entry.modRevision).decode()
    }
}
