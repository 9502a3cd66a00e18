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
            let parts = argument.drop { $0 == "-" }.split(
                separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count == 2, parts[0] == flag { path = String(parts[1]) }
        }
        guard let path, !path.isEmpty else { return nil }
        do {
            return try PodSecurityConfiguration.read(try Files.read(path, limit: 1 << 20), path: path) {
                try Files.read($0, limit: 1 << 20)
            }
        } catch {
            throw StartupError("--kube-apiserver-arg=\(flag): \(error)")
        }
    }
}
