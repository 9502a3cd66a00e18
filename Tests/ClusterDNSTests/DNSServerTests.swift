import ClusterDNS
import Linux
import Netlink
import Testing

/// A server on a port of 127.0.0.1 that knows the sample cluster and asks the given name servers.
private func server(_ upstreams: [UInt16] = [], limits: DNSServer.Limits = DNSServer.Limits()) throws -> (
    DNSServer, UInt16
) {
    let server = DNSServer(zone: try sampleZone(), resolvConf: nil, limits: limits)
    let loopback = try address("127.0.0.1")
    server.update { $0.setUpstreams(upstreams.map { Upstream(loopback, port: $0) }) }
    return (server, try server.listen(on: loopback, port: 0))
}

@Suite(.serialized) struct DNSServerTests {
    private func message(_ port: UInt16, _ text: String, _ type: DNSType = .a, edns: UInt16? = nil) throws -> DNSMessage
    {
        let bytes = try #require(try ask(port, query(text, type, edns: edns)))
        return try DNSMessage(bytes)
    }

    @Test func digReadsOurAnswers() throws {
        let (server, port) = try server()
        defer { server.stop() }
        func dig(_ arguments: String) -> String { run("dig -p \(port) @127.0.0.1 +time=2 +tries=1 \(arguments)") }
        let answer = dig("web.default.svc.cluster.local")
        #expect(answer.contains("status: NOERROR"))
        #expect(answer.contains("flags: qr aa rd ra;"))
        #expect(answer.contains("EDNS: version: 0, flags:; udp: 1232"))
        #expect(answer.contains("web.default.svc.cluster.local. 5 IN\tA\t10.43.1.1"))
        // But for that .local is multicast's.
        #expect(!answer.contains("WARNING: recursion") && !answer.contains("Warning: Message parser"))
        let missing = dig("nothing.default.svc.cluster.local")
        #expect(missing.contains("status: NXDOMAIN"))
        #expect(missing.contains("SOA\tns.dns.cluster.local. hostmaster.cluster.local."))
        #expect(dig("+short -x 10.43.1.1") == "web.default.svc.cluster.local.\n")
        #expect(
            dig("+short SRV _http._tcp.web.default.svc.cluster.local") == "0 100 80 web.default.svc.cluster.local.\n")
        #expect(dig("+tcp +short dual.default.svc.cluster.local AAAA") == "fd00:43::2\n")
        #expect(dig("+noedns +short WEB.default.svc.Cluster.local") == "10.43.1.1\n")
        #expect(dig("CH TXT version.bind").contains("status: REFUSED"))
        #expect(dig("+opcode=notify cluster.local").contains("status: NOTIMP"))
    }

    @Test func largeAnswersAreTruncatedAndGivenOverTCP() throws {
        let (server, port) = try server()
        defer { server.stop() }
        server.update { resolver in
            resolver.zone.set(DNSService(namespace: "default", name: "many"))
            resolver.zone.set(
                (0..<1000).map { DNSEndpoint(.v4(0x0a2a_0000 + UInt32($0))) }, namespace: "default", name: "many")
        }
        let short = try message(port, "many.default.svc.cluster.local")
        #expect(short.isTruncated && short.answers.count > 20 && short.answers.count < 40)
        let long = try message(port, "many.default.svc.cluster.local", edns: 4096)
        #expect(long.isTruncated && long.answers.count > 60)
        // dig turns to TCP by itself.
        let all = run("dig -p \(port) @127.0.0.1 +short many.default.svc.cluster.local")
        #expect(all.split(separator: "\n").filter { $0.hasPrefix("10.42.") }.count == 1000)
    }

    @Test func addressesTakeTurns() throws {
        let (server, port) = try server()
        defer { server.stop() }
        var firsts: Set<String> = []
        for _ in 0..<4 {
            if case .address(let first) = try message(port, "db.default.svc.cluster.local").answers.first?.data {
                firsts.insert(first.description)
            }
        }
        #expect(firsts == ["10.42.0.5", "10.42.1.6"])
    }

    @Test func otherNamesAreAskedOnceAndKept() throws {
        let upstream = try FakeNameServer { bytes in
            guard let owner = DNSName("example.com") else { return nil }
            return FakeNameServer.answer(bytes, [.address(owner, ttl: 300, .v4(0xc000_0201))])
        }
        let (server, port) = try server([upstream.port])
        defer { server.stop() }
        for text in ["example.com", "EXAMPLE.com", "example.com"] {
            let answer = try message(port, text, edns: 1232)
            #expect(answer.answers.map(\.data) == [.address(.v4(0xc000_0201))])
            #expect(answer.answers.first.map { $0.ttl <= 300 && $0.ttl > 290 } == true)
        }
        #expect(upstream.count == 1)
        #expect(server.metrics.contains("coredns_cache_hits_total{server=\"dns://:53\",view=\"\",zones=\".\"} 2"))
        // Through an alias of the cluster.
        let alias = try message(port, "outside.default.svc.cluster.local")
        #expect(alias.answers.map(\.type) == [.cname, .a])
        #expect(alias.answers.last?.name == (try name("example.com")))
        let inside = try message(port, "alias.default.svc.cluster.local")
        #expect(inside.answers.map(\.type) == [.cname, .a])
        #expect(upstream.count == 1)
    }

    @Test func negativeAnswersAreKeptAsLongAsTheirAuthoritySays() throws {
        let upstream = try FakeNameServer { bytes in
            guard let zone = DNSName("com") else { return nil }
            let soa = DNSRecord.Data.authority(primary: zone, mailbox: zone, numbers: [1, 2, 3, 4, 60])
            return FakeNameServer.answer(
                bytes, code: .nameError, [], authorities: [DNSRecord(zone, .soa, ttl: 900, soa)])
        }
        let (server, port) = try server([upstream.port])
        defer { server.stop() }
        for _ in 0..<3 { #expect(try message(port, "missing.com").code == DNSCode.nameError.rawValue) }
        #expect(upstream.count == 1)
    }

    @Test func aSilentOrHelplessServerIsPassedOver() throws {
        let silent = try FakeNameServer { _ in nil }
        let failing = try FakeNameServer { FakeNameServer.answer($0, code: .serverFailure, []) }
        let good = try FakeNameServer { bytes in
            guard case .query(let query) = bytes.withUnsafeBytes({ DNSQuery.parse($0) }) else { return nil }
            return FakeNameServer.answer(bytes, [.address(query.name, ttl: 0, .v4(0xc000_0202))])
        }
        var limits = DNSServer.Limits()
        limits.attemptNanoseconds = 200_000_000
        let (server, port) = try server([silent.port, failing.port, good.port], limits: limits)
        defer { server.stop() }
        for index in 0..<4 {
            #expect(try message(port, "a\(index).example").answers.count == 1)
        }
        // Down after two failures, so that the others do not wait for it.
        #expect(silent.count == 2)
        #expect(good.count == 4)
        #expect(failing.count == 4)
    }

    @Test func aClosedPortIsNoticedAtOnceAndNoServerIsAnError() throws {
        let (server, port) = try server([1])
        defer { server.stop() }
        let start = MonotonicClock.now()
        #expect(try message(port, "example.com").code == DNSCode.serverFailure.rawValue)
        server.update { $0.setUpstreams([]) }
        #expect(try message(port, "example.com").code == DNSCode.serverFailure.rawValue)
        #expect(MonotonicClock.now() - start < 1_000_000_000)
    }

    @Test func answersToSomethingElseAreIgnored() throws {
        let upstream = try FakeNameServer { bytes in
            guard let owner = DNSName("example.com") else { return nil }
            var forged = FakeNameServer.answer(bytes, [.address(owner, ttl: 300, .v4(0x0606_0606))]) ?? []
            if !forged.isEmpty { forged[1] ^= 1 }
            return forged
        }
        var limits = DNSServer.Limits()
        (limits.attemptNanoseconds, limits.totalNanoseconds) = (200_000_000, 500_000_000)
        let (server, port) = try server([upstream.port], limits: limits)
        defer { server.stop() }
        #expect(try message(port, "example.com").code == DNSCode.serverFailure.rawValue)
    }

    @Test func customBlocksAnswerTheirZones() throws {
        let upstream = try FakeNameServer { bytes in
            guard case .query(let query) = bytes.withUnsafeBytes({ DNSQuery.parse($0) }) else { return nil }
            return FakeNameServer.answer(bytes, [.address(query.name, ttl: 9, .v4(0xc000_0203))])
        }
        let (server, port) = try server()
        defer { server.stop() }
        server.update { resolver in
            resolver.setCustom(
                CustomConfiguration([
                    "a.server": "corp.example {\n forward . 127.0.0.1:\(upstream.port)\n}",
                    "b.override": """
                    rewrite name www.example web.default.svc.cluster.local
                    rewrite name old.corp new.corp.example
                    forward corp.example 127.0.0.1:\(upstream.port)
                    hosts {
                      192.0.2.7 printer
                      fallthrough
                    }
                    """,
                ]))
            resolver.nodeHosts = HostsTable("192.168.1.5 node-1 # the first\n")
        }
        #expect(try message(port, "a.corp.example").answers.count == 1)
        #expect(try message(port, "node-1").answers.map(\.data) == [.address(try address("192.168.1.5"))])
        #expect(try message(port, "printer").answers.map(\.ttl) == [60])
        #expect(try message(port, "5.1.168.192.in-addr.arpa", .ptr).answers.map(\.data) == [.name(try name("node-1"))])
        let rewritten = try message(port, "www.example")
        #expect(rewritten.name == (try name("www.example")))
        #expect(rewritten.answers.map(\.name) == [try name("www.example")])
        #expect(rewritten.answers.map(\.data) == [.address(try address("10.43.1.1"))])
        // Rewritten, and then asked elsewhere: the answer carries the name that was asked.
        let asked = try message(port, "old.corp")
        #expect(asked.answers.map(\.name) == [try name("old.corp")])
    }

    @Test func truncatedAnswersAreAskedAgainOverTCP() throws {
        let (authority, authorityPort) = try server()
        defer { authority.stop() }
        authority.update { resolver in
            resolver.nodeHosts = HostsTable((0..<200).map { "192.0.2.\($0) big.example" }.joined(separator: "\n"))
        }
        let (server, port) = try server([authorityPort])
        defer { server.stop() }
        #expect(try message(port, "big.example").isTruncated)
        let all = run("dig -p \(port) @127.0.0.1 +short big.example")
        #expect(all.split(separator: "\n").filter { $0.hasPrefix("192.0.2.") }.count == 200)
    }

    @Test func connectionsAndWaitersAreBounded() throws {
        let silent = try FakeNameServer { _ in nil }
        var limits = DNSServer.Limits()
        (limits.pending, limits.attemptNanoseconds, limits.totalNanoseconds) = (4, 200_000_000, 400_000_000)
        let (server, port) = try server([silent.port], limits: limits)
        defer { server.stop() }
        let fd = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        defer { close(fd) }
        var target = [UInt8](repeating: 0, count: 16)
        (target[0], target[2], target[3], target[4], target[7]) = (2, UInt8(port >> 8), UInt8(port & 0xff), 127, 1)
        for index in 0..<20 {
            let bytes = try query("n\(index).example", .a, id: UInt16(index))
            _ = target.withUnsafeBytes { raw in
                raw.baseAddress.map { sendto(fd, bytes, bytes.count, 0, $0.assumingMemoryBound(to: sockaddr.self), 16) }
            }
        }
        var answers = 0
        var wait = timeval(tv_sec: 1, tv_usec: 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, socklen_t(MemoryLayout<timeval>.size))
        var buffer = [UInt8](repeating: 0, count: 512)
        while answers < 20, recv(fd, &buffer, buffer.count, 0) > 0 {
            #expect(buffer[3] & 15 == DNSCode.serverFailure.rawValue)
            answers += 1
        }
        #expect(answers == 20, "all are answered, those beyond the bound at once")
        #expect(server.metrics.contains("coredns_forward_max_concurrent_rejects_total"))
    }
}
