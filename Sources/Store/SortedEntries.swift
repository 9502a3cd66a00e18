/// The current entries in key order: a two-level sorted array. Chunks of at most `chunkLimit` entries keep an insertion
/// cheap with 100,000 objects, and make a copy of the whole a snapshot that costs nothing until a chunk is changed: a
/// list walks its snapshot outside the store's lock.
struct SortedEntries: Sendable {
    private static let chunkLimit = 256

    struct Position: Equatable {
        var chunk: Int
        var index: Int
    }

    private var chunks: [[StoreEntry]] = []
    private(set) var count = 0
    /// Keys and values together.
    private(set) var bytes: Int64 = 0

    subscript(key: String) -> StoreEntry? {
        let position = lowerBound(of: key)
        guard let entry = entry(at: position), KeyOrder.compare(entry.key, key) == 0 else { return nil }
        return entry
    }

    func entry(at position: Position) -> StoreEntry? {
        guard position.chunk < chunks.count, position.index < chunks[position.chunk].count else { return nil }
        return chunks[position.chunk][position.index]
    }

    // MARK: Positions

    /// The first entry whose key is not before `key`.
    func lowerBound(of key: String) -> Position {
        var key = key
        return key.withUTF8 { bytes in partition { KeyOrder.compare($0, bytes) < 0 } }
    }

    /// The first entry whose key comes after `key`.
    func upperBound(of key: String) -> Position {
        var key = key
        return key.withUTF8 { bytes in partition { KeyOrder.compare($0, bytes) <= 0 } }
    }

    /// The first entry after all those that start with `prefix`.
    func end(ofPrefix prefix: String) -> Position {
        partition { KeyOrder.compare($0, prefix) < 0 || KeyOrder.hasPrefix($0, prefix) }
    }

    /// How many entries lie before the position.
    func rank(of position: Position) -> Int {
        var rank = position.index
        for chunk in chunks.prefix(position.chunk) { rank += chunk.count }
        return rank
    }

    func position(after position: Position) -> Position {
        if position.chunk < chunks.count, position.index + 1 < chunks[position.chunk].count {
            return Position(chunk: position.chunk, index: position.index + 1)
        }
        return Position(chunk: position.chunk + 1, index: 0)
    }

    /// Appends the `count` entries from `position` on, or as many as there are, to `list`.
    func append(from position: Position, count: Int, to list: inout [StoreEntry]) {
        var left = count
        var index = position.index
        for chunk in chunks.dropFirst(position.chunk) where left > 0 {
            let taken = chunk[index...].prefix(left)
            list.append(contentsOf: taken)
            left -= taken.count
            index = 0
        }
    }

    /// Those that start with `prefix` and have this tag or none.
    func tagged(_ tag: UInt32, prefix: String) -> [StoreEntry] {
        let (begin, end) = (lowerBound(of: prefix), end(ofPrefix: prefix))
        var found: [StoreEntry] = []
        for chunk in begin.chunk..<max(begin.chunk, min(end.chunk + 1, chunks.count)) {
            chunks[chunk].withUnsafeBufferPointer { entries in
                let first = chunk == begin.chunk ? begin.index : 0
                let last = chunk == end.chunk ? end.index : entries.count
                for index in first..<max(first, last) where entries[index].tag == tag || entries[index].tag == 0 {
                    found.append(entries[index])
                }
            }
        }
        return found
    }

    /// The first position whose key does not satisfy `isBefore`, which holds for a first part of the keys only.
    private func partition(_ isBefore: (String) -> Bool) -> Position {
        chunks.withUnsafeBufferPointer { chunks in
            var low = 0
            var high = chunks.count
            while low < high {
                let middle = (low + high) / 2
                let isBefore = chunks[middle].withUnsafeBufferPointer { isBefore($0[$0.count - 1].key) }
                if isBefore { low = middle + 1 } else { high = middle }
            }
            guard low < chunks.count else { return Position(chunk: chunks.count, index: 0) }
            let chunk = low
            let index = chunks[chunk].withUnsafeBufferPointer { entries in
                var low = 0
                var high = entries.count
                while low < high {
                    let middle = (low + high) / 2
                    if isBefore(entries[middle].key) { low = middle + 1 } else { high = middle }
                }
                return low
            }
            return Position(chunk: chunk, index: index)
        }
    }

    // MARK: Changes

    /// Puts the entry in place of the one with its key, which it returns.
    @discardableResult
    mutating func insert(_ entry: StoreEntry) -> StoreEntry? {
        var position = lowerBound(of: entry.key)
        bytes += Self.bytes(of: entry)
        if let old = self.entry(at: position), KeyOrder.compare(old.key, entry.key) == 0 {
            bytes -= Self.bytes(of: old)
            chunks[position.chunk][position.index] = entry
            return old
        }
        count += 1
        if position.chunk == chunks.count {
            guard let last = chunks.indices.last, chunks[last].count < Self.chunkLimit else {
                var chunk: [StoreEntry] = []
                chunk.reserveCapacity(chunks.isEmpty ? 16 : Self.chunkLimit)
                chunk.append(entry)
                chunks.append(chunk)
                return nil
            }
            position = Position(chunk: last, index: chunks[last].count)
        }
        chunks[position.chunk].insert(entry, at: position.index)
        if chunks[position.chunk].count > Self.chunkLimit { split(position.chunk) }
        return nil
    }

    @discardableResult
    mutating func remove(_ key: String) -> StoreEntry? {
        let position = lowerBound(of: key)
        guard let old = entry(at: position), KeyOrder.compare(old.key, key) == 0 else { return nil }
        count -= 1
        bytes -= Self.bytes(of: old)
        chunks[position.chunk].remove(at: position.index)
        let left = chunks[position.chunk].count
        if left == 0 {
            chunks.remove(at: position.chunk)
        } else if left < Self.chunkLimit / 4 {
            merge(position.chunk)
        }
        return old
    }

    private mutating func split(_ chunk: Int) {
        let half = chunks[chunk].count / 2
        var upper: [StoreEntry] = []
        upper.reserveCapacity(Self.chunkLimit)
        upper.append(contentsOf: chunks[chunk][half...])
        chunks[chunk].removeSubrange(half...)
        chunks.insert(upper, at: chunk + 1)
    }

    /// Joins a chunk that has become small with the one after it, if both fit in three quarters of a chunk.
    private mutating func merge(_ chunk: Int) {
        guard chunk + 1 < chunks.count, chunks[chunk].count + chunks[chunk + 1].count <= Self.chunkLimit * 3 / 4 else {
            return
        }
        let next = chunks.remove(at: chunk + 1)
        chunks[chunk].append(contentsOf: next)
    }

    private static func bytes(of entry: StoreEntry) -> Int64 { Int64(entry.key.utf8.count + entry.value.count) }
}
