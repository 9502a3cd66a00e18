internal import Codecs
package import KubeAPI
import Synchronization

/// Chooses a node for each pod that has none.
///
/// A controller like the others: a key is a pod that waits. It differs in keeping `ClusterState`, fed by the same events;
/// a choice is entered there before it is written, so that two pods never count on the same room. Pods that fit nowhere
/// wait until a node or a leaving pod changes something, and are looked at again every five minutes.
/// Source: k8s.io/kubernetes/pkg/scheduler.
package final class Scheduler: Controller {
    package let name = "default-scheduler"
    package let concurrency = 8

    private struct State {
        var cluster = ClusterState()
        /// With the generation that did not fit: a changed pod is tried again.
        var unschedulable: [ObjectKey: Int64] = [:]
        /// Breaks ties between equal nodes in turn.
        var turn = 0
    }

    private let client: any KubeClient
    private let events: EventRecorder
    private let clock: any KubeClock
    private let state = Mutex(State())
    private static let reconsider = Duration.seconds(300)

    package init(client: any KubeClient, clock: any KubeClock) {
        (self.client, self.clock) = (client, clock)
        events = EventRecorder(client: client, clock: clock, component: "default-scheduler")
    }

    package var sources: [WatchSource] {
        [
            WatchSource(.nodes, relisting: { [self] in state.withLock { $0.cluster.forgetNodes() } }) {
                [self] node, kind in
                state.withLock { state in
                    guard state.cluster.update(node: node, deleted: kind == .deleted) else { return [] }
                    return Self.waiting(&state)
                }
            },
            WatchSource(.pods, relisting: { [self] in state.withLock { $0.cluster.forgetPods() } }) {
                [self] pod, kind in
                state.withLock { state in
                    var keys: [ObjectKey] = []
                    if state.cluster.update(pod: pod, deleted: kind == .deleted) { keys = Self.waiting(&state) }
                    if kind == .deleted {
                        state.unschedulable[pod.key] = nil
                    } else if Self.isOurs(pod), kind == .added || state.unschedulable[pod.key] != pod.generation {
                        keys.append(pod.key)
                    }
                    return keys
                }
            },
        ]
    }

    private static func waiting(_ state: inout State) -> [ObjectKey] {
        defer { state.unschedulable = [:] }
        return Array(state.unschedulable.keys)
    }

    private static func isOurs(_ pod: KubeObject) -> Bool {
        (pod.spec["nodeName"].string ?? "").isEmpty && pod.isActivePod
            && (pod.spec["schedulerName"].string ?? "default-scheduler") == "default-scheduler"
            && pod.spec["schedulingGates"].elements.isEmpty
    }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        guard let pod = try await client.getIfPresent(.pods, namespace: key.namespace, name: key.name), Self.isOurs(pod)
        else { return nil }
        let filters = NodeFilters(pod)
        enum Choice {
            case node(String)
            case none(String)
        }
        let choice = state.withLock { state -> Choice in
            let nodes = state.cluster.existing
            var reasons: [String: Int] = [:]
            var hopeless = 0
            var best: [String] = []
            var bestScore = Int64.min
            for node in nodes {
                let against = filters.reasons(against: node)
                guard against.isEmpty else {
                    for reason in against { reasons[reason, default: 0] += 1 }
                    if filters.isHopeless(against, on: node) { hopeless += 1 }
                    continue
                }
                let score = filters.score(node)
                if score > bestScore { (bestScore, best) = (score, []) }
                if score == bestScore { best.append(node.name) }
            }
            guard !best.isEmpty else {
                state.unschedulable[key] = pod.generation
                let preempts = pod.spec["preemptionPolicy"].string != "Never"
                return .none(Self.message(total: nodes.count, reasons, hopeless: hopeless, preempts: preempts))
            }
            best.sort()
            state.turn &+= 1
            let node = best[state.turn % best.count]
            state.cluster.place(pod.uid, filters.demand, on: node)
            return .node(node)
        }
        switch choice {
        case .node(let node):
            try await bind(pod, to: node)
            return nil
        case .none(let message):
            await events.event(pod, type: .warning, reason: "FailedScheduling", message)
            try await markUnschedulable(pod, message)
            return Self.reconsider
        }
    }

    private func bind(_ pod: KubeObject, to node: String) async throws(APIError) {
        var binding = KubeObject(GroupVersionKind("", "v1", "Binding"), name: pod.name, namespace: pod.namespace)
        binding.metadata["uid"] = .string(pod.uid)
        binding["target"] = ["kind": "Node", "name": .string(node)]
        do throws(APIError) {
            _ = try await client.create(.pods, binding, subresource: "binding", name: pod.name)
        } catch {
            state.withLock { _ = $0.cluster.remove(pod.uid) }
            // Where another scheduler was faster, the pod is on that one's node; the event may have come before.
            if let there = try await client.getIfPresent(.pods, namespace: pod.namespace, name: pod.name) {
                state.withLock { _ = $0.cluster.update(pod: there, deleted: false) }
            }
            throw error
        }
        await events.event(
            pod, reason: "Scheduled", "Successfully assigned \(pod.namespace)/\(pod.name) to \(node)")
    }

    private func markUnschedulable(_ pod: KubeObject, _ message: String) async throws(APIError) {
        var updated = pod
        var conditions = pod.status["conditions"]
        setCondition(
            &conditions, type: "PodScheduled", status: "False", reason: "Unschedulable", message: message,
            now: clock.now())
        guard conditions != pod.status["conditions"] else { return }
        updated.status["conditions"] = conditions
        _ = try await client.updateStatus(.pods, updated)
    }

    /// "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable. preemption: ..."
    static func message(total: Int, _ reasons: [String: Int], hopeless: Int, preempts: Bool) -> String {
        guard total > 0 else { return "no nodes available to schedule pods" }
        let texts = reasons.map { "\($0.value) \($0.key)" }.sorted()
        let head = "0/\(total) nodes are available: \(texts.joined(separator: ", ")). preemption: "
        guard preempts else { return head + "not eligible due to preemptionPolicy=Never." }
        var preemption: [String] = []
        if total > hopeless { preemption.append("\(total - hopeless) No preemption victims found for incoming pod") }
        if hopeless > 0 { preemption.append("\(hopeless) Preemption is not helpful for scheduling") }
        return head + "0/\(total) nodes are available: \(preemption.sorted().joined(separator: ", "))."
    }
}
