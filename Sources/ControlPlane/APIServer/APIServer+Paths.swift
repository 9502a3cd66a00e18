internal import Codecs
internal import KubeAPI
internal import Store
import Synchronization
internal import Transport

/// What the server answers besides resources: version, health, metrics, keys, discovery, OpenAPI.
extension APIServer {
    func answer(path info: RequestInfo, _ request: HTTPRequest, _ user: UserInfo) async throws(APIError) -> HTTPResponse
    {
        guard request.method == "GET" || request.method == "HEAD" else {
            throw APIError(
                code: 405, reason: "MethodNotAllowed",
                message: "the server does not allow this method on the requested resource")
        }
        let path = request.path
        switch path {
        case "/version", "/version/": return .json(configuration.version.json.encode())
        case "/metrics":
            return HTTPResponse(status: 200, contentType: "text/plain; version=0.0.4; charset=utf-8", metrics())
        case "/metrics/slis":
            return HTTPResponse(
                status: 200, contentType: "text/plain; version=0.0.4; charset=utf-8", await healthMetrics())
        case "/.well-known/openid-configuration", "/openid/v1/jwks":
            guard let tokens = configuration.tokens else { throw .pathNotFound() }
            return path == "/openid/v1/jwks"
                ? HTTPResponse(status: 200, contentType: "application/jwk-set+json", tokens.keySet)
                : HTTPResponse(status: 200, contentType: "application/json", tokens.openIDConfiguration)
        default: break
        }
        for (prefix, kind) in [("/healthz", "healthz"), ("/livez", "livez"), ("/readyz", "readyz")] {
            if path == prefix || path.hasPrefix(prefix + "/") {
                return await health(kind, check: String(path.dropFirst(prefix.count + 1)), request)
            }
        }
        return try documents(request) ?? .pageNotFound
    }

    // MARK: - Health

    private func checks(_ kind: String) -> [HealthCheck] {
        [HealthCheck("ping") { nil }, HealthCheck("log") { nil }, datastoreCheck]
            + configuration.healthChecks.filter { kind == "readyz" || !$0.onlyReadiness }
    }

    /// As they are at this moment.
    private func healthMetrics() async -> [UInt8] {
        var out = RequestMetrics.head("kubernetes_healthcheck", "gauge", "Result of every health check")
        for kind in ["healthz", "livez", "readyz"] {
            for check in checks(kind) {
                out += "kubernetes_healthcheck{name=\"\(check.name)\",type=\"\(kind)\"} "
                out += await check.run() == nil ? "1\n" : "0\n"
            }
        }
        return Array(out.utf8)
    }

    private func health(_ kind: String, check name: String, _ request: HTTPRequest) async -> HTTPResponse {
        let checks = checks(kind)
        if !name.isEmpty {
            guard let check = checks.first(where: { $0.name == name }) else {
                return .pageNotFound
            }
            if let problem = await check.run() {
                return .text("internal server error: \(problem)\n", status: 500)
            }
            return .text("ok")
        }
        let excluded = Set(request.query.values("exclude"))
        var lines = ""
        var failed = false
        for check in checks {
            if excluded.contains(check.name) {
                lines += "[+]\(check.name) excluded: ok\n"
            } else if await check.run() != nil {
                // The reason is for the log; who may ask for health may not read it.
                lines += "[-]\(check.name) failed: reason withheld\n"
                failed = true
            } else {
                lines += "[+]\(check.name) ok\n"
            }
        }
        let unknown = excluded.subtracting(checks.map(\.name)).sorted()
        if !unknown.isEmpty {
            lines += "warn: some health checks cannot be excluded: no matches for "
            lines += unknown.map { "\"\($0)\"" }.joined(separator: ",") + "\n"
        }
        if failed { return .text(lines + "\(kind) check failed\n", status: 500) }
        return .text(request.query.contains("verbose") ? lines + "\(kind) check passed\n" : "ok")
    }

    var datastoreCheck: HealthCheck {
        let store = registry.store
        return HealthCheck("etcd") {
            // A closed or failed store gives out no watches.
            do {
                try store.watch(prefix: "/registry/health/", from: nil).cancel()
                return nil
            } catch {
                return "\(error)"
            }
        }
    }

