import Synchronization
import Testing

@testable import Store

/// The contract of `Store`, run over every twin.
@Suite struct StoreConformanceTests {
    @Test(arguments: Twin.allCases) func createGivesTheNextRevision(_ twin: Twin) async throws {
        try await withStore(twin) { store in
            let before = store.revision
            let entry = try await store.create("/a/x") { Array("rev \($0)".utf8) }
            #expect(entry.modRevision == before + 1)
            #expect(entry.createRevision == entry.modRevision)
            #expect(entry.text == "rev \(entry.modRevision)")
            #expect(store.get("/a/x") == entry)
            #expect(store.revision == entry.modRevision)
        }
    }

    @Test(arguments: Twin.allCases) func createOfAnExistingKeyIsRefused(_ twin: Twin) async throws {
        try await withStore(twin) { store in
            try await store.put("/a/x", "1")
            let revision = store.revision
            #expect(await error { _ = try await store.create("/a/x", value: text("2")) } == .keyExists("/a/x"))
            #expect(store.revision == revision)
            #expect(store.get("/a/x")?.text == "1")
        }
    }

    @Test(arguments: Twin.allCases) func updateComparesAndSwaps(_ twin: Twin) async throws {
        try await withStore(twin) { store in
            let first = try await store.create("/a/x", value: text("1"))
            let second = try await store.update("/a/x", expected: first.modRevision, value: text("2"))
            #expect(second.createRevision == first.createRevision)
            #expect(second.modRevision > first.modRevision)
            let stale = await error {
                _ = try await store.update("/a/x", expected: first.modRevision, value: text("3"))
            }
            #expect(stale == .conflict("/a/x", current: second))
            let missing = await error { _ = try await store.update("/a/y", expected: 1, value: text("3")) }
            #expect(missing == .keyNotFound("/a/y"))
        }
    }

    @Test(arguments: Twin.allCases) func deleteRemovesAndTellsTheLastState(_ twin: Twin) async throws {
        try await withStore(twin) { store in
            let first = try await store.create("/a/x", value: text("1"))
            let wrong = await error { _ = try await store.delete("/a/x", expected: first.modRevision + 7) }
            #expect(wrong == .conflict("/a/x", current: first))
            let (revision, previous) = try await store.delete("/a/x", expected: first.modRevision) {
                Array("gone at \($0)".utf8)
            }
            #expect(previous.text == "gone at \(revision)")
            #expect(previous.modRevision == first.modRevision)
            #expect(store.get("/a/x") == nil)
            #expect(await error { _ = try await store.delete("/a/x", expected: nil) } == .keyNotFound("/a/x"))
            let again = try await store.create("/a/x", value: text("2"))
            #expect(again.createRevision > revision)
        }
    }

    @Test(arguments: Twin.allCases) func transactionIsAllOrNothing(_ twin: Twin) async throws {
        try await withStore(twin) { store in
            let old = try await store.create("/a/old", value: text("1"))
            let refused = await error {
                _ = try await store.commit(
                    [.create(key: "/a/new", value: text("n")), .create(key: "/a/old", value: text("n"))],
                    durability: .durable)
            }
            #expect(refused == .keyExists("/a/old"))
            #expect(store.get("/a/new") == nil)
            let results = try await store.commit(
                [
                    .create(key: "/a/new", value: text("n")),
                    .update(key: "/a/old", expected: old.modRevision, value: text("2")),
                ], durability: .durable)
            #expect(results.count == 2)
            #expect(try store.range(prefix: "/a/").entries.map(\.text) == ["n", "2"])
            let twice = await error {
                let deletion = StoreOperation.delete(key: "/a/new", expected: nil, final: nil)
                _ = try await store.commit([deletion, deletion], durability: .durable)
            }
            #expect(twice == .unavailable("a transaction names the key /a/new twice"))
        }
    }

