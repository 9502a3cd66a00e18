internal import Codecs
internal import KubeAPI
internal import Transport

extension ResourceRequest {
    func list(_ resource: ServedResource) throws(APIError) -> HTTPResponse {
        let format = try OutputFormat(request)
        let page = try registry.list(resource, namespace: info.namespace, try listParameters())
        return try respond(page, resource, format)
    }

    func respond(_ page: ListPage, _ resource: ServedResource, _ format: OutputFormat) throws(APIError) -> HTTPResponse
    {
        switch format.shape {
        case .object: return .list(page, resource, format)
        case .table:
            let table = try TableRenderer(registry: registry, resource: resource, request: request)
            return .pieces(try table.head(metadata: page.metadata), page.items, format) { item, out in
                try table.row(item).encode(into: &out)
            }
        case .partial:
            let head = HTTPResponse.listHead(page, kind: "PartialObjectMetadataList", version: "meta.k8s.io/v1")
            return .pieces(head, page.items, format) { item, out in
                PartialMetadata.encode(try item.decodeWithManagedFields()).encode(into: &out)
            }
        }
    }

    // MARK: - Watch

    /// Watches end by themselves after half an hour to an hour, as upstream's do, so that load spreads again.
    private static let defaultTimeout: ClosedRange<Int64> = 1800...3600

    func watch(_ resource: ServedResource) throws(APIError) -> HTTPResponse {
        let format = try OutputFormat(request)
        guard format.encoding != .yaml else {
            throw .notAcceptable(["application/json;stream=watch", Schema.protobufType + ";stream=watch"])
        }
        let frames = WatchFrames(isProtobuf: format.encoding == .protobuf)
        var parameters = WatchParameters()
        parameters.list = try listParameters()
        if !info.name.isEmpty { parameters.list.fields.terms.append(.init("metadata.name", info.name)) }
        parameters.bookmarks = APIServer.isTrue(request.query["allowWatchBookmarks"])
        if let text = request.query["sendInitialEvents"], !text.isEmpty {
            parameters.sendInitialEvents = APIServer.isTrue(text)
        }
        try checkInitialEvents(parameters)
        var timeout = Int64.random(in: Self.defaultTimeout)
        if let text = request.query["timeoutSeconds"], !text.isEmpty {
            guard let seconds = Int64(text) else {
                throw .badRequest("strconv.ParseInt: parsing \(JSON.string(text).text): invalid syntax")
            }
            if seconds > 0 { timeout = seconds }
        }
        parameters.timeoutSeconds = timeout
        let watch: ObjectWatch
        do throws(APIError) {
            watch = try registry.watch(resource, namespace: info.namespace, parameters)
        } catch {
            // What is too old is told in the stream, where clients look for it.
            guard error.isExpired else { throw error }
            return frames.response { writer in try await writer.write(frames.error(error)) }
        }
        let stream: WatchBody
        switch format.shape {
        case .object: stream = WatchBody(watch: watch, renderer: nil, partial: false, frames: frames)
        case .table:
            let renderer = try TableRenderer(registry: registry, resource: resource, request: request)
            stream = WatchBody(watch: watch, renderer: renderer, partial: false, frames: frames)
        case .partial: stream = WatchBody(watch: watch, renderer: nil, partial: true, frames: frames)
        }
        return frames.response { writer in try await stream.run(writer) }
    }

    private func checkInitialEvents(_ parameters: WatchParameters) throws(APIError) {
        let kind = GroupVersionKind("meta.k8s.io", "v1", "ListOptions")
        if parameters.list.match != nil, parameters.list.continueToken != nil {
            throw .invalid(
                kind, "",
                [.forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided")])
        }
        if parameters.sendInitialEvents != nil {
            guard parameters.list.match == .notOlderThan else {
                throw .invalid(
                    kind, "",
                    [
                        .forbidden(
                            "resourceVersionMatch",
                            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
                    ])
            }
        } else if parameters.list.match != nil {
            throw .invalid(
                kind, "",
                [
                    .forbidden(
                        "resourceVersionMatch",
                        "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
                ])
        }
    }
}

/// Writes a watch as frames until it ends or the client goes.
struct WatchBody: Sendable {
    let watch: ObjectWatch
    let renderer: TableRenderer?
    let partial: Bool
    let frames: WatchFrames
    /// Small frames of one batch leave together.
    private static let gather = 32 << 10

    func run(_ writer: HTTPBodyWriter) async throws {
        defer { watch.close() }
        var isFirst = true
        while true {
            let batch: [WatchEvent]
            do throws(APIError) {
                guard let events = try await watch.nextBatch() else { return }
                batch = events
            } catch {
                try await writer.write(frames.error(error))
                return
            }
            if batch.count == 1 {
                try await writer.write(try frame(batch[0], first: isFirst))
                isFirst = false
                continue
            }
            var gathered: [UInt8] = []
            for event in batch {
                gathered.append(contentsOf: try frame(event, first: isFirst))
                isFirst = false
                if gathered.count >= Self.gather {
                    try await writer.write(gathered)
                    gathered.removeAll(keepingCapacity: true)
                }
            }
            if !gathered.isEmpty { try await writer.write(gathered) }
        }
    }

    private func frame(_ event: WatchEvent, first: Bool) throws(APIError) -> [UInt8] {
        if let renderer {
            let metadata: JSON = ["resourceVersion": .string(String(event.object.resourceVersion))]
            let rows = event.kind == .bookmark ? [] : [event.object]
            let table = try renderer.table(rows, metadata: metadata, columns: first)
            return WatchHub.frame(event.kind, table.encode())
        }
        if partial {
            let object = PartialMetadata.encode(try event.object.decodeWithManagedFields())
            return frames.frame(event.kind.rawValue, object.encode())
        }
        if event.kind == .bookmark { return frames.frame(event.kind.rawValue, event.object.bytes) }
        return watch.registry.hub.frame(event.kind, event.object, of: watch.resource, frames)
    }
}

/// How the events of a watch lie in its stream: a line of JSON each, or protobuf with a length before.
struct WatchFrames: Sendable {
    let isProtobuf: Bool

    /// - Parameter object: its JSON.
    func frame(_ type: String, _ object: [UInt8]) -> [UInt8] {
        guard isProtobuf, let json = try? JSON.parse(object), let encoded = Schema.shared.encodeProtobuf(json) else {
            return WatchHub.frame(type: type, object)
        }
        return Schema.watchFrame(type: type, encoded)
    }

    func error(_ error: APIError) -> [UInt8] { frame("ERROR", error.json.encode()) }

    func response(_ run: @escaping @Sendable (HTTPBodyWriter) async throws -> Void) -> HTTPResponse {
        HTTPResponse(
            status: 200,
            headers: ["Content-Type": isProtobuf ? Schema.protobufType + ";stream=watch" : "application/json"],
            body: .stream(length: nil, run))
    }
}
