import Synchronization
import Testing

@testable import Store

/// What becomes of the memory that work has taken.
@Suite struct StoreRestTests {
    private static func options(rows: Int) -> StoreOptions {
        var options = StoreOptions()
        options.restRows = rows
        options.restDelay = .milliseconds(1)
        options.historyBytes = 20_000
        options.restingHistoryBytes = 2_000
        return options
    }

    private static func write(_ store: LogStore, _ range: Range<Int>) async throws {
        for number in range { try await store.put("/a/x", "\(number)" + String(repeating: "x", count: 500)) }
    }

    @Test func afterMuchWorkOnlyTheNewestEventsAreKept() async throws {
        let log = GatedLog()
        let store = try LogStore(log: log, options: Self.options(rows: 100))
        try await Self.write(store, 0..<100)
        while log.rests == 0 { await Task.yield() }
        #expect(throws: StoreError.self) { try store.watch(prefix: "/", from: 10) }
        let watch = try store.watch(prefix: "/", from: store.revision - 1)
        #expect(try await watch.next()?.first?.revision == store.revision)
        #expect(store.get("/a/x")?.text.hasPrefix("99x") == true)
        // It goes on as before, and the history grows again.
        let revision = store.revision
        try await Self.write(store, 100..<120)
        #expect(try await watch.next()?.first?.revision == revision + 1)
        #expect(try store.range(prefix: "/", startAfter: nil, limit: 0, revision: revision).entries.count == 1)
        await store.close()
    }

    @Test func aStoreThatIsWrittenNowAndThenKeepsAll() async throws {
        let log = GatedLog()
        let store = try LogStore(log: log, options: Self.options(rows: 100))
        for number in 0..<30 {
            try await Self.write(store, number..<number + 1)
            try await Task.sleep(for: .milliseconds(2))
        }
        #expect(log.rests == 0)
        let watch = try store.watch(prefix: "/", from: 0)
        #expect(try await watch.next()?.count == 30)
        await store.close()
    }

    /// How many keys there are is told rightly, at the ends and between chunks.
    @Test func countsAreThoseOfLists() async throws {
        let store = MemoryStore()
        for number in 0..<700 { try await store.put("/b/\(number % 3)/\(number)", "1") }
        for prefix in ["", "/a", "/b", "/b/", "/b/0/", "/b/1/6", "/b/2/", "/b/3/", "/c", "/b/2/99", "/b/2/998"] {
            #expect(store.count(prefix: prefix) == Int64(try store.keys(prefix).count), "\(prefix)")
        }
        await store.close()
    }
}
