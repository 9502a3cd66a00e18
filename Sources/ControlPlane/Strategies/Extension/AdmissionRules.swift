internal import Codecs
internal import KubeAPI

/// What webhook configurations and admission policies have in common: rules about which requests they are meant for,
/// match conditions, parameters. The texts are those of pkg/apis/admissionregistration/validation.
enum AdmissionRules {
    static func isBlank(_ value: JSON) -> Bool { (value.string ?? "").allSatisfy(\.isWhitespace) }

    private static let operations = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"]
    private static let scopes = ["*", "Cluster", "Namespaced"]

    /// RuleWithOperations, with names (`NamedRuleWithOperations`) or without.
    static func check(_ rule: JSON, _ path: String, _ check: inout Validation) {
        var names: Set<String> = []
        for (i, name) in rule["resourceNames"].elements.enumerated() {
            let text = name.string ?? ""
            if let problem = LabelSyntax.pathSegmentProblem(text) {
                check.add(.invalid("\(path).resourceNames[\(i)]", name, problem))
            }
            if !names.insert(text).inserted { check.add(.duplicate("\(path).resourceNames[\(i)]", name)) }
        }
        wildcard(rule["operations"], "\(path).operations", "operations", &check)
        for (i, operation) in rule["operations"].elements.enumerated()
        where !operations.contains(operation.string ?? "") {
            check.add(.notSupported("\(path).operations[\(i)]", operation, operations))
        }
        wildcard(rule["apiGroups"], "\(path).apiGroups", "API groups", &check)
        wildcard(rule["apiVersions"], "\(path).apiVersions", "API versions", &check)
        for (i, version) in rule["apiVersions"].elements.enumerated() where (version.string ?? "").isEmpty {
            check.add(.required("\(path).apiVersions[\(i)]"))
        }
        resources(rule["resources"], "\(path).resources", &check)
        check.oneOf(rule["scope"], scopes, "\(path).scope")
    }

    private static func wildcard(_ list: JSON, _ path: String, _ what: String, _ check: inout Validation) {
        let items = list.elements
        if items.isEmpty { check.add(.required(path)) }
        if items.count > 1, items.contains("*") {
            check.add(.invalid(path, list, "if '*' is present, must not specify other \(what)"))
        }
    }

    /// "pods", "pods/status", "pods/*", "*/scale", "*", "*/*".
    private static func resources(_ list: JSON, _ path: String, _ check: inout Validation) {
        let items = list.elements
        if items.isEmpty { check.add(.required(path)) }
        var (withAllSubresources, ofAllResources): (Set<String>, Set<String>) = ([], [])
        var hasPlain = false
        for (i, item) in items.enumerated() {
            let text = item.string ?? ""
            guard !text.isEmpty else {
                check.add(.required("\(path)[\(i)]"))
                continue
            }
            let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 2 else {
                if text != "*" { hasPlain = true }
                continue
            }
            if withAllSubresources.contains(parts[0]) {
                check.add(
                    .invalid("\(path)[\(i)]", item, "if '\(parts[0])/*' is present, must not specify \(text)"))
            }
            if ofAllResources.contains(parts[1]) {
                check.add(
                    .invalid("\(path)[\(i)]", item, "if '*/\(parts[1])' is present, must not specify \(text)"))
            }
            if parts[1] == "*" { withAllSubresources.insert(parts[0]) }
            if parts[0] == "*" { ofAllResources.insert(parts[1]) }
        }
        if items.count > 1, items.contains("*/*") {
            check.add(.invalid(path, list, "if '*/*' is present, must not specify other resources"))
        }
        if hasPlain, items.contains("*") {
            check.add(
                .invalid(path, list, "if '*' is present, must not specify other resources without subresources"))
        }
    }

