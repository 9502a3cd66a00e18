import Iptables
import Linux
import Netlink

/// One packet on its way through a node, as nf_tables sees it.
struct SimulatedPacket {
    var source: IPAddress
    var destination: IPAddress
    /// 6, 17, 132, ...
    var transport: UInt8
    var sourcePort: UInt16 = 40_000
    var destinationPort: UInt16
    var mark: UInt32 = 0
    var input = "cni0"
    /// NF_CT_STATE_BIT: 2 established, 4 related, 8 new.
    var connectionState: UInt32 = 8
    var isTranslated = false
    var isMasqueraded = false
    var originalDestination: IPAddress
    var originalPort: UInt16

    init(_ source: IPAddress, _ destination: IPAddress, _ transport: UInt8, _ port: UInt16) {
        (self.source, self.destination, self.transport, destinationPort) = (source, destination, transport, port)
        (originalDestination, originalPort) = (destination, port)
    }
}

/// Runs packets through rulesets as values: what the kernel would do, by the rules of its documentation, slowly. Independent
/// of the compilers: it knows expressions, nothing of services or policies.
struct RulesetInterpreter {
    enum Fate: Hashable {
        /// Arrived there.
        case delivered(IPAddress, UInt16)
        case dropped
        case refused
    }
    enum Origin { case wire, node }

    private enum Value { case none, data([UInt8]), verdict(NFVerdict) }
    private struct Lookup {
        var exact: [[UInt8]: Value] = [:]
        var ranges: [(first: [UInt8], last: [UInt8])] = []
        var fields: [Int] = []
    }
    private struct Table {
        var ruleset: Ruleset
        var chains: [String: [NFRule]] = [:]
        var sets: [String: Lookup] = [:]
    }
    private enum End { case accept, drop, refuse }

    private var tables: [Table] = []
    private let local: Set<IPAddress>

    /// - Parameter local: the node's own addresses.
    init(_ rulesets: [Ruleset], local: Set<IPAddress>) {
        self.local = local
        for ruleset in rulesets {
            var table = Table(ruleset: ruleset)
            for chain in ruleset.chains { table.chains[chain.chain.name] = chain.rules }
            for named in ruleset.sets {
                var lookup = Lookup(
                    fields: named.set.key.map { named.set.key.count == 1 ? $0.byteCount : $0.paddedByteCount })
                for index in 0..<named.elements.count {
                    let key = Array(named.elements.key(index))
                    if let end = named.elements.end(index) {
                        lookup.ranges.append((key, Array(end)))
                    } else if let verdict = named.elements.verdict(index) {
                        lookup.exact[key] = .verdict(verdict)
                    } else if let data = named.elements.value(index) {
                        lookup.exact[key] = .data(Array(data))
                    } else {
                        lookup.exact[key] = Value.none
                    }
                }
                table.sets[named.set.name] = lookup
            }
            tables.append(table)
        }
    }

    /// Everything that may become of a connection's first packet: random choices are all taken.
    func fates(_ packet: SimulatedPacket, from origin: Origin = .wire) -> Set<Fate> {
        var out: Set<Fate> = []
        // The modulus is seen on the way.
        var count: UInt32 = 1
        var choice: UInt32 = 0
        while choice < count {
            var packet = packet
            out.insert(fate(&packet, origin, choice, &count))
            choice += 1
        }
        return out
    }

    private func fate(
        _ packet: inout SimulatedPacket, _ origin: Origin, _ choice: UInt32, _ count: inout UInt32
    ) -> Fate {
        let first: NFHook.Point = origin == .wire ? .prerouting : .output
        for point in [first, local.contains(packet.destination) ? .input : .forward] {
            // Where it goes is known after prerouting only.
            let at: NFHook.Point = point == first ? first : local.contains(packet.destination) ? .input : .forward
            if origin == .node, at == .forward || at == .input { continue }
            switch run(at, &packet, choice, &count) {
            case .accept: continue
            case .drop: return .dropped
            case .refuse: return .refused
            }
        }
        return .delivered(packet.destination, packet.destinationPort)
    }

    private func run(_ point: NFHook.Point, _ packet: inout SimulatedPacket, _ choice: UInt32, _ count: inout UInt32)
        -> End
    {
        let family: NFFamily = packet.destination.isIPv4 ? .ip : .ip6
        var bases: [(Int32, Table, Ruleset.Chain)] = []
        for table in tables where table.ruleset.table.family == family {
            for chain in table.ruleset.chains where chain.chain.hook?.point == point {
                bases.append((chain.chain.hook?.priority ?? 0, table, chain))
            }
        }
        var isTranslated = false
        for (_, table, chain) in bases.sorted(by: { $0.0 < $1.0 }) {
            // A connection is translated once.
            if chain.chain.hook?.kind == .nat, isTranslated { continue }
            let before = packet.isTranslated
            switch evaluate(chain.rules, table, &packet, choice, &count) {
            case .drop?: return .drop
            case .refuse?: return .refuse
            case .accept?, nil: break
            }
            if packet.isTranslated != before { isTranslated = true }
        }
        return .accept
    }

    /// Nil: came to the end of the chain or returned.
    private func evaluate(
        _ rules: [NFRule], _ table: Table, _ packet: inout SimulatedPacket, _ choice: UInt32, _ count: inout UInt32
    ) -> End? {
        for rule in rules {
            guard let verdict = step(rule, table, &packet, choice, &count) else { continue }
            switch verdict {
            case .end(let end): return end
            case .verdict(.accept): return .accept
            case .verdict(.drop): return .drop
            case .verdict(.return): return nil
            case .verdict(.jump(let name)):
                if let end = evaluate(table.chains[name] ?? [], table, &packet, choice, &count) { return end }
            case .verdict(.goto(let name)):
                return evaluate(table.chains[name] ?? [], table, &packet, choice, &count)
            }
        }
        return nil
    }

