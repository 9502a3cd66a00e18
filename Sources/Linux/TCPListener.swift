/// A socket that listens on TCP, at one address.
package struct TCPListener: ~Copyable {
    private let socket: FileDescriptor
    package let port: UInt16

    /// - Parameters:
    ///   - address: numeric, of either family.
    ///   - port: 0: any that is free.
    package init(_ address: String, _ port: UInt16) throws(SysError) {
        socket = try Self.open(address, port)
        var bound = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let raw = socket.raw
        withUnsafeMutablePointer(to: &bound) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { _ = getsockname(raw, $0, &length) }
        }
        // Both families have the port at the same place.
        self.port = withUnsafeBytes(of: bound) { UInt16($0[2]) << 8 | UInt16($0[3]) }
    }

    private static func open(_ address: String, _ port: UInt16) throws(SysError) -> FileDescriptor {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_NUMERICHOST | AI_PASSIVE
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(address, String(port), &hints, &list) == 0, let info = list?.pointee else {
            throw SysError(EINVAL, "getaddrinfo", path: address)
        }
        defer { freeaddrinfo(list) }
        let type = info.ai_socktype | Int32(SOCK_CLOEXEC.rawValue)
        let socket = FileDescriptor(owning: try syscall("socket") { Glibc.socket(info.ai_family, type, 0) })
        let raw = socket.raw
        var one: Int32 = 1
        setsockopt(raw, SOL_SOCKET, SO_REUSEADDR, &one, 4)
        try syscall("bind") { bind(raw, info.ai_addr, info.ai_addrlen) }
        try syscall("listen") { Glibc.listen(raw, 64) }
        return socket
    }

    package consuming func take() -> FileDescriptor { socket }
}
