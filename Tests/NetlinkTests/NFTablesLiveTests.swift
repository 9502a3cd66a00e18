import Linux
import Netlink
import NetworkTesting
import Testing

@Suite(.enabled(if: Live.isRoot, "needs root and network namespaces"))
struct NFTablesLiveTests {
    let namespace: NetworkNamespace
    let tables: NFTablesSocket
    let table = NFTable(.ip, "k3s-test")

    init() throws {
        namespace = try NetworkNamespace.make()
        tables = try NFTablesSocket(in: namespace)
    }

    private func bytes(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value) { Array($0) } }

    @Test func everyExpressionIsTakenByTheKernelAndPrintedByNft() throws {
        let r = (0..<16).map { NFRegister($0) }
        let dataMap = NFSet("ep", key: [.ipv4, .protocolNumber, .port, .mark], value: .data([.ipv4, .port]))
        let verdicts = NFSet("svc", key: [.ipv4, .protocolNumber, .port], value: .verdict)
        let hosts = NFSet("hosts", key: [.ipv4])
        let nets = NFSet("nets", key: [.ipv4], isInterval: true)
        let sources = NFSet("sources", key: [.ipv4, .port, .ipv4], isInterval: true)
        let sticky = NFSet("sticky", key: [.ipv4, .port], isDynamic: true, timeoutMilliseconds: 0, size: 1000)
        var verdictElements = NFElements(for: verdicts)
        verdictElements.append(key: [10, 43, 0, 1, 6, 0, 0, 0, 1, 187, 0, 0], verdict: .goto("n2"))
        verdictElements.append(key: [10, 43, 0, 2, 6, 0, 0, 0, 1, 187, 0, 0], verdict: .drop)
        var data = NFElements(for: dataMap)
        for index in 0..<2 {
            data.append(
                key: [10, 43, 0, 1, 6, 0, 0, 0, 1, 187, 0, 0] + bytes(UInt32(index)),
                data: [10, 42, 0, UInt8(index + 2), 0x1f, 0x90, 0, 0])
        }
        var hostElements = NFElements(for: hosts)
        hostElements.append(key: [10, 0, 0, 1])
        var netElements = NFElements(for: nets)
        netElements.append(range: [10, 42, 0, 0], [10, 42, 255, 255])
        netElements.append(range: [192, 168, 0, 0], [192, 168, 3, 255])
        var sourceElements = NFElements(for: sources)
        sourceElements.append(
            range: [10, 0, 0, 1, 0, 80, 0, 0, 172, 16, 0, 0], [10, 0, 0, 1, 0, 80, 0, 0, 172, 31, 255, 255])

        let destination = NFExpression.payload(.network, offset: 16, length: 4, into: r[0])
        let proto = NFExpression.meta(.transportProtocol, into: r[1])
        let port = NFExpression.payload(.transport, offset: 2, length: 2, into: r[2])
        var commands: [NFCommand] = [
            .addTable(table), .addSet(table, dataMap), .addSet(table, verdicts), .addSet(table, hosts),
            .addSet(table, nets), .addSet(table, sources), .addSet(table, sticky),
            .addChain(table, NFChain("n2")),
            .addChain(table, NFChain("pre", hook: NFHook(.nat, .prerouting, priority: -100))),
            .addChain(table, NFChain("post", hook: NFHook(.nat, .postrouting, priority: 100))),
            .addChain(table, NFChain("filter", hook: NFHook(.filter, .forward, priority: 0))),
        ]
        func rule(_ chain: String, _ expressions: [NFExpression], _ comment: String? = nil) {
            commands.append(.addRule(table, chain: chain, NFRule(expressions, comment: comment)))
        }
        rule(
            "n2",
            [
                destination, proto, port, .numberGenerator(random: true, modulus: 2, into: r[3]),
                .map("ep", key: r[0], into: r[0]),
                .destinationNAT(.ipv4, address: r[0], port: r[1]),
            ], "pick one")
        rule("pre", [destination, proto, port, .verdictMap("svc", key: r[0])])
        rule("pre", [.addressType(ofSource: false, into: r[0]), .compare(r[0], .equal, bytes(2)), .counter])
        rule(
            "pre",
            [
                .payload(.network, offset: 12, length: 4, into: r[0]), .lookup("nets", key: r[0], inverted: true),
                .meta(.mark, into: r[0]), .bitwise(r[0], into: r[0], mask: bytes(0xffff_bfff), xor: bytes(0x4000)),
                .setMark(from: r[0]),
            ])
        rule(
            "post",
            [
                .meta(.mark, into: r[0]), .bitwise(r[0], into: r[0], mask: bytes(0x4000), xor: bytes(0)),
                .compare(r[0], .notEqual, bytes(0)), .masquerade(fullyRandom: true),
            ])
        rule(
            "post",
            [
                .payload(.network, offset: 12, length: 4, into: r[0]), .lookup("hosts", key: r[0]),
                .immediate([10, 0, 0, 9], into: r[0]),
                .sourceNAT(.ipv4, address: r[0]),
            ])
        rule(
            "filter",
            [
                .conntrack(.state, into: r[0]), .bitwise(r[0], into: r[0], mask: bytes(8), xor: bytes(0)),
                .compare(r[0], .notEqual, bytes(0)),
                .meta(.transportProtocol, into: r[0]), .compare(r[0], .equal, [6]), .reject(.tcpReset),
            ])
        rule("filter", [.reject(.portUnreachable(.ipv4))])
        rule(
            "filter",
            [
                .meta(.transportProtocol, into: r[0]), .compare(r[0], .equal, [6]),
                .payload(.transport, offset: 2, length: 2, into: r[0]),
                .range(r[0], inverted: false, first: [0, 80], last: [0, 90]), .verdict(.accept),
            ])
        rule(
            "filter",
            [
                .meta(.inputName, into: r[0]),
                .compare(r[0], .equal, Array("cni0".utf8) + [UInt8](repeating: 0, count: 12)), .verdict(.return),
            ])
        rule(
            "filter",
            [
                .payload(.network, offset: 12, length: 4, into: r[0]),
                .payload(.transport, offset: 2, length: 2, into: r[1]),
                .updateSet("sticky", key: r[0], timeoutMilliseconds: 10_800_000),
            ])
        rule(
            "filter",
            [
                destination, .payload(.transport, offset: 2, length: 2, into: r[1]),
                .payload(.network, offset: 12, length: 4, into: r[2]),
                .lookup("sources", key: r[0]), .verdict(.drop),
            ])
        commands += [
            .addElements(table, verdicts, verdictElements), .addElements(table, dataMap, data),
            .addElements(table, hosts, hostElements),
            .addElements(table, nets, netElements), .addElements(table, sources, sourceElements),
        ]
        try tables.commit(commands, "load test table")

        let listing = nftRuleset(namespace)
        #expect(listing.status == 0, "\(listing.output)")
        for part in [
            "dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 2 map @ep comment \"pick one\"",
            "ip daddr . meta l4proto . th dport vmap @svc", "10.43.0.1 . tcp . 443 : goto n2",
            "10.43.0.2 . tcp . 443 : drop",
            "10.43.0.1 . tcp . 443 . 0x00000001 : 10.42.0.3 . 8080", "fib daddr type local counter",
            "elements = { 10.42.0.0/16, 192.168.0.0/22 }", "ip saddr != @nets meta mark set", "masquerade fully-random",
            "snat to 10.0.0.9", "ct state new", "reject with tcp reset", "\n\t\treject\n", "tcp dport 80-90 accept",
            "iifname \"cni0\" return", "update @sticky { ip saddr . th dport timeout 3h }",
            "10.0.0.1 . 80 . 172.16.0.0/12",
        ] { #expect(listing.output.contains(part), "missing: \(part)\n\(listing.output)") }

        #expect(try tables.tables() == [table])
        #expect(try Set(tables.chains(table).map(\.name)) == ["n2", "pre", "post", "filter"])
        #expect(try tables.chains(table).contains(NFChain("post", hook: NFHook(.nat, .postrouting, priority: 100))))
        #expect(try Set(tables.sets(table)) == ["ep", "svc", "hosts", "nets", "sources", "sticky"])
        #expect(try tables.rules(table).count == 12)
        #expect(try tables.elements(table, verdicts).digest == verdictElements.digest)
        #expect(try tables.elements(table, dataMap).digest == data.digest)
        #expect(try tables.elements(table, sources).digest == sourceElements.digest)
        #expect(try tables.elements(table, nets).count == 2)

        try tables.commit(
            [.deleteElements(table, nets, netElements), .deleteElements(table, dataMap, data)], "empty two sets")
        #expect(try tables.elements(table, nets).isEmpty && tables.elements(table, dataMap).isEmpty)
    }

    @Test func ipv6KeysAreFourRegistersLong() throws {
        let six = NFTable(.ip6, "k3s-test6")
        let r = (0..<16).map { NFRegister($0) }
        let map = NFSet("ep", key: [.ipv6, .protocolNumber, .port, .mark], value: .data([.ipv6, .port]))
        var elements = NFElements(for: map)
        let service = try #require(IPAddress("fd00:43::1")), pod = try #require(IPAddress("fd00:42::2"))
        elements.append(key: service.bytes + [17, 0, 0, 0, 0, 53, 0, 0] + bytes(0), data: pod.bytes + [0, 53, 0, 0])
        try tables.commit(
            [
                .addTable(six), .addSet(six, map),
                .addChain(six, NFChain("pre", hook: NFHook(.nat, .prerouting, priority: -100))),
                .addRule(
                    six, chain: "pre",
                    NFRule([
                        .payload(.network, offset: 24, length: 16, into: r[0]), .meta(.transportProtocol, into: r[4]),
                        .payload(.transport, offset: 2, length: 2, into: r[5]),
                        .numberGenerator(random: true, modulus: 1, into: r[6]), .map("ep", key: r[0], into: r[0]),
                        .destinationNAT(.ipv6, address: r[0], port: r[4]),
                    ])), .addElements(six, map, elements),
            ], "load")
        let listing = nftRuleset(namespace)
        #expect(listing.status == 0)
        #expect(listing.output.contains("fd00:43::1 . udp . 53 . 0x00000000 : fd00:42::2 . 53"), "\(listing.output)")
        #expect(
            listing.output.contains("dnat ip6 to ip6 daddr . meta l4proto . th dport . numgen random mod 1 map @ep"))
    }

    @Test func aBatchIsAllOrNothingAndNamesItsFailure() throws {
        let error = #expect(throws: NetlinkError.self) {
            try tables.commit(
                [
                    .addTable(table), .addChain(table, NFChain("a")), .deleteChain(table, "nope"),
                    .addChain(table, NFChain("b")),
                ],
                "try")
        }
        #expect(error?.code == ENOENT)
        #expect(error?.description.contains("delete chain ip k3s-test nope") == true)
        #expect(try tables.tables().isEmpty)
        // The socket is still in step.
        try tables.commit([.addTable(table)], "again")
        #expect(try tables.tables() == [table])
    }

    @Test func anUnknownSetInARuleIsExplained() throws {
        let error = #expect(throws: NetlinkError.self) {
            try tables.commit(
                [
                    .addTable(table), .addChain(table, NFChain("a")),
                    .addRule(
                        table, chain: "a",
                        NFRule([.meta(.mark, into: NFRegister(0)), .lookup("nope", key: NFRegister(0))])),
                ], "try")
        }
        #expect(error?.hint?.contains("nft_lookup") == true)
    }

    @Test func theGenerationCountsTransactions() throws {
        let before = try tables.generation()
        try tables.commit([.addTable(table)], "load")
        let after = try tables.generation()
        #expect(before != after)
        #expect(try tables.generation() == after)
    }

    @Test func aMillionByteBatchIsOneTransaction() throws {
        let set = NFSet("m", key: [.ipv4, .protocolNumber, .port, .mark], value: .data([.ipv4, .port]))
        var elements = NFElements(for: set)
        for index in 0..<30_000 {
            elements.append(
                key: IPAddress.v4(0x0a2b_0000 + UInt32(index)).bytes + [6, 0, 0, 0, 0, 80, 0, 0] + bytes(0),
                data: [10, 42, 0, 2, 0, 80, 0, 0])
        }
        let sent = try tables.commit(
            [.addTable(table), .addSet(table, set), .addElements(table, set, elements)], "load")
        #expect(sent > 1_000_000)
        // The kernel grows the hash table after the load; a dump meanwhile repeats some elements and misses others.
        var read = try tables.elements(table, set)
        for _ in 0..<50 where read.digest != elements.digest {
            usleep(20_000)
            read = try tables.elements(table, set)
        }
        #expect(read.count == elements.count)
        #expect(read.digest == elements.digest)
    }
}