    private enum Step {
        case end(End)
        case verdict(NFVerdict)
    }

    private func step(
        _ rule: NFRule, _ table: Table, _ packet: inout SimulatedPacket, _ choice: UInt32, _ count: inout UInt32
    ) -> Step? {
        var registers = [UInt8](repeating: 0, count: 128)
        func at(_ register: NFRegister) -> Int { Int(register.word) * 4 }
        func load(_ register: NFRegister, _ count: Int) -> [UInt8] {
            Array(registers[at(register)..<at(register) + count])
        }
        func store(_ bytes: [UInt8], _ register: NFRegister) {
            let padded = (bytes.count + 3) & ~3
            for index in 0..<padded { registers[at(register) + index] = index < bytes.count ? bytes[index] : 0 }
        }
        func host(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value) { Array($0) } }
        for expression in rule.expressions {
            switch expression {
            case .meta(.mark, let into): store(host(packet.mark), into)
            case .meta(.transportProtocol, let into): store([packet.transport], into)
            case .meta(.inputName, let into):
                let name = Array(packet.input.utf8)
                store(name + [UInt8](repeating: 0, count: 16 - name.count), into)
            case .meta: return nil
            case .setMark(let from): packet.mark = load(from, 4).withUnsafeBytes { $0.loadUnaligned(as: UInt32.self) }
            case .payload(let base, let offset, let length, let into):
                let bytes = header(packet, base)
                guard Int(offset + length) <= bytes.count else { return nil }
                store(Array(bytes[Int(offset)..<Int(offset + length)]), into)
            case .compare(let register, let op, let value):
                let found = load(register, value.count)
                let matches =
                    switch op {
                    case .equal: found == value
                    case .notEqual: found != value
                    case .less: found.lexicographicallyPrecedes(value)
                    case .lessOrEqual: !value.lexicographicallyPrecedes(found)
                    case .greater: value.lexicographicallyPrecedes(found)
                    case .greaterOrEqual: !found.lexicographicallyPrecedes(value)
                    }
                if !matches { return nil }
            case .range(let register, let inverted, let first, let last):
                let found = load(register, first.count)
                let inside = !found.lexicographicallyPrecedes(first) && !last.lexicographicallyPrecedes(found)
                if inside == inverted { return nil }
            case .lookup(let name, let key, let inverted):
                if (find(name, table, load(key, 64)) != nil) == inverted { return nil }
            case .map(let name, let key, let into):
                guard case .data(let data)? = find(name, table, load(key, 64)) else { return nil }
                store(data, into)
            case .verdictMap(let name, let key):
                guard case .verdict(let verdict)? = find(name, table, load(key, 64)) else { return nil }
                return .verdict(verdict)
            case .immediate(let value, let into): store(value, into)
            case .verdict(let verdict): return .verdict(verdict)
            case .bitwise(let source, let into, let mask, let xor):
                let value = load(source, mask.count)
                store(mask.indices.map { value[$0] & mask[$0] ^ xor[$0] }, into)
            case .conntrack(.state, let into): store(host(packet.connectionState), into)
            case .conntrack(.status, let into): store(host(packet.isTranslated ? 0x20 : 0), into)
            case .conntrack(_, let into): store(host(0), into)
            case .conntrackOriginal(.destinationPort, let into):
                store([UInt8(packet.originalPort >> 8), UInt8(packet.originalPort & 0xff)], into)
            case .conntrackOriginal(_, let into): store(packet.originalDestination.bytes, into)
            case .numberGenerator(_, let modulus, let offset, let into):
                count = max(count, modulus)
                store(host(choice % modulus + offset), into)
            case .destinationNAT(let family, let address, let port):
                packet.destination = IPAddress(bytes: load(address, family.byteCount)) ?? packet.destination
                packet.destinationPort = load(port, 2).reduce(0) { $0 << 8 | UInt16($1) }
                packet.isTranslated = true
                return .verdict(.accept)
            case .sourceNAT, .masquerade:
                packet.isMasqueraded = true
                return .verdict(.accept)
            case .counter, .updateSet: break
            case .reject: return .end(.refuse)
            case .addressType(let ofSource, let into):
                store(host(local.contains(ofSource ? packet.source : packet.destination) ? 2 : 1), into)
            }
        }
        return nil
    }

    private func header(_ packet: SimulatedPacket, _ base: NFExpression.Base) -> [UInt8] {
        func port(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 0xff)] }
        switch base {
        case .link: return []
        case .network:
            let lead = packet.source.isIPv4 ? 12 : 8
            return [UInt8](repeating: 0, count: lead) + packet.source.bytes + packet.destination.bytes
        case .transport: return port(packet.sourcePort) + port(packet.destinationPort)
        }
    }

    private func find(_ name: String, _ table: Table, _ register: [UInt8]) -> Value? {
        guard let set = table.sets[name] else { return nil }
        let length = set.fields.reduce(0, +)
        let key = Array(register[..<length])
        if let value = set.exact[key] { return value }
        for range in set.ranges {
            var offset = 0
            let inside = set.fields.allSatisfy { size in
                defer { offset += size }
                let field = key[offset..<offset + size]
                return !field.lexicographicallyPrecedes(range.first[offset..<offset + size])
                    && !range.last[offset..<offset + size].lexicographicallyPrecedes(field)
            }
            if inside { return Value.none }
        }
        return nil
    }
}
