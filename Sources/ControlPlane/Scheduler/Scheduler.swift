internal import Codecs
package import KubeAPI
import Synchronization

/// Chooses a node for each pod that has none.
///
/// A controller like the others: a key is a pod that waits. It differs in keeping `ClusterState`, fed by the same events;
/// a choice is entered there before it is written, so that two pods never count on the same room. Pods that fit nowhere
/// are parked until something changes that may help them (`SchedulerPlugins.helpedBy`), and are looked at again every
/// five minutes. Source: k8s.io/kubernetes/pkg/scheduler.
package final class Scheduler: Controller {
    package let name = "default-scheduler"
    package let concurrency = 8

    /// A pod that fitted nowhere.
    struct Parked {
        /// A changed pod is tried again.
        var generation: Int64
        var plugins: SchedulerPlugins
        var priority: Int32
        var attempts: Int64
        var tried: Timestamp
        /// How many of its claims were made.
        var claims = 0
    }

    /// A pod that room is kept for: victims are on their way out, or its volumes are being made.
    struct Nomination {
        var node: String
        var pod: SchedulingPod
        /// The pod's status says so: when that says it no longer, it is over.
        var isWritten = false
    }

    struct State {
        var cluster = ClusterState()
        var parked: [ObjectKey: Parked] = [:]
        /// Woken and not looked at yet.
        var woken: Set<ObjectKey> = []
        var nominations: [PodID: Nomination] = [:]
        /// Breaks ties between equal nodes in turn.
        var turn = 0
        /// Where the search for nodes goes on, where not all are looked at.
        var start = 0
        var devices = DeviceUse()
        /// Counts changes of what is read anew for each attempt.
        var outside: Int64 = 0
    }

    let client: any KubeClient
    let events: EventRecorder
    let clock: any KubeClock
    let state = Mutex(State())
    let defaults: SpreadDefaults
    let profiles: [SchedulerProfile]
    static let reconsider = Duration.seconds(300)

    package init(
        client: any KubeClient, clock: any KubeClock, profiles: [SchedulerProfile] = [SchedulerProfile()]
    ) {
        (self.client, self.clock, self.profiles) = (client, clock, profiles)
        events = EventRecorder(client: client, clock: clock, component: "default-scheduler")
        defaults = SpreadDefaults(client: client)
    }

    package var sources: [WatchSource] {
        var sources = [
            WatchSource(.nodes, relisting: { [self] in state.withLock { $0.cluster.forgetNodes() } }) {
                [self] node, kind in
                state.withLock { $0.wake($0.cluster.update(node: node, deleted: kind == .deleted)) }
            },
            WatchSource(.pods, relisting: { [self] in state.withLock { $0.cluster.forgetPods() } }) {
                [self] pod, kind in observe(pod, deleted: kind == .deleted, added: kind == .added)
            },
            WatchSource(.namespaces, needsMetadataOnly: true) { [self] _, _ in
                state.withLock { $0.wake(.namespaceLabels) }
            },
            WatchSource(.services, needsMetadataOnly: true) { [defaults] service, _ in
                defaults.forget(namespace: service.namespace)
                return []
            },
        ]
        for resource in [
            GroupVersionResource.persistentVolumeClaims, .persistentVolumes, .storageClasses, .csiNodes,
            .csiStorageCapacities,
        ] {
            sources.append(
                WatchSource(resource, needsMetadataOnly: true) { [self] _, _ in state.withLock { $0.wake(.storage) } })
        }
        sources.append(
            WatchSource(.resourceClaims, relisting: { [self] in state.withLock { $0.devices.forget() } }) {
                [self] claim, kind in
                state.withLock { state in
                    state.devices.update(claim, deleted: kind == .deleted)
                    return state.wake(.devices)
                }
            })
        for resource in [GroupVersionResource.resourceSlices, .deviceClasses] {
            sources.append(
                WatchSource(resource, needsMetadataOnly: true) { [self] _, _ in state.withLock { $0.wake(.devices) } })
        }
        return sources
    }

    private func observe(_ pod: KubeObject, deleted: Bool, added: Bool) -> [ObjectKey] {
        state.withLock { state in
            var keys = state.wake(state.cluster.update(pod: pod, deleted: deleted))
            let waits = !deleted && isOurs(pod)
            if !waits {
                state.parked[pod.key] = nil
                state.woken.remove(pod.key)
                if !state.nominations.isEmpty { state.nominations[PodID(pod.uid)] = nil }
                return keys
            }
            if let node = pod.status["nominatedNodeName"].string, !node.isEmpty {
                state.nominations[PodID(pod.uid)] = Nomination(node: node, pod: SchedulingPod(pod), isWritten: true)
            } else if !state.nominations.isEmpty, state.nominations[PodID(pod.uid)]?.isWritten == true {
                state.nominations[PodID(pod.uid)] = nil
            }
            let parked = state.parked[pod.key]
            let hasNewClaims =
                parked?.plugins.contains(.devices) == true
                && parked?.claims != pod.status["resourceClaimStatuses"].elements.count
            if added || parked?.generation != pod.generation || hasNewClaims { keys.append(pod.key) }
            return keys
        }
    }

    func isOurs(_ pod: KubeObject) -> Bool {
        (pod.spec["nodeName"].string ?? "").isEmpty && pod.isActivePod && profile(of: pod) != nil
            && pod.spec["schedulingGates"].elements.isEmpty
    }
    func profile(of pod: KubeObject) -> SchedulerProfile? {
        let name = pod.spec["schedulerName"].string ?? "default-scheduler"
        return profiles.first { $0.name == name }
    }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        guard let object = try await client.getIfPresent(.pods, namespace: key.namespace, name: key.name),
            let profile = profile(of: object), isOurs(object)
        else { return nil }
        let now = clock.now()
        if let wait = state.withLock({ $0.backoff(key, now, profile) }) { return wait }
        let outside = state.withLock { $0.outside }
        let attempt = try await prepare(object, profile)
        let choice = state.withLock { choose(attempt, &$0, now) }
        switch choice {
        case .node(let node, let plan):
            if !attempt.volumes.delayed.isEmpty { return try await reserveVolumes(attempt, node) }
            if !attempt.devices.isEmpty { try await reserveDevices(attempt, plan) }
            try await bind(attempt, to: node)
            return nil
        case .none(let failure):
            // Its claims will be made in a moment.
            if attempt.devices.isEarly, state.withLock({ $0.parked[key]?.attempts ?? 0 }) < 3 { return .seconds(3) }
            try await fail(attempt, failure, now)
        }
        // What was read for the attempt may have changed before the pod was parked.
        let isStale = state.withLock { $0.outside != outside && $0.parked[key] != nil }
        return isStale && attempt.readsOutside ? .milliseconds(10) : Self.reconsider
    }

    private func bind(_ attempt: Attempt, to node: String) async throws(APIError) {
        let pod = attempt.object
        var binding = KubeObject(GroupVersionKind("", "v1", "Binding"), name: pod.name, namespace: pod.namespace)
        binding.metadata["uid"] = .string(pod.uid)
        binding["target"] = ["kind": "Node", "name": .string(node)]
        do throws(APIError) {
            _ = try await client.create(.pods, binding, subresource: "binding", name: pod.name)
        } catch {
            state.withLock { _ = $0.cluster.remove(PodID(pod.uid)) }
            // Where another scheduler was faster, the pod is on that one's node; the event may have come before.
            if let there = try await client.getIfPresent(.pods, namespace: pod.namespace, name: pod.name) {
                state.withLock { _ = $0.cluster.update(pod: there, deleted: false) }
                if !attempt.devices.isEmpty, isOurs(there) { await releaseDevices(attempt) }
            }
            throw error
        }
        await events.event(
            pod, reason: "Scheduled", "Successfully assigned \(pod.namespace)/\(pod.name) to \(node)")
    }
}

