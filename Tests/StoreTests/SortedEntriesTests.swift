import Testing

@testable import Store

/// The sorted structure against a plain sorted array, through splits and merges.
@Suite struct SortedEntriesTests {
    @Test func behavesAsASortedArray() {
        var generator = SeededGenerator(seed: 7)
        var entries = SortedEntries()
        var model: [String: StoreEntry] = [:]
        var snapshots: [(SortedEntries, [String])] = []
        for step in 0..<20_000 {
            let key = "/k/\(Int.random(in: 0..<3_000, using: &generator))"
            // Grows first, shrinks at the end.
            if Int.random(in: 0..<20_000, using: &generator) > step {
                let value = [UInt8](repeating: 0, count: step % 50)
                let entry = StoreEntry(key: key, value: value, createRevision: 1, modRevision: Int64(step))
                #expect(entries.insert(entry) == model.updateValue(entry, forKey: key))
            } else {
                #expect(entries.remove(key) == model.removeValue(forKey: key))
            }
            if step % 2_500 == 0 { snapshots.append((entries, model.keys.sorted())) }
        }
        check(entries, model.keys.sorted())
        for (entries, keys) in snapshots { check(entries, keys) }
        #expect(entries.bytes == model.values.reduce(0) { $0 + Int64($1.key.utf8.count + $1.value.count) })
        for key in model.keys.sorted() { #expect(entries.remove(key) == model[key]) }
        #expect(entries.count == 0 && entries.bytes == 0)
        #expect(entries.entry(at: entries.lowerBound(of: "")) == nil)
    }

    private func check(_ entries: SortedEntries, _ keys: [String]) {
        #expect(entries.count == keys.count)
        var position = entries.lowerBound(of: "")
        for (rank, key) in keys.enumerated() {
            #expect(entries.entry(at: position)?.key == key)
            if rank % 97 == 0 {
                #expect(entries.rank(of: position) == rank)
                #expect(entries.lowerBound(of: key) == position)
                #expect(entries[key]?.key == key)
                #expect(entries[key + "!"] == nil)
            }
            position = entries.position(after: position)
        }
        #expect(entries.entry(at: position) == nil)
    }
}

/// The same numbers at every run (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
