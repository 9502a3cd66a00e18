import Netlink

/// What the kernel should know about the pods of other nodes: routes, neighbour and forwarding entries, WireGuard peers. A
/// value: made from the nodes by `ForwardingPlanner`, compared with what is there, changed by the difference.
package struct ForwardingPlan: Sendable, Equatable {
    package struct Route: Sendable, Hashable {
        package var destination: IPPrefix
        package var gateway: IPAddress?
        package var link: Int32
        /// The gateway is on the link whatever the addresses say: the far end of a tunnel.
        package var isOnLink: Bool
        package init(_ destination: IPPrefix, via gateway: IPAddress?, link: Int32, isOnLink: Bool = false) {
            (self.destination, self.gateway, self.link) = (destination, gateway, link)
            self.isOnLink = isOnLink
        }
    }
    package struct Tunnel: Sendable, Hashable {
        package var link: Int32
        package var peer: WireGuardPeer
        package init(link: Int32, peer: WireGuardPeer) { (self.link, self.peer) = (link, peer) }
    }

    package var routes: Set<Route> = []
    package var neighbours: Set<Neighbour> = []
    package var tunnels: Set<Tunnel> = []
    /// Why nodes are left out, one line each.
    package var problems: [String] = []

    package init() {}

    /// RTPROT_*: the mark of our routes, so that those of an earlier process are found and nobody else's are touched.
    package static let origin: UInt8 = 107
}

/// From one plan to another, in the order in which it is to be done: nothing points at what is not there.
package struct ForwardingChanges: Sendable, Equatable {
    package var removedRoutes: [ForwardingPlan.Route] = []
    package var removedNeighbours: [Neighbour] = []
    package var removedTunnels: [ForwardingPlan.Tunnel] = []
    package var addedTunnels: [ForwardingPlan.Tunnel] = []
    package var addedNeighbours: [Neighbour] = []
    package var addedRoutes: [ForwardingPlan.Route] = []

    package var isEmpty: Bool { self == ForwardingChanges() }
}

extension ForwardingPlan {
    package func changes(from present: ForwardingPlan) -> ForwardingChanges {
        var changes = ForwardingChanges()
        func order(_ a: Route, _ b: Route) -> Bool { a.destination.description < b.destination.description }
        changes.removedRoutes = present.routes.subtracting(routes).sorted(by: order)
        changes.addedRoutes = routes.subtracting(present.routes).sorted(by: order)
        changes.removedNeighbours = present.neighbours.subtracting(neighbours).sorted { "\($0)" < "\($1)" }
        changes.addedNeighbours = neighbours.subtracting(present.neighbours).sorted { "\($0)" < "\($1)" }
        // A peer that changes is set, not removed: it keeps its session.
        let kept = Set(tunnels.map { Tunnel(link: $0.link, peer: $0.peer.identity) })
        func before(_ a: Tunnel, _ b: Tunnel) -> Bool {
            (a.link, "\(a.peer.allowedIPs)") < (b.link, "\(b.peer.allowedIPs)")
        }
        changes.removedTunnels = present.tunnels.filter {
            !kept.contains(Tunnel(link: $0.link, peer: $0.peer.identity))
        }.sorted(by: before)
        changes.addedTunnels = tunnels.subtracting(present.tunnels).sorted(by: before)
        return changes
    }

    /// What can be told from the kernel alone: addresses of WireGuard's peers follow their packets, and the order of allowed
    /// addresses is the kernel's.
    package var comparable: ForwardingPlan {
        var plan = self
        plan.problems = []
        plan.tunnels = Set(
            tunnels.map { tunnel in
                var peer = tunnel.peer.identity
                peer.allowedIPs = tunnel.peer.allowedIPs.sorted { $0.description < $1.description }
                return Tunnel(link: tunnel.link, peer: peer)
            })
        return plan
    }
}

extension WireGuardPeer {
    /// Who it is, without how it is reached.
    var identity: WireGuardPeer { WireGuardPeer(publicKey: publicKey, allowedIPs: []) }
}

