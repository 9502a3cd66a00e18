internal import Codecs
package import KubeAPI
internal import Transport

extension AdmissionPlugin {
    /// Who approves, denies or signs for a signer needs the right to do so for this signer, and nobody gets a certificate
    /// that makes him a master. Source: plugin/pkg/admission/certificates (approval, signing, subjectrestriction).
    package static func certificates(authorizer: any Authorizer) -> AdmissionPlugin {
        AdmissionPlugin(
            "CertificateApproval", operations: [.create, .update],
            resources: [GroupVersionResource("certificates.k8s.io", "v1", "certificatesigningrequests")],
            validate: { request, _ throws(APIError) in
                if request.operation == .create {
                    try CertificateAdmission.checkSubject(request)
                } else {
                    try await CertificateAdmission.checkSigner(request, authorizer)
                }
            })
    }
}

enum CertificateAdmission {
    static func checkSubject(_ request: AdmissionRequest) throws(APIError) {
        let spec = request.object.spec
        guard spec["signerName"].string == "kubernetes.io/kube-apiserver-client",
            let asked = try? CertificateRequest(pem: Base64.decode(spec["request"].string ?? "") ?? []),
            asked.subject.organizations.contains("system:masters")
        else { return }
        throw request.forbidden(
            "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed")
    }

    static func checkSigner(_ request: AdmissionRequest, _ authorizer: any Authorizer) async throws(APIError) {
        guard let old = request.old else { return }
        let verb: String
        switch request.subresource {
        case "approval": verb = "approve"
        case "status":
            // Only what makes it signed or failed is the signer's.
            guard old.status != request.object.status else { return }
            verb = "sign"
        default: return
        }
        let signer = old.spec["signerName"].string ?? ""
        let domain = String(signer.prefix { $0 != "/" })
        for name in [signer, domain + "/*"] {
            let decision = await authorizer.authorize(
                AuthorizationAttributes(
                    user: request.scope.user, verb: verb, group: "certificates.k8s.io", resource: "signers", name: name)
            )
            if decision.isAllowed { return }
        }
        throw request.forbidden("user not permitted to \(verb) requests with signerName \"\(signer)\"")
    }
}
