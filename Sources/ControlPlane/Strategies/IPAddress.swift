internal import Linux

/// An IPv4 or IPv6 address as a number, for ranges and sets.
struct IPAddress: Hashable, Sendable, CustomStringConvertible {
    var value: UInt128
    var isIPv6: Bool

    init(value: UInt128, isIPv6: Bool) { (self.value, self.isIPv6) = (value, isIPv6) }

    /// Text form without a zone or leading zeros, as upstream's strict parser has it.
    init?(_ text: String) {
        if text.utf8.contains(UInt8(ascii: ":")) {
            var address = in6_addr()
            guard inet_pton(AF_INET6, text, &address) == 1 else { return nil }
            value = withUnsafeBytes(of: &address) { $0.reduce(0) { $0 << 8 | UInt128($1) } }
            isIPv6 = true
            return
        }
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var number: UInt128 = 0
        for part in parts {
            guard let byte = UInt8(part), part == "0" || !part.hasPrefix("0"), part.first != "+" else { return nil }
            number = number << 8 | UInt128(byte)
        }
        (value, isIPv6) = (number, false)
    }

    var description: String {
        guard isIPv6 else {
            return (0..<4).map { String(UInt8(truncatingIfNeeded: value >> UInt128(24 - 8 * $0))) }.joined(
                separator: ".")
        }
        var address = in6_addr()
        withUnsafeMutableBytes(of: &address) { bytes in
            for i in 0..<16 { bytes[i] = UInt8(truncatingIfNeeded: value >> UInt128(120 - 8 * i)) }
        }
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        guard inet_ntop(AF_INET6, &address, &text, socklen_t(text.count)) != nil else { return "" }
        return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}

/// A network in CIDR notation.
struct IPNetwork: Sendable, Equatable, CustomStringConvertible {
    let base: IPAddress
    let prefix: Int

    init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let address = IPAddress(String(parts[0])), let prefix = Int(parts[1]), prefix >= 0,
            prefix <= (address.isIPv6 ? 128 : 32)
        else { return nil }
        let host = (address.isIPv6 ? 128 : 32) - prefix
        let mask: UInt128 = host == 128 ? 0 : ~((UInt128(1) << UInt128(host)) - 1)
        base = IPAddress(value: address.value & mask, isIPv6: address.isIPv6)
        self.prefix = prefix
    }

    /// Addresses in it; saturates at 2^64 for the widest.
    var size: UInt128 { UInt128(1) << UInt128(min((base.isIPv6 ? 128 : 32) - prefix, 64)) }
    func contains(_ address: IPAddress) -> Bool {
        address.isIPv6 == base.isIPv6 && address.value >= base.value && address.value - base.value < size
    }
    func address(at offset: UInt128) -> IPAddress { IPAddress(value: base.value + offset, isIPv6: base.isIPv6) }
    var description: String { "\(base)/\(prefix)" }
}
