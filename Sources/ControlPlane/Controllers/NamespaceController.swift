internal import Codecs
package import KubeAPI

/// Empties a namespace that is being deleted and then lets it go.
/// Source: k8s.io/kubernetes/pkg/controller/namespace (conditions, finalizer "kubernetes").
package struct NamespaceController: Controller {
    package let name = "namespace-controller"
    private let client: any KubeClient
    private let clock: any KubeClock
    /// Every namespaced resource there is, at the moment of the question: the table can grow.
    private let resources: @Sendable () -> [GroupVersionResource]

    package init(
        client: any KubeClient, clock: any KubeClock, resources: @escaping @Sendable () -> [GroupVersionResource]
    ) {
        (self.client, self.clock, self.resources) = (client, clock, resources)
    }

    package var sources: [WatchSource] {
        [
            WatchSource(.namespaces) { namespace, kind in
                namespace.isBeingDeleted && kind != .deleted ? [namespace.key] : []
            }
        ]
    }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        guard var namespace = try await client.getIfPresent(.namespaces, namespace: "", name: key.name),
            namespace.isBeingDeleted
        else { return nil }
        var left: [(GroupVersionResource, Int, [String: Int])] = []
        // Pods go first: what they use must outlive them.
        let ordered = resources().sorted { a, b in
            a.resource == "pods" && b.resource != "pods"
        }
        var waitsForPods = false
        for resource in ordered {
            if waitsForPods { break }
            var items = try await client.list(resource, namespace: key.name).decoded()
            guard !items.isEmpty else { continue }
            try await concurrently(items.filter { !$0.isBeingDeleted }) { [client] object throws(APIError) in
                do throws(APIError) {
                    try await client.delete(
                        resource, namespace: object.namespace, name: object.name,
                        options: DeleteOptions(uid: object.uid, propagation: .background))
                } catch {
                    if !error.isNotFound && !error.isConflict { throw error }
                }
            }
            items = try await client.list(resource, namespace: key.name).decoded()
            guard !items.isEmpty else { continue }
            var finalizers: [String: Int] = [:]
            for item in items { for finalizer in item.finalizers { finalizers[finalizer, default: 0] += 1 } }
            left.append((resource, items.count, finalizers))
            if resource == .pods { waitsForPods = true }
        }
        if left.isEmpty {
            namespace.spec["finalizers"] = .array(
                namespace.spec["finalizers"].elements.filter { $0.string != "kubernetes" })
            do throws(APIError) {
                _ = try await client.update(.namespaces, namespace, subresource: "finalize")
            } catch {
                if !error.isNotFound { throw error }
            }
            return nil
        }
        try await report(namespace, left)
        return .seconds(1)
    }

    private func report(
        _ namespace: KubeObject, _ left: [(GroupVersionResource, Int, [String: Int])]
    ) async throws(APIError) {
        let now = clock.now()
        var conditions = namespace.status["conditions"]
        let contents = left.map { "\($0.0.resource).\($0.0.group) has \($0.1) resource instances" }
            .joined(separator: ", ")
        setCondition(
            &conditions, type: "NamespaceDeletionDiscoveryFailure", status: "False", reason: "ResourcesDiscovered",
            message: "All resources successfully discovered", now: now)
        setCondition(
            &conditions, type: "NamespaceDeletionGroupVersionParsingFailure", status: "False",
            reason: "ParsedGroupVersions", message: "All legacy kube types successfully parsed", now: now)
        setCondition(
            &conditions, type: "NamespaceDeletionContentFailure", status: "False", reason: "ContentDeleted",
            message: "All content successfully deleted, may be waiting on finalization", now: now)
        setCondition(
            &conditions, type: "NamespaceContentRemaining", status: "True", reason: "SomeResourcesRemain",
            message: "Some resources are remaining: " + contents, now: now)
        var finalizers: [String: Int] = [:]
        for (_, _, more) in left { finalizers.merge(more, uniquingKeysWith: +) }
        if !finalizers.isEmpty {
            let text = finalizers.sorted { $0.key < $1.key }.map { "\($0.key) in \($0.value) resource instances" }
            setCondition(
                &conditions, type: "NamespaceFinalizersRemaining", status: "True", reason: "SomeFinalizersRemain",
                message: "Some content in the namespace has finalizers remaining: " + text.joined(separator: ", "),
                now: now)
        } else {
            setCondition(
                &conditions, type: "NamespaceFinalizersRemaining", status: "False",
                reason: "ContentHasNoFinalizers", message: "All content-preserving finalizers finished", now: now)
        }
        var status = namespace.status
        status["conditions"] = conditions
        try await client.writeStatus(status, of: namespace, .namespaces)
    }
}
