import Codecs
import KubeAPI
import Linux
import Logging
import Store
import Testing
import Transport

@testable import ControlPlane

@Suite struct SecretsEncryptionTests {
    /// An API server whose secrets are encrypted as the flags say, with its node.
    final class Bench {
        let cluster: Cluster
        let directory: String
        var encryption: SecretsEncryption

        init(_ provider: String? = "aescbc") async throws {
            cluster = try await Cluster()
            directory = "/tmp/k3s-encryption-\(UInt64.random(in: 0...UInt64.max))"
            try Directories.make(directory, mode: 0o700)
            encryption = try SecretsEncryption(server: directory, provider: provider)
            var node = KubeObject(GroupVersionKind(.core, "Node"), name: "n1")
            node.labels = ["node-role.kubernetes.io/control-plane": "true"]
            _ = try await cluster.client.create(.nodes, node)
        }

        deinit { try? Directories.removeTree(directory) }

        var work: SecretsEncryption.Work {
            SecretsEncryption.Work(
                client: cluster.client, store: cluster.store, clock: cluster.clock,
                logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, node: "n1")
        }

        func restart(_ provider: String? = "aescbc") throws {
            encryption = try SecretsEncryption(server: directory, provider: provider)
        }
        func stage(_ name: String, _ more: [String: JSON] = [:]) async throws {
            var request: JSON = ["stage": .string(name)]
            for (key, value) in more { request[key] = value }
            // Each key is named after the second.
            cluster.clock.advance(by: .seconds(1))
            try await encryption.change(request, work)
        }
        func enable(_ on: Bool) async throws { try await encryption.change(["enable": .bool(on)], work) }
        func status() async throws -> JSON { try await encryption.status(cluster.client) }
        func seal(_ value: [UInt8] = [1, 2, 3]) throws -> [UInt8] {
            try encryption.seal(value, key: "/registry/secrets/default/x")
        }
        func open(_ sealed: [UInt8]) -> [UInt8]? {
            try? encryption.open(sealed, key: "/registry/secrets/default/x")
        }
        func secret(_ name: String) async throws -> KubeObject {
            try await cluster.client.create(
                .secrets, KubeObject(GroupVersionKind(.core, "Secret"), name: name, namespace: "default"))
        }
        var file: JSON {
            (try? JSON.parse(Files.read(directory + "/cred/encryption-config.json"))) ?? .null
        }
        func waitForRest() async throws {
            for _ in 0..<600 where encryption.mark?.hasPrefix("reencrypt_active") == true {
                try await Task.sleep(for: .milliseconds(100))
            }
        }
    }

    private func message(_ body: () async throws -> Void) async -> String {
        do {
            try await body()
            return ""
        } catch let error as APIError {
            return error.message
        } catch {
            return "\(error)"
        }
    }

