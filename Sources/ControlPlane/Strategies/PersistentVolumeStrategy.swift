internal import Codecs
internal import KubeAPI

/// Access modes, shared by volumes and claims.
enum AccessModes {
    private static let known = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"]

    static func check(_ modes: JSON, _ path: String, _ check: inout Validation, missing: String = "") {
        let list = modes.elements.compactMap(\.string)
        if list.isEmpty { check.add(.required(path, missing)) }
        for mode in list where !known.contains(mode) { check.add(.notSupported(path, .string(mode), known)) }
        if list.count > 1, list.contains("ReadWriteOncePod") {
            check.add(.forbidden(path, "may not use ReadWriteOncePod with other access modes"))
        }
    }

    /// "RWO,ROX", each once, as kubectl shows them.
    static func text(_ modes: JSON) -> String {
        let list = modes.elements.compactMap(\.string)
        let short = [
            ("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP"),
        ]
        return short.filter { list.contains($0.0) }.map(\.1).joined(separator: ",")
    }
}

/// Persistent volumes. Source: pkg/apis/core/validation, pkg/registry/core/persistentvolume.
struct PersistentVolumeStrategy: ResourceStrategy {
    var returnsDeletedObject: Bool { true }

    /// The members of a spec that are no volume source.
    private static let common: Set<String> = [
        "capacity", "accessModes", "claimRef", "persistentVolumeReclaimPolicy", "storageClassName", "mountOptions",
        "volumeMode", "nodeAffinity", "volumeAttributesClassName",
    ]

    func prepareForCreate(_ object: inout KubeObject, _ scope: RequestScope) {
        object.json["status"] = ["phase": "Pending", "lastPhaseTransitionTime": .string(scope.now.rfc3339)]
    }

    func prepareForUpdate(_ object: inout KubeObject, old: KubeObject, subresource: String, _ scope: RequestScope) {
        guard subresource == "status", object.status["phase"] != old.status["phase"] else { return }
        if object.status["lastPhaseTransitionTime"] == old.status["lastPhaseTransitionTime"] {
            object.json["status"]["lastPhaseTransitionTime"] = .string(scope.now.rfc3339)
        }
    }

    private func sources(_ spec: JSON) -> [(key: String, value: JSON)] {
        (spec.object ?? JSONObject()).members.filter { !Self.common.contains($0.key) && !$0.value.isNull }
    }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        let spec = object.spec
        AccessModes.check(spec["accessModes"], "spec.accessModes", &check)
        checkCapacity(spec["capacity"], &check)
        check.oneOf(
            spec["persistentVolumeReclaimPolicy"], ["Delete", "Recycle", "Retain"],
            "spec.persistentVolumeReclaimPolicy")
        check.oneOf(spec["volumeMode"], ["Block", "Filesystem"], "spec.volumeMode")
        if let name = spec["storageClassName"].string, !name.isEmpty, let problem = LabelSyntax.subdomainProblem(name) {
            check.add(.invalid("spec.storageClassName", .string(name), problem))
        }
        let sources = sources(spec)
        if sources.isEmpty { check.add(.required("spec", "must specify a volume type")) }
        for (i, (key, source)) in sources.enumerated() {
            if i > 0 {
                check.add(.forbidden("spec.\(key)", "may not specify more than 1 volume type"))
            } else {
                checkSource(key, source, spec, &check)
            }
        }
        let affinity = spec["nodeAffinity"]
        if !affinity.isNull {
            if affinity["required"].isNull {
                check.add(.required("spec.nodeAffinity.required", "must specify required node constraints"))
            } else {
                NodeSelectorValidation.check(affinity["required"], "spec.nodeAffinity.required", &check)
            }
        }
    }

    private func checkCapacity(_ capacity: JSON, _ check: inout Validation) {
        let members = capacity.object ?? JSONObject()
        if members.isEmpty { check.add(.required("spec.capacity")) }
        if !members.isEmpty, capacity["storage"].isNull || members.count > 1 {
            check.add(.notSupported("spec.capacity", capacity, ["storage"]))
        }
        for (key, value) in members {
            guard let amount = value.string.flatMap({ Quantity($0) }), amount <= .zero else { continue }
            check.add(.invalid("spec.capacity[\(key)]", value, "must be greater than zero"))
        }
    }

    private func checkSource(_ key: String, _ source: JSON, _ spec: JSON, _ check: inout Validation) {
        func required(_ name: String) {
            if (source[name].string ?? "").isEmpty { check.add(.required("spec.\(key).\(name)")) }
        }
        let path = source["path"].string ?? ""
        switch key {
        case "hostPath":
            required("path")
            if path.split(separator: "/").contains("..") {
                check.add(.invalid("spec.hostPath.path", .string(path), "must not contain '..'"))
            }
            if path == "/", spec["persistentVolumeReclaimPolicy"].string == "Recycle" {
                check.add(
                    .forbidden("spec.persistentVolumeReclaimPolicy", "may not be 'recycle' for a hostPath mount of '/'")
                )
            }
        case "local":
            required("path")
            if spec["nodeAffinity"].isNull {
                check.add(.required("spec.nodeAffinity", "Local volume requires node affinity"))
            }
        case "nfs":
            required("server")
            required("path")
            if !path.isEmpty, !path.hasPrefix("/") {
                check.add(.invalid("spec.nfs.path", .string(path), "must be an absolute path"))
            }
        case "csi":
            required("driver")
            required("volumeHandle")
        default: break
        }
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        guard subresource.isEmpty else { return }
        validateCreate(object, &check)
        let (new, before) = (sources(object.spec), sources(old.spec))
        if JSONObject(members: new) != JSONObject(members: before) {
            check.add(
                .forbidden("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation"))
        }
        check.immutable(object.spec["volumeMode"], old.spec["volumeMode"], "spec.volumeMode")
        if !old.spec["nodeAffinity"].isNull {
            check.immutable(object.spec["nodeAffinity"], old.spec["nodeAffinity"], "spec.nodeAffinity")
        }
    }
}

