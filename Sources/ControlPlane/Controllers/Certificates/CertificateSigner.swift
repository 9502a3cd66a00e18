internal import Codecs
package import KubeAPI
package import Transport

/// Signs what was approved for the signers that a cluster brings: clients of the API server and kubelets, by the client
/// authority; kubelets' servers by the server authority, as k3s has it. Requests for `kubernetes.io/legacy-unknown`
/// cannot be made in this version of the API. Source: pkg/controller/certificates/signer.
package struct CertificateSigner: Controller {
    package let name = "csrsigning-controller"
    private let client: any KubeClient
    private let clock: any KubeClock
    private let clientCA: CertificateAuthority
    private let serverCA: CertificateAuthority
    /// `--cluster-signing-duration`
    private static let lifetime: Int64 = CertificateProfile.year

    package init(
        client: any KubeClient, clock: any KubeClock, clientCA: CertificateAuthority, serverCA: CertificateAuthority
    ) {
        (self.client, self.clock, self.clientCA, self.serverCA) = (client, clock, clientCA, serverCA)
    }

    package var sources: [WatchSource] {
        [
            WatchSource(SigningRequest.resource) { object, kind in
                kind == .deleted || object.condition("Approved").isNull ? [] : [object.key]
            }
        ]
    }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        guard let object = try await client.getIfPresent(SigningRequest.resource, namespace: "", name: key.name)
        else { return nil }
        let csr = SigningRequest(object)
        guard csr.has("Approved"), !csr.has("Denied"), !csr.has("Failed"), !csr.isIssued,
            let signer = SigningRequest.Signer(rawValue: csr.signer)
        else { return nil }
        var answered = object
        if let problem = csr.problem(signer) {
            answered.json["status"]["conditions"] = .array(
                object.status["conditions"].elements + [
                    [
                        "type": "Failed", "status": "True", "reason": "SignerValidationFailure",
                        "message": .string(problem),
                    ]
                ])
        } else if let request = csr.request {
            answered.json["status"]["certificate"] = .string(Base64.encode(try sign(csr, request, signer)))
        }
        _ = try await client.updateStatus(SigningRequest.resource, answered)
        return nil
    }

    private func sign(
        _ csr: SigningRequest, _ request: CertificateRequest, _ signer: SigningRequest.Signer
    ) throws(APIError) -> [UInt8] {
        let asked = csr.object.spec["expirationSeconds"].int ?? Self.lifetime
        var profile = CertificateProfile(
            subject: request.subject, names: request.names,
            usages: signer == .kubeletServing ? [.serverAuth] : [.clientAuth],
            lifetime: min(max(asked, 600), Self.lifetime))
        profile.enciphersKeys = csr.usages.contains("key encipherment")
        do throws(PKIError) {
            let authority = signer == .kubeletServing ? serverCA : clientCA
            return try authority.issue(profile, for: try request.publicKey, now: clock.now().seconds).pem
        } catch {
            throw .internalError("signing \(csr.object.name): \(error)")
        }
    }
}
