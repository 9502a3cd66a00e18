import NIOPosix
import Synchronization
import Testing

@testable import Transport

@Suite struct SPDYFrameTests {
    private static let frames: [SPDYFrame] = [
        .synStream(id: 1, associated: 0, priority: 3, headers: ["streamtype": "error", "x": ""], fin: false),
        .synReply(id: 1, headers: [:], fin: true),
        .synStream(id: 3, associated: 1, priority: 0, headers: ["streamtype": "data", "port": "80"], fin: true),
        .data(id: 1, [], fin: true), .data(id: 3, [UInt8](repeating: 4, count: 70_000), fin: false),
        .rstStream(id: 3, status: 5), .settings([SPDYSetting(id: 7, value: 1 << 20)]), .ping(7),
        .goAway(lastGood: 3, status: 0), .headers(id: 1, headers: ["a": "b", "a": "c"], fin: false),
        .windowUpdate(id: 1, delta: 0x7FFF_FFFF),
    ]

    @Test func framesSurviveHoweverTheyAreSplit() throws {
        var encoder = try SPDYEncoder()
        var bytes: [UInt8] = []
        for frame in Self.frames { bytes += encoder.encode(frame) }
        for step in [1, 7, 1000, bytes.count] {
            var decoder = try SPDYDecoder()
            var decoded: [SPDYFrame] = []
            for start in stride(from: 0, to: bytes.count, by: step) {
                decoder.feed(Array(bytes[start..<min(start + step, bytes.count)]))
                while let frame = try decoder.next() { decoded.append(frame) }
            }
            #expect(decoded == Self.frames)
        }
    }

    /// The dictionary's checksum is in every zlib stream's header: 78 bb e3 c6 a7 c2 on the wire of other implementations.
    @Test func dictionaryIsTheSpecifications() throws {
        var encoder = try SPDYEncoder()
        let bytes = encoder.encode(.synReply(id: 1, headers: ["status": "200 OK"], fin: false))
        #expect(Array(bytes[14..<18]) == [0xE3, 0xC6, 0xA7, 0xC2])
        #expect(SPDYHeaderBlock.dictionary.count == 1423)
    }

    @Test(.enabled(if: Command.find("python3") != nil, "needs python3"))
    func headersOfAnotherZlibAreUnderstood() async throws {
        let script = """
            import sys, zlib, struct
            d = bytes(map(int, sys.argv[1].split(",")))
            c = zlib.compressobj(9, zlib.DEFLATED, 15, 8, zlib.Z_DEFAULT_STRATEGY, d)
            def block(h):
                out = struct.pack(">I", len(h))
                for k, v in h: out += struct.pack(">I", len(k)) + k + struct.pack(">I", len(v)) + v
                return c.compress(out) + c.flush(zlib.Z_SYNC_FLUSH)
            for i in range(50):
                b = block([(b"streamtype", b"stdin"), (b"n", str(i).encode() * 40)])
                sys.stdout.buffer.write(struct.pack(">II", 0x80030001, len(b) + 10))
                sys.stdout.buffer.write(struct.pack(">IIBB", 2 * i + 1, 0, 0, 0) + b)
            """
        let dictionary = SPDYHeaderBlock.dictionary.map { "\($0)" }.joined(separator: ",")
        let out = try await Command.run(["python3", "-c", script, dictionary])
        var decoder = try SPDYDecoder()
        decoder.feed(out.stdout)
        for index in 0..<50 {
            let number = (0..<40).map { _ in "\(index)" }.joined()
            #expect(
                try decoder.next()
                    == .synStream(
                        id: UInt32(2 * index + 1), associated: 0, priority: 0,
                        headers: ["streamtype": "stdin", "n": number], fin: false), "\(out.errorText)")
        }
    }

    @Test func damagedFramesNeverTrap() throws {
        for _ in 0..<3000 {
            var encoder = try SPDYEncoder()
            var bytes: [UInt8] = []
            for frame in Self.frames.shuffled().prefix(4)
            where { if case .data(3, _, _) = frame { false } else { true } }() {
                bytes += encoder.encode(frame)
            }
            for _ in 0..<Int.random(in: 1...4) where !bytes.isEmpty {
                bytes[Int.random(in: 0..<bytes.count)] = UInt8.random(in: 0...255)
            }
            var decoder = try SPDYDecoder()
            decoder.feed(bytes)
            var count = 0
            while count < 100, let frame = try? decoder.next() {
                _ = frame
                count += 1
            }
            #expect(count < 100)
        }
    }

    @Test func headerBombIsRefused() throws {
        var encoder = try SPDYEncoder()
        let bytes = encoder.encode(
            .synStream(
                id: 1, associated: 0, priority: 0, headers: ["a": String(repeating: "x", count: 2 << 20)], fin: false))
        #expect(bytes.count < 64 << 10)
        var decoder = try SPDYDecoder()
        decoder.feed(bytes)
        #expect(throws: SPDYError.self) { try decoder.next() }
    }
}

