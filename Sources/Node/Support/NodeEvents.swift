internal import Codecs
package import KubeAPI
package import Logging
import Synchronization

/// What an event is about.
package struct EventSubject: Sendable, Hashable {
    package var kind: String
    package var apiVersion = "v1"
    package var namespace: String
    package var name: String
    package var uid: String
    package var fieldPath = ""
    package var resourceVersion = ""

    package static func pod(_ pod: Pod, _ container: ContainerSpec? = nil) -> Self {
        var subject = Self(kind: "Pod", namespace: pod.namespace, name: pod.name, uid: pod.uid)
        subject.fieldPath = container?.fieldPath ?? ""
        subject.resourceVersion = pod.object.metadata["resourceVersion"].string ?? ""
        return subject
    }
    package static func node(_ name: String) -> Self { Self(kind: "Node", namespace: "", name: name, uid: name) }
}

/// Writes the node's events: equal ones are counted in one object, similar ones combined, and what one object may cause
/// is bounded (25 at once, then one in five minutes), as client-go's correlator does. Never blocks its callers; where the
/// API is away for long, new events are dropped.
package final class NodeEvents: Sendable {
    package enum Kind: String, Sendable { case normal = "Normal", warning = "Warning" }

    fileprivate struct Key: Hashable {
        var subject: EventSubject
        var kind: Kind
        var reason: String
        var message: String
    }
    fileprivate struct Entry {
        var name: String
        var count: Int64
        var first: Timestamp
        var used: Timestamp
    }
    fileprivate struct Bucket {
        var tokens: Double
        var updated: Timestamp
    }
    fileprivate struct Similar {
        var messages: Set<Int> = []
        var since: Timestamp
    }
    fileprivate struct SimilarKey: Hashable {
        var uid: String
        var kind: Kind
        var reason: String
    }
    fileprivate struct State {
        var entries: [Key: Entry] = [:]
        var buckets: [String: Bucket] = [:]
        var similar: [SimilarKey: Similar] = [:]
    }
    fileprivate struct Write: Sendable {
        var namespace: String
        var name: String
        var count: Int64
        var last: Timestamp
        var message: String
        /// nil: patch the one there is.
        var object: KubeObject?
    }

    private let client: any KubeClient
    private let clock: any KubeClock
    private let node: String
    private let component: String
    private let logger: Logger
    private let state = Mutex(State())
    private let queue: AsyncStream<Write>
    private let input: AsyncStream<Write>.Continuation

    fileprivate static let entryLimit = 1024
    fileprivate static let burst = 25.0
    fileprivate static let refillSeconds = 300.0
    fileprivate static let similarLimit = 10

    package init(
        client: any KubeClient, clock: any KubeClock, node: String, component: String = "kubelet", logger: Logger
    ) {
        (self.client, self.clock, self.node, self.component) = (client, clock, node, component)
        self.logger = logger
        (queue, input) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(256))
    }

    package func record(_ subject: EventSubject, _ kind: Kind, _ reason: String, _ message: String) {
        let now = clock.now()
        let message =
            message.utf8.count > 1024 ? String(decoding: message.utf8.prefix(1021), as: UTF8.self) + "..." : message
        let write = state.withLock { $0.correlate(subject, kind, reason, message, now, self) }
        if let write { input.yield(write) }
    }

    /// Writes what is recorded until it is cancelled.
    package func run() async {
        for await write in queue { await send(write) }
    }

    private func send(_ write: Write) async {
        do throws(APIError) {
            if let object = write.object {
                _ = try await client.create(.events, object)
                return
            }
            let patch: JSON = [
                "count": .int(write.count), "lastTimestamp": .string(write.last.rfc3339),
                "message": .string(write.message),
            ]
            _ = try await client.patch(
                .events, namespace: write.namespace, name: write.name, patch, type: .merge, subresource: nil)
        } catch {
            // A namespace that ends takes no events; anything else is worth a line, not a retry storm.
            if !error.isForbidden, !error.isNotFound { logger.debug("event not written: \(error.message)") }
            if error.isNotFound { forget(write.name) }
        }
    }

    private func forget(_ name: String) {
        state.withLock { state in
            if let key = state.entries.first(where: { $0.value.name == name })?.key { state.entries[key] = nil }
        }
    }

    fileprivate func object(_ key: Key, _ entry: Entry) -> KubeObject {
        var object = KubeObject(
            GroupVersionKind("", "v1", "Event"), name: entry.name,
            namespace: key.subject.namespace.isEmpty ? "default" : key.subject.namespace)
        var involved: JSON = [
            "kind": .string(key.subject.kind), "apiVersion": .string(key.subject.apiVersion),
            "name": .string(key.subject.name), "uid": .string(key.subject.uid),
        ]
        if !key.subject.namespace.isEmpty { involved["namespace"] = .string(key.subject.namespace) }
        if !key.subject.resourceVersion.isEmpty { involved["resourceVersion"] = .string(key.subject.resourceVersion) }
        if !key.subject.fieldPath.isEmpty { involved["fieldPath"] = .string(key.subject.fieldPath) }
        object["involvedObject"] = involved
        object["reason"] = .string(key.reason)
        object["message"] = .string(key.message)
        object["source"] = ["component": .string(component), "host": .string(node)]
        object["firstTimestamp"] = .string(entry.first.rfc3339)
        object["lastTimestamp"] = .string(entry.used.rfc3339)
        object["count"] = .int(entry.count)
        object["type"] = .string(key.kind.rawValue)
        object["reportingComponent"] = .string(component)
        object["reportingInstance"] = .string(node)
        return object
    }
}

