import COpenSSL
import NIOCore

/// Passed down the pipeline once a handshake has succeeded.
struct TLSHandshakeCompleted: Sendable {
    var peer: PeerIdentity?
    var frontProxy: PeerIdentity?
    var peerCertificateError: String?
    var serverName: String?
}

/// TLS 1.2 and 1.3 over OpenSSL as a channel handler.
///
/// OpenSSL reads from and writes to this object through a BIO of our own, so that no byte rests in a memory BIO and an
/// idle connection holds nothing but its `SSL`. Plaintext is written by calling `encrypt` and `flush` from the handler
/// above (same loop), which spares a pipeline event and a buffer per record; `write` and `flush` events work as well.
final class TLSHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Role {
        case server(TLSServerContext.Loaded)
        case client(TLSClientContext, host: String)
    }

    private enum State {
        case handshaking
        case open
        /// close_notify sent or fatal error: nothing is written any more.
        case shut
    }

    private let ssl: OpaquePointer
    private let role: Role
    private let loop: LoopContext
    private var context: ChannelHandlerContext?
    private var state = State.handshaking
    private var inputEnded = false
    private var readWanted = false
    /// A fatal error has happened: OpenSSL must not be asked to read again.
    private var broken = false
    private var certificatesForgotten = false
    /// Why the client's certificate does not verify.
    private var objection: String?
    /// Ciphertext from the peer that OpenSSL has not taken yet.
    fileprivate var inbound = ByteBuffer()
    /// Ciphertext of ours that has not been handed to the channel yet.
    fileprivate var outbound: ByteBuffer?

    init(role: Role, loop: LoopContext) throws(TLSError) {
        let sslContext =
            switch role {
            case .server(let loaded): loaded.main
            case .client(let client, _): client.context
            }
        ERR_clear_error()
        guard let ssl = SSL_new(sslContext.pointer), let bio = BIO_new(TLSHandler.bioMethod) else {
            throw .protocolError(openSSLErrorText(fallback: "out of memory"))
        }
        self.ssl = ssl
        self.role = role
        self.loop = loop
        SSL_set_bio(ssl, bio, bio)
        BIO_set_data(bio, Unmanaged.passUnretained(self).toOpaque())
        BIO_set_init(bio, 1)
        switch role {
        case .server(let loaded):
            SSL_set_accept_state(ssl)
            if !loaded.named.isEmpty {
                SSL_set_cert_cb(ssl, selectNamedCertificate, Unmanaged.passUnretained(self).toOpaque())
            }
        case .client(let client, let host):
            SSL_set_connect_state(ssl)
            setExpectedName(client.serverName ?? host, verify: client.verifies)
        }
    }

    deinit {
        SSL_free(ssl)
    }

    private func setExpectedName(_ name: String, verify: Bool) {
        let isAddress = (try? SocketAddress(ipAddress: name, port: 0)) != nil
        if !isAddress {
            // SSL_set_tlsext_host_name
            var bytes = Array(name.utf8CString)
            bytes.withUnsafeMutableBytes { raw in
                _ = SSL_ctrl(
                    ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, Int(TLSEXT_NAMETYPE_host_name), raw.baseAddress)
            }
        }
        guard verify else { return }
        let parameters = SSL_get0_param(ssl)
        if isAddress {
            X509_VERIFY_PARAM_set1_ip_asc(parameters, name)
        } else {
            X509_VERIFY_PARAM_set_hostflags(parameters, UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
            X509_VERIFY_PARAM_set1_host(parameters, name, name.utf8.count)
        }
    }

    /// The certificate context of the server name that the client asked for.
    fileprivate func useNamedCertificate() {
        guard case .server(let loaded) = role,
            let name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name).map({ String(cString: $0) })
        else { return }
        for entry in loaded.named where entry.names.contains(where: { certificateName($0, covers: name) }) {
            SSL_set_SSL_CTX(ssl, entry.context.pointer)
            return
        }
    }

    // MARK: - Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive { start(context) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
    }

    func channelActive(context: ChannelHandlerContext) {
        start(context)
        context.fireChannelActive()
    }

    private func start(_ context: ChannelHandlerContext) {
        if case .client = role { pump(context) }
        context.read()
    }

    func channelInactive(context: ChannelHandlerContext) {
        if state == .handshaking { fail(context, .handshakeFailed("connection closed by the peer")) }
        state = .shut
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var buffer = unwrapInboundIn(data)
        if inbound.readableBytes == 0 { inbound = buffer } else { inbound.writeBuffer(&buffer) }
        pump(context)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        // Nothing of the record layer may rest here: what was wanted was plaintext.
        if readWanted || state == .handshaking, !inputEnded, state != .shut { context.read() }
        context.fireChannelReadComplete()
    }

    func read(context: ChannelHandlerContext) {
        readWanted = true
        context.read()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .some(.inputClosed) = event as? ChannelEvent {
            endInput(context)
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }

    private func endInput(_ context: ChannelHandlerContext) {
        if state == .handshaking {
            fail(context, .handshakeFailed("connection closed by the peer"))
        }
        guard !inputEnded else { return }
        inputEnded = true
        context.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
    }

    // MARK: - Inbound

    private func pump(_ context: ChannelHandlerContext) {
        ERR_clear_error()
        if state == .handshaking {
            let result = SSL_do_handshake(ssl)
            guard result == 1 else {
                let reason = SSL_get_error(ssl, result)
                if reason != SSL_ERROR_WANT_READ { failHandshake(context) }
                flushOutbound(context, promise: nil)
                return
            }
            state = .open
            flushOutbound(context, promise: nil)
            context.fireUserInboundEventTriggered(handshakeOutcome())
        }
        while !broken {
            var count = 0
            let result = SSL_read_ex(ssl, loop.scratch.baseAddress, LoopContext.scratchSize, &count)
            if result == 1 {
                readWanted = false
                var plain = context.channel.allocator.buffer(capacity: count)
                plain.writeBytes(UnsafeRawBufferPointer(rebasing: loop.scratch[..<count]))
                context.fireChannelRead(wrapInboundOut(plain))
                continue
            }
            switch SSL_get_error(ssl, result) {
            case SSL_ERROR_WANT_READ: break
            case SSL_ERROR_ZERO_RETURN: endInput(context)
            default:
                let error = TLSError.protocolError(openSSLErrorText(fallback: "broken record"))
                flushOutbound(context, promise: nil)
                fail(context, error)
                return
            }
            break
        }
        // Key updates and alerts that reading has brought about.
        flushOutbound(context, promise: nil)
    }

    private func handshakeOutcome() -> TLSHandshakeCompleted {
        var outcome = TLSHandshakeCompleted()
        guard case .server(let loaded) = role else { return outcome }
        outcome.serverName = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name).map { String(cString: $0) }
        guard loaded.asksForCertificate, let x509 = SSL_get1_peer_certificate(ssl) else { return outcome }
        defer { X509_free(x509) }
        let verdict = SSL_get_verify_result(ssl)
        if let objection {
            outcome.peerCertificateError = objection
        } else if verdict == Int(X509_V_OK) {
            let identity = PeerIdentity(x509: x509)
            if isOfFrontProxy(loaded) { outcome.frontProxy = identity } else { outcome.peer = identity }
        } else {
            outcome.peerCertificateError = String(cString: X509_verify_cert_error_string(verdict))
        }
        return outcome
    }

    /// Whether the chain that verified ends at the front proxies' authority.
    private func isOfFrontProxy(_ loaded: TLSServerContext.Loaded) -> Bool {
        guard !loaded.frontProxyCAs.isEmpty, let chain = SSL_get0_verified_chain(ssl) else { return false }
        let count = OPENSSL_sk_num(chain)
        for i in 0..<max(0, count) {
            guard let raw = OPENSSL_sk_value(chain, i) else { continue }
            if loaded.frontProxyCAs.contains(writeDER { i2d_X509(OpaquePointer(raw), $0) }) { return true }
        }
        return false
    }

    /// Frees what the session keeps of the client's certificates, 8 KB and more: the identity has been read from them, and
    /// without renegotiation nobody looks at them again. OpenSSL has no call for it: the chains are emptied in place, and
    /// the leaf's decoded key gives way to a reference to our own.
    func forgetPeerCertificates() {
        guard case .server = role, state == .open, !certificatesForgotten else { return }
        certificatesForgotten = true
        ERR_clear_error()
        for chain in [SSL_get_peer_cert_chain(ssl), SSL_get0_verified_chain(ssl)] {
            while let raw = OPENSSL_sk_pop(chain) { X509_free(OpaquePointer(raw)) }
        }
        if let leaf = SSL_get0_peer_certificate(ssl), let key = SSL_get_privatekey(ssl) { X509_set_pubkey(leaf, key) }
        ERR_clear_error()
    }

    /// From the verification callback of a server that lets the handshake go on.
    static func noteObjection(_ store: OpaquePointer?) {
        guard let raw = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()),
            let handler = TLSHandler.of(SSL_get_rbio(OpaquePointer(raw)))
        else { return }
        if handler.objection == nil {
            let code = Int(X509_STORE_CTX_get_error(store))
            handler.objection = String(cString: X509_verify_cert_error_string(code))
        }
    }

    private func failHandshake(_ context: ChannelHandlerContext) {
        let code = ERR_peek_error()
        let reason = Int32(truncatingIfNeeded: code & 0x7F_FFFF)
        if case .server = role, reason == SSL_R_HTTP_REQUEST {
            ERR_clear_error()
            let answer = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
            context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: answer)), promise: nil)
            fail(context, .handshakeFailed("plain HTTP request"))
            return
        }
        let verdict = SSL_get_verify_result(ssl)
        let text = openSSLErrorText(fallback: "connection closed by the peer")
        if case .client(let client, _) = role, client.verifies, verdict != Int(X509_V_OK) {
            fail(context, .untrusted(String(cString: X509_verify_cert_error_string(verdict))))
        } else {
            fail(context, .handshakeFailed(text))
        }
    }

    private func fail(_ context: ChannelHandlerContext, _ error: TLSError) {
        guard !broken else { return }
        broken = true
        flushOutbound(context, promise: nil)
        state = .shut
        context.fireErrorCaught(error)
        closeAfterFlush(context)
    }

    /// The alert goes out before the connection ends.
    private func closeAfterFlush(_ context: ChannelHandlerContext) {
        let promise = context.eventLoop.makePromise(of: Void.self)
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        promise.futureResult.whenComplete { _ in bound.value.close(promise: nil) }
        context.writeAndFlush(wrapOutboundOut(ByteBuffer()), promise: promise)
    }

    // MARK: - Outbound

    /// Encrypts now; `flush` sends. Dropped once the session is shut.
    func encrypt(_ bytes: UnsafeRawBufferPointer) {
        guard state == .open else { return }
        ERR_clear_error()
        var rest = bytes
        while !rest.isEmpty {
            var written = 0
            // Our BIO takes everything, so a write never has to wait.
            guard SSL_write_ex(ssl, rest.baseAddress, rest.count, &written) == 1, written > 0 else {
                if let context { fail(context, .protocolError(openSSLErrorText(fallback: "write failed"))) }
                return
            }
            rest = UnsafeRawBufferPointer(rebasing: rest[written...])
        }
    }

    func flush(promise: EventLoopPromise<Void>? = nil) {
        guard let context else {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        flushOutbound(context, promise: promise)
    }

    private func flushOutbound(_ context: ChannelHandlerContext, promise: EventLoopPromise<Void>?) {
        guard let buffer = outbound else {
            if let promise { context.writeAndFlush(wrapOutboundOut(ByteBuffer()), promise: promise) }
            return
        }
        outbound = nil
        context.writeAndFlush(wrapOutboundOut(buffer), promise: promise)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard state == .open else {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        let buffer = unwrapOutboundIn(data)
        buffer.withUnsafeReadableBytes { encrypt($0) }
        let cipher = outbound ?? ByteBuffer()
        outbound = nil
        context.write(wrapOutboundOut(cipher), promise: promise)
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        if state == .open, mode != .input {
            ERR_clear_error()
            SSL_shutdown(ssl)
            ERR_clear_error()
            flushOutbound(context, promise: nil)
            state = .shut
        }
        context.close(mode: mode, promise: promise)
    }

    // MARK: - BIO

    /// A BIO whose data pointer is the handler. The handler owns the SSL which owns the BIO: it never dangles.
    nonisolated(unsafe) private static let bioMethod: OpaquePointer? = {
        let method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "channel")
        BIO_meth_set_write(method) { bio, bytes, count in
            guard let bytes, count > 0, let handler = TLSHandler.of(bio) else { return 0 }
            handler.takeCiphertext(UnsafeRawBufferPointer(start: bytes, count: Int(count)))
            return count
        }
        BIO_meth_set_read(method) { bio, bytes, count in
            // BIO_clear_retry_flags
            BIO_clear_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_WRITE | BIO_FLAGS_IO_SPECIAL | BIO_FLAGS_SHOULD_RETRY)
            guard let bytes, count > 0, let handler = TLSHandler.of(bio) else { return 0 }
            let taken = handler.giveCiphertext(UnsafeMutableRawBufferPointer(start: bytes, count: Int(count)))
            guard taken > 0 else {
                BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY)
                return -1
            }
            return Int32(taken)
        }
        BIO_meth_set_ctrl(method) { _, command, _, _ in command == BIO_CTRL_FLUSH ? 1 : 0 }
        return method
    }()

    private static func of(_ bio: OpaquePointer?) -> TLSHandler? {
        BIO_get_data(bio).map { Unmanaged<TLSHandler>.fromOpaque($0).takeUnretainedValue() }
    }

    private func takeCiphertext(_ bytes: UnsafeRawBufferPointer) {
        if outbound == nil { outbound = ByteBufferAllocator().buffer(capacity: bytes.count) }
        outbound?.writeBytes(bytes)
    }

    private func giveCiphertext(_ target: UnsafeMutableRawBufferPointer) -> Int {
        let count = min(target.count, inbound.readableBytes)
        guard count > 0 else { return 0 }
        inbound.readWithUnsafeReadableBytes { source in
            target.copyMemory(from: UnsafeRawBufferPointer(rebasing: source[..<count]))
            return count
        }
        if inbound.readableBytes == 0 { inbound = ByteBuffer() }
        return count
    }
}

/// `SSL_set_cert_cb`: runs once the client's hello is known.
private func selectNamedCertificate(_ ssl: OpaquePointer?, _ handler: UnsafeMutableRawPointer?) -> Int32 {
    if let handler { Unmanaged<TLSHandler>.fromOpaque(handler).takeUnretainedValue().useNamedCertificate() }
    return 1
}
