/// The netfilter families a table can have (NFPROTO_*).
package enum NFFamily: UInt8, Sendable, Hashable {
    case inet = 1
    case ip = 2
    case ip6 = 10
    /// As `nft` writes it.
    package var name: String {
        switch self {
        case .inet: "inet"
        case .ip: "ip"
        case .ip6: "ip6"
        }
    }
    package init(_ family: AddressFamily) { self = family == .ipv4 ? .ip : .ip6 }
}

package struct NFTable: Hashable, Sendable, CustomStringConvertible {
    package var family: NFFamily
    package var name: String
    package init(_ family: NFFamily, _ name: String) { (self.family, self.name) = (family, name) }
    package var description: String { "\(family.name) \(name)" }
}

/// What ties a base chain to the packet path. Priorities: -200 conntrack, -100 dstnat, 0 filter, 100 srcnat.
package struct NFHook: Hashable, Sendable {
    package enum Kind: String, Sendable { case filter, nat, route }
    package enum Point: UInt32, Sendable { case prerouting = 0, input, forward, output, postrouting }
    package var kind: Kind
    package var point: Point
    package var priority: Int32
    /// Drop (0) or accept (1) at the end of the chain.
    package var dropsByDefault: Bool
    package init(_ kind: Kind, _ point: Point, priority: Int32, dropsByDefault: Bool = false) {
        (self.kind, self.point, self.priority, self.dropsByDefault) = (kind, point, priority, dropsByDefault)
    }
}

package struct NFChain: Hashable, Sendable {
    package var name: String
    /// Nil for a chain that is only jumped to.
    package var hook: NFHook?
    package init(_ name: String, hook: NFHook? = nil) { (self.name, self.hook) = (name, hook) }
}

/// Types of keys and data. The kernel knows only lengths; the numbers (libnftables' datatype ids) let `nft list ruleset`
/// print the values, and a wrong one makes it abort.
package enum NFDatatype: UInt32, Sendable {
    case ipv4 = 7
    case ipv6 = 8
    case protocolNumber = 12
    case port = 13
    /// 32 bits in host order; used for plain indexes too, as nothing smaller prints inside a concatenation.
    case mark = 19

    package var byteCount: Int {
        switch self {
        case .ipv4, .mark: 4
        case .ipv6: 16
        case .protocolNumber: 1
        case .port: 2
        }
    }
    /// Bytes taken inside a concatenation: whole 32-bit registers.
    package var paddedByteCount: Int { (byteCount + 3) & ~3 }

    package static func address(_ family: AddressFamily) -> NFDatatype { family == .ipv4 ? .ipv4 : .ipv6 }
}

extension [NFDatatype] {
    /// Length of a key: exact for one field, whole registers for a concatenation.
    package var keyLength: Int { count == 1 ? self[0].byteCount : reduce(0) { $0 + $1.paddedByteCount } }
    /// 6 bits per field, the first highest.
    var identifier: UInt32 { reduce(0) { $0 << 6 | $1.rawValue } }
}

/// A set, a map (data) or a verdict map.
package struct NFSet: Hashable, Sendable {
    package enum Value: Hashable, Sendable {
        case none, verdict
        case data([NFDatatype])
    }
    package var name: String
    package var key: [NFDatatype]
    package var value: Value
    /// Elements are ranges.
    package var isInterval: Bool
    /// Elements are added by rules (`update @set`).
    package var isDynamic: Bool
    /// Default lifetime of elements in milliseconds; 0: each rule or element says.
    package var timeoutMilliseconds: UInt64?
    /// Most elements; nil is no limit (the kernel's default for dynamic sets is 65,535).
    package var size: UInt32?

    package init(
        _ name: String, key: [NFDatatype], value: Value = .none, isInterval: Bool = false, isDynamic: Bool = false,
        timeoutMilliseconds: UInt64? = nil, size: UInt32? = nil
    ) {
        (self.name, self.key, self.value, self.isInterval) = (name, key, value, isInterval)
        (self.isDynamic, self.timeoutMilliseconds, self.size) = (isDynamic, timeoutMilliseconds, size)
    }

    package var keyLength: Int { key.keyLength }
    package var dataLength: Int { if case .data(let types) = value { types.keyLength } else { 0 } }

    var flags: UInt32 {
        var flags: UInt32 = 0
        if isInterval { flags |= 0x04 }
        if value != .none { flags |= 0x08 }
        if timeoutMilliseconds != nil { flags |= 0x10 }
        if isDynamic { flags |= 0x20 }
        if isInterval, key.count > 1 { flags |= 0x80 }
        return flags
    }
}

package enum NFVerdict: Hashable, Sendable, CustomStringConvertible {
    case accept, drop, `return`
    case jump(String)
    case goto(String)

    var code: Int32 {
        switch self {
        case .drop: 0
        case .accept: 1
        case .jump: -3
        case .goto: -4
        case .return: -5
        }
    }
    package var chain: String? {
        switch self {
        case .jump(let chain), .goto(let chain): chain
        default: nil
        }
    }
    package init?(code: Int32, chain: String?) {
        switch (code, chain) {
        case (0, _): self = .drop
        case (1, _): self = .accept
        case (-5, _): self = .return
        case (-3, let chain?): self = .jump(chain)
        case (-4, let chain?): self = .goto(chain)
        default: return nil
        }
    }
    package var description: String {
        switch self {
        case .accept: "accept"
        case .drop: "drop"
        case .return: "return"
        case .jump(let chain): "jump \(chain)"
        case .goto(let chain): "goto \(chain)"
        }
    }
}
