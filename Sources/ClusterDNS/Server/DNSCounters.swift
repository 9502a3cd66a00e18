import Synchronization

/// How long answers took, in CoreDNS's buckets: 0.25 ms, twice as much each time, up to 8 s.
struct DNSDurations: Sendable {
    private static let first: Int64 = 250_000
    private static let bounds = 16
    private var buckets = [UInt64](repeating: 0, count: bounds + 1)
    private var nanoseconds: Int64 = 0
    private(set) var count: UInt64 = 0

    var seconds: Double { Double(nanoseconds) / 1e9 }

    /// - Parameter times: so many that were answered together, none of which took longer.
    mutating func add(_ took: Int64, times: Int = 1) {
        guard times > 0 else { return }
        var (bucket, bound) = (0, Self.first)
        while bucket < Self.bounds, took > bound { (bucket, bound) = (bucket + 1, bound * 2) }
        buckets[bucket] &+= UInt64(times)
        count &+= UInt64(times)
        nanoseconds &+= max(0, took) &* Int64(times)
    }

    /// Each bound, as text in seconds, with all that took no longer.
    var cumulative: [(bound: String, count: UInt64)] {
        var sum: UInt64 = 0
        return buckets.enumerated().map { index, count in
            sum &+= count
            return (index < Self.bounds ? "\(Double(Self.first << Int64(index)) / 1e9)" : "+Inf", sum)
        }
    }
}

/// What the server did, under CoreDNS's names so that dashboards for it go on working.
struct DNSCounters: Sendable {
    private var requests: [DNSType: (datagram: UInt64, stream: UInt64)] = [:]
    private var responses: [UInt8: UInt64] = [:]
    var dropped: UInt64 = 0
    var cacheMisses: UInt64 = 0
    var forwards: UInt64 = 0
    var forwardFailures: UInt64 = 0
    /// Questions beyond what may wait.
    var rejected: UInt64 = 0

    var durations = DNSDurations()

    mutating func count(_ type: DNSType, isDatagram: Bool) {
        // Types without a name of their own are counted together: a client must not make the table grow.
        let key = type.description == "other" ? DNSType(0) : type
        if isDatagram {
            requests[key, default: (0, 0)].datagram += 1
        } else {
            requests[key, default: (0, 0)].stream += 1
        }
    }
    mutating func count(_ code: DNSCode) { responses[code.rawValue, default: 0] += 1 }

    func text(cacheEntries: Int, hits: UInt64, evictions: UInt64) -> String {
        var out = ""
        func family(_ name: String, _ type: String, _ help: String) {
            out += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
        }
        let server = "server=\"dns://:53\""
        family("coredns_dns_requests_total", "counter", "Counter of DNS requests made per zone, protocol and family.")
        for (type, counts) in requests.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            for (proto, count) in [("udp", counts.datagram), ("tcp", counts.stream)] where count > 0 {
                out += "coredns_dns_requests_total{family=\"1\",proto=\"\(proto)\",\(server),"
                out += "type=\"\(type)\",view=\"\",zone=\".\"} \(count)\n"
            }
        }
        family("coredns_dns_responses_total", "counter", "Counter of response status codes.")
        for (code, count) in responses.sorted(by: { $0.key < $1.key }) {
            let text = DNSCode(rawValue: code)?.text ?? "other"
            out +=
                "coredns_dns_responses_total{plugin=\"\",rcode=\"\(text)\",\(server),view=\"\",zone=\".\"} \(count)\n"
        }
        let duration = "coredns_dns_request_duration_seconds"
        family(duration, "histogram", "Histogram of the time (in seconds) each request took per zone.")
        for (bound, count) in durations.cumulative {
            out += "\(duration)_bucket{\(server),view=\"\",zone=\".\",le=\"\(bound)\"} \(count)\n"
        }
        out += "\(duration)_sum{\(server),view=\"\",zone=\".\"} \(durations.seconds)\n"
        out += "\(duration)_count{\(server),view=\"\",zone=\".\"} \(durations.count)\n"
        family("coredns_cache_entries", "gauge", "The number of elements in the cache.")
        out += "coredns_cache_entries{\(server),type=\"success\",view=\"\",zones=\".\"} \(cacheEntries)\n"
        let plain: [(String, String, UInt64)] = [
            ("coredns_cache_requests_total", "The count of cache requests.", hits &+ cacheMisses),
            ("coredns_cache_hits_total", "The count of cache hits.", hits),
            ("coredns_cache_misses_total", "The count of cache misses.", cacheMisses),
            ("coredns_cache_evictions_total", "The count of cache evictions.", evictions),
            ("coredns_forward_requests_total", "Counter of requests made per upstream.", forwards),
            (
                "coredns_forward_healthcheck_failures_total", "Counter of upstreams that gave no answer.",
                forwardFailures
            ),
            (
                "coredns_forward_max_concurrent_rejects_total",
                "Counter of the number of queries rejected because the concurrent queries were at maximum.", rejected
            ),
        ]
        for (name, help, value) in plain {
            family(name, "counter", help)
            out += "\(name){\(server),view=\"\",zones=\".\"} \(value)\n"
        }
        return out
    }
}

extension DNSServer {
    /// The server's metrics in Prometheus's text form.
    package var metrics: String {
        state.withLock {
            $0.counters.text(
                cacheEntries: $0.resolver.cache.count, hits: $0.resolver.cache.hits,
                evictions: $0.resolver.cache.evictions)
        }
    }
}
