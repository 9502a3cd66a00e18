import Linux
import Netlink
import Synchronization

/// This node's end of the network between nodes: its tunnel devices, and the kernel's tables that follow the other nodes.
///
///     let backend = try await NetworkBackend.open(configuration, podCIDRs: ranges, annotations: node.annotations)
///     node.annotations.merge(backend.node(named: name).annotations)   // what others need to know
///     let problems = await backend.update(nodes)                      // whenever a node changes
///
/// Thin: `ForwardingPlanner` decides, this writes the difference in one datagram. Nothing runs between the calls; `verify`,
/// now and then, repairs what others have changed. Works in the network namespace it was opened in.
package final class NetworkBackend: Sendable {
    struct State {
        var planner: ForwardingPlanner
        var nodes: [NetworkNode] = []
        /// What is in the kernel; nil: it has to be asked.
        var applied: ForwardingPlan?
        var tunnels: [AddressFamily: NetworkNode.Tunnel]
        /// What does not work since the start, but stops nothing.
        var problems: [String] = []
    }
    package let configuration: BackendConfiguration
    /// Of pods' packets: what fits into the tunnel.
    package let mtu: UInt32
    let podCIDRs: [IPPrefix]
    let namespace: NetworkNamespace
    let route: RouteSocket
    let uplink: HostAddress.Interface
    private let publicAddresses: [AddressFamily: IPAddress]
    private let state: Mutex<State>

    /// Makes the devices, or takes over those that fit; removes those of another backend.
    /// - Parameters:
    ///   - annotations: of this node's object, which say what an earlier process announced: the tunnel keeps its MAC address.
    ///   - namespace: where the node lives; nil is that of the process.
    package static func open(
        _ configuration: BackendConfiguration, podCIDRs: [IPPrefix], annotations: [String: String] = [:],
        in namespace: NetworkNamespace? = nil
    ) async throws(PodNetworkError) -> NetworkBackend {
        try await BlockingPool.onFreshThread(name: "network-backend") { () throws(PodNetworkError) in
            try NetworkBackend(configuration, podCIDRs, annotations, namespace)
        }
    }

    private init(
        _ configuration: BackendConfiguration, _ podCIDRs: [IPPrefix], _ annotations: [String: String],
        _ given: NetworkNamespace?
    ) throws(PodNetworkError) {
        (self.configuration, self.podCIDRs) = (configuration, podCIDRs)
        let namespace = try kernel("open the node's network namespace") { () throws(NetlinkError) in
            if let given { return given }
            return try NetworkNamespace(path: "/proc/self/ns/net")
        }
        self.namespace = namespace
        let route = try kernel("open the network between nodes") { () throws(NetlinkError) in
            try RouteSocket(in: namespace)
        }
        self.route = route
        let uplink = try NetworkBackend.findUplink(configuration, route)
        self.uplink = uplink
        var publicAddresses: [AddressFamily: IPAddress] = [:]
        for family in Set(podCIDRs.map(\.family)) where configuration.kind != .none {
            let local = try NetworkBackend.localAddress(configuration, uplink, family)
            let external = configuration.externalIPs.first { $0.family == family }
            let name = NetworkNode.prefix + (family == .ipv4 ? "public-ip-overwrite" : "public-ipv6-overwrite")
            let overwrite = annotations[name].flatMap { IPAddress($0) }.flatMap { $0.family == family ? $0 : nil }
            publicAddresses[family] = overwrite ?? external ?? local
        }
        self.publicAddresses = publicAddresses
        let outer = configuration.mtu ?? min(uplink.mtu, 9000)
        let overhead = podCIDRs.map { configuration.overhead($0.family) }.max() ?? 0
        // 1280 is the least that IPv6 allows.
        mtu = max(1280, outer - min(outer, overhead))
        try NetworkBackend.removeOtherDevices(configuration, podCIDRs, route)
        let earlier = NetworkNode(name: "", podCIDRs: [], annotations: annotations)
        let made = try NetworkBackend.makeDevices(configuration, podCIDRs, uplink, outer, earlier, route, namespace)
        state = Mutex(
            State(
                planner: ForwardingPlanner(
                    configuration, own: podCIDRs, uplink: uplink.index,
                    onLink: (uplink.ipv4 + uplink.ipv6).map(\.masked),
                    devices: made.devices), tunnels: made.tunnels))
        guard configuration.kind != .none, let file = configuration.subnetFile else { return }
        let text = SubnetFile.text(cluster: configuration.clusterCIDRs, node: podCIDRs, mtu: mtu)
        do throws(SysError) { try SubnetFile.write(text, to: file) } catch {
            state.withLock { $0.problems.append("subnet file: \(error)") }
        }
    }

    /// This node as others see it.
    package func node(named name: String) -> NetworkNode {
        NetworkNode(
            name: name, podCIDRs: podCIDRs, backend: configuration.kind.annotation, addresses: publicAddresses,
            tunnels: state.withLock { $0.tunnels })
    }

    /// Makes the kernel follow the other nodes. Returns what does not work, one line each; the rest does.
    @discardableResult
    package func update(_ nodes: [NetworkNode]) -> [String] {
        state.withLock { state in
            state.nodes = nodes
            return state.problems + apply(&state)
        }
    }

    /// Looks whether the kernel still has what it was told, and repairs it; true if somebody had changed it.
    package func verify() throws(PodNetworkError) -> Bool {
        if configuration.kind == .none { return false }
        let result: Result<Bool, PodNetworkError> = state.withLock { state in
            do throws(PodNetworkError) {
                var changed = false
                if try !devicesAreThere(state.planner.devices) {
                    let earlier = NetworkNode(name: "", podCIDRs: [], backend: nil, tunnels: state.tunnels)
                    let outer = configuration.mtu ?? min(uplink.mtu, 9000)
                    let made = try NetworkBackend.makeDevices(
                        configuration, podCIDRs, uplink, outer, earlier, route, namespace)
                    (state.planner.devices, state.tunnels, state.applied) = (made.devices, made.tunnels, nil)
                    changed = true
                } else if let applied = state.applied {
                    let present = try present(state.planner)
                    changed = present.comparable != applied.comparable
                    if changed { state.applied = present }
                }
                if changed || state.applied == nil { _ = apply(&state) }
                return .success(changed)
            } catch { return .failure(error) }
        }
        return try result.get()
    }

    /// Removes routes and devices: for a node that leaves, or goes over to another backend.
    package func tearDown() throws(PodNetworkError) {
        update([])
        try kernel("remove the network between nodes") { () throws(NetlinkError) in
            for family in AddressFamily.allCases {
                if let name = self.configuration.deviceName(family) { try self.route.deleteLink(name: name) }
            }
        }
        if let file = configuration.subnetFile { try? Files.remove(file) }
        try? Files.remove(configuration.stateFile)
    }

    // MARK: the kernel's tables

    private func apply(_ state: inout State) -> [String] {
        if configuration.kind == .none { return [] }
        var wanted = state.planner.plan(state.nodes)
        do throws(PodNetworkError) {
            let before: ForwardingPlan
            if let applied = state.applied { before = applied } else { before = try present(state.planner) }
            let changes = wanted.changes(from: before)
            let failures = changes.isEmpty ? [] : write(changes)
            // What failed is tried again with the next change or look.
            state.applied = failures.isEmpty ? wanted : nil
            wanted.problems += failures
        } catch {
            state.applied = nil
            wanted.problems.append(error.message)
        }
        return wanted.problems
    }

    /// Many messages in a datagram (its answers have to fit the socket's buffer); should any be refused, all once more one by
    /// one, to see which.
    private func write(_ changes: ForwardingChanges) -> [String] {
        let operations = changes.operations
        do throws(NetlinkError) { try tunnels(changes) } catch { return ["\(error)"] }
        do throws(NetlinkError) {
            for start in stride(from: 0, to: operations.count, by: 100) {
                var batch = MessageBuffer(capacity: 8192)
                for operation in operations[start..<min(start + 100, operations.count)] {
                    operation.encode(into: &batch)
                }
                try route.request(&batch, "write routes to other nodes")
            }
            return []
        } catch {}
        var failures: [String] = []
        for operation in operations {
            var one = MessageBuffer(capacity: 256)
            operation.encode(into: &one)
            do throws(NetlinkError) { try route.request(&one, "\(operation)") } catch {
                if operation.isDeletion && error.isNotFound || !operation.isDeletion && error.isExisting { continue }
                var error = error
                if configuration.kind == .hostGateway, error.code == ENETUNREACH || error.code == EINVAL {
                    error.hint = "host-gw needs all nodes on one link; --flannel-backend=vxlan does not"
                }
                failures.append("\(error)")
            }
        }
        return failures
    }

    private func tunnels(_ changes: ForwardingChanges) throws(NetlinkError) {
        let links = Set((changes.removedTunnels + changes.addedTunnels).map(\.link))
        if links.isEmpty { return }
        let socket = try WireGuardSocket(in: namespace)
        for link in links {
            try socket.update(
                link, set: changes.addedTunnels.filter { $0.link == link }.map(\.peer),
                remove: changes.removedTunnels.filter { $0.link == link }.map(\.peer.publicKey))
        }
    }

    private func devicesAreThere(_ devices: [AddressFamily: Int32]) throws(PodNetworkError) -> Bool {
        try kernel("look at the tunnels") { () throws(NetlinkError) in
            for (family, index) in devices {
                guard let name = self.configuration.deviceName(family), let link = try self.route.link(name: name),
                    link.index == index, link.isUp
                else { return false }
                let range = self.podCIDRs.first { $0.family == family }
                let addresses = try self.route.addresses(family: family, link: index).map(\.prefix)
                guard let range, addresses.contains(IPPrefix(host: range.network)) else { return false }
            }
            return true
        }
    }

    /// What the kernel has of ours, also from an earlier process.
    func present(_ planner: ForwardingPlanner) throws(PodNetworkError) -> ForwardingPlan {
        try kernel("read routes to other nodes") { () throws(NetlinkError) in
            var plan = ForwardingPlan()
            for family in Set(planner.own.map(\.family)) {
                for route in try self.route.routes(family: family) where route.origin == ForwardingPlan.origin {
                    guard let destination = route.destination, let link = route.link else { continue }
                    plan.routes.insert(
                        ForwardingPlan.Route(destination, via: route.gateway, link: link, isOnLink: route.isOnLink))
                }
            }
            for device in planner.devices.values {
                if planner.configuration.kind == .wireGuard {
                    let found = try WireGuardSocket(in: self.namespace).device(device)
                    for peer in found?.peers ?? [] {
                        plan.tunnels.insert(ForwardingPlan.Tunnel(link: device, peer: peer))
                    }
                    continue
                }
                // 0x80: permanent; the others the kernel has learned (multicast).
                let entries =
                    try self.route.neighbours(.arp, link: device) + self.route.neighbours(.forwarding, link: device)
                for entry in entries where entry.state == 0x80 && entry.mac?.value != 0 {
                    plan.neighbours.insert(entry)
                }
            }
            return plan
        }
    }
}

