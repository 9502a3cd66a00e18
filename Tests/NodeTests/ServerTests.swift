import Codecs
import Containers
import KubeAPI
import Linux
import Netlink
import Synchronization
import Testing
import Transport

@testable import Node

/// What a streamed body has written so far.
final class Collected: Sendable {
    private let bytes = Mutex<[UInt8]>([])
    func add(_ more: [UInt8]) { bytes.withLock { $0 += more } }
    var text: String { String(decoding: bytes.withLock { $0 }, as: UTF8.self) }
}

@Suite("Kubelet server") struct ServerTests {
    private func get(_ node: NodeHarness, _ target: String, method: String = "GET") async throws -> (
        status: Int, text: String
    ) {
        let agent = try #require(node.agent)
        let response = await KubeletServer(agent).handler(try HTTPRequest(method: method, target: target))
        let collected = Collected()
        switch response.body {
        case .bytes(let bytes): collected.add(bytes)
        case .chunks(let chunks): for chunk in chunks { collected.add(chunk) }
        case .stream(_, let body): try await body(HTTPBodyWriter { collected.add($0) })
        case .pieces, .upgrade: break
        }
        return (response.status, collected.text)
    }

    private func line(_ second: Int, _ text: String, stream: String = "stdout", tag: String = "F") -> String {
        "2026-01-01T00:00:0\(second).000000000Z \(stream) \(tag) \(text)\n"
    }

    private func running(_ node: NodeHarness) async throws -> String {
        node.start()
        let uid = node.create("web")
        try await node.until("ready") { node.isReady("web") }
        return "\(node.configuration.podLogs)/default_web_\(uid)/app/0.log"
    }

    @Test func addressesAndPortsOfPodsAreKnown() async throws {
        let node = try NodeHarness()
        _ = try await running(node)
        let ports: JSON = [["containerPort": 8080], ["containerPort": 53, "protocol": "UDP"]]
        _ = node.create(
            "host", ["hostNetwork": true], containers: [["name": "app", "image": "busybox:1", "ports": ports]])
        try await node.until("ready") { node.isReady("host") }
        let agent = try #require(node.agent)
        func has(_ address: String, _ port: UInt16) async -> Bool {
            guard let address = IPAddress(address) else { return false }
            return await agent.hasPod(at: address, port: port)
        }
        let own = try #require(node.pod("web")?.status["podIP"].string)
        #expect(await has(own, 1))
        #expect(await has("192.0.2.1", 8080))
        for (address, port) in [("192.0.2.1", UInt16(53)), ("192.0.2.1", 22), ("10.42.0.77", 80), ("127.0.0.1", 8080)] {
            #expect(await !has(address, port), "\(address):\(port)")
        }
        try await node.client.delete(.pods, namespace: "default", name: "web", options: DeleteOptions())
        try await node.until("gone") { node.network.calls.contains { $0.hasPrefix("detach") } }
        #expect(await !has(own, 1))
        await node.stop()
    }

