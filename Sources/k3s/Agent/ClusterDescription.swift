import Codecs
import Linux
import Netlink
import PodNetwork

/// What an agent learns of its cluster: the part it needs of `/v1-k3s/config`, which is the server's configuration in Go's
/// field names (k3s's pkg/daemons/config).
struct ClusterDescription: Sendable, Equatable {
    var clusterCIDRs: [String]
    var serviceCIDRs: [String]
    var clusterDNS: [String]
    var clusterDomain: String
    var nodePorts: ClosedRange<UInt16>
    var disabled: Set<String>
    /// How the server reaches the cluster by way of agents: agent, cluster, pod, disabled.
    var egressSelectorMode: String
    var flannelBackend: BackendKind
    var masqueradesIPv6: Bool
    var usesExternalIPs: Bool
    var disablesNetworkPolicy: Bool

    struct Malformed: Error, CustomStringConvertible {
        var description: String
    }

    init(_ json: JSON) throws {
        clusterCIDRs = try Self.networks(json, "ClusterIPRanges", "ClusterIPRange")
        serviceCIDRs = try Self.networks(json, "ServiceIPRanges", "ServiceIPRange")
        let servers = json["ClusterDNSs"].elements.compactMap(\.string)
        clusterDNS = servers.isEmpty ? json["ClusterDNS"].string.map { [$0] } ?? [] : servers
        guard !clusterDNS.isEmpty else { throw Malformed(description: "ClusterDNS is missing") }
        clusterDomain = json["ClusterDomain"].string ?? "cluster.local"
        let range = json["ServiceNodePortRange"]
        let base = UInt16(clamping: range["Base"].int ?? 30000)
        let size = UInt16(clamping: range["Size"].int ?? 2768)
        nodePorts = base...UInt16(clamping: max(Int(base), Int(base) + Int(size) - 1))
        disabled = Set(
            ["Disables", "Skips"].flatMap { key in
                json[key].object?.members.filter { $0.value.bool == true }.map(\.key) ?? []
            })
        let mode = json["EgressSelectorMode"].string ?? ""
        egressSelectorMode = mode.isEmpty ? "agent" : mode
        let backend = json["FlannelBackend"].string ?? ""
        guard let kind = BackendKind(rawValue: backend.isEmpty ? "vxlan" : backend) else {
            throw Malformed(
                description: "FlannelBackend is \"\(backend)\": expected none, vxlan, host-gw or wireguard-native")
        }
        flannelBackend = kind
        masqueradesIPv6 = json["FlannelIPv6Masq"].bool ?? false
        usesExternalIPs = json["FlannelExternalIP"].bool ?? false
        disablesNetworkPolicy = json["DisableNPC"].bool ?? false
    }

    /// Takes over what is the cluster's.
    func apply(to configuration: inout ServerConfiguration) throws {
        guard !clusterCIDRs.isEmpty, !serviceCIDRs.isEmpty else {
            throw Malformed(description: "ClusterIPRange or ServiceIPRange is missing")
        }
        configuration.network.clusterCIDRs = clusterCIDRs
        configuration.network.serviceCIDRs = serviceCIDRs
        configuration.network.clusterDNS = clusterDNS
        configuration.network.backend = flannelBackend
        configuration.network.masqueradesIPv6 = masqueradesIPv6
        configuration.network.usesExternalIPs = usesExternalIPs
        configuration.clusterDomain = clusterDomain
        configuration.nodePorts = nodePorts
        configuration.disabled = disabled
        configuration.disableNetworkPolicy = disablesNetworkPolicy
        configuration.offersEgress = egressSelectorMode == "cluster" || egressSelectorMode == "pod"
    }

    private static func networks(_ json: JSON, _ list: String, _ single: String) throws -> [String] {
        let entries = json[list].elements.isEmpty ? [json[single]] : json[list].elements
        return try entries.filter { !$0.isNull }.map { entry in
            if let text = entry.string { return text }
            // Go's net.IPNet: the address as text, the mask as base64.
            guard let address = entry["IP"].string, let mask = entry["Mask"].string.flatMap({ Base64.decode($0) }),
                let prefix = IPPrefix("\(address)/\(mask.reduce(0) { $0 + $1.nonzeroBitCount })")
            else { throw Malformed(description: "\(single) is not a network: \(entry.text)") }
            return prefix.description
        }
    }
}
