import Codecs
import KubeAPI
import Testing
import Transport

@testable import ControlPlane

/// Requests for certificates are approved where that is due, signed, and cleared away.
@Suite struct CertificateControllerTests {
    private static let resource = GroupVersionResource("certificates.k8s.io", "v1", "certificatesigningrequests")

    private struct Granting: Authorizer {
        let subresources: Set<String>
        func authorize(_ attributes: AuthorizationAttributes) async -> AuthorizationDecision {
            attributes.user.name == "system:node:n" && attributes.resource == "certificatesigningrequests"
                && attributes.verb == "create" && subresources.contains(attributes.subresource)
                ? .allow(reason: "") : .deny(reason: "")
        }
    }

    private static func authority(_ name: String, _ clock: VirtualClock) throws -> CertificateAuthority {
        try CertificateAuthority.create(commonName: name, now: clock.now().seconds)
    }

    private func bench(
        granted: Set<String> = ["selfnodeclient"], ca: Authorities = Authorities()
    ) async throws -> ControllerBench {
        try await ControllerBench { client, clock in
            let (clientCA, serverCA) = (try Self.authority("client", clock), try Self.authority("server", clock))
            (ca.client, ca.server) = (clientCA, serverCA)
            return [
                CertificateApprover(client: client, authorizer: Granting(subresources: granted)),
                CertificateSigner(client: client, clock: clock, clientCA: clientCA, serverCA: serverCA),
                CertificateCleaner(client: client, clock: clock),
            ]
        }
    }

    final class Authorities: @unchecked Sendable {
        var client: CertificateAuthority?
        var server: CertificateAuthority?
    }

    @discardableResult
    private func ask(
        _ bench: ControllerBench, _ signer: String, _ usages: [String], user: String = "system:node:n",
        subject: DistinguishedName = DistinguishedName(commonName: "system:node:n", organizations: ["system:nodes"]),
        names: [String] = [], seconds: Int64? = nil
    ) async throws -> KubeObject {
        let request = try CertificateRequest.create(
            subject: subject, names: AlternativeNames(names), key: try PrivateKey.generate())
        var object = KubeObject(GroupVersionKind(Self.resource.groupVersion, "CertificateSigningRequest"), name: "r")
        object.json["spec"] = [
            "request": .string(Base64.encode(request.pem)), "signerName": .string("kubernetes.io/" + signer),
            "usages": .strings(usages),
        ]
        if let seconds { object.json["spec"]["expirationSeconds"] = .int(seconds) }
        let client = bench.cluster.server.client(as: UserInfo(user, groups: ["system:nodes"]))
        return try await client.create(Self.resource, object)
    }

    private func approve(_ bench: ControllerBench) async throws {
        var object = try await bench.client.get(Self.resource, namespace: "", name: "r")
        object.json["status"]["conditions"] = [["type": "Approved", "status": "True", "reason": "T", "message": "t"]]
        _ = try await bench.client.update(Self.resource, object, subresource: "approval")
    }

    private func current(_ bench: ControllerBench) async throws -> KubeObject {
        try await bench.settle()
        return try await bench.client.get(Self.resource, namespace: "", name: "r")
    }

    private func certificate(_ object: KubeObject) throws -> Certificate {
        let bytes = Base64.decode(object.status["certificate"].string ?? "") ?? []
        return try Certificate.chain(pem: bytes, what: "certificate")[0]
    }

    @Test func aKubeletsOwnRequestIsApprovedAndSigned() async throws {
        let ca = Authorities()
        let bench = try await bench(ca: ca)
        try await ask(
            bench, "kube-apiserver-client-kubelet", ["key encipherment", "digital signature", "client auth"],
            seconds: 3600)
        let done = try await current(bench)
        let condition = done.condition("Approved")
        #expect(condition["reason"] == "AutoApproved")
        #expect(
            condition["message"] == "Auto approving self kubelet client certificate after SubjectAccessReview.")
        let issued = try certificate(done)
        #expect(issued.subject == DistinguishedName(commonName: "system:node:n", organizations: ["system:nodes"]))
        #expect(issued.isIssued(by: try #require(ca.client?.certificate)))
        #expect(issued.extendedKeyUsages == [.clientAuth])
        #expect(issued.notAfter == bench.clock.now().seconds + 3600)
        #expect(bench.errors.isEmpty, "\(bench.errors)")
    }

    @Test func withoutTheRightNothingIsApproved() async throws {
        let bench = try await bench(granted: ["nodeclient"])
        try await ask(
            bench, "kube-apiserver-client-kubelet", ["digital signature", "client auth"], user: "somebody")
        #expect(try await current(bench).status["conditions"].isNull)
    }

    @Test func otherSignersWaitForSomebody() async throws {
        let ca = Authorities()
        let bench = try await bench(ca: ca)
        try await ask(
            bench, "kubelet-serving", ["digital signature", "server auth"], names: ["n", "10.0.0.1"])
        #expect(try await current(bench).status["certificate"].isNull)
        try await approve(bench)
        let issued = try certificate(try await current(bench))
        #expect(issued.isIssued(by: try #require(ca.server?.certificate)))
        #expect(issued.alternativeNames.dnsNames == ["n"] && issued.alternativeNames.ipAddresses == ["10.0.0.1"])
        #expect(issued.extendedKeyUsages == [.serverAuth])
    }

    /// Signer, usages, subject, names, and why it is not signed.
    static let refusals: [(String, [String], DistinguishedName, [String], String)] = [
        (
            "kubelet-serving", ["digital signature", "server auth"],
            DistinguishedName(commonName: "system:node:n", organizations: ["system:nodes"]), [],
            "DNS or IP subjectAltName is required"
        ),
        (
            "kubelet-serving", ["digital signature", "server auth"], DistinguishedName(commonName: "system:node:n"),
            ["n"], "subject organization is not system:nodes"
        ),
        (
            "kubelet-serving", ["digital signature", "server auth"],
            DistinguishedName(commonName: "n", organizations: ["system:nodes"]), ["n"],
            "subject common name does not begin with \"system:node:\""
        ),
        (
            "kube-apiserver-client", ["server auth"], DistinguishedName(commonName: "jane"), [],
            "usages did not match [client auth digital signature key encipherment]"
        ),
    ]

    @Test(arguments: refusals) func whatDoesNotFitTheSignerFails(
        _ signer: String, _ usages: [String], _ subject: DistinguishedName, _ names: [String], _ why: String
    ) async throws {
        let bench = try await bench()
        try await ask(bench, signer, usages, subject: subject, names: names)
        try await approve(bench)
        let done = try await current(bench)
        #expect(done.status["certificate"].isNull)
        #expect(done.condition("Failed")["reason"] == "SignerValidationFailure")
        #expect(done.condition("Failed")["message"].string == why)
    }

    @Test func requestsAreClearedAway() async throws {
        let bench = try await bench(granted: [])
        try await ask(bench, "kube-apiserver-client", ["client auth"])
        try await bench.advance(.seconds(23 * 3600))
        #expect(try await current(bench).name == "r")
        try await bench.advance(.seconds(2 * 3600))
        #expect(try await bench.client.getIfPresent(Self.resource, namespace: "", name: "r") == nil)

        try await ask(bench, "kube-apiserver-client", ["client auth"])
        try await approve(bench)
        try await bench.advance(.seconds(3000))
        #expect(try await current(bench).name == "r")
        try await bench.advance(.seconds(1000))
        #expect(try await bench.client.getIfPresent(Self.resource, namespace: "", name: "r") == nil)
    }
}
