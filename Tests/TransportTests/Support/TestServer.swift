import NIOPosix

@testable import Transport

/// A server on a free loopback port for the length of a closure.
func withServer<R>(
    tls: TLSServerContext? = nil, configuration: HTTPServerConfiguration = HTTPServerConfiguration(),
    handler: @escaping HTTPHandler, _ body: (_ port: Int, _ server: HTTPServer) async throws -> R
) async throws -> R {
    let server = HTTPServer(
        group: MultiThreadedEventLoopGroup.singleton, tls: tls, configuration: configuration, handler: handler)
    let port = try await server.start(host: "127.0.0.1", port: 0)
    do {
        let result = try await body(port, server)
        await server.stop()
        return result
    } catch {
        await server.stop()
        throw error
    }
}

/// Answers with what it was asked.
let echoHandler: HTTPHandler = { request in
    var lines = ["\(request.method) \(request.path)"]
    for item in request.query.items { lines.append("query \(item.name)=\(item.value)") }
    if let peer = request.peer {
        lines.append("peer \(peer.commonName) [\(peer.organizations.joined(separator: ","))] \(peer.der.count > 100)")
    }
    if let error = request.peerCertificateError { lines.append("peer error \(error)") }
    if let name = request.serverName { lines.append("sni \(name)") }
    lines.append("body \(request.body.count)")
    return .text(lines.joined(separator: "\n") + "\n")
}

/// A client that trusts the test CA.
func testClient(certificate: String? = nil) throws -> HTTPClient {
    let pki = TestPKI.shared
    var configuration = TLSClientConfiguration(trust: .authorities(pem: try pki.pem("ca")))
    if let certificate { configuration.certificate = try pki.certificate(certificate) }
    return HTTPClient(group: MultiThreadedEventLoopGroup.singleton, tls: try TLSClientContext(configuration))
}
