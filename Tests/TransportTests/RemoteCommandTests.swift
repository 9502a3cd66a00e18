import Codecs
import Linux
import NIOPosix
import Synchronization
import Testing

@testable import Transport

/// A small API server with one pod, for kubectl: exec and attach run `fakeCommand`, port-forward reaches an echo.
private let podServer: HTTPHandler = { request in
    switch request.path {
    case "/api/v1/namespaces/default/pods/web":
        return .json(
            Array(
                """
                {"kind":"Pod","apiVersion":"v1","metadata":{"name":"web","namespace":"default"},"spec":{"containers":\
                [{"name":"c","stdin":true}]},"status":{"phase":"Running"}}
                """.utf8))
    case "/api/v1/namespaces/default/pods/web/exec", "/api/v1/namespaces/default/pods/web/attach":
        guard let options = RemoteCommandOptions(query: request.query) else { return .text("no streams", status: 400) }
        let command = request.query.values("command")
        return RemoteCommand.accept(request, options: options) { await fakeCommand(command, $0) }
    case "/api/v1/namespaces/default/pods/web/portforward":
        return PortForward.accept(request) { connection in
            guard connection.port != 81 else {
                connection.reportError("nobody listens on port 81")
                return
            }
            while let bytes = try? await connection.stream.read() { try? await connection.stream.write(bytes) }
            try? await connection.stream.write(Array("port \(connection.port) is done".utf8))
        }
    case "/api":
        return .json(Array(#"{"kind":"APIVersions","versions":["v1"]}"#.utf8))
    case "/apis":
        return .json(Array(#"{"kind":"APIGroupList","apiVersion":"v1","groups":[]}"#.utf8))
    case "/api/v1":
        let pods = #"{"name":"pods","singularName":"pod","namespaced":true,"kind":"Pod","verbs":["get","list"]}"#
        return .json(
            Array(#"{"kind":"APIResourceList","groupVersion":"v1","resources":[\#(pods)]}"#.utf8))
    default:
        return .json(Array(#"{"kind":"Status","apiVersion":"v1","status":"Failure","code":404}"#.utf8), status: 404)
    }
}

private func fakeCommand(_ command: [String], _ session: RemoteCommandSession) async -> RemoteCommandResult {
    switch command.first {
    case "cat":
        var count = 0
        while let bytes = try? await session.readStdin() {
            count += bytes.count
            try? await session.writeStdout(bytes)
        }
        try? await session.writeStderr(Array("\(count) bytes\n".utf8))
        return .success
    case "exit":
        try? await session.writeStdout(Array("out\n".utf8))
        try? await session.writeStderr(Array("err\n".utf8))
        return .exited(code: Int32(command.last ?? "") ?? 1)
    case "fail": return .failed("no such container")
    case "big":
        for _ in 0..<100 { try? await session.writeStdout([UInt8](repeating: 0x62, count: 50_000)) }
        return .success
    case "size":
        var text = "no size"
        for await size in session.resizes {
            text = "\(size.width)x\(size.height)"
            break
        }
        try? await session.writeStdout(Array(text.utf8))
        return .success
    case "wait":
        try? await session.writeStdout(Array("waiting".utf8))
        try? await Task.sleep(nanoseconds: 60_000_000_000)
        cancelled.withLock { $0 += Task.isCancelled ? 1 : 0 }
        return .success
    default:
        try? await session.writeStdout(Array(command.joined(separator: " ").utf8))
        return .success
    }
}

private let cancelled = Mutex(0)

@Suite struct RemoteCommandTests {
    private func webSocket(_ port: Int, _ query: String, _ name: String) async throws -> WebSocketConnection {
        let url = try HTTPURL("ws://127.0.0.1:\(port)/api/v1/namespaces/default/pods/web/exec?\(query)")
        let connected = try await WebSocketHandshake.connect(try testClient(), url, protocols: [name])
        #expect(connected.subprotocol == name)
        return try #require(connected.socket)
    }

    private func collect(_ socket: WebSocketConnection) async throws -> [UInt8: String] {
        var channels: [UInt8: [UInt8]] = [:]
        while let message = try await socket.receive() {
            let bytes = message.bytes
            channels[try #require(bytes.first), default: []] += bytes.dropFirst()
        }
        return channels.mapValues { String(decoding: $0, as: UTF8.self) }
    }

    @Test func v5ClosesStdinAlone() async throws {
        try await withServer(handler: podServer) { port, server in
            let socket = try await webSocket(port, "command=cat&stdin=1&stdout=1&stderr=1", "v5.channel.k8s.io")
            try await socket.send(binary: [0] + Array("hello".utf8))
            try await socket.send(binary: [255, 0])
            let channels = try await collect(socket)
            #expect(channels == [1: "hello", 2: "5 bytes\n", 3: #"{"metadata":{},"status":"Success"}"#])
            #expect(socket.peerCloseCode == 1000)
            #expect(await eventually { server.connectionCount == 0 })
        }
    }

    @Test func exitCodeIsInTheStatus() async throws {
        try await withServer(handler: podServer) { port, _ in
            let socket = try await webSocket(port, "command=exit&command=3&stdout=1&stderr=1", "v4.channel.k8s.io")
            let channels = try await collect(socket)
            #expect(channels[1] == "out\n" && channels[2] == "err\n")
            #expect(
                channels[3]
                    == #"{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: exit status 3","#
                    + #""reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#)
        }
    }

    @Test func base64ChannelsAreText() async throws {
        try await withServer(handler: podServer) { port, _ in
            let socket = try await webSocket(port, "command=cat&stdin=1&stdout=1", "v4.base64.channel.k8s.io")
            try await socket.send(text: Array(("0" + Base64.encode(Array("hello".utf8))).utf8))
            #expect(try await socket.receive() == .text(Array("1".utf8)))
            #expect(try await socket.receive() == .text(Array(("1" + Base64.encode(Array("hello".utf8))).utf8)))
            await socket.close()
        }
    }

    @Test func plainTextErrorBeforeV4() async throws {
        try await withServer(handler: podServer) { port, _ in
            let socket = try await webSocket(port, "command=fail&stdout=1", "channel.k8s.io")
            #expect(try await collect(socket) == [1: "", 3: "Internal error occurred: no such container"])
        }
    }

    @Test func resizeReachesTheCommand() async throws {
        try await withServer(handler: podServer) { port, _ in
            let socket = try await webSocket(port, "command=size&stdout=1&tty=1", "v5.channel.k8s.io")
            try await socket.send(binary: [4] + Array("{\"Width\":132,\"Height\":43}\n".utf8))
            #expect(try await collect(socket)[1] == "132x43")
        }
    }

    @Test func commandIsCancelledWhenTheClientGoes() async throws {
        try await withServer(handler: podServer) { port, server in
            let before = cancelled.withLock { $0 }
            let socket = try await webSocket(port, "command=wait&stdout=1", "v5.channel.k8s.io")
            _ = try await socket.receive()
            await socket.close()
            #expect(await eventually { cancelled.withLock { $0 } == before + 1 && server.connectionCount == 0 })
        }
    }

    @Test func requestWithoutUpgradeIsRefused() async throws {
        try await withServer(handler: podServer) { port, _ in
            let url = try HTTPURL("http://127.0.0.1:\(port)/api/v1/namespaces/default/pods/web/exec?command=x&stdout=1")
            let response = try await testClient().get(url)
            #expect(response.status == 400)
            let status = try JSON.parse(try await response.body.collect(upTo: 1000))
            #expect(status["message"] == "Upgrade request required")
        }
    }

    @Test func spdyWithoutACommonProtocolIsRefused() async throws {
        try await withServer(handler: podServer) { port, _ in
            let response = try await testClient().execute(
                HTTPClientRequest(
                    "POST",
                    try HTTPURL("http://127.0.0.1:\(port)/api/v1/namespaces/default/pods/web/exec?command=x&stdout=1"),
                    headers: [
                        "Connection": "Upgrade", "Upgrade": "SPDY/3.1",
                        "X-Stream-Protocol-Version": "v9.channel.k8s.io",
                    ]))
            #expect(response.status == 403)
            #expect(response.headers.values("X-Accepted-Stream-Protocol-Versions").contains("v4.channel.k8s.io"))
        }
    }
}

/// kubectl is the counterpart that counts.
@Suite(.enabled(if: Command.find("kubectl") != nil, "needs kubectl"))
struct KubectlStreamingTests {
    private func withPodServer(_ body: (_ kubectl: [String]) async throws -> Void) async throws {
        let pki = TestPKI.shared
        let tls = try TLSServerContext(pki.serverConfiguration())
        try await withServer(tls: tls, handler: podServer) { port, server in
            let directory = try TemporaryDirectory()
            try directory.write("config", [])
            try await body([
                "kubectl", "--kubeconfig", directory.path + "/config", "--cache-dir", directory.path + "/cache",
                "--server",
                "https://localhost:\(port)", "--certificate-authority", pki.file("ca.pem"), "--client-certificate",
                pki.file("client.pem"), "--client-key", pki.file("client.key"),
            ])
            #expect(await eventually { server.connectionCount == 0 })
        }
    }

    private static let forms = ["true", "false"]

    @Test(arguments: forms)
    func execWithStdin(_ webSockets: String) async throws {
        try await withPodServer { kubectl in
            let input = [UInt8](repeating: 0x61, count: 1_000_000)
            let out = try await Command.run(
                kubectl + ["exec", "-i", "web", "--", "cat"], stdin: input,
                environment: ["KUBECTL_REMOTE_COMMAND_WEBSOCKETS=\(webSockets)"])
            // Compared first: of arrays that differ #expect works out how, which takes hours for a megabyte.
            let isWhole = out.stdout == input
            #expect(isWhole, "\(out.stdout.count) \(out.errorText)")
            #expect(out.errorText.contains("1000000 bytes\n") && out.status == 0, "\(out.errorText)")
        }
    }

    @Test(arguments: forms)
    func exitCodeArrives(_ webSockets: String) async throws {
        try await withPodServer { kubectl in
            let out = try await Command.run(
                kubectl + ["exec", "web", "--", "exit", "42"],
                environment: ["KUBECTL_REMOTE_COMMAND_WEBSOCKETS=\(webSockets)"])
            #expect(out.status == 42 && out.text == "out\n", "\(out.status) \(out.text) \(out.errorText)")
            #expect(out.errorText.hasPrefix("err\n"))
            #expect(out.errorText.contains("command terminated with exit code 42"))
        }
    }

    @Test(arguments: forms)
    func bigOutputArrivesWhole(_ webSockets: String) async throws {
        try await withPodServer { kubectl in
            let out = try await Command.run(
                kubectl + ["exec", "web", "--", "big"],
                environment: ["KUBECTL_REMOTE_COMMAND_WEBSOCKETS=\(webSockets)"])
            #expect(out.status == 0 && out.stdout.count == 5_000_000, "\(out.stdout.count) \(out.errorText)")
        }
    }

    @Test(arguments: forms)
    func failureIsPrinted(_ webSockets: String) async throws {
        try await withPodServer { kubectl in
            let out = try await Command.run(
                kubectl + ["exec", "web", "--", "fail"],
                environment: ["KUBECTL_REMOTE_COMMAND_WEBSOCKETS=\(webSockets)"])
            #expect(out.status == 1 && out.errorText.contains("no such container"), "\(out.errorText)")
        }
    }

    @Test(arguments: forms)
    func portForward(_ webSockets: String) async throws {
        try await withPodServer { kubectl in
            let reserved = try ReservedPort()
            // kubectl chooses the local port and prints it.
            let directory = try TemporaryDirectory()
            let arguments = kubectl + ["port-forward", "web", ":8080", ":81", "--address", "127.0.0.1"]
            // It goes on until it is told.
            let script =
                "timeout 50 \"$@\" > \(directory.path)/log 2>&1 & until [ -e \(directory.path)/end ]; do sleep 0.1; done; kill $!"
            let child = Task {
                try await Command.run(
                    ["sh", "-c", script, "sh"] + arguments,
                    environment: ["KUBECTL_PORT_FORWARD_WEBSOCKETS=\(webSockets)"])
            }
            @Sendable func log() -> String { String(decoding: (try? directory.read("log")) ?? [], as: UTF8.self) }
            @Sendable func port(_ remote: Int) -> Int? {
                for line in log().split(separator: "\n") where line.hasSuffix("-> \(remote)") {
                    return Int(line.split(separator: " ").dropFirst(2).first?.split(separator: ":").last ?? "")
                }
                return nil
            }
            #expect(await eventually { port(8080) != nil && port(81) != nil }, "\(log())")
            let local = try #require(port(8080))
            for round in 0..<3 {
                let raw = try RawConnection(port: local)
                let big = [UInt8](repeating: UInt8(round), count: 400_000)
                async let writing: Void = {
                    try await raw.write(big)
                    raw.shutdownWrite()
                }()
                var all: [UInt8] = []
                while let bytes = try await raw.read() { all += bytes }
                try await writing
                let isWhole = all == big + Array("port 8080 is done".utf8)
                #expect(isWhole, "\(all.count)")
            }
            let refused = try RawConnection(port: try #require(port(81)))
            _ = try? await refused.readToEnd()
            #expect(await eventually { log().contains("nobody listens on port 81") }, "\(log())")
            _ = reserved
            try directory.write("end", [])
            _ = try await child.value
        }
    }

    @Test func portForwardOverWebSocketChannels() async throws {
        try await withServer(handler: podServer) { port, _ in
            let url = try HTTPURL("ws://127.0.0.1:\(port)/api/v1/namespaces/default/pods/web/portforward?ports=8080")
            let connected = try await WebSocketHandshake.connect(
                try testClient(), url, protocols: ["v4.channel.k8s.io"])
            let socket = try #require(connected.socket)
            #expect(try await socket.receive() == .binary([0, 0x90, 0x1F]))
            #expect(try await socket.receive() == .binary([1, 0x90, 0x1F]))
            try await socket.send(binary: [0] + Array("ping".utf8))
            #expect(try await socket.receive() == .binary([0] + Array("ping".utf8)))
            await socket.close()
        }
    }
}
