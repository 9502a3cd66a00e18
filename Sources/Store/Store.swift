/// One object as it is stored: a key, its encoded bytes, and the revisions that created it and last changed it.
///
/// The bytes are shared, never copied, between the store, lists, watches and callers.
package struct StoreEntry: Sendable, Equatable {
    package let key: String
    package let value: [UInt8]
    package let createRevision: Int64
    package let modRevision: Int64
    /// What `StoreOptions.tag` has made of the value.
    package let tag: UInt32

    package init(key: String, value: [UInt8], createRevision: Int64, modRevision: Int64, tag: UInt32 = 0) {
        self.key = key
        self.tag = tag
        self.value = value
        self.createRevision = createRevision
        self.modRevision = modRevision
    }
}

/// A page of a list, consistent at one store revision.
package struct StoreRange: Sendable {
    /// Sorted by the bytes of the key.
    package var entries: [StoreEntry]
    /// The store revision that the page shows; pass it on to get the following pages of the same list, or to watch
    /// from where the list ends.
    package var revision: Int64
    /// Whether the limit cut the list short.
    package var more: Bool
    /// How many entries follow this page.
    package var remaining: Int64
}

/// What a watch delivers, in revision order.
package enum StoreEvent: Sendable, Equatable {
    /// A write; `previous` is nil when it created the key. The revision of the event is `modRevision`.
    case put(StoreEntry, previous: StoreEntry?)
    /// A deletion. `previous` is the deleted object; its value holds the `final` bytes of the deletion if it gave some.
    case delete(key: String, revision: Int64, previous: StoreEntry)
    /// Everything up to this revision has been delivered (see `StoreWatch.requestProgress`).
    case progress(revision: Int64)

    package var revision: Int64 {
        switch self {
        case .put(let entry, _): entry.modRevision
        case .delete(_, let revision, _): revision
        case .progress(let revision): revision
        }
    }
}

package enum StoreError: Error, Sendable, Equatable {
    case keyExists(String)
    case keyNotFound(String)
    /// The expected revision is not the current one; `current` is nil when the key is being or has been deleted.
    case conflict(String, current: StoreEntry?)
    /// The revision lies before the history window; `oldest` is the first one that can be asked for.
    case compacted(oldest: Int64)
    /// The revision has not been reached yet.
    case futureRevision(current: Int64)
    case tooLarge(String, bytes: Int, limit: Int)
    /// The datastore cannot serve the request now (disk full, I/O error, closed, overloaded); one line that says why.
    case unavailable(String)
    /// The watcher fell behind the history window; list again and watch from there.
    case watchOverflow
}

/// Makes the bytes of a write from the revision that the write gets. It is called once, in commit order and under the
/// store's lock: encode, do not wait, and never call the store from it.
package typealias StoreValue = @Sendable (_ revision: Int64) -> [UInt8]

/// One write of a transaction.
package enum StoreOperation: Sendable {
    case create(key: String, value: StoreValue)
    /// Compare and swap: `expected` is the `modRevision` that the caller has seen.
    case update(key: String, expected: Int64, value: StoreValue)
    /// `expected` nil deletes whatever is there. `final` makes the last state that watchers see, which carries the
    /// revision of the deletion.
    case delete(key: String, expected: Int64?, final: StoreValue?)

    package var key: String {
        switch self {
        case .create(let key, _), .update(let key, _, _), .delete(let key, _, _): key
        }
    }
}

package enum StoreResult: Sendable, Equatable {
    case put(StoreEntry)
    case deleted(revision: Int64, previous: StoreEntry)
}

/// When a write is visible and acknowledged.
package enum StoreDurability: Sendable {
    /// Once it is on disk. Concurrent writers share one disk sync.
    case durable
    /// At once; it reaches the disk together with the next durable write, when the store closes, or after
    /// `StoreOptions.deferredDelay`. A crash may lose it (the key then has its last durable value), though no revision
    /// is ever given out twice. Meant for heartbeats: an idle node does not write its SD card for a lease. While a
    /// durable write is under way, or when the block of reserved revisions is used up, it is treated as `.durable`, so
    /// that events stay in revision order.
    case deferred
}

