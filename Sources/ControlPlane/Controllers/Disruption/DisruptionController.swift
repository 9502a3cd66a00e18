internal import Codecs
package import KubeAPI
import Synchronization

/// Keeps the numbers of a PodDisruptionBudget, from which the eviction API takes.
/// Source: k8s.io/kubernetes/pkg/controller/disruption.
package final class DisruptionController: Controller {
    package let name = "disruption-controller"
    private let client: any KubeClient
    private let clock: any KubeClock
    private let events: EventRecorder
    /// Where there are budgets: pods of other namespaces concern nobody.
    private let budgets = Mutex<Set<ObjectKey>>([])
    /// An evicted pod that is still there after this long is not going.
    private static let patience = Duration.seconds(120)

    package init(client: any KubeClient, clock: any KubeClock) {
        (self.client, self.clock) = (client, clock)
        events = EventRecorder(client: client, clock: clock, component: "disruption-controller")
    }

    package var sources: [WatchSource] {
        [
            WatchSource(.podDisruptionBudgets, relisting: { [self] in budgets.withLock { $0 = [] } }) {
                [self] budget, kind in
                budgets.withLock { budgets in
                    if kind == .deleted { budgets.remove(budget.key) } else { budgets.insert(budget.key) }
                }
                return [budget.key]
            },
            WatchSource(.pods) { [self] pod, _ in
                budgets.withLock { budgets in
                    budgets.isEmpty ? [] : budgets.filter { $0.namespace == pod.namespace }.sorted()
                }
            },
        ]
    }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        guard
            let budget = try await client.getIfPresent(
                .podDisruptionBudgets, namespace: key.namespace, name: key.name), !budget.isBeingDeleted
        else { return nil }
        let selector = try LabelSelector(json: budget.spec["selector"])
        var pods: [KubeObject] = []
        for item in try await client.list(.pods, namespace: key.namespace).items {
            let pod = try item.decode()
            if selector.matches(pod.labels), pod.podPhase != "Succeeded", pod.podPhase != "Failed" { pods.append(pod) }
        }
        let now = clock.now()
        let disrupted = await disruptedPods(budget, pods, now)
        let healthy = pods.filter { pod in
            pod.isReadyPod && !pod.isBeingDeleted && disrupted.json[pod.name].isNull
        }.count
        var status: JSON
        do throws(APIError) {
            let counts = try await expectation(budget, pods)
            let allowed = counts.expected > 0 ? max(0, Int64(healthy) - counts.desired) : 0
            status = [
                "disruptionsAllowed": .int(allowed), "currentHealthy": .int(Int64(healthy)),
                "desiredHealthy": .int(counts.desired), "expectedPods": .int(counts.expected),
            ]
            setAllowed(
                &status, budget, allowed > 0, allowed > 0 ? "SufficientPods" : "InsufficientPods", message: "", now)
        } catch {
            // What cannot be counted is not allowed.
            await events.event(
                budget, type: .warning, reason: "CalculateExpectedPodCountFailed",
                "Failed to calculate the number of expected pods: \(error.message)")
            status = budget.status.isNull ? [:] : budget.status
            for field in ["currentHealthy", "desiredHealthy", "expectedPods"] where status[field].isNull {
                status[field] = 0
            }
            status["disruptionsAllowed"] = 0
            setAllowed(&status, budget, false, "SyncFailed", message: error.message, now)
        }
        status["observedGeneration"] = .int(budget.generation)
        status["disruptedPods"] = disrupted.json == [:] ? .null : disrupted.json
        if status != budget.status {
            var updated = budget
            updated.status = status
            // With the version that was read: the eviction API takes from these numbers as well.
            _ = try await client.updateStatus(.podDisruptionBudgets, updated)
        }
        return disrupted.again
    }

    private func setAllowed(
        _ status: inout JSON, _ budget: KubeObject, _ isAllowed: Bool, _ reason: String, message: String,
        _ now: Timestamp
    ) {
        var conditions = budget.status["conditions"]
        setCondition(
            &conditions, type: "DisruptionAllowed", status: isAllowed ? "True" : "False", reason: reason,
            message: message, now: now)
        var list = conditions.elements
        if let i = list.firstIndex(where: { $0["type"].string == "DisruptionAllowed" }) {
            list[i]["observedGeneration"] = .int(budget.generation)
        }
        status["conditions"] = .array(list)
    }

    /// Pods whose eviction was granted but which are still there.
    private func disruptedPods(
        _ budget: KubeObject, _ pods: [KubeObject], _ now: Timestamp
    ) async -> (json: JSON, again: Duration?) {
        var left: JSON = [:]
        var again: Duration?
        for pod in pods where !pod.isBeingDeleted {
            let time = budget.status["disruptedPods"][pod.name]
            guard let since = time.string.flatMap({ Timestamp($0) }) else { continue }
            let due = since.advanced(by: Self.patience)
            guard due > now else {
                await events.event(
                    pod, type: .warning, reason: "NotDeleted",
                    "Pod was expected by PDB \(budget.namespace)/\(budget.name) to be deleted but it wasn't")
                continue
            }
            left[pod.name] = time
            again = min(again ?? due.duration(since: now), due.duration(since: now))
        }
        return (left, again)
    }

    private static func failure(_ message: String) -> APIError {
        APIError(code: 500, reason: "InternalError", message: message)
    }

    // MARK: - How many there should be

    private func expectation(
        _ budget: KubeObject, _ pods: [KubeObject]
    ) async throws(APIError) -> (expected: Int64, desired: Int64) {
        let most = budget.spec["maxUnavailable"]
        if !most.isNull {
            let expected = try await scale(budget, pods)
            return (expected, max(0, expected - most.scaled(of: expected, roundUp: true)))
        }
        let least = budget.spec["minAvailable"]
        if least.int != nil { return (Int64(pods.count), least.int(or: 1)) }
        if least.isNull { return (Int64(pods.count), 0) }
        let expected = try await scale(budget, pods)
        return (expected, least.scaled(of: expected, roundUp: true))
    }

    /// The sum of what the pods' controllers are to have.
    private func scale(_ budget: KubeObject, _ pods: [KubeObject]) async throws(APIError) -> Int64 {
        var scales: [String: Int64] = [:]
        var unmanaged: [String] = []
        for pod in pods {
            guard let owner = pod.controller else {
                unmanaged.append(pod.name)
                continue
            }
            guard scales[owner.uid] == nil else { continue }
            guard let (uid, replicas) = try await replicas(of: owner, namespace: pod.namespace) else {
                throw Self.failure("found no controllers for pod \"\(pod.name)\"")
            }
            // A set of a deployment counts once, with the deployment.
            scales[owner.uid] = 0
            scales[uid] = replicas
        }
        if !unmanaged.isEmpty {
            await events.event(
                budget, type: .warning, reason: "UnmanagedPods",
                "Pods selected by this PodDisruptionBudget (selector: \(budget.spec["selector"].text)) were found to be "
                    + "unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result "
                    + "in undefined behavior. To account for these pods please set \".spec.minAvailable\" field of the "
                    + "PDB to an integer value.")
        }
        return scales.values.reduce(0, +)
    }

    private static let scalable: [String: GroupVersionResource] = [
        "ReplicaSet": .replicaSets, "Deployment": .deployments, "StatefulSet": .statefulSets,
        "ReplicationController": .replicationControllers,
    ]

    private func replicas(
        of owner: OwnerReference, namespace: String
    ) async throws(APIError) -> (uid: String, replicas: Int64)? {
        guard let resource = Self.scalable[owner.kind] else {
            let plural = owner.kind.lowercased() + "s"
            let group = GroupVersion(owner.apiVersion)?.group ?? ""
            throw Self.failure(
                "\(group.isEmpty ? plural : plural + "." + group) does not implement the scale subresource")
        }
        guard let object = try await client.getIfPresent(resource, namespace: namespace, name: owner.name),
            object.uid == owner.uid
        else { return nil }
        if resource == .replicaSets, let parent = object.controller, parent.kind == "Deployment" {
            return try await replicas(of: parent, namespace: namespace)
        }
        return (object.uid, object.specReplicas)
    }
}
