internal import Codecs
package import KubeAPI

/// Keeps as many pods as a ReplicaSet asks for.
/// Source: k8s.io/kubernetes/pkg/controller/replicaset (behaviour). Because reads see every write that was acknowledged,
/// upstream's "expectations" have no counterpart here.
package struct ReplicaSetController: Controller {
    package let name = "replicaset-controller"
    package let concurrency = 4
    private let client: any KubeClient
    private let clock: any KubeClock
    private let events: EventRecorder
    /// No more pods are made or removed in one go.
    static let burst = 500

    package init(client: any KubeClient, clock: any KubeClock) {
        (self.client, self.clock) = (client, clock)
        events = EventRecorder(client: client, clock: clock, component: "replicaset-controller")
    }

    package var sources: [WatchSource] {
        [
            .own(.replicaSets), .owner("ReplicaSet", of: .pods),
            // A pod without an owner may be one to adopt: any set of its namespace may want it.
            WatchSource(.pods) { [client] pod, kind in
                guard pod.controller == nil, kind == .added, !pod.labels.isEmpty else { return [] }
                return [ObjectKey(namespace: pod.namespace, name: Self.orphanPrefix + pod.name)]
            },
        ]
    }
    /// Not a name an object can have: the key stands for "whoever wants this orphan".
    private static let orphanPrefix = "\u{1}orphan:"

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        if key.name.hasPrefix(Self.orphanPrefix) {
            try await reconcileOrphan(
                namespace: key.namespace, pod: String(key.name.dropFirst(Self.orphanPrefix.count)))
            return nil
        }
        guard let set = try await client.getIfPresent(.replicaSets, namespace: key.namespace, name: key.name) else {
            return nil
        }
        var pods = try await PodClaims(client: client).claim(
            for: set, selector: try LabelSelector(json: set.spec["selector"]))
        let active = pods.filter(\.isActivePod)
        var failure: APIError?
        if !set.isBeingDeleted {
            do throws(APIError) {
                try await scale(set, active)
                pods = active
            } catch {
                failure = error
            }
        }
        // Status counts what is there now, not what was before scaling.
        let now = try await PodClaims(client: client).owned(by: set).filter(\.isActivePod)
        let again = try await updateStatus(set, now, failure)
        if let failure { throw failure }
        return again
    }

    private func reconcileOrphan(namespace: String, pod name: String) async throws(APIError) {
        guard let pod = try await client.getIfPresent(.pods, namespace: namespace, name: name), pod.controller == nil
        else { return }
        let labels = pod.labels
        for item in try await client.list(.replicaSets, namespace: namespace).items {
            let set = try item.decode()
            if try LabelSelector(json: set.spec["selector"]).matches(labels) { _ = try await reconcile(set.key) }
        }
    }

    private func scale(_ set: KubeObject, _ active: [KubeObject]) async throws(APIError) {
        let wanted = Int(clamping: set.spec["replicas"].int(or: 1))
        let difference = wanted - active.count
        if difference > 0 {
            try await createPods(set, min(difference, Self.burst))
        } else if difference < 0 {
            let related = active
            let victims = Self.victims(active, count: min(-difference, Self.burst), related: related, now: clock.now())
            try await concurrently(victims) { [client, events] pod throws(APIError) in
                do throws(APIError) {
                    try await client.delete(
                        .pods, namespace: pod.namespace, name: pod.name, options: DeleteOptions(uid: pod.uid))
                    await events.event(set, reason: "SuccessfulDelete", "Deleted pod: \(pod.name)")
                } catch {
                    if !error.isNotFound { throw error }
                }
            }
        }
    }

    /// In batches that double, so that a pod which the API refuses (quota) is refused once, not 500 times.
    private func createPods(_ set: KubeObject, _ count: Int) async throws(APIError) {
        var left = count
        var batch = 1
        while left > 0 {
            let n = min(batch, left)
            try await concurrently(Array(0..<n)) { [client, events] _ throws(APIError) in
                let pod = KubeObject.pod(from: set.spec["template"], generateName: set.name + "-", owner: set)
                do throws(APIError) {
                    let made = try await client.create(.pods, pod)
                    await events.event(set, reason: "SuccessfulCreate", "Created pod: \(made.name)")
                } catch {
                    // A namespace that is going away refuses everything: nothing to report.
                    if error.isForbidden, error.causes.contains(where: { $0.reason == "NamespaceTerminating" }) {
                        return
                    }
                    await events.event(
                        set, type: .warning, reason: "FailedCreate", "Error creating: \(error.message)")
                    throw error
                }
            }
            left -= n
            batch *= 2
        }
    }

    /// Those whose loss hurts least come first (upstream's ActivePodsWithRanks).
    static func victims(_ pods: [KubeObject], count: Int, related: [KubeObject], now: Timestamp) -> [KubeObject] {
        guard count < pods.count else { return pods }
        var perNode: [String: Int64] = [:]
        for pod in related { perNode[pod.spec["nodeName"].string ?? "", default: 0] += 1 }
        func rank(_ pod: KubeObject) -> [Int64] {
            let node = pod.spec["nodeName"].string ?? ""
            let phase: Int64 = pod.podPhase == "Pending" ? 0 : pod.podPhase == "Unknown" ? 1 : 2
            let cost = pod.annotations["controller.kubernetes.io/pod-deletion-cost"].flatMap { Int64($0) } ?? 0
            let ready = pod.isReadyPod
            let readySince = pod.condition("Ready")["lastTransitionTime"].string.flatMap { Timestamp($0) }?.seconds ?? 0
            let restarts = pod.status["containerStatuses"].elements.map { $0["restartCount"].int(or: 0) }.max() ?? 0
            return [
                node.isEmpty ? 0 : 1, phase, ready ? 1 : 0, cost, -(perNode[node] ?? 0), ready ? -readySince : 0,
                -restarts,
                -(pod.creationTimestamp?.seconds ?? 0),
            ]
        }
        return pods.map { (rank($0), $0) }
            .sorted { $0.0 == $1.0 ? $0.1.name < $1.1.name : $0.0.lexicographicallyPrecedes($1.0) }
            .prefix(count).map(\.1)
    }

    private func updateStatus(
        _ set: KubeObject, _ pods: [KubeObject], _ failure: APIError?
    ) async throws(APIError) -> Duration? {
        let now = clock.now()
        let minReady = set.spec["minReadySeconds"].int(or: 0)
        let template = LabelSelector.equal(set.spec["template"]["metadata"]["labels"].stringMap)
        var again: Duration?
        var (ready, available, labelled): (Int64, Int64, Int64) = (0, 0, 0)
        for pod in pods {
            if template.matches(pod.labels) { labelled += 1 }
            guard pod.isReadyPod else { continue }
            ready += 1
            let (isAvailable, after) = pod.podAvailability(minReadySeconds: minReady, now: now)
            if isAvailable { available += 1 }
            if let after { again = min(again ?? after, after) }
        }
        var updated = set
        var status: JSON = ["replicas": .int(Int64(pods.count))]
        if labelled > 0 { status["fullyLabeledReplicas"] = .int(labelled) }
        if ready > 0 { status["readyReplicas"] = .int(ready) }
        if available > 0 { status["availableReplicas"] = .int(available) }
        status["observedGeneration"] = .int(set.generation)
        status["terminatingReplicas"] = set.status["terminatingReplicas"]
        var conditions = set.status["conditions"]
        if let failure {
            setCondition(
                &conditions, type: "ReplicaFailure", status: "True", reason: "FailedCreate", message: failure.message,
                now: now)
        } else if !conditions.isNull {
            let kept = conditions.elements.filter { $0["type"].string != "ReplicaFailure" }
            conditions = kept.isEmpty ? .null : .array(kept)
        }
        status["conditions"] = conditions
        guard status != set.status else { return again }
        updated.status = status
        updated.resourceVersion = 0
        _ = try await client.updateStatus(.replicaSets, updated)
        return again
    }
}
