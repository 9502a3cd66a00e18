import Synchronization

/// How many requests were answered, by verb, resource and code. The resources are those that are served, so that the
/// table is bounded.
final class RequestCounts: Sendable {
    private struct Key: Hashable {
        let verb: String
        let resource: String
        let code: Int
    }
    private let counts = Mutex<[Key: Int64]>([:])

    func add(verb: String, resource: String, code: Int) {
        counts.withLock { $0[Key(verb: verb, resource: resource, code: code), default: 0] += 1 }
    }

    /// In the Prometheus text format.
    var text: String {
        let all = counts.withLock { $0 }
        return all.sorted { ($0.key.resource, $0.key.verb, $0.key.code) < ($1.key.resource, $1.key.verb, $1.key.code) }
            .map { key, count in
                "apiserver_request_total{code=\"\(key.code)\",resource=\"\(key.resource)\",verb=\"\(key.verb.uppercased())\"} \(count)\n"
            }.joined()
    }
}
