package import Codecs

/// Which ResourceClaim an entry of a pod's `spec.resourceClaims` stands for.
package enum PodResourceClaim: Sendable, Equatable {
    /// `isGenerated`: made for this pod, which then owns it.
    case named(String, isGenerated: Bool)
    /// Its template brings none.
    case none
    /// The controller has not made it yet.
    case missing
}

/// What pods and claims of dynamic resource allocation say of each other. Texts are those of
/// k8s.io/dynamic-resource-allocation/resourceclaim.
extension KubeObject {
    package func resourceClaim(of entry: JSON) -> PodResourceClaim {
        if let name = entry["resourceClaimName"].string { return .named(name, isGenerated: false) }
        guard
            let made = status["resourceClaimStatuses"].elements.first(where: {
                $0["name"].string == entry["name"].string
            })
        else { return .missing }
        return made["resourceClaimName"].string.map { .named($0, isGenerated: true) } ?? .none
    }

    /// nil: the claim was made for the pod.
    package func ownershipProblem(of claim: KubeObject) -> String? {
        if claim.controller?.uid == uid { return nil }
        return "ResourceClaim \(claim.namespace)/\(claim.name) was not created for pod \(namespace)/\(name) "
            + "(pod is not owner)"
    }

    /// A claim's: whether the pod may use it.
    package func isReserved(for pod: KubeObject) -> Bool {
        status["reservedFor"].elements.contains { $0["uid"].string == pod.uid }
    }

    /// As an entry of `status.reservedFor`.
    package var resourceClaimConsumer: JSON {
        ["resource": "pods", "name": .string(name), "uid": .string(uid)]
    }

    package static let claimFinalizer = "resource.kubernetes.io/delete-protection"
}

/// A device by what names it in the cluster.
package struct DeviceID: Sendable, Hashable {
    package var driver: String
    package var pool: String
    package var device: String

    package init(driver: String, pool: String, device: String) {
        (self.driver, self.pool, self.device) = (driver, pool, device)
    }
    /// Of an entry of `status.allocation.devices.results`.
    package init(_ result: JSON) {
        self.init(
            driver: result["driver"].string ?? "", pool: result["pool"].string ?? "",
            device: result["device"].string ?? "")
    }
}
