import Codecs
import Netlink

/// What all servers and agents of a cluster must agree on, as flags gave it: agents get it from `/v1-k3s/config`, in the
/// form of k3s's own `config.Control` (Go field names; tokens and datastore are not in it).
struct ClusterSettings: Sendable {
    var egressMode: EgressMode
    private var flannelBackend: String
    private var flags: [(name: String, value: Bool)]
    private var systemDefaultRegistry: String

    init(_ flags: FlagValues) throws {
        let mode = flags.string("egress-selector-mode") ?? "agent"
        guard let egress = EgressMode(rawValue: mode) else {
            throw UsageError(
                "--egress-selector-mode: \"\(mode)\" is not one of "
                    + EgressMode.allCases.map(\.rawValue).joined(separator: ", "))
        }
        egressMode = egress
        flannelBackend = flags.string("flannel-backend") ?? "vxlan"
        let disabled = Set(flags.commaList("disable"))
        self.flags = [
            ("DisableCCM", flags.bool("disable-cloud-controller")),
            ("DisableHelmController", flags.bool("disable-helm-controller")),
            ("DisableNPC", flags.bool("disable-network-policy")),
            ("DisableServiceLB", disabled.contains("servicelb")),
            ("EncryptSecrets", flags.bool("secrets-encryption")),
            ("EmbeddedRegistry", flags.bool("embedded-registry")),
            ("FlannelIPv6Masq", flags.bool("flannel-ipv6-masq")),
            ("FlannelExternalIP", flags.bool("flannel-external-ip")),
            ("SupervisorMetrics", flags.bool("supervisor-metrics")),
            ("DisableAgent", flags.bool("disable-agent")),
            ("DisableKubeProxy", flags.bool("disable-kube-proxy")),
            ("DisableAPIServer", false), ("DisableControllerManager", false), ("DisableScheduler", false),
            ("DisableETCD", true),
        ]
        systemDefaultRegistry = flags.string("system-default-registry") ?? ""
    }

    func json(_ configuration: ServerConfiguration, advertised: String) -> JSON {
        let pods = networks(configuration.network.clusterCIDRs)
        let services = networks(configuration.network.serviceCIDRs)
        let names = configuration.network.clusterDNS
        let port = Int64(configuration.port)
        var config: JSON = [
            "ClusterDNSs": .strings(names), "ClusterDNS": .string(names.first ?? ""),
            "ClusterIPRanges": .array(pods), "ClusterIPRange": pods.first ?? .null,
            "ServiceIPRanges": .array(services), "ServiceIPRange": services.first ?? .null,
            "ClusterDomain": .string(configuration.clusterDomain),
            "ServiceNodePortRange": [
                "Base": .int(Int64(configuration.nodePorts.lowerBound)),
                "Size": .int(Int64(configuration.nodePorts.count)),
            ],
            "FlannelBackend": .string(flannelBackend), "EgressSelectorMode": .string(egressMode.rawValue),
            "EncryptProvider": .string(configuration.secretsEncryption ?? ""),
            "SystemDefaultRegistry": .string(systemDefaultRegistry), "AdvertiseIP": .string(advertised),
            "AdvertisePort": .int(port), "HTTPSPort": .int(port), "SupervisorPort": .int(port),
            "APIServerPort": .int(port), "MinTLSVersion": "", "CipherSuites": .null,
            "Disables": .object(
                JSONObject(members: configuration.disabled.sorted().map { ($0, JSON.bool(true)) })),
        ]
        for flag in flags { config[flag.name] = .bool(flag.value) }
        return config
    }

    /// As Go writes a net.IPNet.
    private func networks(_ list: [String]) -> [JSON] {
        list.compactMap { text in
            guard let prefix = IPPrefix(text) else { return nil }
            return [
                "IP": .string(prefix.network.description), "Mask": .string(Base64.encode(prefix.maskBytes)),
            ]
        }
    }
}
