internal import Codecs
package import KubeAPI
internal import Store
import Synchronization

package struct WatchParameters: Sendable {
    package var list = ListParameters()
    package var bookmarks = false
    /// nil: as long as the client stays.
    package var timeoutSeconds: Int64?
    /// First an ADDED for each object there is, then a bookmark that says so.
    package var sendInitialEvents: Bool?
    package init() {}
}

extension Registry {
    package func watch(
        _ resource: ServedResource, namespace: String?, _ parameters: WatchParameters
    ) throws(APIError) -> ObjectWatch {
        let filter = try ObjectFilter(parameters.list, resource)
        let namespace = filter.namespace ?? namespace
        var prefix = resource.prefix(namespace: namespace)
        if let name = filter.name, !resource.namespaced || namespace?.isEmpty == false { prefix += name }
        var initial: ListPage?
        var from = parameters.list.resourceVersion ?? 0
        if parameters.sendInitialEvents ?? (from == 0) {
            var list = ListParameters()
            (list.labels, list.fields) = (parameters.list.labels, parameters.list.fields)
            if from > 0 { list.resourceVersion = from }
            let page = try self.list(resource, namespace: namespace, list)
            from = page.resourceVersion
            initial = page
        } else if from == 0 {
            from = store.revision
        }
        let source: StoreWatch
        do throws(StoreError) {
            source = try store.watch(prefix: prefix, from: from)
        } catch {
            if case .compacted(let oldest) = error {
                throw .expired("too old resource version: \(from) (\(oldest))")
            }
            throw apiError(error, resource, "")
        }
        let deadline = parameters.timeoutSeconds.map { clock.now().advanced(by: .seconds($0)) }
        let id: UInt64? =
            parameters.bookmarks || deadline != nil
            ? hub.add(source, bookmarks: parameters.bookmarks, deadline: deadline) : nil
        return ObjectWatch(
            registry: self, resource: resource, filter: filter, source: source, hubID: id, initial: initial,
            marksInitialEnd: parameters.sendInitialEvents == true && parameters.bookmarks)
    }
}

/// Whether events come so fast that who takes them one by one, a component of our own, does better to wait for a few: each
/// commit would wake a thread for it. A single event, and the first of many, are taken at once.
struct EventStorm: Sendable {
    static let rest = Duration.milliseconds(4)
    private static let quick = Duration.milliseconds(2)
    private static let enough = 16

    private var last: ContinuousClock.Instant?
    private var count = 0

    var rests: Bool { count >= Self.enough }

    mutating func add(_ events: Int, at now: ContinuousClock.Instant) {
        if rests {
            // It is over when resting gathers nothing.
            if events < 4 { count = 0 }
        } else {
            let isQuick = last.map { now - $0 < Self.quick } ?? false
            count = isQuick ? count + 1 : 0
        }
        last = now
    }
}

/// A running watch: the store's events as what they mean to somebody who sees the world through a selector.
/// One consumer at a time.
package final class ObjectWatch: WatchStream, Sendable {
    let registry: Registry
    let resource: ServedResource
    private let filter: ObjectFilter
    private let source: StoreWatch
    private let hubID: UInt64?
    private let queue: Mutex<Queue>

    private struct Queue {
        /// In reverse, so that the next one is the last.
        var events: [WatchEvent] = []
        var storm = EventStorm()
    }

    init(
        registry: Registry, resource: ServedResource, filter: ObjectFilter, source: StoreWatch, hubID: UInt64?,
        initial: ListPage?, marksInitialEnd: Bool
    ) {
        (self.registry, self.resource, self.filter) = (registry, resource, filter)
        (self.source, self.hubID) = (source, hubID)
        var events: [WatchEvent] = []
        if let initial {
            if marksInitialEnd {
                events.append(Self.bookmark(initial.resourceVersion, resource, initialEnd: true))
            }
            for item in initial.items.reversed() { events.append(WatchEvent(.added, item)) }
        }
        queue = Mutex(Queue(events: events))
    }

    deinit { close() }

    package func close() {
        source.cancel()
        if let hubID { registry.hub.remove(hubID) }
    }

    package func next() async throws(APIError) -> WatchEvent? {
        while true {
            let (event, rests) = queue.withLock { queue in
                let event = queue.events.popLast()
                return (event, event == nil && queue.storm.rests)
            }
            if let event { return event }
            // Cancelled: the store says so as well.
            if rests { try? await Task.sleep(for: EventStorm.rest) }
            guard let events = try await nextFromStore() else { return nil }
            queue.withLock { queue in
                queue.events = events.reversed()
                queue.storm.add(events.count, at: .now)
            }
        }
    }

    /// All that has come since, at least one; nil at the end.
    func nextBatch() async throws(APIError) -> [WatchEvent]? {
        let waiting = queue.withLock { queue in
            defer { queue.events = [] }
            return queue.events
        }
        if !waiting.isEmpty { return waiting.reversed() }
        while true {
            guard let events = try await nextFromStore() else { return nil }
            if !events.isEmpty { return events }
        }
    }

    private func nextFromStore() async throws(APIError) -> [WatchEvent]? {
        do throws(StoreError) {
            guard let events = try await source.next() else { return nil }
            var out: [WatchEvent] = []
            out.reserveCapacity(events.count)
            for event in events { if let seen = translate(event) { out.append(seen) } }
            return out
        } catch {
            throw registry.apiError(error, resource, "")
        }
    }

    private func translate(_ event: StoreEvent) -> WatchEvent? {
        switch event {
        case .put(let entry, let previous):
            let is_ = isSelected(entry)
            let was = previous.map(isSelected) ?? false
            if is_ { return WatchEvent(was ? .modified : .added, shown(entry.value, entry.modRevision)) }
            guard was, let previous else { return nil }
            let bytes = ObjectTemplate.replacingVersion(in: previous.value, with: entry.modRevision)
            return WatchEvent(.deleted, shown(bytes, entry.modRevision))
        case .delete(_, let revision, let previous):
            guard isSelected(previous) else { return nil }
            var bytes = previous.value
            if RawJSON.text(of: ["metadata", "resourceVersion"], in: bytes) != String(revision) {
                bytes = ObjectTemplate.replacingVersion(in: bytes, with: revision)
            }
            return WatchEvent(.deleted, shown(bytes, revision))
        case .progress(let revision):
            return Self.bookmark(revision, resource, initialEnd: false)
        }
    }

    private func isSelected(_ entry: StoreEntry) -> Bool { filter.matches(entry.value) }

    private func shown(_ bytes: [UInt8], _ revision: Int64) -> EncodedObject {
        let object = EncodedObject(bytes: bytes, resourceVersion: revision)
        return (try? registry.show(object, resource)) ?? object
    }

    private static func bookmark(_ revision: Int64, _ resource: ServedResource, initialEnd: Bool) -> WatchEvent {
        var metadata: JSON = ["resourceVersion": .string(String(revision))]
        if initialEnd { metadata["annotations"] = ["k8s.io/initial-events-end": "true"] }
        let object: JSON = [
            "kind": .string(resource.gvk.kind), "apiVersion": .string(resource.gvk.groupVersion.description),
            "metadata": metadata,
        ]
        return WatchEvent(.bookmark, EncodedObject(bytes: object.encode(), resourceVersion: revision))
    }
}
