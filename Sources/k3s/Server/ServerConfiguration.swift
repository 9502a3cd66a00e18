import Linux

/// Everything `k3s server` was told, checked. What is wrong names the flag and what was expected, before anything is made.
struct ServerConfiguration: Sendable {
    var dataDirectory: String
    var bindAddress: String
    var port: Int
    var advertiseAddress: String?
    var tlsSANs: [String]
    var clusterCIDR: String
    var serviceCIDR: String
    var nodePorts: ClosedRange<UInt16>
    var clusterDNS: String
    var clusterDomain: String
    var kubeconfigPath: String
    var kubeconfigMode: UInt32
    /// Group of the kubeconfig; nil: unchanged.
    var kubeconfigGroup: UInt32?
    var token: String?
    /// With which provider Secrets are encrypted at rest; nil: not at all.
    var secretsEncryption: String?
    /// `--kube-apiserver-arg`, each "name=value".
    var apiServerArguments: [String]
    var disabled: Set<String>
    var disableAgent: Bool
    var nodeName: String
    var nodeIP: String?
    var nodeLabels: [String: String]
    var registriesFile: String
    var disableDefaultRegistryEndpoint: Bool
    var resolvConf: String?
    var kubeletRoot: String
    var podLogs: String
    var stateDirectory: String
    var cgroupRoot: String
    var kubeletPort: Int
    var debug: Bool

    static let components: Set<String> = [
        "coredns", "servicelb", "traefik", "local-storage", "metrics-server", "runtimes",
    ]

    init(_ flags: FlagValues, environment: (String) -> String?, isRoot: Bool, hostname: String) throws {
        let home = environment("HOME") ?? "/"
        dataDirectory = try Self.absolute(
            flags.string("data-dir") ?? (isRoot ? "/var/lib/rancher/k3s" : home + "/.rancher/k3s"), "data-dir")
        bindAddress = try Self.address(flags.string("bind-address") ?? "0.0.0.0", "bind-address")
        port = try Self.port(flags.string("https-listen-port") ?? "6443", "https-listen-port")
        advertiseAddress = try flags.string("advertise-address").map { try Self.address($0, "advertise-address") }
        tlsSANs = flags.commaList("tls-san")
        clusterCIDR = try Self.cidr(flags.commaList("cluster-cidr").first ?? "10.42.0.0/16", "cluster-cidr")
        serviceCIDR = try Self.cidr(flags.commaList("service-cidr").first ?? "10.43.0.0/16", "service-cidr")
        clusterDNS = try Self.address(
            flags.commaList("cluster-dns").first ?? Self.tenthAddress(of: serviceCIDR), "cluster-dns")
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
        token = try flags.string("token").flatMap { $0.isEmpty ? nil : $0 } ?? Self.token(flags.string("token-file"))
        secretsEncryption = try Self.encryption(flags)
        apiServerArguments = flags.list("kube-apiserver-arg")
        disabled = Set(flags.commaList("disable"))
        disableAgent = flags.bool("disable-agent")
        nodeName = (flags.string("node-name") ?? hostname).lowercased()
        guard !nodeName.isEmpty, nodeName.utf8.count <= 63 else {
            throw UsageError("--node-name: \"\(nodeName)\" is not a name of 1 to 63 characters")
        }
        nodeIP = try flags.commaList("node-ip").first.map { try Self.address($0, "node-ip") }
        nodeLabels = [:]
        for label in flags.list("node-label").flatMap({ $0.split(separator: ",") }) {
            guard let equals = label.firstIndex(of: "=") else {
                throw UsageError("--node-label: \"\(label)\" is not of the form key=value")
            }
            nodeLabels[String(label[..<equals])] = String(label[label.index(after: equals)...])
        }
        registriesFile = flags.string("private-registry") ?? "/etc/rancher/k3s/registries.yaml"
        disableDefaultRegistryEndpoint = flags.bool("disable-default-registry-endpoint")
        resolvConf = flags.string("resolv-conf")
        kubeletRoot = try Self.absolute(flags.string("kubelet-root-dir") ?? "/var/lib/kubelet", "kubelet-root-dir")
        podLogs = try Self.absolute(flags.string("pod-log-dir") ?? "/var/log/pods", "pod-log-dir")
        stateDirectory = try Self.absolute(flags.string("state-dir") ?? "/run/k3s", "state-dir")
        cgroupRoot = flags.string("cgroup-root") ?? "/"
        kubeletPort = try Self.port(flags.string("kubelet-port") ?? "10250", "kubelet-port")
        debug = flags.bool("debug")
        if !isRoot, !disableAgent {
            throw UsageError(
                "server must run as root, or with --disable-agent: running containers needs additional privilege")
        }
        if let extra = flags.arguments.first { throw UsageError("unexpected argument: \(extra)") }
    }

    private static func encryption(_ flags: FlagValues) throws -> String? {
        let provider = flags.string("secrets-encryption-provider") ?? "aescbc"
        guard ["aescbc", "secretbox"].contains(provider) else {
            throw UsageError("--secrets-encryption-provider: \"\(provider)\" is not aescbc or secretbox")
        }
        return flags.bool("secrets-encryption") ? provider : nil
    }

    private static func absolute(_ path: String, _ flag: String) throws -> String {
        guard !path.isEmpty else { throw UsageError("--\(flag): a folder is expected") }
        if path.hasPrefix("/") { return path }
        guard let buffer = getcwd(nil, 0) else { return path }
        defer { free(buffer) }
        return String(cString: buffer) + "/" + path
    }

    /// A token is one line; the file must be there.
    private static func token(_ file: String?) throws -> String? {
        guard let file, !file.isEmpty else { return nil }
        do throws(SysError) {
            let text = try Files.readString(file, limit: 64 << 10)[...].trimmingSpaces()
            guard !text.isEmpty else { throw SysError(EINVAL, "read token", path: file) }
            return text
        } catch {
            throw UsageError("--token-file: a file with the token is expected: \(error)")
        }
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
        var bytes = in6_addr()
        guard inet_pton(AF_INET, text, &bytes) == 1 || inet_pton(AF_INET6, text, &bytes) == 1 else {
            throw UsageError("--\(flag): \"\(text)\" is not an IP address")
        }
        return text
    }

    static func cidr(_ text: String, _ flag: String) throws -> String {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        var bytes = in6_addr()
        if parts.count == 2, let bits = UInt8(parts[1]) {
            if inet_pton(AF_INET, String(parts[0]), &bytes) == 1, (8...30).contains(bits) { return text }
            if inet_pton(AF_INET6, String(parts[0]), &bytes) == 1, (8...126).contains(bits) {
                throw UsageError("--\(flag): \"\(text)\" is an IPv6 network; only IPv4 is served so far")
            }
        }
        throw UsageError("--\(flag): \"\(text)\" is not a network such as 10.42.0.0/16")
    }

    /// The host number `offset` of an IPv4 network.
    static func hostAddress(_ offset: UInt32, of cidr: String) -> String {
        let parts = cidr.split(separator: "/")
        var address = in_addr()
        inet_pton(AF_INET, String(parts[0]), &address)
        let bits = UInt32(parts[1]) ?? 32
        let mask: UInt32 = bits == 0 ? 0 : ~UInt32(0) << (32 - bits)
        let value = (UInt32(bigEndian: address.s_addr) & mask) &+ offset
        return [24, 16, 8, 0].map { String(value >> $0 & 255) }.joined(separator: ".")
    }
    private static func tenthAddress(of cidr: String) -> String { hostAddress(10, of: cidr) }
}
