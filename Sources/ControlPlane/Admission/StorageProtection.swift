internal import Codecs
package import KubeAPI

/// The finalizers that keep what stores data while it is in use.
/// Source: plugin/pkg/admission/storage/storageobjectinuseprotection, pkg/controller/volume (pvcprotection, pvprotection,
/// vacprotection).
enum StorageFinalizer {
    static let classes = GroupVersionResource("storage.k8s.io", "v1", "volumeattributesclasses")
    static let names: [GroupVersionResource: String] = [
        .persistentVolumes: "kubernetes.io/pv-protection", .persistentVolumeClaims: "kubernetes.io/pvc-protection",
        classes: "kubernetes.io/vac-protection",
    ]
}

extension AdmissionPlugin {
    package static let storageObjectInUseProtection = AdmissionPlugin(
        "StorageObjectInUseProtection", operations: [.create], resources: Set(StorageFinalizer.names.keys),
        mutate: { request, _ throws(APIError) in
            guard request.subresource.isEmpty, let name = StorageFinalizer.names[request.resource],
                !request.object.finalizers.contains(name)
            else { return }
            request.object.finalizers.append(name)
        })

    /// A new node takes no pods before its kubelet says that it is ready.
    /// Source: plugin/pkg/admission/nodetaint.
    package static let taintNodesByCondition = AdmissionPlugin(
        "TaintNodesByCondition", operations: [.create], resources: [.nodes],
        mutate: { request, _ throws(APIError) in
            guard request.subresource.isEmpty else { return }
            let taints = request.object.spec["taints"].elements
            let key: JSON = "node.kubernetes.io/not-ready"
            if taints.contains(where: { $0["key"] == key && $0["effect"] == "NoSchedule" }) { return }
            request.object.json["spec"]["taints"] = .array(taints + [["key": key, "effect": "NoSchedule"]])
        })
}
