internal import Codecs
internal import KubeAPI
import Synchronization

/// What a node's state means for its pods.
extension NodeController {
    // MARK: - Readiness

    private static let notReady = "NodeNotReady"

    /// While a node is silent its pods count as not ready, so that services do not lead to them.
    func tellPods(of node: KubeObject) async throws(APIError) {
        let isSilent = node.condition("Ready")["status"].string == "Unknown"
        let name = node.name
        let mayBeUnready = observed.withLock { $0[name]?.mayHaveUnreadyPods ?? true }
        guard isSilent || mayBeUnready else { return }
        for var pod in try await pods(of: name) where pod.isActivePod {
            var conditions = pod.status["conditions"].elements
            guard let i = conditions.firstIndex(where: { $0["type"].string == "Ready" }) else { continue }
            let status = conditions[i]["status"].string
            if isSilent {
                guard status == "True" else { continue }
                conditions[i]["reason"] = .string(Self.notReady)
            } else {
                // Only what was taken away here is given back: the kubelet may have said something else meanwhile.
                guard status == "False", conditions[i]["reason"].string == Self.notReady,
                    pod.condition("ContainersReady")["status"].string == "True"
                else { continue }
                conditions[i]["reason"] = .null
            }
            conditions[i]["status"] = isSilent ? "False" : "True"
            conditions[i]["lastTransitionTime"] = .string(clock.now().rfc3339)
            pod.status["conditions"] = .array(conditions)
            do throws(APIError) {
                _ = try await client.updateStatus(.pods, pod)
            } catch {
                if error.isNotFound { continue }
                throw error
            }
            if isSilent {
                await events.event(pod, type: .warning, reason: Self.notReady, "Node is not ready")
            }
        }
        observed.withLock { $0[name]?.mayHaveUnreadyPods = isSilent }
    }

    private func pods(of node: String) async throws(APIError) -> [KubeObject] {
        try await client.list(
            .pods, namespace: nil, options: ListOptions(fields: .equal("spec.nodeName", node))
        ).decoded()
    }

    // MARK: - Eviction

    /// Sends away pods that do not tolerate a NoExecute taint, or no longer. Returns when the next one is due.
    func evictPods(of node: KubeObject) async throws(APIError) -> Duration? {
        let taints = node.spec["taints"].elements.filter { $0["effect"].string == "NoExecute" }
        let now = clock.now()
        let name = node.name
        let since = observed.withLock { observed -> [Timestamp] in
            var known = observed[name] ?? Observed(renewedAt: now)
            let times = taints.map { known.tainted[Self.identity($0)] ?? now }
            known.tainted = Dictionary(zip(taints.map(Self.identity), times)) { first, _ in first }
            observed[name] = known
            return times
        }
        guard let first = since.min() else { return nil }
        var next: Duration?
        for pod in try await pods(of: name) where pod.isActivePod {
            guard let patience = Self.patience(of: pod, with: taints) else { continue }
            let due = max(first, pod.creationTimestamp ?? first).advanced(by: patience)
            if due <= now {
                try await evict(pod)
            } else {
                let left = due.duration(since: now)
                next = min(next ?? left, left)
            }
        }
        return next
    }

    private static func identity(_ taint: JSON) -> String {
        "\(taint["key"].string ?? "")=\(taint["value"].string ?? "")@\(taint["timeAdded"].string ?? "")"
    }

    /// How long a pod stays on a node with these taints; nil: for ever.
    static func patience(of pod: KubeObject, with taints: [JSON]) -> Duration? {
        var shortest: Int64?
        for taint in taints {
            let matching = pod.spec["tolerations"].elements.filter {
                Toleration($0).tolerates(Taint(taint))
            }
            guard let toleration = matching.first else { return .zero }
            if let seconds = toleration["tolerationSeconds"].int { shortest = min(shortest ?? .max, max(0, seconds)) }
        }
        return shortest.map { .seconds($0) }
    }

    private func evict(_ pod: KubeObject) async throws(APIError) {
        do throws(APIError) {
            try await mark(pod, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint")
            await events.event(
                pod, reason: "TaintManagerEviction", "Marking for deletion Pod \(pod.namespace)/\(pod.name)")
            try await client.delete(
                .pods, namespace: pod.namespace, name: pod.name, options: DeleteOptions(uid: pod.uid))
        } catch {
            if !error.isNotFound { throw error }
        }
    }

    /// Why a pod goes that did nothing wrong.
    private func mark(
        _ pod: KubeObject, _ reason: String, _ message: String, phase: String? = nil
    ) async throws(APIError) {
        _ = try await client.changeStatus(of: pod, .pods) { pod in
            var conditions = pod.status["conditions"]
            setCondition(
                &conditions, type: "DisruptionTarget", status: "True", reason: reason, message: message,
                now: clock.now())
            pod.status["conditions"] = conditions
            if let phase, pod.podPhase != "Succeeded", pod.podPhase != "Failed" { pod.status["phase"] = .string(phase) }
        }
    }

    // MARK: - Pods of a node that is gone

    /// A node may come back under its name (it is re-registered): its pods go when it has been away for 40 seconds.
    private static let quarantine = Duration.seconds(40)

    func collectPods(ofAbsent node: String) async throws(APIError) -> Duration? {
        let now = clock.now()
        let pods = try await pods(of: node)
        guard !pods.isEmpty else {
            observed.withLock { _ = $0.removeValue(forKey: node) }
            return nil
        }
        let since = observed.withLock { observed -> Timestamp in
            var known = observed[node] ?? Observed(renewedAt: now)
            let since = known.goneSince ?? now
            known.goneSince = since
            observed[node] = known
            return since
        }
        let due = since.advanced(by: Self.quarantine)
        guard due <= now else { return due.duration(since: now) }
        try await concurrently(pods) { [self] pod throws(APIError) in
            do throws(APIError) {
                try await mark(pod, "DeletionByPodGC", "PodGC: node no longer exists", phase: "Failed")
                try await client.delete(
                    .pods, namespace: pod.namespace, name: pod.name,
                    options: DeleteOptions(gracePeriodSeconds: 0, uid: pod.uid))
            } catch {
                if !error.isNotFound && !error.isConflict { throw error }
            }
        }
        return nil
    }
}
