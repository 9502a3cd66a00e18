import Synchronization

/// A store without a disk: for tests, and for servers whose state may vanish. Every write is visible at once.
package final class MemoryStore: Store {
    let hub: StoreHub

    package init(options: StoreOptions = StoreOptions()) {
        hub = StoreHub(core: StoreCore(options: options))
    }

    package var revision: Int64 { hub.revision }

    package func get(_ key: String) -> StoreEntry? { hub.get(key) }

    package func count(prefix: String) -> Int64 { hub.count(prefix: prefix) }

    package func range(
        prefix: String, startAfter: String?, limit: Int, revision: Int64?
    ) throws(StoreError) -> StoreRange {
        try hub.range(prefix: prefix, startAfter: startAfter, limit: limit, revision: revision)
    }

    package func tagged(_ tag: UInt32, prefix: String) -> StoreRange { hub.tagged(tag, prefix: prefix) }

    package func watch(prefix: String, from revision: Int64?) throws(StoreError) -> StoreWatch {
        try hub.watch(prefix: prefix, from: revision)
    }

    package func commit(
        _ operations: [StoreOperation], durability: StoreDurability
    ) async throws(StoreError) -> [StoreResult] {
        let (results, wakeups) = try hub.state.withLock { state throws(StoreError) in
            guard !state.closed else { throw .unavailable("the store is closed") }
            let writes: [StoreWrite]
            do throws(StoreCore.Refusal) {
                writes = try state.core.stage(operations)
            } catch {
                throw error.error
            }
            let wakeups = state.publish(writes)
            state.core.garbage.removeAll(keepingCapacity: true)
            return (writes.map(\.result), wakeups)
        }
        for wakeup in wakeups { wakeup.resume() }
        return results
    }

    package func compact(to revision: Int64) async throws(StoreError) {
        try hub.state.withLock { state throws(StoreError) in
            try state.core.compact(to: revision)
            state.core.garbage.removeAll()
        }
    }

    package func close() async {
        for wakeup in hub.state.withLock({ $0.close() }) { wakeup.resume() }
    }
}
