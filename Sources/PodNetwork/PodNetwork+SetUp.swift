import Iptables
import Linux
import Netlink
import Synchronization

extension PodNetwork {
    static func chooseMTU(_ configuration: PodNetworkConfiguration, _ route: RouteSocket) throws(NetlinkError) -> UInt32
    {
        if let mtu = configuration.mtu { return mtu }
        let lower = try HostAddress.defaultInterface(route)?.mtu ?? 1500
        // 1280 is the least that IPv6 allows; loopback-like devices have 65536, which no pod wants.
        return max(1280, min(lower, 9000) - min(lower, configuration.encapsulationBytes))
    }

    /// Returns the bridge's index.
    static func setUpBridge(
        _ configuration: PodNetworkConfiguration, _ pools: [AddressPool], mtu: UInt32, _ route: RouteSocket,
        _ namespace: NetworkNamespace
    ) throws(NetlinkError) -> Int32 {
        let name = configuration.bridge
        if let existing = try route.link(name: name), existing.kind != "bridge" {
            throw NetlinkError(
                EEXIST, "set up bridge \(name)",
                hint: "an interface of that name exists and is no bridge; remove or rename it")
        }
        // An address of its own, from the gateway's: without one the bridge takes the lowest of its ports, which changes as
        // pods come and go, and with it the pods' neighbour entries go stale.
        let mac = InterfaceName.mac(pools[0].gateway)
        if try route.link(name: name) == nil { try route.addLink(LinkSpec(name, .bridge, mtu: mtu, mac: mac)) }
        guard let bridge = try route.link(name: name) else { throw NetlinkError(ENODEV, "find bridge \(name)") }
        try namespace.run { () throws(NetlinkError) in try writeSettings(name, pools.map(\.prefix.family)) }
        if bridge.mac != mac || bridge.mtu != mtu || !bridge.isUp {
            try route.setLink(bridge.index, LinkChange(isUp: true, mtu: mtu, mac: mac))
        }
        let wanted = Set(pools.map(\.gatewayPrefix))
        let present = Set(try route.addresses(link: bridge.index).map(\.prefix))
        for prefix in wanted where !present.contains(prefix) {
            try route.addAddress(prefix, to: bridge.index, flags: prefix.family == .ipv6 ? .noDuplicateDetection : [])
        }
        // Of an earlier range.
        for prefix in present where !wanted.contains(prefix) && !prefix.address.isLinkLocal {
            try route.deleteAddress(prefix, from: bridge.index)
        }
        return bridge.index
    }

    private static func writeSettings(_ bridge: String, _ families: [AddressFamily]) throws(NetlinkError) {
        if families.contains(.ipv4) {
            try Sysctl.set("net/ipv4/ip_forward", "1")
            // Neighbours on the bridge talk through the node on purpose: no redirects to the direct way.
            try Sysctl.set("net/ipv4/conf/all/send_redirects", "0")
            try Sysctl.set("net/ipv4/conf/\(bridge)/send_redirects", "0")
            // A pod cannot send with an address that is not on the bridge.
            try Sysctl.set("net/ipv4/conf/\(bridge)/rp_filter", "1")
        }
        if families.contains(.ipv6) {
            guard Sysctl.get("net/ipv6/conf/all/forwarding") != nil else {
                throw NetlinkError(
                    EAFNOSUPPORT, "turn on IPv6 forwarding",
                    hint: "the kernel has no IPv6 (CONFIG_IPV6, ipv6.disable): use IPv4 ranges only")
            }
            try Sysctl.set("net/ipv6/conf/\(bridge)/disable_ipv6", "0")
            // The node asks for pods from its link-local address, which duplicate detection would hold back for a second.
            try Sysctl.set("net/ipv6/conf/\(bridge)/accept_dad", "0")
            try Sysctl.set("net/ipv6/conf/all/forwarding", "1")
        }
    }

    // MARK: rules

