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

    func warnings(for object: KubeObject) -> [String] { ObjectWarnings.volume(object) }

    func prepareForCreate(_ object: inout KubeObject, _ scope: RequestScope) {
        object.json["status"] = ["phase": "Pending", "lastPhaseTransitionTime": .string(scope.now.rfc3339)]
    }

    func prepareForUpdate(_ object: inout KubeObject, old: KubeObject, subresource: String, _ scope: RequestScope) {
        guard subresource == "status", object.status["phase"] != old.status["phase"] else { return }
        if object.status["lastPhaseTransitionTime"] == old.status["lastPhaseTransitionTime"] {
            object.json["status"]["lastPhaseTransitionTime"] = .string(scope.now.rfc3339)
        }
    }

    private static func sources(_ spec: JSON) -> [(key: String, value: JSON)] {
        (spec.object ?? JSONObject()).members.filter { !common.contains($0.key) && !$0.value.isNull }
    }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        PersistentVolumeSpec(spec: object.spec, path: "spec", sources: Self.sources(object.spec)).run(&check)
    }

    /// The spec of a volume that stands in a VolumeAttachment: of those that drivers in the tree had, translated to CSI.
    static func checkInline(_ spec: JSON, _ path: String, _ check: inout Validation) {
        PersistentVolumeSpec(spec: spec, path: path, sources: sources(spec), isInline: true).run(&check)
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        guard subresource.isEmpty else { return }
        validateCreate(object, &check)
        let (new, before) = (Self.sources(object.spec), Self.sources(old.spec))
        if JSONObject(members: new) != JSONObject(members: before) {
            check.add(
                .forbidden("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation"))
        }
        // Sic: upstream's paths.
        check.immutable(object.spec["volumeMode"], old.spec["volumeMode"], "volumeMode")
        if !old.spec["nodeAffinity"].isNull {
            check.immutable(object.spec["nodeAffinity"], old.spec["nodeAffinity"], "nodeAffinity")
        }
    }
}

/// What the spec of a volume has to be like. Source: ValidatePersistentVolumeSpec.
private struct PersistentVolumeSpec {
    let spec: JSON
    let path: String
    let sources: [(key: String, value: JSON)]
    var isInline = false

    func run(_ check: inout Validation) {
        if isInline { checkInline(&check) }
        AccessModes.check(spec["accessModes"], "\(path).accessModes", &check)
        if !isInline { checkOwn(&check) }
        if sources.isEmpty { check.add(.required(path, "must specify a volume type")) }
        for (i, (key, source)) in sources.enumerated() {
            if i > 0 {
                check.add(.forbidden("\(path).\(key)", "may not specify more than 1 volume type"))
            } else {
                checkSource(key, source, &check)
            }
        }
        guard let name = spec["volumeAttributesClassName"].string else { return }
        className(name, "volumeAttributesClassName", missing: "an empty string is disallowed", &check)
        if spec["csi"].isNull {
            check.add(.required("\(path).csi", "has to be specified when using volumeAttributesClassName"))
        }
    }

    private func checkInline(_ check: inout Validation) {
        let context = "in the context of inline volumes"
        for key in ["claimRef", "capacity", "nodeAffinity", "storageClassName"] {
            let value = spec[key]
            if value.isNull || value == "" || key == "capacity" && value.object?.isEmpty == true { continue }
            check.add(.forbidden("\(path).\(key)", "may not be specified \(context)"))
        }
        if spec["csi"].isNull { check.add(.required("\(path).csi", "has to be specified \(context)")) }
        if let policy = spec["persistentVolumeReclaimPolicy"].string, !policy.isEmpty, policy != "Retain" {
            check.add(.forbidden("\(path).persistentVolumeReclaimPolicy", "may only be Retain \(context)"))
        }
        if let mode = spec["volumeMode"].string, mode != "Filesystem" {
            check.add(
                .forbidden("\(path).volumeMode", "may not specify volumeMode other than Filesystem \(context)"))
        }
    }

    private func checkOwn(_ check: inout Validation) {
        checkCapacity(spec["capacity"], &check)
        check.oneOf(
            spec["persistentVolumeReclaimPolicy"], ["Delete", "Recycle", "Retain"],
            "\(path).persistentVolumeReclaimPolicy")
        check.oneOf(spec["volumeMode"], ["Block", "Filesystem"], "\(path).volumeMode")
        if let name = spec["storageClassName"].string, !name.isEmpty {
            className(name, "storageClassName", missing: "", &check)
        }
        let affinity = spec["nodeAffinity"]
        if affinity.isNull { return }
        if affinity["required"].isNull {
            check.add(.required("\(path).nodeAffinity.required", "must specify required node constraints"))
        } else {
            NodeSelectorValidation.check(affinity["required"], "\(path).nodeAffinity.required", &check)
        }
    }

