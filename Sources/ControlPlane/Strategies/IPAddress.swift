internal import Codecs
internal import KubeAPI
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

extension IPAddress {
    static let invalidText = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"

    private func isWithin(_ prefix: UInt128, bits: Int) -> Bool {
        let width = isIPv6 ? 128 : 32
        return value >> UInt128(width - bits) == prefix
    }

    /// An address to which traffic can be sent from elsewhere. Source: ValidateNonSpecialIP.
    static func checkReachable(_ address: JSON, _ path: String, _ check: inout Validation) {
        guard let ip = IPAddress(address.string ?? "") else {
            check.add(.invalid(path, address.isNull ? "" : address, invalidText))
            return
        }
        func refuse(_ text: String) { check.add(.invalid(path, address, text)) }
        if ip.value == 0 { refuse("may not be unspecified (\(address.string ?? ""))") }
        if ip.isIPv6 ? ip.value == 1 : ip.isWithin(127, bits: 8) {
            refuse("may not be in the loopback range (127.0.0.0/8, ::1/128)")
        }
        if ip.isIPv6 ? ip.isWithin(0xFE80 >> 6, bits: 10) : ip.isWithin(0xA9FE, bits: 16) {
            refuse("may not be in the link-local range (169.254.0.0/16, fe80::/10)")
        }
        if ip.isIPv6 ? ip.isWithin(0xFF02, bits: 16) : ip.isWithin(0xE00000, bits: 24) {
            refuse("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")
        }
    }
}

/// Where a service or an ingress is reached from outside. Source: ValidateLoadBalancerStatus,
/// ValidateIngressLoadBalancerStatus.
enum LoadBalancerStatus {
    static func check(_ status: JSON, modes: Bool, _ check: inout Validation) {
        for (i, entry) in status["loadBalancer"]["ingress"].elements.enumerated() {
            let path = "status.loadBalancer.ingress[\(i)]"
            let (ip, name) = (entry["ip"].string ?? "", entry["hostname"].string ?? "")
            if !ip.isEmpty, IPAddress(ip) == nil {
                check.add(.invalid("\(path).ip", .string(ip), IPAddress.invalidText))
            }
            if modes {
                if ip.isEmpty, !entry["ipMode"].isNull {
                    check.add(.forbidden("\(path).ipMode", "may not be specified when `ip` is not set"))
                } else {
                    check.oneOf(entry["ipMode"], ["Proxy", "VIP"], "\(path).ipMode")
                }
            }
            guard !name.isEmpty else { continue }
            if let problem = LabelSyntax.subdomainProblem(name) {
                check.add(.invalid("\(path).hostname", .string(name), problem))
            }
            if IPAddress(name) != nil {
                check.add(.invalid("\(path).hostname", .string(name), "must be a DNS name, not an IP address"))
            }
        }
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
        base = IPAddress(value: address.value & Self.mask(prefix, isIPv6: address.isIPv6), isIPv6: address.isIPv6)
        self.prefix = prefix
    }

    private static func mask(_ prefix: Int, isIPv6: Bool) -> UInt128 {
        let host = (isIPv6 ? 128 : 32) - prefix
        return host == 128 ? 0 : ~((UInt128(1) << UInt128(host)) - 1)
    }

    /// Addresses in it; saturates at 2^64 for the widest.
    var size: UInt128 { UInt128(1) << UInt128(min((base.isIPv6 ? 128 : 32) - prefix, 64)) }
    func contains(_ address: IPAddress) -> Bool {
        address.isIPv6 == base.isIPv6 && address.value & Self.mask(prefix, isIPv6: base.isIPv6) == base.value
    }
    func address(at offset: UInt128) -> IPAddress { IPAddress(value: base.value + offset, isIPv6: base.isIPv6) }
    var description: String { "\(base)/\(prefix)" }
}
