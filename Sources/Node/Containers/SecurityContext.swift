internal import Codecs
package import Containers

/// The pod's and the container's security contexts, merged: the container's word counts where both speak.
/// Source: k8s.io/kubernetes/pkg/securitycontext and kuberuntime/security_context.go.
package enum SecurityContext {
    package static func merged(
        _ pod: Pod, _ container: ContainerSpec, seccompRoot: String
    ) throws(ContainerConfigError) -> ContainerSecurity {
        let own = container.security
        let shared = pod.security
        var security = ContainerSecurity()
        security.privileged = own["privileged"].bool ?? false
        security.addCapabilities = own["capabilities"]["add"].elements.compactMap(\.string)
        security.dropCapabilities = own["capabilities"]["drop"].elements.compactMap(\.string)
        security.runAsUser = own["runAsUser"].int ?? shared["runAsUser"].int
        security.runAsGroup = own["runAsGroup"].int ?? shared["runAsGroup"].int
        var groups = shared["supplementalGroups"].elements.compactMap(\.int)
        if let group = shared["fsGroup"].int, !groups.contains(group) { groups.append(group) }
        security.supplementalGroups = groups
        security.strictSupplementalGroups = shared["supplementalGroupsPolicy"].string == "Strict"
        security.readOnlyRootFilesystem = own["readOnlyRootFilesystem"].bool ?? false
        security.noNewPrivileges = own["allowPrivilegeEscalation"].bool == false
        security.unmaskedProc = own["procMount"].string == "Unmasked"
        let profile = own["seccompProfile"].isNull ? shared["seccompProfile"] : own["seccompProfile"]
        switch profile["type"].string {
        case "RuntimeDefault": security.seccomp = .runtimeDefault
        case "Localhost":
            guard let name = profile["localhostProfile"].string, !name.isEmpty else {
                throw ContainerConfigError("localhostProfile must be set if seccompProfile type is Localhost.")
            }
            security.seccomp = .localhost(path: seccompRoot + "/" + name)
        default: security.seccomp = .unconfined
        }
        if security.privileged { security.seccomp = .unconfined }
        let armor = own["appArmorProfile"].isNull ? shared["appArmorProfile"] : own["appArmorProfile"]
        switch armor["type"].string {
        case "RuntimeDefault": security.appArmor = .runtimeDefault
        case "Unconfined": security.appArmor = .unconfined
        case "Localhost":
            guard let name = armor["localhostProfile"].string, !name.isEmpty else {
                throw ContainerConfigError("localhostProfile must be set if appArmorProfile type is Localhost.")
            }
            security.appArmor = .localhost(name)
        default: break
        }
        return security
    }

    /// runAsNonRoot: what the user is must be known and not be 0.
    package static func checkNonRoot(
        _ pod: Pod, _ container: ContainerSpec, imageUser: String
    ) throws(ContainerConfigError) {
        let own = container.security
        guard own["runAsNonRoot"].bool ?? pod.security["runAsNonRoot"].bool ?? false else { return }
        let place = "(pod: \"\(pod.label)\", container: \(container.name))"
        if let user = own["runAsUser"].int ?? pod.security["runAsUser"].int {
            guard user == 0 else { return }
            throw ContainerConfigError("container's runAsUser breaks non-root policy \(place)")
        }
        let user = imageUser.split(separator: ":").first.map(String.init) ?? ""
        if user.isEmpty || Int64(user) == 0 {
            throw ContainerConfigError("container has runAsNonRoot and image will run as root \(place)")
        }
        guard Int64(user) == nil else { return }
        throw ContainerConfigError(
            "container has runAsNonRoot and image has non-numeric user (\(user)), cannot verify user is non-root \(place)"
        )
    }
}
