import NIOPosix
import Testing

@testable import Transport

@Suite struct LoadBalancerTests {
    private let group = MultiThreadedEventLoopGroup.singleton

    private func get(_ port: Int, _ path: String = "/") async throws -> String {
        var limits = HTTPClient.Limits()
        limits.idlePerHost = 0
        let client = HTTPClient(group: group, limits: limits)
        let response = try await client.get(HTTPURL("http://127.0.0.1:\(port)\(path)"))
        return String(decoding: try await response.body.collect(upTo: 64 << 20), as: UTF8.self)
    }

    private func server(_ name: String) -> HTTPServer {
        HTTPServer(group: group) { request in
            request.path == "/large" ? .text(String(repeating: name, count: 8 << 20)) : .text(name)
        }
    }

    /// Waits for what happens on other threads.
    private func until(_ what: Comment, _ condition: () -> Bool) async throws {
        for _ in 0..<600 {
            if condition() { return }
            try await Task.sleep(nanoseconds: 50_000_000)
        }
        Issue.record(what)
    }

    @Test func bytesGoThroughAndFailedServersArePassedOver() async throws {
        let (a, b) = (server("a"), server("b"))
        let portA = try await a.start(host: "127.0.0.1", port: 0)
        let portB = try await b.start(host: "127.0.0.1", port: 0)
        let balancer = LoadBalancer(group: group, defaultServer: "127.0.0.1:\(portA)")
        let port = try await balancer.start(host: "127.0.0.1", port: 0)
        balancer.set(["127.0.0.1:\(portA)", "127.0.0.1:\(portB)"])
        #expect(try await get(port) == "a")
        let large = try await get(port, "/large")
        #expect(large.utf8.count == 8 << 20)
        await a.stop()
        #expect(try await get(port) == "b")
        #expect(balancer.servers.first?.address == "127.0.0.1:\(portB)")
        await b.stop()
        await #expect(throws: (any Error).self) { _ = try await get(port) }
        // One that comes back is found again.
        let again = server("again")
        try await again.start(host: "127.0.0.1", port: portA)
        #expect(try await get(port) == "again")
        await again.stop()
        await balancer.stop()
    }

    @Test func aFailedCheckEndsTheConnectionsOfAServer() async throws {
        let a = HTTPServer(group: group) { _ in
            HTTPResponse(
                status: 200,
                body: .stream(length: nil) { writer in
                    try await writer.write([1])
                    try await Task.sleep(nanoseconds: 600_000_000_000)
                })
        }
        let portA = try await a.start(host: "127.0.0.1", port: 0)
        let address = "127.0.0.1:\(portA)"
        let balancer = LoadBalancer(group: group, defaultServer: address)
        let port = try await balancer.start(host: "127.0.0.1", port: 0)
        let watch = try await HTTPClient(group: group).get(HTTPURL("http://127.0.0.1:\(port)/"))
        #expect(try await watch.body.next() == [1])
        balancer.checked(address, isHealthy: true)
        #expect(balancer.servers.first?.state == .active)
        balancer.checked(address, isHealthy: false)
        await #expect(throws: (any Error).self) { while try await watch.body.next() != nil {} }
        try await until("the connection is not counted any more") { balancer.servers.first?.connections == 0 }
        await balancer.stop()
        await a.stop(within: 0.1)
    }

    @Test func addressesAreTakenApart() {
        #expect(LoadBalancer.split("192.0.2.1:6443").map { "\($0.host) \($0.port)" } == "192.0.2.1 6443")
        #expect(LoadBalancer.split("[2001:db8::1]:6443").map { "\($0.host) \($0.port)" } == "2001:db8::1 6443")
        for bad in ["", "a", "a:", ":1", "a:0", "a:70000"] { #expect(LoadBalancer.split(bad) == nil) }
    }
}
