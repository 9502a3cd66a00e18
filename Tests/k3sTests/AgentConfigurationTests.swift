import Codecs
import Linux
import Netlink
import Testing
import Transport

@testable import k3s

@Suite struct AgentConfigurationTests {
    private func configuration(
        _ arguments: [String], environment: [String: String] = [:]
    ) throws -> AgentConfiguration {
        let parser = FlagParser(flags: AgentFlags.all)
        let flags = try parser.parse(arguments + ["--data-dir", "/nonexistent/k3s"], environment: { environment[$0] })
        _ = try parser.withoutEffect(flags)
        return try AgentConfiguration(flags, environment: { environment[$0] }, isRoot: true, hostname: "Host")
    }

    @Test func serverAndTokenAreAllItTakes() throws {
        let plain = try configuration(["--server", "https://192.0.2.10:6443", "-t", "secret"])
        #expect(plain.serverAddress == "192.0.2.10:6443" && plain.balancerPort == 6444)
        #expect(plain.token?.credentials == .password(user: "", password: "secret"))
        #expect(plain.node.nodeName == "host" && !plain.node.isServer)
        let environment = try configuration(
            [],
            environment: [
                "K3S_URL": "https://[2001:db8::1]", "K3S_TOKEN": "abcdef.0123456789abcdef", "K3S_NODE_NAME": "n",
                "K3S_LB_SERVER_PORT": "7000",
            ])
        #expect(environment.serverAddress == "[2001:db8::1]:443" && environment.balancerPort == 7000)
        #expect(environment.token?.credentials == .bootstrap(id: "abcdef", secret: "0123456789abcdef"))
        #expect(environment.node.nodeName == "n")
        #expect(try configuration(["-s", "https://a", "-t", "x", "--disable-apiserver-lb"]).balancerPort == nil)
    }

    @Test func aNodeIsDescribedByFlags() throws {
        let made = try configuration([
            "-s", "https://a:6443", "-t", "x", "--node-label", "a=b", "--node-taint", "k=v:NoSchedule",
            "--node-taint=only:NoExecute", "--node-ip", "192.0.2.7", "--node-external-ip", "198.51.100.7",
        ])
        #expect(made.node.nodeLabels == ["a": "b"] && made.node.nodeIP == "192.0.2.7")
        #expect(made.node.externalIPs == ["198.51.100.7"])
        #expect(made.node.nodeTaints.map(\.key) == ["k", "only"])
        #expect(made.node.nodeTaints.map(\.effect) == ["NoSchedule", "NoExecute"])
    }

    @Test(arguments: [
        ([], "--token is required"), (["-t", "x"], "--server is required"),
        (["-t", "x", "-s", "http://a"], "--server: \"http://a\" is not an https:// address"),
        (["-t", "K10abc::node:x", "-s", "https://a"], "--token: token"),
        (["-t", "x", "-s", "https://a", "--node-taint", "k"], "--node-taint: \"k\" is not of the form"),
        (["-t", "x", "-s", "https://a", "--lb-server-port", "0"], "--lb-server-port: \"0\" is not a port"),
        (
            ["-t", "x", "-s", "https://a", "--cluster-cidr", "10.0.0.0/8"],
            "flag provided but not defined: -cluster-cidr"
        ),
        (["-t", "x", "-s", "https://a", "--docker"], "--docker is not supported yet"),
    ])
    func whatIsWrongIsNamed(_ arguments: [String], _ message: String) {
        let error = #expect(throws: UsageError.self) { try configuration(arguments) }
        #expect(error?.description.hasPrefix(message) == true, "\(error?.description ?? "")")
    }

    /// k3s-surface.md, 2.3; the last five are ours.
    @Test func everyFlagOfTheOriginalIsThere() {
        let names = """
            config debug v vmodule log alsologtostderr token token-file server data-dir node-name with-node-id node-label
            node-taint image-credential-provider-bin-dir image-credential-provider-config selinux lb-server-port
            protect-kernel-defaults container-runtime-endpoint default-runtime image-service-endpoint pause-image
            snapshotter private-registry disable-default-registry-endpoint nonroot-devices airgap-extra-registry node-ip
            bind-address node-external-ip node-internal-dns node-external-dns resolv-conf flannel-iface flannel-conf
            flannel-cni-conf kubelet-arg kube-proxy-arg enable-pprof rootless prefer-bundled-bin docker vpn-auth
            vpn-auth-file disable-apiserver-lb state-dir cgroup-root kubelet-root-dir pod-log-dir kubelet-port
            """
        let expected = Set(names.split(whereSeparator: \.isWhitespace).map(String.init))
        #expect(Set(AgentFlags.all.map(\.name)) == expected)
        #expect(AgentFlags.all.count == expected.count)
    }

