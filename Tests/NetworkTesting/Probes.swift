import Linux
import Netlink
import Synchronization

/// A server inside a namespace that answers every connection or datagram with "name clientAddress". Ends with the handle.
package final class ProbeServer: Sendable {
    private let descriptor: Int32
    private let stop = Mutex(false)

    package init(
        _ name: String, in namespace: NetworkNamespace, port: UInt16, udp: Bool = false, family: AddressFamily = .ipv4
    ) throws {
        let descriptor = try namespace.run { () throws(NetlinkError) -> Int32 in
            let kind = Int32((udp ? SOCK_DGRAM : SOCK_STREAM).rawValue) | Int32(SOCK_CLOEXEC.rawValue)
            let descriptor = socket(Int32(family.rawValue), kind, 0)
            guard descriptor >= 0 else { throw NetlinkError(errno, "open a server socket") }
            var on: Int32 = 1
            setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, 4)
            // IPV6_V6ONLY: the IPv4 server has a socket of its own.
            if family == .ipv6 { setsockopt(descriptor, 41, 26, &on, 4) }
            guard withAddress(family == .ipv4 ? .v4(0) : .v6(0, 0), port, { bind(descriptor, $0, $1) }) == 0,
                udp || listen(descriptor, 64) == 0
            else {
                let code = errno
                close(descriptor)
                throw NetlinkError(code, "listen on port \(port)")
            }
            return descriptor
        }
        self.descriptor = descriptor
        try ShortThread.start {
            var buffer = [UInt8](repeating: 0, count: 512)
            while true {
                var storage = sockaddr_storage()
                var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
                let client: Int32 = withUnsafeMutablePointer(to: &storage) { pointer in
                    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                        udp
                            ? Int32(recvfrom(descriptor, &buffer, buffer.count, 0, address, &length))
                            : accept(descriptor, address, &length)
                    }
                }
                if client < 0 || self.isStopped { break }
                let reply = Array("\(name) \(peerText(storage))".utf8)
                if udp {
                    _ = withUnsafePointer(to: &storage) { pointer in
                        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                            sendto(descriptor, reply, reply.count, 0, $0, length)
                        }
                    }
                } else {
                    _ = send(client, reply, reply.count, Int32(MSG_NOSIGNAL))
                    close(client)
                }
            }
            close(descriptor)
        }.detach()
    }

    private var isStopped: Bool { stop.withLock { $0 } }

    package func close_() {
        stop.withLock { $0 = true }
        shutdown(descriptor, Int32(SHUT_RDWR))
    }
}

private func peerText(_ storage: sockaddr_storage) -> String {
    withUnsafeBytes(of: storage) { bytes in
        storage.ss_family == UInt16(AF_INET)
            ? IPAddress(bytes: bytes[4..<8])?.description ?? "?" : IPAddress(bytes: bytes[8..<24])?.description ?? "?"
    }
}

private func withAddress(_ address: IPAddress, _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32)
    -> Int32
{
    // sockaddr_in and sockaddr_in6, by hand: family, port, (flow), address, (scope).
    var bytes = [UInt8](repeating: 0, count: 28)
    bytes[0] = address.family.rawValue
    bytes[2] = UInt8(port >> 8)
    bytes[3] = UInt8(port & 0xff)
    bytes.replaceSubrange(address.isIPv4 ? 4..<8 : 8..<24, with: address.bytes)
    return bytes.withUnsafeMutableBytes { raw in
        guard let base = raw.baseAddress else { return -1 }
        return body(base.assumingMemoryBound(to: sockaddr.self), address.isIPv4 ? 16 : 28)
    }
}

/// What a client saw: the server's answer, or the errno that ended it.
package enum ProbeResult: Equatable, Sendable {
    case answer(String)
    case failed(Int32)
    /// First word of the answer: which server it was.
    package var server: String? { if case .answer(let text) = self { String(text.prefix { $0 != " " }) } else { nil } }
    /// Second word: who the server thinks called.
    package var client: String? {
        if case .answer(let text) = self { text.split(separator: " ").dropFirst().first.map(String.init) } else { nil }
    }
}

/// Connects from a namespace and reads the answer, within `milliseconds`.
package func probe(
    from namespace: NetworkNamespace, _ address: String, _ port: UInt16, udp: Bool = false, milliseconds: Int = 5000,
    localPort: UInt16 = 0
) -> ProbeResult {
    guard let address = IPAddress(address) else { return .failed(EINVAL) }
    let opened = try? namespace.run { () throws(NetlinkError) -> Int32 in
        socket(
            Int32(address.family.rawValue),
            Int32((udp ? SOCK_DGRAM : SOCK_STREAM).rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    }
    guard let descriptor = opened, descriptor >= 0 else { return .failed(errno) }
    defer { close(descriptor) }
    var wait = timeval(tv_sec: milliseconds / 1000, tv_usec: (milliseconds % 1000) * 1000)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &wait, socklen_t(MemoryLayout<timeval>.size))
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &wait, socklen_t(MemoryLayout<timeval>.size))
    if localPort != 0 {
        var on: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, 4)
        _ = withAddress(address.isIPv4 ? .v4(0) : .v6(0, 0), localPort) { bind(descriptor, $0, $1) }
    }
    guard withAddress(address, port, { connect(descriptor, $0, $1) }) == 0 else {
        return .failed(errno == EINPROGRESS ? ETIMEDOUT : errno)
    }
    if udp { _ = send(descriptor, "x", 1, 0) }
    var buffer = [UInt8](repeating: 0, count: 256)
    let count = recv(descriptor, &buffer, buffer.count, 0)
    return count > 0
        ? .answer(String(decoding: buffer[..<count], as: UTF8.self))
        : .failed(count < 0 ? (errno == EAGAIN ? ETIMEDOUT : errno) : 0)
}
