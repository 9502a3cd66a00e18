import CNghttp2
import Linux

/// HTTP/2 of one connection without its IO: bytes in, events out; requests and answers in, bytes out. libnghttp2 does
/// the framing, header compression and flow control; what it allocates is bounded by an allocator of ours.
///
/// Not safe for two threads at once: `GRPCConnection` calls it under its lock.
/// Sources: RFC 9113, nghttp2's "mem" interface.
final class HTTP2Session: @unchecked Sendable {
    enum Event {
        /// A block of header fields is complete; `end` when nothing follows from the peer.
        case headers(Int32, [GRPCHeader], end: Bool)
        case data(Int32, [UInt8])
        case end(Int32)
        case closed(Int32, error: UInt32)
        case goaway
    }

    /// What a stream still has to send.
    private struct Outgoing {
        var bytes: [UInt8] = []
        var sent = 0
        /// Nothing comes after the bytes, but for these.
        var ended = false
        var trailers: [GRPCHeader]?
        /// libnghttp2 was told to come back when there is more.
        var paused = false
    }

    static let window: Int32 = 64 << 10
    static let streamLimit: UInt32 = 100
    private static let headerLimit = 64 << 10

    private var session: OpaquePointer?
    private let memory: BoundedAllocator
    private var outgoing: [Int32: Outgoing] = [:]
    private var fields: [Int32: (list: [GRPCHeader], bytes: Int)] = [:]
    private var events: [Event] = []

