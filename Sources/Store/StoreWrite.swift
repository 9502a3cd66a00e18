/// A write that has its revision: what is staged, applied, kept in the history and undone.
enum StoreWrite: Sendable {
    case put(StoreEntry, previous: StoreEntry?)
    /// `final` is the last state for watchers, if it differs from the deleted entry.
    case delete(StoreEntry, revision: Int64, final: [UInt8]?)

    var key: String {
        switch self {
        case .put(let entry, _): entry.key
        case .delete(let entry, _, _): entry.key
        }
    }

    var revision: Int64 {
        switch self {
        case .put(let entry, _): entry.modRevision
        case .delete(_, let revision, _): revision
        }
    }

    /// The entry that the write replaced or removed.
    var previous: StoreEntry? {
        switch self {
        case .put(_, let previous): previous
        case .delete(let entry, _, _): entry
        }
    }

    /// The entry under the key once the write is done.
    var current: StoreEntry? {
        if case .put(let entry, _) = self { entry } else { nil }
    }

    var event: StoreEvent {
        switch self {
        case .put(let entry, let previous):
            return .put(entry, previous: previous)
        case .delete(let entry, let revision, let final):
            return .delete(key: entry.key, revision: revision, previous: entry.with(value: final))
        }
    }

    var result: StoreResult {
        switch self {
        case .put(let entry, _): .put(entry)
        case .delete(let entry, let revision, let final):
            .deleted(revision: revision, previous: entry.with(value: final))
        }
    }

    /// Bytes that wait for the disk on account of this write.
    var pendingBytes: Int {
        switch self {
        case .put(let entry, _): entry.key.utf8.count + entry.value.count
        case .delete(let entry, _, let final): entry.key.utf8.count + (final?.count ?? 0)
        }
    }

    /// Bytes that only the history keeps alive: the replaced version (the new one is in the index, or is the replaced
    /// version of a later event) and about what the record itself takes.
    var historyBytes: Int64 {
        let record: Int64 = 128
        switch self {
        case .put(_, let previous): return record + Int64(previous?.value.count ?? 0)
        case .delete(let entry, _, let final): return record + Int64(entry.value.count + (final?.count ?? 0))
        }
    }
}

extension StoreEntry {
    func with(value: [UInt8]?) -> StoreEntry {
        guard let value else { return self }
        return StoreEntry(key: key, value: value, createRevision: createRevision, modRevision: modRevision)
    }
}
