import Netlink

/// What the commands do: each checks against the tables as the transaction has them so far, and adds to it.
extension XtablesKernel {
    private static let noChain = ToolError(1, "No chain/target/match by that name.")
    private static let badRule = ToolError(1, "Bad rule (does a matching rule exist in that chain?).")

    private func index(_ table: String, _ chain: String, rules: Bool = false) throws(ToolError) -> Int {
        guard let index = try self.table(table, rules: rules).index(chain) else { throw XtablesKernel.noChain }
        return index
    }

    private func entries(_ table: String, _ index: Int) -> [XtablesTable.Entry] {
        tables[table]?.chains[index].entries ?? []
    }

    /// One chain, or all in the order of printing.
    private func chains(_ table: String, _ name: String?) throws(ToolError) -> [XtablesTable.Chain] {
        let table = try self.table(table)
        guard let name else { return table.sorted }
        guard let index = table.index(name) else { throw XtablesKernel.noChain }
        return [table.chains[index]]
    }

    private func write(
        _ rule: Rule, _ flags: MessageFlags, _ label: String, _ table: String, _ chain: String,
        _ place: (inout MessageBuffer) -> Void
    ) {
        message(6, flags, label, "rule in chain \(chain)", table: table) { message in
            message.attribute(2, string: chain)
            message.nested(4) { rule.encode(into: &$0) }
            if rule.transport != 0 {
                message.nested(5) {
                    $0.attribute(1, big: UInt32(rule.transport))
                    $0.attribute(2, big: UInt32(rule.isTransportInverted ? 2 : 0))
                }
            }
            place(&message)
        }
    }

    /// - Parameter position: from 1; nil at the end.
    func add(_ rule: Rule, table: String, chain: String, position: Int?) throws(ToolError) {
        let needsRules = position != nil && position != 1
        let index = try index(table, chain, rules: needsRules)
        // Not where a rule is appended: a second owner of the array would make each append a copy.
        let before = needsRules ? entries(table, index) : []
        if let position, position > before.count + 1, needsRules {
            throw ToolError(1, "Index of insertion too big.")
        }
        try ensureChain(table, index)
        let identifier = nextIdentifier()
        var entry = XtablesTable.Entry(rule: rule)
        entry.identifier = identifier
        if let position {
            let next = needsRules && position <= before.count ? before[position - 1] : nil
            let isLast = needsRules && next == nil
            write(rule, isLast ? [.create, .append] : .create, "RULE_INSERT", table, chain) { message in
                message.attribute(9, big: identifier)
                guard let next else { return }
                if next.handle != 0 {
                    message.attribute(6, big: next.handle)
                } else {
                    message.attribute(10, big: next.identifier)
                }
            }
            change(table) { $0.chains[index].entries.insert(entry, at: position - 1) }
        } else {
            write(rule, [.create, .append], "RULE_APPEND", table, chain) { $0.attribute(9, big: identifier) }
            change(table) { $0.chains[index].entries.append(entry) }
        }
    }

    func replace(_ rule: Rule, table: String, chain: String, position: Int) throws(ToolError) {
        let index = try index(table, chain, rules: true)
        guard tables[table]?.chains[index].isInKernel == true else { throw XtablesKernel.noChain }
        let before = entries(table, index)
        guard position <= before.count else { throw ToolError(1, "Index of replacement too big.") }
        let old = before[position - 1]
        guard old.handle != 0 else {
            try delete(table: table, chain: chain, position: position)
            try add(rule, table: table, chain: chain, position: position)
            return
        }
        let identifier = nextIdentifier()
        write(rule, [.create, .replace], "RULE_REPLACE", table, chain) { message in
            message.attribute(3, big: old.handle)
            message.attribute(9, big: identifier)
        }
        change(table) {
            $0.chains[index].entries[position - 1] = XtablesTable.Entry(identifier: identifier, rule: rule)
        }
    }

    func delete(table: String, chain: String, position: Int) throws(ToolError) {
        let index = try index(table, chain, rules: true)
        guard tables[table]?.chains[index].isInKernel == true else { throw XtablesKernel.noChain }
        let before = entries(table, index)
        guard position <= before.count else { throw ToolError(1, "Index of deletion too big.") }
        let old = before[position - 1]
        message(8, [], "RULE_DELETE", "rule in chain \(chain)", table: table) { message in
            message.attribute(2, string: chain)
            if old.handle != 0 {
                message.attribute(3, big: old.handle)
            } else {
                message.attribute(9, big: old.identifier)
            }
        }
        change(table) { _ = $0.chains[index].entries.remove(at: position - 1) }
    }

    func find(_ rule: Rule, table: String, chain: String) throws(ToolError) -> Int {
        let index = try index(table, chain, rules: true)
        guard let found = entries(table, index).firstIndex(where: { $0.rule.isSame(as: rule) }) else {
            throw XtablesKernel.badRule
        }
        return found + 1
    }

    func newChain(_ table: String, _ name: String) throws(ToolError) {
        try ensureTable(table)
        guard try self.table(table).index(name) == nil else { throw ToolError(1, "Chain already exists.") }
        message(3, .create, "CHAIN_USER_ADD", "chain \(name)", table: table) { $0.attribute(3, string: name) }
        var chain = XtablesTable.Chain(name: name)
        chain.isInKernel = true
        change(table) { $0.insert(chain) }
    }

