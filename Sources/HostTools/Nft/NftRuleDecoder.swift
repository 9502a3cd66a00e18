import Netlink

/// A rule's expressions as nft writes them. Registers hold what was loaded, in words; an expression that uses one makes a
/// statement of it. What is not known becomes a comment, and its results are unknown values.
struct NftRuleDecoder {
    /// What a register holds.
    struct Value {
        enum Origin: Equatable {
            case payload(base: UInt32, offset: UInt32, length: UInt32)
            case meta(UInt32)
            case constant([UInt8])
            case map
            case other
        }

        var text: String
        var type: NftType
        var length: Int
        var origin = Origin.other
        /// `(value & mask) ^ xor`, not yet part of the text.
        var mask: [UInt8]?
        var xor: [UInt8] = []
    }

    /// What a statement is there for: a protocol's test is not printed when the next statement says the protocol.
    private enum Meaning: Equatable { case transport(UInt8), family(UInt8), other }

    private let family: UInt8
    private let sets: [String: NftSet]
    /// Elements of sets without a name, which are written in place.
    private let contents: [String: [NftElement]]
    private let isNumeric: Bool
    private let isStateless: Bool
    private var registers: [Int: Value] = [:]
    private var statements: [(text: String, meaning: Meaning)] = []
    private var transport: UInt8?
    private var network: UInt8
    /// ">= first" was the statement before: "<= last" makes it a range.
    private var lower: (statement: Int, text: String, bytes: [UInt8])?

    static func decode(
        _ expressions: ByteView, family: UInt8, sets: [String: NftSet] = [:], contents: [String: [NftElement]] = [:],
        isNumeric: Bool = false, isStateless: Bool = false
    ) -> String {
        var decoder = NftRuleDecoder(family, sets, contents, isNumeric: isNumeric, isStateless: isStateless)
        for element in expressions.attributes where element.type == 1 {
            guard let name = element.value.attribute(1)?.string else { continue }
            decoder.take(name, element.value.attribute(2) ?? ByteView(UnsafeRawBufferPointer(start: nil, count: 0)))
        }
        return decoder.statements.map(\.text).joined(separator: " ")
    }

    private init(
        _ family: UInt8, _ sets: [String: NftSet], _ contents: [String: [NftElement]], isNumeric: Bool,
        isStateless: Bool
    ) {
        (self.family, self.sets, self.contents) = (family, sets, contents)
        (self.isNumeric, self.isStateless, network) = (isNumeric, isStateless, family)
    }

    // MARK: Registers

    /// Word of a register: NFT_REG_1...4 are four words each, NFT_REG32_00... one.
    private static func word(_ number: UInt32?) -> Int? {
        guard let number else { return nil }
        if (1...4).contains(number) { return Int(number - 1) * 4 }
        return (8...23).contains(number) ? Int(number - 8) : nil
    }

    private mutating func set(_ data: ByteView, _ attribute: UInt16, _ value: Value) {
        guard let word = NftRuleDecoder.word(data.attribute(attribute)?.big()) else { return }
        registers[word] = value
    }

    private func value(_ data: ByteView, _ attribute: UInt16) -> Value? {
        NftRuleDecoder.word(data.attribute(attribute)?.big()).flatMap { registers[$0] }
    }

    /// The fields of a key from a register on.
    private mutating func key(_ data: ByteView, _ attribute: UInt16, _ type: NftType) -> String {
        guard var word = NftRuleDecoder.word(data.attribute(attribute)?.big()) else { return "unknown" }
        guard type.isConcatenation else { return registers[word].map { matched($0) } ?? "unknown" }
        var parts: [String] = []
        for field in type.fields {
            parts.append(registers[word].map { matched($0) } ?? "unknown")
            word += ((field.size ?? registers[word]?.length ?? 4) + 3) / 4
        }
        return parts.joined(separator: " . ")
    }

    private mutating func add(_ text: String, _ meaning: Meaning = .other) { statements.append((text, meaning)) }

    /// The next statement says the protocol itself.
    private mutating func drop(_ meaning: Meaning) {
        if statements.last?.meaning == meaning { statements.removeLast() }
    }

    // MARK: Expressions

