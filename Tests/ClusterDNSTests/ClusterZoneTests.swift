import ClusterDNS
import Linux
import Netlink
import Testing

@Suite struct ClusterZoneTests {
    private func texts(_ question: String, _ type: DNSType) throws -> [String] {
        let answer = try #require(try sampleZone().answer(name(question), type))
        if answer.code != .noError { return [answer.code.text] }
        return answer.answers.map { record in
            switch record.data {
            case .address(let address): address.description
            case .name(let name): name.description
            case .service(let priority, let weight, let port, let target): "\(priority) \(weight) \(port) \(target)"
            case .text(let text): text
            default: "other"
            }
        }.sorted()
    }

    @Test(arguments: [
        ("web.default.svc.cluster.local", "10.43.1.1"), ("WEB.Default.svc.cluster.local.", "10.43.1.1"),
        ("dual.default.svc.cluster.local", "10.43.1.2"), ("kube-dns.kube-system.svc.cluster.local", "10.43.0.10"),
        ("db-0.db.default.svc.cluster.local", "10.42.0.5"), ("10-42-0-9.default.pod.cluster.local", "10.42.0.9"),
        ("ns.dns.cluster.local", "10.43.0.10"),
    ])
    func aNameHasItsAddress(_ question: String, _ address: String) throws {
        #expect(try texts(question, .a) == [address])
    }

    @Test func servicesOfTwoFamiliesHaveAnAddressOfEach() throws {
        #expect(try texts("dual.default.svc.cluster.local", .aaaa) == ["fd00:43::2"])
        #expect(try texts("web.default.svc.cluster.local", .aaaa) == [])
        #expect(try texts("fd00-42--7.db.default.svc.cluster.local", .aaaa) == ["fd00:42::7"])
        #expect(try texts("fd00-42--9.default.pod.cluster.local", .aaaa) == ["fd00:42::9"])
    }