extension ForwardingChanges {
    /// One rtnetlink message.
    enum Operation: CustomStringConvertible {
        case route(ForwardingPlan.Route, isDeletion: Bool)
        case neighbour(Neighbour, isDeletion: Bool)

        var isDeletion: Bool {
            switch self {
            case .route(_, let isDeletion), .neighbour(_, let isDeletion): isDeletion
            }
        }
        var description: String {
            switch self {
            case .route(let route, let isDeletion): "\(isDeletion ? "remove" : "add") route \(route.kernel)"
            case .neighbour(let neighbour, let isDeletion): "\(isDeletion ? "remove" : "add") neighbour \(neighbour)"
            }
        }
        func encode(into buffer: inout MessageBuffer) {
            switch self {
            case .route(let route, true): route.kernel.encodeDeletion(into: &buffer)
            case .route(let route, false): route.kernel.encode(replace: true, into: &buffer)
            case .neighbour(let neighbour, let isDeletion):
                neighbour.encode(isDeletion: isDeletion, into: &buffer)
            }
        }
    }

    var operations: [Operation] {
        removedRoutes.map { .route($0, isDeletion: true) } + removedNeighbours.map { .neighbour($0, isDeletion: true) }
            + addedNeighbours.map { .neighbour($0, isDeletion: false) }
            + addedRoutes.map { .route($0, isDeletion: false) }
    }
}

extension ForwardingPlan.Route {
    var kernel: Route {
        Route(
            to: destination, family: destination.family, gateway: gateway, link: link, isOnLink: isOnLink,
            origin: ForwardingPlan.origin)
    }
}
