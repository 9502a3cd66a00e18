import Netlink

/// A rule as nf_tables expressions, in the form of iptables 1.8.9: addresses, interfaces, protocol, ports and marks natively, the
/// rest as `match` and `target` of nft_compat.
extension Rule {
    func encode(into list: inout MessageBuffer) {
        let base = family == .ipv4 ? 12 : 8
        encode(source, at: base, &list)
        encode(destination, at: base + family.byteCount, &list)
        encode(input, key: 6, &list)
        encode(output, key: 7, &list)
        if transport != 0 {
            list.meta(16)
            list.compare([transport], inverted: isTransportInverted)
        }
        if fragment != 0 {
            list.payload(1, 6, 2)
            list.bitwise([0x1f, 0xff])
            list.compare([0, 0], inverted: fragment > 0)
        }
        for match in matches { encode(match, &list) }
        list.expression("counter") {
            $0.attribute(1, big: bytes)
            $0.attribute(2, big: packets)
        }
        switch target {
        case .none, .unknown: break
        case .verdict(let verdict):
            list.expression("immediate") { expression in
                expression.attribute(1, big: UInt32(0))
                expression.nested(2) { $0.verdict(verdict) }
            }
        case .use(let use): encode(target: use, &list)
        }
    }

    private func encode(_ address: Address, at offset: Int, _ list: inout MessageBuffer) {
        guard !address.isAny else { return }
        let length = AddressMask.length(address.mask)
        if let length, length > 0, length % 8 == 0 {
            list.payload(1, offset, length / 8)
            list.compare(Array(address.bytes[..<(length / 8)]), inverted: address.isInverted)
        } else {
            list.payload(1, offset, address.bytes.count)
            list.bitwise(address.mask)
            list.compare(address.bytes, inverted: address.isInverted)
        }
    }

    private func encode(_ interface: Interface, key: UInt32, _ list: inout MessageBuffer) {
        guard !interface.name.isEmpty else { return }
        let isPrefix = interface.name.hasSuffix("+")
        list.meta(key)
        if isPrefix, interface.name.utf8.count == 1 {
            guard interface.isInverted else { return }
            // No interface can have this name: the rule never matches.
            list.compare(Array("INVAL/D".utf8) + [0], inverted: false)
            return
        }
        let name = isPrefix ? Array(interface.name.utf8.dropLast()) : Array(interface.name.utf8) + [0]
        list.compare(name, inverted: interface.isInverted)
    }

    private func encode(_ match: ExtensionUse, _ list: inout MessageBuffer) {
        let blob = match.blob
        switch match.type.kernelName {
        case "tcp", "udp":
            guard encodePorts(match, &list) else { break }
            return
        case "mark":
            list.meta(3)
            let mask = blob.slice(4, 4)
            if mask != [255, 255, 255, 255] { list.bitwise(mask) }
            list.compare(blob.slice(0, 4), inverted: blob.u8(8) != 0)
            return
        case "limit":
            let text = Extension.rateText(blob.u32(0)).split(separator: "/")
            let unit: UInt64 =
                switch text.last {
                case "day": 86400
                case "hour": 3600
                case "min": 60
                default: 1
                }
            list.expression("limit") {
                $0.attribute(1, big: UInt64(text.first ?? "1") ?? 1)
                $0.attribute(2, big: unit)
                $0.attribute(3, big: blob.u32(4))
                $0.attribute(4, big: UInt32(0))
                $0.attribute(5, big: UInt32(0))
            }
            return
        default: break
        }
        list.compatible("match", match)
    }

