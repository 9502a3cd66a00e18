/// An http or https URL, taken apart as far as a registry client needs it.
package struct RegistryURL: Sendable, Hashable, CustomStringConvertible {
    /// "http" or "https"
    package var scheme: String
    /// As in a Host header: lower case, IPv6 in brackets, without port.
    package var host: String
    package var port: UInt16?
    /// Starts with "/", percent-encoded as it goes out.
    package var path: String
    /// Without "?"; empty: none.
    package var query: String

    package init(scheme: String, host: String, port: UInt16? = nil, path: String, query: String = "") {
        (self.scheme, self.host, self.port, self.path, self.query) = (scheme, host, port, path, query)
    }

    /// nil: not an http(s) URL, or one with a user name, blanks or control characters.
    package init?(_ text: some StringProtocol) {
        guard text.utf8.count <= 16 << 10, text.utf8.allSatisfy({ $0 > 32 && $0 < 127 }) else { return nil }
        guard let colon = text.range(ofASCII: "://") else { return nil }
        let scheme = text[..<colon.lowerBound].lowercased()
        guard scheme == "http" || scheme == "https" else { return nil }
        let rest = text[colon.upperBound...].prefix { $0 != "#" }
        let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        guard let (host, port) = Self.authority(rest[..<end]) else { return nil }
        let tail = rest[end...]
        let question = tail.firstIndex(of: "?") ?? tail.endIndex
        let path = String(tail[..<question])
        self.init(
            scheme: scheme, host: host, port: port, path: path.isEmpty ? "/" : path,
            query: question == tail.endIndex ? "" : String(tail[tail.index(after: question)...]))
    }

    /// "host", "host:port", "[v6]:port"
    static func authority(_ text: some StringProtocol) -> (host: String, port: UInt16?)? {
        let text = String(text).lowercased()
        guard ImageReference.isDomain(text) else { return nil }
        let bracket = text.lastIndex(of: "]") ?? text.startIndex
        guard let colon = text[bracket...].lastIndex(of: ":") else { return (text, nil) }
        guard let port = UInt16(text[text.index(after: colon)...]) else { return nil }
        return (String(text[..<colon]), port)
    }

    /// "host" or "host:port", as written.
    package var hostAndPort: String { port.map { host + ":" + String($0) } ?? host }

    package var effectivePort: UInt16 { port ?? (scheme == "https" ? 443 : 80) }

    /// Same scheme, host and port: credentials for one are good for the other.
    package func hasSameOrigin(as other: RegistryURL) -> Bool {
        scheme == other.scheme && host == other.host && effectivePort == other.effectivePort
    }

    package var description: String {
        scheme + "://" + hostAndPort + path + (query.isEmpty ? "" : "?" + query)
    }

    /// Without the query, which may hold signatures: for logs and errors.
    var redacted: String { scheme + "://" + hostAndPort + path }

    /// A Location header relative to this URL (RFC 3986, section 5.2).
    func resolving(_ location: String) -> RegistryURL? {
        if location.range(ofASCII: "://") != nil, let first = location.first, first != "/", first != "?" {
            return RegistryURL(location)
        }
        if location.hasPrefix("//") { return RegistryURL(scheme + ":" + location) }
        let base = scheme + "://" + hostAndPort
        if location.hasPrefix("/") { return RegistryURL(base + location) }
        if location.hasPrefix("?") { return RegistryURL(base + path + location) }
        let directory = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "/"
        return RegistryURL(base + directory + location)
    }

    /// Adds "name=value" to the query, value percent-encoded.
    mutating func appendQuery(_ name: String, _ value: String) {
        if !query.isEmpty { query += "&" }
        query += name + "=" + Self.encode(value)
    }

    /// Everything but RFC 3986's unreserved characters as %XX.
    static func encode(_ text: String) -> String {
        var result = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                result.unicodeScalars.append(UnicodeScalar(byte))
            default:
                let hex = String(byte, radix: 16, uppercase: true)
                result += byte < 16 ? "%0" + hex : "%" + hex
            }
        }
        return result
    }

    /// localhost, 127.0.0.0/8 and ::1 are reached by plain HTTP unless told otherwise.
    static func isLocalhost(_ host: String) -> Bool {
        if host == "localhost" || host == "[::1]" { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }
}

extension StringProtocol {
    /// The first occurrence of an ASCII needle.
    func range(ofASCII needle: StaticString) -> Range<Index>? {
        let wanted = needle.withUTF8Buffer { Array($0) }
        var start = utf8.startIndex
        while start != utf8.endIndex {
            var (position, index) = (start, 0)
            while index < wanted.count, position != utf8.endIndex, utf8[position] == wanted[index] {
                index += 1
                position = utf8.index(after: position)
            }
            if index == wanted.count { return start..<position }
            start = utf8.index(after: start)
        }
        return nil
    }
}
