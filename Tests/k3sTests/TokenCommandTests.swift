import Codecs
import ControlPlane
import Testing

@testable import k3s

@Suite struct TokenCommandTests {
    private let now = Timestamp("2026-01-01T00:00:00Z") ?? Timestamp(seconds: 0)

    private func values(_ arguments: String...) throws -> FlagValues {
        try FlagParser(flags: TokenCommand.commonFlags + TokenCommand.createFlags).parse(
            arguments, environment: { _ in nil })
    }

    @Test func defaultsOfANewToken() throws {
        let token = try TokenCommand.described(try values(), now: now)
        #expect(BootstrapToken.parse(token.text) != nil)
        #expect(token.expires == Timestamp("2026-01-02T00:00:00Z"))
        #expect(token.usages == ["signing", "authentication"] && token.groups == [BootstrapToken.defaultGroup])
    }

    @Test func flagsOfANewToken() throws {
        let token = try TokenCommand.described(
            try values(
                "--ttl", "0", "--description", "lab", "--usages", "authentication", "--groups",
                "system:bootstrappers:a", "--groups=system:bootstrappers:b", "abcdef.0123456789abcdef"), now: now)
        #expect(token.id == "abcdef" && token.secret == "0123456789abcdef")
        #expect(token.expires == nil && token.description == "lab" && token.usages == ["authentication"])
        #expect(token.groups == ["system:bootstrappers:a", "system:bootstrappers:b"])
    }

    @Test(
        arguments: [
            ["abc"], ["--ttl", "soon"], ["--ttl", "-5s"], ["--usages", "joy"], ["--groups", "system:masters"],
        ])
    func whatCannotBe(_ arguments: [String]) throws {
        let parser = FlagParser(flags: TokenCommand.commonFlags + TokenCommand.createFlags)
        let values = try parser.parse(arguments, environment: { _ in nil })
        #expect(throws: UsageError.self) { try TokenCommand.described(values, now: now) }
    }

    @Test func theTableIsTheOriginals() {
        var token = BootstrapToken(id: "abcdef", secret: "0123456789abcdef")
        token.usages = ["authentication", "signing"]
        token.expires = now.advanced(by: .seconds(7200))
        #expect(
            TokenCommand.table([token], now: now)
                == """
                TOKEN                     TTL       EXPIRES                USAGES                   DESCRIPTION   EXTRA GROUPS
                abcdef.0123456789abcdef   2h        2026-01-01T02:00:00Z   authentication,signing   <none>        <none>
                """)
    }
}

@Suite struct ClusterSettingsTests {
    @Test func theConfigurationHasTheOriginalsForm() throws {
        let parser = FlagParser(flags: ServerFlags.all)
        let flags = try parser.parse(
            [
                "--cluster-cidr", "10.52.0.0/16", "--disable", "traefik", "--node-name", "n",
                "--disable-network-policy",
                "--egress-selector-mode", "pod",
            ], environment: { _ in nil })
        let configuration = try ServerConfiguration(flags, environment: { _ in nil }, isRoot: true, hostname: "h")
        let json = configuration.cluster.json(configuration, advertised: "192.0.2.1")
        #expect(json["ClusterIPRange"] == ["IP": "10.52.0.0", "Mask": "//8AAA=="])
        #expect(json["ServiceIPRanges"] == [["IP": "10.43.0.0", "Mask": "//8AAA=="]])
        #expect(json["ClusterDNS"] == "10.43.0.10" && json["ClusterDomain"] == "cluster.local")
        #expect(json["ServiceNodePortRange"] == ["Base": 30000, "Size": 2768])
        #expect(json["EgressSelectorMode"] == "pod" && json["DisableNPC"] == true && json["DisableCCM"] == false)
        #expect(json["HTTPSPort"] == 6443 && json["FlannelBackend"] == "vxlan")
        #expect(json["Disables"] == ["traefik": true])
        #expect(json["Token"].isNull && json["AgentToken"].isNull)
    }

    @Test func tokensComeAsTextOrInAFile() throws {
        func configuration(_ arguments: [String]) throws -> ServerConfiguration {
            try ServerConfiguration(
                try FlagParser(flags: ServerFlags.all).parse(
                    arguments, environment: { $0 == "K3S_AGENT_TOKEN" ? "from-environment" : nil }),
                environment: { _ in nil }, isRoot: true, hostname: "h")
        }
        #expect(try configuration([]).agentToken == "from-environment")
        #expect(try configuration(["--agent-token", "text"]).agentToken == "text")
        #expect(try configuration(["--token", "t"]).token == "t")
        #expect(throws: UsageError.self) { try configuration(["--agent-token=", "--agent-token-file", "/nowhere/x"]) }
        #expect(throws: UsageError.self) { try configuration(["--token-file", "/nowhere/x"]) }
    }

    @Test func anUnknownEgressModeIsRefused() throws {
        let flags = try FlagParser(flags: ServerFlags.all).parse(
            ["--egress-selector-mode", "all"], environment: { _ in nil })
        #expect(throws: UsageError.self) { try ClusterSettings(flags) }
    }
}
