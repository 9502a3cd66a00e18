import Netlink

/// The fixed part of the proxy's table of one family, and the shared chains.
///
/// Layout "cnt": no chain per service or endpoint (kube-proxy's layout is quadratic in the kernel). A verdict map takes
/// (address, protocol, port) to one of a few chains, shared by all services with that many endpoints; the chain draws an
/// index and looks up (address, protocol, port, index) in the endpoint map.
///
///     firewall (filter -110)          load balancer source ranges
///     prerouting, output (nat -100)   vmap services; vmap nodeports
///       n3: from outside the cluster? mark; dnat to daddr . proto . dport . numgen random mod 3 map @endpoints
///       node-n3: not an address of the node? return; the same with proto . dport
///     check, check-output (filter -98)  new connections only: translated? goto translated; vmap no-endpoints,
///                                     no-nodeport-endpoints: reject or drop what has nowhere to go
///       translated: vmap sticky; the client's endpoint goes to the affinity map, with a timeout
///     postrouting (nat 100)           marked, or a pod's own address: masquerade
///
/// What is cheap is asked first, and what only some packets need is in chains of its own: the first packet of a connection
/// passes all base chains.
///
/// One table per family, because keys, the fib and reject are per family: `ip k3s-proxy` and `ip6 k3s-proxy`.
struct ProxyLayout: Sendable {
    static let tableName = "k3s-proxy"

    let family: AddressFamily
    let settings: ProxySettings
    let table: NFTable
    /// How many elements sets may have, by name; others have no limit.
    let sizes: [String: UInt32]
    /// 32-bit words of an address.
    private let words: Int

    let services: NFSet, endpoints: NFSet, nodePorts: NFSet, nodePortEndpoints: NFSet
    let noEndpoints: NFSet, noNodePortEndpoints: NFSet
    let hairpin: NFSet, affinity: NFSet, sticky: NFSet, stickyNodePorts: NFSet
    let restricted: NFSet, sources: NFSet
    let clusterCIDRs: NFSet, nodePortAddresses: NFSet

    init(_ family: AddressFamily, _ settings: ProxySettings, sizes: [String: UInt32] = [:]) {
        (self.family, self.settings, self.sizes) = (family, settings, sizes)
        table = NFTable(NFFamily(family), ProxyLayout.tableName)
        words = family.byteCount / 4
        let address = NFDatatype.address(family)
        let frontend: [NFDatatype] = [address, .protocolNumber, .port]
        services = NFSet("services", key: frontend, value: .verdict)
        endpoints = NFSet("endpoints", key: frontend + [.mark], value: .data([address, .port]))
        nodePorts = NFSet("nodeports", key: [.protocolNumber, .port], value: .verdict)
        nodePortEndpoints = NFSet(
            "nodeport-endpoints", key: [.protocolNumber, .port, .mark], value: .data([address, .port]))
        noEndpoints = NFSet("no-endpoints", key: frontend, value: .verdict)
        noNodePortEndpoints = NFSet("no-nodeport-endpoints", key: [.protocolNumber, .port], value: .verdict)
        hairpin = NFSet("hairpin", key: [address, address])
        affinity = NFSet(
            "affinity", key: [address] + frontend, value: .data([address, .port]), isDynamic: true,
            timeoutMilliseconds: 0,
            size: 65_536)
        sticky = NFSet("sticky", key: frontend, value: .verdict)
        stickyNodePorts = NFSet("sticky-nodeports", key: [.protocolNumber, .port], value: .verdict)
        restricted = NFSet("restricted", key: frontend)
        sources = NFSet("allowed-sources", key: frontend + [address], isInterval: true)
        clusterCIDRs = NFSet("cluster-cidrs", key: [address], isInterval: true)
        nodePortAddresses = NFSet("nodeport-addresses", key: [address], isInterval: true)
    }

