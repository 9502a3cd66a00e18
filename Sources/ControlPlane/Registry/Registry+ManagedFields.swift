package import Codecs
package import KubeAPI
internal import Store

/// Who owns which fields: kept with every write through the object or a view of it.
/// Source: k8s.io/apiserver/pkg/endpoints/handlers/fieldmanager.
extension Registry {
    private static let status = FieldSet(fields: ["status"])
    private static let notStatus = FieldSet(fields: [
        "spec", "metadata.ownerReferences", "metadata.finalizers", "metadata.deletionTimestamp",
        "metadata.deletionGracePeriodSeconds",
    ])

    private func writer(
        _ resource: ServedResource, subresource: String, _ operation: ManagedFields.Operation, _ scope: RequestScope
    ) -> FieldManager.Writer {
        var ignored = FieldSet()
        if subresource.isEmpty, resource.hasStatus { ignored = Self.status }
        if subresource == "status" { ignored = Self.notStatus }
        let manager = ManagedFields.Manager(
            scope.fieldManager, operation, resource.gvk.groupVersion.description, subresource: subresource)
        return .init(manager, now: scope.now, ignored: ignored)
    }

    /// Takes the managed fields that a new object came with (a restored one does) and adds the writer's.
    func fieldsOfCreated(
        _ object: inout KubeObject, _ resource: ServedResource, _ scope: RequestScope
    ) -> ManagedFields {
        let given = object.metadata["managedFields"]
        if !given.isNull { object.metadata["managedFields"] = .null }
        return FieldManager(resource.gvk, schema: schema).created(
            object.json, ManagedFields(json: given) ?? ManagedFields(),
            by: writer(resource, subresource: "", .update, scope))
    }

    /// nil: as they are.
    func fieldsOfUpdated(
        _ object: inout KubeObject, _ old: KubeObject, _ current: EncodedObject, _ resource: ServedResource,
        subresource: String, _ scope: RequestScope
    ) -> ManagedFields? {
        let given = object.metadata["managedFields"]
        if !given.isNull { object.metadata["managedFields"] = .null }
        // Binding is a decision about a pod, not a change by somebody who sends the pod.
        if subresource == "binding" { return nil }
        // One empty entry takes all away; what cannot be read leaves what there is.
        if given == [[:]] { return ManagedFields() }
        var managed: ManagedFields
        if subresource.isEmpty, !given.elements.isEmpty, let asked = ManagedFields(json: given) {
            managed = asked
        } else {
            managed = current.managedFields
        }
        if managed.isEmpty { return managed }
        let (shown, new) = (old, object)
        managed = FieldManager(resource.gvk, schema: schema).updated(
            shown.json, new.json, managed, by: writer(resource, subresource: subresource, .update, scope),
            convert: { self.converted($0, shown, new, resource) })
        return managed
    }

    /// Both states in another version of the same stored kind.
    private func converted(
        _ version: String, _ old: KubeObject, _ new: KubeObject, _ resource: ServedResource
    ) -> (old: JSON, new: JSON)? {
        guard let gv = GroupVersion(version),
            let other = resources.first(kind: GroupVersionKind(gv, resource.gvk.kind)), other.prefix == resource.prefix
        else { return nil }
        func convert(_ object: KubeObject) -> JSON {
            let stored = resource.view?.store(object, nil) ?? object
            return canonical(other.view?.show(stored) ?? stored, other).json
        }
        return (convert(old), convert(new))
    }

    // MARK: - Apply

    /// A configuration that a client applies (`kubectl apply --server-side`).
    package struct Application: Sendable {
        package var config: JSON
        /// Takes fields from their owners.
        package var force: Bool
        package init(_ config: JSON, force: Bool) { (self.config, self.force) = (config, force) }
    }

    package func apply(
        _ resource: ServedResource, namespace: String, name: String, subresource: String, _ application: Application,
        _ scope: RequestScope
    ) async throws(APIError) -> (stored: EncodedObject, object: KubeObject, created: Bool) {
        guard case .object = application.config else {
            throw .badRequest("error decoding YAML: expected an object")
        }
        let fields = FieldManager(resource.gvk, schema: schema)
        let writer = writer(resource, subresource: subresource, .apply, scope)
        while true {
            if store.get(resource.key(namespace, name)) == nil {
                if !subresource.isEmpty { throw .notFound(resource.gvr, name) }
                do throws(APIError) {
                    let (stored, object) = try await create(
                        applying: application, fields, writer, resource, namespace, name, scope)
                    return (stored, object, true)
                } catch {
                    // Somebody created it meanwhile: apply to that.
                    guard error.isAlreadyExists, store.get(resource.key(namespace, name)) != nil else { throw error }
                    continue
                }
            }
            let (stored, object) = try await update(
                resource, namespace: namespace, name: name, subresource: subresource, scope,
                retries: Self.patchAttempts
            ) { old, current throws(APIError) in
                let applied = try fields.apply(
                    application.config, to: old.json, current.managedFields, by: writer, force: application.force)
                var new = old
                if let object = applied.object {
                    new = KubeObject(
                        try self.schema.decode(object, as: resource.gvk, defaults: true, clock: self.clock).json)
                }
                return (new, applied.managed)
            }
            return (stored, object, false)
        }
    }

    private func create(
        applying application: Application, _ fields: FieldManager, _ writer: FieldManager.Writer,
        _ resource: ServedResource, _ namespace: String, _ name: String, _ scope: RequestScope
    ) async throws(APIError) -> (stored: EncodedObject, object: KubeObject) {
        let uid = application.config["metadata"]["uid"].string ?? ""
        if !uid.isEmpty {
            throw .conflict(
                resource.gvr, name,
                "uid mismatch: the provided object specified uid \(uid), and no existing object was found")
        }
        var live = fields.empty
        live["metadata"]["name"] = .string(name)
        if resource.namespaced { live["metadata"]["namespace"] = .string(namespace) }
        let applied = try fields.apply(
            application.config, to: live, ManagedFields(), by: writer, force: application.force)
        var object = KubeObject(
            try schema.decode(applied.object ?? live, as: resource.gvk, defaults: true, clock: clock).json)
        guard object.name == name else {
            throw .badRequest("the name of the object (\(object.name)) does not match the name on the URL (\(name))")
        }
        if object.resourceVersion != 0 { throw .notFound(resource.gvr, name) }
        object.metadata["managedFields"] = .null
        return try await create(resource, namespace: namespace, object, scope, managed: applied.managed)
    }
}