    private func metrics() -> [UInt8] {
        let version = configuration.version
        var out = RequestMetrics.head("kubernetes_build_info", "gauge", "The version of this server")
        out += "kubernetes_build_info{git_commit=\"\(version.gitCommit)\",git_version=\"\(version.gitVersion)\","
        out += "major=\"\(version.major)\",minor=\"\(version.minor)\",platform=\"\(version.platform)\"} 1\n"
        let counts = limiter.counts
        out += RequestMetrics.head("apiserver_current_inflight_requests", "gauge", "Requests under way")
        out += "apiserver_current_inflight_requests{request_kind=\"mutating\"} \(counts.changing)\n"
        out += "apiserver_current_inflight_requests{request_kind=\"readOnly\"} \(counts.reading)\n"
        out += RequestMetrics.head(
            "apiserver_flowcontrol_rejected_requests_total", "counter", "Requests that found no seat")
        out += "apiserver_flowcontrol_rejected_requests_total{reason=\"concurrency-limit\"} \(counts.refused)\n"
        out += RequestMetrics.head("apiserver_longrunning_requests", "gauge", "Watches under way")
        out += "apiserver_longrunning_requests{verb=\"WATCH\"} \(registry.hub.count)\n"
        out += RequestMetrics.head("apiserver_storage_objects", "gauge", "Number of stored objects by resource")
        for resource in registry.resources.all where resource.view == nil && resource.info.verbs.contains(.list) {
            out += "apiserver_storage_objects{resource=\"\(resource.gvr.groupResource)\"} "
            out += "\(registry.store.count(prefix: resource.prefix))\n"
        }
        if let audit = configuration.audit?.counts {
            out += RequestMetrics.head("apiserver_audit_event_total", "counter", "Audit events")
            out += "apiserver_audit_event_total \(audit.written)\n"
            out += RequestMetrics.head("apiserver_audit_error_total", "counter", "Audit events that were lost")
            out += "apiserver_audit_error_total{plugin=\"log\"} \(audit.dropped)\n"
        }
        let attempts = attempts.withLock { $0 }
        out += RequestMetrics.head("authentication_attempts", "counter", "Authenticated requests and refused ones")
        out += "authentication_attempts{result=\"success\"} \(attempts.good)\n"
        out += "authentication_attempts{result=\"failure\"} \(attempts.bad)\n"
        for text in moreMetrics.withLock({ $0 }) { out += text() }
        out += requests.text
        out += RequestMetrics.process(now: configuration.clock.now())
        return Array(out.utf8)
    }
}

/// A part of the server that can say whether it works.
package struct HealthCheck: Sendable {
    package let name: String
    /// Counts for `/readyz` only.
    package let onlyReadiness: Bool
    /// nil: fine.
    package let run: @Sendable () async -> String?

    package init(_ name: String, onlyReadiness: Bool = false, run: @escaping @Sendable () async -> String?) {
        (self.name, self.onlyReadiness, self.run) = (name, onlyReadiness, run)
    }
}

/// What `/version` says.
package struct ServerVersion: Sendable {
    package var major = Version.major
    package var minor = Version.minor
    package var gitVersion = Version.git
    package var gitCommit = ""
    package var buildDate = "1970-01-01T00:00:00Z"
    package var platform = ServerVersion.hostPlatform
    package init() {}

    static var hostPlatform: String {
        #if arch(x86_64)
            "linux/amd64"
        #elseif arch(arm64)
            "linux/arm64"
        #elseif arch(arm)
            "linux/arm"
        #else
            "linux/unknown"
        #endif
    }

    var json: JSON {
        [
            "major": .string(major), "minor": .string(minor), "emulationMajor": .string(major),
            "emulationMinor": .string(minor), "minCompatibilityMajor": .string(major), "minCompatibilityMinor": "35",
            "gitVersion": .string(gitVersion), "gitCommit": .string(gitCommit), "gitTreeState": "clean",
            "buildDate": .string(buildDate), "goVersion": "none", "compiler": "swiftc", "platform": .string(platform),
        ]
    }
}
