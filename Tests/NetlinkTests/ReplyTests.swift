import NetworkTesting
import Testing

@testable import Netlink

@Suite struct ReplyTests {
    /// An RTM_NEWLINK for `flannel.1` as Linux 6.1 sends it, cut to what is read.
    let link = annotated(
        """
        80000000 1000 0000 01000000 00000000    # header
        00 00 0100 05000000 43100100 00000000   # ifinfomsg: link 5, up and running
        0e00 0300 666c616e6e656c2e3100 0000     # IFLA_IFNAME flannel.1
        0800 0400 aa050000                      # IFLA_MTU 1450
        0a00 0100 0a0000000401 0000             # IFLA_ADDRESS
        3c00 1280                               # IFLA_LINKINFO
        0a00 0100 76786c616e00 0000             # vxlan
        2c00 0280                               # IFLA_INFO_DATA
        0800 0100 01000000                      # IFLA_VXLAN_ID 1
        0800 0300 02000000                      # IFLA_VXLAN_LINK
        0800 0400 c0000201                      # IFLA_VXLAN_LOCAL 192.0.2.1
        0500 0700 00000000                      # IFLA_VXLAN_LEARNING off
        0600 0f00 21180000                      # IFLA_VXLAN_PORT 8472
        """)

    func bytes(_ hex: String) -> [UInt8] {
        let digits = Array(hex.utf8)
        return stride(from: 0, to: digits.count - 1, by: 2).compactMap {
            UInt8(String(decoding: digits[$0..<$0 + 2], as: UTF8.self), radix: 16)
        }
    }

    @Test func aVxlanLinkIsDecoded() throws {
        let (replies, isMalformed) = NetlinkReply.decode(bytes(link))
        #expect(!isMalformed)
        guard case .link(let link)? = replies.first else {
            Issue.record("\(replies)")
            return
        }
        #expect(link.name == "flannel.1" && link.mtu == 1450 && link.isUp && link.kind == "vxlan")
        #expect(
            link.vxlan == VXLANSettings(identifier: 1, port: 8472, local: IPAddress("192.0.2.1"), device: 2))
    }

    @Test func noCutOrChangedByteTraps() {
        let whole = bytes(link)
        for count in whole.indices { _ = NetlinkReply.decode(Array(whole[..<count]), wireGuardFamily: 16) }
        for index in whole.indices {
            for value in [UInt8(0), 0x7f, 0xff] {
                var changed = whole
                changed[index] = value
                _ = NetlinkReply.decode(changed, wireGuardFamily: 16)
            }
        }
        // An acknowledgement whose request claims to be 4 GiB long.
        let odd = bytes(
            "28000000 0200 0002 01000000 00000000 eaffffff ffffffff 1000 0500 01000000 00000000".filter { $0 != " " })
        let (replies, _) = NetlinkReply.decode(odd + [0, 0, 0, 0])
        #expect(replies == [.acknowledgement(code: -22, message: nil)])
    }

    @Test func wireGuardMessages() throws {
        let key = try #require(WireGuardKey(bytes: [UInt8](1...32)))
        let peer = WireGuardPeer(
            publicKey: key, endpoint: .init(try #require(IPAddress("192.0.2.1")), 51820), keepalive: 25,
            allowedIPs: [try #require(IPPrefix("10.42.1.0/24")), try #require(IPPrefix("fd00::/64"))])
        var buffer = MessageBuffer()
        WireGuardSocket.encode(family: 0x21, link: 5, [.set(peer)], into: &buffer)
        #expect(
            hex(buffer.bytes)
                == annotated(
                    """
                    d8000000 2100 0500 00000000 00000000            # family 0x21, request with ack
                    01 01 0000                                      # WG_CMD_SET_DEVICE, version 1
                    0800 0100 05000000                              # WGDEVICE_A_IFINDEX
                    bc00 0880 b800 0080                             # WGDEVICE_A_PEERS, first
                    2400 0100 0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20
                    2400 0200 0000000000000000000000000000000000000000000000000000000000000000
                    0800 0300 02000000                              # WGPEER_F_REPLACE_ALLOWEDIPS
                    1400 0400 0200 ca6c c0000201 0000000000000000   # sockaddr_in, port 51820
                    0600 0500 1900 0000                             # keepalive 25
                    4800 0980                                       # WGPEER_A_ALLOWEDIPS
                    1c00 0080 0600 0100 0200 0000 0800 0200 0a2a0100 0500 0300 18000000
                    2800 0080 0600 0100 0a00 0000 1400 0200 fd000000000000000000000000000000 0500 0300 40000000
                    """))
        // What the kernel reports reads back as what was set.
        let (replies, _) = NetlinkReply.decode(buffer.bytes, wireGuardFamily: 0x21)
        #expect(replies == [.wireGuard(WireGuardDevice(link: 5, publicKey: nil, port: 0, peers: [peer]))])
        for count in buffer.bytes.indices {
            _ = NetlinkReply.decode(Array(buffer.bytes[..<count]), wireGuardFamily: 0x21)
        }
    }

    @Test func aPeerThatTakesSeveralMessagesIsOne() throws {
        let (a, b) = (
            try #require(WireGuardKey(bytes: [UInt8](1...32))), try #require(WireGuardKey(bytes: [UInt8](2...33)))
        )
        let ranges = try ["10.42.1.0/24", "10.42.2.0/24", "10.42.3.0/24"].map { try #require(IPPrefix($0)) }
        func part(_ peers: [WireGuardPeer]) -> WireGuardDevice {
            WireGuardDevice(link: 5, publicKey: nil, port: 51820, peers: peers)
        }
        let whole = WireGuardDevice.join([
            part([WireGuardPeer(publicKey: a, allowedIPs: [ranges[0]])]),
            part([
                WireGuardPeer(publicKey: a, allowedIPs: [ranges[1]]),
                WireGuardPeer(publicKey: b, allowedIPs: [ranges[2]]),
            ]),
        ])
        #expect(whole?.peers.map(\.allowedIPs) == [[ranges[0], ranges[1]], [ranges[2]]])
        #expect(WireGuardDevice.join([]) == nil)
    }
}