    private mutating func take(_ name: String, _ data: ByteView) {
        func number(_ attribute: UInt16) -> UInt32? { data.attribute(attribute)?.big() }
        switch name {
        case "meta": meta(data)
        case "payload": payload(data)
        case "ct": tracking(data)
        case "fib": routes(data)
        case "numgen":
            var text = "numgen \(number(3) == 1 ? "random" : "inc") mod \(number(2) ?? 0)"
            if let offset = number(4), offset > 0 { text += " offset \(offset)" }
            set(data, 1, Value(text: text, type: .integer, length: 4))
        case "bitwise": bitwise(data)
        case "cmp":
            guard let value = value(data, 1) else { return unknown(name) }
            compare(value, number(2) ?? 0, data.attribute(3)?.attribute(1)?.array ?? [])
        case "range":
            guard let value = value(data, 1), let first = data.attribute(3)?.attribute(1)?.array,
                let last = data.attribute(4)?.attribute(1)?.array
            else { return unknown(name) }
            let sign = number(2) == 1 ? "!= " : ""
            add("\(matched(value)) \(sign)\(NftSet.range(first, last, value.type, isNumeric: isNumeric))")
        case "lookup": lookup(data)
        case "immediate":
            if let verdict = data.attribute(2)?.attribute(2) { return add(NftElement.verdict(verdict)) }
            let bytes = data.attribute(2)?.attribute(1)?.array ?? []
            set(data, 1, Value(text: "", type: .integer, length: bytes.count, origin: .constant(bytes)))
        case "dynset": update(data)
        case "counter":
            let (packets, bytes): (UInt64, UInt64) = (
                data.attribute(2)?.big() ?? 0, data.attribute(1)?.big() ?? 0
            )
            add(isStateless ? "counter" : "counter packets \(packets) bytes \(bytes)")
        case "nat", "masq", "redir": translation(name, data)
        case "reject": reject(number(1) ?? 0, data.attribute(2)?.load(0) ?? 0)
        case "log": log(data)
        case "limit": limit(data)
        case "notrack": add("notrack")
        case "match", "target": add("# xt_\(data.attribute(1)?.string ?? "")")
        default: unknown(name)
        }
    }

    private mutating func unknown(_ name: String) { add("# unknown: \(name)") }

    private mutating func meta(_ data: ByteView) {
        let key: UInt32 = data.attribute(2)?.big() ?? 0
        let (text, type) = NftNames.meta(key)
        if data.attribute(3) != nil {
            let value = value(data, 3).map { assigned($0, type) } ?? "unknown"
            add("\(text.hasPrefix("meta") ? text : "meta " + text) set \(value)")
        } else {
            set(data, 1, Value(text: text, type: type, length: type.size ?? 4, origin: .meta(key)))
        }
    }

    private mutating func payload(_ data: ByteView) {
        func number(_ attribute: UInt16) -> UInt32 { data.attribute(attribute)?.big() ?? 0 }
        // NFTA_PAYLOAD_SREG: the packet is written to.
        if data.attribute(5) != nil { return unknown("payload") }
        let (base, offset, length) = (number(2), number(3), number(4))
        set(
            data, 1,
            Value(
                text: "", type: .integer, length: Int(clamping: length),
                origin: .payload(base: base, offset: offset, length: length)))
    }

    private mutating func tracking(_ data: ByteView) {
        let key: UInt32 = data.attribute(2)?.big() ?? 0
        let (text, type) = NftNames.tracking(key)
        let direction: UInt8? = data.attribute(3)?.load(0)
        let words = direction == nil ? "ct \(text)" : "ct \(direction == 0 ? "original" : "reply") \(text)"
        if data.attribute(4) != nil {
            add("\(words) set \(value(data, 4).map { assigned($0, type) } ?? "unknown")")
        } else {
            set(data, 1, Value(text: words, type: type, length: type.size ?? 4))
        }
    }

    private mutating func routes(_ data: ByteView) {
        let flags: UInt32 = data.attribute(3)?.big() ?? 0
        let names = ["saddr", "daddr", "mark", "iif", "oif"]
        let words = names.indices.filter { flags >> UInt32($0) & 1 == 1 }.map { names[$0] }
        let (result, type): (String, NftType) =
            switch data.attribute(2)?.big(as: UInt32.self) {
            case 1: ("oif", .interface)
            case 2: ("oifname", .interfaceName)
            default: ("type", .addressType)
            }
        set(
            data, 1,
            Value(text: "fib \(words.joined(separator: " . ")) \(result)", type: type, length: type.size ?? 4))
    }

