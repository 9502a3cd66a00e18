import ClusterDNS
import Linux
import Netlink

/// System calls on non-blocking TCP and UDP sockets.
enum InternetSocket {
    static func make(_ family: AddressFamily, stream: Bool) throws(SysError) -> FileDescriptor {
        let type =
            Int32(stream ? SOCK_STREAM.rawValue : SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
            | Int32(SOCK_NONBLOCK.rawValue)
        return FileDescriptor(owning: try syscall("socket") { socket(Int32(family.rawValue), type, 0) })
    }

    static func set(_ fd: Int32, _ level: Int32, _ option: Int32, _ value: Int32 = 1) {
        var value = value
        setsockopt(fd, level, option, &value, 4)
    }

    /// - Parameters:
    ///   - backlog: nil: without listening.
    ///   - reuse: while connections of an earlier listener end; not for datagrams, where it would share the port.
    static func bind(
        _ socket: borrowing FileDescriptor, _ address: IPAddress, port: UInt16, backlog: Int32? = 128,
        reuse: Bool = true
    ) throws(SysError) {
        let fd = socket.raw
        if reuse { set(fd, SOL_SOCKET, SO_REUSEADDR) }
        let place = SocketAddress(address, port: port)
        let result = place.with { Glibc.bind(fd, $0, $1) }
        if result != 0 { throw SysError(errno, "bind", path: "\(address):\(port)") }
        if let backlog { try syscall("listen") { Glibc.listen(fd, backlog) } }
    }

    /// On its way when it returns.
    static func connect(_ socket: borrowing FileDescriptor, _ address: IPAddress, port: UInt16) throws(SysError) {
        let fd = socket.raw
        let place = SocketAddress(address, port: port)
        let result = place.with { Glibc.connect(fd, $0, $1) }
        if result != 0, errno != EINPROGRESS { throw SysError(errno, "connect", path: "\(address):\(port)") }
    }

    static func port(_ fd: Int32) throws(SysError) -> UInt16 {
        var address = SocketAddress()
        let result = address.withMutable { getsockname(fd, $0, $1) }
        if result != 0 { throw SysError(errno, "getsockname") }
        return withUnsafeBytes(of: address.storage) { UInt16($0[2]) << 8 | UInt16($0[3]) }
    }

    /// Of the other end.
    static func peer(_ fd: Int32) -> IPAddress? {
        var address = SocketAddress()
        return address.withMutable { getpeername(fd, $0, $1) } == 0 ? address.address : nil
    }
}
