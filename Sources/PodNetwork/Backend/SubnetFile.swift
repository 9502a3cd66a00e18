import Linux
import Netlink

/// `/run/flannel/subnet.env`: where CNI plugins and scripts of others find the cluster's and the node's pod networks.
/// Source: flannel's WriteSubnetFile, which k3s has too.
enum SubnetFile {
    /// The node's part is written with its first address, that of the bridge.
    static func text(cluster: [IPPrefix], node: [IPPrefix], mtu: UInt32) -> String {
        var text = ""
        for (family, prefix) in [(AddressFamily.ipv4, "FLANNEL_"), (.ipv6, "FLANNEL_IPV6_")] {
            guard let range = node.first(where: { $0.family == family }),
                let network = cluster.first(where: { $0.family == family })
            else { continue }
            let first = range.network.advanced(by: 1) ?? range.network
            text += "\(prefix)NETWORK=\(network.masked)\n\(prefix)SUBNET=\(first)/\(range.length)\n"
        }
        return text + "FLANNEL_MTU=\(mtu)\nFLANNEL_IPMASQ=true\n"
    }

    /// All at once: whoever reads it sees the old one or the new one.
    static func write(_ text: String, to path: String) throws(SysError) {
        try Directories.make(Path.parent(path), mode: 0o755)
        try Files.writeAtomically(path, text, mode: 0o644, sync: false)
    }
}
