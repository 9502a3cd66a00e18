import Codecs
import Linux
import Testing

@testable import Node

/// A server on the loopback interface that answers every connection with the same bytes.
final class LoopbackServer: Sendable {
    let port: UInt16
    private let listener: AsyncFD
    private let task: Task<Void, Never>

    init(_ answer: [UInt8]) throws {
        let raw = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        let descriptor = FileDescriptor(owning: raw)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bytes -> Int32 in
                guard bind(raw, bytes, length) == 0, listen(raw, 16) == 0 else { return -1 }
                return getsockname(raw, bytes, &length)
            }
        }
        guard bound == 0 else { throw SysError(errno, "bind") }
        port = UInt16(bigEndian: address.sin_port)
        let listener = try AsyncFD(descriptor)
        self.listener = listener
        task = Task {
            while !Task.isCancelled {
                guard
                    let accepted = try? await listener.whenReadable(
                        "accept",
                        { fd -> Int32 in
                            let result = accept(fd, nil, nil)
                            return result < 0 ? -errno : result
                        }), let connection = try? AsyncFD(FileDescriptor(owning: accepted))
                else { return }
                _ = try? await connection.read()
                try? await connection.write(answer)
                connection.close()
            }
        }
    }
    func close() {
        task.cancel()
        listener.close()
    }
}

@Suite("Network probes") struct NetworkProbeTests {
    private func http(_ answer: String, path: String = "/health") async throws -> ActionResult {
        let server = try LoopbackServer(Array(answer.utf8))
        defer { server.close() }
        return await HTTPProbe(host: "127.0.0.1", port: server.port, path: path, https: false, headers: []).run()
    }

    @Test func aGoodStatusIsSuccess() async throws {
        #expect(try await http("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") == .success("ok"))
        #expect(try await http("HTTP/1.0 204 No Content\r\n\r\n") == .success(""))
        #expect(
            try await http("HTTP/1.1 302 Found\r\nLocation: http://elsewhere.example/\r\nContent-Length: 0\r\n\r\n")
                == .success("Probe terminated redirects, Response body: "))
    }

    @Test func aBadStatusIsFailure() async throws {
        #expect(
            try await http("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")
                == .failure("HTTP probe failed with statuscode: 500"))
        guard
            case .failure(let loop) = try await http(
                "HTTP/1.1 301 Moved\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")
        else {
            Issue.record("redirects without end")
            return
        }
        #expect(loop.hasSuffix("stopped after 10 redirects"))
        guard case .failure = try await http("not http at all\r\n\r\n") else {
            Issue.record("garbage")
            return
        }
    }

    @Test func aClosedPortIsFailure() async throws {
        let server = try LoopbackServer([])
        let port = server.port
        server.close()
        try await Task.sleep(for: .milliseconds(20))
        let result = await HTTPProbe(host: "127.0.0.1", port: port, path: "/", https: false, headers: []).run()
        #expect(
            result
                == .failure(
                    "Get \"http://127.0.0.1:\(port)/\": dial tcp 127.0.0.1:\(port): connect: connection refused"))
        await #expect(throws: SysError.self) { _ = try await ProbeSocket.connect("127.0.0.1", port) }
    }

    @Test func theHeadHoldsTheProbesHeaders() {
        let probe = HTTPProbe(
            host: "fd00::1", port: 80, path: "x", https: false,
            headers: [.init("Host", "name.example"), .init("X-A", "1"), .init("Bad\r\nX", "2")])
        #expect(
            String(decoding: probe.head, as: UTF8.self)
                == "GET /x HTTP/1.1\r\nHost: name.example\r\nUser-Agent: kube-probe/1.36\r\nAccept: */*\r\nX-A: 1\r\nConnection: close\r\n\r\n"
        )
    }

    @Test(arguments: [(UInt8(1), true), (2, false), (3, false)])
    func grpcHealthIsUnderstood(_ status: UInt8, _ healthy: Bool) async throws {
        // SETTINGS, HEADERS (:status 200), DATA with the message, as a server sends them.
        let answer: [UInt8] =
            [0, 0, 0, 4, 0, 0, 0, 0, 0] + [0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88] + [
                0, 0, 7, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 2, 8, status,
            ]
        let server = try LoopbackServer(answer)
        defer { server.close() }
        let result = await GRPCHealthCheck(host: "127.0.0.1", port: server.port, service: "").run()
        #expect(
            result
                == (healthy
                    ? .success("service healthy")
                    : .failure(
                        "service unhealthy (responded with \"\(status == 2 ? "NOT_SERVING" : "SERVICE_UNKNOWN")\")")))
    }
}
