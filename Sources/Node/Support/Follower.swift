package import KubeAPI
package import Logging

/// Lists a resource and then watches it, for ever: what every part that follows the API does.
/// After an error it waits (1 s doubling to 30 s); after a revision that is gone it lists again.
package struct Follower: Sendable {
    package enum Change: Sendable {
        /// All objects there are: what is not among them is gone.
        case reset([EncodedObject])
        case changed(EncodedObject)
        case removed(EncodedObject)
    }

    let client: any KubeClient
    let resource: GroupVersionResource
    var namespace: String?
    var fields = FieldSelector.everything
    var labels = LabelSelector.everything
    let clock: any KubeClock
    let logger: Logger

    package init(
        client: any KubeClient, resource: GroupVersionResource, namespace: String? = nil,
        fields: FieldSelector = .everything, labels: LabelSelector = .everything, clock: any KubeClock, logger: Logger
    ) {
        (self.client, self.resource, self.namespace) = (client, resource, namespace)
        (self.fields, self.labels, self.clock, self.logger) = (fields, labels, clock, logger)
    }

    /// Returns when the task is cancelled.
    package func run(_ handle: @Sendable (Change) async -> Void) async {
        var delay: Duration = .seconds(1)
        while !Task.isCancelled {
            do throws(APIError) {
                let options = ListOptions(labels: labels, fields: fields)
                let list = try await client.list(resource, namespace: namespace, options: options)
                await handle(.reset(list.items))
                try await watch(from: list.resourceVersion) { change in
                    delay = .seconds(1)
                    await handle(change)
                }
            } catch {
                if Task.isCancelled { return }
                if error.isExpired { continue }
                logger.debug("\(resource.groupResource): \(error.message); again in \(delay)")
                await clock.sleep(for: delay)
                delay = min(delay * 2, .seconds(30))
            }
        }
    }

    private func watch(
        from revision: Int64, _ handle: (Change) async -> Void
    ) async throws(APIError) {
        var revision = revision
        while !Task.isCancelled {
            let stream = try await client.watch(
                resource, namespace: namespace,
                options: ListOptions(labels: labels, fields: fields, resourceVersion: revision))
            defer { stream.close() }
            var progressed = false
            while let event = try await stream.next() {
                progressed = true
                revision = max(revision, event.object.resourceVersion)
                switch event.kind {
                case .added, .modified: await handle(.changed(event.object))
                case .deleted: await handle(.removed(event.object))
                case .bookmark: break
                }
            }
            // A stream that ends at once, again and again, must not become a busy loop.
            if !progressed, !Task.isCancelled { await clock.sleep(for: .seconds(1)) }
        }
    }
}
