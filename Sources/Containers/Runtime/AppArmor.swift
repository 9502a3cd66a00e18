import Linux

/// AppArmor profiles of containers. Profiles are loaded by the node's administrator (or by its apparmor.service); the
/// runtime only names the one that the kernel is to apply at exec.
enum AppArmor {
    /// What containerd and k3s call their default profile.
    static let defaultProfile = "cri-containerd.apparmor.d"

    static var isEnabled: Bool {
        (try? Files.read("/sys/module/apparmor/parameters/enabled"))?.first == UInt8(ascii: "Y")
    }

    /// Names of the loaded profiles: lines "name (enforce)".
    static func loaded() -> Set<String> {
        let file = "/sys/kernel/security/apparmor/profiles"
        guard let text = try? Files.readString(file) else { return [] }
        return Set(
            text.split(separator: "\n").map { line in
                guard line.hasSuffix(")"), let open = line.lastIndex(of: "(") else { return String(line) }
                return String(line[..<open].dropLast())
            })
    }

    /// nil: nothing is to be applied.
    static func profile(
        _ security: ContainerSecurity, enabled: @autoclosure () -> Bool = isEnabled,
        loaded: @autoclosure () -> Set<String> = loaded()
    ) throws(RuntimeError) -> String? {
        switch security.appArmor {
        case .unconfined: return enabled() ? "unconfined" : nil
        case nil, .runtimeDefault:
            // Without apparmor_parser nobody can load it: such a node has the other protections.
            return !security.privileged && enabled() && loaded().contains(defaultProfile) ? defaultProfile : nil
        case .localhost(let name):
            guard enabled() else {
                throw RuntimeError(.createFailed, "apparmor profile \"\(name)\": AppArmor is not enabled on the host")
            }
            guard loaded().contains(name) else {
                throw RuntimeError(.createFailed, "apparmor profile not found \(name): it is not loaded on the node")
            }
            return name
        }
    }
}
