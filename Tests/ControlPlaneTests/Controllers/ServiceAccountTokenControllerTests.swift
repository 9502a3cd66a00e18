import Codecs
import KubeAPI
import Testing
import Transport

@testable import ControlPlane

@Suite struct ServiceAccountTokenControllerTests {
    private static let issuer = "https://kubernetes.default.svc.cluster.local"

    private func bench() async throws -> (ControllerBench, ServiceAccountTokens) {
        let key = try PrivateKey.generate()
        let tokens = ServiceAccountTokens(
            key: key, keys: [key.publicKey], issuer: Self.issuer, audiences: [Self.issuer], clock: VirtualClock())
        let bench = try await ControllerBench { client, _ in
            tokens.attach(client.registry)
            return [ServiceAccountTokenController(client: client, tokens: tokens, rootCA: "CA")]
        }
        return (bench, tokens)
    }

    private func secret(_ name: String, account: String, uid: String? = nil) -> JSON {
        var json: JSON = [
            "metadata": [
                "name": .string(name), "annotations": ["kubernetes.io/service-account.name": .string(account)],
            ],
            "type": "kubernetes.io/service-account-token",
        ]
        if let uid { json["metadata"]["annotations"]["kubernetes.io/service-account.uid"] = .string(uid) }
        return json
    }

    @Test func aSecretOfTheTypeIsFilled() async throws {
        let (bench, tokens) = try await bench()
        try await bench.create(.secrets, secret("s", account: "default"))
        try await bench.create(.secrets, ["metadata": ["name": "other"], "data": ["a": "Yg=="]])
        try await bench.settle()
        let secret = try await bench.get(.secrets, "s")
        #expect(secret["data"]["ca.crt"] == "Q0E=" && secret["data"]["namespace"] == "ZGVmYXVsdA==")
        let account = try await bench.get(.serviceAccounts, "default")
        #expect(secret.annotations["kubernetes.io/service-account.uid"] == account.uid)
        let token = String(decoding: Base64.decode(secret["data"]["token"].string ?? "") ?? [], as: UTF8.self)
        #expect(await tokens.authenticate(token, audiences: [])?.user.name == "system:serviceaccount:default:default")
        #expect(try await bench.get(.secrets, "other")["data"] == ["a": "Yg=="])
        // What somebody changed is put right; the token stays.
        try await bench.patch(.secrets, "s", ["data": ["ca.crt": "eA=="]])
        try await bench.settle()
        #expect(try await bench.get(.secrets, "s")["data"] == secret["data"])
    }

    @Test func secretsGoWithTheirAccount() async throws {
        let (bench, _) = try await bench()
        try await bench.create(.secrets, secret("mine", account: "default"))
        try await bench.create(.secrets, secret("stranger", account: "default", uid: "another"))
        try await bench.create(.secrets, secret("nobody", account: "gone"))
        try await bench.settle()
        #expect(try await bench.find(.secrets, "mine") != nil)
        #expect(try await bench.find(.secrets, "stranger") == nil)
        #expect(try await bench.find(.secrets, "nobody") == nil)
        try await bench.delete(.serviceAccounts, "default")
        try await bench.settle()
        #expect(try await bench.find(.secrets, "mine") == nil)
    }
}
