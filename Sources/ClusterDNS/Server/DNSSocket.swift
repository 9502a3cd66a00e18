import Linux
import Netlink

/// An address and port as system calls take them (sockaddr_in, sockaddr_in6).
package struct SocketAddress: Sendable {
    package var storage: sockaddr_storage
    package var length: socklen_t

    package init(storage: sockaddr_storage, length: socklen_t) { (self.storage, self.length) = (storage, length) }

    package init() {
        storage = sockaddr_storage()
        length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    }

    package init(_ address: IPAddress, port: UInt16) {
        storage = sockaddr_storage()
        length = address.isIPv4 ? 16 : 28
        storage.ss_family = sa_family_t(address.family.rawValue)
        let bytes = address.bytes
        withUnsafeMutableBytes(of: &storage) { raw in
            raw[2] = UInt8(port >> 8)
            raw[3] = UInt8(port & 0xff)
            for (index, byte) in bytes.enumerated() { raw[(address.isIPv4 ? 4 : 8) + index] = byte }
        }
    }

    package mutating func withMutable<R>(_ body: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> R)
        -> R
    {
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        defer { length = size }
        return withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, &size) }
        }
    }

    package func with<R>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
        withUnsafePointer(to: storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, length) }
        }
    }
}

enum DNSSocket {
    enum Kind { case datagram, stream }

    /// One send(2) without SIGPIPE.
    static func transmit(_ fd: Int32, _ bytes: [UInt8]) -> Int {
        bytes.withUnsafeBytes { send(fd, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
    }

    /// Non-blocking, close-on-exec.
    static func open(_ kind: Kind, _ family: AddressFamily) throws(SysError) -> FileDescriptor {
        let type = kind == .datagram ? SOCK_DGRAM.rawValue : SOCK_STREAM.rawValue
        let flags = Int32(type) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        return FileDescriptor(owning: try syscall("socket") { socket(Int32(family.rawValue), flags, 0) })
    }

    private static func set(_ fd: Int32, _ level: Int32, _ option: Int32) throws(SysError) {
        var on: Int32 = 1
        try syscall("setsockopt") { setsockopt(fd, level, option, &on, 4) }
    }

    /// The address may come to the machine later (IP_FREEBIND).
    static func listening(_ kind: Kind, _ address: IPAddress, port: UInt16) throws(SysError) -> FileDescriptor {
        let descriptor = try open(kind, address.family)
        let fd = descriptor.raw
        // IP_FREEBIND 15; IPV6_V6ONLY 26, IPV6_FREEBIND 78.
        try set(fd, address.isIPv4 ? 0 : 41, address.isIPv4 ? 15 : 78)
        if !address.isIPv4 { try set(fd, 41, 26) }
        if kind == .stream { try set(fd, SOL_SOCKET, SO_REUSEADDR) }
        let target = SocketAddress(address, port: port)
        let result = target.with { bind(fd, $0, $1) }
        if result != 0 { throw SysError(errno, "bind", path: "\(address):\(port)") }
        if kind == .stream { try syscall("listen") { listen(fd, 64) } }
        return descriptor
    }

    /// Connected, or (a stream) on the way to it.
    static func connecting(_ kind: Kind, to server: Upstream) throws(SysError) -> FileDescriptor {
        let descriptor = try open(kind, server.address.family)
        let fd = descriptor.raw
        let target = SocketAddress(server.address, port: server.port)
        let result = target.with { connect(fd, $0, $1) }
        if result != 0, errno != EINPROGRESS { throw SysError(errno, "connect", path: server.description) }
        return descriptor
    }
}
