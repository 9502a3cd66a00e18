internal import Codecs
internal import KubeAPI

/// Validating and mutating webhook configurations. They are stored and checked; nothing calls the webhooks yet, which
/// whoever makes one is told. Source: pkg/apis/admissionregistration/validation.
struct WebhookConfigurationStrategy: ResourceStrategy {
    let mutates: Bool
    var tracksGeneration: Bool { true }

    func warnings(for object: KubeObject) -> [String] {
        object["webhooks"].elements.isEmpty
            ? [] : ["admission webhooks are not called by this server yet: this configuration has no effect"]
    }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        var names: Set<String> = []
        for (i, hook) in object["webhooks"].elements.enumerated() {
            let path = "webhooks[\(i)]"
            self.hook(hook, path, &check)
            let name = hook["name"].string ?? ""
            if !name.isEmpty, !names.insert(name).inserted { check.add(.duplicate("\(path).name", .string(name))) }
        }
    }

    private func hook(_ hook: JSON, _ path: String, _ check: inout Validation) {
        versions(hook["admissionReviewVersions"], "\(path).admissionReviewVersions", &check)
        let name = hook["name"].string ?? ""
        if name.isEmpty {
            check.add(.required("\(path).name"))
        } else {
            if let problem = LabelSyntax.subdomainProblem(name) {
                check.add(.invalid("\(path).name", .string(name), problem))
            }
            if name.split(separator: ".", omittingEmptySubsequences: false).count < 3 {
                check.add(
                    .invalid(
                        "\(path).name", .string(name),
                        "should be a domain with at least three segments separated by dots"))
            }
        }
        for (i, rule) in hook["rules"].elements.enumerated() {
            AdmissionRules.check(rule, "\(path).rules[\(i)]", &check)
        }
        check.oneOf(hook["failurePolicy"], ["Fail", "Ignore"], "\(path).failurePolicy")
        check.oneOf(hook["matchPolicy"], ["Equivalent", "Exact"], "\(path).matchPolicy")
        if hook["sideEffects"].isNull {
            check.add(.required("\(path).sideEffects", "must specify one of None, NoneOnDryRun"))
        } else if !["None", "NoneOnDryRun"].contains(hook["sideEffects"].string ?? "") {
            check.add(.notSupported("\(path).sideEffects", hook["sideEffects"], ["None", "NoneOnDryRun"]))
        }
        if let seconds = hook["timeoutSeconds"].int, !(1...30).contains(seconds) {
            check.add(
                .invalid(
                    "\(path).timeoutSeconds", .int(seconds), "the timeout value must be between 1 and 30 seconds"))
        }
        for key in ["namespaceSelector", "objectSelector"] where !hook[key].isNull {
            Selectors.validate(hook[key], "\(path).\(key)", &check)
        }
        WebhookClient.check(hook["clientConfig"], "\(path).clientConfig", &check)
        if mutates { check.oneOf(hook["reinvocationPolicy"], ["IfNeeded", "Never"], "\(path).reinvocationPolicy") }
        AdmissionRules.matchConditions(hook["matchConditions"], "\(path).matchConditions", &check)
    }

    private func versions(_ list: JSON, _ path: String, _ check: inout Validation) {
        let versions = list.elements.compactMap(\.string)
        if versions.isEmpty {
            check.add(.required(path, "must specify one of v1, v1beta1"))
            return
        }
        var seen: Set<String> = []
        for (i, version) in versions.enumerated() {
            if !seen.insert(version).inserted {
                check.add(.invalid("\(path)[\(i)]", .string(version), "duplicate version"))
            }
            if let problem = LabelSyntax.rfc1035LabelProblem(version) {
                check.add(.invalid("\(path)[\(i)]", .string(version), problem))
            }
        }
        if seen.isDisjoint(with: ["v1", "v1beta1"]) {
            check.add(.invalid(path, list, "must include at least one of v1, v1beta1"))
        }
    }
}

/// Admission policies in CEL. Their expressions are not compiled: there is no engine for them yet, which whoever makes
/// one is told. Source: pkg/apis/admissionregistration/validation.
struct AdmissionPolicyStrategy: ResourceStrategy {
    let mutates: Bool
    var tracksGeneration: Bool { true }

    func warnings(for object: KubeObject) -> [String] {
        ["admission policies are not evaluated by this server yet: this policy has no effect"]
    }

