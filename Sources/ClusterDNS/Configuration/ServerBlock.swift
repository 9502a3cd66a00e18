import Netlink

/// A name server to ask.
package struct Upstream: Hashable, Sendable, CustomStringConvertible {
    package var address: IPAddress
    package var port: UInt16
    package init(_ address: IPAddress, port: UInt16 = 53) { (self.address, self.port) = (address, port) }

    /// "192.0.2.1", "192.0.2.1:5353", "[2001:db8::1]:53", with "dns://" in front of any.
    package init?(_ text: some StringProtocol) {
        var rest = text.hasPrefix("dns://") ? String(text.dropFirst(6)) : String(text)
        if let address = IPAddress(rest) {
            self.init(address)
            return
        }
        guard let colon = rest.lastIndex(of: ":"), let port = UInt16(rest[rest.index(after: colon)...]), port > 0
        else { return nil }
        rest = String(rest[..<colon])
        if rest.hasPrefix("["), rest.hasSuffix("]") { rest = String(rest.dropFirst().dropLast()) }
        guard let address = IPAddress(rest) else { return nil }
        self.init(address, port: port)
    }

    package var description: String { address.isIPv4 ? "\(address):\(port)" : "[\(address)]:\(port)" }

    /// The `nameserver` lines of a resolv.conf.
    package static func resolvConf(_ text: String) -> [Upstream] {
        var list: [Upstream] = []
        for line in text.split(whereSeparator: \.isNewline) {
            let words = line.split(whereSeparator: \.isWhitespace)
            // Link-local servers carry a zone ("fe80::1%eth0"), which has no meaning but on that link.
            guard words.count >= 2, words[0] == "nameserver", let address = IPAddress(words[1]) else { continue }
            let server = Upstream(address)
            if !list.contains(server), list.count < 15 { list.append(server) }
        }
        return list
    }
}

/// How the names of one zone are answered: what a server block of a Corefile says, as far as it is supported.
package struct ServerBlock: Sendable, Equatable {
    package struct Forward: Sendable, Equatable {
        package var zone: DNSName
        package var servers: [Upstream]
        package init(zone: DNSName, servers: [Upstream]) { (self.zone, self.servers) = (zone, servers) }
    }
    package var zone: DNSName
    package var rewrites: [RewriteRule] = []
    package var hosts: HostsTable?
    /// What `hosts` does not know goes on to the next plugin.
    package var hostsFallThrough = false
    package var forwards: [Forward] = []

    package init(_ zone: DNSName) { self.zone = zone }

    func rewritten(_ name: DNSName) -> DNSName {
        var name = name
        for rule in rewrites {
            guard let next = rule.rewrite(name) else { continue }
            name = next
            if rule.stops { break }
        }
        return name
    }

    /// Servers for a name: those of the longest zone that it is in.
    func servers(for name: DNSName) -> [Upstream]? {
        forwards.filter { name.isInside($0.zone) }.max { $0.zone.wire.count < $1.zone.wire.count }?.servers
    }
}
