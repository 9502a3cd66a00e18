import Linux
import Netlink

/// What the environment says of the node's network inside (the variables are k3s's), and the addresses that follow from it.
struct RootlessSettings: Sendable, Equatable {
    /// Of the interface that stands for the host.
    var mtu: UInt32 = 65520
    var network: IPPrefix
    /// Pods may not reach what listens on the host's loopback address; else they do by the gateway's.
    var hidesHostLoopback = true
    /// What has been asked for in vain.
    var notes: [String] = []

    init(environment: (String) -> String?) throws {
        guard let standard = IPPrefix("10.41.0.0/16") else { throw StartupError("10.41.0.0/16") }
        network = standard
        func value(_ name: String) -> String? { environment(name).flatMap { $0.isEmpty ? nil : $0 } }
        if let text = value("K3S_ROOTLESS_MTU") {
            guard let number = UInt32(text), (1280...65535).contains(number) else {
                throw UsageError("K3S_ROOTLESS_MTU: \"\(text)\": expected 1280 to 65535")
            }
            mtu = number
        }
        if let text = value("K3S_ROOTLESS_CIDR") {
            guard let prefix = IPPrefix(text), prefix.family == .ipv4, (8...24).contains(prefix.length) else {
                throw UsageError(
                    "K3S_ROOTLESS_CIDR: \"\(text)\": expected an IPv4 network such as 10.41.0.0/16, /24 at least")
            }
            network = prefix.masked
        }
        if let text = value("K3S_ROOTLESS_DISABLE_HOST_LOOPBACK") {
            guard let flag = Self.bool(text) else {
                throw UsageError("K3S_ROOTLESS_DISABLE_HOST_LOOPBACK: \"\(text)\": expected true or false")
            }
            hidesHostLoopback = flag
        }
        if let text = value("K3S_ROOTLESS_ENABLE_IPV6"), Self.bool(text) != false {
            notes.append("K3S_ROOTLESS_ENABLE_IPV6 has no effect: the node's network inside has IPv4 only")
        }
        if let text = value("K3S_ROOTLESS_PORT_DRIVER"), text != "builtin" {
            notes.append("K3S_ROOTLESS_PORT_DRIVER=\(text) has no effect: ports are always served by k3s itself")
        }
    }

    /// Of Go's strconv.ParseBool.
    private static func bool(_ text: String) -> Bool? {
        switch text {
        case "1", "t", "T", "true", "TRUE", "True": true
        case "0", "f", "F", "false", "FALSE", "False": false
        default: nil
        }
    }

    // As with slirp4netns, which the original uses.
    private func host(_ number: UInt64) -> IPAddress { network.network.advanced(by: number) ?? network.network }
    var node: IPAddress { host(100) }
    /// Stands for the host's loopback address.
    var gateway: IPAddress { host(2) }
    /// Leads to name server number `index` of the host.
    func nameServer(_ index: Int) -> IPAddress { host(3 + UInt64(index)) }
}
