internal import Codecs
package import KubeAPI

/// The past templates of a DaemonSet or StatefulSet, kept as ControllerRevisions: what `kubectl rollout history` and
/// `rollout undo` read. Source: k8s.io/kubernetes/pkg/controller/history, KEP-503 of sig-apps.
struct RevisionHistory: Sendable {
    static let hashLabel = "controller-revision-hash"

    /// That of the template as it is now.
    var current: KubeObject
    /// Oldest first.
    var old: [KubeObject]
    /// How often a revision of the wanted name turned out to be another's.
    var collisions: Int64

    var all: [KubeObject] { old + [current] }

    /// What a revision remembers: a strategic merge patch that puts the template back.
    static func data(of owner: KubeObject) -> JSON {
        var template = owner.spec["template"]
        template["$patch"] = "replace"
        return ["spec": ["template": template]]
    }

    /// Finds or makes the revision of the owner's template and gives it the highest number.
    ///
    /// - Parameters:
    ///   - hashLabel: the label of a revision that holds its hash.
    ///   - annotations: what a new revision carries.
    static func sync(
        _ owner: KubeObject, selector: LabelSelector, hashLabel: String, annotations: [String: String],
        _ client: any KubeClient
    ) async throws(APIError) -> RevisionHistory {
        let known = try await PodClaims(client: client, resource: .controllerRevisions)
            .claim(for: owner, selector: selector)
            .sorted { ($0["revision"].int(or: 0), $0.name) < ($1["revision"].int(or: 0), $1.name) }
        let data = data(of: owner)
        var collisions = owner.status["collisionCount"].int(or: 0)
        if var current = known.last(where: { $0["data"] == data }) {
            let old = known.filter { $0.uid != current.uid }
            let next = (old.last?["revision"].int(or: 0) ?? 0) + 1
            if current["revision"].int(or: 0) < next {
                current["revision"] = .int(next)
                current = try await client.update(.controllerRevisions, current)
            }
            return RevisionHistory(current: current, old: old, collisions: collisions)
        }
        let next = (known.last?["revision"].int(or: 0) ?? 0) + 1
        while true {
            let hash = Rollout.templateHash(data, collisions: collisions)
            var revision = KubeObject(
                GroupVersionKind(.apps, "ControllerRevision"), name: "\(owner.name)-\(hash)",
                namespace: owner.namespace)
            var labels = owner.spec["template"]["metadata"]["labels"].stringMap
            labels[hashLabel] = hash
            revision.labels = labels
            revision.annotations = annotations
            revision.ownerReferences = [OwnerReference(controller: owner)]
            revision["data"] = data
            revision["revision"] = .int(next)
            do throws(APIError) {
                let made = try await client.create(.controllerRevisions, revision)
                return RevisionHistory(current: made, old: known, collisions: collisions)
            } catch {
                guard error.isAlreadyExists else { throw error }
                let there = try await client.get(
                    .controllerRevisions, namespace: owner.namespace, name: revision.name)
                if there.controller?.uid == owner.uid, there["data"] == data {
                    return RevisionHistory(current: there, old: known, collisions: collisions)
                }
                collisions += 1
            }
        }
    }

    /// Old revisions beyond the owner's limit go, but none that is `inUse`.
    ///
    /// - Parameter countsUsed: whether those in use count towards the limit (a DaemonSet's do, a StatefulSet's do not).
    func cleanUp(
        _ owner: KubeObject, _ client: any KubeClient, countsUsed: Bool, inUse: (KubeObject) -> Bool
    ) async throws(APIError) {
        let spare = old.filter { !inUse($0) }
        let limit = Int(clamping: owner.spec["revisionHistoryLimit"].int(or: 10))
        for revision in spare.prefix(max(0, (countsUsed ? old.count : spare.count) - limit)) {
            try await client.deleteIfPresent(.controllerRevisions, revision)
        }
    }
}

extension GroupVersionResource {
    package static let controllerRevisions = Self("apps", "v1", "controllerrevisions")
    package static let daemonSets = Self("apps", "v1", "daemonsets")
    package static let statefulSets = Self("apps", "v1", "statefulsets")
    package static let jobs = Self("batch", "v1", "jobs")
    package static let cronJobs = Self("batch", "v1", "cronjobs")
    package static let replicationControllers = Self("", "v1", "replicationcontrollers")
    package static let podDisruptionBudgets = Self("policy", "v1", "poddisruptionbudgets")
    package static let resourceQuotas = Self("", "v1", "resourcequotas")
    package static let horizontalPodAutoscalers = Self("autoscaling", "v2", "horizontalpodautoscalers")
}