    private mutating func bitwise(_ data: ByteView) {
        // NFTA_BITWISE_OP other than NFT_BITWISE_BOOL: shifts.
        guard (data.attribute(6)?.big(as: UInt32.self) ?? 0) == 0, var value = value(data, 1),
            let mask = data.attribute(4)?.attribute(1)?.array, let xor = data.attribute(5)?.attribute(1)?.array,
            mask.count == xor.count
        else { return unknown("bitwise") }
        if value.mask != nil {
            value.text = "(\(text(value)))"
            value.origin = .other
        }
        (value.mask, value.xor) = (mask, xor)
        set(data, 2, value)
    }

    private mutating func lookup(_ data: ByteView) {
        guard let name = data.attribute(1)?.string else { return unknown("lookup") }
        let set = sets[name]
        let key = key(data, 2, set?.key ?? .integer)
        var place = "@\(name)"
        if let set, set.has(NftSet.anonymous) { place = set.text(contents[name] ?? [], isNumeric: isNumeric) }
        if let word = NftRuleDecoder.word(data.attribute(3)?.big()) {
            let type = set?.data ?? .integer
            registers[word] = Value(
                text: "\(key) map \(place)", type: type, length: set?.dataLength ?? 4, origin: .map)
        } else if data.attribute(3) != nil {
            add("\(key) vmap \(place)")
        } else {
            let isInverted = (data.attribute(5)?.big(as: UInt32.self) ?? 0) & 1 == 1
            add("\(key) \(isInverted ? "!= " : "")\(place)")
        }
    }

    private mutating func update(_ data: ByteView) {
        guard let name = data.attribute(1)?.string else { return unknown("dynset") }
        let set = sets[name]
        let operation = ["add", "update", "delete"][Int(min(data.attribute(3)?.big(as: UInt32.self) ?? 0, 2))]
        var text = "\(operation) @\(name) { " + key(data, 4, set?.key ?? .integer)
        if let timeout = data.attribute(6)?.big(as: UInt64.self), timeout > 0 {
            text += " timeout " + NftType.duration(timeout, isNumeric: isNumeric)
        }
        if data.attribute(5) != nil { text += " : " + key(data, 5, set?.data ?? .integer) }
        add(text + " }")
    }

    // MARK: Values

    /// A payload is named when it is used: by then the protocol is known.
    private func resolved(_ value: Value) -> (text: String, type: NftType, names: Meaning?) {
        guard case .payload(let base, let offset, let length) = value.origin else {
            return (value.text, value.type, nil)
        }
        if base == 1,
            let (text, type) = NftNames.network(network, offset, length)
                ?? NftNames.addressStart(network, offset, length)
        {
            return (text, type, family == network ? nil : .family(network))
        }
        if base == 2 {
            if let transport, let (text, type) = NftNames.transport(transport, offset, length) {
                return (text, type, .transport(transport))
            }
            if length == 2, offset == 0 || offset == 2 { return (offset == 0 ? "th sport" : "th dport", .port, nil) }
        }
        if base == 0, let (text, type) = NftNames.link(offset, length) { return (text, type, nil) }
        let place = base == 0 ? "ll" : base == 1 ? "nh" : base == 2 ? "th" : "ih"
        let (bit, bits) = (UInt64(offset) * 8, UInt64(length) * 8)
        return ("@\(place),\(bit),\(bits)", .integer, nil)
    }

    private func text(_ value: Value) -> String {
        let (text, type, _) = resolved(value)
        guard let mask = value.mask else { return text }
        // (v & mask) ^ xor is also (v & m ^ x) | o.
        let or = zip(mask, value.xor).map { ~$0 & $1 }
        let and = zip(mask, or).map { $0 | $1 }
        let xor = zip(mask, value.xor).map { $0 & $1 }
        var result = text
        for (sign, bytes, isNothing) in [
            ("&", and, and.allSatisfy { $0 == 0xff }), ("^", xor, xor.allSatisfy { $0 == 0 }),
            ("|", or, or.allSatisfy { $0 == 0 }),
        ] where !isNothing { result += " \(sign) \(operand(bytes, type))" }
        return result
    }

