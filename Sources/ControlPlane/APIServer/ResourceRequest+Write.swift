internal import Codecs
internal import KubeAPI
internal import Transport

extension ResourceRequest {
    func create(_ resource: ServedResource) async throws(APIError) -> HTTPResponse {
        let format = try OutputFormat(request)
        let scope = try scope()
        if !info.name.isEmpty { throw methodNotAllowed() }
        let object = try decodeBody(as: resource.gvk, validation: try fieldValidation(), scope: scope)
        if let answer = try await server.subresources.review(resource, namespace: info.namespace, object, scope) {
            return try respond(
                EncodedObject(bytes: answer.json.encode(), resourceVersion: 0), status: 201, resource, format,
                scope: scope)
        }
        let (stored, _) = try await registry.create(resource, namespace: info.namespace, object, scope)
        return try respond(stored, status: 201, resource, format, scope: scope)
    }

    func update(_ resource: ServedResource, subresource: String) async throws(APIError) -> HTTPResponse {
        let format = try OutputFormat(request)
        let scope = try scope()
        let object = try decodeBody(as: resource.gvk, validation: try fieldValidation(), scope: scope)
        do throws(APIError) {
            let (stored, _) = try await registry.update(
                resource, namespace: info.namespace, name: info.name, subresource: subresource, scope
            ) { _ throws(APIError) in object }
            return try respond(stored, resource, format, scope: scope)
        } catch {
            guard error.isNotFound, subresource.isEmpty, resource.isCreatedByUpdate else { throw error }
        }
        let (stored, _) = try await createByUpdate(resource, object, scope)
        return try respond(stored, status: 201, resource, format, scope: scope)
    }

    /// An update of what is not there, where the kind allows it.
    private func createByUpdate(
        _ resource: ServedResource, _ update: KubeObject, _ scope: RequestScope
    ) async throws(APIError) -> (stored: EncodedObject, object: KubeObject) {
        var object = update
        try registry.checkIdentity(object, old: KubeObject(["metadata": [:]]), resource, info.namespace, info.name)
        object.resourceVersion = 0
        // Whoever may change what is there need not be allowed to add to it.
        var attempt = info
        attempt.verb = "create"
        let decision = await configuration.authorizer.authorize(attempt.attributes(of: user))
        guard decision.isAllowed else { throw APIServer.forbidden(attempt, user, decision.reason) }
        return try await registry.create(resource, namespace: info.namespace, object, scope)
    }

    /// The body as a patch; the format is the content type.
    func decodePatch() throws(APIError) -> ObjectPatch {
        let name = MediaType(request.headers["Content-Type"] ?? "").name
        guard let type = PatchType(rawValue: name), type != .apply else {
            throw .unsupportedMediaType([PatchType.json, .merge, .strategic, .apply].map(\.rawValue))
        }
        if request.query["force"].map({ !$0.isEmpty }) == true {
            throw invalidOptions("force", .forbidden("force", "may not be specified for non-apply patch"))
        }
        return ObjectPatch(bytes: request.body, type: type)
    }

    /// The body as a configuration to apply; nil where it is a patch.
    func application(_ scope: RequestScope) throws(APIError) -> Registry.Application? {
        guard MediaType(request.headers["Content-Type"] ?? "").name == PatchType.apply.rawValue else { return nil }
        if (request.query["fieldManager"] ?? "").isEmpty {
            throw invalidOptions("fieldManager", .required("fieldManager", "is required for apply patch"))
        }
        var duplicates: [String] = []
        let body: JSON
        do throws(YAMLError) {
            body = try YAML.parse(request.body, duplicates: &duplicates)
        } catch {
            throw .badRequest("error decoding YAML: \(error.message)")
        }
        let validation = duplicates.isEmpty ? .ignore : try fieldValidation()
        if validation == .warn { for text in duplicates { scope.warn(text) } }
        if validation == .strict {
            throw .badRequest(
                "error strict decoding YAML: error converting YAML to JSON: \(YAML.message(duplicates: duplicates))")
        }
        return .init(body, force: APIServer.isTrue(request.query["force"]))
    }

    func patch(_ resource: ServedResource, subresource: String) async throws(APIError) -> HTTPResponse {
        let format = try OutputFormat(request)
        let scope = try scope()
        if let application = try application(scope) {
            let (stored, _, created) = try await registry.apply(
                resource, namespace: info.namespace, name: info.name, subresource: subresource, application, scope)
            return try respond(stored, status: created ? 201 : 200, resource, format, scope: scope)
        }
        let (stored, _) = try await registry.patch(
            resource, namespace: info.namespace, name: info.name, subresource: subresource, try decodePatch(),
            validation: try fieldValidation(), scope)
        return try respond(stored, resource, format, scope: scope)
    }

    func delete(_ resource: ServedResource) async throws(APIError) -> HTTPResponse {
        let format = try OutputFormat(request)
        let (options, json) = try deleteOptions()
        let scope = try deletionScope(json)
        let deletion = try await registry.delete(
            resource, namespace: info.namespace, name: info.name, options, scope)
        switch deletion {
        case .gone(let object):
            if resource.strategy.returnsDeletedObject { return try respond(object, resource, format, scope: scope) }
            return try respond(
                EncodedObject(bytes: deleted(object, resource).encode(), resourceVersion: object.resourceVersion),
                resource,
                format.plain, scope: scope)
        case .pending(let object):
            let accepted = json["orphanDependents"] == false
            return try respond(object, status: accepted ? 202 : 200, resource, format, scope: scope)
        }
    }

    private func deletionScope(_ options: JSON) throws(APIError) -> RequestScope {
        let scope = try scope()
        let values = options["dryRun"].elements.compactMap(\.string)
        for value in values where value != "All" {
            throw .invalid(
                GroupVersionKind("meta.k8s.io", "v1", "DeleteOptions"), "",
                [.notSupported("dryRun", .strings([value]), ["All"])])
        }
        if values.isEmpty || scope.dryRun { return scope }
        return RequestScope(user: user, now: scope.now, dryRun: true, fieldManager: scope.fieldManager)
    }

    private func deleted(_ object: EncodedObject, _ resource: ServedResource) -> JSON {
        var details: JSON = ["name": .string(info.name)]
        if !info.group.isEmpty { details["group"] = .string(info.group) }
        details["kind"] = .string(info.resource)
        if let uid = RawJSON.text(of: ["metadata", "uid"], in: object.stored) { details["uid"] = .string(uid) }
        return ["kind": "Status", "apiVersion": "v1", "metadata": [:], "status": "Success", "details": details]
    }

    func deleteCollection(_ resource: ServedResource) async throws(APIError) -> HTTPResponse {
        let format = try OutputFormat(request)
        let (options, json) = try deleteOptions()
        let page = try await registry.deleteCollection(
            resource, namespace: info.namespace, try listParameters(), options, try deletionScope(json))
        return try respond(page, resource, format)
    }
}

extension OutputFormat {
    /// Without a table or the like: for answers that are Status objects.
    var plain: OutputFormat {
        var format = self
        format.shape = .object
        return format
    }
}