/// Nodes in, plan out.
package struct ForwardingPlanner: Sendable, Equatable {
    package var configuration: BackendConfiguration
    /// This node's ranges.
    package var own: [IPPrefix]
    /// The interface towards the other nodes, and the networks that are on its link.
    package var uplink: Int32
    package var onLink: [IPPrefix]
    /// The tunnel's device per family.
    package var devices: [AddressFamily: Int32]

    package init(
        _ configuration: BackendConfiguration, own: [IPPrefix], uplink: Int32, onLink: [IPPrefix] = [],
        devices: [AddressFamily: Int32] = [:]
    ) {
        (self.configuration, self.own, self.uplink) = (configuration, own, uplink)
        (self.onLink, self.devices) = (onLink, devices)
    }

    /// - Parameter nodes: the other nodes; of two that claim the same range the first by name has it.
    package func plan(_ nodes: [NetworkNode]) -> ForwardingPlan {
        var plan = ForwardingPlan()
        var taken = TakenRanges(lengths: Set((own + nodes.flatMap(\.podCIDRs)).map(\.length)))
        for range in own { taken.insert(range, by: "this node") }
        var macs: [MACAddress: String] = [:]
        let families = Set(own.map(\.family))
        for node in nodes.sorted(by: { $0.name < $1.name }) {
            guard let backend = node.backend else { continue }
            guard backend == configuration.kind.annotation else {
                plan.problems.append(
                    "node \(node.name) has backend \"\(backend)\", this one \"\(configuration.kind.annotation)\": "
                        + "no pod traffic between them; --flannel-backend must be the same on all servers")
                continue
            }
            for range in node.podCIDRs where families.contains(range.family) {
                if let other = taken.overlapping(range) {
                    plan.problems.append(
                        "node \(node.name): pod CIDR \(range) overlaps \(other.range) of \(other.by): left out")
                    continue
                }
                guard let address = node.addresses[range.family] else {
                    plan.problems.append("node \(node.name) announces no \(range.family) address: \(range) left out")
                    continue
                }
                if let problem = add(node, range, address, &macs, to: &plan) {
                    plan.problems.append("node \(node.name): \(problem): \(range) left out")
                } else {
                    taken.insert(range, by: "node \(node.name)")
                }
            }
        }
        return plan
    }

    /// Returns what is wrong.
    private func add(
        _ node: NetworkNode, _ range: IPPrefix, _ address: IPAddress, _ macs: inout [MACAddress: String],
        to plan: inout ForwardingPlan
    ) -> String? {
        let tunnel = node.tunnels[range.family]
        switch configuration.kind {
        case .none: return nil
        case .hostGateway:
            plan.routes.insert(ForwardingPlan.Route(range, via: address, link: uplink))
        case .vxlan:
            if configuration.directRouting, onLink.contains(where: { $0.contains(address) }) {
                plan.routes.insert(ForwardingPlan.Route(range, via: address, link: uplink))
                return nil
            }
            guard let device = devices[range.family] else { return "there is no tunnel for \(range.family)" }
            guard let mac = tunnel?.mac, let vni = tunnel?.vni else {
                return "its backend-data names no VtepMAC and VNI"
            }
            guard vni == configuration.vni else { return "its VNI is \(vni), this node's \(configuration.vni)" }
            if let other = macs[mac], other != "\(node.name) \(range.family)" {
                return "its VtepMAC \(mac) is also that of \(other)"
            }
            macs[mac] = "\(node.name) \(range.family)"
            // As flannel: the far end is "at" the range's network address, which is never a pod's.
            plan.neighbours.insert(Neighbour(.arp, link: device, address: range.network, mac: mac))
            plan.neighbours.insert(Neighbour(.forwarding, link: device, address: address, mac: mac))
            plan.routes.insert(ForwardingPlan.Route(range, via: range.network, link: device, isOnLink: true))
        case .wireGuard:
            guard let device = devices[range.family] else { return "there is no tunnel for \(range.family)" }
            guard let key = tunnel?.publicKey else { return "its backend-data names no PublicKey" }
            plan.tunnels.insert(
                ForwardingPlan.Tunnel(
                    link: device,
                    peer: WireGuardPeer(
                        publicKey: key, presharedKey: configuration.presharedKey,
                        endpoint: WireGuardPeer.Endpoint(address, configuration.port(range.family)),
                        keepalive: configuration.keepalive, allowedIPs: [range])))
            plan.routes.insert(ForwardingPlan.Route(range, via: nil, link: device))
        }
        return nil
    }
}

/// Who has which range; found by a few look-ups per range however many nodes there are.
private struct TakenRanges {
    typealias Owner = (range: IPPrefix, by: String)
    /// All that occur: few, and usually one per family.
    let lengths: Set<UInt8>
    private var ranges: [IPPrefix: Owner] = [:]
    /// By what the ranges are part of.
    private var parts: [IPPrefix: Owner] = [:]

    init(lengths: Set<UInt8>) { self.lengths = lengths }

    mutating func insert(_ range: IPPrefix, by owner: String) {
        ranges[range.masked] = (range, owner)
        for length in lengths where length <= range.length {
            guard let whole = IPPrefix(range.address, length: Int(length))?.masked else { continue }
            if parts[whole] == nil { parts[whole] = (range, owner) }
        }
    }

    func overlapping(_ range: IPPrefix) -> Owner? {
        if let inside = parts[range.masked] { return inside }
        for length in lengths where length < range.length {
            if let whole = IPPrefix(range.address, length: Int(length))?.masked, let owner = ranges[whole] {
                return owner
            }
        }
        return nil
    }
}
