/// The heart of every store: the visible entries, the history behind them, and the writes that are on their way to
/// being visible. A value without IO, which the twins drive: `stage` checks writes and gives them revisions, `apply`
/// makes them visible, `abandon` forgets what was staged.
struct StoreCore: Sendable {
    let options: StoreOptions
    private(set) var entries = SortedEntries()
    private(set) var history: EventHistory
    /// The last visible revision.
    private(set) var revision: Int64
    /// The revision that the next write gets.
    private(set) var nextRevision: Int64
    /// Rows that matter no longer, neither as current entries nor for the history.
    var garbage: [Int64] = []

    /// The history has lost events to its limits since the last rest.
    private var overran = false
    /// Keys with staged writes, and what they will hold.
    private var staged: [ByteKey: Staged] = [:]

    private struct Staged {
        var entry: StoreEntry?
        var revision: Int64
    }

    /// Why a transaction was refused. `awaitsPending` says that the refusal rests on writes that are not yet durable:
    /// the answer must wait for them, because they may still fail.
    struct Refusal: Error {
        var error: StoreError
        var awaitsPending: Bool
    }

    init(options: StoreOptions) {
        self.options = options
        revision = 0
        nextRevision = 1
        history = EventHistory(compacted: 0)
    }

    // MARK: Writes

    /// Checks the operations against the staged state and gives them revisions; all or none.
    mutating func stage(_ operations: [StoreOperation]) throws(Refusal) -> [StoreWrite] {
        var previous: [StoreEntry?] = []
        previous.reserveCapacity(operations.count)
        for operation in operations { previous.append(try check(operation)) }
        if operations.count > 1 {
            var seen: Set<ByteKey> = []
            for operation in operations where !seen.insert(ByteKey(operation.key)).inserted {
                throw Refusal(
                    error: .unavailable("a transaction names the key \(operation.key) twice"), awaitsPending: false)
            }
        }
        var writes: [StoreWrite] = []
        writes.reserveCapacity(operations.count)
        for (operation, previous) in zip(operations, previous) {
            let write = try write(operation, previous: previous)
            nextRevision += 1
            writes.append(write)
        }
        for write in writes {
            staged[ByteKey(write.key)] = Staged(entry: write.current, revision: write.revision)
        }
        return writes
    }

    /// The entry that the operation replaces, or why it cannot.
    private func check(_ operation: StoreOperation) throws(Refusal) -> StoreEntry? {
        let key = operation.key
        let pending = staged.isEmpty ? nil : staged[ByteKey(key)]
        let entry = if let pending { pending.entry } else { entries[key] }
        let error: StoreError
        switch operation {
        case .create:
            guard entry != nil else { return nil }
            error = .keyExists(key)
        case .update(_, let expected, _):
            if let entry, entry.modRevision == expected { return entry }
            error = entry == nil ? .keyNotFound(key) : .conflict(key, current: entry)
        case .delete(_, let expected, _):
            if let entry, expected == nil || entry.modRevision == expected { return entry }
            error = entry == nil ? .keyNotFound(key) : .conflict(key, current: entry)
        }
        throw Refusal(error: error, awaitsPending: pending != nil)
    }

    private func write(_ operation: StoreOperation, previous: StoreEntry?) throws(Refusal) -> StoreWrite {
        let revision = nextRevision
        switch operation {
        case .create(let key, let value), .update(let key, _, let value):
            let bytes = try bounded(value(revision), key: key)
            let created = previous?.createRevision ?? revision
            let entry = StoreEntry(
                key: previous?.key ?? key, value: bytes, createRevision: created, modRevision: revision,
                tag: options.tag?(bytes) ?? 0)
            return .put(entry, previous: previous)
        case .delete(let key, _, let final):
            guard let previous else { throw Refusal(error: .keyNotFound(key), awaitsPending: false) }
            guard let final else { return .delete(previous, revision: revision, final: nil) }
            return .delete(previous, revision: revision, final: try bounded(final(revision), key: key))
        }
    }

    /// The value, if it is within the limit, without the spare room that an encoder has left in its array.
    private func bounded(_ value: [UInt8], key: String) throws(Refusal) -> [UInt8] {
        let size = key.utf8.count + value.count
        guard size <= options.entryBytes else {
            let error = StoreError.tooLarge(key, bytes: size, limit: options.entryBytes)
            throw Refusal(error: error, awaitsPending: false)
        }
        guard value.capacity - value.count > max(64, value.count / 8) else { return value }
        return [UInt8](unsafeUninitializedCapacity: value.count) { buffer, count in
            count = buffer.initialize(fromContentsOf: value)
        }
    }

    /// Makes staged writes visible, in the order in which they were staged.
    mutating func apply(_ writes: [StoreWrite]) {
        for write in writes {
            insert(write)
            let key = ByteKey(write.key)
            if staged[key]?.revision == write.revision { staged[key] = nil }
        }
        trim()
    }

