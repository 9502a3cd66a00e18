import Codecs
import KubeAPI
import Linux
import Logging
import Synchronization
import Transport

/// What joining gave.
struct JoinedCluster: Sendable {
    var ca: [UInt8]
    var clientCA: [UInt8]
    var description: ClusterDescription
    var serving: TLSCertificate
    var kubelet: TLSCertificate
    var proxy: TLSCertificate
    var controller: TLSCertificate
}

/// Joins a cluster: from a token or an earlier certificate to certificates and the cluster's settings. Each step is tried
/// until it works, with the reason in the log; the order and the files are k3s's (pkg/agent/config).
struct AgentJoin: Sendable {
    let configuration: AgentConfiguration
    /// The load balancer, or the server.
    let server: HTTPURL
    let files: AgentFiles
    let password: String
    /// `--node-ip`, or the address of the default route's interface.
    let nodeIPs: [String]
    let http: HTTPClient
    let logger: Logger

    private var nodeName: String { configuration.node.nodeName }

    func run() async throws -> JoinedCluster {
        let (ca, isPinned) = try await repeated(
            "Failed to validate connection to cluster at https://\(configuration.serverAddress)"
        ) {
            let known = try? Files.read(files["server-ca.crt"], limit: 1 << 20)
            return try await ClusterCA.fetch(http: http, server: server, token: configuration.token, known: known)
        }
        if !isPinned {
            logger.warning(
                "Cluster CA certificate is not trusted by the host CA bundle, but the token does not include a CA hash. Use the full token from the server's node-token file to enable Cluster CA validation."
            )
        }
        var client = try self.client(ca)
        var description: ClusterDescription
        (description, client) = try await authenticated(
            client, ca, "Waiting to retrieve agent configuration; server is not ready"
        ) { client in
            let bytes = try await client.get("/v1-k3s/config")
            do { return try ClusterDescription(JSON.parse(bytes)) } catch {
                throw JoinError("\(server)v1-k3s/config: \(error)")
            }
        }
        let clientCA: [UInt8]
        (clientCA, client) = try await authenticated(client, ca, "Waiting to retrieve client CA certificate") {
            try await $0.get("/v1-k3s/client-ca.crt")
        }
        let serverCA: [UInt8]
        (serverCA, client) = try await authenticated(client, ca, "Waiting to retrieve server CA certificate") {
            try await $0.get("/v1-k3s/server-ca.crt")
        }
        try files.write("client-ca.crt", clientCA)
        try files.write("server-ca.crt", serverCA)
        func certificate(
            _ name: String, _ what: String, _ user: String, _ groups: [String]
        ) async throws -> TLSCertificate {
            let result: TLSCertificate
            (result, client) = try await authenticated(client, ca, "Waiting to retrieve \(what)") {
                try await request(name, user, groups, $0)
            }
            return result
        }
        let serving = try await certificate(
            "serving-kubelet", "kubelet serving certificate", nodeName, [])
        let kubelet = try await certificate(
            "client-kubelet", "kubelet client certificate", "system:node:" + nodeName, ["system:nodes"])
        let proxy = try await certificate(
            "client-kube-proxy", "kube-proxy client certificate", "system:kube-proxy", [])
        let controller = try await certificate(
            "client-k3s-controller", "k3s controller client certificate", "system:k3s-controller", [])
        try writeKubeconfigs()
        _ = try await authenticated(client, ca, "Waiting for the server's controllers to be ready") {
            try await $0.get("/v1-k3s/readyz")
        }
        return JoinedCluster(
            ca: serverCA, clientCA: clientCA, description: description, serving: serving, kubelet: kubelet,
            proxy: proxy, controller: controller)
    }

    // MARK: - Certificates

