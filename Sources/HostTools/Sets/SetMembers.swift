import Netlink

/// The types of sets, by their names' parts.
enum SetType {
    static let names = [
        "hash:ip", "hash:net", "hash:ip,port", "hash:net,port", "bitmap:port", "list:set",
    ]

    static func parts(_ name: String) -> [Substring] {
        (name.split(separator: ":").last ?? "").split(separator: ",")
    }
}

/// IPSET_ATTR_* of linux/netfilter/ipset/ip_set.h. Numbers of more than a byte are in network order and say so.
enum SetAttribute {
    static let big: UInt16 = 0x4000
    static let address: UInt16 = 1, addressTo: UInt16 = 2, prefix: UInt16 = 3, port: UInt16 = 4, portTo: UInt16 = 5
    static let timeout: UInt16 = 6, transport: UInt16 = 7, flags: UInt16 = 8, line: UInt16 = 9
    static let initial: UInt16 = 17, hashSize: UInt16 = 18, maximum: UInt16 = 19, netmask: UInt16 = 20
    static let bucketSize: UInt16 = 21, size: UInt16 = 23, elements: UInt16 = 24, references: UInt16 = 25
    static let memory: UInt16 = 26
    static let name: UInt16 = 18, nameReference: UInt16 = 19, bytes: UInt16 = 24, packets: UInt16 = 25
    static let comment: UInt16 = 26
}

/// One element as the command line has it, and as it is printed.
struct SetMember {
    var address: IPAddress?
    var addressTo: IPAddress?
    var prefix: UInt8?
    var transport: UInt8?
    var port: UInt16?
    var portTo: UInt16?
    var name: String?
    /// Of a list: before or after this one.
    var reference: String?
    var isBefore = false
    var timeout: UInt32?
    var packets: UInt64?
    var bytes: UInt64?
    var comment: String?
    var isException = false

    // MARK: the command line

    /// "10.0.0.0/8,tcp:80-90"
    init(_ text: String, type: String) throws(ToolError) {
        let parts = SetType.parts(type)
        let words = text.split(separator: ",", omittingEmptySubsequences: false)
        guard words.count <= parts.count else {
            throw ToolError(1, "Syntax error: Elem separator in \(text), but settype \(type) supports none.")
        }
        guard words.count == parts.count else {
            throw ToolError(1, "Syntax error: Second element is missing from \(text).")
        }
        for (part, word) in zip(parts, words) {
            switch part {
            case "ip", "net": try readAddress(word)
            case "port": try readPort(word, isBare: parts.count == 1)
            default: name = String(word)
            }
        }
    }

    private mutating func readAddress(_ word: Substring) throws(ToolError) {
        func parse(_ text: Substring) throws(ToolError) -> IPAddress {
            guard let address = IPAddress(text) else {
                throw ToolError(1, "Syntax error: cannot parse \(text): resolving to IPv4 address failed")
            }
            return address
        }
        let slash = word.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        let range = word.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        if slash.count > 1 {
            address = try parse(slash[0])
            guard let length = Number.parse(slash[1], max: UInt64(address?.bitWidth ?? 32)) else {
                throw ToolError(1, "Syntax error: '\(slash[1])' is invalid as number")
            }
            prefix = UInt8(length)
        } else {
            address = try parse(range[0])
            if range.count > 1 { addressTo = try parse(range[1]) }
        }
    }

    private static let icmp: [(String, UInt16)] = [
        ("echo-reply", 0), ("pong", 0), ("network-unreachable", 0x300), ("host-unreachable", 0x301),
        ("protocol-unreachable", 0x302), ("port-unreachable", 0x303), ("fragmentation-needed", 0x304),
        ("source-route-failed", 0x305), ("network-unknown", 0x306), ("host-unknown", 0x307),
        ("network-prohibited", 0x309), ("host-prohibited", 0x30a), ("source-quench", 0x400),
        ("network-redirect", 0x500), ("host-redirect", 0x501), ("echo-request", 0x800), ("ping", 0x800),
        ("router-advertisement", 0x900), ("router-solicitation", 0xa00), ("ttl-zero-during-transit", 0xb00),
        ("ttl-zero-during-reassembly", 0xb01), ("ip-header-bad", 0xc00), ("required-option-missing", 0xc01),
        ("timestamp-request", 0xd00), ("timestamp-reply", 0xe00), ("address-mask-request", 0x1100),
        ("address-mask-reply", 0x1200),
    ]

