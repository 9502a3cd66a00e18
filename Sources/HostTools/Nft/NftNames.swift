/// Words for what expressions load, by the kernel's numbers.
enum NftNames {
    private typealias Field = (offset: UInt32, length: UInt32, name: String, type: NftType)

    /// NFT_META_*.
    static func meta(_ key: UInt32) -> (String, NftType) {
        switch key {
        case 0: ("meta length", .integer)
        case 1: ("meta protocol", .etherType)
        case 2: ("meta priority", NftType(id: 23))
        case 3: ("meta mark", .mark)
        case 4: ("iif", .interface)
        case 5: ("oif", .interface)
        case 6: ("iifname", .interfaceName)
        case 7: ("oifname", .interfaceName)
        case 10: ("meta skuid", .user)
        case 11: ("meta skgid", .group)
        case 12: ("meta nftrace", .integer)
        case 15: ("meta nfproto", .protocolFamily)
        case 16: ("meta l4proto", .transport)
        case 17: ("meta ibrname", .interfaceName)
        case 18: ("meta obrname", .interfaceName)
        case 19: ("meta pkttype", .packetType)
        case 20: ("meta cpu", .integer)
        case 21: ("iifgroup", .integer)
        case 22: ("oifgroup", .integer)
        case 23: ("meta cgroup", .integer)
        default: ("meta key-\(key)", .integer)
        }
    }

    /// NFT_CT_*.
    static func tracking(_ key: UInt32) -> (String, NftType) {
        switch key {
        case 0: ("state", .trackingState)
        case 1: ("direction", .trackingDirection)
        case 2: ("status", .trackingStatus)
        case 3: ("mark", .mark)
        case 5: ("expiration", .time)
        case 6: ("helper", .interfaceName)
        case 7: ("l3proto", .protocolFamily)
        case 10: ("protocol", .transport)
        case 11: ("proto-src", .port)
        case 12: ("proto-dst", .port)
        case 14: ("packets", .integer)
        case 15: ("bytes", .integer)
        case 17: ("zone", .integer)
        case 19: ("ip saddr", .ipv4)
        case 20: ("ip daddr", .ipv4)
        case 21: ("ip6 saddr", .ipv6)
        case 22: ("ip6 daddr", .ipv6)
        default: ("key-\(key)", .integer)
        }
    }

    private static func find(
        _ fields: [Field], _ prefix: String, _ offset: UInt32, _ length: UInt32
    ) -> (String, NftType)? {
        fields.first { $0.offset == offset && $0.length == length }.map { ("\(prefix) \($0.name)", $0.type) }
    }

    static func link(_ offset: UInt32, _ length: UInt32) -> (String, NftType)? {
        find([(0, 6, "daddr", .ether), (6, 6, "saddr", .ether), (12, 2, "type", .etherType)], "ether", offset, length)
    }

    static func network(_ family: UInt8, _ offset: UInt32, _ length: UInt32) -> (String, NftType)? {
        switch family {
        case 2:
            find(
                [
                    (12, 4, "saddr", .ipv4), (16, 4, "daddr", .ipv4), (9, 1, "protocol", .transport),
                    (8, 1, "ttl", .integer), (2, 2, "length", .integer), (4, 2, "id", .integer),
                    (6, 2, "frag-off", .integer), (10, 2, "checksum", .integer),
                ], "ip", offset, length)
        case 10:
            find(
                [
                    (8, 16, "saddr", .ipv6), (24, 16, "daddr", .ipv6), (6, 1, "nexthdr", .transport),
                    (7, 1, "hoplimit", .integer), (4, 2, "length", .integer),
                ], "ip6", offset, length)
        default: nil
        }
    }

    /// The first bytes of an address: a prefix that ends with a byte is compared without the rest.
    static func addressStart(_ family: UInt8, _ offset: UInt32, _ length: UInt32) -> (String, NftType)? {
        let size: UInt32 = family == 2 ? 4 : 16
        return length > 0 && length < size ? network(family, offset, size).flatMap { $0.1.hasPrefixes ? $0 : nil } : nil
    }

