import Linux
import Netlink
import Synchronization

/// The cluster's name server in this process: UDP and TCP on the shared reactor, no thread of its own.
///
///     let server = DNSServer(zone: zone, resolvConf: "/etc/resolv.conf")
///     try server.listen(on: address, port: 53)
///     server.update { $0.zone.set(service) }
///
/// Answers what `Resolver` knows at once; asks other servers with a socket, a port and an id of their own for each
/// question, one after the other, and gives one answer to all who wait for the same. Bounds: `Limits`.
package final class DNSServer: Sendable {
    package struct Limits: Sendable {
        /// Questions that wait for other servers; more are answered SERVFAIL.
        package var pending = 512
        /// Clients that wait for one such question.
        package var waiters = 256
        package var connections = 128
        /// A TCP client that does not read its answers is left after that many bytes.
        package var unsentBytes = 256 << 10
        package var idleNanoseconds: Int64 = 10_000_000_000
        /// After which the next server is asked, and after which all is given up.
        package var attemptNanoseconds: Int64 = 1_000_000_000
        package var totalNanoseconds: Int64 = 5_000_000_000
        /// How long a server that did not answer twice is asked last.
        package var downNanoseconds: Int64 = 5_000_000_000
        package var maximumTTL: UInt32 = 30
        package init() {}
    }

    enum Client: Sendable {
        case datagram(Int32, SocketAddress)
        case stream(UInt64)
    }

    struct Listener: Sendable {
        var fd: Int32
        var token: Reactor.Token
    }

    struct State: Sendable {
        var resolver: Resolver
        var prepared = PreparedAnswers()
        var pending: [CacheKey: Pending] = [:]
        var attempts: [UInt64: Attempt] = [:]
        var connections: [UInt64: Connection] = [:]
        var listeners: [Listener] = []
        var addresses: [IPAddress] = []
        var health: [Upstream: Health] = [:]
        var next: UInt64 = 1
        var counters = DNSCounters()
        var timer: Listener?
        var isTicking = false
        var isStopped = false
        var resolvConf: ResolvConfSource?
    }

    let limits: Limits
    let reactor: Reactor
    let state: Mutex<State>

    /// - Parameter resolvConf: the file with the servers for names outside the cluster, read again when it changes; nil:
    ///   what `update` sets.
    package init(zone: ClusterZone, resolvConf: String?, limits: Limits = Limits(), reactor: Reactor = .shared) {
        (self.limits, self.reactor) = (limits, reactor)
        var state = State(resolver: Resolver(zone: zone))
        state.resolvConf = resolvConf.map { ResolvConfSource(path: $0) }
        self.state = Mutex(state)
    }

    deinit { stop() }

    /// Changes names, hosts or configuration; the closure must be short.
    package func update<R: Sendable>(_ body: (inout Resolver) -> R) -> R {
        state.withLock { state in
            state.prepared.removeAll()
            return body(&state.resolver)
        }
    }

    // MARK: listening

    /// Serves UDP and TCP on an address, which may come to the machine later. Returns the port (for port 0).
    @discardableResult
    package func listen(on address: IPAddress, port: UInt16) throws(SysError) -> UInt16 {
        let stream = try DNSSocket.listening(.stream, address, port: port)
        var bound = SocketAddress()
        let fd = stream.raw
        let result = bound.withMutable { getsockname(fd, $0, $1) }
        if result != 0 { throw SysError(errno, "getsockname") }
        let actual = withUnsafeBytes(of: bound.storage) { UInt16($0[2]) << 8 | UInt16($0[3]) }
        let datagram = try DNSSocket.listening(.datagram, address, port: actual)
        try add(stream.take()) { server, fd in server.acceptConnections(fd) }
        let batch = DatagramBatch()
        try add(datagram.take(), level: true) { server, fd in server.receiveDatagrams(fd, batch) }
        state.withLock { $0.addresses.append(address) }
        return actual
    }

    private func add(
        _ fd: Int32, level: Bool = false, _ handler: @escaping @Sendable (DNSServer, Int32) -> Void
    ) throws(SysError) {
        do throws(SysError) {
            let token = try reactor.add(fd, events: EPOLLIN.rawValue, level: level) { [weak self] _ in
                if let self { handler(self, fd) }
            }
            state.withLock { $0.listeners.append(Listener(fd: fd, token: token)) }
        } catch {
            close(fd)
            throw error
        }
    }

    /// Ends everything; questions that wait get no answer.
    package func stop() {
        let (listeners, attempts, connections) = state.withLock { state in
            defer {
                (state.listeners, state.attempts, state.connections) = ([], [:], [:])
                (state.pending, state.isStopped, state.timer) = ([:], true, nil)
            }
            return (
                state.listeners + (state.timer.map { [$0] } ?? []), Array(state.attempts.values),
                Array(state.connections.values)
            )
        }
        for listener in listeners { release(listener.fd, listener.token) }
        for attempt in attempts { release(attempt.fd, attempt.token) }
        for connection in connections { release(connection.fd, connection.token) }
    }

    func release(_ fd: Int32, _ token: Reactor.Token) {
        reactor.remove(token, fd)
        close(fd)
    }

    // MARK: datagrams

    private func receiveDatagrams(_ fd: Int32, _ batch: DatagramBatch) {
        // Then others of the reactor have their turn; what is left makes it ready again.
        for _ in 0..<8 {
            let goesOn = state.withLock { state -> Bool in
                // Under the lock, as all use of descriptors: after `stop` the number may be somebody else's.
                guard !state.isStopped else { return false }
                let count = batch.receive(fd)
                let now = count > 0 ? MonotonicClock.now() : 0
                for index in 0..<count {
                    guard let message = batch.message(index) else { continue }
                    let isKnown: Void? = state.prepared.find(message) { entry in
                        state.counters.count(entry.type, isDatagram: true)
                        state.counters.count(entry.code)
                        batch.answer(index, entry.answer, id: message)
                    }
                    if isKnown == nil { answer(message, .datagram(fd, batch.client(index)), &state, now, batch, index) }
                }
                batch.send(fd)
                if batch.answered > 0 {
                    state.counters.durations.add(MonotonicClock.now() - now, times: batch.answered)
                }
                return count == DatagramBatch.size
            }
            if !goesOn { return }
        }
    }

    /// One message of a client, with the state's lock held.
    /// - Parameter batch: what the answer to a datagram goes with, and the datagram's place there.
    func answer(
        _ message: UnsafeRawBufferPointer, _ client: Client, _ state: inout State, _ now: Int64,
        _ batch: DatagramBatch? = nil, _ place: Int = 0
    ) {
        func give(_ bytes: [UInt8]) {
            if let batch { batch.answer(place, bytes, id: message) } else { send(bytes, to: client, &state) }
        }
        let isDatagram = if case .datagram = client { true } else { false }
        switch DNSQuery.parse(message) {
        case .drop: state.counters.dropped += 1
        case .refusal(let bytes, let code):
            state.counters.count(DNSType(0), isDatagram: isDatagram)
            state.counters.count(code)
            give(bytes)
        case .query(let query):
            state.counters.count(query.type, isDatagram: isDatagram)
            let limit = isDatagram ? query.datagramLimit : 65_535
            switch state.resolver.step(query, limit: limit, now: now) {
            case .reply(let bytes, let code, let isStable):
                state.counters.count(code)
                give(bytes)
                if batch == nil { state.counters.durations.add(MonotonicClock.now() - now) }
                if isStable, isDatagram { state.prepared.keep(message, bytes, query.type, code) }
            case .forward(let key, let waiter): forward(key, waiter, client, &state, now)
            }
        }
    }

    /// With the state's lock held. A datagram that the kernel does not take is lost, as datagrams are.
    func send(_ bytes: [UInt8], to client: Client, _ state: inout State) {
        switch client {
        case .datagram(let fd, let address):
            _ = bytes.withUnsafeBytes { buffer in
                address.with { sendto(fd, buffer.baseAddress, buffer.count, Int32(MSG_NOSIGNAL), $0, $1) }
            }
        case .stream(let number): reply(bytes, on: number, &state)
        }
    }

    // MARK: time

    /// Runs only while something waits: nothing wakes an idle server.
    func startTicking(_ state: inout State) {
        guard !state.isTicking, !state.isStopped else { return }
        if state.timer == nil {
            // Not a task: the reactor's thread is never kept waiting.
            let fd = timerfd_create(CLOCK_MONOTONIC, Int32(TFD_CLOEXEC) | Int32(TFD_NONBLOCK))
            guard fd >= 0 else { return }
            guard
                let token = try? reactor.add(
                    fd, events: EPOLLIN.rawValue, level: true, { [weak self] _ in self?.tick(fd) })
            else {
                close(fd)
                return
            }
            state.timer = Listener(fd: fd, token: token)
        }
        setTimer(&state, running: true)
    }

    private func setTimer(_ state: inout State, running: Bool) {
        guard let fd = state.timer?.fd else { return }
        let interval = timespec(tv_sec: 0, tv_nsec: running ? 100_000_000 : 0)
        var setting = itimerspec(it_interval: interval, it_value: interval)
        state.isTicking = running && timerfd_settime(fd, 0, &setting, nil) == 0
        if !running { timerfd_settime(fd, 0, &setting, nil) }
    }

    private func tick(_ fd: Int32) {
        let now = MonotonicClock.now()
        state.withLock { state in
            guard !state.isStopped else { return }
            var count: UInt64 = 0
            _ = read(fd, &count, 8)
            expirePending(&state, now)
            expireConnections(&state, now)
            if state.pending.isEmpty, state.connections.isEmpty { setTimer(&state, running: false) }
        }
    }
}
