import Linux
import Netlink

/// A type of values by libnftables' number. The kernel keeps the number of a set's key and never looks at it; a
/// concatenation has six bits for each field, the first highest.
struct NftType: Hashable {
    var id: UInt32

    static let verdict = NftType(id: 1), protocolFamily = NftType(id: 2), integer = NftType(id: 4)
    static let ipv4 = NftType(id: 7), ipv6 = NftType(id: 8), ether = NftType(id: 9), etherType = NftType(id: 10)
    static let transport = NftType(id: 12), port = NftType(id: 13), icmp = NftType(id: 14), tcpFlags = NftType(id: 15)
    static let mark = NftType(id: 19), interface = NftType(id: 20), user = NftType(id: 24), group = NftType(id: 25)
    static let trackingState = NftType(id: 26), trackingDirection = NftType(id: 27), trackingStatus = NftType(id: 28)
    static let icmpv6 = NftType(id: 29), packetType = NftType(id: 31), addressType = NftType(id: 38)
    static let interfaceName = NftType(id: 41), time = NftType(id: 18)

    /// By number, "-" where sets cannot have it. Bytes of one value behind ":", where they are always the same.
    private static let table: StaticString = """
        - verdict:0 nf_proto:1 - integer string ll_addr ipv4_addr:4 ipv6_addr:16 ether_addr:6 ether_type:2 arp_op:2 \
        inet_proto:1 inet_service:2 icmp_type:1 tcp_flag:1 dccp_pkttype:1 mh_type:1 time:8 mark:4 iface_index:4 \
        iface_type:2 realm:4 classid:4 uid:4 gid:4 ct_state:4 ct_dir:1 ct_status:4 icmpv6_type:1 ct_label:16 pkt_type:1 \
        icmp_code:1 icmpv6_code:1 icmpx_code:1 devgroup:4 dscp:1 ecn:1 fib_addrtype:4 boolean:1 ct_event:4 ifname:16 \
        igmp_type:1 time:8 hour:4 day:1 cgroupsv2:8
        """

    private static let rows: [(name: String, size: Int?)] = TextTable.words(table).map { word in
        let parts = word.split(separator: ":")
        return (String(parts[0]), parts.count > 1 ? Int(parts[1]) : nil)
    }

    private var row: (name: String, size: Int?)? {
        let index = Int(clamping: id)
        return NftType.rows.indices.contains(index) && NftType.rows[index].name != "-" ? NftType.rows[index] : nil
    }

    var size: Int? { row?.size }
    var isConcatenation: Bool { id > 63 }
    /// What libnftables puts two or five of on a line (calculate_delim).
    var perLine: Int {
        switch id {
        case 2, 4, 11, 12, 13, 15, 16, 19, 20, 23, 24, 25, 27: 5
        case 7, 26, 28, 31: 2
        default: 1
        }
    }

    /// The types of a concatenation's fields, or the type itself.
    var fields: [NftType] {
        guard isConcatenation else { return [self] }
        var list: [NftType] = []
        var rest = id
        while rest > 0 {
            list.insert(NftType(id: rest & 63), at: 0)
            rest >>= 6
        }
        return list
    }

    var name: String { fields.map { $0.row?.name ?? "unknown" }.joined(separator: " . ") }

    /// A prefix length is shorter than a range of these.
    var hasPrefixes: Bool { self == .ipv4 || self == .ipv6 }
    /// The machine's byte order; all others are in the network's.
    var isHostOrder: Bool { [18, 19, 20, 22, 23, 24, 25, 26, 28, 35, 38].contains(id) }
    /// Bits with names, of which several may be set.
    var isFlags: Bool { self == .trackingState || self == .trackingStatus || self == .tcpFlags }

    /// The number in a value of at most 8 bytes.
    func number(_ bytes: some Collection<UInt8>) -> UInt64? {
        guard bytes.count <= 8 else { return nil }
        var value: UInt64 = 0
        if isHostOrder, Int(1).littleEndian == 1 {
            for (index, byte) in bytes.enumerated() { value |= UInt64(byte) << UInt64(index * 8) }
        } else {
            for byte in bytes { value = value << 8 | UInt64(byte) }
        }
        return value
    }

    /// One value; `isNumeric`: without names (-n).
    func text(_ bytes: some Collection<UInt8>, isNumeric: Bool) -> String {
        switch self {
        case .ipv4, .ipv6: return IPAddress(bytes: Array(bytes))?.description ?? NftType.hex(bytes)
        case .ether:
            return bytes.map { Number.hex($0, digits: 2) }.joined(separator: ":")
        case .interfaceName, NftType(id: 5): return NftType.string(bytes)
        default: break
        }
        guard let number = number(bytes) else { return NftType.hex(bytes) }
        if self == .mark || self == NftType(id: 22) || self == NftType(id: 23) {
            return "0x" + Number.hex(number, digits: 8)
        }
        if self == .time {
            let (milliseconds, isTooLong) = number.multipliedReportingOverflow(by: 1000)
            return NftType.duration(isTooLong ? .max : milliseconds, isNumeric: isNumeric)
        }
        if self == .interface, let name = NftType.interfaceName(number) { return "\"\(name)\"" }
        if !isNumeric {
            if self == .transport, number < 256 {
                // /etc/protocols calls the number 0 "ip".
                return number == 0 ? "ip" : Names.protocolName(UInt8(number))
            }
            if let name = symbol(number) { return name }
        }
        if isFlags || self == .etherType {
            return "0x" + Number.hex(number, digits: self == .etherType ? 4 : 1)
        }
        return "\(number)"
    }

