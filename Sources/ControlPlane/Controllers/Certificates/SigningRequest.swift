internal import Codecs
internal import KubeAPI
internal import Transport

/// A stored certificate signing request and what the signers of Kubernetes ask of one.
/// Source: pkg/apis/certificates/helpers.go, pkg/controller/certificates/signer.
struct SigningRequest {
    static let resource = GroupVersionResource("certificates.k8s.io", "v1", "certificatesigningrequests")

    let object: KubeObject
    /// nil: it does not parse.
    let request: CertificateRequest?

    init(_ object: KubeObject) {
        self.object = object
        request = try? CertificateRequest(pem: Base64.decode(object.spec["request"].string ?? "") ?? [])
    }

    var signer: String { object.spec["signerName"].string ?? "" }
    var usages: Set<String> { Set(object.spec["usages"].elements.compactMap(\.string)) }
    func has(_ condition: String) -> Bool { !object.condition(condition).isNull }
    var isIssued: Bool { !(object.status["certificate"].string ?? "").isEmpty }

    enum Signer: String {
        case client = "kubernetes.io/kube-apiserver-client"
        case kubeletClient = "kubernetes.io/kube-apiserver-client-kubelet"
        case kubeletServing = "kubernetes.io/kubelet-serving"
    }

    /// Why this signer does not sign it; nil: it does.
    func problem(_ signer: Signer) -> String? {
        guard let request else { return "unable to parse csr \"\(object.name)\"" }
        let base: Set<String> = ["digital signature", "key encipherment"]
        let own = signer == .kubeletServing ? "server auth" : "client auth"
        if signer == .client {
            return usages.isSubset(of: base.union([own])) && usages.contains(own)
                ? nil : "usages did not match [\(own) digital signature key encipherment]"
        }
        if request.subject.organizations != ["system:nodes"] { return "subject organization is not system:nodes" }
        if signer == .kubeletServing {
            if request.names.isEmpty { return "DNS or IP subjectAltName is required" }
        } else {
            if !request.names.dnsNames.isEmpty { return "DNS subjectAltNames are not allowed" }
            if !request.names.ipAddresses.isEmpty { return "IP subjectAltNames are not allowed" }
        }
        if request.names.others > 0 { return "Email and URI subjectAltNames are not allowed" }
        if !request.subject.commonName.hasPrefix("system:node:") {
            return "subject common name does not begin with \"system:node:\""
        }
        let required: Set<String> = ["digital signature", own]
        return usages == required || usages == required.union(base)
            ? nil : "usages did not match [\(own) digital signature key encipherment]"
    }
}
