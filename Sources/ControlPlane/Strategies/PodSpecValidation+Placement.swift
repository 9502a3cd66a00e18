internal import Codecs
internal import KubeAPI

/// Where a pod may run: affinities and how pods are spread.
/// Source: validateAffinity and validateTopologySpreadConstraints of pkg/apis/core/validation.
extension PodSpecValidation {
    private static let required = "requiredDuringSchedulingIgnoredDuringExecution"
    private static let preferred = "preferredDuringSchedulingIgnoredDuringExecution"

    func checkAffinity(_ check: inout Validation) {
        let affinity = spec["affinity"]
        guard !affinity.isNull else { return }
        let place = "\(path).affinity.nodeAffinity"
        let node = affinity["nodeAffinity"]
        if !node[Self.required].isNull {
            NodeSelectorValidation.check(node[Self.required], "\(place).\(Self.required)", &check)
        }
        for (i, term) in node[Self.preferred].elements.enumerated() {
            checkWeight(term, "\(place).\(Self.preferred)[\(i)]", &check)
            NodeSelectorValidation.check(
                term: term["preference"], "\(place).\(Self.preferred)[\(i)].preference", &check)
        }
        for kind in ["podAffinity", "podAntiAffinity"] {
            let place = "\(path).affinity.\(kind)"
            for (i, term) in affinity[kind][Self.required].elements.enumerated() {
                checkTerm(term, "\(place).\(Self.required)[\(i)]", &check)
            }
            for (i, term) in affinity[kind][Self.preferred].elements.enumerated() {
                checkWeight(term, "\(place).\(Self.preferred)[\(i)]", &check)
                checkTerm(term["podAffinityTerm"], "\(place).\(Self.preferred)[\(i)].podAffinityTerm", &check)
            }
        }
    }

    private func checkWeight(_ term: JSON, _ place: String, _ check: inout Validation) {
        let weight = term["weight"].int ?? 0
        if !(1...100).contains(weight) {
            check.add(.invalid("\(place).weight", .int(weight), "must be in the range 1-100"))
        }
    }

    private func checkTerm(_ term: JSON, _ place: String, _ check: inout Validation) {
        for key in ["labelSelector", "namespaceSelector"] where !term[key].isNull {
            Selectors.validate(term[key], "\(place).\(key)", &check)
        }
        for name in term["namespaces"].elements {
            if let problem = LabelSyntax.labelProblem(name.string ?? "") {
                check.add(.invalid("\(place).namespace", name, problem))
            }
        }
        for key in ["matchLabelKeys", "mismatchLabelKeys"] { checkKeys(term, key, place, &check) }
        checkTopologyKey(term, place, &check)
        if let problem = LabelSyntax.keyProblem(term["topologyKey"].string ?? "") {
            check.add(
                .invalid("\(place).topologyKey", .string(term["topologyKey"].string ?? ""), problem))
        }
    }

    private func checkTopologyKey(_ term: JSON, _ place: String, _ check: inout Validation) {
        let key = term["topologyKey"].string ?? ""
        if key.isEmpty { check.add(.required("\(place).topologyKey", "can not be empty")) }
    }

    private func checkKeys(_ term: JSON, _ key: String, _ place: String, _ check: inout Validation) {
        let keys = term[key].elements
        if keys.isEmpty { return }
        if term["labelSelector"].isNull {
            check.add(.forbidden("\(place).\(key)", "must not be specified when labelSelector is not set"))
        }
        for (i, key) in keys.enumerated() {
            if let problem = LabelSyntax.keyProblem(key.string ?? "") {
                check.add(.invalid("\(place).matchLabelKeys[\(i)]", key, problem))
            }
        }
    }

    func checkSpread(_ check: inout Validation) {
        let constraints = spec["topologySpreadConstraints"].elements
        func pair(_ constraint: JSON) -> String {
            "{\(constraint["topologyKey"].string ?? ""), \(constraint["whenUnsatisfiable"].string ?? "")}"
        }
        for (i, constraint) in constraints.enumerated() {
            let place = "\(path).topologySpreadConstraints[\(i)]"
            let positive = "must be greater than zero"
            let skew = constraint["maxSkew"].int ?? 0
            if skew <= 0 { check.add(.invalid("\(place).maxSkew", .int(skew), positive)) }
            checkTopologyKey(constraint, place, &check)
            let action = constraint["whenUnsatisfiable"].string ?? ""
            if !["DoNotSchedule", "ScheduleAnyway"].contains(action) {
                check.add(
                    .notSupported(
                        "\(place).whenUnsatisfiable", .string(action), ["DoNotSchedule", "ScheduleAnyway"]))
            }
            if let domains = constraint["minDomains"].int {
                if domains <= 0 { check.add(.invalid("\(place).minDomains", .int(domains), positive)) }
                if action != "DoNotSchedule" {
                    check.add(
                        .invalid(
                            "\(place).minDomains", .int(domains),
                            "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not \(action)"))
                }
            }
            if constraints[(i + 1)...].contains(where: { pair($0) == pair(constraint) }) {
                check.add(.duplicate("\(place).{topologyKey, whenUnsatisfiable}", .string(pair(constraint))))
            }
            for key in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
                check.oneOf(constraint[key], ["Honor", "Ignore"], "\(place).\(key)")
            }
            if !constraint["labelSelector"].isNull {
                Selectors.validate(constraint["labelSelector"], "\(place).labelSelector", &check)
            }
            checkKeys(constraint, "matchLabelKeys", place, &check)
        }
    }
}

/// Node selectors, of pods and of volumes. Source: ValidateNodeSelector.
enum NodeSelectorValidation {
    static func check(_ selector: JSON, _ path: String, _ check: inout Validation) {
        let terms = selector["nodeSelectorTerms"].elements
        if terms.isEmpty {
            check.add(.required("\(path).nodeSelectorTerms", "must have at least one node selector term"))
        }
        for (i, term) in terms.enumerated() { self.check(term: term, "\(path).nodeSelectorTerms[\(i)]", &check) }
    }

    static func check(term: JSON, _ path: String, _ check: inout Validation) {
        for (i, expression) in term["matchExpressions"].elements.enumerated() {
            let place = "\(path).matchExpressions[\(i)]"
            Selectors.requirement(expression, place, comparesNumbers: true, &check)
            if let problem = LabelSyntax.keyProblem(expression["key"].string ?? "") {
                check.add(.invalid("\(place).key", expression["key"].isNull ? "" : expression["key"], problem))
            }
        }
        for (i, field) in term["matchFields"].elements.enumerated() {
            let place = "\(path).matchFields[\(i)]"
            let values = field["values"].elements
            if !["In", "NotIn"].contains(field["operator"].string ?? "") {
                check.add(.invalid("\(place).operator", field["operator"], "not a valid selector operator"))
            } else if values.count != 1 {
                check.add(
                    .required(
                        "\(place).values",
                        "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"))
            }
            guard field["key"].string == "metadata.name" else {
                check.add(.invalid("\(place).key", field["key"], "not a valid field selector key"))
                continue
            }
            for (j, name) in values.enumerated() {
                if let problem = LabelSyntax.subdomainProblem(name.string ?? "") {
                    check.add(.invalid("\(place).values[\(j)]", name, problem))
                }
            }
        }
    }
}
