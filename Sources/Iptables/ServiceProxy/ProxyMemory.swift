import Linux
import Netlink

enum ShortPause {
    static func milliseconds(_ count: UInt32) { usleep(count * 1000) }
}

/// A service as loaded: what it was compiled to.
struct LoadedService: Sendable {
    var frontends: [Frontend]
    var hairpins: [IPAddress]
    var localEndpoints: Int
}

/// The outcome of comparing wanted services with loaded ones: commands, and the memory to keep once they are committed.
struct ProxyPlan {
    var commands: [NFCommand] = []
    var changes: [AddressFamily: ProxyChange] = [:]
    var services: [String: LoadedService?] = [:]
    var owners: [FrontendKey: String?] = [:]
    var waiting: [FrontendKey: [String]?] = [:]
    var hairpins: [IPAddress: Int] = [:]
    /// UDP frontends that lost an endpoint or got their first, with the endpoints they have now.
    var udpChanged: [FrontendKey: Set<IPAddress>] = [:]
    var touchesAffinity = false
    var addsChains: Bool { changes.values.contains(where: \.addsChains) }
    /// There is no room for it in the sets as they are.
    var needsFullLoad = false
}

/// Everything the proxy knows; a value, so that a failed step leaves it as it was.
struct ProxyMemory {
    let settings: ProxySettings
    var services: [String: LoadedService] = [:]
    /// Which service answers at an address; a second claimant waits until the first is gone.
    var owners: [FrontendKey: String] = [:]
    var waiting: [FrontendKey: [String]] = [:]
    var hairpins: [IPAddress: Int] = [:]
    var tables: [AddressFamily: ProxyTable] = [:]
    var isLoaded = false
    /// What the kernel's generation counter is if nobody but us has committed anything: it goes up by one with each
    /// transaction (and skips 0). Not read back after our commits, which would hide what others did before them.
    var generation: UInt32 = 0

    mutating func countCommit() { generation = generation == .max ? 1 : generation + 1 }

    init(_ settings: ProxySettings) { self.settings = settings }

    /// After a change of settings: nothing is loaded, and the caller's next sync compiles all services anew.
    init(_ settings: ProxySettings, services: [String: LoadedService]) {
        self.settings = settings
        self.services = services.mapValues {
            LoadedService(frontends: [], hairpins: [], localEndpoints: $0.localEndpoints)
        }
    }

    var conflicts: [FrontendKey: [String]] { waiting }

    var udpFrontends: [FrontendKey: Set<IPAddress>] {
        var out: [FrontendKey: Set<IPAddress>] = [:]
        for (id, service) in services {
            for frontend in service.frontends
            where frontend.key.transport == .udp && owners[frontend.key] == id && !frontend.targets.isEmpty {
                out[frontend.key] = Set(frontend.targets.map(\.address))
            }
        }
        return out
    }

    // MARK: plan

    func plan(changed: [ServicePort], removed: Set<String>) -> ProxyPlan {
        var plan = ProxyPlan()
        // Releases first, so that an address can move from one service to another in one call.
        var compiled: [(String, LoadedService)] = []
        for service in changed {
            let new = compile(service)
            if let old = services[service.id], old.frontends == new.frontends, old.hairpins == new.hairpins {
                if old.localEndpoints != new.localEndpoints { plan.services[service.id] = new }
                continue
            }
            compiled.append((service.id, new))
        }
        var released: [FrontendKey: Frontend] = [:]
        for id in removed {
            guard let old = services[id] else { continue }
            release(old, keeping: [], id, &plan, &released)
            plan.services[id] = .some(nil)
        }
        for (id, new) in compiled {
            if let old = services[id] { release(old, keeping: Set(new.frontends.map(\.key)), id, &plan, &released) }
        }
        for (id, new) in compiled {
            claim(new, id, &plan, &released)
            plan.services[id] = new
        }
        promote(&plan, &released)
        for frontend in released.values { edit(&plan, old: frontend, new: nil) }
        finishHairpins(&plan)
        guard isLoaded else { return plan }
        for family in settings.families {
            guard let change = plan.changes[family], let table = tables[family] else { continue }
            plan.commands += change.commands(table.layout)
            if table.isTooSmall(for: change) { plan.needsFullLoad = true }
        }
        return plan
    }

