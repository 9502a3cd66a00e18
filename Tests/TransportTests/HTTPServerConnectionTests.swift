import Linux
import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import Transport

/// Clients that are not well behaved, and the life of a connection.
@Suite struct HTTPServerConnectionTests {
    @Test func pipelinedRequestsAreAnsweredInOrder() async throws {
        let handler: HTTPHandler = { request in
            if request.path == "/slow" { try? await Task.sleep(nanoseconds: 50_000_000) }
            return .text("<\(request.path) \(request.body.count)>")
        }
        try await withServer(handler: handler) { port, _ in
            let raw = try RawConnection(port: port)
            var text = ""
            for index in 0..<500 {
                text += "GET /\(index % 100 == 3 ? "slow" : "\(index)") HTTP/1.1\r\nHost: x\r\n\r\n"
                text += "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
            }
            try await raw.write(text + "GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            let answer = try await raw.readToEnd()
            var expected: [String] = []
            for index in 0..<500 { expected += [index % 100 == 3 ? "</slow 0>" : "</\(index) 0>", "</p 5>"] }
            expected.append("</last 0>")
            let bodies = answer.split(separator: "<").dropFirst().map { "<" + $0.prefix { $0 != ">" } + ">" }
            #expect(bodies == expected)
        }
    }

    @Test func requestByteByByteIsAnswered() async throws {
        try await withServer(handler: echoHandler) { port, _ in
            let raw = try RawConnection(port: port)
            for byte
                in "PUT /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
                .utf8
            {
                try await raw.write([byte])
            }
            #expect(try await raw.readToEnd().hasSuffix("PUT /x\nbody 3\n"))
        }
    }

    @Test func http10ConnectionClosesUnlessKeptAlive() async throws {
        try await withServer(handler: echoHandler) { port, _ in
            let once = try RawConnection(port: port)
            try await once.write("GET / HTTP/1.0\r\n\r\n")
            #expect(try await once.readToEnd().contains("Connection: close\r\n"))
            let kept = try RawConnection(port: port)
            try await kept.write("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            #expect(try await kept.readText(until: "body 0").contains("Connection: keep-alive\r\n"))
            try await kept.write("GET / HTTP/1.0\r\n\r\n")
            #expect(try await kept.readToEnd().contains("body 0"))
        }
    }

    @Test func streamToHTTP10IsEndedByClosing() async throws {
        let handler: HTTPHandler = { _ in
            HTTPResponse(status: 200, body: .stream(length: nil) { try await $0.write(Array("all of it".utf8)) })
        }
        try await withServer(handler: handler) { port, _ in
            let raw = try RawConnection(port: port)
            try await raw.write("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            let answer = try await raw.readToEnd()
            #expect(answer.hasSuffix("\r\n\r\nall of it") && !answer.contains("chunked"))
        }
    }

    @Test func halfClosedClientGetsItsAnswer() async throws {
        let handler: HTTPHandler = { _ in
            try? await Task.sleep(nanoseconds: 20_000_000_000)
            return .text("cancelled \(Task.isCancelled)")
        }
        try await withServer(handler: handler) { port, _ in
            let raw = try RawConnection(port: port)
            try await raw.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            raw.shutdownWrite()
            #expect(try await raw.readToEnd().hasSuffix("cancelled true"))
        }
    }

    @Test(arguments: [
        ("GET / HTTP/1.1\r\n\r\n", "400"), ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
        ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", "505"), ("nonsense\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", "501"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nExpect: magic\r\nContent-Length: 1\r\n\r\n", "417"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: " + String(repeating: "y", count: 140_000), "431"),
    ])
    func badRequestIsAnsweredAndEndsTheConnection(_ text: String, _ status: String) async throws {
        try await withServer(handler: echoHandler) { port, server in
            let raw = try RawConnection(port: port)
            try await raw.write(text)
            let answer = try await raw.readToEnd()
            #expect(answer.hasPrefix("HTTP/1.1 \(status) ") && answer.contains("Connection: close\r\n"))
            raw.abort()
            #expect(await eventually { server.connectionCount == 0 })
        }
    }

    @Test func slowHeaderTimesOut() async throws {
        var configuration = HTTPServerConfiguration()
        configuration.limits.headerTimeout = 0.5
        try await withServer(configuration: configuration, handler: echoHandler) { port, server in
            let raw = try RawConnection(port: port, opening: "GET / HTTP/1.1\r\nX: ")
            let reader = Task { try await raw.readToEnd() }
            // Bytes that trickle in do not extend the time.
            for _ in 0..<20 {
                try? await raw.write("y")
                try await Task.sleep(nanoseconds: 50_000_000)
            }
            #expect(try await reader.value.hasPrefix("HTTP/1.1 408 "))
            let silent = try RawConnection(port: port)
            #expect(try await silent.readToEnd() == "")
            #expect(await eventually { server.connectionCount == 0 })
        }
    }

    @Test func stoppedBodyTimesOut() async throws {
        var configuration = HTTPServerConfiguration()
        configuration.limits.bodyPauseTimeout = 0.3
        try await withServer(configuration: configuration, handler: echoHandler) { port, _ in
            let raw = try RawConnection(
                port: port, opening: "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
            #expect(try await raw.readToEnd().hasPrefix("HTTP/1.1 408 "))
        }
    }

    @Test func silentTLSClientTimesOut() async throws {
        var configuration = HTTPServerConfiguration()
        configuration.limits.handshakeTimeout = 0.3
        let tls = try TLSServerContext(TestPKI.shared.serverConfiguration())
        try await withServer(tls: tls, configuration: configuration, handler: echoHandler) { port, server in
            let raw = try RawConnection(port: port)
            #expect(try await raw.readToEnd() == "")
            #expect(await eventually { server.connectionCount == 0 })
        }
    }

    @Test func idleConnectionIsClosed() async throws {
        var configuration = HTTPServerConfiguration()
        configuration.limits.idleTimeout = 0.3
        try await withServer(configuration: configuration, handler: echoHandler) { port, _ in
            let raw = try RawConnection(port: port)
            try await raw.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(try await raw.readToEnd().hasSuffix("body 0\n"))
        }
    }

    @Test func connectionsOverTheLimitAreClosed() async throws {
        var configuration = HTTPServerConfiguration()
        configuration.limits.connections = 2
        try await withServer(configuration: configuration, handler: echoHandler) { port, server in
            let kept = [try RawConnection(port: port), try RawConnection(port: port)]
            #expect(await eventually { server.connectionCount == 2 })
            let third = try RawConnection(port: port)
            let answer = try? await third.readToEnd()
            #expect(answer == nil || answer == "")
            try await kept[0].write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(try await kept[0].readText(until: "body 0").contains("200 OK"))
        }
    }

    @Test func watchEndsWhenTheClientGoes() async throws {
        let ended = Mutex<[String]>([])
        let handler: HTTPHandler = { request in
            HTTPResponse(
                status: 200,
                body: .stream(length: nil) { writer in
                    try await writer.write(Array("started\n".utf8))
                    do {
                        try await Task.sleep(nanoseconds: 60_000_000_000)
                    } catch {
                        ended.withLock { $0.append(request.path) }
                        throw error
                    }
                })
        }
        try await withServer(handler: handler) { port, server in
            let closed = try RawConnection(port: port)
            try await closed.write("GET /fin HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(try await closed.readText(until: "started").contains("chunked"))
            closed.shutdownWrite()
            let reset = try RawConnection(port: port)
            try await reset.write("GET /reset HTTP/1.1\r\nHost: x\r\n\r\n")
            _ = try await reset.readText(until: "started")
            reset.abort()
            #expect(await eventually { ended.withLock { $0.sorted() } == ["/fin", "/reset"] })
            #expect(await eventually { server.connectionCount == 0 })
        }
    }

    /// Streams have a task of their own: the connection goes on behind them, whether they end at once or wait, and what was
    /// sent ahead is answered.
    @Test func requestsBehindStreamsAreAnswered() async throws {
        let handler: HTTPHandler = { request in
            if request.path.hasPrefix("/late") { try? await Task.sleep(nanoseconds: 1_000_000) }
            return HTTPResponse(
                status: 200,
                body: .stream(length: nil) { writer in
                    if request.path.hasSuffix("/slow") { try await Task.sleep(nanoseconds: 1_000_000) }
                    try await writer.write(Array("<\(request.path)>".utf8))
                })
        }
        try await withServer(handler: handler) { port, _ in
            let raw = try RawConnection(port: port)
            let paths = (0..<100).map { ["/now", "/late", "/now/slow", "/late/slow"][$0 * 7 % 4] }
            for path in paths.dropLast() { try await raw.write("GET \(path) HTTP/1.1\r\nHost: x\r\n\r\n") }
            try await raw.write("GET \(paths[99]) HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            let answer = try await raw.readToEnd()
            let bodies = answer.split(separator: "<").dropFirst().map { String($0.prefix { $0 != ">" }) }
            #expect(bodies == paths)
        }
    }

    @Test func aStreamIsCancelledWhicheverWayItBegan() async throws {
        let ended = Mutex<[String]>([])
        let handler: HTTPHandler = { request in
            if request.path == "/late" { try? await Task.sleep(nanoseconds: 1_000_000) }
            return HTTPResponse(
                status: 200,
                body: .stream(length: nil) { writer in
                    try await writer.write(Array("started\n".utf8))
                    try? await Task.sleep(nanoseconds: 600_000_000_000)
                    ended.withLock { $0.append(request.path) }
                })
        }
        try await withServer(handler: handler) { port, server in
            for path in ["/late", "/now"] {
                let open = try RawConnection(port: port)
                try await open.write("GET \(path) HTTP/1.1\r\nHost: x\r\n\r\n")
                _ = try await open.readText(until: "started")
                open.shutdownWrite()
                #expect(await eventually { ended.withLock { $0.last == path } })
            }
            #expect(await eventually { server.connectionCount == 0 })
        }
    }

    /// A loop that was held up has not read what came in time.
    @Test func deadlinesThatPassedWhileTheLoopStoodStillAreNotHeldAgainstThePeer() async throws {
        var configuration = HTTPServerConfiguration()
        configuration.limits.headerTimeout = 1
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let early = Mutex<(connection: RawConnection?, sent: Bool)>((nil, false))
        let count = Mutex<@Sendable () -> Int>({ 0 })
        let server = HTTPServer(group: group, configuration: configuration) { request in
            if request.path == "/block" {
                let isOpen = count.withLock { $0 }() == 2
                early.withLock { early in
                    guard isOpen else { return }
                    early.sent = true
                    early.connection?.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                }
                usleep(3_000_000)
            }
            return .text("answered")
        }
        count.withLock { $0 = { server.connectionCount } }
        let port = try await server.start(host: "127.0.0.1", port: 0)
        // Until the first connection is still there when the loop stops: this task may wait for a thread as well.
        for _ in 0..<20 where !early.withLock({ $0.sent }) {
            let first = try RawConnection(port: port)
            early.withLock { $0.connection = first }
            guard await eventually({ server.connectionCount == 1 }) else { continue }
            let blocker = try RawConnection(port: port, opening: "GET /block HTTP/1.1\r\nHost: x\r\n\r\n")
            _ = try await blocker.readText(until: "answered")
            guard early.withLock({ $0.sent }) else { continue }
            #expect(try await first.readToEnd().hasSuffix("answered"))
        }
        #expect(early.withLock { $0.sent })
        count.withLock { $0 = { 0 } }
        await server.stop()
        try await group.shutdownGracefully()
    }

    @Test func eventsGoOutAtOnce() async throws {
        let (gate, open) = AsyncStream<Void>.makeStream()
        let handler: HTTPHandler = { _ in
            HTTPResponse(
                status: 200,
                body: .stream(length: nil) { writer in
                    var index = 0
                    for await _ in gate {
                        try await writer.write(Array("event \(index);".utf8))
                        index += 1
                    }
                })
        }
        let tls = try TLSServerContext(TestPKI.shared.serverConfiguration())
        try await withServer(tls: tls, handler: handler) { port, _ in
            let client = try testClient()
            let response = try await client.get(try HTTPURL("https://localhost:\(port)/"))
            for index in 0..<5 {
                open.yield()
                #expect(try await response.body.next() == Array("event \(index);".utf8))
            }
            open.finish()
            #expect(try await response.body.next() == nil)
        }
    }

    @Test func writerWaitsForASlowClient() async throws {
        let written = Mutex(0)
        let handler: HTTPHandler = { _ in
            HTTPResponse(
                status: 200,
                body: .stream(length: nil) { writer in
                    for _ in 0..<2000 {
                        try await writer.write([UInt8](repeating: 0x61, count: 32 << 10))
                        written.withLock { $0 += 32 << 10 }
                    }
                })
        }
        try await withServer(handler: handler) { port, server in
            let raw = try RawConnection(port: port, receiveBuffer: 32 << 10)
            try await raw.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            var last = -1
            #expect(
                await eventually {
                    let now = written.withLock { $0 }
                    try? await Task.sleep(nanoseconds: 200_000_000)
                    return now > 0 && now == written.withLock { $0 }
                })
            last = written.withLock { $0 }
            // 64 MB were to be written; what the kernel's buffers take is much less.
            #expect(last < 16 << 20)
            raw.abort()
            #expect(await eventually { server.connectionCount == 0 })
        }
    }

    @Test func wrongLengthBreaksTheConnection() async throws {
        let handler: HTTPHandler = { _ in
            HTTPResponse(status: 200, body: .stream(length: 10) { try await $0.write(Array("four".utf8)) })
        }
        try await withServer(handler: handler) { port, _ in
            let client = try testClient()
            let response = try await client.get(try HTTPURL("http://127.0.0.1:\(port)/"))
            await #expect(throws: HTTPClientError.bodyCutShort) { try await response.body.collect(upTo: 100) }
        }
    }

    @Test func stopLetsRequestsFinish() async throws {
        let (gate, open) = AsyncStream<Void>.makeStream()
        let started = Mutex(false)
        let handler: HTTPHandler = { _ in
            started.withLock { $0 = true }
            for await _ in gate { break }
            return .text("finished")
        }
        try await withServer(handler: handler) { port, server in
            let idle = try RawConnection(port: port)
            let busy = try RawConnection(port: port)
            try await busy.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(await eventually { server.connectionCount == 2 && started.withLock { $0 } })
            let stopping = Task { await server.stop(within: 30) }
            #expect(try await idle.readToEnd() == "")
            open.yield()
            let answer = try await busy.readToEnd()
            #expect(answer.hasSuffix("finished") && answer.contains("Connection: close"))
            await stopping.value
            #expect(server.address == nil && server.connectionCount == 0)
        }
    }

    /// Damaged requests and TLS records against a live server: it must go on serving.
    @Test func garbageLeavesTheServerServing() async throws {
        let tls = try TLSServerContext(TestPKI.shared.serverConfiguration())
        for context in [nil, tls] {
            try await withServer(tls: context, handler: echoHandler) { port, server in
                for _ in 0..<200 {
                    let raw = try RawConnection(port: port)
                    var bytes = (0..<Int.random(in: 1...300)).map { _ in UInt8.random(in: 0...255) }
                    if Bool.random() { bytes = Array("GET / HTTP/1.1\r\nHost: x\r\n\r\n".utf8) + bytes }
                    if Bool.random() { bytes = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3] + bytes }
                    try? await raw.write(bytes)
                    raw.shutdownWrite()
                    _ = try? await raw.read()
                }
                #expect(await eventually { server.connectionCount == 0 })
                let scheme = context == nil ? "http" : "https"
                let response = try await testClient().get(try HTTPURL("\(scheme)://localhost:\(port)/"))
                #expect(response.status == 200)
            }
        }
    }
}
