import Codecs
import Linux
import Netlink
import NetworkTesting
import Testing

@testable import PodNetwork

@Suite struct CNIConfigurationTests {
    let list = #"""
        {"cniVersion":"1.0.0","name":"net","plugins":[
          {"type":"bridge","bridge":"br0","ipam":{"type":"host-local"}},
          {"type":"portmap","capabilities":{"portMappings":true,"bandwidth":false}}]}
        """#

    @Test func aPluginGetsItsConfigurationAndWhatItAsksFor() throws {
        let configuration = try CNIConfiguration(JSON.parse(list), file: "10.conflist")
        var attachment = CNIAttachment(container: "c1", namespacePath: "/run/netns/c1")
        attachment.arguments = [("IgnoreUnknown", "1"), ("K8S_POD_NAME", "web")]
        attachment.capabilities = ["portMappings": [["hostPort": 80]], "bandwidth": ["ingressRate": 1]]
        let previous: JSON = ["cniVersion": "1.0.0", "ips": [["address": "10.1.0.2/24"]]]
        let bridge = CNIInvocation(
            .add, configuration.plugins[0], of: configuration, attachment, previous: nil, path: ["/a"],
            searchPath: "/x:/y")
        #expect(
            bridge.input.text
                == #"{"type":"bridge","bridge":"br0","ipam":{"type":"host-local"},"name":"net","cniVersion":"1.0.0"}"#)
        #expect(
            bridge.environment.prefix(6) == [
                "CNI_COMMAND=ADD", "CNI_CONTAINERID=c1", "CNI_NETNS=/run/netns/c1", "CNI_IFNAME=eth0", "CNI_PATH=/a",
                "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAME=web",
            ])
        let portmap = CNIInvocation(
            .delete, configuration.plugins[1], of: configuration, attachment, previous: previous, path: ["/a", "/b"],
            searchPath: "/x:/y")
        #expect(portmap.input["runtimeConfig"].text == #"{"portMappings":[{"hostPort":80}]}"#)
        #expect(portmap.input["prevResult"] == previous && portmap.input["capabilities"].isNull)
        #expect(portmap.environment.contains("CNI_PATH=/a:/b"))
        // Tools of the host, and those inside, are found where the node says.
        #expect(portmap.environment.contains("PATH=/x:/y"))
    }

    @Test func theFirstGoodFileIsUsedAndTheOthersAreExplained() throws {
        let directory = "/tmp/k3s-cni-test.\(getpid()).\(UInt64.random(in: 0 ... .max))"
        defer { try? Directories.removeTree(directory) }
        var problems: [String] = []
        #expect(CNIConfiguration.load(directory: directory, problems: &problems) == nil)
        try Directories.make(directory)
        try Files.write(directory + "/05-notes.txt", Array("{".utf8))
        try Files.write(directory + "/10-broken.conf", Array("{".utf8))
        try Files.write(directory + "/11-odd.conf", Array(#"{"name":"x","type":"../../bin/sh"}"#.utf8))
        try Files.write(directory + "/12-old.conflist", Array(#"{"cniVersion":"9.0.0","name":"x","plugins":[]}"#.utf8))
        #expect(CNIConfiguration.load(directory: directory, problems: &problems) == nil)
        #expect(problems.count == 3, "\(problems)")
        #expect(problems.contains { $0.contains("plugins[0].type") } && problems.contains { $0.contains("cniVersion") })
        try Files.write(directory + "/20-one.conf", Array(#"{"cniVersion":"0.3.1","name":"one","type":"ptp"}"#.utf8))
        try Files.write(directory + "/30-list.conflist", Array(list.utf8))
        let found = CNIConfiguration.load(directory: directory, problems: &problems)
        #expect(found?.configuration.name == "one" && found?.configuration.plugins.count == 1)
        #expect(found?.file == directory + "/20-one.conf")
    }

    @Test func addressesAreThoseInsideThePod() throws {
        let result = try JSON.parse(
            #"{"interfaces":[{"name":"br0"},{"name":"eth0","sandbox":"/n"}],"ips":[{"address":"10.1.0.1/24","interface":0},{"address":"10.1.0.2/24","interface":1},{"address":"fd00::2/64"}]}"#
        )
        #expect(CNIResult.addresses(result) == ["10.1.0.2", "fd00::2"])
        #expect(
            CNIResult.addresses(try JSON.parse(#"{"ip4":{"ip":"10.1.0.2/24"},"ip6":{"ip":"fd00::2/64"}}"#)).count == 2)
        #expect(CNIResult.addresses(.null) == [])
        #expect(CNIResult.failure(Array(#"{"code":7,"msg":"no","details":"why"}"#.utf8)) == "no; why")
        #expect(CNIResult.failure(Array("panic".utf8)) == nil)
    }
}

/// With Debian's containernetworking-plugins, in a namespace that plays the node.
@Suite(
    .enabled(if: Live.isRoot, "needs root and network namespaces"),
    .enabled(if: Files.exists("/usr/lib/cni/bridge"), "needs Debian's containernetworking-plugins"))
struct CNILiveTests {
    let directory = "/tmp/k3s-cni-live.\(getpid()).\(UInt64.random(in: 0 ... .max))"

    /// Plugins run in the caller's network namespace: wrappers put them into the node's.
    func network(_ node: NetworkNamespace, timeout: Int64 = 60) throws -> CNINetwork {
        try Directories.make(directory + "/bin")
        try Directories.make(directory + "/net.d")
        for plugin in ["bridge", "portmap", "loopback"] {
            try Files.write(
                directory + "/bin/" + plugin,
                Array("#!/bin/sh\nexec nsenter --net=\(node.processPath) /usr/lib/cni/\(plugin)\n".utf8), mode: 0o755)
        }
        try Files.write(
            directory + "/bin/broken", Array("#!/bin/sh\necho '{\"code\":11,\"msg\":\"try later\"}'\nexit 1\n".utf8),
            mode: 0o755)
        try Files.write(directory + "/bin/slow", Array("#!/bin/sh\nexec sleep 600\n".utf8), mode: 0o755)
        var settings = CNISettings(cacheDirectory: directory + "/results")
        settings.configurationDirectory = directory + "/net.d"
        // host-local is run by the bridge plugin, from CNI_PATH.
        settings.pluginDirectories = [directory + "/bin", "/usr/lib/cni"]
        settings.timeoutSeconds = timeout
        return CNINetwork(settings)
    }

    func write(_ extra: String = "") throws {
        try Files.write(
            directory + "/net.d/10-test.conflist",
            Array(
                #"""
                {"cniVersion":"1.0.0","name":"test","plugins":[
                  {"type":"bridge","bridge":"br0","isGateway":true,"hairpinMode":true,
                   "ipam":{"type":"host-local","dataDir":"\#(directory)/leases","routes":[{"dst":"0.0.0.0/0"}],
                           "ranges":[[{"subnet":"10.88.0.0/24"}]]}}\#(extra)]}
                """#.utf8))
    }

    func leases() -> Set<String> {
        Set(
            ((try? Directories.list(directory + "/leases/test")) ?? []).map(\.name).filter {
                $0.first?.isNumber == true
            })
    }

    @Test func debiansPluginsMakeAndUnmakeANetwork() async throws {
        defer { try? Directories.removeTree(directory) }
        let node = try NetworkNamespace.make()
        try RouteSocket(in: node).setLink(1, LinkChange(isUp: true))
        let cni = try network(node)
        #expect(cni.configuration().configuration == nil)
        let a = try NetworkNamespace.make(), b = try NetworkNamespace.make()
        let early = await #expect(throws: PodNetworkError.self) {
            try await cni.add(CNIAttachment(container: "a", namespacePath: a.processPath))
        }
        #expect(early?.message.contains("no network config found in \(directory)/net.d") == true)
        try write()
        let attachment = CNIAttachment(container: "a", namespacePath: a.processPath)
        let first = try await cni.add(attachment)
        #expect(first == ["10.88.0.2"])
        #expect(try await cni.add(attachment) == first, "idempotent")
        let second = try await cni.add(CNIAttachment(container: "b", namespacePath: b.processPath))
        #expect(second == ["10.88.0.3"])
        let server = try ProbeServer("b", in: b, port: 80)
        defer { server.close_() }
        #expect(probe(from: a, "10.88.0.3", 80, milliseconds: 5000) == .answer("b 10.88.0.2"))
        // Another process, and another configuration by then: what was made is unmade all the same.
        let later = try network(node)
        try Files.remove(directory + "/net.d/10-test.conflist")
        #expect(later.addresses(container: "a") == first && later.containers == ["a", "b"])
        #expect(leases() == ["10.88.0.2", "10.88.0.3"])
        try await later.delete(container: "a")
        try await later.delete(container: "a")
        #expect(try RouteSocket(in: a).link(name: "eth0") == nil)
        // A pod whose namespace is gone: the lease is given back.
        try Files.write(
            directory + "/results/b",
            Array(
                String(decoding: try Files.read(directory + "/results/b"), as: UTF8.self)
                    .replacing("/proc/\(getpid())/fd/", with: "/proc/0/").utf8))
        try await later.delete(container: "b")
        #expect(leases().isEmpty && later.containers.isEmpty)
    }

    @Test func aPluginThatFailsUndoesTheOnesBefore() async throws {
        defer { try? Directories.removeTree(directory) }
        let node = try NetworkNamespace.make(), pod = try NetworkNamespace.make()
        let cni = try network(node, timeout: 2)
        let attachment = CNIAttachment(container: "a", namespacePath: pod.processPath)
        for (plugin, words) in [
            ("broken", "plugin type=\"broken\" failed (add): try later"),
            ("missing", "failed to find plugin \"missing\" in path [\(directory)/bin /usr/lib/cni]"),
        ] {
            try write(#",{"type":"\#(plugin)"}"#)
            let error = await #expect(throws: PodNetworkError.self) { try await cni.add(attachment) }
            #expect(error?.message.contains(words) == true, "\(error?.message ?? "")")
            #expect(try RouteSocket(in: pod).link(name: "eth0") == nil)
            #expect(leases().isEmpty)
        }
        try write(#",{"type":"slow"}"#)
        let error = await #expect(throws: PodNetworkError.self) { try await cni.add(attachment) }
        #expect(error?.message.contains("wait for plugin") == true)
    }
}