    /// Natively, unless there is nothing to say or something that nf_tables has no word for.
    private func encodePorts(_ match: ExtensionUse, _ list: inout MessageBuffer) -> Bool {
        let blob = match.blob
        let isTCP = match.type.kernelName == "tcp"
        let inverted = blob.u8(isTCP ? 11 : 8)
        let (mask, value) = isTCP ? (blob.u8(9), blob.u8(10)) : (0, 0)
        let ports = [(blob.u16(0), blob.u16(2)), (blob.u16(4), blob.u16(6))]
        let isEverything = ports.allSatisfy { $0.0 == 0 && $0.1 == 65535 } && mask == 0
        if isTCP, blob.u8(8) != 0 || inverted & ~7 != 0 { return false }
        if isEverything { return false }
        if mask != 0 {
            list.payload(2, 13, 1)
            list.bitwise([mask])
            list.compare([value], inverted: inverted & 4 != 0)
        }
        if inverted & 3 == 0, ports.allSatisfy({ $0.0 != 0 && $0.0 == $0.1 }) {
            list.payload(2, 0, 4)
            list.compare(ports.flatMap { [UInt8($0.0 >> 8), UInt8($0.0 & 255)] }, inverted: false)
        } else {
            for (index, (first, last)) in ports.enumerated() where first != 0 || last != 65535 {
                list.payload(2, 2 * index, 2)
                let bounds = [first, last].map { [UInt8($0 >> 8), UInt8($0 & 255)] }
                let isInverted = inverted & (1 << UInt8(index)) != 0
                if first == last {
                    list.compare(bounds[0], inverted: isInverted)
                } else {
                    list.expression("range") {
                        $0.attribute(1, big: UInt32(1))
                        $0.attribute(2, big: UInt32(isInverted ? 1 : 0))
                        $0.value(3, bounds[0])
                        $0.value(4, bounds[1])
                    }
                }
            }
        }
        return true
    }

    private func encode(target use: ExtensionUse, _ list: inout MessageBuffer) {
        let blob = use.blob
        switch use.type.kernelName {
        case "NFLOG":
            list.expression("log") { log in
                let prefix = blob.string(12, 64)
                if !prefix.isEmpty { log.attribute(2, string: prefix) }
                log.attribute(1, big: blob.u16(4))
                if blob.u16(8) & 1 != 0 { log.attribute(3, big: blob.u32(0)) }
                if blob.u16(6) != 0 { log.attribute(4, big: blob.u16(6)) }
            }
        case "TRACE":
            list.expression("immediate") { expression in
                expression.attribute(1, big: UInt32(9))
                expression.value(2, [1])
            }
            list.expression("meta") {
                $0.attribute(2, big: UInt32(12))
                $0.attribute(3, big: UInt32(9))
            }
        default: list.compatible("target", use)
        }
    }
}

extension MessageBuffer {
    fileprivate mutating func value(_ type: UInt16, _ bytes: [UInt8]) {
        nested(type) { $0.attribute(1, bytes: bytes) }
    }

    fileprivate mutating func meta(_ key: UInt32) {
        expression("meta") {
            $0.attribute(2, big: key)
            $0.attribute(1, big: UInt32(1))
        }
    }

    fileprivate mutating func payload(_ base: UInt32, _ offset: Int, _ length: Int) {
        expression("payload") {
            $0.attribute(1, big: UInt32(1))
            $0.attribute(2, big: base)
            $0.attribute(3, big: UInt32(offset))
            $0.attribute(4, big: UInt32(length))
        }
    }

    fileprivate mutating func compare(_ bytes: [UInt8], inverted: Bool) {
        expression("cmp") {
            $0.attribute(1, big: UInt32(1))
            $0.attribute(2, big: UInt32(inverted ? 1 : 0))
            $0.value(3, bytes)
        }
    }

    fileprivate mutating func bitwise(_ mask: [UInt8]) {
        expression("bitwise") {
            $0.attribute(1, big: UInt32(1))
            $0.attribute(2, big: UInt32(1))
            $0.attribute(3, big: UInt32(mask.count))
            $0.value(4, mask)
            $0.value(5, [UInt8](repeating: 0, count: mask.count))
        }
    }

    /// linux/netfilter/nf_tables_compat.h: name, revision, structure.
    fileprivate mutating func compatible(_ kind: String, _ use: ExtensionUse) {
        expression(kind) {
            $0.attribute(1, string: use.type.kernelName)
            $0.attribute(2, big: UInt32(use.type.revision))
            $0.attribute(3, bytes: use.blob.bytes)
        }
    }
}
