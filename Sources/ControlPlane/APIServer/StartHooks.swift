import Synchronization

/// What has to be done before a server counts as healthy, each with its check: `poststarthook/NAME`, under
/// kube-apiserver's names, and `shutdown`, which says on `/readyz` that this server is about to go.
package final class StartHooks: Sendable {
    /// Checks of what a server makes sure of at its start, before anything of it may be relied upon.
    package static let bootstrap = [
        "informer-sync", "poststarthook/bootstrap-controller",
        "poststarthook/priority-and-fairness-config-producer",
        "poststarthook/scheduling/bootstrap-system-priority-classes",
        "poststarthook/start-cluster-authentication-info-controller",
        "poststarthook/start-service-ip-repair-controllers",
        "poststarthook/start-system-namespaces-controller",
    ]
    package static let roles = "poststarthook/rbac/bootstrap-roles"

    private let names = StartHooks.bootstrap + [StartHooks.roles]
    private let finished = Mutex<Set<String>>([])
    private let stopping = Mutex(false)

    package init() {}

    package func finish(_ names: [String]) { finished.withLock { $0.formUnion(names) } }
    package func stop() { stopping.withLock { $0 = true } }

    package var checks: [HealthCheck] {
        names.map { name in
            HealthCheck(name) { [self] in finished.withLock { $0.contains(name) } ? nil : "not finished" }
        } + [
            HealthCheck("shutdown", onlyReadiness: true) { [self] in
                stopping.withLock { $0 } ? "process is shutting down" : nil
            }
        ]
    }
}
