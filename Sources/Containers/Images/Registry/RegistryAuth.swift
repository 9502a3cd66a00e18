import Codecs
import Synchronization

/// Authorization headers by endpoint and repository: none until the registry asks, then Basic, or a token from the
/// realm it names (the Docker Registry token and OAuth2 protocols; distribution.github.io, "Token Authentication").
final class RegistryAuth: Sendable {
    private struct Key: Hashable {
        var origin: String
        var scope: String
        var credentials: String
    }
    private struct Entry {
        var header: String
        var expires: ContinuousClock.Instant?
    }

    private let entries = Mutex<[Key: Entry]>([:])

    private static func key(_ endpoint: RegistryEndpoint, _ repository: String) -> Key {
        let c = endpoint.credentials
        return Key(
            origin: endpoint.base.scheme + "://" + endpoint.base.hostAndPort, scope: repository,
            credentials: c.map { "\($0.username)\0\($0.password)\0\($0.identityToken)" } ?? "")
    }

    func header(_ endpoint: RegistryEndpoint, _ repository: String) -> String? {
        entries.withLock { entries in
            let key = Self.key(endpoint, repository)
            guard let entry = entries[key] else { return nil }
            if let expires = entry.expires, expires <= .now {
                entries[key] = nil
                return nil
            }
            return entry.header
        }
    }

    func forget(_ endpoint: RegistryEndpoint, _ repository: String) {
        entries.withLock { $0[Self.key(endpoint, repository)] = nil }
    }

    private func keep(_ header: String, _ lifetime: Duration?, _ endpoint: RegistryEndpoint, _ repository: String) {
        entries.withLock { entries in
            // Tokens live minutes; more than this many are old ones.
            if entries.count >= 256 { entries.removeAll() }
            entries[Self.key(endpoint, repository)] = Entry(
                header: header, expires: lifetime.map { ContinuousClock.now + $0 })
        }
    }

    /// Answers a 401: gets a header that may work and remembers it.
    func answer(
        _ challenges: [RegistryChallenge], _ endpoint: RegistryEndpoint, _ repository: String,
        exchange: (RegistryRequest) async throws(RegistryFailure) -> RegistryResponse,
        read: (RegistryResponse, Int) async throws(RegistryFailure) -> [UInt8]
    ) async throws(RegistryFailure) -> String {
        if let bearer = challenges.first(where: { $0.scheme == "bearer" }) {
            let (token, lifetime) = try await fetchToken(bearer, endpoint, repository, exchange, read)
            let header = "Bearer " + token
            keep(header, lifetime, endpoint, repository)
            return header
        }
        guard challenges.contains(where: { $0.scheme == "basic" }) else {
            throw RegistryFailure(
                .unauthorized, "authorization failed: the registry offers no scheme known here (Bearer, Basic)")
        }
        guard let basic = endpoint.basicHeader else {
            throw RegistryFailure(.unauthorized, "authorization failed: no basic auth credentials")
        }
        keep(basic, nil, endpoint, repository)
        return basic
    }

    private func fetchToken(
        _ challenge: RegistryChallenge, _ endpoint: RegistryEndpoint, _ repository: String,
        _ exchange: (RegistryRequest) async throws(RegistryFailure) -> RegistryResponse,
        _ read: (RegistryResponse, Int) async throws(RegistryFailure) -> [UInt8]
    ) async throws(RegistryFailure) -> (String, Duration?) {
        let kind = endpoint.credentials == nil ? "anonymous token" : "oauth token"
        guard let realm = challenge.parameters["realm"], var url = RegistryURL(realm) else {
            throw RegistryFailure(
                .unauthorized,
                "failed to authorize: invalid realm \"\(clipped(challenge.parameters["realm"] ?? ""))\" in challenge")
        }
        let secret = endpoint.credentials?.identityToken.isEmpty == false || endpoint.basicHeader != nil
        if secret, url.scheme == "http", endpoint.base.scheme == "https" {
            throw RegistryFailure(
                .unauthorized, "failed to authorize: refusing to send credentials to \(url.redacted) without TLS")
        }
        let service = challenge.parameters["service"]
        let scope = challenge.parameters["scope"] ?? "repository:\(repository):pull"
        var request: RegistryRequest
        if let token = endpoint.credentials?.identityToken, !token.isEmpty {
            var form = RegistryURL(scheme: "", host: "", path: "")
            form.appendQuery("grant_type", "refresh_token")
            form.appendQuery("refresh_token", token)
            if let service { form.appendQuery("service", service) }
            form.appendQuery("scope", scope)
            form.appendQuery("client_id", "k3s")
            request = RegistryRequest(
                method: "POST", url: url, headers: [("Content-Type", "application/x-www-form-urlencoded")],
                body: Array(form.query.utf8), tls: endpoint.tls)
        } else {
            if let service { url.appendQuery("service", service) }
            for part in scope.split(separator: " ") { url.appendQuery("scope", String(part)) }
            request = RegistryRequest(url: url, tls: endpoint.tls)
            if let basic = endpoint.basicHeader { request.headers.append(("Authorization", basic)) }
        }
        let response = try await exchange(request)
        guard (200..<300).contains(response.status) else {
            await response.body.cancel()
            throw RegistryFailure(
                response.status == 401 || response.status == 403 || response.status == 400
                    ? .unauthorized : .registryUnavailable,
                "failed to authorize: failed to fetch \(kind): unexpected status from \(request.method) request to "
                    + "\(url.redacted): \(HTTPStatus.text(response.status))",
                transient: HTTPStatus.isTransient(response.status))
        }
        let bytes = try await read(response, 1 << 20)
        let json = try? JSON.parse(bytes, limits: .init(depth: 16, values: 1000))
        let token = (json?["token"].string).flatMap { $0.isEmpty ? nil : $0 } ?? json?["access_token"].string ?? ""
        guard !token.isEmpty, token.utf8.allSatisfy({ $0 > 32 && $0 < 127 }) else {
            throw RegistryFailure(
                .unauthorized, "failed to authorize: failed to fetch \(kind): no token in the answer of \(url.redacted)"
            )
        }
        // The specification's default and least lifetime; renewed a little early.
        let lifetime = max(60, min(json?["expires_in"].int ?? 60, 24 * 3600))
        return (token, .seconds(lifetime - 5))
    }
}
