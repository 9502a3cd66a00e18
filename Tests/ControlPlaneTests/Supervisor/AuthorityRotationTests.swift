import Codecs
import KubeAPI
import Linux
import Testing
import Transport

@testable import ControlPlane

@Suite struct AuthorityRotationTests {
    private static let server = SupervisorBench.basic("server", "server-secret")

    private func put(
        _ bench: SupervisorBench, _ files: [String: [UInt8]], force: Bool = false,
        as credential: HTTPHeaderFields = AuthorityRotationTests.server
    ) async throws -> SupervisorBench.Answer {
        let body = JSONObject(
            members: files.sorted { $0.key < $1.key }.map {
                ($0.key, ["Timestamp": "2026-01-01T00:00:00Z", "Content": .string(Base64.encode($0.value))])
            })
        return try #require(
            await bench.call(
                "PUT", "/v1-k3s/cert/cacerts?force=\(force)", credential, body: JSON.object(body).encode()))
    }

    private func authority(_ bench: SupervisorBench, _ name: String = "new") throws -> CertificateAuthority {
        try CertificateAuthority.create(commonName: name, now: bench.clock.now().seconds)
    }

    private func read(_ bench: SupervisorBench, _ name: String) throws -> [UInt8]? {
        try Files.readIfPresent(bench.directory + "/" + name)
    }

    @Test func anUnrelatedAuthorityIsRefusedUnlessForced() async throws {
        let bench = try await SupervisorBench()
        let (new, root) = (try authority(bench), try authority(bench, "root"))
        let files = ["ClientCA": new.pem + root.pem, "ClientCAKey": new.key.pem]
        let answer = try await put(bench, files)
        #expect(answer.code == 400)
        #expect(answer.message.contains("ClientCA: new CA cert cannot be verified using old CA chain"))
        #expect(try AuthorityRotation.complete(server: bench.directory) == [])
        #expect(try await put(bench, files, force: true).code == 204)
        // Nothing changes before the next start.
        #expect(try read(bench, "tls/client-ca.crt") == bench.pki.client.pem)
        #expect(try AuthorityRotation.complete(server: bench.directory) == ["client-ca.crt", "client-ca.key"])
        #expect(try read(bench, "tls/client-ca.crt") == new.pem + root.pem)
        #expect(try read(bench, "tls/client-ca.key") == new.key.pem)
        #expect(try Files.status(bench.directory + "/tls/client-ca.key").st_mode & 0o777 == 0o600)
        #expect(try AuthorityRotation.complete(server: bench.directory) == [])
        var parameters = ClusterPKIParameters(nodeName: "server")
        parameters.now = bench.clock.now().seconds
        let pki = try ClusterPKI.prepare(directory: bench.directory + "/tls", parameters: parameters)
        #expect(try Certificate.load(pki.path("client-admin.crt"))[0].isIssued(by: new.certificate))
    }

    @Test func theSameAuthorityWithItsRootIsAccepted() async throws {
        let bench = try await SupervisorBench()
        let old = bench.pki.server
        #expect(try await put(bench, ["ServerCA": old.pem]).message.contains("only a single certificate"))
        #expect(try await put(bench, ["ServerCA": old.pem + old.pem, "ServerCAKey": old.key.pem]).code == 204)
    }

    @Test func whatCouldNotBeLoadedIsRefusedAlsoByForce() async throws {
        let bench = try await SupervisorBench()
        let new = try authority(bench)
        for files in [
            ["ServerCA": new.pem], ["ServerCAKey": new.key.pem], ["ServerCA": [UInt8]("nonsense".utf8)],
            ["ServiceKey": [UInt8]("nonsense".utf8)],
            ["ServerCA": new.pem, "ServerCAKey": try PrivateKey.generate().pem],
        ] {
            let answer = try await put(bench, files, force: true)
            #expect(answer.code == 400)
            #expect(answer.message.contains("failed to validate new CA certificates and keys"), "\(answer.message)")
        }
        #expect(try AuthorityRotation.complete(server: bench.directory) == [])
    }

    @Test func oldTokensOfServiceAccountsMustStayVerifiable() async throws {
        let bench = try await SupervisorBench()
        let old = try #require(try read(bench, "tls/service.key"))
        let new = try PrivateKey.generate().pem
        let answer = try await put(bench, ["ServiceKey": new])
        #expect(answer.message.contains("old ServiceAccount signing key not in new ServiceAccount key list"))
        #expect(try await put(bench, ["ServiceKey": new + old]).code == 204)
        #expect(try AuthorityRotation.complete(server: bench.directory) == ["service.key"])
        #expect(try read(bench, "tls/service.key") == new + old)
    }

    @Test func onlyServersMayAsk() async throws {
        let bench = try await SupervisorBench(agentToken: "agent-secret")
        #expect(try await put(bench, ["ServiceKey": []], as: bench.nodeToken).code == 403)
        #expect(try await put(bench, ["ServiceKey": []], as: [:]).code == 403)
        #expect(try await bench.call("GET", "/v1-k3s/cert/cacerts", Self.server)?.code == 405)
        #expect(try await bench.call("PUT", "/v1-k3s/cert/cacerts", Self.server, body: [1])?.code == 400)
    }

    @Test func aPowerFailureBetweenTheFilesIsMadeUpFor() async throws {
        let bench = try await SupervisorBench()
        let new = try authority(bench)
        let files = ["ServerCA": new.pem + new.pem, "ServerCAKey": new.key.pem]
        #expect(try await put(bench, files, force: true).code == 204)
        // As if only the first of the two had been moved.
        try Files.writeAtomically(bench.directory + "/tls/server-ca.crt", new.pem + new.pem, mode: 0o644)
        #expect(try AuthorityRotation.complete(server: bench.directory) == ["server-ca.crt", "server-ca.key"])
        #expect(try read(bench, "tls/server-ca.key") == new.key.pem)
    }
}
