import Codecs

/// The message form of `*.channel.k8s.io`: the channel in the first byte, or as a digit before base64 text.
enum ChannelMessage {
    static func decode(_ message: WebSocketConnection.Message, base64: Bool) -> (channel: UInt8, payload: [UInt8])? {
        let bytes = message.bytes
        guard let first = bytes.first else { return nil }
        guard base64 else { return (first, Array(bytes.dropFirst())) }
        guard let payload = Base64.decode(String(decoding: bytes.dropFirst(), as: UTF8.self)) else { return nil }
        return (first &- UInt8(ascii: "0"), payload)
    }

    /// Without waiting.
    static func send(_ socket: WebSocketConnection, _ channel: UInt8, _ payload: [UInt8], base64: Bool) {
        if base64 {
            socket.sendNow(text: text(channel, payload))
        } else {
            socket.sendNow(binary: payload, prefix: [channel])
        }
    }

    /// With backpressure.
    static func write(
        _ socket: WebSocketConnection, _ channel: UInt8, _ payload: [UInt8], base64: Bool
    ) async throws {
        send(socket, channel, payload, base64: base64)
        try await socket.drained()
    }

    private static func text(_ channel: UInt8, _ payload: [UInt8]) -> [UInt8] {
        [channel &+ UInt8(ascii: "0")] + Array(Base64.encode(payload).utf8)
    }
}
