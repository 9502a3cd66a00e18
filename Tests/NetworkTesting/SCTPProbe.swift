import Linux
import Netlink

/// SCTP packets made by hand, for kernels without SCTP sockets: their netfilter still knows the protocol. RFC 9260.
package final class SCTPSocket: Sendable {
    private let descriptor: Int32

    package init(in namespace: NetworkNamespace) throws {
        descriptor = try namespace.run { () throws(NetlinkError) -> Int32 in
            let descriptor = socket(AF_INET, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 132)
            guard descriptor >= 0 else { throw NetlinkError(errno, "open a raw SCTP socket") }
            return descriptor
        }
    }
    deinit { close(descriptor) }

    package struct Packet: Equatable, Sendable {
        package var source: IPAddress
        package var sourcePort: UInt16
        package var destinationPort: UInt16
        /// 1 INIT, 2 INIT ACK
        package var chunk: UInt8
        package var isSound: Bool
        package init(
            _ source: IPAddress, _ sourcePort: UInt16, _ destinationPort: UInt16, chunk: UInt8, isSound: Bool = true
        ) {
            (self.source, self.sourcePort, self.destinationPort) = (source, sourcePort, destinationPort)
            (self.chunk, self.isSound) = (chunk, isSound)
        }
    }

    /// INIT (tag 0) or its answer (the other side's tag, 1).
    package func send(chunk: UInt8, to address: IPAddress, from sourcePort: UInt16, port: UInt16) -> Bool {
        func big(_ value: UInt32, _ bytes: Int) -> [UInt8] {
            (0..<bytes).map { UInt8(truncatingIfNeeded: value >> UInt32(8 * (bytes - 1 - $0))) }
        }
        var bytes: [UInt8] = []
        func add(_ value: UInt32, _ count: Int) { bytes += big(value, count) }
        add(UInt32(sourcePort), 2)
        add(UInt32(port), 2)
        add(chunk == 1 ? 0 : 1, 4)
        add(0, 4)
        bytes += [chunk, 0, 0, 20]
        // Tag 1, window, one stream each way, first TSN.
        for (value, count) in [(1, 4), (65_536, 4), (1, 2), (1, 2), (1, 4)] as [(UInt32, Int)] { add(value, count) }
        let sum = crc32c(bytes)
        for index in 0..<4 { bytes[8 + index] = UInt8(truncatingIfNeeded: sum >> UInt32(8 * index)) }
        var target = [UInt8](repeating: 0, count: 16)
        target[0] = 2
        target.replaceSubrange(4..<8, with: address.bytes)
        let sent = target.withUnsafeBytes { raw in
            raw.baseAddress.map {
                sendto(descriptor, bytes, bytes.count, 0, $0.assumingMemoryBound(to: sockaddr.self), 16)
            }
        }
        return sent == bytes.count
    }

    /// nil: none within that time.
    package func receive(milliseconds: Int) -> Packet? {
        var wait = timeval(tv_sec: milliseconds / 1000, tv_usec: (milliseconds % 1000) * 1000)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &wait, socklen_t(MemoryLayout<timeval>.size))
        var buffer = [UInt8](repeating: 0, count: 256)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        // With its IP header.
        guard count >= 20 + 32, let source = IPAddress(bytes: buffer[12..<16]) else { return nil }
        var packet = Array(buffer[Int(buffer[0] & 15) * 4..<count])
        func port(_ at: Int) -> UInt16 { UInt16(packet[at]) << 8 | UInt16(packet[at + 1]) }
        let told = (0..<4).reduce(UInt32(0)) { $0 | UInt32(packet[8 + $1]) << UInt32(8 * $1) }
        let (from, to) = (port(0), port(2))
        for index in 8..<12 { packet[index] = 0 }
        return Packet(source, from, to, chunk: packet[12], isSound: crc32c(packet) == told)
    }
}

private func crc32c(_ bytes: [UInt8]) -> UInt32 {
    var sum = UInt32.max
    for byte in bytes {
        sum ^= UInt32(byte)
        for _ in 0..<8 { sum = sum & 1 == 1 ? sum >> 1 ^ 0x82f6_3b78 : sum >> 1 }
    }
    return ~sum
}
