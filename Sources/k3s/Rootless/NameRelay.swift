import ClusterDNS
import Linux
import Netlink
import Synchronization

/// Leads to one name server of the host: an address of the node, port 53, UDP and TCP.
final class NameRelay: Sendable {
    private struct Query {
        var socket: Int32
        var token: Reactor.Token
        var client: SocketAddress
        var deadline: Int64
    }
    private struct State {
        var queries: [UInt64: Query] = [:]
        var next: UInt64 = 0
        var isSweeping = false
    }
    /// Queries without an answer at a time; more are dropped.
    private static let limit = 512
    private static let patience: Int64 = 10_000_000_000

    private let sockets: HostSockets
    private let server: Upstream
    private let reactor: Reactor
    private let state = Mutex(State())
    private let datagrams: Int32
    private let connections: SocketListener

    /// Lives as long as the process.
    init(_ sockets: HostSockets, address: IPAddress, to server: Upstream, reactor: Reactor = .shared) throws(SysError) {
        (self.sockets, self.server, self.reactor) = (sockets, server, reactor)
        let listening = try InternetSocket.make(.ipv4, stream: true)
        try InternetSocket.bind(listening, address, port: 53)
        connections = try SocketListener(listening, reactor: reactor) { client in
            do throws(SysError) {
                let upstream = try sockets.make(server.address.isIPv4 ? AF_INET : AF_INET6, stream: true)
                try InternetSocket.connect(upstream, server.address, port: server.port)
                SocketRelay.start(client, connecting: upstream, reactor: reactor)
            } catch {}
        }
        let socket = try InternetSocket.make(.ipv4, stream: false)
        try InternetSocket.bind(socket, address, port: 53, backlog: nil)
        datagrams = socket.take()
        _ = try reactor.add(datagrams, events: EPOLLIN.rawValue, level: true) { [self] _ in asked() }
    }

    private func asked() {
        for _ in 0..<16 {
            var client = SocketAddress()
            let (fd, bytes) = (datagrams, Self.receive(datagrams, from: &client))
            guard let bytes else { return }
            _ = fd
            forward(bytes, client)
        }
    }

    private static func receive(_ fd: Int32, from sender: inout SocketAddress) -> [UInt8]? {
        var failed = false
        let bytes = [UInt8](unsafeUninitializedCapacity: 4096) { buffer, count in
            let got = sender.withMutable { recvfrom(fd, buffer.baseAddress, buffer.count, 0, $0, $1) }
            failed = got < 0
            count = max(0, got)
        }
        return failed ? nil : bytes
    }

    private func forward(_ query: [UInt8], _ client: SocketAddress) {
        guard state.withLock({ $0.queries.count < Self.limit }),
            let socket = try? sockets.make(server.address.isIPv4 ? AF_INET : AF_INET6, stream: false).take()
        else { return }
        let place = SocketAddress(server.address, port: server.port)
        guard place.with({ connect(socket, $0, $1) }) == 0,
            query.withUnsafeBytes({ send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }) == query.count
        else {
            close(socket)
            return
        }
        let sweeps = state.withLock { state -> Bool in
            let number = state.next
            state.next += 1
            guard
                let token = try? reactor.add(
                    socket, events: EPOLLIN.rawValue, level: true, { [self] _ in answered(number) })
            else {
                close(socket)
                return false
            }
            state.queries[number] = Query(
                socket: socket, token: token, client: client, deadline: MonotonicClock.now() + Self.patience)
            defer { state.isSweeping = true }
            return !state.isSweeping
        }
        if sweeps { sweep() }
    }

    private func answered(_ number: UInt64) {
        guard let query = state.withLock({ $0.queries.removeValue(forKey: number) }) else { return }
        var sender = SocketAddress()
        if let answer = Self.receive(query.socket, from: &sender) {
            _ = query.client.with { address, size in
                answer.withUnsafeBytes { sendto(datagrams, $0.baseAddress, $0.count, 0, address, size) }
            }
        }
        end(query)
    }

    private func end(_ query: Query) {
        reactor.remove(query.token, query.socket)
        close(query.socket)
    }

    private func sweep() {
        Task { [self] in
            while true {
                try? await Task.sleep(nanoseconds: UInt64(Self.patience))
                let now = MonotonicClock.now()
                let (late, isDone) = state.withLock { state in
                    let late = state.queries.filter { $0.value.deadline <= now }
                    for number in late.keys { state.queries[number] = nil }
                    if state.queries.isEmpty { state.isSweeping = false }
                    return (Array(late.values), state.queries.isEmpty)
                }
                for query in late { end(query) }
                if isDone { return }
            }
        }
    }
}
