package import KubeAPI
package import Logging
import Synchronization

/// Runs controllers over one client: one list and watch per resource, whoever asks for it; each event is decoded once
/// and handed to all. A controller starts when everything that it watches has been listed once: one that acts on half of
/// the picture would place pods on full nodes, or take owners for absent.
///
///     list ─▶ every object wakes its keys ─▶ watch ─▶ each event wakes its keys
///       ▲                                      │ ended, expired
///       └──────────────────────────────────────┘
package struct ControllerManager: Sendable {
    private let client: any KubeClient
    private let clock: any KubeClock
    private let logger: Logger
    private let controllers: [any Controller]
    private let queues: [WorkQueue]

    /// What one controller wants to know of one resource.
    private struct Listener: Sendable {
        let controller: Int
        let source: WatchSource
    }

    package init(client: any KubeClient, clock: any KubeClock, logger: Logger, controllers: [any Controller]) {
        (self.client, self.clock, self.logger, self.controllers) = (client, clock, logger, controllers)
        queues = controllers.map { _ in WorkQueue(clock: clock, held: true) }
    }

    /// Until the task is cancelled.
    package func run() async {
        var sources: [GroupVersionResource: [Listener]] = [:]
        let unlisted = Mutex(controllers.map { _ in Set<GroupVersionResource>() })
        for (i, controller) in controllers.enumerated() {
            for source in controller.sources {
                sources[source.resource, default: []].append(Listener(controller: i, source: source))
                unlisted.withLock { _ = $0[i].insert(source.resource) }
            }
        }
        let listed: @Sendable (GroupVersionResource) -> Void = { resource in
            for (i, queue) in queues.enumerated() {
                let isComplete = unlisted.withLock { $0[i].remove(resource) != nil && $0[i].isEmpty }
                if isComplete { queue.release() }
            }
        }
        await withTaskGroup { group in
            for (resource, listeners) in sources {
                group.addTask { await self.follow(resource, listeners, listed) }
            }
            for (controller, queue) in zip(controllers, queues) {
                for _ in 0..<controller.concurrency {
                    group.addTask { await self.work(controller, queue) }
                }
            }
        }
    }

    /// The queues in the Prometheus text format. Source: k8s.io/component-base/metrics/prometheus/workqueue.
    package var metrics: String {
        let counts = zip(controllers, queues).map { ($0.name, $1.counts) }
        var out = RequestMetrics.head("workqueue_adds_total", "counter", "Keys that were queued")
        for (name, count) in counts { out += "workqueue_adds_total{name=\"\(name)\"} \(count.adds)\n" }
        out += RequestMetrics.head("workqueue_depth", "gauge", "Keys that wait")
        for (name, count) in counts { out += "workqueue_depth{name=\"\(name)\"} \(count.depth)\n" }
        out += RequestMetrics.head("workqueue_retries_total", "counter", "Keys that came again after a failure")
        for (name, count) in counts { out += "workqueue_retries_total{name=\"\(name)\"} \(count.retries)\n" }
        return out
    }

    /// No key waits or is worked on: for tests.
    package var isIdle: Bool { queues.allSatisfy(\.isIdle) }

    private func work(_ controller: any Controller, _ queue: WorkQueue) async {
        while let key = await queue.next() {
            do throws(APIError) {
                if let keys = try await controller.expand(key) {
                    for key in keys { queue.add(key) }
                } else if let again = try await controller.reconcile(key) {
                    queue.add(key, after: again)
                }
                queue.forget(key)
            } catch {
                // Conflicts are the normal course of things: somebody else was faster.
                if !error.isConflict && !error.isNotFound && !error.isAlreadyExists {
                    logger.warning("\(controller.name): \(key): \(error.message)")
                }
                queue.retry(key)
            }
            queue.done(key)
        }
    }

    private func follow(
        _ resource: GroupVersionResource, _ listeners: [Listener], _ listed: @Sendable (GroupVersionResource) -> Void
    ) async {
        var failures = 0
        var isFirst = true
        while !Task.isCancelled {
            do throws(APIError) {
                let list = try await client.list(resource)
                for listener in listeners { listener.source.relisting() }
                for item in list.items { dispatch(WatchEvent(.added, item), listeners) }
                if isFirst {
                    listed(resource)
                    isFirst = false
                } else {
                    try await wakeAll(besides: resource, listeners)
                }
                let stream = try await client.watch(
                    resource, namespace: nil, options: ListOptions(resourceVersion: list.resourceVersion))
                defer { stream.close() }
                failures = 0
                while let event = try await stream.next() { dispatch(event, listeners) }
            } catch {
                if !error.isExpired { logger.warning("watch of \(resource.groupResource): \(error.message)") }
                failures += 1
            }
            if failures > 0 {
                await clock.sleep(for: min(.seconds(30), .milliseconds(100 * Int64(1 << min(failures, 9)))))
            }
        }
    }

    /// After a watch that broke: deletions may have been missed, whom they concern is not known, so everything that the
    /// listeners look after is looked at again.
    private func wakeAll(besides resource: GroupVersionResource, _ listeners: [Listener]) async throws(APIError) {
        let concerned = Set(listeners.map(\.controller))
        for i in concerned {
            for source in controllers[i].sources where source.resource != resource {
                let again = [Listener(controller: i, source: source)]
                for item in try await client.list(source.resource).items {
                    dispatch(WatchEvent(.modified, item), again)
                }
            }
        }
    }

    private func dispatch(_ event: WatchEvent, _ listeners: [Listener]) {
        guard event.kind != .bookmark else { return }
        let isLight = listeners.allSatisfy(\.source.needsMetadataOnly)
        guard let object = isLight ? event.object.decodeMetadata() : try? event.object.decode() else { return }
        for listener in listeners {
            for key in listener.source.keys(object, event.kind) { queues[listener.controller].add(key) }
        }
    }
}
