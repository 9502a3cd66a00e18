internal import Codecs
internal import Linux

/// One GET of a probe or hook: success is a status from 200 to 399. Redirects within the host are followed (10 at most),
/// one to another host counts as success with a warning, as upstream.
/// Source: k8s.io/kubernetes/pkg/probe/http.
struct HTTPProbe: Sendable {
    var host: String
    var port: UInt16
    var path: String
    var https: Bool
    var headers: [ProbeAction.Header]
    var secure: SecureProbes?

    var url: String { "\(https ? "https" : "http")://\(SystemActions.join(host, port))\(normalPath)" }
    private var normalPath: String { path.hasPrefix("/") ? path : "/" + path }

    struct Answer: Sendable {
        var status: Int
        var location: String?
        var body: [UInt8]
    }

    func run() async -> ActionResult {
        var request = self
        for _ in 0..<10 {
            let answer: Answer
            switch await request.exchange() {
            case .success(let got): answer = got
            case .failure(let error): return .failure("Get \"\(request.url)\": \(error.message)")
            }
            if (300..<400).contains(answer.status), let location = answer.location {
                guard let next = request.redirected(to: location) else {
                    return .success("Probe terminated redirects, Response body: \(text(answer.body))")
                }
                request = next
                continue
            }
            if (200..<400).contains(answer.status) { return .success(text(answer.body)) }
            return .failure("HTTP probe failed with statuscode: \(answer.status)")
        }
        return .failure("Get \"\(url)\": stopped after 10 redirects")
    }

    private func text(_ body: [UInt8]) -> String { String(decoding: body.prefix(10 << 10), as: UTF8.self) }

    /// nil: to another host.
    func redirected(to location: String) -> HTTPProbe? {
        var next = self
        if location.hasPrefix("/"), !location.hasPrefix("//") {
            next.path = location
            return next
        }
        guard
            let rest = ["http://", "https://"].first(where: { location.hasPrefix($0) }).map({
                location.dropFirst($0.count)
            })
        else { return nil }
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        next.https = location.hasPrefix("https")
        guard authority == SystemActions.join(host, port) || authority == host else { return nil }
        if authority == host { next.port = next.https ? 443 : 80 }
        next.path = rest.count == authority.count ? "/" : String(rest.dropFirst(authority.count))
        return next
    }

    struct Failure: Error, Sendable { var message: String }

    var head: [UInt8] {
        var text = "GET \(normalPath) HTTP/1.1\r\n"
        var host = SystemActions.join(self.host, port)
        var hasAgent = false
        var hasAccept = false
        var fields = ""
        for header in headers {
            // A line break would end the head.
            guard !header.name.contains(where: \.isNewline), !header.value.contains(where: \.isNewline) else {
                continue
            }
            switch header.name.lowercased() {
            case "host":
                host = header.value
                continue
            case "user-agent": hasAgent = true
            case "accept": hasAccept = true
            default: break
            }
            fields += "\(header.name): \(header.value)\r\n"
        }
        text += "Host: \(host)\r\n"
        if !hasAgent { text += "User-Agent: kube-probe/1.36\r\n" }
        if !hasAccept { text += "Accept: */*\r\n" }
        return Array((text + fields + "Connection: close\r\n\r\n").utf8)
    }

    private func exchange() async -> Result<Answer, Failure> {
        if https { return await secureExchange(secure) }
        do throws(SysError) {
            let connection = try await ProbeSocket.connect(host, port)
            defer { connection.close() }
            try await connection.write(head)
            var received: [UInt8] = []
            while received.count < 64 << 10 {
                guard let part = try await connection.read(limit: 4096) else { break }
                received += part
                if let answer = Self.parse(received), answer.complete || answer.answer.body.count >= 10 << 10 {
                    return .success(answer.answer)
                }
            }
            guard let answer = Self.parse(received) else {
                return .failure(Failure(message: received.isEmpty ? "EOF" : "malformed HTTP response"))
            }
            return .success(answer.answer)
        } catch {
            return .failure(
                Failure(message: "dial tcp \(SystemActions.join(host, port)): connect: \(SysError.text(error.code))"))
        }
    }

    /// nil: the head is not whole yet, or none at all.
    static func parse(_ bytes: [UInt8]) -> (answer: Answer, complete: Bool)? {
        guard let end = bytes.firstRange(of: Array("\r\n\r\n".utf8)) else { return nil }
        let lines = String(decoding: bytes[..<end.lowerBound], as: UTF8.self).split(separator: "\r\n")
        guard let first = lines.first else { return nil }
        let words = first.split(separator: " ")
        guard words.count >= 2, words[0].hasPrefix("HTTP/1."), let status = Int(words[1]), (100..<1000).contains(status)
        else {
            return nil
        }
        if status < 200, status != 101 { return parse(Array(bytes[end.upperBound...])) }
        var answer = Answer(status: status, location: nil, body: Array(bytes[end.upperBound...]))
        var length: Int?
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let value = line[line.index(after: colon)...].trimmingSpaces()
            switch line[..<colon].lowercased() {
            case "content-length": length = Int(value)
            case "location": answer.location = value
            default: break
            }
        }
        return (answer, length.map { answer.body.count >= $0 } ?? (status == 204 || status == 304))
    }
}