    /// Forgets all staged writes. Their revisions are not used again.
    mutating func abandon() { staged.removeAll(keepingCapacity: false) }

    private mutating func insert(_ write: StoreWrite) {
        if let entry = write.current { entries.insert(entry) } else { entries.remove(write.key) }
        history.append(write)
        revision = write.revision
    }

    private mutating func trim() {
        let bytes = max(options.historyBytes, entries.bytes / 8)
        while history.count > options.historyEvents || (history.bytes > bytes && history.count > 1) {
            history.dropFirst(garbage: &garbage)
            overran = true
        }
    }

    /// After so much work that the history could not hold it: what is left lies scattered over the heap, and each of its
    /// objects keeps a page from being given back.
    mutating func rest() {
        guard overran else { return }
        overran = false
        while history.bytes > options.restingHistoryBytes, history.count > 1 { history.dropFirst(garbage: &garbage) }
        history.shrink()
    }

    mutating func compact(to revision: Int64) throws(StoreError) {
        guard revision <= self.revision else { throw .futureRevision(current: self.revision) }
        history.compact(to: revision, garbage: &garbage)
    }

    // MARK: Loading

    /// Takes up the rows of a log in revision order, before any other use. A row whose predecessor is gone cannot be
    /// told as an event: the history starts after it.
    mutating func load(_ row: LogRow) {
        let previous = entries[row.key]
        if let created = row.created, let value = row.value {
            let entry = StoreEntry(
                key: previous?.key ?? row.key, value: value, createRevision: created, modRevision: row.revision,
                tag: options.tag?(value) ?? 0)
            if previous != nil || created == row.revision {
                insert(.put(entry, previous: previous))
            } else {
                entries.insert(entry)
                restartHistory(after: row.revision)
            }
        } else if let previous {
            insert(.delete(previous, revision: row.revision, final: row.value))
        } else {
            garbage.append(row.revision)
            restartHistory(after: row.revision)
        }
        trim()
    }

    /// Ends the loading: nothing up to `compacted` can be told as events, and all revisions up to `reserved` may have
    /// been given out.
    mutating func finishLoading(compacted: Int64, reserved: Int64) {
        history.compact(to: compacted, garbage: &garbage)
        revision = max(revision, reserved)
        nextRevision = revision + 1
    }

    private mutating func restartHistory(after revision: Int64) {
        history.compact(to: revision, garbage: &garbage)
        self.revision = revision
    }

    // MARK: Reads

    func count(prefix: String) -> Int64 {
        let first = entries.lowerBound(of: prefix)
        // Mostly asked by who wants to know whether there is any.
        guard let entry = entries.entry(at: first), KeyOrder.hasPrefix(entry.key, prefix) else { return 0 }
        return Int64(entries.rank(of: entries.end(ofPrefix: prefix)) - entries.rank(of: first))
    }

    /// What a list needs; cheap to make under the lock, to be walked outside it.
    func view(prefix: String, at revision: Int64?) throws(StoreError) -> StoreView {
        guard let revision, revision != self.revision else {
            return StoreView(entries: entries, revision: self.revision)
        }
        try checkHistory(from: revision)
        var undone: Set<ByteKey> = []
        var restored: [StoreEntry] = []
        for index in history.firstIndex(after: revision)..<history.count {
            let write = history[index]
            guard KeyOrder.hasPrefix(write.key, prefix), undone.insert(ByteKey(write.key)).inserted else { continue }
            if let previous = write.previous { restored.append(previous) }
        }
        restored.sort { KeyOrder.compare($0.key, $1.key) < 0 }
        return StoreView(entries: entries, revision: revision, undone: undone, restored: restored)
    }

    /// - Throws: when the events after `revision` cannot all be told.
    func checkHistory(from revision: Int64) throws(StoreError) {
        guard revision <= self.revision else { throw .futureRevision(current: self.revision) }
        guard revision >= history.compacted else { throw .compacted(oldest: history.compacted) }
    }

    /// The events under `prefix` after `revision`, at most `limit`, looking at no more than `scan` records, and the
    /// revision up to which they are complete.
    func events(
        prefix: String, after revision: Int64, limit: Int, scan: Int
    ) -> (events: [StoreEvent], through: Int64) {
        var events: [StoreEvent] = []
        let first = history.firstIndex(after: revision)
        let last = min(history.count, first + scan)
        for index in first..<last {
            let write = history[index]
            guard KeyOrder.hasPrefix(write.key, prefix) else { continue }
            events.append(write.event)
            if events.count == limit { return (events, write.revision) }
        }
        return (events, last == history.count ? self.revision : history[last - 1].revision)
    }
}
