import CShims
import Linux
import Synchronization

/// What a server does for one method.
package enum GRPCMethod: Sendable {
    /// One message in, one out.
    case unary(@Sendable (GRPCRequest) async throws(GRPCStatus) -> [UInt8])
    /// One message in, any number out, by the stream's `send`; the task is cancelled when the client goes.
    case serverStream(@Sendable (GRPCRequest, GRPCStream) async throws(GRPCStatus) -> Void)
}

package struct GRPCRequest: Sendable {
    package var message: [UInt8]
    package var service: String
    package var method: String
    /// Header fields of the call: metadata of the caller.
    package var metadata: [GRPCHeader]
}

/// A gRPC server on a listening socket. At rest it is that socket in the process's epoll and one suspended task: no
/// thread, no table. A connection brings its own, and takes them along.
///
///     let server = GRPCServer { service, method in
///         service == "v1beta1.Registration" && method == "Register" ? .unary { try await register($0.message) } : nil
///     }
///     try await server.run(UnixSocket.listen(path, .stream))   // until the task is cancelled
///
/// Without TLS and without compression. Source: grpc's doc/PROTOCOL-HTTP2.md.
package final class GRPCServer: Sendable {
    /// nil: no such method. Called for each call.
    package typealias Lookup = @Sendable (_ service: String, _ method: String) -> GRPCMethod?

    /// Beyond it a new connection is closed at once.
    private static let connectionLimit = 256

    private let lookup: Lookup
    /// Called when the first client connects, and when the last one has gone.
    private let inUse: (@Sendable (Bool) -> Void)?
    private let connections = Mutex<[ObjectIdentifier: GRPCConnection]>([:])

    package init(inUse: (@Sendable (Bool) -> Void)? = nil, _ lookup: @escaping Lookup) {
        (self.lookup, self.inUse) = (lookup, inUse)
    }

    package var connectionCount: Int { connections.withLock { $0.count } }

    /// Serves until the task is cancelled; connections end with it.
    package func run(_ listener: consuming FileDescriptor) async throws(SysError) {
        let listener = try AsyncFD(listener)
        defer {
            listener.close()
            let open = connections.withLock { Array($0.values) }
            for connection in open { connection.close(GRPCStatus(.unavailable, "the server is stopping")) }
        }
        while !Task.isCancelled {
            do throws(SysError) {
                let fd = try await listener.whenReadable("accept") { k3s_accept($0) }
                serve(try AsyncFD(FileDescriptor(owning: fd)))
            } catch {
                switch error.code {
                case ECANCELED: return
                // No descriptors or no memory at the moment: the client waits in the backlog.
                case EMFILE, ENFILE, ENOBUFS, ENOMEM: try? await Task.sleep(for: .milliseconds(100))
                case ECONNABORTED, EPERM, EPROTO: continue
                default: throw error
                }
            }
        }
    }

    private func serve(_ io: AsyncFD) {
        let connection = GRPCConnection(io) { [weak self] stream in self?.start(stream) }
        let id = ObjectIdentifier(connection)
        let count = connections.withLock { all -> Int in
            guard all.count < Self.connectionLimit else { return 0 }
            all[id] = connection
            return all.count
        }
        guard count > 0 else {
            connection.close(GRPCStatus(.resourceExhausted, "too many connections"))
            return
        }
        if count == 1 { inUse?(true) }
        Task {
            await connection.run()
            let rest = connections.withLock { all in
                all[id] = nil
                return all.count
            }
            if rest == 0 { inUse?(false) }
        }
    }

    private func start(_ stream: GRPCStream) {
        let headers = stream.request
        guard headers.value(":method") == "POST",
            headers.value("content-type")?.hasPrefix("application/grpc") == true
        else {
            stream.finish(GRPCStatus(.internal, "not a gRPC request: expected a POST of application/grpc"))
            return
        }
        if let encoding = headers.value("grpc-encoding"), encoding != "identity" {
            stream.finish(
                GRPCStatus(.unimplemented, "grpc: Decompressor is not installed for grpc-encoding \"\(encoding)\""))
            return
        }
        let path = headers.value(":path") ?? ""
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0].isEmpty else {
            stream.finish(GRPCStatus(.unimplemented, "malformed method name: \"\(path)\""))
            return
        }
        let (service, method) = (String(parts[1]), String(parts[2]))
        guard let body = lookup(service, method) else {
            stream.finish(GRPCStatus(.unimplemented, "unknown method \(method) for service \(service)"))
            return
        }
        let call = Task {
            do throws(GRPCStatus) {
                guard let message = try await stream.next() else {
                    throw GRPCStatus(.internal, "the call ended without a message")
                }
                let request = GRPCRequest(message: message, service: service, method: method, metadata: headers)
                switch body {
                case .unary(let run): try await stream.send(try await run(request))
                case .serverStream(let run): try await run(request, stream)
                }
                stream.finish(.ok)
            } catch { stream.finish(error) }
        }
        var deadline: Task<Void, Never>?
        if let limit = headers.value("grpc-timeout").flatMap(GRPCTimeout.parse) {
            deadline = Task {
                try? await Task.sleep(for: limit)
                guard !Task.isCancelled else { return }
                stream.finish(GRPCStatus(.deadlineExceeded, "context deadline exceeded"))
                call.cancel()
            }
        }
        // The stream's end, whoever brings it about, ends both.
        stream.onCancel { [deadline] in
            call.cancel()
            deadline?.cancel()
        }
    }
}