@Suite struct SPDYSessionTests {
    /// A client session to a server that serves each stream with `serve`.
    private func withSessions(
        _ serve: @escaping @Sendable (SPDYStream) async -> Void,
        _ body: (SPDYSession, any ByteStream) async throws -> Void
    ) async throws {
        let handler: HTTPHandler = { _ in
            .upgrade(protocol: "SPDY/3.1") { connection in
                guard let session = try? SPDYSession(connection, role: .server) else { return }
                try? await session.run { stream in
                    stream.reply()
                    Task { await serve(stream) }
                }
            }
        }
        try await withServer(handler: handler) { port, server in
            let response = try await testClient().execute(
                HTTPClientRequest(
                    "POST", try HTTPURL("http://127.0.0.1:\(port)/"),
                    headers: ["Connection": "Upgrade", "Upgrade": "SPDY/3.1"]))
            let connection = try #require(response.upgraded)
            let session = try SPDYSession(connection, role: .client)
            let reader = Task { try? await session.run { $0.reset() } }
            try await body(session, connection)
            connection.close()
            await reader.value
            #expect(await eventually { server.connectionCount == 0 })
        }
    }

    private let echo: @Sendable (SPDYStream) async -> Void = { stream in
        while let bytes = try? await stream.read() { try? await stream.write(bytes) }
        stream.closeWrite()
    }

    @Test func manyStreamsAtOnceWithHalfClose() async throws {
        try await withSessions(echo) { session, _ in
            try await withThrowingTaskGroup(of: Bool.self) { group in
                for index in 0..<20 {
                    group.addTask {
                        let stream = try session.open(["n": "\(index)"])
                        let data = [UInt8](repeating: UInt8(index), count: 300_000)
                        async let writing: Void = {
                            try await stream.write(data)
                            stream.closeWrite()
                        }()
                        var all: [UInt8] = []
                        while let bytes = try await stream.read() { all += bytes }
                        try await writing
                        return all == data
                    }
                }
                for try await good in group { #expect(good) }
            }
        }
    }

    @Test func resetEndsBothDirections() async throws {
        let ended = Mutex(false)
        try await withSessions({ stream in
            while (try? await stream.read()) ?? nil != nil {}
            ended.withLock { $0 = true }
        }) { session, _ in
            let stream = try session.open([:])
            try await stream.write([1])
            stream.reset()
            #expect(await eventually { ended.withLock { $0 } })
            await #expect(throws: HTTPConnectionError.peerGone) { try await stream.write([1]) }
            // The session lives on.
            let other = try session.open([:])
            try await other.write([2])
            other.closeWrite()
        }
    }

    @Test func windowsHoldTheSenderBack() async throws {
        let connected = try await MemoryPipe.pair()
        let session = try SPDYSession(connected.0, role: .server)
        let (streams, found) = AsyncStream<SPDYStream>.makeStream()
        let reader = Task {
            try? await session.run { stream in
                stream.reply()
                found.yield(stream)
            }
        }
        var encoder = try SPDYEncoder()
        connected.1.send(encoder.encode(.settings([SPDYSetting(id: SPDYSetting.initialWindowSize, value: 1000)])))
        connected.1.send(encoder.encode(.synStream(id: 1, associated: 0, priority: 0, headers: [:], fin: false)))
        var iterator = streams.makeAsyncIterator()
        let stream = try #require(await iterator.next())
        stream.send([UInt8](repeating: 1, count: 2500))
        stream.closeWrite()
        var decoder = try SPDYDecoder()
        func next() async throws -> SPDYFrame? {
            while true {
                if let frame = try decoder.next() { return frame }
                guard let bytes = try await connected.1.read() else { return nil }
                decoder.feed(bytes)
            }
        }
        #expect(try await next() == .synReply(id: 1, headers: [:], fin: false))
        #expect(try await next() == .data(id: 1, [UInt8](repeating: 1, count: 1000), fin: false))
        connected.1.send(encoder.encode(.ping(1)))
        #expect(try await next() == .ping(1), "nothing beyond the window")
        connected.1.send(encoder.encode(.windowUpdate(id: 1, delta: 5000)))
        #expect(try await next() == .data(id: 1, [UInt8](repeating: 1, count: 1500), fin: false))
        #expect(try await next() == .data(id: 1, [], fin: true))
        connected.1.close()
        await reader.value
    }

    @Test func brokenPeerEndsTheSessionOnly() async throws {
        try await withServer(handler: { request in
            PortForward.accept(request) { _ in }
        }) { port, server in
            for _ in 0..<50 {
                let raw = try RawConnection(port: port)
                try await raw.write("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n")
                _ = try await raw.readText(until: "\r\n\r\n")
                try? await raw.write((0..<200).map { _ in UInt8.random(in: 0...255) })
                raw.shutdownWrite()
                _ = try? await raw.readToEnd()
            }
            #expect(await eventually { server.connectionCount == 0 })
        }
    }
}

/// Two ends of a stream in memory.
final class MemoryPipe: ByteStream {
    private let inbound: ByteQueue
    private let outbound: ByteQueue

    private init(_ inbound: ByteQueue, _ outbound: ByteQueue) {
        self.inbound = inbound
        self.outbound = outbound
    }

    static func pair() async throws -> (MemoryPipe, MemoryPipe) {
        let (a, b) = (ByteQueue(limit: 1 << 20), ByteQueue(limit: 1 << 20))
        return (MemoryPipe(a, b), MemoryPipe(b, a))
    }

    func read() async throws -> [UInt8]? { try await inbound.pop() }
    func send(_ bytes: [UInt8]) { outbound.pushNow(bytes) }
    func drained() async throws {}
    func closeWrite() { outbound.end() }
    func close() {
        outbound.end()
        inbound.end()
    }
}
