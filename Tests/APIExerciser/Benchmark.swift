import Glibc
import Synchronization

struct Benchmark: Sendable {
    private static let clients = 8
    private static let perNamespace = 1_000
    let target: Target
    private let filling = String(repeating: "x", count: 1_000)

    init(_ target: Target) { self.target = target }

    /// Only requests of one kind, to be looked at with a profiler.
    func run(only kind: String, _ count: Int) {
        for number in 0..<4 { makeNamespace("bench-\(number)") }
        let objects = 4 * Self.perNamespace
        switch kind {
        case "watch": idleWatches(count)
        case "create": row(kind, rate(count) { create($0) }, "")
        default:
            _ = rate(objects) { create($0) }
            switch kind {
            case "update": row(kind, rate(count) { update($0) }, "")
            case "get": row(kind, rate(count) { get($0) }, "")
            default: row("list of 1,000 objects", rate(count) { list($0) }, "")
            }
        }
    }

    func run(isQuick: Bool) {
        let idle = target.memory("VmRSS")
        row("resident memory, idle", mib(idle), "")
        for number in 0..<4 { makeNamespace("bench-\(number)") }
        let objects = 4 * Self.perNamespace
        row("create, 8 clients", rate(objects) { create($0) }, ">= 5,600/s")
        row("update", rate(2 * objects) { update($0) }, ">= 4,600/s")
        row("get", rate(4 * objects) { get($0) }, ">= 9,600/s")
        row("list of 1,000 objects", rate(isQuick ? 400 : 1_000) { list($0) }, ">= 228/s")
        watchLatency(watchers: 50, writes: isQuick ? 200 : 1_000)
        row("resident memory after that", mib(target.memory("VmRSS")), "<= 40 MiB")
        idleWatches(isQuick ? 200 : 1_000)
        let more = isQuick ? 6_000 : 46_000
        further(more)
        longList(of: objects + more)
        clear(objects + more)
        // The server looks every 20 seconds whether it rests.
        let end = 60
        sleep(UInt32(end))
        let rest = target.memory("VmRSS")
        let ratio = Double(rest) / Double(idle)
        row("resident memory \(end) s after all was deleted", "\(mib(rest)) (\(two(ratio)) of idle)", "<= 1.1")
    }

    // MARK: - Rates

    private func rate(_ count: Int, _ request: @escaping @Sendable (Int) -> [UInt8]) -> String {
        let next = Atomic(0)
        let failed = Atomic(0)
        let (start, used) = (now(), target.processorTime)
        inThreads(Self.clients) { _ in
            let connection = Connection(target)
            while true {
                let number = next.wrappingAdd(1, ordering: .relaxed).oldValue
                guard number < count else { return }
                let answer = connection.call(request(number))
                if !(200..<300).contains(answer.status) { failed.wrappingAdd(1, ordering: .relaxed) }
            }
        }
        let rate = Int(Double(count) / (now() - start))
        let end = target.processorTime
        let (user, system) = (end.user - used.user, end.system - used.system)
        let each = "\(Int(user / Double(count) * 1e6)) + \(Int(system / Double(count) * 1e6))"
        let lost = failed.load(ordering: .relaxed)
        return "\(rate)/s, CPU \(each) us" + (lost == 0 ? "" : " (\(lost) FAILED)")
    }

    private func maps(_ number: Int) -> String { "/api/v1/namespaces/bench-\(number % 4)/configmaps" }

    private func object(_ number: Int, _ value: String) -> [UInt8] {
        Array(
            """
            {"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"object-\(number)"},\
            "data":{"value":"\(value)","filling":"\(filling)"}}
            """.utf8)
    }

    private func create(_ number: Int) -> [UInt8] { target.request("POST", maps(number), object(number, "new")) }
    private func update(_ number: Int) -> [UInt8] {
        let number = number % (4 * Self.perNamespace)
        return target.request("PUT", maps(number) + "/object-\(number)", object(number, "\(now())"))
    }
    private func get(_ number: Int) -> [UInt8] {
        let number = number % (4 * Self.perNamespace)
        return target.request("GET", maps(number) + "/object-\(number)")
    }
    private func list(_ number: Int) -> [UInt8] { target.request("GET", maps(number)) }

    private func makeNamespace(_ name: String) {
        let body = "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"\(name)\"}}"
        Connection(target).call(target.request("POST", "/api/v1/namespaces", Array(body.utf8)))
    }

    // MARK: - Watches

    private func watch(_ namespace: String) -> Connection {
        let connection = Connection(target)
        connection.send(
            target.request(
                "GET",
                "/api/v1/namespaces/\(namespace)/configmaps?watch=true&resourceVersion=0&allowWatchBookmarks=true"))
        _ = connection.readHead()
        return connection
    }

