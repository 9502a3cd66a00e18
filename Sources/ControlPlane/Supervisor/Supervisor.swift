package import Codecs
package import KubeAPI
package import Logging
import Synchronization
package import Transport

/// What a supervisor is told beside the cluster's keys.
package struct SupervisorSettings: Sendable {
    /// `<data-dir>/server`
    package var directory: String
    /// The node of this process, whose name nobody else may take; nil: there is none.
    package var ownNode: String?
    /// Of `/v1-k3s/config`.
    package var config: JSON
    /// `host:port` of this server, for `/v1-k3s/apiservers` as long as the API has no list.
    package var advertised: String
    /// Whether `--agent-token` was given: then `token rotate` leaves that one alone.
    package var hasAgentToken: Bool
    /// Of this server, also where it runs no node.
    package var nodeName: String

    package init(
        directory: String, ownNode: String?, config: JSON, advertised: String, hasAgentToken: Bool,
        nodeName: String = ""
    ) {
        self.nodeName = nodeName.isEmpty ? ownNode ?? "" : nodeName
        (self.directory, self.ownNode, self.config) = (directory, ownNode, config)
        (self.advertised, self.hasAgentToken) = (advertised, hasAgentToken)
    }
}

/// Who a request to the supervisor comes from.
enum SupervisorCaller: Sendable {
    case user(UserInfo)
    /// No credential.
    case nobody
    /// A credential that is not good.
    case refused(String)
}

