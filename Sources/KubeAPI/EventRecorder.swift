import Synchronization

/// Writes events (core/v1 Event) about objects, one after the other, as an `EventCorrelator` decides.
package final class EventRecorder: Sendable {
    private let client: any KubeClient
    private let clock: any KubeClock
    private let correlator: Mutex<EventCorrelator>

    package init(client: any KubeClient, clock: any KubeClock, component: String, host: String = "") {
        (self.client, self.clock) = (client, clock)
        correlator = Mutex(EventCorrelator(component: component, host: host))
    }

    /// `fieldPath`: the part of the object that is meant, e.g. "spec.containers{app}".
    package func event(
        _ object: KubeObject, type: EventType = .normal, reason: String, fieldPath: String = "", _ message: String
    ) async {
        await event(EventSubject(object, fieldPath: fieldPath), type: type, reason: reason, message)
    }

    package func event(
        _ subject: EventSubject, type: EventType = .normal, reason: String, _ message: String
    ) async {
        if let write = correlate(subject, type, reason, message) { await send(write) }
    }

    /// For those who write later: what is to be sent, if anything.
    package func correlate(
        _ subject: EventSubject, _ type: EventType, _ reason: String, _ message: String
    ) -> EventCorrelator.Write? {
        let now = clock.now()
        return correlator.withLock { $0.correlate(subject, type, reason, message, now: now) }
    }

    /// Returns what went wrong, for the log: an event is a courtesy, it is not tried again.
    @discardableResult
    package func send(_ write: EventCorrelator.Write) async -> APIError? {
        do throws(APIError) {
            if !write.isFirst {
                do throws(APIError) {
                    _ = try await client.patch(
                        .events, namespace: write.namespace, name: write.name, write.patch, type: .merge,
                        subresource: nil)
                    return nil
                } catch {
                    guard error.isNotFound else { throw error }
                }
            }
            _ = try await client.create(.events, write.object)
            return nil
        } catch {
            // The object's namespace may be going away. The next one starts afresh.
            correlator.withLock { $0.forget(write.name) }
            return error
        }
    }
}
