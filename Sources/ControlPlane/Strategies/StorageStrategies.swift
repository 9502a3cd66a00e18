internal import Codecs
internal import KubeAPI

/// Texts by text, as drivers are given them.
private enum TextMap {
    private static let limit = 256 * 1024

    static func checkSize(_ map: JSONObject, _ path: String, _ check: inout Validation) {
        let size = map.members.reduce(0) { $0 + $1.key.utf8.count + ($1.value.string ?? "").utf8.count }
        if size > limit { check.add(.tooLong(path, limit: limit)) }
    }
}

/// Source: ValidateStorageClass of pkg/apis/storage/validation.
struct StorageClassStrategy: ResourceStrategy {
    var returnsDeletedObject: Bool { true }
    private static let rules = RuleStrategy([
        .required("provisioner"), .oneOf("reclaimPolicy", ["Delete", "Retain"]),
        .oneOf("volumeBindingMode", ["Immediate", "WaitForFirstConsumer"]),
        .fixed("parameters", "updates to parameters are forbidden."),
        .fixed("provisioner", "updates to provisioner are forbidden."), .immutable("reclaimPolicy"),
        .immutable("volumeBindingMode"),
    ])

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        Self.rules.validateCreate(object, &check)
        own(object, &check)
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        Self.rules.validateUpdate(object, old: old, subresource: subresource, &check)
        own(object, &check)
    }

    private func own(_ object: KubeObject, _ check: inout Validation) {
        let provisioner = object["provisioner"].string ?? ""
        if !provisioner.isEmpty, let problem = LabelSyntax.keyProblem(DeviceRules.lowercased(provisioner)) {
            check.add(.invalid("provisioner", .string(provisioner), problem))
        }
        let parameters = object["parameters"].object ?? JSONObject()
        if parameters.count > 512 {
            check.add(
                .init(.tooLong, "parameters", "Too long: may not be more than 512 items"))
        }
        if parameters.keys.contains("") { check.add(.invalid("parameters", "", "field can not be empty.")) }
        TextMap.checkSize(parameters, "parameters", &check)
        var seen: Set<String> = []
        for (i, term) in object["allowedTopologies"].elements.enumerated() {
            let path = "allowedTopologies[\(i)]"
            self.term(term, path, &check)
            let expressions = term["matchLabelExpressions"].elements.map {
                ($0["key"].string ?? "") + "=" + Set($0["values"].elements.compactMap(\.string)).sorted().description
            }
            if !seen.insert(expressions.sorted().description).inserted {
                check.add(.duplicate("\(path).matchLabelExpressions", ""))
            }
        }
    }

    private func term(_ term: JSON, _ path: String, _ check: inout Validation) {
        var keys: Set<String> = []
        for (i, expression) in term["matchLabelExpressions"].elements.enumerated() {
            let place = "\(path).matchLabelExpressions[\(i)]"
            let key = expression["key"].string ?? ""
            let values = expression["values"].elements
            if values.isEmpty { check.add(.required("\(place).values")) }
            DeviceRules.unique(values, "\(place).values", &check) { $0 }
            if let problem = LabelSyntax.keyProblem(key) { check.add(.invalid("\(place).key", .string(key), problem)) }
            if !keys.insert(key).inserted { check.add(.duplicate("\(place).key", .string(key))) }
        }
    }
}