    private func className(_ name: String, _ key: String, missing: String, _ check: inout Validation) {
        if name.isEmpty {
            check.add(.required("\(path).\(key)", missing))
        } else if let problem = LabelSyntax.subdomainProblem(name) {
            check.add(.invalid("\(path).\(key)", .string(name), problem))
        }
    }

    private func checkCapacity(_ capacity: JSON, _ check: inout Validation) {
        let members = capacity.object ?? JSONObject()
        if members.isEmpty { check.add(.required("\(path).capacity")) }
        if capacity["storage"].isNull || members.count > 1 {
            check.add(.notSupported("\(path).capacity", members.isEmpty ? [:] : capacity, ["storage"]))
        }
        for (key, value) in members {
            guard let amount = value.string.flatMap({ Quantity($0) }), amount <= .zero else { continue }
            check.add(.invalid("\(path).capacity[\(key)]", value, "must be greater than zero"))
        }
    }

    private func checkSource(_ key: String, _ source: JSON, _ check: inout Validation) {
        func required(_ name: String) {
            if (source[name].string ?? "").isEmpty { check.add(.required("\(path).\(key).\(name)")) }
        }
        let target = source["path"].string ?? ""
        switch key {
        case "hostPath":
            VolumeValidation.hostPath(source, "\(path).hostPath", &check)
            if target == "/", spec["persistentVolumeReclaimPolicy"].string == "Recycle" {
                check.add(
                    .forbidden(
                        "\(path).persistentVolumeReclaimPolicy", "may not be 'recycle' for a hostPath mount of '/'")
                )
            }
        case "local":
            required("path")
            if target.split(separator: "/").contains("..") {
                check.add(.invalid("\(path).local.path", .string(target), "must not contain '..'"))
            }
            if spec["nodeAffinity"].isNull {
                check.add(.required("\(path).nodeAffinity", "Local volume requires node affinity"))
            }
        case "csi":
            DeviceRules.driver(source["driver"], "\(path).csi.driver", &check)
            required("volumeHandle")
            for name in [
                "controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef",
                "nodeExpandSecretRef",
            ] where !source[name].isNull {
                for part in ["name", "namespace"] where (source[name][part].string ?? "").isEmpty {
                    check.add(.required("\(path).csi.\(name).\(part)"))
                }
            }
        default: VolumeValidation.checkRequired(key, source, "\(path).\(key)", &check)
        }
    }
}

/// Claims of storage. Source: pkg/apis/core/validation, pkg/registry/core/persistentvolumeclaim.
struct PersistentVolumeClaimStrategy: ResourceStrategy {
    var returnsDeletedObject: Bool { true }

    func warnings(for object: KubeObject) -> [String] { ObjectWarnings.claim(object) }

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
            let source = spec[key]
            for name in ["name", "kind"] where (source[name].string ?? "").isEmpty {
                check.add(.required("\(path).\(key).\(name)"))
            }
            let (group, kind) = (source["apiGroup"].string ?? "", source["kind"].string ?? "")
            if group.isEmpty, kind != "PersistentVolumeClaim" {
                check.add(.invalid("\(path).\(key)", .string(kind), ""))
            } else if !group.isEmpty, let problem = LabelSyntax.subdomainProblem(group) {
                check.add(.invalid("\(path).\(key).apiGroup", .string(group), problem))
            }
        }
        if let name = spec["volumeAttributesClassName"].string, !name.isEmpty,
            let problem = LabelSyntax.subdomainProblem(name)
        {
            check.add(.invalid("\(path).volumeAttributesClassName", .string(name), problem))
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
        (new["volumeAttributesClassName"], before["volumeAttributesClassName"]) = (.null, .null)
        let (asked, had) = (new["resources"]["requests"]["storage"], before["resources"]["requests"]["storage"])
        if old.status["phase"].string == "Bound" { new["resources"]["requests"]["storage"] = had }
        let capacity = old.status["capacity"]["storage"].string.flatMap { Quantity($0) } ?? .zero
        if let wanted = asked.string.flatMap({ Quantity($0) }), let current = had.string.flatMap({ Quantity($0) }),
            wanted < current, wanted <= capacity
        {
            check.add(.forbidden("spec.resources.requests.storage", "field can not be less than status.capacity"))
        }
        // Sic: upstream's path.
        check.immutable(object.spec["volumeMode"], old.spec["volumeMode"], "volumeMode")
        if new != before {
            check.add(
                .forbidden(
                    "spec",
                    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound "
                        + "claims"))
        }
    }
}
