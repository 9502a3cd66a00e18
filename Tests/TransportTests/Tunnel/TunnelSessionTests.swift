import Codecs
import NIOPosix
import Synchronization
import Testing

@testable import Transport

/// Both ends over a real WebSocket on loopback: `server` dials, `client` is the agent.
private struct TunnelPair: Sendable {
    let server: TunnelSession
    let client: TunnelSession
    let socket: WebSocketConnection
}

private final class Box<Value: Sendable>: Sendable {
    private let value = Mutex<Value?>(nil)
    func set(_ new: Value) { value.withLock { $0 = new } }
    func get() async -> Value? {
        _ = await eventually { self.value.withLock { $0 != nil } }
        return value.withLock { $0 }
    }
}

private func withTunnel(
    serverLimits: TunnelLimits = TunnelLimits(), clientLimits: TunnelLimits = TunnelLimits(),
    allow: @escaping @Sendable (TunnelAddress) -> Bool = { _ in true },
    dial: @escaping TunnelSession.Dialer, _ body: (TunnelPair) async throws -> Void
) async throws {
    let accepted = Box<TunnelSession>()
    let handler: HTTPHandler = { request in
        WebSocketHandshake.accept(request, protocols: [], limit: TunnelSession.messageLimit) { socket, _ in
            let session = TunnelSession(socket, role: .server, limits: serverLimits)
            accepted.set(session)
            try? await session.run()
        }
    }
    try await withServer(handler: handler) { port, server in
        let connected = try await WebSocketHandshake.connect(
            try testClient(), try HTTPURL("ws://127.0.0.1:\(port)/"), limit: TunnelSession.messageLimit)
        let socket = try #require(connected.socket)
        let client = TunnelSession(socket, role: .client, limits: clientLimits, allow: allow, dial: dial)
        let running = Task { try? await client.run() }
        let session = try #require(await accepted.get())
        try await body(TunnelPair(server: session, client: client, socket: socket))
        client.close()
        await running.value
        #expect(await eventually { server.connectionCount == 0 && session.connectionCount == 0 })
    }
}

/// What a dialer hands out: gives back what it gets, until its own end is asked for.
private final class Echo: ByteStream {
    private let queue = ByteQueue(limit: 1 << 20)
    func read() async throws -> [UInt8]? { try await queue.pop() }
    func send(_ bytes: [UInt8]) { queue.pushNow(bytes) }
    func drained() async throws {}
    func closeWrite() { queue.end() }
    func close() { queue.end() }
}

/// As fast as it is read, `count` bytes.
private final class Source: ByteStream {
    let left: Mutex<Int>
    let sent = Mutex(0)
    init(_ count: Int) { left = Mutex(count) }
    func read() async throws -> [UInt8]? {
        let count = left.withLock { left in
            let count = min(left, 10_000)
            left -= count
            return count
        }
        sent.withLock { $0 += count }
        return count == 0 ? nil : [UInt8](repeating: 7, count: count)
    }
    func send(_ bytes: [UInt8]) {}
    func drained() async throws {}
    func closeWrite() {}
    func close() { left.withLock { $0 = 0 } }
}

private func collect(_ stream: any ByteStream, upTo count: Int = .max) async throws -> [UInt8] {
    var all: [UInt8] = []
    while all.count < count, let bytes = try await stream.read() { all += bytes }
    return all
}

@Suite struct TunnelSessionTests {
    @Test func bytesGoBothWaysAndTheEndIsSeen() async throws {
        try await withTunnel(dial: { _ in Echo() }) { tunnel in
            let stream = try tunnel.server.dial("tcp", "10.42.1.7:80")
            let sent = (0..<200_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            try await stream.write(sent)
            #expect(try await collect(stream, upTo: sent.count) == sent)
            #expect(tunnel.client.connectionCount == 1)
            stream.close()
            #expect(await eventually { tunnel.client.connectionCount == 0 })
            #expect(try await stream.read() == nil)
        }
    }

    @Test func whatWasSentBeforeTheEndIsRead() async throws {
        try await withTunnel(dial: { _ in Source(100_000) }) { tunnel in
            let stream = try tunnel.server.dial("tcp", "a:1")
            #expect(await eventually { tunnel.client.connectionCount == 0 })
            #expect(try await collect(stream).count == 100_000)
        }
    }

    @Test func policyAndDialErrorsReachTheCaller() async throws {
        struct Refused: Error, CustomStringConvertible { var description: String { "connection refused" } }
        try await withTunnel(allow: { $0.port == 10250 }, dial: { _ in throw Refused() }) { tunnel in
            let forbidden = try tunnel.server.dial("tcp", "127.0.0.1:22")
            await #expect(throws: TunnelError.closedByPeer("connect not allowed")) { try await forbidden.read() }
            let refused = try tunnel.server.dial("tcp", "127.0.0.1:10250")
            await #expect(throws: TunnelError.closedByPeer("connection refused")) { try await refused.read() }
            #expect(tunnel.server.connectionCount == 0)
            #expect(!tunnel.server.isEnded)
        }
    }

    @Test func theServerCannotBeAskedToConnect() async throws {
        try await withTunnel(dial: { _ in Echo() }) { tunnel in
            let stream = try tunnel.client.dial("tcp", "127.0.0.1:6443")
            await #expect(throws: TunnelError.closedByPeer("connect not allowed")) { try await stream.read() }
        }
    }

    @Test func slowReaderPausesItsOwnConnectionOnly() async throws {
        var limits = TunnelLimits()
        limits.pauseAbove = 100_000
        limits.resumeBelow = 20_000
        let total = 24_000_000
        let source = Source(total)
        try await withTunnel(
            serverLimits: limits, dial: { $0.host == "slow" ? source as any ByteStream : Echo() as any ByteStream }
        ) { tunnel in
            let slow = try tunnel.server.dial("tcp", "slow:1")
            // It stops without being read: what is on its way is less than the whole.
            let last = Mutex(-1)
            let stopped = await eventually {
                let now = source.sent.withLock { $0 }
                return last.withLock { last in
                    defer { last = now }
                    return now > 100_000 && now == last
                }
            }
            #expect(stopped)
            #expect(source.sent.withLock { $0 } < total)
            let other = try tunnel.server.dial("tcp", "echo:1")
            try await other.write([1, 2, 3])
            #expect(try await other.read() == [1, 2, 3])
            #expect(try await collect(slow).count == total)
        }
    }

    @Test func aPeerThatDoesNotPauseIsCutOff() async throws {
        var limits = TunnelLimits()
        limits.connectionBytes = 50_000
        try await withTunnel(serverLimits: limits, dial: { _ in Source(.max) }) { tunnel in
            let stream = try tunnel.server.dial("tcp", "flood:1")
            await #expect(throws: TunnelError.overflow(limit: 50_000)) {
                // Reading starts when it is over.
                _ = await eventually { tunnel.server.connectionCount == 0 }
                _ = try await collect(stream)
            }
            #expect(await eventually { tunnel.client.connectionCount == 0 })
            #expect(!tunnel.server.isEnded)
        }
    }

