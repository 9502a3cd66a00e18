internal import Codecs

/// One path of the API with its operations, as far as clients look at them: which kind is behind it and which
/// parameters it takes.
struct OpenAPIPath: Sendable {
    enum Target {
        case collection, item
        case subresource(ResourceInfo.Subresource)
    }

    let path: String
    let row: ResourceInfo
    let target: Target
    let namespaced: Bool

    static func all(_ rows: [ResourceInfo]) -> [OpenAPIPath] {
        rows.sorted {
            ($0.gvr.group, $0.gvr.version, $0.gvr.resource) < ($1.gvr.group, $1.gvr.version, $1.gvr.resource)
        }
        .flatMap(paths)
    }

    private static func paths(_ row: ResourceInfo) -> [OpenAPIPath] {
        let root = row.gvr.group.isEmpty ? "/api/\(row.gvr.version)" : "/apis/\(row.gvr.groupVersion)"
        let base = row.namespaced ? "\(root)/namespaces/{namespace}/\(row.gvr.resource)" : "\(root)/\(row.gvr.resource)"
        var found = [OpenAPIPath(path: base, row: row, target: .collection, namespaced: row.namespaced)]
        if !row.verbs.isDisjoint(with: [.get, .update, .patch, .delete]) {
            found.append(OpenAPIPath(path: base + "/{name}", row: row, target: .item, namespaced: row.namespaced))
        }
        for sub in row.subresources {
            found.append(
                OpenAPIPath(
                    path: "\(base)/{name}/\(sub.name)", row: row, target: .subresource(sub), namespaced: row.namespaced)
            )
        }
        // Lists over all namespaces.
        if row.namespaced, row.verbs.contains(.list) {
            found.append(
                OpenAPIPath(path: "\(root)/\(row.gvr.resource)", row: row, target: .collection, namespaced: false))
        }
        return found
    }

    func item(_ writer: OpenAPISchemaWriter) -> JSON {
        var item = JSONObject()
        switch target {
        case .collection:
            if row.verbs.contains(.list) { item.append("get", operation(writer, "list", row.gvk, result: list)) }
            if row.verbs.contains(.create), namespaced || !row.namespaced {
                item.append("post", operation(writer, "post", row.gvk, result: row.gvk, body: row.gvk))
            }
            if row.verbs.contains(.deleteCollection), namespaced || !row.namespaced {
                item.append("delete", operation(writer, "deletecollection", row.gvk, result: Self.status))
            }
        case .item: methods(writer, row.verbs, row.gvk, &item)
        case .subresource(let sub):
            methods(writer, sub.verbs, sub.kind, &item)
            if sub.verbs.contains(.create) {
                item.append("post", operation(writer, "post", sub.kind, result: sub.kind, body: sub.kind))
            }
        }
        var parameters: [JSON] = []
        if path.contains("{name}") { parameters.append(pathParameter("name", "name of the \(row.kind)")) }
        if path.contains("{namespace}") {
            parameters.append(pathParameter("namespace", "object name and auth scope, such as for teams and projects"))
        }
        if !parameters.isEmpty {
            item.append("parameters", .array(parameters.map { parameter in Self.typed(parameter, writer) }))
        }
        return .object(item)
    }

    private var list: GroupVersionKind { GroupVersionKind(row.gvr.groupVersion, row.listKind) }
    private static let status = GroupVersionKind("", "v1", "Status")

    private func methods(
        _ writer: OpenAPISchemaWriter, _ verbs: Verbs, _ kind: GroupVersionKind, _ item: inout JSONObject
    ) {
        if verbs.contains(.get) { item.append("get", operation(writer, "get", kind, result: kind)) }
        if verbs.contains(.update) { item.append("put", operation(writer, "put", kind, result: kind, body: kind)) }
        if verbs.contains(.patch) {
            item.append("patch", operation(writer, "patch", kind, result: kind, isPatch: true))
        }
        if verbs.contains(.delete) {
            let result = row.verbs.contains(.deleteCollection) ? Self.status : kind
            item.append("delete", operation(writer, "delete", kind, result: result))
        }
    }

    private func operation(
        _ writer: OpenAPISchemaWriter, _ action: String, _ kind: GroupVersionKind, result: GroupVersionKind,
        body: GroupVersionKind? = nil, isPatch: Bool = false
    ) -> JSON {
        let patches = [
            "application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json",
            "application/strategic-merge-patch+json",
        ]
        let media = ["application/json", "application/yaml"]
        var parameters = queryParameters(action)
        let patch = writer.reference("io.k8s.apimachinery.pkg.apis.meta.v1.Patch")
        var operation: JSONObject = ["operationId": .string(operationID(action))]
        let schema = isPatch ? patch : body.map { writer.reference(kind: $0) }
        if writer.isV3 {
            if let schema {
                let content = (isPatch ? patches : ["*/*"]).map { ($0, ["schema": schema] as JSON) }
                operation.append("requestBody", ["required": true, "content": .object(JSONObject(members: content))])
            }
            let content = media.map { ($0, ["schema": writer.reference(kind: result)] as JSON) }
            operation.append(
                "responses", ["200": ["description": "OK", "content": .object(JSONObject(members: content))]])
        } else {
            operation.append("consumes", .strings(isPatch ? patches : ["*/*"]))
            operation.append("produces", .strings(media))
            if let schema { parameters.append(["name": "body", "in": "body", "required": true, "schema": schema]) }
            operation.append("responses", ["200": ["description": "OK", "schema": writer.reference(kind: result)]])
        }
        if !parameters.isEmpty { operation.append("parameters", .array(parameters.map { Self.typed($0, writer) })) }
        operation.append("x-kubernetes-action", .string(action))
        operation.append("x-kubernetes-group-version-kind", OpenAPIKinds.json(kind))
        return .object(operation)
    }

    /// Unique: the path and the action in one word.
    private func operationID(_ action: String) -> String {
        let words = path.split { "/{}-.".contains($0) }.map { $0.prefix(1).uppercased() + $0.dropFirst() }
        return action + words.joined()
    }

    private func queryParameters(_ action: String) -> [JSON] {
        func query(_ name: String, _ type: String) -> JSON {
            ["name": .string(name), "in": "query", "type": .string(type)]
        }
        let writes = [query("dryRun", "string"), query("fieldManager", "string"), query("fieldValidation", "string")]
        let lists = [
            query("allowWatchBookmarks", "boolean"), query("continue", "string"), query("fieldSelector", "string"),
            query("labelSelector", "string"), query("limit", "integer"), query("resourceVersion", "string"),
            query("resourceVersionMatch", "string"), query("sendInitialEvents", "boolean"),
            query("timeoutSeconds", "integer"),
            query("watch", "boolean"),
        ]
        switch action {
        case "list": return lists
        case "post", "put": return writes
        case "patch": return writes + [query("force", "boolean")]
        case "delete":
            return [
                query("dryRun", "string"), query("gracePeriodSeconds", "integer"), query("propagationPolicy", "string"),
            ]
        case "deletecollection": return [query("dryRun", "string")] + lists.filter { $0["name"] != "watch" }
        default: return []
        }
    }

    private func pathParameter(_ name: String, _ description: String) -> JSON {
        ["name": .string(name), "in": "path", "description": .string(description), "required": true, "type": "string"]
    }

    /// OpenAPI 3 has a parameter's type in a schema.
    private static func typed(_ parameter: JSON, _ writer: OpenAPISchemaWriter) -> JSON {
        guard writer.isV3, case .object(var object) = parameter, let type = object.removeValue(forKey: "type") else {
            return parameter
        }
        object.append("schema", ["type": type])
        return .object(object)
    }
}
