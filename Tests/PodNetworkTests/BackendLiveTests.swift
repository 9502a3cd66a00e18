import Linux
import Netlink
import NetworkTesting
import Testing

@testable import PodNetwork

@Suite(.enabled(if: Live.isRoot, "needs root and network namespaces"))
struct BackendLiveTests {
    /// Every pod reaches every other with its own address, over TCP and UDP, and the other nodes.
    func podsReachEachOther(_ lab: NodeNetworks, _ families: [AddressFamily]) async throws {
        var pods: [(namespace: NetworkNamespace, ips: [String])] = []
        var servers: [ProbeServer] = []
        defer { servers.forEach { $0.close_() } }
        for node in lab.nodes {
            let pod = try await lab.pod(node, "pod")
            pods.append(pod)
            for family in families {
                servers.append(try ProbeServer(node.name, in: pod.namespace, port: 80, family: family))
                servers.append(try ProbeServer(node.name, in: pod.namespace, port: 80, udp: true, family: family))
                servers.append(try ProbeServer("host-" + node.name, in: node.namespace, port: 81, family: family))
            }
        }
        for (from, pod) in pods.enumerated() {
            for (to, other) in pods.enumerated() where from != to {
                for (index, address) in other.ips.enumerated()
                where families.contains(address.contains(":") ? .ipv6 : .ipv4) {
                    let wanted = ProbeResult.answer("\(lab.nodes[to].name) \(pod.ips[index])")
                    #expect(lab.eventually(wanted, from: pod.namespace, address) == wanted)
                    #expect(lab.eventually(wanted, from: pod.namespace, address, udp: true) == wanted)
                    // The node reaches pods elsewhere, with an address that they can answer to.
                    let reached = lab.eventually(
                        .answer("\(lab.nodes[to].name) -"), from: lab.nodes[from].namespace, address, seconds: 0)
                    #expect(reached.server == lab.nodes[to].name)
                }
                // The world outside the pod network sees the node's address.
                if families.contains(.ipv4) {
                    let wanted = ProbeResult.answer("host-\(lab.nodes[to].name) 192.0.2.\(from + 1)")
                    #expect(lab.eventually(wanted, from: pod.namespace, "192.0.2.\(to + 1)", 81) == wanted)
                }
            }
        }
    }

    /// What fits is not cut: a ping of the MTU, with the don't-fragment bit.
    func fullPacketsPass(_ lab: NodeNetworks, mtu: Int) async throws {
        let a = try await lab.pod(lab.nodes[0], "ping"), b = try await lab.pod(lab.nodes[1], "ping")
        let link = try #require(try RouteSocket(in: a.namespace).link(name: "eth0"))
        #expect(link.mtu == UInt32(mtu))
        for address in b.ips {
            let header = address.contains(":") ? 48 : 28
            // One packet per program: children of this process have their signals blocked, and ping's clock is a signal.
            let once = "timeout -s KILL 3 busybox ping -c 1 -s \(mtu - header) \(address)"
            let ping = shell("for i in 1 2 3 4 5 6 7 8; do \(once) && exit 0; done; exit 1", in: a.namespace)
            #expect(ping.status == 0, "\(ping.output)")
        }
    }

    @Test func vxlanCarriesBothFamilies() async throws {
        let lab = try NodeNetworks(3)
        try await lab.startAll(.vxlan)
        try await podsReachEachOther(lab, [.ipv4, .ipv6])
        try await fullPacketsPass(lab, mtu: 1430)
        let link = try #require(try lab.nodes[0].route.link(name: "flannel.1"))
        #expect(link.mtu == 1450 && link.vxlan?.port == 8472 && link.vxlan?.learning == false && link.isUp)
        #expect(try #require(link.mac).value >> 40 & 3 == 2, "locally administered")
        #expect(try #require(try lab.nodes[0].route.link(name: "flannel-v6.1")).mtu == 1430)
        let addresses = try lab.nodes[0].route.addresses(family: .ipv4, link: link.index).map(\.prefix.description)
        #expect(addresses == ["10.42.1.0/32"])
        // An independent reader.
        let routes = shell("ip route show proto 107; ip -6 route show proto 107", in: lab.nodes[0].namespace).output
        #expect(routes.contains("10.42.2.0/24 via 10.42.2.0 dev flannel.1 onlink"), "\(routes)")
        #expect(routes.contains("fd00:42:0:3::/64 via fd00:42:0:3:: dev flannel-v6.1"), "\(routes)")
        let entries = shell("bridge fdb show dev flannel.1", in: lab.nodes[0].namespace).output
        #expect(entries.contains("dst 192.0.2.2 self permanent") && entries.contains("dst 192.0.2.3 self permanent"))
    }

