import Linux
import Netlink
import NetworkTesting
import PodNetwork
import Synchronization

/// Two nodes on a switch, in network namespaces, a pod on each: what the pods' TCP gets through our vxlan, and through one
/// that is made by hand with `ip` and `bridge` between the same pods. And what following the other nodes costs.
struct PodNetworkBench {
    private final class Node {
        let namespace: NetworkNamespace
        let pod: NetworkNamespace
        let number: Int
        let directory: String
        var backend: NetworkBackend?
        var network: PodNetwork?
        init(_ number: Int) throws {
            self.number = number
            (namespace, pod) = (try NetworkNamespace.make(), try NetworkNamespace.make())
            directory = "/tmp/k3s-network-bench.\(getpid()).\(number)"
        }
        deinit { try? Directories.removeTree(directory) }

        func run(_ command: String) throws {
            let done = shell(command, in: namespace)
            guard done.status == 0 else { throw NetlinkError(EINVAL, "\(command): \(done.output)") }
        }
        func open() async throws {
            guard let range = IPPrefix("10.42.\(number).0/24"), let all = IPPrefix("10.42.0.0/16") else { return }
            backend = try await NetworkBackend.open(
                BackendConfiguration(.vxlan, stateFile: directory + "/backend"), podCIDRs: [range], in: namespace)
            if network != nil { return }
            var pods = PodNetworkConfiguration(
                podCIDRs: [range], clusterCIDRs: [all], stateDirectory: directory + "/network")
            pods.mtu = backend?.mtu
            network = try await PodNetwork.open(pods, in: namespace)
            _ = try await network?.attach(sandboxID: "pod", netnsPath: pod.processPath)
        }
    }

    static func run() async throws {
        let hub = try NetworkNamespace.make()
        let nodes = [try Node(1), try Node(2)]
        let made = shell("ip link add switch type bridge forward_delay 0; ip link set switch up", in: hub)
        guard made.status == 0 else { throw NetlinkError(EINVAL, made.output) }
        let switching = try RouteSocket(in: hub)
        guard let bridge = try switching.link(name: "switch")?.index else { return }
        for node in nodes {
            try switching.addLink(
                LinkSpec(
                    "port\(node.number)", .veth(VethPeer(name: "uplink", namespace: node.namespace)), master: bridge,
                    isUp: true))
            try node.run(
                "ip link set lo up; ip link set uplink up; ip addr add 192.0.2.\(node.number)/24 dev uplink; "
                    + "ip route add default via 192.0.2.254")
        }
        var ours: [Double] = [], theirs: [Double] = []
        for round in 0..<5 {
            // Taking turns, so that what else the machine does meets both.
            for isOurs in round % 2 == 0 ? [true, false] : [false, true] {
                if isOurs {
                    for node in nodes { try await node.open() }
                    for (node, other) in [(nodes[0], nodes[1]), (nodes[1], nodes[0])] {
                        guard let peer = other.backend?.node(named: "node-\(other.number)") else { return }
                        let problems = node.backend?.update([peer]) ?? []
                        guard problems.isEmpty else { throw NetlinkError(EINVAL, "\(problems)") }
                    }
                    ours.append(try await throughput(nodes))
                    for node in nodes { try node.backend?.tearDown() }
                } else {
                    // The bridge and the pods are ours in both cases.
                    for node in nodes where node.network == nil {
                        try await node.open()
                        try node.backend?.tearDown()
                    }
                    for (node, other) in [(nodes[0], nodes[1]), (nodes[1], nodes[0])] { try makeByHand(node, other) }
                    theirs.append(try await throughput(nodes))
                    for node in nodes { try node.run("ip link del hand") }
                }
            }
        }
        let (a, b) = (median(ours), median(theirs))
        print(
            "pod network: TCP between pods on two nodes: our vxlan \(rounded(a)) Gbit/s, one made by hand "
                + "\(rounded(b)) Gbit/s: \(Int(a / b * 100)) % (promised >= 90 %)")
        try await follow(nodes[0])
    }

    private static func makeByHand(_ node: Node, _ other: Node) throws {
        let (n, m) = (node.number, other.number)
        try node.run(
            "ip link add hand address 0a:00:00:00:00:0\(n) mtu 1450 type vxlan id 1 dstport 8472 local 192.0.2.\(n) "
                + "dev uplink nolearning && ip addr add 10.42.\(n).0/32 dev hand && ip link set hand up && "
                + "ip neigh add 10.42.\(m).0 lladdr 0a:00:00:00:00:0\(m) dev hand nud permanent && "
                + "bridge fdb add 0a:00:00:00:00:0\(m) dev hand dst 192.0.2.\(m) && "
                + "ip route add 10.42.\(m).0/24 via 10.42.\(m).0 dev hand onlink")
    }

