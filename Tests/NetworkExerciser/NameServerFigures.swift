import ClusterDNS
import Linux
import Netlink

/// Queries a second and core, and what the zone takes.
enum NameServerFigures {
    private static let senders = 4
    /// Batches of one system call on their way per sender.
    private static let flight = 4

    static func run() throws {
        guard let loopback = IPAddress("127.0.0.1"),
            var zone = ClusterZone(domain: "cluster.local", serverAddresses: [])
        else { return }
        let before = residentKiB()
        let ports = [DNSService.Port(name: "http", transport: "tcp", port: 80)]
        for index in 0..<10_000 {
            let (namespace, name) = ("team-\(index % 50)", "service-\(index)")
            zone.set(
                DNSService(
                    namespace: namespace, name: name, addresses: [.v4(0x0a2b_0000 + UInt32(index))], ports: ports))
        }
        let services = residentKiB() - before
        for index in 0..<10_000 {
            let endpoints = (0..<3).map { DNSEndpoint(.v4(0x0a2a_0000 + UInt32(index * 3 + $0)), ports: ports) }
            zone.set(endpoints, namespace: "team-\(index % 50)", name: "service-\(index)")
        }
        print("cluster DNS: 10,000 services \(services) KiB, with 30,000 endpoints \(residentKiB() - before) KiB")

        let server = DNSServer(zone: zone, resolvConf: nil)
        let port = try server.listen(on: loopback, port: 0)
        defer { server.stop() }
        server.update { $0.nodeHosts = HostsTable("192.0.2.1 node-1") }
        let all = (0..<10_000).map { "service-\($0).team-\($0 % 50).svc.cluster.local" }
        for (title, names) in [
            ("a service", ["service-77.team-27.svc.cluster.local"]),
            ("no such name", ["example.com.team-27.svc.cluster.local"]), ("a node", ["node-1"]),
            ("10,000 services in turn", all),
        ] {
            measure(title, names.map(message), port)
        }
    }

    /// Clients that are busy, as many are together: the server finds what came meanwhile, and nobody sleeps until its
    /// answer wakes it up, which would be the scheduler's time on the server's account.
    private static func measure(_ title: String, _ queries: [[UInt8]], _ port: UInt16) {
        let descriptors = (0..<senders).map { _ in connected(port) }
        defer { for fd in descriptors { close(fd) } }
        let size = Int(K3S_DATAGRAMS)
        let datagrams = UnsafeMutablePointer<k3s_datagram>.allocate(capacity: size)
        let bytes = UnsafeMutableRawPointer.allocate(byteCount: size * 1500, alignment: 8)
        defer {
            datagrams.deallocate()
            bytes.deallocate()
        }
        let (cpu, start) = (cpuTime("reactor"), MonotonicClock.now())
        var answered = 0
        var next = 0
        while answered < 400_000 {
            for fd in descriptors {
                for _ in 0..<flight {
                    for index in 0..<size {
                        let query = queries[next % queries.count]
                        next += 1
                        query.withUnsafeBytes { source in
                            (bytes + index * 1500).copyMemory(from: source.baseAddress!, byteCount: source.count)
                        }
                        datagrams[index].bytes = bytes + index * 1500
                        datagrams[index].length = UInt32(query.count)
                        datagrams[index].address_length = 0
                    }
                    k3s_send_datagrams(fd, datagrams, Int32(size))
                }
            }
            let deadline = MonotonicClock.now() + 200_000_000
            for fd in descriptors {
                var missing = flight * size
                while missing > 0, MonotonicClock.now() < deadline {
                    for index in 0..<size {
                        datagrams[index].bytes = bytes + index * 1500
                        datagrams[index].length = 1500
                    }
                    let count = max(0, Int(k3s_receive_datagrams(fd, datagrams, Int32(size))))
                    missing -= count
                    answered += count
                }
            }
        }
        let wall = Double(MonotonicClock.now() - start) / 1e9
        let busy = max(Double(cpuTime("reactor") - cpu) / 1e9, 0.01)
        let (rate, perCore) = (Int(Double(answered) / wall), Int(Double(answered) / busy))
        print("cluster DNS: \(title): \(rate) queries/s, \(perCore) per core")
    }

    private static func message(_ name: String) -> [UInt8] {
        var bytes: [UInt8] = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1]
        for label in name.split(separator: ".") {
            bytes.append(UInt8(label.utf8.count))
            bytes += label.utf8
        }
        bytes += [0, 0, 1, 0, 1]
        return bytes + [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]
    }

    private static func connected(_ port: UInt16) -> Int32 {
        let fd = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var bytes = [UInt8](repeating: 0, count: 16)
        (bytes[0], bytes[2], bytes[3], bytes[4], bytes[7]) = (2, UInt8(port >> 8), UInt8(port & 0xff), 127, 1)
        _ = bytes.withUnsafeBytes { raw in
            raw.baseAddress.map { connect(fd, $0.assumingMemoryBound(to: sockaddr.self), 16) }
        }
        var wait = timeval(tv_sec: 0, tv_usec: 200_000)
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, socklen_t(MemoryLayout<timeval>.size))
        return fd
    }
}
