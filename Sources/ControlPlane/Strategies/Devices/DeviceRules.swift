internal import Codecs
internal import KubeAPI

/// What the kinds of dynamic resource allocation have in common. Expressions (CEL) are compiled when they are new.
/// Source: pkg/apis/resource/validation, KEP-4381.
enum DeviceRules {
    static let requests = 32
    static let alternatives = 8
    static let results = 32
    static let consumers = 256
    static let tolerations = 16
    /// Bytes of an expression, and of a driver's parameters.
    static let text = 10 * 1024

    // MARK: - Names

    /// Driver names are DNS subdomains of at most 63 bytes; capitals are let pass, as of CSI drivers.
    static func driver(_ value: JSON, _ path: String, _ check: inout Validation) {
        let name = value.string ?? ""
        if name.isEmpty { check.add(.required(path)) }
        if name.utf8.count > 63 { check.add(.tooLong(path, limit: 63)) }
        if let problem = LabelSyntax.subdomainProblem(lowercased(name)), !name.isEmpty {
            check.add(.invalid(path, value, problem))
        }
    }

    static func lowercased(_ name: String) -> String {
        String(decoding: name.utf8.map { (65...90).contains($0) ? $0 + 32 : $0 }, as: UTF8.self)
    }

    static func name(_ value: JSON, _ path: String, _ rule: NameRule, _ check: inout Validation) {
        let name = value.string ?? ""
        if let problem = rule.problem(name) { check.add(.invalid(path, .string(name), problem)) }
    }

    static func requiredName(_ value: JSON, _ path: String, _ rule: NameRule, _ check: inout Validation) {
        if (value.string ?? "").isEmpty { check.add(.required(path)) } else { name(value, path, rule, &check) }
    }

    /// Subdomains with slashes between them.
    static func pool(_ value: JSON, _ path: String, _ check: inout Validation) {
        let name = value.string ?? ""
        if name.isEmpty {
            check.add(.required(path))
            return
        }
        if name.utf8.count > 253 { check.add(.tooLong(path, limit: 253)) }
        for part in name.split(separator: "/", omittingEmptySubsequences: false) {
            if let problem = LabelSyntax.subdomainProblem(String(part)) {
                check.add(.invalid(path, .string(String(part)), problem))
            }
        }
    }

    /// "model" or "gpu.acme.io/model"
    static func qualified(_ name: String, _ path: String, fully: Bool = false, _ check: inout Validation) {
        let parts = name.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        switch parts.count {
        case 1: identifier(parts[0], path, &check)
        case 2:
            if parts[0].isEmpty {
                check.add(.invalid(path, "", "the domain must not be empty"))
            } else {
                driver(.string(parts[0]), path, &check)
            }
            if parts[1].isEmpty {
                check.add(.invalid(path, "", "the name must not be empty"))
            } else {
                identifier(parts[1], path, &check)
            }
        default: check.add(.invalid(path, .string(name), "must not contain more than one slash"))
        }
        if fully, parts.count == 1 {
            check.add(
                .invalid(path, .string(name), "a fully qualified name must be a domain and a name separated by a slash")
            )
        }
    }

    private static func identifier(_ name: String, _ path: String, _ check: inout Validation) {
        if name.utf8.count > 32 { check.add(.tooLong(path, limit: 32)) }
        let isGood = name.utf8.enumerated().allSatisfy { i, byte in
            (97...122).contains(byte) || (65...90).contains(byte) || byte == 95 || i > 0 && (48...57).contains(byte)
        }
        if name.isEmpty || !isGood {
            check.add(
                .invalid(
                    path, .string(name),
                    "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')"
                ))
        }
    }

    // MARK: - Lists

    /// The members of a list, unless there are more than there may be: then only this is said.
    static func members(_ list: JSON, _ most: Int, _ path: String, _ check: inout Validation) -> [JSON] {
        let items = list.elements
        if items.count <= most { return items }
        check.add(.init(.tooMany, path, "Too many: \(items.count): must have at most \(most) items"))
        return []
    }

    static func unique(_ items: [JSON], _ path: String, _ check: inout Validation, key: (JSON) -> JSON) {
        var seen: Set<String> = []
        for (i, item) in items.enumerated() {
            let key = key(item)
            if !seen.insert(key.text).inserted { check.add(.duplicate("\(path)[\(i)]", key)) }
        }
    }

    // MARK: - Parts