    /// Time from an update to the kernel's route, with many nodes there already.
    private static func follow(_ node: Node) async throws {
        try await node.open()
        guard let backend = node.backend else { return }
        func peer(_ index: Int) -> NetworkNode {
            let (high, low) = (index / 250 + 2, index % 250)
            return NetworkNode(
                name: "node-\(index)", podCIDRs: ["10.\(42 + high).\(low).0/24"],
                annotations: [
                    "flannel.alpha.coreos.com/backend-type": "vxlan",
                    "flannel.alpha.coreos.com/public-ip": "198.51.\(high).\(low)",
                    "flannel.alpha.coreos.com/backend-data":
                        "{\"VNI\":1,\"VtepMAC\":\"0a:00:00:01:0\(high):\(low < 16 ? "0" : "")\(String(low, radix: 16))\"}",
                ])
        }
        let many = (0..<1000).map(peer)
        let start = MonotonicClock.now()
        let problems = backend.update(many)
        let all = MonotonicClock.now() - start
        guard problems.isEmpty else { throw NetlinkError(EINVAL, problems[0]) }
        var times: [Double] = []
        for index in 1000..<1020 {
            let start = MonotonicClock.now()
            _ = backend.update(many + [peer(index)])
            times.append(Double(MonotonicClock.now() - start) / 1e6)
        }
        print(
            "pod network: 1,000 nodes' routes written in \(Double(all / 10_000) / 100) ms, one more node in "
                + "\(rounded(median(times))) ms")
        try backend.tearDown()
    }

    // MARK: measuring

    /// Gbit/s of one TCP connection between the pods in two seconds.
    private static func throughput(_ nodes: [Node]) async throws -> Double {
        let server = try nodes[1].pod.run { () throws(NetlinkError) in try listener() }
        defer { close(server) }
        let received = Mutex<Int64>(0)
        let reader = try ShortThread.start {
            let connection = accept(server, nil, nil)
            guard connection >= 0 else { return }
            var buffer = [UInt8](repeating: 0, count: 1 << 20)
            while true {
                let count = recv(connection, &buffer, buffer.count, 0)
                if count <= 0 { break }
                received.withLock { $0 += Int64(count) }
            }
            close(connection)
        }
        let client = try nodes[0].pod.run { () throws(NetlinkError) in
            socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        }
        var peer = address(.v4(0x0a2a_0202), 5201)
        let connected = peer.withUnsafeMutableBytes { raw in
            raw.baseAddress.map { connect(client, $0.assumingMemoryBound(to: sockaddr.self), 16) } ?? -1
        }
        guard connected == 0 else {
            let code = errno
            close(client)
            shutdown(server, Int32(SHUT_RDWR))
            reader.join()
            throw NetlinkError(code, "connect to the other pod")
        }
        let payload = [UInt8](repeating: 7, count: 128 << 10)
        func push(_ nanoseconds: Int64) {
            let end = MonotonicClock.now() + nanoseconds
            while MonotonicClock.now() < end { _ = send(client, payload, payload.count, Int32(MSG_NOSIGNAL)) }
        }
        push(300_000_000)
        let (before, start) = (received.withLock { $0 }, MonotonicClock.now())
        push(2_000_000_000)
        let (after, end) = (received.withLock { $0 }, MonotonicClock.now())
        close(client)
        reader.join()
        return Double(after - before) * 8 / Double(end - start)
    }

    private static func listener() throws(NetlinkError) -> Int32 {
        let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var on: Int32 = 1
        setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, 4)
        var own = address(.v4(0), 5201)
        let bound = own.withUnsafeMutableBytes { raw in
            raw.baseAddress.map { bind(server, $0.assumingMemoryBound(to: sockaddr.self), 16) } ?? -1
        }
        guard bound == 0, listen(server, 1) == 0 else { throw NetlinkError(errno, "listen in a pod") }
        return server
    }

    private static func address(_ ip: IPAddress, _ port: UInt16) -> [UInt8] {
        [2, 0, UInt8(port >> 8), UInt8(port & 0xff)] + ip.bytes + [UInt8](repeating: 0, count: 8)
    }

    private static func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
    private static func rounded(_ value: Double) -> Double { (value * 100).rounded() / 100 }
}
