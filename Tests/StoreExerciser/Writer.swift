import Glibc
import Store

/// Writes to a store as fast as it can, and tells on standard output, one line per event, until it is killed:
///
///     open <revision>           the store is open
///     put <key> <revision>      acknowledged as durable
///     soft <key> <revision>     acknowledged as deferred
///     drop <key>                a deletion is about to be asked for
///     del <key> <revision>      acknowledged
///
/// The value of a key is "<key>@<revision>" and then some dots.
func writeUntilKilled(path: String) async throws {
    var options = StoreOptions()
    options.historyBytes = 32 << 10
    options.garbageRows = 16
    options.reservedRevisions = 64
    options.deferredDelay = .milliseconds(20)
    let store = try LogStore.sqlite(path: path, options: options)
    tell("open \(store.revision)")
    try await withThrowingTaskGroup(of: Void.self) { group in
        for writer in 0..<8 { group.addTask { try await write(to: store, writer: writer) } }
        try await group.waitForAll()
    }
}

private func write(to store: LogStore, writer: Int) async throws {
    var step = 0
    while true {
        step += 1
        let key = "/registry/things/ns-\(writer)/thing-\(step % 7)"
        let dots = [UInt8](repeating: UInt8(ascii: "."), count: Int.random(in: 0..<3_000))
        let value: StoreValue = { Array("\(key)@\($0)".utf8) + dots }
        guard let entry = store.get(key) else {
            tell("put \(key) \(try await store.create(key, value: value).modRevision)")
            continue
        }
        switch Int.random(in: 0..<8) {
        case 0:
            tell("drop \(key)")
            tell("del \(key) \(try await store.delete(key, expected: nil, final: value).revision)")
        case 1:
            let new = try await store.update(key, expected: entry.modRevision, durability: .deferred, value: value)
            tell("soft \(key) \(new.modRevision)")
        default:
            tell("put \(key) \(try await store.update(key, expected: entry.modRevision, value: value).modRevision)")
        }
    }
}

private func tell(_ line: String) {
    let bytes = Array((line + "\n").utf8)
    // A line is shorter than PIPE_BUF: it arrives whole or not at all.
    if Glibc.write(1, bytes, bytes.count) != bytes.count { exit(1) }
}
