internal import Codecs
internal import KubeAPI

/// Jobs: pods that run until enough of them have succeeded. Source: pkg/apis/batch/validation, pkg/registry/batch/job.
struct JobStrategy: ResourceStrategy {
    private static let labels = [
        (name: "batch.kubernetes.io/job-name", uid: "batch.kubernetes.io/controller-uid"),
        (name: "job-name", uid: "controller-uid"),
    ]

    var tracksGeneration: Bool { true }
    var orphansDependents: Bool { true }
    var selectableFields: [SelectableField] {
        [SelectableField("status.successful", path: ["status", "succeeded"], absent: "0")]
    }

    func warnings(for object: KubeObject) -> [String] {
        ObjectWarnings.name(object)
            + PodWarnings.of(object.spec["template"]["spec"], "spec.template.spec")
    }

    func prepareForCreate(_ object: inout KubeObject, _ scope: RequestScope) {
        guard object.spec["manualSelector"].bool != true else { return }
        // The job's pods are known by its uid, which nobody else has.
        var labels = object.spec["template"]["metadata"]["labels"].stringMap
        for key in Self.labels {
            if labels[key.name] == nil { labels[key.name] = object.name }
            if labels[key.uid] == nil { labels[key.uid] = object.uid }
        }
        object.json["spec"]["template"]["metadata"]["labels"] = .map(labels)
        if object.spec["selector"]["matchLabels"][Self.labels[0].uid].isNull {
            object.json["spec"]["selector"]["matchLabels"][Self.labels[0].uid] = .string(object.uid)
        }
    }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        Self.checkSpec(object.spec, "spec", &check)
        let selector = object.spec["selector"]
        if selector.isNull {
            check.add(.required("spec.selector"))
        } else {
            Selectors.validate(selector, "spec.selector", &check)
        }
        let labels = object.spec["template"]["metadata"]["labels"]
        if let parsed = try? LabelSelector(json: selector), !parsed.matches(labels: labels) {
            check.add(Selectors.mismatch(labels))
        }
        guard object.spec["manualSelector"].bool != true else { return }
        for key in Self.labels {
            for (label, wanted) in [(key.name, object.name), (key.uid, object.uid)] {
                let path = "spec.template.metadata.labels[\(label)]"
                if labels[label].isNull {
                    check.add(.required(path, "must be '\(wanted)'"))
                } else if labels[label].string != wanted {
                    check.add(.invalid(path, labels[label], "must be '\(wanted)'"))
                }
            }
        }
        let expected = Self.labels.map { JSON.object(["matchLabels": [$0.uid: .string(object.uid)]]) }
        if !expected.contains(selector) {
            check.add(.invalid("spec.selector", selector, "`selector` not auto-generated"))
        }
    }

    /// What is the same for a job and for the template of a cron job.
    static func checkSpec(_ spec: JSON, _ path: String, _ check: inout Validation) {
        for key in [
            "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished",
            "backoffLimitPerIndex", "maxFailedIndexes",
        ] { check.nonNegative(spec[key], "\(path).\(key)") }
        let isIndexed = spec["completionMode"].string == "Indexed"
        check.oneOf(spec["completionMode"], ["NonIndexed", "Indexed"], "\(path).completionMode")
        if isIndexed, spec["completions"].isNull {
            check.add(.required("\(path).completions", "when completion mode is Indexed"))
        }
        if isIndexed, let count = spec["parallelism"].int, count > 100_000 {
            check.add(
                .invalid(
                    "\(path).parallelism", .int(count),
                    "must be less than or equal to 100000 when completion mode is Indexed"))
        }
        if !isIndexed, !spec["backoffLimitPerIndex"].isNull {
            check.add(
                .invalid(
                    "\(path).backoffLimitPerIndex", spec["backoffLimitPerIndex"], "requires indexed completion mode"))
        }
        if spec["backoffLimitPerIndex"].isNull, !spec["maxFailedIndexes"].isNull {
            check.add(.required("\(path).backoffLimitPerIndex", "when maxFailedIndexes is specified"))
        }
        if let most = spec["maxFailedIndexes"].int, let all = spec["completions"].int, most > all {
            check.add(
                .invalid("\(path).maxFailedIndexes", .int(most), "must be less than or equal to completions"))
        }
        if let manager = spec["managedBy"].string {
            if manager.utf8.count > 63 {
                check.add(.tooLong("\(path).managedBy", limit: 63))
            } else if !manager.contains("/") || LabelSyntax.keyProblem(manager) != nil {
                check.add(
                    .invalid(
                        "\(path).managedBy", .string(manager),
                        "must be a domain-prefixed path (such as \"acme.io/foo\")"))
            }
        }
        JobPolicies(spec: spec, path: path).run(&check)
        checkTemplate(spec, path, &check)
    }

    private static func checkTemplate(_ spec: JSON, _ path: String, _ check: inout Validation) {
        PodTemplate.check(spec["template"], "\(path).template", &check)
        let policy = spec["template"]["spec"]["restartPolicy"]
        let place = "\(path).template.spec.restartPolicy"
        switch policy.string ?? "" {
        case "", "Always": check.add(.required(place, "valid values: \"OnFailure\", \"Never\""))
        case "OnFailure":
            if !spec["podFailurePolicy"].isNull {
                check.add(.invalid(place, policy, "only \"Never\" is supported when podFailurePolicy is specified"))
            } else if !spec["backoffLimitPerIndex"].isNull {
                check.add(.invalid(place, policy, "only \"Never\" is supported when backoffLimitPerIndex is specified"))
            }
        case "Never": break
        default: check.add(.notSupported(place, policy, ["OnFailure", "Never"]))
        }
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        if subresource == "status" {
            for key in ["active", "succeeded", "failed", "ready", "terminating"] {
                check.nonNegative(object.status[key], "status.\(key)")
            }
        }
        guard subresource.isEmpty else { return }
        let (new, before) = (object.spec, old.spec)
        Self.checkSpec(new, "spec", &check)
        if new["completions"] != before["completions"] {
            // An indexed job may grow and shrink as long as all its indexes run at once.
            let elastic =
                new["completionMode"].string == "Indexed" && new["completions"] == new["parallelism"]
                && before["completions"] == before["parallelism"]
            if !elastic { check.immutable(new["completions"], before["completions"], "spec.completions") }
        }
        for key in [
            "selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy",
        ] {
            check.immutable(new[key], before[key], "spec.\(key)")
        }
        let isSuspended = before["suspend"].bool == true && old.status["startTime"].isNull
        check.immutable(
            Self.fixed(new["template"], isSuspended), Self.fixed(before["template"], isSuspended), "spec.template")
    }

    /// The template without what may change while the job has not been started (KEP-2926).
    private static func fixed(_ template: JSON, _ isSuspended: Bool) -> JSON {
        guard isSuspended else { return template }
        var template = template
        for key in ["nodeSelector", "tolerations", "affinity", "schedulingGates"] { template["spec"][key] = .null }
        for key in ["labels", "annotations"] { template["metadata"][key] = .null }
        if template["metadata"].object?.isEmpty ?? true { template["metadata"] = .null }
        return template
    }
}