    @Test func logsAreReadAsAsked() async throws {
        let node = try NodeHarness()
        let log = try await running(node)
        let text =
            line(1, "one") + line(2, "two ", tag: "P") + line(2, "halves") + line(3, "bad", stream: "stderr")
            + line(4, "four")
        try Files.write(log, Array(text.utf8))
        #expect(try await get(node, "/containerLogs/default/web/app").text == "one\ntwo halves\nbad\nfour\n")
        #expect(try await get(node, "/containerLogs/default/web/app?tailLines=2").text == "bad\nfour\n")
        #expect(try await get(node, "/containerLogs/default/web/app?tailLines=0").text == "")
        #expect(try await get(node, "/containerLogs/default/web/app?limitBytes=6").text == "one\ntw")
        #expect(
            try await get(node, "/containerLogs/default/web/app?sinceTime=2026-01-01T00:00:03Z").text == "bad\nfour\n")
        #expect(try await get(node, "/containerLogs/default/web/app?stream=Stderr").text == "bad\n")
        #expect(
            try await get(node, "/containerLogs/default/web/app?timestamps=true&tailLines=1").text
                == "2026-01-01T00:00:04.000000000Z four\n")
        node.clock.advance(by: .seconds(5))
        #expect(try await get(node, "/containerLogs/default/web/app?sinceSeconds=2").text == "bad\nfour\n")
        #expect(try await get(node, "/containerLogs/default/web/app?tailLines=x").status == 400)
        await node.stop()
    }

    @Test func aFollowedLogGoesOnAcrossRotationAndEndsWithItsContainer() async throws {
        let node = try NodeHarness()
        let log = try await running(node)
        try Files.write(log, Array(line(1, "one").utf8))
        let agent = try #require(node.agent)
        let response = await KubeletServer(agent).handler(
            try HTTPRequest(method: "GET", target: "/containerLogs/default/web/app?follow=true"))
        guard case .stream(_, let body) = response.body else {
            Issue.record("no stream")
            return
        }
        let collected = Collected()
        let reading = Task { try await body(HTTPBodyWriter { collected.add($0) }) }
        try await node.until("first line") { collected.text == "one\n" }
        func append(_ text: String) throws {
            let fd = try FileDescriptor.open(log, O_WRONLY | O_APPEND | O_CREAT, mode: 0o644)
            try fd.writeAll(Array(text.utf8))
        }
        try append(line(2, "two"))
        try await node.until("second line") { collected.text == "one\ntwo\n" }
        try append(line(3, "three"))
        #expect(rename(log, log + ".20260101-000003") == 0)
        try append(line(4, "four"))
        try await node.until("after rotation") { collected.text == "one\ntwo\nthree\nfour\n" }
        try append(line(5, "last"))
        node.runtime.exit("app", 0)
        try await reading.value
        #expect(collected.text == "one\ntwo\nthree\nfour\nlast\n")
        await node.stop()
    }

    @Test func upstreamsWordsSayWhyThereIsNoLog() async throws {
        let node = try NodeHarness()
        node.runtime.store.pullTakes(.seconds(1000))
        node.start()
        node.create("web")
        try await node.until("pulling") { !node.runtime.store.pulls.isEmpty }
        let waiting = try await get(node, "/containerLogs/default/web/app")
        #expect(waiting.status == 400)
        #expect(waiting.text == "container \"app\" in pod \"web\" is waiting to start: ContainerCreating\n")
        let other = try await get(node, "/containerLogs/default/web/nope")
        #expect(other.status == 404)
        #expect(other.text == "container \"nope\" not found in pod \"web\"\n")
        #expect(try await get(node, "/containerLogs/default/none/app").status == 404)
        let previous = try await get(node, "/containerLogs/default/web/app?previous=true")
        #expect(previous.text == "previous terminated container \"app\" in pod \"web\" not found\n")
        await node.stop()
    }

    @Test func previousIsTheInstanceBefore() async throws {
        let node = try NodeHarness()
        let log = try await running(node)
        try Files.write(log, Array(line(1, "first life").utf8))
        node.runtime.exit("app", 1)
        try await node.until("restarted") {
            node.containerStatus("web")["restartCount"].int == 1 && node.isReady("web")
        }
        try Files.write(Path.parent(log) + "/1.log", Array(line(2, "second life").utf8))
        #expect(try await get(node, "/containerLogs/default/web/app?previous=true").text == "first life\n")
        #expect(try await get(node, "/containerLogs/default/web/app").text == "second life\n")
        // While the next waits, the last one is the one before.
        node.runtime.exit("app", 1)
        try await node.until("waits") { !node.containerStatus("web")["state"]["waiting"].isNull }
        #expect(try await get(node, "/containerLogs/default/web/app?previous=true").text == "second life\n")
        await node.stop()
    }

    @Test func bigVolumesAreNotWalkedForEveryQuestion() async throws {
        let node = try NodeHarness()
        _ = try await running(node)
        let context = try #require(node.agent).context
        let uid = try #require(node.agent?.pods.worker(namespace: "default", name: "web")?.uid)
        let volumes = context.volumes.podDirectory(uid) + "/volumes/kubernetes.io~empty-dir/big"
        try Directories.make(volumes)
        for number in 0..<5000 { try Files.write("\(volumes)/\(number)", [1]) }
        func files() async throws -> Int64 {
            let summary = try JSON.parse(try await get(node, "/stats/summary").text)
            return summary["pods"][0]["ephemeral-storage"]["inodesUsed"].int ?? 0
        }
        let walks = context.walks
        let before = walks.count
        for _ in 0..<5 { #expect(try await files() > 5000) }
        // 5,000 files take 5 ms at least, whose answer is good for half a second; five questions take less than that.
        #expect((1...2).contains(walks.count - before))
        await node.stop()
    }

    @Test func podsStatisticsAndHealthAreShown() async throws {
        let node = try NodeHarness()
        _ = try await running(node)
        #expect(try await get(node, "/healthz").text == "ok")
        let pods = try JSON.parse(try await get(node, "/pods").text)
        #expect(pods["items"][0]["metadata"]["name"].string == "web")
        #expect(pods["items"][0]["status"]["phase"].string == "Running")
        let summary = try JSON.parse(try await get(node, "/stats/summary").text)
        #expect(summary["pods"][0]["containers"][0]["memory"]["workingSetBytes"].int == 8 << 20)
        #expect(summary["pods"][0]["containers"][0]["rootfs"]["usedBytes"].int == 7 << 20)
        #expect(summary["pods"][0]["containers"][0]["logs"]["inodesUsed"].int == 1)
        #expect((summary["pods"][0]["ephemeral-storage"]["usedBytes"].int ?? 0) >= 8 << 20)
        #expect(summary["pods"][0]["network"]["rxBytes"].int == 100)
        let container = try await get(node, "/metrics/cadvisor").text
        for line in [
            "container_cpu_usage_seconds_total{container=\"\",", ",cpu=\"total\"} 1.5 ",
            "container_network_transmit_bytes_total{interface=\"eth0\",", "} 500 ",
            "container_memory_working_set_bytes",
        ] { #expect(container.contains(line), "\(line)") }
        #expect((summary["node"]["cpu"]["usageCoreNanoSeconds"].int ?? 0) > 0)
        let metrics = try await get(node, "/metrics/resource").text
        #expect(
            metrics.contains(
                "container_cpu_usage_seconds_total{container=\"app\",namespace=\"default\",pod=\"web\"} 1.5 "))
        #expect(try await get(node, "/metrics").text.contains("kubelet_running_pods 1\n"))
        #expect(try await get(node, "/nothing").status == 404)
        node.runtime.answer("echo hi", 0, "hi\n")
        #expect(try await get(node, "/run/default/web/app?cmd=echo%20hi", method: "POST").text == "hi\n")
        #expect(try await get(node, "/exec/default/web/app?command=ls").status == 400)
        #expect(
            try await get(node, "/exec/default/web/nope?command=ls&output=1").text == "container not found (\"nope\")\n"
        )
        await node.stop()
    }
}

