import Netlink

/// What does not change from one policy to the next.
package struct PolicySettings: Sendable, Equatable {
    package var families: [AddressFamily]
    /// The cluster's name server where it cannot have port 53 of its addresses and is led to another: a policy that
    /// allows port 53 means it.
    package var nameServers: [IPAddress] = []
    package var nameServerPort: UInt16 = 53
    /// Frames that go from pod to pod within a bridge pass the firewall too, where the kernel can do that (br_netfilter):
    /// pods are routed, but one that forges frames is not.
    package var filtersBridgedFrames = true
    package init(families: [AddressFamily] = [.ipv4]) { self.families = families }
    var redirectsNames: Bool { nameServerPort != 53 && !nameServers.isEmpty }
}

/// Pods, namespaces and policies in, sets and chains out. A value: changes give the commands that make them, and the state
/// as a whole gives the ruleset, with the same names.
package struct PolicyState: Sendable {
    struct PodRecord: Sendable {
        var group: Int
        var addresses: [IPAddress]
    }
    struct SetRecord: Sendable {
        let key: PolicySetKey
        let name: String
        var uses: Int
    }
    struct ChainKey: Hashable, Sendable {
        var isIngress: Bool
        var policies: [String]
    }
    struct LoadedPolicy: Sendable {
        var policy: NetworkPolicy
        var sets: [Int]
    }

    package let settings: PolicySettings
    let layouts: [PolicyLayout]
    private(set) var pods: [String: PodRecord] = [:]
    private(set) var groups: [Int: PodGroup] = [:]
    private var groupNumbers: [PodGroup.Key: Int] = [:]
    private var groupsByNamespace: [String: Set<Int>] = [:]
    /// A pod that takes an address over from another has it alone: the other's end has not been told yet.
    private var owners: [IPAddress: String] = [:]
    private(set) var namespaces: [String: [String: String]] = [:]
    private(set) var policies: [String: LoadedPolicy] = [:]
    private var policiesByNamespace: [String: Set<String>] = [:]
    private(set) var sets: [Int: SetRecord] = [:]
    private var setNumbers: [PolicySetKey: Int] = [:]
    private(set) var chains: [ChainKey: (name: String, uses: Int)] = [:]
    private var lastGroup = 0
    private var lastSet = 0
    private var lastChain = 0
    // Of the transaction that is under way.
    private var newSets: [Int] = []
    private var newChains: [ChainKey] = []
    private var removedChains: [String] = []
    /// Groups whose membership may differ from what is loaded.
    private var dirty: Set<Int> = []

    package init(_ settings: PolicySettings = PolicySettings()) {
        self.settings = settings
        layouts = settings.families.map { PolicyLayout($0) }
    }

    package var podCount: Int { pods.count }
    package var policyCount: Int { policies.count }

    /// Takes the changes over; what they mean for the tables, by family.
    mutating func apply(_ changes: PolicyChanges) -> [PolicyChange] {
        var out = layouts.map { PolicyChange($0) }
        (newSets, newChains, removedChains) = ([], [], [])
        var regrouped: Set<Int> = []

        applyNamespaces(changes, &regrouped)
        let before = applyPods(changes, &regrouped)
        applyPolicies(changes, &regrouped, &out)

        for number in regrouped { isolate(number) }
        let droppedSets = sets.filter { $0.value.uses == 0 }.map(\.key).sorted()
        for number in droppedSets { forget(set: number) }
        for number in dirty { refreshMembership(number) }

        let dropped = Set(droppedSets)
        for (id, old) in before { editPod(id, old, dropped, &out) }
        for number in dirty {
            guard let group = groups[number], group.loaded != group.wanted else { continue }
            for id in group.members where before[id] == nil {
                guard let record = pods[id] else { continue }
                edit(record.addresses, group.loaded, record.addresses, group.wanted, dropped, &out)
            }
            groups[number]?.loaded = group.wanted
        }
        dirty.formUnion(before.values.compactMap { $0?.group })
        for number in dirty {
            if let group = groups[number], group.members.isEmpty { drop(group: number, group.key) }
        }
        dirty = []
        finish(droppedSets, &out)
        return out
    }

    // MARK: namespaces

    private mutating func applyNamespaces(_ changes: PolicyChanges, _ regrouped: inout Set<Int>) {
        var touched: Set<String> = []
        for name in changes.removedNamespaces where namespaces.removeValue(forKey: name) != nil { touched.insert(name) }
        for (name, labels) in changes.namespaces where namespaces[name] != labels {
            namespaces[name] = labels
            touched.insert(name)
        }
        for name in touched { for number in groupsByNamespace[name] ?? [] { match(number) } }
    }

    // MARK: pods

    /// Returns where touched pods were: nil where they were not.
    private mutating func applyPods(
        _ changes: PolicyChanges, _ regrouped: inout Set<Int>
    ) -> [String: PodRecord?] {
        var before: [String: PodRecord?] = [:]
        func remember(_ id: String, _ record: PodRecord?) { if before[id] == nil { before[id] = .some(record) } }
        for id in changes.removedPods {
            guard let old = pods.removeValue(forKey: id) else { continue }
            remember(id, old)
            groups[old.group]?.members.remove(id)
            for address in old.addresses where owners[address] == id { owners[address] = nil }
        }
        for pod in changes.pods {
            let old = pods[pod.id]
            let number = group(
                PodGroup.Key(namespace: pod.namespace, labels: pod.labels, isLocal: pod.isLocal, ports: pod.ports),
                &regrouped)
            var addresses: [IPAddress] = []
            for address in pod.addresses where settings.families.contains(address.family) {
                if !addresses.contains(address) { addresses.append(address) }
            }
            if let old, old.group == number, old.addresses == addresses { continue }
            remember(pod.id, old)
            if let old {
                groups[old.group]?.members.remove(pod.id)
                for address in old.addresses where owners[address] == pod.id { owners[address] = nil }
            }
            for address in addresses {
                if let other = owners[address], let record = pods[other], other != pod.id {
                    remember(other, record)
                    pods[other]?.addresses.removeAll { $0 == address }
                }
                owners[address] = pod.id
            }
            groups[number]?.members.insert(pod.id)
            pods[pod.id] = PodRecord(group: number, addresses: addresses)
        }
        return before
    }

    private mutating func group(_ key: PodGroup.Key, _ regrouped: inout Set<Int>) -> Int {
        if let number = groupNumbers[key] { return number }
        lastGroup += 1
        groupNumbers[key] = lastGroup
        groupsByNamespace[key.namespace, default: []].insert(lastGroup)
        groups[lastGroup] = PodGroup(key)
        match(lastGroup)
        regrouped.insert(lastGroup)
        return lastGroup
    }

    private mutating func drop(group number: Int, _ key: PodGroup.Key) {
        if let group = groups[number] {
            release(ChainKey(isIngress: true, policies: group.ingressPolicies))
            release(ChainKey(isIngress: false, policies: group.egressPolicies))
        }
        groups[number] = nil
        groupNumbers[key] = nil
        groupsByNamespace[key.namespace]?.remove(number)
        if groupsByNamespace[key.namespace]?.isEmpty == true { groupsByNamespace[key.namespace] = nil }
    }

    /// Evaluates all selections for one group.
    private mutating func match(_ number: Int) {
        guard let key = groups[number]?.key else { return }
        dirty.insert(number)
        groups[number]?.matched = sets.filter { $0.value.key.selection?.matches(key, namespaces) == true }.map(\.key)
            .sorted()
    }

    // MARK: policies

    private mutating func applyPolicies(
        _ changes: PolicyChanges, _ regrouped: inout Set<Int>, _ out: inout [PolicyChange]
    ) {
        for id in changes.removedPolicies {
            guard let old = policies.removeValue(forKey: id) else { continue }
            policiesByNamespace[old.policy.namespace]?.remove(id)
            for set in old.sets { sets[set]?.uses -= 1 }
            for isIngress in [true, false] where old.policy.rules(isIngress) != nil {
                removedChains.append(PolicyState.chainName(id, isIngress: isIngress))
            }
            regrouped.formUnion(groupsByNamespace[old.policy.namespace] ?? [])
        }
        for policy in changes.policies {
            let old = policies[policy.id]
            if old?.policy == policy { continue }
            // New uses first: what both have in common stays.
            let used = policy.setKeys(settings).map { use($0) }
            for set in old?.sets ?? [] { sets[set]?.uses -= 1 }
            policies[policy.id] = LoadedPolicy(policy: policy, sets: used)
            policiesByNamespace[policy.namespace, default: []].insert(policy.id)
            for isIngress in [true, false] {
                let name = PolicyState.chainName(policy.id, isIngress: isIngress)
                let had = old?.policy.rules(isIngress) != nil
                // Removed and made again in one transaction.
                let returns = removedChains.contains(name)
                guard policy.rules(isIngress) != nil else {
                    if had { removedChains.append(name) }
                    continue
                }
                if returns { removedChains.removeAll { $0 == name } }
                for index in out.indices {
                    let chain = Ruleset.Chain(NFChain(name), rules(of: policy, isIngress: isIngress, layouts[index]))
                    if had || returns { out[index].rewritten.append(chain) } else { out[index].newChains.append(chain) }
                }
            }
            regrouped.formUnion(groupsByNamespace[policy.namespace] ?? [])
        }
    }

    private mutating func use(_ key: PolicySetKey) -> Int {
        if let number = setNumbers[key] {
            sets[number]?.uses += 1
            return number
        }
        lastSet += 1
        let number = lastSet
        setNumbers[key] = number
        sets[number] = SetRecord(key: key, name: "\(key.prefix)-\(number)", uses: 1)
        newSets.append(number)
        if let selection = key.selection {
            for (index, group) in groups where selection.matches(group.key, namespaces) {
                groups[index]?.matched.append(number)
                dirty.insert(index)
            }
        }
        return number
    }

    private mutating func forget(set number: Int) {
        guard let record = sets[number] else { return }
        setNumbers[record.key] = nil
        if record.key.selection != nil {
            for (index, group) in groups where group.matched.contains(number) {
                groups[index]?.matched.removeAll { $0 == number }
                dirty.insert(index)
            }
        }
    }

    /// Which policies isolate the pods of a group, and the chains for that.
    private mutating func isolate(_ number: Int) {
        guard let group = groups[number] else { return }
        dirty.insert(number)
        var ingress: [String] = []
        var egress: [String] = []
        if group.key.isLocal, !group.members.isEmpty {
            for id in policiesByNamespace[group.key.namespace] ?? [] {
                guard let policy = policies[id]?.policy, policy.pods.matches(group.key.labels) else { continue }
                if policy.ingress != nil { ingress.append(id) }
                if policy.egress != nil { egress.append(id) }
            }
        }
        ingress.sort()
        egress.sort()
        // The new ones first: a chain that both have stays.
        let ingressChain = retain(ChainKey(isIngress: true, policies: ingress))
        let egressChain = retain(ChainKey(isIngress: false, policies: egress))
        release(ChainKey(isIngress: true, policies: group.ingressPolicies))
        release(ChainKey(isIngress: false, policies: group.egressPolicies))
        groups[number]?.ingressPolicies = ingress
        groups[number]?.egressPolicies = egress
        groups[number]?.wanted.ingress = ingressChain
        groups[number]?.wanted.egress = egressChain
    }

    private mutating func retain(_ key: ChainKey) -> String? {
        guard !key.policies.isEmpty else { return nil }
        if let chain = chains[key] {
            chains[key]?.uses += 1
            return chain.name
        }
        lastChain += 1
        let name = "isolate-\(lastChain)"
        chains[key] = (name, 1)
        newChains.append(key)
        return name
    }

    private mutating func release(_ key: ChainKey) {
        guard !key.policies.isEmpty, let chain = chains[key] else { return }
        if chain.uses > 1 {
            chains[key]?.uses -= 1
            return
        }
        chains[key] = nil
        if let index = newChains.firstIndex(of: key) {
            newChains.remove(at: index)
        } else {
            removedChains.insert(chain.name, at: 0)
        }
    }

    private mutating func refreshMembership(_ number: Int) {
        guard let group = groups[number] else { return }
        var members: [Int] = []
        var named: [PodGroup.Membership.Named] = []
        for set in group.matched {
            switch sets[set]?.key {
            case .pods: members.append(set)
            case .named(_, let wanted):
                var seen: Set<UInt32> = []
                for port in group.key.ports
                where wanted.contains(NamedPort(transport: port.transport, name: port.name)) {
                    guard seen.insert(UInt32(port.transport.rawValue) << 16 | UInt32(port.number)).inserted else {
                        continue
                    }
                    named.append(.init(set: set, transport: port.transport, port: port.number))
                }
            default: break
            }
        }
        if group.wanted.sets != members { groups[number]?.wanted.sets = members }
        if group.wanted.named != named { groups[number]?.wanted.named = named }
    }

    // MARK: result

    private mutating func finish(_ dropped: [Int], _ out: inout [PolicyChange]) {
        for index in out.indices {
            let layout = layouts[index]
            for number in newSets {
                guard let record = sets[number], record.uses > 0 else { continue }
                out[index].newSets.append(namedSet(record, layout))
            }
            for key in newChains {
                guard let name = chains[key]?.name else { continue }
                out[index].newChains.append(isolation(key, name))
            }
            // A set that came and went in one transaction was never made.
            out[index].removedSets = dropped.filter { !newSets.contains($0) }.compactMap { sets[$0]?.name }
            out[index].removedChains = removedChains
        }
        for number in dropped { sets[number] = nil }
    }

    func namedSet(_ record: SetRecord, _ layout: PolicyLayout) -> Ruleset.NamedSet {
        let set = layout.set(record.key, record.name)
        return Ruleset.NamedSet(set, layout.elements(record.key, set))
    }

    func isolation(_ key: ChainKey, _ name: String) -> Ruleset.Chain {
        let jumps = key.policies.map {
            NFRule([.verdict(.jump(PolicyState.chainName($0, isIngress: key.isIngress)))])
        }
        return Ruleset.Chain(NFChain(name), jumps + [NFRule([.verdict(.goto(PolicyLayout.rejectChain))])])
    }

    func setNumber(_ key: PolicySetKey) -> Int? { setNumbers[key] }

    private func editPod(
        _ id: String, _ old: PodRecord?, _ dropped: Set<Int>, _ out: inout [PolicyChange]
    ) {
        let new = pods[id]
        let was = old.flatMap { groups[$0.group]?.loaded } ?? PodGroup.Membership()
        let now = new.flatMap { groups[$0.group]?.wanted } ?? PodGroup.Membership()
        edit(old?.addresses ?? [], was, new?.addresses ?? [], now, dropped, &out)
    }

    /// The elements of one pod, before and after.
    private func edit(
        _ oldAddresses: [IPAddress], _ old: PodGroup.Membership, _ newAddresses: [IPAddress],
        _ new: PodGroup.Membership, _ dropped: Set<Int>, _ out: inout [PolicyChange]
    ) {
        for index in out.indices {
            let family = layouts[index].family
            for address in oldAddresses where address.family == family {
                let stays = newAddresses.contains(address)
                write(address, old, unlessIn: stays ? new : nil, adding: false, dropped, &out[index])
            }
            for address in newAddresses where address.family == family {
                let was = oldAddresses.contains(address)
                write(address, new, unlessIn: was ? old : nil, adding: true, [], &out[index])
            }
        }
    }

    func write(
        _ address: IPAddress, _ membership: PodGroup.Membership, unlessIn other: PodGroup.Membership?, adding: Bool,
        _ dropped: Set<Int>, _ change: inout PolicyChange
    ) {
        let layout = change.layout
        func writeKey(_ out: inout [UInt8]) { address.appendBytes(to: &out) }
        if let chain = membership.ingress, other?.ingress != chain {
            change.edit(layout.ingress.name, layout.ingress, adding: adding) {
                $0.append(key: writeKey, verdict: .goto(chain))
            }
        }
        if let chain = membership.egress, other?.egress != chain {
            change.edit(layout.egress.name, layout.egress, adding: adding) {
                $0.append(key: writeKey, verdict: .goto(chain))
            }
        }
        if membership.isIsolated, other?.isIsolated != true {
            change.edit(layout.itself.name, layout.itself, adding: adding) {
                $0.append { bytes in
                    writeKey(&bytes)
                    writeKey(&bytes)
                }
            }
        }
        for number in membership.sets where other?.sets.contains(number) != true && !dropped.contains(number) {
            guard let record = sets[number] else { continue }
            change.edit(record.name, layout.set(record.key, record.name), adding: adding) { $0.append(key: writeKey) }
        }
        for named in membership.named where other?.named.contains(named) != true && !dropped.contains(named.set) {
            guard let record = sets[named.set] else { continue }
            change.edit(record.name, layout.set(record.key, record.name), adding: adding) {
                $0.append { bytes in
                    writeKey(&bytes)
                    bytes.append(contentsOf: PolicyLayout.portBytes(named.transport, named.port))
                }
            }
        }
    }
}
