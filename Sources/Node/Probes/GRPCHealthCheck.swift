internal import Linux

/// One `grpc.health.v1.Health/Check` over cleartext HTTP/2: as much of the protocol as one unary call needs.
/// Sources: RFC 9113, RFC 7541 (only literal header fields are sent, none need be understood), grpc's PROTOCOL-HTTP2.
struct GRPCHealthCheck: Sendable {
    var host: String
    var port: UInt16
    var service: String

    func run() async -> ActionResult {
        let place = SystemActions.join(host, port)
        let connection: AsyncFD
        do throws(SysError) {
            connection = try await ProbeSocket.connect(host, port)
        } catch {
            return .failure(
                "failed to connect service \"\(place)\": connection error: desc = \"transport: Error while dialing: dial tcp \(place): connect: \(SysError.text(error.code))\""
            )
        }
        defer { connection.close() }
        do throws(SysError) {
            try await connection.write(request)
            var received: [UInt8] = []
            var message: [UInt8] = []
            while received.count < 64 << 10 {
                while let frame = Self.takeFrame(&received) {
                    switch frame.type {
                    case 0:
                        message += Self.data(frame)
                        if message.count >= 5 {
                            let length = message[1..<5].reduce(0) { $0 << 8 | Int($1) }
                            if length <= 1024, message.count >= 5 + length {
                                return verdict(Array(message[5..<(5 + length)]))
                            }
                        }
                        if frame.flags & 1 != 0 { return .failure("rpc error: no response message") }
                    case 1 where frame.flags & 1 != 0:
                        // The call has ended without a message: unknown service, or no health service at all.
                        return .failure("service unhealthy (responded with \"NOT_SERVING\")")
                    case 3, 7: return .failure("rpc error: code = Unavailable desc = connection closed by the server")
                    case 4 where frame.flags & 1 == 0:
                        try await connection.write(Self.frame(4, flags: 1, stream: 0, []))
                    case 6 where frame.flags & 1 == 0:
                        try await connection.write(Self.frame(6, flags: 1, stream: 0, frame.payload))
                    default: break
                    }
                }
                guard let part = try await connection.read(limit: 4096) else { break }
                received += part
            }
            return .failure("rpc error: code = Unavailable desc = connection closed before a response")
        } catch {
            return .failure("rpc error: code = Unavailable desc = \(error.description)")
        }
    }

    /// HealthCheckResponse: field 1 is the status, 1 means SERVING.
    private func verdict(_ message: [UInt8]) -> ActionResult {
        let status = message.count >= 2 && message[0] == 0x08 ? message[1] : 0
        let names = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"]
        if status == 1 { return .success("service healthy") }
        let name = names.indices.contains(Int(status)) ? names[Int(status)] : "\(status)"
        return .failure("service unhealthy (responded with \"\(name)\")")
    }

    struct Frame {
        var type: UInt8
        var flags: UInt8
        var payload: [UInt8]
    }

    static func takeFrame(_ bytes: inout [UInt8]) -> Frame? {
        guard bytes.count >= 9 else { return nil }
        let length = Int(bytes[0]) << 16 | Int(bytes[1]) << 8 | Int(bytes[2])
        guard bytes.count >= 9 + length else { return nil }
        let frame = Frame(type: bytes[3], flags: bytes[4], payload: Array(bytes[9..<(9 + length)]))
        bytes.removeFirst(9 + length)
        return frame
    }

    /// Without padding.
    private static func data(_ frame: Frame) -> ArraySlice<UInt8> {
        guard frame.flags & 8 != 0, let padding = frame.payload.first, frame.payload.count > Int(padding) else {
            return frame.payload[...]
        }
        return frame.payload.dropFirst().dropLast(Int(padding))
    }

    private static func frame(_ type: UInt8, flags: UInt8, stream: UInt8, _ payload: [UInt8]) -> [UInt8] {
        let count = payload.count
        return [UInt8(count >> 16 & 255), UInt8(count >> 8 & 255), UInt8(count & 255), type, flags, 0, 0, 0, stream]
            + payload
    }

    var request: [UInt8] {
        var headers: [UInt8] = [0x83, 0x86]  // :method POST, :scheme http from the static table
        func add(_ name: String, _ value: String) {
            headers.append(0)
            for text in [name, value] {
                // A length prefix of 7 bits (RFC 7541 5.1), never Huffman coded.
                var rest = text.utf8.count
                if rest < 127 {
                    headers.append(UInt8(rest))
                } else {
                    headers.append(127)
                    rest -= 127
                    while rest >= 128 {
                        headers.append(UInt8(rest & 127 | 128))
                        rest >>= 7
                    }
                    headers.append(UInt8(rest))
                }
                headers.append(contentsOf: text.utf8)
            }
        }
        add(":path", "/grpc.health.v1.Health/Check")
        add(":authority", SystemActions.join(host, port))
        add("content-type", "application/grpc")
        add("te", "trailers")
        add("user-agent", "kube-probe/1.36")
        var message: [UInt8] = []
        let name = Array(service.utf8.prefix(120))
        if !name.isEmpty { message = [0x0A, UInt8(name.count)] + name }
        let body: [UInt8] = [0, 0, 0, 0, UInt8(message.count)] + message
        return Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + Self.frame(4, flags: 0, stream: 0, [])
            + Self.frame(1, flags: 4, stream: 1, headers) + Self.frame(0, flags: 1, stream: 1, body)
    }
}