    private func operand(_ bytes: [UInt8], _ type: NftType) -> String {
        if type == .mark || type.hasPrefixes || type.isFlags { return type.text(bytes, isNumeric: isNumeric) }
        return type.number(bytes).map { "0x" + Number.hex($0, digits: bytes.count * 2) } ?? NftType.hex(bytes)
    }

    /// The text of what is compared, when the test of its protocol right before it goes.
    private mutating func matched(_ value: Value) -> String {
        if let meaning = resolved(value).names { drop(meaning) }
        return text(value)
    }

    private func assigned(_ value: Value, _ type: NftType) -> String {
        if case .constant(let bytes) = value.origin { return type.text(bytes, isNumeric: isNumeric) }
        return text(value)
    }

    private mutating func compare(_ value: Value, _ operation: UInt32, _ bytes: [UInt8]) {
        let signs = ["", "!= ", "< ", "<= ", "> ", ">= "]
        let sign = signs[Int(min(operation, 5))]
        let type = resolved(value).type
        if operation == 0, bytes.count == 1, value.mask == nil {
            switch value.origin {
            case .meta(16): return transport(bytes[0], "meta l4proto")
            case .meta(15):
                network = bytes[0]
                return add("meta nfproto \(type.text(bytes, isNumeric: isNumeric))", .family(bytes[0]))
            case .payload(1, 9, 1) where network == 2: return transport(bytes[0], "ip protocol")
            case .payload(1, 6, 1) where network == 10: return transport(bytes[0], "ip6 nexthdr")
            default: break
            }
        }
        var value = value
        if let mask = value.mask, value.xor.allSatisfy({ $0 == 0 }) {
            if type.isFlags, operation == 1, bytes.allSatisfy({ $0 == 0 }), let number = type.number(mask) {
                value.mask = nil
                return add("\(matched(value)) \(type.flags(number, isNumeric: isNumeric))")
            }
            if type == .tcpFlags, operation <= 1, let (set, among) = flags(bytes, mask, type) {
                value.mask = nil
                return add("\(matched(value)) \(sign)\(set) / \(among)")
            }
            if type.hasPrefixes, operation <= 1, let length = NftSet.maskLength(mask) {
                value.mask = nil
                return add("\(matched(value)) \(sign)\(type.text(bytes, isNumeric: isNumeric))/\(length)")
            }
        }
        if operation == 3, value.mask == nil, let lower, lower.statement == statements.count - 1,
            lower.text == text(value)
        {
            statements.removeLast()
            return add("\(lower.text) \(NftSet.range(lower.bytes, bytes, type, isNumeric: isNumeric))")
        }
        let equals = value.mask != nil && operation == 0 ? "== " : sign
        // The beginning of an interface's name comes without a NUL; an address' beginning is a prefix.
        if type.hasPrefixes, let size = type.size, bytes.count < size, operation <= 1 {
            let padded = bytes + [UInt8](repeating: 0, count: size - bytes.count)
            return add("\(matched(value)) \(sign)\(type.text(padded, isNumeric: isNumeric))/\(bytes.count * 8)")
        }
        let words = matched(value)
        if operation == 5, value.mask == nil { lower = (statements.count, words, bytes) }
        add("\(words) \(equals)\(type.text(bytes, isNumeric: isNumeric))")
    }

    private func flags(_ bytes: [UInt8], _ mask: [UInt8], _ type: NftType) -> (set: String, among: String)? {
        guard let set = type.number(bytes), let among = type.number(mask) else { return nil }
        return (type.flags(set, isNumeric: isNumeric), type.flags(among, isNumeric: isNumeric))
    }

    private mutating func transport(_ number: UInt8, _ words: String) {
        transport = number
        add("\(words) \(NftType.transport.text([number], isNumeric: isNumeric))", .transport(number))
    }

    // MARK: Statements

