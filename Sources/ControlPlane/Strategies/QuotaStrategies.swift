internal import Codecs
internal import KubeAPI

/// Names of resources in limits and quotas. Source: pkg/apis/core/helper, pkg/apis/core/validation.
enum ResourceNames {
    private static let standard: Set<String> = [
        "cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.ephemeral-storage",
        "requests.storage", "limits.cpu", "limits.memory", "limits.ephemeral-storage", "storage", "pods",
        "resourcequotas", "services", "replicationcontrollers", "secrets", "configmaps", "persistentvolumeclaims",
        "services.loadbalancers", "services.nodeports",
    ]
    /// What is counted and not measured.
    private static let integers: Set<String> = [
        "pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "configmaps",
        "persistentvolumeclaims", "services.loadbalancers", "services.nodeports",
    ]

    static func check(_ name: String, _ path: String, _ check: inout Validation) {
        if let problem = LabelSyntax.keyProblem(name) {
            check.add(.invalid(path, .string(name), problem))
        } else if !name.contains("/"), !standard.contains(name), !name.hasPrefix("hugepages-"),
            !name.hasPrefix("requests.hugepages-")
        {
            check.add(.invalid(path, .string(name), "must be a standard resource type or fully qualified"))
        }
    }

    static func isInteger(_ name: String) -> Bool { integers.contains(name) || name.hasPrefix("count/") }
}

/// Resource quotas. Source: pkg/apis/core/validation (ValidateResourceQuota).
struct ResourceQuotaStrategy: ResourceStrategy {
    var returnsDeletedObject: Bool { true }

    private static let scopes = [
        "BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "PriorityClass", "Terminating",
        "VolumeAttributesClass",
    ]
    private static let podResources: Set<String> = [
        "pods", "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory",
    ]

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        amounts(object.spec["hard"], "spec.hard", &check)
        let scopes = object.spec["scopes"].elements.compactMap(\.string)
        for scope in scopes { checkScope(scope, object.spec["hard"], "spec.scopes", &check) }
        for pair in [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]]
        where pair.allSatisfy(scopes.contains) {
            check.add(.invalid("spec.scopes", object.spec["scopes"], "conflicting scopes"))
        }
        for (i, term) in object.spec["scopeSelector"]["matchExpressions"].elements.enumerated() {
            let path = "spec.scopeSelector.matchExpressions[\(i)]"
            let name = term["scopeName"].string ?? ""
            checkScope(name, object.spec["hard"], "\(path).scopeName", &check)
            let values = term["values"].elements
            let op = term["operator"].string ?? ""
            let takesValues = ["PriorityClass", "VolumeAttributesClass"].contains(name)
            if !takesValues, Self.scopes.contains(name), op != "Exists" {
                check.add(
                    .invalid(
                        "\(path).operator", term["operator"],
                        "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, "
                            + "ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, "
                            + "ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"))
            }
            switch op {
            case "In", "NotIn":
                if values.isEmpty {
                    check.add(
                        .required(
                            "\(path).values",
                            "must be at least one value when `operator` is 'In' or 'NotIn' for scope "
                                + "selector"))
                }
            case "Exists", "DoesNotExist":
                if !values.isEmpty {
                    check.add(
                        .invalid(
                            "\(path).values", term["values"],
                            "must be no value when `operator` is 'Exists' or 'DoesNotExist' for scope selector"))
                }
            default: check.add(.invalid("\(path).operator", term["operator"], "not a valid selector operator"))
            }
        }
    }

    private func amounts(_ list: JSON, _ path: String, _ check: inout Validation) {
        for (name, value) in list.object ?? JSONObject() {
            ResourceNames.check(name, "\(path)[\(name)]", &check)
            guard let amount = value.string.flatMap({ Quantity($0) }) else { continue }
            if amount < .zero {
                check.add(.invalid("\(path)[\(name)]", value, "must be greater than or equal to 0"))
            }
            if ResourceNames.isInteger(name), amount.nanos % 1_000_000_000 != 0 {
                check.add(.invalid("\(path)[\(name)]", value, "must be an integer"))
            }
        }
    }

    private func checkScope(_ scope: String, _ hard: JSON, _ path: String, _ check: inout Validation) {
        guard Self.scopes.contains(scope) else {
            check.add(.invalid(path, .string(scope), "unsupported scope"))
            return
        }
        for (name, _) in hard.object ?? JSONObject() {
            let applies =
                switch scope {
                case "BestEffort": name == "pods"
                case "VolumeAttributesClass": name == "persistentvolumeclaims" || name == "requests.storage"
                default:
                    Self.podResources.contains(name) || name.contains("/") || name.contains("hugepages-")
                        || name.contains("ephemeral-storage")
                }
            if !applies, !name.hasPrefix("count/") {
                check.add(.invalid(path, .string(scope), "unsupported scope applied to resource"))
                return
            }
        }
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        if subresource == "status" {
            amounts(object.status["hard"], "status.hard", &check)
            amounts(object.status["used"], "status.used", &check)
        }
        guard subresource.isEmpty else { return }
        validateCreate(object, &check)
        if Set(object.spec["scopes"].elements.compactMap(\.string))
            != Set(old.spec["scopes"].elements.compactMap(\.string))
        {
            check.add(.invalid("spec.scopes", object.spec["scopes"], "field is immutable"))
        }
        check.immutable(object.spec["scopeSelector"], old.spec["scopeSelector"], "spec.scopeSelector")
    }
}

