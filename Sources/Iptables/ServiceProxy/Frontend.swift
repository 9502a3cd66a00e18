import Netlink

/// Where traffic enters: an address and port, or (no address) a NodePort on the node's own addresses.
package struct FrontendKey: Hashable, Sendable, CustomStringConvertible {
    package var address: IPAddress?
    package var family: AddressFamily
    package var transport: TransportProtocol
    package var port: UInt16

    package init(_ address: IPAddress, _ transport: TransportProtocol, _ port: UInt16) {
        (self.address, family, self.transport, self.port) = (address, address.family, transport, port)
    }
    package init(nodePort: UInt16, _ transport: TransportProtocol, _ family: AddressFamily) {
        (address, self.family, self.transport, port) = (nil, family, transport, nodePort)
    }
    package var description: String {
        "\(address?.description ?? "node(\(family))"):\(port)/\(transport)"
    }

    /// `daddr . proto . dport`, or `proto . dport` of a NodePort; fields padded to 4 bytes.
    func appendBytes(to out: inout [UInt8]) {
        address?.appendBytes(to: &out)
        let fields = (UInt32(transport.rawValue) << 24).bigEndian
        withUnsafeBytes(of: (fields, (UInt32(port) << 16).bigEndian)) { out.append(contentsOf: $0) }
    }
    var bytes: [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(24)
        appendBytes(to: &out)
        return out
    }
}

/// What a shared chain does; every frontend with the same shape uses the same chain.
struct ChainShape: Hashable, Sendable {
    enum Kind: Hashable, Sendable {
        /// Cluster address: masquerade what comes from outside the cluster.
        case cluster
        /// External address or NodePort with traffic policy Cluster: masquerade all.
        case external
        /// External with policy Local: pods and the node itself reach all endpoints, others the first `local` ones
        /// with their own address.
        case local(UInt32)
    }
    var kind: Kind
    var total: UInt32
    /// Session affinity: the endpoint of an earlier connection first.
    var isSticky: Bool
    var isNodePort: Bool

    var name: String {
        var text = isNodePort ? "node-" : ""
        switch kind {
        case .cluster: text += "n\(total)"
        case .external: text += "x\(total)"
        case .local(let local): text += "l\(local)-\(total)"
        }
        return isSticky ? text + "-sticky" : text
    }
}

struct Target: Hashable, Sendable {
    var address: IPAddress
    var port: UInt16
    /// `address . port`.
    func appendBytes(to out: inout [UInt8]) {
        address.appendBytes(to: &out)
        withUnsafeBytes(of: (UInt32(port) << 16).bigEndian) { out.append(contentsOf: $0) }
    }
}

struct Frontend: Hashable, Sendable {
    enum Action: Hashable, Sendable {
        case balance(ChainShape)
        /// No endpoints at all: TCP reset or ICMP port unreachable.
        case reject
        /// None that this traffic may use (internalTrafficPolicy Local).
        case drop
    }
    var key: FrontendKey
    var action: Action
    /// Index 0... of the endpoint map; local ones first.
    var targets: [Target]
    /// Non-empty: only these sources may enter.
    var sources: [IPPrefix] = []
    /// How long a client is remembered; 0 is no affinity.
    var affinitySeconds: UInt32 = 0
    var hasAffinity: Bool { affinitySeconds > 0 }
}

extension ServicePort {
    /// The frontends of the service in the given families.
    func frontends(_ settings: ProxySettings) -> [Frontend] {
        var out: [Frontend] = []
        for family in settings.families { appendFrontends(family, to: &out) }
        return out
    }

    private func appendFrontends(_ family: AddressFamily, to out: inout [Frontend]) {
        var local: [Target] = []
        var remote: [Target] = []
        for endpoint in endpoints where endpoint.address.family == family {
            let target = Target(address: endpoint.address, port: endpoint.port)
            if endpoint.isLocal { local.append(target) } else { remote.append(target) }
        }
        let all = local.isEmpty ? remote : remote.isEmpty ? local : local + remote
        let affinity = sessionAffinityTimeoutSeconds.map { max(1, $0) } ?? 0
        func frontend(_ key: FrontendKey, _ kind: ChainShape.Kind, _ targets: [Target]) -> Frontend {
            if targets.isEmpty { return Frontend(key: key, action: all.isEmpty ? .reject : .drop, targets: []) }
            let shape = ChainShape(
                kind: kind, total: UInt32(targets.count), isSticky: affinity > 0, isNodePort: key.address == nil)
            return Frontend(key: key, action: .balance(shape), targets: targets, affinitySeconds: affinity)
        }
        for address in clusterIPs where address.family == family {
            out.append(frontend(FrontendKey(address, transport, port), .cluster, internalTrafficLocal ? local : all))
        }
        let external: ChainShape.Kind = externalTrafficLocal ? .local(UInt32(local.count)) : .external
        for address in externalIPs where address.family == family {
            out.append(frontend(FrontendKey(address, transport, port), external, all))
        }
        let sources =
            loadBalancerSourceRanges.isEmpty
            ? [] : loadBalancerSourceRanges.filter { $0.family == family }.withoutContained
        for address in loadBalancerIPs where address.family == family {
            var entry = frontend(FrontendKey(address, transport, port), external, all)
            entry.sources = sources
            out.append(entry)
        }
        if let nodePort { out.append(frontend(FrontendKey(nodePort: nodePort, transport, family), external, all)) }
    }

    /// Pod addresses on this node that may come back to themselves.
    func hairpinAddresses(_ settings: ProxySettings) -> [IPAddress] {
        endpoints.filter { $0.isLocal && settings.families.contains($0.address.family) }.map(\.address)
    }
}

extension [IPPrefix] {
    /// Masked, without duplicates and those that lie inside another: the kernel refuses overlapping ranges.
    var withoutContained: [IPPrefix] {
        let masked = map(\.masked).sorted { ($0.length, $0.address) < ($1.length, $1.address) }
        var kept: [IPPrefix] = []
        for prefix in masked where !kept.contains(where: { $0.contains(prefix.address) }) { kept.append(prefix) }
        return kept
    }
}
