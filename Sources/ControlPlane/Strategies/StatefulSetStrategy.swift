internal import Codecs
internal import KubeAPI

/// Stateful sets: pods with a number and volumes of their own. Source: pkg/apis/apps/validation.
struct StatefulSetStrategy: ResourceStrategy {
    var tracksGeneration: Bool { true }

    func warnings(for object: KubeObject) -> [String] {
        ObjectWarnings.name(object)
            + PodWarnings.of(object.spec["template"]["spec"], "spec.template.spec")
    }

    func prepareForCreate(_ object: inout KubeObject, _ scope: RequestScope) {
        object.json["status"] = ["replicas": 0, "availableReplicas": 0]
    }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        let spec = object.spec
        switch spec["podManagementPolicy"].string ?? "" {
        case "": check.add(.required("spec.podManagementPolicy"))
        case "OrderedReady", "Parallel": break
        default:
            check.add(
                .invalid(
                    "spec.podManagementPolicy", spec["podManagementPolicy"], "must be 'OrderedReady' or 'Parallel'"))
        }
        checkUpdateStrategy(spec["updateStrategy"], &check)
        for key in ["whenDeleted", "whenScaled"] {
            check.oneOf(
                spec["persistentVolumeClaimRetentionPolicy"][key], ["Retain", "Delete"],
                "spec.persistentVolumeClaimRetentionPolicy.\(key)", required: true)
        }
        for key in ["replicas", "minReadySeconds", "revisionHistoryLimit"] {
            check.nonNegative(spec[key], "spec.\(key)")
        }
        check.nonNegative(spec["ordinals"]["start"], "spec.ordinals.start")
        if let service = spec["serviceName"].string, !service.isEmpty,
            let problem = LabelSyntax.subdomainProblem(service)
        {
            check.add(.invalid("spec.serviceName", .string(service), problem))
        }
        Selectors.check(spec["selector"], template: spec["template"], kind: "statefulset", &check)
        // Volumes that the template mounts may be claims of the set's own.
        var template = spec["template"]
        var names = Set(template["spec"]["volumes"].elements.compactMap { $0["name"].string })
        for claim in spec["volumeClaimTemplates"].elements {
            guard let name = claim["metadata"]["name"].string, names.insert(name).inserted else { continue }
            template["spec"]["volumes"].append([
                "name": .string(name), "persistentVolumeClaim": ["claimName": .string(name)],
            ])
        }
        PodTemplate.checkLasting(template, "spec.template", kind: "StatefulSet", &check)
    }

    private func checkUpdateStrategy(_ strategy: JSON, _ check: inout Validation) {
        let path = "spec.updateStrategy.rollingUpdate"
        let update = strategy["rollingUpdate"]
        switch strategy["type"].string ?? "" {
        case "": check.add(.required("spec.updateStrategy"))
        case "OnDelete":
            if !update.isNull {
                check.add(.invalid(path, update, "only allowed for updateStrategy 'RollingUpdate'"))
            }
        case "RollingUpdate":
            check.nonNegative(update["partition"], "\(path).partition")
            let unavailable = update["maxUnavailable"]
            if unavailable.isNull { return }
            IntOrPercent.check(unavailable, "\(path).maxUnavailable", &check)
            if IntOrPercent.value(unavailable) == 0 {
                check.add(.invalid("\(path).maxUnavailable", unavailable, "cannot be 0"))
            }
            IntOrPercent.checkAtMostAll(unavailable, "\(path).maxUnavailable", &check)
        default:
            check.add(.invalid("spec.updateStrategy", strategy, "must be 'RollingUpdate' or 'OnDelete'"))
        }
    }

    private static let mutable = [
        "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
    ]

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        if subresource == "status" {
            check.counts(
                object.status, of: "replicas",
                ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"],
                besides: ["observedGeneration", "collisionCount"], ready: "status.readyReplicas")
            check.collisions(object.status, old.status)
        }
        guard subresource.isEmpty else { return }
        validateCreate(object, &check)
        var (new, before) = (object.spec, old.spec)
        for key in Self.mutable {
            new[key] = .null
            before[key] = .null
        }
        guard new != before else { return }
        let names = Self.mutable.dropLast().map { "'\($0)'" }.joined(separator: ", ")
        check.add(
            .forbidden(
                "spec",
                "updates to statefulset spec for fields other than \(names) and 'minReadySeconds' are forbidden"))
    }
}
