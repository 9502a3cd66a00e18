internal import Codecs

/// Sets defaults of one struct that depend on other fields. Runs after the struct's children and the table's own defaults
/// (hack/gen-schema/defaults.tsv) are set.
typealias Defaulter = @Sendable (inout FieldSlots, DefaultingContext) -> Void

struct DefaultingContext {
    let schema: Schema
    let clock: any KubeClock
}

/// The conditional defaults of the built-in kinds, by type.
/// Source: the behaviour of the SetDefaults functions of kubernetes/kubernetes' pkg/apis/*/defaults.go.
enum Defaulters {
    static func function(for package: String, _ type: String) -> Defaulter? {
        switch package {
        case "core/v1": core(type)
        case "apps/v1": apps(type)
        case "batch/v1": batch(type)
        case "autoscaling/v1", "autoscaling/v2": autoscaling(package, type)
        default: other(package, type)
        }
    }

    private static func apps(_ type: String) -> Defaulter? {
        switch type {
        case "DeploymentStrategy": rollingUpdate(maxUnavailable: "25%", maxSurge: "25%")
        case "DaemonSetUpdateStrategy": rollingUpdate(maxUnavailable: 1, maxSurge: 0)
        case "StatefulSetUpdateStrategy":
            { slots, _ in
                if slots["type"].isGoZero {
                    slots["type"] = "RollingUpdate"
                    slots.setDefault("rollingUpdate", [:])
                }
                guard slots["type"] == "RollingUpdate", case .object(var update) = slots["rollingUpdate"] else {
                    return
                }
                if update["partition"] == nil {
                    update = JSONObject(members: [("partition", .int(0))] + update.members)
                }
                slots["rollingUpdate"] = .object(update)
            }
        case "StatefulSetSpec":
            { slots, _ in
                slots.setDefault(
                    "persistentVolumeClaimRetentionPolicy", ["whenDeleted": "Retain", "whenScaled": "Retain"])
            }
        default: nil
        }
    }

    private static func rollingUpdate(maxUnavailable: JSON, maxSurge: JSON) -> Defaulter {
        { slots, _ in
            slots.setDefault("type", "RollingUpdate")
            guard slots["type"] == "RollingUpdate" else { return }
            let update = slots["rollingUpdate"]
            slots["rollingUpdate"] = [
                "maxUnavailable": update["maxUnavailable"].or(maxUnavailable),
                "maxSurge": update["maxSurge"].or(maxSurge),
            ]
        }
    }

    private static func batch(_ type: String) -> Defaulter? {
        guard type == "Job" else { return nil }
        return { slots, context in
            guard case .object(var spec) = slots["spec"], let type = context.schema.type(named: "batch/v1.JobSpec")
            else { return }
            func setDefault(_ key: String, _ value: JSON) {
                if spec[key] == nil { type.set(key, to: value, in: &spec) }
            }
            // Parallelism alone means a work queue: no completions then.
            if spec["completions"] == nil, spec["parallelism"] == nil { setDefault("completions", 1) }
            setDefault("parallelism", 1)
            setDefault("backoffLimit", spec["backoffLimitPerIndex"] == nil ? 6 : 2_147_483_647)
            setDefault("manualSelector", false)
            setDefault("completionMode", "NonIndexed")
            setDefault("suspend", false)
            setDefault("podReplacementPolicy", spec["podFailurePolicy"] == nil ? "TerminatingOrFailed" : "Failed")
            slots["spec"] = .object(spec)
            labelsFromTemplate(&slots)
        }
    }

    /// Jobs and replication controllers without labels take those of their pods.
    static func labelsFromTemplate(_ slots: inout FieldSlots) {
        let labels = slots["spec"]["template"]["metadata"]["labels"]
        guard !labels.isGoZero, slots["metadata"]["labels"].isGoZero,
            let metadata = ObjectMetaOrder.with(labels, in: slots["metadata"])
        else { return }
        slots["metadata"] = metadata
    }

    private static func autoscaling(_ package: String, _ type: String) -> Defaulter? {
        guard package == "autoscaling/v2" else { return nil }
        switch type {
        case "HorizontalPodAutoscalerSpec":
            return { slots, _ in
                if slots["metrics"].isGoZero {
                    slots["metrics"] = [
                        [
                            "type": "Resource",
                            "resource": ["name": "cpu", "target": ["type": "Utilization", "averageUtilization": 80]],
                        ]
                    ]
                }
            }
        case "HorizontalPodAutoscalerBehavior":
            return { slots, context in
                guard let rules = context.schema.type(named: "autoscaling/v2.HPAScalingRules") else { return }
                let percent: JSON = ["type": "Percent", "value": 100, "periodSeconds": 15]
                let pods: JSON = ["type": "Pods", "value": 4, "periodSeconds": 15]
                slots["scaleUp"] = scalingRules(slots["scaleUp"], rules, window: 0, policies: [pods, percent])
                slots["scaleDown"] = scalingRules(slots["scaleDown"], rules, window: nil, policies: [percent])
            }
        default: return nil
        }
    }

