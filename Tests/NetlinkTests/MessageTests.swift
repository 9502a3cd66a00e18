import Netlink
import NetworkTesting
import Testing

/// The wire form, byte by byte (little-endian hosts; what the kernel takes in host order differs on others).
@Suite struct MessageBufferTests {
    @Test func vethWithPeerInGolden() {
        var buffer = MessageBuffer()
        LinkSpec(
            "veth0a", .veth(VethPeer(name: "eth0", mac: MACAddress("0a:58:0a:2a:00:05"), mtu: 1450)), mtu: 1450,
            master: 3,
            isUp: true
        ).encode(into: &buffer)
        #expect(
            hex(buffer.bytes)
                == annotated(
                    """
                    84000000 1000 0506 00000000 00000000  # length 132, RTM_NEWLINK, REQUEST|ACK|EXCL|CREATE
                    00 00 0000 00000000 01000000 01000000  # ifinfomsg: any index, IFF_UP, change IFF_UP
                    0b00 0300 766574683061 00 00           # IFLA_IFNAME "veth0a"
                    0800 0400 aa050000                     # IFLA_MTU 1450
                    0800 0a00 03000000                     # IFLA_MASTER 3
                    4800 1280                              # IFLA_LINKINFO, nested
                     0900 0100 76657468 00 000000          #  IFLA_INFO_KIND "veth"
                     3800 0280                             #  IFLA_INFO_DATA, nested
                      3400 0180                            #   VETH_INFO_PEER, nested
                       00 00 0000 00000000 00000000 00000000
                       0900 0300 65746830 00 000000        #    "eth0"
                       0800 0400 aa050000
                       0a00 0100 0a580a2a0005 0000         #    IFLA_ADDRESS
                    """))
    }

    @Test func mapElementGolden() {
        let table = NFTable(.ip, "t")
        let set = NFSet("m", key: [.ipv4, .port], value: .data([.ipv4, .port]))
        var elements = NFElements(for: set)
        elements.append(key: [10, 43, 0, 1, 0, 80, 0, 0], data: [10, 42, 0, 5, 31, 144, 0, 0])
        var buffer = MessageBuffer()
        NFTablesSocket.encode([.addElements(table, set, elements)], into: &buffer)
        #expect(
            hex(buffer.bytes)
                == annotated(
                    """
                    14000000 1000 0100 00000000 00000000 00 00 000a    # NFNL_MSG_BATCH_BEGIN, res_id nf_tables
                    4c000000 0c0a 0104 00000000 00000000 02 00 0000    # NFT_MSG_NEWSETELEM, REQUEST|CREATE, ip
                     0600 0100 7400 0000                               # NFTA_SET_ELEM_LIST_TABLE "t"
                     0600 0200 6d00 0000                               # NFTA_SET_ELEM_LIST_SET "m"
                     2800 0380                                         # NFTA_SET_ELEM_LIST_ELEMENTS
                      2400 0180                                        # NFTA_LIST_ELEM
                       1000 0180 0c00 0100 0a2b0001 00500000           # NFTA_SET_ELEM_KEY { NFTA_DATA_VALUE }
                       1000 0280 0c00 0100 0a2a0005 1f900000           # NFTA_SET_ELEM_DATA { NFTA_DATA_VALUE }
                    14000000 1100 0100 00000000 00000000 00 00 000a    # NFNL_MSG_BATCH_END
                    """))
    }

    @Test func ruleGolden() {
        var buffer = MessageBuffer()
        NFTablesSocket.encode(
            [
                .addRule(
                    NFTable(.ip, "t"), chain: "c",
                    NFRule([.meta(.transportProtocol, into: NFRegister(1)), .verdict(.goto("n"))]))
            ],
            into: &buffer)
        let body = Array(buffer.bytes[20..<buffer.count - 20])
        #expect(
            hex(body)
                == annotated(
                    """
                    84000000 060a 010c 00000000 00000000 02 00 0000    # NFT_MSG_NEWRULE, REQUEST|CREATE|APPEND, ip
                     0600 0100 7400 0000  0600 0200 6300 0000          # table "t", chain "c"
                     6000 0480                                         # NFTA_RULE_EXPRESSIONS
                      2400 0180 0900 0100 6d657461 00000000            #  "meta"
                       1400 0280 0800 0100 00000009 0800 0200 00000010 #   dreg NFT_REG32_01, key L4PROTO
                      3800 0180 0e00 0100 696d6d656469617465 00 0000   #  "immediate"
                       2400 0280 0800 0100 00000000                    #   dreg verdict
                        1800 0280 1400 0280                            #   NFTA_IMMEDIATE_DATA { NFTA_DATA_VERDICT {
                         0800 0100 fffffffc 0600 0200 6e00 0000        #    NFT_GOTO, chain "n"
                    """))
    }

    @Test func tooLongAttributeIsRememberedNotWritten() {
        var buffer = MessageBuffer()
        buffer.message(type: 16, flags: .request) { $0.attribute(1, bytes: [UInt8](repeating: 0, count: 70_000)) }
        #expect(buffer.failure == .attributeTooLong(type: 1, bytes: 70_000))
    }

    @Test func limitIsRemembered() {
        var buffer = MessageBuffer(capacity: 64, limit: 128)
        buffer.message(type: 16, flags: .request) { for _ in 0..<40 { $0.attribute(1, UInt32(7)) } }
        #expect(buffer.failure == .limit(bytes: 128))
        #expect(buffer.count <= 128)
    }

    @Test func elementsAreCutIntoMessagesBelow64KiB() {
        let set = NFSet("m", key: [.ipv4])
        var elements = NFElements(for: set)
        for index in 0..<10_000 { elements.append(key: IPAddress.v4(UInt32(index)).bytes) }
        var buffer = MessageBuffer()
        NFTablesSocket.encode([.addElements(NFTable(.ip, "t"), set, elements)], into: &buffer)
        #expect(buffer.failure == nil)
        #expect(buffer.messageCount > 3)
        let counts = buffer.withBytes { bytes in
            MessageSequence(bytes).map { message in
                message.payload.dropFirst(4).attribute(3)?.attributes.reduce(0) { count, _ in count + 1 } ?? 0
            }
        }
        #expect(counts.reduce(0, +) == 10_000)
    }
}

@Suite struct MessageViewTests {
    @Test func everyPrefixAndEveryFlippedByteIsReadWithoutTrap() {
        var buffer = MessageBuffer()
        LinkSpec("veth0a", .veth(VethPeer(name: "eth0")), mtu: 1450).encode(into: &buffer)
        let good = buffer.bytes
        func walk(_ bytes: [UInt8]) -> Int {
            bytes.withUnsafeBytes { raw in
                var seen = 0
                for message in MessageSequence(raw) {
                    _ = Link(message)
                    for attribute in message.payload.dropFirst(16).attributes {
                        seen += 1 + attribute.value.attributes.reduce(0) { sum, inner in sum + inner.value.count }
                    }
                }
                return seen
            }
        }
        #expect(walk(good) > 3)
        for length in 0..<good.count { #expect(walk(Array(good[..<length])) >= 0) }
        for index in good.indices {
            for value: UInt8 in [0, 1, 3, 0x7f, 0xff] {
                var bad = good
                bad[index] = value
                #expect(walk(bad) >= 0)
            }
        }
    }

    @Test func headerLongerThanTheDatagramIsMalformed() {
        let bytes: [UInt8] = [200, 0, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]
        bytes.withUnsafeBytes { raw in
            var messages = MessageSequence(raw)
            #expect(messages.next() == nil)
            #expect(messages.malformed)
        }
    }
}
