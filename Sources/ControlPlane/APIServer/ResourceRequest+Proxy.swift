internal import Codecs
internal import KubeAPI
internal import Store
internal import Transport

/// `nodes|pods|services/.../proxy/...`: HTTP through the API server.
/// Source: pkg/registry/core/{node,pod,service} ResourceLocation.
extension ResourceRequest {
    func proxy(_ resource: ServedResource) async throws(APIError) -> HTTPResponse {
        let target = try ProxyName(info.name)
        let path = request.query["path"].map { "/" + $0 } ?? "/" + info.rest.drop { $0 == "/" }
        let forwarded = try proxied(method: request.method, path: path, rawQuery: request.rawQuery)
        switch resource.gvr {
        case .nodes:
            guard registry.store.get(resource.key("", target.name)) != nil else {
                throw .notFound(resource.gvr, target.name)
            }
            guard let handler = configuration.nodes?.handler(forNode: target.name) else {
                throw .unavailable("node \"\(target.name)\" is not connected to this server")
            }
            return await handler(forwarded)
        case .pods: return await (try podHandler(resource, target))(forwarded)
        case .services: return await (try serviceHandler(resource, target))(forwarded)
        default: throw .pathNotFound()
        }
    }

    /// `[scheme:]name[:port]`
    private struct ProxyName {
        var scheme = "http"
        var name: String
        var port = ""

        init(_ text: String) throws(APIError) {
            let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
            switch parts.count {
            case 1: name = parts[0]
            case 2: (name, port) = (parts[0], parts[1])
            case 3 where ["", "http", "https"].contains(parts[0]):
                if !parts[0].isEmpty { scheme = parts[0] }
                (name, port) = (parts[1], parts[2])
            default: throw .badRequest("invalid proxy request \(JSON.string(text).text)")
            }
        }
    }

    private func podHandler(_ resource: ServedResource, _ target: ProxyName) throws(APIError) -> HTTPHandler {
        let pod = try registry.get(resource, namespace: info.namespace, name: target.name).decode()
        guard let address = pod.status["podIP"].string, !address.isEmpty else {
            throw .badRequest("address not allowed: pod \(pod.name) has no IP address")
        }
        var port: UInt16? = UInt16(target.port)
        let ports = pod.spec["containers"].elements.flatMap { $0["ports"].elements }
        if target.port.isEmpty {
            port = ports.first.flatMap { $0["containerPort"].int }.flatMap { UInt16(exactly: $0) } ?? 80
        } else if port == nil {
            port = ports.first { $0["name"].string == target.port }?["containerPort"].int.flatMap {
                UInt16(exactly: $0)
            }
        }
        guard let port else { throw .badRequest("pod \(pod.name) has no port \(JSON.string(target.port).text)") }
        return try handler(address, port, target.scheme, node: pod.spec["nodeName"].string)
    }

    private func serviceHandler(_ resource: ServedResource, _ target: ProxyName) throws(APIError) -> HTTPHandler {
        let service = try registry.get(resource, namespace: info.namespace, name: target.name).decode()
        let ports = service.spec["ports"].elements
        let matching = ports.first {
            target.port.isEmpty
                ? ports.count == 1 : $0["name"].string == target.port || $0["port"].int == Int64(target.port)
        }
        guard let port = matching else {
            throw .unavailable("no service port \(JSON.string(target.port).text) found for service \"\(target.name)\"")
        }
        var parameters = ListParameters()
        parameters.labels = .equal(["kubernetes.io/service-name": target.name])
        let slices = try registry.list(
            try registry.resource(.endpointSlices), namespace: info.namespace, parameters)
        var candidates: [(address: String, port: UInt16, node: String?)] = []
        for item in slices.items {
            let slice = try item.decode()
            let number = slice["ports"].elements.first { ($0["name"].string ?? "") == (port["name"].string ?? "") }
            guard let number = number?["port"].int.flatMap({ UInt16(exactly: $0) }) else { continue }
            for endpoint in slice["endpoints"].elements where endpoint["conditions"]["ready"].bool != false {
                guard let address = endpoint["addresses"][0].string else { continue }
                candidates.append((address, number, endpoint["nodeName"].string))
            }
        }
        guard let chosen = candidates.randomElement() else {
            throw .unavailable("no endpoints available for service \(JSON.string(info.name).text)")
        }
        return try handler(chosen.address, chosen.port, target.scheme, node: chosen.node)
    }

    private func handler(_ host: String, _ port: UInt16, _ scheme: String, node: String?) throws(APIError)
        -> HTTPHandler
    {
        guard
            let handler = configuration.nodes?.handler(forAddress: host, port: port, tls: scheme == "https", node: node)
        else { throw .unavailable("no way to \(host):\(port) from this server") }
        return handler
    }
}
