package import KubeAPI
package import Logging

/// Runs controllers over one client: one list and watch per resource, whoever asks for it; each event is decoded once
/// and handed to all.
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

    package init(client: any KubeClient, clock: any KubeClock, logger: Logger, controllers: [any Controller]) {
        (self.client, self.clock, self.logger, self.controllers) = (client, clock, logger, controllers)
        queues = controllers.map { _ in WorkQueue(clock: clock) }
    }

    /// Until the task is cancelled.
    package func run() async {
        var sources: [GroupVersionResource: [(WorkQueue, WatchSource)]] = [:]
        for (controller, queue) in zip(controllers, queues) {
            for source in controller.sources { sources[source.resource, default: []].append((queue, source)) }
        }
        await withTaskGroup { group in
            for (resource, listeners) in sources {
                group.addTask { await self.follow(resource, listeners) }
            }
            for (controller, queue) in zip(controllers, queues) {
                for _ in 0..<controller.concurrency {
                    group.addTask { await self.work(controller, queue) }
                }
            }
        }
    }

    /// No key waits or is worked on: for tests.
    package var isIdle: Bool { queues.allSatisfy(\.isIdle) }

    private func work(_ controller: any Controller, _ queue: WorkQueue) async {
        while let key = await queue.next() {
            do throws(APIError) {
                if let again = try await controller.reconcile(key) { queue.add(key, after: again) }
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

    private func follow(_ resource: GroupVersionResource, _ listeners: [(WorkQueue, WatchSource)]) async {
        var failures = 0
        while !Task.isCancelled {
            do throws(APIError) {
                let list = try await client.list(resource)
                for (_, source) in listeners { source.relisting() }
                for item in list.items { dispatch(WatchEvent(.added, item), listeners) }
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

    private func dispatch(_ event: WatchEvent, _ listeners: [(WorkQueue, WatchSource)]) {
        guard event.kind != .bookmark, let object = try? event.object.decode() else { return }
        for (queue, source) in listeners {
            for key in source.keys(object, event.kind) { queue.add(key) }
        }
    }
}
