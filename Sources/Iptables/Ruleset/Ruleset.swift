import Netlink

/// The wanted contents of one table as a value. Made by the compilers of this module, compared with what is loaded, and
/// committed as the difference.
package struct Ruleset: Sendable, Equatable {
    package struct Chain: Sendable, Equatable {
        package var chain: NFChain
        package var rules: [NFRule]
        package init(_ chain: NFChain, _ rules: [NFRule]) { (self.chain, self.rules) = (chain, rules) }
    }
    package struct NamedSet: Sendable, Equatable {
        package var set: NFSet
        package var elements: NFElements
        package init(_ set: NFSet, _ elements: NFElements? = nil) {
            (self.set, self.elements) = (set, elements ?? NFElements(for: set))
        }
    }
    package var table: NFTable
    package var sets: [NamedSet]
    package var chains: [Chain]

    package init(_ table: NFTable, sets: [NamedSet] = [], chains: [Chain] = []) {
        (self.table, self.sets, self.chains) = (table, sets, chains)
    }

    /// The commands that make the table so, whatever it was: an existing table of that name goes in the same transaction.
    package func load() -> [NFCommand] {
        [.addTable(table), .deleteTable(table), .addTable(table)] + contents()
    }

    private func contents() -> [NFCommand] {
        var commands: [NFCommand] = sets.map { .addSet(table, $0.set) }
        // Chains first, then rules and elements: both may name any chain.
        commands += chains.map { .addChain(table, $0.chain) }
        for chain in chains { commands += chain.rules.map { .addRule(table, chain: chain.chain.name, $0) } }
        commands += sets.filter { !$0.elements.isEmpty }.map { .addElements(table, $0.set, $0.elements) }
        return commands
    }

    /// The commands that turn `old` (what is loaded) into this. Sets keep their elements' state, chains that did not
    /// change keep their rules; a set or base chain whose definition changed means a full load.
    package func commands(replacing old: Ruleset?) -> [NFCommand] {
        guard let old, old.table == table else { return load() }
        let oldSets = Dictionary(old.sets.map { ($0.set.name, $0) }) { first, _ in first }
        let oldChains = Dictionary(old.chains.map { ($0.chain.name, $0) }) { first, _ in first }
        for named in sets { if let before = oldSets[named.set.name], before.set != named.set { return load() } }
        for chain in chains {
            if let before = oldChains[chain.chain.name], before.chain != chain.chain { return load() }
        }
        var added: [NFCommand] = []
        var removed: [NFCommand] = []
        for named in sets where oldSets[named.set.name] == nil { added.append(.addSet(table, named.set)) }
        for chain in chains where oldChains[chain.chain.name] == nil { added.append(.addChain(table, chain.chain)) }
        for chain in chains {
            let before = oldChains[chain.chain.name]
            if before?.rules == chain.rules { continue }
            if before != nil { added.append(.flushChain(table, chain.chain.name)) }
            added += chain.rules.map { .addRule(table, chain: chain.chain.name, $0) }
        }
        for named in sets {
            let (gone, new) = named.elements.difference(from: oldSets[named.set.name]?.elements, named.set)
            if !gone.isEmpty { added.append(.deleteElements(table, named.set, gone)) }
            if !new.isEmpty { added.append(.addElements(table, named.set, new)) }
        }
        let names = Set(chains.map(\.chain.name))
        let gone = old.chains.filter { !names.contains($0.chain.name) }
        removed += gone.map { .flushChain(table, $0.chain.name) }
        removed += gone.map { .deleteChain(table, $0.chain.name) }
        let setNames = Set(sets.map(\.set.name))
        removed += old.sets.filter { !setNames.contains($0.set.name) }.map { .deleteSet(table, $0.set.name) }
        return added + removed
    }
}

extension NFElements {
    /// What has to be deleted from and added to `old`; an element whose value changed is in both.
    func difference(from old: NFElements?, _ set: NFSet) -> (gone: NFElements, new: NFElements) {
        func records(_ elements: NFElements?) -> [ArraySlice<UInt8>: Int] {
            guard let elements else { return [:] }
            return Dictionary((0..<elements.count).map { (elements.key($0), $0) }) { first, _ in first }
        }
        var gone = NFElements(for: set)
        var new = NFElements(for: set)
        let before = records(old)
        let after = records(self)
        func same(_ mine: Int, _ other: NFElements, _ theirs: Int) -> Bool {
            value(mine) == other.value(theirs) && verdict(mine) == other.verdict(theirs)
                && end(mine) == other.end(theirs)
        }
        for index in 0..<(old?.count ?? 0) {
            guard let old else { break }
            if let now = after[old.key(index)], same(now, old, index) { continue }
            gone.append(old, index)
        }
        for index in 0..<count {
            if let old, let was = before[key(index)], same(index, old, was) { continue }
            new.append(self, index)
        }
        return (gone, new)
    }

    /// Copies one element.
    mutating func append(_ other: NFElements, _ index: Int) {
        if let verdict = other.verdict(index) {
            append(key: other.key(index), verdict: verdict)
        } else if let value = other.value(index) {
            append(key: other.key(index), data: value)
        } else if let end = other.end(index) {
            append(range: Array(other.key(index)), Array(end))
        } else {
            append(key: other.key(index))
        }
    }
}