@Suite("LogRecord") struct LogRecordTests {
    @Test(arguments: ["", "x", "2026 stdout", "2026 stdwhat F x", "a b", "2026 stdout  x"])
    func whatIsNoRecordIsSkipped(_ line: String) { #expect(LogRecord(Array(line.utf8)[...]) == nil) }

    @Test func theTextMayBeEmptyOrHaveBlanks() throws {
        let empty = try #require(LogRecord(Array("2026-01-01T00:00:00Z stdout F".utf8)[...]))
        #expect(empty.text.isEmpty)
        let blanks = try #require(LogRecord(Array("2026-01-01T00:00:00Z stderr P  a b ".utf8)[...]))
        #expect(String(decoding: blanks.text, as: UTF8.self) == " a b ")
        #expect(blanks.isError && blanks.isPartial)
    }

    @Test func theTailIsBoundedByLinesAndBytes() throws {
        let path = "/tmp/k3s-tail-\(getpid())-\(UInt32.random(in: .min ... .max))"
        defer { try? Files.remove(path) }
        let lines = (0..<200).map { "2026-01-01T00:00:00.000000000Z stdout F line \($0)\n" }.joined()
        try Files.write(path, Array(lines.utf8))
        let tail = LogFile.tail(path, lines: 80, bytes: 2048)
        #expect(tail.hasSuffix("line 199\n"))
        #expect(tail.hasPrefix("line 120\n"))
        #expect(LogFile.tail(path, lines: 80, bytes: 9) == "line 199\n")
    }
}
