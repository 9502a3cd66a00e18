package enum HTTPTargetError: Error, Equatable, CustomStringConvertible {
    case notAbsolute(String)
    case badEscape(String)
    case controlCharacter
    case climbsAboveRoot(String)

    package var description: String {
        switch self {
        case .notAbsolute(let text): "request target \"\(text)\" is neither an absolute path nor an http URL"
        case .badEscape(let text): "request path \"\(text)\" has a bad percent escape or is not UTF-8"
        case .controlCharacter: "request path has a control character"
        case .climbsAboveRoot(let text): "request path \"\(text)\" climbs above the root"
        }
    }
}

/// A request target (RFC 9112 3.2): origin form, absolute form, `*` or the authority of CONNECT.
package struct HTTPTarget: Sendable, Equatable {
    package let path: String
    package let rawPath: String
    package let rawQuery: String

    package var query: HTTPQuery { HTTPQuery(parsing: rawQuery[...]) }

    package init(_ target: String) throws(HTTPTargetError) {
        var text = target[...]
        if text.utf8.first != UInt8(ascii: "/") {
            if target == "*" {
                (path, rawPath, rawQuery) = ("*", "*", "")
                return
            }
            guard let scheme = HTTPTarget.schemeLength(target) else { throw .notAbsolute(target) }
            let rest = text.utf8.dropFirst(scheme)
            let slash = rest.firstIndex { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "?") }
            text = slash.map { text[$0...] } ?? "/"
        }
        if let hash = text.utf8.firstIndex(of: UInt8(ascii: "#")) { text = text[..<hash] }
        let question = text.utf8.firstIndex(of: UInt8(ascii: "?"))
        let pathPart = text[..<(question ?? text.endIndex)]
        rawQuery = question.map { String(text[text.utf8.index(after: $0)...]) } ?? ""
        rawPath = pathPart.isEmpty ? "/" : String(pathPart)
        path = try HTTPTarget.normalized(rawPath)
    }

    init(authority: String) {
        (path, rawPath, rawQuery) = (authority, authority, "")
    }

    private static func schemeLength(_ text: String) -> Int? {
        for scheme in ["http://", "https://"]
        where text.utf8.count > scheme.utf8.count
            && asciiCaseInsensitiveEqual(text.utf8.prefix(scheme.utf8.count), scheme.utf8)
        {
            return scheme.utf8.count
        }
        return nil
    }

    /// Decodes and resolves: `//` collapses, `.` goes, `..` takes the segment before it (never above the root).
    private static func normalized(_ raw: String) throws(HTTPTargetError) -> String {
        var plain = true
        var previous: UInt8 = 0
        for byte in raw.utf8 {
            if byte < 0x20 || byte == 0x7F { throw .controlCharacter }
            let oddSlash = previous == UInt8(ascii: "/") && (byte == UInt8(ascii: "/") || byte == UInt8(ascii: "."))
            if byte == UInt8(ascii: "%") || byte >= 0x80 || oddSlash { plain = false }
            previous = byte
        }
        if plain { return raw }
        guard let decoded = percentDecoded(raw.utf8, plusIsSpace: false) else { throw .badEscape(raw) }
        var segments: [Substring] = []
        let parts = decoded.split(separator: "/", omittingEmptySubsequences: false)
        for part in parts {
            for byte in part.utf8 where byte < 0x20 || byte == 0x7F { throw .controlCharacter }
            switch part {
            case "", ".": continue
            case "..":
                guard segments.popLast() != nil else { throw .climbsAboveRoot(raw) }
            default: segments.append(part)
            }
        }
        var path = ""
        for segment in segments {
            path.append("/")
            path += segment
        }
        let last = parts.last ?? ""
        if path.isEmpty || last.isEmpty || last == "." || last == ".." { path.append("/") }
        return path
    }
}