    @Test func certificatesAreRenewedInTheLastThirdOfTheirLife() {
        let day: Int64 = 86_400
        #expect(Agent.due(from: 1000, through: 1000 + 300 * day) == 1000 + 200 * day)
        // What runs out with its authority, or has: no loop of restarts.
        #expect(Agent.due(from: 1000, through: 1010) == 1030 && Agent.due(from: 1000, through: 0) == 1030)
    }

    @Test func identityIsMadeOnceAndKept() throws {
        let folder = "/tmp/k3s-identity-\(getpid())"
        defer { try? Directories.removeTree(folder) }
        let file = folder + "/node/password"
        let password = try NodeIdentity.password(file)
        #expect(password.utf8.count == 32 && password.allSatisfy(\.isHexDigit))
        #expect(try NodeIdentity.password(file) == password)
        let id = try NodeIdentity.id(besidePassword: file)
        #expect(id.utf8.count == 8)
        #expect(try NodeIdentity.id(besidePassword: file) == id)
    }
}

@Suite struct ClusterDescriptionTests {
    private let document: JSON = [
        "ClusterIPRange": ["IP": "10.52.0.0", "Mask": "//8AAA=="],
        "ClusterIPRanges": [
            ["IP": "10.52.0.0", "Mask": "//8AAA=="], ["IP": "fd00:52::", "Mask": "//////////8AAAAAAAAAAA=="],
        ],
        "ServiceIPRange": ["IP": "10.53.0.0", "Mask": "//8AAA=="], "ServiceIPRanges": .null,
        "ClusterDNS": "10.53.0.10", "ClusterDomain": "example.org",
        "ServiceNodePortRange": ["Base": 31000, "Size": 1000], "EgressSelectorMode": "cluster",
        "Disables": ["coredns": true, "traefik": false], "DisableNPC": true,
    ]

    @Test func goFieldNamesAreUnderstood() throws {
        let cluster = try ClusterDescription(document)
        #expect(cluster.clusterCIDRs == ["10.52.0.0/16", "fd00:52::/64"])
        #expect(cluster.serviceCIDRs == ["10.53.0.0/16"])
        #expect(cluster.clusterDNS == ["10.53.0.10"] && cluster.clusterDomain == "example.org")
        #expect(cluster.nodePorts == 31000...31999)
        #expect(cluster.disablesNetworkPolicy)
        #expect(cluster.disabled == ["coredns"] && cluster.egressSelectorMode == "cluster")
        #expect(cluster.disablesNetworkPolicy)
    }

    @Test func whatIsMissingHasADefaultOrAName() throws {
        let least = try ClusterDescription(["ClusterDNS": "10.43.0.10"])
        #expect(least.nodePorts == 30000...32767 && least.clusterDomain == "cluster.local")
        #expect(least.egressSelectorMode == "agent" && !least.disablesNetworkPolicy)
        #expect(throws: ClusterDescription.Malformed.self) { try ClusterDescription([:]) }
        #expect(throws: ClusterDescription.Malformed.self) {
            try ClusterDescription(["ClusterDNS": "10.43.0.10", "ClusterIPRange": ["IP": "x", "Mask": "//8AAA=="]])
        }
    }

    @Test func aTunnelLeadsToTheNodesOwnAPIOnly() async {
        var policy = AgentTunnels.Policy(kubeletPort: 10250)
        func allows(_ host: String, _ port: UInt16, _ network: String = "tcp") async -> Bool {
            await policy.allows(TunnelAddress(network: network, host: host, port: port))
        }
        #expect(await allows("127.0.0.1", 10250))
        #expect(await allows("::1", 10250))
        for (host, port) in [("127.0.0.1", UInt16(22)), ("192.0.2.10", 10250), ("10.42.3.4", 80)] {
            #expect(await !allows(host, port), "\(host)")
        }
        #expect(await !allows("127.0.0.1", 10250, "udp"))
        policy.networks = [IPPrefix("10.42.0.0/16")].compactMap { $0 }
        #expect(await allows("10.42.3.4", 80))
        for host in ["10.43.0.1", "10.42.example"] { #expect(await !allows(host, 443), "\(host)") }
    }

    @Test func inModePodATunnelLeadsToPodsOfTheNodeOnly() async throws {
        let pods = NodePods()
        var policy = AgentTunnels.Policy(kubeletPort: 10250)
        policy.isPod = { await pods.have($0, $1) }
        let pod = TunnelAddress(host: "10.42.3.4", port: 80), other = TunnelAddress(host: "10.42.3.5", port: 80)
        let kubelet = TunnelAddress(host: "127.0.0.1", port: 10250), name = TunnelAddress(host: "example.org", port: 80)
        // The node is not up yet.
        #expect(await !policy.allows(pod))
        let address = try #require(IPAddress("10.42.3.4"))
        pods.connect { $0 == address && $1 == 80 }
        #expect(await policy.allows(pod))
        #expect(policy.decides(pod) == nil && policy.decides(kubelet) == true && policy.decides(name) == false)
        #expect(await !policy.allows(other))
        #expect(await !policy.allows(TunnelAddress(host: "10.42.3.4", port: 81)))
    }
}
