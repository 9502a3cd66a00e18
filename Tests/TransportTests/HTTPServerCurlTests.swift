import Testing

@testable import Transport

/// The server against curl and openssl.
@Suite struct HTTPServerCurlTests {
    private func curlTLS(_ port: Int, _ arguments: [String], host: String = "localhost") async throws -> Command.Output
    {
        let pki = TestPKI.shared
        return try await Command.run(
            ["curl", "-sS", "--cacert", pki.file("ca.pem")] + arguments + ["https://\(host):\(port)/"])
    }

    @Test func getOverPlainHTTP() async throws {
        try await withServer(handler: echoHandler) { port, _ in
            let out = try await Command.run(["curl", "-sS", "http://127.0.0.1:\(port)/a%20b/c//d?x=1&x=2+3"])
            #expect(out.text == "GET /a b/c/d\nquery x=1\nquery x=2 3\nbody 0\n", "\(out.errorText)")
        }
    }

    @Test func headHasTheLengthAndNoBody() async throws {
        try await withServer(handler: { _ in .text("twelve bytes") }) { port, _ in
            let out = try await Command.run(["curl", "-sS", "-I", "http://127.0.0.1:\(port)/"])
            #expect(out.text.contains("Content-Length: 12\r\n") && out.text.hasSuffix("\r\n\r\n"))
            #expect(out.text.contains("GMT\r\n"))
        }
    }

    @Test(arguments: [["-H", "Transfer-Encoding: chunked"], ["-H", "Expect: 100-continue"], []])
    func bodiesOfAllFramings(_ arguments: [String]) async throws {
        try await withServer(handler: echoHandler) { port, _ in
            let body = [UInt8](repeating: 0x61, count: 2_500_000)
            let out = try await Command.run(
                ["curl", "-sS", "-T", "-"] + arguments + ["http://127.0.0.1:\(port)/"], stdin: body)
            #expect(out.text == "PUT /\nbody 2500000\n", "\(out.errorText)")
        }
    }

    @Test(arguments: [[], ["-H", "Transfer-Encoding: chunked"]])
    func bodyOverTheLimitIsAnsweredWith413(_ arguments: [String]) async throws {
        var configuration = HTTPServerConfiguration()
        configuration.limits.bodyBytes = 100_000
        configuration.hooks.bodyTooLarge = { .text("limit is \($0)", status: 413) }
        try await withServer(configuration: configuration, handler: echoHandler) { port, _ in
            // `Expect:` off, so that curl sends without asking.
            let out = try await Command.run(
                ["curl", "-sS", "-i", "-H", "Expect:", "--data-binary", "@-"] + arguments
                    + ["http://127.0.0.1:\(port)/"], stdin: [UInt8](repeating: 0x61, count: 3_000_000))
            #expect(out.text.hasPrefix("HTTP/1.1 413 ") && out.text.hasSuffix("limit is 100000"), "\(out.errorText)")
        }
    }

    @Test func oneConnectionCarriesManyRequests() async throws {
        try await withServer(handler: { .text("\($0.remotePort)\n") }) { port, _ in
            let urls = (0..<5).map { "http://127.0.0.1:\(port)/\($0)" }
            let out = try await Command.run(["curl", "-sS"] + urls)
            #expect(Set(out.text.split(separator: "\n")).count == 1 && out.text.split(separator: "\n").count == 5)
        }
    }

    @Test func bigResponsesArriveWhole() async throws {
        let tls = try TLSServerContext(TestPKI.shared.serverConfiguration())
        let chunks = (0..<3000).map { [UInt8](repeating: UInt8($0 % 251), count: 1 + $0 * 7 % 4000) }
        let joined = chunks.flatMap { $0 }
        let handler: HTTPHandler = { request in
            switch request.path {
            case "/bytes": HTTPResponse(status: 200, body: .bytes(joined))
            case "/chunks": HTTPResponse(status: 200, body: .chunks(chunks))
            default:
                HTTPResponse(
                    status: 200,
                    body: .stream(length: nil) { writer in for chunk in chunks { try await writer.write(chunk) } })
            }
        }
        for context in [nil, tls] {
            try await withServer(tls: context, handler: handler) { port, _ in
                for path in ["bytes", "chunks", "stream"] {
                    let out = try await Command.run([
                        "curl", "-sSk", "\(context == nil ? "http" : "https")://127.0.0.1:\(port)/\(path)",
                    ])
                    #expect(out.stdout == joined, "\(path) \(out.stdout.count) \(out.errorText)")
                }
            }
        }
    }