/// A revisioned log of (key, revision, bytes) with lists, compare-and-swap, and watches from a revision.
///
/// Reads are answered from memory and show only what is durable (or was written as `.deferred`). Writes are checked
/// against what is already on its way to the disk, so that concurrent writers of a key serialise, and they return once
/// they are visible. A revision is never given out twice, over restarts too; revisions grow but may have gaps. Keys are
/// ordered by their UTF-8 bytes.
package protocol Store: Sendable {
    /// The last visible revision.
    var revision: Int64 { get }

    /// The current entry. Never waits for the disk.
    func get(_ key: String) -> StoreEntry?

    /// The entries whose key starts with `prefix`, in key order.
    /// - Parameters:
    ///   - startAfter: only keys after this one (the last key of the page before).
    ///   - limit: the most entries of the page; 0 for all.
    ///   - revision: nil for now; an older one is reconstructed from the history window.
    /// - Throws: `.compacted`, `.futureRevision`.
    func range(prefix: String, startAfter: String?, limit: Int, revision: Int64?) throws(StoreError) -> StoreRange

    /// The entries whose key starts with `prefix`, and whose tag is 0 or this one (all of them in a store without tags), in
    /// key order. Looks at no value, so that one of 10,000 is found in microseconds.
    func tagged(_ tag: UInt32, prefix: String) -> StoreRange

    /// How many keys start with `prefix` now.
    func count(prefix: String) -> Int64

    /// Applies all the operations, in order and each with a revision of its own, or none of them. A key may be named
    /// once. Only updates may be `.deferred`.
    func commit(_ operations: [StoreOperation], durability: StoreDurability) async throws(StoreError) -> [StoreResult]

    /// Watches the keys that start with `prefix`: events with a revision greater than `revision`; nil is from now on.
    /// - Throws: `.compacted`, `.futureRevision`, `.unavailable` when the store is closed.
    func watch(prefix: String, from revision: Int64?) throws(StoreError) -> StoreWatch

    /// Forgets the history up to `revision`: older lists and watches get `.compacted`, superseded rows leave the disk.
    func compact(to revision: Int64) async throws(StoreError)

    /// Writes out what is deferred, ends all watches and releases the database. Later writes are `.unavailable`.
    func close() async
}

extension Store {
    package func range(prefix: String) throws(StoreError) -> StoreRange {
        try range(prefix: prefix, startAfter: nil, limit: 0, revision: nil)
    }

    /// - Throws: `.keyExists`, `.tooLarge`, `.unavailable`.
    package func create(_ key: String, value: @escaping StoreValue) async throws(StoreError) -> StoreEntry {
        try await put(.create(key: key, value: value), durability: .durable)
    }

    /// - Throws: `.keyNotFound`, `.conflict`, `.tooLarge`, `.unavailable`.
    package func update(
        _ key: String, expected: Int64, durability: StoreDurability = .durable, value: @escaping StoreValue
    ) async throws(StoreError) -> StoreEntry {
        try await put(.update(key: key, expected: expected, value: value), durability: durability)
    }

    /// - Throws: `.keyNotFound`, `.conflict`, `.unavailable`.
    package func delete(
        _ key: String, expected: Int64?, final: StoreValue? = nil
    ) async throws(StoreError) -> (revision: Int64, previous: StoreEntry) {
        let results = try await commit([.delete(key: key, expected: expected, final: final)], durability: .durable)
        guard case .deleted(let revision, let previous)? = results.first else {
            throw .unavailable("the store answered a deletion of \(key) with something else")
        }
        return (revision, previous)
    }

    private func put(
        _ operation: StoreOperation, durability: StoreDurability
    ) async throws(StoreError) -> StoreEntry {
        let results = try await commit([operation], durability: durability)
        guard case .put(let entry)? = results.first else {
            throw .unavailable("the store answered a write of \(operation.key) with something else")
        }
        return entry
    }
}