    /// A text that ends with a NUL; without one it is the beginning of a name.
    static func string(_ bytes: some Collection<UInt8>) -> String {
        let text = String(decoding: Array(bytes.prefix { $0 != 0 }), as: UTF8.self)
        return bytes.contains(0) ? "\"\(text)\"" : "\"\(text)*\""
    }

    private static func interfaceName(_ index: UInt64) -> String? {
        guard let index = UInt32(exactly: index) else { return nil }
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 32) { buffer in
            guard let base = buffer.baseAddress, if_indextoname(index, base) != nil else { return nil }
            return String(cString: base)
        }
    }

    static func hex(_ bytes: some Collection<UInt8>) -> String {
        "0x" + bytes.map { Number.hex($0, digits: 2) }.joined()
    }

    /// "1d2h3m4s5ms"
    static func duration(_ milliseconds: UInt64, isNumeric: Bool = false) -> String {
        if isNumeric { return "\(milliseconds / 1000)s" }
        var text = ""
        let seconds = milliseconds / 1000
        for (count, unit) in [
            (seconds / 86400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s"),
            (milliseconds % 1000, "ms"),
        ] where count > 0 { text += "\(count)\(unit)" }
        return text.isEmpty ? "0s" : text
    }

    // MARK: Names

    /// Number and name, separated by "=".
    private var symbols: StaticString? {
        switch self {
        case .protocolFamily: "2=ipv4 10=ipv6"
        case .etherType: "2048=ip 2054=arp 34525=ip6 33024=8021q 34984=8021ad"
        case .icmp:
            "0=echo-reply 3=destination-unreachable 4=source-quench 5=redirect 8=echo-request 9=router-advertisement 10=router-solicitation 11=time-exceeded 12=parameter-problem 13=timestamp-request 14=timestamp-reply 15=info-request 16=info-reply 17=address-mask-request 18=address-mask-reply"
        case .icmpv6:
            "1=destination-unreachable 2=packet-too-big 3=time-exceeded 4=parameter-problem 128=echo-request 129=echo-reply 130=mld-listener-query 131=mld-listener-report 132=mld-listener-done 133=nd-router-solicit 134=nd-router-advert 135=nd-neighbor-solicit 136=nd-neighbor-advert 137=nd-redirect 138=router-renumbering 141=ind-neighbor-solicit 142=ind-neighbor-advert 143=mld2-listener-report"
        case .tcpFlags: "1=fin 2=syn 4=rst 8=psh 16=ack 32=urg 64=ecn 128=cwr"
        case .trackingState: "1=invalid 2=established 4=related 8=new 64=untracked"
        case .trackingDirection: "0=original 1=reply"
        case .trackingStatus: "1=expected 2=seen-reply 4=assured 8=confirmed 16=snat 32=dnat 512=dying"
        case .packetType: "0=host 1=broadcast 2=multicast 3=other"
        case .addressType:
            "0=unspec 1=unicast 2=local 3=broadcast 4=anycast 5=multicast 6=blackhole 7=unreachable 8=prohibit"
        case NftType(id: 39): "0=missing 1=exists"
        default: nil
        }
    }

    func symbol(_ number: UInt64) -> String? { pairs.first { $0.number == number }?.name }

    private var pairs: [(number: UInt64, name: String)] {
        guard let symbols else { return [] }
        return TextTable.words(symbols).compactMap { word in
            let parts = word.split(separator: "=")
            guard parts.count == 2, let number = UInt64(parts[0]) else { return nil }
            return (number, String(parts[1]))
        }
    }

    /// Several bits: names joined by commas, the lowest first.
    func flags(_ number: UInt64, isNumeric: Bool) -> String {
        var words: [String] = []
        var rest = number
        for bit in 0..<64 as Range<UInt64> where number >> bit & 1 == 1 {
            let value = UInt64(1) << bit
            rest &= ~value
            words.append(isNumeric ? "0x\(Number.hex(value))" : symbol(value) ?? "0x\(Number.hex(value))")
        }
        return words.isEmpty ? "0x0" : words.joined(separator: ",")
    }
}

/// Words of a text in the read-only segment.
enum TextTable {
    static func words(_ text: StaticString) -> [Substring] {
        text.withUTF8Buffer { String(decoding: $0, as: UTF8.self) }.split(separator: " ")
    }
}
