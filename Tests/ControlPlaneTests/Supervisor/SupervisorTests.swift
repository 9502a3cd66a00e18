import Codecs
import KubeAPI
import Linux
import Testing
import Transport

@testable import ControlPlane

@Suite struct SupervisorTests {
    @Test func openPathsNeedNoCredential() async throws {
        let bench = try await SupervisorBench()
        #expect(try await bench.call("GET", "/ping")?.text == "pong")
        #expect(try await bench.call("GET", "/cacerts")?.bytes == bench.pki.server.pem)
        #expect(try await bench.call("GET", "/api/v1/nodes") == nil)
        #expect(try await bench.call("GET", "/version") == nil)
    }

    static let refusals: [(HTTPHeaderFields, Int)] = [
        ([:], 403), (SupervisorBench.basic("node", "wrong"), 401),
        (SupervisorBench.basic("jane", "server-secret"), 401),
        (SupervisorBench.basic("server", "server-secret"), 403), (["Authorization": "Basic !"], 401),
        (["Authorization": "Bearer abcdef.0123456789abcdef"], 401), (["Authorization": "Digest x"], 401),
    ]

    @Test(arguments: refusals)
    func whoIsRefused(_ headers: HTTPHeaderFields, _ code: Int) async throws {
        let bench = try await SupervisorBench()
        let answer = try #require(try await bench.call("GET", "/v1-k3s/config", headers))
        #expect(answer.code == code)
        #expect(answer.json["kind"] == "Status" && !answer.message.isEmpty)
    }

