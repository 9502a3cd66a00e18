import Codecs
import ControlPlane
import KubeAPI
import Linux
import Logging
import NIOPosix
import Store
import Synchronization
import Testing
import Transport

@testable import k3s

/// A server with its supervisor on a real port, a kubelet on another, and a tunnel between the two.
private final class TunnelBench: Sendable {
    static let group = MultiThreadedEventLoopGroup.singleton
    let directory: String
    let pki: ClusterPKI
    let api: APIServer
    let client: LocalClient
    let nodes = LocalNodes()
    let tunnels: NodeTunnels
    let listener: HTTPServer
    let kubelet: HTTPServer
    let port: Int
    let kubeletPort: Int

    init(mode: EgressMode = .agent) async throws {
        var template = Array("/tmp/k3s-tunnel-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SysError(errno, "mkdtemp") }
        directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        pki = try ClusterPKI.prepare(
            directory: directory + "/tls", parameters: ClusterPKIParameters(nodeName: "server"))
        let credentials = try ClusterCredentials.prepare(
            serverDirectory: directory, token: "secret", agentToken: nil, ca: pki.server.pem)
        var configuration = APIServerConfiguration()
        configuration.nodes = nodes
        api = APIServer(store: MemoryStore(), configuration: configuration)
        client = api.client(as: .system)
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        tunnels = NodeTunnels(logger: logger)
        try nodes.attach(client: client, tunnels: tunnels, pki: pki, mode: mode, group: Self.group)
        let nodes = nodes
        let settings = SupervisorSettings(
            directory: directory, ownNode: nil, config: [:], advertised: "127.0.0.1:6443", hasAgentToken: false)
        let supervisor = Supervisor(
            settings: settings, pki: pki, credentials: credentials, api: api,
            passwords: NodePasswords(api: api, logger: logger), tunnels: tunnels, logger: logger,
            dial: { try await nodes.connection($0, $1) })

        let certificate = try ListenerCertificate.prepare(
            pki: pki, names: ["localhost", "127.0.0.1"], now: SystemClock().now().seconds)
        let tls = TLSServerConfiguration(
            certificate: TLSCertificate(chainPEM: certificate.chainPEM, keyPEM: certificate.key.pem),
            clientCAPEM: pki.client.pem)
        // A starved machine takes its time.
        var patient = HTTPServerConfiguration()
        (patient.limits.handshakeTimeout, patient.limits.headerTimeout) = (120, 120)
        listener = HTTPServer(group: Self.group, tls: try TLSServerContext(tls), configuration: patient) { request in
            await supervisor.handle(request) ?? .text("not found", status: 404)
        }
        port = try await listener.start(host: "127.0.0.1", port: 0)

        let key = try PrivateKey.generate()
        let chain = try pki.issue(.kubeletServing(nodeName: "one", addresses: []), for: key.publicKey)
        let serving = TLSServerConfiguration(
            certificate: TLSCertificate(chainPEM: chain, keyPEM: key.pem), clientCAPEM: pki.client.pem)
        kubelet = HTTPServer(group: Self.group, tls: try TLSServerContext(serving), configuration: patient) { request in
            guard request.peer?.organizations == ["system:masters"] else { return .text("who?", status: 401) }
            if request.wantsUpgrade(to: "websocket") {
                return WebSocketHandshake.accept(request, protocols: []) { socket, _ in
                    while let message = try? await socket.receive() { try? await socket.send(message) }
                }
            }
            if request.path == "/slow" {
                return HTTPResponse(
                    status: 200,
                    body: .stream(length: nil) { writer in
                        for number in 0..<200 { try await writer.write([UInt8](repeating: UInt8(number), count: 9000)) }
                    })
            }
            return .text("\(request.method) \(request.rawPath)?\(request.rawQuery) \(request.body.count)")
        }
        kubeletPort = try await kubelet.start(host: "127.0.0.1", port: 0)
    }

    deinit { try? Directories.removeTree(directory) }

    func stop() async {
        await listener.stop()
        await kubelet.stop()
    }

    func addNode(address: String, labels: [String: String] = [:]) async throws {
        var node = KubeObject(GroupVersionKind(.core, "Node"), name: "one")
        if !labels.isEmpty { node.labels = labels }
        node.json["spec"] = ["podCIDR": "127.99.1.0/24"]
        node.json["status"] = [
            "addresses": [["type": "InternalIP", "address": .string(address)]],
            "daemonEndpoints": ["kubeletEndpoint": ["Port": .int(Int64(kubeletPort))]],
        ]
        _ = try await client.create(.nodes, node)
    }

    func clientContext(_ kind: ClusterPKI.NodeCertificate) throws -> TLSClientContext {
        let key = try PrivateKey.generate()
        var tls = TLSClientConfiguration(trust: .authorities(pem: pki.server.pem))
        tls.certificate = TLSCertificate(
            chainPEM: try pki.issue(kind, for: key.publicKey), keyPEM: key.pem)
        return try TLSClientContext(tls)
    }

    /// As an agent does; the session is the agent's end.
    func join(
        _ node: String = "one", allow: @escaping @Sendable (TunnelAddress) -> Bool = { _ in true },
        dial: TunnelSession.Dialer? = nil
    ) async throws -> (TunnelSession, Task<Void, Never>) {
        let context = try clientContext(.kubeletClient(nodeName: node))
        let (socket, _, response) = try await WebSocketHandshake.connect(
            HTTPClient(group: Self.group, tls: context), try HTTPURL("wss://127.0.0.1:\(port)/v1-k3s/connect"),
            limit: TunnelSession.messageLimit)
        #expect(response.status == 101)
        let session = TunnelSession(
            try #require(socket), role: .client, allow: allow,
            dial: dial ?? { try await StreamConnector.connect(host: $0.host, port: Int($0.port), group: Self.group) })
        let tunnels = tunnels
        #expect(await eventually { tunnels.nodes.contains(node) })
        return (session, Task { try? await session.run() })
    }

    func ask(
        _ target: String, method: String = "GET", body: [UInt8] = [], headers: HTTPHeaderFields = [:]
    ) async throws -> (status: Int, text: String) {
        let handler = try #require(nodes.handler(forNode: "one"))
        return try await answer(handler, method, target, body)
    }

    func answer(
        _ handler: HTTPHandler, _ method: String, _ target: String, _ body: [UInt8] = []
    ) async throws -> (status: Int, text: String) {
        let response = await handler(try HTTPRequest(method: method, target: target, body: body))
        switch response.body {
        case .bytes(let bytes): return (response.status, String(decoding: bytes, as: UTF8.self))
        case .stream(_, let run):
            let all = Mutex<[UInt8]>([])
            try await run(HTTPBodyWriter { more in all.withLock { $0 += more } })
            return (response.status, String(decoding: all.withLock { $0 }, as: UTF8.self))
        default: return (response.status, "")
        }
    }
}

private func eventually(_ condition: @Sendable () async -> Bool) async -> Bool {
    for _ in 0..<3000 {
        if await condition() { return true }
        try? await Task.sleep(nanoseconds: 10_000_000)
    }
    return false
}

private func withBench(
    mode: EgressMode = .agent, _ body: (TunnelBench) async throws -> Void
) async throws {
    let bench = try await TunnelBench(mode: mode)
    do {
        try await body(bench)
        await bench.stop()
    } catch {
        await bench.stop()
        throw error
    }
}

@Suite struct LocalNodesTests {
    /// An address that nobody has (RFC 5737): what answers came through the tunnel.
    private static let nowhere = "192.0.2.77"

