internal import Codecs
package import KubeAPI

extension AdmissionPlugin {
    /// A claim that names no class gets the default one. Source: plugin/pkg/admission/storage/storageclass/setdefault.
    package static let defaultStorageClass = AdmissionPlugin(
        "DefaultStorageClass", operations: [.create], resources: [.persistentVolumeClaims],
        mutate: { request, registry throws(APIError) in
            guard request.subresource.isEmpty, request.object.spec["storageClassName"].isNull,
                request.object.annotations["volume.beta.kubernetes.io/storage-class"] == nil,
                let chosen = try DefaultClass.find(
                    GroupVersionResource("storage.k8s.io", "v1", "storageclasses"),
                    annotations: [
                        "storageclass.kubernetes.io/is-default-class",
                        "storageclass.beta.kubernetes.io/is-default-class",
                    ], registry)
            else { return }
            request.object.json["spec"]["storageClassName"] = .string(chosen)
        })

    /// An ingress that names no class gets the default one. Source: plugin/pkg/admission/network/defaultingressclass.
    package static let defaultIngressClass = AdmissionPlugin(
        "DefaultIngressClass", operations: [.create],
        resources: [GroupVersionResource("networking.k8s.io", "v1", "ingresses")],
        mutate: { request, registry throws(APIError) in
            guard request.subresource.isEmpty, request.object.spec["ingressClassName"].isNull,
                request.object.annotations["kubernetes.io/ingress.class"] == nil,
                let chosen = try DefaultClass.find(
                    GroupVersionResource("networking.k8s.io", "v1", "ingressclasses"),
                    annotations: ["ingressclass.kubernetes.io/is-default-class"], registry)
            else { return }
            request.object.json["spec"]["ingressClassName"] = .string(chosen)
        })

    /// A claim grows only where its class says that this can be done.
    /// Source: plugin/pkg/admission/storage/persistentvolume/resize.
    package static let persistentVolumeClaimResize = AdmissionPlugin(
        "PersistentVolumeClaimResize", operations: [.update], resources: [.persistentVolumeClaims],
        validate: { request, registry throws(APIError) in
            guard request.subresource.isEmpty, let old = request.old,
                let wanted = request.object.spec["resources"]["requests"]["storage"].quantity,
                let had = old.spec["resources"]["requests"]["storage"].quantity, wanted > had
            else { return }
            if old.status["phase"].string != "Bound" {
                throw request.forbidden("Only bound persistent volume claims can be expanded")
            }
            let name = request.object.spec["storageClassName"].string ?? ""
            let classes = registry.resources[GroupVersionResource("storage.k8s.io", "v1", "storageclasses")]
            if !name.isEmpty, let classes,
                let found = try? registry.get(classes, namespace: "", name: name).decode(),
                found["allowVolumeExpansion"].bool == true
            {
                return
            }
            throw request.forbidden(
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support "
                    + "resize")
        })
}

/// Classes of which one is marked as the default.
enum DefaultClass {
    /// Where several are, the newest; of those made in the same second the first by name.
    static func find(
        _ resource: GroupVersionResource, annotations: [String], _ registry: Registry
    ) throws(APIError) -> String? {
        guard let row = registry.resources[resource] else { return nil }
        var chosen: KubeObject?
        for item in try registry.list(row, namespace: nil, ListParameters()).items {
            let object = try item.decode()
            guard annotations.contains(where: { object.annotations[$0] == "true" }) else { continue }
            let (new, old) = (object.creationTimestamp, chosen?.creationTimestamp)
            if chosen == nil || (new.map { n in old.map { n > $0 } ?? true } ?? false) { chosen = object }
        }
        return chosen?.name
    }
}
