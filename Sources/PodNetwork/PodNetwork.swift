import Codecs
import Iptables
import Linux
import Netlink
import Synchronization

/// How the node's pod network is set up.
package struct PodNetworkConfiguration: Sendable, Equatable {
    /// The node's ranges, at most one per family; the first is the primary one.
    package var podCIDRs: [IPPrefix]
    /// The whole cluster's ranges: traffic to them keeps the pod's address.
    package var clusterCIDRs: [IPPrefix]
    /// Records of sandboxes; wiped by nobody, may be on tmpfs.
    package var stateDirectory: String
    package var bridge = "cni0"
    package var podInterface = "eth0"
    /// Nil: that of the default interface less `encapsulationBytes`.
    package var mtu: UInt32?
    /// What the tunnel between nodes adds to a packet: 50 for vxlan over IPv4 (70 over IPv6), 60 or 80 for WireGuard.
    package var encapsulationBytes: UInt32 = 0
    /// Whether pods reach the world with the node's address, per family.
    package var masquerades: Set<AddressFamily> = [.ipv4, .ipv6]

    package init(podCIDRs: [IPPrefix], clusterCIDRs: [IPPrefix], stateDirectory: String) {
        (self.podCIDRs, self.clusterCIDRs, self.stateDirectory) = (podCIDRs, clusterCIDRs, stateDirectory)
    }
}

extension PodNetworkConfiguration {
    /// Takes over what a CNI configuration in place of k3s's says of the bridge (`--flannel-cni-conf`): MTU and name. The rest
    /// of flannel's and portmap's settings is how this network is anyway; other plugins need `--flannel-backend=none`.
    package mutating func apply(bridgeConfiguration document: JSON) throws(PodNetworkError) {
        let list = try CNIConfiguration(document, file: "CNI configuration")
        for (index, plugin) in list.plugins.enumerated() {
            let type = plugin["type"].string ?? ""
            guard ["flannel", "portmap", "bandwidth"].contains(type) else {
                throw PodNetworkError(
                    .invalid,
                    "plugins[\(index)].type: \"\(type)\": expected flannel, portmap or bandwidth; other plugins are "
                        + "run with --flannel-backend=none and a configuration in /etc/cni/net.d")
            }
            let delegate = plugin["delegate"]
            if !delegate["mtu"].isNull {
                guard let mtu = delegate["mtu"].int, (1280...65535).contains(mtu) else {
                    throw PodNetworkError(
                        .invalid, "plugins[\(index)].delegate.mtu: \(delegate["mtu"].text): expected 1280 to 65535")
                }
                self.mtu = UInt32(mtu)
            }
            if !delegate["bridge"].isNull {
                guard let name = delegate["bridge"].string, (1...15).contains(name.utf8.count),
                    !name.utf8.contains(UInt8(ascii: "/"))
                else {
                    throw PodNetworkError(
                        .invalid, "plugins[\(index)].delegate.bridge: expected an interface name of 1 to 15 bytes")
                }
                bridge = name
            }
        }
    }
}

/// What a pod got.
package struct PodAddresses: Sendable, Equatable {
    /// In the order of the node's ranges: the first is the pod's primary address.
    package var ips: [IPAddress]
    package var mac: MACAddress
    /// The host's end of the pod's veth pair.
    package var interface: String
}

