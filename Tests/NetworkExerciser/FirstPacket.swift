import Iptables
import Linux
import Netlink
import NetworkTesting

/// What the first packet of a connection costs when it goes to a service: the median of sends of one datagram each from a
/// new port, in a network namespace of its own, to an address of that namespace itself.
enum FirstPacket {
    private static let target = IPAddress.v4(0x0a2a_0001)

    static func run(services count: Int) throws {
        let namespace = try NetworkNamespace.make()
        let route = try RouteSocket(in: namespace)
        try route.setLink(1, LinkChange(isUp: true))
        guard let own = IPPrefix(target, length: 32), let range = IPPrefix("10.32.0.0/11") else { return }
        try route.addAddress(own, to: 1)
        // Service addresses have to be routed somewhere before they are translated.
        try route.addRoute(Route(to: range, family: .ipv4, link: 1))
        let receiver = try open(in: namespace)
        defer { close(receiver) }
        guard withAddress(target, 8080, { bind(receiver, $0, $1) }) == 0 else { throw NetlinkError(errno, "bind") }
        let none = try median(target, 8080, namespace)
        // What any translation costs, whatever finds the endpoint: tracking the connection, and one rule made by hand.
        nft("add table ip floor; add chain ip floor out { type nat hook output priority -100; }", namespace)
        let tracked = try median(target, 8080, namespace)
        nft("add rule ip floor out ip daddr 10.43.0.1 udp dport 80 dnat to 10.42.0.1:8080", namespace)
        let byHand = try median(.v4(0x0a2b_0001), 80, namespace)
        nft("delete table ip floor", namespace)

        let settings = ProxySettings(clusterCIDRs: [own])
        let proxy = ServiceProxy(backend: try KernelRuleset(in: namespace), connections: nil, settings: settings)
        let services = (0..<count).map { index in
            ServicePort(
                "default/s\(index)", clusterIPs: [.v4(0x0a2b_0001 + UInt32(index))], port: 80, transport: .udp,
                endpoints: [ProxyEndpoint(target, 8080, isLocal: false)])
        }
        try proxy.sync(ProxyState(services: services, settings: settings))
        let first = try median(.v4(0x0a2b_0001), 80, namespace)
        let last = try median(.v4(0x0a2b_0000 + UInt32(count)), 80, namespace)
        func text(_ nanoseconds: Int64) -> String { "\(nanoseconds / 1000).\(nanoseconds % 1000 / 100) us" }
        print(
            "first packet: without rules \(text(none)), tracked \(text(tracked)), one rule made by hand \(text(byHand)); with "
                + "\(count) services to the first \(text(first)), to the last \(text(last))"
        )
    }

    private static func nft(_ script: String, _ namespace: NetworkNamespace) {
        let done = shell("nft \"\(script)\"", in: namespace)
        if done.status != 0 { print("nft: \(done.output)") }
    }

    private static func open(in namespace: NetworkNamespace) throws -> Int32 {
        try namespace.run { () throws(NetlinkError) -> Int32 in
            let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            guard descriptor >= 0 else { throw NetlinkError(errno, "open a socket") }
            return descriptor
        }
    }

    private static func median(_ address: IPAddress, _ port: UInt16, _ namespace: NetworkNamespace) throws -> Int64 {
        var times: [Int64] = []
        for _ in 0..<2000 {
            let descriptor = try open(in: namespace)
            let start = MonotonicClock.now()
            _ = withAddress(address, port) { sendto(descriptor, "x", 1, 0, $0, $1) }
            times.append(Int64(MonotonicClock.now() - start))
            close(descriptor)
        }
        return times.sorted()[1000]
    }

    private static func withAddress<T>(
        _ address: IPAddress, _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> T
    ) -> T {
        var bytes = [UInt8](repeating: 0, count: 16)
        (bytes[0], bytes[2], bytes[3]) = (2, UInt8(port >> 8), UInt8(port & 0xff))
        bytes.replaceSubrange(4..<8, with: address.bytes)
        return bytes.withUnsafeBytes { raw in
            body(raw.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: sockaddr.self), 16)
        }
    }
}
