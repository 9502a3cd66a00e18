internal import Codecs
package import KubeAPI
package import Logging
import Synchronization

/// Follows the ConfigMaps and Secrets that pods of this node show as files, and only those: one watch by name for each,
/// shared by the pods that refer to it and ended with the last of them. It keeps no content.
package final class ObjectWatcher: Sendable {
    private struct Watched {
        var pods: Set<String> = []
        var task: Task<Void, Never>?
    }

    private let client: any KubeClient
    private let clock: any KubeClock
    private let logger: Logger
    private let watched = Mutex<[ObjectReference: Watched]>([:])
    /// Called with the uids of the pods that refer to what has changed.
    private let changed: @Sendable (Set<String>) -> Void

    package init(
        client: any KubeClient, clock: any KubeClock, logger: Logger, changed: @escaping @Sendable (Set<String>) -> Void
    ) {
        (self.client, self.clock, self.logger, self.changed) = (client, clock, logger, changed)
    }

    /// Makes `references` the ones that pod `uid` has; empty: it has ended.
    package func follow(_ references: Set<ObjectReference>, for uid: String) {
        let ended = watched.withLock { watched -> [Task<Void, Never>] in
            var ended: [Task<Void, Never>] = []
            for (reference, var entry) in watched where entry.pods.contains(uid) && !references.contains(reference) {
                entry.pods.remove(uid)
                if entry.pods.isEmpty {
                    if let task = entry.task { ended.append(task) }
                    watched[reference] = nil
                } else {
                    watched[reference] = entry
                }
            }
            for reference in references {
                watched[reference, default: Watched()].pods.insert(uid)
                if watched[reference]?.task == nil { watched[reference]?.task = start(reference) }
            }
            return ended
        }
        for task in ended { task.cancel() }
    }

    package func stop() {
        let tasks = watched.withLock { watched -> [Task<Void, Never>] in
            defer { watched = [:] }
            return watched.values.compactMap(\.task)
        }
        for task in tasks { task.cancel() }
    }

    private final class Seen: Sendable {
        let revision = Mutex<Int64?>(nil)
    }

    package var count: Int { watched.withLock { $0.count } }

    private func start(_ reference: ObjectReference) -> Task<Void, Never> {
        let follower = Follower(
            client: client, resource: reference.kind.resource, namespace: reference.namespace,
            fields: .equal("metadata.name", reference.name), clock: clock, logger: logger)
        // Ended by `follow` or `stop`, so that the strong reference does not outlive its use.
        return Task {
            let seen = Seen()
            await follower.run { change in
                // The first list counts: the object may have come between a pod's look at it and this.
                let isNews = seen.revision.withLock { seen -> Bool in
                    switch change {
                    case .reset(let items):
                        let revision = items.first?.resourceVersion ?? 0
                        defer { seen = revision }
                        return seen.map { $0 != revision } ?? true
                    case .changed(let object), .removed(let object):
                        seen = object.resourceVersion
                        return true
                    }
                }
                if isNews { self.notify(reference) }
            }
        }
    }

    private func notify(_ reference: ObjectReference) {
        let pods = watched.withLock { $0[reference]?.pods ?? [] }
        if !pods.isEmpty { changed(pods) }
    }
}
