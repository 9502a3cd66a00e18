import Linux
import Transport

/// Everything `k3s agent` was told, checked.
struct AgentConfiguration: Sendable {
    /// The node's part, which a server has as well.
    var node: ServerConfiguration
    /// `https://host:port`
    var server: HTTPURL
    /// nil: the node's certificate is what it comes with.
    var token: ClusterToken?
    /// Of the load balancer on loopback; nil: straight to the server.
    var balancerPort: Int?

    init(_ flags: FlagValues, environment: (String) -> String?, isRoot: Bool, hostname: String) throws {
        node = try ServerConfiguration(
            flags, environment: environment, isRoot: isRoot, hostname: hostname, role: .agent)
        if node.hasNodeID { node.nodeName += try "-" + NodeIdentity.id(besidePassword: node.nodePasswordFile) }
        do throws(PKIError) {
            token = try node.token.map { text throws(PKIError) in try ClusterToken(parsing: text) }
        } catch {
            throw UsageError("--token: \(error)")
        }
        if token == nil, AgentFiles(node.dataDirectory).clientCertificate(nodeName: node.nodeName) == nil {
            throw UsageError("--token is required")
        }
        guard let text = flags.string("server"), !text.isEmpty else { throw UsageError("--server is required") }
        do throws(HTTPURLError) {
            server = try HTTPURL(text)
        } catch {
            throw UsageError("--server: \(error)")
        }
        guard server.isTLS else { throw UsageError("--server: \"\(text)\" is not an https:// address") }
        server.target = "/"
        balancerPort =
            flags.bool("disable-apiserver-lb")
            ? nil : try ServerConfiguration.port(flags.string("lb-server-port") ?? "6444", "lb-server-port")
    }

    /// `host:port`
    var serverAddress: String {
        (server.host.contains(":") ? "[\(server.host)]" : server.host) + ":\(server.port)"
    }
}
