import Codecs
import Linux
import Synchronization
import Testing

@testable import GRPC

/// A server and a client of ours over a socket in a directory of the test's own.
@Suite struct GRPCServerTests {
    /// Runs `body` against a server with `lookup`; ends both.
    private func with(
        inUse: (@Sendable (Bool) -> Void)? = nil, _ lookup: @escaping GRPCServer.Lookup,
        _ body: (GRPCClient, String) async throws -> Void
    ) async throws {
        let path = "/tmp/grpc-test-\(getpid())-\(UInt64.random(in: 0...UInt64.max)).sock"
        defer { unlink(path) }
        Signals.ignoreBrokenPipe()
        let listener = try UnixSocket.listen(path, .stream).take()
        let server = GRPCServer(inUse: inUse, lookup)
        let running = Task { try await server.run(FileDescriptor(owning: listener)) }
        let client = GRPCClient(.unix(path))
        try await body(client, path)
        client.close()
        running.cancel()
        _ = try await running.value
    }

    private static let echo: GRPCServer.Lookup = { service, method in
        guard service == "test.Echo" else { return nil }
        switch method {
        case "Say": return .unary { request throws(GRPCStatus) in request.message }
        case "Fail": return .unary { _ throws(GRPCStatus) in throw GRPCStatus(.notFound, "100% of \"ü\": not found\n") }
        case "Count":
            return .serverStream { request, stream throws(GRPCStatus) in
                for index in 0..<UInt32(request.message[0]) * 10 {
                    try await stream.send(Array(repeating: UInt8(truncatingIfNeeded: index), count: 10_000))
                }
            }
        default: return nil
        }
    }

    private func say(_ client: GRPCClient, _ message: [UInt8]) async throws -> [UInt8] {
        try await client.call("/test.Echo/Say", message)
    }

    /// Until `condition` holds; a minute is more than any machine needs.
    private func eventually(_ what: String, _ condition: () -> Bool) async throws {
        for _ in 0..<6000 {
            if condition() { return }
            try await Task.sleep(for: .milliseconds(10))
        }
        Issue.record("never: \(what)")
    }

    private func status(_ body: () async throws -> Void) async -> GRPCStatus? {
        do {
            try await body()
            return nil
        } catch { return error as? GRPCStatus }
    }

    @Test func aMessageComesBack() async throws {
        try await with(Self.echo) { client, _ in
            let answer1 = try await say(client, [1, 2, 3])
            #expect(answer1 == [1, 2, 3])
            let answer2 = try await say(client, [])
            #expect(answer2 == [])
        }
    }

