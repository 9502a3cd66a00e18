internal import Codecs
internal import KubeAPI
internal import Transport

/// The control plane's parts, asked at the moment of the request: nothing of it is stored.
/// Source: pkg/registry/core/componentstatus.
enum ComponentStatus {
    static let resource = GroupVersionResource("", "v1", "componentstatuses")

    static func object(_ name: String, problem: String?) -> KubeObject {
        var object = KubeObject(GroupVersionKind(.core, "ComponentStatus"), name: name)
        var condition: JSON = ["type": "Healthy", "status": problem == nil ? "True" : "False"]
        condition["message"] = .string(problem ?? "ok")
        object.json["conditions"] = [condition]
        return object
    }

    @Sendable static func cells(_ object: KubeObject, _ now: Timestamp) -> [JSON] {
        let condition = object["conditions"].elements.first { $0["type"] == "Healthy" } ?? .null
        let words = ["True": "Healthy", "False": "Unhealthy"]
        return [
            .string(object.name), .string(words[condition["status"].string ?? ""] ?? "Unknown"),
            .string(condition["message"].string ?? ""), .string(condition["error"].string ?? ""),
        ]
    }
}

extension ResourceRequest {
    func componentStatuses(_ resource: ServedResource) async throws(APIError) -> HTTPResponse {
        let format = try OutputFormat(request)
        let idle = server.runsControllers ? nil : "not running"
        let all = [
            ComponentStatus.object("controller-manager", problem: idle),
            ComponentStatus.object("scheduler", problem: idle),
            ComponentStatus.object("etcd-0", problem: await server.datastoreCheck.run()),
        ]
        var response: HTTPResponse
        if info.verb == "get" {
            guard let object = all.first(where: { $0.name == info.name }) else {
                throw .notFound(resource.gvr, info.name)
            }
            response = try respond(
                EncodedObject(bytes: object.json.encode(), resourceVersion: 0), resource, format)
        } else {
            let parameters = try listParameters()
            let items = all.filter { object in
                parameters.labels.matches(object.labels)
                    && parameters.fields.terms.allSatisfy { term in
                        term.field == "metadata.name" && (object.name == term.value) != term.negated
                    }
            }.map { EncodedObject(bytes: $0.json.encode(), resourceVersion: 0) }
            response = try respond(ListPage(items: items, resourceVersion: 0, continueToken: ""), resource, format)
        }
        return response
    }
}
