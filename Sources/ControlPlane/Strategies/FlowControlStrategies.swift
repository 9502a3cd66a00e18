internal import Codecs
internal import KubeAPI

/// Which requests go to which priority level; this server's own limits are per client.
/// Source: pkg/apis/flowcontrol/validation.
struct FlowSchemaStrategy: ResourceStrategy {
    var tracksGeneration: Bool { true }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        let spec = object.spec
        let precedence = spec["matchingPrecedence"].int ?? 0
        let place = "spec.matchingPrecedence"
        if precedence <= 0 { check.add(.invalid(place, .int(precedence), "must be a positive value")) }
        if precedence > 10000 { check.add(.invalid(place, .int(precedence), "must not be greater than 10000")) }
        if precedence == 1, object.name != "exempt" {
            check.add(
                .invalid(place, .int(precedence), "only the schema named 'exempt' may have matchingPrecedence 1"))
        }
        check.oneOf(
            spec["distinguisherMethod"]["type"], ["ByNamespace", "ByUser"], "spec.distinguisherMethod.type")
        let level = spec["priorityLevelConfiguration"]["name"].string ?? ""
        if level.isEmpty {
            check.add(.required("spec.priorityLevelConfiguration.name", "must reference a priority level"))
        } else if let problem = LabelSyntax.subdomainProblem(level) {
            check.add(.invalid("spec.priorityLevelConfiguration.name", .string(level), problem))
        }
        for (i, rule) in spec["rules"].elements.enumerated() { self.rule(rule, "spec.rules[\(i)]", &check) }
    }

    private func rule(_ rule: JSON, _ path: String, _ check: inout Validation) {
        let subjects = rule["subjects"].elements
        if subjects.isEmpty {
            check.add(.required("\(path).subjects", "subjects must contain at least one value"))
        }
        for (i, subject) in subjects.enumerated() { self.subject(subject, "\(path).subjects[\(i)]", &check) }
        let (resources, others) = (rule["resourceRules"].elements, rule["nonResourceRules"].elements)
        if resources.isEmpty, others.isEmpty {
            check.add(
                .required(path, "at least one of resourceRules and nonResourceRules has to be non-empty"))
        }
        for (i, rule) in resources.enumerated() {
            let place = "\(path).resourceRules[\(i)]"
            verbs(rule["verbs"], "\(place).verbs", &check)
            list(
                rule["apiGroups"], "\(place).apiGroups", "resource rules must supply at least one api group",
                "api groups", &check)
            list(
                rule["resources"], "\(place).resources", "resource rules must supply at least one resource",
                "resources", &check)
            if rule["clusterScope"].bool != true || !rule["namespaces"].elements.isEmpty {
                list(
                    rule["namespaces"], "\(place).namespaces",
                    "resource rules that are not cluster scoped must supply at least one namespace", "namespaces",
                    &check)
            }
        }
        for (i, rule) in others.enumerated() {
            let place = "\(path).nonResourceRules[\(i)]"
            verbs(rule["verbs"], "\(place).verbs", &check)
            let urls = "\(place).nonResourceURLs"
            list(
                rule["nonResourceURLs"], urls, "nonResourceURLs must contain at least one value", "non-resource URLs",
                &check)
            for (j, url) in rule["nonResourceURLs"].elements.enumerated() where url != "*" {
                checkPath(url, "\(urls)[\(j)]", &check)
            }
        }
    }

    private func list(
        _ list: JSON, _ path: String, _ missing: String, _ what: String, _ check: inout Validation
    ) {
        let items = list.elements
        if items.isEmpty { check.add(.required(path, missing)) }
        if items.count > 1, items.contains("*") {
            check.add(.invalid(path, list, "if '*' is present, must not specify other \(what)"))
        }
    }

    private static let verbs: Set<String> = [
        "create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch",
    ]

    private func verbs(_ verbs: JSON, _ path: String, _ check: inout Validation) {
        list(verbs, path, "verbs must contain at least one value", "verbs", &check)
        let words = verbs.elements.compactMap(\.string)
        if !words.contains("*"), !Self.verbs.isSuperset(of: words) {
            check.add(.invalid(path, verbs, "only supported verbs are allowed"))
        }
    }

    private func checkPath(_ url: JSON, _ path: String, _ check: inout Validation) {
        let text = url.string ?? ""
        if text == "/" { return }
        if text.isEmpty {
            check.add(.invalid(path, "", "must not be empty"))
            return
        }
        if !text.hasPrefix("/") { check.add(.invalid(path, url, "must start with slash")) }
        if text.utf8.contains(0x20) { check.add(.invalid(path, url, "must not contain white-space")) }
        if text.contains("//") { check.add(.invalid(path, url, "must not contain double slash")) }
        let stars = text.utf8.count { $0 == UInt8(ascii: "*") }
        if stars > 1 || stars == 1 && !text.hasSuffix("/*") {
            check.add(.invalid(path, url, "wildcard can only do suffix matching"))
        }
    }

    private func subject(_ subject: JSON, _ path: String, _ check: inout Validation) {
        let members = ["Group": "group", "ServiceAccount": "serviceAccount", "User": "user"]
        let kind = subject["kind"].string ?? ""
        guard let own = members[kind] else {
            check.add(.notSupported("\(path).kind", .string(kind), members.keys.sorted()))
            return
        }
        if subject[own].isNull {
            check.add(.required("\(path).\(own)", "\(own) is required when subject kind is '\(kind)'"))
        } else {
            if (subject[own]["name"].string ?? "").isEmpty { check.add(.required("\(path).\(own).name")) }
            if own == "serviceAccount", (subject[own]["namespace"].string ?? "").isEmpty {
                check.add(.required("\(path).\(own).namespace", "must specify namespace for service account"))
            }
        }
        for (other, member) in members.sorted(by: { $0.key < $1.key }) where member != own && !subject[member].isNull {
            check.add(
                .forbidden("\(path).\(member)", "\(member) is forbidden when subject kind is not '\(other)'"))
        }
    }
}

