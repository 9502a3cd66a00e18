import NIOCore

@testable import Transport

extension FuzzTarget {
    /// A root made for this: P-256, CN=fuzz, its key thrown away.
    private static let certificate = """
        -----BEGIN CERTIFICATE-----
        MIIBojCCAUigAwIBAgIUW3hZWOlK/biChi6L2Cc8PxU/rXwwCgYIKoZIzj0EAwIw
        DzENMAsGA1UEAwwEZnV6ejAeFw0yNjExMjMwNjI5NTVaFw0zNjExMjAwNjI5NTVa
        MA8xDTALBgNVBAMMBGZ1enowWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAS+fCqV
        ONmLp89Gq8zToFayWl/n/cMCzCeAB/mZiZn/xTweWPqXChVvDT6T5K9Hsy6RRV75
        0jImTgTK4KCPlH9Ao4GBMH8wHQYDVR0OBBYEFHzhm1mGynpOIunjP78lvh2b6LxH
        MB8GA1UdIwQYMBaAFHzhm1mGynpOIunjP78lvh2b6LxHMA8GA1UdEwEB/wQFMAMB
        Af8wLAYDVR0RBCUwI4IJYS5leGFtcGxlhwTAAAIBhxAgAQ24AAAAAAAAAAAAAAAB
        MAoGCCqGSM49BAMCA0gAMEUCIQDDBuQPeJ8rbIH3mNDWp7GJaH1U5e82yWGZyAG0
        Q/vLugIgMxBEMRYEWUePAJjzUlErObOwy/hsmTFalg99ax3zlFg=
        -----END CERTIFICATE-----

        """

    static let transport: [FuzzTarget] = [
        FuzzTarget(
            "http-request",
            seeds: [
                "GET /api/v1/pods?limit=5 HTTP/1.1\r\nHost: a\r\nAccept: application/json\r\n\r\n",
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n",
            ],
            words: ["Content-Length: ", "Transfer-Encoding: chunked\r\n", "\r\n\r\n", "HTTP/1.0", "%2F", "%"]
        ) { bytes in
            var buffer = ByteBuffer(bytes: bytes)
            var scanner = HTTPHeadScanner(limit: 4096)
            while let head = try? scanner.nextRequest(&buffer) {
                if let target = try? HTTPTarget(head.target) { _ = target.path }
                guard let length = try? HTTPBodyLength(request: head) else { return }
                var decoder = HTTPBodyDecoder(length)
                body: while let output = try? decoder.next(&buffer) {
                    if case .data = output { continue body }
                    if case .needMore = output { return }
                    break body
                }
            }
        },
        FuzzTarget(
            "http-response",
            seeds: ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 101 \r\nUpgrade: x\r\n\r\n"]
        ) {
            var buffer = ByteBuffer(bytes: $0)
            var scanner = HTTPHeadScanner(limit: 4096)
            if let head = try? scanner.nextResponse(&buffer) { _ = try? HTTPBodyLength(response: head, method: "GET") }
        },
        FuzzTarget("query", seeds: ["watch=true&labelSelector=a%3Db&x=%zz&&=;+"], words: ["%", "&", "=", "%00"]) {
            _ = HTTPQuery(parsing: $0.asText[...]).items.count
        },
        FuzzTarget(
            "websocket",
            bytes: [
                [0x82, 0x83, 1, 2, 3, 4, 1, 0x60, 0x62], [0x88, 0x82, 0, 0, 0, 0, 3, 0xE8],
                [0x02, 0xFE, 0, 4, 0, 0, 0, 0, 1, 2, 3, 4],
            ]
        ) {
            for masked in [true, false] {
                var decoder = WebSocketFrameDecoder(expectsMask: masked, limit: 1024)
                decoder.feed($0)
                while let frame = try? decoder.next() { require(frame.payload.count <= 1024, "frame beyond the limit") }
            }
        },
        FuzzTarget(
            "spdy",
            bytes: [
                [0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1],
                [0x80, 3, 0, 4, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 7, 0, 1, 0, 0], [0, 0, 0, 1, 1, 0, 0, 2, 104, 105],
            ]
        ) {
            guard var decoder = try? SPDYDecoder() else { return }
            decoder.feed($0)
            while (try? decoder.next()) ?? nil != nil {}
        },
        FuzzTarget(
            "tunnel",
            bytes: [
                [2, 4, 2, 0xB0, 0xEA, 1, 104, 105], [4, 6, 4, 0xB0, 0xEA, 1] + Array("tcp/127.0.0.1:10250".utf8),
                [2, 2, 6] + Array("EOF".utf8),
            ]
        ) {
            _ = try? TunnelFrame(decoding: $0)
        },
        FuzzTarget(
            "tokens",
            seeds: [
                "K10" + String(repeating: "a", count: 64) + "::node:secret", "abcdef.0123456789abcdef",
                "K10::server:x:y", "eyJhbGciOiJFUzI1NiIsImtpZCI6ImEifQ.e30.c2ln",
            ], words: ["K10", "::", ":", ".", "eyJhbGciOiJub25lIn0"]
        ) { bytes in
            if let token = try? ClusterToken(parsing: bytes.asText) { _ = token.text }
            _ = try? JWTVerifier(keys: []).verify(bytes.asText)
        },
        FuzzTarget(
            "certificates", seeds: [certificate],
            words: ["-----BEGIN CERTIFICATE-----\n", "-----END CERTIFICATE-----\n"]
        ) {
            if let chain = try? Certificate.chain(pem: $0, what: "fuzz") {
                for one in chain { _ = (one.subject, one.alternativeNames) }
            }
            _ = try? CertificateRequest(pem: $0)
            if let der = try? PEM.blocks($0, what: "fuzz").first?.der { _ = try? CertificateRequest(der: der) }
        },
        FuzzTarget(
            "encryption-configuration",
            seeds: [
                #"{"kind":"EncryptionConfiguration","apiVersion":"apiserver.config.k8s.io/v1","resources":[{"resources":["secrets"],"providers":[{"aescbc":{"keys":[{"name":"k","secret":"c2VjcmV0IGlzIHNlY3VyZSwgb3IgaXMgaXQ="}]}},{"identity":{}}]}]}"#
            ]
        ) {
            _ = try? EncryptionConfiguration($0, path: "fuzz")
        },
    ]
}
