// `network-exerciser`: the figures of service proxy and name server for `make bench`. How many queries a second are
// answered over UDP: the clients share the machine with the server, so the figure per core is of the CPU time of the
// server's own thread. The proxy's are of real nf_tables in a network namespace of its own (root); with the
// argument "policy" only network policy is measured.

import ClusterDNS
import Iptables
import Linux
import Netlink

/// CPU time of this process's thread of that name, in nanoseconds (the kernel counts in ticks of 10 ms).
func cpuTime(_ name: String) -> Int64 {
    guard let tasks = try? Directories.list("/proc/self/task") else { return 0 }
    for task in tasks {
        guard let bytes = try? Files.read("/proc/self/task/\(task.name)/stat", limit: 4096) else { continue }
        let text = String(decoding: bytes, as: UTF8.self)
        guard let open = text.firstIndex(of: "("), let close = text.lastIndex(of: ")"),
            text[text.index(after: open)..<close] == name
        else { continue }
        // utime and stime: the 14th and 15th field of the line.
        let fields = text[text.index(after: close)...].split(separator: " ")
        return ((Int64(fields[11]) ?? 0) + (Int64(fields[12]) ?? 0)) * 10_000_000
    }
    return 0
}

func residentKiB() -> Int {
    guard let bytes = try? Files.read("/proc/self/statm", limit: 4096) else { return 0 }
    let fields = String(decoding: bytes, as: UTF8.self).split(separator: " ")
    return fields.count > 1 ? (Int(fields[1]) ?? 0) * 4 : 0
}

func message(_ name: String) -> [UInt8] {
    var bytes: [UInt8] = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1]
    for label in name.split(separator: ".") {
        bytes.append(UInt8(label.utf8.count))
        bytes += label.utf8
    }
    bytes += [0, 0, 1, 0, 1]
    return bytes + [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]
}

func connected(_ port: UInt16) -> Int32 {
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

if CommandLine.arguments.dropFirst().first == "policy" {
    try PolicyFigures.run()
    exit(0)
}
guard let loopback = IPAddress("127.0.0.1"), var zone = ClusterZone(domain: "cluster.local", serverAddresses: [])
else { exit(1) }
let before = residentKiB()
let ports = [DNSService.Port(name: "http", transport: "tcp", port: 80)]
for index in 0..<10_000 {
    let (namespace, name) = ("team-\(index % 50)", "service-\(index)")
    zone.set(
        DNSService(namespace: namespace, name: name, addresses: [.v4(0x0a2b_0000 + UInt32(index))], ports: ports))
}
let services = residentKiB() - before
for index in 0..<10_000 {
    let endpoints = (0..<3).map { DNSEndpoint(.v4(0x0a2a_0000 + UInt32(index * 3 + $0)), ports: ports) }
    zone.set(endpoints, namespace: "team-\(index % 50)", name: "service-\(index)")
}
print("cluster DNS: 10,000 services \(services) KiB, with 30,000 endpoints \(residentKiB() - before) KiB")

let server = DNSServer(zone: zone, resolvConf: nil)
let port = try server.listen(on: loopback, port: 0)
server.update { $0.nodeHosts = HostsTable("192.0.2.1 node-1") }

for (title, name) in [
    ("a service", "service-77.team-27.svc.cluster.local"), ("no such name", "example.com.team-27.svc.cluster.local"),
    ("a node", "node-1"),
] {
    let descriptors = (0..<4).map { _ in connected(port) }
    let query = message(name)
    var buffer = [UInt8](repeating: 0, count: 2048)
    let (cpu, start) = (cpuTime("reactor"), MonotonicClock.now())
    var answered = 0
    while answered < 300_000 {
        for fd in descriptors { for _ in 0..<32 { _ = send(fd, query, query.count, 0) } }
        for fd in descriptors { for _ in 0..<32 where recv(fd, &buffer, buffer.count, 0) > 0 { answered += 1 } }
    }
    let wall = Double(MonotonicClock.now() - start) / 1e9
    let busy = max(Double(cpuTime("reactor") - cpu) / 1e9, 0.01)
    print("cluster DNS: \(title): \(Int(Double(answered) / wall)) queries/s, \(Int(Double(answered) / busy)) per core")
    for fd in descriptors { close(fd) }
}
server.stop()

if getuid() == 0 {
    for count in [10_000, 30_000] { print("service proxy: \(try ProxyBenchmark.run(services: count))") }
    for count in [100, 30_000] { try FirstPacket.run(services: count) }
    try PolicyFigures.run()
}
if getuid() == 0 { try await PodNetworkBench.run() }
