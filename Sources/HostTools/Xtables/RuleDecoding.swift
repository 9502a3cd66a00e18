import Netlink

/// A rule from the kernel's expressions, whoever wrote them: what iptables has no words for is named in `unknown`.
struct RuleDecoder {
    private enum Source {
        case meta(UInt32)
        case payload(base: UInt32, offset: UInt32, length: Int)
        case constant([UInt8])
    }

    private var rule: Rule
    private var source: Source?
    private var mask: [UInt8]?
    private var registerNine: [UInt8]?
    /// Ports and flags of tcp and udp are collected in one match.
    private var portMatch: Int?

    static func decode(_ family: AddressFamily, expressions: ByteView) -> Rule {
        var decoder = RuleDecoder(rule: Rule(family))
        for element in expressions.attributes where element.type == 1 {
            guard let name = element.value.attribute(1)?.string else { continue }
            let data = element.value.attribute(2) ?? ByteView(UnsafeRawBufferPointer(start: nil, count: 0))
            decoder.take(name, data)
        }
        return decoder.rule
    }

    private init(rule: Rule) { self.rule = rule }

    private mutating func take(_ name: String, _ data: ByteView) {
        switch name {
        case "meta":
            let key: UInt32 = data.attribute(2)?.big() ?? 0
            if data.attribute(3) != nil {
                if key == 12 {
                    rule.target =
                        Extension.named("TRACE", target: true, rule.family).map { .use(ExtensionUse($0)) }
                        ?? .unknown("TRACE")
                } else {
                    rule.unknown.append("meta")
                }
            } else {
                (source, mask) = (.meta(key), nil)
            }
        case "payload":
            source = .payload(
                base: data.attribute(2)?.big() ?? 0, offset: data.attribute(3)?.big() ?? 0,
                length: Int(clamping: data.attribute(4)?.big(as: UInt32.self) ?? 0))
            mask = nil
        case "bitwise": mask = data.attribute(4)?.attribute(1)?.array
        case "cmp":
            compare(data.attribute(3)?.attribute(1)?.array ?? [], data.attribute(2)?.big() ?? 0)
        case "range":
            let bounds = [3, 4].map { data.attribute($0)?.attribute(1)?.array ?? [] }
            ports(bounds[0], bounds[1], inverted: (data.attribute(2)?.big(as: UInt32.self) ?? 0) != 0)
        case "counter":
            rule.bytes = data.attribute(1)?.big() ?? 0
            rule.packets = data.attribute(2)?.big() ?? 0
        case "immediate":
            guard (data.attribute(1)?.big(as: UInt32.self) ?? 0) == 0 else { break }
            if let verdict = data.attribute(2)?.attribute(2), let code = verdict.attribute(1)?.big(as: Int32.self),
                let parsed = NFVerdict(code: code, chain: verdict.attribute(2)?.string)
            {
                rule.target = .verdict(parsed)
            }
        case "match", "target": compatible(name, data)
        case "limit": limit(data)
        case "log": log(data)
        case "masq", "redir", "nat", "reject": native(name, data)
        default: rule.unknown.append(name)
        }
    }

    private mutating func compatible(_ kind: String, _ data: ByteView) {
        let name = data.attribute(1)?.string ?? ""
        let revision = UInt8(truncatingIfNeeded: data.attribute(2)?.big(as: UInt32.self) ?? 0)
        let blob = Blob(bytes: data.attribute(3)?.array ?? [])
        let isTarget = kind == "target"
        if let type = Extension.ofKernel(name, revision, target: isTarget, rule.family, blob) {
            if isTarget {
                rule.target = .use(ExtensionUse(type, blob))
            } else {
                rule.matches.append(ExtensionUse(type, blob))
            }
        } else if isTarget {
            rule.target = .unknown(name)
        } else {
            rule.unknown.append(name)
        }
    }

    private mutating func compare(_ value: [UInt8], _ op: UInt32) {
        let inverted = op == 1
        switch source {
        case .meta(let key)?:
            switch key {
            case 6, 7, 4, 5:
                let isPrefix = value.last != 0
                let name = String(decoding: value.prefix { $0 != 0 }, as: UTF8.self) + (isPrefix ? "+" : "")
                let isNone = name == "INVAL/D"
                let interface = Rule.Interface(name: isNone ? "+" : name, isInverted: inverted || isNone)
                if key == 6 { rule.input = interface } else if key == 7 { rule.output = interface }
            case 16:
                rule.transport = value.first ?? 0
                rule.isTransportInverted = inverted
            case 3:
                guard let type = Extension.named("mark", target: false, rule.family), value.count == 4 else { return }
                var use = ExtensionUse(type)
                use.blob.put(0, value)
                use.blob.put(4, mask ?? [255, 255, 255, 255])
                use.blob.set(8, 1, inverted ? 1 : 0)
                rule.matches.append(use)
            default: rule.unknown.append("meta")
            }
        case .payload(1, let offset, let length)?: network(Int(clamping: offset), length, value, inverted)
        case .payload(2, let offset, let length)?:
            if offset == 13, length == 1, rule.transport == 6 {
                let wanted = mask?.first ?? 0xff
                changePorts { blob in
                    blob.set(9, 1, UInt64(wanted))
                    blob.set(10, 1, UInt64(value.first ?? 0))
                    if inverted { blob.set(11, 1, UInt64(blob.u8(11) | 4)) }
                }
            } else if length == 4, value.count == 4 {
                source = .payload(base: 2, offset: 0, length: 2)
                ports(Array(value[..<2]), Array(value[..<2]), inverted: inverted)
                source = .payload(base: 2, offset: 2, length: 2)
                ports(Array(value[2...]), Array(value[2...]), inverted: inverted)
            } else {
                switch op {
                case 5: ports(value, [255, 255], inverted: false)
                case 3: ports([], value, inverted: false)
                default: ports(value, value, inverted: inverted)
                }
            }
        default: rule.unknown.append("payload")
        }
    }