/// What a job makes of failed and succeeded pods (KEP-3329, KEP-3998).
struct JobPolicies {
    let spec: JSON
    let path: String

    func run(_ check: inout Validation) {
        let failure = spec["podFailurePolicy"]
        check.oneOf(spec["podReplacementPolicy"], ["Failed", "TerminatingOrFailed"], "\(path).podReplacementPolicy")
        if !failure.isNull {
            if spec["podReplacementPolicy"].string == "TerminatingOrFailed" {
                check.add(
                    .notSupported("\(path).podReplacementPolicy", spec["podReplacementPolicy"], ["Failed"]))
            }
            let rules = failure["rules"].elements
            if rules.count > 20 { check.add(.tooMany("\(path).podFailurePolicy.rules", rules.count, limit: 20)) }
            let containers = ["containers", "initContainers"].flatMap {
                spec["template"]["spec"][$0].elements.compactMap { $0["name"].string }
            }
            for (i, rule) in rules.enumerated() {
                checkRule(rule, "\(path).podFailurePolicy.rules[\(i)]", containers, &check)
            }
        }
        checkSuccess(spec["successPolicy"], "\(path).successPolicy", &check)
    }

    private func checkRule(_ rule: JSON, _ path: String, _ containers: [String], _ check: inout Validation) {
        let action = rule["action"].string ?? ""
        if action.isEmpty {
            check.add(.required("\(path).action", "valid values: \"Count\", \"FailIndex\", \"FailJob\", \"Ignore\""))
        } else if action == "FailIndex", spec["backoffLimitPerIndex"].isNull {
            check.add(.invalid("\(path).action", rule["action"], "requires the backoffLimitPerIndex to be set"))
        } else {
            check.oneOf(rule["action"], ["Count", "FailIndex", "FailJob", "Ignore"], "\(path).action")
        }
        let (codes, conditions) = (rule["onExitCodes"], rule["onPodConditions"].elements)
        if !codes.isNull, !conditions.isEmpty {
            check.add(.invalid(path, "", "specifying both OnExitCodes and OnPodConditions is not supported"))
        } else if codes.isNull, conditions.isEmpty {
            check.add(.invalid(path, "", "specifying one of OnExitCodes and OnPodConditions is required"))
        }
        if !codes.isNull { checkCodes(codes, "\(path).onExitCodes", containers, &check) }
        for (i, condition) in conditions.enumerated() {
            let place = "\(path).onPodConditions[\(i)]"
            if let problem = LabelSyntax.keyProblem(condition["type"].string ?? "") {
                check.add(.invalid("\(place).type", condition["type"], problem))
            }
            check.oneOf(condition["status"], ["False", "True", "Unknown"], "\(place).status", required: true)
        }
    }

