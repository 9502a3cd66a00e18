internal import Codecs
package import KubeAPI
import Synchronization

/// Watches over nodes: gives each its pod network, notices when one stops renewing its lease, keeps the taints that follow
/// from its conditions, sends away the pods that do not tolerate them, and removes pods of nodes that no longer exist.
/// Source: k8s.io/kubernetes/pkg/controller/{nodelifecycle,nodeipam,tainteviction,podgc}.
package final class NodeController: Controller {
    package let name = "node-controller"
    let client: any KubeClient
    let clock: any KubeClock
    let events: EventRecorder
    let podRanges: Mutex<PodNetworks>
    /// A node that has not renewed for this long is not trusted any more (upstream's node-monitor-grace-period).
    static let grace = Duration.seconds(50)

    /// What was observed of a node, and when: periods count from there, so that neither another machine's clock nor the
    /// time that this server was down counts against a node.
    struct Observed: Sendable {
        var renewal = ""
        var renewedAt: Timestamp
        /// Of each NoExecute taint ("key=value@time added").
        var tainted: [String: Timestamp] = [:]
        /// Pods were told that they are not ready, or may have been by an earlier process.
        var mayHaveUnreadyPods = true
        var goneSince: Timestamp?
    }
    let observed = Mutex<[String: Observed]>([:])

    /// - Parameters:
    ///   - clusterCIDRs: the pod networks, one or one of each family.
    ///   - nodeMasks: prefix lengths of a node's part (node-cidr-mask-size-ipv4 and -ipv6).
    package init(
        client: any KubeClient, clock: any KubeClock, clusterCIDRs: [String],
        nodeMasks: (ipv4: Int, ipv6: Int) = (24, 64)
    ) throws(APIError) {
        (self.client, self.clock) = (client, clock)
        podRanges = Mutex(
            PodNetworks(try PodRanges(clusterCIDRs, lengthIPv4: nodeMasks.ipv4, lengthIPv6: nodeMasks.ipv6)))
        events = EventRecorder(client: client, clock: clock, component: "node-controller")
    }

    package var sources: [WatchSource] {
        [
            .own(.nodes),
            // Pods only matter on nodes that are tainted or not there; those of the first list all come once.
            WatchSource(.pods) { [self] pod, kind in
                guard kind != .deleted, let node = pod.spec["nodeName"].string, !node.isEmpty else { return [] }
                let isQuiet = observed.withLock { observed in
                    observed[node].map { $0.tainted.isEmpty && $0.goneSince == nil } ?? false
                }
                return isQuiet ? [] : [ObjectKey(name: node)]
            },
        ]
    }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        guard var node = try await client.getIfPresent(.nodes, namespace: "", name: key.name) else {
            podRanges.withLock { $0.forget(key.name) }
            return try await collectPods(ofAbsent: key.name)
        }
        let (assigned, retry) = try await assignPodNetwork(node)
        node = assigned
        let check = try await checkLease(&node)
        node = try await updateTaints(node)
        try await tellPods(of: node)
        let eviction = try await evictPods(of: node)
        return [check, eviction, retry].compactMap { $0 }.min()
    }

    // MARK: - Health

    /// Returns when to look again.
    private func checkLease(_ node: inout KubeObject) async throws(APIError) -> Duration? {
        let lease = try await client.getIfPresent(.leases, namespace: "kube-node-lease", name: node.name)
        let now = clock.now()
        let renewal = lease?.spec["renewTime"].string ?? ""
        let name = node.name
        let renewed = observed.withLock { observed -> Timestamp in
            var known = observed[name] ?? Observed(renewedAt: now)
            if known.renewal != renewal { (known.renewal, known.renewedAt) = (renewal, now) }
            known.goneSince = nil
            observed[name] = known
            return known.renewedAt
        }
        let deadline = renewed.advanced(by: Self.grace)
        guard deadline <= now else { return deadline.duration(since: now) }
        let ready = node.condition("Ready")
        guard ready["status"].string != "Unknown" else { return Self.grace }
        node = try await client.changeStatus(of: node, .nodes) { node in
            var conditions = node.status["conditions"]
            for type in ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"] {
                setCondition(
                    &conditions, type: type, status: "Unknown",
                    reason: ready.isNull ? "NodeStatusNeverUpdated" : "NodeStatusUnknown",
                    message: ready.isNull
                        ? "Kubelet never posted node status." : "Kubelet stopped posting node status.",
                    now: now)
            }
            node.status["conditions"] = conditions
        }
        await events.event(node, reason: "NodeNotReady", "Node \(node.name) status is now: NodeNotReady")
        return Self.grace
    }

    private func updateTaints(_ node: KubeObject) async throws(APIError) -> KubeObject {
        let ready = node.condition("Ready")["status"].string ?? "Unknown"
        var wanted: [(key: String, effect: String)] = []
        switch ready {
        case "True": break
        case "False":
            wanted = [("node.kubernetes.io/not-ready", "NoSchedule"), ("node.kubernetes.io/not-ready", "NoExecute")]
        default:
            wanted = [
                ("node.kubernetes.io/unreachable", "NoSchedule"), ("node.kubernetes.io/unreachable", "NoExecute"),
            ]
        }
        for (type, key) in [
            ("MemoryPressure", "memory-pressure"), ("DiskPressure", "disk-pressure"), ("PIDPressure", "pid-pressure"),
            ("NetworkUnavailable", "network-unavailable"),
        ] where node.condition(type)["status"].string == "True" {
            wanted.append(("node.kubernetes.io/" + key, "NoSchedule"))
        }
        if node.spec["unschedulable"].bool == true { wanted.append(("node.kubernetes.io/unschedulable", "NoSchedule")) }
        let managed: Set = [
            "not-ready", "unreachable", "memory-pressure", "disk-pressure", "pid-pressure", "network-unavailable",
            "unschedulable",
        ]
        let old = node.spec["taints"].elements
        var taints = old.filter { taint in
            let key = taint["key"].string ?? ""
            guard key.hasPrefix("node.kubernetes.io/"), managed.contains(String(key.dropFirst(19))) else { return true }
            return wanted.contains { $0.key == key && $0.effect == taint["effect"].string }
        }
        for want in wanted
        where !taints.contains(where: { $0["key"].string == want.key && $0["effect"].string == want.effect }) {
            var taint: JSON = ["key": .string(want.key), "effect": .string(want.effect)]
            if want.effect == "NoExecute" { taint["timeAdded"] = .string(clock.now().rfc3339) }
            taints.append(taint)
        }
        guard taints != old else { return node }
        return try await client.patch(
            .nodes, namespace: "", name: node.name,
            [
                "metadata": ["resourceVersion": .string(String(node.resourceVersion))],
                "spec": ["taints": taints.isEmpty ? .null : .array(taints)],
            ], type: .merge, subresource: nil)
    }
}
