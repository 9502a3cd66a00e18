import Netlink

// Text of rules and elements for dumps and error messages.

extension NFRule: CustomStringConvertible {
    package var description: String {
        expressions.map(\.description).joined(separator: " ") + (comment.map { " # \($0)" } ?? "")
    }

    /// Chains that the rule jumps to.
    var chains: [String] {
        expressions.compactMap { if case .verdict(let verdict) = $0 { verdict.chain } else { nil } }
    }
    /// Sets and maps that the rule uses.
    var sets: [String] {
        expressions.compactMap {
            switch $0 {
            case .lookup(let set, _, _), .map(let set, _, _), .verdictMap(let set, _), .updateSet(let set, _, _, _): set
            default: nil
            }
        }
    }
}

extension NFExpression: CustomStringConvertible {
    package var description: String {
        func hex(_ bytes: [UInt8]) -> String {
            "0x" + bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        }
        return switch self {
        case .meta(let key, let register): "[ meta load \(key) => \(register.word) ]"
        case .setMark(let register): "[ meta set mark with \(register.word) ]"
        case .payload(let base, let offset, let length, let register):
            "[ payload load \(length)b @ \(base) + \(offset) => \(register.word) ]"
        case .compare(let register, let op, let value): "[ cmp \(op) \(register.word) \(hex(value)) ]"
        case .range(let register, let inverted, let first, let last):
            "[ range \(inverted ? "neq" : "eq") \(register.word) \(hex(first)) \(hex(last)) ]"
        case .lookup(let set, let key, let inverted): "[ lookup \(key.word) \(inverted ? "!" : "")@\(set) ]"
        case .map(let set, let key, let register): "[ lookup \(key.word) @\(set) => \(register.word) ]"
        case .verdictMap(let set, let key): "[ lookup \(key.word) @\(set) => verdict ]"
        case .immediate(let value, let register): "[ immediate \(hex(value)) => \(register.word) ]"
        case .verdict(let verdict): "[ \(verdict) ]"
        case .bitwise(let source, let register, let mask, let xor):
            "[ bitwise \(register.word) = (\(source.word) & \(hex(mask))) ^ \(hex(xor)) ]"
        case .conntrack(let key, let register): "[ ct load \(key) => \(register.word) ]"
        case .conntrackOriginal(let key, let register): "[ ct load original \(key) => \(register.word) ]"
        case .numberGenerator(let random, let modulus, let offset, let register):
            "[ numgen \(random ? "random" : "inc") mod \(modulus)\(offset > 0 ? " offset \(offset)" : "") => \(register.word) ]"
        case .destinationNAT(_, let address, let port): "[ dnat \(address.word):\(port.word) ]"
        case .sourceNAT(_, let address): "[ snat \(address.word) ]"
        case .masquerade(let fullyRandom): "[ masq\(fullyRandom ? " fully-random" : "") ]"
        case .counter: "[ counter ]"
        case .reject(.tcpReset): "[ reject tcp reset ]"
        case .reject(.portUnreachable): "[ reject port-unreachable ]"
        case .addressType(let ofSource, let register):
            "[ fib \(ofSource ? "saddr" : "daddr") type => \(register.word) ]"
        case .updateSet(let set, let key, let data, let timeout):
            "[ update @\(set) key \(key.word)\(data.map { " data \($0.word)" } ?? "")\(timeout.map { " timeout \($0)ms" } ?? "") ]"
        }
    }
}

extension NFSet {
    func describe(_ key: [UInt8], _ value: FakeRuleset.Value) -> String {
        let text = NFSet.describe(key[...], self.key)
        switch value {
        case .none: return text
        case .verdict(let verdict): return "\(text) : \(verdict)"
        case .range(let end): return "\(text) - \(NFSet.describe(end[...], self.key))"
        case .data(let bytes):
            guard case .data(let types) = self.value else { return text }
            return "\(text) : \(NFSet.describe(bytes[...], types))"
        }
    }

    static func describe(_ bytes: ArraySlice<UInt8>, _ types: [NFDatatype]) -> String {
        var rest = bytes
        return types.map { type in
            let field = Array(rest.prefix(type.byteCount))
            rest = rest.dropFirst(types.count == 1 ? type.byteCount : type.paddedByteCount)
            switch type {
            case .ipv4, .ipv6: return IPAddress(bytes: field)?.description ?? "?"
            case .port: return String(field.reduce(0) { $0 << 8 | Int($1) })
            case .protocolNumber: return field.first.flatMap(TransportProtocol.init(rawValue:))?.description ?? "?"
            case .mark: return String(field.withUnsafeBytes { $0.count == 4 ? $0.loadUnaligned(as: UInt32.self) : 0 })
            }
        }.joined(separator: " . ")
    }
}
