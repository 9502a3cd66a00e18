internal import KubeAPI
internal import Store

extension APIServer {
    /// kube-apiserver's --etcd-compaction-interval: for how long the past can be listed and watched at least.
    private static let compactionInterval: Duration = .seconds(300)

    /// Forgets states that are more than five minutes old, so that a list that is continued later than that is told so
    /// (410 Expired) as it is upstream; runs until it is cancelled. The newest states always stay.
    package func compactHistory() async {
        var mark = registry.store.revision
        var done: Int64 = 0
        while !Task.isCancelled {
            await configuration.clock.sleep(for: Self.compactionInterval)
            guard !Task.isCancelled else { return }
            let now = registry.store.revision
            if mark > done {
                try? await registry.store.compact(to: mark)
                done = mark
            }
            mark = now
        }
    }
}
