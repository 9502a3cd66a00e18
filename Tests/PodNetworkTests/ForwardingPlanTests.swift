import Codecs
import Netlink
import Testing

@testable import PodNetwork

@Suite struct ForwardingPlanTests {
    func prefix(_ text: String) throws -> IPPrefix { try #require(IPPrefix(text)) }
    func address(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }

    /// Node number `n` of a dual-stack cluster, as its object says it.
    func node(
        _ n: Int, backend: String = "vxlan", data: String? = nil, cidrs: [String]? = nil, more: [String: String] = [:]
    ) -> NetworkNode {
        let annotations = [
            "flannel.alpha.coreos.com/backend-type": backend,
            "flannel.alpha.coreos.com/kube-subnet-manager": "true",
            "flannel.alpha.coreos.com/public-ip": "192.0.2.\(n)",
            "flannel.alpha.coreos.com/public-ipv6": "2001:db8::\(n)",
            "flannel.alpha.coreos.com/backend-data": data ?? #"{"VNI":1,"VtepMAC":"0a:00:00:00:04:0\#(n)"}"#,
            "flannel.alpha.coreos.com/backend-v6-data": data ?? #"{"VNI":1,"VtepMAC":"0a:00:00:00:06:0\#(n)"}"#,
        ].merging(more) { $1 }
        return NetworkNode(
            name: "node-\(n)", podCIDRs: cidrs ?? ["10.42.\(n).0/24", "fd00:42:0:\(n)::/64"], annotations: annotations)
    }

    func planner(
        _ kind: BackendKind = .vxlan, own: [String] = ["10.42.0.0/24", "fd00:42::/64"], directRouting: Bool = false
    ) throws -> ForwardingPlanner {
        var configuration = BackendConfiguration(kind, stateFile: "")
        configuration.directRouting = directRouting
        return ForwardingPlanner(
            configuration, own: try own.map { try prefix($0) }, uplink: 2, onLink: [try prefix("192.0.2.0/24")],
            devices: [.ipv4: 7, .ipv6: 8])
    }

    @Test func annotationsAreFlannels() throws {
        let read = node(1)
        #expect(read.addresses[.ipv6] == (try address("2001:db8::1")))
        #expect(read.tunnels[.ipv4] == NetworkNode.Tunnel(vni: 1, mac: MACAddress("0a:00:00:00:04:01")))
        let written = read.annotations
        #expect(written["flannel.alpha.coreos.com/backend-data"] == #"{"VNI":1,"VtepMAC":"0a:00:00:00:04:01"}"#)
        #expect(NetworkNode(name: "node-1", podCIDRs: read.podCIDRs.map(\.description), annotations: written) == read)
        let gateway = NetworkNode(
            name: "g", podCIDRs: [], backend: "host-gw", addresses: [.ipv4: try address("192.0.2.9")])
        #expect(
            gateway.annotations == [
                "flannel.alpha.coreos.com/backend-type": "host-gw",
                "flannel.alpha.coreos.com/kube-subnet-manager": "true",
                "flannel.alpha.coreos.com/public-ip": "192.0.2.9", "flannel.alpha.coreos.com/backend-data": "null",
            ])
        // Rubbish is absent, and no trap.
        let odd = node(
            1, data: #"{"VNI":-1,"VtepMAC":"zz","PublicKey":"AAAA"}"#, cidrs: ["10.42.1.0", "x"],
            more: ["flannel.alpha.coreos.com/public-ip": "2001:db8::1"])
        #expect(odd.podCIDRs.isEmpty && odd.addresses[.ipv4] == nil)
        #expect(odd.tunnels[.ipv4] == NetworkNode.Tunnel())
    }

