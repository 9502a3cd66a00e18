import Containers
import Synchronization

/// Registries in memory, reached by host name. Tests add content and, by path, behaviour.
final class FakeRegistry: RegistryTransport {
    struct Answer {
        var status = 200
        var headers: [(name: String, value: String)] = []
        var body: [UInt8] = []
        /// Breaks the connection after so many bytes of the body.
        var breakAfter: Int?
        /// Sends nothing more after so many bytes, without end.
        var stallAfter: Int?
        var failure: RegistryTransportError?
        var delay: Duration?

        init(_ status: Int = 200, _ headers: [(name: String, value: String)] = [], _ body: [UInt8] = []) {
            (self.status, self.headers, self.body) = (status, headers, body)
        }
        init(failure: RegistryTransportError) { self.failure = failure }
    }
    typealias Handler = @Sendable (RegistryRequest, _ attempt: Int) -> Answer?

    private struct State {
        var content: [String: Answer] = [:]
        var handlers: [(match: String, handler: Handler)] = []
        var attempts: [String: Int] = [:]
        var requests: [RegistryRequest] = []
        var active = 0
        var mostActive = 0
    }
    private let state = Mutex(State())

    /// Adds an image under host, repository and tag, with its blobs.
    func add(_ image: TestImage, _ host: String, _ repository: String, tag: String) {
        put(host, "/v2/\(repository)/manifests/\(tag)", manifest(image.manifest))
        put(host, "/v2/\(repository)/manifests/\(image.digest)", manifest(image.manifest))
        put(host, "/v2/\(repository)/blobs/\(image.id)", Answer(200, [], image.document))
        for blob in image.blobs {
            put(host, "/v2/\(repository)/blobs/\(TestSHA256.digest(blob))", Answer(200, [], blob))
        }
    }

    func manifest(_ bytes: [UInt8], type: String = "application/vnd.oci.image.manifest.v1+json") -> Answer {
        Answer(200, [("Content-Type", type), ("Docker-Content-Digest", TestSHA256.digest(bytes))], bytes)
    }

    func put(_ host: String, _ path: String, _ answer: Answer) {
        state.withLock { $0.content["\(host) \(path)"] = answer }
    }

    /// Asked before the content, for URLs that contain `match`; the attempt counts such requests from 1.
    func on(_ match: String, _ handler: @escaping Handler) {
        state.withLock { $0.handlers.append((match, handler)) }
    }

    var requests: [RegistryRequest] { state.withLock { $0.requests } }
    var mostActive: Int { state.withLock { $0.mostActive } }
    func count(_ match: String, method: String = "GET") -> Int {
        requests.filter { $0.method == method && $0.url.description.contains(match) }.count
    }

    func send(_ request: RegistryRequest) async throws(RegistryTransportError) -> RegistryResponse {
        let answer = state.withLock { state -> Answer in
            state.requests.append(request)
            let url = request.url.description
            for (match, handler) in state.handlers where url.contains(match) {
                state.attempts[match, default: 0] += 1
                if let answer = handler(request, state.attempts[match] ?? 1) { return answer }
            }
            return state.content["\(request.url.hostAndPort) \(request.url.path)"] ?? Answer(404)
        }
        if let delay = answer.delay { try? await Task.sleep(for: delay) }
        if let failure = answer.failure { throw failure }
        return response(to: request, answer)
    }

    private func response(to request: RegistryRequest, _ answer: Answer) -> RegistryResponse {
        var body = answer.body
        var status = answer.status
        var headers = answer.headers
        if status == 200, let range = request.headers.first(where: { $0.name == "Range" })?.value,
            let start = Int(range.dropFirst("bytes=".count).dropLast()), start < body.count
        {
            status = 206
            headers.append(("Content-Range", "bytes \(start)-\(body.count - 1)/\(body.count)"))
            body = Array(body[start...])
        }
        if request.method == "HEAD" { body = [] }
        state.withLock { state in
            state.active += 1
            state.mostActive = max(state.mostActive, state.active)
        }
        let done: @Sendable () -> Void = { [self] in state.withLock { $0.active -= 1 } }
        return RegistryResponse(
            status: status, headers: headers,
            body: FakeBody(body, breakAfter: answer.breakAfter, stallAfter: answer.stallAfter, done: done))
    }
}

final class FakeBody: RegistryBody {
    private struct State {
        var position = 0
        var cancelled = false
        var finished = false
    }
    private let bytes: [UInt8]
    private let breakAfter: Int?
    private let stallAfter: Int?
    private let done: @Sendable () -> Void
    private let state = Mutex(State())

    init(_ bytes: [UInt8], breakAfter: Int?, stallAfter: Int?, done: @escaping @Sendable () -> Void) {
        (self.bytes, self.breakAfter, self.stallAfter, self.done) = (bytes, breakAfter, stallAfter, done)
    }

    func next() async throws(RegistryTransportError) -> [UInt8]? {
        await Task.yield()
        let position = state.withLock { $0.position }
        if let stallAfter, position >= stallAfter { try? await Task.sleep(for: .seconds(600)) }
        let (chunk, broken) = state.withLock { state -> ([UInt8]?, Bool) in
            if state.cancelled { return (nil, true) }
            if let breakAfter, state.position >= breakAfter { return (nil, true) }
            let end = min(bytes.count, state.position + 1000, breakAfter ?? .max, stallAfter.map { max($0, 1) } ?? .max)
            guard state.position < end else { return (nil, false) }
            defer { state.position = end }
            return (Array(bytes[state.position..<end]), false)
        }
        if broken {
            finish()
            throw RegistryTransportError(.closed, "connection reset by peer")
        }
        if chunk == nil { finish() }
        return chunk
    }

    func cancel() async {
        state.withLock { $0.cancelled = true }
        finish()
    }

    private func finish() {
        let first = state.withLock { state in
            defer { state.finished = true }
            return !state.finished
        }
        if first { done() }
    }
}
