import Codecs
import ControlPlane
import KubeAPI
import Linux

/// `--kube-apiserver-arg`: those of kube-apiserver's flags that mean something here.
struct APIServerArguments {
    private static let known: Set<String> = [
        "audit-log-path", "audit-policy-file", "audit-log-format", "audit-log-maxsize", "audit-log-maxbackup",
        "audit-log-maxage", "token-auth-file", "anonymous-auth", "max-requests-inflight",
        "max-mutating-requests-inflight", "etcd-compaction-interval", AdmissionArguments.flag,
    ]

    private var values: [String: String] = [:]
    /// Names of flags that are accepted and have no effect.
    private(set) var idle: [String] = []

    /// - Parameter arguments: each `name=value`; a name alone stands for `true`.
    init(_ arguments: [String]) {
        for argument in arguments {
            let (name, value) = ComponentArgument.parse(argument)
            if Self.known.contains(name) { values[name] = value ?? "true" } else { idle.append(name) }
        }
    }

    /// nil: no policy or no file, so no log, as with kube-apiserver.
    func auditLog() throws -> AuditLog? {
        guard let path = values["audit-log-path"], let policy = values["audit-policy-file"] else { return nil }
        if let format = values["audit-log-format"], format != "json" {
            throw UsageError("--kube-apiserver-arg=audit-log-format: \"\(format)\" is not json")
        }
        var options = AuditLog.Options(path: path)
        if let size = try number("audit-log-maxsize"), size > 0 { options.maximumBytes = size << 20 }
        options.backups = Int(clamping: try number("audit-log-maxbackup") ?? 0)
        options.days = try number("audit-log-maxage") ?? 0
        return AuditLog(try parsed("audit-policy-file", policy) { try AuditPolicy($0, path: policy) }, options)
    }

    /// The users of `token-auth-file`.
    func staticTokens() throws -> StaticTokens? {
        guard let path = values["token-auth-file"] else { return nil }
        return try parsed("token-auth-file", path) { try StaticTokens($0, path: path) }
    }

    func allowsAnonymous() throws -> Bool {
        guard let text = values["anonymous-auth"] else { return false }
        guard ["true", "false"].contains(text) else {
            throw UsageError("--kube-apiserver-arg=anonymous-auth: \"\(text)\" is neither true nor false")
        }
        return text == "true"
    }

    /// How many requests may be under way: upstream's two numbers make one here.
    func requestLimits() throws -> RequestLimiter.Limits {
        var limits = RequestLimiter.Limits()
        let (reads, writes) = (
            try number("max-requests-inflight"), try number("max-mutating-requests-inflight")
        )
        guard reads != nil || writes != nil else { return limits }
        limits.requests = Int(clamping: max(1, (reads ?? 400) + (writes ?? 200)))
        limits.perUser = max(1, limits.requests / 3)
        return limits
    }

    /// For how long the past can be listed and watched at least; nil: never forgotten, as with kube-apiserver's 0.
    func compactionInterval() throws -> Duration? {
        guard let text = values["etcd-compaction-interval"] else { return .seconds(300) }
        guard let interval = GoDuration.parse(text), interval >= 0 else {
            throw UsageError(
                "--kube-apiserver-arg=etcd-compaction-interval: \"\(text)\": expected a duration such as 5m0s")
        }
        return interval == 0 ? nil : .nanoseconds(interval)
    }

    private func parsed<T>(_ name: String, _ path: String, _ parse: ([UInt8]) throws -> T) throws -> T {
        try ComponentArgument.file("kube-apiserver-arg=\(name)", path, parse)
    }

    private func number(_ name: String) throws -> Int64? {
        guard let text = values[name] else { return nil }
        guard let number = Int64(text), number >= 0, number < 1 << 31 else {
            throw UsageError("--kube-apiserver-arg=\(name): \"\(text)\" is not a number")
        }
        return number
    }
}