    func prepareForCreate(_ object: inout KubeObject, _ scope: RequestScope) {
        if !mutates { object.json["status"] = .null }
    }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        let spec = object.spec
        check.oneOf(spec["failurePolicy"], ["Fail", "Ignore"], "spec.failurePolicy", required: true)
        AdmissionRules.paramKind(spec["paramKind"], "spec.paramKind", &check)
        let match = spec["matchConstraints"]
        if match.isNull {
            check.add(.required("spec.matchConstraints"))
        } else {
            AdmissionRules.matchResources(match, "spec.matchConstraints", mutates: mutates, &check)
            if match["resourceRules"].elements.isEmpty { check.add(.required("spec.matchConstraints.resourceRules")) }
        }
        AdmissionRules.matchConditions(spec["matchConditions"], "spec.matchConditions", &check)
        for (i, variable) in spec["variables"].elements.enumerated() {
            let path = "spec.variables[\(i)]"
            if AdmissionRules.isBlank(variable["name"]) {
                check.add(.required("\(path).name", "name is not specified"))
            } else if !AdmissionRules.isIdentifier(variable["name"].string ?? "") {
                check.add(.invalid("\(path).name", variable["name"], "name is not a valid CEL identifier"))
            }
            if AdmissionRules.isBlank(variable["expression"]) {
                check.add(.required("\(path).expression", "expression is not specified"))
            }
        }
        if mutates { mutations(spec, &check) } else { validations(object, &check) }
    }

    private func validations(_ object: KubeObject, _ check: inout Validation) {
        let spec = object.spec
        let (validations, notes) = (spec["validations"].elements, spec["auditAnnotations"].elements)
        if validations.isEmpty, notes.isEmpty {
            for key in ["validations", "auditAnnotations"] {
                check.add(
                    .required("spec.\(key)", "validations or auditAnnotations must contain at least one item"))
            }
        }
        for (i, validation) in validations.enumerated() {
            let path = "spec.validations[\(i)]"
            if AdmissionRules.isBlank(validation["expression"]) {
                check.add(.required("\(path).expression", "expression is not specified"))
            }
            let (message, computed) = (validation["message"], validation["messageExpression"])
            if !(computed.string ?? "").isEmpty, AdmissionRules.isBlank(computed) {
                check.add(.invalid("\(path).messageExpression", computed, "must be non-empty if specified"))
            }
            let text = message.string ?? ""
            if !text.isEmpty, AdmissionRules.isBlank(message) {
                check.add(.invalid("\(path).message", message, "message must be non-empty if specified"))
            } else if text.drop(while: \.isWhitespace).contains(where: \.isNewline) {
                check.add(.invalid("\(path).message", message, "message must not contain line breaks"))
            }
            check.oneOf(
                validation["reason"], ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"],
                "\(path).reason")
        }
        if notes.count > 20 {
            check.add(
                .invalid(
                    "spec.auditAnnotations", spec["auditAnnotations"], "must not have more than 20 auditAnnotations"))
        }
        var keys: Set<String> = []
        for (i, note) in notes.enumerated() {
            let path = "spec.auditAnnotations[\(i)]"
            let key = note["key"].string ?? ""
            if let problem = LabelSyntax.keyProblem("\(object.name)/\(key)") {
                check.add(.invalid("\(path).key", .string("\(object.name)/\(key)"), problem))
            }
            if AdmissionRules.isBlank(note["valueExpression"]) {
                check.add(.required("\(path).valueExpression", "valueExpression is not specified"))
            } else if (note["valueExpression"].string ?? "").utf8.count > 5 * 1024 {
                check.add(.required("\(path).valueExpression", "must not exceed 5120 bytes in length"))
            }
            if !keys.insert(key).inserted { check.add(.duplicate("\(path).key", .string(key))) }
        }
    }

    private func mutations(_ spec: JSON, _ check: inout Validation) {
        let mutations = spec["mutations"].elements
        if mutations.isEmpty {
            check.add(.required("spec.mutations", "mutations must contain at least one item"))
        }
        for (i, mutation) in mutations.enumerated() {
            let path = "spec.mutations[\(i)]"
            let forms = ["ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"]
            let type = mutation["patchType"].string ?? ""
            guard let key = forms[type] else {
                check.oneOf(mutation["patchType"], forms.keys.sorted(), "\(path).patchType", required: true)
                continue
            }
            let other = key == "jsonPatch" ? "applyConfiguration" : "jsonPatch"
            if mutation[key].isNull {
                check.add(.required("\(path).\(key)", "must be specified when patchType is \(type)"))
            } else if AdmissionRules.isBlank(mutation[key]["expression"]) {
                check.add(.required("\(path).\(key).expression"))
            }
            if !mutation[other].isNull {
                check.add(
                    .invalid(
                        "\(path).\(other)", .string("{\(other)}"), "must not be specified when patchType is \(type)"))
            }
        }
        check.oneOf(spec["reinvocationPolicy"], ["IfNeeded", "Never"], "spec.reinvocationPolicy", required: true)
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        if subresource.isEmpty { validateCreate(object, &check) }
    }
}

/// Which objects an admission policy is for, and what a violation does.
struct AdmissionBindingStrategy: ResourceStrategy {
    let mutates: Bool
    var tracksGeneration: Bool { true }

    func warnings(for object: KubeObject) -> [String] {
        ["admission policies are not evaluated by this server yet: this binding has no effect"]
    }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        let spec = object.spec
        let name = spec["policyName"].string ?? ""
        if name.isEmpty {
            check.add(.required("spec.policyName"))
        } else if let problem = LabelSyntax.subdomainProblem(name) {
            check.add(.invalid("spec.policyName", .string(name), problem))
        }
        AdmissionRules.paramRef(spec["paramRef"], "spec.paramRef", &check)
        if !spec["matchResources"].isNull {
            AdmissionRules.matchResources(spec["matchResources"], "spec.matchResources", mutates: mutates, &check)
        }
        if !mutates { actions(spec["validationActions"], "spec.validationActions", &check) }
    }

    private func actions(_ list: JSON, _ path: String, _ check: inout Validation) {
        var seen: Set<String> = []
        for (i, action) in list.elements.enumerated() {
            let text = action.string ?? ""
            if !["Audit", "Deny", "Warn"].contains(text) {
                check.add(.notSupported("\(path)[\(i)]", action, ["Audit", "Deny", "Warn"]))
            }
            if !seen.insert(text).inserted { check.add(.duplicate("\(path)[\(i)]", action)) }
        }
        if seen.isSuperset(of: ["Deny", "Warn"]) {
            check.add(
                .invalid(
                    path, list,
                    "must not contain both Deny and Warn (repeating the same validation failure information in the API "
                        + "response and headers serves no purpose)"))
        }
        if seen.isEmpty { check.add(.required(path, "at least one validation action is required")) }
    }
}
