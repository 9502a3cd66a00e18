import Synchronization

/// Takes the begin of a streamed body.
final class BodyCollector: Sendable {
    private let limit: Int
    private let state = Mutex<[UInt8]>([])

    struct Full: Error {}

    init(limit: Int) { self.limit = limit }

    func add(_ more: [UInt8]) throws {
        let full = state.withLock { bytes in
            bytes.append(contentsOf: more.prefix(limit - bytes.count))
            return bytes.count >= limit
        }
        if full { throw Full() }
    }

    var bytes: [UInt8] { state.withLock { $0 } }
}
