internal import Codecs
internal import KubeAPI
import Synchronization

extension Scheduler {
    /// The pod's node is known: its claims that waited for that get their volumes, or are told where to have them made.
    /// Room is kept on the node (`Nomination`); the pod is looked at again when its claims are bound.
    func reserveVolumes(_ attempt: Attempt, _ name: String) async throws(APIError) -> Duration? {
        let plan = state.withLock { state -> [(claim: KubeObject, volume: KubeObject?)]? in
            // Not parked for a reason: claims and volumes wake it.
            state.park(attempt.waiting, .volumes, clock.now())
            return state.cluster.slot(of: name).flatMap { attempt.volumes.plan(for: state.cluster.nodes[$0]) }
        }
        guard let plan else { return .milliseconds(10) }
        do throws(APIError) {
            for (claim, volume) in plan {
                if var volume {
                    if VolumeMatch.isFor(volume, claim) { continue }
                    volume.spec["claimRef"] = [
                        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": .string(claim.name),
                        "namespace": .string(claim.namespace), "uid": .string(claim.uid),
                        "resourceVersion": .string(String(claim.resourceVersion)),
                    ]
                    volume.annotations[VolumeMatch.boundByController] = "yes"
                    _ = try await client.update(.persistentVolumes, volume)
                } else if claim.annotations[VolumeMatch.selectedNode] != name {
                    var claim = claim
                    claim.annotations[VolumeMatch.selectedNode] = name
                    _ = try await client.update(.persistentVolumeClaims, claim)
                }
            }
        } catch {
            // Somebody was faster; the next attempt reads anew.
            state.withLock { _ = $0.nominations.removeValue(forKey: attempt.waiting.pod.id) }
            throw error
        }
        return Self.reconsider
    }
}
