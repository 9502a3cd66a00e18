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

    /// For a path that nobody serves: outside of the API's own groups there are no Status objects.
    static var pageNotFound: HTTPResponse {
        var response = HTTPResponse.text("404 page not found\n", status: 404)
        response.headers.add("X-Content-Type-Options", "nosniff")
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

    /// A list: the stored objects one after the other.
    static func list(_ page: ListPage, _ resource: ServedResource, _ format: OutputFormat) -> HTTPResponse {
        if format.encoding == .protobuf, let body = protobufList(page, resource) {
            return HTTPResponse(status: 200, headers: ["Content-Type": Schema.protobufType], body: body)
        }
        let head = listHead(page, kind: resource.gvk.kind + "List", version: resource.gvk.groupVersion.description)
        return pieces(head, page.items, format) { item, out in item.append(to: &out) }
    }

    /// What stands around the items, and each of them made when it is sent; put together only where it is to be shown
    /// otherwise.
    static func pieces(
        _ head: [UInt8], _ items: [EncodedObject], _ format: OutputFormat,
        _ append: @escaping @Sendable (EncodedObject, inout [UInt8]) throws -> Void
    ) -> HTTPResponse {
        let body = HTTPResponse.Body.pieces(items.count + 2) { i, out in
            if i == 0 {
                out.append(contentsOf: head)
            } else if i > items.count {
                out.append(ascii: "]}\n")
            } else {
                if i > 1 { out.append(UInt8(ascii: ",")) }
                try append(items[i - 1], &out)
            }
        }
        let response = HTTPResponse(status: 200, headers: ["Content-Type": jsonType], body: body)
        guard format.encoding != .json || format.pretty, let whole = try? response.wholeBody() else { return response }
        return .object(whole, format)
    }

    /// Of what is longer than this the items are encoded twice: once for the length, which stands in front, and again
    /// when they are sent.
    private static let heldProtobufItems = 500

    private static func protobufList(_ page: ListPage, _ resource: ServedResource) -> HTTPResponse.Body? {
        let (items, kind) = (page.items, resource.gvk)
        @Sendable func encode(_ i: Int) -> [UInt8]? {
            guard let object = try? items[i].decodeWithManagedFields() else { return nil }
            return Schema.shared.encodeProtobufItem(object.json, as: kind)
        }
        var held: [[UInt8]] = []
        var count = 0
        for i in items.indices {
            guard let piece = encode(i) else { return nil }
            count += piece.count
            if items.count <= heldProtobufItems { held.append(piece) }
        }
        guard
            let (head, tail) = Schema.shared.encodeProtobufListFrame(
                kind, listKind: kind.kind + "List", metadata: page.metadata, itemBytes: count)
        else { return nil }
        if held.count == items.count { return .chunks([head] + held + [tail]) }
        return .pieces(items.count + 2) { i, out in
            if i == 0 {
                out.append(contentsOf: head)
            } else if i > items.count {
                out.append(contentsOf: tail)
            } else if let piece = encode(i - 1) {
                out.append(contentsOf: piece)
            }
        }
    }

    static func listHead(_ page: ListPage, kind: String, version: String) -> [UInt8] {
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
