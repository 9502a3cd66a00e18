internal import Codecs
package import KubeAPI

/// Rolls a Deployment's template out through ReplicaSets.
/// Source: k8s.io/kubernetes/pkg/controller/deployment (behaviour, annotations, conditions, event texts).
///
///     Deployment ─▶ new ReplicaSet (this template) ─▶ scaled up   ┐ never more than replicas + maxSurge,
///                └▶ old ReplicaSets (past templates) ─▶ scaled down ┘ never fewer available than replicas - maxUnavailable
package struct DeploymentController: Controller {
    package let name = "deployment-controller"
    package let concurrency = 2
    let client: any KubeClient
    let clock: any KubeClock
    let events: EventRecorder

    package init(client: any KubeClient, clock: any KubeClock) {
        (self.client, self.clock) = (client, clock)
        events = EventRecorder(client: client, clock: clock, component: "deployment-controller")
    }

    package var sources: [WatchSource] {
        [
            .own(.deployments), .owner("Deployment", of: .replicaSets),
            // Recreate waits for the last old pod to be gone.
            WatchSource(.pods) { pod, kind in
                guard kind == .deleted, let owner = pod.controller, owner.kind == "ReplicaSet",
                    let dash = owner.name.lastIndex(of: "-")
                else { return [] }
                return [ObjectKey(namespace: pod.namespace, name: String(owner.name[..<dash]))]
            },
        ]
    }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        guard let deployment = try await client.getIfPresent(.deployments, namespace: key.namespace, name: key.name)
        else { return nil }
        let selector = try LabelSelector(json: deployment.spec["selector"])
        if selector.isEverything {
            await events.event(
                deployment, type: .warning, reason: "SelectingAll",
                "This deployment is selecting all pods. A non-empty selector is required.")
            return nil
        }
        let sets = try await PodClaims(client: client, resource: .replicaSets).claim(
            for: deployment, selector: selector)
        var rollout = Rollout(deployment: deployment, sets: sets, clock: clock)
        if deployment.isBeingDeleted { return try await finish(&rollout) }

        if rollout.isPaused {
            rollout.markPaused()
            try await adoptRevision(&rollout, create: false)
            try await scaleToSize(&rollout)
            try await cleanUp(&rollout)
            return try await finish(&rollout)
        }
        rollout.markResumed()
        if rollout.isScalingEvent {
            try await adoptRevision(&rollout, create: false)
            try await scaleToSize(&rollout)
            return try await finish(&rollout)
        }
        if rollout.deployment.spec["strategy"]["type"].string == "Recreate" {
            try await recreate(&rollout)
        } else {
            try await roll(&rollout)
        }
        if rollout.isComplete { try await cleanUp(&rollout) }
        return try await finish(&rollout)
    }

    // MARK: - Strategies

    private func roll(_ rollout: inout Rollout) async throws(APIError) {
        try await adoptRevision(&rollout, create: true)
        guard let new = rollout.new else { return }
        let wanted = rollout.newReplicaSetSize()
        if wanted != new.specReplicas {
            try await scale(new, to: wanted, &rollout)
            return
        }
        for (set, size) in rollout.oldReplicaSetSizes() { try await scale(set, to: size, &rollout) }
    }

    private func recreate(_ rollout: inout Rollout) async throws(APIError) {
        try await adoptRevision(&rollout, create: false)
        let active = rollout.old.filter { $0.specReplicas > 0 }
        if !active.isEmpty {
            for set in active { try await scale(set, to: 0, &rollout) }
            return
        }
        if try await oldPodsRun(rollout) { return }
        try await adoptRevision(&rollout, create: true)
        if let new = rollout.new, new.specReplicas != rollout.replicas {
            try await scale(new, to: rollout.replicas, &rollout)
        }
    }

    private func oldPodsRun(_ rollout: Rollout) async throws(APIError) -> Bool {
        let old = Set(rollout.old.map(\.uid))
        for item in try await client.list(.pods, namespace: rollout.deployment.namespace).items {
            let pod = try item.decode()
            guard let owner = pod.controller, old.contains(owner.uid) else { continue }
            if pod.podPhase != "Succeeded" && pod.podPhase != "Failed" { return true }
        }
        return false
    }

    /// Only the size changed (or the rollout is paused): keep the shape of a rollout that is under way.
    private func scaleToSize(_ rollout: inout Rollout) async throws(APIError) {
        for (set, size) in rollout.proportionalSizes() { try await scale(set, to: size, &rollout) }
    }

    // MARK: - Revisions

    /// Finds the ReplicaSet of the template and gives it the newest revision number; makes it if `create`.
    private func adoptRevision(_ rollout: inout Rollout, create: Bool) async throws(APIError) {
        let revision = (rollout.old.map(\.revision).max() ?? 0) + 1
        if let new = rollout.new {
            var updated = new
            updated.inheritAnnotations(from: rollout.deployment)
            if updated.revision < revision { updated.renumber(revision) }
            updated.spec["minReadySeconds"] = rollout.deployment.spec["minReadySeconds"]
            if updated != new { rollout.new = try await client.update(.replicaSets, updated) }
            rollout.deploymentRevision = max(revision, updated.revision)
            rollout.found(new)
        } else if create {
            try await createReplicaSet(&rollout, revision)
            rollout.deploymentRevision = revision
        } else {
            return
        }
        if rollout.deployment.revision != rollout.deploymentRevision {
            // Through the status: it is no change of what was asked for.
            rollout.deployment = try await client.patch(
                .deployments, namespace: rollout.deployment.namespace, name: rollout.deployment.name,
                ["metadata": ["annotations": [Rollout.revisionKey: .string(String(rollout.deploymentRevision))]]],
                type: .merge, subresource: "status")
        }
    }

    private func createReplicaSet(_ rollout: inout Rollout, _ revision: Int64) async throws(APIError) {
        let set = rollout.replicaSet(revision: revision)
        do throws(APIError) {
            let made = try await client.create(.replicaSets, set)
            rollout.new = made
            rollout.created(made)
            if made.specReplicas > 0 {
                await events.event(
                    rollout.deployment, reason: "ScalingReplicaSet",
                    "Scaled up replica set \(made.name) from 0 to \(made.specReplicas)")
            }
        } catch {
            if error.isAlreadyExists {
                // Somebody else's set has the name: another hash next time.
                let there = try await client.get(.replicaSets, namespace: set.namespace, name: set.name)
                if there.controller?.uid == rollout.deployment.uid, Rollout.sameTemplate(there, rollout.deployment) {
                    rollout.new = there
                    return
                }
                var status = rollout.deployment.status
                status["collisionCount"] = .int(status["collisionCount"].int(or: 0) + 1)
                try await client.writeStatus(status, of: rollout.deployment, .deployments)
            } else {
                rollout.failed(error)
                try await writeStatus(rollout)
            }
            throw error
        }
    }

    private func scale(_ set: KubeObject, to size: Int64, _ rollout: inout Rollout) async throws(APIError) {
        var updated = set
        updated.spec["replicas"] = .int(size)
        updated.setSizes(desired: rollout.replicas, max: rollout.replicas + rollout.maxSurge)
        guard updated != set else { return }
        let stored = try await client.update(.replicaSets, updated)
        rollout.replace(stored)
        if size != set.specReplicas {
            let verb = size > set.specReplicas ? "up" : "down"
            await events.event(
                rollout.deployment, reason: "ScalingReplicaSet",
                "Scaled \(verb) replica set \(set.name) from \(set.specReplicas) to \(size)")
        }
    }

    /// Old sets beyond the history limit go.
    private func cleanUp(_ rollout: inout Rollout) async throws(APIError) {
        let limit = rollout.deployment.spec["revisionHistoryLimit"].int(or: 10)
        let old = rollout.old.filter { !$0.isBeingDeleted }
        let excess = Int64(old.count) - limit
        guard excess > 0 else { return }
        for set in old.sorted(by: { $0.revision < $1.revision }).prefix(Int(clamping: excess))
        where set.specReplicas == 0 && set.status["replicas"].int(or: 0) == 0
            && set.status["observedGeneration"].int(or: 0) >= set.generation
        {
            try await client.deleteIfPresent(.replicaSets, set)
        }
    }

    // MARK: - Status

    private func finish(_ rollout: inout Rollout) async throws(APIError) -> Duration? {
        rollout.updateProgress()
        try await writeStatus(rollout)
        return rollout.nextProgressCheck
    }

    private func writeStatus(_ rollout: Rollout) async throws(APIError) {
        try await client.writeStatus(rollout.status(), of: rollout.deployment, .deployments)
    }
}