/// The pod network of one node: a bridge, a veth pair per pod, addresses, masquerade and host ports.
///
///     pod: eth0 10.42.0.5/24, default via 10.42.0.1  ---veth---  cni0 10.42.0.1/24 :node
///
/// A pod's routes send everything to the node, also what is for its neighbours on the bridge (its address has no prefix
/// route): so services and network policy see all traffic in the IP layer, and neither br_netfilter nor hairpin ports are
/// needed, while both do no harm.
///
/// Works in the network namespace it was opened in. State survives restarts: `open` adopts what records say, and does not
/// touch running pods. Attach and detach run one at a time on threads of their own (they block for a few milliseconds).
package final class PodNetwork: Sendable {
    let configuration: PodNetworkConfiguration
    let namespace: NetworkNamespace
    let route: RouteSocket
    let backend: any RulesetBackend
    let records: RecordStore
    let bridgeIndex: Int32
    let mtu: UInt32
    /// Held for a whole attach or detach, only ever on a thread of its own.
    let operation = Mutex(())
    /// Held for moments.
    let state: Mutex<PodNetworkState>

    /// Sets up bridge, kernel settings and rules (all idempotent) and adopts the sandboxes on record.
    /// - Parameters:
    ///   - namespace: where the node lives; nil is that of the process.
    ///   - backend: where rules go; nil is the kernel.
    package static func open(
        _ configuration: PodNetworkConfiguration, in namespace: NetworkNamespace? = nil,
        backend: (any RulesetBackend)? = nil
    ) async throws(PodNetworkError) -> PodNetwork {
        try await BlockingPool.onFreshThread(name: "pod-network") { () throws(PodNetworkError) in
            try PodNetwork(configuration, in: namespace, backend: backend)
        }
    }

    private init(
        _ configuration: PodNetworkConfiguration, in given: NetworkNamespace?, backend: (any RulesetBackend)?
    ) throws(PodNetworkError) {
        let families = configuration.podCIDRs.map(\.family)
        guard !families.isEmpty, Set(families).count == families.count else {
            throw PodNetworkError(
                .invalid, "pod CIDRs \(configuration.podCIDRs): expected one per address family, at least one")
        }
        self.configuration = configuration
        // The namespace is held open: later calls come from threads that may be anywhere.
        let namespace = try kernel("open the node's network namespace") { () throws(NetlinkError) in
            if let given { return given }
            return try NetworkNamespace(path: "/proc/self/ns/net")
        }
        self.namespace = namespace
        route = try kernel("open the pod network") { () throws(NetlinkError) in try RouteSocket(in: namespace) }
        if let backend {
            self.backend = backend
        } else {
            self.backend = try kernel("open the pod network") { () throws(NetlinkError) in
                try KernelRuleset(in: namespace)
            }
        }
        records = RecordStore(directory: configuration.stateDirectory)
        var state = try PodNetworkState(configuration.podCIDRs)
        for record in try records.load() where !state.adopt(record) {
            // Another range than before: the address cannot be kept.
            try records.remove(record.sandboxID)
        }
        mtu = try kernel("choose the pod network's MTU") { [route] () throws(NetlinkError) in
            try PodNetwork.chooseMTU(configuration, route)
        }
        bridgeIndex = try kernel("set up bridge \(configuration.bridge)") { [route, mtu] () throws(NetlinkError) in
            try PodNetwork.setUpBridge(configuration, state.pools, mtu: mtu, route, namespace)
        }
        self.state = Mutex(state)
        try loadRules()
        try removeRules(notOf: families)
    }

    // MARK: pods

    /// Gives the pod in the network namespace at `path` its interface and addresses. Calling it again for a sandbox that has
    /// them returns them.
    package func attach(
        sandboxID: String, netnsPath path: String, hostPorts: [HostPort] = []
    ) async throws(PodNetworkError) -> PodAddresses {
        guard RecordStore.isValid(sandboxID) else {
            throw PodNetworkError(
                .invalid, "sandbox id \"\(sandboxID)\": expected 1 to 200 letters, digits, \"-\", \"_\" or \".\"")
        }
        return try await exclusive { () throws(PodNetworkError) in
            try self.attachNow(sandboxID, path, hostPorts)
        }
    }

    /// Removes interface, addresses and host ports of a sandbox. Idempotent.
    package func detach(sandboxID: String) async throws(PodNetworkError) {
        try await exclusive { () throws(PodNetworkError) in try self.detachNow(sandboxID) }
    }

    package func addresses(sandboxID: String) -> PodAddresses? {
        state.withLock { $0.records[sandboxID].map(PodAddresses.init(_:)) }
    }

    /// Sandboxes on record.
    package var sandboxIDs: Set<String> { state.withLock { Set($0.records.keys) } }

    /// Removes what belongs to no live sandbox: records, addresses, host ports, and veth ends on the bridge that no record
    /// knows (of a process killed between two steps). Returns the sandboxes that were removed.
    @discardableResult
    package func gc(live: Set<String>) async throws(PodNetworkError) -> [String] {
        try await exclusive { () throws(PodNetworkError) in
            let dead = self.state.withLock { $0.records.keys.filter { !live.contains($0) }.sorted() }
            for id in dead { try self.detachNow(id) }
            try kernel("look for leaked interfaces") { () throws(NetlinkError) in
                let known = self.state.withLock { Set($0.records.values.map(\.hostInterface)) }
                for link in try self.route.links(master: self.bridgeIndex)
                where link.kind == "veth" && InterfaceName.isOurs(link.name) && !known.contains(link.name) {
                    try self.route.deleteLink(link.index)
                }
            }
            return dead
        }
    }

    /// Compares the rules with what should be there and loads them again if somebody changed them; true if so.
    package func verifyRules() async throws(PodNetworkError) -> Bool {
        try await exclusive { () throws(PodNetworkError) in try self.verifyNow() }
    }

    private func exclusive<T: Sendable>(
        _ body: @escaping @Sendable () throws(PodNetworkError) -> T
    ) async throws(PodNetworkError) -> T {
        try await BlockingPool.onFreshThread(name: "pod-network") { () throws(PodNetworkError) in
            let result: Result<T, PodNetworkError> = self.operation.withLock { _ in
                do throws(PodNetworkError) { return .success(try body()) } catch { return .failure(error) }
            }
            return try result.get()
        }
    }
}

