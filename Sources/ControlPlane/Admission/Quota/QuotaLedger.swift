internal import Codecs
package import KubeAPI
internal import Store
import Synchronization

/// Keeps namespaces within their resource quotas.
///
/// What is used is what is in the store, counted under one lock, together with what has been let in and is on its way to
/// the store: two creations at the same time cannot both take the last place. A quota's status is for people and is
/// written by `QuotaStatusController`; nothing is decided by it.
package final class QuotaLedger: Sendable {
    private struct Pending: Sendable {
        var usage: [String: Quantity]
        var object: KubeObject
    }
    /// An object as it was when it was last counted.
    private struct Counted: Sendable {
        var revision: Int64
        var usage: [String: Quantity]
        var object: KubeObject?
    }
    private struct State: Sendable {
        /// By the object's key in the store.
        var pending: [String: Pending] = [:]
        /// Pods, whose counting needs decoding, by namespace and key.
        var counted: [String: [String: Counted]] = [:]
        /// Namespaces with quotas, as the status controller saw them.
        var quotas: [String: Set<String>] = [:]
    }
    private let state = Mutex(State())

    package init() {}

    /// The plug-in `ResourceQuota`, last of all.
    package var plugin: AdmissionPlugin {
        AdmissionPlugin(
            "ResourceQuota", operations: [.create, .update],
            validate: { [self] request, registry throws(APIError) in try admit(request, registry) })
    }

    // MARK: - Letting in

    private func admit(_ request: AdmissionRequest, _ registry: Registry) throws(APIError) {
        guard !request.namespace.isEmpty, QuotaUsage.judges(request), let row = registry.resources[request.resource],
            row.isStored
        else { return }
        let quotas = try Self.quotas(request.namespace, registry).filter { quota in
            (quota.spec["hard"].object ?? JSONObject()).keys.contains { QuotaUsage.concerns($0, request.resource) }
                && QuotaUsage.matches(quota, request.object, request.resource)
        }
        guard !quotas.isEmpty else { return }
        let now = request.scope.now
        let usage = QuotaUsage.of(request.object, request.resource, now: now)
        let before = request.old.map { QuotaUsage.of($0, request.resource, now: now) } ?? [:]
        let key = row.key(request.namespace, request.object.name)
        if request.operation == .create, request.resource == .pods {
            for quota in quotas {
                let names = (quota.spec["hard"].object ?? JSONObject()).keys
                if let missing = QuotaUsage.missing(request.object, names) {
                    throw request.forbidden("failed quota: \(quota.name): \(missing)")
                }
            }
        }
        try state.withLock { state throws(APIError) in
            for quota in quotas {
                let used = try Self.used(&state, quota, row, request.namespace, registry, now, except: key)
                try Self.check(quota, used, before, usage, request)
            }
            state.pending[key] = Pending(usage: usage, object: request.object)
        }
        request.scope.atEnd { [self] in state.withLock { $0.pending[key] = nil } }
    }

    /// - Parameter used: by all other objects.
    private static func check(
        _ quota: KubeObject, _ used: [String: Quantity], _ before: [String: Quantity], _ usage: [String: Quantity],
        _ request: AdmissionRequest
    ) throws(APIError) {
        var exceeded: [(name: String, asked: Quantity, used: Quantity, hard: Quantity)] = []
        for (name, hard) in PodAmounts.amounts(quota.spec["hard"]) {
            guard let wanted = usage[name] else { continue }
            let had = before[name] ?? .zero
            let others = used[name] ?? .zero
            guard wanted > had, others + wanted > hard else { continue }
            exceeded.append((name, wanted - had, others + had, hard))
        }
        guard !exceeded.isEmpty else { return }
        exceeded.sort { $0.name < $1.name }
        func list(_ amount: (Int) -> Quantity) -> String {
            exceeded.indices.map { "\(exceeded[$0].name)=\(amount($0))" }.joined(separator: ",")
        }
        throw request.forbidden(
            "exceeded quota: \(quota.name), requested: \(list { exceeded[$0].asked }), "
                + "used: \(list { exceeded[$0].used }), limited: \(list { exceeded[$0].hard })")
    }

    private static func quotas(_ namespace: String, _ registry: Registry) throws(APIError) -> [KubeObject] {
        guard let row = registry.resources[QuotaUsage.quotas],
            registry.store.count(prefix: row.prefix(namespace: namespace)) > 0
        else { return [] }
        var quotas: [KubeObject] = []
        for item in try registry.list(row, namespace: namespace, ListParameters()).items {
            quotas.append(try item.decode())
        }
        return quotas
    }

    // MARK: - Counting

    /// What a namespace's objects of one kind take of a quota.
    private static func used(
        _ state: inout State, _ quota: KubeObject, _ row: ServedResource, _ namespace: String, _ registry: Registry,
        _ now: Timestamp, except: String? = nil
    ) throws(APIError) -> [String: Quantity] {
        let hard = Set((quota.spec["hard"].object ?? JSONObject()).keys.filter { QuotaUsage.concerns($0, row.gvr) })
        if hard.isEmpty { return [:] }
        var sum: [String: Quantity] = [:]
        func add(_ usage: [String: Quantity]) {
            for (name, amount) in usage where hard.contains(name) {
                sum[name] = sum[name].map { $0 + amount } ?? amount
            }
        }
        let entries: [StoreEntry]
        do throws(StoreError) {
            entries = try registry.store.range(prefix: row.prefix(namespace: namespace)).entries
        } catch {
            throw registry.apiError(error, row, "")
        }
        var pending = state.pending.filter { $0.key.hasPrefix(row.prefix(namespace: namespace)) && $0.key != except }
        let hasScopes = !quota.spec["scopes"].elements.isEmpty || !quota.spec["scopeSelector"].isNull
        var known: [String: Counted] = [:]
        for entry in entries where entry.key != except {
            let counted = try count(entry, row, state.counted[namespace]?[entry.key], now)
            if row.gvr == .pods { known[entry.key] = counted }
            var usage = counted.usage
            // What is about to be written may be more than what is there.
            if let coming = pending.removeValue(forKey: entry.key) {
                usage.merge(coming.usage) { max($0, $1) }
            }
            if hasScopes {
                var object = counted.object
                if object == nil { object = try KubeObject(decoding: entry) }
                guard let object else { continue }
                if !QuotaUsage.matches(quota, object, row.gvr) { continue }
            }
            add(usage)
        }
        for (_, coming) in pending where !hasScopes || QuotaUsage.matches(quota, coming.object, row.gvr) {
            add(coming.usage)
        }
        if row.gvr == .pods { state.counted[namespace] = known }
        return sum
    }

    private static func count(
        _ entry: StoreEntry, _ row: ServedResource, _ known: Counted?, _ now: Timestamp
    ) throws(APIError) -> Counted {
        // A pod that is being deleted stops counting as time passes.
        if let known, known.revision == entry.modRevision, known.object == nil { return known }
        guard row.gvr == .pods || QuotaUsage.growing.contains(row.gvr) else {
            let empty = KubeObject(JSON.object(JSONObject()))
            return Counted(revision: entry.modRevision, usage: QuotaUsage.of(empty, row.gvr, now: now))
        }
        let object = try KubeObject(decoding: entry)
        return Counted(
            revision: entry.modRevision, usage: QuotaUsage.of(object, row.gvr, now: now),
            object: object.isBeingDeleted ? object : nil)
    }

    // MARK: - For the status

    /// What is used of everything that a quota limits.
    func used(of quota: KubeObject, _ registry: Registry) throws(APIError) -> [String: Quantity] {
        let now = registry.clock.now()
        var used: [String: Quantity] = [:]
        for name in (quota.spec["hard"].object ?? JSONObject()).keys { used[name] = .zero }
        try state.withLock { state throws(APIError) in
            for row in registry.resources.all where row.namespaced && row.isStored && row.info.verbs.contains(.list) {
                for (name, amount) in try Self.used(&state, quota, row, quota.namespace, registry, now) {
                    used[name] = amount
                }
            }
        }
        return used
    }

    func note(_ quota: ObjectKey, exists: Bool) {
        state.withLock { state in
            if exists {
                state.quotas[quota.namespace, default: []].insert(quota.name)
            } else {
                state.quotas[quota.namespace]?.remove(quota.name)
                if state.quotas[quota.namespace]?.isEmpty ?? true {
                    state.quotas[quota.namespace] = nil
                    state.counted[quota.namespace] = nil
                }
            }
        }
    }

    func quotaKeys(in namespace: String) -> [ObjectKey] {
        state.withLock { $0.quotas[namespace]?.map { ObjectKey(namespace: namespace, name: $0) } ?? [] }
    }
}

