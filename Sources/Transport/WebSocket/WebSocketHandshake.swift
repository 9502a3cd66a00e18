import COpenSSL
import Codecs

/// The opening handshake (RFC 6455 4).
package enum WebSocketHandshake {
    private static let acceptSuffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

    static func acceptValue(key: String) -> String {
        let input = Array((key + acceptSuffix).utf8)
        var digest = [UInt8](repeating: 0, count: 20)
        EVP_Digest(input, input.count, &digest, nil, EVP_sha1(), nil)
        return Base64.encode(digest)
    }

    /// Answers an upgrade request. `protocols`: what the server speaks; the first that the client offers and the server
    /// speaks is chosen. `required`: whether a client without a common subprotocol is refused.
    package static func accept(
        _ request: HTTPRequest, protocols: [String], required: Bool = true, limit: Int = 4 << 20,
        _ run: @escaping @Sendable (WebSocketConnection, _ subprotocol: String?) async -> Void
    ) -> HTTPResponse {
        guard request.method == "GET", request.wantsUpgrade(to: "websocket") else {
            return .text("Upgrade request required", status: 400)
        }
        guard request.headers["Sec-WebSocket-Version"] == "13" else {
            var response = HTTPResponse.text("websocket: version 13 is needed", status: 426)
            response.headers.add("Sec-WebSocket-Version", "13")
            return response
        }
        guard let key = request.headers["Sec-WebSocket-Key"], Base64.decode(key)?.count == 16 else {
            return .text("websocket: bad Sec-WebSocket-Key", status: 400)
        }
        let offered = request.headers.listMembers("Sec-WebSocket-Protocol")
        let chosen = offered.first { protocols.contains($0) }
        if chosen == nil, required, !offered.isEmpty {
            return .text(
                "websocket: none of the subprotocols \(offered) is supported, which are \(protocols)", status: 400)
        }
        var headers: HTTPHeaderFields = ["Sec-WebSocket-Accept": acceptValue(key: key)]
        if let chosen { headers.add("Sec-WebSocket-Protocol", chosen) }
        return .upgrade(protocol: "websocket", headers: headers) { stream in
            await run(WebSocketConnection(stream, role: .server, limit: limit), chosen)
        }
    }

    /// Opens a WebSocket. The response is returned when the server does not switch protocols.
    package static func connect(
        _ client: HTTPClient, _ url: HTTPURL, headers: HTTPHeaderFields = HTTPHeaderFields(), protocols: [String] = [],
        tls: TLSClientContext? = nil, limit: Int = 4 << 20
    ) async throws -> (socket: WebSocketConnection?, subprotocol: String?, response: HTTPClientResponse) {
        var nonce = [UInt8](repeating: 0, count: 16)
        RAND_bytes(&nonce, 16)
        let key = Base64.encode(nonce)
        var request = HTTPClientRequest("GET", url, headers: headers)
        request.headers.add("Connection", "Upgrade")
        request.headers.add("Upgrade", "websocket")
        request.headers.add("Sec-WebSocket-Version", "13")
        request.headers.add("Sec-WebSocket-Key", key)
        if !protocols.isEmpty { request.headers.add("Sec-WebSocket-Protocol", protocols.joined(separator: ", ")) }
        request.tls = tls
        let response = try await client.execute(request)
        guard response.status == 101, let stream = response.upgraded else { return (nil, nil, response) }
        let subprotocol = response.headers["Sec-WebSocket-Protocol"]
        guard response.headers["Sec-WebSocket-Accept"] == acceptValue(key: key) else {
            stream.close()
            throw WebSocketError.protocolError("bad Sec-WebSocket-Accept")
        }
        if let subprotocol, !protocols.contains(subprotocol) {
            stream.close()
            throw WebSocketError.protocolError("server chose subprotocol \(subprotocol), which was not offered")
        }
        return (WebSocketConnection(stream, role: .client, limit: limit), subprotocol, response)
    }
}
