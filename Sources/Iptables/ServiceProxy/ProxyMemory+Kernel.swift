import Netlink

extension ProxyMemory {
    /// What of the kernel's state is not as it should be; nil if all is.
    func difference(_ backend: any RulesetBackend) throws(NetlinkError) -> String? {
        let present = Set(try backend.tables())
        for family in settings.families {
            guard let table = tables[family] else { continue }
            let name = table.layout.table
            guard present.contains(name) else { return "table \(name) is gone" }
            let chains = Set(try backend.chains(name))
            let wantedChains = Set(
                table.layout.chains.map(\.chain) + table.chains.map { NFChain($0.name) }
                    + table.timeouts.map { NFChain(ProxyLayout.rememberName($0)) })
            if chains != wantedChains { return "chains of table \(name) were changed" }
            let sets = Set(try backend.setNames(name))
            if sets != Set(table.layout.sets.map(\.set.name)) { return "sets of table \(name) were changed" }
            if try backend.rulesDigest(name) != table.rulesDigest { return "rules of table \(name) were changed" }
            for named in table.layout.sets where !named.set.isDynamic {
                var found = SetDigest()
                found.add(try backend.elements(name, named.set))
                if found != table.digests[named.set.name] {
                    return "elements of \(name) \(named.set.name) were changed"
                }
            }
        }
        return nil
    }

    // MARK: session affinity

    /// Splits remembered clients into those whose endpoint still serves the address and the others.
    func sortAffinity(_ elements: NFElements, _ layout: ProxyLayout) -> (kept: NFElements, gone: NFElements) {
        var valid: [FrontendKey: Set<Target>] = [:]
        for (id, service) in services {
            for frontend in service.frontends where frontend.hasAffinity && owners[frontend.key] == id {
                valid[frontend.key] = Set(frontend.targets)
            }
        }
        var kept = NFElements(for: layout.affinity)
        var gone = NFElements(for: layout.affinity)
        let length = layout.family.byteCount
        for index in 0..<elements.count {
            let key = Array(elements.key(index))
            guard let value = elements.value(index).map(Array.init),
                let address = IPAddress(bytes: key[length..<2 * length]),
                let transport = TransportProtocol(rawValue: key[2 * length]),
                let target = IPAddress(bytes: value[..<length])
            else { continue }
            let port = UInt16(key[2 * length + 4]) << 8 | UInt16(key[2 * length + 5])
            let targetPort = UInt16(value[length]) << 8 | UInt16(value[length + 1])
            let targets =
                valid[FrontendKey(address, transport, port)]
                ?? valid[FrontendKey(nodePort: port, transport, layout.family)]
            if targets?.contains(Target(address: target, port: targetPort)) == true {
                kept.append(elements, index)
                // An element that is about to expire keeps at least a moment: 0 would mean forever.
                let left = index < elements.expirations.count ? elements.expirations[index] : 0
                kept.append(expirationMilliseconds: max(1000, left))
            } else {
                gone.append(elements, index)
            }
        }
        return (kept, gone)
    }

    /// Clients remembered by the table that a full load is about to replace (by an earlier process, or before tampering).
    func survivingAffinity(_ backend: any RulesetBackend) -> [AddressFamily: NFElements] {
        var out: [AddressFamily: NFElements] = [:]
        for family in settings.families {
            let layout = ProxyLayout(family, settings)
            // No table, or one of another shape: nothing to keep.
            guard let elements = try? backend.elements(layout.table, layout.affinity) else { continue }
            out[family] = sortAffinity(elements, layout).kept
        }
        return out
    }

    /// Forgets clients of endpoints that are gone. An entry that expires meanwhile makes a batch fail, so each is then
    /// deleted alone; one that stays only sends its client to an endpoint that answers no more until it times out.
    mutating func pruneAffinity(_ backend: any RulesetBackend) {
        for family in settings.families {
            let layout = ProxyLayout(family, settings)
            guard let elements = try? backend.elements(layout.table, layout.affinity) else { continue }
            let gone = sortAffinity(elements, layout).gone
            if gone.isEmpty { continue }
            let purpose = "forget clients of removed endpoints"
            if (try? backend.commit([.deleteElements(layout.table, layout.affinity, gone)], purpose: purpose)) != nil {
                countCommit()
                continue
            }
            for index in 0..<gone.count {
                var one = NFElements(for: layout.affinity)
                one.append(gone, index)
                if (try? backend.commit([.deleteElements(layout.table, layout.affinity, one)], purpose: purpose)) != nil
                {
                    countCommit()
                }
            }
        }
    }
}

/// Where tracked connections can be deleted.
package protocol ConnectionTable: Sendable {
    /// Returns how many were deleted.
    func deleteFlows(_ family: AddressFamily, where wanted: (Flow) -> Bool) throws(NetlinkError) -> Int
}

extension ConntrackSocket: ConnectionTable {}

extension ConnectionTable {
    /// A UDP client that keeps sending from one port stays with the endpoint (or the refusal) that conntrack remembers.
    /// Deletes the flows of the given frontends that lead elsewhere than to their endpoints of now.
    func deleteStale(_ frontends: [FrontendKey: Set<IPAddress>]) throws(NetlinkError) -> Int {
        var count = 0
        for family in Set(frontends.keys.map(\.family)) {
            count += try deleteFlows(family) { flow in
                guard flow.original.transport == TransportProtocol.udp.rawValue else { return false }
                if let targets = frontends[FrontendKey(flow.original.destination, .udp, flow.original.destinationPort)]
                {
                    return !targets.contains(flow.reply.source)
                }
                if let targets = frontends[FrontendKey(nodePort: flow.original.destinationPort, .udp, family)] {
                    // Any local address can be meant. A flow of somebody else to that port number on another machine is
                    // masqueraded, not translated to another destination.
                    let isTranslated = flow.reply.source != flow.original.destination
                    let isPlain = !isTranslated && flow.reply.destination == flow.original.source
                    return (isTranslated || isPlain) && !targets.contains(flow.reply.source)
                }
                return false
            }
        }
        return count
    }
}
