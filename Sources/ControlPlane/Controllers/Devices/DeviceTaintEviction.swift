internal import Codecs
package import KubeAPI

/// Sends away pods whose devices have a NoExecute taint that their claims do not tolerate, or no longer.
/// A key is a claim, or all claims. Source: pkg/controller/devicetainteviction, KEP-5055.
package struct DeviceTaintEviction: Controller {
    package let name = "device-taint-eviction-controller"
    private let client: any KubeClient
    private let clock: any KubeClock
    private let events: EventRecorder

    package init(client: any KubeClient, clock: any KubeClock) {
        (self.client, self.clock) = (client, clock)
        events = EventRecorder(client: client, clock: clock, component: "device_taint_eviction")
    }

    private static let all = ObjectKey(namespace: "", name: "\u{1}all")

    package var sources: [WatchSource] {
        [
            WatchSource(.resourceClaims) { claim, kind in
                kind == .deleted || claim.status["reservedFor"].elements.isEmpty ? [] : [claim.key]
            },
            WatchSource(.resourceSlices) { slice, kind in
                let isTainted = slice.spec["devices"].elements.contains { !Self.taints(of: $0).isEmpty }
                return kind == .deleted || !isTainted ? [] : [Self.all]
            },
        ]
    }

    package func expand(_ key: ObjectKey) async throws(APIError) -> [ObjectKey]? {
        guard key == Self.all else { return nil }
        return try await client.list(.resourceClaims).decoded()
            .filter { !$0.status["reservedFor"].elements.isEmpty }.map(\.key)
    }

    private static func taints(of device: JSON) -> [JSON] {
        device["taints"].elements.filter { $0["effect"].string == "NoExecute" }
    }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        guard let claim = try await client.getIfPresent(.resourceClaims, namespace: key.namespace, name: key.name)
        else { return nil }
        let users = claim.status["reservedFor"].elements
        let results = claim.status["allocation"]["devices"]["results"].elements
        guard !users.isEmpty, !results.isEmpty else { return nil }
        let inventory = DeviceInventory(try await client.list(.resourceSlices).decoded())
        var due: Timestamp?
        for result in results {
            guard let i = inventory.index[DeviceID(result)] else { continue }
            for taint in Self.taints(of: inventory.devices[i].json) {
                guard let end = Self.end(of: taint, result["tolerations"].elements, clock.now()) else { continue }
                due = min(due ?? end, end)
            }
        }
        guard let due else { return nil }
        let now = clock.now()
        if due > now { return due.duration(since: now) }
        for user in users where user["resource"].string == "pods" { try await evict(user, key.namespace) }
        return nil
    }

    /// Until when a taint is put up with; nil: for ever.
    static func end(of taint: JSON, _ tolerations: [JSON], _ now: Timestamp) -> Timestamp? {
        let matching = tolerations.filter { Toleration($0).tolerates(Taint(taint)) }
        let since = taint["timeAdded"].string.flatMap { Timestamp($0) } ?? now
        if matching.isEmpty { return since }
        let limits = matching.compactMap { $0["tolerationSeconds"].int }
        return limits.min().map { since.advanced(by: .seconds(max(0, $0))) }
    }

    private func evict(_ user: JSON, _ namespace: String) async throws(APIError) {
        guard let pod = try await client.getIfPresent(.pods, namespace: namespace, name: user["name"].string ?? ""),
            pod.uid == user["uid"].string, pod.isActivePod, !pod.isBeingDeleted
        else { return }
        do throws(APIError) {
            _ = try await client.changeStatus(of: pod, .pods) { pod in
                var conditions = pod.status["conditions"]
                setCondition(
                    &conditions, type: "DisruptionTarget", status: "True", reason: "DeletionByDeviceTaintManager",
                    message: "Device Taint manager: deleting due to NoExecute taint", now: clock.now())
                pod.status["conditions"] = conditions
            }
            await events.event(pod, reason: "DeviceTaintManagerEviction", "Marking for deletion")
            try await client.delete(
                .pods, namespace: namespace, name: pod.name, options: DeleteOptions(uid: pod.uid))
        } catch {
            if !error.isNotFound { throw error }
        }
    }
}
