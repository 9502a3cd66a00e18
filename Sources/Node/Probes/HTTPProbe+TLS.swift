package import Transport

/// HTTPS requests of probes and hooks. Certificates are not verified: the probe asks for life, not for identity.
package struct SecureProbes: Sendable {
    let client: HTTPClient
    let tls: TLSClientContext

    package init(client: HTTPClient) throws(TLSError) {
        self.client = client
        tls = try TLSClientContext(TLSClientConfiguration(trust: .insecure))
    }
}

extension HTTPProbe {
    func secureExchange(_ secure: SecureProbes?) async -> Result<Answer, Failure> {
        guard let secure else { return .failure(Failure(message: "this node was started without a TLS client")) }
        var request = HTTPClientRequest(
            "GET", HTTPURL(isTLS: true, host: host, port: Int(port), target: path.hasPrefix("/") ? path : "/" + path))
        for header in headers { request.headers.add(header.name, header.value) }
        if !request.headers.contains("User-Agent") { request.headers.add("User-Agent", "kube-probe/1.36") }
        if !request.headers.contains("Accept") { request.headers.add("Accept", "*/*") }
        request.headers.add("Connection", "close")
        request.tls = secure.tls
        do {
            let response = try await secure.client.execute(request)
            var body: [UInt8] = []
            while body.count < 10 << 10, let part = try await response.body.next() { body += part }
            return .success(Answer(status: response.status, location: response.headers["Location"], body: body))
        } catch {
            return .failure(Failure(message: "\(error)"))
        }
    }
}