extension NodeEvents.State {
    fileprivate mutating func correlate(
        _ subject: EventSubject, _ kind: NodeEvents.Kind, _ reason: String, _ message: String, _ now: Timestamp,
        _ recorder: NodeEvents
    ) -> NodeEvents.Write? {
        var message = message
        // More than ten different messages of one kind in ten minutes become one.
        let similarKey = NodeEvents.SimilarKey(uid: subject.uid, kind: kind, reason: reason)
        var group = similar[similarKey] ?? NodeEvents.Similar(since: now)
        if now.duration(since: group.since) > .seconds(600) { group = NodeEvents.Similar(since: now) }
        group.messages.insert(message.hashValue)
        similar[similarKey] = group
        if group.messages.count > NodeEvents.similarLimit {
            message = "(combined from similar events): " + message
        }
        var bucket = buckets[subject.uid] ?? NodeEvents.Bucket(tokens: NodeEvents.burst, updated: now)
        let passed = Double(now.nanoseconds - bucket.updated.nanoseconds) / 1e9
        bucket.tokens = min(bucket.tokens + passed / NodeEvents.refillSeconds, NodeEvents.burst)
        bucket.updated = now
        let allowed = bucket.tokens >= 1
        if allowed { bucket.tokens -= 1 }
        buckets[subject.uid] = bucket
        guard allowed else { return nil }

        var plain = subject
        plain.resourceVersion = ""
        let combined = group.messages.count > NodeEvents.similarLimit
        let key = NodeEvents.Key(subject: plain, kind: kind, reason: reason, message: combined ? "" : message)
        defer { bound(now) }
        if var entry = entries[key] {
            entry.count += 1
            entry.used = now
            entries[key] = entry
            return NodeEvents.Write(
                namespace: subject.namespace.isEmpty ? "default" : subject.namespace, name: entry.name,
                count: entry.count,
                last: now, message: message, object: nil)
        }
        let name = "\(subject.name).\(String(UInt64.random(in: .min ... .max), radix: 16))"
        let entry = NodeEvents.Entry(name: name, count: 1, first: now, used: now)
        entries[key] = entry
        var shown = key
        shown.subject.resourceVersion = subject.resourceVersion
        shown.message = message
        let object = recorder.object(shown, entry)
        return NodeEvents.Write(
            namespace: object.namespace, name: name, count: 1, last: now, message: message, object: object)
    }

    /// Forgets the older half where there is too much.
    private mutating func bound(_ now: Timestamp) {
        if entries.count > NodeEvents.entryLimit {
            let times = entries.values.map(\.used).sorted()
            let middle = times[times.count / 2]
            entries = entries.filter { $0.value.used > middle }
        }
        if buckets.count > NodeEvents.entryLimit {
            buckets = buckets.filter { now.duration(since: $0.value.updated) < .seconds(600) }
        }
        if similar.count > NodeEvents.entryLimit {
            similar = similar.filter { now.duration(since: $0.value.since) < .seconds(600) }
        }
    }
}