    /// From the start of a write to its event, at every watcher; and from the write's answer.
    private func watchLatency(watchers: Int, writes: Int) {
        makeNamespace("watched")
        let path = "/api/v1/namespaces/watched/configmaps"
        let writer = Connection(target)
        writer.call(target.request("POST", path, object(0, "new")))
        let connections = (0..<watchers).map { _ in watch("watched") }
        var polls = connections.map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
        var last = [UInt8](repeating: 0, count: watchers)
        var (latencies, answers): ([Double], [Double]) = ([], [])
        /// Reads until every watcher has had so many events in all.
        func collect(_ count: Int, since start: Double, _ seen: inout [Int]) {
            while seen.contains(where: { $0 < count }) {
                poll(&polls, nfds_t(watchers), 10_000)
                for i in 0..<watchers where polls[i].revents != 0 {
                    repeat {
                        let events = connections[i].readEvents(&last[i])
                        if events > 0, start > 0 { latencies.append(now() - start) }
                        seen[i] += events
                    } while connections[i].hasBytes
                }
            }
        }
        var seen = [Int](repeating: 0, count: watchers)
        collect(1, since: 0, &seen)
        for number in 1...writes {
            let request = target.request("PUT", path + "/object-0", object(0, "\(number)"))
            let start = now()
            writer.send(request)
            // The answer waits in its socket while the events are read.
            collect(number + 1, since: start, &seen)
            _ = writer.readAnswer()
            answers.append(now() - start)
            usleep(2_000)
        }
        latencies.sort()
        let (middle, late) = (latencies[latencies.count / 2], latencies[latencies.count * 99 / 100])
        row(
            "watch: write sent to event, 50 watchers, p50; p99", "\(two(middle * 1_000)) ms; \(two(late * 1_000)) ms",
            "<= 1 ms")
    }

    private func idleWatches(_ count: Int) {
        makeNamespace("idle")
        // What comes with the first connections is not theirs.
        let first = (0..<20).map { _ in watch("idle") }
        sleep(1)
        let before = target.memory("VmRSS")
        let connections = (0..<count).map { _ in watch("idle") }
        sleep(1)
        let each = Double(target.memory("VmRSS") - before) / Double(count) / 1_000
        row("resident per idle watch connection", "\(two(each)) KB", "<= 30 KB")
        withExtendedLifetime((first, connections)) {}
    }

    // MARK: - Many objects

    private func further(_ count: Int) {
        let before = target.memory("VmRSS")
        let base = 4 * Self.perNamespace
        let rate = rate(count) { create(base + $0) }
        sleep(2)
        let each = Double(target.memory("VmRSS") - before) / Double(count) / 1_000
        row("create, \(count) further objects", rate, ">= 5,600/s")
        row("resident per further object", "\(two(each)) KB", "<= 3 KB")
    }

    private func longList(of count: Int) {
        let connection = Connection(target)
        connection.call(target.request("GET", "/version"))
        target.resetPeak()
        let before = target.memory("VmRSS")
        let start = now()
        let answer = connection.call(target.request("GET", "/api/v1/configmaps"))
        let took = now() - start
        let growth = target.memory("VmHWM") - before
        row("list of \(count) objects, \(answer.bytes >> 20) MiB", "\(two(took)) s", "")
        row("growth meanwhile", mib(growth), "<= 8 MiB")
    }

    private func clear(_ count: Int) {
        row("delete", rate(count) { target.request("DELETE", maps($0) + "/object-\($0)") }, "")
        for name in ["bench-0", "bench-1", "bench-2", "bench-3", "watched", "idle"] {
            Connection(target).call(target.request("DELETE", "/api/v1/namespaces/" + name))
        }
    }

    // MARK: - Output

    private func mib(_ bytes: Int64) -> String { two(Double(bytes) / 1_048_576) + " MiB" }

    private func two(_ value: Double) -> String {
        let hundredths = Int((value * 100).rounded())
        let digits = String(abs(hundredths) % 100)
        return "\(hundredths < 0 ? "-" : "")\(abs(hundredths) / 100).\(digits.count < 2 ? "0" + digits : digits)"
    }

    private func row(_ what: String, _ value: String, _ promise: String) {
        let pad = String(repeating: " ", count: max(1, 52 - what.utf8.count))
        let gap = String(repeating: " ", count: max(1, 24 - value.utf8.count))
        print(what + pad + value + (promise.isEmpty ? "" : gap + "promised " + promise))
        fflush(nil)
    }
}
