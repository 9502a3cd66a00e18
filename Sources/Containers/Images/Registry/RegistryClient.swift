import Codecs
import Logging

/// Speaks the pull half of the OCI distribution specification to the endpoints of a registry, in order: authorization,
/// redirects, retries with back-off, time-outs.
struct RegistryClient: Sendable {
    let transport: any RegistryTransport
    let timing: RegistryTiming
    let sha256: SHA256Factory
    let logger: Logger
    let auth = RegistryAuth()

    // MARK: one exchange

    /// Follows redirects. Credentials go to the origin they are meant for only.
    func exchange(_ request: RegistryRequest) async throws(RegistryFailure) -> RegistryResponse {
        var request = request
        var left = timing.redirects
        while true {
            let current = request
            let transport = self.transport
            let answer = await timed(timing.responseTimeout) { () -> Result<RegistryResponse, RegistryTransportError> in
                do throws(RegistryTransportError) { return .success(try await transport.send(current)) } catch {
                    return .failure(error)
                }
            }
            let response: RegistryResponse
            switch answer {
            case .success(let value): response = value
            case .failure(let error): throw RegistryFailure(error, request.method, request.url)
            case nil:
                throw RegistryFailure(
                    RegistryTransportError(.timedOut, "no response within \(timing.responseTimeout)"), request.method,
                    request.url)
            }
            guard HTTPStatus.isRedirect(response.status), let location = response.header("location") else {
                return response
            }
            await response.body.cancel()
            left -= 1
            guard left >= 0 else {
                throw RegistryFailure(
                    .registryUnavailable,
                    "\(request.method) \"\(current.url.redacted)\": stopped after \(timing.redirects) redirects")
            }
            guard let target = request.url.resolving(location) else {
                throw RegistryFailure(
                    .registryUnavailable,
                    "\(request.method) \"\(current.url.redacted)\": redirect to invalid location \"\(clipped(location))\""
                )
            }
            guard target.scheme == "https" || request.url.scheme == "http" || request.tls.insecureSkipVerify else {
                throw RegistryFailure(
                    .registryUnavailable,
                    "\(request.method) \"\(current.url.redacted)\": refusing redirect from https to \(target.redacted)")
            }
            if !target.hasSameOrigin(as: request.url) {
                request.headers.removeAll { $0.name.lowercased() == "authorization" }
            }
            if response.status == 303, request.method == "POST" { (request.method, request.body) = ("GET", []) }
            request.url = target
        }
    }

    /// A whole body of at most `limit` bytes.
    func read(_ response: RegistryResponse, _ limit: Int) async throws(RegistryFailure) -> [UInt8] {
        var bytes: [UInt8] = []
        do throws(RegistryFailure) {
            while let chunk = try await next(response.body) {
                guard bytes.count + chunk.count <= limit else {
                    throw RegistryFailure(.invalidManifest, "response body is larger than \(limit) bytes")
                }
                bytes.append(contentsOf: chunk)
            }
        } catch {
            await response.body.cancel()
            throw error
        }
        return bytes
    }

    func next(_ body: any RegistryBody) async throws(RegistryFailure) -> [UInt8]? {
        let answer = await timed(timing.stallTimeout) { () -> Result<[UInt8]?, RegistryTransportError> in
            do throws(RegistryTransportError) { return .success(try await body.next()) } catch {
                return .failure(error)
            }
        }
        switch answer {
        case .success(let chunk): return chunk
        case .failure(let error):
            throw RegistryFailure(.registryUnavailable, "failed to copy: \(error.message)", transient: true)
        case nil:
            throw RegistryFailure(
                .registryUnavailable, "failed to copy: no data within \(timing.stallTimeout)", transient: true)
        }
    }

    // MARK: requests to an endpoint

    /// One request below "/v2/<repository>/", authorized as the registry demands, tried again while that may help.
    /// Returns 2xx and 416 responses.
    func request(
        _ method: String, _ endpoint: RegistryEndpoint, _ repository: String, _ path: String,
        _ headers: [(name: String, value: String)]
    ) async throws(RegistryFailure) -> RegistryResponse {
        try await retrying { () async throws(RegistryFailure) in
            try await authorized(method, endpoint, repository, path, headers)
        }
    }