/// Claims of storage. Source: pkg/apis/core/validation, pkg/registry/core/persistentvolumeclaim.
struct PersistentVolumeClaimStrategy: ResourceStrategy {
    var returnsDeletedObject: Bool { true }

    func prepareForCreate(_ object: inout KubeObject, _ scope: RequestScope) {
        object.json["status"] = ["phase": "Pending"]
    }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) { Self.check(object.spec, "spec", &check) }

    /// The spec of a claim, or of the template of one.
    static func check(_ spec: JSON, _ path: String, _ check: inout Validation) {
        AccessModes.check(
            spec["accessModes"], "\(path).accessModes", &check, missing: "at least 1 access mode is required")
        let storage = spec["resources"]["requests"]["storage"]
        if storage.isNull {
            check.add(.required("\(path).resources[storage]"))
        } else if let amount = storage.string.flatMap({ Quantity($0) }), amount <= .zero {
            check.add(.invalid("\(path).resources[storage]", storage, "must be greater than zero"))
        }
        if !spec["selector"].isNull { Selectors.validate(spec["selector"], "\(path).selector", &check) }
        if let name = spec["storageClassName"].string, !name.isEmpty, let problem = LabelSyntax.subdomainProblem(name) {
            check.add(.invalid("\(path).storageClassName", .string(name), problem))
        }
        check.oneOf(spec["volumeMode"], ["Block", "Filesystem"], "\(path).volumeMode")
        for key in ["dataSource", "dataSourceRef"] where !spec[key].isNull {
            for name in ["name", "kind"] where (spec[key][name].string ?? "").isEmpty {
                check.add(.required("\(path).\(key).\(name)"))
            }
        }
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        if subresource == "status" {
            if object.status["resizeStatus"].isNull, object.spec["accessModes"].elements.isEmpty {
                check.add(.required("status.accessModes"))
            }
            return
        }
        guard subresource.isEmpty else { return }
        validateCreate(object, &check)
        var (new, before) = (object.spec, old.spec)
        // A volume is chosen once; a class may be filled in where there was none.
        if (before["volumeName"].string ?? "").isEmpty { (new["volumeName"], before["volumeName"]) = (.null, .null) }
        if before["storageClassName"].isNull { new["storageClassName"] = .null }
        for key in ["volumeAttributesClassName"] { (new[key], before[key]) = (.null, .null) }
        let (asked, had) = (new["resources"]["requests"]["storage"], before["resources"]["requests"]["storage"])
        if old.status["phase"].string == "Bound" {
            new["resources"]["requests"]["storage"] = had
            let capacity = old.status["capacity"]["storage"].string.flatMap { Quantity($0) }
            if let wanted = asked.string.flatMap({ Quantity($0) }), let current = had.string.flatMap({ Quantity($0) }),
                wanted < current, capacity.map({ wanted <= $0 }) ?? true
            {
                check.add(
                    .forbidden("spec.resources.requests.storage", "field can not be less than status.capacity"))
            }
        }
        if new != before {
            check.add(
                .forbidden(
                    "spec",
                    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound "
                        + "claims"))
        }
    }
}
