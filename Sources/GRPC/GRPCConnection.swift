import CNghttp2
import Linux
import Synchronization

/// One connection with its streams: the driver between a socket and `HTTP2Session`. `run` reads; a second task, which
/// lives as long, writes what the session has to say. Everything that changes does so under one lock.
final class GRPCConnection: Sendable {
    /// The largest message taken (grpc's own default is a quarter of it; CRI's clients ask for 16 MiB).
    static let messageLimit = 16 << 20
    /// Bytes of a stream that wait for the socket before its writer has to wait.
    static let writeBuffer = 64 << 10
    /// All half received and unread messages of a connection together.
    static let receiveLimit = 48 << 20

    private struct State {
        var streams: [Int32: GRPCStream] = [:]
        var buffered = 0
        var closed = false
        /// No new streams: the peer said so, or there are no numbers left.
        var refusing = false
        var wake: AsyncStream<Void>.Continuation?
    }

    private let io: AsyncFD
    private let session: HTTP2Session
    private let state: Mutex<State>
    private let wakes: AsyncStream<Void>
    /// A server's answer to a new stream; nil for a client.
    private let accept: (@Sendable (GRPCStream) -> Void)?

    init(_ io: AsyncFD, accept: (@Sendable (GRPCStream) -> Void)?) {
        self.io = io
        self.accept = accept
        session = HTTP2Session(server: accept != nil)
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        wakes = stream
        var initial = State()
        initial.wake = continuation
        state = Mutex(initial)
        continuation.yield()
    }

    var isUsable: Bool { state.withLock { !$0.closed && !$0.refusing } }
    var streamCount: Int { state.withLock { $0.streams.count } }

    /// Until the connection ends, for whatever reason; its streams have ended then, too.
    func run() async {
        let writer = Task { await write() }
        var reason = GRPCStatus(.unavailable, "error reading from server: EOF")
        do {
            while let bytes = try await io.read(limit: 64 << 10) {
                let events = try state.withLock { state throws(GRPCStatus) in
                    let events = try session.receive(bytes)
                    return apply(events, &state)
                }
                wake()
                events.run()
                if state.withLock({ state in state.refusing && session.isOver }) { break }
            }
        } catch let error as GRPCStatus {
            reason = error
        } catch { reason = GRPCStatus(.unavailable, "connection error: \(error)") }
        close(reason)
        writer.cancel()
    }

    func close(_ reason: GRPCStatus) {
        var after = Afterwards()
        state.withLock { state in
            guard !state.closed else { return }
            state.closed = true
            for stream in state.streams.values { fail(stream, reason, &after) }
            state.streams = [:]
            state.wake?.finish()
            state.wake = nil
        }
        io.close()
        after.run()
    }

    private func wake() { _ = state.withLock { $0.wake?.yield() } }

    private func write() async {
        for await _ in wakes {
            while true {
                let (bytes, after) = state.withLock { state -> ([UInt8], Afterwards) in
                    let bytes = session.output()
                    var after = apply(session.takeEvents(), &state)
                    for stream in state.streams.values
                    where stream.writer != nil && session.waiting(stream.number) < Self.writeBuffer {
                        after.add(stream.takeWriter())
                    }
                    return (bytes, after)
                }
                after.run()
                if bytes.isEmpty { break }
                do { try await io.write(bytes) } catch {
                    close(GRPCStatus(.unavailable, "connection error: \(error)"))
                    return
                }
            }
        }
    }

    // MARK: - Events

    /// What has to be done when the lock is free again.
    struct Afterwards {
        private var waiters: [GRPCWaiter] = []
        private var calls: [() -> Void] = []
        mutating func add(_ waiter: GRPCWaiter?) { if let waiter { waiters.append(waiter) } }
        mutating func add(_ list: [GRPCWaiter]) { waiters += list }
        mutating func call(_ body: @escaping () -> Void) { calls.append(body) }
        func run() {
            for call in calls { call() }
            for waiter in waiters { waiter.resume() }
        }
    }

    private func apply(_ events: [HTTP2Session.Event], _ state: inout State) -> Afterwards {
        var after = Afterwards()
        for event in events {
            switch event {
            case .headers(let number, let fields, let end):
                if let stream = state.streams[number] {
                    after.add(stream.headersArrived(fields, end: end))
                } else if let accept, fields.value(":path") != nil {
                    let stream = GRPCStream(number, self, request: fields, ended: end)
                    state.streams[number] = stream
                    after.call { accept(stream) }
                }
            case .data(let number, let bytes):
                guard let stream = state.streams[number], !stream.isClosed else {
                    session.consumed(number, bytes.count)
                    continue
                }
                state.buffered += bytes.count
                let (waiter, taken) = stream.dataArrived(bytes)
                after.add(waiter)
                if taken > 0 { session.consumed(number, taken) }
                if let refusal = stream.refusal ?? (state.buffered > Self.receiveLimit ? Self.tooMuch : nil) {
                    end(stream, refusal)
                    fail(stream, refusal, &after)
                }
            case .end(let number): if let stream = state.streams[number] { after.add(stream.remoteEnded()) }
            case .closed(let number, let error):
                guard let stream = state.streams.removeValue(forKey: number) else { continue }
                state.buffered -= stream.held
                stream.isClosed = true
                after.add(stream.closed(error))
                if let cancel = stream.takeCancel() { after.call(cancel) }
            case .goaway: state.refusing = true
            }
        }
        return after
    }

