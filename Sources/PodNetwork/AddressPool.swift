import Netlink

/// The addresses of one range and who has them: lowest next, round robin (as the CNI plugin host-local does), so that an
/// address rests as long as possible before it is used again. The first address is the gateway's; network and broadcast
/// addresses are never given.
package struct AddressPool: Sendable, Equatable {
    package let prefix: IPPrefix
    /// Owner by offset from the network address.
    private var owners: [UInt64: String] = [:]
    /// The offset given last.
    private var last: UInt64 = 1

    /// - Throws: `.invalid` unless there is room for a gateway and a pod.
    package init(_ prefix: IPPrefix) throws(PodNetworkError) {
        self.prefix = prefix.masked
        guard prefix.addressCount >= 4 else {
            throw PodNetworkError(
                .invalid,
                "pod CIDR \(prefix) has no room for pods: at least /\(prefix.family == .ipv4 ? 30 : 126) is needed")
        }
    }

    package var gateway: IPAddress { prefix.network.advanced(by: 1) ?? prefix.network }
    /// The gateway's address as the bridge has it.
    package var gatewayPrefix: IPPrefix { IPPrefix(gateway, length: Int(prefix.length)) ?? IPPrefix(host: gateway) }

    private var lastUsable: UInt64 {
        let count = prefix.addressCount
        // IPv6 has no broadcast address. Ranges of 2^64 and more are used up to 2^32: nobody has more pods on a node.
        return prefix.family == .ipv4 ? count - 2 : min(count - 1, 1 << 32)
    }
    /// How many pods fit.
    package var capacity: UInt64 { lastUsable - 1 }
    package var used: Int { owners.count }

    package mutating func allocate(for owner: String) throws(PodNetworkError) -> IPAddress {
        if UInt64(owners.count) < capacity {
            var offset = last
            repeat {
                offset = offset >= lastUsable ? 2 : offset + 1
                if owners[offset] == nil, let address = prefix.network.advanced(by: offset) {
                    owners[offset] = owner
                    last = offset
                    return address
                }
            } while offset != last
        }
        throw PodNetworkError(
            .exhausted,
            "no address left in pod CIDR \(prefix): all \(capacity) are in use; delete pods on this node or give nodes "
                + "larger ranges (node-cidr-mask-size)")
    }

    /// Takes an address that a record on disk says is in use; false if it is outside the range or somebody else's.
    package mutating func adopt(_ address: IPAddress, for owner: String) -> Bool {
        guard let offset = offset(of: address), (2...lastUsable).contains(offset),
            owners[offset] == nil || owners[offset] == owner
        else { return false }
        owners[offset] = owner
        last = max(last, offset)
        return true
    }

    /// Idempotent.
    package mutating func release(_ address: IPAddress) {
        if let offset = offset(of: address) { owners[offset] = nil }
    }

    /// Where allocation goes on, after a restart.
    package mutating func resume(after address: IPAddress) {
        if let offset = offset(of: address), (1...lastUsable).contains(offset) { last = offset }
    }

    private func offset(of address: IPAddress) -> UInt64? {
        guard prefix.contains(address) else { return nil }
        switch (address, prefix.network) {
        case (.v4(let value), .v4(let base)): return UInt64(value - base)
        case (.v6(let high, let low), .v6(let baseHigh, let baseLow)):
            return high == baseHigh && low >= baseLow ? low - baseLow : nil
        default: return nil
        }
    }
}
