package import Codecs
package import KubeAPI

/// The API for components of the server's own process: straight into the registry, without HTTP, without authorization,
/// but with defaults, admission and validation.
package struct LocalClient: KubeClient {
    package let registry: Registry
    package let user: UserInfo
    let subresources: SubresourceEngine

    init(registry: Registry, user: UserInfo, subresources: SubresourceEngine) {
        (self.registry, self.user, self.subresources) = (registry, user, subresources)
    }

    /// The parts of this process write as one manager.
    private static let fieldManager = "k3s"

    private func scope() -> RequestScope {
        RequestScope(user: user, now: registry.clock.now(), fieldManager: Self.fieldManager)
    }

    package func get(
        _ resource: GroupVersionResource, namespace: String, name: String
    ) async throws(APIError) -> KubeObject {
        try registry.get(registry.resource(resource), namespace: namespace, name: name).decode()
    }

    package func list(
        _ resource: GroupVersionResource, namespace: String?, options: ListOptions
    ) async throws(APIError) -> ObjectList {
        let page = try registry.list(registry.resource(resource), namespace: namespace, ListParameters(options))
        return ObjectList(items: page.items, resourceVersion: page.resourceVersion)
    }

    package func watch(
        _ resource: GroupVersionResource, namespace: String?, options: ListOptions
    ) async throws(APIError) -> any WatchStream {
        var parameters = WatchParameters()
        parameters.list = ListParameters(options)
        return try registry.watch(registry.resource(resource), namespace: namespace, parameters)
    }

    package func create(
        _ resource: GroupVersionResource, _ object: KubeObject, subresource: String?, name: String?
    ) async throws(APIError) -> KubeObject {
        let row = try registry.resource(resource)
        if let subresource, !subresource.isEmpty {
            return try await subresources.create(
                row, subresource, namespace: object.namespace, name: name ?? object.name, object, scope())
        }
        let object = try registry.defaulted(object, row)
        if let answer = try await subresources.review(row, namespace: object.namespace, object, scope()) {
            return answer
        }
        return try await registry.create(row, namespace: object.namespace, object, scope()).object
    }

    package func update(
        _ resource: GroupVersionResource, _ object: KubeObject, subresource: String?
    ) async throws(APIError) -> KubeObject {
        let row = try registry.resource(resource)
        let subresource = subresource ?? ""
        if let own = try await subresources.update(
            row, subresource, namespace: object.namespace, name: object.name, scope(),
            change: { _ throws(APIError) in object })
        {
            return own
        }
        let object = try registry.defaulted(object, row)
        return try await registry.update(
            row, namespace: object.namespace, name: object.name, subresource: subresource, scope(),
            change: { _ throws(APIError) in object }
        ).object
    }

    package func patch(
        _ resource: GroupVersionResource, namespace: String, name: String, _ patch: JSON, type: PatchType,
        subresource: String?
    ) async throws(APIError) -> KubeObject {
        let row = try registry.resource(resource)
        let subresource = subresource ?? ""
        if type == .apply {
            return try await registry.apply(
                row, namespace: namespace, name: name, subresource: subresource, .init(patch, force: true), scope()
            ).object
        }
        let patch = ObjectPatch(patch, type: type)
        if let own = try await subresources.update(
            row, subresource, namespace: namespace, name: name, scope(), retries: Registry.patchAttempts,
            change: { old throws(APIError) in
                let decoded = try patch.apply(
                    to: old, as: old.gvk ?? row.gvk, validation: .ignore, schema: registry.schema, clock: registry.clock
                )
                return KubeObject(decoded.json)
            })
        {
            return own
        }
        return try await registry.patch(
            row, namespace: namespace, name: name, subresource: subresource, patch, validation: .ignore, scope()
        ).object
    }

    @discardableResult
    package func delete(
        _ resource: GroupVersionResource, namespace: String, name: String, options: DeleteOptions
    ) async throws(APIError) -> KubeObject {
        try await registry.delete(registry.resource(resource), namespace: namespace, name: name, options, scope())
            .object.decode()
    }
}