    init(server: Bool) {
        memory = BoundedAllocator(limit: 2 << 20)
        var callbacks: OpaquePointer?
        var option: OpaquePointer?
        nghttp2_session_callbacks_new(&callbacks)
        nghttp2_option_new(&option)
        defer {
            nghttp2_session_callbacks_del(callbacks)
            nghttp2_option_del(option)
        }
        // The window opens as messages are taken, not as they arrive.
        nghttp2_option_set_no_auto_window_update(option, 1)
        nghttp2_option_set_max_reserved_remote_streams(option, 0)
        nghttp2_option_set_max_deflate_dynamic_table_size(option, 4096)
        nghttp2_option_set_no_closed_streams(option, 1)
        Self.register(callbacks)
        let context = Unmanaged.passUnretained(self).toOpaque()
        var allocator = memory.table
        if server {
            nghttp2_session_server_new3(&session, callbacks, context, option, &allocator)
        } else {
            nghttp2_session_client_new3(&session, callbacks, context, option, &allocator)
        }
        var settings = [
            nghttp2_settings_entry(
                settings_id: Int32(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS.rawValue), value: Self.streamLimit),
            nghttp2_settings_entry(
                settings_id: Int32(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE.rawValue), value: UInt32(Self.headerLimit)),
        ]
        if !server {
            settings.append(
                nghttp2_settings_entry(settings_id: Int32(NGHTTP2_SETTINGS_ENABLE_PUSH.rawValue), value: 0))
        }
        nghttp2_submit_settings(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), settings, settings.count)
        // Streams wait for their own readers, not for each other's.
        nghttp2_session_set_local_window_size(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), 0, 1 << 20)
    }

    deinit { nghttp2_session_del(session) }

    // MARK: - Receiving

    /// What the bytes mean; an error is the end of the connection.
    func receive(_ bytes: [UInt8]) throws(GRPCStatus) -> [Event] {
        let result = bytes.withUnsafeBufferPointer { nghttp2_session_mem_recv(session, $0.baseAddress, $0.count) }
        if result < 0 {
            throw GRPCStatus(.unavailable, "HTTP/2: \(String(cString: nghttp2_strerror(Int32(result))))")
        }
        defer { events = [] }
        return events
    }

    /// The stream's reader took this much: the peer may send as much again.
    func consumed(_ stream: Int32, _ count: Int) {
        nghttp2_session_consume_stream(session, stream, count)
    }

    private static func register(_ callbacks: OpaquePointer?) {
        nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks) { _, frame, context in
            guard let frame, let context else { return 0 }
            HTTP2Session.from(context).fields[frame.pointee.hd.stream_id] = ([], 0)
            return 0
        }
        nghttp2_session_callbacks_set_on_header_callback(callbacks) {
            _, frame, name, nameLength, value, valueLength, _, context in
            guard let frame, let name, let value, let context else { return 0 }
            let fits = HTTP2Session.from(context).field(
                frame.pointee.hd.stream_id, UnsafeBufferPointer(start: name, count: nameLength),
                UnsafeBufferPointer(start: value, count: valueLength))
            return fits ? 0 : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue
        }
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks) { _, _, stream, data, count, context in
            guard let data, let context else { return 0 }
            let session = HTTP2Session.from(context)
            session.events.append(.data(stream, Array(UnsafeBufferPointer(start: data, count: count))))
            nghttp2_session_consume_connection(session.session, count)
            return 0
        }
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks) { _, frame, context in
            guard let frame, let context else { return 0 }
            HTTP2Session.from(context).frameArrived(frame.pointee.hd)
            return 0
        }
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks) { _, stream, error, context in
            guard let context else { return 0 }
            let session = HTTP2Session.from(context)
            session.outgoing[stream] = nil
            session.fields[stream] = nil
            session.events.append(.closed(stream, error: error))
            return 0
        }
    }

    private static func from(_ context: UnsafeMutableRawPointer) -> HTTP2Session {
        Unmanaged<HTTP2Session>.fromOpaque(context).takeUnretainedValue()
    }

    private func field(_ stream: Int32, _ name: UnsafeBufferPointer<UInt8>, _ value: UnsafeBufferPointer<UInt8>) -> Bool
    {
        // 32 bytes for each, as the RFC counts them.
        fields[stream, default: ([], 0)].bytes += name.count + value.count + 32
        guard let so = fields[stream]?.bytes, so <= Self.headerLimit else { return false }
        fields[stream]?.list.append(
            GRPCHeader(String(decoding: name, as: UTF8.self), String(decoding: value, as: UTF8.self)))
        return true
    }

    private func frameArrived(_ head: nghttp2_frame_hd) {
        let ended = head.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
        switch nghttp2_frame_type(rawValue: UInt32(head.type)) {
        case NGHTTP2_HEADERS:
            events.append(.headers(head.stream_id, fields.removeValue(forKey: head.stream_id)?.list ?? [], end: ended))
        case NGHTTP2_DATA: if ended { events.append(.end(head.stream_id)) }
        case NGHTTP2_GOAWAY: events.append(.goaway)
        default: break
        }
    }

    // MARK: - Sending

    /// Starts a stream; nil when the connection can have no more of them.
    func request(_ headers: [GRPCHeader]) -> Int32? {
        var provider = Self.provider
        let stream = Self.withFields(headers) { fields, count in
            nghttp2_submit_request(session, nil, fields, count, &provider, nil)
        }
        guard stream > 0 else { return nil }
        outgoing[stream] = Outgoing()
        return stream
    }

    /// The answer's headers, with bytes to follow.
    func respond(_ stream: Int32, _ headers: [GRPCHeader]) {
        outgoing[stream] = Outgoing()
        var provider = Self.provider
        let result = Self.withFields(headers) { fields, count in
            nghttp2_submit_response(session, stream, fields, count, &provider)
        }
        if result != 0 { outgoing[stream] = nil }
    }

    /// An answer of headers alone.
    func respondOnly(_ stream: Int32, _ headers: [GRPCHeader]) {
        _ = Self.withFields(headers) { fields, count in
            nghttp2_submit_response(session, stream, fields, count, nil)
        }
    }

    /// Bytes to send; how many wait now. nil: the stream is gone.
    func enqueue(_ stream: Int32, _ bytes: [[UInt8]]) -> Int? {
        guard outgoing[stream] != nil, outgoing[stream]?.ended == false else { return nil }
        for part in bytes { outgoing[stream]?.bytes.append(contentsOf: part) }
        resume(stream)
        return waiting(stream)
    }

    func waiting(_ stream: Int32) -> Int {
        guard let out = outgoing[stream] else { return 0 }
        return out.bytes.count - out.sent
    }

    func finish(_ stream: Int32, trailers: [GRPCHeader]?) {
        guard outgoing[stream] != nil, outgoing[stream]?.ended == false else { return }
        outgoing[stream]?.ended = true
        outgoing[stream]?.trailers = trailers
        resume(stream)
    }

    func reset(_ stream: Int32, _ code: nghttp2_error_code) {
        nghttp2_submit_rst_stream(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream, code.rawValue)
    }

    /// No new streams; the peer is told.
    func terminate() { nghttp2_session_terminate_session(session, NGHTTP2_NO_ERROR.rawValue) }

    /// The next bytes for the socket, `limit` or a little more; empty when there is nothing to say.
    func output(limit: Int = 64 << 10) -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < limit {
            var data: UnsafePointer<UInt8>?
            let count = nghttp2_session_mem_send(session, &data)
            guard count > 0, let data else { break }
            bytes.append(contentsOf: UnsafeBufferPointer(start: data, count: count))
        }
        return bytes
    }

    /// Streams may have ended while their last frame was made.
    func takeEvents() -> [Event] {
        defer { events = [] }
        return events
    }

    /// Neither side has anything left to say.
    var isOver: Bool { nghttp2_session_want_read(session) == 0 && nghttp2_session_want_write(session) == 0 }

    private func resume(_ stream: Int32) {
        guard outgoing[stream]?.paused == true else { return }
        outgoing[stream]?.paused = false
        nghttp2_session_resume_data(session, stream)
    }

    private static let provider = nghttp2_data_provider(
        source: nghttp2_data_source(),
        read_callback: { _, stream, buffer, length, flags, _, context in
            guard let buffer, let flags, let context else { return 0 }
            return HTTP2Session.from(context).fill(
                stream, UnsafeMutableRawBufferPointer(start: buffer, count: length), flags)
        })

    private func fill(
        _ stream: Int32, _ buffer: UnsafeMutableRawBufferPointer, _ flags: UnsafeMutablePointer<UInt32>
    ) -> Int {
        guard let out = outgoing[stream] else { return Int(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue) }
        let count = min(buffer.count, out.bytes.count - out.sent)
        if count == 0, !out.ended {
            outgoing[stream]?.paused = true
            return Int(NGHTTP2_ERR_DEFERRED.rawValue)
        }
        out.bytes.withUnsafeBytes {
            buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[out.sent..<out.sent + count]))
        }
        outgoing[stream]?.sent += count
        if out.sent + count == out.bytes.count {
            outgoing[stream]?.bytes = []
            outgoing[stream]?.sent = 0
            if out.ended {
                flags.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue
                if let trailers = out.trailers {
                    flags.pointee |= NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue
                    _ = Self.withFields(trailers) { fields, count in
                        nghttp2_submit_trailer(session, stream, fields, count)
                    }
                }
            }
        }
        return count
    }

    /// libnghttp2 copies what it is given.
    private static func withFields(
        _ headers: [GRPCHeader], _ body: (UnsafePointer<nghttp2_nv>?, Int) -> Int32
    ) -> Int32 {
        var text: [UInt8] = []
        for header in headers {
            text.append(contentsOf: header.name.utf8)
            text.append(contentsOf: header.value.utf8)
        }
        return text.withUnsafeMutableBufferPointer { buffer in
            // Without any text there is no address, and no header either.
            guard let base = buffer.baseAddress else { return body(nil, 0) }
            var at = base
            let fields = headers.map { header in
                let field = nghttp2_nv(
                    name: at, value: at + header.name.utf8.count, namelen: header.name.utf8.count,
                    valuelen: header.value.utf8.count, flags: UInt8(NGHTTP2_NV_FLAG_NONE.rawValue))
                at += header.name.utf8.count + header.value.utf8.count
                return field
            }
            return fields.withUnsafeBufferPointer { body($0.baseAddress, $0.count) }
        }
    }
}

