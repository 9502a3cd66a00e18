internal import Codecs
internal import KubeAPI
internal import Transport

/// Requests that the API server hands to a pod's kubelet. Source: pkg/registry/core/pod/strategy.go (LogLocation,
/// streamLocation) and the kubelet's HTTP interface.
extension ResourceRequest {
    private func pod(_ resource: ServedResource) throws(APIError) -> KubeObject {
        try registry.get(resource, namespace: info.namespace, name: info.name).decode()
    }

    private func kubelet(_ node: String) throws(APIError) -> HTTPHandler {
        guard let handler = configuration.nodes?.handler(forNode: node) else {
            throw .unavailable("node \"\(node)\" is not connected to this server")
        }
        return handler
    }

    private func connectAdmission(_ resource: ServedResource, _ options: JSON) async throws(APIError) {
        let scope = RequestScope(user: user, now: configuration.clock.now())
        let request = AdmissionRequest(
            .connect, resource.gvr, resource.gvk, subresource: info.subresource, namespace: info.namespace,
            name: info.name, object: KubeObject(options), scope: scope)
        try await registry.admission.validate(request, registry)
    }

    /// The container that is meant, if the request does not name one: the only one, or the one the pod's annotation names.
    static func container(of pod: KubeObject, asked: String) throws(APIError) -> String {
        func names(_ key: String) -> [String] { pod.spec[key].elements.compactMap { $0["name"].string } }
        let containers = names("containers")
        let (initial, ephemeral) = (names("initContainers"), names("ephemeralContainers"))
        if !asked.isEmpty {
            guard (containers + initial + ephemeral).contains(asked) else {
                throw .badRequest("container \(asked) is not valid for pod \(pod.name)")
            }
            return asked
        }
        if let preferred = pod.annotations["kubectl.kubernetes.io/default-container"], containers.contains(preferred) {
            return preferred
        }
        guard containers.count != 1 else { return containers[0] }
        var message = "a container name must be specified for pod \(pod.name)"
        if !containers.isEmpty {
            message += ", choose one of: [\(containers.joined(separator: " "))]"
            if !initial.isEmpty { message += " or one of the init containers: [\(initial.joined(separator: " "))]" }
        }
        throw .badRequest(message)
    }

    // MARK: - Logs

    func log(_ resource: ServedResource) async throws(APIError) -> HTTPResponse {
        let pod = try pod(resource)
        let query = try logQuery()
        let container = try Self.container(of: pod, asked: request.query["container"] ?? "")
        guard let node = pod.spec["nodeName"].string, !node.isEmpty else { return .text("") }
        let target = "/containerLogs/\(pod.namespace)/\(pod.name)/\(container)"
        let response = await (try kubelet(node))(try kubeletRequest("GET", target, query))
        guard !(200...206).contains(response.status) else { return response }
        let text = await Self.text(of: response)
        switch response.status {
        case 400: throw .badRequest(text)
        case 500: throw .internalError(text)
        case 404:
            var error = APIError.notFound(GroupVersionResource("", "v1", "pods/log"), pod.name)
            error.message = "the server could not find the requested resource ( pods/log \(pod.name))"
            throw error
        default:
            throw APIError(code: response.status, reason: "InternalError", message: text)
        }
    }

