import Netlink

extension NetworkPolicy {
    func rules(_ isIngress: Bool) -> [PolicyRule]? { isIngress ? ingress : egress }

    /// The sets that its rules look things up in.
    func setKeys(_ settings: PolicySettings) -> [PolicySetKey] {
        var keys: [PolicySetKey] = []
        for isIngress in [true, false] {
            for rule in rules(isIngress) ?? [] {
                for clause in clauses(rule, isIngress: isIngress) {
                    for key in [clause.peer, clause.port] {
                        if let key, !keys.contains(key) { keys.append(key) }
                    }
                }
            }
        }
        return keys
    }

    /// One nf_tables rule: a peer (nil: everybody) and a port (nil: any traffic).
    struct Clause {
        var peer: PolicySetKey?
        var port: PolicySetKey?
        var peerText: String
    }

    func clauses(_ rule: PolicyRule, isIngress: Bool) -> [Clause] {
        var selections: [PodSelection] = []
        var ranges: [AddressRange] = []
        for peer in rule.peers ?? [] {
            switch peer {
            case .pods(let match): selections.append(PodSelection(scope: .namespace(namespace), pods: match))
            case .namespaces(let match, let pods):
                selections.append(PodSelection(scope: .matching(match), pods: pods))
            case .block(let prefix, let except): ranges += [AddressRange](prefix, except: except)
            }
        }
        var numbers: [PortRange] = []
        var names: [NamedPort] = []
        for port in rule.ports ?? [] {
            switch port.number {
            case .any: numbers.append(PortRange(transport: port.transport, first: 0, last: .max))
            case .range(let first, let last) where first <= last:
                numbers.append(PortRange(transport: port.transport, first: first, last: last))
            case .range: break
            case .named(let name):
                let named = NamedPort(transport: port.transport, name: name)
                if !names.contains(named) { names.append(named) }
            }
        }
        names.sort { ($0.name, $0.transport.rawValue) < ($1.name, $1.transport.rawValue) }
        // nil in the list: no port is asked for.
        var ports: [PolicySetKey?] = rule.ports == nil ? [nil] : []
        if !numbers.isEmpty { ports.append(.ports(numbers.merged)) }

        var peers: [(PolicySetKey?, String)] = rule.peers == nil ? [(nil, "everybody")] : []
        for selection in selections { peers.append((.pods(selection), selection.description)) }
        if !ranges.isEmpty { peers.append((.blocks(ranges.merged), "addresses")) }

        var out = peers.flatMap { peer in ports.map { Clause(peer: peer.0, port: $0, peerText: peer.1) } }
        guard !names.isEmpty else { return out }
        if isIngress {
            // The receivers are the pods that the policy isolates.
            let receivers = PodSelection(scope: .namespace(namespace), pods: pods, isLocalOnly: true)
            out += peers.map { Clause(peer: $0.0, port: .named(receivers, names), peerText: $0.1) }
        } else {
            // The set of named ports says which pods are meant; addresses that are no pods' have no names for ports.
            let all = PodSelection(scope: .all, pods: .everything)
            let receivers = rule.peers == nil ? [all] : selections
            out += receivers.map { Clause(peer: nil, port: .named($0, names), peerText: $0.description) }
        }
        return out
    }
}

extension PolicyState {
    /// nf_tables names have at most 255 bytes, the longest of policies are longer.
    static func chainName(_ id: String, isIngress: Bool) -> String {
        let name = (isIngress ? "ingress/" : "egress/") + id
        guard name.utf8.count > 200 else { return name }
        var (hash, second) = (FNV64(), FNV64())
        hash.combine(name)
        second.combine(UInt64(name.utf8.count))
        second.combine(name)
        return name.prefix(200) + "." + String(hash.value, radix: 16) + String(second.value, radix: 16)
    }

    func rules(of policy: NetworkPolicy, isIngress: Bool, _ layout: PolicyLayout) -> [NFRule] {
        (policy.rules(isIngress) ?? []).flatMap { rule in
            policy.clauses(rule, isIngress: isIngress).flatMap { clause -> [NFRule] in
                var peer: [NFExpression] = []
                if let key = clause.peer {
                    guard let found = lookup(key, layout, isIngress: isIngress) else { return [] }
                    peer = found
                }
                var port: [NFExpression] = []
                if let key = clause.port {
                    guard let found = lookup(key, layout, isIngress: isIngress) else { return [] }
                    port = found
                }
                let comment = (isIngress ? "from " : "to ") + clause.peerText
                var out = [NFRule(peer + port + [.verdict(.accept)], comment: comment)]
                if !isIngress, settings.redirectsNames, case .ports(let ranges)? = clause.port {
                    for range in ranges where range.first <= 53 && 53 <= range.last && range.transport != .sctp {
                        for address in settings.nameServers where address.family == layout.family {
                            out.append(
                                NFRule(
                                    peer + layout.nameServer(address, range.transport, settings.nameServerPort)
                                        + [.verdict(.accept)], comment: "cluster DNS"))
                        }
                    }
                }
                return out
            }
        }
    }

    /// Nil: can match nothing in this family. Empty: matches everything.
    private func lookup(_ key: PolicySetKey, _ layout: PolicyLayout, isIngress: Bool) -> [NFExpression]? {
        guard let number = setNumber(key), let name = sets[number]?.name else { return nil }
        switch key {
        case .pods: return layout.lookupPeer(name, incoming: isIngress)
        case .blocks(let ranges):
            let mine = ranges.filter { $0.first.family == layout.family }
            if mine.isEmpty { return nil }
            return mine.contains(where: \.isEverything) ? [] : layout.lookupPeer(name, incoming: isIngress)
        case .ports: return layout.lookupPort(name)
        case .named: return layout.lookupNamedPort(name)
        }
    }

    /// The whole table of each family.
    package func rulesets() -> [Ruleset] {
        layouts.map { layout in
            var fill = PolicyChange(layout)
            for record in pods.values {
                guard let group = groups[record.group] else { continue }
                for address in record.addresses where address.family == layout.family {
                    write(address, group.wanted, unlessIn: nil, adding: true, [], &fill)
                }
            }
            func named(_ set: NFSet) -> Ruleset.NamedSet { Ruleset.NamedSet(set, fill.adds[set.name]) }
            let contents = sets.sorted { $0.key < $1.key }.map { _, record -> Ruleset.NamedSet in
                let fixed = namedSet(record, layout)
                return fixed.elements.isEmpty ? named(fixed.set) : fixed
            }
            let policyChains = policies.sorted { $0.key < $1.key }.flatMap { _, loaded -> [Ruleset.Chain] in
                [true, false].filter { loaded.policy.rules($0) != nil }.map { isIngress in
                    Ruleset.Chain(
                        NFChain(PolicyState.chainName(loaded.policy.id, isIngress: isIngress)),
                        rules(of: loaded.policy, isIngress: isIngress, layout))
                }
            }
            let isolating = chains.sorted { $0.value.name < $1.value.name }.map { isolation($0.key, $0.value.name) }
            return Ruleset(
                layout.table, sets: layout.sets.map(named) + contents,
                chains: layout.chains + policyChains + isolating)
        }
    }
}