    @Test func aNewServerHasAKeyAndIsAtTheStart() async throws {
        let bench = try await Bench()
        let status = try await bench.status()
        #expect(
            status == ["stage": "start", "activekey": "AES-CBC aescbckey", "enable": true, "hashmatch": true])
        let bytes = try Files.read(bench.directory + "/cred/encryption-config.json")
        let state = try Files.readString(bench.directory + "/cred/encryption-state.json")
        #expect(state == "start-" + SHA256.hexDigest(bytes) && bench.encryption.mark == state)
        for name in ["config", "state"] {
            let status = try Files.status(bench.directory + "/cred/encryption-\(name).json")
            #expect(status.st_mode & 0o777 == 0o600)
        }
        #expect(bench.file["resources"][0]["providers"][1] == ["identity": [:]])
    }

    @Test func withoutAConfigurationThereIsNoStatus() async throws {
        let bench = try await Bench(nil)
        #expect(try await bench.status() == ["stage": "", "activekey": ""])
        #expect(bench.encryption.mark == nil)
        #expect(try bench.seal() == [1, 2, 3])
    }

    @Test func theClassicWayGoesStepByStep() async throws {
        let bench = try await Bench()
        let old = try bench.seal()
        #expect(await message { try await bench.stage("rotate") } == "incorrect stage: start found on node n1")
        try await bench.stage("prepare")
        #expect(try await bench.status()["inactivekeys"] == ["AES-CBC aescbckey-2026-01-01T00:00:02Z"])
        #expect(try bench.seal().starts(with: Array("k8s:enc:aescbc:v1:aescbckey:".utf8)))
        try bench.restart()
        #expect(try await bench.status()["stage"] == "prepare")
        try await bench.stage("rotate")
        #expect(try await bench.status()["activekey"] == "AES-CBC aescbckey-2026-01-01T00:00:02Z")
        #expect(bench.open(old) == [1, 2, 3])
        let secret = try await bench.secret("a")
        try await bench.stage("reencrypt_active")
        try await bench.waitForRest()
        #expect(try await bench.status()["stage"] == "reencrypt_finished")
        #expect(try await bench.status()["inactivekeys"].isNull)
        #expect(bench.open(old) == nil)
        let after = try await bench.cluster.client.get(.secrets, namespace: "default", name: "a")
        #expect(after.resourceVersion > secret.resourceVersion && after.uid == secret.uid)
        try bench.restart()
        try await bench.stage("prepare")
    }

    @Test func rotateKeysDoesItAll() async throws {
        let bench = try await Bench()
        let old = try bench.seal()
        for i in 0..<55 { _ = try await bench.secret("s\(i)") }
        try await bench.stage("rotate_keys")
        #expect(try await bench.status()["stage"] == "reencrypt_finished")
        #expect(bench.open(old) == nil)
        #expect(bench.open(try bench.seal()) == [1, 2, 3])
        let events = try await bench.cluster.client.list(.events).decoded()
        #expect(events.first { $0["reason"] == "SecretsUpdateComplete" }?["message"] == "reencrypted 55 secrets")
        #expect(events.contains { $0["reason"] == "SecretsProgress" })
        try await bench.stage("rotate_keys")
        #expect(bench.file["resources"][0]["providers"][0]["aescbc"]["keys"].elements.count == 1)
    }

    @Test func anotherKindOfKeyTakesOver() async throws {
        let bench = try await Bench()
        let old = try bench.seal()
        try bench.restart("secretbox")
        #expect(
            await message { try await bench.stage("prepare") }
                == "prepare does not support secretbox key type, use rotate-keys instead")
        try await bench.stage("rotate_keys")
        #expect(try await bench.status()["activekey"].string?.hasPrefix("XSalsa20-POLY1305 secretboxkey-") == true)
        #expect(try await bench.status()["inactivekeys"].isNull)
        #expect(bench.open(old) == nil)
    }

    @Test func disabledAndEnabledAgain() async throws {
        let bench = try await Bench()
        let old = try bench.seal()
        try await bench.enable(false)
        #expect(try bench.seal() == [1, 2, 3])
        #expect(bench.open(old) == [1, 2, 3])
        let status = try await bench.status()
        #expect(
            status["enable"] == false && status["activekey"] == "" && status["inactivekeys"] == ["AES-CBC aescbckey"])
        #expect(bench.file["resources"][0]["providers"][0] == ["identity": [:]])
        try await bench.enable(true)
        #expect(try bench.seal().starts(with: Array("k8s:enc:aescbc:v1:aescbckey:".utf8)))
        try await bench.enable(true)
    }

    /// Enable, restart with the flag, rotate-keys.
    @Test func aClusterThatHadNoneGetsIt() async throws {
        let bench = try await Bench(nil)
        #expect(await message { try await bench.stage("rotate_keys") }.contains("--secrets-encryption"))
        try await bench.enable(true)
        #expect(try bench.seal() == [1, 2, 3])
        try bench.restart()
        #expect(try await bench.status()["enable"] == false)
        try await bench.stage("rotate_keys")
        #expect(try await bench.status()["enable"] == true)
        #expect(try bench.seal() != [1, 2, 3])
    }

    @Test func skippingKeepsTheKey() async throws {
        let bench = try await Bench()
        let old = try bench.seal()
        try await bench.stage("prepare")
        try await bench.stage("rotate")
        try await bench.stage("reencrypt_active", ["skip": true])
        try await bench.waitForRest()
        #expect(try await bench.status()["stage"] == "rotate")
        #expect(bench.open(old) == [1, 2, 3])
    }

    @Test func serversMustAgreeUnlessForced() async throws {
        let bench = try await Bench()
        let annotator = EncryptionAnnotator(client: bench.cluster.client, encryption: bench.encryption, node: "n1")
        _ = try await annotator.reconcile(ObjectKey(name: "n1"))
        let own = try await bench.cluster.client.get(.nodes, namespace: "", name: "n1")
        #expect(own.annotations["k3s.io/encryption-config-hash"] == bench.encryption.mark)
        var other = KubeObject(GroupVersionKind(.core, "Node"), name: "n2")
        other.labels = ["node-role.kubernetes.io/control-plane": "true"]
        other.annotations = ["k3s.io/encryption-config-hash": "start-other"]
        _ = try await bench.cluster.client.create(.nodes, other)
        #expect(try await bench.status()["hasherror"] == "hash does not match between n1 and n2")
        #expect(await message { try await bench.stage("prepare") } == "hash does not match between n1 and n2")
        try await bench.stage("prepare", ["force": true])
    }

    @Test(arguments: [
        #"{"kind":"EncryptionConfiguration","resources":[{"resources":["secrets","configmaps"],"providers":[{"aescbc":{"keys":[{"name":"a","secret":"AAAAAAAAAAAAAAAAAAAAAA=="}]}}]}]}"#,
        #"{"kind":"EncryptionConfiguration","resources":[{"resources":["secrets"],"providers":[{"identity":{}}]}]}"#,
    ])
    func aConfigurationKeptByHandIsNotRewritten(_ text: String) async throws {
        let bench = try await Bench()
        try Files.write(bench.directory + "/cred/encryption-config.json", Array(text.utf8), mode: 0o600)
        try bench.restart()
        #expect(await message { try await bench.stage("rotate_keys") }.contains("encryption-config.json"))
        #expect(bench.file["resources"][0]["resources"][0] == "secrets")
    }

    @Test func onlyServersMayAsk() async throws {
        let bench = try await SupervisorBench(agentToken: "agent-secret")
        for path in ["/v1-k3s/encrypt/status", "/v1-k3s/encrypt/config"] {
            #expect(try await bench.call("GET", path, bench.nodeToken)?.code == 403)
            #expect(try await bench.call("GET", path, SupervisorBench.basic("server", "server-secret"))?.code == 503)
        }
    }
}