    /// The first services of all: nothing to compare them with. False, and nothing done, if there was something.
    mutating func takeFirst(_ first: [ServicePort]) -> Bool {
        guard services.isEmpty, owners.isEmpty, waiting.isEmpty, hairpins.isEmpty else { return false }
        services.reserveCapacity(first.count)
        owners.reserveCapacity(first.count)
        for service in first {
            let new = compile(service)
            guard services.updateValue(new, forKey: service.id) == nil else {
                // One service twice: the general way knows which counts.
                (services, owners, waiting, hairpins) = ([:], [:], [:], [:])
                return false
            }
            for address in new.hairpins { hairpins[address, default: 0] += 1 }
            for frontend in new.frontends {
                guard let owner = owners[frontend.key] else {
                    owners[frontend.key] = service.id
                    continue
                }
                if owner != service.id, waiting[frontend.key]?.contains(service.id) != true {
                    waiting[frontend.key, default: []].append(service.id)
                }
            }
        }
        return true
    }

    private func compile(_ service: ServicePort) -> LoadedService {
        LoadedService(
            frontends: service.frontends(settings), hairpins: service.hairpinAddresses(settings),
            localEndpoints: service.endpoints.reduce(0) { $0 + ($1.isLocal ? 1 : 0) })
    }

    private func owner(_ key: FrontendKey, _ plan: ProxyPlan) -> String? {
        if let planned = plan.owners[key] { return planned }
        return owners[key]
    }

    private func waiters(_ key: FrontendKey, _ plan: ProxyPlan) -> [String] {
        if let planned = plan.waiting[key] { return planned ?? [] }
        return waiting[key] ?? []
    }

    private func release(
        _ old: LoadedService, keeping: Set<FrontendKey>, _ id: String, _ plan: inout ProxyPlan,
        _ released: inout [FrontendKey: Frontend]
    ) {
        for address in old.hairpins { plan.hairpins[address, default: 0] -= 1 }
        for frontend in old.frontends where !keeping.contains(frontend.key) {
            if owner(frontend.key, plan) == id {
                plan.owners[frontend.key] = .some(nil)
                released[frontend.key] = frontend
            } else {
                setWaiting(waiters(frontend.key, plan).filter { $0 != id }, frontend.key, &plan)
            }
        }
    }

    private func setWaiting(_ list: [String], _ key: FrontendKey, _ plan: inout ProxyPlan) {
        plan.waiting[key] = .some(list.isEmpty ? nil : list)
    }

    private func claim(
        _ new: LoadedService, _ id: String, _ plan: inout ProxyPlan, _ released: inout [FrontendKey: Frontend]
    ) {
        for address in new.hairpins { plan.hairpins[address, default: 0] += 1 }
        for frontend in new.frontends {
            let key = frontend.key
            let current = owner(key, plan)
            // A service that names one address twice owns it once.
            if current == id, plan.owners[key] != nil { continue }
            if let current, current != id {
                let list = waiters(key, plan)
                if !list.contains(id) { setWaiting(list + [id], key, &plan) }
                continue
            }
            plan.owners[key] = id
            let old = released.removeValue(forKey: key) ?? (current == id ? loaded(key, id) : nil)
            edit(&plan, old: old, new: frontend)
        }
    }

    private func loaded(_ key: FrontendKey, _ id: String) -> Frontend? {
        services[id]?.frontends.first { $0.key == key }
    }

