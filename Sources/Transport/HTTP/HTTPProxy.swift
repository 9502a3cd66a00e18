/// Passes a request on to another HTTP server: API server to kubelet, API server to an aggregated API, service and pod
/// proxy. Upgraded connections (exec, attach, port-forward, WebSockets) are relayed byte for byte.
package enum HTTPProxy {
    /// Fields that belong to one hop (RFC 9110 7.6.1).
    private static let hopByHop = [
        "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "TE", "Trailer",
        "Transfer-Encoding", "Upgrade", "Content-Length", "Expect",
    ]

    /// The fields to pass on; `Connection`, `Upgrade` and what they name stay when the request is an upgrade.
    package static func forwardedHeaders(_ headers: HTTPHeaderFields, upgrade: Bool) -> HTTPHeaderFields {
        let named = headers.listMembers("Connection")
        var result = HTTPHeaderFields()
        for field in headers.fields {
            func isNamed(_ list: [String]) -> Bool { list.contains { asciiCaseInsensitiveEqual($0, field.name) } }
            if isNamed(hopByHop) || isNamed(named) { continue }
            result.add(field.name, field.value)
        }
        if upgrade, let name = headers["Upgrade"] {
            result.add("Connection", "Upgrade")
            result.add("Upgrade", name)
        }
        return result
    }

    /// - Parameters:
    ///   - url: where to; its target replaces the request's.
    ///   - edit: last changes to the fields that are passed on (credentials out, identity in).
    ///   - failure: the answer when the server cannot be reached; nil: 502 with the reason.
    package static func forward(
        _ request: HTTPRequest, to url: HTTPURL, client: HTTPClient, tls: TLSClientContext? = nil,
        headerTimeout: Double? = nil, edit: (inout HTTPHeaderFields) -> Void = { _ in },
        failure: @Sendable (any Error) -> HTTPResponse = { .text("error trying to reach service: \($0)", status: 502) }
    ) async -> HTTPResponse {
        let upgrade = request.wantsUpgrade
        var headers = forwardedHeaders(request.headers, upgrade: upgrade)
        headers.remove("Host")
        edit(&headers)
        var outgoing = HTTPClientRequest(request.method, url, headers: headers, body: request.body)
        outgoing.tls = tls
        outgoing.headerTimeout = headerTimeout
        let response: HTTPClientResponse
        do {
            response = try await client.execute(outgoing)
        } catch {
            return failure(error)
        }
        if let backend = response.upgraded {
            guard upgrade else {
                backend.close()
                return failure(HTTPClientError.badResponse("101 to a request that was no upgrade"))
            }
            let fields = forwardedHeaders(response.headers, upgrade: true)
            return HTTPResponse(status: 101, headers: fields, body: .upgrade { await relay($0, backend) })
        }
        let length = response.headers["Content-Length"].flatMap { Int64($0) }
        let body = response.body
        return HTTPResponse(
            status: response.status, headers: forwardedHeaders(response.headers, upgrade: false),
            body: .stream(length: length) { writer in
                while let bytes = try await body.next() { try await writer.write(bytes) }
            })
    }

    /// Copies both directions until both have ended, or one fails. Half closes are passed on.
    package static func relay(_ a: any ByteStream, _ b: any ByteStream) async {
        await withTaskGroup(of: Bool.self) { group in
            group.addTask { await copy(from: a, to: b) }
            group.addTask { await copy(from: b, to: a) }
            while let whole = await group.next() {
                if !whole {
                    a.close()
                    b.close()
                    group.cancelAll()
                }
            }
        }
        a.close()
        b.close()
    }

    /// Whether the end of the source was passed on.
    private static func copy(from source: any ByteStream, to target: any ByteStream) async -> Bool {
        do {
            while let bytes = try await source.read() { try await target.write(bytes) }
            target.closeWrite()
            return true
        } catch {
            return false
        }
    }
}
