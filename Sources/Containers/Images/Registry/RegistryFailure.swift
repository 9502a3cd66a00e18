/// Why an exchange with a registry failed, and whether trying again may help.
struct RegistryFailure: Error, Sendable {
    var code: ImageError.Code
    var message: String
    var transient = false
    /// What the registry asked for in Retry-After.
    var retryAfter: Duration?

    init(_ code: ImageError.Code, _ message: String, transient: Bool = false, retryAfter: Duration? = nil) {
        (self.code, self.message, self.transient, self.retryAfter) = (code, message, transient, retryAfter)
    }

    init(_ error: ImageError) { self.init(error.code, error.message) }

    init(_ error: RegistryTransportError, _ method: String, _ url: RegistryURL) {
        let verb = method.prefix(1) + method.dropFirst().lowercased()
        self.init(
            .registryUnavailable, "failed to do request: \(verb) \"\(url.redacted)\": \(error.message)",
            transient: error.kind != .tls)
    }

    var error: ImageError { ImageError(code, message) }
}

enum HTTPStatus {
    static func text(_ status: Int) -> String {
        let reason: String? =
            switch status {
            case 200: "OK"
            case 206: "Partial Content"
            case 400: "Bad Request"
            case 401: "Unauthorized"
            case 403: "Forbidden"
            case 404: "Not Found"
            case 405: "Method Not Allowed"
            case 406: "Not Acceptable"
            case 408: "Request Timeout"
            case 410: "Gone"
            case 416: "Requested Range Not Satisfiable"
            case 429: "Too Many Requests"
            case 500: "Internal Server Error"
            case 502: "Bad Gateway"
            case 503: "Service Unavailable"
            case 504: "Gateway Timeout"
            default: nil
            }
        return reason.map { "\(status) \($0)" } ?? String(status)
    }

    static func isTransient(_ status: Int) -> Bool { [408, 429, 500, 502, 503, 504].contains(status) }
    static func isRedirect(_ status: Int) -> Bool { [301, 302, 303, 307, 308].contains(status) }
}

/// Times and limits of the registry client.
package struct RegistryTiming: Sendable {
    /// Until a response's head has arrived.
    package var responseTimeout: Duration = .seconds(30)
    /// Without a byte of a body.
    package var stallTimeout: Duration = .seconds(60)
    /// Attempts at one endpoint, the first included.
    package var attempts = 5
    /// Doubles with each attempt, and is spread by half.
    package var firstPause: Duration = .milliseconds(500)
    package var longestPause: Duration = .seconds(15)
    package var redirects = 10
    package init() {}

    /// The pause before attempt `attempt` (1 is the first retry).
    func pause(_ attempt: Int, retryAfter: Duration?) -> Duration {
        if let retryAfter { return min(max(retryAfter, .zero), longestPause * 2) }
        let doubled = firstPause * (1 << min(attempt - 1, 10))
        let bounded = min(doubled, longestPause)
        return bounded / 2 + bounded / 2 * Double.random(in: 0...1)
    }
}

/// Runs `work` for at most `limit`; nil when the time is up. `work` must end soon after its task is cancelled.
func timed<T: Sendable>(_ limit: Duration, _ work: @escaping @Sendable () async -> T) async -> T? {
    await withTaskGroup(of: T?.self) { group in
        group.addTask { await work() }
        group.addTask {
            try? await Task.sleep(for: limit)
            return nil
        }
        let first = await group.next() ?? nil
        group.cancelAll()
        return first
    }
}