    @Test func vxlanOverIPv6Alone() async throws {
        let lab = try NodeNetworks(2, families: [.ipv6])
        try await lab.startAll(.vxlan)
        try await podsReachEachOther(lab, [.ipv6])
        try await fullPacketsPass(lab, mtu: 1430)
        #expect(try lab.nodes[0].route.link(name: "flannel.1") == nil)
    }

    @Test func hostGateway() async throws {
        let lab = try NodeNetworks(3)
        try await lab.startAll(.hostGateway)
        try await podsReachEachOther(lab, [.ipv4, .ipv6])
        try await fullPacketsPass(lab, mtu: 1500)
    }

    @Test func hostGatewayToANodeElsewhereIsAClearProblem() async throws {
        let lab = try NodeNetworks(2)
        for node in lab.nodes { try await lab.start(node, .hostGateway) }
        lab.nodes[1].object?.addresses[.ipv4] = IPAddress("198.51.100.7")
        let problems = lab.tell(lab.nodes[0])
        #expect(problems.count == 1)
        #expect(problems.first?.contains("host-gw needs all nodes on one link") == true, "\(problems)")
        // The other family works.
        #expect(try lab.nodes[0].route.routes(family: .ipv6).contains { $0.origin == ForwardingPlan.origin })
    }

    @Test func aRestartKeepsAddressesAndEntries() async throws {
        let lab = try NodeNetworks(2)
        try await lab.startAll(.vxlan)
        let a = try await lab.pod(lab.nodes[0], "a"), b = try await lab.pod(lab.nodes[1], "b")
        let server = try ProbeServer("b", in: b.namespace, port: 80)
        defer { server.close_() }
        let wanted = ProbeResult.answer("b \(a.ips[0])")
        #expect(lab.eventually(wanted, from: a.namespace, b.ips[0]) == wanted)
        let before = try #require(try lab.nodes[0].route.link(name: "flannel.1"))
        // A process that was killed: the kernel has everything still.
        lab.nodes[0].backend = nil
        try await lab.start(lab.nodes[0], .vxlan)
        #expect(probe(from: a.namespace, b.ips[0], 80) == wanted, "packets go on before the other nodes are known")
        #expect(lab.tell(lab.nodes[0]) == [])
        #expect(try lab.nodes[0].route.link(name: "flannel.1") == before)
        #expect(probe(from: a.namespace, b.ips[0], 80) == wanted)
        // A machine that was started again: the node's object has the MAC address.
        try lab.nodes[0].route.deleteLink(name: "flannel.1")
        try await lab.start(lab.nodes[0], .vxlan)
        lab.tell(lab.nodes[0])
        #expect(try lab.nodes[0].route.link(name: "flannel.1")?.mac == before.mac)
        #expect(lab.eventually(wanted, from: a.namespace, b.ips[0]) == wanted)
    }

    @Test func entriesOfNodesThatAreGoneAreRemovedAlsoAfterARestart() async throws {
        let lab = try NodeNetworks(3)
        try await lab.startAll(.vxlan)
        let node = lab.nodes[0]
        func ours() throws -> Int {
            try AddressFamily.allCases.map { try node.route.routes(family: $0) }.joined()
                .count { $0.origin == ForwardingPlan.origin }
        }
        #expect(try ours() == 4)
        lab.tell(node, without: ["node-2"])
        #expect(try ours() == 2)
        let device = try #require(try node.route.link(name: "flannel.1")).index
        #expect(try node.route.neighbours(.forwarding, link: device).filter { $0.state == 0x80 }.count == 1)
        #expect(try node.route.neighbours(.arp, link: device).filter { $0.state == 0x80 }.count == 1)
        try await lab.start(node, .vxlan)
        lab.tell(node, without: ["node-2", "node-3"])
        #expect(try ours() == 0)
        #expect(try node.route.neighbours(.forwarding, link: device).filter { $0.state == 0x80 }.isEmpty)
    }

