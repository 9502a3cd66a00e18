import Linux

@testable import HostTools
@testable import Netlink

extension FuzzTarget {
    private static let table = """
        20 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
        21 20 0:21 /a /a\\040b ro master:1 propagate_from:2 - tmpfs none rw,size=4k
        22 21 0:22 / /a\\040b/c rw - proc proc rw

        """
    /// `ip saddr 10.0.0.0/8 tcp dport 80 ... vmap @m` and `update @s { ... }`, as the kernel has them.
    private static let rule: [UInt8] = {
        var list = MessageBuffer(capacity: 1024)
        let expressions: [NFExpression] = [
            .payload(.network, offset: 12, length: 4, into: NFRegister(0)),
            .bitwise(NFRegister(0), into: NFRegister(0), mask: [255, 0, 0, 0], xor: [0, 0, 0, 0]),
            .compare(NFRegister(0), .equal, [10, 0, 0, 0]), .meta(.transportProtocol, into: NFRegister(1)),
            .conntrack(.state, into: NFRegister(2)), .lookup("s", key: NFRegister(0)),
            .map("m", key: NFRegister(0), into: NFRegister(0)),
            .destinationNAT(.ipv4, address: NFRegister(0), port: NFRegister(1)), .masquerade(fullyRandom: true),
            .range(NFRegister(1), inverted: false, first: [1], last: [9]), .reject(.tcpReset),
            .numberGenerator(random: true, modulus: 2, into: NFRegister(3)), .counter,
            .updateSet("m", key: NFRegister(0), data: NFRegister(1), timeoutMilliseconds: 1000),
            .verdict(.jump("x")),
        ]
        for expression in expressions { expression.encode(into: &list) }
        return list.withBytes { Array($0) }
    }()

    /// Where a tool's words go while it is looked at.
    private static let null: Int32 = (try? FileDescriptor.open("/dev/null", O_RDWR).take()) ?? -1

    static let hostTools: [FuzzTarget] = [
        FuzzTarget(
            "mountinfo", seeds: [table, "/dev/a /b\\011 ext4 rw,noauto 0 1\n"],
            words: ["\\040", " - ", "shared:", "20 ", "\n", "/"]
        ) { bytes in
            let mounts = MountInfo.parse(bytes.asText)
            _ = FstabEntry.parse(bytes.asText)
            let call = ToolCall(name: "findmnt", arguments: [], output: null, errors: null)
            for (form, isUnique) in [(Findmnt.Form.tree, false), (.json, true), (.pairs, false), (.list, true)] {
                var plan = Findmnt.Plan()
                (plan.form, plan.unique, plan.submounts) = (form, isUnique, isUnique)
                _ = Findmnt.show(plan, mounts, [.target, .source, .options, .device, .propagation], call)
            }
        },
        FuzzTarget(
            "mount-options", seeds: ["ro,nosuid,size=1m,context=\"a,b\",rslave,x-a=b,offset=1K", "noproc,sysfs"],
            words: [",", "=", "\"", "no", "rshared", "loop"]
        ) { bytes in
            var options = MountOptions()
            options.add(bytes.asText)
            _ = (options.isPropagationOnly, options.value("offset"), TypeFilter(bytes.asText).matches("ext4"))
            if let size = try? BlockSize(bytes.asText) { _ = (size.text(.max), size.text(1)) }
        },
        FuzzTarget(
            "socat-address",
            seeds: [
                "TCP4-LISTEN:80,fork,reuseaddr,range=10.0.0.0/8,mode=600!!EXEC:'a \"b,c\"',stderr",
                "UDP6-SENDTO:[fd00::1]:53,bind=[::],sp=5", "/a/b:c,append",
            ], words: ["!!", "\\", "'", "\"", "[", "]", ",", ":", "="]
        ) { bytes in
            for address in (try? SocatAddress.parse(bytes.asText)) ?? [] {
                guard let checked = try? address.checked() else { continue }
                for option in checked.options { _ = (try? checked.number(option.name), try? checked.mode(option.name)) }
                for parameter in checked.parameters { _ = SocatOpener.words(parameter) }
            }
        },
        FuzzTarget(
            "ipset-restore",
            seeds: [
                "10.0.0.0/8,tcp:80-90", "fd00::1,icmp:echo-request", "1.2.3.4-1.2.3.9", "80-90", "name",
                "add s 1.2.3.4 comment \"a b\" timeout 5",
            ], words: [",", "-", "/", ":", "icmp:", "sctp:"]
        ) { bytes in
            _ = try? IptablesRestore.words(bytes.asText[...])
            for type in SetType.names {
                guard let member = try? SetMember(bytes.asText, type: type) else { continue }
                var message = MessageBuffer(capacity: 512)
                member.encode(into: &message)
                message.withBytes { _ = SetMember(ByteView($0)).line }
            }
            bytes.withUnsafeBytes { _ = SetMember(ByteView($0)).line }
        },
        FuzzTarget("nft-rules", bytes: [rule]) { bytes in
            var map = NftSet(name: "m", key: NftType(id: 7 << 6 | 13))
            (map.flags, map.data) = (NftSet.map, NftType(id: 7 << 6 | 13))
            let sets = ["m": map, "s": NftSet(name: "s", key: .ipv4)]
            bytes.withUnsafeBytes { buffer in
                for family in [1, 2, 10] as [UInt8] {
                    _ = NftRuleDecoder.decode(ByteView(buffer), family: family, sets: sets)
                }
                let elements = ByteView(buffer).attributes.compactMap { NftElement($0.value) }
                for type in [7, 8, 13, 18, 19, 20, 41, 4, 63, 7 << 12 | 12 << 6 | 13, .max] as [UInt32] {
                    for flags in [0, NftSet.interval, NftSet.map] {
                        var set = NftSet(name: "x", key: NftType(id: type))
                        (set.flags, set.data) = (flags, NftType(id: type))
                        _ = set.lines(set.inOrder(elements), isNumeric: false)
                    }
                }
            }
        },
    ]
}
