internal import Codecs
internal import KubeAPI

/// A service account that says so lets its pods use the secrets that it names and no others.
/// Source: plugin/pkg/admission/serviceaccount (`kubernetes.io/enforce-mountable-secrets`, deprecated but in force).
enum MountableSecrets {
    /// nil: the pod uses what it may.
    static func problem(_ pod: KubeObject, _ account: KubeObject) -> String? {
        // As strconv.ParseBool.
        guard
            ["1", "t", "T", "TRUE", "true", "True"].contains(
                account.annotations["kubernetes.io/enforce-mountable-secrets"] ?? "")
        else { return nil }
        func names(_ key: String) -> Set<String> { Set(account[key].elements.compactMap { $0["name"].string }) }
        let secrets = names("secrets")
        let end = "is not allowed because service account \(account.name) does not reference that"
        for volume in pod.spec["volumes"].elements where !volume["secret"].isNull {
            let name = volume["secret"]["secretName"].string ?? ""
            if !secrets.contains(name) { return "volume with secret.secretName=\"\(name)\" \(end) secret" }
        }
        for (list, word) in [("initContainers", "init container"), ("containers", "container")] {
            for container in pod.spec[list].elements {
                let begin = "\(word) \(container["name"].string ?? "") with"
                for variable in container["env"].elements {
                    guard let name = variable["valueFrom"]["secretKeyRef"]["name"].string, !secrets.contains(name)
                    else { continue }
                    let own = variable["name"].string ?? ""
                    return "\(begin) envVar \(own) referencing secret.secretName=\"\(name)\" \(end) secret"
                }
                for source in container["envFrom"].elements {
                    guard let name = source["secretRef"]["name"].string, !secrets.contains(name) else { continue }
                    return "\(begin) envFrom referencing secret.secretName=\"\(name)\" \(end) secret"
                }
            }
        }
        let pulls = names("imagePullSecrets")
        for (i, secret) in pod.spec["imagePullSecrets"].elements.enumerated() {
            let name = secret["name"].string ?? ""
            if !pulls.contains(name) { return "imagePullSecrets[\(i)].name=\"\(name)\" \(end) imagePullSecret" }
        }
        return nil
    }
}
