import Linux
import Netlink
import Synchronization

/// nf_tables in memory, for tests and for nodes without the kernel's: the same commands, the same errors (ENOENT, EBUSY,
/// atomic batches), and a text dump.
package final class FakeRuleset: RulesetBackend {
    enum Value: Hashable { case none, data([UInt8]), verdict(NFVerdict), range([UInt8]) }
    struct SetState {
        var set: NFSet
        var elements: [[UInt8]: Value] = [:]
        var expirations: [[UInt8]: UInt64] = [:]

        /// The elements by key, as those of `set`; a ruleset as a value has no expirations.
        func listed(as set: NFSet, withExpirations: Bool) -> NFElements {
            var listed = NFElements(for: set)
            for (key, value) in elements.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
                switch value {
                case .none: listed.append(key: key)
                case .data(let data): listed.append(key: key, data: data)
                case .verdict(let verdict): listed.append(key: key, verdict: verdict)
                case .range(let end): listed.append(range: key, end)
                }
                if withExpirations, set.timeoutMilliseconds != nil {
                    listed.append(expirationMilliseconds: expirations[key] ?? 0)
                }
            }
            return listed
        }
    }
    struct TableState {
        var chains: [String: (chain: NFChain, rules: [NFRule])] = [:]
        var sets: [String: SetState] = [:]
    }
    private struct State {
        var tables: [NFTable: TableState] = [:]
        var generation: UInt32 = 1
        var sysctls: [String: String] = [:]
        var commits = 0
        var failure: NetlinkError?
    }
    private let state = Mutex(State())

    package init() {}

    /// Transactions committed so far, and the settings written.
    package var commitCount: Int { state.withLock { $0.commits } }
    package var sysctls: [String: String] { state.withLock { $0.sysctls } }
    /// Makes the next commit fail.
    package func failNextCommit(_ error: NetlinkError) { state.withLock { $0.failure = error } }

    @discardableResult
    package func commit(_ commands: [NFCommand], purpose: String) throws(NetlinkError) -> Int {
        let result: Result<Int, NetlinkError> = state.withLock { state in
            if let failure = state.failure {
                state.failure = nil
                return .failure(failure)
            }
            var tables = state.tables
            for (index, command) in commands.enumerated() {
                if let code = FakeRuleset.apply(command, &tables) {
                    return .failure(NetlinkError(code, "\(purpose): \(command.summary)", messageIndex: index + 1))
                }
            }
            state.tables = tables
            state.generation &+= 1
            state.commits += 1
            var batch = MessageBuffer()
            NFTablesSocket.encode(commands, into: &batch)
            return .success(batch.count)
        }
        return try result.get()
    }

    /// Returns an errno.
    private static func apply(_ command: NFCommand, _ tables: inout [NFTable: TableState]) -> Int32? {
        let table = command.table
        if case .addTable = command {
            if tables[table] == nil { tables[table] = TableState() }
            return nil
        }
        guard tables[table] != nil else { return ENOENT }
        if case .deleteTable = command {
            tables[table] = nil
            return nil
        }
        return apply(command, &tables[table, default: TableState()])
    }

    private static func apply(_ command: NFCommand, _ table: inout TableState) -> Int32? {
        switch command {
        case .addTable, .deleteTable: return nil
        case .addChain(_, let chain):
            if let existing = table.chains[chain.name] { return existing.chain == chain ? nil : EEXIST }
            table.chains[chain.name] = (chain, [])
        case .deleteChain(_, let name):
            guard table.chains[name] != nil else { return ENOENT }
            let isUsed =
                table.chains.values.contains { $0.rules.contains { $0.chains.contains(name) } }
                || table.sets.values.contains { $0.elements.values.contains { $0.chain == name } }
            if isUsed { return EBUSY }
            table.chains[name] = nil
        case .flushChain(_, let name):
            guard table.chains[name] != nil else { return ENOENT }
            table.chains[name]?.rules = []
        case .addRule(_, let name, let rule):
            guard table.chains[name] != nil, rule.chains.allSatisfy({ table.chains[$0] != nil }),
                rule.sets.allSatisfy({ table.sets[$0] != nil })
            else { return ENOENT }
            table.chains[name]?.rules.append(rule)
        case .addSet(_, let set):
            if let existing = table.sets[set.name] { return existing.set == set ? nil : EEXIST }
            table.sets[set.name] = SetState(set: set)
        case .deleteSet(_, let name):
            guard table.sets[name] != nil else { return ENOENT }
            if table.chains.values.contains(where: { $0.rules.contains { $0.sets.contains(name) } }) { return EBUSY }
            table.sets[name] = nil
        case .flushSet(_, let name):
            guard table.sets[name] != nil else { return ENOENT }
            table.sets[name]?.elements = [:]
        case .addElements(_, let set, let elements):
            guard table.sets[set.name] != nil else { return ENOENT }
            for index in 0..<elements.count {
                let value = Value(elements, index)
                if let chain = value.chain, table.chains[chain] == nil { return ENOENT }
                let key = Array(elements.key(index))
                if let existing = table.sets[set.name]?.elements[key], existing != value { return EEXIST }
                table.sets[set.name]?.elements[key] = value
                if let held = table.sets[set.name], let size = held.set.size, !held.set.isDynamic,
                    held.elements.count > Int(size)
                {
                    return ENFILE
                }
                if index < elements.expirations.count {
                    table.sets[set.name]?.expirations[key] = elements.expirations[index]
                }
            }
        case .deleteElements(_, let set, let elements):
            guard table.sets[set.name] != nil else { return ENOENT }
            for index in 0..<elements.count {
                guard table.sets[set.name]?.elements.removeValue(forKey: Array(elements.key(index))) != nil else {
                    return ENOENT
                }
            }
        }
        return nil
    }

    // MARK: reading back

    package func tables() -> [NFTable] { state.withLock { $0.tables.keys.sorted { $0.description < $1.description } } }

    package func chains(_ table: NFTable) -> [NFChain] {
        state.withLock { $0.tables[table]?.chains.values.map(\.chain).sorted { $0.name < $1.name } ?? [] }
    }

    package func setNames(_ table: NFTable) -> [String] {
        state.withLock { $0.tables[table]?.sets.keys.sorted() ?? [] }
    }

    package func elements(_ table: NFTable, _ set: NFSet) throws(NetlinkError) -> NFElements {
        let found = state.withLock { $0.tables[table]?.sets[set.name]?.listed(as: set, withExpirations: true) }
        guard let found else { throw NetlinkError(ENOENT, "list elements of \(table) \(set.name)") }
        return found
    }

    /// One table as a value, chains and sets by name.
    package func ruleset(_ table: NFTable) -> Ruleset? {
        state.withLock { state in
            guard let contents = state.tables[table] else { return nil }
            let sets = contents.sets.sorted { $0.key < $1.key }.map { _, held in
                Ruleset.NamedSet(held.set, held.listed(as: held.set, withExpirations: false))
            }
            let chains = contents.chains.sorted { $0.key < $1.key }.map { Ruleset.Chain($1.chain, $1.rules) }
            return Ruleset(table, sets: sets, chains: chains)
        }
    }

    package func rulesDigest(_ table: NFTable) throws(NetlinkError) -> UInt64 {
        state.withLock { state in
            var hash = FNV64()
            for (name, chain) in (state.tables[table]?.chains ?? [:]).sorted(by: { $0.key < $1.key }) {
                hash.combine(name)
                for rule in chain.rules { hash.combine("\(rule)") }
            }
            return hash.value
        }
    }

    package func generation() -> UInt32 { state.withLock { $0.generation } }
    package func setSysctl(_ name: String, _ value: String) { state.withLock { $0.sysctls[name] = value } }

    /// Everything, in a fixed order: rules in the notation of `nft --debug=netlink`, elements as `nft list` prints them.
    package func dump() -> String {
        state.withLock { state in
            var lines: [String] = []
            for (table, contents) in state.tables.sorted(by: { $0.key.description < $1.key.description }) {
                lines.append("table \(table) {")
                for (name, set) in contents.sets.sorted(by: { $0.key < $1.key }) {
                    lines.append("  set \(name) {")
                    for (key, value) in set.elements.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
                        lines.append("    " + set.set.describe(key, value))
                    }
                    lines.append("  }")
                }
                for (name, chain) in contents.chains.sorted(by: { $0.key < $1.key }) {
                    let hook = chain.chain.hook.map { " \($0.kind) \($0.point) \($0.priority)" } ?? ""
                    lines.append("  chain \(name)\(hook) {")
                    for rule in chain.rules { lines.append("    \(rule)") }
                    lines.append("  }")
                }
                lines.append("}")
            }
            return lines.joined(separator: "\n")
        }
    }
}

extension FakeRuleset.Value {
    init(_ elements: NFElements, _ index: Int) {
        if let verdict = elements.verdict(index) {
            self = .verdict(verdict)
        } else if let data = elements.value(index) {
            self = .data(Array(data))
        } else if let end = elements.end(index) {
            self = .range(Array(end))
        } else {
            self = .none
        }
    }
    var chain: String? { if case .verdict(let verdict) = self { verdict.chain } else { nil } }
}