/// Limit ranges. Source: pkg/apis/core/validation (ValidateLimitRange).
struct LimitRangeStrategy: ResourceStrategy {
    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        var types: Set<String> = []
        for (i, limit) in object.spec["limits"].elements.enumerated() {
            let path = "spec.limits[\(i)]"
            let type = limit["type"].string ?? ""
            if let problem = LabelSyntax.keyProblem(type) {
                check.add(.invalid("\(path).type", .string(type), problem))
            } else if !type.contains("/"), !["Pod", "Container", "PersistentVolumeClaim"].contains(type) {
                check.add(
                    .invalid("\(path).type", .string(type), "must be a standard limit type or fully qualified"))
            }
            if !types.insert(type).inserted { check.add(.duplicate("\(path).type", .string(type))) }
            checkLimit(limit, type, path, &check)
        }
    }

    private func checkLimit(_ limit: JSON, _ type: String, _ path: String, _ check: inout Validation) {
        if type == "Pod" {
            for key in ["default", "defaultRequest"] where !(limit[key].object?.isEmpty ?? true) {
                check.add(.forbidden("\(path).\(key)", "may not be specified when `type` is 'Pod'"))
            }
        }
        if type == "PersistentVolumeClaim", limit["min"]["storage"].isNull, limit["max"]["storage"].isNull {
            check.add(
                .required(
                    "\(path).limits", "either minimum or maximum storage value is required, but neither was provided"))
        }
        var names: Set<String> = []
        for key in ["min", "max", "default", "defaultRequest", "maxLimitRequestRatio"] {
            for (name, _) in limit[key].object ?? JSONObject() {
                let place = "\(path).\(key)[\(name)]"
                ResourceNames.check(name, place, &check)
                if type == "Pod" || type == "Container", !name.contains("/"),
                    !ResourceRequirementsValidation.isStandard(name)
                {
                    check.add(.invalid(place, .string(name), "must be a standard resource for containers"))
                }
                names.insert(name)
            }
        }
        func amount(_ key: String, _ name: String) -> Quantity? { limit[key][name].string.flatMap { Quantity($0) } }
        for name in names.sorted() {
            func order(_ low: String, _ high: String, field: String) {
                guard let a = amount(low, name), let b = amount(high, name), a > b else { return }
                let (lower, higher) = (limit[low][name].string ?? "", limit[high][name].string ?? "")
                let words = [
                    "min": "min", "max": "max", "default": low == "defaultRequest" ? "default limit" : "default",
                    "defaultRequest": "default request",
                ]
                check.add(
                    .invalid(
                        "\(path).\(field)[\(name)]", .string(field == low ? lower : higher),
                        "\(words[low] ?? low) value \(lower) is greater than \(words[high] ?? high) value \(higher)"))
            }
            order("min", "max", field: "min")
            order("min", "defaultRequest", field: "defaultRequest")
            order("defaultRequest", "max", field: "defaultRequest")
            order("defaultRequest", "default", field: "defaultRequest")
            order("min", "default", field: "default")
            order("default", "max", field: "default")
            if let ratio = amount("maxLimitRequestRatio", name) {
                let text = limit["maxLimitRequestRatio"][name]
                if ratio < Quantity(1) {
                    check.add(
                        .invalid(
                            "\(path).maxLimitRequestRatio[\(name)]", text, "ratio \(text.string ?? "") is less than 1"))
                }
                if let low = amount("min", name), let high = amount("max", name), low > .zero {
                    let limitRatio = Double(high.nanos) / Double(low.nanos)
                    if Double(ratio.nanos) / 1e9 > limitRatio {
                        check.add(
                            .invalid(
                                "\(path).maxLimitRequestRatio[\(name)]", text,
                                "ratio \(text.string ?? "") is greater than max/min = \(Self.text(limitRatio))"))
                    }
                }
            }
        }
    }

    private static func text(_ ratio: Double) -> String {
        let thousandths = Int64((ratio * 1000).rounded())
        let fraction = String(thousandths % 1000 + 1000).dropFirst()
        return "\(thousandths / 1000).\(fraction)000"
    }
}

