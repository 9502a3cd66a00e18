import Linux
import NIOPosix
import Synchronization
import Testing

@testable import Transport

@Suite struct HTTPClientTests {
    @Test func requestAndResponseOverTLS() async throws {
        let tls = try TLSServerContext(TestPKI.shared.serverConfiguration())
        try await withServer(tls: tls, handler: echoHandler) { port, _ in
            let client = try testClient(certificate: "client")
            let request = HTTPClientRequest(
                "PATCH", try HTTPURL("https://localhost:\(port)/x?y=z"), body: [UInt8](repeating: 1, count: 300_000))
            let response = try await client.execute(request)
            let text = String(decoding: try await response.body.collect(upTo: 1000), as: UTF8.self)
            #expect(
                text
                    == "PATCH /x\nquery y=z\npeer kubernetes-admin [system:masters,team b] true\nsni localhost\nbody 300000\n"
            )
        }
    }

    @Test func connectionsAreReused() async throws {
        try await withServer(handler: { .text("\($0.remotePort)") }) { port, server in
            let client = try testClient()
            var ports: Set<[UInt8]> = []
            for _ in 0..<20 {
                let response = try await client.get(try HTTPURL("http://127.0.0.1:\(port)/"))
                ports.insert(try await response.body.collect(upTo: 10))
            }
            #expect(ports.count == 1 && server.connectionCount == 1)
            client.closeIdle()
            #expect(await eventually { server.connectionCount == 0 })
        }
    }

    @Test func unreadBodyOutlivesTheNextRequest() async throws {
        try await withServer(handler: echoHandler) { port, server in
            let client = try testClient()
            let first = try await client.get(try HTTPURL("http://127.0.0.1:\(port)/first"))
            try await Task.sleep(nanoseconds: 50_000_000)
            let second = try await client.get(try HTTPURL("http://127.0.0.1:\(port)/second"))
            #expect(try await second.body.collect(upTo: 100) == Array("GET /second\nbody 0\n".utf8))
            #expect(try await first.body.collect(upTo: 100) == Array("GET /first\nbody 0\n".utf8))
        }
    }

    @Test func manyRequestsAtOnce() async throws {
        let tls = try TLSServerContext(TestPKI.shared.serverConfiguration())
        let handler: HTTPHandler = { request in
            .init(
                status: 200,
                body: .stream(length: nil) { writer in
                    for _ in 0..<20 { try await writer.write(request.body) }
                })
        }
        try await withServer(tls: tls, handler: handler) { port, _ in
            let client = try testClient()
            try await withThrowingTaskGroup(of: Bool.self) { group in
                for index in 0..<60 {
                    group.addTask {
                        let body = [UInt8](repeating: UInt8(index), count: 1 + index * 500)
                        let request = HTTPClientRequest(
                            "POST", try HTTPURL("https://localhost:\(port)/"), body: body)
                        let all = try await client.execute(request).body.collect(upTo: 10 << 20)
                        return all.count == body.count * 20 && all.allSatisfy { $0 == UInt8(index) }
                    }
                }
                for try await good in group { #expect(good) }
            }
        }
    }

    @Test func deadKeptConnectionIsReplaced() async throws {
        let client = try testClient()
        var configuration = HTTPServerConfiguration()
        configuration.limits.idleTimeout = 0.3
        try await withServer(configuration: configuration, handler: echoHandler) { port, server in
            for _ in 0..<3 {
                let response = try await client.get(try HTTPURL("http://127.0.0.1:\(port)/"))
                #expect(response.status == 200)
                #expect(await eventually { server.connectionCount == 0 })
            }
        }
    }

    @Test func droppedBodyClosesTheConnection() async throws {
        let handler: HTTPHandler = { _ in
            .init(
                status: 200,
                body: .stream(length: nil) { writer in
                    while true { try await writer.write([UInt8](repeating: 1, count: 1000)) }
                })
        }
        try await withServer(handler: handler) { port, server in
            let client = try testClient()
            var response: HTTPClientResponse? = try await client.get(try HTTPURL("http://127.0.0.1:\(port)/"))
            _ = try await response?.body.next()
            response = nil
            #expect(await eventually { server.connectionCount == 0 })
        }
    }

    @Test func unreadBodyIsBounded() async throws {
        let written = Mutex(0)
        let handler: HTTPHandler = { _ in
            .init(
                status: 200,
                body: .stream(length: nil) { writer in
                    for _ in 0..<1000 {
                        try await writer.write([UInt8](repeating: 1, count: 64 << 10))
                        written.withLock { $0 += 64 << 10 }
                    }
                })
        }
        try await withServer(handler: handler) { port, _ in
            let client = try testClient()
            let response = try await client.get(try HTTPURL("http://127.0.0.1:\(port)/"))
            #expect(
                await eventually {
                    let now = written.withLock { $0 }
                    try? await Task.sleep(nanoseconds: 200_000_000)
                    return now > 0 && now == written.withLock { $0 }
                })
            #expect(written.withLock { $0 } < 32 << 20)
            #expect(try await response.body.collect(upTo: 100 << 20).count == 1000 * 64 << 10)
        }
    }

    @Test func cancelledRequestClosesTheConnection() async throws {
        let handler: HTTPHandler = { _ in
            try? await Task.sleep(nanoseconds: 60_000_000_000)
            return .text("late")
        }
        try await withServer(handler: handler) { port, server in
            let client = try testClient()
            let task = Task { try await client.get(try HTTPURL("http://127.0.0.1:\(port)/")) }
            #expect(await eventually { server.connectionCount == 1 })
            task.cancel()
            await #expect(throws: CancellationError.self) { _ = try await task.value }
            #expect(await eventually { server.connectionCount == 0 })
        }
    }

    @Test func slowHeaderTimesOut() async throws {
        let handler: HTTPHandler = { _ in
            try? await Task.sleep(nanoseconds: 60_000_000_000)
            return .text("late")
        }
        try await withServer(handler: handler) { port, _ in
            var request = HTTPClientRequest("GET", try HTTPURL("http://127.0.0.1:\(port)/"))
            request.headerTimeout = 0.2
            let client = try testClient()
            await #expect(throws: HTTPClientError.headerTimedOut("127.0.0.1:\(port)")) {
                _ = try await client.execute(request)
            }
        }
    }

    @Test func certificateOfAnotherCAIsNotTrusted() async throws {
        let pki = TestPKI.shared
        let tls = try TLSServerContext(pki.serverConfiguration())
        try await withServer(tls: tls, handler: echoHandler) { port, _ in
            var request = HTTPClientRequest("GET", try HTTPURL("https://localhost:\(port)/"))
            request.tls = try TLSClientContext(
                TLSClientConfiguration(trust: .authorities(pem: try pki.pem("strange-ca"))))
            let client = HTTPClient(group: MultiThreadedEventLoopGroup.singleton)
            await #expect(throws: TLSError.untrusted("unable to get local issuer certificate")) {
                _ = try await client.execute(request)
            }
            request.tls = nil
            await #expect(throws: TLSError.self) { _ = try await client.execute(request) }
            request.tls = try TLSClientContext(TLSClientConfiguration(trust: .insecure))
            #expect(try await client.execute(request).status == 200)
        }
    }

    @Test(arguments: [("localhost", true), ("127.0.0.1", true), ("other.example", false), ("127.0.0.2", false)])
    func nameOfTheServerIsVerified(_ name: String, _ good: Bool) async throws {
        let pki = TestPKI.shared
        let tls = try TLSServerContext(pki.serverConfiguration())
        try await withServer(tls: tls, handler: echoHandler) { port, _ in
            let client = HTTPClient(
                group: MultiThreadedEventLoopGroup.singleton,
                tls: try TLSClientContext(
                    TLSClientConfiguration(trust: .authorities(pem: try pki.pem("ca")), serverName: name)))
            let url = try HTTPURL("https://127.0.0.1:\(port)/")
            if good {
                #expect(try await client.get(url).status == 200)
            } else {
                await #expect(throws: TLSError.self) { _ = try await client.get(url) }
            }
        }
    }

    @Test func refusedConnectionIsNamed() async throws {
        let reserved = try ReservedPort()
        let port = reserved.port
        let client = try testClient()
        await #expect(
            throws: HTTPClientError.connectFailed("127.0.0.1:\(port)", reason: "connect: connection refused")
        ) {
            _ = try await client.get(try HTTPURL("http://127.0.0.1:\(port)/"))
        }
    }

    @Test func namesAreResolvedByTheHook() async throws {
        try await withServer(handler: { .text($0.headers["Host"] ?? "") }) { port, _ in
            let client = HTTPClient(
                group: MultiThreadedEventLoopGroup.singleton,
                resolve: { name in name == "node-1" ? ["127.0.0.1"] : [] })
            let response = try await client.get(try HTTPURL("http://node-1:\(port)/"))
            #expect(try await response.body.collect(upTo: 100) == Array("node-1:\(port)".utf8))
            await #expect(throws: HTTPClientError.self) {
                _ = try await client.get(try HTTPURL("http://node-2:\(port)/"))
            }
        }
    }

    @Test func upgradedConnectionKeepsEarlyBytesAndHalfClose() async throws {
        let handler: HTTPHandler = { _ in
            .upgrade(protocol: "echo") { stream in
                try? await stream.write(Array("hello;".utf8))
                while let bytes = try? await stream.read() { try? await stream.write(bytes) }
                try? await stream.write(Array(";bye".utf8))
            }
        }
        let tls = try TLSServerContext(TestPKI.shared.serverConfiguration())
        for context in [nil, tls] {
            try await withServer(tls: context, handler: handler) { port, server in
                let client = try testClient()
                let url = try HTTPURL("\(context == nil ? "http" : "https")://localhost:\(port)/")
                let response = try await client.execute(
                    HTTPClientRequest("GET", url, headers: ["Connection": "Upgrade", "Upgrade": "echo"]))
                let stream = try #require(response.upgraded)
                #expect(response.headers["Upgrade"] == "echo")
                let big = [UInt8](repeating: 7, count: 3 << 20)
                async let writing: Void = {
                    try await stream.write(big)
                    stream.closeWrite()
                }()
                var all: [UInt8] = []
                while let bytes = try await stream.read() { all += bytes }
                try await writing
                #expect(all == Array("hello;".utf8) + big + Array(";bye".utf8))
                stream.close()
                #expect(await eventually { server.connectionCount == 0 })
            }
        }
    }

    @Test func proxyPassesRequestsAndUpgradesOn() async throws {
        let backend: HTTPHandler = { request in
            if request.wantsUpgrade {
                return .upgrade(protocol: "echo") { stream in
                    while let bytes = try? await stream.read() { try? await stream.write(bytes) }
                }
            }
            return .text(
                "\(request.method) \(request.rawPath)?\(request.rawQuery) \(request.headers["X-User"] ?? "-") "
                    + "\(request.headers["Authorization"] ?? "-") \(request.body.count)", status: 418)
        }
        try await withServer(handler: backend) { backendPort, _ in
            let outward = try testClient()
            let front: HTTPHandler = { request in
                guard let url = try? HTTPURL("http://127.0.0.1:\(backendPort)\(request.rawPath)?\(request.rawQuery)")
                else {
                    return .text("bad", status: 500)
                }
                return await HTTPProxy.forward(request, to: url, client: outward) { headers in
                    headers.remove("Authorization")
                    headers["X-User"] = "alice"
                }
            }
            try await withServer(handler: front) { port, _ in
                let client = try testClient()
                let response = try await client.execute(
                    HTTPClientRequest(
                        "POST", try HTTPURL("http://127.0.0.1:\(port)/a%2Fb?c=d"), headers: ["Authorization": "secret"],
                        body: [1, 2, 3]))
                #expect(response.status == 418)
                #expect(try await response.body.collect(upTo: 1000) == Array("POST /a%2Fb?c=d alice - 3".utf8))
                let upgraded = try await client.execute(
                    HTTPClientRequest(
                        "GET", try HTTPURL("http://127.0.0.1:\(port)/"),
                        headers: ["Connection": "Upgrade", "Upgrade": "echo"]))
                let stream = try #require(upgraded.upgraded)
                try await stream.write([1, 2, 3])
                #expect(try await stream.read() == [1, 2, 3])
                stream.closeWrite()
                #expect(try await stream.read() == nil)
                stream.close()
            }
        }
    }

    @Test func connectedDescriptorIsTakenOver() async throws {
        var pair: [Int32] = [-1, -1]
        #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair) == 0)
        defer { close(pair[1]) }
        let answer = Array("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".utf8)
        #expect(write(pair[1], answer, answer.count) == answer.count)
        let client = try await HTTPClient.connection(
            over: pair[0], group: MultiThreadedEventLoopGroup.singleton, host: "shim", tls: nil)
        let response = try await client.execute(HTTPClientRequest("GET", try HTTPURL("http://shim/x")))
        #expect(try await response.body.collect(upTo: 10) == Array("hi".utf8))
        var request = [UInt8](repeating: 0, count: 1000)
        let count = read(pair[1], &request, request.count)
        #expect(String(decoding: request[..<max(0, count)], as: UTF8.self) == "GET /x HTTP/1.1\r\nHost: shim\r\n\r\n")
        client.close()
    }

    @Test func pythonServerIsUnderstood() async throws {
        let directory = try TemporaryDirectory()
        try directory.write("file", [UInt8](repeating: 5, count: 200_000))
        let script = """
            import http.server, functools, sys, threading
            handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
            open(sys.argv[1] + "/port.tmp", "w").write(str(server.server_port))
            import os; os.rename(sys.argv[1] + "/port.tmp", sys.argv[1] + "/port")
            threading.Timer(20, server.shutdown).start()
            server.serve_forever()
            """
        let server = Task { try await Command.run(["python3", "-c", script, directory.path], timeout: 15) }
        #expect(await eventually { (try? directory.read("port"))?.isEmpty == false })
        let port = try #require(Int(String(decoding: try directory.read("port"), as: UTF8.self)))
        let response = try await testClient().get(try HTTPURL("http://127.0.0.1:\(port)/file"))
        #expect(try await response.body.collect(upTo: 1 << 20).count == 200_000)
        let missing = try await testClient().get(try HTTPURL("http://127.0.0.1:\(port)/missing"))
        #expect(missing.status == 404)
        server.cancel()
    }
}
