import Netlink

/// The tables of network policy, `ip k3s-policy` and `ip6 k3s-policy`: own tables, because a verdict of one table never
/// undoes that of another, and per family because keys are.
///
///     forward -5   egress-forward    established: accept; a pod to itself: accept; saddr vmap @egress
///     input   -5   egress-input      the same, for what pods send to this node (its names, its ports)
///     forward  0   ingress-forward   established: accept; a pod to itself: accept; daddr vmap @ingress
///     @ingress, @egress              address of a pod of this node : goto isolate-N
///     isolate-N                      a jump for each policy of that set of policies; reject
///     ingress/NAMESPACE/NAME         the rules of one policy: saddr @pods-N, l4proto . dport @ports-N, accept
///
/// Two base chains, because a packet between two pods of this node has to pass both sides and `accept` ends only the chain
/// of its own hook. After translation of services, so that rules see pods and their ports. Nothing at the output hook:
/// a node always reaches its own pods (probes). Pods are routed even to their neighbours (they have host routes only), so
/// the forward hook sees all; what is bridged all the same (forged frames, other CNI plugins) comes there by br_netfilter.
///
/// A pod is an element of two maps and of the sets that select it; only new sets of policies make chains.
struct PolicyLayout: Sendable {
    static let tableName = "k3s-policy"

    let family: AddressFamily
    let table: NFTable
    let ingress: NFSet, egress: NFSet, itself: NFSet
    private let words: Int

    init(_ family: AddressFamily) {
        self.family = family
        table = NFTable(NFFamily(family), PolicyLayout.tableName)
        words = family.byteCount / 4
        let address = NFDatatype.address(family)
        ingress = NFSet("ingress", key: [address], value: .verdict)
        egress = NFSet("egress", key: [address], value: .verdict)
        itself = NFSet("self", key: [address, address])
    }

    var sets: [NFSet] { [ingress, egress, itself] }

    func set(_ key: PolicySetKey, _ name: String) -> NFSet {
        let address = NFDatatype.address(family)
        return switch key {
        case .pods: NFSet(name, key: [address])
        case .blocks: NFSet(name, key: [address], isInterval: true)
        case .ports: NFSet(name, key: [.protocolNumber, .port], isInterval: true)
        case .named: NFSet(name, key: [address, .protocolNumber, .port])
        }
    }

    /// Elements that do not depend on pods.
    func elements(_ key: PolicySetKey, _ set: NFSet) -> NFElements {
        var elements = NFElements(for: set)
        switch key {
        case .pods, .named: break
        case .blocks(let ranges):
            for range in ranges where range.first.family == family {
                elements.append(range: range.first.bytes, range.last.bytes)
            }
        case .ports(let ranges):
            for range in ranges {
                elements.append(
                    range: PolicyLayout.portBytes(range.transport, range.first),
                    PolicyLayout.portBytes(range.transport, range.last))
            }
        }
        return elements
    }

    static func portBytes(_ transport: TransportProtocol, _ port: UInt16) -> [UInt8] {
        [transport.rawValue, 0, 0, 0, UInt8(port >> 8), UInt8(port & 0xff), 0, 0]
    }

    // MARK: expressions

    private func address(source: Bool, _ word: Int) -> NFExpression {
        let offset: UInt32 = family == .ipv4 ? (source ? 12 : 16) : (source ? 8 : 24)
        return .payload(.network, offset: offset, length: UInt32(family.byteCount), into: NFRegister(word))
    }
    private func port(_ word: Int) -> [NFExpression] {
        [
            .meta(.transportProtocol, into: NFRegister(word)),
            .payload(.transport, offset: 2, length: 2, into: NFRegister(word + 1)),
        ]
    }
    private func hostBytes(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value) { Array($0) } }

    /// Peers are the senders of incoming traffic and the receivers of outgoing.
    func lookupPeer(_ set: String, incoming: Bool) -> [NFExpression] {
        [address(source: incoming, 0), .lookup(set, key: NFRegister(0))]
    }
    func lookupPort(_ set: String) -> [NFExpression] { port(0) + [.lookup(set, key: NFRegister(0))] }
    /// Named ports are those of the receiver, whatever the direction.
    func lookupNamedPort(_ set: String) -> [NFExpression] {
        [address(source: false, 0)] + port(words) + [.lookup(set, key: NFRegister(0))]
    }

    /// The name server where it answers in place of port 53.
    func nameServer(_ server: IPAddress, _ transport: TransportProtocol, _ number: UInt16) -> [NFExpression] {
        [address(source: false, 0), .compare(NFRegister(0), .equal, server.bytes)] + port(0) + [
            .compare(NFRegister(0), .equal, [transport.rawValue]),
            .compare(NFRegister(1), .equal, [UInt8(number >> 8), UInt8(number & 0xff)]),
        ]
    }

    // MARK: fixed chains

    static let rejectChain = "reject"

    var chains: [Ruleset.Chain] {
        // NF_CT_STATE_BIT(IP_CT_ESTABLISHED) | NF_CT_STATE_BIT(IP_CT_RELATED)
        let known = NFRule(
            [
                .conntrack(.state, into: NFRegister(0)),
                .bitwise(NFRegister(0), into: NFRegister(0), mask: hostBytes(6), xor: hostBytes(0)),
                .compare(NFRegister(0), .notEqual, hostBytes(0)), .verdict(.accept),
            ], comment: "replies, and what goes on")
        let toItself = NFRule(
            [
                address(source: true, 0), address(source: false, words), .lookup(itself.name, key: NFRegister(0)),
                .verdict(.accept),
            ], comment: "a pod cannot be cut off from itself")
        let outgoing = NFRule([address(source: true, 0), .verdictMap(egress.name, key: NFRegister(0))])
        let incoming = NFRule([address(source: false, 0), .verdictMap(ingress.name, key: NFRegister(0))])
        // The kernel does not track neighbour discovery and multicast listener reports: without them there is no IPv6.
        let neighbours = NFRule(
            [
                .meta(.transportProtocol, into: NFRegister(0)), .compare(NFRegister(0), .equal, [58]),
                .payload(.transport, offset: 0, length: 1, into: NFRegister(0)),
                .range(NFRegister(0), inverted: false, first: [130], last: [137]), .verdict(.accept),
            ], comment: "neighbour discovery")
        func base(_ name: String, _ point: NFHook.Point, _ priority: Int32, _ rules: [NFRule]) -> Ruleset.Chain {
            Ruleset.Chain(NFChain(name, hook: NFHook(.filter, point, priority: priority)), rules)
        }
        return [
            Ruleset.Chain(
                NFChain(PolicyLayout.rejectChain),
                [
                    NFRule([
                        .meta(.transportProtocol, into: NFRegister(0)), .compare(NFRegister(0), .equal, [6]),
                        .reject(.tcpReset),
                    ]),
                    NFRule([.reject(.portUnreachable(family))]),
                ]),
            base("egress-forward", .forward, -5, [known, toItself, outgoing]),
            base("egress-input", .input, -5, [known] + (family == .ipv6 ? [neighbours] : []) + [outgoing]),
            base("ingress-forward", .forward, 0, [known, toItself, incoming]),
        ]
    }
}
