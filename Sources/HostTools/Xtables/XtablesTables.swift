import Linux
import Netlink

/// The tables and base chains that iptables makes when they are first needed.
enum BuiltinTables {
    struct Chain: Sendable {
        var name: String
        var hook: UInt32
        var priority: Int32
        var kind: String
    }

    /// In the order of iptables-save.
    static let names = ["mangle", "security", "raw", "filter", "nat"]

    static func chains(_ table: String) -> [Chain]? {
        let hooks = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]
        func make(_ numbers: [Int], _ priority: Int32) -> [Chain] {
            numbers.map { Chain(name: hooks[$0], hook: UInt32($0), priority: priority, kind: "filter") }
        }
        switch table {
        case "filter": return make([1, 2, 3], 0)
        case "security": return make([1, 2, 3], 50)
        case "raw": return make([0, 3], -300)
        case "mangle":
            var chains = make([0, 1, 2, 3, 4], -150)
            chains[3].kind = "route"
            return chains
        case "nat":
            var chains = make([0, 1, 3, 4], -100)
            for index in chains.indices {
                chains[index].kind = "nat"
                if chains[index].hook == 1 || chains[index].hook == 4 { chains[index].priority = 100 }
            }
            return chains
        default: return nil
        }
    }
}

/// What the kernel has of one table, and what the transaction at hand makes of it.
struct XtablesTable {
    struct Entry {
        /// The kernel's number; 0 for a rule of this transaction, which has `identifier`.
        var handle: UInt64 = 0
        var identifier: UInt32 = 0
        var rule: Rule
        /// The kernel's expressions, to write a rule back whose counters change.
        var raw: [UInt8] = []
    }

    struct Chain {
        var name: String
        var builtin: BuiltinTables.Chain?
        var isInKernel = false
        var handle: UInt64 = 0
        var isAccepting = true
        var packets: UInt64 = 0
        var bytes: UInt64 = 0
        /// Jumps to it and rules in it.
        var use: UInt32 = 0
        var entries: [Entry] = []
    }

    var name: String
    var isInKernel = false
    var hasRules = false
    /// Base chains by hook, then the users' in any order.
    var chains: [Chain]
    /// Places in `chains`: a ruleset of kube-proxy's has ten thousand.
    private var places: [String: Int] = [:]

    init(_ name: String) {
        self.name = name
        chains = (BuiltinTables.chains(name) ?? []).map { Chain(name: $0.name, builtin: $0) }
        for (index, chain) in chains.enumerated() { places[chain.name] = index }
    }

    func index(_ chain: String) -> Int? { places[chain] }

    /// In the order of printing: the users' by name.
    var sorted: [Chain] {
        let count = BuiltinTables.chains(name)?.count ?? 0
        return chains[..<count]
            + chains[count...].sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    }

    mutating func insert(_ chain: Chain) {
        places[chain.name] = chains.count
        chains.append(chain)
    }

    mutating func remove(at index: Int) {
        chains.remove(at: index)
        places = [:]
        for (index, chain) in chains.enumerated() { places[chain.name] = index }
    }
}

/// One family's tables over a netlink socket: reads them when they are first asked for, collects changes, and sends them as one
/// transaction that the kernel refuses if somebody else was faster.
final class XtablesKernel {
    let family: AddressFamily
    private let socket: NetlinkSocket
    private(set) var tables: [String: XtablesTable] = [:]
    private var generation: UInt32 = 0
    private var changes = MessageBuffer(capacity: 4096)
    /// What each message of the transaction is for, for errors.
    private var labels: [(text: String, subject: String, line: Int)] = []
    private var lastIdentifier: UInt32 = 0
    /// Line of the input, 0 for a command line.
    var line = 0

    init(_ family: AddressFamily) throws(ToolError) {
        self.family = family
        do throws(NetlinkError) {
            socket = try NetlinkSocket(.netfilter)
        } catch {
            throw ToolError(4, "Could not fetch rule set generation id: \(error)")
        }
        beginTransaction()
    }

    private static func type(_ number: UInt16) -> UInt16 { 10 << 8 | number }

    private func beginTransaction() {
        changes = MessageBuffer(capacity: 4096)
        labels = []
    }

