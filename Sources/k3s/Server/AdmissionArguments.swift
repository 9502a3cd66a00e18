import ControlPlane
import Linux

/// `--kube-apiserver-arg=admission-control-config-file=...`: kube-apiserver's configuration of its admission plug-ins.
enum AdmissionArguments {
    static let flag = "admission-control-config-file"

    /// - Parameter arguments: each "name=value"; the last one holds.
    /// - Returns: nil where there is no file, or nothing for PodSecurity in it.
    static func podSecurity(_ arguments: [String]) throws -> PodSecurityConfiguration? {
        var path: String?
        for argument in arguments {
            let (name, value) = ComponentArgument.parse(argument)
            if name == flag, let value { path = value }
        }
        guard let path, !path.isEmpty else { return nil }
        return try ComponentArgument.file("kube-apiserver-arg=\(flag)", path) {
            try PodSecurityConfiguration.read($0, path: path) { try Files.read($0, limit: 1 << 20) }
        }
    }
}
