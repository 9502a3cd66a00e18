internal import KubeAPI
internal import Store

extension APIServer {
    /// Forgets states that are older than the configuration says, so that a list that is continued later than that is
    /// told so (410 Expired) as it is upstream; runs until it is cancelled. The newest states always stay.
    package func compactHistory() async {
        guard let interval = configuration.compactionInterval else { return }
        var mark = registry.store.revision
        var done: Int64 = 0
        while !Task.isCancelled {
            await configuration.clock.sleep(for: interval)
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