    // MARK: reading

    private func dump<T>(
        _ number: UInt16, _ operation: String, table: String? = nil, _ parse: (ByteView) -> T?
    ) throws(ToolError) -> [T] {
        var buffer = MessageBuffer(capacity: 128)
        buffer.message(type: XtablesKernel.type(number), flags: [.request, .dump]) {
            $0.appendNetfilterHeader(family: family.rawValue)
            if let table { $0.attribute(1, string: table) }
        }
        do throws(NetlinkError) {
            return try socket.dump(&buffer, operation) { parse($0.payload.dropFirst(4)) }
        } catch { throw refusal(error) }
    }

    private func refusal(_ error: NetlinkError) -> ToolError {
        if error.code == EPERM {
            return ToolError(4, "Could not fetch rule set generation id: Permission denied (you must be root)")
        }
        return ToolError(4, "\(error)")
    }

    private func readGeneration() throws(ToolError) {
        var buffer = MessageBuffer(capacity: 64)
        buffer.message(type: XtablesKernel.type(16), flags: [.request, .ack]) { $0.appendNetfilterHeader(family: 0) }
        do throws(NetlinkError) {
            let number = try socket.query(&buffer, "read the generation") { message -> UInt32? in
                message.payload.dropFirst(4).attribute(1)?.big()
            }
            generation = number ?? 0
        } catch { throw refusal(error) }
    }

    /// All chains of the family, once.
    private var areChainsRead = false
    private func readChains() throws(ToolError) {
        guard !areChainsRead else { return }
        areChainsRead = true
        try readGeneration()
        let found = try dump(4, "list chains") { attributes -> (String, XtablesTable.Chain)? in
            guard let table = attributes.attribute(1)?.string, let name = attributes.attribute(3)?.string else {
                return nil
            }
            var chain = XtablesTable.Chain(name: name)
            chain.isInKernel = true
            chain.handle = attributes.attribute(2)?.big() ?? 0
            if attributes.attribute(4) != nil {
                chain.builtin = BuiltinTables.chains(table)?.first { $0.name == name }
            }
            chain.isAccepting = (attributes.attribute(5)?.big(as: UInt32.self) ?? 1) != 0
            chain.use = attributes.attribute(6)?.big() ?? 0
            chain.bytes = attributes.attribute(8)?.attribute(1)?.big() ?? 0
            chain.packets = attributes.attribute(8)?.attribute(2)?.big() ?? 0
            return (table, chain)
        }
        let names = try dump(1, "list tables") { $0.attribute(1)?.string }
        for name in names where BuiltinTables.names.contains(name) {
            var table = XtablesTable(name)
            table.isInKernel = true
            tables[name] = table
        }
        for (table, chain) in found where tables[table] != nil {
            if chain.builtin != nil, let index = tables[table]?.index(chain.name) {
                tables[table]?.chains[index] = chain
            } else {
                tables[table]?.insert(chain)
            }
        }
    }

    /// The table with its chains; with the rules if asked for.
    @discardableResult
    func table(_ name: String, rules: Bool = false) throws(ToolError) -> XtablesTable {
        try readChains()
        var table = tables[name] ?? XtablesTable(name)
        if rules, table.isInKernel, !table.hasRules {
            table.hasRules = true
            let family = family
            let found = try dump(7, "list rules", table: name) { attributes -> (String, XtablesTable.Entry)? in
                guard attributes.attribute(1)?.string == name, let chain = attributes.attribute(2)?.string,
                    let expressions = attributes.attribute(4)
                else { return nil }
                let rule = RuleDecoder.decode(family, expressions: expressions)
                let handle: UInt64 = attributes.attribute(3)?.big() ?? 0
                return (chain, XtablesTable.Entry(handle: handle, rule: rule, raw: expressions.array))
            }
            var index = 0
            for (chain, entry) in found {
                if index >= table.chains.count || table.chains[index].name != chain {
                    guard let next = table.index(chain) else { continue }
                    index = next
                }
                table.chains[index].entries.append(entry)
            }
        }
        tables[name] = table
        return table
    }