    static func matchConditions(_ list: JSON, _ path: String, _ check: inout Validation) {
        let items = list.elements
        if items.count > 64 {
            check.add(.init(.tooMany, path, "Too many: \(items.count): must have at most 64 items"))
        }
        var names: Set<String> = []
        for (i, item) in items.enumerated() {
            if isBlank(item["expression"]) { check.add(.required("\(path)[\(i)].expression")) }
            let name = item["name"].string ?? ""
            if name.isEmpty {
                check.add(.required("\(path)[\(i)].name"))
            } else {
                if let problem = LabelSyntax.keyProblem(name) {
                    check.add(.invalid("\(path)[\(i)].name", .string(name), problem))
                }
                if !names.insert(name).inserted { check.add(.duplicate("\(path)[\(i)].name", .string(name))) }
            }
        }
    }

    /// `matchConstraints` of a policy, `matchResources` of a binding.
    /// - Parameter mutates: only what is created and updated can be changed.
    static func matchResources(_ match: JSON, _ path: String, mutates: Bool, _ check: inout Validation) {
        check.oneOf(match["matchPolicy"], ["Equivalent", "Exact"], "\(path).matchPolicy", required: true)
        for key in ["namespaceSelector", "objectSelector"] {
            if match[key].isNull {
                check.add(.required("\(path).\(key)"))
            } else {
                Selectors.validate(match[key], "\(path).\(key)", &check)
            }
        }
        for key in ["resourceRules", "excludeResourceRules"] {
            for (i, rule) in match[key].elements.enumerated() { self.check(rule, "\(path).\(key)[\(i)]", &check) }
        }
        guard mutates else { return }
        for operation in match["resourceRules"].elements.flatMap({ $0["operations"].elements })
        where operation != "CREATE" && operation != "UPDATE" {
            check.add(.notSupported("\(path).resourceRules.operations", operation, ["CREATE", "UPDATE"]))
        }
    }

    static func paramKind(_ kind: JSON, _ path: String, _ check: inout Validation) {
        guard !kind.isNull else { return }
        let version = kind["apiVersion"].string ?? ""
        let parts = version.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        if version.isEmpty {
            check.add(.required("\(path).apiVersion"))
        } else if parts.count > 2 {
            check.add(
                .invalid("\(path).apiVersion", .string(version), "unexpected GroupVersion string: \(version)"))
        } else {
            if parts.count == 2, let problem = LabelSyntax.subdomainProblem(parts[0]) {
                check.add(.invalid("\(path).apiVersion", .string(parts[0]), problem))
            }
            let last = parts[parts.count - 1]
            if last.isEmpty {
                check.add(.invalid("\(path).apiVersion", .string(version), "version must be specified"))
            } else if let problem = LabelSyntax.rfc1035LabelProblem(last) {
                check.add(.invalid("\(path).apiVersion", .string(last), problem))
            }
        }
        let name = kind["kind"].string ?? ""
        if name.isEmpty {
            check.add(.required("\(path).kind"))
        } else if let problem = LabelSyntax.rfc1035LabelProblem(name.lowercased()) {
            check.add(
                .invalid("\(path).kind", .string(name), "may have mixed case, but should otherwise match: \(problem)"))
        }
    }

    static func paramRef(_ reference: JSON, _ path: String, _ check: inout Validation) {
        guard !reference.isNull else { return }
        let name = reference["name"].string ?? ""
        let selector = reference["selector"]
        let exclusive = "name and selector are mutually exclusive"
        if !name.isEmpty {
            if let problem = LabelSyntax.pathSegmentProblem(name) {
                check.add(.invalid("\(path).name", .string(name), problem))
            }
            if !selector.isNull { check.add(.forbidden("\(path).name", exclusive)) }
        }
        if !selector.isNull {
            Selectors.validate(selector, "\(path).selector", &check)
            if !name.isEmpty { check.add(.forbidden("\(path).selector", exclusive)) }
        } else if name.isEmpty {
            check.add(.required(path, "one of name or selector must be specified"))
        }
        let action = reference["parameterNotFoundAction"]
        if (action.string ?? "").isEmpty {
            check.add(.required("\(path).parameterNotFoundAction"))
        } else if action != "Deny", action != "Allow" {
            check.add(.notSupported("\(path).parameterNotFoundAction", action, ["Deny", "Allow"]))
        }
    }

