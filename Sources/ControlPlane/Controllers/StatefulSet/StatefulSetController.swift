internal import Codecs
package import KubeAPI

/// Keeps the numbered pods of a StatefulSet, each with its own name and its own claims, one after the other unless the set
/// allows them all at once. Source: k8s.io/kubernetes/pkg/controller/statefulset.
package struct StatefulSetController: Controller {
    package let name = "statefulset-controller"
    package let concurrency = 2
    let client: any KubeClient
    let clock: any KubeClock
    let events: EventRecorder

    package init(client: any KubeClient, clock: any KubeClock) {
        (self.client, self.clock) = (client, clock)
        events = EventRecorder(client: client, clock: clock, component: "statefulset-controller")
    }

    package var sources: [WatchSource] {
        [
            .own(.statefulSets), .owner("StatefulSet", of: .pods), .orphans(of: .pods),
            .owner("StatefulSet", of: .controllerRevisions, onlyDeleted: true),
        ]
    }

    package func expand(_ key: ObjectKey) async throws(APIError) -> [ObjectKey]? {
        try await Orphans.wanted(key, by: .statefulSets, client)
    }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        guard let set = try await client.getIfPresent(.statefulSets, namespace: key.namespace, name: key.name) else {
            return nil
        }
        let selector = try LabelSelector(json: set.spec["selector"])
        let claims = PodClaims(client: client, isEligible: { StatefulIdentity.ordinal(of: $0, in: set) != nil })
        let pods = try await claims.claim(for: set, selector: selector)
        let history = try await RevisionHistory.sync(
            set, selector: selector, hashLabel: "controller.kubernetes.io/hash",
            annotations: set.annotations.filter { $0.key != "kubectl.kubernetes.io/last-applied-configuration" },
            client)
        let known = set.status["currentRevision"].string ?? ""
        let plan = StatefulPlan(
            set: set, update: history.current,
            current: history.all.first { $0.name == known } ?? history.current, pods: pods, now: clock.now())
        var failure: APIError?
        if !set.isBeingDeleted {
            do throws(APIError) {
                try await carryOut(plan)
            } catch {
                failure = error
            }
        }
        // Status counts what is there now.
        var after = plan
        after.pods = try await claims.owned(by: set)
        let inUse = Set(after.pods.map(StatefulIdentity.revision)).union([plan.current.name])
        try await history.cleanUp(set, client, countsUsed: false) { inUse.contains($0.name) }
        try await client.writeStatus(after.status(collisions: history.collisions), of: set, .statefulSets)
        if let failure { throw failure }
        return after.nextAvailability
    }

    // MARK: - Steps

    private func carryOut(_ plan: StatefulPlan) async throws(APIError) {
        let isOrdered = plan.set.spec["podManagementPolicy"].string != "Parallel"
        for ordinal in plan.ordinals {
            if try await establish(ordinal, plan, isOrdered: isOrdered), isOrdered { return }
        }
        let condemned = plan.condemned
        for pod in condemned { try await fixClaims(of: pod, plan.set, isScaledDown: true) }
        let firstUnhealthy = plan.firstUnhealthy
        for pod in condemned {
            if pod.isBeingDeleted {
                if isOrdered { return }
                continue
            }
            // One after the other, but a sick one does not hold itself.
            if isOrdered, !plan.isAvailable(pod), pod.uid != firstUnhealthy?.uid { return }
            try await delete(pod, of: plan.set)
            if isOrdered { return }
        }
        for pod in plan.outdated(isOrdered: isOrdered) { try await delete(pod, of: plan.set) }
    }

    /// Brings one replica about. True: those after it have to wait.
    private func establish(_ ordinal: Int64, _ plan: StatefulPlan, isOrdered: Bool) async throws(APIError) -> Bool {
        let set = plan.set
        guard let pod = plan.replicas[ordinal] else {
            let pod = plan.newPod(ordinal)
            try await createClaims(for: pod, set)
            try await create(pod, for: set)
            return true
        }
        if pod.podPhase == "Failed" || pod.podPhase == "Succeeded" {
            guard !pod.isBeingDeleted else { return true }
            let hasFailed = pod.podPhase == "Failed"
            await events.event(
                set, type: hasFailed ? .warning : .normal,
                reason: hasFailed ? "RecreatingFailedPod" : "RecreatingTerminatedPod",
                "StatefulSet \(set.namespace)/\(set.name) is recreating \(hasFailed ? "failed" : "terminated") Pod "
                    + pod.name)
            try await delete(pod, of: set)
            return true
        }
        if pod.podPhase == "Pending", !pod.isBeingDeleted { try await createClaims(for: pod, set) }
        if isOrdered, pod.isBeingDeleted || !plan.isAvailable(pod) { return true }
        guard !pod.isBeingDeleted else { return true }
        try await fixIdentity(of: pod, set)
        try await fixClaims(of: pod, set, isScaledDown: false)
        return false
    }

    /// A pod that was adopted or relabelled gets its labels back.
    private func fixIdentity(of pod: KubeObject, _ set: KubeObject) async throws(APIError) {
        guard let ordinal = StatefulIdentity.ordinal(of: pod, in: set) else { return }
        let wanted = StatefulIdentity.labels(pod.name, ordinal)
        guard wanted.contains(where: { pod.labels[$0.key] != $0.value }) else { return }
        _ = try await client.patch(
            .pods, namespace: pod.namespace, name: pod.name,
            ["metadata": ["uid": .string(pod.uid), "labels": .map(wanted)]], type: .merge, subresource: nil)
    }

    private func create(_ pod: KubeObject, for set: KubeObject) async throws(APIError) {
        do throws(APIError) {
            _ = try await client.create(.pods, pod)
            await events.event(
                set, reason: "SuccessfulCreate", "create Pod \(pod.name) in StatefulSet \(set.name) successful")
        } catch {
            if error.isForbidden, error.causes.contains(where: { $0.reason == "NamespaceTerminating" }) { return }
            if !error.isAlreadyExists {
                await events.event(
                    set, type: .warning, reason: "FailedCreate",
                    "create Pod \(pod.name) in StatefulSet \(set.name) failed error: \(error.message)")
            }
            throw error
        }
    }

    private func delete(_ pod: KubeObject, of set: KubeObject) async throws(APIError) {
        guard try await client.deleteIfPresent(.pods, pod) else { return }
        await events.event(
            set, reason: "SuccessfulDelete", "delete Pod \(pod.name) in StatefulSet \(set.name) successful")
    }
}
