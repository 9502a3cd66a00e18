internal import Codecs
package import Containers
package import KubeAPI
internal import Linux

/// Carries out probes and hooks for real: commands through the runtime, the network ones from the node.
package struct SystemActions: ActionRunner {
    let runtime: any ContainerRuntime
    let clock: any KubeClock

    let secure: SecureProbes?

    package init(runtime: any ContainerRuntime, clock: any KubeClock, secure: SecureProbes? = nil) {
        (self.runtime, self.clock, self.secure) = (runtime, clock, secure)
    }

    package func run(_ action: ResolvedAction, container: String, timeout: Duration) async -> ActionResult {
        switch action {
        case .exec(let command): return await exec(command, container, timeout)
        case .sleep(let seconds):
            await clock.sleep(for: min(.seconds(seconds), timeout))
            return .success("")
        case .impossible(let message): return .error(message)
        case .tcp(let host, let port):
            return await limited(timeout, "dial tcp \(Self.join(host, port)): i/o timeout") {
                do throws(SysError) {
                    _ = try await ProbeSocket.connect(host, port)
                    return .success("")
                } catch {
                    return .failure("dial tcp \(Self.join(host, port)): connect: \(SysError.text(error.code))")
                }
            }
        case .http(let host, let port, let path, let https, let headers):
            let request = HTTPProbe(host: host, port: port, path: path, https: https, headers: headers, secure: secure)
            let late =
                "Get \"\(request.url)\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
            return await limited(timeout, late) { await request.run() }
        case .grpc(let host, let port, let service):
            let late =
                "timeout: failed to connect service \"\(Self.join(host, port))\" within \(timeout.goText): context deadline exceeded"
            return await limited(timeout, late) {
                await GRPCHealthCheck(host: host, port: port, service: service).run()
            }
        }
    }

    static func join(_ host: String, _ port: UInt16) -> String {
        host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    private func exec(_ command: [String], _ container: String, _ timeout: Duration) async -> ActionResult {
        do throws(RuntimeError) {
            let result = try await runtime.execSync(container, command: command, timeout: timeout)
            // Upstream shows both streams as they came; at most 10 KiB.
            let output = String(decoding: (result.stdout + result.stderr).prefix(10 << 10), as: UTF8.self)
            return result.exitCode == 0 ? .success(output) : .failure(output)
        } catch {
            if error.code == .timedOut {
                return .failure(
                    "command timed out: \"\(command.joined(separator: " "))\" timed out after \(timeout.goText)")
            }
            return .error(error.message)
        }
    }

    /// The action, or `late` when the time is over first.
    private func limited(
        _ timeout: Duration, _ late: String, _ body: @escaping @Sendable () async -> ActionResult
    ) async -> ActionResult {
        await withTaskGroup(of: ActionResult?.self) { group in
            group.addTask { await body() }
            group.addTask { [clock] in
                await clock.sleep(for: timeout)
                return nil
            }
            let first = await group.next() ?? nil
            group.cancelAll()
            return first ?? .failure(late)
        }
    }
}

/// A TCP connection for one probe, without a client library: probes are many and short.
enum ProbeSocket {
    static func connect(_ host: String, _ port: UInt16) async throws(SysError) -> AsyncFD {
        let address = try await resolve(host, port)
        let raw = socket(address.family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard raw >= 0 else { throw SysError(errno, "socket") }
        let descriptor = FileDescriptor(owning: raw)
        // A probe must not leave its port in TIME_WAIT.
        var linger = Linux.linger(l_onoff: 1, l_linger: 1)
        _ = setsockopt(raw, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Linux.linger>.size))
        let connection = try AsyncFD(descriptor)
        let begun = try connection.withDescriptor { fd in
            address.bytes.withUnsafeBytes { bytes -> Int32 in
                guard let base = bytes.baseAddress else { return EINVAL }
                let result = Linux.connect(fd, base.assumingMemoryBound(to: sockaddr.self), socklen_t(bytes.count))
                return result == 0 ? 0 : errno
            }
        }
        switch begun {
        case 0: return connection
        case EINPROGRESS, EINTR: break
        case let code: throw SysError(code, "connect")
        }
        let failure = try await connection.whenWritable("connect") { fd -> Int in
            var poll = pollfd(fd: fd, events: Int16(POLLOUT), revents: 0)
            guard Linux.poll(&poll, 1, 0) > 0 else { return -Int(EAGAIN) }
            var code: Int32 = 0
            var length = socklen_t(MemoryLayout<Int32>.size)
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &length)
            return Int(code)
        }
        guard failure == 0 else { throw SysError(Int32(failure), "connect") }
        return connection
    }

    struct Address: Sendable {
        var family: Int32
        var bytes: [UInt8]
    }

    /// Literal addresses at once, names through the resolver on a thread of its own.
    static func resolve(_ host: String, _ port: UInt16) async throws(SysError) -> Address {
        var v4 = sockaddr_in()
        if inet_pton(AF_INET, host, &v4.sin_addr) == 1 {
            v4.sin_family = sa_family_t(AF_INET)
            v4.sin_port = port.bigEndian
            return Address(family: AF_INET, bytes: withUnsafeBytes(of: &v4) { Array($0) })
        }
        var v6 = sockaddr_in6()
        if inet_pton(AF_INET6, host, &v6.sin6_addr) == 1 {
            v6.sin6_family = sa_family_t(AF_INET6)
            v6.sin6_port = port.bigEndian
            return Address(family: AF_INET6, bytes: withUnsafeBytes(of: &v6) { Array($0) })
        }
        let found = await BlockingPool.shared.run { () -> Address? in
            var hints = addrinfo()
            hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
            var list: UnsafeMutablePointer<addrinfo>?
            guard getaddrinfo(host, String(port), &hints, &list) == 0, let list else { return nil }
            defer { freeaddrinfo(list) }
            guard let address = list.pointee.ai_addr else { return nil }
            let bytes = UnsafeRawBufferPointer(start: address, count: Int(list.pointee.ai_addrlen))
            return Address(family: list.pointee.ai_family, bytes: Array(bytes))
        }
        guard let found else { throw SysError(EHOSTUNREACH, call: "lookup \(host)") }
        return found
    }
}
