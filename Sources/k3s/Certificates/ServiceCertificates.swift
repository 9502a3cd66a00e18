import Linux

/// Which files belong to which of k3s's services, as `k3s certificate --service` names them.
/// Source: k3s pkg/util/services.
struct ServiceCertificates {
    static let agent = ["kube-proxy", "kubelet", "k3s-controller"]
    static let server = [
        "api-server", "admin", "auth-proxy", "cloud-controller", "controller-manager", "etcd", "scheduler",
        "supervisor", "k3s-server",
    ]
    static let authorities = "certificate-authority"

    /// Names without endings; "+" before those below `agent`, the others are below `server/tls`.
    private static let table: [(service: String, files: String)] = [
        ("api-server", "client-kube-apiserver serving-kube-apiserver"), ("admin", "client-admin"),
        ("auth-proxy", "client-auth-proxy"), ("cloud-controller", "client-k3s-cloud-controller"),
        ("controller-manager", "client-controller kube-controller-manager/kube-controller-manager"),
        ("etcd", "etcd/client etcd/server-client etcd/peer-server-client"),
        ("scheduler", "client-scheduler kube-scheduler/kube-scheduler"), ("supervisor", "client-supervisor"),
        // The listener's is no file of its own: dynamic-cert.json.
        ("k3s-server", ""), ("kube-proxy", "client-kube-proxy +client-kube-proxy"),
        ("kubelet", "client-kubelet serving-kubelet +client-kubelet +serving-kubelet"),
        ("k3s-controller", "client-k3s-controller +client-k3s-controller"),
        (authorities, "server-ca client-ca request-header-ca etcd/peer-ca etcd/server-ca"),
    ]

    let dataDirectory: String

    var serverDirectory: String { dataDirectory + "/server" }
    var agentDirectory: String { dataDirectory + "/agent" }
    var isServer: Bool { Files.exists(serverDirectory) }

    /// All that this machine has.
    var services: [String] { isServer ? Self.server + Self.agent : Self.agent }

    /// Paths without endings. - Throws: for a service that there is not.
    func files(_ service: String) throws -> [String] {
        guard let row = Self.table.first(where: { $0.service == service }) else {
            throw UsageError("service \(service) is not recognized")
        }
        return row.files.split(separator: " ").map {
            $0.hasPrefix("+") ? agentDirectory + "/" + $0.dropFirst() : serverDirectory + "/tls/" + $0
        }
    }
}
