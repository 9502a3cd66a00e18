import Netlink

package enum TransportProtocol: UInt8, Sendable, Hashable, CustomStringConvertible {
    case tcp = 6
    case udp = 17
    case sctp = 132
    package var description: String {
        switch self {
        case .tcp: "tcp"
        case .udp: "udp"
        case .sctp: "sctp"
        }
    }
    /// From Kubernetes' spelling ("TCP") or the lower-case one.
    package init?(name: String) {
        switch name {
        case "TCP", "tcp": self = .tcp
        case "UDP", "udp": self = .udp
        case "SCTP", "sctp": self = .sctp
        default: return nil
        }
    }
}

/// An endpoint that takes traffic (ready, or the fallback to terminating ones: the caller decides).
package struct ProxyEndpoint: Sendable, Hashable {
    package var address: IPAddress
    package var port: UInt16
    /// On this node.
    package var isLocal: Bool
    package init(_ address: IPAddress, _ port: UInt16, isLocal: Bool = false) {
        (self.address, self.port, self.isLocal) = (address, port, isLocal)
    }
}

/// One port of one service, all its addresses.
package struct ServicePort: Sendable, Equatable {
    /// Unique name, for instance "default/web:http".
    package var id: String
    package var clusterIPs: [IPAddress]
    package var port: UInt16
    package var transport: TransportProtocol
    package var nodePort: UInt16?
    package var externalIPs: [IPAddress] = []
    package var loadBalancerIPs: [IPAddress] = []
    /// Who may use the load balancer addresses; empty is everybody.
    package var loadBalancerSourceRanges: [IPPrefix] = []
    /// Session affinity ClientIP; nil is none.
    package var sessionAffinityTimeoutSeconds: UInt32?
    /// externalTrafficPolicy and internalTrafficPolicy Local.
    package var externalTrafficLocal = false
    package var internalTrafficLocal = false
    package var endpoints: [ProxyEndpoint]

    package init(
        _ id: String, clusterIPs: [IPAddress], port: UInt16, transport: TransportProtocol = .tcp,
        nodePort: UInt16? = nil,
        endpoints: [ProxyEndpoint] = []
    ) {
        (self.id, self.clusterIPs, self.port, self.transport) = (id, clusterIPs, port, transport)
        (self.nodePort, self.endpoints) = (nodePort, endpoints)
    }
}

/// What does not change from one service to the next.
package struct ProxySettings: Sendable, Equatable {
    /// Source ranges of pods: what comes from elsewhere to a cluster address is masqueraded. Empty: nothing is.
    package var clusterCIDRs: [IPPrefix]
    /// Local addresses that answer on NodePorts; empty is every address of the node but loopback.
    package var nodePortAddresses: [IPPrefix] = []
    package var families: [AddressFamily] = [.ipv4]
    /// Bit of the packet mark that means "masquerade in postrouting" (kube-proxy's default, 14).
    package var masqueradeBit: UInt8 = 14
    /// - Parameter families: nil: those of the pods.
    package init(clusterCIDRs: [IPPrefix], families: [AddressFamily]? = nil) {
        self.clusterCIDRs = clusterCIDRs
        let known = AddressFamily.allCases.filter { family in clusterCIDRs.contains { $0.family == family } }
        self.families = families ?? (known.isEmpty ? [.ipv4] : known)
    }
}

package struct ProxyState: Sendable, Equatable {
    package var services: [ServicePort]
    package var settings: ProxySettings
    package init(services: [ServicePort] = [], settings: ProxySettings) {
        (self.services, self.settings) = (services, settings)
    }
}