    /// Tries again while that may help, with growing pauses.
    func retrying<T>(_ work: () async throws(RegistryFailure) -> T) async throws(RegistryFailure) -> T {
        var attempt = 0
        while true {
            attempt += 1
            do throws(RegistryFailure) {
                return try await work()
            } catch {
                guard error.transient, attempt < timing.attempts, !Task.isCancelled else { throw error }
                let pause = timing.pause(attempt, retryAfter: error.retryAfter)
                logger.debug("\(error.message); retrying in \(pause)")
                try? await Task.sleep(for: pause)
            }
        }
    }

    /// The same, once.
    func authorized(
        _ method: String, _ endpoint: RegistryEndpoint, _ repository: String, _ path: String,
        _ headers: [(name: String, value: String)]
    ) async throws(RegistryFailure) -> RegistryResponse {
        let repository = endpoint.rewrite(repository)
        var request = RegistryRequest(method: method, url: endpoint.url(repository, path), tls: endpoint.tls)
        var header = auth.header(endpoint, repository)
        // A remembered token may have run out: one fresh answer to a challenge, plus one more for that case.
        var answersLeft = header == nil ? 1 : 2
        while true {
            request.headers = headers + [("User-Agent", "k3s")]
            if let header { request.headers.append(("Authorization", header)) }
            let response = try await exchange(request)
            switch response.status {
            case 200..<300, 416: return response
            case 401:
                let challenges = response.headers.filter { $0.name.lowercased() == "www-authenticate" }
                    .flatMap { RegistryChallenge.parse($0.value) }
                let detail = await errorDetail(response, method)
                auth.forget(endpoint, repository)
                guard answersLeft > 0, !challenges.isEmpty else { throw Self.denied(detail) }
                answersLeft -= 1
                do throws(RegistryFailure) {
                    header = try await auth.answer(challenges, endpoint, repository, exchange: exchange, read: read)
                } catch {
                    if error.code == .unauthorized {
                        throw RegistryFailure(.unauthorized, Self.denied(error.message).message)
                    }
                    throw error
                }
            default: throw await failure(response, method, request.url)
            }
        }
    }

    private static func denied(_ detail: String) -> RegistryFailure {
        RegistryFailure(
            .unauthorized,
            "pull access denied, repository does not exist or may require authorization"
                + (detail.isEmpty ? "" : ": " + detail))
    }

    private func failure(
        _ response: RegistryResponse, _ method: String, _ url: RegistryURL
    ) async -> RegistryFailure {
        let detail = await errorDetail(response, method)
        let code: ImageError.Code =
            switch response.status {
            case 404: .notFound
            case 403: .unauthorized
            default: .registryUnavailable
            }
        let retryAfter = response.header("retry-after").flatMap { Int64($0) }.map {
            Duration.seconds(max(0, min($0, 3600)))
        }
        return RegistryFailure(
            code,
            "unexpected status from \(method) request to \(url.redacted): \(HTTPStatus.text(response.status))"
                + (detail.isEmpty ? "" : ": " + detail),
            transient: HTTPStatus.isTransient(response.status), retryAfter: retryAfter)
    }

    /// "toomanyrequests: You have reached your pull rate limit": what the distribution specification's error body says.
    private func errorDetail(_ response: RegistryResponse, _ method: String) async -> String {
        guard method != "HEAD", let bytes = try? await read(response, 16 << 10) else {
            await response.body.cancel()
            return ""
        }
        guard let json = try? JSON.parse(bytes, limits: .init(depth: 16, values: 1000)) else { return "" }
        let first = json["errors"][0]
        let code = (first["code"].string ?? "").lowercased().filter { $0 != "_" }
        let message = first["message"].string ?? ""
        return clipped([code, message].filter { !$0.isEmpty }.joined(separator: ": "))
    }
}
