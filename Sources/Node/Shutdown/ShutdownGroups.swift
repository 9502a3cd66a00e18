/// Pods by priority and how many seconds each group gets when the machine goes down, least important first.
/// Source: KubeletConfiguration.shutdownGracePeriodByPodPriority, pkg/kubelet/nodeshutdown.
package struct ShutdownGroups: Sendable, Equatable {
    package struct Group: Sendable, Equatable {
        package var priority: Int64
        package var seconds: Int64
        package init(priority: Int64, seconds: Int64) { (self.priority, self.seconds) = (priority, seconds) }
    }
    /// shutdownGracePeriod and the part of it that is for critical pods.
    package var period: Duration = .zero
    package var critical: Duration = .zero
    package var byPriority: [Group] = []
    package init() {}

    /// Empty: nothing is done when the machine goes down.
    package var groups: [Group] {
        if !byPriority.isEmpty { return byPriority.sorted { $0.priority < $1.priority } }
        guard period > .zero else { return [] }
        let (all, last) = (period.components.seconds, min(critical, period).components.seconds)
        return [Group(priority: 0, seconds: all - last), Group(priority: 2_000_000_000, seconds: last)]
    }
    package var total: Int64 { groups.reduce(0) { $0 + $1.seconds } }

    /// The group of a pod: the last one whose priority is not above the pod's, else the first.
    package func index(priority: Int64) -> Int {
        max((groups.firstIndex { $0.priority > priority } ?? groups.count) - 1, 0)
    }
}
