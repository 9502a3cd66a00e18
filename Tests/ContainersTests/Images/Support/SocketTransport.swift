import Containers
import Linux

/// The smallest HTTP/1.1 client that a registry on loopback answers: one connection per request, plain sockets.
struct SocketTransport: RegistryTransport {
    func send(_ request: RegistryRequest) async throws(RegistryTransportError) -> RegistryResponse {
        let body = try SocketBody(request.url.effectivePort)
        var head =
            "\(request.method) \(request.url.path)\(request.url.query.isEmpty ? "" : "?" + request.url.query) HTTP/1.1\r\n"
        head += "Host: \(request.url.hostAndPort)\r\nConnection: close\r\nContent-Length: \(request.body.count)\r\n"
        for (name, value) in request.headers { head += "\(name): \(value)\r\n" }
        try body.write(Array((head + "\r\n").utf8) + request.body)
        var lines: [String] = []
        while let line = try body.line(), !line.isEmpty { lines.append(line) }
        guard let first = lines.first, let status = Int(first.split(separator: " ").dropFirst().first ?? "") else {
            throw RegistryTransportError(.protocolViolation, "no status line")
        }
        let headers = lines.dropFirst().compactMap { line -> (name: String, value: String)? in
            guard let colon = line.firstIndex(of: ":") else { return nil }
            return (String(line[..<colon]), String(line[line.index(after: colon)...].drop { $0 == " " }))
        }
        func header(_ name: String) -> String? { headers.first { $0.name.lowercased() == name }?.value }
        body.chunked = header("transfer-encoding") == "chunked"
        body.left =
            request.method == "HEAD" ? 0 : header("content-length").flatMap { Int($0) } ?? (body.chunked ? 0 : -1)
        if request.method == "HEAD" { body.chunked = false }
        return RegistryResponse(status: status, headers: headers, body: body)
    }
}

final class SocketBody: RegistryBody, @unchecked Sendable {
    private let fd: Int32
    private var buffer: [UInt8] = []
    private var ended = false
    var chunked = false
    /// Bytes still to come; -1: until the connection closes.
    var left = 0

    init(_ port: UInt16) throws(RegistryTransportError) {
        fd = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let code = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(fd, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard code == 0 else { throw RegistryTransportError(.connect, "connect to port \(port): errno \(errno)") }
    }

    deinit { close(fd) }

    func write(_ bytes: [UInt8]) throws(RegistryTransportError) {
        guard Linux.send(fd, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
            throw RegistryTransportError(.closed, "send")
        }
    }

    private func fill() throws(RegistryTransportError) -> Bool {
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        let n = recv(fd, &chunk, chunk.count, 0)
        guard n >= 0 else { throw RegistryTransportError(.closed, "recv: errno \(errno)") }
        buffer += chunk[..<n]
        return n > 0
    }

    func line() throws(RegistryTransportError) -> String? {
        while true {
            if let end = buffer.firstIndex(of: 10) {
                let line = String(decoding: buffer[..<end].filter { $0 != 13 }, as: UTF8.self)
                buffer.removeSubrange(...end)
                return line
            }
            if try !fill() { throw RegistryTransportError(.closed, "unexpected EOF in head") }
        }
    }

    func next() async throws(RegistryTransportError) -> [UInt8]? {
        if ended { return nil }
        if chunked, left == 0 {
            guard let text = try line(), let size = Int(text, radix: 16) else {
                throw RegistryTransportError(.protocolViolation, "bad chunk")
            }
            left = size + 2
            if size == 0 {
                ended = true
                return nil
            }
        }
        if left == 0 { return nil }
        if buffer.isEmpty, try !fill() {
            if left > 0 { throw RegistryTransportError(.closed, "unexpected EOF") }
            return nil
        }
        let count = left < 0 ? buffer.count : min(left, buffer.count)
        var part = Array(buffer[..<count])
        buffer.removeFirst(count)
        if left > 0 {
            let before = left
            left -= count
            // A chunk's own line end is not content.
            if chunked { part = Array(part.prefix(max(0, before - 2))) }
        }
        return part
    }

    func cancel() async { shutdown(fd, Int32(SHUT_RDWR)) }
}
