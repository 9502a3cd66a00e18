import ControlPlane
import KubeAPI
import Linux

/// `--kube-apiserver-arg=audit-...`: kube-apiserver's flags of the audit log.
enum AuditArguments {
    /// nil: no policy or no file, so no log, as with kube-apiserver.
    static func log(_ arguments: [String]) throws -> AuditLog? {
        var values: [String: String] = [:]
        for argument in arguments {
            var name = argument[...]
            while name.first == "-" { name.removeFirst() }
            guard let equals = name.firstIndex(of: "="), name.hasPrefix("audit-") else { continue }
            values[String(name[..<equals])] = String(name[name.index(after: equals)...])
        }
        guard let path = values["audit-log-path"], let policy = values["audit-policy-file"] else { return nil }
        if let format = values["audit-log-format"], format != "json" {
            throw UsageError("--kube-apiserver-arg=audit-log-format: \"\(format)\" is not json")
        }
        var options = AuditLog.Options(path: path)
        if let size = try number(values, "audit-log-maxsize"), size > 0 { options.maximumBytes = size << 20 }
        options.backups = Int(clamping: try number(values, "audit-log-maxbackup") ?? 0)
        options.days = try number(values, "audit-log-maxage") ?? 0
        do {
            return AuditLog(try AuditPolicy(try Files.read(policy, limit: 1 << 20), path: policy), options)
        } catch {
            throw StartupError("--kube-apiserver-arg=audit-policy-file: \(error)")
        }
    }

    private static func number(_ values: [String: String], _ name: String) throws -> Int64? {
        guard let text = values[name] else { return nil }
        guard let number = Int64(text), number >= 0, number < 1 << 31 else {
            throw UsageError("--kube-apiserver-arg=\(name): \"\(text)\" is not a number")
        }
        return number
    }
}
