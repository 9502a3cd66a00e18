internal import Codecs
internal import KubeAPI

/// Deployments, replica sets and replication controllers: a selector, a pod template and a number.
/// Source: pkg/apis/apps/validation, pkg/apis/core/validation.
struct WorkloadStrategy: ResourceStrategy {
    enum Kind { case deployment, replicaSet, replicationController }
    let kind: Kind

    var tracksGeneration: Bool { true }
    var metadataCounted: [String] { kind == .deployment ? ["annotations"] : [] }
    /// The oldest kind keeps the oldest behaviour.
    var orphansDependents: Bool { kind == .replicationController }
    var selectableFields: [SelectableField] {
        kind == .deployment ? [] : [SelectableField("status.replicas", absent: "0")]
    }

    func warnings(for object: KubeObject) -> [String] {
        ObjectWarnings.name(object)
            + PodWarnings.of(object.spec["template"]["spec"], "spec.template.spec")
    }

    func prepareForCreate(_ object: inout KubeObject, _ scope: RequestScope) {
        if kind != .deployment { object.json["status"] = ["replicas": 0] }
    }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        let spec = object.spec
        check.nonNegative(spec["replicas"], "spec.replicas")
        check.nonNegative(spec["minReadySeconds"], "spec.minReadySeconds")
        switch kind {
        case .deployment:
            Selectors.check(spec["selector"], template: spec["template"], kind: "deployment", &check)
            PodTemplate.checkLasting(spec["template"], "spec.template", kind: "ReplicaSet", &check)
            check.nonNegative(spec["revisionHistoryLimit"], "spec.revisionHistoryLimit")
            RollingUpdate.check(spec["strategy"], &check)
            guard let deadline = spec["progressDeadlineSeconds"].int else { return }
            check.nonNegative(spec["progressDeadlineSeconds"], "spec.progressDeadlineSeconds")
            if deadline <= spec["minReadySeconds"].int ?? 0 {
                check.add(
                    .invalid("spec.progressDeadlineSeconds", .int(deadline), "must be greater than minReadySeconds"))
            }
        case .replicaSet:
            Selectors.check(spec["selector"], template: spec["template"], kind: "replicaset", &check)
            PodTemplate.checkLasting(spec["template"], "spec.template", kind: "ReplicaSet", &check)
        case .replicationController:
            Registry.validateLabels(spec["selector"], "spec.selector", &check)
            if spec["selector"].stringMap.isEmpty { check.add(.required("spec.selector")) }
            if spec["template"].isNull {
                check.add(.required("spec.template"))
                return
            }
            let labels = spec["template"]["metadata"]["labels"]
            if !LabelSelector.equal(spec["selector"].stringMap).matches(labels: labels) {
                check.add(Selectors.mismatch(labels))
            }
            PodTemplate.checkLasting(spec["template"], "spec.template", kind: "ReplicationController", &check)
        }
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        switch subresource {
        case "":
            validateCreate(object, &check)
            if kind != .replicationController {
                check.immutable(object.spec["selector"], old.spec["selector"], "spec.selector")
            }
        case "status":
            check.counts(
                object.status, of: "replicas",
                ["updatedReplicas", "readyReplicas", "availableReplicas", "fullyLabeledReplicas"],
                besides: ["unavailableReplicas", "observedGeneration", "collisionCount"])
            if kind == .deployment { check.collisions(object.status, old.status) }
        default: break
        }
    }
}

/// Pod templates of workloads.
enum PodTemplate {
    static func check(_ template: JSON, _ path: String, _ check: inout Validation) {
        Registry.validateLabels(template["metadata"]["labels"], "\(path).labels", &check)
        Registry.validateAnnotations(template["metadata"]["annotations"], "\(path).annotations", &check)
        PodSpecValidation.check(template["spec"], "\(path).spec", &check)
    }

    /// A template whose pods are to run for ever.
    static func checkLasting(_ template: JSON, _ path: String, kind: String, _ check: inout Validation) {
        self.check(template, path, &check)
        let policy = template["spec"]["restartPolicy"]
        if policy.string == "OnFailure" || policy.string == "Never" {
            check.add(.notSupported("\(path).spec.restartPolicy", policy, ["Always"]))
        }
        if !template["spec"]["activeDeadlineSeconds"].isNull {
            check.add(
                .forbidden("\(path).spec.activeDeadlineSeconds", "activeDeadlineSeconds in \(kind) is not Supported"))
        }
    }
}

extension Validation {
    /// Numbers of a status: none is negative, and no part of a whole is more than the whole; what is available is ready.
    mutating func counts(
        _ status: JSON, of whole: String, _ parts: [String], besides others: [String] = [],
        ready: String = "readyReplicas"
    ) {
        for key in [whole] + parts + others { nonNegative(status[key], "status.\(key)") }
        let all = status[whole].int ?? 0
        for key in parts {
            guard let number = status[key].int, number > all else { continue }
            add(.invalid("status.\(key)", .int(number), "cannot be greater than status.\(whole)"))
        }
        if let available = status["availableReplicas"].int, available > status["readyReplicas"].int ?? 0 {
            add(.invalid("status.availableReplicas", .int(available), "cannot be greater than \(ready)"))
        }
    }

    /// How often a name was taken already only ever grows.
    mutating func collisions(_ status: JSON, _ old: JSON) {
        guard let before = old["collisionCount"].int, status["collisionCount"].int ?? -1 < before else { return }
        add(.invalid("status.collisionCount", status["collisionCount"], "cannot be decremented"))
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
            check.add(mismatch(labels))
        }
    }

    static func mismatch(_ labels: JSON) -> FieldError {
        .invalid(
            "spec.template.metadata.labels", labels.isNull ? [:] : labels, "`selector` does not match template `labels`"
        )
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
            requirement(expression, place, &check)
            if let problem = LabelSyntax.keyProblem(expression["key"].string ?? "") {
                check.add(.invalid("\(place).key", expression["key"], problem))
            }
        }
    }

    /// Operator and values of a selector's expression.
    /// - Parameter comparesNumbers: those of nodes know `Gt` and `Lt` too.
    static func requirement(
        _ expression: JSON, _ place: String, comparesNumbers: Bool = false, _ check: inout Validation
    ) {
        let values = expression["values"].elements
        switch expression["operator"].string ?? "" {
        case "In", "NotIn":
            if values.isEmpty {
                check.add(.required("\(place).values", "must be specified when `operator` is 'In' or 'NotIn'"))
            }
        case "Exists", "DoesNotExist":
            if !values.isEmpty {
                check.add(
                    .forbidden("\(place).values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
            }
        case "Gt" where comparesNumbers, "Lt" where comparesNumbers:
            if values.count != 1 {
                check.add(
                    .required("\(place).values", "must be specified single value when `operator` is 'Lt' or 'Gt'"))
            }
        default:
            check.add(.invalid("\(place).operator", expression["operator"], "not a valid selector operator"))
        }
    }
}