extension PodAddresses {
    init(_ record: SandboxRecord) { self.init(ips: record.addresses, mac: record.mac, interface: record.hostInterface) }
}

/// Who has which addresses and ports.
struct PodNetworkState: Sendable {
    var pools: [AddressPool]
    var records: [String: SandboxRecord] = [:]
    var sequence: UInt64 = 0
    /// What is loaded, to commit differences.
    var loaded: [AddressFamily: Ruleset] = [:]
    var generation: UInt32 = 0
    var digests: [AddressFamily: UInt64] = [:]

    init(_ cidrs: [IPPrefix]) throws(PodNetworkError) {
        pools = []
        for cidr in cidrs { pools.append(try AddressPool(cidr)) }
    }

    /// False if the record does not fit the ranges (any more).
    mutating func adopt(_ record: SandboxRecord) -> Bool {
        guard record.addresses.count == pools.count else { return false }
        var adopted = pools
        for (index, address) in record.addresses.enumerated() {
            guard adopted[index].adopt(address, for: record.sandboxID) else { return false }
            adopted[index].resume(after: address)
        }
        pools = adopted
        records[record.sandboxID] = record
        sequence = max(sequence, record.sequence)
        return true
    }

    mutating func allocate(_ id: String) throws(PodNetworkError) -> [IPAddress] {
        var changed = pools
        var addresses: [IPAddress] = []
        for index in changed.indices { addresses.append(try changed[index].allocate(for: id)) }
        pools = changed
        sequence += 1
        return addresses
    }

    mutating func release(_ addresses: [IPAddress]) {
        for index in pools.indices { for address in addresses { pools[index].release(address) } }
    }

    func hostPortOwner(_ port: HostPort, except id: String) -> String? {
        records.values.first { record in
            record.sandboxID != id
                && record.hostPorts.contains {
                    $0.transport == port.transport && $0.hostPort == port.hostPort
                        && ($0.hostAddress == nil || port.hostAddress == nil || $0.hostAddress == port.hostAddress)
                }
        }?.sandboxID
    }
}