extension Scheduler.State {
    /// The parked pods that a change may help, the most important first.
    mutating func wake(_ change: ClusterChange) -> [ObjectKey] {
        if !change.isDisjoint(with: [.namespaceLabels, .storage, .devices]) { outside += 1 }
        guard !change.isEmpty, !parked.isEmpty else { return [] }
        let keys = parked.filter { !$0.value.plugins.helpedBy.isDisjoint(with: change) }
            .sorted { a, b in
                if a.value.priority != b.value.priority { return a.value.priority > b.value.priority }
                return a.value.tried == b.value.tried ? a.key < b.key : a.value.tried < b.value.tried
            }.map(\.key)
        woken.formUnion(keys)
        return keys
    }

    /// How long a pod that failed lately has to stand back, because others wait as well.
    mutating func backoff(_ key: ObjectKey, _ now: Timestamp, _ profile: SchedulerProfile) -> Duration? {
        woken.remove(key)
        guard woken.count > 8, let entry = parked[key], entry.attempts > 1 else { return nil }
        let seconds = min(profile.backoff.limit, profile.backoff.initial << min(entry.attempts - 1, 10))
        let until = entry.tried.advanced(by: .seconds(seconds))
        return until > now ? until.duration(since: now) : nil
    }

    mutating func park(
        _ waiting: WaitingPod, _ plugins: SchedulerPlugins, _ now: Timestamp, claims: Int = 0
    ) {
        let attempts = parked[waiting.pod.key]?.attempts ?? 0
        parked[waiting.pod.key] = Scheduler.Parked(
            generation: waiting.generation, plugins: plugins, priority: waiting.pod.priority, attempts: attempts + 1,
            tried: now, claims: claims)
    }
}
