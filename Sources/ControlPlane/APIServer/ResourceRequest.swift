internal import Codecs
internal import KubeAPI
internal import Store
internal import Transport

/// A request for a resource, from its checks to its answer.
struct ResourceRequest: Sendable {
    let server: APIServer
    let request: HTTPRequest
    let info: RequestInfo
    let user: UserInfo

    var registry: Registry { server.registry }
    var configuration: APIServerConfiguration { server.configuration }

    func answer() async throws(APIError) -> HTTPResponse {
        guard let resource = registry.resources[info.gvr], resource.namespaced || !hasNamespace(resource) else {
            throw .pathNotFound()
        }
        if resource.namespaced, info.namespace.isEmpty {
            // Across namespaces there are lists and watches.
            if !info.name.isEmpty { throw .pathNotFound() }
            if info.verb != "list", info.verb != "watch" { throw methodNotAllowed() }
        }
        if !info.subresource.isEmpty { return try await answer(subresourceOf: resource) }
        guard let verb = Verbs(verb: info.verb), resource.info.verbs.contains(verb) else {
            throw methodNotAllowed()
        }
        if resource.gvr == ComponentStatus.resource { return try await componentStatuses(resource) }
        switch info.verb {
        case "get":
            let format = try OutputFormat(request)
            try checkVersionOfGet()
            let object = try registry.get(resource, namespace: info.namespace, name: info.name)
            return try respond(object, resource, format)
        case "list": return try list(resource)
        case "watch": return try watch(resource)
        case "create": return try await create(resource)
        case "update": return try await update(resource, subresource: "")
        case "patch": return try await patch(resource, subresource: "")
        case "delete": return try await delete(resource)
        default: return try await deleteCollection(resource)
        }
    }

    /// Whether the path puts a resource into a namespace.
    private func hasNamespace(_ resource: ServedResource) -> Bool {
        !info.namespace.isEmpty && !(resource.gvr == .namespaces && info.namespace == info.name)
    }

    func methodNotAllowed() -> APIError {
        APIError(
            code: 405, reason: "MethodNotAllowed",
            message: "the server does not allow this method on the requested resource")
    }

    // MARK: - Options

    func scope() throws(APIError) -> RequestScope {
        var dryRun = false
        for value in request.query.values("dryRun") {
            guard value == "All" || value.isEmpty else {
                throw invalidOptions("dryRun", .notSupported("dryRun", .strings([value]), ["All"]))
            }
            dryRun = dryRun || value == "All"
        }
        var manager = request.query["fieldManager"] ?? ""
        if manager.utf8.count > 128 {
            throw invalidOptions("fieldManager", .tooLong("fieldManager", limit: 128))
        }
        if manager.isEmpty { manager = Self.manager(ofAgent: request.headers["User-Agent"] ?? "") }
        return RequestScope(user: user, now: configuration.clock.now(), dryRun: dryRun, fieldManager: manager)
    }