    private func request(
        _ name: String, _ user: String, _ groups: [String], _ client: SupervisorClient
    ) async throws -> TLSCertificate {
        let key = try files.key(name)
        let request = try CertificateRequest.create(
            subject: DistinguishedName(commonName: user, organizations: groups), key: key)
        var headers: HTTPHeaderFields = [
            "Content-Type": "application/pkcs10", "k3s-Node-Name": nodeName, "k3s-Node-Password": password,
        ]
        if !nodeIPs.isEmpty { headers["k3s-Node-IP"] = nodeIPs.joined(separator: ",") }
        let chain: [UInt8]
        do {
            chain = try await client.post("/v1-k3s/\(name).crt", request.der, headers: headers)
        } catch let error as JoinError where error.status == 403 {
            throw JoinError(
                "Node password rejected, duplicate hostname or contents of '\(configuration.node.nodePasswordFile)' may not match server node-passwd entry, try enabling a unique node name with the --with-node-id flag: node \"\(nodeName)\" is not authorized or its name is in use: \(error)",
                status: 403)
        }
        let leaf = try Certificate.chain(pem: chain, what: "\(name).crt")[0]
        guard key.matches(leaf) else { throw JoinError("\(name).crt: the certificate is not for the key of this node") }
        try files.write(name + ".crt", chain)
        return TLSCertificate(chainPEM: chain, keyPEM: key.pem)
    }

    private func writeKubeconfigs() throws {
        let names = [
            "kubelet": "client-kubelet", "kubeproxy": "client-kube-proxy", "k3scontroller": "client-k3s-controller",
        ]
        for (file, certificate) in names {
            let text = Kubeconfig.referring(
                server: server.description.hasSuffix("/") ? String(server.description.dropLast()) : server.description,
                caFile: files["server-ca.crt"], certificateFile: files[certificate + ".crt"],
                keyFile: files[certificate + ".key"])
            try files.write(file + ".kubeconfig", Array(text.utf8))
        }
    }

    // MARK: - Trying

    /// With the node's certificate if it has one, which needs no token.
    private func client(_ ca: [UInt8]) throws -> SupervisorClient {
        if let certificate = files.clientCertificate(nodeName: nodeName) {
            return try SupervisorClient(http: http, server: server, ca: ca, credentials: .certificate(certificate))
        }
        guard let client = try tokenClient(ca) else { throw StartupError("--token is required") }
        return client
    }

    private func tokenClient(_ ca: [UInt8]) throws -> SupervisorClient? {
        guard let token = configuration.token else { return nil }
        return try SupervisorClient(
            http: http, server: server, ca: ca, credentials: .token(SupervisorClient.authorization(token)))
    }

    /// A certificate that is not accepted any more (the node was deleted, the CA replaced) is given up for the token.
    private func authenticated<Value: Sendable>(
        _ client: SupervisorClient, _ ca: [UInt8], _ what: String,
        _ body: @escaping @Sendable (SupervisorClient) async throws -> Value
    ) async throws -> (Value, SupervisorClient) {
        let current = Mutex(client)
        let value = try await repeated(what) {
            let client = current.withLock { $0 }
            do {
                return try await body(client)
            } catch let error as JoinError where error.status == 401 || error.status == 403 {
                if client.hasCertificate {
                    guard let replacement = try tokenClient(ca) else {
                        throw JoinError(
                            "\(error): the certificate of this node is not accepted any more, give a --token to join again"
                        )
                    }
                    logger.info(
                        "The certificate of this node is not accepted any more, joining with the token: \(error)")
                    current.withLock { $0 = replacement }
                    return try await body(replacement)
                }
                guard error.status == 401 else { throw error }
                throw JoinError("\(error): the token is not accepted, compare --token with the server's node-token")
            }
        }
        return (value, current.withLock { $0 })
    }

    private func repeated<Value: Sendable>(
        _ what: String, _ body: @Sendable () async throws -> Value
    ) async throws -> Value {
        var reporter = FailureReporter(logger: logger)
        var attempt = 0
        while true {
            try Task.checkCancellation()
            do {
                return try await body()
            } catch let error as StartupError {
                throw error
            } catch {
                try Task.checkCancellation()
                reporter.report("\(what): \(error)")
            }
            // Fast while a server starts, then slowly for as long as it takes.
            attempt += 1
            let seconds = attempt <= 10 ? 0.5 : attempt <= 40 ? 2 : 5
            try await Task.sleep(for: .seconds(seconds * Double.random(in: 1...1.5)))
        }
    }
}

/// Says what does not work when that changes, and once a minute while it does not.
struct FailureReporter {
    let logger: Logger
    private var last: (text: String, at: ContinuousClock.Instant)?

    init(logger: Logger) { self.logger = logger }

    mutating func report(_ text: String) {
        let now = ContinuousClock.now
        if let last, last.text == text, now - last.at < .seconds(60) { return }
        last = (text, now)
        logger.error("\(text)")
    }

    mutating func reset() { last = nil }
}
