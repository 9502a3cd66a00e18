import Netlink

/// Names of the host's ends of veth pairs: "veth" and eight hex digits of a hash of the sandbox id, so that the interface of
/// a pod can be found from its id and the other way round by looking at the records.
package enum InterfaceName {
    /// - Parameter attempt: another name for the same sandbox, should two ids have the same hash.
    package static func make(_ sandboxID: String, attempt: Int = 0) -> String {
        var hash = FNV64()
        hash.combine(sandboxID)
        if attempt > 0 { hash.combine(UInt64(attempt)) }
        let folded = UInt32(truncatingIfNeeded: hash.value ^ hash.value >> 32)
        let digits = String(folded, radix: 16)
        return "veth" + String(repeating: "0", count: 8 - digits.count) + digits
    }

    package static func isOurs(_ name: String) -> Bool {
        let digits = name.dropFirst(4)
        return name.hasPrefix("veth") && digits.utf8.count == 8
            && digits.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }

    /// A locally administered address made from the pod's IPv4 address (0a:58 and its bytes), or a hash of its IPv6 one: the
    /// same for every pod that ever has the address, so neighbours' tables stay right.
    package static func mac(_ address: IPAddress) -> MACAddress {
        switch address {
        case .v4(let value): return MACAddress(value: 0x0a58_0000_0000 | UInt64(value))
        case .v6(let high, let low):
            var hash = FNV64()
            hash.combine(high)
            hash.combine(low)
            return MACAddress(value: 0x0a58_0000_0000 | hash.value & 0xffff_ffff)
        }
    }
}