    /// The program's name: what stands before the first slash.
    private static func manager(ofAgent agent: String) -> String {
        let plain = agent.utf8.prefix { $0 != UInt8(ascii: "/") }
        if !plain.isEmpty, plain.count <= 128, plain.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) {
            return String(agent[..<plain.endIndex])
        }
        let name = agent.prefix { $0 != "/" }.unicodeScalars.filter { $0.value >= 0x20 && $0.value != 0x7F }
        return name.isEmpty ? "unknown" : String(String(String.UnicodeScalarView(name)).prefix(128))
    }

    func invalidOptions(_ field: String, _ error: FieldError) -> APIError {
        let kinds = ["create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"]
        return .invalid(GroupVersionKind("meta.k8s.io", "v1", kinds[info.verb] ?? "DeleteOptions"), "", [error])
    }

    func fieldValidation() throws(APIError) -> FieldValidation {
        guard let text = request.query["fieldValidation"], !text.isEmpty else { return .warn }
        guard let validation = FieldValidation(rawValue: text) else {
            throw invalidOptions(
                "fieldValidation", .notSupported("fieldValidation", .string(text), ["Ignore", "Strict", "Warn"]))
        }
        return validation
    }

    /// A get shows the newest state, which is good for every version there is; one that is still to come is refused.
    private func checkVersionOfGet() throws(APIError) {
        guard let text = request.query["resourceVersion"], !text.isEmpty else { return }
        guard let asked = Int64(text), asked >= 0 else {
            throw .invalid(
                GroupVersionKind("meta.k8s.io", "v1", "GetOptions"), "",
                [
                    .invalid(
                        "resourceVersion", .string(text),
                        "strconv.ParseUint: parsing \(JSON.string(text).text): invalid syntax")
                ])
        }
        let current = registry.store.revision
        if asked > current { throw Registry.tooLargeResourceVersion(asked, current: current) }
    }

    func listParameters() throws(APIError) -> ListParameters {
        var parameters = ListParameters()
        for item in request.query.items where !item.value.isEmpty {
            switch item.name {
            case "labelSelector": parameters.labels = try LabelSelector(parsing: item.value)
            case "fieldSelector": parameters.fields = try FieldSelector(parsing: item.value)
            case "resourceVersion":
                guard let revision = Int64(item.value), revision >= 0 else {
                    throw .badRequest("resourceVersion: Invalid value: \(JSON.string(item.value).text)")
                }
                parameters.resourceVersion = revision
            case "resourceVersionMatch":
                guard let match = ListParameters.VersionMatch(rawValue: item.value) else {
                    throw listInvalid(
                        .notSupported("resourceVersionMatch", .string(item.value), ["Exact", "NotOlderThan", ""]))
                }
                parameters.match = match
            case "limit":
                guard let limit = Int64(item.value) else {
                    throw .badRequest("strconv.ParseInt: parsing \(JSON.string(item.value).text): invalid syntax")
                }
                parameters.limit = Int(clamping: max(limit, 0))
            case "continue": parameters.continueToken = item.value
            default: break
            }
        }
        if info.verb == "list" || info.verb == "deletecollection" { try check(parameters) }
        return parameters
    }

    private func check(_ parameters: ListParameters) throws(APIError) {
        if request.query["sendInitialEvents"].map({ !$0.isEmpty }) == true {
            throw listInvalid(.forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
        }
        if let match = parameters.match {
            if parameters.resourceVersion == nil {
                throw listInvalid(
                    .forbidden(
                        "resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided"))
            }
            if parameters.continueToken != nil {
                throw listInvalid(
                    .forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided"))
            }
            if match == .exact, parameters.resourceVersion == 0 {
                throw listInvalid(
                    .forbidden(
                        "resourceVersionMatch", "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"")
                )
            }
        }
        if parameters.continueToken != nil, let version = parameters.resourceVersion, version > 0 {
            throw .badRequest("specifying resource version is not allowed when using continue")
        }
    }

    private func listInvalid(_ error: FieldError) -> APIError {
        .invalid(GroupVersionKind("meta.k8s.io", "v1", "ListOptions"), "", [error])
    }

    // MARK: - Answers

    func respond(
        _ object: EncodedObject, status: Int = 200, _ resource: ServedResource, _ format: OutputFormat,
        scope: RequestScope? = nil
    ) throws(APIError) -> HTTPResponse {
        var response: HTTPResponse
        switch format.shape {
        case .object: response = .object(object.bytes, status: status, format)
        case .table:
            // What is only asked and never kept has no columns.
            guard !resource.info.verbs.isDisjoint(with: [.get, .list]) else {
                let plain = try OutputFormat(request, tables: false)
                return try respond(object, status: status, resource, plain, scope: scope)
            }
            let table = try TableRenderer(registry: registry, resource: resource, request: request)
            let json = try table.table([object], metadata: ["resourceVersion": .string(String(object.resourceVersion))])
            response = .object(json.encode(), status: status, format)
        case .partial:
            response = .object(
                PartialMetadata.encode(try object.decodeWithManagedFields()).encode(), status: status, format)
        }
        for warning in scope?.warnings ?? [] { response.headers.add("Warning", Self.warning(warning)) }
        return response
    }

    /// RFC 9111 5.5 with code 299 and no agent.
    static func warning(_ text: String) -> String {
        var out = "299 - \""
        for character in text.unicodeScalars where character.value >= 0x20 && character.value != 0x7F {
            if character == "\"" || character == "\\" { out.append("\\") }
            out.unicodeScalars.append(character)
        }
        return out + "\""
    }
}

/// metav1.PartialObjectMetadata: an object without what it is about.
enum PartialMetadata {
    static func encode(_ object: KubeObject) -> JSON {
        ["kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object.metadata]
    }
}