    /// - Parameter known: what is there already is not judged again, as rules may have become stricter.
    static func selectors(_ list: JSON, _ path: String, known: JSON = .null, _ check: inout Validation) {
        let known = known.elements
        for (i, selector) in members(list, 32, path, &check).enumerated() {
            let place = "\(path)[\(i)].cel"
            if selector["cel"].isNull {
                check.add(.required(place))
            } else {
                let expression = selector["cel"]["expression"].string ?? ""
                let size = expression.utf8.count
                if size > text { check.add(.tooLong("\(place).expression", limit: text)) }
                if size == 0 { check.add(.required("\(place).expression")) }
                guard size > 0, size <= text, !known.contains(selector) else { continue }
                do throws(CELError) {
                    _ = try DeviceExpression.compile(expression)
                } catch {
                    check.add(.invalid("\(place).expression", .string(expression), error.message))
                }
            }
        }
    }

    /// A driver's own settings.
    static func configuration(_ config: JSON, _ path: String, _ check: inout Validation) {
        let opaque = config["opaque"]
        if opaque.isNull {
            check.add(.required("\(path).opaque"))
            return
        }
        driver(opaque["driver"], "\(path).opaque.driver", &check)
        let (parameters, place) = (opaque["parameters"], "\(path).opaque.parameters")
        switch parameters {
        case .null: check.add(.required(place))
        case .object: if parameters.text.utf8.count > text { check.add(.tooLong(place, limit: text)) }
        default: check.add(.init(.invalid, place, "Invalid value: \"<value omitted>\": must be a valid JSON object"))
        }
    }

    private static let effects = ["NoExecute", "NoSchedule", "None"]

    static func taints(_ list: JSON, _ path: String, _ check: inout Validation) {
        for (i, taint) in members(list, 16, path, &check).enumerated() {
            let place = "\(path)[\(i)]"
            label(taint["key"], "\(place).key", &check)
            if let problem = LabelSyntax.valueProblem(taint["value"].string ?? "") {
                check.add(.invalid("\(place).value", taint["value"], problem))
            }
            check.oneOf(taint["effect"], effects, "\(place).effect", required: true)
        }
    }

    static func tolerations(_ list: JSON, _ path: String, _ check: inout Validation) {
        for (i, toleration) in members(list, tolerations, path, &check).enumerated() {
            let place = "\(path)[\(i)]"
            let (key, value) = (toleration["key"], toleration["value"].string ?? "")
            if !(key.string ?? "").isEmpty { label(key, "\(place).key", &check) }
            switch toleration["operator"].string ?? "" {
            case "Exists":
                if !value.isEmpty {
                    check.add(.invalid("\(place).value", .string(value), "must be empty for operator `Exists`"))
                }
            case "Equal":
                if let problem = LabelSyntax.valueProblem(value) {
                    check.add(.invalid("\(place).value", .string(value), problem))
                }
                if (key.string ?? "").isEmpty {
                    check.add(.required("\(place).key", "must not be empty for operator `Equal`"))
                }
            case "": check.add(.required("\(place).operator"))
            default: check.add(.notSupported("\(place).operator", toleration["operator"], ["Equal", "Exists"]))
            }
            check.oneOf(toleration["effect"], effects, "\(place).effect")
        }
    }

    private static func label(_ key: JSON, _ path: String, _ check: inout Validation) {
        if let problem = LabelSyntax.keyProblem(key.string ?? "") {
            check.add(.invalid(path, key.isNull ? "" : key, problem))
        }
    }

    /// Conditions for which the scheduler waits before a pod is bound to the device's node.
    static func bindingConditions(_ device: JSON, _ path: String, _ check: inout Validation) {
        let (good, bad) = (device["bindingConditions"].elements, device["bindingFailureConditions"].elements)
        for (key, list) in [("bindingConditions", good), ("bindingFailureConditions", bad)] {
            let place = "\(path).\(key)"
            let items = members(.array(list), 4, place, &check)
            for (i, item) in items.enumerated() { label(item, "\(place)[\(i)]", &check) }
            unique(items, place, &check) { $0 }
        }
        if good.isEmpty != bad.isEmpty {
            check.add(
                .invalid(
                    good.isEmpty ? "\(path).bindingConditions" : "\(path).bindingFailureConditions", .array([]),
                    good.isEmpty
                        ? "bindingConditions are required to use bindingFailureConditions"
                        : "bindingFailureConditions are required to use bindingConditions"))
        }
    }
}
