import Codecs
import KubeAPI
import Linux
import NIOCore
import NIOPosix
import Transport

/// The API server that the kubeconfig and the flags mean. Calls block.
final class Connection: Sendable {
    static let json = "application/json"
    static let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"

    let group: any EventLoopGroup
    let http: HTTPClient
    let server: HTTPURL
    let headers: HTTPHeaderFields
    private let warned = WarningsSaid()

    init(_ settings: ClientSettings) throws {
        group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        server = settings.server
        var tls = TLSClientConfiguration(
            trust: settings.isInsecure ? .insecure : settings.ca.isEmpty ? .system : .authorities(pem: settings.ca))
        tls.certificate = settings.certificate
        tls.serverName = settings.serverName
        http = HTTPClient(group: group, tls: server.isTLS ? try TLSClientContext(tls) : nil)
        headers = settings.headers
    }

    func url(_ path: String, _ query: [(String, String)] = []) -> HTTPURL {
        var url = server
        let base =
            server.target == "/" ? "" : server.target.hasSuffix("/") ? String(server.target.dropLast()) : server.target
        let text = HTTPQuery(query).encoded
        url.target = base + path + (text.isEmpty ? "" : (path.contains("?") ? "&" : "?") + text)
        return url
    }

    /// The answer of any status.
    func open(
        _ method: String, _ path: String, query: [(String, String)] = [], body: [UInt8] = [], type: String = json,
        accept: String = json
    ) throws -> HTTPClientResponse {
        var request = HTTPClientRequest(method, url(path, query), headers: headers, body: body)
        request.headers.add("Accept", accept)
        if !body.isEmpty { request.headers.add("Content-Type", type) }
        let (http, sent) = (http, request)
        do {
            let response = try Terminal.wait { try await http.execute(sent) }
            warned.say(response.headers.values("Warning"))
            return response
        } catch let error as HTTPClientError {
            throw unreachable("\(error)")
        } catch let error as TLSError {
            throw unreachable("\(error)")
        }
    }

    private func unreachable(_ reason: String) -> CommandError {
        if reason.contains("refused") {
            let host = server.host.contains(":") ? "[\(server.host)]" : server.host
            return CommandError(
                "The connection to the server \(host):\(server.port) was refused - did you specify the right host or port?",
                plain: true)
        }
        return CommandError("Unable to connect to the server: \(reason)", plain: true)
    }

    static func bytes(_ response: HTTPClientResponse) throws -> [UInt8] {
        try Terminal.wait { try await response.body.collect(upTo: 256 << 20) }
    }

    static func failure(_ response: HTTPClientResponse) throws -> APIError {
        let bytes = try bytes(response)
        let json = (try? JSON.parse(bytes)) ?? .null
        if json["kind"].string == "Status" { return APIError(status: json, code: response.status) }
        let text = String(decoding: bytes.prefix(2000), as: UTF8.self)
        let reasons = [
            400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 405: "MethodNotAllowed",
            500: "InternalError", 503: "ServiceUnavailable",
        ]
        let message =
            response.status == 404
            ? "the server could not find the requested resource"
            : text.isEmpty ? "the server answered with status \(response.status)" : text
        return APIError(code: response.status, reason: reasons[response.status] ?? "", message: message)
    }

    /// - Throws: `APIError` with the server's words for an answer that is not 2xx.
    func raw(
        _ method: String, _ path: String, query: [(String, String)] = [], body: [UInt8] = [], type: String = json,
        accept: String = json
    ) throws -> [UInt8] {
        let response = try open(method, path, query: query, body: body, type: type, accept: accept)
        guard (200..<300).contains(response.status) else { throw try Self.failure(response) }
        return try Self.bytes(response)
    }

    func call(
        _ method: String, _ path: String, query: [(String, String)] = [], body: JSON? = nil, type: String = json,
        accept: String = json
    ) throws -> JSON {
        let bytes = try raw(
            method, path, query: query, body: body.map { $0.encode() } ?? [], type: type, accept: accept)
        return try JSON.parse(bytes)
    }

    func get(_ path: String, query: [(String, String)] = []) throws -> JSON { try call("GET", path, query: query) }

    /// Each piece of the answer as it comes, until `use` returns false or it ends.
    func stream(
        _ path: String, query: [(String, String)] = [], accept: String = json, _ use: ([UInt8]) throws -> Bool
    ) throws {
        let response = try open("GET", path, query: query, accept: accept)
        guard (200..<300).contains(response.status) else { throw try Self.failure(response) }
        while let bytes = try Terminal.wait({ try await response.body.next() }) {
            guard try use(bytes) else {
                response.body.cancel()
                return
            }
        }
    }

    /// The events of a watch: type and object.
    /// - Parameter seconds: after which the server ends it; nil: when it likes.
    func watch(
        _ path: String, query: [(String, String)], accept: String = json, seconds: Double? = nil,
        _ use: (String, JSON) throws -> Bool
    ) throws {
        var query = query + [("watch", "true")]
        if let seconds { query.append(("timeoutSeconds", String(max(1, Int64(seconds.rounded(.up)))))) }
        var rest: [UInt8] = []
        try stream(path, query: query, accept: accept) { bytes in
            rest += bytes
            while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
                let line = Array(rest[..<end])
                rest.removeFirst(end + 1)
                if line.isEmpty { continue }
                let event = try JSON.parse(line)
                if event["type"].string == "ERROR" { throw APIError(status: event["object"], code: 410) }
                guard try use(event["type"].string ?? "", event["object"]) else { return false }
            }
            return true
        }
    }
}

/// Each warning of the server is told once.
private final class WarningsSaid: @unchecked Sendable {
    private var said: Set<String> = []

    func say(_ fields: [String]) {
        for field in fields where field.hasPrefix("299 ") {
            guard let open = field.firstIndex(of: "\"") else { continue }
            var text = ""
            var escaped = false
            for character in field[field.index(after: open)...] {
                if escaped || (character != "\\" && character != "\"") {
                    text.append(character)
                    escaped = false
                } else if character == "\\" {
                    escaped = true
                } else {
                    break
                }
            }
            if said.insert(text).inserted { Terminal.error("Warning: \(text)") }
        }
    }
}