    @Test func messagesLargerThanTheWindowPass() async throws {
        try await with(Self.echo) { client, _ in
            let large = [UInt8]((0..<9_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) })
            let answer3 = try await say(client, large)
            #expect(answer3 == large)
        }
    }

    @Test func messagesBeyondTheLimitAreRefused() async throws {
        try await with(Self.echo) { client, path in
            let error = await status {
                _ = try await say(client, Array(repeating: 0, count: 17 << 20))
            }
            #expect(error?.code == .resourceExhausted)
            // One that lies about its length: the server does not wait for it.
            let io = try AsyncFD(UnixSocket.connect(path, .stream))
            let connection = GRPCConnection(io, accept: nil)
            let running = Task { await connection.run() }
            let stream = try #require(
                connection.open([
                    GRPCHeader(":method", "POST"), GRPCHeader(":scheme", "http"),
                    GRPCHeader(":path", "/test.Echo/Say"), GRPCHeader(":authority", "x"),
                    GRPCHeader("content-type", "application/grpc"),
                ]))
            _ = connection.sendRaw(stream, [0, 0xFF, 0xFF, 0xFF, 0xFF, 1])
            let refused = await status { _ = try await stream.next() }
            #expect(refused?.code == .resourceExhausted)
            connection.close(.ok)
            await running.value
            let answer4 = try await say(client, [7])
            #expect(answer4 == [7])
        }
    }

    @Test func statusAndMessageArriveAsTheyWere() async throws {
        try await with(Self.echo) { client, _ in
            let error = await status { _ = try await client.call("/test.Echo/Fail", []) }
            #expect(error == GRPCStatus(.notFound, "100% of \"ü\": not found\n"))
            let unknown = await status { _ = try await client.call("/test.Echo/Nothing", []) }
            #expect(unknown == GRPCStatus(.unimplemented, "unknown method Nothing for service test.Echo"))
        }
    }

    @Test func streamsWaitForTheirReader() async throws {
        let sent = Mutex(0)
        try await with({ _, _ in
            .serverStream { _, stream throws(GRPCStatus) in
                for _ in 0..<500 {
                    try await stream.send(Array(repeating: 1, count: 10_000))
                    sent.withLock { $0 += 1 }
                }
            }
        }) { client, _ in
            let slow = try await client.stream("/a.B/C", [])
            // Without flow control all five megabytes would be on their way by now; another call is not held up.
            _ = try await slow.next()
            try await Task.sleep(for: .milliseconds(200))
            #expect(sent.withLock { $0 } < 250)
            let other = try await client.stream("/a.B/C", [])
            let first = try await other.next()
            #expect(first?.count == 10_000)
            other.cancel()
            var count = 1
            while let message = try await slow.next() { count += message.count == 10_000 ? 1 : 0 }
            #expect(count == 500)
        }
    }

    @Test func manyCallsShareOneConnection() async throws {
        try await with(Self.echo) { client, _ in
            try await withThrowingTaskGroup(of: Bool.self) { group in
                for index in 0..<300 {
                    group.addTask {
                        let message = Array(repeating: UInt8(truncatingIfNeeded: index), count: index * 10)
                        return try await say(client, message) == message
                    }
                }
                for try await same in group { #expect(same) }
            }
        }
    }

    @Test func theDeadlineEndsBothSides() async throws {
        let cancelled = Mutex(false)
        try await with({ _, _ in
            .unary { _ throws(GRPCStatus) in
                try? await Task.sleep(for: .seconds(600))
                cancelled.withLock { $0 = Task.isCancelled }
                return []
            }
        }) { client, _ in
            let error = await status { _ = try await client.call("/a.B/C", [], timeout: .milliseconds(50)) }
            #expect(error?.code == .deadlineExceeded)
            try await eventually("the handler is cancelled") { cancelled.withLock { $0 } }
        }
    }

    @Test func aClientThatLeavesCancelsTheHandler() async throws {
        let cancelled = Mutex(0)
        try await with({ _, _ in
            .serverStream { _, stream throws(GRPCStatus) in
                try await stream.send([1])
                try? await Task.sleep(for: .seconds(600))
                cancelled.withLock { $0 += Task.isCancelled ? 1 : 0 }
            }
        }) { client, path in
            let stream = try await client.stream("/a.B/C", [])
            _ = try await stream.next()
            stream.cancel()
            try await eventually("one handler is cancelled") { cancelled.withLock { $0 } == 1 }
            let leaving = GRPCClient(.unix(path))
            _ = try await leaving.stream("/a.B/C", []).next()
            leaving.close()
            try await eventually("both handlers are cancelled") { cancelled.withLock { $0 } == 2 }
        }
    }

    @Test func nothingIsKeptForClientsThatWent() async throws {
        let changes = Mutex<[Bool]>([])
        try await with(inUse: { used in changes.withLock { $0.append(used) } }, Self.echo) { client, _ in
            #expect(changes.withLock { $0 } == [])
            _ = try await say(client, [1])
            #expect(changes.withLock { $0 } == [true])
            client.close()
            try await eventually("the server has noticed") { changes.withLock { $0 } == [true, false] }
        }
    }

    @Test func theClientConnectsAgain() async throws {
        try await with(Self.echo) { client, path in
            _ = try await say(client, [1])
            let gone = GRPCClient(.unix(path + ".missing"))
            let error = await status { _ = try await gone.call("/test.Echo/Say", []) }
            #expect(error?.code == .unavailable)
            #expect(error?.message.contains("no such file") == true)
        }
    }

    @Test func bytesThatAreNoHTTP2EndTheConnectionOnly() async throws {
        try await with(Self.echo) { client, path in
            let io = try AsyncFD(UnixSocket.connect(path, .stream))
            try await io.write(Array("GET / HTTP/1.1\r\nHost: x\r\n\r\n".utf8))
            while let bytes = try? await io.read(), !bytes.isEmpty {}
            let answer5 = try await say(client, [5])
            #expect(answer5 == [5])
        }
    }

    @Test func targetsAreReadAsTheKubeletWritesThem() {
        #expect(GRPCClient.Target("unix:///run/x.sock") == .unix("/run/x.sock"))
        #expect(GRPCClient.Target("/run/x.sock") == .unix("/run/x.sock"))
        #expect(GRPCClient.Target("tcp://127.0.0.1:99") == .tcp("127.0.0.1", 99))
        #expect(GRPCClient.Target("tcp://[::1]:99") == .tcp("::1", 99))
        #expect(GRPCClient.Target("unix://run/x.sock") == nil)
        #expect(GRPCClient.Target("http://x") == nil)
    }

    @Test func timeoutsHaveAtMostEightDigits() {
        #expect(GRPCTimeout.text(.milliseconds(50)) == "50000000n")
        #expect(GRPCTimeout.text(.seconds(2)) == "2000000u")
        #expect(GRPCTimeout.text(.seconds(86_400)) == "86400000m")
        #expect(GRPCTimeout.parse("2S") == .seconds(2))
        #expect(GRPCTimeout.parse("99999999H") != nil)
        #expect(GRPCTimeout.parse("2") == nil)
        #expect(GRPCTimeout.parse("123456789S") == nil)
    }
}
