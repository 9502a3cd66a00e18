import Codecs
import Linux
import PodNetwork
import Testing

@testable import k3s

@Suite struct NetworkSettingsTests {
    private func settings(_ arguments: [String], _ table: [Flag]) throws -> NetworkSettings {
        let parser = FlagParser(flags: table)
        return try NetworkSettings(parser.parse(arguments, environment: { _ in nil }))
    }

    private func withFile(_ text: String, _ body: (String) throws -> Void) throws {
        let path = "/tmp/k3s-net-conf-\(getpid())-\(UInt32.random(in: .min ... .max)).json"
        defer { try? Files.remove(path) }
        try Files.write(path, Array(text.utf8))
        try body(path)
    }

    /// Source: k3s's pkg/agent/flannel, where a file of one's own is taken as it is, and /v1-k3s/config has the flag.
    @Test func aFileChoosesTheBackendOfItsNodeAlone() throws {
        try withFile(#"{"Network":"10.42.0.0/16","Backend":{"Type":"host-gw"}}"#) { file in
            let server = try settings(["--flannel-backend=vxlan", "--flannel-conf", file], ServerFlags.all)
            let kind = try server.backendConfiguration(stateDirectory: "/nonexistent").kind
            #expect(kind == .hostGateway && server.backend == .vxlan)
            #expect(
                server.backendNote(kind, isServer: true)?.hasPrefix(
                    "--flannel-conf: this node's Backend.Type is host-gw, agents are told --flannel-backend=vxlan")
                    == true)
            // An agent: what it is told, unless it has a file itself.
            var agent = try settings(["--flannel-conf", file], AgentFlags.all)
            agent.backend = .wireGuard
            #expect(try agent.backendConfiguration(stateDirectory: "/nonexistent").kind == .hostGateway)
            #expect(
                agent.backendNote(.hostGateway, isServer: false)?.hasSuffix(
                    "the server's --flannel-backend is wireguard-native: only nodes with the same one are reached")
                    == true)
            agent.flannelConfiguration = nil
            #expect(try agent.backendConfiguration(stateDirectory: "/nonexistent").kind == .wireGuard)
            // Somebody else's network: flannel's file says nothing.
            let none = try settings(["--flannel-backend=none", "--flannel-conf", file], ServerFlags.all)
            #expect(try none.backendConfiguration(stateDirectory: "/nonexistent").kind == .none)
        }
        let plain = try settings([], ServerFlags.all)
        #expect(plain.backendNote(.vxlan, isServer: true) == nil)
    }

    @Test func theSubnetFileIsFlannels() throws {
        let backend = try settings(["--cluster-cidr=10.52.0.0/16"], ServerFlags.all).backendConfiguration(
            stateDirectory: "/nonexistent")
        #expect(backend.clusterCIDRs.map(\.description) == ["10.52.0.0/16"])
        if getenv("FLANNELD_SUBNET_FILE") == nil { #expect(backend.subnetFile == "/run/flannel/subnet.env") }
    }
}
