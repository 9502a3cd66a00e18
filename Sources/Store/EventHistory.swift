/// The last events, in revision order, bounded in events and bytes: a ring.
struct EventHistory: Sendable {
    private var slots: [StoreWrite?] = []
    private var head = 0
    private(set) var count = 0
    private(set) var bytes: Int64 = 0
    /// The revision of the newest event that is gone: watches and lists can start from here or later.
    private(set) var compacted: Int64

    init(compacted: Int64) { self.compacted = compacted }

    subscript(index: Int) -> StoreWrite {
        guard let write = slots[(head + index) % slots.count] else {
            preconditionFailure("history slot \(index) of \(count) is empty")
        }
        return write
    }

    /// The index of the first event after `revision`.
    func firstIndex(after revision: Int64) -> Int {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if self[middle].revision <= revision { low = middle + 1 } else { high = middle }
        }
        return low
    }

    mutating func append(_ write: StoreWrite) {
        if count == slots.count { resize(to: max(64, slots.count * 2)) }
        slots[(head + count) % slots.count] = write
        count += 1
        bytes += write.historyBytes
    }

    /// Drops the oldest event. The rows that no longer matter on disk are added to `garbage`.
    mutating func dropFirst(garbage: inout [Int64]) {
        guard count > 0, let write = slots[head] else { return }
        slots[head] = nil
        head = (head + 1) % slots.count
        count -= 1
        bytes -= write.historyBytes
        compacted = write.revision
        if let previous = write.previous { garbage.append(previous.modRevision) }
        if case .delete = write { garbage.append(write.revision) }
        if slots.count > 1_024, count < slots.count / 4 { resize(to: slots.count / 2) }
    }

    /// Forgets everything up to `revision`.
    mutating func compact(to revision: Int64, garbage: inout [Int64]) {
        while count > 0, self[0].revision <= revision { dropFirst(garbage: &garbage) }
        compacted = max(compacted, revision)
    }

    /// No more room than the events need.
    mutating func shrink() {
        let capacity = max(64, count + count / 2)
        if capacity < slots.count { resize(to: capacity) }
    }

    private mutating func resize(to capacity: Int) {
        var moved: [StoreWrite?] = []
        moved.reserveCapacity(capacity)
        for index in 0..<count { moved.append(self[index]) }
        moved.append(contentsOf: repeatElement(nil, count: capacity - count))
        slots = moved
        head = 0
    }
}
