internal import Codecs
internal import KubeAPI
import Synchronization

extension Scheduler {
    /// A pod fits nowhere: others may have to make room; it is said why.
    func fail(_ attempt: Attempt, _ failure: Failure, _ now: Timestamp) async throws(APIError) {
        let object = attempt.object
        if failure.reasons[DeviceNeeds.unavailable] != nil { try await deallocate(attempt) }
        var told: String
        var nominated = ""
        switch try await preempt(attempt, failure) {
        case .nothing(let text): told = text
        case .node(let node):
            told = ""
            nominated = node
        }
        let message = Self.message(failure, preemption: told)
        await events.event(object, type: .warning, reason: "FailedScheduling", message)
        var conditions = object.status["conditions"]
        setCondition(
            &conditions, type: "PodScheduled", status: "False", reason: "Unschedulable", message: message, now: now)
        let before = object.status["nominatedNodeName"].string ?? ""
        guard conditions != object.status["conditions"] || before != nominated else { return }
        var updated = object
        updated.status["conditions"] = conditions
        updated.status["nominatedNodeName"] = nominated.isEmpty ? .null : .string(nominated)
        _ = try await client.updateStatus(.pods, updated)
    }

    /// "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable. preemption: ..."
    static func message(_ failure: Failure, preemption: String) -> String {
        guard failure.total > 0 else { return "no nodes available to schedule pods" }
        var text = "0/\(failure.total) nodes are available"
        if let general = failure.general {
            text += ": \(general)."
        } else if !failure.reasons.isEmpty {
            text += ": \(list(failure.reasons))."
        }
        return preemption.isEmpty ? text : text + " preemption: " + preemption
    }

    private static func list(_ reasons: [String: Int]) -> String {
        reasons.map { "\($0.value) \($0.key)" }.sorted().joined(separator: ", ")
    }

    private enum Outcome {
        /// What is to be said of it.
        case nothing(String)
        case node(String)
    }

    private func preempt(_ attempt: Attempt, _ failure: Failure) async throws(APIError) -> Outcome {
        guard failure.total > 0 else { return .nothing("") }
        let waiting = attempt.waiting
        guard waiting.preempts else { return .nothing("not eligible due to preemptionPolicy=Never.") }
        let (isBusy, hasVictims) = state.withLock { state in
            (
                Self.waitsForVictims(waiting, failure, state),
                !failure.hopeful.isEmpty
                    && state.cluster.pods.values.contains { $0.priority < waiting.pod.priority }
            )
        }
        if isBusy { return .nothing("not eligible due to a terminating pod on the nominated node.") }
        var budgets: [VictimBudget] = []
        if hasVictims {
            for budget in try await client.list(.podDisruptionBudgets).decoded() {
                budgets.append(
                    VictimBudget(
                        namespace: budget.namespace,
                        selector: (try? LabelSelector(json: budget.spec["selector"])) ?? .nothing,
                        allowed: budget.status["disruptionsAllowed"].int(or: 0)))
            }
        }
        var preemption = Preemption(waiting, budgets: budgets)
        let plan = state.withLock { state -> (node: String, victims: [(PodID, String)], lower: [ObjectKey])? in
            var devices = attempt.devices
            _ = devices.settle(state.devices)
            var filters = NodeFilters(
                waiting, state.cluster, namespaces: attempt.namespaces, volumes: attempt.volumes, devices: devices,
                profile: attempt.profile)
            let nominations = state.nominations
            // Nodes may have gone in between.
            let hopeful = failure.hopeful.filter { $0 < state.cluster.rooms.count && state.cluster.rooms[$0].exists }
            guard
                let best = preemption.best(
                    hopeful, &state.cluster, &filters,
                    refuses: { Self.refusal($0, &$1, &$2, nominations) })
            else { return nil }
            let node = state.cluster.nodes[best.node].name
            // Less important pods that hoped for this node look for another.
            let lower = nominations.filter { $0.value.node == node && $0.value.pod.priority < waiting.pod.priority }
            for id in lower.keys { state.nominations[id] = nil }
            state.nominations[waiting.pod.id] = Nomination(node: node, pod: waiting.pod)
            return (
                node, best.victims.map { ($0.id, state.cluster.classes[$0.placed.podClass].namespace) },
                lower.values.map(\.pod.key)
            )
        }
        guard let plan else {
            state.withLock { _ = $0.nominations.removeValue(forKey: waiting.pod.id) }
            var reasons = preemption.reasons
            let hopeless = failure.total - failure.hopeful.count
            if hopeless > 0 { reasons["Preemption is not helpful for scheduling", default: 0] += hopeless }
            return .nothing("0/\(failure.total) nodes are available: \(Self.list(reasons)).")
        }
        for key in plan.lower { try await withdraw(key) }
        try await evict(plan.victims, for: attempt.object, node: plan.node)
        return .node(plan.node)
    }

    /// The pod has made others go already: no more of them before these are gone.
    private static func waitsForVictims(_ waiting: WaitingPod, _ failure: Failure, _ state: State) -> Bool {
        let nominated = waiting.nominated
        guard !nominated.isEmpty, let node = state.cluster.slot(of: nominated), failure.hopeful.contains(node) else {
            return false
        }
        return state.cluster.pods.values.contains {
            Int($0.node) == node && $0.isLeaving && $0.isPreempted && $0.priority < waiting.pod.priority
        }
    }

    private func withdraw(_ key: ObjectKey) async throws(APIError) {
        guard let pod = try await client.getIfPresent(.pods, namespace: key.namespace, name: key.name),
            !pod.status["nominatedNodeName"].isNull
        else { return }
        _ = try await client.changeStatus(of: pod, .pods) { $0.status["nominatedNodeName"] = .null }
    }

    /// Victims end gracefully, with a condition that tells why.
    private func evict(
        _ victims: [(PodID, String)], for preemptor: KubeObject, node: String
    ) async throws(APIError) {
        var wanted: [String: Set<PodID>] = [:]
        for (id, namespace) in victims { wanted[namespace, default: []].insert(id) }
        for (namespace, ids) in wanted.sorted(by: { $0.key < $1.key }) {
            for item in try await client.list(.pods, namespace: namespace).items {
                guard let known = item.decodeMetadata(), ids.contains(PodID(known.uid)) else { continue }
                let pod = try item.decode()
                if pod.isBeingDeleted { continue }
                do throws(APIError) {
                    _ = try await client.changeStatus(of: pod, .pods) { pod in
                        var conditions = pod.status["conditions"]
                        setCondition(
                            &conditions, type: "DisruptionTarget", status: "True", reason: "PreemptionByScheduler",
                            message:
                                "\(preemptor.spec["schedulerName"].string ?? name): preempting to accommodate a higher "
                                + "priority pod", now: clock.now())
                        pod.status["conditions"] = conditions
                    }
                    try await client.delete(
                        .pods, namespace: namespace, name: pod.name, options: DeleteOptions(uid: pod.uid))
                } catch {
                    // Gone by itself, or another pod of the name: the next attempt sees what there is.
                    if error.isNotFound || error.isConflict { continue }
                    throw error
                }
                await events.event(pod, reason: "Preempted", "Preempted by pod \(preemptor.uid) on node \(node)")
            }
        }
    }
}
