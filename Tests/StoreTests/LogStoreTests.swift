import Glibc
import Synchronization
import Testing

@testable import Store

/// What a store over a log promises beyond the common contract: durability, failures, restarts.
@Suite struct LogStoreTests {
    // MARK: Durability, with a log under the test's control

    @Test func nothingIsVisibleBeforeItIsDurable() async throws {
        let log = GatedLog()
        let store = try LogStore(log: log, options: StoreOptions())
        log.hold()
        let watch = try store.watch(prefix: "", from: nil)
        async let created = store.create("/a/x", value: text("1"))
        await log.untilHeld()
        #expect(store.get("/a/x") == nil)
        #expect(store.revision == 0)
        #expect(try store.range(prefix: "/").entries.isEmpty)
        watch.requestProgress()
        #expect(try await watch.next() == [.progress(revision: 0)])
        log.release()
        let entry = try await created
        #expect(store.get("/a/x") == entry)
        #expect(try await watch.next() == [.put(entry, previous: nil)])
        await store.close()
    }

    @Test func writesThatArriveDuringASyncShareTheNext() async throws {
        let log = GatedLog()
        let store = try LogStore(log: log, options: StoreOptions())
        log.hold()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await store.put("/a/first", "1") }
            await log.untilHeld()
            for number in 0..<20 { group.addTask { try await store.put("/a/\(number)", "1") } }
            while store.hub.state.withLock({ $0.queue.pendingTickets }) < 21 { await Task.yield() }
            log.release()
            try await group.waitForAll()
        }
        #expect(log.batches.map(\.rows.count) == [1, 20])
        await store.close()
    }

    @Test func refusalThatRestsOnAPendingWriteWaitsForIt() async throws {
        let log = GatedLog()
        let store = try LogStore(log: log, options: StoreOptions())
        log.hold()
        async let first = error { _ = try await store.create("/a/x", value: text("1")) }
        await log.untilHeld()
        async let second = error { _ = try await store.create("/a/x", value: text("2")) }
        while store.hub.state.withLock({ $0.queue.pendingTickets }) < 2 { await Task.yield() }
        log.fail(.unavailable("no space"))
        log.release()
        #expect(await first == .unavailable("no space"))
        #expect(await second == .unavailable("no space"))
        #expect(store.get("/a/x") == nil)
        await store.close()
    }

    @Test func failedGroupLeavesNothingBehind() async throws {
        let log = GatedLog()
        let lines = Mutex<[String]>([])
        var options = StoreOptions()
        options.onDiskTrouble = { line in lines.withLock { $0.append(line) } }
        let store = try LogStore(log: log, options: options)
        let kept = try await store.create("/a/kept", value: text("1"))
        let watch = try store.watch(prefix: "", from: nil)
        log.fail(.unavailable("no space"))
        let failures = await withTaskGroup(of: StoreError?.self) { group in
            for number in 0..<10 {
                group.addTask { await error { _ = try await store.create("/a/\(number)", value: text("1")) } }
            }
            group.addTask { await error { _ = try await store.delete("/a/kept", expected: nil) } }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(failures.allSatisfy { $0 == .unavailable("no space") })
        #expect(try store.range(prefix: "/a/").entries == [kept])
        #expect(store.revision == kept.modRevision)
        log.fail(nil)
        let after = try await store.update("/a/kept", expected: kept.modRevision, value: text("2"))
        #expect(after.modRevision > kept.modRevision + 11)
        #expect(try await watch.next() == [.put(after, previous: kept)])
        await store.close()
        #expect(lines.withLock { $0 } == ["no space", "the datastore can be written again"])
    }

    @Test func tooManyPendingWritesAreRefused() async throws {
        let log = GatedLog()
        var options = StoreOptions()
        options.pendingWrites = 3
        let store = try LogStore(log: log, options: options)
        log.hold()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<3 { group.addTask { try await store.put("/a/\(number)", "1") } }
            while store.hub.state.withLock({ $0.queue.pendingTickets }) < 3 { await Task.yield() }
            let refused = await error { try await store.put("/a/4", "1") }
            #expect(refused == .unavailable("3 writes are waiting for the disk already"))
            log.release()
            try await group.waitForAll()
        }
        await store.close()
    }

    // MARK: Deferred writes

    @Test func deferredWriteIsVisibleAtOnceAndWrittenWithTheNext() async throws {
        let log = GatedLog()
        let store = try LogStore(log: log, options: StoreOptions())
        var lease = try await store.create("/leases/n", value: text("0"))
        let watch = try store.watch(prefix: "/leases/", from: nil)
        for beat in 1...5 {
            lease = try await store.update(
                "/leases/n", expected: lease.modRevision, durability: .deferred, value: text("\(beat)"))
            #expect(store.get("/leases/n") == lease)
        }
        #expect(try await collect(watch, 5).count == 5)
        #expect(log.batches.count == 1)
        let other = try await store.put("/a/x", "1")
        #expect(log.batches.count == 2)
        #expect(log.batches[1].rows.map(\.revision).sorted() == [lease.modRevision, other.modRevision])
        await store.close()
        #expect(log.batches.count == 2)
    }

    @Test func deferredWriteIsWrittenAtCloseAndAfterTheDelay() async throws {
        for closes in [true, false] {
            let log = GatedLog()
            var options = StoreOptions()
            options.deferredDelay = closes ? .seconds(1_000) : .milliseconds(5)
            let store = try LogStore(log: log, options: options)
            let lease = try await store.create("/leases/n", value: text("0"))
            let beat = try await store.update(
                "/leases/n", expected: lease.modRevision, durability: .deferred, value: text("1"))
            if closes { await store.close() }
            while log.batches.count < 2 { try await Task.sleep(for: .milliseconds(1)) }
            #expect(log.batches[1].rows.map(\.revision) == [beat.modRevision])
            await store.close()
            #expect(log.closingMarks?.reserved == beat.modRevision)
        }
    }

    @Test func deferredWritesStayWithinTheReservation() async throws {
        let log = GatedLog()
        var options = StoreOptions()
        options.reservedRevisions = 20
        let store = try LogStore(log: log, options: options)
        var lease = try await store.create("/leases/n", value: text("0"))
        for _ in 0..<200 {
            lease = try await store.update(
                "/leases/n", expected: lease.modRevision, durability: .deferred, value: text("1"))
            #expect(lease.modRevision <= log.batches.last?.marks.reserved ?? 0)
        }
        #expect((5...20).contains(log.batches.count))
        await store.close()
    }

    @Test func deferredWriteJoinsTheGroupThatIsUnderWay() async throws {
        let log = GatedLog()
        let store = try LogStore(log: log, options: StoreOptions())
        let lease = try await store.create("/leases/n", value: text("0"))
        log.hold()
        async let other = store.put("/a/x", "1")
        await log.untilHeld()
        async let beat = store.update(
            "/leases/n", expected: lease.modRevision, durability: .deferred, value: text("1"))
        while store.hub.state.withLock({ $0.queue.pendingTickets }) < 2 { await Task.yield() }
        #expect(store.get("/leases/n") == lease)
        log.release()
        let revisions = try await (other.modRevision, beat.modRevision)
        #expect(revisions.0 < revisions.1)
        await store.close()
    }

    // MARK: Restarts

    @Test func reopenedStoreHasEverything() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/db/state.db"
        var store = try LogStore.sqlite(path: path)
        for number in 0..<300 { try await store.put("/a/\(number)", "v\(number)") }
        let middle = store.revision
        _ = try await store.delete("/a/7", expected: nil, final: text("last"))
        try await store.put("/a/8", "changed")
        let entries = try store.range(prefix: "").entries
        let (newest, _) = try await store.delete("/a/299", expected: nil)
        await store.close()

        store = try LogStore.sqlite(path: path)
        #expect(try store.range(prefix: "").entries == entries.filter { $0.key != "/a/299" })
        #expect(store.revision == newest)
        let watch = try store.watch(prefix: "/a/", from: middle)
        let events = try await collect(watch, 3)
        #expect(events.map(\.revision) == [middle + 1, middle + 2, middle + 3])
        guard case .delete("/a/7", _, let previous) = events[0] else {
            Issue.record("expected the deletion, got \(events[0])")
            return
        }
        #expect(previous.text == "last")
        #expect(try store.range(prefix: "/a/", startAfter: nil, limit: 0, revision: middle).entries.count == 300)
        #expect(try await store.put("/a/x", "1").modRevision == newest + 1)
        await store.close()
    }

    @Test func historyThatWasDroppedStaysDroppedAndLeavesTheDisk() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/state.db"
        var options = StoreOptions()
        options.historyEvents = 50
        options.garbageRows = 20
        var store = try LogStore.sqlite(path: path, options: options)
        try await store.put("/a/still", "1")
        for step in 0..<500 { try await store.put("/a/\(step % 10)", "\(step)") }
        for number in 0..<10 { _ = try await store.delete("/a/\(number)", expected: nil) }
        for step in 0..<60 { try await store.put("/b/x", "\(step)") }
        let compacted = store.hub.state.withLock { $0.core.history.compacted }
        await store.close()
        let log = try SQLiteLog(path: path)
        var rows: [LogRow] = []
        let marks = try log.load { rows.append($0) }
        log.close(marks)
        #expect(rows.count <= 2 + 50 + 20)
        store = try LogStore.sqlite(path: path, options: options)
        #expect(try store.keys("") == ["/a/still", "/b/x"])
        #expect(throws: StoreError.compacted(oldest: store.hub.state.withLock { $0.core.history.compacted })) {
            try store.watch(prefix: "", from: marks.compacted - 1)
        }
        _ = try store.watch(prefix: "", from: compacted)
        await store.close()
    }

    @Test func compactionLeavesOnlyCurrentRowsOnDisk() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/state.db"
        let store = try LogStore.sqlite(path: path)
        for step in 0..<100 { try await store.put("/a/\(step % 4)", "\(step)") }
        _ = try await store.delete("/a/0", expected: nil)
        try await store.compact(to: store.revision)
        let current = try store.range(prefix: "").entries
        await store.close()
        let log = try SQLiteLog(path: path)
        var rows: [Int64] = []
        log.close(try log.load { rows.append($0.revision) })
        #expect(rows == current.map(\.modRevision).sorted())
    }

    /// What compaction frees is used again: the file does not grow with what was written, and nothing has to be vacuumed.
    @Test func spaceIsUsedAgain() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/state.db"
        let store = try LogStore.sqlite(path: path)
        let filling = String(repeating: "x", count: 2_000)
        var sizes: [Int] = []
        for round in 0..<12 {
            for number in 0..<100 { try await store.put("/a/\(number)", "\(round) \(filling)") }
            try await store.compact(to: store.revision)
            var status = stat()
            // The write-ahead log is written into the file at times of its own, and is bounded itself.
            #expect(stat(path, &status) == 0)
            sizes.append(Int(status.st_size))
        }
        await store.close()
        var status = stat()
        #expect(stat(path, &status) == 0)
        sizes.append(Int(status.st_size))
        // 1,200 values of 2 KB were written; what lives is a twelfth.
        #expect(sizes.max() ?? .max < 1_000_000, "\(sizes)")
    }

    @Test func secondServerOnTheSameDatabaseIsRefused() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/state.db"
        let store = try LogStore.sqlite(path: path)
        try await store.put("/a/x", "1")
        // A POSIX lock does not hold within one process: ask from another.
        let code = try run([
            "/usr/bin/env", "python3", "-c",
            """
            import sqlite3, sys
            try:
                sqlite3.connect(sys.argv[1], timeout=0.1).execute("select count(*) from log").fetchall()
            except sqlite3.OperationalError as error:
                sys.exit(42 if "locked" in str(error) else 1)
            """, path,
        ])
        #expect(code == 42)
        await store.close()
    }

    @Test func damageIsToldAtTheStart() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/state.db"
        let store = try LogStore.sqlite(path: path)
        for number in 0..<200 { try await store.put("/a/\(number)", String(repeating: "x", count: 500)) }
        await store.close()
        let file = open(path, O_RDWR)
        defer { close(file) }
        let garbage = [UInt8](repeating: 0xA5, count: 4_096)
        #expect(pwrite(file, garbage, garbage.count, off_t(4_096 * 8)) == 4_096)
        let failure = #expect(throws: StoreError.self) { try LogStore.sqlite(path: path) }
        guard case .unavailable(let line)? = failure else {
            Issue.record("expected unavailable, got \(String(describing: failure))")
            return
        }
        #expect(line.contains("damaged") && line.contains(path))
    }

    @Test func databasesOfOthersAreRefused() async throws {
        let directory = try TemporaryDirectory()
        let noDatabase = directory.path + "/text"
        let file = open(noDatabase, O_RDWR | O_CREAT, 0o600)
        let bytes = [UInt8](repeating: UInt8(ascii: "x"), count: 8_192)
        #expect(write(file, bytes, bytes.count) == bytes.count)
        close(file)
        #expect(throws: StoreError.self) { try LogStore.sqlite(path: noDatabase) }
        let kine = directory.path + "/kine"
        _ = try run([
            "/usr/bin/env", "python3", "-c",
            """
            import sqlite3, sys
            sqlite3.connect(sys.argv[1]).execute("create table kine (id integer primary key)").connection.commit()
            """, kine,
        ])
        let failure = #expect(throws: StoreError.self) { try LogStore.sqlite(path: kine) }
        guard case .unavailable(let line)? = failure else { return }
        #expect(line.contains("kine"))
    }

    @Test func databaseFilesArePrivate() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/server/db/state.db"
        let store = try LogStore.sqlite(path: path)
        try await store.put("/a/x", "1")
        var status = stat()
        for file in [path, path + "-wal"] {
            #expect(stat(file, &status) == 0)
            #expect(status.st_mode & 0o777 == 0o600)
        }
        #expect(stat(directory.path + "/server/db", &status) == 0)
        #expect(status.st_mode & 0o777 == 0o700)
        await store.close()
    }
}