    func flush(_ table: String, _ chain: String?, verbose: (String) -> Void) throws(ToolError) {
        for one in try chains(table, chain) {
            verbose("Flushing chain `\(one.name)'")
            guard one.isInKernel else { continue }
            message(8, [], "RULE_FLUSH", "chain \(one.name)", table: table) { $0.attribute(2, string: one.name) }
            change(table) { table in
                if let index = table.index(one.name) { table.chains[index].entries = [] }
            }
        }
    }

    func deleteChain(_ table: String, _ name: String?, verbose: (String) -> Void) throws(ToolError) {
        // Base chains without rules go as well where all are meant.
        let found = try chains(table, name)
        if name != nil, found.first?.isInKernel != true { throw XtablesKernel.noChain }
        for one in found where one.isInKernel {
            if one.builtin != nil {
                guard one.use == 0, one.isAccepting, one.entries.isEmpty else {
                    if name != nil { throw XtablesKernel.noChain }
                    continue
                }
            } else {
                verbose("Deleting chain `\(one.name)'")
            }
            // NLM_F_NONREC: not with rules in it.
            message(5, .replace, "CHAIN_DEL", "chain \(one.name)", table: table) { $0.attribute(3, string: one.name) }
            change(table) { table in
                guard let index = table.index(one.name) else { return }
                if let builtin = one.builtin {
                    table.chains[index] = XtablesTable.Chain(name: one.name, builtin: builtin)
                } else {
                    table.remove(at: index)
                }
            }
        }
    }

    func rename(_ table: String, _ old: String, to new: String) throws(ToolError) {
        if try hasChain(table, new) { throw ToolError(1, "File exists.") }
        let index = try index(table, old)
        guard let chain = tables[table]?.chains[index], chain.isInKernel, chain.builtin == nil else {
            throw XtablesKernel.noChain
        }
        message(3, [], "CHAIN_RENAME", "chain \(old)", table: table) { message in
            message.attribute(2, big: chain.handle)
            message.attribute(3, string: new)
        }
        var renamed = chain
        renamed.name = new
        change(table) {
            $0.remove(at: index)
            $0.insert(renamed)
        }
    }

    func setPolicy(
        _ table: String, _ chain: String, _ policy: String, counters: (UInt64, UInt64)? = nil
    ) throws(ToolError) {
        guard let index = try self.table(table).index(chain), tables[table]?.chains[index].builtin != nil else {
            throw ToolError(1, "Bad built-in chain name.")
        }
        guard policy == "ACCEPT" || policy == "DROP" else {
            throw ToolError(1, "Bad policy name. Run `dmesg' for more information.")
        }
        try ensureTable(table)
        change(table) { table in
            table.chains[index].isAccepting = policy == "ACCEPT"
            (table.chains[index].packets, table.chains[index].bytes) = counters ?? (0, 0)
        }
        if let changed = tables[table]?.chains[index] { setBase(table, changed, withCounters: true) }
        change(table) { $0.chains[index].isInKernel = true }
    }

    /// - Parameter position: one rule; nil for all and the policy's counters.
    func zero(_ table: String, _ chain: String?, position: Int?, verbose: (String) -> Void) throws(ToolError) {
        try self.table(table, rules: true)
        for one in try chains(table, chain) where one.isInKernel {
            if let position {
                guard position <= one.entries.count else { throw ToolError(1, "Index of counter zero too big.") }
            } else {
                verbose("Zeroing chain `\(one.name)'")
                if one.builtin != nil {
                    var cleared = one
                    (cleared.packets, cleared.bytes) = (0, 0)
                    setBase(table, cleared, withCounters: true)
                }
            }
            for (number, entry) in one.entries.enumerated() where position == nil || number + 1 == position {
                guard entry.handle != 0, entry.rule.packets != 0 || entry.rule.bytes != 0 else { continue }
                message(6, [.create, .replace], "RULE_REPLACE", "rule in chain \(one.name)", table: table) { message in
                    message.attribute(2, string: one.name)
                    message.attribute(3, big: entry.handle)
                    message.nested(4) { RuleDecoder.copyWithoutCounts(entry.raw, into: &$0) }
                    if entry.rule.transport != 0 {
                        message.nested(5) {
                            $0.attribute(1, big: UInt32(entry.rule.transport))
                            $0.attribute(2, big: UInt32(entry.rule.isTransportInverted ? 2 : 0))
                        }
                    }
                }
            }
        }
    }

    /// The whole table goes; with the first chain or rule it is made anew.
    func clear(_ table: String) throws(ToolError) {
        if try self.table(table).isInKernel {
            message(2, [], "TABLE_FLUSH", "table \(table)", table: table)
        }
        replaceTable(table)
    }
}

extension RuleDecoder {
    /// The expressions as they are, the counter's numbers 0.
    static func copyWithoutCounts(_ raw: [UInt8], into list: inout MessageBuffer) {
        raw.withUnsafeBytes { bytes in
            for element in ByteView(bytes).attributes where element.type == 1 {
                if element.value.attribute(1)?.string == "counter" {
                    list.expression("counter") {
                        $0.attribute(1, big: UInt64(0))
                        $0.attribute(2, big: UInt64(0))
                    }
                } else {
                    list.nested(1) { $0.append(contentsOf: element.value.array) }
                }
            }
        }
    }
}