    private mutating func readPort(_ word: Substring, isBare: Bool) throws(ToolError) {
        var rest = word
        if let colon = word.firstIndex(of: ":") {
            guard let number = Names.protocolNumber(String(word[..<colon])) else {
                throw ToolError(1, "Syntax error: cannot parse '\(word[..<colon])' as a protocol name")
            }
            transport = number
            rest = word[word.index(after: colon)...]
        } else if !isBare {
            transport = 6
        }
        if transport == 1 || transport == 58 {
            if let known = SetMember.icmp.first(where: { $0.0 == rest }), transport == 1 {
                port = known.1
                return
            }
            let parts = rest.split(separator: "/", omittingEmptySubsequences: false)
            guard parts.count == 2, let type = Number.parse(parts[0], max: 255),
                let code = Number.parse(parts[1], max: 255)
            else { throw ToolError(1, "Syntax error: Cannot parse \(rest) as an ICMP type/code.") }
            port = UInt16(type << 8 | code)
            return
        }
        let range = rest.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        func parse(_ text: Substring) throws(ToolError) -> UInt16 {
            guard let port = Names.port(text, transport.map(Names.protocolName)) else {
                throw ToolError(1, "Syntax error: '\(text)' is invalid as number")
            }
            return port
        }
        port = try parse(range[0])
        if range.count > 1 { portTo = try parse(range[1]) }
    }

    func encode(into data: inout MessageBuffer) {
        func write(_ address: IPAddress, _ type: UInt16, into data: inout MessageBuffer) {
            data.nested(type) { $0.attribute((address.isIPv4 ? 1 : 2) | SetAttribute.big, address) }
        }
        if let address { write(address, SetAttribute.address, into: &data) }
        if let addressTo { write(addressTo, SetAttribute.addressTo, into: &data) }
        if let prefix { data.attribute(SetAttribute.prefix, prefix) }
        if let port { data.attribute(SetAttribute.port | SetAttribute.big, big: port) }
        if let portTo { data.attribute(SetAttribute.portTo | SetAttribute.big, big: portTo) }
        if let transport { data.attribute(SetAttribute.transport, transport) }
        if let timeout { data.attribute(SetAttribute.timeout | SetAttribute.big, big: timeout) }
        if let name { data.attribute(SetAttribute.name, string: name) }
        if let reference { data.attribute(SetAttribute.nameReference, string: reference) }
        if let packets { data.attribute(SetAttribute.packets | SetAttribute.big, big: packets) }
        if let bytes { data.attribute(SetAttribute.bytes | SetAttribute.big, big: bytes) }
        if let comment { data.attribute(SetAttribute.comment, string: comment) }
        let flags: UInt32 = (isBefore ? 1 : 0) | (isException ? 4 : 0)
        if flags != 0 { data.attribute(SetAttribute.flags | SetAttribute.big, big: flags) }
        data.attribute(SetAttribute.line | SetAttribute.big, big: UInt32(0))
    }

    // MARK: the kernel

    init(_ data: ByteView) {
        address = data.attribute(SetAttribute.address)?.attributes.first { _ in true }?.value.address
        prefix = data.attribute(SetAttribute.prefix)?.load(0)
        transport = data.attribute(SetAttribute.transport)?.load(0)
        port = data.attribute(SetAttribute.port)?.big()
        name = data.attribute(SetAttribute.name)?.string
        timeout = data.attribute(SetAttribute.timeout)?.big()
        packets = data.attribute(SetAttribute.packets)?.big()
        bytes = data.attribute(SetAttribute.bytes)?.big()
        comment = data.attribute(SetAttribute.comment)?.string
        isException = (data.attribute(SetAttribute.flags)?.big(as: UInt32.self) ?? 0) & 4 != 0
    }

    /// The element without its options.
    var key: String {
        var text = name ?? ""
        if let address {
            text += "\(address)"
            if let addressTo { text += "-\(addressTo)" }
            if let prefix, Int(prefix) != address.bitWidth { text += "/\(prefix)" }
        }
        guard let port else { return text }
        if address != nil { text += "," }
        if let transport {
            text += Names.protocolName(transport) + ":"
            if transport == 1 || transport == 58 {
                let known = transport == 1 ? SetMember.icmp.first { $0.1 == port }?.0 : nil
                return text + (known ?? "\(port >> 8)/\(port & 255)")
            }
        }
        return text + "\(port)" + (portTo.map { "-\($0)" } ?? "")
    }

    var line: String {
        var text = key
        if let timeout { text += " timeout \(timeout)" }
        if isException { text += " nomatch" }
        if let packets, let bytes { text += " packets \(packets) bytes \(bytes)" }
        if let comment { text += " comment \"\(comment)\"" }
        return text
    }
}
