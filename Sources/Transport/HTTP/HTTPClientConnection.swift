import NIOCore

/// One client connection: one exchange at a time. Touched on its loop only, except for the async methods.
final class HTTPClientConnection: ChannelInboundHandler, @unchecked Sendable {
    typealias InboundIn = ByteBuffer

    private enum Phase {
        case connecting
        case idle
        case awaitingHead(method: String)
        case body
        case upgraded(ChannelByteStream)
        case closed
    }

    private static let bodyAhead = 64 << 10

    /// What a reader shares with the connection. It outlives the exchange: once the last bytes are here, the connection
    /// may carry the next one. Touched on the loop only.
    final class Body: @unchecked Sendable {
        fileprivate var queue: [UInt8] = []
        fileprivate var ended = false
        fileprivate var failure: (any Error)?
        fileprivate var waiter: LoopWaiter<[UInt8]?>?

        fileprivate func takeQueue() -> [UInt8] {
            defer { queue = [] }
            return queue
        }
    }

    let channel: any Channel
    private let output: TransportOutput
    private var phase: Phase
    private var buffer = ByteBuffer()
    private var scanner = HTTPHeadScanner(limit: 256 << 10)
    private var decoder = HTTPBodyDecoder(.none)
    private var reusable = false
    private var inputEnded = false
    private var failure: (any Error)?

    private let connected: EventLoopPromise<Void>
    private var headWaiter: LoopWaiter<HTTPClientResponse>?
    private var body: Body?
    private var timer: Scheduled<Void>?
    private var bodyPauseTimeout: Double?

    /// Called on the loop when the connection may carry another exchange.
    var onIdle: (@Sendable (HTTPClientConnection) -> Void)?
    var onClose: (@Sendable (HTTPClientConnection) -> Void)?

    init(channel: any Channel, tls: TLSHandler?, loop: LoopContext) {
        self.channel = channel
        output = TransportOutput(channel: channel, tls: tls, loop: loop)
        phase = tls == nil ? .idle : .connecting
        connected = channel.eventLoop.makePromise()
        if tls == nil { connected.succeed() }
    }

    /// Kept once the TLS handshake, if any, is over.
    var ready: EventLoopFuture<Void> { connected.futureResult }

    // MARK: - Channel events

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is TLSHandshakeCompleted {
            phase = .idle
            connected.succeed()
        } else if case .some(.inputClosed) = event as? ChannelEvent {
            inputEnded = true
            switch phase {
            case .upgraded(let stream): stream.inputClosed()
            case .body where decoder.endsWithConnection:
                drainBuffer()
                endBody()
            case .awaitingHead, .body:
                drainBuffer()
                if case .idle = phase {} else { channel.close(promise: nil) }
            case .connecting, .idle, .closed: channel.close(promise: nil)
            }
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        finish(failure ?? HTTPClientError.closedBeforeResponse)
        context.fireChannelInactive()
    }

    /// Also reached by a channel that never became active.
    func handlerRemoved(context: ChannelHandlerContext) {
        finish(failure ?? HTTPClientError.closedBeforeResponse)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        failure = failure ?? error
        channel.close(promise: nil)
    }

