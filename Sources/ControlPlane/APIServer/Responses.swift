internal import Codecs
internal import KubeAPI
internal import Transport

/// Answers in the form that the client asked for.
extension HTTPResponse {
    private static let jsonType = "application/json"

    /// An error in the form that the request accepts.
    static func status(_ error: APIError, for request: HTTPRequest) -> HTTPResponse {
        guard request.headers["Accept"]?.contains(Schema.protobufType) == true,
            (try? OutputFormat(request))?.encoding == .protobuf
        else { return .status(error) }
        var response = HTTPResponse.object(error.json.encode(), status: error.code, protobufFormat)
        if error.retryAfterSeconds > 0 { response.headers["Retry-After"] = String(error.retryAfterSeconds) }
        return response
    }

    private static let protobufFormat: OutputFormat = {
        var format = OutputFormat.json
        format.encoding = .protobuf
        return format
    }()

    static func status(_ error: APIError, pretty: Bool = false) -> HTTPResponse {
        let json = error.json
        var response = HTTPResponse(
            status: error.code, contentType: jsonType,
            pretty ? Array((json.encodePretty() + "\n").utf8) : json.encode() + [UInt8(ascii: "\n")])
        if error.retryAfterSeconds > 0 { response.headers["Retry-After"] = String(error.retryAfterSeconds) }
        return response
    }

    /// An encoded object.
    static func object(_ bytes: [UInt8], status: Int = 200, _ format: OutputFormat) -> HTTPResponse {
        switch format.encoding {
        case .json:
            guard format.pretty, let json = try? JSON.parse(bytes) else {
                return HTTPResponse(status: status, contentType: jsonType, bytes)
            }
            return HTTPResponse(status: status, contentType: jsonType, Array((json.encodePretty() + "\n").utf8))
        case .yaml:
            let json = (try? JSON.parse(bytes)) ?? .null
            return HTTPResponse(status: status, contentType: "application/yaml", YAML.encode(json))
        case .protobuf:
            // A kind that has no protobuf form is sent as JSON.
            guard let json = try? JSON.parse(bytes), let encoded = Schema.shared.encodeProtobuf(json) else {
                return HTTPResponse(status: status, contentType: jsonType, bytes)
            }
            return HTTPResponse(status: status, contentType: Schema.protobufType, encoded)
        }
    }

    /// A list: the stored objects one after the other, not copied.
    static func list(_ page: ListPage, _ resource: ServedResource, _ format: OutputFormat) -> HTTPResponse {
        if format.encoding == .protobuf, let pieces = protobufList(page, resource) {
            return HTTPResponse(
                status: 200, headers: ["Content-Type": Schema.protobufType], body: .chunks(pieces))
        }
        var chunks: [[UInt8]] = []
        chunks.reserveCapacity(page.items.count * 2 + 2)
        chunks.append(listHead(page, kind: resource.gvk.kind + "List", version: resource.gvk.groupVersion.description))
        for (i, item) in page.items.enumerated() {
            if i > 0 { chunks.append(comma) }
            chunks.append(item.bytes)
        }
        chunks.append(listEnd)
        guard format.encoding == .json, !format.pretty else { return .object(Array(chunks.joined()), format) }
        return HTTPResponse(status: 200, headers: ["Content-Type": jsonType], body: .chunks(chunks))
    }

    private static func protobufList(_ page: ListPage, _ resource: ServedResource) -> [[UInt8]]? {
        var items: [JSON] = []
        items.reserveCapacity(page.items.count)
        for item in page.items {
            guard let object = try? item.decodeWithManagedFields() else { return nil }
            items.append(object.json)
        }
        return Schema.shared.encodeProtobufList(
            resource.gvk, listKind: resource.gvk.kind + "List", metadata: page.metadata, items: items)
    }

    private static let comma: [UInt8] = [UInt8(ascii: ",")]
    private static let listEnd: [UInt8] = Array("]}\n".utf8)

    private static func listHead(_ page: ListPage, kind: String, version: String) -> [UInt8] {
        var out: [UInt8] = []
        out.append(ascii: "{\"kind\":")
        out.append(jsonString: kind)
        out.append(ascii: ",\"apiVersion\":")
        out.append(jsonString: version)
        out.append(ascii: ",\"metadata\":")
        page.metadata.encode(into: &out)
        out.append(ascii: ",\"items\":[")
        return out
    }
}

extension ListPage {
    /// ListMeta.
    var metadata: JSON {
        var metadata: JSON = ["resourceVersion": .string(String(resourceVersion))]
        if !continueToken.isEmpty { metadata["continue"] = .string(continueToken) }
        if let remaining, remaining > 0 { metadata["remainingItemCount"] = .int(remaining) }
        return metadata
    }
}
