import NIOCore

/// One server connection: reads one request at a time, runs the handler in a task on the connection's own loop, writes
/// the answer. What comes meanwhile waits in `buffer`, and once something is there nothing more is read from the socket.
/// Touched on the loop only, except where a method says otherwise.
final class HTTPServerConnection: ChannelInboundHandler, DeadlineHolder, HTTPBodySink, @unchecked Sendable {
    typealias InboundIn = ByteBuffer

    enum Phase {
        case handshaking
        case awaitingHead
        case readingBody
        case handling
        case upgraded(ChannelByteStream)
        /// The answer is out, the rest of an unread request is thrown away until the peer closes.
        case lingering
        case closed
    }

    let channel: any Channel
    let loop: LoopContext
    let output: TransportOutput
    let server: HTTPServer.Core
    var phase: Phase
    var deadline: NIODeadline?
    /// The request being read or answered.
    var current: HTTPRequestHead?
    var keepAlive = true
    /// Bytes of the response body written so far, as the application counts them.
    var bodyBytesWritten: Int64 = 0
    var framing = ResponseFraming.none
    var writers: [LoopWaiter<Void>] = []

    private var buffer = ByteBuffer()
    private var scanner: HTTPHeadScanner
    private var decoder = HTTPBodyDecoder(.none)
    private var body: [UInt8] = []
    private var task: Task<Void, Never>?
    /// Requests so far.
    private var handled: UInt32 = 0
    private var inputEnded = false
    private var processing = false
    private var lingered = 0
    private var identity = TLSHandshakeCompleted()

    enum ResponseFraming {
        case none
        case length(Int64)
        case chunked
        case untilClose
    }

    init(channel: any Channel, tls: TLSHandler?, loop: LoopContext, server: HTTPServer.Core) {
        self.channel = channel
        self.loop = loop
        self.server = server
        output = TransportOutput(channel: channel, tls: tls, loop: loop)
        phase = tls == nil ? .awaitingHead : .handshaking
        scanner = HTTPHeadScanner(limit: server.configuration.limits.headerBytes)
    }

    var limits: HTTPServerLimits { server.configuration.limits }

