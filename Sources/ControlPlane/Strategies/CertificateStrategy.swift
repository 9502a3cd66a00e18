internal import Codecs
internal import KubeAPI
internal import Transport

/// Certificate signing requests. Source: pkg/apis/certificates/validation, pkg/registry/certificates.
struct CertificateStrategy: ResourceStrategy {
    var nameRule: NameRule { .pathSegment }
    var selectableFields: [SelectableField] { [SelectableField("spec.signerName")] }

    private static let usages: Set<String> = [
        "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment",
        "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel",
        "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing",
        "s/mime", "server auth", "signing", "timestamping",
    ]
    private static let verdicts: Set<String> = ["Approved", "Denied"]

    /// Who asks is what the server knows, not what the request says.
    func prepareForCreate(_ object: inout KubeObject, _ scope: RequestScope) {
        object.json["status"] = .null
        let user = scope.user
        object.json["spec"]["username"] = .string(user.name)
        object.json["spec"]["uid"] = user.uid.isEmpty ? .null : .string(user.uid)
        object.json["spec"]["groups"] = user.groups.isEmpty ? .null : .strings(user.groups)
        object.json["spec"]["extra"] =
            user.extra.isEmpty
            ? .null
            : .object(
                JSONObject(members: user.extra.sorted { $0.key < $1.key }.map { ($0.key, .strings($0.value)) }))
    }

    func prepareForUpdate(_ object: inout KubeObject, old: KubeObject, subresource: String, _ scope: RequestScope) {
        object.json["spec"] = old.json["spec"]
        guard !subresource.isEmpty else {
            object.json["status"] = old.json["status"]
            return
        }
        // Approving and signing are two rights: the one changes conditions only, the other all but the verdict.
        func isVerdict(_ condition: JSON) -> Bool { Self.verdicts.contains(condition["type"].string ?? "") }
        var conditions = object.status["conditions"].elements
        if subresource == "approval" {
            object.json["status"] = old.json["status"]
        } else {
            var verdicts = old.status["conditions"].elements.filter(isVerdict)[...]
            var kept: [JSON] = []
            for condition in conditions {
                if !isVerdict(condition) {
                    kept.append(condition)
                } else if let verdict = verdicts.popFirst() {
                    kept.append(verdict)
                }
            }
            conditions = kept + verdicts
        }
        for i in conditions.indices {
            if conditions[i]["lastUpdateTime"].isNull {
                conditions[i]["lastUpdateTime"] = .string(scope.now.rfc3339)
            }
            if conditions[i]["lastTransitionTime"].isNull {
                conditions[i]["lastTransitionTime"] = .string(scope.now.rfc3339)
            }
        }
        object.json["status"]["conditions"] = conditions.isEmpty ? .null : .array(conditions)
    }

    func validateCreate(_ object: KubeObject, _ check: inout Validation) {
        let spec = object.spec
        let bytes = Base64.decode(spec["request"].string ?? "") ?? []
        if (try? CertificateRequest(pem: bytes)) == nil {
            check.add(
                .invalid("spec.request", "<request>", "PEM block type must be CERTIFICATE REQUEST"))
        }
        checkSigner(spec["signerName"].string ?? "", &check)
        let usages = spec["usages"].elements
        if usages.isEmpty { check.add(.required("spec.usages")) }
        var seen: Set<String> = []
        for (i, usage) in usages.enumerated() {
            let text = usage.string ?? ""
            if !Self.usages.contains(text) {
                check.add(.notSupported("spec.usages[\(i)]", usage, Self.usages.sorted()))
            }
            if !seen.insert(text).inserted { check.add(.duplicate("spec.usages[\(i)]", usage)) }
        }
        if let seconds = spec["expirationSeconds"].int, seconds < 600 {
            check.add(
                .invalid(
                    "spec.expirationSeconds", .int(seconds),
                    "may not specify a duration less than 600 seconds (10 minutes)"))
        }
    }

    private func checkSigner(_ name: String, _ check: inout Validation) {
        if name.isEmpty {
            check.add(.required("spec.signerName"))
            return
        }
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[1].isEmpty else {
            check.add(
                .invalid(
                    "spec.signerName", .string(name),
                    "must be a fully qualified domain and path of the form 'example.com/signer-name'"))
            return
        }
        if let problem = LabelSyntax.subdomainProblem(String(parts[0])) {
            check.add(.invalid("spec.signerName", .string(name), "validating label \"\(parts[0])\": \(problem)"))
        } else if !parts[0].contains(".") {
            check.add(
                .invalid(
                    "spec.signerName", .string(name), "should be a domain with at least two segments separated by dots")
            )
        }
        if name == "kubernetes.io/legacy-unknown" {
            check.add(
                .invalid("spec.signerName", .string(name), "the legacy signerName is not allowed via this API version"))
        }
    }

    func validateUpdate(_ object: KubeObject, old: KubeObject, subresource: String, _ check: inout Validation) {
        guard !subresource.isEmpty else { return }
        let conditions = object.status["conditions"].elements
        func has(_ type: String, _ list: [JSON]) -> Bool { list.contains { $0["type"].string == type } }
        if has("Approved", conditions), has("Denied", conditions) {
            check.add(
                .invalid("status.conditions", "Denied", "Approved and Denied conditions are mutually exclusive"))
        }
        var seen: Set<String> = []
        for (i, condition) in conditions.enumerated() {
            let type = condition["type"].string ?? ""
            let path = "status.conditions[\(i)]"
            if type.isEmpty { check.add(.required("\(path).type")) }
            if !seen.insert(type).inserted { check.add(.duplicate("\(path).type", .string(type))) }
            check.oneOf(condition["status"], ["False", "True", "Unknown"], "\(path).status", required: true)
            if ["Approved", "Denied", "Failed"].contains(type), let status = condition["status"].string,
                status != "True"
            {
                check.add(.notSupported("\(path).status", condition["status"], ["True"]))
            }
        }
        for type in ["Approved", "Denied", "Failed"]
        where has(type, old.status["conditions"].elements) && !has(type, conditions) {
            check.add(.forbidden("status.conditions", "updates may not remove a condition of type \"\(type)\""))
        }
        let (new, before) = (object.status["certificate"], old.status["certificate"])
        if !before.isNull { check.immutable(new, before, "status.certificate") }
        if before.isNull, let text = new.string, !text.isEmpty {
            let blocks = (try? PEM.blocks(Base64.decode(text) ?? [], what: "status.certificate")) ?? []
            if blocks.isEmpty || blocks.contains(where: { $0.label != "CERTIFICATE" }) {
                check.add(
                    .invalid(
                        "status.certificate", "<certificate data>", "must contain at least one CERTIFICATE PEM block"))
            }
        }
    }
}
