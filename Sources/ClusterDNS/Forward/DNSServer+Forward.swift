import Linux
import Netlink
import Synchronization

extension DNSServer {
    /// A question that other servers are asked, and who waits for it.
    struct Pending: Sendable {
        var waiters: [(waiter: Resolver.Waiter, client: Client)]
        /// In the order in which they are asked.
        var servers: [Upstream]
        var asked = 0
        var deadline: Int64
        /// When the next server is asked.
        var nextAt: Int64
        /// The answer of a server that could not help: better than none.
        var last: StoredAnswer?
    }

    /// One question to one server.
    struct Attempt: Sendable {
        var key: CacheKey
        var server: Upstream
        var id: UInt16
        var fd: Int32
        var token: Reactor.Token
        var isStream: Bool
        var output: [UInt8] = []
        var input: [UInt8] = []
    }

    struct Health: Sendable {
        var failures = 0
        var downUntil: Int64 = 0
    }

    // All with the state's lock held.

    func forward(
        _ key: CacheKey, _ waiter: Resolver.Waiter, _ client: Client, _ state: inout State, _ now: Int64
    ) {
        state.counters.cacheMisses += 1
        if let waiting = state.pending[key]?.waiters.count {
            if waiting < limits.waiters {
                state.pending[key]?.waiters.append((waiter, client))
            } else {
                fail(waiter, client, &state)
            }
            return
        }
        reloadResolvConf(&state, now)
        let group = key.group < state.resolver.groups.count ? state.resolver.groups[key.group] : []
        guard !group.isEmpty, state.pending.count < limits.pending else {
            if !group.isEmpty { state.counters.rejected += 1 }
            fail(waiter, client, &state)
            return
        }
        // Those that answered last, in the file's order; then the others.
        let health = state.health
        func isDown(_ server: Upstream) -> Bool { health[server].map { now < $0.downUntil } ?? false }
        var servers = group.filter { !isDown($0) } + group.filter(isDown)
        // A single server gets a second chance: datagrams get lost.
        if servers.count == 1 { servers.append(servers[0]) }
        state.pending[key] = Pending(
            waiters: [(waiter, client)], servers: servers, deadline: now + limits.totalNanoseconds,
            nextAt: now + limits.attemptNanoseconds)
        startTicking(&state)
        askNext(key, &state, now)
    }

    private func fail(_ waiter: Resolver.Waiter, _ client: Client, _ state: inout State) {
        guard case .reply(let bytes, let code, _) = state.resolver.refuse(waiter.query, .serverFailure, waiter.limit)
        else { return }
        state.counters.count(code)
        send(bytes, to: client, &state)
    }

    private func reloadResolvConf(_ state: inout State, _ now: Int64) {
        guard let list = state.resolvConf?.changed(now) else { return }
        // Our own address in the file would be asked for ever.
        let own = state.addresses
        state.resolver.setUpstreams(list.filter { !own.contains($0.address) })
    }

    /// Asks servers until one takes the question; gives up when there is none left and nobody is asked.
    private func askNext(_ key: CacheKey, _ state: inout State, _ now: Int64) {
        while let pending = state.pending[key] {
            guard pending.asked < pending.servers.count else {
                if !state.attempts.values.contains(where: { $0.key == key }) {
                    complete(key, pending.last, &state, now)
                }
                return
            }
            let server = pending.servers[pending.asked]
            state.pending[key]?.asked += 1
            state.pending[key]?.nextAt = now + limits.attemptNanoseconds
            if start(key, server, .datagram, &state) { return }
            noteFailure(server, &state, now)
        }
    }

    private func start(_ key: CacheKey, _ server: Upstream, _ kind: DNSSocket.Kind, _ state: inout State) -> Bool {
        let id = UInt16.random(in: .min ... .max)
        var message = DNSQuery.encode(
            id: id, name: key.name, type: key.type, wantsDNSSEC: key.wantsDNSSEC,
            disablesChecking: key.disablesChecking)
        let fd: Int32
        do throws(SysError) { fd = try DNSSocket.connecting(kind, to: server).take() } catch { return false }
        state.counters.forwards += 1
        if kind == .stream {
            message = [UInt8(message.count >> 8), UInt8(message.count & 0xff)] + message
        } else if DNSSocket.transmit(fd, message) < 0 {
            close(fd)
            return false
        }
        let number = state.next
        state.next += 1
        let events = kind == .stream ? EPOLLIN.rawValue | EPOLLOUT.rawValue : EPOLLIN.rawValue
        guard
            let token = try? reactor.add(
                fd, events: events, level: true, { [weak self] in self?.attemptReady(number, $0) })
        else {
            close(fd)
            return false
        }
        state.attempts[number] = Attempt(
            key: key, server: server, id: id, fd: fd, token: token, isStream: kind == .stream,
            output: kind == .stream ? message : [])
        return true
    }

