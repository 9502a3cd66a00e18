internal import Codecs
internal import KubeAPI
import Synchronization

extension Scheduler {
    /// Writes what the pod's claims get, and that they are for the pod. Where that fails, nothing is taken any more: the pod
    /// is not on the node, and the devices are free. Source: PreBind of the plugin DynamicResources.
    func reserveDevices(
        _ attempt: Attempt, _ plan: [(claim: KubeObject, allocation: JSON)]
    ) async throws(APIError) {
        var written: Set<String> = []
        do throws(APIError) {
            for claim in attempt.devices.claims {
                let allocation = plan.first { $0.claim.uid == claim.uid }?.allocation
                if allocation == nil, claim.isReserved(for: attempt.object) { continue }
                let now = try await reserve(claim, allocation, for: attempt.object)
                state.withLock { $0.devices.wrote(now) }
                written.insert(claim.uid)
            }
        } catch {
            state.withLock { state in
                _ = state.cluster.remove(PodID(attempt.object.uid))
                // Of what was written the event comes.
                for (claim, _) in plan where !written.contains(claim.uid) { state.devices.withdraw(claim) }
            }
            await releaseDevices(attempt)
            throw error
        }
    }

    private func reserve(
        _ claim: KubeObject, _ allocation: JSON?, for pod: KubeObject
    ) async throws(APIError) -> KubeObject {
        var claim = claim
        if allocation != nil, !claim.finalizers.contains(KubeObject.claimFinalizer) {
            claim.finalizers.append(KubeObject.claimFinalizer)
            claim = try await client.update(.resourceClaims, claim)
        }
        return try await client.changeStatus(of: claim, .resourceClaims) { current throws(APIError) in
            if current.isBeingDeleted {
                throw .conflict(.resourceClaims, current.name, "the claim is being deleted")
            }
            if let allocation {
                // Somebody else was faster.
                guard current.status["allocation"].isNull else { throw .modified(.resourceClaims, current.name) }
                current.status["allocation"] = allocation
            } else if current.status["allocation"].isNull {
                throw .modified(.resourceClaims, current.name)
            }
            if !current.isReserved(for: pod) { current.status["reservedFor"].append(pod.resourceClaimConsumer) }
        }
    }

    /// The pod did not get to its node: its claims are for others. What they got they keep, until nobody wants it.
    func releaseDevices(_ attempt: Attempt) async {
        for claim in attempt.devices.claims {
            guard
                let current = try? await client.getIfPresent(
                    .resourceClaims, namespace: claim.namespace, name: claim.name),
                current.uid == claim.uid, current.isReserved(for: attempt.object)
            else { continue }
            _ = try? await client.changeStatus(of: current, .resourceClaims) { current in
                let others = current.status["reservedFor"].elements.filter { $0["uid"].string != attempt.object.uid }
                current.status["reservedFor"] = others.isEmpty ? .null : .array(others)
            }
        }
    }

    /// A claim that nobody else uses has its devices where the pod cannot go: it gives them back, to get others.
    func deallocate(_ attempt: Attempt) async throws(APIError) {
        for claim in attempt.devices.claims where !claim.status["allocation"]["nodeSelector"].isNull {
            let users = claim.status["reservedFor"].elements
            guard users.allSatisfy({ $0["uid"].string == attempt.object.uid }) else { continue }
            var claim = claim
            claim.status["allocation"] = .null
            claim.status["reservedFor"] = .null
            claim.status["devices"] = .null
            _ = try await client.updateStatus(.resourceClaims, claim)
            return
        }
    }
}
