package import Codecs

/// What an event is about.
package struct EventSubject: Sendable, Hashable {
    package var kind: String
    package var apiVersion: String
    package var namespace: String
    package var name: String
    package var uid: String
    package var fieldPath: String
    package var resourceVersion: String

    package init(
        kind: String, apiVersion: String = "v1", namespace: String, name: String, uid: String, fieldPath: String = "",
        resourceVersion: String = ""
    ) {
        (self.kind, self.apiVersion, self.namespace, self.name) = (kind, apiVersion, namespace, name)
        (self.uid, self.fieldPath, self.resourceVersion) = (uid, fieldPath, resourceVersion)
    }

    /// As kubelets name their node: the name for its UID.
    package static func node(_ name: String) -> Self { Self(kind: "Node", namespace: "", name: name, uid: name) }

    /// `fieldPath`: the part of the object that is meant, e.g. "spec.containers{app}".
    package init(_ object: KubeObject, fieldPath: String = "") {
        self.init(
            kind: object.kind, apiVersion: object.apiVersion, namespace: object.namespace, name: object.name,
            uid: object.uid, fieldPath: fieldPath,
            resourceVersion: object.resourceVersion == 0 ? "" : String(object.resourceVersion))
    }
}

package enum EventType: String, Sendable { case normal = "Normal", warning = "Warning" }

