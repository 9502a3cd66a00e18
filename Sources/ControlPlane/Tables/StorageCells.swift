internal import Codecs
internal import KubeAPI

/// Rows of volumes, claims, quotas and classes of storage.
enum StorageCells {
    @Sendable static func volume(_ object: KubeObject, _ now: Timestamp) -> [JSON] {
        let spec = object.spec
        let claim = spec["claimRef"]
        return [
            .string(object.name), .string(spec["capacity"]["storage"].string ?? ""),
            .string(AccessModes.text(spec["accessModes"])),
            .string(spec["persistentVolumeReclaimPolicy"].string ?? ""), .string(phase(object)),
            .string(claim.isNull ? "" : "\(claim["namespace"].string ?? "")/\(claim["name"].string ?? "")"),
            .string(storageClass(object)), unset(spec["volumeAttributesClassName"]),
            .string(object.status["reason"].string ?? ""), .string(object.age(now)), unset(spec["volumeMode"]),
        ]
    }

    @Sendable static func claim(_ object: KubeObject, _ now: Timestamp) -> [JSON] {
        let volume = object.spec["volumeName"].string ?? ""
        let status = object.status
        return [
            .string(object.name), .string(phase(object)), .string(volume),
            .string(volume.isEmpty ? "" : status["capacity"]["storage"].string ?? ""),
            .string(volume.isEmpty ? "" : AccessModes.text(status["accessModes"])), .string(storageClass(object)),
            unset(object.spec["volumeAttributesClassName"]), .string(object.age(now)), unset(object.spec["volumeMode"]),
        ]
    }

    private static func phase(_ object: KubeObject) -> String {
        object.isBeingDeleted ? "Terminating" : object.status["phase"].string ?? ""
    }

    private static func storageClass(_ object: KubeObject) -> String {
        object.annotations["volume.beta.kubernetes.io/storage-class"] ?? object.spec["storageClassName"].string ?? ""
    }

    private static func unset(_ value: JSON) -> JSON {
        .string(value.string.flatMap { $0.isEmpty ? nil : $0 } ?? "<unset>")
    }

    @Sendable static func quota(_ object: KubeObject, _ now: Timestamp) -> [JSON] {
        var (requests, limits): ([String], [String]) = ([], [])
        let (hard, used) = (object.status["hard"].stringMap, object.status["used"])
        for (name, amount) in hard.sorted(by: { $0.key < $1.key }) {
            let text = "\(name): \(used[name].string ?? "0")/\(amount)"
            if name.hasPrefix("limits.") { limits.append(text) } else { requests.append(text) }
        }
        return [
            .string(object.name), .string(requests.joined(separator: ", ")), .string(limits.joined(separator: ", ")),
            .string(object.age(now)),
        ]
    }

    @Sendable static func storageClass(_ object: KubeObject, _ now: Timestamp) -> [JSON] {
        let isDefault =
            object.annotations["storageclass.kubernetes.io/is-default-class"] == "true"
            || object.annotations["storageclass.beta.kubernetes.io/is-default-class"] == "true"
        return [
            .string(object.name + (isDefault ? " (default)" : "")), .string(object["provisioner"].string ?? ""),
            .string(object["reclaimPolicy"].string ?? "Delete"),
            .string(object["volumeBindingMode"].string ?? "Immediate"),
            .bool(object["allowVolumeExpansion"].bool ?? false), .string(object.age(now)),
        ]
    }

    @Sendable static func csiDriver(_ object: KubeObject, _ now: Timestamp) -> [JSON] {
        let spec = object.spec
        let tokens = spec["tokenRequests"].elements.compactMap { $0["audience"].string }
        let modes = spec["volumeLifecycleModes"].elements.compactMap(\.string)
        return [
            .string(object.name), .bool(spec["attachRequired"].bool ?? true),
            .bool(spec["podInfoOnMount"].bool ?? false), .bool(spec["storageCapacity"].bool ?? false),
            .string(tokens.isEmpty ? "<unset>" : tokens.joined(separator: ",")),
            .bool(spec["requiresRepublish"].bool ?? false),
            .string(modes.isEmpty ? "<none>" : modes.joined(separator: ",")), .string(object.age(now)),
        ]
    }
}
