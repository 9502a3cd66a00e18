internal import Codecs
internal import KubeAPI
internal import Transport

extension APIServer {
    private static let aggregatedType = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

    /// Discovery and OpenAPI; nil for any other path.
    func documents(_ request: HTTPRequest) throws(APIError) -> HTTPResponse? {
        let parts = request.path.split(separator: "/").map(String.init)
        switch (parts.first, parts.count) {
        case (nil, _): return try document(rootPaths, request)
        case ("api", 1), ("apis", 1): return try discovery(legacy: parts[0] == "api", request)
        case ("api", 2):
            return try document(resources(GroupVersion("", parts[1])), request)
        case ("apis", 2):
            guard let group = Discovery(configuration.schema).group(parts[1]) else { return .pageNotFound }
            return try document(group, request)
        case ("apis", 3) where !knows(group: parts[1]): return .pageNotFound
        case ("apis", 3): return try document(resources(GroupVersion(parts[1], parts[2])), request)
        case ("openapi", _): return try openAPI(Array(parts.dropFirst()), request)
        default: return nil
        }
    }

    private func resources(_ gv: GroupVersion) throws(APIError) -> JSON {
        guard let list = Discovery(configuration.schema).resourceList(gv) else { throw .pathNotFound() }
        return list
    }

    private func document(_ json: JSON, _ request: HTTPRequest) throws(APIError) -> HTTPResponse {
        .object(json.encode(), try OutputFormat(request).plain)
    }

    private var rootPaths: JSON {
        var paths: [String] = ["/.well-known/openid-configuration", "/api", "/apis"]
        for gv in Discovery(configuration.schema).groupVersions {
            if gv.group.isEmpty {
                paths.append("/api/\(gv.version)")
            } else {
                if !paths.contains("/apis/\(gv.group)") { paths.append("/apis/\(gv.group)") }
                paths.append("/apis/\(gv)")
            }
        }
        paths += [
            "/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/openid/v1/jwks", "/readyz", "/version",
        ]
        return ["paths": .strings(paths.sorted())]
    }

    // MARK: - Discovery

    private func discovery(legacy: Bool, _ request: HTTPRequest) throws(APIError) -> HTTPResponse {
        let discovery = Discovery(configuration.schema)
        guard Self.wantsAggregated(request) else {
            let address = request.headers["Host"] ?? "127.0.0.1:\(configuration.advertisePort)"
            return try document(
                legacy ? discovery.apiVersions(serverAddress: address) : discovery.groupList(), request)
        }
        let bytes = discovery.aggregated(legacy: legacy).encode()
        let tag = "\"\(Self.hash(bytes))\""
        if request.headers.listMembers("If-None-Match").contains(tag) {
            return HTTPResponse(status: 304, headers: ["ETag": tag])
        }
        return HTTPResponse(
            status: 200,
            headers: [
                "Content-Type": Self.aggregatedType, "ETag": tag, "Vary": "Accept", "Cache-Control": "public",
            ], body: .bytes(bytes))
    }

    private static func wantsAggregated(_ request: HTTPRequest) -> Bool {
        request.headers.listMembers("Accept").contains { member in
            let type = MediaType(member)
            return type.name == "application/json" && type.parameters["as"] == "APIGroupDiscoveryList"
                && type.parameters["g"] == "apidiscovery.k8s.io" && type.parameters["v"] == "v2"
        }
    }

    /// FNV-1a, twice over for 128 bits: an ETag guards against nothing but stale copies.
    private static func hash(_ bytes: [UInt8]) -> String {
        var a: UInt64 = 0xCBF2_9CE4_8422_2325
        var b: UInt64 = 0x8422_2325_CBF2_9CE4
        for byte in bytes {
            a = (a ^ UInt64(byte)) &* 0x100_0000_01B3
            b = (b ^ UInt64(byte &+ 1)) &* 0x100_0000_01B3
        }
        return String(a, radix: 16) + String(b, radix: 16)
    }

    // MARK: - OpenAPI

    private func openAPI(_ parts: [String], _ request: HTTPRequest) throws(APIError) -> HTTPResponse {
        let api = OpenAPI(configuration.schema, version: configuration.version.gitVersion)
        switch parts.first {
        case "v2" where parts.count == 1: return try openAPIDocument(api, .v2, api.hash(), request)
        case "v3" where parts.count == 1: return try document(api.index(), request)
        case "v3" where parts.count == 3 && parts[1] == "api":
            let gv = GroupVersion("", parts[2])
            return try openAPIDocument(api, .v3(gv), api.hash(gv), request)
        case "v3" where parts.count == 4 && parts[1] == "apis":
            let gv = GroupVersion(parts[2], parts[3])
            return try openAPIDocument(api, .v3(gv), api.hash(gv), request)
        default: throw .pathNotFound()
        }
    }

    private func openAPIDocument(
        _ api: OpenAPI, _ form: OpenAPI.Form, _ hash: String, _ request: HTTPRequest
    ) throws(APIError) -> HTTPResponse {
        let encoding = try Self.openAPIEncoding(request, form)
        guard let chunks = api.document(form, as: encoding) else { throw .pathNotFound() }
        // Of the encoding too: a strong validator is of the bytes.
        let tag = encoding == .protobuf ? "\"\(hash)-P\"" : "\"\(hash)\""
        if request.headers.listMembers("If-None-Match").contains(tag) {
            return HTTPResponse(status: 304, headers: ["ETag": tag, "Vary": "Accept"])
        }
        let type = encoding == .protobuf ? Self.openAPIProtobufType : "application/json"
        var headers: HTTPHeaderFields = ["Content-Type": type, "ETag": tag, "Vary": "Accept"]
        // A request that names the hash may keep the answer for good.
        headers["Cache-Control"] = request.query["hash"] == hash ? "public, immutable" : "no-cache, private"
        return HTTPResponse(
            status: 200, headers: headers,
            body: .stream(length: nil) { writer in
                for chunk in chunks { try await writer.write(chunk) }
            })
    }

    private static let openAPIProtobufType = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    /// What Go's clients still ask for; not a media type, for its "@".
    private static let openAPIProtobufOldType = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"

    /// The first that `Accept` names and this server has; protobuf is there for OpenAPI 2 only.
    private static func openAPIEncoding(
        _ request: HTTPRequest, _ form: OpenAPI.Form
    ) throws(APIError) -> OpenAPI.Encoding {
        let isV2 = if case .v2 = form { true } else { false }
        let types = request.headers.listMembers("Accept").map { MediaType($0).name }
        guard !types.isEmpty else { return .json }
        for type in types {
            switch type {
            case "application/json", "*/*", "application/*": return .json
            case openAPIProtobufType where isV2, openAPIProtobufOldType where isV2: return .protobuf
            default: continue
            }
        }
        throw .notAcceptable(isV2 ? ["application/json", openAPIProtobufType] : ["application/json"])
    }
}
