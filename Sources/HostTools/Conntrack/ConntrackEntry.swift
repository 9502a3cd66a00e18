import Netlink

/// A connection as the kernel tells it (linux/netfilter/nfnetlink_conntrack.h), and as conntrack prints it.
struct ConntrackEntry {
    struct Tuple: Equatable {
        var source: IPAddress
        var destination: IPAddress
        var transport: UInt8
        var sourcePort: UInt16?
        var destinationPort: UInt16?
        /// Identifier, type and code of ICMP.
        var icmp: (UInt16, UInt8, UInt8)?

        static func == (left: Tuple, right: Tuple) -> Bool { left.description == right.description }

        init?(_ view: ByteView) {
            guard let addresses = view.attribute(1), let rest = view.attribute(2),
                let source = (addresses.attribute(1) ?? addresses.attribute(3))?.address,
                let destination = (addresses.attribute(2) ?? addresses.attribute(4))?.address,
                let transport = rest.attribute(1)?.load(0, as: UInt8.self)
            else { return nil }
            (self.source, self.destination, self.transport) = (source, destination, transport)
            sourcePort = rest.attribute(2)?.big()
            destinationPort = rest.attribute(3)?.big()
            if let identifier: UInt16 = (rest.attribute(4) ?? rest.attribute(7))?.big() {
                icmp = (
                    identifier, (rest.attribute(5) ?? rest.attribute(8))?.load(0) ?? 0,
                    (rest.attribute(6) ?? rest.attribute(9))?.load(0) ?? 0
                )
            }
        }

        var description: String {
            var text = "src=\(source) dst=\(destination) "
            if let icmp {
                text += "type=\(icmp.1) code=\(icmp.2) id=\(icmp.0) "
            } else if let sourcePort, let destinationPort {
                text += "sport=\(sourcePort) dport=\(destinationPort) "
            }
            return text
        }

        /// What libnetfilter_conntrack compares to find translations: two bytes for either end.
        var ends: (UInt16, UInt16) {
            if let icmp { return (icmp.0, UInt16(icmp.1) << 8 | UInt16(icmp.2)) }
            return (sourcePort ?? 0, destinationPort ?? 0)
        }
    }

    var original: Tuple
    var reply: Tuple
    var status: UInt32
    var timeout: UInt32?
    var state: UInt8?
    var mark: UInt32?
    var use: UInt32
    var identifier: UInt32?
    var zone: UInt16?
    var counts: [(packets: UInt64, bytes: UInt64)?]
    var context: String?
    var helper: String?
    /// CTA_TUPLE_ORIG as it came, to delete by.
    var rawTuple: [UInt8]

    init?(_ attributes: ByteView) {
        guard let first = attributes.attribute(1), let original = Tuple(first),
            let reply = attributes.attribute(2).flatMap(Tuple.init)
        else { return nil }
        (self.original, self.reply, rawTuple) = (original, reply, first.array)
        status = attributes.attribute(3)?.big() ?? 0
        timeout = attributes.attribute(7)?.big()
        let information = attributes.attribute(4)
        state = (information?.attribute(1) ?? information?.attribute(3))?.attribute(1)?.load(0)
        mark = attributes.attribute(8)?.big()
        use = attributes.attribute(11)?.big() ?? 0
        identifier = attributes.attribute(12)?.big()
        zone = attributes.attribute(18)?.big()
        context = attributes.attribute(19)?.attribute(1)?.string
        helper = attributes.attribute(5)?.attribute(1)?.string
        counts = [UInt16(9), 10].map { type in
            guard let counters = attributes.attribute(type) else { return nil }
            return (counters.attribute(1)?.big() ?? 0, counters.attribute(2)?.big() ?? 0)
        }
    }

    static let tcpStates = [
        "NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE",
        "LISTEN",
    ]
    static let sctpStates = [
        "NONE", "CLOSED", "COOKIE_WAIT", "COOKIE_ECHOED", "ESTABLISHED", "SHUTDOWN_SENT", "SHUTDOWN_RECD",
        "SHUTDOWN_ACK_SENT",
    ]
    static let protocols: [(name: String, number: UInt8)] = [
        ("tcp", 6), ("udp", 17), ("udplite", 136), ("sctp", 132), ("dccp", 33), ("icmp", 1), ("icmpv6", 58),
        ("icmpv6", 58), ("gre", 47), ("unknown", 0),
    ]

    static func name(_ transport: UInt8) -> String { protocols.first { $0.number == transport }?.name ?? "unknown" }

    var stateName: String? {
        guard let state else { return nil }
        let names = original.transport == 132 ? ConntrackEntry.sctpStates : ConntrackEntry.tcpStates
        return Int(state) < names.count ? names[Int(state)] : "NONE"
    }

    func line(extended: Bool, identifiers: Bool) -> String {
        var text = ""
        if extended { text += original.source.isIPv4 ? "ipv4     2 " : "ipv6     10 " }
        text += "\(padded(ConntrackEntry.name(original.transport), 8)) \(original.transport) "
        if let timeout { text += "\(timeout) " }
        if let stateName { text += stateName + " " }
        text += original.description + count(0)
        if status & 2 == 0 { text += "[UNREPLIED] " }
        text += reply.description + count(1)
        // IPS_OFFLOAD and IPS_HW_OFFLOAD take the place of ASSURED.
        if status & 1 << 15 != 0 {
            text += "[HW_OFFLOAD] "
        } else if status & 1 << 14 != 0 {
            text += "[OFFLOAD] "
        } else if status & 4 != 0 {
            text += "[ASSURED] "
        }
        if let mark { text += "mark=\(mark) " }
        if let context { text += "secctx=\(context) " }
        if let zone { text += "zone=\(zone) " }
        if let helper { text += "helper=\(helper) " }
        text += "use=\(use)"
        if identifiers, let identifier { text += " id=\(identifier)" }
        return text
    }

    private func count(_ index: Int) -> String {
        counts[index].map { "packets=\($0.packets) bytes=\($0.bytes) " } ?? ""
    }

    var isSourceTranslated: Bool {
        status & 1 << 7 != 0
            && (reply.destination != original.source || reply.ends.1 != original.ends.0)
    }
    var isDestinationTranslated: Bool {
        status & 1 << 8 != 0
            && (reply.source != original.destination || reply.ends.0 != original.ends.1)
    }
}
