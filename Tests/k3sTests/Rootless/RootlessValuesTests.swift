import Iptables
import Netlink
import Testing

@testable import k3s

@Suite struct SubordinateIDsTests {
    @Test func linesOfTheUserCountByNameAndNumber() {
        let text = "# comment\nother:1:2\nme:100000:65536\n1000:300000:10\nme:x:5\nme:5:0\nme:4294967295:2\n"
        let ranges = SubordinateIDs.ranges(text, user: "me", id: 1000)
        #expect(ranges == [.init(start: 100000, count: 65536), .init(start: 300000, count: 10)])
        #expect(SubordinateIDs.ranges(text, user: nil, id: 7) == [])
    }

    @Test func theMapIsTheUserAndWhatHeWasGiven() {
        #expect(SubordinateIDs.map(own: 1000, []) == "0 1000 1")
        #expect(
            SubordinateIDs.map(own: 1000, [.init(start: 100000, count: 65536), .init(start: 5, count: 2)])
                == "0 1000 1 1 100000 65536 65537 5 2")
    }

    @Test func namesComeFromPasswd() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nme:x:1000:1000::/home/me:\nbroken\n"
        #expect(SubordinateIDs.name(of: 1000, passwd: passwd) == "me")
        #expect(SubordinateIDs.name(of: 5, passwd: passwd) == nil)
    }
}

@Suite struct RootlessSettingsTests {
    private func settings(_ variables: [String: String] = [:]) throws -> RootlessSettings {
        try RootlessSettings { variables[$0] }
    }

    @Test func defaultsAreTheOriginals() throws {
        let settings = try settings()
        #expect(settings.mtu == 65520 && settings.hidesHostLoopback && settings.notes.isEmpty)
        #expect(settings.node.description == "10.41.0.100")
        #expect(settings.gateway.description == "10.41.0.2")
        #expect(settings.nameServer(1).description == "10.41.0.4")
    }

    @Test func variablesReplaceThem() throws {
        let settings = try settings([
            "K3S_ROOTLESS_CIDR": "192.168.7.9/24", "K3S_ROOTLESS_MTU": "1500",
            "K3S_ROOTLESS_DISABLE_HOST_LOOPBACK": "false", "K3S_ROOTLESS_PORT_DRIVER": "slirp4netns",
        ])
        #expect(settings.node.description == "192.168.7.100" && settings.mtu == 1500 && !settings.hidesHostLoopback)
        #expect(settings.notes.count == 1)
    }

    @Test(arguments: [
        ("K3S_ROOTLESS_MTU", "12"), ("K3S_ROOTLESS_MTU", "x"), ("K3S_ROOTLESS_CIDR", "10.0.0.0/28"),
        ("K3S_ROOTLESS_CIDR", "fd00::/16"), ("K3S_ROOTLESS_DISABLE_HOST_LOOPBACK", "maybe"),
    ])
    func nonsenseIsRefusedByName(name: String, value: String) {
        #expect(throws: UsageError.self) { try settings([name: value]) }
    }
}

@Suite struct RootlessLaunchTests {
    private func problem(_ files: [String: String]) -> String? {
        do {
            try RootlessLaunch.checkKernel { files[$0] }
            return nil
        } catch { return "\(error)" }
    }

    @Test func whatForbidsUserNamespacesIsNamed() {
        let enough = ["/proc/sys/user/max_user_namespaces": "100"]
        #expect(problem(enough) == nil)
        #expect(problem([:])?.contains("CONFIG_USER_NS") == true)
        #expect(problem(["/proc/sys/user/max_user_namespaces": "0"])?.contains("user.max_user_namespaces") == true)
        let debian = enough.merging(["/proc/sys/kernel/unprivileged_userns_clone": "0"]) { $1 }
        #expect(problem(debian)?.contains("kernel.unprivileged_userns_clone=1") == true)
        let ubuntu = enough.merging(["/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1"]) { $1 }
        #expect(problem(ubuntu) == nil)
        let unconfined = ubuntu.merging(["/proc/self/attr/apparmor/current": "unconfined"]) { $1 }
        #expect(problem(unconfined)?.contains("apparmor_restrict_unprivileged_userns=0") == true)
    }

    @Test func nameServersAreReplacedAndTheRestStays() {
        let text = RootlessMounts.resolvConf(
            "# x\nnameserver 127.0.0.53\nsearch a b\noptions ndots:2\n", servers: ["10.41.0.3"])
        #expect(text == "nameserver 10.41.0.3\nsearch a b\noptions ndots:2\n")
    }
}

@Suite struct PublishedPortsTests {
    private func address(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }

    @Test func nodePortsAndLoadBalancersLeadToTheClusterAddress() throws {
        var service = ServicePort("a:b", clusterIPs: [try address("10.43.0.7")], port: 80, nodePort: 30080)
        let cluster = PublishedPorts.Target(address: try address("10.43.0.7"), port: 80)
        #expect(PublishedPorts.targets(service) == [.init(number: 30080): cluster])
        service.loadBalancerIPs = [try address("127.0.0.1")]
        service.loadBalancerSourceRanges = [try #require(IPPrefix("10.0.0.0/8"))]
        var limited = cluster
        limited.sources = service.loadBalancerSourceRanges
        // Ports that the user may not have are others.
        #expect(PublishedPorts.targets(service) == [.init(number: 30080): cluster, .init(number: 10080): limited])
        service.transport = .udp
        #expect(PublishedPorts.targets(service).keys.map(\.isUDP) == [true, true])
        service.transport = .sctp
        #expect(PublishedPorts.targets(service).isEmpty)
    }

    @Test func sourceRangesHold() throws {
        var target = PublishedPorts.Target(address: try address("10.43.0.7"), port: 80)
        #expect(try target.admits(nil) && target.admits(address("1.2.3.4")))
        target.sources = [try #require(IPPrefix("10.0.0.0/8"))]
        #expect(try target.admits(address("10.9.8.7")))
        #expect(try !target.admits(address("11.0.0.1")) && !target.admits(nil))
    }

    @Test func onlyLowPortsAreMoved() {
        #expect(PublishedPorts.hostPort(1023) == 11023)
        #expect(PublishedPorts.hostPort(1024) == 1024)
        #expect(PublishedPorts.hostPort(65535) == 65535)
    }
}
