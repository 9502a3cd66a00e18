import Linux
import Netlink

/// Everything `k3s server` or `k3s agent` was told, checked. What is wrong names the flag and what was expected, before
/// anything is made. An agent has no flags for what is the cluster's: it gets that from its server (`ClusterDescription`).
struct ServerConfiguration: Sendable {
    enum Role: String, Sendable {
        case server, agent
    }

    var role: Role
    var isServer: Bool { role == .server }
    /// On an agent, as the server's egress mode wants it.
    var offersEgress = false
    var dataDirectory: String
    var bindAddress: String
    var port: Int
    var advertiseAddress: String?
    var tlsSANs: [String]
    var network: NetworkSettings
    var nodePorts: ClosedRange<UInt16>
    var clusterDomain: String
    var kubeconfigPath: String
    var kubeconfigMode: UInt32
    /// Group of the kubeconfig; nil: unchanged.
    var kubeconfigGroup: UInt32?
    var token: String?
    /// Joins agents but not servers; nil: the server's does.
    var agentToken: String?
    var cluster: ClusterSettings
    /// With which provider Secrets are encrypted at rest; nil: not at all.
    var secretsEncryption: String?
    /// `--kube-apiserver-arg`, each "name=value".
    var apiServerArguments: [String]
    /// `--kube-scheduler-arg`, likewise.
    var schedulerArguments: [String]
    /// `--kubelet-arg`, likewise; checked at start.
    var kubeletArguments: [String]
    var disabled: Set<String>
    var disableAgent: Bool
    var disableNetworkPolicy: Bool
    var nodeName: String
    // Of the primary address family.
    var clusterCIDR: String { network.clusterCIDRs[0] }
    var serviceCIDR: String { network.serviceCIDRs[0] }
    var clusterDNS: String { network.clusterDNS[0] }
    var nodeIP: String? { network.nodeIPs.first }
    var externalIPs: [String] { network.externalIPs }
    var nodeLabels: [String: String]
    var nodeTaints: [(key: String, value: String, effect: String)]
    /// Appends what is kept beside the node's password to its name.
    var hasNodeID: Bool
    /// `password`, made once per machine; `id` lies beside it.
    var nodePasswordFile: String
    var registriesFile: String
    var disableDefaultRegistryEndpoint: Bool
    /// Sockets of another container runtime and of its images; nil: the built-in one.
    var runtimeEndpoint: String?
    var imageEndpoint: String?
    var resolvConf: String?
    /// `--prefer-bundled-bin`: the tools inside before the host's.
    var prefersBundledTools: Bool
    var kubeletRoot: String
    var podLogs: String
    var stateDirectory: String
    var cgroupRoot: String
    var kubeletPort: Int
    var logging: LogSettings
    /// In namespaces of the user's own (`--rootless`).
    var isRootless: Bool
    /// There, what leads out of them.
    var rootless: RootlessNode?

    static let components: Set<String> = [
        "coredns", "servicelb", "traefik", "local-storage", "metrics-server", "runtimes",
    ]

