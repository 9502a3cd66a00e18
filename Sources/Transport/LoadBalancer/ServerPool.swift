/// The servers of a load balancer and which of them is the next to be dialed: a value without IO.
///
/// There is one server that all connections go to until it fails (not a round: a server's caches are warm, and what a
/// client reads from one server never goes back in time). Source of the states and their order: k3s's
/// pkg/agent/loadbalancer.
package struct ServerPool: Sendable {
    /// Low to high: the highest is dialed first.
    package enum State: Int, Sendable, Comparable {
        /// Not in the list any more.
        case invalid
        case failed
        /// The server that the agent was given, when the list does not have it: the last resort.
        case standby
        case unchecked
        /// Works again, since its last check.
        case recovering
        case healthy
        /// Has just recovered: to be tried before the others.
        case preferred
        /// The one that connections go to.
        case active

        package static func < (a: State, b: State) -> Bool { a.rawValue < b.rawValue }
    }

    package enum Reason: Sendable {
        case dial, healthCheck
    }

    package struct Server: Sendable, Equatable {
        /// `host:port`
        package let address: String
        package fileprivate(set) var state: State
        /// Seconds, of when the state was entered.
        package fileprivate(set) var since: Int64
        package fileprivate(set) var connections = 0
    }

    /// The server that the agent was given; never forgotten.
    package let defaultServer: String
    /// In the order in which they are dialed.
    package private(set) var servers: [Server]

    /// A preferred server that nobody dialed for so long is one among others.
    private static let preference: Int64 = 60

    package init(defaultServer: String, now: Int64) {
        self.defaultServer = defaultServer
        servers = [Server(address: defaultServer, state: .unchecked, since: now)]
    }

    package var addresses: [String] { servers.filter { $0.state != .invalid && $0.state != .standby }.map(\.address) }

    package subscript(_ address: String) -> Server? { servers.first { $0.address == address } }

    // MARK: - Changes; each returns the servers whose connections are to be closed.

    /// The servers there are. An empty list says nothing: it is what a server has that has just started.
    package mutating func set(_ addresses: [String], now: Int64) -> [String] {
        guard !addresses.isEmpty else { return [] }
        var closing: [String] = []
        for index in servers.indices where !addresses.contains(servers[index].address) {
            let isDefault = servers[index].address == defaultServer
            move(index, to: isDefault ? .standby : .invalid, now)
            closing.append(servers[index].address)
        }
        for address in addresses {
            if let index = servers.firstIndex(where: { $0.address == address }) {
                if servers[index].state == .standby || servers[index].state == .invalid {
                    move(index, to: .unchecked, now)
                }
            } else {
                servers.append(Server(address: address, state: .unchecked, since: now))
            }
        }
        forget()
        sort()
        // A default server that carries everything keeps it until another one does.
        return closing.filter { self[$0]?.state != .standby }
    }

    package mutating func succeeded(_ address: String, _ reason: Reason, now: Int64) -> [String] {
        guard let index = servers.firstIndex(where: { $0.address == address }) else { return [] }
        let server = servers[index]
        var next = server.state
        switch (server.state, reason) {
        case (.failed, _), (.unchecked, _): next = .recovering
        // One that was dialed while it recovered carries connections already.
        case (.recovering, .healthCheck): next = server.connections > 0 ? .active : .preferred
        case (.healthy, .dial), (.preferred, .dial): next = .active
        case (.preferred, .healthCheck): if now - server.since > Self.preference { next = .healthy }
        default: break
        }
        guard next != server.state else { return [] }
        let closing = next == .active ? activate(index, now) : []
        if next != .active { move(index, to: next, now) }
        sort()
        return closing
    }

    package mutating func failed(_ address: String, _ reason: Reason, now: Int64) -> [String] {
        guard let index = servers.firstIndex(where: { $0.address == address }) else { return [] }
        switch (servers[index].state, reason) {
        // Checks may go on failing where dialing works: only a dial takes it down.
        case (.unchecked, .dial), (.recovering, .dial):
            move(index, to: .failed, now)
            sort()
            return []
        case (.healthy, _), (.preferred, _), (.active, _):
            move(index, to: .failed, now)
            sort()
            return [address]
        default: return []
        }
    }

    package mutating func opened(_ address: String) {
        if let index = servers.firstIndex(where: { $0.address == address }) { servers[index].connections += 1 }
    }

    package mutating func closed(_ address: String) {
        guard let index = servers.firstIndex(where: { $0.address == address }) else { return }
        servers[index].connections = max(0, servers[index].connections - 1)
        forget()
    }

    // MARK: -

    /// Connections to the others are closed, so that the clients come over.
    private mutating func activate(_ index: Int, _ now: Int64) -> [String] {
        if let other = servers.indices.first(where: { $0 != index && servers[$0].state == .active }) {
            if servers[other].connections > servers[index].connections {
                move(index, to: .preferred, now)
                return [servers[index].address]
            }
            move(other, to: .preferred, now)
        }
        move(index, to: .active, now)
        return servers.indices.filter { $0 != index && servers[$0].connections > 0 }.map { servers[$0].address }
    }

    private mutating func move(_ index: Int, to state: State, _ now: Int64) {
        guard servers[index].state != state else { return }
        servers[index].state = state
        servers[index].since = now
    }

    private mutating func forget() { servers.removeAll { $0.state == .invalid && $0.connections == 0 } }

    private mutating func sort() {
        // Stable, so that equals keep their order.
        let sorted = servers.enumerated().sorted { a, b in
            (b.element.state, a.offset) < (a.element.state, b.offset)
        }
        servers = sorted.map(\.element)
    }
}
