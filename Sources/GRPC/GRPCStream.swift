import Linux

/// One call on a connection: messages both ways, then a status. Its fields belong to the connection's lock.
package final class GRPCStream: @unchecked Sendable {
    let number: Int32
    private let connection: GRPCConnection
    /// The caller's header fields, metadata among them.
    package let request: [GRPCHeader]

    // Receiving.
    private var partial: [UInt8] = []
    private var messages: [[UInt8]] = []
    /// Bytes behind a message that nobody has taken yet: the peer's window stays shut for them.
    private var withheld = 0
    private(set) var isEnded: Bool
    private(set) var status: GRPCStatus?
    private(set) var refusal: GRPCStatus?
    private var responseHeaders: [GRPCHeader] = []
    var reader: GRPCWaiter?

    // Sending.
    var writer: GRPCWaiter?
    var answered = false
    var finished = false

    var isClosed = false
    var cancelHandler: (@Sendable () -> Void)?

    static let answer = [GRPCHeader(":status", "200"), GRPCHeader("content-type", "application/grpc")]

    init(_ number: Int32, _ connection: GRPCConnection, request: [GRPCHeader], ended: Bool) {
        (self.number, self.connection, self.request, isEnded) = (number, connection, request, ended)
    }

    // MARK: - For callers

    /// The next message; nil at the end of a call that went well.
    package func next() async throws(GRPCStatus) -> [UInt8]? {
        while true {
            switch connection.next(self) {
            case .message(let bytes): return bytes
            case .end(let status):
                if let status, status.code != .ok { throw status }
                return nil
            case .wait(let waiter):
                await waiter.wait()
                if Task.isCancelled { throw GRPCStatus(.cancelled, "context canceled") }
            }
        }
    }

    /// Sends a message; waits while the peer does not read.
    package func send(_ message: [UInt8]) async throws(GRPCStatus) {
        guard message.count <= GRPCConnection.messageLimit else {
            throw GRPCStatus(
                .resourceExhausted,
                "grpc: trying to send message larger than max (\(message.count) vs. \(GRPCConnection.messageLimit))")
        }
        guard let waiter = try connection.send(self, message) else { return }
        await waiter.wait()
        if Task.isCancelled { throw GRPCStatus(.cancelled, "context canceled") }
    }

    /// A server's last word.
    func finish(_ status: GRPCStatus) { connection.finish(self, status) }

    /// A client has nothing more to send.
    func finishSending() { connection.finish(self, nil) }

    /// Ends the call without waiting for anybody.
    package func cancel() { cancel(GRPCStatus(.cancelled, "context canceled")) }

    func cancel(_ status: GRPCStatus) { connection.cancel(self, status) }

    func onCancel(_ body: @escaping @Sendable () -> Void) { connection.onCancel(self, body) }

    // MARK: - Under the connection's lock

    /// Bytes kept in this stream.
    var held: Int { partial.count + messages.reduce(0) { $0 + $1.count + 5 } }

    func headersArrived(_ fields: [GRPCHeader], end: Bool) -> [GRPCWaiter] {
        if !end {
            // An informational answer is not the answer.
            if fields.value(":status")?.hasPrefix("1") != true { responseHeaders = fields }
            if let code = fields.value(":status"), code != "200", !code.hasPrefix("1") {
                status = Self.status(http: code)
            }
            return []
        }
        let http = fields.value(":status") ?? responseHeaders.value(":status")
        if let http, http != "200" { status = Self.status(http: http) }
        status =
            GRPCStatus(fields) ?? status ?? GRPCStatus(.internal, "server closed the stream without sending trailers")
        return remoteEnded()
    }

    /// Source: grpc's doc/http-grpc-status-mapping.md.
    private static func status(http: String) -> GRPCStatus {
        let code: GRPCStatus.Code =
            switch http {
            case "400": .internal
            case "401": .unauthenticated
            case "403": .permissionDenied
            case "404": .unimplemented
            case "429", "502", "503", "504": .unavailable
            default: .unknown
            }
        return GRPCStatus(code, "unexpected HTTP status code received from server: \(http)")
    }

    /// Whom to wake, and how many bytes the peer may send for these.
    func dataArrived(_ bytes: [UInt8]) -> (GRPCWaiter?, Int) {
        partial += bytes
        var taken = messages.isEmpty ? bytes.count : 0
        withheld += bytes.count - taken
        while partial.count >= 5, refusal == nil {
            let length = partial[1..<5].reduce(0 as Int64) { $0 << 8 | Int64($1) }
            if partial[0] != 0 {
                refusal = GRPCStatus(.unimplemented, "grpc: compressed messages are not supported")
            } else if length > Int64(GRPCConnection.messageLimit) {
                refusal = GRPCStatus(
                    .resourceExhausted,
                    "grpc: received message larger than max (\(length) vs. \(GRPCConnection.messageLimit))")
            } else if partial.count >= 5 + Int(length) {
                messages.append(Array(partial[5..<5 + Int(length)]))
                partial.removeFirst(5 + Int(length))
            } else {
                break
            }
        }
        if refusal != nil {
            partial = []
            taken += withheld
            withheld = 0
        }
        guard !messages.isEmpty else { return (nil, taken) }
        defer { reader = nil }
        return (reader, taken)
    }

    /// The first message, and how many bytes more the peer may send.
    func takeMessage() -> ([UInt8], Int)? {
        guard !messages.isEmpty else { return nil }
        let message = messages.removeFirst()
        guard messages.isEmpty else { return (message, 0) }
        defer { withheld = 0 }
        return (message, withheld)
    }

    func remoteEnded() -> [GRPCWaiter] {
        isEnded = true
        return takeWaiters()
    }

    func fail(_ reason: GRPCStatus) -> [GRPCWaiter] {
        if !isEnded || status == nil { status = reason }
        isEnded = true
        isClosed = true
        return takeWaiters()
    }

    /// The stream is over for HTTP/2.
    func closed(_ error: UInt32) -> [GRPCWaiter] {
        if !isEnded {
            status = Self.status(reset: error)
            isEnded = true
        }
        return takeWaiters()
    }

    /// Source: grpc's PROTOCOL-HTTP2, "Errors".
    private static func status(reset error: UInt32) -> GRPCStatus {
        switch error {
        case 7: GRPCStatus(.unavailable, "stream refused by the peer")
        case 8: GRPCStatus(.cancelled, "context canceled")
        case 11: GRPCStatus(.resourceExhausted, "stream terminated: enhance your calm")
        case 12: GRPCStatus(.permissionDenied, "stream terminated: inadequate security")
        default: GRPCStatus(.internal, "stream terminated by RST_STREAM with error code: \(error)")
        }
    }

    private func takeWaiters() -> [GRPCWaiter] {
        defer { (reader, writer) = (nil, nil) }
        return [reader, writer].compactMap { $0 }
    }

    func takeWriter() -> GRPCWaiter? {
        defer { writer = nil }
        return writer
    }

    func takeCancel() -> (@Sendable () -> Void)? {
        defer { cancelHandler = nil }
        return cancelHandler
    }
}
