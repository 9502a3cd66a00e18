package import KubeAPI
package import Transport

/// The form in which an answer is wanted.
package struct OutputFormat: Sendable, Equatable {
    package enum Encoding: Sendable { case json, yaml, protobuf }
    package enum Shape: Sendable {
        case object
        case table
        case partial
    }
    package var encoding = Encoding.json
    package var shape = Shape.object
    package var pretty = false

    package static let json = OutputFormat()

    static let accepted = ["application/json", "application/yaml", Schema.protobufType]

    /// Reads `Accept`; what this server does not speak (CBOR) is passed over, as clients list JSON behind it.
    package init(_ request: HTTPRequest, tables: Bool = true) throws(APIError) {
        self.init()
        pretty = Self.wantsPretty(request)
        guard let accept = request.headers["Accept"], accept != "application/json", !accept.isEmpty else { return }
        guard
            let clause = Self.clauses(request).first(where: { clause in
                clause.quality > 0 && clause.format.map { tables || $0.shape != .table } ?? false
            }), let format = clause.format
        else { throw .notAcceptable(Self.accepted) }
        (encoding, shape) = (format.encoding, format.shape)
        if clause.pretty { pretty = true }
    }

    private init() {}

    private static func wantsPretty(_ request: HTTPRequest) -> Bool {
        if let asked = request.query["pretty"] { return asked != "false" && asked != "0" }
        guard let agent = request.headers["User-Agent"] else { return false }
        return agent.hasPrefix("curl") || agent.hasPrefix("Wget") || agent.hasPrefix("Mozilla/5.0")
    }

    private struct Clause {
        var format: OutputFormat?
        var quality: Double
        var pretty: Bool
    }

    /// Best first; equals in the order in which they came.
    private static func clauses(_ request: HTTPRequest) -> [Clause] {
        var clauses: [Clause] = []
        for member in request.headers.listMembers("Accept").prefix(32) {
            let type = MediaType(member)
            var format: OutputFormat?
            switch type.name {
            case "application/json", "*/*", "application/*": format = .json
            case "application/yaml":
                format = .json
                format?.encoding = .yaml
            case Schema.protobufType:
                format = .json
                format?.encoding = .protobuf
            default: break
            }
            if let shape = type.parameters["as"] {
                let group = type.parameters["g"] ?? "meta.k8s.io"
                let version = type.parameters["v"] ?? "v1"
                switch shape {
                case _ where group != "meta.k8s.io" || version != "v1": format = nil
                case "Table" where type.name == Schema.protobufType: format = nil
                case "Table": format?.shape = .table
                case "PartialObjectMetadata", "PartialObjectMetadataList": format?.shape = .partial
                default: format = nil
                }
            }
            clauses.append(
                Clause(
                    format: format, quality: type.parameters["q"].flatMap { Double($0) } ?? 1,
                    pretty: type.parameters["pretty"] == "1" || type.parameters["pretty"] == "true"))
        }
        if clauses.contains(where: { $0.quality != 1 }) {
            clauses = clauses.enumerated().sorted {
                ($1.element.quality, $0.offset) < ($0.element.quality, $1.offset)
            }.map(\.element)
        }
        return clauses
    }
}

/// `type/subtype; name=value` (RFC 9110 8.3.1), names in lower case.
package struct MediaType: Sendable {
    package var name: String
    package var parameters: [String: String] = Dictionary()

    package init(_ text: String) {
        // Mostly there is nothing to take apart.
        if text.utf8.allSatisfy({ $0 > 0x20 && $0 != UInt8(ascii: ";") && !(0x41...0x5A ~= $0) && $0 < 0x80 }) {
            name = text
            return
        }
        var parts = text.split(separator: ";", omittingEmptySubsequences: false)[...]
        name = Self.trimmed(parts.popFirst() ?? "").lowercased()
        for part in parts {
            guard let equals = part.firstIndex(of: "=") else { continue }
            var value = Self.trimmed(part[part.index(after: equals)...])
            if value.count >= 2, value.first == "\"", value.last == "\"" {
                value = String(value.dropFirst().dropLast())
            }
            parameters[Self.trimmed(part[..<equals]).lowercased()] = value
        }
    }

    private static func trimmed(_ text: Substring) -> String {
        var text = text
        while let first = text.first, first == " " || first == "\t" { text.removeFirst() }
        while let last = text.last, last == " " || last == "\t" { text.removeLast() }
        return String(text)
    }
}