/// A log in memory that the test can stop and make fail.
final class GatedLog: CommitLog {
    private struct State {
        var batches: [LogBatch] = []
        var held = false
        var waiting = false
        var failure: StoreError?
        var closingMarks: LogMarks?
        var rests = 0
    }

    private let state = Mutex(State())

    var batches: [LogBatch] { state.withLock { $0.batches } }
    var closingMarks: LogMarks? { state.withLock { $0.closingMarks } }

    func hold() { state.withLock { $0.held = true } }
    func release() { state.withLock { $0.held = false } }
    func fail(_ error: StoreError?) { state.withLock { $0.failure = error } }
    func untilHeld() async { while !state.withLock({ $0.waiting }) { await Task.yield() } }

    func load(_ take: (LogRow) -> Void) throws(StoreError) -> LogMarks { LogMarks() }

    func append(_ batch: LogBatch) throws(StoreError) {
        while state.withLock({ state in
            state.waiting = state.held
            return state.held
        }) { usleep(200) }
        let failure = state.withLock { state in
            if state.failure == nil { state.batches.append(batch) }
            return state.failure
        }
        if let failure { throw failure }
    }

    func rest() { state.withLock { $0.rests += 1 } }
    var rests: Int { state.withLock { $0.rests } }

    func close(_ marks: LogMarks) { state.withLock { $0.closingMarks = marks } }
}
