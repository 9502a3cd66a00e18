internal import Codecs
package import KubeAPI
package import Logging
import Synchronization

extension EventSubject {
    package static func pod(_ pod: Pod, _ container: ContainerSpec? = nil) -> Self {
        Self(
            kind: "Pod", namespace: pod.namespace, name: pod.name, uid: pod.uid, fieldPath: container?.fieldPath ?? "",
            resourceVersion: pod.object.metadata["resourceVersion"].string ?? "")
    }
}

/// The node's events. Never blocks its callers; where the API is away for long, new events are dropped.
package final class NodeEvents: Sendable {
    private let recorder: EventRecorder
    private let logger: Logger
    private let queue: AsyncStream<EventCorrelator.Write>
    private let input: AsyncStream<EventCorrelator.Write>.Continuation

    package init(
        client: any KubeClient, clock: any KubeClock, node: String, component: String = "kubelet", logger: Logger
    ) {
        recorder = EventRecorder(client: client, clock: clock, component: component, host: node)
        self.logger = logger
        (queue, input) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(256))
    }

    package func record(_ subject: EventSubject, _ type: EventType, _ reason: String, _ message: String) {
        if let write = recorder.correlate(subject, type, reason, message) { input.yield(write) }
    }

    /// Writes what is recorded until it is cancelled.
    package func run() async {
        for await write in queue {
            // A namespace that ends takes no events; anything else is worth a line, not a retry storm.
            if let error = await recorder.send(write), !error.isForbidden, !error.isNotFound {
                logger.debug("event not written: \(error.message)")
            }
        }
    }
}