    static func transport(_ number: UInt8, _ offset: UInt32, _ length: UInt32) -> (String, NftType)? {
        let ports: [Field] = [(0, 2, "sport", .port), (2, 2, "dport", .port)]
        switch number {
        case 6:
            return find(
                ports + [
                    (4, 4, "sequence", .integer), (8, 4, "ackseq", .integer), (13, 1, "flags", .tcpFlags),
                    (14, 2, "window", .integer), (16, 2, "checksum", .integer), (18, 2, "urgptr", .integer),
                ], "tcp", offset, length)
        case 17: return find(ports + [(4, 2, "length", .integer), (6, 2, "checksum", .integer)], "udp", offset, length)
        case 33: return find(ports, "dccp", offset, length)
        case 132: return find(ports + [(4, 4, "vtag", .integer)], "sctp", offset, length)
        case 136: return find(ports, "udplite", offset, length)
        case 1:
            return find(
                [
                    (0, 1, "type", .icmp), (1, 1, "code", .integer), (4, 2, "id", .integer),
                    (6, 2, "sequence", .integer),
                ],
                "icmp", offset, length)
        case 58:
            return find(
                [
                    (0, 1, "type", .icmpv6), (1, 1, "code", .integer), (4, 2, "id", .integer),
                    (6, 2, "sequence", .integer),
                ], "icmpv6", offset, length)
        default: return nil
        }
    }

    /// Codes of `reject`.
    static func unreachable(_ isSix: Bool) -> [UInt8: String] {
        isSix
            ? [
                0: "no-route", 1: "admin-prohibited", 3: "addr-unreachable", 4: "port-unreachable",
                5: "policy-fail", 6: "reject-route",
            ]
            : [
                0: "net-unreachable", 1: "host-unreachable", 2: "prot-unreachable", 3: "port-unreachable",
                9: "net-prohibited", 10: "host-prohibited", 13: "admin-prohibited",
            ]
    }

    /// NFPROTO_*, as the command line and the output have them.
    static let families: [(name: String, number: UInt8)] = [
        ("ip", 2), ("ip6", 10), ("inet", 1), ("arp", 3), ("bridge", 7), ("netdev", 5),
    ]

    static func family(_ number: UInt8) -> String { families.first { $0.number == number }?.name ?? "unknown" }

    static func hook(_ number: UInt32, _ family: UInt8) -> String {
        let names =
            switch family {
            case 3: ["input", "output"]
            case 5: ["ingress", "egress"]
            default: ["prerouting", "input", "forward", "output", "postrouting", "ingress"]
            }
        return Int(clamping: number) < names.count ? names[Int(number)] : "unknown"
    }

    /// A priority by the next name that is at most ten away.
    static func priority(_ value: Int32, _ family: UInt8, _ hook: String, isNumeric: Bool) -> String {
        if isNumeric { return "\(value)" }
        var names: [(String, Int64)]
        switch family {
        case 1, 2, 10, 5:
            names = [("raw", -300), ("mangle", -150), ("filter", 0), ("security", 50)]
            if family == 5 { names = [("filter", 0)] }
            if hook == "prerouting" { names.append(("dstnat", -100)) }
            if hook == "postrouting" { names.append(("srcnat", 100)) }
        case 7:
            names = [("filter", -200)]
            if hook == "prerouting" { names.append(("dstnat", -300)) }
            if hook == "output" { names.append(("out", 100)) }
            if hook == "postrouting" { names.append(("srcnat", 300)) }
        default: names = [("filter", 0)]
        }
        for (name, number) in names {
            let distance = Int64(value) - number
            if distance == 0 { return name }
            if abs(distance) <= 10 { return "\(name) \(distance < 0 ? "-" : "+") \(abs(distance))" }
        }
        return "\(value)"
    }
}