    init(
        _ flags: FlagValues, environment: (String) -> String?, isRoot: Bool, hostname: String, role: Role = .server
    ) throws {
        self.role = role
        isRootless = flags.bool("rootless")
        // Root inside is the user outside, whose files are where the user's are.
        let isRoot = isRoot && !isRootless
        let home = environment("HOME") ?? "/"
        dataDirectory = try Self.absolute(
            flags.string("data-dir") ?? (isRoot ? "/var/lib/rancher/k3s" : home + "/.rancher/k3s"), "data-dir")
        port = try Self.port(flags.string("https-listen-port") ?? "6443", "https-listen-port")
        advertiseAddress = try flags.string("advertise-address").map { try Self.address($0, "advertise-address") }
        tlsSANs = flags.commaList("tls-san")
        network = try NetworkSettings(flags)
        bindAddress = try Self.address(flags.string("bind-address") ?? network.anyAddress, "bind-address")
        clusterDomain = flags.string("cluster-domain") ?? "cluster.local"
        nodePorts = try Self.portRange(flags.string("service-node-port-range") ?? "30000-32767")
        kubeconfigPath =
            flags.string("write-kubeconfig") ?? (isRoot ? "/etc/rancher/k3s/k3s.yaml" : home + "/.kube/k3s.yaml")
        let mode = flags.string("write-kubeconfig-mode") ?? "0600"
        guard let bits = UInt32(mode, radix: 8), bits <= 0o777 else {
            throw UsageError("--write-kubeconfig-mode: \"\(mode)\" is not an octal file mode such as 0600")
        }
        kubeconfigMode = bits
        kubeconfigGroup = try flags.string("write-kubeconfig-group").flatMap { $0.isEmpty ? nil : try Self.group($0) }
        token = try Self.token(flags, "token")
        agentToken = try Self.token(flags, "agent-token")
        cluster = try ClusterSettings(flags)
        secretsEncryption = try Self.encryption(flags)
        apiServerArguments = flags.list("kube-apiserver-arg")
        schedulerArguments = flags.list("kube-scheduler-arg")
        kubeletArguments = flags.list("kubelet-arg")
        disabled = Set(flags.commaList("disable"))
        disableAgent = flags.bool("disable-agent")
        disableNetworkPolicy = flags.bool("disable-network-policy")
        nodeName = (flags.string("node-name") ?? hostname).lowercased()
        guard !nodeName.isEmpty, nodeName.utf8.count <= 63 else {
            throw UsageError("--node-name: \"\(nodeName)\" is not a name of 1 to 63 characters")
        }
        nodeLabels = [:]
        for label in flags.list("node-label").flatMap({ $0.split(separator: ",") }) {
            guard let equals = label.firstIndex(of: "=") else {
                throw UsageError("--node-label: \"\(label)\" is not of the form key=value")
            }
            nodeLabels[String(label[..<equals])] = String(label[label.index(after: equals)...])
        }
        nodeTaints = try flags.list("node-taint").flatMap { $0.split(separator: ",") }.map { try Self.taint($0) }
        hasNodeID = flags.bool("with-node-id")
        nodePasswordFile = try Self.absolute(
            environment("K3S_NODE_PASSWORD_FILE")
                ?? (isRoot ? "/etc/rancher/node/password" : dataDirectory + "/agent/etc/rancher/node/password"),
            "data-dir")
        let ownRegistries = dataDirectory + "/etc/rancher/k3s/registries.yaml"
        registriesFile =
            flags.string("private-registry")
            ?? (isRootless && Files.exists(ownRegistries) ? ownRegistries : "/etc/rancher/k3s/registries.yaml")
        disableDefaultRegistryEndpoint = flags.bool("disable-default-registry-endpoint")
        (runtimeEndpoint, imageEndpoint) = try Self.endpoints(flags)
        resolvConf = flags.string("resolv-conf")
        prefersBundledTools = flags.bool("prefer-bundled-bin")
        kubeletRoot = try Self.absolute(
            flags.string("kubelet-root-dir") ?? (isRootless ? dataDirectory + "/agent/kubelet" : "/var/lib/kubelet"),
            "kubelet-root-dir")
        podLogs = try Self.absolute(
            flags.string("pod-log-dir") ?? (isRootless ? dataDirectory + "/logs/pods" : "/var/log/pods"), "pod-log-dir")
        stateDirectory = try Self.absolute(flags.string("state-dir") ?? "/run/k3s", "state-dir")
        cgroupRoot = flags.string("cgroup-root") ?? "/"
        kubeletPort = try Self.port(flags.string("kubelet-port") ?? "10250", "kubelet-port")
        logging = try LogSettings(flags)
        if !isRoot, !isServer {
            throw UsageError("agent must run as root: running containers needs additional privilege")
        }
        if isRootless, runtimeEndpoint != nil {
            throw UsageError("--rootless: expected no --container-runtime-endpoint: that runtime is outside")
        }
        if isRootless, network.clusterCIDRs.contains(where: { IPPrefix($0)?.family == .ipv6 }) {
            throw UsageError("--rootless: --cluster-cidr: expected IPv4 only: a rootless node has no IPv6")
        }
        if !isRoot, !isRootless, !disableAgent {
            throw UsageError(
                "server must run as root, with --rootless, or with --disable-agent: running containers needs additional privilege"
            )
        }
        if let extra = flags.arguments.first { throw UsageError("unexpected argument: \(extra)") }
    }

