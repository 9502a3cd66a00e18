import Linux
import NIOPosix

/// A plain TCP client of the simplest kind, for what no well-behaved client does. Calls block a pool thread.
final class RawConnection: Sendable {
    struct Failure: Error {
        var call: String
        var code: Int32
    }

    private let fd: Int32

    /// Connects and sends `opening` without a suspension in between: the server's clock for a header starts when it accepts,
    /// and a test's task may wait seconds for a thread while others block theirs.
    init(port: Int, receiveBuffer: Int32? = nil, opening: String = "") throws {
        fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard fd >= 0 else { throw Failure(call: "socket", code: errno) }
        if var size = receiveBuffer { setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, 4) }
        var timeout = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(port).bigEndian
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(fd, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard result == 0 else { throw Failure(call: "connect", code: errno) }
        let bytes = Array(opening.utf8)
        guard bytes.isEmpty || Linux.send(fd, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
            throw Failure(call: "send", code: errno)
        }
    }

    deinit {
        Linux.close(fd)
    }

    func write(_ text: String) async throws { try await write(Array(text.utf8)) }

    func write(_ bytes: [UInt8]) async throws {
        let fd = fd
        try await blockingPool.runIfActive {
            var offset = 0
            while offset < bytes.count {
                let count = bytes.withUnsafeBytes {
                    Linux.send(fd, $0.baseAddress! + offset, bytes.count - offset, Int32(MSG_NOSIGNAL))
                }
                guard count > 0 else { throw Failure(call: "send", code: errno) }
                offset += count
            }
        }
    }

    /// At once, for who must not wait for a thread: a few bytes.
    func send(_ text: String) {
        let bytes = Array(text.utf8)
        _ = Linux.send(fd, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }

    /// nil at the end of the connection.
    func read() async throws -> [UInt8]? {
        let fd = fd
        return try await blockingPool.runIfActive {
            var chunk = [UInt8](repeating: 0, count: 65536)
            let count = recv(fd, &chunk, chunk.count, 0)
            guard count >= 0 else { throw Failure(call: "recv", code: errno) }
            return count == 0 ? nil : Array(chunk[..<count])
        }
    }

    func readText(until marker: String) async throws -> String {
        var bytes: [UInt8] = []
        while let more = try await read() {
            bytes += more
            if String(decoding: bytes, as: UTF8.self).contains(marker) { break }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    func readToEnd() async throws -> String {
        var bytes: [UInt8] = []
        while let more = try await read() { bytes += more }
        return String(decoding: bytes, as: UTF8.self)
    }

    func shutdownWrite() {
        shutdown(fd, Int32(SHUT_WR))
    }

    /// Ends with a reset instead of a FIN.
    func abort() {
        var option = linger(l_onoff: 1, l_linger: 0)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
        shutdown(fd, Int32(SHUT_RDWR))
    }
}

/// Waits until the condition holds, for at most ten seconds.
func eventually(_ condition: @Sendable () async -> Bool) async -> Bool {
    for _ in 0..<1000 {
        if await condition() { return true }
        try? await Task.sleep(nanoseconds: 10_000_000)
    }
    return false
}

/// A loopback port at which nobody listens, for as long as this lives.
final class ReservedPort: Sendable {
    let port: Int
    private let fd: Int32

    init() throws {
        let fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard fd >= 0 else { throw RawConnection.Failure(call: "socket", code: errno) }
        self.fd = fd
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer -> Int32 in
                guard bind(fd, pointer, length) == 0 else { return -1 }
                return getsockname(fd, pointer, &length)
            }
        }
        guard result == 0 else { throw RawConnection.Failure(call: "bind", code: errno) }
        port = Int(in_port_t(bigEndian: address.sin_port))
    }

    deinit {
        Linux.close(fd)
    }
}