    // MARK: - Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        loop.register(self)
        server.add(self)
        if case .handshaking = phase {
            setDeadline(limits.handshakeTimeout)
        } else {
            setDeadline(limits.headerTimeout)
        }
    }

    func channelActive(context: ChannelHandlerContext) {
        if case .awaitingHead = phase { channel.read() }
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        leave()
        context.fireChannelInactive()
    }

    private func leave() {
        if case .closed = phase { return }
        if case .upgraded(let stream) = phase { stream.becameInactive() }
        phase = .closed
        deadline = nil
        loop.unregister(self)
        server.remove(self)
        task?.cancel()
        task = nil
        buffer = ByteBuffer()
        for waiter in writers { waiter.resume(.failure(HTTPConnectionError.peerGone)) }
        writers = []
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        switch phase {
        case .handshaking, .closed: break
        case .awaitingHead, .readingBody:
            if buffer.readableBytes == 0 { buffer = bytes } else { buffer.writeBuffer(&bytes) }
            process()
        case .handling:
            // A pipelined request, or the rest before EOF.
            if buffer.readableBytes == 0 { buffer = bytes } else { buffer.writeBuffer(&bytes) }
        case .upgraded(let stream): stream.received(bytes)
        case .lingering:
            lingered += bytes.readableBytes
            if lingered > 4 << 20 { close() }
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        switch phase {
        case .handshaking, .closed: break
        // One read stays asked for: to take it back and ask again with each answer would cost two system calls.
        case .handling: if buffer.readableBytes == 0 { channel.read() }
        case .awaitingHead, .readingBody, .lingering: channel.read()
        case .upgraded(let stream): stream.readCompleted()
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if let completed = event as? TLSHandshakeCompleted {
            identity = completed
            phase = .awaitingHead
            setDeadline(limits.headerTimeout)
            channel.read()
        } else if case .some(.inputClosed) = event as? ChannelEvent {
            inputClosed()
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }

    /// The peer has finished its side. A request being handled is cancelled, as Go's net/http does, but its answer still
    /// goes out: a watch ends, a client that only half-closed gets its response.
    private func inputClosed() {
        inputEnded = true
        switch phase {
        case .handshaking, .lingering: close()
        case .awaitingHead, .readingBody: process()
        case .handling: task?.cancel()
        case .upgraded(let stream): stream.inputClosed()
        case .closed: break
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if case .upgraded(let stream) = phase { stream.writabilityChanged() }
        guard channel.isWritable else { return }
        if case .handling = phase { deadline = nil }
        let waiting = writers
        writers = []
        for waiter in waiting { waiter.resume(.success(())) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // Peers that hang up or never finish a handshake are everyday; the rest is worth a line.
        if let error = error as? TLSError, case .handshakeFailed(let reason) = error,
            reason != "connection closed by the peer"
        {
            server.configuration.hooks.log?(
                "http: TLS handshake error from \(peerAddress.host):\(peerAddress.port): \(reason)")
        }
        if !(error is TLSError) { close() }
    }

    func deadlinePassed() {
        deadline = nil
        switch phase {
        case .readingBody: refuse(408, "Request Timeout: request body stopped")
        case .awaitingHead where buffer.readableBytes > 0: refuse(408, "Request Timeout: request header incomplete")
        case .handshaking, .awaitingHead, .handling, .lingering: close()
        case .upgraded, .closed: break
        }
    }

    func setDeadline(_ seconds: Double) {
        let deadline = NIODeadline.now() + .nanoseconds(Int64(seconds * 1e9))
        self.deadline = deadline
        loop.arm(deadline)
    }

    func close() {
        channel.close(promise: nil)
    }

    // MARK: - Requests

    /// Takes what it can from `buffer`. Not re-entered: a handler that answers at once comes back through the loop here,
    /// however many requests were pipelined.
    private func process() {
        guard !processing else { return }
        processing = true
        defer { processing = false }
        do throws(HTTPParseError) {
            loop: while true {
                switch phase {
                case .awaitingHead:
                    guard let head = try scanner.nextRequest(&buffer) else { break loop }
                    try begin(head)
                case .readingBody:
                    guard try readBody() else { break loop }
                    startHandler()
                default: return
                }
            }
        } catch {
            refuse(error.status, error.message)
            return
        }
        if buffer.readableBytes == 0 { buffer = ByteBuffer() }
        if inputEnded {
            close()
        } else if case .readingBody = phase {
            setDeadline(limits.bodyPauseTimeout)
        } else if buffer.readableBytes > 0, deadline == nil {
            setDeadline(limits.headerTimeout)
        }
    }

    private func begin(_ head: HTTPRequestHead) throws(HTTPParseError) {
        let length = try HTTPBodyLength(request: head)
        let headers = head.headers
        if head.minorVersion == 1, headers.values("Host").count != 1 {
            throw .malformed("HTTP/1.1 needs exactly one Host header field")
        }
        current = head
        keepAlive =
            head.minorVersion == 1
            ? !headers.hasMember("Connection", "close") : headers.hasMember("Connection", "keep-alive")
        decoder = HTTPBodyDecoder(length)
        body = []
        phase = .readingBody
        deadline = nil
        if case .length(let count) = length {
            guard count <= limits.bodyBytes else {
                refuse(server.configuration.hooks.bodyTooLarge(limits.bodyBytes))
                return
            }
            body.reserveCapacity(Int(min(count, 64 << 10)))
        }
        if length != .none, let expect = headers["Expect"] {
            guard asciiCaseInsensitiveEqual(expect, "100-continue") else {
                refuse(417, "Expectation Failed")
                return
            }
            if head.minorVersion == 1, buffer.readableBytes == 0 {
                output.append("HTTP/1.1 100 Continue\r\n\r\n" as StaticString)
                output.flush()
            }
        }
    }

    /// Whether the body is whole.
    private func readBody() throws(HTTPParseError) -> Bool {
        while true {
            switch try decoder.next(&buffer) {
            case .needMore: return false
            case .end: return true
            case .data(let bytes):
                guard Int64(body.count) + Int64(bytes.readableBytes) <= limits.bodyBytes else {
                    refuse(server.configuration.hooks.bodyTooLarge(limits.bodyBytes))
                    return false
                }
                body.append(contentsOf: bytes.readableBytesView)
            }
        }
    }

    private func startHandler() {
        guard let head = current else { return }
        let target: HTTPTarget
        do throws(HTTPTargetError) {
            target = head.method == "CONNECT" ? HTTPTarget(authority: head.target) : try HTTPTarget(head.target)
        } catch {
            refuse(400, "Bad Request: \(error)")
            return
        }
        var request = HTTPRequest(
            method: head.method, target: target, headers: head.headers, body: body, peer: identity.peer,
            peerCertificateError: identity.peerCertificateError, remoteAddress: peerAddress.host,
            remotePort: peerAddress.port, isTLS: server.isTLS, serverName: identity.serverName)
        if let proxy = identity.frontProxy { request.frontProxy = proxy }
        body = []
        phase = .handling
        deadline = nil
        let received = request
        let handler = server.handler
        handled &+= 1
        let serial = handled
        // Runs at once up to the first suspension, and on this loop's thread after each.
        let task = Task.immediate(executorPreference: loop.executor) {
            let response = await handler(received)
            if case .stream = response.body, self.channel.eventLoop.inEventLoop {
                self.startStream(response)
            } else {
                await self.respond(response)
            }
        }
        // One that streamed at once has put its second task there.
        if handled == serial, self.task == nil { hold(task) }
    }

    /// A streamed body, which may go on for as long as the client likes, is written by a task of its own: the one that ran
    /// the handler would keep the stack that the handler needed (12 KB), and the request.
    private func startStream(_ response: HTTPResponse) {
        guard case .handling = phase else { return }
        task = nil
        output.forgetPeerCertificates()
        let isCancelled = Task.isCancelled
        let serial = handled
        let task = Task.immediate(executorPreference: loop.executor) { await self.respond(response) }
        if isCancelled { task.cancel() }
        // If the body is written already, another request may be under way.
        if handled == serial { hold(task) }
    }

    /// To be cancelled when the client goes.
    private func hold(_ task: Task<Void, Never>) {
        switch phase {
        case .handling:
            self.task = task
            if inputEnded { task.cancel() }
        // A handler that upgrades without suspending is here already.
        case .upgraded: self.task = task
        case .handshaking, .awaitingHead, .readingBody, .lingering, .closed: break
        }
    }

    // MARK: - End of a response

    /// The response is out. `reusable`: the connection may carry another request.
    func responseEnded(reusable: Bool) {
        guard case .handling = phase else { return }
        task = nil
        current = nil
        deadline = nil
        guard reusable, keepAlive, !server.isDraining, channel.isActive else {
            phase = .lingering
            output.finish()
            return
        }
        phase = .awaitingHead
        if buffer.readableBytes > 0 || inputEnded {
            if !processing { process() }
        } else {
            setDeadline(limits.idleTimeout)
        }
        if case .awaitingHead = phase { channel.read() }
    }

    func becomeUpgraded() -> ChannelByteStream? {
        guard case .handling = phase, channel.isActive else { return nil }
        let stream = ChannelByteStream(channel: channel, output: output)
        phase = .upgraded(stream)
        deadline = nil
        stream.received(buffer)
        buffer = ByteBuffer()
        if inputEnded { stream.inputClosed() } else { channel.read() }
        return stream
    }

    /// Answers before a handler ran, then closes without resetting the connection under a client that is still
    /// sending: its request is read and thrown away for a while, so that it can see the answer.
    private func refuse(_ response: HTTPResponse) {
        keepAlive = false
        writeWhole(response, isHead: current?.method == "HEAD")
        current = nil
        body = []
        buffer = ByteBuffer()
        phase = .lingering
        setDeadline(2)
        if inputEnded { output.finish() } else { output.finishOutput() }
        channel.read()
    }

    private func refuse(_ status: Int, _ message: String) {
        refuse(server.configuration.hooks.badRequest(status, message))
    }

    /// For the server's graceful stop: idle connections end now, busy ones with their response.
    func drain() {
        if case .awaitingHead = phase, buffer.readableBytes == 0 { close() }
        if case .handshaking = phase { close() }
    }

    var isBusy: Bool {
        switch phase {
        case .readingBody, .handling, .upgraded, .lingering: true
        case .awaitingHead: buffer.readableBytes > 0
        case .handshaking, .closed: false
        }
    }

    private(set) lazy var peerAddress: (host: String, port: Int) = {
        let address = channel.remoteAddress
        return (address?.ipAddress ?? "", address?.port ?? 0)
    }()
}
