package import Codecs
import Synchronization

/// Writes events (core/v1 Event) about objects. The same event again raises the count of the one there is; what comes
/// too fast about one object is dropped, so that a crashing pod cannot fill the store.
/// Source: k8s.io/client-go/tools/record (25 events at once per object, then one every 5 minutes).
package final class EventRecorder: Sendable {
    private struct Known {
        var name: String
        var count: Int64
        var used: UInt64
    }
    private struct Budget {
        var tokens: Double
        var at: Timestamp
    }
    private struct State {
        var known: [String: Known] = [:]
        var budgets: [String: Budget] = [:]
        var clock: UInt64 = 0
    }

    private let client: any KubeClient
    private let clock: any KubeClock
    private let component: String
    private let host: String
    private let state = Mutex(State())
    private static let remembered = 256

    package init(client: any KubeClient, clock: any KubeClock, component: String, host: String = "") {
        (self.client, self.clock, self.component, self.host) = (client, clock, component, host)
    }

    /// `fieldPath`: the part of the object that is meant, e.g. "spec.containers{app}".
    package func event(
        _ object: KubeObject, type: String = "Normal", reason: String, fieldPath: String = "", _ message: String
    ) async {
        let now = clock.now()
        let text = message.utf8.count > 1024 ? String(message.prefix(1000)) + "..." : message
        let id = [object.uid.isEmpty ? object.name : object.uid, fieldPath, type, reason, text].joined(
            separator: "\u{1}")
        enum Step {
            case drop
            case create(String)
            case count(String, Int64)
        }
        let step = state.withLock { state -> Step in
            state.clock += 1
            let owner = object.uid + object.name
            var budget = state.budgets[owner] ?? Budget(tokens: 25, at: now)
            budget.tokens = min(25, budget.tokens + Double(now.nanoseconds - budget.at.nanoseconds) / 300e9)
            budget.at = now
            defer {
                state.budgets[owner] = budget
                if state.budgets.count > Self.remembered { state.budgets = [owner: budget] }
            }
            guard budget.tokens >= 1 else { return .drop }
            budget.tokens -= 1
            if var known = state.known[id] {
                known.count += 1
                known.used = state.clock
                state.known[id] = known
                return .count(known.name, known.count)
            }
            if state.known.count >= Self.remembered {
                let middle = state.known.values.map(\.used).sorted()[Self.remembered / 2]
                state.known = state.known.filter { $0.value.used > middle }
            }
            let name = "\(object.name).\(String(UInt64(bitPattern: now.nanoseconds) &+ state.clock, radix: 16))"
            state.known[id] = Known(name: name, count: 1, used: state.clock)
            return .create(name)
        }
        let namespace = object.namespace.isEmpty ? "default" : object.namespace
        switch step {
        case .drop: return
        case .count(let name, let count):
            do throws(APIError) {
                _ = try await client.patch(
                    .events, namespace: namespace, name: name,
                    ["count": .int(count), "lastTimestamp": .string(now.rfc3339)], type: .merge, subresource: nil)
            } catch {
                if error.isNotFound { await create(name, id, namespace, object, type, reason, fieldPath, text, now) }
            }
        case .create(let name): await create(name, id, namespace, object, type, reason, fieldPath, text, now)
        }
    }

    private func create(
        _ name: String, _ id: String, _ namespace: String, _ object: KubeObject, _ type: String, _ reason: String,
        _ fieldPath: String, _ message: String, _ now: Timestamp
    ) async {
        var event = KubeObject(GroupVersionKind("", "v1", "Event"), name: name, namespace: namespace)
        var involved: JSON = ["kind": .string(object.kind), "name": .string(object.name)]
        if !object.namespace.isEmpty { involved["namespace"] = .string(object.namespace) }
        if !object.uid.isEmpty { involved["uid"] = .string(object.uid) }
        if !object.apiVersion.isEmpty { involved["apiVersion"] = .string(object.apiVersion) }
        if object.resourceVersion != 0 { involved["resourceVersion"] = .string(String(object.resourceVersion)) }
        if !fieldPath.isEmpty { involved["fieldPath"] = .string(fieldPath) }
        event["involvedObject"] = involved
        event["reason"] = .string(reason)
        event["message"] = .string(message)
        var source: JSON = ["component": .string(component)]
        if !host.isEmpty { source["host"] = .string(host) }
        event["source"] = source
        event["firstTimestamp"] = .string(now.rfc3339)
        event["lastTimestamp"] = .string(now.rfc3339)
        event["count"] = 1
        event["type"] = .string(type)
        event["reportingComponent"] = .string(component)
        event["reportingInstance"] = .string(host)
        do throws(APIError) {
            _ = try await client.create(.events, event)
        } catch {
            // An event is a courtesy: its object's namespace may be going away. The next one starts afresh.
            state.withLock { _ = $0.known.removeValue(forKey: id) }
        }
    }
}
