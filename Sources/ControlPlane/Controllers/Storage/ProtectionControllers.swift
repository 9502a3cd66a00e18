internal import Codecs
package import KubeAPI

/// What the three protections do: an object has its finalizer as long as it is not to go, and loses it when it is to go
/// and nobody uses it any more.
private struct Protection {
    let client: any KubeClient
    let resource: GroupVersionResource

    func reconcile(
        _ key: ObjectKey, isUsed: (KubeObject) async throws(APIError) -> Bool
    ) async throws(APIError) {
        guard let name = StorageFinalizer.names[resource],
            var object = try await client.getIfPresent(resource, namespace: key.namespace, name: key.name)
        else { return }
        let has = object.finalizers.contains(name)
        if object.isBeingDeleted {
            guard has else { return }
            if try await isUsed(object) { return }
            object.finalizers.removeAll { $0 == name }
        } else {
            if has { return }
            object.finalizers.append(name)
        }
        do throws(APIError) {
            _ = try await client.update(resource, object)
        } catch {
            if !error.isNotFound { throw error }
        }
    }

    /// The object itself, whenever it may have to change.
    var source: WatchSource {
        let name = StorageFinalizer.names[resource] ?? ""
        return WatchSource(resource) { object, kind in
            kind != .deleted && object.isBeingDeleted == object.finalizers.contains(name) ? [object.key] : []
        }
    }
}

/// Claims stay while a pod that has a node names them. Source: pkg/controller/volume/pvcprotection.
package struct ClaimProtection: Controller {
    package let name = "pvc-protection-controller"
    private let protection: Protection

    package init(client: any KubeClient) {
        protection = Protection(client: client, resource: .persistentVolumeClaims)
    }

    package var sources: [WatchSource] {
        [
            protection.source,
            WatchSource(.pods) { pod, kind in
                let ended = ["Succeeded", "Failed"].contains(pod.status["phase"].string ?? "")
                guard kind == .deleted || ended || (pod.spec["nodeName"].string ?? "").isEmpty else { return [] }
                return Self.claims(of: pod).map { ObjectKey(namespace: pod.namespace, name: $0) }
            },
        ]
    }

    /// The claims that a pod's volumes name, those of generic ephemeral volumes too.
    private static func claims(of pod: KubeObject) -> [String] {
        pod.spec["volumes"].elements.compactMap { pod.claimName(of: $0) }
    }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        let client = protection.client
        try await protection.reconcile(key) { claim throws(APIError) in
            for item in try await client.list(.pods, namespace: key.namespace).items {
                let pod = try item.decode()
                guard !(pod.spec["nodeName"].string ?? "").isEmpty else { continue }
                if Self.claims(of: pod).contains(claim.name) { return true }
            }
            return false
        }
        return nil
    }
}

/// Volumes stay while they are bound. Source: pkg/controller/volume/pvprotection.
package struct VolumeProtection: Controller {
    package let name = "pv-protection-controller"
    private let protection: Protection

    package init(client: any KubeClient) {
        protection = Protection(client: client, resource: .persistentVolumes)
    }

    package var sources: [WatchSource] { [protection.source] }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        try await protection.reconcile(key) { volume throws(APIError) in
            volume.status["phase"].string == "Bound"
        }
        return nil
    }
}

/// Classes of volume attributes stay while a claim or a volume names them. Source: pkg/controller/volume/vacprotection.
package struct AttributesProtection: Controller {
    package let name = "vac-protection-controller"
    private let protection: Protection

    package init(client: any KubeClient) {
        protection = Protection(client: client, resource: StorageFinalizer.classes)
    }

    package var sources: [WatchSource] {
        [protection.source]
            + [GroupVersionResource.persistentVolumeClaims, .persistentVolumes].map { resource in
                WatchSource(resource) { object, _ in Self.classes(of: object).map { ObjectKey(name: $0) } }
            }
    }

    private static func classes(of object: KubeObject) -> [String] {
        [
            object.spec["volumeAttributesClassName"], object.status["currentVolumeAttributesClassName"],
            object.status["modifyVolumeStatus"]["targetVolumeAttributesClassName"],
        ].compactMap(\.string).filter { !$0.isEmpty }
    }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        let client = protection.client
        var isStillUsed = false
        try await protection.reconcile(key) { attributes throws(APIError) in
            for resource in [GroupVersionResource.persistentVolumeClaims, .persistentVolumes] {
                for item in try await client.list(resource).items
                where Self.classes(of: try item.decode()).contains(attributes.name) {
                    isStillUsed = true
                    return true
                }
            }
            return false
        }
        // A claim that let go of it may have done so without an event that names it.
        return isStillUsed ? .seconds(60) : nil
    }
}