    private static let tooMuch = GRPCStatus(.resourceExhausted, "grpc: too many bytes of messages on one connection")

    /// Ends a stream that cannot go on: with a status where we are the server, else by a reset.
    private func end(_ stream: GRPCStream, _ status: GRPCStatus) {
        if accept == nil {
            session.reset(stream.number, NGHTTP2_CANCEL)
        } else if stream.answered {
            session.finish(stream.number, trailers: status.trailers)
        } else {
            stream.answered = true
            session.respondOnly(stream.number, GRPCStream.answer + status.trailers)
        }
    }

    // MARK: - For streams

    func open(_ headers: [GRPCHeader]) -> GRPCStream? {
        defer { wake() }
        return state.withLock { state in
            guard !state.closed, !state.refusing else { return nil }
            guard let number = session.request(headers) else {
                state.refusing = true
                return nil
            }
            let stream = GRPCStream(number, self, request: headers, ended: false)
            stream.answered = true
            state.streams[number] = stream
            return stream
        }
    }

    /// The next message, nil at the end, or whom to wait for.
    enum Next {
        case message([UInt8])
        case end(GRPCStatus?)
        case wait(GRPCWaiter)
    }

    func next(_ stream: GRPCStream) -> Next {
        defer { wake() }
        return state.withLock { state in
            if let (message, consumed) = stream.takeMessage() {
                state.buffered -= message.count + 5
                if consumed > 0, !stream.isClosed { session.consumed(stream.number, consumed) }
                return .message(message)
            }
            if stream.isEnded { return .end(stream.status) }
            let waiter = GRPCWaiter()
            stream.reader = waiter
            return .wait(waiter)
        }
    }

    /// Takes the message; whom to wait for before the next one.
    func send(_ stream: GRPCStream, _ message: [UInt8]) throws(GRPCStatus) -> GRPCWaiter? {
        defer { wake() }
        return try state.withLock { state throws(GRPCStatus) in
            guard !stream.isClosed, !state.closed, !stream.finished else {
                throw stream.status ?? GRPCStatus(.cancelled, "the stream has ended")
            }
            answer(stream)
            let count = UInt32(clamping: message.count)
            let head: [UInt8] = [0] + (0..<4).map { UInt8(truncatingIfNeeded: count >> (24 - 8 * $0)) }
            guard let waiting = session.enqueue(stream.number, [head, message]) else {
                throw stream.status ?? GRPCStatus(.cancelled, "the stream has ended")
            }
            guard waiting >= Self.writeBuffer else { return nil }
            let waiter = GRPCWaiter()
            stream.writer = waiter
            return waiter
        }
    }

    /// Bytes as they are, for tests of what no client of ours would send.
    func sendRaw(_ stream: GRPCStream, _ bytes: [UInt8]) -> Int? {
        defer { wake() }
        return state.withLock { _ in session.enqueue(stream.number, [bytes]) }
    }

    private func answer(_ stream: GRPCStream) {
        guard !stream.answered else { return }
        stream.answered = true
        session.respond(stream.number, GRPCStream.answer)
    }

    /// Says that nothing more comes from us; a server says how it went.
    func finish(_ stream: GRPCStream, _ status: GRPCStatus?) {
        state.withLock { state in
            guard !stream.isClosed, !stream.finished else { return }
            stream.finished = true
            if let status, !stream.answered {
                stream.answered = true
                session.respondOnly(stream.number, GRPCStream.answer + status.trailers)
            } else {
                session.finish(stream.number, trailers: status?.trailers)
            }
        }
        wake()
    }

    func cancel(_ stream: GRPCStream, _ status: GRPCStatus) {
        var after = Afterwards()
        state.withLock { state in
            guard !stream.isClosed else { return }
            session.reset(stream.number, NGHTTP2_CANCEL)
            fail(stream, status, &after)
        }
        after.run()
        wake()
    }

    private func fail(_ stream: GRPCStream, _ status: GRPCStatus, _ after: inout Afterwards) {
        after.add(stream.fail(status))
        if let cancel = stream.takeCancel() { after.call(cancel) }
    }

    /// What is to be done when the peer goes away; at once where it has.
    func onCancel(_ stream: GRPCStream, _ body: @escaping @Sendable () -> Void) {
        let now = state.withLock { _ in
            if stream.isClosed { return true }
            stream.cancelHandler = body
            return false
        }
        if now { body() }
    }
}

/// One suspended task, resumed once, from any thread; resuming early is fine, and so is the task's cancellation.
final class GRPCWaiter: Sendable {
    private enum Phase {
        case new
        case waiting(CheckedContinuation<Void, Never>)
        case over
    }

    private let phase = Mutex(Phase.new)

    func wait() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let now = phase.withLock { phase in
                    if case .over = phase { return true }
                    phase = .waiting(continuation)
                    return false
                }
                if now { continuation.resume() }
            }
        } onCancel: {
            resume()
        }
    }

    func resume() {
        let continuation = phase.withLock { phase -> CheckedContinuation<Void, Never>? in
            defer { phase = .over }
            if case .waiting(let continuation) = phase { return continuation }
            return nil
        }
        continuation?.resume()
    }
}