    private func finish(_ error: any Error) {
        if case .closed = phase { return }
        let last = phase
        phase = .closed
        timer?.cancel()
        onClose?(self)
        onIdle = nil
        onClose = nil
        connected.fail(error)
        if case .upgraded(let stream) = last { stream.becameInactive() }
        headWaiter?.resume(.failure(error))
        headWaiter = nil
        if case .body = last, let body {
            let reason = failure ?? HTTPClientError.bodyCutShort
            body.failure = reason
            body.waiter?.resume(.failure(reason))
            body.waiter = nil
        }
        body = nil
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if case .upgraded(let stream) = phase { stream.writabilityChanged() }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        switch phase {
        case .connecting, .closed: break
        case .idle:
            // An answer that nobody asked for.
            channel.close(promise: nil)
        case .upgraded(let stream): stream.received(bytes)
        case .awaitingHead, .body:
            if buffer.readableBytes == 0 { buffer = bytes } else { buffer.writeBuffer(&bytes) }
            drainBuffer()
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        switch phase {
        case .upgraded(let stream): stream.readCompleted()
        case .awaitingHead: channel.read()
        case .body where (body?.queue.count ?? 0) < HTTPClientConnection.bodyAhead: channel.read()
        case .connecting, .idle, .body, .closed: break
        }
    }

    private func drainBuffer() {
        do throws(HTTPParseError) {
            while true {
                switch phase {
                case .awaitingHead(let method):
                    guard let head = try scanner.nextResponse(&buffer) else { return }
                    try received(head, method: method)
                case .body:
                    switch try decoder.next(&buffer) {
                    case .needMore: return
                    case .data(let bytes): deliver(bytes)
                    case .end:
                        endBody()
                        return
                    }
                default: return
                }
            }
        } catch {
            failure = HTTPClientError.badResponse(error.message)
            channel.close(promise: nil)
        }
    }

    private func received(_ head: HTTPResponseHead, method: String) throws(HTTPParseError) {
        if head.status < 200, head.status != 101 { return }
        timer?.cancel()
        timer = nil
        let waiter = headWaiter
        headWaiter = nil
        if head.status == 101 {
            let stream = ChannelByteStream(channel: channel, output: output)
            phase = .upgraded(stream)
            stream.received(buffer)
            buffer = ByteBuffer()
            channel.read()
            let response = HTTPClientResponse(
                status: 101, headers: head.headers, body: HTTPClientBody(connection: nil, body: nil), upgraded: stream)
            if let waiter, !waiter.isDone { waiter.resume(.success(response)) } else { channel.close(promise: nil) }
            return
        }
        let length = try HTTPBodyLength(response: head, method: method)
        decoder = HTTPBodyDecoder(length)
        reusable =
            length != .untilClose
            && (head.minorVersion == 1
                ? !head.headers.hasMember("Connection", "close") : head.headers.hasMember("Connection", "keep-alive"))
        phase = .body
        let body = Body()
        self.body = body
        let face = HTTPClientBody(connection: self, body: body)
        waiter?.resume(.success(HTTPClientResponse(status: head.status, headers: head.headers, body: face)))
        armBodyTimer()
    }

    private func deliver(_ bytes: ByteBuffer) {
        armBodyTimer()
        guard let body else { return }
        if let waiter = body.waiter, !waiter.isDone, body.queue.isEmpty {
            body.waiter = nil
            waiter.resume(.success(Array(bytes.readableBytesView)))
        } else {
            body.queue.append(contentsOf: bytes.readableBytesView)
        }
    }

    private func endBody() {
        timer?.cancel()
        timer = nil
        let ended = body
        body = nil
        ended?.ended = true
        if reusable, !inputEnded, buffer.readableBytes == 0, channel.isActive {
            phase = .idle
            // Before the reader knows of the end: its next request finds the connection.
            onIdle?(self)
        } else {
            phase = .closed
            let onClose = onClose
            (self.onClose, onIdle) = (nil, nil)
            onClose?(self)
            channel.close(promise: nil)
        }
        if let ended, let waiter = ended.waiter {
            ended.waiter = nil
            waiter.resume(.success(ended.queue.isEmpty ? nil : ended.takeQueue()))
        }
    }

    private func armBodyTimer() {
        guard let seconds = bodyPauseTimeout else { return }
        timer?.cancel()
        timer = channel.eventLoop.scheduleTask(in: .nanoseconds(Int64(seconds * 1e9))) { [self] in
            failure = HTTPClientError.bodyTimedOut
            channel.close(promise: nil)
        }
    }

    // MARK: - Exchanges

    /// Sends a request and waits for the response header.
    func exchange(_ request: HTTPClientRequest) async throws -> HTTPClientResponse {
        do {
            return try await channel.eventLoop.suspend { [self] waiter in start(request, waiter) }
        } catch {
            // Also when the calling task was cancelled: the answer would have nowhere to go.
            channel.close(promise: nil)
            throw error
        }
    }

    private func start(_ request: HTTPClientRequest, _ waiter: LoopWaiter<HTTPClientResponse>) {
        guard case .idle = phase, channel.isActive else {
            waiter.resume(.failure(HTTPClientError.closedBeforeResponse))
            return
        }
        phase = .awaitingHead(method: request.method)
        headWaiter = waiter
        bodyPauseTimeout = request.bodyPauseTimeout
        if let seconds = request.headerTimeout {
            let peer = request.url.hostField
            timer = channel.eventLoop.scheduleTask(in: .nanoseconds(Int64(seconds * 1e9))) { [self] in
                failure = HTTPClientError.headerTimedOut(peer)
                channel.close(promise: nil)
            }
        }
        output.append("\(request.method) \(request.url.target) HTTP/1.1\r\n")
        if !request.headers.contains("Host") { output.append("Host: \(request.url.hostField)\r\n") }
        for field in request.headers.fields {
            if asciiCaseInsensitiveEqual(field.name, "Content-Length")
                || asciiCaseInsensitiveEqual(field.name, "Transfer-Encoding")
            {
                continue
            }
            output.append("\(field.name): \(singleLine(field.value))\r\n")
        }
        if !request.body.isEmpty || ["POST", "PUT", "PATCH"].contains(request.method) {
            output.append("Content-Length: \(request.body.count)\r\n")
        }
        output.append("\r\n" as StaticString)
        output.append(request.body)
        output.flush()
        channel.read()
    }

    func nextBody(_ body: Body) async throws -> [UInt8]? {
        do {
            return try await channel.eventLoop.suspend { [self] waiter in pull(body, waiter) }
        } catch is CancellationError {
            abandonBody(body)
            throw CancellationError()
        }
    }

    private func pull(_ body: Body, _ waiter: LoopWaiter<[UInt8]?>) {
        if !body.queue.isEmpty {
            waiter.resume(.success(body.takeQueue()))
            if body === self.body { channel.read() }
        } else if body.ended {
            waiter.resume(.success(nil))
        } else if let failure = body.failure {
            waiter.resume(.failure(failure))
        } else {
            body.waiter = waiter
            channel.read()
        }
    }

    /// The reader has lost interest: unless the body is whole, the connection is of no further use.
    func abandonBody(_ body: Body) {
        channel.eventLoop.runOnLoop { [self] in
            if body === self.body { channel.close(promise: nil) }
        }
    }
}
