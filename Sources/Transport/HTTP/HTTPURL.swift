import Codecs

package struct HTTPURLError: Error, Equatable, CustomStringConvertible {
    package var text: String
    package var reason: String
    package var description: String { "URL \"\(text)\": \(reason)" }
}

/// An `http` or `https` URL as a client needs it (`ws` and `wss` are taken as the same).
package struct HTTPURL: Sendable, Equatable, CustomStringConvertible {
    package var isTLS: Bool
    /// Name or address, without the brackets of an IPv6 literal.
    package var host: String
    package var port: Int
    /// Path and query as they go on the wire.
    package var target: String

    package init(isTLS: Bool, host: String, port: Int, target: String) {
        (self.isTLS, self.host, self.port, self.target) = (isTLS, host, port, target)
    }

    package init(_ text: String) throws(HTTPURLError) {
        guard let separator = text.firstRange(of: "://") else {
            throw HTTPURLError(text: text, reason: "no scheme")
        }
        switch text[..<separator.lowerBound].lowercased() {
        case "http", "ws": isTLS = false
        case "https", "wss": isTLS = true
        default: throw HTTPURLError(text: text, reason: "scheme is neither http nor https")
        }
        let rest = text[separator.upperBound...]
        let end = rest.firstIndex { $0 == "/" || $0 == "?" || $0 == "#" } ?? rest.endIndex
        var authority = rest[..<end]
        if let at = authority.lastIndex(of: "@") { authority = authority[authority.index(after: at)...] }
        var portText: Substring?
        if authority.hasPrefix("[") {
            guard let bracket = authority.firstIndex(of: "]") else {
                throw HTTPURLError(text: text, reason: "unclosed [ in the host")
            }
            host = String(authority[authority.index(after: authority.startIndex)..<bracket])
            let behind = authority[authority.index(after: bracket)...]
            guard behind.isEmpty || behind.hasPrefix(":") else { throw HTTPURLError(text: text, reason: "bad port") }
            if behind.hasPrefix(":") { portText = behind.dropFirst() }
        } else if let colon = authority.firstIndex(of: ":") {
            host = String(authority[..<colon])
            portText = authority[authority.index(after: colon)...]
        } else {
            host = String(authority)
        }
        guard !host.isEmpty else { throw HTTPURLError(text: text, reason: "no host") }
        if let portText, !portText.isEmpty {
            guard let number = Int(portText), (1...65535).contains(number) else {
                throw HTTPURLError(text: text, reason: "bad port")
            }
            port = number
        } else {
            port = isTLS ? 443 : 80
        }
        var target = rest[end...]
        if let hash = target.firstIndex(of: "#") { target = target[..<hash] }
        for byte in target.utf8 where byte <= 0x20 || byte == 0x7F {
            throw HTTPURLError(text: text, reason: "space or control character in the path")
        }
        self.target = target.hasPrefix("/") ? String(target) : "/" + target
    }

    /// `host:port` for the `Host` field, without a default port.
    package var hostField: String {
        let name = host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]" : host
        return port == (isTLS ? 443 : 80) ? name : "\(name):\(port)"
    }

    package var description: String { "\(isTLS ? "https" : "http")://\(hostField)\(target)" }
}
