internal import Codecs
internal import KubeAPI

/// Horizontal pod autoscalers: stored as autoscaling/v2, shown as autoscaling/v1 as well.
/// Source: pkg/apis/autoscaling/validation.
struct AutoscalerStrategy: ResourceStrategy {
    var nameRule: NameRule { .subdomain }

    func prepareForCreate(_ object: inout KubeObject, _ scope: RequestScope) {
        object.json["status"] = ["currentReplicas": 0, "desiredReplicas": 0]
    }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        let spec = object.spec
        let least = spec["minReplicas"].int ?? 1
        if least < 1 {
            check.add(.invalid("spec.minReplicas", .int(least), "must be greater than or equal to 1"))
        }
        let most = spec["maxReplicas"].int ?? 0
        if most < 1 { check.add(.invalid("spec.maxReplicas", .int(most), "must be greater than 0")) }
        if most < least {
            check.add(.invalid("spec.maxReplicas", .int(most), "must be greater than or equal to `minReplicas`"))
        }
        reference(spec["scaleTargetRef"], "spec.scaleTargetRef", &check)
        for (i, metric) in spec["metrics"].elements.enumerated() { self.metric(metric, "spec.metrics[\(i)]", &check) }
        for direction in ["scaleUp", "scaleDown"] where !spec["behavior"][direction].isNull {
            rules(spec["behavior"][direction], "spec.behavior.\(direction)", &check)
        }
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        if subresource.isEmpty {
            validateCreate(object, &check)
        } else {
            check.nonNegative(object.status["currentReplicas"], "status.currentReplicas")
            check.nonNegative(object.status["desiredReplicas"], "status.desiredReplicas")
        }
    }

    private func reference(_ target: JSON, _ path: String, _ check: inout Validation) {
        for key in ["kind", "name"] {
            let text = target[key].string ?? ""
            if text.isEmpty {
                check.add(.required("\(path).\(key)"))
            } else if let problem = LabelSyntax.pathSegmentProblem(text) {
                check.add(.invalid("\(path).\(key)", .string(text), problem))
            }
        }
    }

    private static let sources = [
        "ContainerResource": "containerResource", "External": "external", "Object": "object", "Pods": "pods",
        "Resource": "resource",
    ]

    private func metric(_ metric: JSON, _ path: String, _ check: inout Validation) {
        let type = metric["type"].string ?? ""
        guard !type.isEmpty else {
            check.add(.required("\(path).type", "must specify a metric source type"))
            return
        }
        guard let key = Self.sources[type] else {
            check.add(.notSupported("\(path).type", .string(type), Self.sources.keys.sorted()))
            return
        }
        let source = metric[key]
        guard !source.isNull else {
            check.add(.required("\(path).\(key)", "must populate information for the given metric source"))
            return
        }
        for other in Self.sources.values.sorted() where other != key && !metric[other].isNull {
            check.add(.forbidden("\(path).\(other)", "must populate the given metric source only"))
        }
        let name = key == "resource" || key == "containerResource" ? source["name"] : source["metric"]["name"]
        let namePath = "\(path).\(key)" + (key == "resource" || key == "containerResource" ? ".name" : ".metric.name")
        let isResource = namePath.hasSuffix("esource.name")
        if (name.string ?? "").isEmpty {
            check.add(.required(namePath, "must specify a \(isResource ? "resource" : "metric") name"))
        } else if let problem = LabelSyntax.pathSegmentProblem(name.string ?? ""), !isResource {
            check.add(.invalid(namePath, name, problem))
        }
        if key == "containerResource", (source["container"].string ?? "").isEmpty {
            check.add(.required("\(path).\(key).container", "must specify a container"))
        }
        if key == "object" { reference(source["describedObject"], "\(path).object.describedObject", &check) }
        target(source["target"], "\(path).\(key).target", of: key, &check)
    }

    private func target(_ target: JSON, _ path: String, of kind: String, _ check: inout Validation) {
        let type = target["type"].string ?? ""
        if type.isEmpty {
            check.add(.required("\(path).type", "must specify a metric target type"))
        } else {
            if !["AverageValue", "Utilization", "Value"].contains(type) {
                check.add(
                    .invalid("\(path).type", target["type"], "must be either Utilization, Value, or AverageValue"))
            }
        }
        if let utilization = target["averageUtilization"].int, utilization < 1 {
            check.add(.invalid("\(path).averageUtilization", .int(utilization), "must be greater than 0"))
        }
        for key in ["value", "averageValue"] {
            if let amount = target[key].quantity, amount <= .zero {
                check.add(.invalid("\(path).\(key)", target[key], "must be positive"))
            }
        }
        let (hasValue, hasAverage) = (!target["value"].isNull, !target["averageValue"].isNull)
        switch kind {
        case "pods":
            if !(target["averageValue"].quantity.map { $0 > .zero } ?? false) {
                check.add(.required("\(path).averageValue", "must specify a positive target averageValue"))
            }
        case "object", "external":
            if !hasValue, !hasAverage {
                check.add(
                    .required(
                        "\(path).averageValue", "must set either a target value for metric or a per-pod target"))
            } else if hasValue, hasAverage, kind == "external" {
                check.add(
                    .forbidden("\(path).value", "may not set both a target value for metric and a per-pod target"))
            }
        default:
            let hasUtilization = !target["averageUtilization"].isNull
            if !hasUtilization, !hasAverage {
                check.add(
                    .required(
                        "\(path).averageUtilization", "must set either a target raw value or a target utilization"))
            } else if hasUtilization, hasAverage {
                check.add(
                    .forbidden(
                        "\(path).averageValue", "may not set both a target raw value and a target utilization"))
            }
        }
    }

    private func rules(_ rules: JSON, _ path: String, _ check: inout Validation) {
        if let window = rules["stabilizationWindowSeconds"].int, !(0...3600).contains(window) {
            check.add(
                .invalid(
                    "\(path).stabilizationWindowSeconds", .int(window),
                    window < 0 ? "must be greater than or equal to zero" : "must be less than or equal to 3600"))
        }
        check.oneOf(rules["selectPolicy"], ["Disabled", "Max", "Min"], "\(path).selectPolicy")
        let policies = rules["policies"].elements
        if policies.isEmpty { check.add(.required("\(path).policies", "must specify at least one Policy")) }
        for (i, policy) in policies.enumerated() {
            let place = "\(path).policies[\(i)]"
            check.oneOf(policy["type"], ["Percent", "Pods"], "\(place).type", required: true)
            for key in ["value", "periodSeconds"] where policy[key].int ?? 0 <= 0 {
                check.add(.invalid("\(place).\(key)", policy[key], "must be greater than zero"))
            }
            if let period = policy["periodSeconds"].int, period > 1800 {
                check.add(.invalid("\(place).periodSeconds", .int(period), "must be less than or equal to 1800"))
            }
        }
    }

    // MARK: - autoscaling/v1

    /// The older form knows the processor's utilization only; what it cannot say stays as it is stored.
    static let view = ResourceView(
        storage: GroupVersionResource("autoscaling", "v2", "horizontalpodautoscalers"), show: show, store: store,
        field: { $0 })

    private static func isProcessor(_ metric: JSON) -> Bool {
        metric["type"] == "Resource" && metric["resource"]["name"] == "cpu"
    }

    @Sendable private static func show(_ object: KubeObject) -> KubeObject {
        var shown = object
        shown.json["apiVersion"] = "autoscaling/v1"
        let cpu = object.spec["metrics"].elements.first(where: isProcessor)?["resource"]["target"]["averageUtilization"]
        shown.json["spec"]["metrics"] = .null
        shown.json["spec"]["behavior"] = .null
        if let cpu, !cpu.isNull { shown.json["spec"]["targetCPUUtilizationPercentage"] = cpu }
        let current = object.status["currentMetrics"].elements.first(where: isProcessor)
        for key in ["currentMetrics", "conditions"] { shown.json["status"][key] = .null }
        if let used = current?["resource"]["current"]["averageUtilization"], !used.isNull {
            shown.json["status"]["currentCPUUtilizationPercentage"] = used
        }
        return shown
    }

    @Sendable private static func store(_ object: KubeObject, _ old: KubeObject?) -> KubeObject {
        var stored = object
        stored.json["apiVersion"] = "autoscaling/v2"
        var metrics = (old?.spec["metrics"].elements ?? []).filter { !isProcessor($0) }
        if let cpu = object.spec["targetCPUUtilizationPercentage"].int {
            metrics.insert(
                [
                    "type": "Resource",
                    "resource": ["name": "cpu", "target": ["type": "Utilization", "averageUtilization": .int(cpu)]],
                ], at: 0)
        }
        stored.json["spec"]["targetCPUUtilizationPercentage"] = .null
        if !metrics.isEmpty { stored.json["spec"]["metrics"] = .array(metrics) }
        if let old, !old.spec["behavior"].isNull { stored.json["spec"]["behavior"] = old.spec["behavior"] }
        stored.json["status"]["currentCPUUtilizationPercentage"] = .null
        for key in ["currentMetrics", "conditions"] {
            if let old, !old.status[key].isNull { stored.json["status"][key] = old.status[key] }
        }
        return stored
    }
}