    @Test func theNodeTokenOpensWhatAgentsNeed() async throws {
        let bench = try await SupervisorBench()
        for (path, type) in [("client-ca.crt", bench.pki.client.pem), ("server-ca.crt", bench.pki.server.pem)] {
            #expect(try await bench.call("GET", "/v1-k3s/" + path, bench.nodeToken)?.bytes == type)
        }
        let config = try #require(try await bench.call("GET", "/v1-k3s/config", bench.nodeToken)).json
        #expect(config["ClusterDomain"] == "cluster.local")
        #expect(config["IPSECPSK"].string == bench.credentials.sharedKey)
        #expect(
            try await bench.call("GET", "/v1-k3s/apiservers", bench.nodeToken)?.json == ["192.0.2.1:6443"])
        #expect(try await bench.call("GET", "/v1-k3s/readyz", bench.nodeToken)?.code == 503)
        bench.supervisor.setReady(true)
        #expect(try await bench.call("GET", "/v1-k3s/readyz", bench.nodeToken)?.text == "ok")
        #expect(try await bench.call("POST", "/v1-k3s/config", bench.nodeToken)?.code == 405)
        #expect(try await bench.call("GET", "/v1-k3s/nothing", bench.nodeToken)?.code == 404)
    }

    @Test func apiServersComeFromTheEndpoints() async throws {
        let bench = try await SupervisorBench()
        var endpoints = KubeObject(GroupVersionKind(.core, "Endpoints"), name: "kubernetes", namespace: "default")
        endpoints.json["subsets"] = [
            [
                "addresses": [["ip": "192.0.2.7"], ["ip": "2001:db8::1"]],
                "ports": [["name": "https", "port": 6444, "protocol": "TCP"]],
            ]
        ]
        _ = try await bench.client.create(.endpoints, endpoints)
        #expect(
            try await bench.call("GET", "/v1-k3s/apiservers", bench.nodeToken)?.json
                == ["192.0.2.7:6444", "[2001:db8::1]:6444"])
    }

    @Test func theServerTokenOpensWhatServersNeed() async throws {
        let bench = try await SupervisorBench()
        let server = SupervisorBench.basic("server", "server-secret")
        let bootstrap = try #require(try await bench.call("GET", "/v1-k3s/server-bootstrap", server))
        #expect(bootstrap.code == 400 && bootstrap.message.contains("etcd disabled"))
        #expect(try await bench.call("GET", "/db/info", server)?.code == 400)
        #expect(try await bench.call("PUT", "/v1-k3s/token", bench.nodeToken)?.code == 403)
        #expect(try await bench.call("GET", "/v1-k3s/server-bootstrap", bench.nodeToken)?.code == 403)
    }

    // MARK: - Certificates

    @Test func certificatesHaveTheNamesOfTheirPath() async throws {
        let bench = try await SupervisorBench()
        let expected: [(String, String, [String])] = [
            ("client-kubelet.crt", "system:node:one", ["system:nodes"]), ("serving-kubelet.crt", "one", []),
            ("client-kube-proxy.crt", "system:kube-proxy", []),
            ("client-k3s-controller.crt", "system:k3s-controller", []),
        ]
        for (path, name, groups) in expected {
            let answer = try await bench.sign(path, node: "One", addresses: "10.0.0.5, fd00::5")
            #expect(answer.code == 200, "\(path): \(answer.message)")
            let chain = try Certificate.chain(pem: answer.bytes, what: path)
            #expect(chain.count == 2)
            #expect(chain[0].subject.commonName == name && chain[0].subject.organizations == groups)
            let serving = path.hasPrefix("serving")
            #expect(chain[0].isIssued(by: serving ? bench.pki.server.certificate : bench.pki.client.certificate))
            #expect(chain[0].extendedKeyUsages == [serving ? .serverAuth : .clientAuth])
            if serving {
                #expect(chain[0].alternativeNames.dnsNames == ["one", "localhost"])
                #expect(
                    Set(chain[0].alternativeNames.ipAddresses) == ["127.0.0.1", "::1", "10.0.0.5", "fd00::5"])
            }
        }
    }

    @Test func badCertificateRequestsAreRefused() async throws {
        let bench = try await SupervisorBench()
        for (node, password, text) in [
            (nil, "x", "node name not set"), ("one", nil, "node password not set"), ("-", "x", "node name"),
            ("a/b", "x", "node name"),
        ] as [(String?, String?, String)] {
            let answer = try await bench.sign("client-kubelet.crt", node: node, password: password)
            #expect(answer.code == 400 && answer.message.contains(text), "\(answer)")
        }
        for body in [[], [0x30, 0x03, 0x02, 0x01, 0x00], Array("-----BEGIN".utf8)] as [[UInt8]] {
            #expect(try await bench.sign("client-kubelet.crt", node: "one", request: body).code == 400)
        }
        #expect(try await bench.sign("serving-kubelet.crt", node: "one", addresses: "10.0.0").code == 400)
        #expect(try await bench.call("GET", "/v1-k3s/client-kubelet.crt", bench.nodeToken)?.code == 405)
        let large = [UInt8](repeating: 0, count: 100_000)
        #expect(try await bench.sign("client-kubelet.crt", node: "one", request: large).code == 413)
    }

    @Test func aNodesCertificateIsGoodForThatNodeWhileItExists() async throws {
        let bench = try await SupervisorBench()
        let peer = SupervisorBench.certificate("one")
        let gone = try await bench.sign("client-kubelet.crt", node: "one", peer: peer)
        #expect(gone.code == 401 && gone.message.contains("join with a token"))
        _ = try await bench.addNode("one")
        #expect(try await bench.sign("client-kubelet.crt", node: "one", peer: peer).code == 200)
        let other = try await bench.sign("client-kubelet.crt", node: "two", peer: peer)
        #expect(other.code == 400 && other.message.contains("does not match"))
        #expect(try await bench.call("GET", "/v1-k3s/config", peer: peer)?.code == 200)
        // Other certificates of the cluster are no nodes'.
        let proxy = PeerIdentity(commonName: "system:kube-proxy", organizations: [])
        #expect(try await bench.call("GET", "/v1-k3s/config", peer: proxy)?.code == 403)
    }

    // MARK: - Node passwords

    @Test func theFirstPasswordOfANameCounts() async throws {
        let bench = try await SupervisorBench()
        #expect(try await bench.sign("client-kubelet.crt", node: "one", password: "p1").code == 200)
        let secret = try await bench.client.get(.secrets, namespace: "kube-system", name: "one.node-password.k3s")
        #expect(secret["type"] == "k3s.cattle.io/node-password" && secret["immutable"] == true)
        let hash = try #require(secret["data"]["hash"].string.flatMap { Base64.decode($0) })
        #expect(String(decoding: hash, as: UTF8.self).hasPrefix("$1:"))
        #expect(try NodePassword.verify("p1", hash: String(decoding: hash, as: UTF8.self)))
        _ = try await bench.addNode("one")
        let clash = try await bench.sign("client-kubelet.crt", node: "one", password: "p2")
        #expect(clash.code == 403 && clash.message.contains("hash does not match"))
        let events = try await bench.client.list(.events, namespace: "default").decoded()
        #expect(events.contains { $0["reason"] == "NodePasswordValidationFailed" })
        // The right one still is, also for one who has forgotten what it had verified.
        #expect(try await bench.sign("serving-kubelet.crt", node: "one", password: "p1").code == 200)
        let fresh = NodePasswords(api: bench.api, logger: bench.logger)
        try await fresh.check(node: "one", password: "p1")
        await #expect(throws: APIError.self) { try await fresh.check(node: "one", password: "p2") }
    }

    @Test func theServersOwnNameIsTaken() async throws {
        let bench = try await SupervisorBench()
        let answer = try await bench.sign("client-kubelet.crt", node: "server")
        #expect(answer.code == 403 && answer.message.contains("--node-name"))
        let alone = try await SupervisorBench(ownNode: nil)
        #expect(try await alone.sign("client-kubelet.crt", node: "server").code == 200)
    }

    @Test func manyJoinAtOnceAndSomeAreToldToComeAgain() async throws {
        let bench = try await SupervisorBench()
        let codes = try await withThrowingTaskGroup(of: Int.self) { group in
            for number in 0..<16 {
                group.addTask { try await bench.sign("client-kubelet.crt", node: "node-\(number)").code }
            }
            return try await group.reduce(into: [Int: Int]()) { $0[$1, default: 0] += 1 }
        }
        #expect(Set(codes.keys).isSubset(of: [200, 429]))
        #expect((codes[200] ?? 0) >= 10)
        // Those who were told come again.
        for number in 0..<16 {
            #expect(try await bench.sign("client-kubelet.crt", node: "node-\(number)").code == 200)
        }
    }

    @Test func aDeletedNodeGivesItsNameBack() async throws {
        let bench = try await SupervisorBench()
        let controller = NodeDepartureController(
            client: bench.client, passwords: bench.passwords, tunnels: bench.tunnels)
        #expect(try await bench.sign("client-kubelet.crt", node: "one", password: "p1").code == 200)
        let node = try await bench.addNode("one")
        #expect(controller.sources[0].keys(node, .modified).isEmpty)
        let keys = controller.sources[0].keys(node, .deleted)
        #expect(keys == [ObjectKey(name: "one")])
        // Still there: nothing happens.
        _ = try await controller.reconcile(keys[0])
        #expect(try await bench.sign("client-kubelet.crt", node: "one", password: "p2").code == 403)
        try await bench.client.delete(.nodes, namespace: "", name: "one", options: DeleteOptions())
        _ = try await controller.reconcile(keys[0])
        #expect(
            try await bench.client.getIfPresent(
                .secrets, namespace: "kube-system", name: "one.node-password.k3s") == nil)
        #expect(try await bench.sign("client-kubelet.crt", node: "one", password: "p2").code == 200)
        #expect(try await bench.sign("client-kubelet.crt", node: "one", password: "p1").code == 403)
    }

    // MARK: - Tokens

    @Test func anAgentTokenKeepsTheServersToServers() async throws {
        let bench = try await SupervisorBench(agentToken: "agents-only")
        let path = "/v1-k3s/config"
        #expect(try await bench.call("GET", path, SupervisorBench.basic("node", "agents-only"))?.code == 200)
        #expect(try await bench.call("GET", path, SupervisorBench.basic("node", "server-secret"))?.code == 401)
    }

    @Test func aRotatedTokenReplacesTheOldOne() async throws {
        let bench = try await SupervisorBench()
        let old = SupervisorBench.basic("server", "server-secret")
        for body in ["", "[]", "{"] {
            #expect(try await bench.call("PUT", "/v1-k3s/token", old, body: Array(body.utf8))?.code == 400)
        }
        let body = Array(#"{"newToken":"next"}"#.utf8)
        #expect(try await bench.call("PUT", "/v1-k3s/token", old, body: body)?.code == 200)
        #expect(try await bench.call("PUT", "/v1-k3s/token", old, body: body)?.code == 401)
        #expect(
            try await bench.call("GET", "/v1-k3s/config", SupervisorBench.basic("node", "next"))?.code == 200)
        let token = try Files.readString(bench.directory + "/token")
        #expect(token.hasSuffix("::server:next\n"))
        #expect(try Files.readString(bench.directory + "/agent-token") == token)
        #expect(try Files.readString(bench.directory + "/cred/passwd").contains("next,server,server,k3s:server"))
        // The next start finds it.
        let again = try ClusterCredentials.prepare(
            serverDirectory: bench.directory, token: nil, agentToken: nil, ca: bench.pki.server.pem)
        #expect(again.serverToken.text + "\n" == token)
        // Without one, a random one is made.
        let next = SupervisorBench.basic("server", "next")
        #expect(try await bench.call("PUT", "/v1-k3s/token", next, body: Array("{}".utf8))?.code == 200)
        #expect(try Files.readString(bench.directory + "/token") != token)
    }

    @Test func rotatingLeavesAnAgentTokenAlone() async throws {
        let bench = try await SupervisorBench(agentToken: "agents-only")
        let body = Array(#"{"newToken":"next"}"#.utf8)
        let old = SupervisorBench.basic("server", "server-secret")
        #expect(try await bench.call("PUT", "/v1-k3s/token", old, body: body)?.code == 200)
        let agents = SupervisorBench.basic("node", "agents-only")
        #expect(try await bench.call("GET", "/v1-k3s/config", agents)?.code == 200)
        #expect(try Files.readString(bench.directory + "/agent-token").hasSuffix("::node:agents-only\n"))
    }

    @Test func connectIsForNodesAndMasters() async throws {
        let bench = try await SupervisorBench()
        #expect(try await bench.call("GET", "/v1-k3s/connect", bench.nodeToken)?.code == 403)
        // Without an upgrade.
        let plain = try await bench.call("GET", "/v1-k3s/connect", peer: SupervisorBench.certificate("one"))
        #expect(plain?.code == 400)
    }
}