    func existingTables() throws(ToolError) -> [String] {
        try readChains()
        return BuiltinTables.names.filter { tables[$0]?.isInKernel == true }
    }

    func hasChain(_ table: String, _ name: String) throws(ToolError) -> Bool {
        try self.table(table).index(name) != nil
    }

    // MARK: changing

    func change(_ table: String, _ body: (inout XtablesTable) -> Void) {
        if var value = tables.removeValue(forKey: table) {
            body(&value)
            tables[table] = value
        }
    }

    func message(
        _ number: UInt16, _ flags: MessageFlags, _ label: String, _ subject: String, table: String,
        _ body: (inout MessageBuffer) -> Void = { _ in }
    ) {
        labels.append((label, subject, line))
        changes.message(type: XtablesKernel.type(number), flags: flags.union(.request)) {
            $0.appendNetfilterHeader(family: family.rawValue)
            $0.attribute(1, string: table)
            body(&$0)
        }
    }

    /// Nothing is left of it.
    func replaceTable(_ name: String) {
        var empty = XtablesTable(name)
        empty.hasRules = true
        tables[name] = empty
    }

    func nextIdentifier() -> UInt32 {
        lastIdentifier += 1
        return lastIdentifier
    }

    func ensureTable(_ name: String) throws(ToolError) {
        guard try !table(name).isInKernel else { return }
        message(0, .create, "TABLE_ADD", "table \(name)", table: name) { $0.attribute(2, big: UInt32(0)) }
        change(name) { $0.isInKernel = true }
    }

    /// A base chain comes to be with the first rule in it.
    func ensureChain(_ table: String, _ index: Int) throws(ToolError) {
        try ensureTable(table)
        guard let chain = tables[table]?.chains[index], !chain.isInKernel, chain.builtin != nil else { return }
        setBase(table, chain, withCounters: false)
        change(table) { $0.chains[index].isInKernel = true }
    }

    /// Makes a base chain, or sets policy and counters of one.
    func setBase(_ table: String, _ chain: XtablesTable.Chain, withCounters: Bool) {
        guard let builtin = chain.builtin else { return }
        message(3, .create, chain.isInKernel ? "CHAIN_UPDATE" : "CHAIN_ADD", "chain \(chain.name)", table: table) {
            message in
            message.attribute(3, string: chain.name)
            message.nested(4) {
                $0.attribute(1, big: builtin.hook)
                $0.attribute(2, big: builtin.priority)
            }
            message.attribute(5, big: UInt32(chain.isAccepting ? 1 : 0))
            message.attribute(7, string: builtin.kind)
            if withCounters {
                message.nested(8) {
                    $0.attribute(1, big: chain.bytes)
                    $0.attribute(2, big: chain.packets)
                }
            }
        }
    }

    var isEmpty: Bool { labels.isEmpty }

    /// Forgets what was read and what was to be sent.
    func reset() {
        tables = [:]
        areChainsRead = false
        beginTransaction()
    }

    /// - Returns: false if somebody else changed the tables since they were read: everything has to be done again.
    func commit() throws(ToolError) -> Bool {
        defer { reset() }
        guard !labels.isEmpty else { return true }
        var batch = MessageBuffer(capacity: changes.count + 256)
        batch.message(type: 16, flags: .request) {
            $0.appendNetfilterHeader(family: 0, resource: 10)
            $0.attribute(1, big: generation)
        }
        let count = changes.messageCount
        changes.withBytes { batch.appendMessages($0, count: count) }
        batch.message(type: 17, flags: .request) { $0.appendNetfilterHeader(family: 0, resource: 10) }
        batch.askForLastAnswer(before: 1)
        do throws(NetlinkError) {
            try socket.request(&batch, "commit", isBatch: true)
            return true
        } catch {
            if error.code == ERESTART { return false }
            guard let index = error.messageIndex, index > 0, index <= labels.count else { throw refusal(error) }
            let label = labels[index - 1]
            let place = label.line > 0 ? "\nline \(label.line): " : " "
            let reason = strerror(error.code).map { String(cString: $0) } ?? "errno \(error.code)"
            throw ToolError(4, "\(place)\(label.text) failed (\(reason)): \(label.subject)")
        }
    }
}
