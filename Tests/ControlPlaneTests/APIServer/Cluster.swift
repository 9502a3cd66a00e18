import Codecs
import ControlPlane
import KubeAPI
import Store
import Synchronization
import Testing
import Transport

/// An API server over a store in memory, with a clock that the test moves.
struct Cluster {
    let clock = VirtualClock()
    let store: MemoryStore = {
        var options = StoreOptions()
        options.tag = ControllerTag.of
        return MemoryStore(options: options)
    }()
    let server: APIServer
    let client: LocalClient

    init(_ configure: (inout APIServerConfiguration) throws -> Void = { _ in }) async throws {
        var configuration = APIServerConfiguration()
        configuration.clock = clock
        try configure(&configuration)
        server = APIServer(store: store, configuration: configuration)
        client = server.client(as: UserInfo("tester", groups: ["system:masters"]))
        for name in ["default", "other"] {
            _ = try await client.create(.namespaces, KubeObject(GroupVersionKind(.core, "Namespace"), name: name))
            _ = try await client.create(
                .serviceAccounts,
                KubeObject(GroupVersionKind(.core, "ServiceAccount"), name: "default", namespace: name))
        }
    }

    func configMap(_ name: String, _ data: [String: String] = [:], labels: [String: String] = [:]) -> KubeObject {
        var object = KubeObject(GroupVersionKind(.core, "ConfigMap"), name: name, namespace: "default")
        if !labels.isEmpty { object.labels = labels }
        if !data.isEmpty { object.json["data"] = .map(data) }
        return object
    }

    func pod(_ name: String, namespace: String = "default") -> KubeObject {
        var object = KubeObject(GroupVersionKind(.core, "Pod"), name: name, namespace: namespace)
        object.json["spec"] = ["containers": [["name": "main", "image": "busybox"]]]
        return object
    }

    // MARK: - HTTP without sockets

    struct Answer {
        var code: Int
        var json: JSON
        var text: String
        var headers: HTTPHeaderFields
        var bytes: [UInt8] = []
        var message: String { json["message"].string ?? "" }
        var reason: String { json["reason"].string ?? "" }
    }

    func call(
        _ method: String, _ target: String, _ body: JSON? = nil, type: String = "application/json",
        headers: HTTPHeaderFields = [:]
    ) async throws -> Answer {
        try await send(method, target, body?.encode() ?? [], type: body == nil ? nil : type, headers: headers)
    }

    func send(
        _ method: String, _ target: String, _ body: [UInt8], type: String? = "application/json",
        headers: HTTPHeaderFields = [:]
    ) async throws -> Answer {
        var headers = headers
        if let type { headers["Content-Type"] = type }
        let request = try HTTPRequest(method: method, target: target, headers: headers, body: body)
        let response = await server.handler(request)
        var bytes: [UInt8] = []
        switch response.body {
        case .bytes, .chunks, .pieces: bytes = try response.wholeBody() ?? []
        case .stream(_, let run):
            let collected = Mutex<[UInt8]>([])
            try await run(HTTPBodyWriter { more in collected.withLock { $0 += more } })
            bytes = collected.withLock { $0 }
        case .upgrade: break
        }
        return Answer(
            code: response.status, json: (try? JSON.parse(bytes)) ?? .null,
            text: String(decoding: bytes, as: UTF8.self),
            headers: response.headers, bytes: bytes)
    }

    /// Opens a watch; the events come one by one.
    func watch(_ target: String, headers: HTTPHeaderFields = [:]) async throws -> HTTPWatch {
        let request = try HTTPRequest(method: "GET", target: target, headers: headers)
        let response = await server.handler(request)
        guard case .stream(_, let run) = response.body else {
            Issue.record("no stream but \(response.status)")
            throw CancellationError()
        }
        return HTTPWatch(run)
    }
}

/// The lines of a watch, as they come.
final class HTTPWatch: Sendable {
    private let task: Task<Void, any Error>
    private let lines: AsyncStream<JSON>
    private let iterator: Mutex<AsyncStream<JSON>.Iterator?>

    init(_ run: @escaping @Sendable (HTTPBodyWriter) async throws -> Void) {
        let (stream, continuation) = AsyncStream<JSON>.makeStream()
        lines = stream
        iterator = Mutex(nil)
        task = Task {
            defer { continuation.finish() }
            try await run(
                HTTPBodyWriter { bytes in
                    for line in bytes.split(separator: UInt8(ascii: "\n")) {
                        continuation.yield(try JSON.parse(Array(line)))
                    }
                })
        }
    }

    /// The next `count` events; fewer where the watch ends before.
    func events(_ count: Int) async -> [JSON] {
        var events: [JSON] = []
        guard count > 0 else { return [] }
        for await event in lines {
            events.append(event)
            if events.count == count { break }
        }
        return events
    }

    func cancel() { task.cancel() }
}
