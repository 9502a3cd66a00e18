import Netlink

/// What one commit changes in one family's table: elements to delete and to add per set, and chains to make.
struct ProxyChange {
    private(set) var deletes: [String: NFElements] = [:]
    private(set) var adds: [String: NFElements] = [:]
    private(set) var chains: [ChainShape] = []
    /// Affinity timeouts whose chains have to be made.
    private(set) var timeouts: [UInt32] = []
    /// Many frontends in a row have the same shape: its name is made once.
    private var lastShape: (shape: ChainShape, verdict: NFVerdict)?

    /// As many elements as the sets of a full load may get: the kernel finds room for a set of a known size at once, where
    /// one that grows is moved again and again (half of the time that 30,000 services took). Half as many again fit before
    /// all has to be loaded anew.
    var sizes: [String: UInt32] {
        adds.filter { $0.value.count >= 4096 && !$0.value.hasRanges }.mapValues { elements in
            UInt32(clamping: (elements.count * 3 / 2 + 4095) & ~4095)
        }
    }

    var addsChains: Bool { !chains.isEmpty || !timeouts.isEmpty }

    /// Makes the chains that the frontend uses unless the table or this change has them.
    mutating func require(_ frontend: Frontend, _ table: ProxyTable) {
        if case .balance(let shape) = frontend.action, !table.chains.contains(shape), !chains.contains(shape) {
            chains.append(shape)
        }
        let seconds = frontend.affinitySeconds
        if seconds > 0, !table.timeouts.contains(seconds), !timeouts.contains(seconds) { timeouts.append(seconds) }
    }

    mutating func edit(_ frontend: Frontend, adding: Bool, _ layout: ProxyLayout) {
        let isNodePort = frontend.key.address == nil
        switch frontend.action {
        case .balance(let shape):
            element(adding, isNodePort ? layout.nodePorts : layout.services, frontend.key, verdict(shape))
            editTargets(frontend, from: 0, adding: adding, layout)
        case .reject, .drop:
            let isRejected = frontend.action == .reject
            if isNodePort {
                element(
                    adding, layout.noNodePortEndpoints, frontend.key, .goto(isRejected ? "reject-node" : "drop-node"))
            } else {
                element(adding, layout.noEndpoints, frontend.key, isRejected ? .goto("reject") : .drop)
            }
        }
        editSources(frontend, adding: adding, layout)
        editSticky(frontend, adding: adding, layout)
    }

    private mutating func editSticky(_ frontend: Frontend, adding: Bool, _ layout: ProxyLayout) {
        guard frontend.hasAffinity else { return }
        element(
            adding, frontend.key.address == nil ? layout.stickyNodePorts : layout.sticky, frontend.key,
            .goto(ProxyLayout.rememberName(frontend.affinitySeconds)))
    }

    /// Only what differs, for two frontends of one key.
    mutating func replace(_ old: Frontend, _ new: Frontend, _ layout: ProxyLayout) {
        guard case .balance(let before) = old.action, case .balance(let after) = new.action else {
            edit(old, adding: false, layout)
            edit(new, adding: true, layout)
            return
        }
        if before != after {
            let set = new.key.address == nil ? layout.nodePorts : layout.services
            element(false, set, old.key, .goto(before.name))
            element(true, set, new.key, .goto(after.name))
        }
        for index in 0..<max(old.targets.count, new.targets.count) {
            let was = index < old.targets.count ? old.targets[index] : nil
            let now = index < new.targets.count ? new.targets[index] : nil
            if was == now { continue }
            if let was { target(false, new.key, index, was, layout) }
            if let now { target(true, new.key, index, now, layout) }
        }
        if old.affinitySeconds != new.affinitySeconds {
            editSticky(old, adding: false, layout)
            editSticky(new, adding: true, layout)
        }
        if old.sources != new.sources {
            editSources(old, adding: false, layout)
            editSources(new, adding: true, layout)
        }
    }

    private mutating func editTargets(_ frontend: Frontend, from start: Int, adding: Bool, _ layout: ProxyLayout) {
        guard start < frontend.targets.count else { return }
        let key = frontend.key
        update(adding, key.address == nil ? layout.nodePortEndpoints : layout.endpoints) { elements in
            for index in start..<frontend.targets.count { elements.append(key, index, frontend.targets[index]) }
        }
    }

    private mutating func verdict(_ shape: ChainShape) -> NFVerdict {
        if let lastShape, lastShape.shape == shape { return lastShape.verdict }
        let verdict = NFVerdict.goto(shape.name)
        lastShape = (shape, verdict)
        return verdict
    }

