internal import Codecs
internal import KubeAPI

/// The claims of a StatefulSet's pods: made before the pod, kept or removed as the set's retention policy says (KEP-1847).
extension StatefulSetController {
    func createClaims(for pod: KubeObject, _ set: KubeObject) async throws(APIError) {
        guard let ordinal = StatefulIdentity.ordinal(of: pod, in: set) else { return }
        for template in set.spec["volumeClaimTemplates"].elements {
            let name = StatefulIdentity.claimName(template, set, ordinal)
            if let there = try await client.getIfPresent(.persistentVolumeClaims, namespace: set.namespace, name: name)
            {
                if there.isBeingDeleted {
                    throw APIError(code: 500, reason: "InternalError", message: "pvc \(name) is being deleted")
                }
                continue
            }
            var claim = KubeObject(
                GroupVersionKind(.core, "PersistentVolumeClaim"), name: name, namespace: set.namespace)
            let labels = template["metadata"]["labels"].stringMap
                .merging(set.spec["selector"]["matchLabels"].stringMap) { _, new in new }
            claim.labels = labels
            claim.metadata["annotations"] = template["metadata"]["annotations"]
            claim.spec = template["spec"]
            claim.ownerReferences = Self.owners(of: claim, set, pod: nil, isScaledDown: false)
            do throws(APIError) {
                _ = try await client.create(.persistentVolumeClaims, claim)
                await events.event(
                    set, reason: "SuccessfulCreate",
                    "create Claim \(name) Pod \(pod.name) in StatefulSet \(set.name) success")
            } catch {
                await events.event(
                    set, type: .warning, reason: "FailedCreate",
                    "create Claim \(name) for Pod \(pod.name) in StatefulSet \(set.name) failed error: "
                        + error.message)
                throw error
            }
        }
    }

    /// Gives the claims of a pod the owners with which they go when they should.
    func fixClaims(of pod: KubeObject, _ set: KubeObject, isScaledDown: Bool) async throws(APIError) {
        guard let ordinal = StatefulIdentity.ordinal(of: pod, in: set) else { return }
        for template in set.spec["volumeClaimTemplates"].elements {
            let name = StatefulIdentity.claimName(template, set, ordinal)
            guard
                let claim = try await client.getIfPresent(
                    .persistentVolumeClaims, namespace: set.namespace, name: name)
            else { continue }
            let owners = Self.owners(of: claim, set, pod: pod, isScaledDown: isScaledDown)
            guard owners != claim.ownerReferences else { continue }
            _ = try await client.patch(
                .persistentVolumeClaims, namespace: set.namespace, name: name,
                ["metadata": ["uid": .string(claim.uid), "ownerReferences": .array(owners.map(\.json))]],
                type: .merge, subresource: nil)
        }
    }

    static func owners(
        of claim: KubeObject, _ set: KubeObject, pod: KubeObject?, isScaledDown: Bool
    ) -> [OwnerReference] {
        let policy = set.spec["persistentVolumeClaimRetentionPolicy"]
        let withSet = policy["whenDeleted"].string == "Delete"
        let whenScaled = policy["whenScaled"].string == "Delete"
        var owners = claim.ownerReferences.filter { $0.uid != set.uid && $0.uid != pod?.uid }
        let owner: KubeObject?
        if whenScaled, isScaledDown {
            owner = pod
        } else {
            owner = withSet ? set : nil
        }
        if let owner {
            var reference = claim.ownerReferences.first { $0.uid == owner.uid } ?? OwnerReference(controller: owner)
            if owners.contains(where: \.controller) { reference.controller = false }
            owners.append(reference)
        }
        return owners
    }
}