/// Source: ValidateCSIDriver.
struct CSIDriverStrategy: ResourceStrategy {
    var tracksGeneration: Bool { true }
    var returnsDeletedObject: Bool { true }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        if object.name.utf8.count > 63 { check.add(.tooLong("name", limit: 63)) }
        let spec = object.spec
        check.oneOf(spec["fsGroupPolicy"], ["File", "None", "ReadWriteOnceWithFSType"], "spec.fsGroupPolicy")
        for mode in spec["volumeLifecycleModes"].elements {
            check.oneOf(mode, ["Ephemeral", "Persistent"], "spec.volumeLifecycleModes")
        }
        var audiences: Set<String> = []
        for (i, request) in spec["tokenRequests"].elements.enumerated() {
            let (path, audience) = ("spec.tokenRequests[\(i)]", request["audience"].string ?? "")
            guard audiences.insert(audience).inserted else {
                check.add(.duplicate("\(path).audience", .string(audience)))
                continue
            }
            guard let seconds = request["expirationSeconds"].int else { continue }
            if seconds < 600 {
                check.add(
                    .invalid(
                        "\(path).expirationSeconds", .int(seconds), "may not specify a duration less than 10 minutes"))
            } else if seconds > 1 << 32 {
                check.add(
                    .invalid(
                        "\(path).expirationSeconds", .int(seconds),
                        "may not specify a duration larger than 2^32 seconds"
                    ))
            }
        }
        if let seconds = spec["nodeAllocatableUpdatePeriodSeconds"].int, seconds < 10 {
            check.add(
                .invalid(
                    "spec.nodeAllocatableUpdatePeriodSeconds", .int(seconds),
                    "must be greater than or equal to 10 seconds"))
        }
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        validateCreate(object, &check)
        // Sic: upstream's path.
        check.immutable(object.spec["attachRequired"], old.spec["attachRequired"], "spec.attachedRequired")
        check.immutable(
            object.spec["volumeLifecycleModes"], old.spec["volumeLifecycleModes"], "spec.volumeLifecycleModes")
    }
}

/// Which drivers a node has. Source: ValidateCSINode.
struct CSINodeStrategy: ResourceStrategy {
    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        var names: Set<String> = []
        for (i, driver) in object.spec["drivers"].elements.enumerated() {
            let path = "spec.drivers[\(i)]"
            DeviceRules.driver(driver["name"], "\(path).name", &check)
            let (name, id) = (driver["name"].string ?? "", driver["nodeID"].string ?? "")
            if !names.insert(name).inserted { check.add(.duplicate("\(path).name", .string(name))) }
            if id.isEmpty { check.add(.required("\(path).nodeID")) }
            if id.utf8.count > 256 {
                check.add(.invalid("\(path).nodeID", .string(id), "must be 256 characters or less"))
            }
            check.nonNegative(driver["allocatable"]["count"], "\(path).allocatable.count")
            var keys: Set<String> = []
            for key in driver["topologyKeys"].elements.map({ $0.string ?? "" }) {
                if key.isEmpty { check.add(.required("\(path).topologyKeys")) }
                if !keys.insert(key).inserted { check.add(.duplicate("\(path).topologyKeys", .string(key))) }
                if let problem = LabelSyntax.keyProblem(key), !key.isEmpty {
                    check.add(.invalid("\(path).topologyKeys", driver["topologyKeys"], problem))
                }
            }
        }
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        validateCreate(object, &check)
        var known: [String: JSON] = [:]
        for driver in old.spec["drivers"].elements { known[driver["name"].string ?? ""] = driver }
        for driver in object.spec["drivers"].elements {
            guard var before = known[driver["name"].string ?? ""] else { continue }
            // How many volumes a node takes may change while it runs.
            before["allocatable"] = driver["allocatable"]
            check.immutable(driver, before, "CSINodeDriver")
        }
    }
}

/// Source: ValidateVolumeAttachment.
struct VolumeAttachmentStrategy: ResourceStrategy {
    var returnsDeletedObject: Bool { true }
    private static let oneSource = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"

