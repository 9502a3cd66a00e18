internal import Codecs
internal import KubeAPI
internal import Linux
import Synchronization

/// What requests there were and how long they took, by what they were about, in the Prometheus text format and under the
/// names that dashboards know. Only resources that are served are counted, so that the table is bounded.
/// Source: k8s.io/apiserver/pkg/endpoints/metrics.
final class RequestMetrics: Sendable {
    private struct Key: Hashable {
        let verb: String
        let gvr: GroupVersionResource
        let subresource: String
        let scope: String
    }
    private struct Series {
        var codes: [Int: Int64] = [:]
        /// By bucket, not cumulative; the last is everything above.
        var buckets: [Int64]
        var nanoseconds: Int64 = 0

        mutating func add(_ code: Int, _ took: Int64?) {
            codes[code, default: 0] += 1
            guard let took else { return }
            if buckets.isEmpty { buckets = [Int64](repeating: 0, count: RequestMetrics.bounds.count + 1) }
            var bucket = 0
            while bucket < RequestMetrics.bounds.count, took > RequestMetrics.bounds[bucket].0 * 1_000_000 {
                bucket += 1
            }
            buckets[bucket] += 1
            nanoseconds += took
        }
    }

    /// Upper bounds in milliseconds, and as they are written.
    private static let bounds: [(Int64, String)] = [
        (5, "0.005"), (25, "0.025"), (50, "0.05"), (100, "0.1"), (200, "0.2"), (400, "0.4"), (600, "0.6"),
        (1000, "1"), (2000, "2"), (5000, "5"), (10_000, "10"), (30_000, "30"), (60_000, "60"),
    ]

    private let series = Mutex<[Key: Series]>([:])

    /// - Parameter took: nil for what goes on as long as the client likes.
    func add(_ info: RequestInfo, code: Int, took: Duration?) {
        let scope = !info.name.isEmpty ? "resource" : !info.namespace.isEmpty ? "namespace" : "cluster"
        let key = Key(verb: Self.verb(info), gvr: info.gvr, subresource: info.subresource, scope: scope)
        let nanoseconds = took.map { $0.components.seconds * 1_000_000_000 + $0.components.attoseconds / 1_000_000_000 }
        series.withLock { all in
            // In its place: a series that is taken out and put back is copied with its tables.
            all[key, default: Series(buckets: [])].add(code, nanoseconds)
        }
    }

    private static func verb(_ info: RequestInfo) -> String {
        switch info.verb {
        case "create": "POST"
        case "update": "PUT"
        case "deletecollection": "DELETECOLLECTION"
        default: info.verb.uppercased()
        }
    }

    var text: String {
        let all = series.withLock { $0 }.sorted {
            ($0.key.gvr.group, $0.key.gvr.resource, $0.key.subresource, $0.key.verb, $0.key.scope) < (
                $1.key.gvr.group, $1.key.gvr.resource, $1.key.subresource, $1.key.verb, $1.key.scope
            )
        }
        var out = Self.head("apiserver_request_total", "counter", "Requests by verb, resource and code")
        for (key, one) in all {
            for (code, count) in one.codes.sorted(by: { $0.key < $1.key }) {
                out += "apiserver_request_total{code=\"\(code)\",component=\"apiserver\",dry_run=\"\",\(labels(key))} "
                out += "\(count)\n"
            }
        }
        // The second is what dashboards and alerts of service levels read; webhooks, which it leaves out, are not here.
        for name in ["apiserver_request_duration_seconds", "apiserver_request_sli_duration_seconds"] {
            out += Self.head(name, "histogram", "How long requests took until their answer began")
            for (key, one) in all where !one.buckets.isEmpty {
                let labels = "component=\"apiserver\",dry_run=\"\"," + labels(key)
                var sum: Int64 = 0
                for (i, count) in one.buckets.enumerated() {
                    sum += count
                    let bound = i < Self.bounds.count ? Self.bounds[i].1 : "+Inf"
                    out += "\(name)_bucket{\(labels),le=\"\(bound)\"} \(sum)\n"
                }
                out += "\(name)_sum{\(labels)} \(Double(one.nanoseconds) / 1e9)\n"
                out += "\(name)_count{\(labels)} \(sum)\n"
            }
        }
        return out
    }

    private func labels(_ key: Key) -> String {
        "group=\"\(key.gvr.group)\",resource=\"\(key.gvr.resource)\",scope=\"\(key.scope)\","
            + "subresource=\"\(key.subresource)\",verb=\"\(key.verb)\",version=\"\(key.gvr.version)\""
    }

    static func head(_ name: String, _ type: String, _ help: String) -> String {
        "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
    }

    // MARK: - The process

    /// The figures that Prometheus' client libraries give of every process.
    static func process(now: Timestamp) -> String {
        var out = ""
        func add(_ name: String, _ type: String, _ value: String, _ help: String) {
            out += head(name, type, help) + "\(name) \(value)\n"
        }
        func words(_ path: String) -> [Substring] {
            guard let bytes = try? Files.read(path) else { return [] }
            let text = String(decoding: bytes, as: UTF8.self)
            // Behind the program's name, which may have spaces and parentheses.
            let rest = text.lastIndex(of: ")").map { text[text.index(after: $0)...] } ?? text[...]
            return rest.split(separator: " ")
        }
        let stat = words("/proc/self/stat")
        let uptime = words("/proc/uptime").first.flatMap { Double($0) } ?? 0
        if stat.count > 21, let user = Int64(stat[11]), let system = Int64(stat[12]), let start = Int64(stat[19]),
            let virtual = Int64(stat[20]), let pages = Int64(stat[21])
        {
            // The kernel's clock ticks of user space are hundredths of a second.
            add("process_cpu_seconds_total", "counter", "\(Double(user + system) / 100)", "Processor time")
            add("process_resident_memory_bytes", "gauge", "\(pages * 4096)", "Resident memory")
            add("process_virtual_memory_bytes", "gauge", "\(virtual)", "Address space")
            let started = Double(now.nanoseconds) / 1e9 - uptime + Double(start) / 100
            add("process_start_time_seconds", "gauge", "\(Int64(started))", "Start, in seconds since 1970")
        }
        if let open = try? Directories.list("/proc/self/fd").count {
            // One of them is the directory itself.
            add("process_open_fds", "gauge", "\(open - 1)", "Open file descriptors")
        }
        var limit = rlimit()
        if getrlimit(__rlimit_resource_t(7), &limit) == 0 {
            add("process_max_fds", "gauge", "\(limit.rlim_cur)", "Most file descriptors that can be open")
        }
        return out
    }
}
