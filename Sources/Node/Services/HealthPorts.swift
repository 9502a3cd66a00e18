internal import Codecs
internal import KubeAPI
internal import Logging
import Synchronization
package import Transport

/// Opens plain HTTP on a port of all addresses of the node.
package typealias PlainListener =
    @Sendable (_ port: UInt16, _ handler: @escaping HTTPHandler) async throws ->
    HTTPServer

/// The health check node ports of services with external traffic policy Local: load balancers ask there whether this node
/// has endpoints of the service. Answers are kube-proxy's (pkg/proxy/healthcheck/service_health.go).
final class HealthPorts: Sendable {
    struct Check: Sendable, Equatable {
        var port: UInt16
        var localEndpoints: Int
    }
    private struct State {
        var checks: [ObjectKey: Check] = [:]
        var servers: [UInt16: (key: ObjectKey, server: HTTPServer)] = [:]
    }
    private let listen: PlainListener
    private let logger: Logger
    private let state = Mutex(State())

    init(listen: @escaping PlainListener, logger: Logger) { (self.listen, self.logger) = (listen, logger) }

    /// One caller at a time. nil: the service has none (any more).
    func set(_ key: ObjectKey, _ check: Check?) async {
        let (old, other) = state.withLock { state in
            let old = state.checks[key]
            state.checks[key] = check
            // A port that changed hands is closed by its new owner.
            let leaving = old.flatMap { old in old.port != check?.port ? old.port : nil }
            let gone = leaving.flatMap { state.servers[$0]?.key == key ? state.servers.removeValue(forKey: $0) : nil }
            return (gone?.server, check.flatMap { state.servers[$0.port] })
        }
        await old?.stop(within: 0)
        guard let check, other?.key != key else { return }
        if let other {
            state.withLock { _ = $0.servers.removeValue(forKey: check.port) }
            await other.server.stop(within: 0)
        }
        do {
            let server = try await listen(check.port) { [weak self] _ in
                self?.answer(key) ?? .text("", status: 503)
            }
            state.withLock { $0.servers[check.port] = (key, server) }
        } catch {
            logger.error("service \(key): health check node port \(check.port): \(error)")
        }
    }

    private func answer(_ key: ObjectKey) -> HTTPResponse {
        let count = state.withLock { $0.checks[key]?.localEndpoints } ?? 0
        let body = """
            {
            \t"service": {
            \t\t"namespace": "\(key.namespace)",
            \t\t"name": "\(key.name)"
            \t},
            \t"localEndpoints": \(count),
            \t"serviceProxyHealthy": true
            }

            """
        var response = HTTPResponse(
            status: count > 0 ? 200 : 503, contentType: "application/json", Array(body.utf8))
        response.headers.add("X-Content-Type-Options", "nosniff")
        response.headers.add("X-Load-Balancing-Endpoint-Weight", String(count))
        return response
    }

    func stop() async {
        let servers = state.withLock { state in
            defer { state.servers = [:] }
            return state.servers.values.map(\.server)
        }
        for server in servers { await server.stop(within: 0) }
    }
}