    /// All sets; those that hold per-service elements come back empty.
    var sets: [Ruleset.NamedSet] {
        [
            services, endpoints, nodePorts, nodePortEndpoints, noEndpoints, noNodePortEndpoints, hairpin, affinity,
            sticky, stickyNodePorts, restricted, sources,
        ].map { set in
            var set = set
            if let size = sizes[set.name] { set.size = size }
            return Ruleset.NamedSet(set)
        } + [
            Ruleset.NamedSet(clusterCIDRs, ranges(settings.clusterCIDRs, clusterCIDRs)),
            Ruleset.NamedSet(nodePortAddresses, ranges(settings.nodePortAddresses, nodePortAddresses)),
        ]
    }

    private func ranges(_ prefixes: [IPPrefix], _ set: NFSet) -> NFElements {
        var elements = NFElements(for: set)
        for prefix in prefixes.filter({ $0.family == family }).withoutContained {
            elements.append(range: prefix.network.bytes, prefix.lastAddress.bytes)
        }
        return elements
    }

    private var hasClusterCIDRs: Bool { settings.clusterCIDRs.contains { $0.family == family } }
    private var restrictsNodePorts: Bool { settings.nodePortAddresses.contains { $0.family == family } }

    // MARK: expressions

    private func reg(_ word: Int) -> NFRegister { NFRegister(word) }
    private func sourceAddress(_ word: Int) -> NFExpression {
        .payload(.network, offset: family == .ipv4 ? 12 : 8, length: UInt32(family.byteCount), into: reg(word))
    }
    private func destinationAddress(_ word: Int) -> NFExpression {
        .payload(.network, offset: family == .ipv4 ? 16 : 24, length: UInt32(family.byteCount), into: reg(word))
    }
    private func transport(_ word: Int) -> [NFExpression] {
        [
            .meta(.transportProtocol, into: reg(word)),
            .payload(.transport, offset: 2, length: 2, into: reg(word + 1)),
        ]
    }
    /// `daddr . proto . dport` from a word on.
    private func frontend(_ word: Int) -> [NFExpression] { [destinationAddress(word)] + transport(word + words) }