    @Test func whatOthersChangeIsRepaired() async throws {
        let lab = try NodeNetworks(2)
        try await lab.startAll(.vxlan)
        let node = lab.nodes[0]
        let backend = try #require(node.backend)
        #expect(try !backend.verify())
        let a = try await lab.pod(node, "a"), b = try await lab.pod(lab.nodes[1], "b")
        let server = try ProbeServer("b", in: b.namespace, port: 80)
        defer { server.close_() }
        let wanted = ProbeResult.answer("b \(a.ips[0])")
        for damage in [
            "ip route del 10.42.2.0/24", "ip neigh flush dev flannel.1 nud permanent", "ip link del flannel.1",
            "ip link set flannel.1 down", "ip addr flush dev flannel.1",
            "bridge fdb replace $(bridge fdb show dev flannel.1 | grep 192.0.2.2 | cut -d\" \" -f1) dev flannel.1 dst 192.0.2.77",
        ] {
            #expect(shell(damage, in: node.namespace).status == 0, "\(damage)")
            #expect(try backend.verify(), "\(damage)")
            #expect(lab.eventually(wanted, from: a.namespace, b.ips[0]) == wanted, "\(damage)")
            #expect(try !backend.verify(), "\(damage)")
        }
        // Other people's routes are theirs.
        #expect(shell("ip route add 203.0.113.0/24 via 192.0.2.9", in: node.namespace).status == 0)
        #expect(try !backend.verify())
        lab.tell(node, without: ["node-2"])
        #expect(shell("ip route show 203.0.113.0/24", in: node.namespace).output.contains("192.0.2.9"))
    }

