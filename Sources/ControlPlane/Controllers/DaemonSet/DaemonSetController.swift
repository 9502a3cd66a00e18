internal import Codecs
package import KubeAPI
import Synchronization

/// Keeps one pod on every node that a DaemonSet fits, and replaces them when its template changes.
/// Source: k8s.io/kubernetes/pkg/controller/daemon.
///
/// Pods are not bound here: each is made for one node by a node affinity and goes through the scheduler.
package final class DaemonSetController: Controller {
    package let name = "daemonset-controller"
    package let concurrency = 2
    private let client: any KubeClient
    private let clock: any KubeClock
    private let events: EventRecorder
    private let control: PodControl
    /// No more pods are made or removed in one go.
    private static let burst = 250

    /// Of each node what decides which daemons fit; a heartbeat changes nothing of it.
    private let nodes = Mutex<[String: NodeFace]>([:])
    /// Nodes on which a daemon's pods fail, with the number of failures and the end of the wait.
    private let failures = Mutex<[String: (count: Int, until: Timestamp)]>([:])

    private struct NodeFace: Equatable {
        var labels: JSON
        var taints: JSON
        init(_ node: KubeObject) { (labels, taints) = (node.metadata["labels"], node.spec["taints"]) }
    }

    package init(client: any KubeClient, clock: any KubeClock) {
        (self.client, self.clock) = (client, clock)
        events = EventRecorder(client: client, clock: clock, component: "daemonset-controller")
        control = PodControl(client: client, events: events)
    }

    package var sources: [WatchSource] {
        [
            .own(.daemonSets), .owner("DaemonSet", of: .pods), .orphans(of: .pods),
            .owner("DaemonSet", of: .controllerRevisions, onlyDeleted: true),
            WatchSource(.nodes, relisting: { [self] in nodes.withLock { $0 = [:] } }) { [self] node, kind in
                let face = kind == .deleted ? nil : NodeFace(node)
                let changed = nodes.withLock { nodes in
                    defer { nodes[node.name] = face }
                    return nodes[node.name] != face
                }
                return changed ? [Self.everyone] : []
            },
        ]
    }
    /// Stands for every DaemonSet there is.
    private static let everyone = ObjectKey(name: "\u{1}all")

    package func expand(_ key: ObjectKey) async throws(APIError) -> [ObjectKey]? {
        guard key == Self.everyone else { return try await Orphans.wanted(key, by: .daemonSets, client) }
        return try await client.list(.daemonSets).decoded().map(\.key)
    }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        guard let set = try await client.getIfPresent(.daemonSets, namespace: key.namespace, name: key.name) else {
            return nil
        }
        let selector = try LabelSelector(json: set.spec["selector"])
        if selector.isEverything {
            await events.event(
                set, type: .warning, reason: "SelectingAll",
                "This daemon set is selecting all pods. A non-empty selector is required.")
            return nil
        }
        guard !set.isBeingDeleted else { return nil }
        let history = try await RevisionHistory.sync(
            set, selector: selector, hashLabel: RevisionHistory.hashLabel, annotations: set.revisionAnnotations,
            client)
        let hash = history.current.labels[RevisionHistory.hashLabel] ?? ""
        let claims = PodClaims(client: client)
        var plan = DaemonPlan(
            set: set, hash: hash, nodes: try await client.list(.nodes).decoded(),
            pods: try await claims.claim(for: set, selector: selector), now: clock.now())
        var wait: Duration?
        try await carryOut(plan.manage(), plan, &wait)
        if set.spec["updateStrategy"]["type"].string != "OnDelete" {
            plan.pods = try await claims.owned(by: set)
            try await carryOut(plan.rollingUpdate(), plan, &wait)
        }
        plan.pods = try await claims.owned(by: set)
        let live = Set(plan.pods.compactMap { $0.labels[RevisionHistory.hashLabel] })
        try await history.cleanUp(set, client, countsUsed: true) {
            live.contains($0.labels[RevisionHistory.hashLabel] ?? "")
        }
        try await client.writeStatus(plan.status(collisions: history.collisions), of: set, .daemonSets)
        return [wait, plan.nextAvailability].compactMap { $0 }.min()
    }

    private func carryOut(
        _ step: DaemonPlan.Step, _ plan: DaemonPlan, _ wait: inout Duration?
    ) async throws(APIError) {
        var doomed = step.delete
        for pod in step.finished {
            let node = DaemonPlan.targetNode(of: pod)
            let hasFailed = pod.podPhase == "Failed"
            // Where a node refuses the pod again and again, each attempt waits longer.
            if hasFailed, let left = remainingWait(plan, node) {
                wait = min(wait ?? left, left)
                continue
            }
            let what = hasFailed ? "failed" : "succeeded"
            await events.event(
                plan.set, type: hasFailed ? .warning : .normal,
                reason: hasFailed ? "FailedDaemonPod" : "SucceededDaemonPod",
                "Found \(what) daemon pod \(pod.namespace)/\(pod.name) on node \(node), will try to "
                    + (hasFailed ? "kill it" : "delete it"))
            doomed.append(pod)
        }
        let made = step.create.prefix(Self.burst).map { plan.pod(for: $0) }
        if !made.isEmpty { try await control.create(Array(made), for: plan.set) }
        if !doomed.isEmpty { try await control.delete(Array(doomed.prefix(Self.burst)), of: plan.set) }
    }

    /// nil: now is the time; the next wait is twice as long (1 s to 15 min).
    private func remainingWait(_ plan: DaemonPlan, _ node: String) -> Duration? {
        let now = clock.now()
        let key = "\(plan.set.uid)/\(plan.hash)/\(node)"
        return failures.withLock { failures in
            let known = failures[key]
            if let known, known.until > now { return known.until.duration(since: now) }
            if failures.count > 1000 { failures = failures.filter { $0.value.until > now } }
            // A node that has been fine for long starts afresh.
            let isFresh = known.map { now.duration(since: $0.until) > .seconds(1800) } ?? true
            let count = isFresh ? 0 : (known?.count ?? 0) + 1
            failures[key] = (count, now.advanced(by: .seconds(min(900, Int64(1) << Int64(min(count, 10))))))
            return nil
        }
    }
}

extension KubeObject {
    /// What a DaemonSet's revision carries of it.
    fileprivate var revisionAnnotations: [String: String] {
        annotations.filter { $0.key != "kubectl.kubernetes.io/last-applied-configuration" }
    }
}
