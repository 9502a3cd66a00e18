import ClusterDNS
import Linux
import Netlink
import Synchronization

/// Passes datagrams on: each client of a socket gets a socket of its own on the other side, by which the answers come back.
///
/// Runs on the reactor's thread.
final class DatagramRelay: Sendable {
    struct Limits: Sendable {
        /// Clients at a time; datagrams of more are dropped.
        var clients = 1024
        /// Nanoseconds after which a silent client is forgotten.
        var silence: Int64 = 60_000_000_000
        /// A client that has as many answers as it has sent datagrams is forgotten at once.
        var endsWhenAnswered = false
    }
    private struct Flow {
        var fd: Int32
        var token: Reactor.Token
        var client: SocketAddress
        var unanswered = 0
        var lastUse: Int64
    }
    private struct State {
        /// By the client's address and port.
        var flows: [[UInt8]: Flow] = [:]
        var listening: (fd: Int32, token: Reactor.Token)?
        var isSweeping = false
    }
    private let limits: Limits
    private let reactor: Reactor
    /// A connected socket for a new client, the relay's from then on; -1: the client is refused.
    private let connect: @Sendable (IPAddress?) -> Int32
    private let state = Mutex(State())
    /// The largest there are.
    private static let size = 65536

    init(
        _ listening: consuming FileDescriptor, limits: Limits = Limits(), reactor: Reactor = .shared,
        connect: @escaping @Sendable (IPAddress?) -> Int32
    ) throws(SysError) {
        (self.limits, self.reactor, self.connect) = (limits, reactor, connect)
        let fd = listening.take()
        do throws(SysError) {
            let token = try reactor.add(fd, events: EPOLLIN.rawValue, level: true) { [weak self] _ in self?.asked() }
            state.withLock { $0.listening = (fd, token) }
        } catch {
            close(fd)
            throw error
        }
    }

    deinit { stop() }

    func stop() {
        state.withLock { state in
            if let (fd, token) = state.listening {
                reactor.remove(token, fd)
                close(fd)
            }
            state.listening = nil
            for flow in state.flows.values { end(flow) }
            state.flows = [:]
        }
    }

    private func end(_ flow: Flow) {
        reactor.remove(flow.token, flow.fd)
        close(flow.fd)
    }

    private func asked() {
        let sweeps = state.withLock { state -> Bool in
            guard let listening = state.listening?.fd else { return false }
            withUnsafeTemporaryAllocation(byteCount: Self.size, alignment: 16) { buffer in
                // A bounded number, so that other descriptors have their turn.
                for _ in 0..<32 {
                    var client = SocketAddress()
                    let count = client.withMutable { recvfrom(listening, buffer.baseAddress, buffer.count, 0, $0, $1) }
                    if count < 0 { return }
                    let key = client.key
                    if state.flows[key] == nil { open(&state, key, client) }
                    guard let flow = state.flows[key] else { continue }
                    // What the other side has refused before is told now, and lost as datagrams are.
                    send(flow.fd, buffer.baseAddress, count, Int32(MSG_NOSIGNAL))
                    state.flows[key]?.unanswered += 1
                    state.flows[key]?.lastUse = MonotonicClock.now()
                }
            }
            defer { if !state.flows.isEmpty { state.isSweeping = true } }
            return !state.isSweeping && !state.flows.isEmpty
        }
        if sweeps { sweep() }
    }

    private func open(_ state: inout State, _ key: [UInt8], _ client: SocketAddress) {
        guard state.flows.count < limits.clients else { return }
        let fd = connect(client.address)
        guard fd >= 0 else { return }
        guard
            let token = try? reactor.add(
                fd, events: EPOLLIN.rawValue, level: true, { [weak self] _ in self?.answered(key) })
        else {
            close(fd)
            return
        }
        state.flows[key] = Flow(fd: fd, token: token, client: client, lastUse: MonotonicClock.now())
    }

    private func answered(_ key: [UInt8]) {
        state.withLock { state in
            guard let listening = state.listening?.fd, let flow = state.flows[key] else { return }
            withUnsafeTemporaryAllocation(byteCount: Self.size, alignment: 16) { buffer in
                for _ in 0..<32 {
                    let count = recv(flow.fd, buffer.baseAddress, buffer.count, 0)
                    // An error of an earlier datagram (nobody listens) is over when it has been read.
                    if count < 0 { return }
                    _ = flow.client.with { sendto(listening, buffer.baseAddress, count, 0, $0, $1) }
                    state.flows[key]?.unanswered -= 1
                    state.flows[key]?.lastUse = MonotonicClock.now()
                }
            }
            if limits.endsWhenAnswered, let flow = state.flows[key], flow.unanswered <= 0 {
                end(flow)
                state.flows[key] = nil
            }
        }
    }

    /// While there are clients.
    private func sweep() {
        Task { [weak self, limits] in
            while true {
                try? await Task.sleep(nanoseconds: UInt64(limits.silence))
                guard self?.forgetSilent() == true else { return }
            }
        }
    }

    /// Whether clients are left.
    private func forgetSilent() -> Bool {
        state.withLock { state in
            let now = MonotonicClock.now()
            for (key, flow) in state.flows where now - flow.lastUse >= limits.silence {
                end(flow)
                state.flows[key] = nil
            }
            if state.flows.isEmpty { state.isSweeping = false }
            return !state.flows.isEmpty
        }
    }
}

extension SocketAddress {
    /// Family, port and address as bytes.
    fileprivate var key: [UInt8] {
        withUnsafeBytes(of: storage) { Array($0.prefix(min(Int(length), 28))) }
    }

    /// Of IPv4.
    var address: IPAddress? {
        guard Int32(storage.ss_family) == AF_INET else { return nil }
        return withUnsafeBytes(of: storage) { IPAddress(bytes: $0[4..<8]) }
    }
}
