import Codecs
import Transport

/// Why a step of joining did not work; it is tried again.
struct JoinError: Error, CustomStringConvertible {
    var description: String
    /// HTTP status, if there was an answer.
    var status: Int?

    init(_ description: String, status: Int? = nil) { (self.description, self.status) = (description, status) }
}

/// The requests of an agent to `/v1-k3s/...` of its server (k3s's join protocol).
struct SupervisorClient: Sendable {
    enum Credentials: Sendable {
        /// HTTP Basic or Bearer, made of the token.
        case token(String)
        case certificate(TLSCertificate)
    }

    let http: HTTPClient
    let server: HTTPURL
    private let tls: TLSClientContext
    private let headers: HTTPHeaderFields
    let hasCertificate: Bool
    private static let seconds = 10.0

    /// - Parameter ca: what the server's certificate must lead to, PEM.
    init(http: HTTPClient, server: HTTPURL, ca: [UInt8], credentials: Credentials) throws {
        (self.http, self.server) = (http, server)
        var configuration = TLSClientConfiguration(trust: .authorities(pem: ca))
        switch credentials {
        case .token(let authorization): headers = ["Authorization": authorization]
        case .certificate(let certificate):
            configuration.certificate = certificate
            headers = [:]
        }
        hasCertificate = configuration.certificate != nil
        tls = try TLSClientContext(configuration)
    }

    /// Agents are the user `node`, whatever the token says.
    static func authorization(_ token: ClusterToken) -> String {
        switch token.credentials {
        case .password(_, let password): "Basic " + Base64.encode(Array("node:\(password)".utf8))
        case .bootstrap(let id, let secret): "Bearer \(id).\(secret)"
        }
    }

    func get(_ path: String) async throws -> [UInt8] {
        try await Self.send(HTTPClientRequest("GET", url(path), headers: headers), http, tls)
    }

    /// Sends a certificate request; the answer is the chain, PEM.
    func post(_ path: String, _ body: [UInt8], headers more: HTTPHeaderFields) async throws -> [UInt8] {
        var all = headers
        all.append(contentsOf: more)
        return try await Self.send(HTTPClientRequest("POST", url(path), headers: all, body: body), http, tls)
    }

    private func url(_ path: String) -> HTTPURL {
        var url = server
        url.target = path
        return url
    }

    static func send(_ request: HTTPClientRequest, _ http: HTTPClient, _ tls: TLSClientContext) async throws -> [UInt8]
    {
        var request = request
        request.tls = tls
        request.connectTimeout = seconds
        request.headerTimeout = seconds
        request.bodyPauseTimeout = seconds
        let answer: [UInt8]
        let status: Int
        do {
            let response = try await http.execute(request)
            status = response.status
            answer = try await response.body.collect(upTo: 4 << 20)
        } catch let error as CancellationError {
            throw error
        } catch {
            throw JoinError("\(request.method == "GET" ? "Get" : "Post") \"\(request.url)\": \(error)")
        }
        guard status == 200 else {
            var reason = String(decoding: answer.prefix(512), as: UTF8.self)
            if let json = try? JSON.parse(answer), let message = json["message"].string { reason = message }
            reason = reason[...].trimmingSpaces()
            let phrase = httpReasonPhrase(status)
            let suffix = reason.isEmpty || reason == phrase ? "" : ": " + reason
            throw JoinError("\(request.url): \(status) \(phrase)\(suffix)", status: status)
        }
        return answer
    }
}

/// How a joining node learns whom to trust: `/cacerts`, which is first read from whoever answers, then again from one who
/// holds the key of a certificate that it signed, and compared with the hash of the token.
enum ClusterCA {
    /// - Returns: the CA, PEM; `isPinned`: whether the token has said which one it must be.
    static func fetch(
        http: HTTPClient, server: HTTPURL, token: ClusterToken?, known: [UInt8]?
    ) async throws -> (pem: [UInt8], isPinned: Bool) {
        var url = server
        url.target = "/cacerts"
        func get(_ trust: TLSClientConfiguration.Trust) async throws -> [UInt8] {
            try await SupervisorClient.send(
                HTTPClientRequest("GET", url), http, TLSClientContext(TLSClientConfiguration(trust: trust)))
        }
        do {
            let first = try await get(.insecure)
            let pem = try await get(.authorities(pem: first))
            if let pinned = token?.caHash, !pinned.isEmpty {
                let hash = try ClusterToken.hash(ofCA: pem)
                guard pinned == hash else {
                    throw JoinError(
                        "token CA hash does not match the Cluster CA certificate hash: \(pinned) != \(hash)")
                }
                return (pem, true)
            }
            // Without a token it is the cluster that the node was in.
            if token == nil, let known {
                guard known == pem else {
                    throw JoinError("the Cluster CA certificate is not the one that this node joined with")
                }
                return (pem, true)
            }
            return (pem, false)
        } catch let error as TLSError {
            throw JoinError("failed to get CA certs: \(error)")
        } catch let error as PKIError {
            throw JoinError("failed to get CA certs: \(error)")
        }
    }
}