    @Test func theKubeletIsReachedThroughTheTunnel() async throws {
        try await withBench { bench in
            try await bench.addNode(address: Self.nowhere)
            let asked = Mutex<[TunnelAddress]>([])
            let (session, running) = try await bench.join(dial: { address in
                asked.withLock { $0.append(address) }
                return try await StreamConnector.connect(
                    host: address.host, port: Int(address.port), group: TunnelBench.group)
            })
            for round in 0..<5 {
                let answer = try await bench.ask(
                    "/containerLogs/ns/pod/c%2F?tailLines=\(round)", method: "POST", body: [1, 2, 3])
                #expect(answer.status == 200)
                #expect(answer.text == "POST /containerLogs/ns/pod/c%2F?tailLines=\(round) 3")
            }
            #expect(try await bench.ask("/slow").text.utf8.count >= 200 * 9000)
            let addresses = asked.withLock { $0 }
            #expect(!addresses.isEmpty)
            #expect(addresses.allSatisfy { $0 == TunnelAddress(host: "127.0.0.1", port: UInt16(bench.kubeletPort)) })
            session.close()
            await running.value
        }
    }

    @Test func upgradesGoThroughTheTunnel() async throws {
        try await withBench { bench in
            try await bench.addNode(address: Self.nowhere)
            let (session, running) = try await bench.join()
            // A user's connection to the API server, whose handler is the way to the node.
            let handler = try #require(bench.nodes.handler(forNode: "one"))
            let front = HTTPServer(group: TunnelBench.group, handler: handler)
            let port = try await front.start(host: "127.0.0.1", port: 0)
            let (socket, _, response) = try await WebSocketHandshake.connect(
                HTTPClient(group: TunnelBench.group), try HTTPURL("ws://127.0.0.1:\(port)/exec/ns/pod/c"))
            #expect(response.status == 101)
            let open = try #require(socket)
            for size in [1, 1000, 300_000] {
                let message = [UInt8](repeating: 42, count: size)
                try await open.send(binary: message)
                #expect(try await open.receive() == .binary(message))
            }
            await open.close()
            #expect(await eventually { session.connectionCount == 0 })
            await front.stop()
            session.close()
            await running.value
        }
    }