    @Test func bigResponsesAreCompressedForThoseWhoAccept() async throws {
        let body = Array(String(repeating: "{\"kind\":\"Pod\"},", count: 20_000).utf8)
        try await withServer(
            configuration: HTTPServerConfiguration(gzip: true),
            handler: { $0.path == "/big" ? .json(body) : .json(Array(body[..<1000])) }
        ) { port, _ in
            let packed = try await Command.run([
                "curl", "-sS", "-D", "/dev/stderr", "--compressed", "http://127.0.0.1:\(port)/big",
            ])
            #expect(packed.stdout == body && packed.errorText.contains("Content-Encoding: gzip"))
            let plain = try await Command.run(["curl", "-sS", "-i", "http://127.0.0.1:\(port)/big"])
            #expect(!plain.text.contains("gzip") && plain.stdout.count > body.count)
            let small = try await Command.run(["curl", "-sS", "-i", "--compressed", "http://127.0.0.1:\(port)/small"])
            #expect(!small.text.contains("gzip"))
        }
    }

    @Test func badPathIsAnsweredWith400() async throws {
        try await withServer(handler: echoHandler) { port, _ in
            let out = try await Command.run(["curl", "-sS", "-i", "--path-as-is", "http://127.0.0.1:\(port)/a/../../b"])
            #expect(out.text.hasPrefix("HTTP/1.1 400 Bad Request\r\n") && out.text.contains("Connection: close"))
        }
    }

    // MARK: - TLS