    private func logQuery() throws(APIError) -> HTTPQuery {
        var query = HTTPQuery()
        var check = Validation()
        for item in request.query.items where !item.value.isEmpty {
            switch item.name {
            case "follow", "previous", "timestamps":
                query.add(item.name, APIServer.isTrue(item.value) ? "true" : "false")
            case "sinceTime":
                guard Timestamp(item.value) != nil else {
                    throw .badRequest("parsing time \(JSON.string(item.value).text) as RFC 3339 failed")
                }
                query.add(item.name, item.value)
            case "stream":
                check.oneOf(.string(item.value), ["All", "Stderr", "Stdout"], "stream")
                query.add(item.name, item.value)
            case "tailLines", "sinceSeconds", "limitBytes":
                guard let number = Int64(item.value) else {
                    throw .badRequest("strconv.ParseInt: parsing \(JSON.string(item.value).text): invalid syntax")
                }
                if item.name == "tailLines", number < 0 {
                    check.add(.invalid(item.name, .int(number), "must be greater than or equal to 0"))
                } else if item.name != "tailLines", number < 1 {
                    check.add(.invalid(item.name, .int(number), "must be greater than 0"))
                }
                query.add(item.name, String(number))
            default: break
            }
        }
        if query.contains("sinceTime"), query.contains("sinceSeconds") {
            check.add(.forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"))
        }
        if !check.errors.isEmpty {
            throw .invalid(GroupVersionKind(.core, "PodLogOptions"), info.name, check.errors)
        }
        return query
    }

    // MARK: - Streams

    func stream(_ resource: ServedResource, _ action: String) async throws(APIError) -> HTTPResponse {
        let pod = try pod(resource)
        let container = try Self.container(of: pod, asked: request.query["container"] ?? "")
        var check = Validation()
        let wants = ["stdin", "stdout", "stderr"].filter { APIServer.isTrue(request.query[$0]) }
        if wants.isEmpty {
            check.add(.required("", "at least one of stdin, stdout, stderr must be specified"))
        }
        if action == "exec", request.query.values("command").isEmpty { check.add(.required("command")) }
        if !check.errors.isEmpty {
            throw .invalid(
                GroupVersionKind(.core, action == "exec" ? "PodExecOptions" : "PodAttachOptions"), "", check.errors)
        }
        guard let node = pod.spec["nodeName"].string, !node.isEmpty else {
            throw .badRequest("pod \(pod.name) does not have a host assigned")
        }
        var options: JSON = ["container": .string(container)]
        if action == "exec" { options["command"] = .strings(request.query.values("command")) }
        try await connectAdmission(resource, options)
        // The kubelet's names of the same parameters.
        var query = HTTPQuery()
        for (name, theirs) in [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")]
        where APIServer.isTrue(request.query[name]) {
            query.add(theirs, "1")
        }
        for argument in request.query.values("command") where action == "exec" { query.add("command", argument) }
        let target = "/\(action)/\(pod.namespace)/\(pod.name)/\(container)"
        return await (try kubelet(node))(try kubeletRequest(request.method, target, query))
    }

    func portForward(_ resource: ServedResource) async throws(APIError) -> HTTPResponse {
        let pod = try pod(resource)
        guard let node = pod.spec["nodeName"].string, !node.isEmpty else {
            throw .badRequest("pod \(pod.name) does not have a host assigned")
        }
        try await connectAdmission(resource, [:])
        var query = HTTPQuery()
        for ports in request.query.values("ports") + request.query.values("port") {
            for port in ports.split(separator: ",") { query.add("port", String(port)) }
        }
        let target = "/portForward/\(pod.namespace)/\(pod.name)"
        return await (try kubelet(node))(try kubeletRequest(request.method, target, query))
    }

    private func kubeletRequest(_ method: String, _ path: String, _ query: HTTPQuery) throws(APIError) -> HTTPRequest {
        try proxied(method: method, path: path, rawQuery: query.encoded)
    }

    /// The client's request under another target, without the client's credentials.
    func proxied(method: String, path: String, rawQuery: String) throws(APIError) -> HTTPRequest {
        var headers = HTTPHeaderFields()
        for field in request.headers.fields {
            switch field.name.lowercased() {
            case "authorization", "content-length", "transfer-encoding": continue
            case let name where name.hasPrefix("impersonate-") || name.hasPrefix("x-remote-"): continue
            default: headers.add(field.name, field.value)
            }
        }
        do throws(HTTPTargetError) {
            var forwarded = try HTTPRequest(
                method: method,
                target: percentEncoded(path, keeping: isPathByte) + (rawQuery.isEmpty ? "" : "?" + rawQuery),
                headers: headers, body: request.body, remoteAddress: request.remoteAddress, isTLS: request.isTLS)
            forwarded.remotePort = request.remotePort
            return forwarded
        } catch {
            throw .badRequest(error.description)
        }
    }

    /// The begin of an answer's body, for an error's message.
    static func text(of response: HTTPResponse) async -> String {
        let limit = 4 << 10
        switch response.body {
        case .bytes(let bytes): return String(decoding: bytes.prefix(limit), as: UTF8.self)
        case .chunks(let chunks): return String(decoding: chunks.joined().prefix(limit), as: UTF8.self)
        case .pieces: return ""
        case .stream(_, let run):
            let collector = BodyCollector(limit: limit)
            try? await run(HTTPBodyWriter { try collector.add($0) })
            return String(decoding: collector.bytes, as: UTF8.self)
        case .upgrade: return ""
        }
    }
}