/// How much a class of requests may take. Stored and checked. Source: pkg/apis/flowcontrol/validation.
struct PriorityLevelStrategy: ResourceStrategy {
    var tracksGeneration: Bool { true }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        let (spec, type) = (object.spec, object.spec["type"].string ?? "")
        if (object.name == "exempt") != (type == "Exempt") {
            check.add(
                .invalid("spec.type", .string(type), "type must be 'Exempt' if and only if name is 'exempt'"))
        }
        switch type {
        case "Exempt":
            if !spec["limited"].isNull {
                check.add(.forbidden("spec.limited", "must be nil if the type is not Limited"))
            }
            check.nonNegative(spec["exempt"]["nominalConcurrencyShares"], "spec.exempt.nominalConcurrencyShares")
        case "Limited":
            if !spec["exempt"].isNull {
                check.add(.forbidden("spec.exempt", "must be nil if the type is Limited"))
            }
            if spec["limited"].isNull {
                check.add(.required("spec.limited", "must not be empty when type is Limited"))
            } else {
                limited(spec["limited"], &check)
            }
        default: check.add(.notSupported("spec.type", .string(type), ["Exempt", "Limited"]))
        }
    }

    private func limited(_ limited: JSON, _ check: inout Validation) {
        let shares = limited["nominalConcurrencyShares"]
        if (shares.int ?? 0) < 0 {
            check.add(.invalid("spec.limited.nominalConcurrencyShares", shares, "must be a non-negative integer"))
        }
        if let percent = limited["lendablePercent"].int, !(0...100).contains(percent) {
            check.add(
                .invalid("spec.limited.lendablePercent", .int(percent), "must be between 0 and 100, inclusive"))
        }
        if let percent = limited["borrowingLimitPercent"].int, percent < 0 {
            check.add(
                .invalid(
                    "spec.limited.borrowingLimitPercent", .int(percent),
                    "if specified, must be a non-negative integer"))
        }
        let (response, path) = (limited["limitResponse"], "spec.limited.limitResponse")
        let type = response["type"].string ?? ""
        guard type == "Queue" else {
            if type != "Reject" {
                check.add(.notSupported("\(path).type", .string(type), ["Queue", "Reject"]))
            } else if !response["queuing"].isNull {
                check.add(
                    .forbidden("\(path).queuing", "must be nil if limited.limitResponse.type is not Limited"))
            }
            return
        }
        let queuing = response["queuing"]
        if queuing.isNull {
            check.add(
                .required("\(path).queuing", "must not be empty if limited.limitResponse.type is Limited"))
            return
        }
        for key in ["queueLengthLimit", "queues", "handSize"] {
            let value = queuing[key].int ?? 0
            if value <= 0 { check.add(.invalid("\(path).queuing.\(key)", .int(value), "must be positive")) }
        }
        let (queues, hand) = (queuing["queues"].int ?? 0, queuing["handSize"].int ?? 0)
        if queues > 10_000_000 {
            check.add(.invalid("\(path).queuing.queues", .int(queues), "must not be greater than 10000000"))
        }
        if hand > 0, hand > queues {
            check.add(
                .invalid("\(path).queuing.handSize", .int(hand), "should not be greater than queues (\(queues))"))
        }
    }
}