/// Disruption budgets. Source: pkg/apis/policy/validation.
struct PodDisruptionBudgetStrategy: ResourceStrategy {
    var tracksGeneration: Bool { true }

    func prepareForCreate(_ object: inout KubeObject, _ scope: RequestScope) {
        object.json["status"] = ["disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0]
    }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        let spec = object.spec
        if !spec["minAvailable"].isNull, !spec["maxUnavailable"].isNull {
            check.add(.invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set"))
        }
        for key in ["minAvailable", "maxUnavailable"] where !spec[key].isNull {
            IntOrPercent.check(spec[key], "spec.\(key)", &check)
            IntOrPercent.checkAtMostAll(spec[key], "spec.\(key)", &check)
        }
        if !spec["selector"].isNull { Selectors.validate(spec["selector"], "spec.selector", &check) }
        check.oneOf(
            spec["unhealthyPodEvictionPolicy"], ["AlwaysAllow", "IfHealthyBudget"], "spec.unhealthyPodEvictionPolicy")
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        if subresource == "status" {
            for key in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
                check.nonNegative(object.status[key], "status.\(key)")
            }
            Conditions.check(object.status["conditions"], "status.conditions", &check)
        } else {
            validateCreate(object, &check)
        }
    }
}

/// `conditions` of a status as metav1.Condition has them. Source: ValidateConditions of apimachinery.
enum Conditions {
    static func check(_ conditions: JSON, _ path: String, _ check: inout Validation) {
        var seen: Set<String> = []
        for (i, condition) in conditions.elements.enumerated() {
            let (place, type) = ("\(path)[\(i)]", condition["type"].string ?? "")
            if !seen.insert(type).inserted { check.add(.duplicate("\(place).type", .string(type))) }
            if let problem = LabelSyntax.keyProblem(type) {
                check.add(.invalid("\(place).type", .string(type), problem))
            }
            let status = condition["status"].string ?? ""
            if !["False", "True", "Unknown"].contains(status) {
                check.add(.notSupported("\(place).status", .string(status), ["False", "True", "Unknown"]))
            }
            check.nonNegative(condition["observedGeneration"], "\(place).observedGeneration")
            if condition["lastTransitionTime"].isNull {
                check.add(.required("\(place).lastTransitionTime", "must be set"))
            }
            let reason = condition["reason"].string ?? ""
            if reason.isEmpty { check.add(.required("\(place).reason", "must be set")) }
            if reason.utf8.count > 1024 { check.add(.tooLong("\(place).reason", limit: 1024)) }
            if (condition["message"].string ?? "").utf8.count > 32768 {
                check.add(.tooLong("\(place).message", limit: 32768))
            }
        }
    }
}
