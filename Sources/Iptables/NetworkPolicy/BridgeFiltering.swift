import Netlink

/// Whether what pods of one node send each other within the bridge passes the firewall (br_netfilter). Pods are routed, so
/// that network policy sees them anyway; frames that a pod forges for its neighbour's MAC address are not.
package enum BridgeFiltering {
    package static let module = "br_netfilter"

    static func setting(_ family: AddressFamily) -> String {
        "net/bridge/bridge-nf-call-ip\(family == .ipv4 ? "" : "6")tables"
    }

    /// What network policy lacks, one line for the log; nil: nothing.
    /// - Parameter setting: the value of a kernel setting, nil if there is none of that name.
    package static func problem(
        _ families: [AddressFamily], setting value: (String) -> String? = { Sysctl.get($0) }
    ) -> String? {
        guard families.contains(where: { value(setting($0)) == nil }) else { return nil }
        return
            "network policy: the kernel lacks br_netfilter (CONFIG_BRIDGE_NETFILTER, modprobe br_netfilter): frames that "
            + "a pod forges for its neighbour on the node are not filtered"
    }
}