    @Test func withoutATunnelTheNodesAddressIsDialed() async throws {
        try await withBench { bench in
            #expect(try await bench.ask("/x").status == 404)
            try await bench.addNode(address: "127.0.0.1")
            #expect(try await bench.ask("/healthz").text == "GET /healthz? 0")
            #expect(bench.nodes.handler(forNode: "one") != nil)
        }
    }

    @Test func aNewTunnelReplacesTheOldOne() async throws {
        try await withBench { bench in
            try await bench.addNode(address: Self.nowhere)
            let (first, firstRun) = try await bench.join()
            #expect(try await bench.ask("/1").status == 200)
            let known = try #require(bench.tunnels.session("one"))
            let (second, secondRun) = try await bench.join()
            let tunnels = bench.tunnels
            #expect(await eventually { tunnels.session("one").map { $0 !== known } ?? false })
            await firstRun.value
            #expect(first.isEnded)
            #expect(try await bench.ask("/2").status == 200)
            tunnels.close("one")
            await secondRun.value
            #expect(second.isEnded)
            #expect(tunnels.nodes.isEmpty)
        }
    }

    @Test func aDeletedNodeLosesItsTunnel() async throws {
        try await withBench { bench in
            try await bench.addNode(address: Self.nowhere)
            let (session, running) = try await bench.join()
            let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
            let controller = NodeDepartureController(
                client: bench.client, passwords: NodePasswords(api: bench.api, logger: logger), tunnels: bench.tunnels)
            _ = try await controller.reconcile(ObjectKey(name: "one"))
            #expect(bench.tunnels.nodes == ["one"])
            try await bench.client.delete(.nodes, namespace: "", name: "one", options: DeleteOptions())
            _ = try await controller.reconcile(ObjectKey(name: "one"))
            await running.value
            #expect(session.isEnded && bench.tunnels.nodes.isEmpty)
        }
    }

    @Test func aRefusalOfTheAgentIsTold() async throws {
        try await withBench { bench in
            try await bench.addNode(address: Self.nowhere)
            let (session, running) = try await bench.join(allow: { _ in false })
            let answer = try await bench.ask("/x")
            #expect(answer.status == 500 && answer.text.hasPrefix("error dialing backend: "), "\(answer)")
            session.close()
            await running.value
        }
    }