    private static func endpoints(_ flags: FlagValues) throws -> (runtime: String?, images: String?) {
        func endpoint(_ flag: String) throws -> String? {
            guard let text = flags.string(flag), !text.isEmpty else { return nil }
            guard text.hasPrefix("unix:///") || text.hasPrefix("/") else {
                throw UsageError(
                    "--\(flag): \"\(text)\": expected a socket such as unix:///run/containerd/containerd.sock")
            }
            return text
        }
        let (runtime, images) = try (endpoint("container-runtime-endpoint"), endpoint("image-service-endpoint"))
        guard runtime != nil || images == nil else {
            throw UsageError("--image-service-endpoint: expected --container-runtime-endpoint too")
        }
        return (runtime, images)
    }

    private static func encryption(_ flags: FlagValues) throws -> String? {
        let provider = flags.string("secrets-encryption-provider") ?? "aescbc"
        guard ["aescbc", "secretbox"].contains(provider) else {
            throw UsageError("--secrets-encryption-provider: \"\(provider)\" is not aescbc or secretbox")
        }
        return flags.bool("secrets-encryption") ? provider : nil
    }

    static func absolute(_ path: String, _ flag: String) throws -> String {
        guard !path.isEmpty else { throw UsageError("--\(flag): a folder is expected") }
        if path.hasPrefix("/") { return path }
        guard let buffer = getcwd(nil, 0) else { return path }
        defer { free(buffer) }
        return String(cString: buffer) + "/" + path
    }

    /// A token is one line; the file must be there.
    static func token(_ flags: FlagValues, _ name: String) throws -> String? {
        if let text = flags.string(name), !text.isEmpty { return text }
        guard let file = flags.string(name + "-file"), !file.isEmpty else { return nil }
        do throws(SysError) {
            let text = try Files.readString(file, limit: 64 << 10)[...].trimmingSpaces()
            guard !text.isEmpty else { throw SysError(EINVAL, "read token", path: file) }
            return text
        } catch {
            throw UsageError("--\(name)-file: a file with the token is expected: \(error)")
        }
    }

    /// `key=value:effect` or `key:effect`
    private static func taint(_ text: Substring) throws -> (key: String, value: String, effect: String) {
        let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"]
        guard let colon = text.lastIndex(of: ":"), case let effect = String(text[text.index(after: colon)...]),
            effects.contains(effect), colon != text.startIndex
        else {
            throw UsageError(
                "--node-taint: \"\(text)\" is not of the form key=value:effect, with an effect of "
                    + effects.joined(separator: ", "))
        }
        let pair = text[..<colon].split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        return (String(pair[0]), pair.count > 1 ? String(pair[1]) : "", effect)
    }

    /// A number, or a name in /etc/group.
    static func group(_ text: String, file: String = "/etc/group") throws -> UInt32 {
        if let id = UInt32(text) { return id }
        for line in (try? Files.readString(file))?.split(separator: "\n") ?? [] {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            if fields.count >= 3, fields[0] == text, let id = UInt32(fields[2]) { return id }
        }
        throw UsageError("--write-kubeconfig-group: there is no group \"\(text)\" in \(file)")
    }

    static func port(_ text: String, _ flag: String) throws -> Int {
        guard let port = UInt16(text), port > 0 else {
            throw UsageError("--\(flag): \"\(text)\" is not a port from 1 to 65535")
        }
        return Int(port)
    }

    static func portRange(_ text: String) throws -> ClosedRange<UInt16> {
        let parts = text.split(separator: "-").map { UInt16($0) }
        guard parts.count == 2, let low = parts[0], let high = parts[1], low > 0, low <= high else {
            throw UsageError("--service-node-port-range: \"\(text)\" is not a range such as 30000-32767")
        }
        return low...high
    }

    static func address(_ text: String, _ flag: String) throws -> String {
        guard let address = IPAddress(text) else { throw UsageError("--\(flag): \"\(text)\" is not an IP address") }
        return address.description
    }

    static func cidr(_ text: String, _ flag: String) throws -> String {
        guard let prefix = IPPrefix(text), (8...(prefix.family == .ipv4 ? 30 : 126)).contains(prefix.length) else {
            throw UsageError("--\(flag): \"\(text)\" is not a network such as 10.42.0.0/16 or fd00:42::/56")
        }
        return prefix.masked.description
    }

    /// The host number `offset` of a network.
    static func hostAddress(_ offset: UInt64, of cidr: String) -> String {
        IPPrefix(cidr)?.network.advanced(by: offset)?.description ?? ""
    }
}
