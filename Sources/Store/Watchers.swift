/// The events of one call of `StoreWatch.next`, or nil at the end of the watch.
typealias WatchOutcome = Result<[StoreEvent]?, StoreError>

/// A waiting task and what it gets; resumed outside the store's lock.
struct Wakeup: Sendable {
    var continuation: UnsafeContinuation<WatchOutcome, Never>
    var outcome: WatchOutcome

    func resume() { continuation.resume(returning: outcome) }
}

/// The watches of a store. A watch that waits has seen everything, so only a commit under its prefix wakes it; one that
/// is busy reads on from its cursor in the history when it asks again.
struct Watchers: Sendable {
    private static let batchEvents = 256
    private static let scanRecords = 4_096

    private struct Watcher {
        var prefix: ByteKey
        /// Everything up to here is delivered. Not kept up while the watcher waits.
        var cursor: Int64
        var waiter: UnsafeContinuation<WatchOutcome, Never>?
        var wantsProgress = false
    }

    private var watchers: [UInt64: Watcher] = [:]
    /// The watchers that wait, by prefix: each commit looks at each prefix once.
    private var waiting: [ByteKey: [UInt64]] = [:]
    private var lastID: UInt64 = 0

    var hasWaiting: Bool { !waiting.isEmpty }

    mutating func add(prefix: String, cursor: Int64) -> UInt64 {
        lastID += 1
        watchers[lastID] = Watcher(prefix: ByteKey(prefix), cursor: cursor)
        return lastID
    }

    /// What the watch delivers next; nil if there is nothing and `waiter` has been kept.
    mutating func next(
        _ id: UInt64, core: borrowing StoreCore, waiter: UnsafeContinuation<WatchOutcome, Never>
    ) -> WatchOutcome? {
        guard var watcher = watchers[id] else { return .success(nil) }
        guard watcher.waiter == nil else {
            return .failure(.unavailable("two tasks wait for the same watch"))
        }
        guard watcher.cursor >= core.history.compacted else {
            watchers[id] = nil
            return .failure(.watchOverflow)
        }
        var events: [StoreEvent] = []
        while events.isEmpty, watcher.cursor < core.revision {
            (events, watcher.cursor) = core.events(
                prefix: watcher.prefix.string, after: watcher.cursor, limit: Self.batchEvents, scan: Self.scanRecords)
        }
        if watcher.wantsProgress, watcher.cursor >= core.revision {
            watcher.wantsProgress = false
            events.append(.progress(revision: core.revision))
        }
        if events.isEmpty {
            watcher.waiter = waiter
            waiting[watcher.prefix, default: []].append(id)
        }
        watchers[id] = watcher
        return events.isEmpty ? nil : .success(events)
    }

    /// Wakes the waiting watchers that the writes, just applied up to `revision`, concern.
    mutating func deliver(_ writes: [StoreWrite], revision: Int64) -> [Wakeup] {
        guard !waiting.isEmpty else { return [] }
        var wakeups: [Wakeup] = []
        var woken: [ByteKey] = []
        let keys = writes.map(\.key)
        for (prefix, ids) in waiting {
            var events: [StoreEvent] = []
            for (i, key) in keys.enumerated() where KeyOrder.hasPrefix(key, prefix.string) {
                events.append(writes[i].event)
            }
            guard !events.isEmpty else { continue }
            woken.append(prefix)
            for id in ids {
                guard let continuation = wake(id, revision: revision) else { continue }
                wakeups.append(Wakeup(continuation: continuation, outcome: .success(events)))
            }
        }
        for prefix in woken { waiting[prefix] = nil }
        return wakeups
    }

    mutating func requestProgress(_ id: UInt64, revision: Int64) -> Wakeup? {
        guard let watcher = watchers[id] else { return nil }
        guard watcher.waiter != nil else {
            watchers[id]?.wantsProgress = true
            return nil
        }
        stopWaiting(id, watcher.prefix)
        guard let continuation = wake(id, revision: revision) else { return nil }
        return Wakeup(continuation: continuation, outcome: .success([.progress(revision: revision)]))
    }

    mutating func end(_ id: UInt64) -> Wakeup? {
        guard let watcher = watchers.removeValue(forKey: id), let continuation = watcher.waiter else { return nil }
        stopWaiting(id, watcher.prefix)
        return Wakeup(continuation: continuation, outcome: .success(nil))
    }

    mutating func endAll() -> [Wakeup] {
        let wakeups = watchers.values.compactMap { watcher in
            watcher.waiter.map { Wakeup(continuation: $0, outcome: .success(nil)) }
        }
        watchers.removeAll()
        waiting.removeAll()
        return wakeups
    }

    private mutating func wake(_ id: UInt64, revision: Int64) -> UnsafeContinuation<WatchOutcome, Never>? {
        guard let continuation = watchers[id]?.waiter else { return nil }
        watchers[id]?.waiter = nil
        watchers[id]?.cursor = revision
        return continuation
    }

    private mutating func stopWaiting(_ id: UInt64, _ prefix: ByteKey) {
        waiting[prefix]?.removeAll { $0 == id }
        if waiting[prefix]?.isEmpty == true { waiting[prefix] = nil }
    }
}
