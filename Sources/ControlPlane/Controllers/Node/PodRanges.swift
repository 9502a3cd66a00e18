internal import KubeAPI

/// Which node has which part of the cluster's pod networks (`--cluster-cidr`): one range per network, all of one size per
/// family. A value; the lowest free range is given. Source: k8s.io/kubernetes/pkg/controller/nodeipam/ipam/cidrset.
struct PodRanges: Sendable {
    private struct Network: Sendable {
        let network: IPNetwork
        /// Prefix length of a node's range.
        let length: Int
        var owners: [Int: String] = [:]
        /// Below it everything is taken.
        var lowest = 0

        var count: Int { 1 << (length - network.prefix) }
        private var host: UInt128 { UInt128((network.base.isIPv6 ? 128 : 32) - length) }

        func range(_ index: Int) -> String {
            let base = IPAddress(value: network.base.value + UInt128(index) << host, isIPv6: network.base.isIPv6)
            return "\(base)/\(length)"
        }

        /// The ranges that `other` lies in or covers; nil if it is outside.
        func indices(_ other: IPNetwork) -> ClosedRange<Int>? {
            guard network.contains(other.base), other.prefix >= network.prefix else { return nil }
            let first = Int((other.base.value - network.base.value) >> host)
            return first...(first + (other.prefix < length ? 1 << (length - other.prefix) : 1) - 1)
        }
    }
    private var networks: [Network] = []

    /// - Parameter networks: one, or one of each family, the first being that of pods' primary addresses.
    /// - Throws: what is wrong with them, in words for the administrator.
    init(_ networks: [String], lengthIPv4: Int = 24, lengthIPv6: Int = 64) throws(APIError) {
        for text in networks {
            guard let network = IPNetwork(text) else {
                throw .badRequest("cluster CIDR \"\(text)\": expected a network such as 10.42.0.0/16")
            }
            let length = network.base.isIPv6 ? lengthIPv6 : lengthIPv4
            // Upstream's bounds: 2^16 nodes.
            guard (network.prefix...network.prefix + 16).contains(length) else {
                throw .badRequest(
                    "cluster CIDR \(text): the node CIDR mask size \(length) must be from \(network.prefix) to "
                        + "\(network.prefix + 16)")
            }
            guard !self.networks.contains(where: { $0.network.base.isIPv6 == network.base.isIPv6 }) else {
                throw .badRequest("cluster CIDR \(text): expected at most one network of each family")
            }
            self.networks.append(Network(network: network, length: length))
        }
        if self.networks.isEmpty { throw .badRequest("cluster CIDR: expected at least one network") }
    }

    /// A node has these ranges, whoever gave them. Returns the other nodes that have part of them too.
    mutating func adopt(_ ranges: [String], by node: String) -> [String] {
        var others: Set<String> = []
        for range in ranges.compactMap({ IPNetwork($0) }) {
            for i in networks.indices {
                guard let indices = networks[i].indices(range) else { continue }
                for index in indices {
                    if let other = networks[i].owners[index], other != node {
                        others.insert(other)
                    } else {
                        networks[i].owners[index] = node
                    }
                }
            }
        }
        return others.sorted()
    }

    /// One range of each network, for a node that has none; those that it was given already, if so. Nil when a network is
    /// used up; then nothing is taken.
    mutating func allocate(for node: String) -> [String]? {
        var chosen: [Int] = []
        for i in networks.indices {
            if let mine = networks[i].owners.filter({ $0.value == node }).keys.min() {
                chosen.append(mine)
                continue
            }
            var index = networks[i].lowest
            while index < networks[i].count, networks[i].owners[index] != nil { index += 1 }
            networks[i].lowest = index
            guard index < networks[i].count else { return nil }
            chosen.append(index)
        }
        for (i, index) in chosen.enumerated() { networks[i].owners[index] = node }
        return chosen.enumerated().map { networks[$0.offset].range($0.element) }
    }

    /// The node is gone.
    mutating func release(_ node: String) {
        for i in networks.indices {
            for (index, owner) in networks[i].owners where owner == node {
                networks[i].owners[index] = nil
                networks[i].lowest = min(networks[i].lowest, index)
            }
        }
    }
}
