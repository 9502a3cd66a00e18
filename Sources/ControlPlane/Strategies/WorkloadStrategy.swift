internal import Codecs
internal import KubeAPI

/// Deployments and replica sets: a selector, a pod template and a number.
/// Source: pkg/apis/apps/validation.
struct WorkloadStrategy: ResourceStrategy {
    enum Kind { case deployment, replicaSet }
    let kind: Kind

    var tracksGeneration: Bool { true }
    var selectableFields: [SelectableField] {
        kind == .replicaSet ? [SelectableField("status.replicas", absent: "0")] : []
    }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        let spec = object.spec
        check.nonNegative(spec["replicas"], "spec.replicas")
        check.nonNegative(spec["minReadySeconds"], "spec.minReadySeconds")
        Selectors.check(
            spec["selector"], template: spec["template"], kind: kind == .deployment ? "deployment" : "replicaset",
            &check)
        Self.checkTemplate(spec["template"], "spec.template", &check)
        guard kind == .deployment else { return }
        check.nonNegative(spec["revisionHistoryLimit"], "spec.revisionHistoryLimit")
        RollingUpdate.check(spec["strategy"], &check)
        if let deadline = spec["progressDeadlineSeconds"].int {
            check.nonNegative(spec["progressDeadlineSeconds"], "spec.progressDeadlineSeconds")
            if deadline <= spec["minReadySeconds"].int ?? 0 {
                check.add(
                    .invalid("spec.progressDeadlineSeconds", .int(deadline), "must be greater than minReadySeconds"))
            }
        }
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        switch subresource {
        case "":
            validateCreate(object, &check)
            check.immutable(object.spec["selector"], old.spec["selector"], "spec.selector")
        case "status": validateStatus(object.status, &check)
        default: break
        }
    }

    private func validateStatus(_ status: JSON, _ check: inout Validation) {
        let counts = [
            "replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas",
            "fullyLabeledReplicas",
        ]
        for key in counts { check.nonNegative(status[key], "status.\(key)") }
        let all = status["replicas"].int ?? 0
        for key in counts.dropFirst() where key != "unavailableReplicas" {
            if let number = status[key].int, number > all {
                check.add(.invalid("status.\(key)", .int(number), "cannot be greater than status.replicas"))
            }
        }
        if let available = status["availableReplicas"].int, available > status["readyReplicas"].int ?? 0 {
            check.add(.invalid("status.availableReplicas", .int(available), "cannot be greater than readyReplicas"))
        }
    }

    /// A template whose pods are to run for ever.
    static func checkTemplate(_ template: JSON, _ path: String, _ check: inout Validation) {
        Registry.validateLabels(template["metadata"]["labels"], "\(path).labels", &check)
        Registry.validateAnnotations(template["metadata"]["annotations"], "\(path).annotations", &check)
        PodSpecValidation.check(template["spec"], "\(path).spec", &check)
        let policy = template["spec"]["restartPolicy"]
        if policy.string == "OnFailure" || policy.string == "Never" {
            check.add(.notSupported("\(path).spec.restartPolicy", policy, ["Always"]))
        }
        if !template["spec"]["activeDeadlineSeconds"].isNull {
            check.add(
                .forbidden("\(path).spec.activeDeadlineSeconds", "activeDeadlineSeconds in ReplicaSet is not Supported")
            )
        }
    }
}

/// Label selectors of workloads.
enum Selectors {
    static func check(_ selector: JSON, template: JSON, kind: String, _ check: inout Validation) {
        guard !selector.isNull else {
            check.add(.required("spec.selector"))
            return
        }
        validate(selector, "spec.selector", &check)
        guard let parsed = try? LabelSelector(json: selector) else { return }
        if parsed.isEverything {
            check.add(.invalid("spec.selector", selector, "empty selector is invalid for \(kind)"))
            return
        }
        let labels = template["metadata"]["labels"]
        if !parsed.matches(labels: labels) {
            check.add(
                .invalid(
                    "spec.template.metadata.labels", labels.isNull ? [:] : labels,
                    "`selector` does not match template `labels`"))
        }
    }

    static func validate(_ selector: JSON, _ path: String, _ check: inout Validation) {
        for (key, value) in selector["matchLabels"].object ?? JSONObject() {
            if let problem = LabelSyntax.keyProblem(key) {
                check.add(.invalid("\(path).matchLabels", .string(key), problem))
            }
            if let problem = LabelSyntax.valueProblem(value.string ?? "") {
                check.add(.invalid("\(path).matchLabels", value, problem))
            }
        }
        for (i, expression) in selector["matchExpressions"].elements.enumerated() {
            let place = "\(path).matchExpressions[\(i)]"
            let values = expression["values"].elements
            switch expression["operator"].string ?? "" {
            case "In", "NotIn":
                if values.isEmpty {
                    check.add(.required("\(place).values", "must be specified when `operator` is 'In' or 'NotIn'"))
                }
            case "Exists", "DoesNotExist":
                if !values.isEmpty {
                    check.add(
                        .forbidden(
                            "\(place).values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
                }
            default: check.add(.invalid("\(place).operator", expression["operator"], "not a valid selector operator"))
            }
            if let problem = LabelSyntax.keyProblem(expression["key"].string ?? "") {
                check.add(.invalid("\(place).key", expression["key"], problem))
            }
        }
    }
}

/// A deployment's strategy.
enum RollingUpdate {
    static func check(_ strategy: JSON, _ check: inout Validation) {
        let type = strategy["type"].string ?? ""
        let update = strategy["rollingUpdate"]
        switch type {
        case "Recreate":
            if !update.isNull {
                check.add(
                    .forbidden(
                        "spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'"))
            }
        case "RollingUpdate":
            guard !update.isNull else {
                check.add(.required("spec.strategy.rollingUpdate", "this should be defaulted and never be nil"))
                return
            }
            let path = "spec.strategy.rollingUpdate"
            amount(update["maxUnavailable"], "\(path).maxUnavailable", &check)
            amount(update["maxSurge"], "\(path).maxSurge", &check)
            if value(update["maxUnavailable"]) == 0, value(update["maxSurge"]) == 0 {
                check.add(
                    .invalid(
                        "\(path).maxUnavailable", update["maxUnavailable"], "may not be 0 when `maxSurge` is 0"))
            }
            if let percent = percent(update["maxUnavailable"]), percent > 100 {
                check.add(.invalid("\(path).maxUnavailable", update["maxUnavailable"], "must not be greater than 100%"))
            }
        default: check.add(.notSupported("spec.strategy.type", .string(type), ["Recreate", "RollingUpdate"]))
        }
    }

    private static func percent(_ value: JSON) -> Int64? {
        guard let text = value.string, text.hasSuffix("%") else { return nil }
        let digits = text.dropLast()
        return digits.utf8.allSatisfy { $0 &- 48 < 10 } ? Int64(digits) : nil
    }

    private static func value(_ amount: JSON) -> Int64? { amount.int ?? percent(amount) }

    private static func amount(_ amount: JSON, _ path: String, _ check: inout Validation) {
        if let text = amount.string {
            if percent(amount) == nil {
                check.add(
                    .invalid(
                        path, .string(text),
                        "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', "
                            + "regex used for validation is '[0-9]+%')"))
            }
        } else {
            check.nonNegative(amount, path)
        }
    }
}
