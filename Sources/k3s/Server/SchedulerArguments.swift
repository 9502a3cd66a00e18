import ControlPlane
import KubeAPI
import Linux

/// `--kube-scheduler-arg=config=...`: a KubeSchedulerConfiguration.
enum SchedulerArguments {
    /// - Parameter arguments: each "name=value"; the last one holds.
    static func profiles(_ arguments: [String]) throws -> (profiles: [SchedulerProfile], idle: [String]) {
        var path: String?
        var idle: [String] = []
        for argument in arguments {
            let parts = argument.drop { $0 == "-" }.split(
                separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count == 2, parts[0] == "config" {
                path = String(parts[1])
            } else {
                idle.append(String(parts.first ?? ""))
            }
        }
        guard let path, !path.isEmpty else { return ([SchedulerProfile()], idle) }
        let text: [UInt8]
        do {
            text = try Files.read(path, limit: 1 << 20)
        } catch {
            throw StartupError("--kube-scheduler-arg=config: \(error)")
        }
        do throws(APIError) {
            return (try SchedulerProfile.read(text, path: path), idle)
        } catch {
            throw StartupError("--kube-scheduler-arg=config: \(error.message)")
        }
    }
}
