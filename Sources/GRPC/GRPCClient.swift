import CShims
import Linux
import Synchronization

/// A gRPC client: one connection, made with the first call and again when it has gone; any number of calls on it.
///
///     let client = GRPCClient(.unix("/var/lib/kubelet/device-plugins/gpu.sock"))
///     let answer = try await client.call("/v1beta1.DevicePlugin/GetPreferredAllocation", request, timeout: .seconds(10))
///     let list = try await client.stream("/v1beta1.DevicePlugin/ListAndWatch", [])
///     while let message = try await list.next() { ... }
package final class GRPCClient: Sendable {
    package enum Target: Sendable, Equatable {
        case unix(String)
        /// An address, not a name.
        case tcp(String, UInt16)

        /// "unix:///run/x.sock", "unix:/run/x.sock", "/run/x.sock", "tcp://127.0.0.1:1234"; nil for anything else.
        package init?(_ text: String) {
            if text.hasPrefix("unix://") {
                self = .unix(String(text.dropFirst(7)))
            } else if text.hasPrefix("unix:") {
                self = .unix(String(text.dropFirst(5)))
            } else if text.hasPrefix("/") {
                self = .unix(text)
            } else if text.hasPrefix("tcp://"), let colon = text.lastIndex(of: ":"),
                let port = UInt16(text[text.index(after: colon)...])
            {
                let host = text[text.index(text.startIndex, offsetBy: 6)..<colon]
                self = .tcp(host.filter { $0 != "[" && $0 != "]" }, port)
            } else {
                return nil
            }
            if case .unix(let path) = self, !path.hasPrefix("/"), !path.hasPrefix("@") { return nil }
        }

        var authority: String { if case .tcp(let host, let port) = self { "\(host):\(port)" } else { "localhost" } }
    }

    private struct State {
        var connection: GRPCConnection?
        var closed = false
    }

    private let target: Target
    private let state = Mutex(State())

    package init(_ target: Target) { self.target = target }

    deinit { close() }

    /// Ends the connection and all calls on it. A call after it fails.
    package func close() {
        let connection = state.withLock { state in
            state.closed = true
            defer { state.connection = nil }
            return state.connection
        }
        connection?.close(GRPCStatus(.cancelled, "grpc: the client connection is closing"))
    }

    /// One message there, one back.
    package func call(
        _ path: String, _ message: [UInt8], timeout: Duration? = nil, metadata: [GRPCHeader] = []
    ) async throws(GRPCStatus) -> [UInt8] {
        let stream = try await stream(path, message, timeout: timeout, metadata: metadata)
        guard let answer = try await stream.next() else {
            throw GRPCStatus(.internal, "the server answered \(path) without a message")
        }
        // The status comes after the message.
        if try await stream.next() != nil {
            stream.cancel()
            throw GRPCStatus(.internal, "the server answered \(path) with more than one message")
        }
        return answer
    }

    /// One message there, any number back: read them with `next`. Cancel the stream when you leave before its end.
    package func stream(
        _ path: String, _ message: [UInt8], timeout: Duration? = nil, metadata: [GRPCHeader] = []
    ) async throws(GRPCStatus) -> GRPCStream {
        var headers = [
            GRPCHeader(":method", "POST"), GRPCHeader(":scheme", "http"), GRPCHeader(":path", path),
            GRPCHeader(":authority", target.authority), GRPCHeader("te", "trailers"),
            GRPCHeader("content-type", "application/grpc"), GRPCHeader("user-agent", "k3s-swift"),
        ]
        if let timeout { headers.append(GRPCHeader("grpc-timeout", GRPCTimeout.text(timeout))) }
        headers += metadata
        let start = ContinuousClock.now
        var opened: GRPCStream?
        // A connection may end between being found and being used: twice is bad luck, three times a broken server.
        for _ in 0..<3 where opened == nil { opened = try await connection(timeout).open(headers) }
        guard let stream = opened else { throw GRPCStatus(.unavailable, "\(place): the connection ended") }
        if let timeout {
            let left = timeout - (ContinuousClock.now - start)
            let deadline = Task {
                try? await Task.sleep(for: left)
                if !Task.isCancelled { stream.cancel(GRPCStatus(.deadlineExceeded, "context deadline exceeded")) }
            }
            stream.onCancel { deadline.cancel() }
        }
        do throws(GRPCStatus) { try await stream.send(message) } catch {
            stream.cancel(error)
            throw error
        }
        stream.finishSending()
        return stream
    }

    // MARK: - Connection

    private var place: String {
        switch target {
        case .unix(let path): "unix://\(path)"
        case .tcp(let host, let port): "tcp://\(host):\(port)"
        }
    }

    private func connection(_ timeout: Duration?) async throws(GRPCStatus) -> GRPCConnection {
        let (present, closed) = state.withLock { ($0.connection, $0.closed) }
        if closed { throw GRPCStatus(.cancelled, "grpc: the client connection is closing") }
        if let present, present.isUsable { return present }
        let io: AsyncFD
        do throws(SysError) { io = try await dial() } catch {
            throw GRPCStatus(.unavailable, "connection error: desc = \"transport: Error while dialing: \(error)\"")
        }
        let fresh = GRPCConnection(io, accept: nil)
        let (chosen, replaced) = state.withLock { state -> (GRPCConnection?, GRPCConnection?) in
            if state.closed { return (nil, fresh) }
            // Somebody else was faster.
            if let other = state.connection, other.isUsable { return (other, fresh) }
            // The old one goes when its last call has.
            state.connection = fresh
            return (fresh, nil)
        }
        replaced?.close(GRPCStatus(.cancelled, "not needed"))
        guard let chosen else { throw GRPCStatus(.cancelled, "grpc: the client connection is closing") }
        if replaced == nil { Task { await fresh.run() } }
        return chosen
    }

    private func dial() async throws(SysError) -> AsyncFD {
        switch target {
        case .unix(let path): return try AsyncFD(UnixSocket.connect(path, .stream))
        case .tcp(let host, let port):
            var address4 = sockaddr_in()
            var address6 = sockaddr_in6()
            let version6: Bool
            if inet_pton(AF_INET, host, &address4.sin_addr) == 1 {
                address4.sin_family = sa_family_t(AF_INET)
                address4.sin_port = port.bigEndian
                version6 = false
            } else if inet_pton(AF_INET6, host, &address6.sin6_addr) == 1 {
                address6.sin6_family = sa_family_t(AF_INET6)
                address6.sin6_port = port.bigEndian
                version6 = true
            } else {
                throw SysError(EINVAL, "connect", path: host)
            }
            let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
            let io = try AsyncFD(
                FileDescriptor(owning: try syscall("socket") { socket(version6 ? AF_INET6 : AF_INET, type, 0) }))
            let started = try io.withDescriptor { fd in
                version6 ? Self.connect(fd, &address6) : Self.connect(fd, &address4)
            }
            if started == EINPROGRESS {
                _ = try await io.whenWritable("connect") { fd -> Int32 in
                    var entry = pollfd(fd: fd, events: Int16(POLLOUT), revents: 0)
                    if poll(&entry, 1, 0) == 0 { return -EAGAIN }
                    var error: Int32 = 0
                    var size = socklen_t(MemoryLayout<Int32>.size)
                    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size)
                    return -error
                }
            } else if started != 0 {
                throw SysError(started, "connect", path: place)
            }
            return io
        }
    }

    /// 0 or an errno.
    private static func connect<A>(_ fd: Int32, _ address: inout A) -> Int32 {
        withUnsafeBytes(of: &address) { bytes -> Int32 in
            guard let base = bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self) else { return EINVAL }
            return Glibc.connect(fd, base, socklen_t(bytes.count)) == 0 ? 0 : errno
        }
    }
}
