import Netlink

/// Pods that no policy can tell apart: same namespace, labels and named ports. Selectors are evaluated per group, so that a
/// thousand replicas cost what one does.
struct PodGroup: Sendable {
    struct Key: Hashable, Sendable {
        var namespace: String
        var labels: [String: String]
        var isLocal: Bool
        var ports: [PolicyPod.Port]
    }

    /// Which elements a pod of the group has.
    struct Membership: Equatable, Sendable {
        struct Named: Equatable, Sendable {
            var set: Int
            var transport: TransportProtocol
            var port: UInt16
        }
        /// Chains that its traffic goes to; nil: not isolated in that direction.
        var ingress: String?
        var egress: String?
        var sets: [Int] = []
        var named: [Named] = []
        var isIsolated: Bool { ingress != nil || egress != nil }
    }

    let key: Key
    var members: Set<String> = []
    /// The sets whose selection has the group in it, ascending.
    var matched: [Int] = []
    /// As committed last, and as it is to be.
    var loaded = Membership()
    var wanted = Membership()
    var ingressPolicies: [String] = []
    var egressPolicies: [String] = []

    init(_ key: Key) { self.key = key }
}

/// What one transaction changes in one family's table.
struct PolicyChange {
    let layout: PolicyLayout
    private(set) var deletes: [String: NFElements] = [:]
    private(set) var adds: [String: NFElements] = [:]
    private var sets: [String: NFSet] = [:]
    var newSets: [Ruleset.NamedSet] = []
    var newChains: [Ruleset.Chain] = []
    /// Chains that get other rules.
    var rewritten: [Ruleset.Chain] = []
    var removedChains: [String] = []
    var removedSets: [String] = []

    init(_ layout: PolicyLayout) { self.layout = layout }

    var changesRules: Bool { !newChains.isEmpty || !rewritten.isEmpty || !removedChains.isEmpty }

    /// - Parameter set: what has that name; asked for once.
    mutating func edit(
        _ name: String, _ set: @autoclosure () -> NFSet, adding: Bool, _ body: (inout NFElements) -> Void
    ) {
        if let index = adding ? adds.index(forKey: name) : deletes.index(forKey: name) {
            if adding { body(&adds.values[index]) } else { body(&deletes.values[index]) }
            return
        }
        let set = set()
        sets[name] = set
        var elements = NFElements(for: set)
        body(&elements)
        if adding { adds[name] = elements } else { deletes[name] = elements }
    }

    /// In the order that nf_tables takes: what is named comes first, what is not named any more goes last.
    var commands: [NFCommand] {
        let table = layout.table
        var commands: [NFCommand] = newSets.map { .addSet(table, $0.set) }
        commands += newChains.map { .addChain(table, $0.chain) }
        for named in newSets where !named.elements.isEmpty {
            commands.append(.addElements(table, named.set, named.elements))
        }
        for chain in rewritten { commands.append(.flushChain(table, chain.chain.name)) }
        for chain in newChains + rewritten {
            commands += chain.rules.map { .addRule(table, chain: chain.chain.name, $0) }
        }
        for name in sets.keys.sorted() {
            guard let set = sets[name], let gone = deletes[name] else { continue }
            commands.append(.deleteElements(table, set, gone))
        }
        for name in sets.keys.sorted() {
            guard let set = sets[name], let new = adds[name] else { continue }
            commands.append(.addElements(table, set, new))
        }
        commands += removedChains.map { .flushChain(table, $0) } + removedChains.map { .deleteChain(table, $0) }
        commands += removedSets.map { .deleteSet(table, $0) }
        return commands
    }
}
