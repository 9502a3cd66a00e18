import Netlink

/// A port of the node that leads to a pod.
package struct HostPort: Hashable, Sendable, CustomStringConvertible {
    /// Only on this address; nil is every address of the node.
    package var hostAddress: IPAddress?
    package var transport: TransportProtocol
    package var hostPort: UInt16
    package var podPort: UInt16

    package init(hostAddress: IPAddress? = nil, transport: TransportProtocol = .tcp, hostPort: UInt16, podPort: UInt16)
    {
        // 0.0.0.0 and :: are how the API says "every address".
        self.hostAddress = hostAddress?.isUnspecified == true ? nil : hostAddress
        (self.transport, self.hostPort, self.podPort) = (transport, hostPort, podPort)
    }
    package var description: String { "\(hostAddress?.description ?? "*"):\(hostPort)/\(transport)" }
}

/// The pod network's own rules, table `k3s-pods` of each family: masquerade of what pods send outside the cluster, and
/// host ports. A value: build it, compare it, commit it.
package struct PodRules: Sendable, Equatable {
    package static let tableName = "k3s-pods"

    package struct Binding: Hashable, Sendable {
        package var port: HostPort
        package var podAddress: IPAddress
        package init(_ port: HostPort, to podAddress: IPAddress) { (self.port, self.podAddress) = (port, podAddress) }
    }

    package var family: AddressFamily
    /// What this node's pods have as source address.
    package var podCIDR: IPPrefix
    /// Destinations that see the pod's own address.
    package var clusterCIDRs: [IPPrefix]
    package var masquerades: Bool
    package var bindings: [Binding] = []

    package init(podCIDR: IPPrefix, clusterCIDRs: [IPPrefix], masquerades: Bool = true) {
        (family, self.podCIDR, self.clusterCIDRs) = (podCIDR.family, podCIDR, clusterCIDRs)
        self.masquerades = masquerades
    }

    package var table: NFTable { NFTable(NFFamily(family), PodRules.tableName) }

    /// The rules as nf_tables has them. Host ports are map elements: one rule whatever their number.
    package func ruleset() -> Ruleset {
        let words = family.byteCount / 4
        let address = NFDatatype.address(family)
        let source = NFExpression.payload(
            .network, offset: family == .ipv4 ? 12 : 8, length: UInt32(family.byteCount), into: NFRegister(0))
        func destination(_ word: Int) -> NFExpression {
            .payload(
                .network, offset: family == .ipv4 ? 16 : 24, length: UInt32(family.byteCount), into: NFRegister(word))
        }
        func port(_ word: Int) -> [NFExpression] {
            [
                .meta(.transportProtocol, into: NFRegister(word)),
                .payload(.transport, offset: 2, length: 2, into: NFRegister(word + 1)),
            ]
        }
        let local = NFSet("cluster-cidrs", key: [address], isInterval: true)
        let anyAddress = NFSet("hostports", key: [.protocolNumber, .port], value: .data([address, .port]))
        let oneAddress = NFSet(
            "hostports-by-address", key: [address, .protocolNumber, .port], value: .data([address, .port]))
        let hairpin = NFSet("hairpin", key: [address, address])

        var localElements = NFElements(for: local)
        let multicast: [IPPrefix] = [IPPrefix(family == .ipv4 ? "224.0.0.0/4" : "ff00::/8")].compactMap { $0 }
        for prefix in (clusterCIDRs + [podCIDR]).filter({ $0.family == family }).withoutContained + multicast {
            localElements.append(range: prefix.network.bytes, prefix.lastAddress.bytes)
        }
        var anyElements = NFElements(for: anyAddress)
        var oneElements = NFElements(for: oneAddress)
        var hairpinElements = NFElements(for: hairpin)
        var seen: Set<[UInt8]> = []
        for binding in bindings where binding.podAddress.family == family {
            let key =
                (binding.port.hostAddress?.bytes ?? [])
                + [
                    binding.port.transport.rawValue, 0, 0, 0, UInt8(binding.port.hostPort >> 8),
                    UInt8(binding.port.hostPort & 0xff), 0, 0,
                ]
            let value =
                binding.podAddress.bytes + [UInt8(binding.port.podPort >> 8), UInt8(binding.port.podPort & 0xff), 0, 0]
            guard seen.insert(key).inserted else { continue }
            switch binding.port.hostAddress {
            case nil: anyElements.append(key: key, data: value)
            case let host? where host.family == family: oneElements.append(key: key, data: value)
            case _?: continue
            }
            let pair = binding.podAddress.bytes + binding.podAddress.bytes
            if seen.insert(pair).inserted { hairpinElements.append(key: pair) }
        }

        let translate: [NFRule] = [
            NFRule(
                [destination(0)] + port(words) + [
                    .map(oneAddress.name, key: NFRegister(0), into: NFRegister(0)),
                    .destinationNAT(family, address: NFRegister(0), port: NFRegister(words)),
                ], comment: "host ports on one address"),
            NFRule(
                // RTN_LOCAL
                [
                    .addressType(ofSource: false, into: NFRegister(0)),
                    .compare(NFRegister(0), .equal, withUnsafeBytes(of: UInt32(2)) { Array($0) }),
                ] + port(0) + [
                    .map(anyAddress.name, key: NFRegister(0), into: NFRegister(0)),
                    .destinationNAT(family, address: NFRegister(0), port: NFRegister(words)),
                ], comment: "host ports"),
        ]
        var leave: [NFRule] = [
            NFRule(
                [
                    source, destination(words), .lookup(hairpin.name, key: NFRegister(0)),
                    .masquerade(fullyRandom: true),
                ],
                comment: "a pod that reaches itself through a host port")
        ]
        if family == .ipv4 {
            leave.append(
                NFRule(
                    [
                        source, .bitwise(NFRegister(0), into: NFRegister(0), mask: [255, 0, 0, 0], xor: [0, 0, 0, 0]),
                        .compare(NFRegister(0), .equal, [127, 0, 0, 0]), destination(0),
                        .lookup(local.name, key: NFRegister(0)),
                        .masquerade(fullyRandom: true),
                    ], comment: "the node through a host port on localhost"))
        }
        if masquerades {
            var inside: [NFExpression] = [source]
            if Int(podCIDR.length) < podCIDR.address.bitWidth {
                inside.append(
                    .bitwise(
                        NFRegister(0), into: NFRegister(0), mask: podCIDR.maskBytes,
                        xor: [UInt8](repeating: 0, count: family.byteCount)))
            }
            leave.append(
                NFRule(
                    inside + [
                        .compare(NFRegister(0), .equal, podCIDR.network.bytes), destination(0),
                        .lookup(local.name, key: NFRegister(0), inverted: true), .masquerade(fullyRandom: true),
                    ], comment: "pods to outside the cluster"))
        }
        return Ruleset(
            table,
            sets: [
                Ruleset.NamedSet(local, localElements), Ruleset.NamedSet(anyAddress, anyElements),
                Ruleset.NamedSet(oneAddress, oneElements), Ruleset.NamedSet(hairpin, hairpinElements),
            ],
            chains: [
                Ruleset.Chain(NFChain("prerouting", hook: NFHook(.nat, .prerouting, priority: -99)), translate),
                Ruleset.Chain(NFChain("output", hook: NFHook(.nat, .output, priority: -99)), translate),
                Ruleset.Chain(NFChain("postrouting", hook: NFHook(.nat, .postrouting, priority: 101)), leave),
            ])
    }
}