/// Writes what is used of quotas into their status. Source: pkg/controller/resourcequota.
package struct QuotaStatusController: Controller {
    package let name = "resourcequota-controller"
    private let client: any KubeClient
    private let registry: Registry
    private let ledger: QuotaLedger
    private let resources: [GroupVersionResource]

    /// - Parameter resources: the namespaced kinds that are watched anyhow.
    package init(
        client: any KubeClient, registry: Registry, ledger: QuotaLedger, resources: [GroupVersionResource]
    ) {
        (self.client, self.registry, self.ledger, self.resources) = (client, registry, ledger, resources)
    }

    package var sources: [WatchSource] {
        let ledger = ledger
        let others = resources.filter { $0 != QuotaUsage.quotas && $0 != .events && $0 != .leases }
        return [
            WatchSource(QuotaUsage.quotas) { quota, kind in
                ledger.note(quota.key, exists: kind != .deleted)
                return kind == .deleted ? [] : [quota.key]
            }
        ]
            + others.map { resource in
                WatchSource(resource, needsMetadataOnly: true) { object, kind in
                    let changes = resource == .pods || QuotaUsage.growing.contains(resource)
                    return kind == .modified && !changes ? [] : ledger.quotaKeys(in: object.namespace)
                }
            }
    }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        guard let quota = try await client.getIfPresent(QuotaUsage.quotas, namespace: key.namespace, name: key.name)
        else { return nil }
        let used = try ledger.used(of: quota, registry)
        var status = quota.status
        status["hard"] = quota.spec["hard"].isNull ? [:] : quota.spec["hard"]
        status["used"] = .map(used.mapValues(\.description))
        guard status != quota.status else { return nil }
        var updated = quota
        updated.json["status"] = status
        _ = try await client.updateStatus(QuotaUsage.quotas, updated)
        return nil
    }
}