@Suite struct BootstrapTokenTests {
    private func token(_ change: (inout BootstrapToken) -> Void = { _ in }) -> BootstrapToken {
        var token = BootstrapToken(id: "abcdef", secret: "0123456789abcdef")
        token.usages = ["authentication", "signing"]
        token.groups = [BootstrapToken.defaultGroup]
        change(&token)
        return token
    }

    @Test func aTokenIsWhatItsSecretSays() throws {
        let made = token {
            $0.description = "for the lab"
            $0.expires = Timestamp("2026-02-03T04:05:06Z")
        }
        let secret = made.object
        #expect(secret.name == "bootstrap-token-abcdef" && secret["type"] == "bootstrap.kubernetes.io/token")
        #expect(secret["data"]["usage-bootstrap-signing"].string == "dHJ1ZQ==")
        #expect(BootstrapToken(secret: secret) == made)
        var other = secret
        other["type"] = "Opaque"
        #expect(BootstrapToken(secret: other) == nil)
        var unreadable = secret
        unreadable["data"]["expiration"] = "bm9uc2Vuc2U="
        #expect(BootstrapToken(secret: unreadable)?.expires == Timestamp(seconds: 0))
    }

    @Test func textForms() {
        #expect(BootstrapToken.parse("abcdef.0123456789abcdef")?.id == "abcdef")
        for bad in ["abcdef", "abcde.0123456789abcdef", "abcdeF.0123456789abcdef", "abcdef.0123456789abcde", "a.b.c"] {
            #expect(BootstrapToken.parse(bad) == nil)
        }
        #expect(BootstrapToken.isGroup("system:bootstrappers:a"))
        for bad in ["system:bootstrappers:", "system:masters", "system:bootstrappers:a-", "system:bootstrappers:A"] {
            #expect(!BootstrapToken.isGroup(bad))
        }
    }

