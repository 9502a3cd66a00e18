import Netlink

// The sets of the policy tables by what is in them: policies that mean the same share a set.

/// Some of the cluster's pods.
struct PodSelection: Hashable, Sendable {
    enum Scope: Hashable, Sendable {
        case all
        case namespace(String)
        /// Of namespaces with these labels; one that is not known has none that match.
        case matching(LabelMatch)
    }
    var scope: Scope
    var pods: LabelMatch
    /// Only those of this node: the receiving side of incoming traffic.
    var isLocalOnly = false

    func matches(_ group: PodGroup.Key, _ namespaces: [String: [String: String]]) -> Bool {
        if isLocalOnly, !group.isLocal { return false }
        switch scope {
        case .all: break
        case .namespace(let name): guard name == group.namespace else { return false }
        case .matching(let match):
            guard let labels = namespaces[group.namespace], match.matches(labels) else { return false }
        }
        return pods.matches(group.labels)
    }

    var description: String {
        let labels = pods.requirements.isEmpty ? "pods" : "pods \(pods)"
        switch scope {
        case .all: return labels
        case .namespace(let name): return "\(labels) in \(name)"
        case .matching(let match): return match.requirements.isEmpty ? labels : "\(labels) in namespaces \(match)"
        }
    }
}

struct AddressRange: Hashable, Sendable {
    var first: IPAddress
    var last: IPAddress
    var isEverything: Bool {
        first.isUnspecified && (last == .v4(.max) || last == .v6(.max, .max))
    }
}

struct PortRange: Hashable, Sendable {
    var transport: TransportProtocol
    var first: UInt16
    var last: UInt16
}

struct NamedPort: Hashable, Sendable {
    var transport: TransportProtocol
    var name: String
}

enum PolicySetKey: Hashable, Sendable {
    /// address
    case pods(PodSelection)
    /// address ranges; sorted, none touches another
    case blocks([AddressRange])
    /// protocol . port ranges; sorted, none touches another
    case ports([PortRange])
    /// address . protocol . port of pods that have ports of these names
    case named(PodSelection, [NamedPort])

    var prefix: String {
        switch self {
        case .pods: "pods"
        case .blocks: "blocks"
        case .ports: "ports"
        case .named: "named"
        }
    }
    var selection: PodSelection? {
        switch self {
        case .pods(let selection), .named(let selection, _): selection
        case .blocks, .ports: nil
        }
    }
}

extension [AddressRange] {
    /// Sorted and merged; ranges of different families never meet.
    var merged: [AddressRange] {
        var out: [AddressRange] = []
        for range in self.sorted(by: { ($0.first, $0.last) < ($1.first, $1.last) }) {
            if let last = out.last, last.first.family == range.first.family,
                range.first <= last.last || last.last.advanced(by: 1) == range.first
            {
                out[out.count - 1].last = Swift.max(last.last, range.last)
            } else {
                out.append(range)
            }
        }
        return out
    }

    /// A prefix without parts of it.
    init(_ prefix: IPPrefix, except: [IPPrefix]) {
        self = []
        let last = prefix.lastAddress
        var next: IPAddress? = prefix.network
        let holes = except.filter { $0.family == prefix.family }.map {
            AddressRange(first: $0.network, last: $0.lastAddress)
        }
        for hole in holes.merged {
            guard let start = next, start <= last else { return }
            if hole.last < start { continue }
            if hole.first > last { break }
            if hole.first > start, let end = hole.first.previous { append(AddressRange(first: start, last: end)) }
            next = hole.last.advanced(by: 1)
        }
        if let start = next, start <= last { append(AddressRange(first: start, last: last)) }
    }
}

extension IPAddress {
    var previous: IPAddress? {
        switch self {
        case .v4(let value): value == 0 ? nil : .v4(value - 1)
        case .v6(let high, let low): low > 0 ? .v6(high, low - 1) : high > 0 ? .v6(high - 1, .max) : nil
        }
    }
}

extension [PortRange] {
    var merged: [PortRange] {
        var out: [PortRange] = []
        for range in self.sorted(by: {
            ($0.transport.rawValue, $0.first, $0.last) < ($1.transport.rawValue, $1.first, $1.last)
        }) {
            if let last = out.last, last.transport == range.transport, Int(range.first) <= Int(last.last) + 1 {
                out[out.count - 1].last = Swift.max(last.last, range.last)
            } else {
                out.append(range)
            }
        }
        return out
    }
}
