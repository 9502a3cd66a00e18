import Netlink
import Synchronization

/// Keeps the tables of network policy as pods, namespaces and policies are. Loads everything with the first call (replacing
/// what an earlier process left, in the same transaction), then commits what changes, one transaction a call. When a commit
/// fails the next one loads everything again. Calls are serialised.
///
///     let enforcer = PolicyEnforcer(backend: try KernelRuleset(), settings: PolicySettings(families: [.ipv4, .ipv6]))
///     try enforcer.reset(PolicyChanges(pods: pods, namespaces: namespaces, policies: policies))
///     try enforcer.update(PolicyChanges(pods: [changed]))
package final class PolicyEnforcer: Sendable {
    package struct Result: Sendable, Equatable {
        /// Bytes sent to the kernel; 0 if nothing had to change.
        package var bytes = 0
        package var wasFullLoad = false
    }

    private struct Loaded {
        var setDigests: [String: SetDigest] = [:]
        var sets: [String: NFSet] = [:]
        var chains: Set<NFChain> = []
        var rulesDigest: UInt64 = 0
    }
    private struct Memory {
        var state: PolicyState
        /// By family's table; empty: all has to be loaded.
        var tables: [NFTable: Loaded] = [:]
        /// As `ProxyMemory.generation`.
        var generation: UInt32 = 0
        mutating func countCommit() { generation = generation == .max ? 1 : generation + 1 }
    }

    private let backend: any RulesetBackend
    private let settings: PolicySettings
    private let memory: Mutex<Memory>

    package init(backend: any RulesetBackend, settings: PolicySettings) {
        (self.backend, self.settings) = (backend, settings)
        memory = Mutex(Memory(state: PolicyState(settings)))
    }

    /// Everything there is; what was told before is forgotten.
    @discardableResult
    package func reset(_ everything: PolicyChanges) throws(NetlinkError) -> Result {
        try locked { memory throws(NetlinkError) in
            memory.state = PolicyState(self.settings)
            memory.tables = [:]
            _ = memory.state.apply(everything)
            return try self.load(&memory)
        }
    }

    /// Cost is in proportion to what changes.
    @discardableResult
    package func update(_ changes: PolicyChanges) throws(NetlinkError) -> Result {
        try locked { memory throws(NetlinkError) in
            let plan = memory.state.apply(changes)
            if memory.tables.isEmpty { return try self.load(&memory) }
            let commands = plan.flatMap(\.commands)
            if commands.isEmpty { return Result() }
            do throws(NetlinkError) {
                let bytes = try self.backend.commit(commands, purpose: "update network policies")
                memory.countCommit()
                for change in plan { try self.note(change, &memory) }
                return Result(bytes: bytes)
            } catch {
                memory.tables = [:]
                guard error.isNotFound || error.isExisting else { throw error }
                return try self.load(&memory)
            }
        }
    }

    /// Removes the tables and forgets everything: nothing is filtered, nothing is kept.
    package func unload() throws(NetlinkError) {
        try locked { memory throws(NetlinkError) in
            try self.backend.commit(PolicyEnforcer.removal, purpose: "remove the tables of network policy")
            memory = Memory(state: PolicyState(self.settings))
        }
    }

    /// What removes the tables, loaded or not.
    package static var removal: [NFCommand] {
        [NFFamily.ip, .ip6].flatMap { family -> [NFCommand] in
            let table = NFTable(family, PolicyLayout.tableName)
            return [.addTable(table), .deleteTable(table)]
        }
    }

    /// Compares the kernel's tables with what should be there and loads them again if somebody changed them; what was
    /// found. One round trip if nobody touched nf_tables since the last commit.
    package func verify() throws(NetlinkError) -> String? {
        try locked { memory throws(NetlinkError) in
            guard !memory.tables.isEmpty else { return nil }
            let generation = try self.backend.generation()
            if generation == memory.generation { return nil }
            var found = try self.difference(memory)
            // A dump taken while the kernel grows a hash table is not exact: look again.
            for _ in 0..<3 where found != nil {
                ShortPause.milliseconds(20)
                found = try self.difference(memory)
            }
            guard let found else {
                memory.generation = generation
                return nil
            }
            memory.tables = [:]
            _ = try self.load(&memory)
            return found
        }
    }

    /// The tables as they should be.
    package var rulesets: [Ruleset] { memory.withLock { $0.state.rulesets() } }

    package var podCount: Int { memory.withLock { $0.state.podCount } }

    private func locked<T>(_ body: (inout Memory) throws(NetlinkError) -> T) throws(NetlinkError) -> T {
        let result: Swift.Result<T, NetlinkError> = memory.withLock { memory in
            do throws(NetlinkError) { return .success(try body(&memory)) } catch { return .failure(error) }
        }
        return try result.get()
    }

    private func load(_ memory: inout Memory) throws(NetlinkError) -> Result {
        let rulesets = memory.state.rulesets()
        if settings.filtersBridgedFrames { try filterBridgedFrames() }
        memory.generation = try backend.generation()
        // Tables of a family that is not wanted any more are left by no process of ours but an older one.
        let bytes = try backend.commit(
            PolicyEnforcer.removal + rulesets.flatMap { $0.load() }, purpose: "load network policies")
        memory.countCommit()
        for ruleset in rulesets {
            var loaded = Loaded()
            for named in ruleset.sets {
                loaded.sets[named.set.name] = named.set
                loaded.setDigests[named.set.name, default: SetDigest()].add(named.elements)
            }
            loaded.chains = Set(ruleset.chains.map(\.chain))
            loaded.rulesDigest = try backend.rulesDigest(ruleset.table)
            memory.tables[ruleset.table] = loaded
        }
        return Result(bytes: bytes, wasFullLoad: true)
    }

    private func filterBridgedFrames() throws(NetlinkError) {
        for family in settings.families {
            do throws(NetlinkError) {
                try backend.setSysctl(BridgeFiltering.setting(family), "1")
            } catch {
                // No such setting: the kernel has no br_netfilter, or it is not loaded (BridgeFiltering.problem).
                guard error.isNotFound else { throw error }
            }
        }
    }

    private func note(_ change: PolicyChange, _ memory: inout Memory) throws(NetlinkError) {
        let table = change.layout.table
        guard var loaded = memory.tables[table] else { return }
        memory.tables[table] = nil
        for named in change.newSets {
            loaded.sets[named.set.name] = named.set
            loaded.setDigests[named.set.name, default: SetDigest()].add(named.elements)
        }
        for (name, elements) in change.deletes { loaded.setDigests[name, default: SetDigest()].subtract(elements) }
        for (name, elements) in change.adds { loaded.setDigests[name, default: SetDigest()].add(elements) }
        for name in change.removedSets {
            loaded.sets[name] = nil
            loaded.setDigests[name] = nil
        }
        for chain in change.newChains { loaded.chains.insert(chain.chain) }
        for name in change.removedChains { loaded.chains.remove(NFChain(name)) }
        if change.changesRules { loaded.rulesDigest = try backend.rulesDigest(table) }
        memory.tables[table] = loaded
    }

    private func difference(_ memory: Memory) throws(NetlinkError) -> String? {
        let present = Set(try backend.tables())
        for (table, loaded) in memory.tables {
            guard present.contains(table) else { return "table \(table) is gone" }
            if try Set(backend.chains(table)) != loaded.chains { return "chains of table \(table) were changed" }
            if try Set(backend.setNames(table)) != Set(loaded.sets.keys) {
                return "sets of table \(table) were changed"
            }
            if try backend.rulesDigest(table) != loaded.rulesDigest { return "rules of table \(table) were changed" }
            for (name, set) in loaded.sets {
                var found = SetDigest()
                found.add(try backend.elements(table, set))
                if found != loaded.setDigests[name] ?? SetDigest() {
                    return "elements of \(table) \(name) were changed"
                }
            }
        }
        return nil
    }
}
