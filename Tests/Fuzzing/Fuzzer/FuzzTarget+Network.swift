import ClusterDNS
import HostTools
import Linux

@testable import Netlink

extension FuzzTarget {
    /// "web.team.svc.cluster.local", type A, with EDNS.
    private static let query: [UInt8] =
        [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 3] + Array("web".utf8) + [4] + Array("team".utf8) + [3] + Array("svc".utf8)
        + [7] + Array("cluster".utf8) + [5] + Array("local".utf8) + [0, 0, 1, 0, 1, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]
    /// The same answered with one address, by a compressed name.
    private static let answer: [UInt8] =
        [0, 7, 0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0] + query[12..<43] + [
            0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 43, 0, 9,
        ]
    /// A message of rtnetlink's: length, type, flags, sequence, port, an ifinfomsg, IFLA_IFNAME "lo", IFLA_MTU 65536.
    private static let link: [UInt8] =
        [48, 0, 0, 0, 16, 0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0] + [0, 0, 4, 3, 1, 0, 0, 0, 73, 0, 1, 0, 0, 0, 0, 0]
        + [7, 0, 3, 0, 108, 111, 0, 0] + [8, 0, 4, 0, 0, 0, 1, 0]

    private static let zone: ClusterZone? = {
        guard var zone = ClusterZone(domain: "cluster.local", serverAddresses: []) else { return nil }
        zone.set(
            DNSService(
                namespace: "team", name: "web", addresses: [.v4(0x0A2B_0009)],
                ports: [DNSService.Port(name: "http", transport: "tcp", port: 80)]))
        return zone
    }()

    /// As it goes to systemd: arrays of structures of variants.
    private static let unit: [UInt8] = {
        var limits = CgroupLimits()
        (limits.memory, limits.cpusetCPUs) = (1 << 20, "0-1")
        let properties = SystemdProperties(limits).list.map { (name, value) -> DBusMessage.Value in
            .structure([.string(name), .variant(value)])
        }
        let body: [DBusMessage.Value] = [
            .string("a.scope"), .string("replace"), .array("(sv)", properties), .array("(sa(sv))", []),
        ]
        return DBusMessage.call("StartTransientUnit", on: "/a", "b.c", at: "d.e", body).encoded()
    }()

    static let network: [FuzzTarget] = [
        FuzzTarget("dbus", bytes: [unit, DBusMessage.hello.encoded()], words: ["a(sv)", "a{sv}", "v", "((", "ay"]) {
            bytes in
            var stream = DBusStream()
            stream.receive(bytes)
            _ = try? stream.expect("OK")
            while let message = try? stream.next() {
                // What was read is written, and read again as the same.
                if let again = try? DBusMessage(decoding: message.encoded()[...]) {
                    require(again.body.count <= message.body.count, "a message grows")
                }
            }
        },
        FuzzTarget("dns-query", bytes: [query, Array(query[..<43])]) { bytes in
            bytes.withUnsafeBytes { buffer in
                if case .query(let query) = DNSQuery.parse(buffer) { _ = query.name.description }
            }
        },
        FuzzTarget("dns-answer", bytes: [answer]) { _ = try? DNSMessage($0) },
        FuzzTarget(
            "dns-configuration", seeds: ["example.com:53 {\n  forward . 192.0.2.1 tls://192.0.2.2\n  cache 30\n}\n"],
            words: ["{", "}", "hosts ", "rewrite name ", "fallthrough"]
        ) {
            bytes in
            _ = CustomConfiguration(["a.server": bytes.asText, "b.override": bytes.asText])
            _ = HostsTable(bytes.asText)
        },
        FuzzTarget("netlink", bytes: [link, link + link]) { bytes in
            bytes.withUnsafeBytes { buffer in
                _ = NetlinkReply.decode(buffer, wireGuardFamily: 30)
                for message in MessageSequence(buffer) {
                    _ = Link(message)
                    _ = (Route(message), Neighbour(message), InterfaceAddress(message), Flow(message))
                    for attribute in message.payload.dropFirst(16).attributes {
                        _ = attribute.value.string.count
                        for inner in attribute.value.attributes { _ = inner.value.address }
                    }
                }
            }
        },
        FuzzTarget(
            "iptables-restore",
            seeds: [
                "-A INPUT ! -s 10.0.0.0/8 -p tcp --dport 80:90 -m comment --comment \"a b\" -j DNAT --to 1.2.3.4-1.2.3.5:1-2/3",
                "-A f -m conntrack --ctstate NEW --ctorigsrc 1.2.3.4/8 -m limit --limit 5/min -m statistic --mode nth --every 3 -j LOG",
                "-I f 3 -p udp -m multiport --ports 1,2:3 -m iprange --src-range 1.1.1.1-2.2.2.2 -j MARK --set-xmark 1/2",
            ],
            words: [
                "-m ", "-j ", "--", "! ", "/", ":", "-", ",", "set-class 1:2", "recent --set", "-p icmp --icmp-type ",
            ]
        ) {
            for rule in (try? RuleText.roundTrip($0.asText)) ?? [] { _ = rule.read.count }
            _ = (RuleText.decode($0, .ipv4), RuleText.decode($0, .ipv6))
        },
        FuzzTarget(
            "addresses", seeds: ["10.42.0.1/24", "fd00::1/64", "::ffff:192.0.2.1", "0a:58:0a:2a:00:01"],
            words: ["::", "/", "."]
        ) {
            let text = $0.asText
            if let address = IPAddress(text) {
                require(IPAddress(address.description) == address, "own address does not parse: \(address)")
            }
            _ = IPPrefix(text)
            _ = MACAddress(text)
        },
    ]
}
