extension PortForward {
    /// Ports in the query; channel 2i carries the data of port i, channel 2i+1 its errors. The first message on each
    /// channel is the port, little-endian. No half close, one connection per port.
    static func acceptChannels(_ request: HTTPRequest, _ handle: @escaping Handler) -> HTTPResponse {
        var ports: [UInt16] = []
        for value in request.query.values("port") + request.query.values("ports") {
            for part in value.split(separator: ",") {
                guard let port = UInt16(part), port > 0 else {
                    return .text("invalid port \"\(part)\"", status: 400)
                }
                ports.append(port)
            }
        }
        guard !ports.isEmpty, ports.count <= 100 else {
            return .text("query parameter \"port\" is required", status: 400)
        }
        let forwarded = ports
        return WebSocketHandshake.accept(
            request, protocols: ["v4.channel.k8s.io", "portforward.k8s.io", "v4.base64.channel.k8s.io"],
            limit: 2 << 20
        ) { socket, name in
            await serveChannels(socket, forwarded, base64: name == "v4.base64.channel.k8s.io", handle)
        }
    }

    private static func serveChannels(
        _ socket: WebSocketConnection, _ ports: [UInt16], base64: Bool, _ handle: @escaping Handler
    ) async {
        let streams = ports.indices.map { ChannelStream(socket, channel: UInt8($0 * 2), base64: base64) }
        let errors = ports.indices.map { ChannelStream(socket, channel: UInt8($0 * 2 + 1), base64: base64) }
        for (index, port) in ports.enumerated() {
            let announcement = [UInt8(port & 255), UInt8(port >> 8)]
            streams[index].send(announcement)
            errors[index].send(announcement)
        }
        await withTaskGroup(of: Bool.self) { group in
            group.addTask {
                while let message = try? await socket.receive() {
                    guard let (channel, payload) = ChannelMessage.decode(message, base64: base64) else { break }
                    let index = Int(channel / 2)
                    if channel % 2 == 0, index < streams.count { try? await streams[index].inbound.push(payload) }
                }
                for stream in streams { stream.inbound.end() }
                return true
            }
            for (index, port) in ports.enumerated() {
                group.addTask {
                    let connection = PortForwardConnection(port: port, stream: streams[index]) { message in
                        errors[index].send(Array(message.utf8))
                    }
                    await handle(connection)
                    return false
                }
            }
            var open = ports.count
            while open > 0, let readerEnded = await group.next() {
                if readerEnded { break }
                open -= 1
            }
            group.cancelAll()
        }
        await socket.close()
    }
}

/// One channel of a WebSocket as a stream.
private final class ChannelStream: ByteStream {
    private let socket: WebSocketConnection
    private let channel: UInt8
    private let base64: Bool
    let inbound = ByteQueue(limit: 128 << 10)

    init(_ socket: WebSocketConnection, channel: UInt8, base64: Bool) {
        self.socket = socket
        self.channel = channel
        self.base64 = base64
    }

    func read() async throws -> [UInt8]? {
        try await inbound.pop()
    }

    func send(_ bytes: [UInt8]) {
        ChannelMessage.send(socket, channel, bytes, base64: base64)
    }

    func drained() async throws {
        try await socket.drained()
    }

    func closeWrite() {}

    func close() {
        inbound.end()
    }
}
