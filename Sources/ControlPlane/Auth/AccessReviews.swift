internal import Codecs
package import KubeAPI

/// Answers the kinds that are questions: may I, may they, what may I, who am I, whose token is this.
package struct AccessReviews: ReviewHandler {
    private let authorizer: any Authorizer
    private let rules: @Sendable (UserInfo, String) -> [PolicyRule]
    private let authenticateToken: @Sendable (String, [String]) async -> (user: UserInfo, audiences: [String])?

    /// `rules`: everything a user may do in a namespace. `authenticateToken`: the user behind a token that is good for one
    /// of these audiences (none: the server's own).
    package init(
        authorizer: any Authorizer, rules: @escaping @Sendable (UserInfo, String) -> [PolicyRule],
        authenticateToken: @escaping @Sendable (String, [String]) async -> (user: UserInfo, audiences: [String])?
    ) {
        (self.authorizer, self.rules, self.authenticateToken) = (authorizer, rules, authenticateToken)
    }

    package func review(
        _ resource: GroupVersionResource, namespace: String, _ object: KubeObject, user: UserInfo
    ) async throws(APIError) -> KubeObject {
        var answer = object
        switch resource.resource {
        case "selfsubjectreviews": answer.status = ["userInfo": user.json]
        case "selfsubjectaccessreviews":
            try Self.check(object, "SelfSubjectAccessReview", needsSubject: false)
            answer.status = await decide(object.spec, user)
        case "subjectaccessreviews":
            try Self.check(object, "SubjectAccessReview", needsSubject: true)
            answer.status = await decide(object.spec, Self.subject(object.spec))
        case "localsubjectaccessreviews":
            try Self.check(object, "LocalSubjectAccessReview", needsSubject: true, namespace: namespace)
            answer.status = await decide(object.spec, Self.subject(object.spec))
        case "selfsubjectrulesreviews":
            guard let namespace = object.spec["namespace"].string, !namespace.isEmpty else {
                throw .badRequest("no namespace on request")
            }
            answer.status = rulesStatus(user, namespace)
        case "tokenreviews":
            let audiences = object.spec["audiences"].elements.compactMap(\.string)
            guard let token = object.spec["token"].string, !token.isEmpty else {
                throw .badRequest("token is required for TokenReview in authentication")
            }
            if let (user, audiences) = await authenticateToken(token, audiences) {
                answer.status = ["authenticated": true, "user": user.json, "audiences": .strings(audiences)]
            } else {
                answer.status = ["user": [:], "error": "[invalid bearer token, token lookup failed]"]
            }
            answer.spec["token"] = object.spec["token"]
        default: throw .pathNotFound()
        }
        return answer
    }

    /// Source: pkg/apis/authorization/validation.
    private static func check(
        _ object: KubeObject, _ kind: String, needsSubject: Bool, namespace: String? = nil
    ) throws(APIError) {
        let spec = object.spec
        let resource = spec["resourceAttributes"]
        let path = spec["nonResourceAttributes"]
        var check = Validation()
        if !resource.isNull, !path.isNull {
            check.add(
                .invalid(
                    "spec.nonResourceAttributes", path, "cannot be specified in combination with resourceAttributes"))
        } else if resource.isNull, path.isNull {
            check.add(
                .invalid(
                    "spec.resourceAttributes", resource,
                    "exactly one of nonResourceAttributes or resourceAttributes must be specified"))
        }
        if needsSubject, (spec["user"].string ?? "").isEmpty, spec["groups"].elements.isEmpty {
            check.add(.invalid("spec.user", "", "at least one of user or group must be specified"))
        }
        for key in ["fieldSelector", "labelSelector"] where !resource[key].isNull {
            checkSelector(resource[key], "spec.resourceAttributes.\(key)", isLabel: key == "labelSelector", &check)
        }
        let metadata = object.metadata.object?.members.filter {
            !$0.value.isNull && $0.key != "managedFields" && (namespace == nil || $0.key != "namespace")
        }
        if metadata?.isEmpty == false {
            check.add(
                .invalid(
                    "metadata", object.metadata,
                    namespace == nil ? "must be empty" : "must be empty except for namespace"))
        }
        if let namespace {
            if !resource.isNull, resource["namespace"].string ?? "" != namespace {
                check.add(
                    .invalid(
                        "spec.resourceAttributes.namespace", .string(resource["namespace"].string ?? ""),
                        "must match metadata.namespace"))
            }
            if !path.isNull {
                check.add(
                    .invalid("spec.nonResourceAttributes", path, "disallowed on this kind of request"))
            }
        }
        if check.errors.isEmpty { return }
        throw .invalid(GroupVersionKind("authorization.k8s.io", "v1", kind), object.name, check.errors)
    }

    private static let knownOperators: Set<String> = ["In", "NotIn", "Exists", "DoesNotExist"]

    private static func checkSelector(_ selector: JSON, _ path: String, isLabel: Bool, _ check: inout Validation) {
        let (raw, requirements) = (selector["rawSelector"].string ?? "", selector["requirements"].elements)
        if !raw.isEmpty, !requirements.isEmpty {
            check.add(
                .invalid("\(path).rawSelector", .string(raw), "may not specified at the same time as requirements"))
        }
        if raw.isEmpty, requirements.isEmpty {
            check.add(
                .required(
                    "\(path).requirements", "when \(path) is specified, requirements or rawSelector is required"))
        }
        for (i, requirement) in requirements.enumerated() {
            let place = "\(path).requirements[\(i)]"
            // Newer clients may know operators that this server does not: they only narrow what is asked.
            if knownOperators.contains(requirement["operator"].string ?? "") {
                Selectors.requirement(requirement, place, &check)
            }
            let key = requirement["key"].string ?? ""
            if isLabel, let problem = LabelSyntax.keyProblem(key) {
                check.add(.invalid("\(place).key", .string(key), problem))
            } else if key.isEmpty {
                check.add(.required("\(place).key", "must be specified"))
            }
        }
    }

    /// What of a field selector can be said in the older form: what it cannot, narrows nothing.
    private static func fieldSelector(_ json: JSON) -> FieldSelector? {
        if let raw = json["rawSelector"].string, !raw.isEmpty { return try? FieldSelector(parsing: raw) }
        let terms = json["requirements"].elements.compactMap { requirement -> FieldSelector.Term? in
            let (key, values) = (requirement["key"].string ?? "", requirement["values"].elements)
            guard values.count == 1, let value = values[0].string else { return nil }
            switch requirement["operator"].string ?? "" {
            case "In": return .init(key, value)
            case "NotIn": return .init(key, value, negated: true)
            default: return nil
            }
        }
        return terms.isEmpty ? nil : FieldSelector(terms)
    }

    private static func labelSelector(_ json: JSON) -> LabelSelector? {
        if let raw = json["rawSelector"].string, !raw.isEmpty { return try? LabelSelector(parsing: raw) }
        let known = json["requirements"].elements.filter {
            knownOperators.contains($0["operator"].string ?? "")
        }
        return known.isEmpty ? nil : try? LabelSelector(json: ["matchExpressions": .array(known)])
    }

    private func decide(_ spec: JSON, _ user: UserInfo) async -> JSON {
        let resource = spec["resourceAttributes"]
        let path = spec["nonResourceAttributes"]
        var attributes =
            path.isNull
            ? AuthorizationAttributes(
                user: user, verb: resource["verb"].string ?? "", group: resource["group"].string ?? "",
                version: resource["version"].string ?? "", resource: resource["resource"].string ?? "",
                subresource: resource["subresource"].string ?? "", namespace: resource["namespace"].string ?? "",
                name: resource["name"].string ?? "")
            : AuthorizationAttributes(user: user, verb: path["verb"].string ?? "", path: path["path"].string ?? "")
        attributes.fieldSelector = Self.fieldSelector(resource["fieldSelector"])
        attributes.labelSelector = Self.labelSelector(resource["labelSelector"])
        let decision = await authorizer.authorize(attributes)
        var status: JSON = ["allowed": .bool(decision.isAllowed)]
        if !decision.reason.isEmpty { status["reason"] = .string(decision.reason) }
        return status
    }

    private func rulesStatus(_ user: UserInfo, _ namespace: String) -> JSON {
        var (resources, paths): ([JSON], [JSON]) = ([], [])
        for rule in rules(user, namespace) {
            if rule.paths.isEmpty {
                resources.append(rule.json)
            } else {
                paths.append(["verbs": .strings(rule.verbs), "nonResourceURLs": .strings(rule.paths)])
            }
        }
        return ["resourceRules": .array(resources), "nonResourceRules": .array(paths), "incomplete": false]
    }

    private static func subject(_ spec: JSON) -> UserInfo {
        let groups = spec["groups"].elements.compactMap(\.string)
        var extra: [String: [String]] = [:]
        for (key, values) in spec["extra"].object ?? JSONObject() { extra[key] = values.elements.compactMap(\.string) }
        return UserInfo(spec["user"].string ?? "", uid: spec["uid"].string ?? "", groups: groups, extra: extra)
    }
}

extension UserInfo {
    /// authentication.k8s.io/v1 UserInfo.
    var json: JSON {
        var json: JSON = ["username": .string(name)]
        if !uid.isEmpty { json["uid"] = .string(uid) }
        if !groups.isEmpty { json["groups"] = .strings(groups) }
        if !extra.isEmpty {
            json["extra"] = .object(
                JSONObject(members: extra.sorted { $0.key < $1.key }.map { ($0.key, .strings($0.value)) }))
        }
        return json
    }
}