    @Test func clientCertificateThatVerifiesIsThePeer() async throws {
        let pki = TestPKI.shared
        let tls = try TLSServerContext(pki.serverConfiguration())
        try await withServer(tls: tls, handler: echoHandler) { port, _ in
            for version in ["--tls-max=1.2", "--tlsv1.3"] {
                let out = try await curlTLS(
                    port,
                    version.split(separator: "=").map(String.init)
                        + ["--cert", pki.file("client.pem"), "--key", pki.file("client.key")])
                #expect(
                    out.text == "GET /\npeer kubernetes-admin [system:masters,team b] true\nsni localhost\nbody 0\n",
                    "\(out.errorText)")
            }
        }
    }

    /// A stream lets go of what OpenSSL keeps of the certificates; who it was stays known, and the session usable.
    @Test func thePeerIsKnownAfterAStream() async throws {
        let pki = TestPKI.shared
        let handler: HTTPHandler = { request in
            let text = "\(request.path) \(request.peer?.commonName ?? "-")\n"
            return HTTPResponse(status: 200, body: .stream(length: nil) { try await $0.write(Array(text.utf8)) })
        }
        try await withServer(tls: try TLSServerContext(pki.serverConfiguration()), handler: handler) { port, _ in
            for version in ["--tls-max=1.2", "--tlsv1.3"] {
                let out = try await curlTLS(
                    port,
                    version.split(separator: "=").map(String.init)
                        + ["--cert", pki.file("client.pem"), "--key", pki.file("client.key")]
                        + ["https://localhost:\(port)/b", "https://localhost:\(port)/c"])
                let lines = Set(out.text.split(separator: "\n"))
                #expect(
                    lines == ["/ kubernetes-admin", "/b kubernetes-admin", "/c kubernetes-admin"], "\(out.errorText)")
            }
        }
    }

    @Test func otherClientCertificatesAreNoPeer() async throws {
        let pki = TestPKI.shared
        let tls = try TLSServerContext(pki.serverConfiguration())
        try await withServer(tls: tls, handler: echoHandler) { port, _ in
            let none = try await curlTLS(port, [])
            #expect(none.text == "GET /\nsni localhost\nbody 0\n", "\(none.errorText)")
            for (name, reason) in [
                ("stranger", "unable to get local issuer certificate"), ("expired", "certificate has expired"),
                // A serving certificate of the same CA.
                ("server", "unsuitable certificate purpose"),
            ] {
                for version in ["1.2", "1.3"] {
                    let out = try await curlTLS(
                        port,
                        ["--tls-max", version, "--cert", pki.file("\(name).pem"), "--key", pki.file("\(name).key")])
                    #expect(out.text.contains("GET /\npeer error \(reason)\n"), "\(out.text) \(out.errorText)")
                }
            }
        }
    }

    /// A front proxy is not the user whose name its certificate has, nor is a client a proxy.
    @Test func frontProxiesAreNoPeers() async throws {
        let pki = TestPKI.shared
        var configuration = try pki.serverConfiguration()
        configuration.frontProxyCAPEM = try pki.pem("proxy-ca")
        let handler: HTTPHandler = { request in
            .text("peer \(request.peer?.commonName ?? "-") proxy \(request.frontProxy?.commonName ?? "-")")
        }
        try await withServer(tls: try TLSServerContext(configuration), handler: handler) { port, _ in
            for (name, text) in [
                ("proxy", "peer - proxy system:auth-proxy"), ("client", "peer kubernetes-admin proxy -"),
                ("stranger", "peer - proxy -"),
            ] {
                let out = try await curlTLS(
                    port, ["--cert", pki.file("\(name).pem"), "--key", pki.file("\(name).key")])
                #expect(out.text == text, "\(out.errorText)")
            }
        }
    }

    @Test func requiredClientCertificateEndsTheHandshakeOfOthers() async throws {
        let pki = TestPKI.shared
        var configuration = try pki.serverConfiguration()
        configuration.requireClientCertificate = true
        try await withServer(tls: try TLSServerContext(configuration), handler: echoHandler) { port, _ in
            #expect(try await curlTLS(port, []).status != 0)
            let good = try await curlTLS(port, ["--cert", pki.file("client.pem"), "--key", pki.file("client.key")])
            #expect(good.status == 0)
        }
    }

    @Test func http11IsChosenFromHTTP2Clients() async throws {
        let tls = try TLSServerContext(TestPKI.shared.serverConfiguration())
        try await withServer(tls: tls, handler: echoHandler) { port, _ in
            let out = try await curlTLS(port, ["--http2", "-w", "%{http_version}"])
            #expect(out.text.hasSuffix("body 0\n1.1"), "\(out.errorText)")
            let s = try await Command.run([
                "openssl", "s_client", "-connect", "127.0.0.1:\(port)", "-alpn", "h2,http/1.1",
            ])
            #expect(s.text.contains("ALPN protocol: http/1.1"))
        }
    }

    @Test func certificateFollowsTheServerName() async throws {
        let pki = TestPKI.shared
        var configuration = try pki.serverConfiguration()
        configuration.namedCertificates = [(["*.apps.test"], try pki.certificate("named"))]
        try await withServer(tls: try TLSServerContext(configuration), handler: echoHandler) { port, _ in
            for (name, subject) in [
                ("shop.apps.test", "CN = named"), ("localhost", "CN = server"), ("a.b.apps.test", "CN = server"),
            ] {
                let out = try await Command.run([
                    "openssl", "s_client", "-connect", "127.0.0.1:\(port)", "-servername", name,
                ])
                #expect(out.text.contains("subject=\(subject)"), "\(name)")
            }
        }
    }

    @Test func reloadedCertificateServesTheNextConnection() async throws {
        let pki = TestPKI.shared
        let context = try TLSServerContext(pki.serverConfiguration())
        try await withServer(tls: context, handler: echoHandler) { port, _ in
            let arguments = ["openssl", "s_client", "-connect", "127.0.0.1:\(port)"]
            #expect(try await Command.run(arguments).text.contains("subject=CN = server"))
            try context.reload(TLSServerConfiguration(certificate: try pki.certificate("named")))
            #expect(try await Command.run(arguments).text.contains("subject=CN = named"))
            #expect(throws: TLSError.self) {
                try context.reload(
                    TLSServerConfiguration(
                        certificate: TLSCertificate(
                            chainPEM: try pki.pem("server"), keyPEM: try pki.certificate("named").keyPEM)))
            }
            #expect(try await Command.run(arguments).text.contains("subject=CN = named"))
        }
    }

    @Test func plainRequestToATLSPortIsTold() async throws {
        let tls = try TLSServerContext(TestPKI.shared.serverConfiguration())
        try await withServer(tls: tls, handler: echoHandler) { port, _ in
            let out = try await Command.run(["curl", "-sS", "--http1.0", "http://127.0.0.1:\(port)/"])
            #expect(out.text == "Client sent an HTTP request to an HTTPS server.\n", "\(out.errorText)")
        }
    }

    @Test func tls11IsRefused() async throws {
        let tls = try TLSServerContext(TestPKI.shared.serverConfiguration())
        try await withServer(tls: tls, handler: echoHandler) { port, _ in
            let out = try await Command.run([
                "openssl", "s_client", "-connect", "127.0.0.1:\(port)", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0",
            ])
            #expect(out.status != 0 && out.text.contains("Cipher is (NONE)"))
        }
    }
}
