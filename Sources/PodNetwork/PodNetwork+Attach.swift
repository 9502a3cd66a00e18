import Iptables
import Linux
import Netlink
import Synchronization

extension PodNetwork {
    func attachNow(_ id: String, _ path: String, _ hostPorts: [HostPort]) throws(PodNetworkError) -> PodAddresses {
        if let existing = state.withLock({ $0.records[id] }) {
            // A retry: the pod's end may or may not be there.
            if existing.hostPorts == hostPorts, try isComplete(existing, path) { return PodAddresses(existing) }
            try detachNow(id)
        }
        for port in hostPorts {
            if let owner = state.withLock({ $0.hostPortOwner(port, except: id) }) {
                throw PodNetworkError(.hostPortTaken, "host port \(port) is taken by sandbox \(owner)")
            }
        }
        let pod = try kernel("attach sandbox \(id)") { () throws(NetlinkError) in try NetworkNamespace(path: path) }
        let record = try reserve(id, hostPorts)
        do throws(PodNetworkError) {
            // The record first: whatever happens next, gc finds it.
            try records.save(record)
            try kernel("attach sandbox \(id)") { () throws(NetlinkError) in
                try self.connect(record, pod)
            }
            if !hostPorts.isEmpty { try loadRules() }
        } catch {
            try? detachNow(id)
            throw error
        }
        return PodAddresses(record)
    }

    private func reserve(_ id: String, _ hostPorts: [HostPort]) throws(PodNetworkError) -> SandboxRecord {
        let result: Result<SandboxRecord, PodNetworkError> = state.withLock { state in
            do throws(PodNetworkError) {
                let addresses = try state.allocate(id)
                let taken = Set(state.records.values.map(\.hostInterface))
                var attempt = 0
                while taken.contains(InterfaceName.make(id, attempt: attempt)) { attempt += 1 }
                let record = SandboxRecord(
                    sandboxID: id, addresses: addresses, mac: InterfaceName.mac(addresses[0]),
                    hostInterface: InterfaceName.make(id, attempt: attempt), hostPorts: hostPorts,
                    sequence: state.sequence)
                state.records[id] = record
                return .success(record)
            } catch { return .failure(error) }
        }
        return try result.get()
    }

    func detachNow(_ id: String) throws(PodNetworkError) {
        guard let record = state.withLock({ $0.records[id] }) else { return }
        // Deleting one end deletes both; the pod's namespace may be gone already, and with it the pair.
        try kernel("detach sandbox \(id)") { () throws(NetlinkError) in
            try self.route.deleteLink(name: record.hostInterface)
        }
        state.withLock { $0.records[id] = nil }
        if !record.hostPorts.isEmpty { try loadRules() }
        try records.remove(id)
        state.withLock { $0.release(record.addresses) }
    }

    private func isComplete(_ record: SandboxRecord, _ path: String) throws(PodNetworkError) -> Bool {
        try kernel("look at sandbox \(record.sandboxID)") { () throws(NetlinkError) in
            guard let host = try self.route.link(name: record.hostInterface), host.master == self.bridgeIndex else {
                return false
            }
            let inside = try RouteSocket(in: try NetworkNamespace(path: path))
            guard let link = try inside.link(name: self.configuration.podInterface), link.isUp else { return false }
            let found = Set(try inside.addresses(link: link.index).map(\.prefix.address))
            return found.isSuperset(of: record.addresses)
        }
    }

    /// Makes the veth pair (one message: both ends, their namespaces, addresses, MTU, bridge), then configures the pod's end.
    private func connect(_ record: SandboxRecord, _ pod: NetworkNamespace) throws(NetlinkError) {
        let spec = LinkSpec(
            record.hostInterface,
            .veth(VethPeer(name: configuration.podInterface, namespace: pod, mac: record.mac, mtu: mtu)), mtu: mtu,
            master: bridgeIndex, isUp: true)
        do throws(NetlinkError) { try route.addLink(spec) } catch {
            guard error.isExisting else { throw error }
            // Left over from a process that was killed: nobody on record has the name.
            try route.deleteLink(name: record.hostInterface)
            try route.addLink(spec)
        }
        if let port = try route.link(name: record.hostInterface) { try route.setBridgePort(port.index, hairpin: true) }

        let pools = state.withLock { $0.pools }
        let settings = configuration
        let inside = try pod.run { () throws(NetlinkError) in
            let socket = try RouteSocket()
            if pools.contains(where: { $0.prefix.family == .ipv6 }) {
                // The address is ours alone, and the node's redirects to neighbours would lead around services and policy.
                for name in ["all", "default", settings.podInterface] {
                    try Sysctl.set("net/ipv6/conf/\(name)/accept_redirects", "0")
                }
                try Sysctl.set("net/ipv6/conf/\(settings.podInterface)/accept_dad", "0")
                try Sysctl.set("net/ipv6/conf/\(settings.podInterface)/accept_ra", "0")
            }
            return socket
        }
        guard let link = try inside.link(name: configuration.podInterface) else {
            throw NetlinkError(ENODEV, "find \(configuration.podInterface) in \(pod.path)")
        }
        // One datagram: lo and the interface up, addresses, routes.
        var batch = MessageBuffer(capacity: 1024)
        LinkChange(isUp: true).encode(index: 1, into: &batch)
        LinkChange(isUp: true).encode(index: link.index, into: &batch)
        for (address, pool) in zip(record.addresses, pools) {
            guard let prefix = IPPrefix(address, length: Int(pool.prefix.length)) else { continue }
            RouteSocket.encodeAddress(
                prefix, link: link.index, flags: [.noPrefixRoute, .noDuplicateDetection], into: &batch)
            Route(to: IPPrefix(host: pool.gateway), family: address.family, link: link.index).encode(into: &batch)
            Route(to: nil, family: address.family, gateway: pool.gateway, link: link.index).encode(into: &batch)
        }
        try inside.request(&batch, "configure \(configuration.podInterface) of sandbox \(record.sandboxID)")
    }
}
