import Codecs
import ControlPlane
import KubeAPI
import Linux
import Logging
import Store
import Synchronization
import Transport

/// A supervisor before an API server in memory, with keys of its own in a temporary folder.
final class SupervisorBench: Sendable {
    let directory: String
    let pki: ClusterPKI
    let credentials: ClusterCredentials
    let api: APIServer
    let client: LocalClient
    let clock = VirtualClock()
    let tunnels: NodeTunnels
    let passwords: NodePasswords
    let supervisor: Supervisor
    let kubelets = NodeAuthorizer()
    let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    init(ownNode: String? = "server", agentToken: String? = nil) async throws {
        var template = Array("/tmp/k3s-supervisor-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SysError(errno, "mkdtemp") }
        directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        var parameters = ClusterPKIParameters(nodeName: "server")
        parameters.now = clock.now().seconds
        pki = try ClusterPKI.prepare(directory: directory + "/tls", parameters: parameters)
        credentials = try ClusterCredentials.prepare(
            serverDirectory: directory, token: "server-secret", agentToken: agentToken, ca: pki.server.pem)
        var configuration = APIServerConfiguration()
        configuration.clock = clock
        configuration.authorizer = kubelets
        api = APIServer(store: MemoryStore(), configuration: configuration)
        kubelets.attach(api.registry)
        client = api.client(as: .system)
        for name in ["kube-system", "default", "other", "kube-node-lease"] {
            _ = try await client.create(.namespaces, KubeObject(GroupVersionKind(.core, "Namespace"), name: name))
            _ = try await client.create(
                .serviceAccounts,
                KubeObject(GroupVersionKind(.core, "ServiceAccount"), name: "default", namespace: name))
        }
        tunnels = NodeTunnels(logger: logger)
        passwords = NodePasswords(api: api, logger: logger)
        let settings = SupervisorSettings(
            directory: directory, ownNode: ownNode, config: ["ClusterDomain": "cluster.local"],
            advertised: "192.0.2.1:6443", hasAgentToken: agentToken != nil)
        supervisor = Supervisor(
            settings: settings, pki: pki, credentials: credentials, api: api, passwords: passwords, tunnels: tunnels,
            logger: logger, dial: { throw HTTPClientError.connectFailed("\($0):\($1)", reason: "no network") })
    }

    deinit {
        try? Directories.removeTree(directory)
    }

    struct Answer: Sendable {
        var code: Int
        var bytes: [UInt8]
        var text: String { String(decoding: bytes, as: UTF8.self) }
        var json: JSON { (try? JSON.parse(bytes)) ?? .null }
        var message: String { json["message"].string ?? "" }
    }

    static func basic(_ user: String, _ password: String) -> HTTPHeaderFields {
        ["Authorization": "Basic " + Base64.encode(Array("\(user):\(password)".utf8))]
    }

    var nodeToken: HTTPHeaderFields {
        guard case .password(_, let password) = credentials.agentToken.credentials else { return [:] }
        return Self.basic("node", password)
    }

    static func certificate(_ node: String) -> PeerIdentity {
        PeerIdentity(commonName: "system:node:" + node, organizations: ["system:nodes"])
    }

    func call(
        _ method: String, _ path: String, _ headers: HTTPHeaderFields = [:], body: [UInt8] = [],
        peer: PeerIdentity? = nil
    ) async throws -> Answer? {
        let request = try HTTPRequest(method: method, target: path, headers: headers, body: body, peer: peer)
        guard let response = await supervisor.handle(request) else { return nil }
        guard case .bytes(let bytes) = response.body else { return Answer(code: response.status, bytes: []) }
        return Answer(code: response.status, bytes: bytes)
    }

    /// Asks for a certificate as an agent does.
    func sign(
        _ name: String, node: String?, password: String? = "pass", addresses: String? = nil,
        credential: HTTPHeaderFields? = nil, peer: PeerIdentity? = nil, request: [UInt8]? = nil
    ) async throws -> Answer {
        var headers = peer == nil ? credential ?? nodeToken : [:]
        if let node { headers.add("k3s-Node-Name", node) }
        if let password { headers.add("k3s-Node-Password", password) }
        if let addresses { headers.add("k3s-Node-IP", addresses) }
        let made = try CertificateRequest.create(
            subject: DistinguishedName(commonName: "anything", organizations: ["system:masters"]),
            key: try PrivateKey.generate())
        let answer = try await call("POST", "/v1-k3s/" + name, headers, body: request ?? made.der, peer: peer)
        return answer ?? Answer(code: 0, bytes: [])
    }

    func addNode(_ name: String, labels: [String: String] = [:]) async throws -> KubeObject {
        var node = KubeObject(GroupVersionKind(.core, "Node"), name: name)
        if !labels.isEmpty { node.labels = labels }
        return try await client.create(.nodes, node)
    }

    func pod(_ name: String, namespace: String = "default", on node: String, _ spec: JSON = [:]) -> KubeObject {
        var pod = KubeObject(GroupVersionKind(.core, "Pod"), name: name, namespace: namespace)
        var all: JSON = ["nodeName": .string(node), "containers": [["name": "c", "image": "x"]]]
        for member in spec.object?.members ?? [] { all[member.key] = member.value }
        pod.json["spec"] = all
        return pod
    }
}
