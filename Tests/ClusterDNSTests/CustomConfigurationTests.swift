import ClusterDNS
import Netlink
import Testing

@Suite struct CustomConfigurationTests {
    @Test func serverBlocksForwardTheirZones() throws {
        let custom = CustomConfiguration([
            "corp.server": """
            # the company's names
            corp.example:53 lab.example {
                errors
                cache 30
                forward . 192.0.2.1 192.0.2.2:5353 {
                    policy sequential
                    max_fails 3
                }
            }
            """
        ])
        #expect(custom.problems == [])
        #expect(custom.blocks.map(\.zone) == [try name("corp.example"), try name("lab.example")])
        #expect(
            custom.blocks[0].forwards == [
                ServerBlock.Forward(
                    zone: .root,
                    servers: [Upstream(try address("192.0.2.1")), Upstream(try address("192.0.2.2"), port: 5353)])
            ])
    }

    @Test func overridesAddToTheClustersBlock() throws {
        let custom = CustomConfiguration([
            "a.override": """
            hosts {
                192.0.2.7 printer.example printer
                ttl 10
                fallthrough
            }
            rewrite name www.example web.default.svc.cluster.local
            rewrite continue name suffix .internal.example. .default.svc.cluster.local. answer auto
            forward example.org 192.0.2.9
            log
            """
        ])
        #expect(custom.problems == [])
        #expect(custom.base.hosts?.addresses[try name("printer")] == [try address("192.0.2.7")])
        #expect(custom.base.hosts?.ttl == 10)
        #expect(custom.base.hostsFallThrough)
        #expect(custom.base.rewrites.map(\.match) == [.exact, .suffix])
        #expect(custom.base.rewrites.map(\.stops) == [true, false])
        #expect(custom.base.forwards.map(\.zone) == [try name("example.org")])
    }

    @Test(arguments: [
        ("x.override", "template IN A {\n answer \"x\"\n}", "line 1: plugin \"template\" is not supported"),
        ("x.override", "log\nrewrite name regex a b", "line 2: rewrite name: \"regex\" is not supported"),
        ("x.override", "forward . tls://192.0.2.1", "line 1: forward: \"tls://192.0.2.1\" is not an IP address"),
        ("x.server", "example.com:5353 {\n}", "line 1: server block \"example.com:5353\": only port 53 is served"),
        ("x.server", "example.com {\nlog\n", "\"}\" is missing"),
        ("x.server", "example.com", "\"{\" is expected"),
        ("x.override", "hosts {\n nonsense\n}", "an address and names are expected"),
        ("x.override", "log \"abc", "a quoted word does not end"),
        ("x.override", "forward .", "a zone and at least one server are expected"),
        ("x.txt", "", "the name must end in .override or .server"),
    ])
    func whatIsNotSupportedIsNamedAndLeftOut(_ file: String, _ text: String, _ problem: String) {
        let custom = CustomConfiguration([file: text, "good.override": "forward good.example 192.0.2.1"])
        #expect(custom.problems.count == 1)
        #expect(custom.problems.first?.hasPrefix(file) == true)
        #expect(custom.problems.first?.contains(problem) == true, "\(custom.problems)")
        #expect(custom.base.forwards.count == 1, "the other file counts")
    }

    @Test func randomTextNeverTraps() {
        let words = [
            "forward", "hosts", "rewrite", "name", "{", "}", ".", "192.0.2.1", "\n", "#", "\"", "stop", "a.b", "log",
        ]
        for _ in 0..<5000 {
            let text = (0..<Int.random(in: 0...12)).map { _ in words.randomElement() ?? "" }.joined(separator: " ")
            let custom = CustomConfiguration(["a.server": text, "b.override": text])
            #expect(custom.problems.count <= 2)
        }
    }

    @Test func upstreamsHaveManySpellings() throws {
        #expect(Upstream("dns://192.0.2.1")?.description == "192.0.2.1:53")
        #expect(Upstream("[2001:db8::1]:5353")?.description == "[2001:db8::1]:5353")
        #expect(Upstream("2001:db8::1")?.port == 53)
        #expect(Upstream("192.0.2.1:0") == nil)
        #expect(Upstream("dns.example") == nil)
        #expect(
            Upstream.resolvConf(
                "# x\nsearch a\nnameserver 192.0.2.1\nnameserver\t192.0.2.2 \nnameserver fe80::1%eth0\n"
            )
            .map(\.description) == ["192.0.2.1:53", "192.0.2.2:53"])
    }
}