/// What becomes of an event that is to be recorded: equal ones are counted in one object, similar ones (more than ten
/// messages with one reason in ten minutes) combined, and what one object may cause is bounded (25 at once, then one in
/// five minutes), so that a crashing pod cannot fill the store. Without IO; remembers a bounded number of events.
/// Source: k8s.io/client-go/tools/record/events_cache.go.
package struct EventCorrelator: Sendable {
    package struct Write: Sendable {
        let source: Source
        let subject: EventSubject
        let type: EventType
        let reason: String
        package let message: String
        package let name: String
        package let count: Int64
        let first: Timestamp
        package let last: Timestamp

        package var namespace: String { subject.namespace.isEmpty ? "default" : subject.namespace }
        package var isFirst: Bool { count == 1 }

        /// A merge patch that raises the count.
        package var patch: JSON {
            ["count": .int(count), "lastTimestamp": .string(last.rfc3339), "message": .string(message)]
        }

        /// The object to create; a later write needs it only where the first one's is gone.
        package var object: KubeObject {
            var event = KubeObject(GroupVersionKind("", "v1", "Event"), name: name, namespace: namespace)
            var involved: JSON = ["kind": .string(subject.kind), "name": .string(subject.name)]
            if !subject.namespace.isEmpty { involved["namespace"] = .string(subject.namespace) }
            if !subject.uid.isEmpty { involved["uid"] = .string(subject.uid) }
            if !subject.apiVersion.isEmpty { involved["apiVersion"] = .string(subject.apiVersion) }
            if !subject.resourceVersion.isEmpty { involved["resourceVersion"] = .string(subject.resourceVersion) }
            if !subject.fieldPath.isEmpty { involved["fieldPath"] = .string(subject.fieldPath) }
            event["involvedObject"] = involved
            event["reason"] = .string(reason)
            event["message"] = .string(message)
            var origin: JSON = ["component": .string(source.component)]
            if !source.host.isEmpty { origin["host"] = .string(source.host) }
            event["source"] = origin
            event["firstTimestamp"] = .string(first.rfc3339)
            event["lastTimestamp"] = .string(last.rfc3339)
            event["count"] = .int(count)
            event["type"] = .string(type.rawValue)
            event["reportingComponent"] = .string(source.component)
            event["reportingInstance"] = .string(source.host)
            return event
        }
    }

    /// Who tells.
    struct Source: Sendable {
        let component: String
        let host: String
    }

    private struct Key: Hashable {
        var subject: EventSubject
        var type: EventType
        var reason: String
        var message: String
    }
    private struct Entry {
        var name: String
        var count: Int64
        var first: Timestamp
        var used: Timestamp
    }
    private struct Bucket {
        var tokens: Double
        var updated: Timestamp
    }
    private struct Similar {
        var messages: Set<Int> = []
        var since: Timestamp
    }
    private struct SimilarKey: Hashable {
        var subject: String
        var type: EventType
        var reason: String
    }

    private let source: Source
    private let limit: Int
    private var entries: [Key: Entry] = [:]
    private var buckets: [String: Bucket] = [:]
    private var similar: [SimilarKey: Similar] = [:]

    static let messageLimit = 1024
    static let burst = 25.0
    static let refillSeconds = 300.0
    static let similarLimit = 10
    static let similarWindow = Duration.seconds(600)

    /// `component` and `host`: who tells. `limit`: events remembered.
    package init(component: String, host: String = "", limit: Int = 1024) {
        (source, self.limit) = (Source(component: component, host: host), limit)
    }

    /// nil: the subject has caused too many.
    package mutating func correlate(
        _ subject: EventSubject, _ type: EventType, _ reason: String, _ message: String, now: Timestamp
    ) -> Write? {
        let owner = subject.uid.isEmpty ? "\(subject.kind) \(subject.namespace)/\(subject.name)" : subject.uid
        var message = message
        if message.utf8.count > Self.messageLimit {
            message = String(decoding: message.utf8.prefix(Self.messageLimit - 3), as: UTF8.self) + "..."
        }
        let similarKey = SimilarKey(subject: owner, type: type, reason: reason)
        var group = similar[similarKey] ?? Similar(since: now)
        if now.duration(since: group.since) > Self.similarWindow { group = Similar(since: now) }
        let combined: Bool
        if group.messages.count > Self.similarLimit {
            combined = true
        } else {
            group.messages.insert(message.hashValue)
            combined = group.messages.count > Self.similarLimit
        }
        similar[similarKey] = group
        guard take(owner, now) else { return nil }

        var plain = subject
        plain.resourceVersion = ""
        let key = Key(subject: plain, type: type, reason: reason, message: combined ? "" : message)
        if combined { message = "(combined from similar events): " + message }
        var entry =
            entries[key]
            ?? Entry(
                name: "\(subject.name).\(String(UInt64.random(in: .min ... .max), radix: 16))", count: 0, first: now,
                used: now)
        entry.count += 1
        entry.used = now
        entries[key] = entry
        bound(now)
        return Write(
            source: source, subject: subject, type: type, reason: reason, message: message, name: entry.name,
            count: entry.count, first: entry.first, last: now)
    }

    /// The event is not there (any more): its like is created afresh.
    package mutating func forget(_ name: String) {
        if let key = entries.first(where: { $0.value.name == name })?.key { entries[key] = nil }
    }

    private mutating func take(_ owner: String, _ now: Timestamp) -> Bool {
        var bucket = buckets[owner] ?? Bucket(tokens: Self.burst, updated: now)
        let passed = Double(now.nanoseconds - bucket.updated.nanoseconds) / 1e9
        bucket.tokens = min(bucket.tokens + passed / Self.refillSeconds, Self.burst)
        bucket.updated = now
        let allowed = bucket.tokens >= 1
        if allowed { bucket.tokens -= 1 }
        buckets[owner] = bucket
        return allowed
    }

    /// Forgets the older half where there is too much.
    private mutating func bound(_ now: Timestamp) {
        if entries.count > limit {
            let times = entries.values.map(\.used).sorted()
            let middle = times[times.count / 2]
            entries = entries.filter { $0.value.used > middle }
        }
        // A full bucket is as good as none.
        if buckets.count > limit {
            buckets = buckets.filter {
                let passed = Double(now.nanoseconds - $0.value.updated.nanoseconds) / 1e9
                return $0.value.tokens + passed / Self.refillSeconds < Self.burst
            }
            if buckets.count > limit { buckets = [:] }
        }
        if similar.count > limit {
            similar = similar.filter { now.duration(since: $0.value.since) < Self.similarWindow }
            if similar.count > limit { similar = [:] }
        }
    }
}
