import Codecs
import Linux
import Transport

/// What commands ask of a server under `/v1-k3s/`, as the user `server`, with the cluster's token.
struct SupervisorRequest: Sendable {
    static let flags = Flag.table(
        """
        +|data-dir|d|K3S_DATA_DIR|s||data|Folder to hold state
        +|token|t|K3S_TOKEN|s||cluster|Existing token used to join a server or agent to a cluster
        +|server|s|K3S_URL|s|https://127.0.0.1:6443|cluster|Server to connect to
        """)

    private let token: ClusterToken
    private let password: String
    private let address: String

    /// The token is the flag's, else that of the server on this machine.
    init(_ values: FlagValues, dataDirectory: String) throws {
        var text = values.string("token") ?? ""
        if text.isEmpty {
            text = try Files.readString(dataDirectory + "/server/token", limit: 64 << 10)[...].trimmingSpaces()
        }
        token = try ClusterToken(parsing: text)
        guard case .password(_, let password) = token.credentials else {
            throw UsageError("the server token is needed, not a bootstrap token")
        }
        self.password = password
        address = values.string("server") ?? "https://127.0.0.1:6443"
    }

    /// The data directory that the flags or the user's rights mean.
    static func dataDirectory(_ values: FlagValues, environment: (String) -> String?) -> String {
        if let given = values.string("data-dir"), !given.isEmpty { return given }
        return geteuid() == 0 ? "/var/lib/rancher/k3s" : (environment("HOME") ?? "/") + "/.rancher/k3s"
    }

    /// - Parameter seconds: until the answer begins.
    /// - Throws: with the server's words for an answer that is none of success.
    func send(_ method: String, _ target: String, _ body: [UInt8] = [], seconds: Double = 10) throws -> [UInt8] {
        let answer = Answer()
        try CommandTask.run { [self] group in
            var url = try HTTPURL(address)
            guard url.isTLS else { throw UsageError("only https:// URLs are supported, invalid scheme: \(address)") }
            url.target = "/cacerts"
            let blind = HTTPClient(group: group, tls: try TLSClientContext(TLSClientConfiguration(trust: .insecure)))
            let ca = try await blind.get(url).body.collect(upTo: 1 << 20)
            let hash = try ClusterToken.hash(ofCA: ca)
            guard token.caHash.isEmpty || token.caHash == hash else {
                throw UsageError(
                    "token CA hash does not match the Cluster CA certificate hash: \(token.caHash) != \(hash)")
            }
            let client = HTTPClient(
                group: group, tls: try TLSClientContext(TLSClientConfiguration(trust: .authorities(pem: ca))))
            url.target = target
            var request = HTTPClientRequest(method, url, body: body)
            request.headers = ["Authorization": "Basic " + Base64.encode(Array("server:\(password)".utf8))]
            if !body.isEmpty { request.headers["Content-Type"] = "application/json" }
            request.headerTimeout = seconds
            let response = try await client.execute(request)
            let bytes = try await response.body.collect(upTo: 4 << 20)
            guard (200..<300).contains(response.status) else {
                let message = (try? JSON.parse(bytes))?["message"].string ?? ""
                throw UsageError("\(url): \(response.status) \(httpReasonPhrase(response.status)): \(message)")
            }
            answer.bytes = bytes
        }
        return answer.bytes
    }

    /// Written before `CommandTask.run` returns, read after.
    private final class Answer: @unchecked Sendable {
        var bytes: [UInt8] = []
    }
}