    private static func scalingRules(_ given: JSON, _ type: TypeSchema, window: Int64?, policies: [JSON]) -> JSON {
        var rules = given.object ?? JSONObject()
        if let window, rules["stabilizationWindowSeconds"] == nil {
            type.set("stabilizationWindowSeconds", to: .int(window), in: &rules)
        }
        if rules["selectPolicy"] == nil { type.set("selectPolicy", to: "Max", in: &rules) }
        if rules["policies"]?.isGoZero ?? true { type.set("policies", to: .array(policies), in: &rules) }
        return .object(rules)
    }

    private static func other(_ package: String, _ type: String) -> Defaulter? {
        switch (package, type) {
        case ("networking/v1", "NetworkPolicySpec"):
            { slots, _ in
                guard slots["policyTypes"].isGoZero else { return }
                slots["policyTypes"] = slots["egress"].isGoZero ? ["Ingress"] : ["Ingress", "Egress"]
            }
        case ("rbac/v1", "Subject"):
            { slots, _ in
                if slots["kind"] == "User" || slots["kind"] == "Group" {
                    slots.setDefault("apiGroup", "rbac.authorization.k8s.io")
                }
            }
        case ("apiextensions/v1", "CustomResourceDefinition"): customResourceDefinition
        case ("resource/v1", "ExactDeviceRequest"), ("resource/v1", "DeviceSubRequest"),
            ("resource/v1beta2", "ExactDeviceRequest"), ("resource/v1beta2", "DeviceSubRequest"),
            ("resource/v1beta1", "DeviceSubRequest"):
            deviceCount
        case ("resource/v1beta1", "DeviceRequest"):
            { slots, context in
                guard slots["firstAvailable"].isGoZero else { return }
                slots.setDefault("allocationMode", "ExactCount")
                deviceCount(&slots, context)
            }
        case ("resource/v1", "DeviceTaint"), ("resource/v1beta1", "DeviceTaint"), ("resource/v1beta2", "DeviceTaint"):
            { slots, context in slots.setDefault("timeAdded", .string(context.clock.now().rfc3339)) }
        default: nil
        }
    }

    private static let deviceCount: Defaulter = { slots, _ in
        if slots["allocationMode"] == "ExactCount" { slots.setDefault("count", 1) }
    }

    private static let customResourceDefinition: Defaulter = { slots, context in
        guard case .object(var spec) = slots["spec"], case .object(var names)? = spec["names"],
            let specType = context.schema.type(named: "apiextensions/v1.CustomResourceDefinitionSpec"),
            let namesType = context.schema.type(named: "apiextensions/v1.CustomResourceDefinitionNames")
        else { return }
        let kind = names["kind"]?.string ?? ""
        if names["singular"]?.isGoZero ?? true { namesType.set("singular", to: .string(kind.lowercased()), in: &names) }
        if names["listKind"]?.isGoZero ?? true, !kind.isEmpty {
            namesType.set("listKind", to: .string(kind + "List"), in: &names)
        }
        spec["names"] = .object(names)
        if spec["conversion"] == nil { specType.set("conversion", to: ["strategy": "None"], in: &spec) }
        let stored = spec["versions"]?.elements.first { $0["storage"] == true }?["name"]
        slots["spec"] = .object(spec)
        if let stored, slots["status"]["storedVersions"].isGoZero, case .object(var status) = slots["status"],
            let statusType = context.schema.type(named: "apiextensions/v1.CustomResourceDefinitionStatus")
        {
            statusType.set("storedVersions", to: [stored], in: &status)
            slots["status"] = .object(status)
        }
    }
}

extension JSON {
    /// The value, or another where there is none.
    func or(_ other: JSON) -> JSON { isNull ? other : self }
}

/// Labels at their place in metadata.
enum ObjectMetaOrder {
    static func with(_ labels: JSON, in metadata: JSON) -> JSON? {
        guard let type = Schema.shared.type(named: "meta/v1.ObjectMeta") else { return nil }
        var object = metadata.object ?? JSONObject()
        type.set("labels", to: labels, in: &object)
        return .object(object)
    }
}