    @Test(arguments: Twin.allCases) func valuesAreBounded(_ twin: Twin) async throws {
        var options = StoreOptions()
        options.entryBytes = 100
        try await withStore(twin, options: options) { store in
            let big: StoreValue = { _ in [UInt8](repeating: 0, count: 97) }
            #expect(
                await error { _ = try await store.create("/a/x", value: big) }
                    == .tooLarge("/a/x", bytes: 101, limit: 100))
            #expect(store.get("/a/x") == nil)
            let fits = try await store.create("/a/x") { _ in [UInt8](repeating: 0, count: 96) }
            #expect(fits.value.count == 96)
        }
    }

    @Test(arguments: Twin.allCases) func emptyValueIsAValue(_ twin: Twin) async throws {
        try await withStore(twin) { store in
            _ = try await store.create("/a/x") { _ in [] }
            #expect(store.get("/a/x")?.value == [])
        }
    }

    // MARK: Lists

    @Test(arguments: Twin.allCases) func rangeIsSortedByBytesAndPaged(_ twin: Twin) async throws {
        try await withStore(twin) { store in
            for key in ["/b/1", "/a/2", "/a/10", "/a/1", "/a/é", "/a/e\u{301}", "/a/Z", "/ab"] {
                try await store.put(key, key)
            }
            let all = ["/a/1", "/a/10", "/a/2", "/a/Z", "/a/e\u{301}", "/a/é"]
            let keys = try store.keys("/a/")
            #expect(keys.map { Array($0.utf8) } == all.map { Array($0.utf8) })
            #expect(store.count(prefix: "/a/") == 6)
            #expect(store.count(prefix: "/") == 8)
            #expect(store.count(prefix: "/zz") == 0)
            let page = try store.range(prefix: "/a/", startAfter: nil, limit: 2, revision: nil)
            #expect(page.entries.map(\.key) == ["/a/1", "/a/10"])
            #expect(page.more && page.remaining == 4)
            let rest = try store.range(prefix: "/a/", startAfter: "/a/2", limit: 10, revision: page.revision)
            #expect(rest.entries.count == 3 && !rest.more && rest.remaining == 0)
            #expect(try store.range(prefix: "/a/", startAfter: "/b", limit: 0, revision: nil).entries.isEmpty)
            #expect(try store.range(prefix: "/a/", startAfter: "/", limit: 0, revision: nil).entries.count == 6)
        }
    }

    @Test(arguments: Twin.allCases) func olderRevisionIsReconstructed(_ twin: Twin) async throws {
        try await withStore(twin) { store in
            for number in 10..<20 { try await store.put("/a/\(number)", "old") }
            try await store.put("/b/1", "other")
            let then = store.revision
            try await store.put("/a/11", "new")
            try await store.put("/a/11", "newer")
            _ = try await store.delete("/a/12", expected: nil)
            _ = try await store.delete("/a/19", expected: nil)
            try await store.put("/a/135", "added")
            try await store.put("/a/0", "added")
            _ = try await store.delete("/a/0", expected: nil)
            try await store.put("/a/12", "back")
            var seen: [StoreEntry] = []
            var after: String?
            while true {
                let page = try store.range(prefix: "/a/", startAfter: after, limit: 3, revision: then)
                #expect(page.revision == then)
                seen += page.entries
                #expect(page.remaining == Int64(10 - seen.count))
                guard page.more else { break }
                after = page.entries.last?.key
            }
            #expect(seen.map(\.key) == (10..<20).map { "/a/\($0)" })
            #expect(seen.allSatisfy { $0.text == "old" && $0.modRevision <= then })
            #expect(throws: StoreError.futureRevision(current: store.revision)) {
                try store.range(prefix: "/a/", startAfter: nil, limit: 0, revision: store.revision + 1)
            }
        }
    }

    @Test(arguments: Twin.allCases) func compactionForgetsHistory(_ twin: Twin) async throws {
        try await withStore(twin) { store in
            for step in 0..<10 { try await store.put("/a/x", "\(step)") }
            let middle = store.revision - 4
            try await store.compact(to: middle)
            #expect(try store.range(prefix: "/a/", startAfter: nil, limit: 0, revision: middle).entries.count == 1)
            #expect(throws: StoreError.compacted(oldest: middle)) {
                try store.range(prefix: "/a/", startAfter: nil, limit: 0, revision: middle - 1)
            }
            #expect(throws: StoreError.compacted(oldest: middle)) { try store.watch(prefix: "/a/", from: middle - 1) }
            #expect(await error { try await store.compact(to: middle + 100) } == .futureRevision(current: middle + 4))
            #expect(store.get("/a/x")?.text == "9")
        }
    }

    // MARK: Concurrency

    @Test(arguments: Twin.allCases) func concurrentIncrementsAreAllCounted(_ twin: Twin) async throws {
        try await withStore(twin) { store in
            _ = try await store.create("/a/counter", value: text("0"))
            let writers = 8
            let increments = 25
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<writers {
                    group.addTask {
                        for _ in 0..<increments { try await increment(store, "/a/counter") }
                    }
                }
                try await group.waitForAll()
            }
            #expect(store.get("/a/counter")?.text == "\(writers * increments)")
        }
    }

    @Test(arguments: Twin.allCases) func oneOfManyCreatesWins(_ twin: Twin) async throws {
        try await withStore(twin) { store in
            for round in 0..<20 {
                let key = "/a/\(round)"
                let outcomes = await withTaskGroup(of: StoreError?.self) { group in
                    for writer in 0..<10 {
                        group.addTask {
                            await error { _ = try await store.create(key, value: text("\(writer)")) }
                        }
                    }
                    return await group.reduce(into: []) { $0.append($1) }
                }
                #expect(outcomes.filter { $0 == nil }.count == 1)
                #expect(outcomes.filter { $0 == .keyExists(key) }.count == 9)
                #expect(store.get(key) != nil)
            }
        }
    }

    @Test(arguments: Twin.allCases) func closedStoreRefusesWritesAndEndsWatches(_ twin: Twin) async throws {
        try await withStore(twin) { store in
            try await store.put("/a/x", "1")
            let watch = try store.watch(prefix: "/a/", from: nil)
            async let end = watch.next()
            await store.close()
            #expect(try await end == nil)
            #expect(try await watch.next() == nil)
            #expect(await error { try await store.put("/a/x", "2") } == .unavailable("the store is closed"))
            #expect(throws: StoreError.unavailable("the store is closed")) { try store.watch(prefix: "", from: nil) }
            #expect(store.get("/a/x")?.text == "1")
            await store.close()
        }
    }

    // MARK: Tags

    @Test(arguments: Twin.allCases) func entriesAreFoundByTheirTags(_ twin: Twin) async throws {
        var options = StoreOptions()
        options.tag = { $0.last == UInt8(ascii: "-") ? 0 : UInt32($0.last ?? 0) }
        try await withStore(twin, options: options) { store in
            for number in 0..<1000 { try await store.put("/a/\(1000 + number)", "v\(number % 10)") }
            try await store.put("/a/0-free", "free-")
            try await store.put("/b/1", "v3")
            let threes = store.tagged(UInt32(UInt8(ascii: "3")), prefix: "/a/")
            #expect(threes.entries.map(\.key) == ["/a/0-free"] + (0..<100).map { "/a/\(1003 + $0 * 10)" })
            #expect(threes.revision == store.revision && !threes.more)
            // An entry that changes has another tag; one that goes has none.
            try await store.put("/a/1003", "now 4")
            _ = try await store.delete("/a/1013", expected: nil)
            #expect(store.tagged(UInt32(UInt8(ascii: "3")), prefix: "/a/").entries.count == 99)
            #expect(store.tagged(UInt32(UInt8(ascii: "4")), prefix: "/a/").entries.count == 102)
            #expect(store.tagged(77, prefix: "/c/").entries.isEmpty)
        }
    }

    @Test func tagsAreThereAgainAfterARestart() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/server/db/state.db"
        var options = StoreOptions()
        options.tag = { UInt32($0.count) }
        let store = try LogStore.sqlite(path: path, options: options)
        for value in ["1", "22", "333"] { try await store.put("/a/" + value, value) }
        await store.close()
        let again = try LogStore.sqlite(path: path, options: options)
        #expect(again.tagged(2, prefix: "/a/").entries.map(\.key) == ["/a/22"])
        await again.close()
        // Without tags every entry might be the one.
        let plain = try LogStore.sqlite(path: path)
        #expect(plain.tagged(2, prefix: "/a/").entries.count == 3)
        await plain.close()
    }
}

/// Adds one to the number under the key, again until nobody was quicker.
func increment(_ store: any Store, _ key: String) async throws {
    while true {
        guard let entry = store.get(key), let number = Int(entry.text) else { throw StoreError.keyNotFound(key) }
        do {
            _ = try await store.update(key, expected: entry.modRevision, value: text("\(number + 1)"))
            return
        } catch StoreError.conflict {
            continue
        }
    }
}