    private mutating func target(
        _ adding: Bool, _ key: FrontendKey, _ index: Int, _ target: Target, _ layout: ProxyLayout
    ) {
        update(adding, key.address == nil ? layout.nodePortEndpoints : layout.endpoints) {
            $0.append(key, index, target)
        }
    }

    private mutating func element(_ adding: Bool, _ set: NFSet, _ key: FrontendKey, _ verdict: NFVerdict) {
        update(adding, set) { $0.append(key: { key.appendBytes(to: &$0) }, verdict: verdict) }
    }

    private mutating func editSources(_ frontend: Frontend, adding: Bool, _ layout: ProxyLayout) {
        guard !frontend.sources.isEmpty else { return }
        let key = frontend.key.bytes
        update(adding, layout.restricted) { $0.append(key: key) }
        for prefix in frontend.sources {
            update(adding, layout.sources) {
                $0.append(range: key + prefix.network.bytes, key + prefix.lastAddress.bytes)
            }
        }
    }

    mutating func hairpin(_ address: IPAddress, adding: Bool, _ layout: ProxyLayout) {
        update(adding, layout.hairpin) { $0.append(key: address.bytes + address.bytes) }
    }

    private mutating func update(_ adding: Bool, _ set: NFSet, _ body: (inout NFElements) -> Void) {
        if adding {
            body(&adds[set.name, default: NFElements(for: set)])
        } else {
            body(&deletes[set.name, default: NFElements(for: set)])
        }
    }

    /// Deletions before additions: a replaced element is in both.
    func commands(_ layout: ProxyLayout) -> [NFCommand] {
        var commands: [NFCommand] = []
        for chain in chains.map(layout.chain) + timeouts.map(layout.rememberChain) {
            commands.append(.addChain(layout.table, chain.chain))
            commands += chain.rules.map { .addRule(layout.table, chain: chain.chain.name, $0) }
        }
        for set in layout.sets.map(\.set) {
            if let gone = deletes[set.name], !gone.isEmpty { commands.append(.deleteElements(layout.table, set, gone)) }
        }
        for set in layout.sets.map(\.set) {
            if let new = adds[set.name], !new.isEmpty { commands.append(.addElements(layout.table, set, new)) }
        }
        return commands
    }
}

extension NFElements {
    /// One endpoint of a frontend.
    fileprivate mutating func append(_ key: FrontendKey, _ index: Int, _ target: Target) {
        append { bytes in
            key.appendBytes(to: &bytes)
            // numgen leaves its number in host order.
            withUnsafeBytes(of: UInt32(index)) { bytes.append(contentsOf: $0) }
        } data: {
            target.appendBytes(to: &$0)
        }
    }
}

/// Count and hash of a set's elements, kept up to date with every commit: what `verify` compares with a dump.
struct SetDigest: Equatable {
    var count = 0
    var sum: UInt64 = 0

    mutating func add(_ elements: NFElements) {
        count += elements.count
        sum &+= elements.digest
    }
    mutating func subtract(_ elements: NFElements) {
        count -= elements.count
        sum &-= elements.digest
    }
}

/// One family's table as it should be in the kernel.
struct ProxyTable {
    let layout: ProxyLayout
    var chains: Set<ChainShape> = []
    var timeouts: Set<UInt32> = []
    var digests: [String: SetDigest] = [:]
    /// Uses of a local pod address in the hairpin set.
    var hairpins: [IPAddress: Int] = [:]
    var rulesDigest: UInt64 = 0

    init(_ layout: ProxyLayout) {
        self.layout = layout
        for named in layout.sets { digests[named.set.name, default: SetDigest()].add(named.elements) }
    }

    /// Whether a set of a fixed size has not enough room for the change.
    func isTooSmall(for change: ProxyChange) -> Bool {
        layout.sizes.contains { name, size in
            let more = (change.adds[name]?.count ?? 0) - (change.deletes[name]?.count ?? 0)
            return (digests[name]?.count ?? 0) + more > Int(size)
        }
    }

    /// After a successful commit.
    mutating func apply(_ change: ProxyChange) {
        for (name, elements) in change.deletes { digests[name, default: SetDigest()].subtract(elements) }
        for (name, elements) in change.adds { digests[name, default: SetDigest()].add(elements) }
        chains.formUnion(change.chains)
        timeouts.formUnion(change.timeouts)
    }
}
