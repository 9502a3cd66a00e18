import Codecs
import KubeAPI

/// The API of a server on another machine: HTTPS with a client certificate.
///
///     let client = RemoteClient(
///         http: http, server: try HTTPURL("https://127.0.0.1:6444"), tls: context, userAgent: "k3s/v1.36")
///     let node = try await client.get(.nodes, namespace: "", name: "node-2")
///
/// A connection that is lost is an `APIError` (503, "ServiceUnavailable") of the call, and the end of a watch: when to try
/// again is the caller's to decide. Lists are fetched in pages, so that what waits to be taken apart stays small; managed
/// fields are cut out as they arrive, which is half of many an object and of use to nobody here.
package struct RemoteClient: KubeClient {
    let http: HTTPClient
    let server: HTTPURL
    let tls: TLSClientContext?
    private let headers: HTTPHeaderFields

    /// Objects of a page.
    private static let pageSize = 250
    /// Bytes of one answer (a page, an object).
    static let answerLimit = 64 << 20
    /// Seconds for the header of an answer, and between two pieces of it.
    private let patience: Double

    /// - Parameters:
    ///   - server: address and port; its path is not used.
    ///   - userAgent: `<program>/<version>`: the server takes the program as the name of who owns what is written.
    package init(
        http: HTTPClient, server: HTTPURL, tls: TLSClientContext?, userAgent: String, patience: Double = 30
    ) {
        (self.http, self.server, self.tls, self.patience) = (http, server, tls, patience)
        headers = ["Accept": "application/json", "User-Agent": userAgent]
    }

    // MARK: - KubeClient

    package func get(
        _ resource: GroupVersionResource, namespace: String, name: String
    ) async throws(APIError) -> KubeObject {
        try await object("GET", Self.path(resource, namespace, name))
    }

    package func list(
        _ resource: GroupVersionResource, namespace: String?, options: ListOptions
    ) async throws(APIError) -> ObjectList {
        var attempts = 0
        while true {
            do throws(APIError) {
                return try await pages(resource, namespace, options)
            } catch {
                // The pages that were to come belong to a revision that is gone meanwhile: from the beginning.
                attempts += 1
                guard error.isExpired, attempts < 3 else { throw error }
            }
        }
    }

    private func pages(
        _ resource: GroupVersionResource, _ namespace: String?, _ options: ListOptions
    ) async throws(APIError) -> ObjectList {
        var result = ObjectList(items: [], resourceVersion: 0)
        var token = ""
        repeat {
            var query = Self.query(options)
            query.add("limit", String(Self.pageSize))
            if !token.isEmpty {
                query.add("continue", token)
            } else if let revision = options.resourceVersion {
                query.add("resourceVersion", String(revision))
            }
            let page = try await send("GET", Self.path(resource, namespace ?? ""), query: query)
            guard let ranges = RawJSON.elements(of: ["items"], in: page) else {
                throw .internalError("the list of \(resource.groupResource) that the server sent cannot be read")
            }
            result.items.reserveCapacity(result.items.count + ranges.count)
            for range in ranges { result.items.append(Self.encoded(page, range)) }
            result.resourceVersion =
                RawJSON.text(of: ["metadata", "resourceVersion"], in: page).flatMap { Int64($0) } ?? 0
            token = RawJSON.text(of: ["metadata", "continue"], in: page) ?? ""
        } while !token.isEmpty
        return result
    }

    package func watch(
        _ resource: GroupVersionResource, namespace: String?, options: ListOptions
    ) async throws(APIError) -> any WatchStream {
        var query = Self.query(options)
        query.add("watch", "true")
        query.add("allowWatchBookmarks", "true")
        if let revision = options.resourceVersion { query.add("resourceVersion", String(revision)) }
        var request = request("GET", Self.path(resource, namespace ?? ""), query)
        // A bookmark comes each minute: longer silence is a connection that nobody has told us is gone.
        request.bodyPauseTimeout = 150
        let response = try await execute(request)
        guard response.status == 200 else { throw await failure(response) }
        return RemoteWatch(response.body)
    }

    package func create(
        _ resource: GroupVersionResource, _ object: KubeObject, subresource: String?, name: String?
    ) async throws(APIError) -> KubeObject {
        let isSub = subresource.map { !$0.isEmpty } ?? false
        let path = Self.path(
            resource, object.namespace, isSub ? name ?? object.name : nil, subresource: isSub ? subresource : nil)
        return try await self.object("POST", path, body: object.json.encode())
    }

    package func update(
        _ resource: GroupVersionResource, _ object: KubeObject, subresource: String?
    ) async throws(APIError) -> KubeObject {
        let path = Self.path(resource, object.namespace, object.name, subresource: subresource)
        return try await self.object("PUT", path, body: object.json.encode())
    }

    package func patch(
        _ resource: GroupVersionResource, namespace: String, name: String, _ patch: JSON, type: PatchType,
        subresource: String?
    ) async throws(APIError) -> KubeObject {
        var query = HTTPQuery()
        if type == .apply {
            query.add("fieldManager", headers["User-Agent"].map(Self.manager) ?? "k3s")
            query.add("force", "true")
        }
        let path = Self.path(resource, namespace, name, subresource: subresource)
        return try await object("PATCH", path, query: query, body: patch.encode(), type: type.rawValue)
    }

    @discardableResult
    package func delete(
        _ resource: GroupVersionResource, namespace: String, name: String, options: DeleteOptions
    ) async throws(APIError) -> KubeObject {
        var body: JSON = ["kind": "DeleteOptions", "apiVersion": "v1"]
        if let seconds = options.gracePeriodSeconds { body["gracePeriodSeconds"] = .int(seconds) }
        if let uid = options.uid { body["preconditions"]["uid"] = .string(uid) }
        if let revision = options.resourceVersion {
            body["preconditions"]["resourceVersion"] = .string(String(revision))
        }
        if let propagation = options.propagation { body["propagationPolicy"] = .string(propagation.rawValue) }
        let answer = try await object("DELETE", Self.path(resource, namespace, name), body: body.encode())
        guard answer.kind == "Status" else { return answer }
        // Gone at once: the server says which object that was.
        var last = KubeObject(["metadata": ["name": .string(name)]])
        last.namespace = namespace
        if let uid = answer["details"]["uid"].string { last.metadata["uid"] = .string(uid) }
        return last
    }

    // MARK: - Requests

    /// `/api/v1/namespaces/x/pods/y/status`; an empty namespace is left out.
    static func path(
        _ resource: GroupVersionResource, _ namespace: String, _ name: String? = nil, subresource: String? = nil
    ) -> String {
        func escaped(_ text: String) -> String { percentEncoded(text, keeping: isUnreserved) }
        var path = resource.group.isEmpty ? "/api/" : "/apis/\(escaped(resource.group))/"
        path += escaped(resource.version)
        if !namespace.isEmpty { path += "/namespaces/" + escaped(namespace) }
        path += "/" + escaped(resource.resource)
        if let name { path += "/" + escaped(name) }
        if let subresource, !subresource.isEmpty { path += "/" + subresource }
        return path
    }

    private static func query(_ options: ListOptions) -> HTTPQuery {
        var query = HTTPQuery()
        if !options.labelSelector.isEverything { query.add("labelSelector", options.labelSelector.text) }
        if !options.fieldSelector.terms.isEmpty { query.add("fieldSelector", options.fieldSelector.text) }
        return query
    }

    private static func manager(_ userAgent: String) -> String { String(userAgent.prefix { $0 != "/" }) }

    /// The bytes of one object, without its managed fields.
    static func encoded(_ text: [UInt8], _ range: Range<Int>) -> EncodedObject {
        let metadata = RawJSON.range(of: ["metadata"], in: text, from: range.lowerBound)
        var bytes: [UInt8]
        if let metadata, let managed = RawJSON.range(of: ["managedFields"], in: text, from: metadata.lowerBound) {
            // With its key and the comma before it, or behind it if it comes first.
            var from = managed.lowerBound - "\"managedFields\":".utf8.count
            var to = managed.upperBound
            if text[from - 1] == UInt8(ascii: ",") {
                from -= 1
            } else if text[to] == UInt8(ascii: ",") {
                to += 1
            }
            bytes = []
            bytes.reserveCapacity(range.count - (to - from))
            bytes.append(contentsOf: text[range.lowerBound..<from])
            bytes.append(contentsOf: text[to..<range.upperBound])
        } else {
            bytes = Array(text[range])
        }
        let revision = RawJSON.text(of: ["metadata", "resourceVersion"], in: bytes).flatMap { Int64($0) } ?? 0
        return EncodedObject(bytes: bytes, resourceVersion: revision)
    }

    private func object(
        _ method: String, _ path: String, query: HTTPQuery = HTTPQuery(), body: [UInt8] = [],
        type: String = "application/json"
    ) async throws(APIError) -> KubeObject {
        let answer = try await send(method, path, query: query, body: body, type: type)
        var object = try EncodedObject(bytes: answer, resourceVersion: 0).decode()
        object.metadata["managedFields"] = .null
        return object
    }

    private func send(
        _ method: String, _ path: String, query: HTTPQuery = HTTPQuery(), body: [UInt8] = [],
        type: String = "application/json"
    ) async throws(APIError) -> [UInt8] {
        var request = request(method, path, query)
        if !body.isEmpty {
            request.body = body
            request.headers["Content-Type"] = type
        }
        request.bodyPauseTimeout = patience
        let response = try await execute(request)
        guard (200...299).contains(response.status) else { throw await failure(response) }
        do {
            return try await response.body.collect(upTo: Self.answerLimit)
        } catch {
            throw unreachable(request, error)
        }
    }

    private func request(_ method: String, _ path: String, _ query: HTTPQuery) -> HTTPClientRequest {
        var url = server
        url.target = query.isEmpty ? path : path + "?" + query.encoded
        var request = HTTPClientRequest(method, url, headers: headers)
        request.tls = tls
        request.connectTimeout = 10
        request.headerTimeout = patience
        return request
    }

    private func execute(_ request: HTTPClientRequest) async throws(APIError) -> HTTPClientResponse {
        do { return try await http.execute(request) } catch { throw unreachable(request, error) }
    }

    private func unreachable(_ request: HTTPClientRequest, _ error: any Error) -> APIError {
        let verb = request.method.prefix(1) + request.method.dropFirst().lowercased()
        return .unavailable("\(verb) \"\(request.url)\": \(error)")
    }

    /// What the server says is wrong: a Status, or a text of something in between.
    private func failure(_ response: HTTPClientResponse) async -> APIError {
        let bytes = (try? await response.body.collect(upTo: 1 << 20)) ?? []
        if let json = try? JSON.parse(bytes), json["kind"].string == "Status" {
            var error = APIError(status: json, code: response.status)
            if error.retryAfterSeconds == 0 {
                error.retryAfterSeconds = response.headers["Retry-After"].flatMap { Int64($0) } ?? 0
            }
            return error
        }
        let reasons = [
            401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict", 410: "Gone",
            429: "TooManyRequests", 503: "ServiceUnavailable", 504: "Timeout",
        ]
        var text = String(decoding: bytes.prefix(1024), as: UTF8.self)
        while text.last?.isWhitespace == true { text.removeLast() }
        return APIError(
            code: response.status, reason: reasons[response.status] ?? "InternalError",
            message: text.isEmpty ? "the server answered with status \(response.status)" : text)
    }
}