    private func checkCodes(_ codes: JSON, _ path: String, _ containers: [String], _ check: inout Validation) {
        let op = codes["operator"].string ?? ""
        if op.isEmpty {
            check.add(.required("\(path).operator", "valid values: \"In\", \"NotIn\""))
        } else {
            check.oneOf(codes["operator"], ["In", "NotIn"], "\(path).operator")
        }
        if let name = codes["containerName"].string, !containers.contains(name) {
            check.add(
                .invalid(
                    "\(path).containerName", .string(name),
                    "must be one of the container or initContainer names in the pod template"))
        }
        let values = codes["values"].elements
        if values.isEmpty {
            check.add(.invalid("\(path).values", .array(values), "at least one value is required"))
        } else if values.count > 255 {
            check.add(.tooMany("\(path).values", values.count, limit: 255))
        }
        var seen: Set<Int64> = []
        for (i, value) in values.enumerated() {
            guard let code = value.int else { continue }
            if op == "In", code == 0 {
                check.add(.invalid("\(path).values[\(i)]", value, "must not be 0 for the In operator"))
            }
            if !seen.insert(code).inserted { check.add(.duplicate("\(path).values[\(i)]", value)) }
        }
        let numbers = values.compactMap(\.int)
        if numbers != numbers.sorted() {
            check.add(.invalid("\(path).values", codes["values"], "must be ordered"))
        }
    }

    private func checkSuccess(_ policy: JSON, _ path: String, _ check: inout Validation) {
        guard !policy.isNull else { return }
        if spec["completionMode"].string != "Indexed" {
            check.add(.invalid(path, policy, "requires indexed completion mode"))
        }
        let rules = policy["rules"].elements
        if rules.isEmpty {
            check.add(
                .required("\(path).rules", "at least one rules must be specified when the successPolicy is specified"))
        } else if rules.count > 20 {
            check.add(.tooMany("\(path).rules", rules.count, limit: 20))
        }
        for (i, rule) in rules.enumerated() {
            if rule["succeededCount"].isNull, rule["succeededIndexes"].isNull {
                check.add(
                    .required(
                        "\(path).rules[\(i)]", "at least one of succeededCount or succeededIndexes must be specified"))
            }
            if let text = rule["succeededIndexes"].string, let problem = indexProblem(text) {
                check.add(
                    .invalid(
                        "\(path).rules[\(i)].succeededIndexes", .string(text),
                        "error parsing succeededIndexes: \(problem)"))
            }
            if let count = rule["succeededCount"].int {
                check.nonNegative(rule["succeededCount"], "\(path).rules[\(i)].succeededCount")
                if let all = spec["completions"].int, count > all {
                    check.add(
                        .invalid(
                            "\(path).rules[\(i)].succeededCount", .int(count),
                            "must be less than or equal to \(all) (the number of specified completions)"))
                }
            }
        }
    }
}

extension JobPolicies {
    /// "1,3-5,7": ascending, below the number of completions. Source: validateIndexesFormat.
    fileprivate func indexProblem(_ text: String) -> String? {
        if text.isEmpty { return nil }
        let all = spec["completions"].int ?? 0
        var last: Int64?
        for interval in text.split(separator: ",", omittingEmptySubsequences: false) {
            let ends = interval.split(separator: "-", omittingEmptySubsequences: false)
            guard ends.count <= 2 else {
                return
                    "the fragment \"\(interval)\" violates the requirement that an index interval can have at most two parts separated by '-'"
            }
            var first: Int64?
            for end in ends {
                guard let number = Int64(end) else {
                    return "cannot convert string to integer for index: \"\(end)\""
                }
                if number >= all { return "too large index: \"\(end)\"" }
                if let first, number <= first {
                    return "non-increasing order, previous: \(first), current: \(number)"
                }
                if first == nil, let last, number <= last {
                    return "non-increasing order, previous: \(last), current: \(number)"
                }
                first = number
            }
            last = first
        }
        return nil
    }
}

extension FieldError {
    static func tooMany(_ field: String, _ count: Int, limit: Int) -> Self {
        Self(.tooMany, field, "Too many: \(count): must have at most \(limit) items")
    }
}
