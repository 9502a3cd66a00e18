internal import Codecs
internal import KubeAPI

/// Who owns which pods (or replica sets): adopts matching objects without an owner, lets go of own ones that no longer
/// match. Source: k8s.io/kubernetes/pkg/controller/controller_ref_manager.go.
struct PodClaims: Sendable {
    let client: any KubeClient
    var resource: GroupVersionResource = .pods
    /// What cannot be the owner's whatever its labels say (a StatefulSet's pod of another name).
    var isEligible: @Sendable (KubeObject) -> Bool = { _ in true }

    private func candidates(_ owner: KubeObject) async throws(APIError) -> [EncodedObject] {
        try await client.list(resource, namespace: owner.namespace, options: ListOptions(claimant: owner.uid)).items
    }

    func owned(by owner: KubeObject) async throws(APIError) -> [KubeObject] {
        var owned: [KubeObject] = []
        for item in try await candidates(owner) {
            let object = try item.decode()
            if object.controller?.uid == owner.uid { owned.append(object) }
        }
        return owned
    }

    /// The owner's objects after adopting and releasing.
    func claim(for owner: KubeObject, selector: LabelSelector) async throws(APIError) -> [KubeObject] {
        var claimed: [KubeObject] = []
        for item in try await candidates(owner) {
            let object = try item.decode()
            if let controller = object.controller {
                guard controller.uid == owner.uid else { continue }
                if selector.matches(object.labels), isEligible(object) {
                    claimed.append(object)
                } else if !owner.isBeingDeleted {
                    try await release(object, from: owner)
                }
            } else if selector.matches(object.labels), isEligible(object), !owner.isBeingDeleted,
                !object.isBeingDeleted,
                resource != .pods || object.isActivePod
            {
                if let adopted = try await adopt(object, by: owner) { claimed.append(adopted) }
            }
        }
        return claimed
    }

    private func adopt(_ object: KubeObject, by owner: KubeObject) async throws(APIError) -> KubeObject? {
        var references = object.ownerReferences
        references.append(OwnerReference(controller: owner))
        return try await replace(references, of: object)
    }

    private func release(_ object: KubeObject, from owner: KubeObject) async throws(APIError) {
        _ = try await replace(object.ownerReferences.filter { $0.uid != owner.uid }, of: object)
    }

    /// The uid in the patch makes it fail if the object was replaced by another of the same name.
    private func replace(_ references: [OwnerReference], of object: KubeObject) async throws(APIError) -> KubeObject? {
        do throws(APIError) {
            return try await client.patch(
                resource, namespace: object.namespace, name: object.name,
                ["metadata": ["uid": .string(object.uid), "ownerReferences": .array(references.map(\.json))]],
                type: .merge,
                subresource: nil)
        } catch {
            if error.isNotFound || error.isInvalid { return nil }
            throw error
        }
    }
}
