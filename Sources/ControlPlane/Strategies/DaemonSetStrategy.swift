internal import Codecs
internal import KubeAPI

/// Daemon sets: a pod on every node. Source: pkg/apis/apps/validation, pkg/registry/apps/daemonset.
struct DaemonSetStrategy: ResourceStrategy {
    var tracksGeneration: Bool { true }

    /// Counts the changes of the template; a field in the API that was before apps/v1.
    private static let templateGeneration = "deprecated.daemonset.template.generation"

    func warnings(for object: KubeObject) -> [String] {
        PodWarnings.of(object.spec["template"]["spec"], "spec.template.spec")
    }

    func prepareForCreate(_ object: inout KubeObject, _ scope: RequestScope) {
        object.json["status"] = [
            "currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0,
        ]
        if object.annotations[Self.templateGeneration] == nil {
            object.metadata["annotations"][Self.templateGeneration] = "1"
        }
    }

    func prepareForUpdate(_ object: inout KubeObject, old: KubeObject, subresource: String, _ scope: RequestScope) {
        guard subresource.isEmpty else { return }
        let before = old.annotations[Self.templateGeneration].flatMap { Int64($0) } ?? 0
        let changed = object.spec["template"] != old.spec["template"]
        object.metadata["annotations"][Self.templateGeneration] = .string(String(changed ? before + 1 : before))
    }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        let spec = object.spec
        Selectors.check(spec["selector"], template: spec["template"], kind: "daemonset", &check)
        PodTemplate.checkLasting(spec["template"], "spec.template", kind: "DaemonSet", &check)
        check.nonNegative(spec["minReadySeconds"], "spec.minReadySeconds")
        check.nonNegative(spec["revisionHistoryLimit"], "spec.revisionHistoryLimit")
        checkUpdateStrategy(spec["updateStrategy"], &check)
    }

    private func checkUpdateStrategy(_ strategy: JSON, _ check: inout Validation) {
        let path = "spec.updateStrategy.rollingUpdate"
        switch strategy["type"].string ?? "" {
        case "OnDelete": break
        case "RollingUpdate":
            let update = strategy["rollingUpdate"]
            guard !update.isNull else {
                check.add(.required(path))
                return
            }
            for key in ["maxUnavailable", "maxSurge"] {
                IntOrPercent.check(update[key], "\(path).\(key)", &check)
                IntOrPercent.checkAtMostAll(update[key], "\(path).\(key)", &check)
            }
            let unavailable = IntOrPercent.value(update["maxUnavailable"]) ?? 0
            let surge = IntOrPercent.value(update["maxSurge"]) ?? 0
            if unavailable == 0, surge == 0 {
                check.add(.required("\(path).maxUnavailable", "cannot be 0 when maxSurge is 0"))
            } else if unavailable > 0, surge > 0 {
                check.add(
                    .invalid(
                        "\(path).maxSurge", update["maxSurge"], "may not be set when maxUnavailable is non-zero"))
            }
        default:
            check.add(
                .notSupported(
                    "spec.updateStrategy.type", strategy["type"].isNull ? "" : strategy["type"],
                    ["OnDelete", "RollingUpdate"]))
        }
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        guard subresource.isEmpty else {
            for key in [
                "currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady",
                "observedGeneration", "updatedNumberScheduled", "numberAvailable", "numberUnavailable",
                "collisionCount",
            ] { check.nonNegative(object.status[key], "status.\(key)") }
            check.collisions(object.status, old.status)
            return
        }
        validateCreate(object, &check)
        check.immutable(object.spec["selector"], old.spec["selector"], "spec.selector")
    }
}
