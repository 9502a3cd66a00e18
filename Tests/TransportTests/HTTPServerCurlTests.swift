import Testing

@testable import Transport

@Suite struct HTTPServerCurlTests {
    @Test func getOverPlainHTTP() async throws {
        try await withServer(handler: echoHandler) { port, _ in
            let out = try await Command.run(["curl", "-sS", "http://127.0.0.1:\(port)/a%20b/../c//d?x=1&x=2+3"])
            #expect(out.text == "GET /c/d\nquery x=1\nquery x=2 3\nbody 0\n", "\(out.errorText)")
        }
    }

    @Test func clientCertificateThatVerifiesIsThePeer() async throws {
        let pki = TestPKI.shared
        let tls = try TLSServerContext(pki.serverConfiguration())
        try await withServer(tls: tls, handler: echoHandler) { port, _ in
            let out = try await Command.run([
                "curl", "-sS", "--cacert", pki.file("ca.pem"), "--cert", pki.file("client.pem"), "--key",
                pki.file("client.key"), "https://localhost:\(port)/",
            ])
            #expect(
                out.text
                    == "GET /\npeer kubernetes-admin [system:masters,team b] true\nsni localhost\nbody 0\n",
                "\(out.errorText)")
        }
    }
}