    @Test func podsGoThroughTheTunnelOnlyWhereTheNodeOffersIt() async throws {
        for (mode, label, expected) in [
            (EgressMode.agent, "true", false), (.cluster, "true", true), (.pod, "true", true), (.cluster, "", false),
            (.disabled, "true", false),
        ] {
            try await withBench(mode: mode) { bench in
                try await bench.addNode(
                    address: Self.nowhere, labels: label.isEmpty ? [:] : ["egress.k3s.io/cluster": label])
                let asked = Mutex<[TunnelAddress]>([])
                let (session, running) = try await bench.join(dial: { address in
                    asked.withLock { $0.append(address) }
                    throw HTTPClientError.connectFailed(address.address, reason: "test")
                })
                // Pods of this test live on loopback, where nobody listens: a direct connection is refused at once.
                let pod = TunnelAddress(host: "127.99.1.9", port: 1)
                if expected {
                    let stream = try await bench.nodes.connection(pod.host, pod.port)
                    await #expect(throws: TunnelError.closedByPeer("dial 127.99.1.9:1: test")) {
                        try await stream.read()
                    }
                    #expect(asked.withLock { $0 } == [pod])
                } else {
                    await #expect(throws: HTTPClientError.self) {
                        try await bench.nodes.connection(pod.host, pod.port)
                    }
                    #expect(asked.withLock { $0 }.isEmpty)
                }
                // A pod on the host's network.
                let shared = TunnelAddress(host: Self.nowhere, port: 1)
                asked.withLock { $0 = [] }
                if expected {
                    _ = try? await bench.nodes.connection(shared.host, shared.port).read()
                    #expect(asked.withLock { $0 } == [shared])
                }
                session.close()
                await running.value
            }
        }
    }

    @Test func addressesOfTheServersOwnAreNotPods() async throws {
        try await withBench { bench in
            for host in [
                "127.0.0.1", "169.254.169.254", "::1", "fe80::1", "0.0.0.0", "224.0.0.1", "::ffff:127.0.0.1", "name",
            ] {
                #expect(bench.nodes.handler(forAddress: host, port: 80, tls: false, node: nil) == nil, "\(host)")
            }
            #expect(bench.nodes.handler(forAddress: "10.42.0.5", port: 80, tls: false, node: nil) != nil)
        }
    }

    @Test func connectIsATunnelForTheApiServersOfOthers() async throws {
        try await withBench { bench in
            try await bench.addNode(address: Self.nowhere)
            let (session, running) = try await bench.join()
            let key = try PrivateKey.generate()
            let issued = try bench.pki.client.issue(
                CertificateProfile(
                    subject: DistinguishedName(commonName: "system:apiserver", organizations: ["system:masters"]),
                    usages: [.clientAuth]), for: key.publicKey, now: SystemClock().now().seconds)
            try Files.writeAtomically(bench.directory + "/c.pem", issued.pem, mode: 0o600)
            try Files.writeAtomically(bench.directory + "/k.pem", key.pem, mode: 0o600)
            try Files.writeAtomically(bench.directory + "/ca.pem", bench.pki.server.pem, mode: 0o600)
            // curl's proxy over TLS is what an egress selector does.
            let curl = try await Curl.run([
                "--proxy", "https://127.0.0.1:\(bench.port)", "--proxy-cacert", bench.directory + "/ca.pem",
                "--proxy-cert", bench.directory + "/c.pem", "--proxy-key", bench.directory + "/k.pem",
                "--proxytunnel", "--cacert", bench.directory + "/ca.pem", "--cert", bench.directory + "/c.pem",
                "--key", bench.directory + "/k.pem", "https://one:\(bench.kubeletPort)/by/connect",
            ])
            #expect(curl == "GET /by/connect? 0")
            session.close()
            await running.value
        }
    }
}

/// A program of the machine; its output.
private enum Curl {
    static func run(_ arguments: [String]) async throws -> String {
        try await BlockingPool.shared.run { () throws(SysError) in
            var ends: [Int32] = [-1, -1]
            guard pipe(&ends) == 0 else { throw SysError(errno, "pipe") }
            for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
            var actions = posix_spawn_file_actions_t()
            posix_spawn_file_actions_init(&actions)
            posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
            defer { posix_spawn_file_actions_destroy(&actions) }
            var argv = (["curl", "-sS", "--max-time", "30"] + arguments).map { strdup($0) }
            argv.append(nil)
            defer { for pointer in argv { free(pointer) } }
            var pid: pid_t = 0
            let code = posix_spawnp(&pid, "curl", &actions, nil, argv, environ)
            close(ends[1])
            guard code == 0 else { throw SysError(code, "posix_spawnp", path: "curl") }
            var output: [UInt8] = []
            var chunk = [UInt8](repeating: 0, count: 4096)
            while true {
                let count = read(ends[0], &chunk, chunk.count)
                guard count > 0 else { break }
                output += chunk.prefix(count)
            }
            close(ends[0])
            var status: Int32 = 0
            waitpid(pid, &status, 0)
            return String(decoding: output, as: UTF8.self)
        }
    }
}
