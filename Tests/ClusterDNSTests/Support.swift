import ClusterDNS
import Linux
import Netlink
import NetworkTesting
import Synchronization
import Testing

func name(_ text: String) throws -> DNSName { try #require(DNSName(text)) }
func address(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }

/// A query as a client would send it.
func query(_ text: String, _ type: DNSType, id: UInt16 = 7, edns: UInt16? = nil, flags: UInt16 = 0x0100) throws
    -> [UInt8]
{
    var wire: [UInt8] = []
    for label in text.split(separator: ".") {
        wire.append(UInt8(label.utf8.count))
        wire += label.utf8
    }
    wire.append(0)
    func short(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 0xff)] }
    var bytes = short(id) + short(flags) + [0, 1, 0, 0, 0, 0] + short(edns == nil ? 0 : 1)
    bytes += wire + short(type.rawValue) + short(1)
    if let edns { bytes += [0] + short(41) + short(edns) + [0, 0, 0, 0, 0, 0] }
    return bytes
}

/// The cluster that the tests ask about.
func sampleZone() throws -> ClusterZone {
    var zone = try #require(ClusterZone(domain: "cluster.local", serverAddresses: [address("10.43.0.10")]))
    for namespace in ["default", "kube-system", "empty"] { zone.setNamespace(namespace, exists: true) }
    let http = DNSService.Port(name: "http", transport: "tcp", port: 80)
    let dns = [
        DNSService.Port(name: "dns", transport: "udp", port: 53),
        DNSService.Port(name: "dns-tcp", transport: "tcp", port: 53),
    ]
    zone.set(DNSService(namespace: "default", name: "web", addresses: [try address("10.43.1.1")], ports: [http]))
    zone.set(
        DNSService(
            namespace: "default", name: "dual", addresses: [try address("10.43.1.2"), try address("fd00:43::2")],
            ports: [http]))
    zone.set(DNSService(namespace: "kube-system", name: "kube-dns", addresses: [try address("10.43.0.10")], ports: dns))
    zone.set(DNSService(namespace: "default", name: "db", ports: [http]))
    zone.set(
        [
            DNSEndpoint(try address("10.42.0.5"), hostname: "db-0", ports: [http]),
            DNSEndpoint(try address("10.42.1.6"), hostname: "db-1", ports: [http]),
            DNSEndpoint(try address("fd00:42::7"), ports: [http]),
        ], namespace: "default", name: "db")
    zone.set(DNSService(namespace: "default", name: "alone"))
    zone.set(DNSService(namespace: "default", name: "outside", externalName: "example.com"))
    zone.set(DNSService(namespace: "default", name: "alias", externalName: "web.default.svc.cluster.local"))
    return zone
}

/// A name server of the test: answers what it is told, on a port of 127.0.0.1.
final class FakeNameServer: Sendable {
    let port: UInt16
    private let descriptor: Int32
    private let counter = Mutex(0)
    /// How many questions came.
    var count: Int { counter.withLock { $0 } }

    /// - Parameter answer: the bytes to send for a query; nil: silence.
    init(_ answer: @escaping @Sendable ([UInt8]) -> [UInt8]?) throws {
        let fd = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var bytes = [UInt8](repeating: 0, count: 16)
        (bytes[0], bytes[4], bytes[7]) = (2, 127, 1)
        var length = socklen_t(16)
        let port = bytes.withUnsafeMutableBytes { raw -> UInt16 in
            guard let pointer = raw.baseAddress?.assumingMemoryBound(to: sockaddr.self) else { return 0 }
            guard bind(fd, pointer, 16) == 0, getsockname(fd, pointer, &length) == 0 else { return 0 }
            return UInt16(raw[2]) << 8 | UInt16(raw[3])
        }
        try #require(port > 0)
        (self.port, descriptor) = (port, fd)
        PosixThread.start(name: "fake-dns") { [weak self] in
            var buffer = [UInt8](repeating: 0, count: 2048)
            while true {
                var from = sockaddr_storage()
                var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
                let got = withUnsafeMutablePointer(to: &from) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        recvfrom(fd, &buffer, buffer.count, 0, $0, &size)
                    }
                }
                // An empty datagram, from `stop`, ends the thread.
                guard got > 0 else { break }
                self?.counter.withLock { $0 += 1 }
                guard let reply = answer(Array(buffer[..<got])) else { continue }
                _ = withUnsafePointer(to: from) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        sendto(fd, reply, reply.count, 0, $0, size)
                    }
                }
            }
            close(fd)
        }
    }

    deinit { shutdown(descriptor, Int32(SHUT_RDWR)) }

    /// An answer with the given records to a query of ours, which has an OPT record at its end.
    static func answer(
        _ query: [UInt8], code: DNSCode = .noError, _ records: [DNSRecord], authorities: [DNSRecord] = [],
        truncated: Bool = false
    ) -> [UInt8]? {
        guard case .query(let parsed) = query.withUnsafeBytes({ DNSQuery.parse($0) }) else { return nil }
        var writer = DNSWriter(
            id: parsed.id, flags: parsed.answerFlags(code, authoritative: false) | (truncated ? 0x0200 : 0),
            question: parsed.question, name: parsed.name, limit: 4096)
        for record in records { writer.add(record, to: .answer) }
        for record in authorities { writer.add(record, to: .authority) }
        return writer.finish(edns: EDNS(size: 1232))
    }
}

/// One question over UDP to 127.0.0.1, within two seconds.
func ask(_ port: UInt16, _ message: [UInt8], milliseconds: Int = 7000) throws -> [UInt8]? {
    let fd = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    defer { close(fd) }
    var bytes = [UInt8](repeating: 0, count: 16)
    (bytes[0], bytes[2], bytes[3], bytes[4], bytes[7]) = (2, UInt8(port >> 8), UInt8(port & 0xff), 127, 1)
    let connected = bytes.withUnsafeBytes { raw in
        raw.baseAddress.map { connect(fd, $0.assumingMemoryBound(to: sockaddr.self), 16) }
    }
    try #require(connected == 0)
    var wait = timeval(tv_sec: milliseconds / 1000, tv_usec: milliseconds % 1000 * 1000)
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, socklen_t(MemoryLayout<timeval>.size))
    try #require(send(fd, message, message.count, 0) == message.count)
    var buffer = [UInt8](repeating: 0, count: 65_536)
    let got = recv(fd, &buffer, buffer.count, 0)
    return got > 0 ? Array(buffer[..<got]) : nil
}

/// Output of a program of the system.
func run(_ command: String) -> String {
    guard let pipe = popen(command + " 2>&1", "r") else { return "" }
    defer { pclose(pipe) }
    var out: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
        let count = fread(&buffer, 1, buffer.count, pipe)
        if count == 0 { break }
        out += buffer[..<count]
    }
    return String(decoding: out, as: UTF8.self)
}
