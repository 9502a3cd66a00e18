/// Unix domain sockets by path, without the limit of 107 bytes: longer paths go through /proc/self/fd.
package enum UnixSocket {
    package enum Kind: Sendable {
        case stream, packets, datagrams
        var type: Int32 {
            switch self {
            case .stream: Int32(SOCK_STREAM.rawValue)
            case .packets: Int32(SOCK_SEQPACKET.rawValue)
            case .datagrams: Int32(SOCK_DGRAM.rawValue)
            }
        }
    }

    private static func make(_ kind: Kind) throws(SysError) -> FileDescriptor {
        let type = kind.type | Int32(SOCK_CLOEXEC.rawValue)
        return FileDescriptor(owning: try syscall("socket") { socket(AF_UNIX, type, 0) })
    }

    /// Calls `body` with an address for `path`; a name that starts with `@` is one of the abstract name space (unix(7)).
    private static func withAddress(
        _ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
    ) throws(SysError) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var bytes = Array(path.utf8)
        let capacity = MemoryLayout.size(ofValue: address.sun_path)
        // Held open while the kernel walks the path.
        let directory =
            bytes.count >= capacity ? try FileDescriptor.open(Path.parent(path), O_PATH | O_DIRECTORY).take() : -1
        defer { if directory >= 0 { close(directory) } }
        if directory >= 0 { bytes = Array("/proc/self/fd/\(directory)/\(Path.last(path))".utf8) }
        guard bytes.count < capacity else { throw SysError(ENAMETOOLONG, "socket", path: path) }
        var size = MemoryLayout<sockaddr_un>.size
        if bytes.first == UInt8(ascii: "@") {
            bytes[0] = 0
            size -= capacity - bytes.count
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(size))
            }
        }
    }

    package static func connect(_ path: String, _ kind: Kind) throws(SysError) -> FileDescriptor {
        let fd = try make(kind)
        let raw = fd.raw
        let result = try withAddress(path) { address, size in Glibc.connect(raw, address, size) }
        if result != 0 { throw SysError(errno, "connect", path: path) }
        return fd
    }

    /// Replaces a socket that is there; the file's mode is `mode`.
    package static func listen(
        _ path: String, _ kind: Kind, backlog: Int32 = 64, mode: UInt32 = 0o600
    ) throws(SysError) -> FileDescriptor {
        try Files.remove(path)
        let fd = try bound(path, kind)
        let raw = fd.raw
        try syscall("chmod", path) { chmod(path, mode_t(mode)) }
        try syscall("listen", path) { Glibc.listen(raw, backlog) }
        return fd
    }

    /// The next connection of a listening socket.
    package static func accept(_ listener: AsyncFD) async throws(SysError) -> AsyncFD {
        try AsyncFD(FileDescriptor(owning: try await listener.whenReadable("accept") { k3s_accept($0) }))
    }

    /// A socket with a name; for datagrams that is enough to receive them.
    package static func bound(_ path: String, _ kind: Kind) throws(SysError) -> FileDescriptor {
        let fd = try make(kind)
        let raw = fd.raw
        let result = try withAddress(path) { address, size in bind(raw, address, size) }
        if result != 0 { throw SysError(errno, "bind", path: path) }
        return fd
    }
}
