/// The entries as they were at one revision: a snapshot of the current ones, with the changes since then undone.
struct StoreView: Sendable {
    var entries: SortedEntries
    var revision: Int64
    /// Keys that have changed since, and the entries that they had, in key order.
    var undone: Set<ByteKey> = []
    var restored: [StoreEntry] = []

    func range(prefix: String, startAfter: String?, limit: Int) -> StoreRange {
        let end = entries.end(ofPrefix: prefix)
        var position = entries.lowerBound(of: prefix)
        var restored = restored[...]
        if let startAfter, KeyOrder.compare(startAfter, prefix) >= 0 {
            position = entries.upperBound(of: startAfter)
            restored = restored.drop { KeyOrder.compare($0.key, startAfter) <= 0 }
        }
        let available = entries.rank(of: end) - entries.rank(of: position)
        guard available > 0 || !restored.isEmpty else {
            return StoreRange(entries: [], revision: revision, more: false, remaining: 0)
        }
        // Of the snapshot's entries in the range, those that have changed since do not count; those restored do.
        var total = max(0, available) + restored.count
        for key in undone where isAhead(key.string, startAfter) && entries[key.string] != nil { total -= 1 }
        let wanted = limit > 0 ? min(limit, total) : total
        var page: [StoreEntry] = []
        page.reserveCapacity(wanted)
        if undone.isEmpty { entries.append(from: position, count: wanted, to: &page) }
        while page.count < wanted {
            let next = available > 0 && position != end ? entries.entry(at: position) : nil
            if let next, !undone.isEmpty, undone.contains(ByteKey(next.key)) {
                position = entries.position(after: position)
            } else if let old = restored.first, next.map({ KeyOrder.compare(old.key, $0.key) < 0 }) ?? true {
                page.append(old)
                restored.removeFirst()
            } else if let next {
                page.append(next)
                position = entries.position(after: position)
            } else {
                break
            }
        }
        let remaining = Int64(total - page.count)
        return StoreRange(entries: page, revision: revision, more: remaining > 0, remaining: remaining)
    }

    private func isAhead(_ key: String, _ startAfter: String?) -> Bool {
        guard let startAfter else { return true }
        return KeyOrder.compare(key, startAfter) > 0
    }
}