    func loadRules() throws(PodNetworkError) {
        let wanted = state.withLock { state in rulesets(state) }
        try kernel("load the pod network's rules") { () throws(NetlinkError) in
            var commands: [NFCommand] = []
            let loaded = self.state.withLock { $0.loaded }
            for (family, ruleset) in wanted { commands += ruleset.commands(replacing: loaded[family]) }
            if commands.isEmpty { return }
            var before = self.state.withLock { $0.generation }
            var isReload = false
            if loaded.isEmpty { before = try self.backend.generation() }
            do throws(NetlinkError) {
                try self.backend.commit(commands, purpose: "load the pod network's rules")
            } catch {
                // Somebody changed our table: load it whole.
                guard !loaded.isEmpty, error.isNotFound || error.isExisting else { throw error }
                isReload = true
                before = try self.backend.generation()
                try self.backend.commit(wanted.values.flatMap { $0.load() }, purpose: "load the pod network's rules")
            }
            // Rules never change here, only elements; so only a load needs to look how the kernel writes them.
            var digests: [AddressFamily: UInt64] = [:]
            if loaded.isEmpty || isReload {
                for (family, ruleset) in wanted { digests[family] = try self.backend.rulesDigest(ruleset.table) }
            }
            self.state.withLock { state in
                state.loaded = wanted
                // As if nobody but us had committed: what others do in between must be seen by `verifyRules`.
                state.generation = before == .max ? 1 : before + 1
                if !digests.isEmpty { state.digests = digests }
            }
        }
    }

    /// Of an earlier configuration, which had the other address family too.
    func removeRules(notOf families: [AddressFamily]) throws(PodNetworkError) {
        try kernel("remove rules of another address family") { () throws(NetlinkError) in
            let stale = AddressFamily.allCases.filter { !families.contains($0) }
                .map { NFTable(NFFamily($0), PodRules.tableName) }
            let present = Set(try self.backend.tables())
            for table in stale where present.contains(table) {
                try self.backend.commit([.deleteTable(table)], purpose: "remove table \(table)")
                // As if nobody had committed: the loaded tables are as they were.
                let now = try self.backend.generation()
                self.state.withLock { $0.generation = now }
            }
        }
    }

    private func rulesets(_ state: PodNetworkState) -> [AddressFamily: Ruleset] {
        var out: [AddressFamily: Ruleset] = [:]
        for (index, pool) in state.pools.enumerated() {
            let family = pool.prefix.family
            var rules = PodRules(
                podCIDR: pool.prefix, clusterCIDRs: configuration.clusterCIDRs,
                masquerades: configuration.masquerades.contains(family))
            // In the order of attachment: the elements of two runs are the same.
            for record in state.records.values.sorted(by: { $0.sequence < $1.sequence })
            where index < record.addresses.count {
                rules.bindings += record.hostPorts.map { PodRules.Binding($0, to: record.addresses[index]) }
            }
            out[family] = rules.ruleset()
        }
        return out
    }

    func verifyNow() throws(PodNetworkError) -> Bool {
        try kernel("check the pod network's rules") { () throws(NetlinkError) in
            let (loaded, generation, digests) = self.state.withLock { ($0.loaded, $0.generation, $0.digests) }
            let now = try self.backend.generation()
            if now == generation { return false }
            if try self.isIntact(loaded, digests) {
                self.state.withLock { $0.generation = now }
                return false
            }
            try self.backend.commit(loaded.values.flatMap { $0.load() }, purpose: "load the pod network's rules again")
            let after = now == .max ? 1 : now + 1
            var fresh: [AddressFamily: UInt64] = [:]
            for (family, ruleset) in loaded { fresh[family] = try self.backend.rulesDigest(ruleset.table) }
            self.state.withLock { ($0.generation, $0.digests) = (after, fresh) }
            return true
        }
    }

    private func isIntact(
        _ loaded: [AddressFamily: Ruleset], _ digests: [AddressFamily: UInt64]
    ) throws(NetlinkError) -> Bool {
        let tables = Set(try backend.tables())
        for (family, ruleset) in loaded {
            guard tables.contains(ruleset.table), try backend.rulesDigest(ruleset.table) == digests[family],
                try Set(backend.chains(ruleset.table)) == Set(ruleset.chains.map(\.chain)),
                try Set(backend.setNames(ruleset.table)) == Set(ruleset.sets.map(\.set.name))
            else { return false }
            for named in ruleset.sets {
                let found = try backend.elements(ruleset.table, named.set)
                if found.count != named.elements.count || found.digest != named.elements.digest { return false }
            }
        }
        return true
    }

    /// Removes the network's rules and its bridge; only for a node that runs no pods any more.
    package func tearDown() async throws(PodNetworkError) {
        try await gc(live: [])
        try await BlockingPool.onFreshThread(name: "pod-network") { () throws(PodNetworkError) in
            try kernel("remove the pod network") { () throws(NetlinkError) in
                let tables = self.state.withLock { $0.loaded.values.map(\.table) }
                try self.backend.commit(
                    tables.flatMap { [.addTable($0), .deleteTable($0)] }, purpose: "remove the pod network's rules")
                self.state.withLock { $0.loaded = [:] }
                try self.route.deleteLink(self.bridgeIndex)
            }
        }
    }
}