    private mutating func translation(_ kind: String, _ data: ByteView) {
        func number(_ attribute: UInt16) -> UInt32? { data.attribute(attribute)?.big() }
        var text = kind == "masq" ? "masquerade" : kind == "redir" ? "redirect" : number(1) == 0 ? "snat" : "dnat"
        var target = ""
        var ports: (UInt16, UInt16)
        var flags: UInt32?
        switch kind {
        case "masq": (ports, flags) = ((2, 3), number(1))
        case "redir": (ports, flags) = ((1, 2), number(3))
        default:
            (ports, flags) = ((5, 6), number(7))
            let address = value(data, 3)
            let isOfMap = address?.origin == .map && address?.type.isConcatenation == true
            if isOfMap || family == 1 { text += number(2) == 10 ? " ip6" : " ip" }
            if let address {
                let type: NftType = number(2) == 10 ? .ipv6 : .ipv4
                target = bound(address, type)
                if !isOfMap, let last = value(data, 4), number(4) != number(3) { target += "-\(bound(last, type))" }
                if number(2) == 10, number(5) != nil, !isOfMap { target = "[\(target)]" }
            }
            // The map's second field is the port.
            if isOfMap { ports = (0, 0) }
        }
        if let first = value(data, ports.0) {
            target += ":" + bound(first, .port)
            if let last = value(data, ports.1), number(ports.1) != number(ports.0) {
                target += "-\(bound(last, .port))"
            }
        }
        if !target.isEmpty { text += " to \(target)" }
        let flagNames: [(UInt32, String)] = [(4, "random"), (16, "fully-random"), (8, "persistent")]
        let words = flagNames.filter { (flags ?? 0) & $0.0 != 0 }.map(\.1)
        add(words.isEmpty ? text : "\(text) \(words.joined(separator: ","))")
    }

    private func bound(_ value: Value, _ type: NftType) -> String {
        if case .constant(let bytes) = value.origin {
            return type.text(bytes.prefix(type.size ?? bytes.count), isNumeric: isNumeric)
        }
        return text(value)
    }

    private mutating func reject(_ kind: UInt32, _ code: UInt8) {
        switch kind {
        case 1:
            drop(.transport(6))
            add("reject with tcp reset")
        case 2:
            let names = ["no-route", "port-unreachable", "host-unreachable", "admin-prohibited"]
            if code == 1 { return add("reject") }
            add("reject with icmpx " + (Int(code) < names.count ? names[Int(code)] : "\(code)"))
        default:
            let isSix = network == 10
            if code == (isSix ? 4 : 3) { return add("reject") }
            let names = NftNames.unreachable(isSix)
            add("reject with \(isSix ? "icmpv6" : "icmp") " + (names[code] ?? "\(code)"))
        }
    }

    private mutating func log(_ data: ByteView) {
        var text = "log"
        if let prefix = data.attribute(2)?.string { text += " prefix \"\(prefix)\"" }
        if let group = data.attribute(1)?.big(as: UInt16.self) {
            text += " group \(group)"
            if let size = data.attribute(3)?.big(as: UInt32.self), size > 0 { text += " snaplen \(size)" }
            if let threshold = data.attribute(4)?.big(as: UInt16.self), threshold > 0 {
                text += " queue-threshold \(threshold)"
            }
        } else if let level = data.attribute(5)?.big(as: UInt32.self), level != 4 {
            let names = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug", "audit"]
            text += " level " + (Int(clamping: level) < names.count ? names[Int(level)] : "\(level)")
        }
        add(text)
    }

    private mutating func limit(_ data: ByteView) {
        let rate: UInt64 = data.attribute(1)?.big() ?? 0
        let unit: UInt64 = data.attribute(2)?.big() ?? 1
        let burst: UInt32 = data.attribute(3)?.big() ?? 0
        let isOfBytes = (data.attribute(4)?.big(as: UInt32.self) ?? 0) == 1
        let isOver = (data.attribute(5)?.big(as: UInt32.self) ?? 0) & 1 == 1
        let units: [(UInt64, String)] = [
            (1, "second"), (60, "minute"), (3600, "hour"), (86400, "day"), (604800, "week"),
        ]
        let name = units.first { $0.0 == unit }?.1 ?? "\(unit)s"
        func amount(_ bytes: UInt64) -> String {
            if bytes > 0, bytes % (1 << 20) == 0 { return "\(bytes >> 20) mbytes" }
            return bytes > 0 && bytes % 1024 == 0 ? "\(bytes >> 10) kbytes" : "\(bytes) bytes"
        }
        var text = "limit rate \(isOver ? "over " : "")"
        if isOfBytes {
            text += "\(amount(rate))/\(name)" + (burst > 0 ? " burst \(amount(UInt64(burst)))" : "")
        } else {
            text += "\(rate)/\(name)" + (burst > 0 && burst != 5 ? " burst \(burst) packets" : "")
        }
        add(text)
    }
}
