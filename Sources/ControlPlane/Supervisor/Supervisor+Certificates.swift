internal import Codecs
internal import KubeAPI
internal import Logging
internal import Store
import Synchronization
internal import Transport

extension Supervisor {
    private static let requestLimit = 64 << 10

    /// Signs a certificate request (PKCS #10, DER) under the name that the path stands for, whatever name it asks for.
    func sign(_ name: String, _ request: HTTPRequest, _ user: UserInfo) async throws(APIError) -> HTTPResponse {
        guard request.method == "POST" else {
            throw APIError(
                code: 405, reason: "MethodNotAllowed",
                message: "\(request.method) \(request.path): method not allowed, POST of a certificate request is "
                    + "expected: this server does not hand out private keys")
        }
        guard request.body.count <= Self.requestLimit else { throw .tooLarge(limit: Int64(Self.requestLimit)) }
        let asked: CertificateRequest
        do throws(PKIError) {
            asked = try CertificateRequest(der: request.body)
        } catch {
            throw .badRequest("\(error)")
        }
        let kind: ClusterPKI.NodeCertificate
        switch name {
        case "client-kube-proxy.crt": kind = .kubeProxyClient
        case "client-k3s-controller.crt": kind = .controllerClient
        case "client-kubelet.crt": kind = .kubeletClient(nodeName: try await node(request, user))
        default:
            kind = .kubeletServing(nodeName: try await node(request, user), addresses: try Self.addresses(request))
        }
        do throws(PKIError) {
            let chain = try pki.issue(
                kind, for: try asked.publicKey, now: api.configuration.clock.now().seconds)
            return HTTPResponse(status: 200, contentType: "text/plain", chain)
        } catch {
            throw .internalError("\(error)")
        }
    }

    /// The node that asks, by its headers, after its password or certificate has been checked.
    private func node(_ request: HTTPRequest, _ user: UserInfo) async throws(APIError) -> String {
        let name = (request.headers["k3s-Node-Name"] ?? "").lowercased()
        guard !name.isEmpty else { throw .badRequest("node name not set: header k3s-Node-Name") }
        guard let password = request.headers["k3s-Node-Password"], !password.isEmpty else {
            throw .badRequest("node password not set: header k3s-Node-Password")
        }
        guard Self.isNodeName(name) else {
            throw .badRequest(
                "node name \(JSON.string(name).text): lower case letters, digits, '-' and '.' are expected, at most 253, "
                    + "beginning and ending with a letter or digit")
        }
        if let known = Self.node(of: user) {
            guard known == name else {
                throw .badRequest("header k3s-Node-Name \(name) does not match the certificate's node name \(known)")
            }
            guard api.registry.store.get("/registry/nodes/" + name) != nil else {
                throw APIError(
                    code: 401, reason: "Unauthorized",
                    message: "not authorized: unable to verify node identity: node \(name) is not in the cluster, "
                        + "join with a token")
            }
        }
        if name == settings.ownNode {
            throw Self.forbidden(
                "the name \(name) is that of the server's own node: give this node another with --node-name")
        }
        try await passwords.check(node: name, password: password)
        return name
    }

    private static func isNodeName(_ name: String) -> Bool {
        func isEnd(_ byte: UInt8?) -> Bool {
            guard let byte else { return false }
            return (0x61...0x7A).contains(byte) || (0x30...0x39).contains(byte)
        }
        return name.utf8.count <= 253 && isEnd(name.utf8.first) && isEnd(name.utf8.last)
            && name.utf8.allSatisfy { isEnd($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".") }
    }

    /// `k3s-Node-IP`, a list.
    private static func addresses(_ request: HTTPRequest) throws(APIError) -> [String] {
        var addresses: [String] = []
        for text in request.headers.listMembers("k3s-Node-IP") {
            guard IPAddress(text) != nil else {
                throw .badRequest("header k3s-Node-IP: \(JSON.string(text).text) is not an IP address")
            }
            addresses.append(text)
        }
        guard addresses.count <= 16 else { throw .badRequest("header k3s-Node-IP: more than 16 addresses") }
        return addresses
    }

    /// `PUT /v1-k3s/token`: `{"newToken": "..."}`.
    func rotate(_ request: HTTPRequest) throws(APIError) {
        guard let body = try? JSON.parse(request.body), body.object != nil else {
            throw .badRequest("a JSON object with newToken is expected")
        }
        let given = body["newToken"].string ?? ""
        do throws(PKIError) {
            let made = try ClusterCredentials.rotate(
                serverDirectory: settings.directory, newToken: given, keepsAgentToken: settings.hasAgentToken,
                ca: pki.server.pem)
            credentials.withLock { $0 = made }
        } catch {
            throw .internalError("token: \(error)")
        }
        logger.info("The server token was rotated; the new one is in \(settings.directory)/token")
    }
}
