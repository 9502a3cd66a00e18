internal import Codecs
internal import KubeAPI

/// Makes and removes the pods of a workload, with the events that upstream's controllers write about it.
/// Source: k8s.io/kubernetes/pkg/controller/controller_utils.go.
struct PodControl: Sendable {
    let client: any KubeClient
    let events: EventRecorder

    /// In batches that double, so that a pod which the API refuses (quota) is refused once, not 500 times. The first
    /// refusal ends it. Returns the pods that were made.
    @discardableResult
    func create(_ pods: [KubeObject], for owner: KubeObject) async throws(APIError) -> Int {
        var made = 0
        var batch = 1
        while made < pods.count {
            let n = min(batch, pods.count - made)
            try await concurrently(Array(pods[made..<made + n])) { pod throws(APIError) in
                try await create(pod, for: owner)
            }
            made += n
            batch *= 2
        }
        return made
    }

    func create(_ pod: KubeObject, for owner: KubeObject) async throws(APIError) {
        do throws(APIError) {
            let made = try await client.create(.pods, pod)
            await events.event(owner, reason: "SuccessfulCreate", "Created pod: \(made.name)")
        } catch {
            // A namespace that is going away refuses everything: nothing to report.
            if error.isForbidden, error.causes.contains(where: { $0.reason == "NamespaceTerminating" }) { return }
            await events.event(owner, type: .warning, reason: "FailedCreate", "Error creating: \(error.message)")
            throw error
        }
    }

    func delete(_ pods: [KubeObject], of owner: KubeObject) async throws(APIError) {
        try await concurrently(pods) { pod throws(APIError) in
            do throws(APIError) {
                try await client.delete(
                    .pods, namespace: pod.namespace, name: pod.name, options: DeleteOptions(uid: pod.uid))
                await events.event(owner, reason: "SuccessfulDelete", "Deleted pod: \(pod.name)")
            } catch {
                if error.isNotFound { return }
                await events.event(owner, type: .warning, reason: "FailedDelete", "Error deleting: \(error.message)")
                throw error
            }
        }
    }
}