    private mutating func network(_ offset: Int, _ length: Int, _ value: [UInt8], _ inverted: Bool) {
        let width = rule.family.byteCount
        let base = rule.family == .ipv4 ? 12 : 8
        if rule.family == .ipv4, offset == 6, length == 2 {
            rule.fragment = inverted ? 1 : -1
        } else if rule.family == .ipv4, offset == 9, length == 1 {
            (rule.transport, rule.isTransportInverted) = (value.first ?? 0, inverted)
        } else if rule.family == .ipv6, offset == 6, length == 1 {
            (rule.transport, rule.isTransportInverted) = (value.first ?? 0, inverted)
        } else if offset == base || offset == base + width, value.count == length, length <= width {
            var address = Rule.Address.any(rule.family)
            for (index, byte) in value.enumerated() {
                address.bytes[index] = byte
                address.mask[index] = mask.map { index < $0.count ? $0[index] : 0 } ?? 0xff
            }
            address.isInverted = inverted
            if offset == base { rule.source = address } else { rule.destination = address }
        } else {
            rule.unknown.append("payload")
        }
    }

    /// `first` empty: from where the match stands.
    private mutating func ports(_ first: [UInt8], _ last: [UInt8], inverted: Bool) {
        guard case .payload(2, let offset, 2)? = source, offset == 0 || offset == 2, last.count == 2 else {
            rule.unknown.append("range")
            return
        }
        let at = Int(offset) * 2
        let bit = UInt8(1) << UInt8(offset / 2)
        let isTCP = rule.transport == 6
        changePorts { blob in
            if first.count == 2 { blob.set16(at, UInt16(first[0]) << 8 | UInt16(first[1])) }
            blob.set16(at + 2, UInt16(last[0]) << 8 | UInt16(last[1]))
            let place = isTCP ? 11 : 8
            if inverted { blob.set(place, 1, UInt64(blob.u8(place) | bit)) }
        }
    }

    private mutating func changePorts(_ change: (inout Blob) -> Void) {
        let name = rule.transport == 6 ? "tcp" : "udp"
        guard rule.transport == 6 || rule.transport == 17, let type = Extension.named(name, target: false, rule.family)
        else {
            rule.unknown.append("payload")
            return
        }
        if portMatch == nil {
            rule.matches.append(ExtensionUse(type))
            portMatch = rule.matches.count - 1
        }
        if let portMatch { change(&rule.matches[portMatch].blob) }
    }

    private mutating func limit(_ data: ByteView) {
        guard let type = Extension.named("limit", target: false, rule.family),
            (data.attribute(4)?.big(as: UInt32.self) ?? 0) == 0
        else {
            rule.unknown.append("limit")
            return
        }
        var use = ExtensionUse(type)
        let rate: UInt64 = data.attribute(1)?.big() ?? 1
        let unit: UInt64 = data.attribute(2)?.big() ?? 1
        use.blob.set32(0, UInt32(truncatingIfNeeded: 10000 &* min(unit, 1 << 32) / max(1, rate)))
        use.blob.set32(4, data.attribute(3)?.big() ?? 5)
        rule.matches.append(use)
    }

    private mutating func log(_ data: ByteView) {
        let isGroup = data.attribute(1) != nil
        guard let type = Extension.named(isGroup ? "NFLOG" : "LOG", target: true, rule.family) else { return }
        var use = ExtensionUse(type)
        let prefix = data.attribute(2)?.string ?? ""
        if isGroup {
            use.blob.set16(4, data.attribute(1)?.big() ?? 0)
            use.blob.put(12, Array(prefix.utf8.prefix(63)))
            if let length: UInt32 = data.attribute(3)?.big() {
                use.blob.set32(0, length)
                use.blob.set16(8, 1)
            }
            use.blob.set16(6, data.attribute(4)?.big() ?? 0)
        } else {
            use.blob.put(2, Array(prefix.utf8.prefix(29)))
            if let level: UInt32 = data.attribute(5)?.big() { use.blob.set(0, 1, UInt64(min(level, 7))) }
            if let flags: UInt32 = data.attribute(6)?.big() { use.blob.set(1, 1, UInt64(flags & 0x3f)) }
        }
        rule.target = .use(use)
    }

    /// Expressions of nft that have a target's meaning.
    private mutating func native(_ name: String, _ data: ByteView) {
        let target: String
        switch name {
        case "masq": target = "MASQUERADE"
        case "redir": target = "REDIRECT"
        case "reject": target = "REJECT"
        default: target = (data.attribute(1)?.big(as: UInt32.self) ?? 0) == 0 ? "SNAT" : "DNAT"
        }
        guard name == "masq" || name == "reject", let type = Extension.named(target, target: true, rule.family) else {
            rule.target = .unknown(target)
            return
        }
        var use = ExtensionUse(type)
        if name == "masq" {
            use.blob.set32(NATLayout(use.blob, rule.family).flags, data.attribute(1)?.big() ?? 0)
        } else {
            let kind: UInt32 = data.attribute(1)?.big() ?? 0
            let code = data.attribute(2)?.load(0, as: UInt8.self) ?? 0
            let codes: [UInt8: UInt64] =
                rule.family == .ipv4
                ? [0: 0, 1: 1, 2: 2, 3: 3, 9: 5, 10: 6, 13: 8] : [0: 0, 1: 1, 3: 3, 4: 4, 5: 7, 6: 8]
            use.blob.set(0, 4, kind == 1 ? (rule.family == .ipv4 ? 7 : 6) : codes[code] ?? 0)
        }
        rule.target = .use(use)
    }
}
