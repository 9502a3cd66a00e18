import Synchronization
import Testing

@testable import Store

/// Watches, over every twin.
@Suite struct StoreWatchTests {
    @Test(arguments: Twin.allCases) func watchTellsCreateUpdateAndDelete(_ twin: Twin) async throws {
        try await withStore(twin) { store in
            let watch = try store.watch(prefix: "/a/", from: nil)
            let created = try await store.create("/a/x", value: text("1"))
            try await store.put("/b/x", "elsewhere")
            let updated = try await store.update("/a/x", expected: created.modRevision, value: text("2"))
            let (revision, previous) = try await store.delete("/a/x", expected: nil, final: text("last"))
            #expect(
                try await collect(watch, 3) == [
                    .put(created, previous: nil), .put(updated, previous: created),
                    .delete(key: "/a/x", revision: revision, previous: previous),
                ])
            #expect(previous.text == "last")
        }
    }

    @Test(arguments: Twin.allCases) func waitingWatchIsWoken(_ twin: Twin) async throws {
        try await withStore(twin) { store in
            let watch = try store.watch(prefix: "/a/", from: nil)
            async let events = watch.next()
            await store.untilOneWaits()
            try await store.put("/b/x", "not for it")
            let entry = try await store.put("/a/x", "1")
            #expect(try await events == [.put(entry, previous: nil)])
        }
    }

    @Test(arguments: Twin.allCases) func watchResumesFromARevision(_ twin: Twin) async throws {
        try await withStore(twin) { store in
            for step in 0..<10 { try await store.put("/a/\(step)", "v") }
            let list = try store.range(prefix: "/a/")
            for step in 0..<5 { try await store.put("/a/\(step)", "w") }
            let watch = try store.watch(prefix: "/a/", from: list.revision)
            let events = try await collect(watch, 5)
            #expect(events.map(\.revision) == (1...5).map { list.revision + $0 })
            #expect(throws: StoreError.futureRevision(current: store.revision)) {
                try store.watch(prefix: "/a/", from: store.revision + 1)
            }
        }
    }

    @Test(arguments: Twin.allCases) func progressComesAfterTheEvents(_ twin: Twin) async throws {
        try await withStore(twin) { store in
            let watch = try store.watch(prefix: "/a/", from: nil)
            let entry = try await store.put("/a/x", "1")
            try await store.put("/b/x", "1")
            watch.requestProgress()
            #expect(try await collect(watch, 2) == [.put(entry, previous: nil), .progress(revision: store.revision)])
            async let progress = watch.next()
            await store.untilOneWaits()
            try await store.put("/b/x", "2")
            watch.requestProgress()
            #expect(try await progress == [.progress(revision: store.revision)])
        }
    }

    @Test(arguments: Twin.allCases) func slowWatcherOverflows(_ twin: Twin) async throws {
        var options = StoreOptions()
        options.historyEvents = 10
        try await withStore(twin, options: options) { store in
            let slow = try store.watch(prefix: "/a/", from: nil)
            for step in 0..<11 { try await store.put("/a/x", "\(step)") }
            #expect(await error { _ = try await slow.next() } == .watchOverflow)
            #expect(try await slow.next() == nil)
        }
    }

    @Test(arguments: Twin.allCases) func waitingWatchOfAQuietPrefixDoesNotOverflow(_ twin: Twin) async throws {
        var options = StoreOptions()
        options.historyEvents = 10
        try await withStore(twin, options: options) { store in
            let quiet = try store.watch(prefix: "/q/", from: nil)
            async let events = quiet.next()
            await store.untilOneWaits()
            for step in 0..<50 { try await store.put("/a/x", "\(step)") }
            let entry = try await store.put("/q/x", "1")
            #expect(try await events == [.put(entry, previous: nil)])
            let next = try await store.put("/q/x", "2")
            #expect(try await quiet.next() == [.put(next, previous: entry)])
        }
    }

    @Test(arguments: Twin.allCases) func historyIsBoundedInBytes(_ twin: Twin) async throws {
        var options = StoreOptions()
        options.historyBytes = 10_000
        try await withStore(twin, options: options) { store in
            let start = store.revision
            let big = String(repeating: "x", count: 1_000)
            for _ in 0..<50 { try await store.put("/a/x", big) }
            let failure = #expect(throws: StoreError.self) { try store.watch(prefix: "/a/", from: start) }
            guard case .compacted(let oldest) = failure else {
                Issue.record("expected compacted, got \(String(describing: failure))")
                return
            }
            #expect(store.revision - oldest >= 5 && store.revision - oldest <= 10)
            _ = try store.watch(prefix: "/a/", from: oldest)
        }
    }

    @Test(arguments: Twin.allCases) func cancellationEndsTheWait(_ twin: Twin) async throws {
        try await withStore(twin) { store in
            let watch = try store.watch(prefix: "/a/", from: nil)
            let task = Task { try await watch.next() }
            await store.untilOneWaits()
            task.cancel()
            #expect(try await task.value == nil)
            let other = try store.watch(prefix: "/a/", from: nil)
            let waiting = Task { try await other.next() }
            await store.untilOneWaits()
            other.cancel()
            #expect(try await waiting.value == nil)
        }
    }

    @Test(arguments: Twin.allCases) func everyWatcherSeesEveryEventInOrder(_ twin: Twin) async throws {
        try await withStore(twin) { store in
            let writers = 6
            let writes = 40
            let watches = try (0..<4).map { _ in try store.watch(prefix: "/a/", from: nil) }
            try await withThrowingTaskGroup(of: [StoreEvent]?.self) { group in
                for watch in watches { group.addTask { try await collect(watch, writers * writes) } }
                for writer in 0..<writers {
                    group.addTask {
                        for step in 0..<writes { try await store.put("/a/\(writer)", "\(step)") }
                        return nil
                    }
                }
                var first: [StoreEvent]?
                for try await events in group {
                    guard let events else { continue }
                    #expect(events.map(\.revision) == events.map(\.revision).sorted())
                    #expect(Set(events.map(\.revision)).count == writers * writes)
                    if let first { #expect(first == events) } else { first = events }
                }
            }
        }
    }

    /// A reader that is told of an event finds at least that state in the store.
    @Test(arguments: Twin.allCases) func eventsAreNotAheadOfReads(_ twin: Twin) async throws {
        try await withStore(twin) { store in
            let watch = try store.watch(prefix: "/a/", from: nil)
            async let writing: Void = {
                for step in 0..<100 { try await store.put("/a/x", "\(step)") }
            }()
            var seen = 0
            while seen < 100 {
                for event in try await watch.next() ?? [] {
                    seen += 1
                    #expect((store.get("/a/x")?.modRevision ?? 0) >= event.revision)
                    #expect(store.revision >= event.revision)
                }
            }
            try await writing
        }
    }
}

/// The next `count` events.
func collect(_ watch: StoreWatch, _ count: Int) async throws -> [StoreEvent] {
    var events: [StoreEvent] = []
    while events.count < count {
        guard let more = try await watch.next() else { break }
        events += more
    }
    return events
}

extension Store {
    /// Returns once a watcher waits for events.
    func untilOneWaits() async {
        let hub = (self as? MemoryStore)?.hub ?? (self as? LogStore)?.hub
        while hub?.state.withLock({ $0.watchers.hasWaiting }) == false { await Task.yield() }
    }
}
