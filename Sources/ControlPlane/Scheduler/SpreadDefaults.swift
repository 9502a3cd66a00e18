internal import Codecs
internal import KubeAPI
import Synchronization

/// The constraints of pods that have none of their own: those of a service or a replicated workload are better apart.
/// Selectors of services and owners are kept for as long as pods of theirs come one after the other.
/// Source: pkg/scheduler/framework/plugins/podtopologyspread, helper.DefaultSelector.
final class SpreadDefaults: Sendable {
    private struct Known {
        var services: [String: [[LabelSet.Label]]] = [:]
        var owners: [String: LabelSelector] = [:]
    }
    private static let limit = 64
    private let client: any KubeClient
    private let known = Mutex(Known())

    init(client: any KubeClient) { self.client = client }

    func forget(namespace: String) {
        known.withLock { known in if !known.services.isEmpty { known.services[namespace] = nil } }
    }

    func constraints(
        for waiting: WaitingPod, _ profile: SchedulerProfile
    ) async throws(APIError) -> [SpreadConstraint] {
        if profile.defaultConstraints?.isEmpty == true { return [] }
        let selector = try await selector(for: waiting)
        if selector.isEverything { return [] }
        guard let list = profile.defaultConstraints else {
            return [
                SpreadConstraint(default: "kubernetes.io/hostname", maxSkew: 3, selector: selector),
                SpreadConstraint(default: "topology.kubernetes.io/zone", maxSkew: 5, selector: selector),
            ]
        }
        return list.map {
            var constraint = SpreadConstraint($0, labels: waiting.pod.labels)
            constraint.selector = selector
            return constraint
        }
    }

    /// Everything: neither a service nor a workload has the pod.
    private func selector(for waiting: WaitingPod) async throws(APIError) -> LabelSelector {
        var labels: [String: String] = [:]
        for selector in try await services(of: waiting.pod.namespace)
        where selector.allSatisfy({ waiting.pod.labels[$0.key] == $0.value }) {
            for label in selector { labels[label.key] = label.value }
        }
        var selector = LabelSelector.equal(labels)
        if let owner = waiting.owner, let own = try await self.owner(owner, waiting.pod.namespace), !own.matchesNothing
        {
            selector.requirements += own.requirements
        }
        return selector
    }

    private func services(of namespace: String) async throws(APIError) -> [[LabelSet.Label]] {
        if let known = known.withLock({ $0.services[namespace] }) { return known }
        var list: [[LabelSet.Label]] = []
        for item in try await client.list(.services, namespace: namespace).items {
            let selector = LabelSet(try item.decode().spec["selector"]).labels
            if !selector.isEmpty { list.append(selector) }
        }
        known.withLock { known in
            if known.services.count >= Self.limit { known.services = [:] }
            known.services[namespace] = list
        }
        return list
    }

    private func owner(_ owner: OwnerReference, _ namespace: String) async throws(APIError) -> LabelSelector? {
        let resource: GroupVersionResource
        switch (owner.apiVersion, owner.kind) {
        case ("v1", "ReplicationController"): resource = .replicationControllers
        case ("apps/v1", "ReplicaSet"): resource = .replicaSets
        case ("apps/v1", "StatefulSet"): resource = .statefulSets
        default: return nil
        }
        if let known = known.withLock({ $0.owners[owner.uid] }) { return known }
        guard let object = try await client.getIfPresent(resource, namespace: namespace, name: owner.name),
            let selector = try? LabelSelector(workload: object)
        else { return nil }
        known.withLock { known in
            if known.owners.count >= Self.limit { known.owners = [:] }
            known.owners[owner.uid] = selector
        }
        return selector
    }
}
