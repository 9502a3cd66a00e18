package import Codecs
package import KubeAPI

package enum AdmissionOperation: String, Sendable {
    case create = "CREATE"
    case update = "UPDATE"
    case delete = "DELETE"
    case connect = "CONNECT"
}

/// A write on its way in, as admission sees it (admission.Attributes upstream).
package struct AdmissionRequest: Sendable {
    package let operation: AdmissionOperation
    package let resource: GroupVersionResource
    package let kind: GroupVersionKind
    /// "" for the object itself.
    package let subresource: String
    package let namespace: String
    package let name: String
    /// The object to be; `.null` in a deletion.
    package var object: KubeObject
    /// The object that is; nil in a creation.
    package let old: KubeObject?
    package let scope: RequestScope

    package init(
        _ operation: AdmissionOperation, _ resource: GroupVersionResource, _ kind: GroupVersionKind,
        subresource: String = "", namespace: String, name: String, object: KubeObject, old: KubeObject? = nil,
        scope: RequestScope
    ) {
        (self.operation, self.resource, self.kind, self.subresource) = (operation, resource, kind, subresource)
        (self.namespace, self.name, self.object, self.old, self.scope) = (namespace, name, object, old, scope)
    }

    package func forbidden(_ why: String) -> APIError {
        .forbidden(resource, name.isEmpty ? object.metadata["generateName"].string ?? "" : name, why)
    }
}

/// A step of the ordered list through which every write passes: first all that change the object, then (after the
/// kind's own defaults and validation) all that only judge it.
package struct AdmissionPlugin: Sendable {
    package typealias Mutation =
        @Sendable (inout AdmissionRequest, Registry) async throws(APIError) -> Void
    package typealias Validation =
        @Sendable (borrowing AdmissionRequest, Registry) async throws(APIError) -> Void

    package let name: String
    package let operations: Set<AdmissionOperation>
    /// nil: all of them.
    package let resources: Set<GroupVersionResource>?
    package let mutate: Mutation?
    package let validate: Validation?

    package init(
        _ name: String, operations: Set<AdmissionOperation>, resources: Set<GroupVersionResource>? = nil,
        mutate: Mutation? = nil, validate: Validation? = nil
    ) {
        (self.name, self.operations, self.resources) = (name, operations, resources)
        (self.mutate, self.validate) = (mutate, validate)
    }

    func handles(_ request: borrowing AdmissionRequest) -> Bool {
        guard operations.contains(request.operation) else { return false }
        // A few at most: to compare them is cheaper than to hash one.
        return resources?.contains { $0 == request.resource } ?? true
    }
}

package struct AdmissionChain: Sendable {
    package var plugins: [AdmissionPlugin]
    package init(_ plugins: [AdmissionPlugin] = []) { self.plugins = plugins }

    func mutate(_ request: inout AdmissionRequest, _ registry: Registry) async throws(APIError) {
        for plugin in plugins where plugin.handles(request) {
            if let mutate = plugin.mutate { try await mutate(&request, registry) }
        }
    }

    func validate(_ request: AdmissionRequest, _ registry: Registry) async throws(APIError) {
        for plugin in plugins where plugin.handles(request) {
            if let validate = plugin.validate { try await validate(request, registry) }
        }
    }
}
