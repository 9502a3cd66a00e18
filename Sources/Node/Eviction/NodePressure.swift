internal import Codecs
internal import KubeAPI
import Synchronization

/// What the node is short of, for its status and for who asks to be admitted.
package final class NodePressure: Sendable {
    private struct State {
        var conditions: Set<String> = []
        var isShuttingDown = false
        var changed: (@Sendable () -> Void)?
    }
    private let state = Mutex(State())

    package init() {}

    package var conditions: Set<String> { state.withLock { $0.conditions } }

    /// The machine is going down: nobody may come any more.
    var isShuttingDown: Bool {
        get { state.withLock { $0.isShuttingDown } }
        set {
            let changed = state.withLock { state in
                state.isShuttingDown = newValue
                return state.changed
            }
            changed?()
        }
    }

    func onChange(_ body: @escaping @Sendable () -> Void) { state.withLock { $0.changed = body } }

    func set(_ conditions: Set<String>) {
        let changed = state.withLock { state in
            defer { state.conditions = conditions }
            return state.conditions == conditions ? nil : state.changed
        }
        changed?()
    }

    /// nil: the pod may come. Source: eviction_manager.go, Admit.
    func refusal(_ pod: Pod) -> PodStatusBuilder.Verdict? {
        if isShuttingDown {
            return PodStatusBuilder.Verdict("NodeShutdown", "Pod was rejected as the node is shutting down.")
        }
        let conditions = conditions
        guard !conditions.isEmpty, !pod.isCritical else { return nil }
        if conditions == ["MemoryPressure"] {
            if pod.qosClass != .bestEffort { return nil }
            let tolerates = pod.spec["tolerations"].elements.contains { toleration in
                let key = toleration["key"].string ?? ""
                let effect = toleration["effect"].string ?? ""
                let exists = toleration["operator"].string == "Exists"
                return (key == "node.kubernetes.io/memory-pressure" || key.isEmpty && exists)
                    && (effect.isEmpty || effect == "NoSchedule")
                    && (exists || (toleration["value"].string ?? "").isEmpty)
            }
            if tolerates { return nil }
        }
        return PodStatusBuilder.Verdict(
            "Evicted", "The node had condition: [\(conditions.sorted().joined(separator: " "))]. ")
    }
}
