internal import Codecs
package import KubeAPI

/// Keeps as many pods as a ReplicaSet, or a ReplicationController, asks for.
/// Source: k8s.io/kubernetes/pkg/controller/replicaset (behaviour). Because reads see every write that was acknowledged,
/// upstream's "expectations" have no counterpart here.
package struct ReplicaSetController: Controller {
    package let name: String
    package let concurrency = 4
    private let resource: GroupVersionResource
    private let kind: String
    private let client: any KubeClient
    private let clock: any KubeClock
    private let events: EventRecorder
    /// No more pods are made or removed in one go.
    static let burst = 500

    package init(client: any KubeClient, clock: any KubeClock) {
        self.init(client, clock, .replicaSets, kind: "ReplicaSet", name: "replicaset-controller")
    }

    /// The older kind, which differs in its selector's form only.
    package static func replicationControllers(client: any KubeClient, clock: any KubeClock) -> Self {
        Self(client, clock, .replicationControllers, kind: "ReplicationController", name: "replication-controller")
    }

    private init(
        _ client: any KubeClient, _ clock: any KubeClock, _ resource: GroupVersionResource, kind: String, name: String
    ) {
        (self.client, self.clock, self.resource, self.kind, self.name) = (client, clock, resource, kind, name)
        events = EventRecorder(client: client, clock: clock, component: name)
    }

    package var sources: [WatchSource] {
        [
            .own(resource), .owner(kind, of: .pods), .orphans(of: .pods),
        ]
    }

    package func expand(_ key: ObjectKey) async throws(APIError) -> [ObjectKey]? {
        try await Orphans.wanted(key, by: resource, client)
    }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        guard let set = try await client.getIfPresent(resource, namespace: key.namespace, name: key.name) else {
            return nil
        }
        let pods = try await PodClaims(client: client).claim(
            for: set, selector: try LabelSelector(workload: set))
        let active = pods.filter(\.isActivePod)
        var failure: APIError?
        if !set.isBeingDeleted {
            do throws(APIError) {
                try await scale(set, active)
            } catch {
                failure = error
            }
        }
        // Status counts what is there now, not what was before scaling.
        let now = try await PodClaims(client: client).owned(by: set)
        let again = try await updateStatus(
            set, now, failure, isShort: active.count < Int(set.spec["replicas"].int(or: 1)))
        if let failure { throw failure }
        return again
    }

    private func scale(_ set: KubeObject, _ active: [KubeObject]) async throws(APIError) {
        let wanted = Int(clamping: set.spec["replicas"].int(or: 1))
        let difference = wanted - active.count
        if difference > 0 {
            try await createPods(set, min(difference, Self.burst))
        } else if difference < 0 {
            let victims = PodRanking.victims(
                active, count: min(-difference, Self.burst), related: try await related(to: set, active),
                now: clock.now())
            try await concurrently(victims) { [client, events] pod throws(APIError) in
                guard try await client.deleteIfPresent(.pods, pod) else { return }
                await events.event(set, reason: "SuccessfulDelete", "Deleted pod: \(pod.name)")
            }
        }
    }

    /// In batches that double, so that a pod which the API refuses (quota) is refused once, not 500 times.
    private func createPods(_ set: KubeObject, _ count: Int) async throws(APIError) {
        var left = count
        var batch = 1
        while left > 0 {
            let n = min(batch, left)
            try await concurrently(Array(0..<n)) { [client, events] _ throws(APIError) in
                let pod = KubeObject.pod(from: set.spec["template"], generateName: set.name + "-", owner: set)
                do throws(APIError) {
                    let made = try await client.create(.pods, pod)
                    await events.event(set, reason: "SuccessfulCreate", "Created pod: \(made.name)")
                } catch {
                    // A namespace that is going away refuses everything: nothing to report.
                    if error.isForbidden, error.causes.contains(where: { $0.reason == "NamespaceTerminating" }) {
                        return
                    }
                    await events.event(
                        set, type: .warning, reason: "FailedCreate", "Error creating: \(error.message)")
                    throw error
                }
            }
            left -= n
            batch *= 2
        }
    }

    /// The pods of all sets of the same deployment: those that share a node with many of them go first.
    private func related(to set: KubeObject, _ own: [KubeObject]) async throws(APIError) -> [KubeObject] {
        guard let owner = set.controller, resource == .replicaSets else { return own }
        var family: Set<String> = []
        let options = ListOptions(claimant: owner.uid)
        for item in try await client.list(.replicaSets, namespace: set.namespace, options: options).items {
            let other = try item.decode()
            if other.controller?.uid == owner.uid { family.insert(other.uid) }
        }
        var pods: [KubeObject] = []
        for item in try await client.list(.pods, namespace: set.namespace).items {
            let pod = try item.decode()
            if let controller = pod.controller, family.contains(controller.uid), pod.isActivePod { pods.append(pod) }
        }
        return pods
    }

    private func updateStatus(
        _ set: KubeObject, _ owned: [KubeObject], _ failure: APIError?, isShort: Bool
    ) async throws(APIError) -> Duration? {
        let pods = owned.filter(\.isActivePod)
        let terminating = owned.filter(\.isTerminatingPod).count
        let now = clock.now()
        let minReady = set.spec["minReadySeconds"].int(or: 0)
        let template = LabelSelector.equal(set.spec["template"]["metadata"]["labels"].stringMap)
        var again: Duration?
        var (ready, available, labelled): (Int64, Int64, Int64) = (0, 0, 0)
        for pod in pods {
            if template.matches(pod.labels) { labelled += 1 }
            guard pod.isReadyPod else { continue }
            ready += 1
            let (isAvailable, after) = pod.podAvailability(minReadySeconds: minReady, now: now)
            if isAvailable { available += 1 }
            if let after { again = min(again ?? after, after) }
        }
        var status: JSON = ["replicas": .int(Int64(pods.count))]
        if labelled > 0 { status["fullyLabeledReplicas"] = .int(labelled) }
        if ready > 0 { status["readyReplicas"] = .int(ready) }
        if available > 0 { status["availableReplicas"] = .int(available) }
        status["observedGeneration"] = .int(set.generation)
        status["terminatingReplicas"] = .int(Int64(terminating))
        var conditions = set.status["conditions"]
        if let failure {
            // The first failure's text stays: each refusal names another pod, and every change would wake us again.
            if !conditions.elements.contains(where: { $0["type"].string == "ReplicaFailure" }) {
                setCondition(
                    &conditions, type: "ReplicaFailure", status: "True",
                    reason: isShort ? "FailedCreate" : "FailedDelete", message: failure.message, now: now)
            }
        } else if !conditions.isNull {
            let kept = conditions.elements.filter { $0["type"].string != "ReplicaFailure" }
            conditions = kept.isEmpty ? .null : .array(kept)
        }
        status["conditions"] = conditions
        try await client.writeStatus(status, of: set, resource)
        return again
    }
}
