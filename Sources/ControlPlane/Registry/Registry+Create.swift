package import Codecs
package import KubeAPI
internal import Store

extension Registry {
    /// How often a generated name may turn out to be taken.
    private static let generatedNameAttempts = 8

    /// Creates an object that has been decoded (and defaulted) as `resource`'s kind.
    ///
    /// - Parameter managed: of an object that an apply creates, who owns what; nil: the writer owns what it sends.
    package func create(
        _ resource: ServedResource, namespace: String, _ object: KubeObject, _ scope: RequestScope,
        managed: ManagedFields? = nil
    ) async throws(APIError) -> (stored: EncodedObject, object: KubeObject) {
        var object = object
        try checkNamespace(&object, resource, namespace)
        try checkKind(object, resource)
        if object.resourceVersion != 0 {
            throw APIError(
                code: 500, reason: "", message: "resourceVersion should not be set on objects to be created")
        }
        let base = object.metadata["generateName"].string ?? ""
        let generates = object.name.isEmpty && !base.isEmpty
        let owners = managed ?? fieldsOfCreated(&object, resource, scope)
        let managed = StoredManagedFields.encode(owners)
        var attempt = 1
        while true {
            do throws(APIError) {
                return try await createOnce(
                    resource, namespace, object, managed, scope, generateFrom: generates ? base : nil)
            } catch {
                guard generates, error.isAlreadyExists, attempt < Self.generatedNameAttempts else { throw error }
                attempt += 1
            }
        }
    }

    private func createOnce(
        _ resource: ServedResource, _ namespace: String, _ input: KubeObject, _ managed: [UInt8],
        _ scope: RequestScope, generateFrom base: String?
    ) async throws(APIError) -> (stored: EncodedObject, object: KubeObject) {
        var object = input
        // A name is there before admission, which may want to see it.
        if let base { object.name = Identifiers.name(generatedFrom: base) }
        var request = AdmissionRequest(
            .create, resource.gvr, resource.gvk, namespace: namespace, name: object.name, object: object, scope: scope)
        object = KubeObject(.null)
        defer { scope.finish() }
        try await admission.mutate(&request, self)
        object = request.object
        request.object = KubeObject(.null)

        object.metadata.withObject { metadata in
            for key in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "managedFields", "generation"] {
                metadata[key] = nil
            }
            metadata["uid"] = .string(Identifiers.uid())
            metadata["creationTimestamp"] = .string(scope.now.rfc3339)
        }
        if resource.strategy.tracksGeneration { object.metadata["generation"] = 1 }
        if resource.hasStatus, resource.gvr != .namespaces, resource.gvr != .nodes { object.json["status"] = .null }
        var stored = resource.view?.store(object, nil) ?? object
        resource.strategy.prepareForCreate(&stored, scope)
        let reservation = try hooks[resource.prefix]?.reserve(&stored, old: nil, scope: scope) ?? .none
        do throws(APIError) {
            let storedKind = storageResource(resource)
            stored = canonical(stored, storedKind)
            var check = Validation()
            validateMetadata(stored, resource, &check)
            // Of the version that was asked for: some are stricter than the one that is stored.
            resource.strategy.validateCreate(stored, &check)
            if !check.errors.isEmpty { throw .invalid(resource.gvk, stored.name, check.errors) }
            for warning in storedKind.strategy.warnings(for: stored) { scope.warn(warning) }
            request.object = stored
            try await admission.validate(request, self)
            request.object = KubeObject(.null)
            let result = try await write(create: stored, managed, resource, namespace, scope)
            if scope.dryRun { reservation.rollback() } else { reservation.commit() }
            return result
        } catch {
            reservation.rollback()
            throw error
        }
    }

    private func write(
        create object: KubeObject, _ managed: [UInt8], _ resource: ServedResource, _ namespace: String,
        _ scope: RequestScope
    ) async throws(APIError) -> (stored: EncodedObject, object: KubeObject) {
        var object = object
        let key = resource.key(namespace, object.name)
        if scope.dryRun {
            if store.get(key) != nil { throw .alreadyExists(resource.gvr, object.name) }
            object.metadata["resourceVersion"] = .null
            let shown = resource.view.map { canonical($0.show(object), resource) } ?? object
            // What is not stored has no resource version, so no template either.
            var answer = shown
            if let managed = StoredManagedFields.decode(managed, managed.indices), !managed.isEmpty {
                answer.metadata["managedFields"] = managed.json
            }
            return (EncodedObject(bytes: answer.json.encode(), resourceVersion: 0), shown)
        }
        let template = ObjectTemplate(object, managed: managed)
        let entry: StoreEntry
        do throws(StoreError) {
            entry = try await store.create(key) { template.encoded(revision: $0) }
        } catch {
            throw apiError(error, resource, object.name)
        }
        let stored = EncodedObject(bytes: entry.value, resourceVersion: entry.modRevision)
        object.resourceVersion = entry.modRevision
        guard resource.view != nil else { return (stored, object) }
        let shown = try show(stored, resource)
        return (shown, try shown.decode())
    }

    /// The row of the kind in which the resource is stored.
    func storageResource(_ resource: ServedResource) -> ServedResource {
        guard let view = resource.view else { return resource }
        return resources[view.storage] ?? resource
    }

    /// The URL decides: the object may leave its namespace out, but not name another.
    private func checkNamespace(
        _ object: inout KubeObject, _ resource: ServedResource, _ namespace: String
    ) throws(APIError) {
        if resource.namespaced {
            if namespace.isEmpty { throw .badRequest("an empty namespace may not be set during creation") }
            if object.namespace.isEmpty {
                object.namespace = namespace
            } else if object.namespace != namespace {
                throw .badRequest(
                    "the namespace of the provided object does not match the namespace sent on the request")
            }
        } else if !object.namespace.isEmpty {
            if object.namespace != namespace {
                throw .badRequest(
                    "the namespace of the provided object does not match the namespace sent on the request")
            }
        }
    }

    func checkKind(_ object: KubeObject, _ resource: ServedResource) throws(APIError) {
        guard object.gvk == resource.gvk else {
            throw .badRequest(
                "\(object.kind) in version \"\(object.apiVersion)\" cannot be handled as a \(resource.gvk.kind): "
                    + "the request is for \(resource.gvk)")
        }
    }
}
