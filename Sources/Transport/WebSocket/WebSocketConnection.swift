import Synchronization

/// A WebSocket over an upgraded connection, either end. One task receives; any task may send: a message is one frame and
/// frames keep their order.
package final class WebSocketConnection: Sendable {
    package enum Role: Sendable {
        case server
        case client
    }

    package enum Message: Sendable, Equatable {
        case text([UInt8])
        case binary([UInt8])

        package var bytes: [UInt8] {
            switch self {
            case .text(let bytes), .binary(let bytes): bytes
            }
        }
    }

    private struct Incoming {
        var decoder: WebSocketFrameDecoder
        var opcode: WebSocketOpcode?
        var partial: [UInt8] = []
        var closed = false
        var last = ContinuousClock.now
    }

    private let stream: any ByteStream
    private let role: Role
    private let limit: Int
    private let incoming: Mutex<Incoming>
    private let closeSent = Mutex(false)
    private let receivingEnded = LockWaiter<Void>()
    /// Code of the peer's close frame; 1005 when it had none.
    private let peerCode = Mutex<UInt16?>(nil)

    /// `limit`: largest message accepted, in bytes.
    package init(_ stream: any ByteStream, role: Role, limit: Int = 4 << 20) {
        self.stream = stream
        self.role = role
        self.limit = limit
        incoming = Mutex(Incoming(decoder: WebSocketFrameDecoder(expectsMask: role == .server, limit: limit)))
    }

    package var peerCloseCode: UInt16? { peerCode.withLock { $0 } }

    // MARK: - Receiving

    /// The next whole message; nil after the closing handshake. Pings are answered here.
    /// - Throws: `WebSocketError` on a violation (after sending the close frame that goes with it);
    ///   `HTTPConnectionError.peerGone` when the connection ends without a close frame.
    package func receive() async throws -> Message? {
        do {
            let message = try await receiveNext()
            if message == nil { receivingEnded.resume(.success(())) }
            return message
        } catch {
            receivingEnded.resume(.success(()))
            throw error
        }
    }

    private func receiveNext() async throws -> Message? {
        while true {
            do {
                if let event = try takeBuffered() {
                    if case .message(let message) = event { return message }
                    return nil
                }
            } catch let error as WebSocketError {
                sendClose(error.closeCode, "")
                throw error
            }
            guard let bytes = try await stream.read() else { throw HTTPConnectionError.peerGone }
            incoming.withLock { incoming in
                incoming.decoder.feed(bytes)
                incoming.last = .now
            }
        }
    }

    /// Since any byte came in: data, pings and pongs alike. Only what `receive` reads counts.
    package var secondsSinceReceipt: Double {
        let (seconds, attoseconds) = (ContinuousClock.now - incoming.withLock { $0.last }).components
        return Double(seconds) + Double(attoseconds) * 1e-18
    }

    private enum Event {
        case message(Message)
        case closed
    }

    private func takeBuffered() throws -> Event? {
        try incoming.withLock { incoming -> Event? in
            if incoming.closed { return .closed }
            while let frame = try incoming.decoder.next() {
                switch frame.opcode {
                case .ping: sendFrame(.pong, frame.payload)
                case .pong: break
                case .close:
                    incoming.closed = true
                    try receivedClose(frame.payload)
                    return .closed
                case .text, .binary, .continuation:
                    if let message = try assemble(frame, &incoming) { return .message(message) }
                }
            }
            return nil
        }
    }

    private func receivedClose(_ payload: [UInt8]) throws(WebSocketError) {
        guard payload.count != 1 else { throw .protocolError("bad close frame") }
        let code = payload.count >= 2 ? UInt16(payload[0]) << 8 | UInt16(payload[1]) : 1005
        peerCode.withLock { $0 = code }
        sendClose(code == 1005 ? 1000 : code, "")
    }

    private func assemble(_ frame: WebSocketFrame, _ incoming: inout Incoming) throws(WebSocketError) -> Message? {
        if frame.opcode == .continuation {
            guard incoming.opcode != nil else { throw .protocolError("continuation without a start") }
        } else {
            guard incoming.opcode == nil else { throw .protocolError("message inside a message") }
            incoming.opcode = frame.opcode
        }
        guard incoming.partial.count + frame.payload.count <= limit else { throw .tooLarge(limit: limit) }
        if incoming.partial.isEmpty {
            incoming.partial = frame.payload
        } else {
            incoming.partial.append(contentsOf: frame.payload)
        }
        guard frame.fin, let opcode = incoming.opcode else { return nil }
        let payload = incoming.partial
        incoming.partial = []
        incoming.opcode = nil
        guard opcode == .text else { return .binary(payload) }
        guard String(validating: payload, as: UTF8.self) != nil else { throw .notUTF8 }
        return .text(payload)
    }

    // MARK: - Sending

    package func send(binary payload: some Collection<UInt8>, prefix: [UInt8] = []) async throws {
        sendFrame(.binary, prefix: prefix, payload)
        try await stream.drained()
    }

    package func send(text payload: some Collection<UInt8>) async throws {
        sendFrame(.text, payload)
        try await stream.drained()
    }

    package func send(_ message: Message) async throws {
        switch message {
        case .text(let bytes): try await send(text: bytes)
        case .binary(let bytes): try await send(binary: bytes)
        }
    }

    /// Without waiting for a slow peer.
    func sendNow(binary payload: some Collection<UInt8>, prefix: [UInt8] = []) {
        sendFrame(.binary, prefix: prefix, payload)
    }

    func sendNow(text payload: some Collection<UInt8>) {
        sendFrame(.text, payload)
    }

    func drained() async throws {
        try await stream.drained()
    }

    /// Until the task that receives has seen the end of the connection or a close frame.
    func waitUntilClosed() async {
        try? await receivingEnded.wait()
    }

    /// Ends the connection without a closing handshake.
    package func abort() {
        stream.abort()
    }

    package func ping() {
        sendFrame(.ping, [])
    }

    private func sendFrame(_ opcode: WebSocketOpcode, prefix: [UInt8] = [], _ payload: some Collection<UInt8>) {
        let mask: UInt32? = role == .client ? UInt32.random(in: 0 ... .max) : nil
        closeSent.withLock { closed in
            guard !closed else { return }
            if opcode == .close { closed = true }
            stream.send(WebSocketFrame.encode(opcode, prefix: prefix, payload, mask: mask))
        }
    }

    /// Starts or completes the closing handshake; nothing can be sent after.
    package func sendClose(_ code: UInt16, _ reason: String) {
        var payload = [UInt8(code >> 8), UInt8(code & 255)]
        payload.append(contentsOf: reason.utf8.prefix(120))
        sendFrame(.close, payload)
    }

    /// The whole closing handshake: sends a close frame, gives the peer `seconds` to answer, ends the connection. Not
    /// while another task receives.
    package func close(_ code: UInt16 = 1000, reason: String = "", seconds: Double = 2) async {
        sendClose(code, reason)
        _ = await withTimeLimit(seconds: seconds) { [self] in
            while let message = try? await receive() { _ = message }
        }
        if role == .server {
            await stream.closeLingering(seconds: 1)
        } else {
            stream.close()
        }
    }
}

/// The bytes of binary messages as a stream: SPDY inside a WebSocket (kubectl port-forward).
final class WebSocketByteStream: ByteStream {
    private let socket: WebSocketConnection

    init(_ socket: WebSocketConnection) {
        self.socket = socket
    }

    func read() async throws -> [UInt8]? {
        while let message = try await socket.receive() {
            guard case .binary(let bytes) = message else {
                socket.sendClose(1003, "binary messages only")
                return nil
            }
            if !bytes.isEmpty { return bytes }
        }
        return nil
    }

    func send(_ bytes: [UInt8]) {
        socket.sendNow(binary: bytes)
    }

    func drained() async throws {
        try await socket.drained()
    }

    func closeWrite() {
        socket.sendClose(1000, "")
    }

    func close() {
        socket.sendClose(1000, "")
    }
}