    /// Gives released addresses to the first service that waits for them.
    private func promote(_ plan: inout ProxyPlan, _ released: inout [FrontendKey: Frontend]) {
        for (key, frontend) in released {
            let list = waiters(key, plan)
            guard let id = list.first else { continue }
            let service: LoadedService? = if let planned = plan.services[id] { planned } else { services[id] }
            setWaiting(Array(list.dropFirst()), key, &plan)
            guard let next = service?.frontends.first(where: { $0.key == key }) else { continue }
            plan.owners[key] = id
            released[key] = nil
            edit(&plan, old: frontend, new: next)
        }
    }

    private func edit(_ plan: inout ProxyPlan, old: Frontend?, new: Frontend?) {
        guard old != new, let key = (new ?? old)?.key else { return }
        if old?.hasAffinity == true { plan.touchesAffinity = true }
        if key.transport == .udp {
            let before = Set(old?.targets.map(\.address) ?? [])
            let after = Set(new?.targets.map(\.address) ?? [])
            if !before.isSubset(of: after) || (before.isEmpty && !after.isEmpty) { plan.udpChanged[key] = after }
        }
        guard isLoaded, let table = tables[key.family] else { return }
        Self.modify(&plan.changes[key.family, default: ProxyChange()]) { change in
            if let new { change.require(new, table) }
            switch (old, new) {
            case (let old?, let new?): change.replace(old, new, table.layout)
            case (let old?, nil): change.edit(old, adding: false, table.layout)
            case (nil, let new?): change.edit(new, adding: true, table.layout)
            case (nil, nil): break
            }
        }
    }

    private static func modify<T>(_ value: inout T, _ body: (inout T) -> Void) { body(&value) }

    private func finishHairpins(_ plan: inout ProxyPlan) {
        plan.hairpins = plan.hairpins.filter { $0.value != 0 }
        guard isLoaded else { return }
        for (address, delta) in plan.hairpins {
            let before = hairpins[address] ?? 0
            guard (before > 0) != (before + delta > 0), let table = tables[address.family] else { continue }
            plan.changes[address.family, default: ProxyChange()].hairpin(address, adding: delta > 0, table.layout)
        }
    }

    /// Takes the plan over, after its commit.
    mutating func accept(_ plan: ProxyPlan) {
        for (id, service) in plan.services { services[id] = service }
        for (key, owner) in plan.owners { owners[key] = owner }
        for (key, list) in plan.waiting { waiting[key] = list }
        for (address, delta) in plan.hairpins {
            let count = (hairpins[address] ?? 0) + delta
            hairpins[address] = count > 0 ? count : nil
        }
        for (family, change) in plan.changes { tables[family]?.apply(change) }
    }

    // MARK: full load

    /// Everything as one transaction; the tables of families that are not wanted go too.
    func fullLoad(_ affinity: [AddressFamily: NFElements]) -> ([AddressFamily: ProxyTable], [NFCommand]) {
        var built: [AddressFamily: ProxyTable] = [:]
        var changes: [AddressFamily: ProxyChange] = [:]
        for family in settings.families {
            let table = ProxyTable(ProxyLayout(family, settings))
            var change = ProxyChange()
            for (id, service) in services {
                for frontend in service.frontends where frontend.key.family == family && owners[frontend.key] == id {
                    change.require(frontend, table)
                    change.edit(frontend, adding: true, table.layout)
                }
            }
            for address in hairpins.keys where address.family == family {
                change.hairpin(address, adding: true, table.layout)
            }
            built[family] = ProxyTable(ProxyLayout(family, settings, sizes: change.sizes))
            changes[family] = change
        }
        var commands: [NFCommand] = []
        for family in AddressFamily.allCases {
            guard var table = built[family], let change = changes[family] else {
                let table = NFTable(NFFamily(family), ProxyLayout.tableName)
                commands += [.addTable(table), .deleteTable(table)]
                continue
            }
            commands += Ruleset(table.layout.table, sets: table.layout.sets, chains: table.layout.chains).load()
            commands += change.commands(table.layout)
            if let kept = affinity[family], !kept.isEmpty {
                commands.append(.addElements(table.layout.table, table.layout.affinity, kept))
            }
            table.apply(change)
            built[family] = table
        }
        return (built, commands)
    }
}
