internal import Codecs
package import KubeAPI

/// Makes the claims of generic ephemeral volumes: named after pod and volume, owned by the pod, gone with it.
/// Source: KEP-1698, pkg/controller/volume/ephemeral.
package struct EphemeralClaims: Controller {
    package let name = "ephemeral-volume-controller"
    private let client: any KubeClient
    private let events: EventRecorder

    package init(client: any KubeClient, clock: any KubeClock) {
        self.client = client
        events = EventRecorder(client: client, clock: clock, component: "ephemeral_volume")
    }

    package var sources: [WatchSource] {
        [
            WatchSource(.pods) { pod, kind in
                guard kind != .deleted, !pod.isBeingDeleted,
                    pod.spec["volumes"].elements.contains(where: { !$0["ephemeral"].isNull })
                else { return [] }
                return [pod.key]
            },
            // A claim that went too early is made again.
            WatchSource(.persistentVolumeClaims, needsMetadataOnly: true) { claim, kind in
                guard kind == .deleted, let owner = claim.controller, owner.kind == "Pod" else { return [] }
                return [ObjectKey(namespace: claim.namespace, name: owner.name)]
            },
        ]
    }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        guard let pod = try await client.getIfPresent(.pods, namespace: key.namespace, name: key.name),
            pod.isActivePod
        else { return nil }
        for volume in pod.spec["volumes"].elements where !volume["ephemeral"].isNull {
            guard let name = pod.claimName(of: volume) else { continue }
            if let there = try await client.getIfPresent(.persistentVolumeClaims, namespace: pod.namespace, name: name)
            {
                if there.controller?.uid != pod.uid {
                    await events.event(
                        pod, type: .warning, reason: "EphemeralVolumeCreationFailed",
                        "PVC \(pod.namespace)/\(name) was not created for pod \(pod.namespace)/\(pod.name) (pod is not "
                            + "owner)")
                }
                continue
            }
            let template = volume["ephemeral"]["volumeClaimTemplate"]
            var claim = KubeObject(
                GroupVersionKind("", "v1", "PersistentVolumeClaim"), name: name, namespace: pod.namespace)
            claim.metadata["labels"] = template["metadata"]["labels"]
            claim.metadata["annotations"] = template["metadata"]["annotations"]
            claim.ownerReferences = [OwnerReference(controller: pod)]
            claim.spec = template["spec"]
            do throws(APIError) {
                _ = try await client.create(.persistentVolumeClaims, claim)
            } catch {
                if error.isAlreadyExists { continue }
                await events.event(
                    pod, type: .warning, reason: "EphemeralVolumeCreationFailed",
                    "ephemeral volume \(volume["name"].string ?? ""): \(error.message)")
                throw error
            }
        }
        return nil
    }
}