    @Test func aTokenJoinsUntilItsTimeHasCome() async throws {
        let bench = try await SupervisorBench()
        let headers: HTTPHeaderFields = ["Authorization": "Bearer abcdef.0123456789abcdef"]
        let made = token { $0.expires = bench.clock.now().advanced(by: .seconds(60)) }
        _ = try await bench.client.create(.secrets, made.object)
        #expect(try await bench.call("GET", "/v1-k3s/config", headers)?.code == 200)
        #expect(try await bench.sign("client-kubelet.crt", node: "one", credential: headers).code == 200)
        let wrong: HTTPHeaderFields = ["Authorization": "Bearer abcdef.0123456789abcdee"]
        #expect(try await bench.call("GET", "/v1-k3s/config", wrong)?.code == 401)
        let cleaner = TokenCleaner(client: bench.client, clock: bench.clock)
        let secret = try await bench.client.get(.secrets, namespace: "kube-system", name: "bootstrap-token-abcdef")
        #expect(cleaner.sources[0].keys(secret, .added) == [secret.key])
        #expect(try await cleaner.reconcile(secret.key) == .seconds(60))
        bench.clock.advance(by: .seconds(61))
        #expect(try await bench.call("GET", "/v1-k3s/config", headers)?.code == 401)
        #expect(try await cleaner.reconcile(secret.key) == nil)
        #expect(
            try await bench.client.getIfPresent(.secrets, namespace: "kube-system", name: secret.name) == nil)
    }

    @Test func usagesAndGroupsAreHeeded() async throws {
        let bench = try await SupervisorBench()
        let now = bench.clock.now()
        for made in [token { $0.usages = ["signing"] }, token { $0.groups = ["system:masters"] }] {
            _ = try await bench.client.create(.secrets, made.object)
            #expect(BootstrapToken.authenticate(made.text, bench.api.registry, now: now) == nil)
            try await bench.client.delete(
                .secrets, namespace: "kube-system", name: made.object.name, options: DeleteOptions())
        }
        _ = try await bench.client.create(.secrets, token().object)
        let tokens = BootstrapTokens(clock: bench.clock)
        #expect(tokens.authenticate(token().text) == nil)
        tokens.attach(bench.api.registry)
        let user = try #require(tokens.authenticate(token().text))
        #expect(user.name == "system:bootstrap:abcdef")
        #expect(user.groups == ["system:bootstrappers", BootstrapToken.defaultGroup])
    }
}
