package import Codecs
package import KubeAPI

extension Registry {
    /// How often a patch is put on a newer state before the client hears of a conflict.
    static let patchAttempts = 5

    /// An object that came from a client, decoded as the resource's kind, with its defaults.
    package func defaulted(_ object: KubeObject, _ resource: ServedResource) throws(APIError) -> KubeObject {
        try checkKind(object, resource)
        return KubeObject(try schema.decode(object.json, as: resource.gvk, defaults: true, clock: clock).json)
    }

    package func patch(
        _ resource: ServedResource, namespace: String, name: String, subresource: String, _ patch: ObjectPatch,
        validation: FieldValidation, _ scope: RequestScope
    ) async throws(APIError) -> (stored: EncodedObject, object: KubeObject) {
        try await update(
            resource, namespace: namespace, name: name, subresource: subresource, scope, retries: Self.patchAttempts
        ) { old, current throws(APIError) in
            var base = old
            if patch.namesManagedFields { base.metadata["managedFields"] = current.managedFields.json }
            let decoded = try patch.apply(
                to: base, as: resource.gvk, validation: validation, schema: self.schema, clock: self.clock)
            for warning in decoded.warnings { scope.warn(warning) }
            return (KubeObject(decoded.json), nil)
        }
    }
}
