internal import Codecs
internal import KubeAPI
import Synchronization

extension Scheduler {
    /// A pod and all that has to be read for it before a node is chosen.
    struct Attempt {
        let object: KubeObject
        let profile: SchedulerProfile
        var waiting: WaitingPod
        var namespaces: NamespaceLabels = [:]
        var volumes = VolumeNeeds()
        var devices = DeviceNeeds()
        var readsOutside = false
    }

    enum Choice {
        /// With what the pod's claims get there.
        case node(String, [(claim: KubeObject, allocation: JSON)])
        case none(Failure)
    }

    /// Why a pod has no node.
    struct Failure {
        var total = 0
        var reasons: [String: Int] = [:]
        /// Instead of reasons: said before any node was asked.
        var general: String?
        var plugins: SchedulerPlugins = []
        /// Nodes where somebody's going might help.
        var hopeful: [Int] = []
    }

    func prepare(_ object: KubeObject, _ profile: SchedulerProfile) async throws(APIError) -> Attempt {
        var attempt = Attempt(object: object, profile: profile, waiting: WaitingPod(object))
        let pod = attempt.waiting.pod
        let (hasSeveralNodes, othersSelectNamespaces) = state.withLock { state in
            (
                state.cluster.nodeCount > 1,
                state.cluster.classes.withAffinity.contains { state.cluster.classes[$0].affinity.needsNamespaces }
            )
        }
        if othersSelectNamespaces || pod.podClass.affinity.needsNamespaces {
            attempt.readsOutside = true
            for item in try await client.list(.namespaces).items {
                guard let namespace = item.decodeMetadata() else { continue }
                attempt.namespaces[namespace.name] = LabelSet(namespace.metadata["labels"])
            }
        }
        if !pod.podClass.volumes.isEmpty {
            attempt.readsOutside = true
            attempt.volumes = try await VolumeNeeds.read(pod, object, client)
        }
        if !object.spec["resourceClaims"].elements.isEmpty {
            attempt.readsOutside = true
            attempt.devices = try await DeviceNeeds.read(object, client)
        }
        if hasSeveralNodes, attempt.waiting.spread.isEmpty, profile.weights["PodTopologySpread"] != nil {
            attempt.waiting.spread = try await defaults.constraints(for: attempt.waiting, profile)
        }
        return attempt
    }

    func choose(_ attempt: Attempt, _ state: inout State, _ now: Timestamp) -> Choice {
        let waiting = attempt.waiting
        var failure = Failure(total: state.cluster.nodeCount)
        if let text = attempt.volumes.failure {
            failure.general = text
            failure.plugins = .volumes
            state.park(waiting, .volumes, now)
            return .none(failure)
        }
        var devices = attempt.devices
        let claims = attempt.object.status["resourceClaimStatuses"].elements.count
        if !devices.isEmpty, let text = devices.settle(state.devices) {
            failure.general = text
            failure.plugins = .devices
            state.park(waiting, .devices, now, claims: claims)
            return .none(failure)
        }
        var filters = NodeFilters(
            waiting, state.cluster, namespaces: attempt.namespaces, volumes: attempt.volumes, devices: devices,
            profile: attempt.profile)
        var feasible: [Int] = []
        let nominated = state.nominations[waiting.pod.id]?.node ?? waiting.nominated
        if let i = state.cluster.slot(of: nominated),
            Self.refusal(i, &state.cluster, &filters, state.nominations) == nil
        {
            feasible = [i]
        } else if let names = waiting.selection.names {
            // Nodes that are not even named have nothing to say.
            let named = names.compactMap { state.cluster.slot(of: $0) }.sorted()
            for i in named { ask(i, &state, &filters, &feasible, &failure) }
            failure.plugins.insert(.nodeAffinity)
        } else {
            let count = state.cluster.rooms.count
            let enough = attempt.profile.enough(of: state.cluster.nodeCount)
            let start = count > 0 && enough < count ? state.start % count : 0
            var asked = 0
            while asked < count, feasible.count < enough {
                let i = start + asked < count ? start + asked : start + asked - count
                asked += 1
                if state.cluster.rooms[i].exists { ask(i, &state, &filters, &feasible, &failure) }
            }
            if enough < count { state.start = start + asked }
        }
        guard let best = pick(attempt, feasible, &state) else {
            state.park(waiting, failure.plugins, now, claims: claims)
            return .none(failure)
        }
        state.parked[waiting.pod.key] = nil
        let node = state.cluster.nodes[best].name
        var plan: [(claim: KubeObject, allocation: JSON)] = []
        if attempt.volumes.delayed.isEmpty {
            state.nominations[waiting.pod.id] = nil
            if !devices.isEmpty { plan = devices.plan(for: state.cluster.nodes[best]) }
            for (claim, allocation) in plan { state.devices.decide(claim, allocation) }
            state.cluster.place(waiting.pod, on: node, assumed: true)
        } else {
            state.nominations[waiting.pod.id] = Nomination(node: node, pod: waiting.pod)
        }
        return .node(node, plan)
    }

    private func ask(
        _ i: Int, _ state: inout State, _ filters: inout NodeFilters, _ feasible: inout [Int], _ failure: inout Failure
    ) {
        guard let refusal = Self.refusal(i, &state.cluster, &filters, state.nominations) else {
            feasible.append(i)
            return
        }
        for reason in refusal.reasons { failure.reasons[reason, default: 0] += 1 }
        failure.plugins.formUnion(refusal.plugin)
        if !refusal.isHopeless { failure.hopeful.append(i) }
    }

    /// A node must do with the pods that room is kept for, and without them: they may never come.
    static func refusal(
        _ i: Int, _ cluster: inout ClusterState, _ filters: inout NodeFilters, _ nominations: [PodID: Nomination]
    ) -> Refusal? {
        if !nominations.isEmpty {
            let own = filters.waiting.pod
            let name = cluster.nodes[i].name
            var kept: [ClusterState.Placed] = []
            for (id, nomination) in nominations
            where nomination.node == name && id != own.id && nomination.pod.priority >= own.priority {
                let placed = cluster.try(nomination.pod, on: i)
                filters.adjust(placed, 1, cluster)
                kept.append(placed)
            }
            if !kept.isEmpty {
                let refusal = filters.refusal(of: i, cluster)
                for placed in kept {
                    filters.adjust(placed, -1, cluster)
                    cluster.undo(placed)
                }
                if let refusal { return refusal }
            }
        }
        return filters.refusal(of: i, cluster)
    }

    private func pick(_ attempt: Attempt, _ feasible: [Int], _ state: inout State) -> Int? {
        guard feasible.count > 1 else { return feasible.first }
        let scores = NodeScores(waiting: attempt.waiting, profile: attempt.profile, namespaces: attempt.namespaces)
        let sums = scores.sums(state.cluster, feasible: feasible)
        guard let highest = sums.max() else { return nil }
        let count = sums.count { $0 == highest }
        state.turn &+= 1
        var skip = state.turn % count
        for (at, sum) in sums.enumerated() where sum == highest {
            if skip == 0 { return feasible[at] }
            skip -= 1
        }
        return nil
    }
}

extension ClusterState {
    /// Counts a pod on a node for a moment.
    mutating func `try`(_ pod: SchedulingPod, on i: Int) -> Placed {
        let placed = Placed(
            node: Int32(i), podClass: enterClass(pod.podClass), priority: pod.priority, isLeaving: false,
            isPreempted: false, started: pod.started)
        count(placed, 1)
        return placed
    }
    mutating func undo(_ placed: Placed) {
        count(placed, -1)
        leaveClass(placed.podClass)
    }
}