    @Test func aPartitionHeals() async throws {
        let lab = try NodeNetworks(2)
        try await lab.startAll(.vxlan)
        let a = try await lab.pod(lab.nodes[0], "a"), b = try await lab.pod(lab.nodes[1], "b")
        let server = try ProbeServer("b", in: b.namespace, port: 80)
        defer { server.close_() }
        let wanted = ProbeResult.answer("b \(a.ips[0])")
        #expect(lab.eventually(wanted, from: a.namespace, b.ips[0]) == wanted)
        let port = try #require(try lab.switching.link(name: "port2")).index
        try lab.switching.setLink(port, LinkChange(isUp: false))
        #expect(probe(from: a.namespace, b.ips[0], 80, milliseconds: 300).server == nil)
        // Meanwhile the server takes the node for lost, and it comes back with another address.
        lab.tell(lab.nodes[0], without: ["node-2"])
        let uplink = try #require(try lab.nodes[1].route.link(name: "uplink")).index
        try lab.nodes[1].route.deleteAddress(#require(IPPrefix("192.0.2.2/24")), from: uplink)
        try lab.nodes[1].route.addAddress(#require(IPPrefix("192.0.2.42/24")), to: uplink)
        try lab.switching.setLink(port, LinkChange(isUp: true))
        try lab.nodes[1].route.addRoute(
            Route(to: nil, family: .ipv4, gateway: IPAddress("192.0.2.254"), link: uplink), replace: true)
        try await lab.start(lab.nodes[1], .vxlan)
        for node in lab.nodes { #expect(lab.tell(node) == []) }
        #expect(lab.eventually(wanted, from: a.namespace, b.ips[0]) == wanted)
    }

    @Test func anotherBackendRemovesTheInterfacesOfTheOld() async throws {
        let lab = try NodeNetworks(2)
        try await lab.startAll(.vxlan)
        // Not ours: it is on no record.
        try lab.nodes[0].route.addLink(
            LinkSpec("flannel.9", .vxlan(VXLANSettings(identifier: 9, port: 8472)), mtu: 1400))
        let file = lab.nodes[0].directory + "/run/subnet.env"
        #expect(
            try Files.readString(file) == """
                FLANNEL_NETWORK=10.42.0.0/16
                FLANNEL_SUBNET=10.42.1.1/24
                FLANNEL_IPV6_NETWORK=fd00:42::/56
                FLANNEL_IPV6_SUBNET=fd00:42:0:1::1/64
                FLANNEL_MTU=1430
                FLANNEL_IPMASQ=true

                """)
        try await lab.startAll(.hostGateway)
        #expect(try Files.readString(file).contains("FLANNEL_MTU=1500\n"))
        func names() throws -> Set<String> { Set(try lab.nodes[0].route.links().map(\.name)) }
        #expect(try names().isSuperset(of: ["flannel.9", "cni0"]))
        #expect(try names().isDisjoint(with: ["flannel.1", "flannel-v6.1"]))
        try await podsReachEachOther(lab, [.ipv4, .ipv6])
        #expect(try lab.nodes[0].route.link(name: "cni0")?.mtu == 1500)
        try await lab.start(lab.nodes[0], .none)
        #expect(!Files.exists(file))
        // Another program's file is left alone.
        try Files.write(file, Array("FLANNEL_MTU=1\n".utf8))
        try await lab.start(lab.nodes[0], .none)
        #expect(try Files.readString(file) == "FLANNEL_MTU=1\n")
        #expect(try !lab.nodes[0].route.routes(family: .ipv4).contains { $0.origin == ForwardingPlan.origin })
        try await lab.start(lab.nodes[0], .vxlan) { $0.vni = 3 }
        #expect(try names().contains("flannel.3"))
        try #require(lab.nodes[0].backend).tearDown()
        #expect(try !names().contains("flannel.3") && !Files.exists(file))
    }

    @Test func aSubnetFileThatCannotBeWrittenIsToldAndStopsNothing() async throws {
        let lab = try NodeNetworks(2)
        try await lab.startAll(.vxlan)
        try Files.write(lab.nodes[0].directory + "/file", [])
        try await lab.start(lab.nodes[0], .vxlan) { $0.subnetFile = lab.nodes[0].directory + "/file/subnet.env" }
        let problems = lab.tell(lab.nodes[0])
        #expect(problems.count == 1 && problems.first?.hasPrefix("subnet file: ") == true, "\(problems)")
        try await podsReachEachOther(lab, [.ipv4])
    }

    @Test func theInterfaceIsChosenAndItsErrorsAreClear() async throws {
        let lab = try NodeNetworks(1)
        let node = lab.nodes[0]
        func failure(_ change: (inout BackendConfiguration) -> Void) async -> String {
            var configuration = lab.configuration(node, .vxlan)
            change(&configuration)
            let settings = configuration
            do {
                _ = try await NetworkBackend.open(settings, podCIDRs: node.ranges, in: node.namespace)
                return "none"
            } catch { return error.message }
        }
        #expect(await failure { $0.interface = "eth7" } == "--flannel-iface: there is no interface \"eth7\"")
        try node.route.addLink(LinkSpec("second", .bridge, mtu: 1400, isUp: true))
        let second = try #require(try node.route.link(name: "second")).index
        try node.route.addAddress(#require(IPPrefix("198.51.100.1/24")), to: second)
        #expect(await failure { $0.interface = "second" }.contains("interface second has none"))
        try node.route.addAddress(#require(IPPrefix("2001:db8:1::1/64")), to: second, flags: .noDuplicateDetection)
        try await lab.start(node, .vxlan) { $0.interface = "second" }
        #expect(node.object?.addresses[.ipv4]?.description == "198.51.100.1")
        #expect(node.backend?.mtu == 1330)
        try await lab.start(node, .vxlan) { $0.nodeIPs = [IPAddress("198.51.100.1")].compactMap { $0 } }
        #expect(node.backend?.uplink.name == "second")
        try await lab.start(node, .vxlan) { $0.externalIPs = [IPAddress("203.0.113.5")].compactMap { $0 } }
        #expect(node.object?.annotations["flannel.alpha.coreos.com/public-ip"] == "203.0.113.5")
        #expect(try node.route.link(name: "flannel.1")?.vxlan?.local?.description == "192.0.2.1")
        // Somebody has the VNI, or the name.
        try #require(node.backend).tearDown()
        try node.route.addLink(
            LinkSpec("theirs", .vxlan(VXLANSettings(identifier: 1, port: 8472, local: IPAddress("192.0.2.1")))))
        #expect(await failure { _ in }.contains("another vxlan device has VNI 1 and port 8472"))
        try node.route.deleteLink(name: "theirs")
        try node.route.addLink(LinkSpec("flannel.1", .bridge))
        #expect(await failure { _ in }.contains("an interface of that name exists and is no vxlan"))
    }

    @Test func wireGuardCarriesBothFamilies() async throws {
        let lab = try NodeNetworks(3)
        do {
            try await lab.startAll(.wireGuard)
        } catch {
            // This kernel has none: hack/vm-tests.sh runs it in one that has.
            #expect("\(error)".contains("--flannel-backend=wireguard-native needs CONFIG_WIREGUARD"), "\(error)")
            return
        }
        try await podsReachEachOther(lab, [.ipv4, .ipv6])
        try await fullPacketsPass(lab, mtu: 1420)
        let backend = try #require(lab.nodes[0].backend)
        #expect(try !backend.verify())
        let before = lab.nodes[0].object
        lab.tell(lab.nodes[0], without: ["node-2"])
        let link = try #require(try lab.nodes[0].route.link(name: "flannel-wg")).index
        #expect(try WireGuardSocket(in: lab.nodes[0].namespace).device(link)?.peers.count == 1)
        lab.tell(lab.nodes[0])
        let device = try #require(try WireGuardSocket(in: lab.nodes[0].namespace).device(link))
        #expect(device.port == 51820 && device.peers.count == 2)
        #expect(device.peers.allSatisfy { $0.keepalive == 25 && $0.allowedIPs.count == 1 })
        // The key is kept.
        try await lab.start(lab.nodes[0], .wireGuard)
        #expect(lab.nodes[0].object == before)
        #expect(try Files.status(lab.nodes[0].directory + "/wgkey").st_mode & 0o777 == 0o400)
        try await podsReachEachOther(lab, [.ipv4])
        try await lab.start(lab.nodes[0], .vxlan)
        #expect(try lab.nodes[0].route.link(name: "flannel-wg") == nil)
    }
}