    @Test func manyConnectionsAtOnce() async throws {
        try await withTunnel(dial: { _ in Echo() }) { tunnel in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<300 {
                    group.addTask {
                        let stream = try tunnel.server.dial("tcp", "host-\(number):1")
                        for round in 0..<20 {
                            let bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: number &+ round), count: 777)
                            try await stream.write(bytes)
                            #expect(try await collect(stream, upTo: 777) == bytes)
                        }
                        stream.close()
                    }
                }
                try await group.waitForAll()
            }
            #expect(await eventually { tunnel.client.connectionCount == 0 })
        }
    }

    @Test func connectionsBeyondTheLimitAreRefused() async throws {
        var limits = TunnelLimits()
        limits.connections = 2
        try await withTunnel(clientLimits: limits, dial: { _ in Echo() }) { tunnel in
            let streams = try (0..<3).map { try tunnel.server.dial("tcp", "h:\($0)") }
            await #expect(throws: TunnelError.self) { try await streams[2].read() }
            try await streams[0].write([9])
            #expect(try await streams[0].read() == [9])
        }
    }

    @Test func syncEndsWhatTheClientNoLongerHas() async throws {
        try await withTunnel(dial: { _ in Echo() }) { tunnel in
            let stream = try tunnel.server.dial("tcp", "h:1")
            try await stream.write([1])
            #expect(try await stream.read() == [1])
            // An empty list: the first may be older than the connection, the second is not.
            let empty = TunnelFrame.sync(id: 1, connections: []).encoded
            try await tunnel.socket.send(binary: empty)
            try await stream.write([2])
            #expect(try await stream.read() == [2])
            try await tunnel.socket.send(binary: empty)
            await #expect(throws: TunnelError.self) { try await stream.read() }
            // A list that names it keeps it.
            let kept = try tunnel.server.dial("tcp", "h:2")
            try await kept.write([3])
            #expect(try await kept.read() == [3])
            tunnel.client.sendSync()
            tunnel.client.sendSync()
            try await kept.write([4])
            #expect(try await kept.read() == [4])
        }
    }

    @Test func malformedMessageEndsTheSessionAndItsConnections() async throws {
        try await withTunnel(dial: { _ in Echo() }) { tunnel in
            let stream = try tunnel.server.dial("tcp", "h:1")
            try await stream.write([1])
            #expect(try await stream.read() == [1])
            try await tunnel.socket.send(binary: [0xFF])
            await #expect(throws: TunnelError.sessionEnded) { try await stream.read() }
            #expect(await eventually { tunnel.client.isEnded })
            #expect(throws: TunnelError.sessionEnded) { try tunnel.server.dial("tcp", "h:1") }
        }
    }

    @Test func unknownMessageTypeIsLeftOut() async throws {
        try await withTunnel(dial: { _ in Echo() }) { tunnel in
            try await tunnel.socket.send(binary: [2, 2, 0x7E, 1, 2, 3])
            let stream = try tunnel.server.dial("tcp", "h:1")
            try await stream.write([1])
            #expect(try await stream.read() == [1])
        }
    }

    @Test func realSocketsBehindTheTunnel() async throws {
        try await withServer(handler: echoHandler) { port, _ in
            let group = MultiThreadedEventLoopGroup.singleton
            try await withTunnel(dial: {
                try await StreamConnector.connect(host: $0.host, port: Int($0.port), group: group)
            }) { tunnel in
                let stream = try tunnel.server.dial("tcp", "127.0.0.1:\(port)")
                try await stream.write(
                    Array("GET /through HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".utf8))
                let text = String(decoding: try await collect(stream), as: UTF8.self)
                #expect(text.hasPrefix("HTTP/1.1 200 OK\r\n") && text.contains("GET /through"))
                let nowhere = try tunnel.server.dial("tcp", "127.0.0.1:1")
                await #expect(throws: TunnelError.closedByPeer("dial 127.0.0.1:1: connect: connection refused")) {
                    try await nowhere.read()
                }
            }
        }
    }
}
