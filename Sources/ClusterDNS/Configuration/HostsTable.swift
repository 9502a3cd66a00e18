import Netlink

/// Names of a hosts file (hosts(5)): k3s's NodeHosts, and `hosts` blocks of coredns-custom.
package struct HostsTable: Sendable, Equatable {
    package private(set) var addresses: [DNSName: [IPAddress]] = [:]
    private var names: [IPAddress: DNSName] = [:]
    package var ttl: UInt32

    package init(ttl: UInt32 = 60) { self.ttl = ttl }

    package init(_ text: String, ttl: UInt32 = 60) {
        self.ttl = ttl
        for line in text.split(whereSeparator: \.isNewline) {
            add(line.prefix { $0 != "#" }.split(whereSeparator: \.isWhitespace).map(String.init))
        }
    }

    package var isEmpty: Bool { addresses.isEmpty }

    /// The words of a line; false if they are no address and names.
    @discardableResult
    package mutating func add(_ words: [String], reverse: Bool = true) -> Bool {
        guard words.count > 1, let address = IPAddress(words[0]) else { return false }
        for word in words.dropFirst() {
            guard let name = DNSName(word) else { return false }
            if addresses[name]?.contains(address) != true { addresses[name, default: []].append(address) }
            // The first name is the one an address is called by.
            if reverse, names[address] == nil { names[address] = name }
        }
        return true
    }

    package func name(of address: IPAddress) -> DNSName? { names[address] }

    /// nil: the table does not know the name. No records: it knows it, but not of this type.
    func answer(_ name: DNSName, _ type: DNSType) -> [DNSRecord]? {
        if type == .ptr, let address = name.reverseAddress, let target = names[address] {
            return [DNSRecord(name, .ptr, ttl: ttl, .name(target))]
        }
        guard let list = addresses[name] else { return nil }
        return list.filter { type == .any || (type == .a && $0.isIPv4) || (type == .aaaa && !$0.isIPv4) }
            .map { .address(name, ttl: ttl, $0) }
    }
}
