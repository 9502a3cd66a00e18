import NIOPosix
import Testing

@testable import Transport

@Suite struct WebSocketFrameTests {
    /// RFC 6455 5.7
    @Test func framesOfTheSpecification() throws {
        var server = WebSocketFrameDecoder(expectsMask: false, limit: 100)
        server.feed([0x81, 0x05, 0x48, 0x65, 0x6C, 0x6C, 0x6F])
        #expect(try server.next() == WebSocketFrame(fin: true, opcode: .text, payload: Array("Hello".utf8)))
        var client = WebSocketFrameDecoder(expectsMask: true, limit: 100)
        client.feed([0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58])
        #expect(try client.next() == WebSocketFrame(fin: true, opcode: .text, payload: Array("Hello".utf8)))
        #expect(WebSocketHandshake.acceptValue(key: "dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    }

    @Test(arguments: [0, 1, 125, 126, 127, 65535, 65536, 200_000])
    func everyLengthSurvives(_ length: Int) throws {
        let payload = (0..<length).map { UInt8($0 % 253) }
        for mask in [nil, 0x1234_5678 as UInt32?] {
            let bytes = WebSocketFrame.encode(
                .binary, prefix: Array(payload.prefix(1)), payload.dropFirst(), mask: mask)
            var decoder = WebSocketFrameDecoder(expectsMask: mask != nil, limit: 1 << 20)
            for start in stride(from: 0, to: bytes.count, by: 997) {
                decoder.feed(Array(bytes[start..<min(start + 997, bytes.count)]))
                if start + 997 < bytes.count { #expect(try decoder.next() == nil) }
            }
            #expect(try decoder.next() == WebSocketFrame(fin: true, opcode: .binary, payload: payload))
        }
    }

    @Test(
        arguments: [
            [0x81, 0x05], [0xC1, 0x80, 0, 0, 0, 0], [0x83, 0x80, 0, 0, 0, 0], [0x09, 0x80, 0, 0, 0, 0],
            [0x89, 0xFE, 0, 126, 0, 0, 0, 0], [0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            [0x82, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        ] as [[UInt8]])
    func badFramesAreRefused(_ bytes: [UInt8]) {
        var decoder = WebSocketFrameDecoder(expectsMask: true, limit: 1000)
        decoder.feed(bytes)
        #expect(throws: WebSocketError.self) { try decoder.next() }
    }

    @Test func randomBytesNeverTrap() {
        for _ in 0..<20_000 {
            var decoder = WebSocketFrameDecoder(expectsMask: Bool.random(), limit: 300)
            for _ in 0..<3 {
                decoder.feed((0..<Int.random(in: 0...40)).map { _ in UInt8.random(in: 0...255) })
                while let frame = try? decoder.next() { #expect(frame.payload.count <= 300) }
            }
        }
    }
}

@Suite struct WebSocketConnectionTests {
    private static let echo: HTTPHandler = { request in
        WebSocketHandshake.accept(request, protocols: ["b", "c"], limit: 1 << 20) { socket, name in
            if let name { try? await socket.send(text: Array("protocol \(name)".utf8)) }
            while let message = try? await socket.receive() { try? await socket.send(message) }
        }
    }

    @Test func ownClientAndServer() async throws {
        let tls = try TLSServerContext(TestPKI.shared.serverConfiguration())
        try await withServer(tls: tls, handler: Self.echo) { port, server in
            let (socket, name, _) = try await WebSocketHandshake.connect(
                try testClient(), try HTTPURL("wss://localhost:\(port)/"), protocols: ["a", "c", "b"])
            let open = try #require(socket)
            #expect(name == "c")
            #expect(try await open.receive() == .text(Array("protocol c".utf8)))
            for length in [0, 1, 70_000, 1_000_000] {
                let payload = [UInt8](repeating: 9, count: length)
                try await open.send(binary: payload)
                #expect(try await open.receive() == .binary(payload))
            }
            await open.close(1000, reason: "done")
            #expect(open.peerCloseCode == 1000)
            #expect(await eventually { server.connectionCount == 0 })
        }
    }

    @Test func handshakeWithoutCommonProtocolIsRefused() async throws {
        try await withServer(handler: Self.echo) { port, _ in
            let url = try HTTPURL("ws://127.0.0.1:\(port)/")
            let refused = try await WebSocketHandshake.connect(try testClient(), url, protocols: ["x"])
            #expect(refused.socket == nil && refused.response.status == 400)
            let plain = try await testClient().get(url)
            #expect(plain.status == 400)
        }
    }

    @Test func messageOverTheLimitClosesWith1009() async throws {
        try await withServer(handler: Self.echo) { port, _ in
            let connected = try await WebSocketHandshake.connect(
                try testClient(), try HTTPURL("ws://127.0.0.1:\(port)/"))
            let socket = try #require(connected.socket)
            try? await socket.send(binary: [UInt8](repeating: 1, count: 2 << 20))
            _ = try? await socket.receive()
            #expect(socket.peerCloseCode == 1009)
        }
    }

    private static var hasPython: Bool {
        (try? Command.runBlocking(["python3", "-c", "import websockets"]))?.status == 0
    }

    @Test(.enabled(if: hasPython, "needs python3 with the websockets package"))
    func pythonClientIsServed() async throws {
        try await withServer(handler: Self.echo) { port, _ in
            let script = """
                import asyncio, websockets
                async def main():
                    async with websockets.connect("ws://127.0.0.1:\(port)/", subprotocols=["b"], max_size=None) as ws:
                        assert ws.subprotocol == "b", ws.subprotocol
                        assert await ws.recv() == "protocol b"
                        for size in (0, 1, 125, 126, 65535, 65536, 900000):
                            await ws.send(b"x" * size)
                            assert await ws.recv() == b"x" * size, size
                        await ws.send([b"in ", b"three ", b"fragments"])
                        assert await ws.recv() == b"in three fragments"
                        await ws.send("text \\u00e9")
                        assert await ws.recv() == "text \\u00e9"
                        pong = await ws.ping()
                        await asyncio.wait_for(pong, 5)
                    print("closed", ws.close_code)
                asyncio.run(main())
                """
            let out = try await Command.run(["python3", "-c", script], timeout: 30)
            #expect(out.text == "closed 1000\n", "\(out.errorText)")
        }
    }

    @Test(.enabled(if: hasPython, "needs python3 with the websockets package"))
    func pythonServerIsUnderstood() async throws {
        let directory = try TemporaryDirectory()
        let script = """
            import asyncio, os, sys, websockets
            async def echo(ws):
                await ws.ping()
                async for message in ws:
                    await ws.send([message[:2], message[2:]])
            async def main():
                async with websockets.serve(echo, "127.0.0.1", 0, subprotocols=["k"]) as server:
                    port = server.sockets[0].getsockname()[1]
                    open(sys.argv[1] + "/tmp", "w").write(str(port))
                    os.rename(sys.argv[1] + "/tmp", sys.argv[1] + "/port")
                    await asyncio.sleep(10)
            asyncio.run(main())
            """
        let server = Task { try await Command.run(["python3", "-c", script, directory.path], timeout: 15) }
        #expect(await eventually { (try? directory.read("port"))?.isEmpty == false })
        let port = try #require(Int(String(decoding: try directory.read("port"), as: UTF8.self)))
        let connected = try await WebSocketHandshake.connect(
            try testClient(), try HTTPURL("ws://127.0.0.1:\(port)/"), protocols: ["k"])
        let socket = try #require(connected.socket)
        #expect(connected.subprotocol == "k")
        try await socket.send(text: Array("hello".utf8))
        #expect(try await socket.receive() == .text(Array("hello".utf8)))
        await socket.close()
        #expect(socket.peerCloseCode == 1000)
        server.cancel()
    }
}