    func prepareForCreate(_ object: inout KubeObject, _ scope: RequestScope) {
        object.json["status"] = ["attached": false]
    }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        DeviceRules.driver(object.spec["attacher"], "spec.attacher", &check)
        DeviceRules.name(object.spec["nodeName"], "spec.nodeName", .subdomain, &check)
        let (source, path) = (object.spec["source"], "spec.source")
        switch (source["persistentVolumeName"].isNull, source["inlineVolumeSpec"].isNull) {
        case (true, true): check.add(.required(path, Self.oneSource))
        case (false, false): check.add(.forbidden(path, Self.oneSource))
        case (false, true):
            if source["persistentVolumeName"] == "" {
                check.add(
                    .required("\(path).persistentVolumeName", "must specify non empty persistentVolumeName"))
            }
            DeviceRules.name(
                source["persistentVolumeName"], "\(path).persistentVolumeName", .subdomain, &check)
        case (true, false):
            PersistentVolumeStrategy.checkInline(source["inlineVolumeSpec"], "\(path).inlineVolumeSpec", &check)
        }
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        if subresource.isEmpty { check.immutable(object.spec, old.spec, "spec") }
        for key in ["attachError", "detachError"] {
            let message = object.status[key]["message"].string ?? ""
            if message.utf8.count > 1024 { check.add(.tooLong("status.\(key).message", limit: 1024)) }
        }
        let metadata = object.status["attachmentMetadata"].object ?? JSONObject()
        TextMap.checkSize(metadata, "status.attachmentMetadata", &check)
    }
}

/// How pods are run. Source: pkg/apis/node/validation.
struct RuntimeClassStrategy: ResourceStrategy {
    private static let rules = RuleStrategy([.required("handler"), .name("handler", .label)])

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        Self.rules.validateCreate(object, &check)
        for (name, amount) in object["overhead"]["podFixed"].object?.members ?? [] {
            let path = "overhead.podFixed[\(name)]"
            if let quantity = amount.quantity, quantity < .zero {
                check.add(.invalid(path, amount, "must be greater than or equal to 0"))
            }
        }
        let scheduling = object["scheduling"]
        Registry.validateLabels(scheduling["nodeSelector"], "scheduling.nodeSelector", &check)
        let tolerations = scheduling["tolerations"].elements
        PodSpecValidation.checkTolerations(tolerations, "scheduling.tolerations", &check)
        DeviceRules.unique(tolerations, "scheduling.tolerations", &check) { $0 }
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        validateCreate(object, &check)
        check.immutable(object["handler"], old["handler"], "handler")
    }
}

/// Who answers for ingresses. Source: validateIngressClass of pkg/apis/networking/validation.
struct IngressClassStrategy: ResourceStrategy {
    var tracksGeneration: Bool { true }
    private static let rules = RuleStrategy([.required("spec.controller"), .domainPath("spec.controller")])

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        Self.rules.validateCreate(object, &check)
        let controller = object.spec["controller"].string ?? ""
        if controller.utf8.count > 250 { check.add(.tooLong("spec.controller", limit: 250)) }
        let (parameters, path) = (object.spec["parameters"], "spec.parameters")
        if parameters.isNull { return }
        if let group = parameters["apiGroup"].string, let problem = LabelSyntax.subdomainProblem(group) {
            check.add(.invalid("\(path).apiGroup", .string(group), problem))
        }
        for key in ["kind", "name"] {
            DeviceRules.requiredName(parameters[key], "\(path).\(key)", .pathSegment, &check)
        }
        switch parameters["scope"].string ?? "" {
        case "Namespace":
            if parameters["namespace"].isNull {
                check.add(.required("\(path).namespace", "`parameters.scope` is set to 'Namespace'"))
            } else {
                DeviceRules.name(parameters["namespace"], "\(path).namespace", .label, &check)
            }
        case "Cluster":
            if !parameters["namespace"].isNull {
                check.add(.forbidden("\(path).namespace", "`parameters.scope` is set to 'Cluster'"))
            }
        case "": check.add(.required("\(path).scope"))
        default: check.add(.notSupported("\(path).scope", parameters["scope"], ["Cluster", "Namespace"]))
        }
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        validateCreate(object, &check)
        check.immutable(object.spec["controller"], old.spec["controller"], "spec.controller")
    }
}
