import Netlink
import Synchronization

/// Writes services to the kernel: cluster, external and load balancer addresses, NodePorts, session affinity, traffic
/// policies, refusal of services without endpoints, masquerade, and UDP conntrack cleanup. Keeps what it has loaded, and
/// commits only differences, one transaction each; the first call loads everything, replacing what an earlier process
/// left in the same transaction. Owns the tables `ip k3s-proxy` and `ip6 k3s-proxy` and touches no other.
///
/// When a commit fails the next one loads everything again. Calls are serialised.
package final class ServiceProxy: Sendable {
    package struct Result: Sendable, Equatable {
        /// Bytes sent to the kernel; 0 if nothing had to change.
        package var bytes = 0
        package var wasFullLoad = false
        /// Stale UDP flows that were removed.
        package var flowsDeleted = 0
        /// Addresses claimed by a second service, with the services that lost.
        package var conflicts: [FrontendKey: [String]] = [:]
    }

    package enum Verification: Sendable, Equatable {
        case intact
        /// What was found, and that everything was loaded again.
        case reloaded(reason: String)
    }

    private let backend: any RulesetBackend
    private let connections: (any ConnectionTable)?
    private let state: Mutex<ProxyMemory>

    /// - Parameter connections: where stale UDP flows are deleted; nil leaves them.
    package init(backend: any RulesetBackend, connections: (any ConnectionTable)?, settings: ProxySettings) {
        (self.backend, self.connections) = (backend, connections)
        state = Mutex(ProxyMemory(settings))
    }

    /// Makes the kernel's state that of `wanted`; services not in it go.
    @discardableResult
    package func sync(_ wanted: ProxyState) throws(NetlinkError) -> Result {
        try locked { memory throws(NetlinkError) in
            if wanted.settings != memory.settings { memory = ProxyMemory(wanted.settings, services: memory.services) }
            var gone = Set(memory.services.keys)
            for service in wanted.services { gone.remove(service.id) }
            return try self.commit(&memory, changed: wanted.services, removed: gone)
        }
    }

    /// Changes some services; cost is in proportion to them, not to what is loaded.
    @discardableResult
    package func update(_ changed: [ServicePort], removing removed: Set<String> = []) throws(NetlinkError) -> Result {
        try locked { memory throws(NetlinkError) in try self.commit(&memory, changed: changed, removed: removed) }
    }

    /// Compares the kernel's state with what should be there, and loads everything again if somebody changed it. One
    /// round trip (the generation counter) if nobody touched nf_tables since the last commit.
    package func verify() throws(NetlinkError) -> Verification {
        try locked { memory throws(NetlinkError) in
            guard memory.isLoaded else { return .intact }
            let generation = try self.backend.generation()
            if generation == memory.generation { return .intact }
            var difference = try memory.difference(self.backend)
            // A dump taken while the kernel grows a hash table is not exact: look again.
            for _ in 0..<3 where difference != nil {
                ShortPause.milliseconds(20)
                difference = try memory.difference(self.backend)
            }
            guard let difference else {
                memory.generation = generation
                return .intact
            }
            memory.isLoaded = false
            _ = try self.commit(&memory, changed: [], removed: [])
            return .reloaded(reason: difference)
        }
    }

    /// Removes the proxy's tables.
    package func unload() throws(NetlinkError) {
        try locked { memory throws(NetlinkError) in
            let commands = [AddressFamily.ipv4, .ipv6].flatMap { family -> [NFCommand] in
                let table = NFTable(NFFamily(family), ProxyLayout.tableName)
                return [.addTable(table), .deleteTable(table)]
            }
            try self.backend.commit(commands, purpose: "remove the service proxy's tables")
            memory = ProxyMemory(memory.settings)
        }
    }

    /// How many endpoints of a service port are on this node (for health check node ports); nil if it is not known.
    package func localEndpointCount(_ id: String) -> Int? { state.withLock { $0.services[id]?.localEndpoints } }

    private func locked<T>(_ body: (inout ProxyMemory) throws(NetlinkError) -> T) throws(NetlinkError) -> T {
        let result: Swift.Result<T, NetlinkError> = state.withLock { memory in
            do throws(NetlinkError) { return .success(try body(&memory)) } catch { return .failure(error) }
        }
        return try result.get()
    }

    // MARK: commit

    private func commit(
        _ memory: inout ProxyMemory, changed: [ServicePort], removed: Set<String>
    ) throws(NetlinkError) -> Result {
        var result = Result()
        if memory.isLoaded {
            let plan = memory.plan(changed: changed, removed: removed)
            if plan.commands.isEmpty {
                memory.accept(plan)
                result.conflicts = memory.conflicts
                return result
            }
            if plan.needsFullLoad {
                memory.accept(plan)
                memory.isLoaded = false
                try load(&memory, &result)
                result.flowsDeleted += try cleanUp(plan, &memory)
                result.conflicts = memory.conflicts
                return result
            }
            do {
                result.bytes = try backend.commit(plan.commands, purpose: "update services")
                memory.accept(plan)
                memory.countCommit()
                if plan.addsChains { try noteRules(&memory) }
                result.flowsDeleted = try cleanUp(plan, &memory)
                result.conflicts = memory.conflicts
                return result
            } catch {
                // Somebody changed the table under us, or it is gone. The plan is kept in memory, and all is loaded below.
                memory.accept(plan)
                memory.isLoaded = false
                guard error.isNotFound || error.isExisting else { throw error }
            }
        } else if !(removed.isEmpty && memory.takeFirst(changed)) {
            let plan = memory.plan(changed: changed, removed: removed)
            memory.accept(plan)
        }
        try load(&memory, &result)
        result.conflicts = memory.conflicts
        return result
    }

    private func load(_ memory: inout ProxyMemory, _ result: inout Result) throws(NetlinkError) {
        let affinity = memory.survivingAffinity(backend)
        let (tables, commands) = memory.fullLoad(affinity)
        memory.generation = try backend.generation()
        result.bytes = try backend.commit(commands, purpose: "load services")
        result.wasFullLoad = true
        memory.tables = tables
        memory.isLoaded = true
        memory.countCommit()
        try noteRules(&memory)
        // What changed before this process started is not known: every UDP frontend is checked.
        if let connections { result.flowsDeleted = try connections.deleteStale(memory.udpFrontends) }
    }

    /// Remembers the kernel's form of the rules right after they were written, for `verify`.
    private func noteRules(_ memory: inout ProxyMemory) throws(NetlinkError) {
        for family in memory.tables.keys {
            guard let table = memory.tables[family]?.layout.table else { continue }
            memory.tables[family]?.rulesDigest = try backend.rulesDigest(table)
        }
    }

    private func cleanUp(_ plan: ProxyPlan, _ memory: inout ProxyMemory) throws(NetlinkError) -> Int {
        if plan.touchesAffinity { memory.pruneAffinity(backend) }
        guard let connections, !plan.udpChanged.isEmpty else { return 0 }
        return try connections.deleteStale(plan.udpChanged)
    }
}
