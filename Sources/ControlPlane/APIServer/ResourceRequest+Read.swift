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
            return .object(try table.table(page.items, metadata: page.metadata).encode(), format)
        case .partial: return .object(try PartialMetadata.list(page).encode(), format)
        }
    }

    // MARK: - Watch

    /// Watches end by themselves after half an hour to an hour, as upstream's do, so that load spreads again.
    private static let defaultTimeout: ClosedRange<Int64> = 1800...3600

    func watch(_ resource: ServedResource) throws(APIError) -> HTTPResponse {
        let format = try OutputFormat(request)
        guard format.encoding == .json else { throw .notAcceptable(["application/json"]) }
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
            return Self.stream([WatchHub.frame(type: "ERROR", error.json.encode())])
        }
        let stream: WatchBody
        switch format.shape {
        case .object: stream = WatchBody(watch: watch, renderer: nil, partial: false)
        case .table:
            let renderer = try TableRenderer(registry: registry, resource: resource, request: request)
            stream = WatchBody(watch: watch, renderer: renderer, partial: false)
        case .partial: stream = WatchBody(watch: watch, renderer: nil, partial: true)
        }
        return HTTPResponse(
            status: 200, headers: ["Content-Type": "application/json"],
            body: .stream(length: nil) { writer in try await stream.run(writer) })
    }

    private func checkInitialEvents(_ parameters: WatchParameters) throws(APIError) {
        let kind = GroupVersionKind("meta.k8s.io", "v1", "ListOptions")
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

    private static func stream(_ frames: [[UInt8]]) -> HTTPResponse {
        HTTPResponse(
            status: 200, headers: ["Content-Type": "application/json"],
            body: .stream(length: nil) { writer in for frame in frames { try await writer.write(frame) } })
    }
}

/// Writes a watch as frames until it ends or the client goes.
struct WatchBody: Sendable {
    let watch: ObjectWatch
    let renderer: TableRenderer?
    let partial: Bool
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
                try await writer.write(WatchHub.frame(type: "ERROR", error.json.encode()))
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
            return WatchHub.frame(event.kind, PartialMetadata.encode(try event.object.decode()).encode())
        }
        if event.kind == .bookmark { return WatchHub.frame(.bookmark, event.object.bytes) }
        return watch.registry.hub.frame(event.kind, event.object, of: watch.resource)
    }
}