    @Test func vxlanNeedsRouteNeighbourAndForwardingEntry() throws {
        let plan = try planner().plan([node(1)])
        #expect(plan.problems.isEmpty)
        #expect(
            plan.routes == [
                ForwardingPlan.Route(
                    try prefix("10.42.1.0/24"), via: try address("10.42.1.0"), link: 7, isOnLink: true),
                ForwardingPlan.Route(
                    try prefix("fd00:42:0:1::/64"), via: try address("fd00:42:0:1::"), link: 8, isOnLink: true),
            ])
        let (mac4, mac6) = (MACAddress("0a:00:00:00:04:01"), MACAddress("0a:00:00:00:06:01"))
        #expect(
            plan.neighbours == [
                Neighbour(.arp, link: 7, address: try address("10.42.1.0"), mac: mac4),
                Neighbour(.forwarding, link: 7, address: try address("192.0.2.1"), mac: mac4),
                Neighbour(.arp, link: 8, address: try address("fd00:42:0:1::"), mac: mac6),
                Neighbour(.forwarding, link: 8, address: try address("2001:db8::1"), mac: mac6),
            ])
    }

    @Test func hostGatewayAndDirectRoutingAreRoutesAlone() throws {
        let plan = try planner(.hostGateway).plan([node(1, backend: "host-gw", data: "null")])
        #expect(
            plan.routes == [
                ForwardingPlan.Route(try prefix("10.42.1.0/24"), via: try address("192.0.2.1"), link: 2),
                ForwardingPlan.Route(try prefix("fd00:42:0:1::/64"), via: try address("2001:db8::1"), link: 2),
            ])
        #expect(plan.neighbours.isEmpty && plan.problems.isEmpty)
        let far = node(2, more: ["flannel.alpha.coreos.com/public-ip": "198.51.100.2"])
        let direct = try planner(own: ["10.42.0.0/24"], directRouting: true).plan([node(1), far])
        #expect(
            direct.routes == [
                ForwardingPlan.Route(try prefix("10.42.1.0/24"), via: try address("192.0.2.1"), link: 2),
                ForwardingPlan.Route(
                    try prefix("10.42.2.0/24"), via: try address("10.42.2.0"), link: 7, isOnLink: true),
            ])
    }

    @Test func wireGuardPeersMaySendFromTheirRangeOnly() throws {
        let key = try #require(WireGuardKey(bytes: [UInt8](1...32)))
        let data = #"{"PublicKey":"\#(Base64.encode(key.bytes))"}"#
        let plan = try planner(.wireGuard).plan([node(1, backend: "wireguard", data: data)])
        #expect(plan.problems.isEmpty)
        let peers = plan.tunnels.sorted { $0.link < $1.link }
        #expect(peers.map(\.link) == [7, 8])
        #expect(
            peers[0].peer
                == WireGuardPeer(
                    publicKey: key, endpoint: .init(try address("192.0.2.1"), 51820), keepalive: 25,
                    allowedIPs: [try prefix("10.42.1.0/24")]))
        #expect(peers[1].peer.endpoint == .init(try address("2001:db8::1"), 51821))
        #expect(plan.routes.contains(ForwardingPlan.Route(try prefix("10.42.1.0/24"), via: nil, link: 7)))
        let other = try planner(.wireGuard).plan([node(1, backend: "wireguard", data: "{}")])
        #expect(other.tunnels.isEmpty && other.routes.isEmpty)
        #expect(other.problems.first?.contains("PublicKey") == true)
    }

    @Test func whatCannotWorkIsLeftOutAndSaid() throws {
        let nodes = [
            node(1), node(2, cidrs: ["10.42.1.128/25"]), node(3, backend: "host-gw"), node(4, data: "null"),
            node(5, data: #"{"VNI":2,"VtepMAC":"0a:00:00:00:04:05"}"#), node(6, cidrs: ["10.42.0.0/24"]),
            node(7, data: #"{"VNI":1,"VtepMAC":"0a:00:00:00:04:01"}"#, cidrs: ["10.42.7.0/24"]),
            NetworkNode(name: "fresh", podCIDRs: [try prefix("10.42.9.0/24")], backend: nil),
        ]
        let plan = try planner().plan(nodes.reversed())
        #expect(Set(plan.routes.map(\.destination.description)) == ["10.42.1.0/24", "fd00:42:0:1::/64"])
        for words in [
            "node node-2: pod CIDR 10.42.1.128/25 overlaps 10.42.1.0/24 of node node-1",
            "node node-3 has backend \"host-gw\"",
            "node node-4: its backend-data names no VtepMAC", "node node-5: its VNI is 2", "of this node: left out",
            "node node-7: its VtepMAC 0a:00:00:00:04:01 is also that of node-1",
        ] { #expect(plan.problems.contains { $0.contains(words) }, "\(words): \(plan.problems)") }
    }

    @Test func aFamilyThatThisNodeDoesNotHaveIsIgnored() throws {
        let plan = try planner(own: ["fd00:42::/64"]).plan([node(1)])
        #expect(plan.routes.map(\.destination.description) == ["fd00:42:0:1::/64"])
        #expect(plan.problems.isEmpty)
    }

    @Test func onlyTheDifferenceIsWritten() throws {
        let planner = try planner(own: ["10.42.0.0/24"])
        let before = planner.plan([node(1), node(2)])
        #expect(before.changes(from: before).isEmpty)
        // Node 1 goes, node 2 gets another address, node 3 comes.
        let moved = node(2, more: ["flannel.alpha.coreos.com/public-ip": "192.0.2.22"])
        let changes = planner.plan([moved, node(3)]).changes(from: before)
        #expect(changes.removedRoutes.map(\.destination.description) == ["10.42.1.0/24"])
        #expect(changes.addedRoutes.map(\.destination.description) == ["10.42.3.0/24"])
        #expect(
            changes.removedNeighbours.map(\.description) == [
                "10.42.1.0 0a:00:00:00:04:01 on link 7", "192.0.2.1 0a:00:00:00:04:01 on link 7",
                "192.0.2.2 0a:00:00:00:04:02 on link 7",
            ])
        #expect(
            changes.addedNeighbours.map(\.description) == [
                "10.42.3.0 0a:00:00:00:04:03 on link 7", "192.0.2.22 0a:00:00:00:04:02 on link 7",
                "192.0.2.3 0a:00:00:00:04:03 on link 7",
            ])
        let operations = changes.operations.map(\.description)
        #expect(operations.first == "remove route 10.42.1.0/24 via 10.42.1.0 link 7")
        #expect(operations.last == "add route 10.42.3.0/24 via 10.42.3.0 link 7")
    }

    @Test func aWireGuardPeerThatChangesKeepsItsSession() throws {
        let key = Base64.encode([UInt8](1...32)), other = Base64.encode([UInt8](2...33))
        let planner = try planner(.wireGuard, own: ["10.42.0.0/24"])
        let before = planner.plan([node(1, backend: "wireguard", data: #"{"PublicKey":"\#(key)"}"#)])
        let moved = node(
            1, backend: "wireguard", data: #"{"PublicKey":"\#(key)"}"#,
            more: ["flannel.alpha.coreos.com/public-ip": "192.0.2.99"])
        let changes = planner.plan([moved]).changes(from: before)
        #expect(changes.removedTunnels.isEmpty && changes.addedTunnels.count == 1 && changes.addedRoutes.isEmpty)
        #expect(planner.plan([moved]).comparable == before.comparable, "endpoints follow the peer's packets")
        let rekeyed = planner.plan([node(1, backend: "wireguard", data: #"{"PublicKey":"\#(other)"}"#)])
        #expect(rekeyed.changes(from: before).removedTunnels.count == 1)
    }

    @Test func flannelsConfigurationFile() throws {
        var configuration = BackendConfiguration(.vxlan, stateFile: "")
        try configuration.apply(
            flannelConfiguration: JSON.parse(
                #"{"Network":"10.42.0.0/16","Backend":{"Type":"vxlan","VNI":7,"Port":4789,"MTU":1400,"DirectRouting":true}}"#
            ))
        #expect(configuration.vni == 7 && configuration.port(.ipv6) == 4789 && configuration.mtu == 1400)
        #expect(configuration.directRouting && configuration.deviceName(.ipv6) == "flannel-v6.7")
        try configuration.apply(
            flannelConfiguration: JSON.parse(#"{"Backend":{"Type":"wireguard","PersistentKeepaliveInterval":0}}"#))
        #expect(configuration.kind == .wireGuard && configuration.keepalive == 0)
        for (text, words) in [
            (#"{"Backend":{"Type":"ipsec"}}"#, "Backend.Type: \"ipsec\""), (#"{"Backend":{"VNI":"1"}}"#, "Backend.VNI"),
            (#"{"Backend":{"Port":0}}"#, "from 1 to 65535"), (#"{"Backend":3}"#, "\"Backend\" object"),
            (#"{"Backend":{"PSK":"abc"}}"#, "wg genpsk"), ("[]", "expected an object"),
        ] {
            var broken = BackendConfiguration(.vxlan, stateFile: "")
            let document = try JSON.parse(text)
            let error = #expect(throws: PodNetworkError.self) { try broken.apply(flannelConfiguration: document) }
            #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
        }
    }
}