    @Test func aHeadlessServiceIsItsEndpoints() throws {
        #expect(try texts("db.default.svc.cluster.local", .a) == ["10.42.0.5", "10.42.1.6"])
        #expect(
            try texts("_http._tcp.db.default.svc.cluster.local", .srv) == [
                "0 33 80 db-0.db.default.svc.cluster.local.", "0 33 80 db-1.db.default.svc.cluster.local.",
                "0 33 80 fd00-42--7.db.default.svc.cluster.local.",
            ])
        #expect(try texts("alone.default.svc.cluster.local", .a) == ["NXDOMAIN"])
    }

    @Test func portsAreServiceRecordsWithTheirAddressesBeside() throws {
        #expect(
            try texts("_http._tcp.web.default.svc.cluster.local", .srv) == [
                "0 100 80 web.default.svc.cluster.local."
            ])
        #expect(try texts("kube-dns.kube-system.svc.cluster.local", .srv).count == 2)
        #expect(try texts("_dns-tcp._udp.kube-dns.kube-system.svc.cluster.local", .srv) == ["NXDOMAIN"])
        #expect(try texts("_http._tcp.web.default.svc.cluster.local", .a) == [])
        let answer = try sampleZone().answer(name("_http._tcp.db.default.svc.cluster.local"), .srv)
        #expect(answer?.additionals.count == 3)
    }

    @Test(arguments: [
        "nothing.default.svc.cluster.local", "web.nowhere.svc.cluster.local", "nowhere.svc.cluster.local",
        "web.default.cluster.local", "google.com.cluster.local", "x.web.default.svc.cluster.local",
        "a.b.c.web.default.svc.cluster.local", "10-42-0-9.nowhere.pod.cluster.local",
        "no-address.default.pod.cluster.local",
        "x.outside.default.svc.cluster.local",
    ])
    func whatIsNotThereIsNoName(_ question: String) throws { #expect(try texts(question, .a) == ["NXDOMAIN"]) }

    @Test(arguments: [
        "cluster.local", "svc.cluster.local", "pod.cluster.local", "default.svc.cluster.local",
        "empty.svc.cluster.local", "default.pod.cluster.local",
    ])
    func namesAboveOthersAreEmpty(_ question: String) throws { #expect(try texts(question, .a) == []) }

    @Test func theZoneTellsItsVersionAndServer() throws {
        #expect(try texts("dns-version.cluster.local", .txt) == ["1.1.0"])
        #expect(try texts("cluster.local", .ns) == ["ns.dns.cluster.local."])
        #expect(try texts("cluster.local", .soa) == ["other"])
        #expect(try sampleZone().answer(name("example.com"), .a) == nil)
        #expect(try sampleZone().answer(name("xcluster.local"), .a) == nil)
    }

    @Test func anExternalNameIsAnAlias() throws {
        #expect(try texts("outside.default.svc.cluster.local", .a) == ["example.com."])
        let zone = try sampleZone()
        #expect(try zone.answer(name("outside.default.svc.cluster.local"), .a)?.alias == name("example.com"))
        #expect(try zone.answer(name("outside.default.svc.cluster.local"), .cname)?.alias == nil)
    }

    @Test func addressesLeadBackToNames() throws {
        let zone = try sampleZone()
        #expect(try zone.name(of: address("10.43.1.1")) == name("web.default.svc.cluster.local"))
        #expect(try zone.name(of: address("10.42.1.6")) == name("db-1.db.default.svc.cluster.local"))
        #expect(try zone.name(of: address("fd00:42::7")) == name("fd00-42--7.db.default.svc.cluster.local"))
        #expect(try zone.name(of: address("10.42.9.9")) == nil)
        #expect(try name("10.0.43.10.in-addr.arpa").reverseAddress == address("10.43.0.10"))
        let nibbles = "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.2.4.0.0.0.0.d.f.ip6.arpa"
        #expect(try name(nibbles).reverseAddress == address("fd00:42::7"))
        #expect(try name("1.2.3.in-addr.arpa").reverseAddress == nil)
    }

    @Test func changesShowAtOnce() throws {
        var zone = try sampleZone()
        zone.set(DNSService(namespace: "default", name: "web", addresses: [try address("10.43.9.9")]))
        #expect(try zone.name(of: address("10.43.1.1")) == nil)
        #expect(try zone.name(of: address("10.43.9.9")) == name("web.default.svc.cluster.local"))
        zone.removeService(namespace: "default", name: "web")
        #expect(try zone.answer(name("web.default.svc.cluster.local"), .a)?.code == .nameError)
        #expect(try zone.name(of: address("10.43.9.9")) == nil)
        zone.set([], namespace: "default", name: "db")
        #expect(try zone.answer(name("db.default.svc.cluster.local"), .a)?.code == .nameError)
        zone.setNamespace("empty", exists: false)
        #expect(try zone.answer(name("empty.svc.cluster.local"), .a)?.code == .nameError)
    }

    private func residentBytes() -> Int {
        guard let bytes = try? Files.read("/proc/self/statm", limit: 4096) else { return 0 }
        let fields = String(decoding: bytes, as: UTF8.self).split(separator: " ")
        return fields.count > 1 ? (Int(fields[1]) ?? 0) * 4096 : 0
    }

    @Test(.enabled(if: getenv("K3S_SANITIZED") == nil, "measures the heap, which a sanitizer replaces"))
    func tenThousandServicesTakeLittle() throws {
        let before = residentBytes()
        var zone = try #require(ClusterZone(domain: "cluster.local", serverAddresses: []))
        let port = [DNSService.Port(name: "http", transport: "tcp", port: 80)]
        for index in 0..<10_000 {
            zone.set(
                DNSService(
                    namespace: "team-\(index % 50)", name: "service-\(index)",
                    addresses: [.v4(0x0a2b_0000 + UInt32(index))],
                    ports: port))
        }
        let services = residentBytes() - before
        for index in 0..<10_000 {
            let endpoints = (0..<3).map { DNSEndpoint(.v4(0x0a2a_0000 + UInt32(index * 3 + $0)), ports: port) }
            zone.set(endpoints, namespace: "team-\(index % 50)", name: "service-\(index)")
        }
        let all = residentBytes() - before
        print("cluster zone: 10,000 services \(services >> 10) KiB, with 30,000 endpoints \(all >> 10) KiB")
        #expect(zone.serviceCount == 10_000)
        #expect(services < 2 << 20)
        #expect(all < 5 << 20)
    }
}