/// k3s's own protocol on the port of the API server, before the API: how nodes and servers join, get certificates and
/// their settings, and open tunnels. Source: k3s pkg/server/handlers, pkg/server/auth.
package final class Supervisor: Sendable {
    /// Requests of joining nodes under way at once; more are told to come again.
    private static let readingLimit = 20
    private static let changingLimit = 10

    let settings: SupervisorSettings
    let pki: ClusterPKI
    let api: APIServer
    let passwords: NodePasswords
    package let tunnels: NodeTunnels
    let logger: Logger
    /// Changed by `token rotate`.
    let credentials: Mutex<ClusterCredentials>
    /// Makes a connection for `CONNECT`.
    let dial: @Sendable (_ host: String, _ port: UInt16) async throws -> any ByteStream
    /// nil: the server knows of none.
    let encryption: SecretsEncryption?
    private let ready = Mutex(false)
    private let underWay = Mutex((reading: 0, changing: 0))

    package init(
        settings: SupervisorSettings, pki: ClusterPKI, credentials: ClusterCredentials, api: APIServer,
        passwords: NodePasswords, tunnels: NodeTunnels, logger: Logger, encryption: SecretsEncryption? = nil,
        dial: @escaping @Sendable (_ host: String, _ port: UInt16) async throws -> any ByteStream
    ) {
        (self.settings, self.pki, self.api) = (settings, pki, api)
        (self.passwords, self.tunnels, self.logger, self.dial) = (passwords, tunnels, logger, dial)
        self.credentials = Mutex(credentials)
        self.encryption = encryption
    }

    /// Whether the core controllers run (`/v1-k3s/readyz`).
    package func setReady(_ value: Bool) {
        ready.withLock { $0 = value }
    }

    /// nil: not a request of this protocol.
    package func handle(_ request: HTTPRequest) async -> HTTPResponse? {
        do throws(APIError) {
            return try await answer(request)
        } catch {
            let from = "\(request.remoteAddress):\(request.remotePort)"
            logger.error("Sending HTTP/1.1 \(error.code) response to \(from): \(error.message)")
            return .status(error)
        }
    }

    private func answer(_ request: HTTPRequest) async throws(APIError) -> HTTPResponse? {
        if request.method == "CONNECT" { return try await connect(request) }
        switch request.path {
        case "/ping": return HTTPResponse(status: 200, contentType: "text/plain", Array("pong".utf8))
        case "/cacerts":
            try Self.only("GET", request)
            return HTTPResponse(status: 200, contentType: "text/plain", pki.server.pem)
        case let path where path.hasPrefix("/v1-k3s/"):
            return try await own(String(path.dropFirst("/v1-k3s/".count)), request)
        case let path where path.hasPrefix("/db/"):
            try permit(["k3s:server"], request)
            throw .badRequest("etcd datastore disabled")
        default: return nil
        }
    }

    private func own(_ name: String, _ request: HTTPRequest) async throws(APIError) -> HTTPResponse {
        switch name {
        case "connect":
            let user = try permit(["system:nodes"], request)
            guard let node = Self.node(of: user) else { throw Self.forbidden("not the certificate of a node") }
            return tunnels.accept(request, node: node)
        case "token":
            try permit(["k3s:server"], request)
            try Self.only("PUT", request)
            try rotate(request)
            return HTTPResponse(status: 200)
        case "cert/cacerts":
            try permit(["k3s:server"], request)
            try Self.only("PUT", request)
            try replaceAuthorities(request)
            return HTTPResponse(status: 204)
        case "encrypt/status", "encrypt/config":
            try permit(["k3s:server"], request)
            return try await encrypt(name, request)
        case "server-bootstrap":
            try permit(["k3s:server"], request)
            throw .badRequest("etcd disabled")
        case "serving-kubelet.crt", "client-kubelet.crt", "client-kube-proxy.crt", "client-k3s-controller.crt",
            "client-ca.crt", "server-ca.crt", "apiservers", "config", "readyz":
            let user = try permit(["k3s:agent", "system:nodes", "system:bootstrappers"], request)
            return try await limited(request) { () throws(APIError) in try await self.join(name, request, user) }
        default: throw .pathNotFound()
        }
    }

    /// What joining nodes ask for.
    private func join(_ name: String, _ request: HTTPRequest, _ user: UserInfo) async throws(APIError) -> HTTPResponse {
        if name.hasPrefix("serving-") || name.hasPrefix("client-k") { return try await sign(name, request, user) }
        try Self.only("GET", request)
        switch name {
        case "client-ca.crt": return HTTPResponse(status: 200, contentType: "text/plain", pki.client.pem)
        case "server-ca.crt": return HTTPResponse(status: 200, contentType: "text/plain", pki.server.pem)
        case "apiservers": return .json(JSON.strings(apiServers).encode())
        case "config":
            var config = settings.config
            config["IPSECPSK"] = .string(credentials.withLock { $0.sharedKey })
            return .json(config.encode())
        default:
            guard ready.withLock({ $0 }) else { throw .unavailable("core controllers are not running yet") }
            return HTTPResponse(status: 200, contentType: "text/plain", Array("ok".utf8))
        }
    }

    private var apiServers: [String] {
        var addresses: [String] = []
        if let resource = api.registry.resources[.endpoints],
            let endpoints = try? api.registry.get(resource, namespace: "default", name: "kubernetes").decode()
        {
            for subset in endpoints["subsets"].elements {
                let port =
                    subset["ports"].elements.first { $0["name"].string == "https" }?["port"].int
                    ?? subset["ports"][0]["port"].int ?? 6443
                for address in subset["addresses"].elements {
                    guard let ip = address["ip"].string else { continue }
                    addresses.append(ip.contains(":") ? "[\(ip)]:\(port)" : "\(ip):\(port)")
                }
            }
        }
        return addresses.isEmpty ? [settings.advertised] : addresses
    }

    private func connect(_ request: HTTPRequest) async throws(APIError) -> HTTPResponse {
        try permit(["system:masters"], request)
        let address: TunnelAddress
        do throws(TunnelError) {
            address = try TunnelAddress(network: "tcp", address: request.path)
        } catch {
            throw .badRequest("CONNECT \(request.path): <host>:<port> is expected")
        }
        let backend: any ByteStream
        do {
            backend = try await dial(address.host, address.port)
        } catch {
            throw .internalError("dial \(address.address): \(error)")
        }
        return HTTPResponse(status: 200, body: .upgrade { await HTTPProxy.relay($0, backend) })
    }

    // MARK: - Who and how many

    /// - Throws: 401 for a credential that is not good, 403 for none or one of another group.
    @discardableResult
    private func permit(_ groups: [String], _ request: HTTPRequest) throws(APIError) -> UserInfo {
        switch caller(request) {
        case .refused(let reason):
            throw APIError(code: 401, reason: "Unauthorized", message: "not authorized: \(reason)")
        case .nobody: throw Self.forbidden("a token or a node's certificate is needed")
        case .user(let user):
            if user.groups.contains(where: groups.contains) { return user }
            throw Self.forbidden("\(user.name) is not in the group \(groups[0])")
        }
    }

    private func limited(
        _ request: HTTPRequest, _ body: () async throws(APIError) -> HTTPResponse
    ) async throws(APIError) -> HTTPResponse {
        let reads = request.method == "GET" || request.method == "HEAD"
        let admitted = underWay.withLock { count in
            if reads {
                guard count.reading < Self.readingLimit else { return false }
                count.reading += 1
            } else {
                guard count.changing < Self.changingLimit else { return false }
                count.changing += 1
            }
            return true
        }
        guard admitted else {
            throw .tooManyRequests("Too many requests, please try again later.", retryAfter: 1)
        }
        defer {
            underWay.withLock { count in
                if reads { count.reading -= 1 } else { count.changing -= 1 }
            }
        }
        return try await body()
    }

    static func only(_ method: String, _ request: HTTPRequest) throws(APIError) {
        guard request.method == method || (method == "GET" && request.method == "HEAD") else {
            throw APIError(
                code: 405, reason: "MethodNotAllowed",
                message: "\(request.method) \(request.path): method not allowed, \(method) is expected")
        }
    }

    static func forbidden(_ why: String) -> APIError {
        APIError(code: 403, reason: "Forbidden", message: "forbidden: \(why)")
    }
}
