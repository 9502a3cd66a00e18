import Linux
import Netlink
import NetworkTesting
import PodNetwork
import Testing

/// Several nodes on one switch, each a network namespace with a pod network and a backend:
///
///     pod 10.42.1.2 --- cni0 node 1 192.0.2.1 ---- switch ---- 192.0.2.2 node 2 cni0 --- pod 10.42.2.2
final class NodeNetworks {
    final class Node {
        let name: String
        let namespace: NetworkNamespace
        let route: RouteSocket
        let directory: String
        var network: PodNetwork?
        var backend: NetworkBackend?
        var ranges: [IPPrefix]
        var object: NetworkNode?

        init(_ number: Int, _ ranges: [String]) throws {
            name = "node-\(number)"
            namespace = try NetworkNamespace.make()
            route = try RouteSocket(in: namespace)
            directory = "/tmp/k3s-backend-test.\(getpid()).\(UInt64.random(in: 0 ... .max))"
            self.ranges = ranges.compactMap { IPPrefix($0) }
        }
        deinit { try? Directories.removeTree(directory) }
    }
    let hub: NetworkNamespace
    let switching: RouteSocket
    let nodes: [Node]

    init(_ count: Int, families: Set<AddressFamily> = [.ipv4, .ipv6], mtu: UInt32 = 1500) throws {
        hub = try NetworkNamespace.make()
        switching = try RouteSocket(in: hub)
        try switching.addLink(LinkSpec("switch", .bridge, mtu: mtu, isUp: true))
        let bridge = try #require(try switching.link(name: "switch")).index
        nodes = try (1...count).map { number in
            try Node(
                number,
                (families.contains(.ipv4) ? ["10.42.\(number).0/24"] : [])
                    + (families.contains(.ipv6) ? ["fd00:42:0:\(number)::/64"] : []))
        }
        for (index, node) in nodes.enumerated() {
            let number = index + 1
            try node.route.setLink(1, LinkChange(isUp: true))
            try switching.addLink(
                LinkSpec(
                    "port\(number)", .veth(VethPeer(name: "uplink", namespace: node.namespace, mtu: mtu)), mtu: mtu,
                    master: bridge, isUp: true))
            let uplink = try #require(try node.route.link(name: "uplink")).index
            try node.namespace.run { () throws(NetlinkError) in try Sysctl.set("net/ipv6/conf/uplink/accept_dad", "0") }
            try node.route.setLink(uplink, LinkChange(isUp: true))
            if families.contains(.ipv4) {
                try node.route.addAddress(#require(IPPrefix("192.0.2.\(number)/24")), to: uplink)
                try node.route.addRoute(Route(to: nil, family: .ipv4, gateway: IPAddress("192.0.2.254"), link: uplink))
            }
            if families.contains(.ipv6) {
                try node.route.addAddress(
                    #require(IPPrefix("2001:db8::\(number)/64")), to: uplink, flags: .noDuplicateDetection)
                try node.route.addRoute(Route(to: nil, family: .ipv6, gateway: IPAddress("2001:db8::fe"), link: uplink))
            }
        }
    }

    func configuration(_ node: Node, _ kind: BackendKind) -> BackendConfiguration {
        var configuration = BackendConfiguration(kind, stateFile: node.directory + "/backend")
        configuration.keyFile = node.directory + "/wgkey"
        configuration.subnetFile = node.directory + "/run/subnet.env"
        configuration.clusterCIDRs = ["10.42.0.0/16", "fd00:42::/56"].compactMap { IPPrefix($0) }
        return configuration
    }

    /// What a node does at start; its object's annotations survive.
    func start(_ node: Node, _ kind: BackendKind, _ change: (inout BackendConfiguration) -> Void = { _ in })
        async throws
    {
        var settings = configuration(node, kind)
        change(&settings)
        let backend = try await NetworkBackend.open(
            settings, podCIDRs: node.ranges, annotations: node.object?.annotations ?? [:], in: node.namespace)
        node.backend = backend
        var pods = PodNetworkConfiguration(
            podCIDRs: node.ranges, clusterCIDRs: ["10.42.0.0/16", "fd00:42::/56"].compactMap { IPPrefix($0) },
            stateDirectory: node.directory + "/network")
        pods.mtu = backend.mtu
        node.network = try await PodNetwork.open(pods, in: node.namespace)
        node.object = backend.node(named: node.name)
    }

    func startAll(_ kind: BackendKind, _ change: (inout BackendConfiguration) -> Void = { _ in }) async throws {
        for node in nodes { try await start(node, kind, change) }
        for node in nodes { #expect(tell(node) == []) }
    }

    /// Every other node's object, as the API server would bring it.
    @discardableResult
    func tell(_ node: Node, without: Set<String> = []) -> [String] {
        let others = nodes.filter { $0.name != node.name && !without.contains($0.name) }.compactMap(\.object)
        return node.backend?.update(
            others.map {
                NetworkNode(name: $0.name, podCIDRs: $0.podCIDRs.map(\.description), annotations: $0.annotations)
            }) ?? []
    }

    func pod(_ node: Node, _ id: String) async throws -> (namespace: NetworkNamespace, ips: [String]) {
        let pod = try NetworkNamespace.make()
        let network = try #require(node.network)
        return (pod, try await network.attach(sandboxID: id, netnsPath: pod.processPath).ips.map(\.description))
    }

    /// Probes until the answer is the wanted one: neighbours have to be found, ports of the switch learned.
    func eventually(
        _ wanted: ProbeResult, from pod: NetworkNamespace, _ address: String, _ port: UInt16 = 80, udp: Bool = false,
        seconds: Int = 20
    ) -> ProbeResult {
        let deadline = ContinuousClock.now + .seconds(seconds)
        var last = probe(from: pod, address, port, udp: udp)
        while last != wanted, ContinuousClock.now < deadline { last = probe(from: pod, address, port, udp: udp) }
        return last
    }
}