@Suite(.enabled(if: Live.isRoot, "needs root and network namespaces"))
struct ConntrackLiveTests {
    @Test func flowsAreListedAndDeleted() throws {
        let namespace = try NetworkNamespace.make()
        let route = try RouteSocket(in: namespace)
        try route.setLink(1, LinkChange(isUp: true))
        // Connection tracking starts in a namespace when a rule needs it.
        let tables = try NFTablesSocket(in: namespace)
        let table = NFTable(.ip, "k3s-test")
        try tables.commit(
            [
                .addTable(table), .addChain(table, NFChain("out", hook: NFHook(.filter, .output, priority: 0))),
                .addRule(
                    table, chain: "out",
                    NFRule([
                        .conntrack(.state, into: NFRegister(0)), .compare(NFRegister(0), .equal, [8, 0, 0, 0]),
                        .counter,
                    ])),
            ], "load")
        #expect(shell("bash -c \"echo x > /dev/udp/127.0.0.1/5353\"", in: namespace).status == 0)
        let conntrack = try ConntrackSocket(in: namespace)
        let isProbe: (Flow) -> Bool = { $0.original.transport == 17 && $0.original.destinationPort == 5353 }
        let flows = try conntrack.flows(.ipv4, where: isProbe)
        #expect(flows.count == 1)
        #expect(flows.first?.original.destination == IPAddress("127.0.0.1"))
        #expect(flows.first?.reply.sourcePort == 5353)
        #expect(try conntrack.deleteFlows(.ipv4, where: isProbe) == 1)
        #expect(try conntrack.flows(.ipv4, where: isProbe).isEmpty)
        for flow in flows { try conntrack.delete(flow) }
    }
}