    private func attemptReady(_ number: UInt64, _ events: UInt32) {
        let now = MonotonicClock.now()
        state.withLock { state in
            guard let attempt = state.attempts[number] else { return }
            if attempt.isStream, events & EPOLLOUT.rawValue != 0, !attempt.output.isEmpty {
                let sent = DNSSocket.transmit(attempt.fd, attempt.output)
                if sent < 0, errno != EAGAIN {
                    failed(number, &state, now)
                    return
                }
                state.attempts[number]?.output.removeFirst(max(0, sent))
                if state.attempts[number]?.output.isEmpty == true {
                    try? reactor.modify(attempt.token, attempt.fd, events: EPOLLIN.rawValue, level: true)
                }
            }
            guard events & ~EPOLLOUT.rawValue != 0 else { return }
            var code: Int32 = 0
            let chunk = [UInt8](unsafeUninitializedCapacity: attempt.isStream ? 16 << 10 : 4096) { buffer, count in
                let got = recv(attempt.fd, buffer.baseAddress, buffer.count, 0)
                if got < 0 { code = errno }
                count = max(0, got)
            }
            if code == EAGAIN || code == EINTR { return }
            if code != 0 || chunk.isEmpty && attempt.isStream {
                failed(number, &state, now)
                return
            }
            guard attempt.isStream else {
                received(chunk[...], number, attempt, &state, now)
                return
            }
            let input = attempt.input + chunk
            guard input.count >= 2 else {
                state.attempts[number]?.input = input
                return
            }
            let length = Int(input[0]) << 8 | Int(input[1])
            state.attempts[number]?.input = input
            if input.count >= 2 + length { received(input[2..<2 + length], number, attempt, &state, now) }
        }
    }

    private func received(
        _ bytes: ArraySlice<UInt8>, _ number: UInt64, _ attempt: Attempt, _ state: inout State, _ now: Int64
    ) {
        let result = bytes.withUnsafeBytes { buffer -> Result<StoredAnswer, StoredAnswer.Failure> in
            do throws(StoredAnswer.Failure) {
                return .success(
                    try StoredAnswer(buffer, id: attempt.id, attempt.key, maximumTTL: limits.maximumTTL))
            } catch { return .failure(error) }
        }
        switch result {
        case .failure(.truncated) where !attempt.isStream:
            end(number, &state)
            if !start(attempt.key, attempt.server, .stream, &state) { askNext(attempt.key, &state, now) }
        // Not what was asked: somebody else's, or forged. The right one may still come.
        case .failure where !attempt.isStream: return
        case .failure: failed(number, &state, now)
        case .success(var answer):
            answer.storedAt = now
            end(number, &state)
            state.health[attempt.server] = nil
            let helpless = [2, 4, 5].contains(answer.code)
            if helpless, let pending = state.pending[attempt.key], pending.asked < Set(pending.servers).count {
                state.pending[attempt.key]?.last = answer
                askNext(attempt.key, &state, now)
            } else {
                complete(attempt.key, answer, &state, now)
            }
        }
    }

    private func end(_ number: UInt64, _ state: inout State) {
        guard let attempt = state.attempts.removeValue(forKey: number) else { return }
        release(attempt.fd, attempt.token)
    }

    private func failed(_ number: UInt64, _ state: inout State, _ now: Int64) {
        guard let attempt = state.attempts[number] else { return }
        end(number, &state)
        noteFailure(attempt.server, &state, now)
        askNext(attempt.key, &state, now)
    }

    private func noteFailure(_ server: Upstream, _ state: inout State, _ now: Int64) {
        state.counters.forwardFailures += 1
        if state.health.count > 256 { state.health = [:] }
        var health = state.health[server] ?? Health()
        health.failures += 1
        if health.failures >= 2 { health.downUntil = now + limits.downNanoseconds }
        state.health[server] = health
    }

    private func complete(_ key: CacheKey, _ answer: StoredAnswer?, _ state: inout State, _ now: Int64) {
        guard let pending = state.pending.removeValue(forKey: key) else { return }
        for (number, attempt) in state.attempts where attempt.key == key { end(number, &state) }
        // The first of those who wait has waited longest.
        let asked = pending.deadline - limits.totalNanoseconds
        state.counters.durations.add(now - asked, times: pending.waiters.count)
        guard let answer else {
            for (waiter, client) in pending.waiters { fail(waiter, client, &state) }
            return
        }
        state.resolver.cache.insert(key, answer, now: now)
        for (waiter, client) in pending.waiters {
            let bytes = state.resolver.reply(to: waiter, key, answer, now)
            state.counters.count(DNSCode(rawValue: answer.code) ?? .noError)
            send(bytes, to: client, &state)
        }
    }

    func expirePending(_ state: inout State, _ now: Int64) {
        for (key, pending) in state.pending {
            if now >= pending.deadline {
                for attempt in state.attempts.values where attempt.key == key {
                    noteFailure(attempt.server, &state, now)
                }
                complete(key, pending.last, &state, now)
            } else if now >= pending.nextAt, pending.asked < pending.servers.count {
                // Late answers of those asked before are still taken.
                for attempt in state.attempts.values where attempt.key == key && !attempt.isStream {
                    noteFailure(attempt.server, &state, now)
                }
                askNext(key, &state, now)
            }
        }
    }
}

/// The servers of a resolv.conf; looks whether the file changed at most every five seconds, and only when asked.
struct ResolvConfSource: Sendable {
    let path: String
    private var checkedAt: Int64?
    private var seen: [Int64] = []

    init(path: String) { self.path = path }

    /// nil: as before.
    mutating func changed(_ now: Int64) -> [Upstream]? {
        if let checkedAt, now - checkedAt < 5_000_000_000 { return nil }
        checkedAt = now
        var status = stat()
        guard stat(path, &status) == 0 else {
            defer { seen = [] }
            return seen.isEmpty ? nil : []
        }
        let mark = [
            Int64(status.st_mtim.tv_sec), Int64(status.st_mtim.tv_nsec), Int64(status.st_size),
            Int64(truncatingIfNeeded: status.st_ino),
        ]
        guard mark != seen, let bytes = try? Files.read(path, limit: 64 << 10) else { return nil }
        seen = mark
        return Upstream.resolvConf(String(decoding: bytes, as: UTF8.self))
    }
}