    private var markBit: UInt32 { 1 << UInt32(settings.masqueradeBit & 31) }
    private func hostBytes(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value) { Array($0) } }
    private var setMark: [NFExpression] {
        [
            .meta(.mark, into: reg(0)),
            .bitwise(reg(0), into: reg(0), mask: hostBytes(~markBit), xor: hostBytes(markBit)), .setMark(from: reg(0)),
        ]
    }
    private func addressIsLocal(ofSource: Bool) -> [NFExpression] {
        // RTN_LOCAL
        [.addressType(ofSource: ofSource, into: reg(0)), .compare(reg(0), .equal, hostBytes(2))]
    }
    /// What is not for a node port goes back. Node ports are not for localhost, as with kube-proxy's nftables mode: the answer
    /// could not come back without route_localnet, which opens the host's own loopback services to the network. Asked after
    /// the port, because the address costs a look at the routes.
    private var unlessOfTheNode: [NFRule] {
        if restrictsNodePorts {
            return [
                NFRule([
                    destinationAddress(0), .lookup(nodePortAddresses.name, key: reg(0), inverted: true),
                    .verdict(.return),
                ])
            ]
        }
        let isLoopback: [NFExpression] =
            family == .ipv4
            ? [
                destinationAddress(0), .bitwise(reg(0), into: reg(0), mask: [255, 0, 0, 0], xor: [0, 0, 0, 0]),
                .compare(reg(0), .equal, [127, 0, 0, 0]),
            ] : [destinationAddress(0), .compare(reg(0), .equal, [UInt8](repeating: 0, count: 15) + [1])]
        return [
            NFRule(isLoopback + [.verdict(.return)]),
            NFRule([
                .addressType(ofSource: false, into: reg(0)), .compare(reg(0), .notEqual, hostBytes(2)),
                .verdict(.return),
            ]),
        ]
    }
    private var isNewConnection: [NFExpression] {
        // NF_CT_STATE_BIT(IP_CT_NEW)
        [
            .conntrack(.state, into: reg(0)),
            .bitwise(reg(0), into: reg(0), mask: hostBytes(8), xor: hostBytes(0)),
            .compare(reg(0), .notEqual, hostBytes(0)),
        ]
    }

    // MARK: fixed chains

    var chains: [Ruleset.Chain] {
        let dispatch = NFRule(
            frontend(0) + [.verdictMap(services.name, key: reg(0))],
            comment: "cluster, external and load balancer addresses")
        let nodePortDispatch = NFRule(
            transport(0) + [.verdictMap(nodePorts.name, key: reg(0))], comment: "node ports")
        let check = [NFRule(isNewConnection + [.verdict(.goto("new-connection"))])]
        let rejectChain = [
            NFRule([.meta(.transportProtocol, into: reg(0)), .compare(reg(0), .equal, [6]), .reject(.tcpReset)]),
            NFRule([.reject(.portUnreachable(family))]),
        ]
        func base(_ name: String, _ kind: NFHook.Kind, _ point: NFHook.Point, _ priority: Int32, _ rules: [NFRule])
            -> Ruleset.Chain
        { Ruleset.Chain(NFChain(name, hook: NFHook(kind, point, priority: priority)), rules) }
        return [
            Ruleset.Chain(NFChain("reject"), rejectChain),
            Ruleset.Chain(NFChain("reject-node"), unlessOfTheNode + rejectChain),
            Ruleset.Chain(NFChain("drop-node"), unlessOfTheNode + [NFRule([.verdict(.drop)])]),
            Ruleset.Chain(NFChain("translated"), remember),
            Ruleset.Chain(
                NFChain("new-connection"),
                [
                    NFRule(isTranslated + [.verdict(.goto("translated"))]),
                    NFRule(frontend(0) + [.verdictMap(noEndpoints.name, key: reg(0))]),
                    NFRule(transport(0) + [.verdictMap(noNodePortEndpoints.name, key: reg(0))]),
                ]),
            base("prerouting", .nat, .prerouting, -100, [dispatch, nodePortDispatch]),
            base("output", .nat, .output, -100, [dispatch, nodePortDispatch]),
            base("postrouting", .nat, .postrouting, 100, postrouting),
            base("firewall", .filter, .prerouting, -110, firewall),
            base("check", .filter, .prerouting, -98, check),
            base("check-output", .filter, .output, -98, check),
        ]
    }

    private var isTranslated: [NFExpression] {
        // IPS_DST_NAT
        [
            .conntrack(.status, into: reg(0)),
            .bitwise(reg(0), into: reg(0), mask: hostBytes(0x20), xor: hostBytes(0)),
            .compare(reg(0), .notEqual, hostBytes(0)),
        ]
    }

    /// `daddr . proto . dport` of the connection before translation.
    private func originalFrontend(_ word: Int) -> [NFExpression] {
        [
            .conntrackOriginal(family == .ipv4 ? .destinationIPv4 : .destinationIPv6, into: reg(word)),
            .meta(.transportProtocol, into: reg(word + words)),
            .conntrackOriginal(.destinationPort, into: reg(word + words + 1)),
        ]
    }

    /// Session affinity is written down after translation, where the packet itself names the chosen endpoint: nft 1.0.6
    /// aborts on listing a rule that puts a map's result into another map.
    private var remember: [NFRule] {
        [
            NFRule(originalFrontend(0) + [.verdictMap(sticky.name, key: reg(0))]),
            NFRule([
                .meta(.transportProtocol, into: reg(0)), .conntrackOriginal(.destinationPort, into: reg(1)),
                .verdictMap(stickyNodePorts.name, key: reg(0)),
            ]),
        ]
    }

    /// The chain that remembers a client for that long.
    func rememberChain(_ seconds: UInt32) -> Ruleset.Chain {
        let data = 2 * words + 2
        return Ruleset.Chain(
            NFChain(ProxyLayout.rememberName(seconds)),
            [
                NFRule(
                    [sourceAddress(0)] + originalFrontend(words) + [
                        destinationAddress(data), .payload(.transport, offset: 2, length: 2, into: reg(data + words)),
                        .updateSet(
                            affinity.name, key: reg(0), data: reg(data), timeoutMilliseconds: UInt64(seconds) * 1000),
                    ])
            ])
    }

    static func rememberName(_ seconds: UInt32) -> String { "remember-\(seconds)" }

    private var postrouting: [NFRule] {
        [
            NFRule(
                [
                    sourceAddress(0), destinationAddress(words), .lookup(hairpin.name, key: reg(0)),
                    .masquerade(fullyRandom: true),
                ],
                comment: "a pod that reaches itself through a service"),
            NFRule(
                [
                    .meta(.mark, into: reg(0)),
                    .bitwise(reg(0), into: reg(0), mask: hostBytes(markBit), xor: hostBytes(0)),
                    .compare(reg(0), .notEqual, hostBytes(0)),
                    .meta(.mark, into: reg(0)),
                    .bitwise(reg(0), into: reg(0), mask: hostBytes(~markBit), xor: hostBytes(0)),
                    .setMark(from: reg(0)),
                    .masquerade(fullyRandom: true),
                ], comment: "marked by the service chains"),
        ]
    }

    private var firewall: [NFRule] {
        [
            NFRule(
                isNewConnection + frontend(0) + [.lookup(restricted.name, key: reg(0))] + frontend(0)
                    + [sourceAddress(words + 2), .lookup(sources.name, key: reg(0), inverted: true), .verdict(.drop)],
                comment: "loadBalancerSourceRanges")
        ]
    }

    // MARK: shared chains

    func chain(_ shape: ChainShape) -> Ruleset.Chain {
        var rules: [NFRule] = shape.isNodePort ? unlessOfTheNode : []
        switch shape.kind {
        case .cluster:
            if hasClusterCIDRs {
                rules.append(
                    NFRule(
                        [sourceAddress(0), .lookup(clusterCIDRs.name, key: reg(0), inverted: true)] + setMark,
                        comment: "from outside the cluster"))
            }
            rules += translate([], shape, shape.total)
        case .external:
            rules.append(NFRule(setMark))
            rules += translate([], shape, shape.total)
        case .local(let local):
            if hasClusterCIDRs {
                rules += translate([sourceAddress(0), .lookup(clusterCIDRs.name, key: reg(0))], shape, shape.total)
            }
            rules.append(NFRule(addressIsLocal(ofSource: true) + setMark))
            rules += translate(addressIsLocal(ofSource: true), shape, shape.total)
            rules +=
                local > 0
                ? translate([], shape, local) : [NFRule([.verdict(.drop)], comment: "no endpoint on this node")]
        }
        return Ruleset.Chain(NFChain(shape.name), rules)
    }

    /// Rules that translate to one of the first `count` endpoints, for packets that pass `condition`.
    private func translate(_ condition: [NFExpression], _ shape: ChainShape, _ count: UInt32) -> [NFRule] {
        let map = shape.isNodePort ? nodePortEndpoints.name : endpoints.name
        let key = shape.isNodePort ? transport(0) : frontend(0)
        let index = shape.isNodePort ? 2 : words + 2
        let choose = NFRule(
            condition + key + [
                .numberGenerator(random: true, modulus: count, into: reg(index)), .map(map, key: reg(0), into: reg(0)),
                .destinationNAT(family, address: reg(0), port: reg(words)),
            ])
        guard shape.isSticky else { return [choose] }
        let again = NFRule(
            condition + [sourceAddress(0)] + frontend(words) + [
                .map(affinity.name, key: reg(0), into: reg(0)),
                .destinationNAT(family, address: reg(0), port: reg(words)),
            ])
        return [again, choose]
    }
}
