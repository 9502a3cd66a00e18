internal import Codecs
internal import KubeAPI
internal import Transport

extension ResourceRequest {
    private static let scaleKind = GroupVersionKind("autoscaling", "v1", "Scale")

    func answer(subresourceOf resource: ServedResource) async throws(APIError) -> HTTPResponse {
        guard let subresource = resource.info.subresource(info.subresource), !info.name.isEmpty else {
            throw .pathNotFound()
        }
        // A proxy passes every method on, also those that are no verb.
        if subresource.name == "proxy" { return try await proxy(resource) }
        guard let verb = Verbs(verb: info.verb), subresource.verbs.contains(verb) else { throw methodNotAllowed() }
        switch subresource.name {
        case "log": return try await log(resource)
        case "exec", "attach": return try await stream(resource, subresource.name)
        case "portforward": return try await portForward(resource)
        case "scale": return try await scale(resource)
        case "binding", "eviction", "token": return try await createSubresource(resource, subresource)
        default: break
        }
        switch info.verb {
        case "get":
            let format = try OutputFormat(request)
            return try respond(
                try registry.get(resource, namespace: info.namespace, name: info.name), resource, format)
        case "update": return try await update(resource, subresource: subresource.name)
        case "patch": return try await patch(resource, subresource: subresource.name)
        default: throw methodNotAllowed()
        }
    }

    private func createSubresource(
        _ resource: ServedResource, _ subresource: ResourceInfo.Subresource
    ) async throws(APIError) -> HTTPResponse {
        let format = try OutputFormat(request).plain
        let scope = try scope()
        let object = try decodeBody(as: subresource.kind, validation: try fieldValidation(), scope: scope)
        if !object.namespace.isEmpty, object.namespace != info.namespace {
            throw .badRequest("the namespace of the provided object does not match the namespace sent on the request")
        }
        let answer = try await server.subresources.create(
            resource, subresource.name, namespace: info.namespace, name: info.name, object, scope)
        return try respond(
            EncodedObject(bytes: answer.json.encode(), resourceVersion: 0), status: 201, resource, format, scope: scope)
    }

    /// Applying a Scale owns the number of replicas of the object behind it.
    private func applyScale(_ resource: ServedResource, _ scope: RequestScope) async throws(APIError) -> KubeObject? {
        guard var application = try application(scope) else { return nil }
        let scale = KubeObject(application.config)
        guard scale.gvk == Self.scaleKind else {
            throw .badRequest(
                "Incorrect version specified in apply patch. Specified patch version: \(scale.apiVersion), expected: "
                    + "\(Self.scaleKind.groupVersion)")
        }
        var config = KubeObject(resource.gvk, name: info.name, namespace: info.namespace)
        if !scale.spec["replicas"].isNull { config.json["spec"] = ["replicas": scale.spec["replicas"]] }
        application.config = config.json
        let applied = try await server.registry.apply(
            resource, namespace: info.namespace, name: info.name, subresource: "scale", application, scope)
        return SubresourceEngine.scale(of: applied.object)
    }

    private func scale(_ resource: ServedResource) async throws(APIError) -> HTTPResponse {
        let format = try OutputFormat(request).plain
        let scope = try scope()
        let answer: KubeObject?
        switch info.verb {
        case "get":
            let object = try registry.get(resource, namespace: info.namespace, name: info.name).decode()
            answer = SubresourceEngine.scale(of: object)
        case "update":
            let wanted = try decodeBody(as: Self.scaleKind, validation: try fieldValidation(), scope: scope)
            answer = try await server.subresources.update(
                resource, "scale", namespace: info.namespace, name: info.name, scope
            ) { _ throws(APIError) in wanted }
        case "patch" where try application(scope) != nil:
            answer = try await applyScale(resource, scope)
        default:
            let (patch, validation) = (try decodePatch(), try fieldValidation())
            let registry = registry
            answer = try await server.subresources.update(
                resource, "scale", namespace: info.namespace, name: info.name, scope, retries: Registry.patchAttempts
            ) { old throws(APIError) in
                let decoded = try patch.apply(
                    to: old, as: Self.scaleKind, validation: validation, schema: registry.schema, clock: registry.clock)
                for warning in decoded.warnings { scope.warn(warning) }
                return KubeObject(decoded.json)
            }
        }
        guard let answer else { throw .pathNotFound() }
        return try respond(
            EncodedObject(bytes: answer.json.encode(), resourceVersion: answer.resourceVersion), resource, format,
            scope: scope)
    }
}
