import Synchronization

/// What the twins share around `StoreCore`: the lock, the watchers, and the reads.
final class StoreHub: Sendable {
    struct State: Sendable {
        var core: StoreCore
        var watchers = Watchers()
        var queue = CommitQueue()
        var closed = false

        /// Makes writes visible. The wake-ups are to be resumed once the lock is released.
        mutating func publish(_ writes: [StoreWrite]) -> [Wakeup] {
            guard !writes.isEmpty else { return [] }
            core.apply(writes)
            return watchers.deliver(writes, revision: core.revision)
        }

        mutating func close() -> [Wakeup] {
            closed = true
            return watchers.endAll()
        }
    }

    let state: Mutex<State>

    init(core: StoreCore) { state = Mutex(State(core: core)) }

    // MARK: Reads

    var revision: Int64 { state.withLock { $0.core.revision } }

    func get(_ key: String) -> StoreEntry? { state.withLock { $0.core.entries[key] } }

    func count(prefix: String) -> Int64 { state.withLock { $0.core.count(prefix: prefix) } }

    func range(prefix: String, startAfter: String?, limit: Int, revision: Int64?) throws(StoreError) -> StoreRange {
        let view = try state.withLock { state throws(StoreError) in
            try state.core.view(prefix: prefix, at: revision)
        }
        return view.range(prefix: prefix, startAfter: startAfter, limit: limit)
    }

    func tagged(_ tag: UInt32, prefix: String) -> StoreRange {
        let (entries, revision) = state.withLock { ($0.core.entries, $0.core.revision) }
        return StoreRange(entries: entries.tagged(tag, prefix: prefix), revision: revision, more: false, remaining: 0)
    }

    // MARK: Watches

    func watch(prefix: String, from revision: Int64?) throws(StoreError) -> StoreWatch {
        let id = try state.withLock { state throws(StoreError) in
            guard !state.closed else { throw .unavailable("the store is closed") }
            if let revision { try state.core.checkHistory(from: revision) }
            return state.watchers.add(prefix: prefix, cursor: revision ?? state.core.revision)
        }
        return StoreWatch(prefix: prefix, hub: self, id: id)
    }

    func nextEvents(of id: UInt64) async throws(StoreError) -> [StoreEvent]? {
        let outcome = await withTaskCancellationHandler {
            await withUnsafeContinuation { (continuation: UnsafeContinuation<WatchOutcome, Never>) in
                let outcome = state.withLock { $0.watchers.next(id, core: $0.core, waiter: continuation) }
                if let outcome { continuation.resume(returning: outcome) }
            }
        } onCancel: {
            endWatch(id)
        }
        return try outcome.get()
    }

    func requestProgress(of id: UInt64) {
        state.withLock { $0.watchers.requestProgress(id, revision: $0.core.revision) }?.resume()
    }

    func endWatch(_ id: UInt64) {
        state.withLock { $0.watchers.end(id) }?.resume()
    }
}