    private static let reserved: Set<String> = [
        "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import",
        "let", "loop", "package", "namespace", "return", "var", "void", "while",
    ]

    static func isIdentifier(_ name: String) -> Bool {
        guard let first = name.utf8.first, !(48...57).contains(first), !reserved.contains(name) else { return false }
        return name.utf8.allSatisfy { byte in
            (97...122).contains(byte) || (65...90).contains(byte) || (48...57).contains(byte) || byte == 95
        }
    }
}

/// `clientConfig` of what calls out to somebody's server.
enum WebhookClient {
    private static let form = "; desired format: https://host[/path]"

    static func check(_ client: JSON, _ path: String, _ check: inout Validation) {
        switch (client["url"].isNull, client["service"].isNull) {
        case (true, true), (false, false):
            check.add(.required(path, "exactly one of url or service is required"))
        case (false, true): url(client["url"].string ?? "", "\(path).url", &check)
        case (true, false): service(client["service"], "\(path).service", &check)
        }
    }

    private static func url(_ text: String, _ path: String, _ check: inout Validation) {
        let marks = text.firstRange(of: "://")
        let scheme = marks.map { String(text[..<$0.lowerBound]) } ?? ""
        let rest = marks.map { text[$0.upperBound...] } ?? text[text.endIndex...]
        let authority = rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }
        let host = authority.split(separator: "@", omittingEmptySubsequences: false).last ?? ""
        if scheme != "https" {
            check.add(.invalid(path, .string(scheme), "'https' is the only allowed URL scheme" + form))
        }
        if host.isEmpty { check.add(.invalid(path, .string(String(host)), "host must be specified" + form)) }
        if host.endIndex != authority.endIndex || authority.contains("@") {
            let user = String(authority.prefix { $0 != "@" })
            check.add(.invalid(path, .string(user), "user information is not permitted in the URL"))
        }
        if let mark = text.firstIndex(of: "#") {
            let fragment = String(text[text.index(after: mark)...])
            if !fragment.isEmpty {
                check.add(.invalid(path, .string(fragment), "fragments are not permitted in the URL"))
            }
        }
        if let mark = text.firstIndex(of: "?") {
            let query = String(text[text.index(after: mark)...].prefix { $0 != "#" })
            if !query.isEmpty {
                check.add(.invalid(path, .string(query), "query parameters are not permitted in the URL"))
            }
        }
    }

    private static func service(_ service: JSON, _ path: String, _ check: inout Validation) {
        for key in ["name", "namespace"] where (service[key].string ?? "").isEmpty {
            check.add(.required("\(path).\(key)", "service \(key) is required"))
        }
        let port = service["port"].int ?? 443
        if let problem = Ports.problem(port) {
            check.add(.invalid("\(path).port", .int(port), "port is not valid: " + problem))
        }
        let target = service["path"].string ?? ""
        if target.isEmpty || target == "/" { return }
        guard target != "//" else {
            check.add(.invalid("\(path).path", .string(target), "segment[0] may not be empty"))
            return
        }
        if !target.hasPrefix("/") {
            check.add(.invalid("\(path).path", .string(target), "must start with a '/'"))
        }
        var inner = target.dropFirst()
        if inner.hasSuffix("/") { inner = inner.dropLast() }
        for (i, step) in inner.split(separator: "/", omittingEmptySubsequences: false).enumerated() {
            if step.isEmpty {
                check.add(.invalid("\(path).path", .string(target), "segment[\(i)] may not be empty"))
            } else if let problem = LabelSyntax.subdomainProblem(String(step)) {
                check.add(.invalid("\(path).path", .string(target), "segment[\(i)]: \(problem)"))
            }
        }
    }
}