/// malloc with an account: what one session of libnghttp2 may hold. Beyond it the library gets no memory and ends the
/// connection, as it does when there is none.
final class BoundedAllocator {
    private let limit: Int
    private(set) var used = 0

    init(limit: Int) { self.limit = limit }

    /// Valid while this object lives.
    var table: nghttp2_mem {
        nghttp2_mem(
            mem_user_data: Unmanaged.passUnretained(self).toOpaque(),
            malloc: { size, context in BoundedAllocator.from(context)?.resize(nil, size) },
            free: { pointer, context in BoundedAllocator.from(context)?.release(pointer) },
            calloc: { count, size, context in
                let (bytes, overflow) = count.multipliedReportingOverflow(by: size)
                guard !overflow, let pointer = BoundedAllocator.from(context)?.resize(nil, bytes) else { return nil }
                memset(pointer, 0, bytes)
                return pointer
            },
            realloc: { pointer, size, context in BoundedAllocator.from(context)?.resize(pointer, size) })
    }

    private static func from(_ context: UnsafeMutableRawPointer?) -> BoundedAllocator? {
        context.map { Unmanaged<BoundedAllocator>.fromOpaque($0).takeUnretainedValue() }
    }

    private func resize(_ pointer: UnsafeMutableRawPointer?, _ size: Int) -> UnsafeMutableRawPointer? {
        let old = pointer.map { malloc_usable_size($0) } ?? 0
        guard used - old + size <= limit, let new = realloc(pointer, max(1, size)) else { return nil }
        used += malloc_usable_size(new) - old
        return new
    }

    private func release(_ pointer: UnsafeMutableRawPointer?) {
        guard let pointer else { return }
        used -= malloc_usable_size(pointer)
        free(pointer)
    }
}
