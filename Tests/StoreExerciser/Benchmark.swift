import Glibc
import Store

/// Prints durable writes per second with 1, 8 and 100 writers. Only ratios within one run mean much.
func measure(directory: String) async throws {
    for writers in [1, 8, 100] {
        let path = "\(directory)/bench-\(writers).db"
        let store = try LogStore.sqlite(path: path)
        let each = writers == 1 ? 1_500 : 10_000 / writers
        let time = try await ContinuousClock().measure {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for writer in 0..<writers {
                    group.addTask {
                        for step in 0..<each { _ = try await put(store, writer * each + step) }
                    }
                }
                try await group.waitForAll()
            }
        }
        report("\(writers) writers", "\(Int(Double(writers * each) / seconds(time))) rows/s")
        await store.close()
        unlink(path)
    }
    try await makeObjects(path: "\(directory)/bench-objects.db", count: 10_000)
}

private func put(_ store: any Store, _ number: Int) async throws -> StoreEntry {
    let key = "/registry/pods/namespace-\(number % 10)/workload-7c5ddbdf54-\(number)"
    return try await store.create(key) { _ in [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: 1_024) }
}

private func makeObjects(path: String, count: Int) async throws {
    let store = try LogStore.sqlite(path: path)
    try await withThrowingTaskGroup(of: Void.self) { group in
        for writer in 0..<100 {
            group.addTask { for step in 0..<count / 100 { _ = try await put(store, writer * count / 100 + step) } }
        }
        try await group.waitForAll()
    }
    await store.close()
}

/// Prints what a store costs that is opened by a process of its own: memory per object, start and read times with
/// 10,000 objects of 1 KB, and delivery to watchers. `measure` has left the store behind.
func measureReading(directory: String) async throws {
    let path = "\(directory)/bench-objects.db"
    let before = try residentBytes()
    let clock = ContinuousClock()
    var start = clock.now
    let store = try LogStore.sqlite(path: path)
    let opening = clock.now - start
    let count = store.count(prefix: "/registry/pods/")
    report("open, \(count) objects", "\(opening)")
    let resident = (try residentBytes() - before) / max(1, count)
    report("resident per 1 KB object", "\(resident) bytes")
    start = clock.now
    let listed = try store.range(prefix: "/registry/pods/").entries.count
    report("list of \(listed)", "\(clock.now - start)")
    start = clock.now
    var missing = 0
    for number in 0..<Int(count) {
        if store.get("/registry/pods/namespace-\(number % 10)/workload-7c5ddbdf54-\(number)") == nil { missing += 1 }
    }
    report("get (\(missing) missing)", "\((clock.now - start) / count)")
    var lease = try await store.create("/registry/leases/kube-node-lease/node", value: { _ in [] })
    start = clock.now
    for _ in 0..<700 {
        lease = try await store.update(lease.key, expected: lease.modRevision, durability: .deferred) { _ in [1] }
    }
    report("deferred update", "\((clock.now - start) / 700)")
    await store.close()
    unlink(path)
    try await measureWatchers()
}

private func measureWatchers() async throws {
    let watchers = 100
    let writes = 10_000
    let store = MemoryStore()
    let before = try residentBytes()
    let idle = try (0..<10_000).map { _ in try store.watch(prefix: "/registry/pods/", from: nil) }
    let perWatch = (try residentBytes() - before) / Int64(idle.count)
    report("resident per watch", "\(perWatch) bytes")
    for watch in idle { watch.cancel() }
    let watches = try (0..<watchers).map { _ in try store.watch(prefix: "/registry/pods/", from: nil) }
    let time = try await ContinuousClock().measure {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for watch in watches {
                group.addTask {
                    var seen = 0
                    while seen < writes, let events = try await watch.next() { seen += events.count }
                }
            }
            for number in 0..<writes { _ = try await put(store, number) }
            try await group.waitForAll()
        }
    }
    let rate = Int(Double(watchers * writes) / seconds(time))
    report("\(writes) events to \(watchers) watchers", "\(rate) events/s")
}

private func residentBytes() throws -> Int64 {
    var bytes = [UInt8](repeating: 0, count: 256)
    let file = open("/proc/self/statm", O_RDONLY)
    let count = read(file, &bytes, bytes.count)
    close(file)
    let words = String(decoding: bytes.prefix(max(0, count)), as: UTF8.self).split(separator: " ")
    return words.count > 1 ? (Int64(words[1]) ?? 0) * 4_096 : 0
}

private func seconds(_ duration: Duration) -> Double {
    Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
}

private func report(_ what: String, _ value: String) {
    print(what + String(repeating: " ", count: max(1, 36 - what.count)) + value)
}
