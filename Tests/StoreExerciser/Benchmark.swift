import Glibc
import Store

/// Prints what the store costs: durable writes per second with 1, 8 and 100 writers, memory per object, start and list
/// times with 10,000 objects of 1 KB, and delivery to watchers. Only ratios within one run mean much.
func measure(directory: String) async throws {
    for writers in [1, 8, 100] {
        let path = "\(directory)/bench-\(writers).db"
        let store = try LogStore.sqlite(path: path)
        let each = writers == 1 ? 1_500 : 10_000 / writers
        let time = try await ContinuousClock().measure {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for writer in 0..<writers {
                    group.addTask {
                        var entry: StoreEntry?
                        for step in 0..<each { entry = try await put(store, writer * each + step, entry) }
                    }
                }
                try await group.waitForAll()
            }
        }
        report("\(writers) writers", "\(Int(Double(writers * each) / seconds(time))) rows/s")
        await store.close()
        unlink(path)
    }
    try await measureObjects(directory: directory)
    try await measureWatchers()
}

private func put(_ store: any Store, _ number: Int, _ entry: StoreEntry?) async throws -> StoreEntry {
    let key = "/registry/pods/namespace-\(number % 10)/workload-7c5ddbdf54-\(number)"
    return try await store.create(key) { _ in [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: 1_024) }
}

private func measureObjects(directory: String) async throws {
    let count = 10_000
    let path = "\(directory)/bench-objects.db"
    var store = try LogStore.sqlite(path: path)
    try await withThrowingTaskGroup(of: Void.self) { group in
        for writer in 0..<100 {
            group.addTask { for step in 0..<count / 100 { _ = try await put(store, writer * count / 100 + step, nil) } }
        }
        try await group.waitForAll()
    }
    await store.close()
    let before = mallinfo2().uordblks
    let opening = try ContinuousClock().measure { store = try LogStore.sqlite(path: path) }
    let after = mallinfo2().uordblks
    report("open, \(count) objects", "\(opening)")
    report("heap per 1 KB object", "\((Int64(after) - Int64(before)) / Int64(count)) bytes")
    var listed = 0
    let listing = try ContinuousClock().measure { listed = try store.range(prefix: "/registry/pods/").entries.count }
    report("list of \(listed)", "\(listing)")
    let getting = ContinuousClock().measure {
        for number in 0..<count {
            listed += store.get("/registry/pods/namespace-\(number % 10)/workload-7c5ddbdf54-\(number)") == nil ? 1 : 0
        }
    }
    report("get", "\(getting / count)")
    var lease = try await store.create("/registry/leases/kube-node-lease/node", value: { _ in [] })
    let beating = try await ContinuousClock().measure {
        for _ in 0..<900 {
            lease = try await store.update(lease.key, expected: lease.modRevision, durability: .deferred) { _ in [1] }
        }
    }
    report("deferred update", "\(beating / 900)")
    await store.close()
    unlink(path)
}

private func measureWatchers() async throws {
    let watchers = 100
    let writes = 10_000
    let store = MemoryStore()
    let before = mallinfo2().uordblks
    let watches = try (0..<watchers).map { _ in try store.watch(prefix: "/registry/pods/", from: nil) }
    report("heap per watch", "\((Int64(mallinfo2().uordblks) - Int64(before)) / Int64(watchers)) bytes")
    let time = try await ContinuousClock().measure {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for watch in watches {
                group.addTask {
                    var seen = 0
                    while seen < writes, let events = try await watch.next() { seen += events.count }
                }
            }
            for number in 0..<writes { _ = try await put(store, number, nil) }
            try await group.waitForAll()
        }
    }
    report("\(writes) events to \(watchers) watchers", "\(Int(Double(watchers * writes) / seconds(time))) events/s")
}

private func seconds(_ duration: Duration) -> Double {
    Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
}

private func report(_ what: String, _ value: String) {
    print(what + String(repeating: " ", count: max(1, 36 - what.count)) + value)
}
