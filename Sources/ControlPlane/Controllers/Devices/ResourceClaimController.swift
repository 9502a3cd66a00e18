internal import Codecs
package import KubeAPI

/// Looks after ResourceClaims: makes those that pods ask for by template, takes pods that have ended out of `reservedFor`,
/// gives devices back that nobody uses, and deletes generated claims of finished pods.
///
/// A key is a pod, or a claim (`claimKey`). Source: pkg/controller/resourceclaim, KEP-4381.
package struct ResourceClaimController: Controller {
    package let name = "resource_claim"
    package let concurrency = 4
    private let client: any KubeClient
    private let events: EventRecorder

    static let podClaimName = "resource.kubernetes.io/pod-claim-name"

    package init(client: any KubeClient, clock: any KubeClock) {
        self.client = client
        events = EventRecorder(client: client, clock: clock, component: "resource_claim")
    }

    private static let prefix = "\u{1}claim:"
    static func claimKey(_ namespace: String, _ name: String) -> ObjectKey {
        ObjectKey(namespace: namespace, name: prefix + name)
    }

    package var sources: [WatchSource] {
        [
            WatchSource(.pods) { pod, kind in
                let entries = pod.spec["resourceClaims"].elements
                if entries.isEmpty { return [] }
                var keys = kind == .deleted ? [] : [pod.key]
                guard kind == .deleted || Self.isDone(pod) else { return keys }
                for entry in entries {
                    guard case .named(let name, _) = pod.resourceClaim(of: entry) else { continue }
                    keys.append(Self.claimKey(pod.namespace, name))
                }
                return keys
            },
            WatchSource(.resourceClaims) { claim, kind in
                if kind != .deleted { return [Self.claimKey(claim.namespace, claim.name)] }
                // One that went too early is made again.
                guard let owner = claim.controller, owner.kind == "Pod" else { return [] }
                return [ObjectKey(namespace: claim.namespace, name: owner.name)]
            },
        ]
    }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        if key.name.hasPrefix(Self.prefix) {
            try await reconcileClaim(key.namespace, String(key.name.dropFirst(Self.prefix.count)))
        } else if let pod = try await client.getIfPresent(.pods, namespace: key.namespace, name: key.name) {
            try await reconcilePod(pod)
        }
        return nil
    }

    /// Its containers do not run and will not.
    static func isDone(_ pod: KubeObject) -> Bool {
        pod.podPhase == "Succeeded" || pod.podPhase == "Failed"
            || pod.isBeingDeleted && (pod.spec["nodeName"].string ?? "").isEmpty
    }

    // MARK: - Pods

    private func reconcilePod(_ pod: KubeObject) async throws(APIError) {
        if pod.isBeingDeleted || Self.isDone(pod) { return }
        var made: [(entry: String, claim: String)] = []
        for entry in pod.spec["resourceClaims"].elements {
            let name = entry["name"].string ?? ""
            do throws(APIError) {
                if let claim = try await claim(for: entry, of: pod) { made.append((name, claim)) }
            } catch {
                await events.event(
                    pod, type: .warning, reason: "FailedResourceClaimCreation",
                    "PodResourceClaim \(name): \(error.message)")
                throw error
            }
        }
        if !made.isEmpty {
            _ = try await client.changeStatus(of: pod, .pods) { pod in
                var statuses = pod.status["resourceClaimStatuses"].elements
                for (entry, claim) in made {
                    statuses.removeAll { $0["name"].string == entry }
                    statuses.append(["name": .string(entry), "resourceClaimName": .string(claim)])
                }
                pod.status["resourceClaimStatuses"] = .array(statuses)
            }
        }
        if !(pod.spec["nodeName"].string ?? "").isEmpty { try await reserve(for: pod) }
    }

    /// The name of a claim that was made for the pod; nil: nothing had to be made.
    private func claim(for entry: JSON, of pod: KubeObject) async throws(APIError) -> String? {
        guard let templateName = entry["resourceClaimTemplateName"].string else { return nil }
        switch pod.resourceClaim(of: entry) {
        case .none: return nil
        case .named(let name, _):
            if let claim = try await client.getIfPresent(.resourceClaims, namespace: pod.namespace, name: name) {
                if let problem = pod.ownershipProblem(of: claim) { throw .badRequest(problem) }
                return nil
            }
        case .missing: break
        }
        let entryName = entry["name"].string ?? ""
        // Made before, and the pod's status was not written.
        for item in try await client.list(.resourceClaims, namespace: pod.namespace).items {
            guard let claim = item.decodeMetadata(), claim.controller?.uid == pod.uid, !claim.isBeingDeleted,
                claim.annotations[Self.podClaimName] == entryName
            else { continue }
            return claim.name
        }
        guard
            let template = try await client.getIfPresent(
                .resourceClaimTemplates, namespace: pod.namespace, name: templateName)
        else {
            throw .badRequest(
                "resource claim template \"\(templateName)\": resourceclaimtemplate.resource.k8s.io "
                    + "\"\(templateName)\" not found")
        }
        var claim = KubeObject(
            GroupVersionKind("resource.k8s.io", "v1", "ResourceClaim"), name: "", namespace: pod.namespace)
        claim.metadata["name"] = .null
        claim.metadata["generateName"] = .string(Self.base(pod.name, entryName))
        claim.metadata["labels"] = template.spec["metadata"]["labels"]
        claim.metadata["annotations"] = template.spec["metadata"]["annotations"]
        claim.annotations[Self.podClaimName] = entryName
        claim.ownerReferences = [OwnerReference(controller: pod)]
        claim.spec = template.spec["spec"]
        return try await client.create(.resourceClaims, claim).name
    }

    /// "pod-entry-", short enough for five more characters in a name of 63.
    static func base(_ pod: String, _ entry: String) -> String {
        let most = 57
        var pod = Substring(pod)
        var entry = Substring(entry)
        if pod.utf8.count + 1 + entry.utf8.count > most {
            entry = entry.prefix(max(most / 2, most - 1 - pod.utf8.count))
            pod = pod.prefix(most - 1 - entry.utf8.count)
        }
        return "\(pod)-\(entry)-"
    }

    /// A pod that came to its node without the scheduler uses what its claims have.
    private func reserve(for pod: KubeObject) async throws(APIError) {
        for entry in pod.spec["resourceClaims"].elements {
            guard case .named(let name, let isGenerated) = pod.resourceClaim(of: entry),
                let claim = try await client.getIfPresent(.resourceClaims, namespace: pod.namespace, name: name),
                !claim.isBeingDeleted, !isGenerated || pod.ownershipProblem(of: claim) == nil,
                !claim.status["allocation"].isNull, !claim.isReserved(for: pod),
                claim.status["reservedFor"].elements.count < 256
            else { continue }
            _ = try await client.changeStatus(of: claim, .resourceClaims) { claim in
                if !claim.isReserved(for: pod) { claim.status["reservedFor"].append(pod.resourceClaimConsumer) }
            }
        }
    }

    // MARK: - Claims

    private func reconcileClaim(_ namespace: String, _ name: String) async throws(APIError) {
        guard var claim = try await client.getIfPresent(.resourceClaims, namespace: namespace, name: name) else {
            return
        }
        let users = claim.status["reservedFor"].elements
        var left: [JSON] = []
        for user in users where try await isUsing(user, namespace) { left.append(user) }
        let isOurs = claim.finalizers.contains(KubeObject.claimFinalizer)
        if left.count < users.count || isOurs && claim.isBeingDeleted && left.isEmpty {
            let frees = left.isEmpty && isOurs
            var updated = claim
            updated.status["reservedFor"] = left.isEmpty ? .null : .array(left)
            if frees {
                updated.status["allocation"] = .null
                updated.status["devices"] = .null
            }
            if updated.status != claim.status { claim = try await client.updateStatus(.resourceClaims, updated) }
            if frees {
                claim.finalizers.removeAll { $0 == KubeObject.claimFinalizer }
                claim = try await client.update(.resourceClaims, claim)
            }
        }
        guard left.isEmpty, !claim.isBeingDeleted, let owner = claim.controller, owner.kind == "Pod",
            let pod = try await client.getIfPresent(.pods, namespace: namespace, name: owner.name),
            pod.uid == owner.uid, Self.isDone(pod)
        else { return }
        // A pod that has gone takes its claims with it; a finished one has no use for them.
        try await client.deleteIfPresent(.resourceClaims, claim)
    }

    private func isUsing(_ user: JSON, _ namespace: String) async throws(APIError) -> Bool {
        // Others than pods are not ours to judge.
        guard (user["apiGroup"].string ?? "").isEmpty, user["resource"].string == "pods",
            let name = user["name"].string
        else { return true }
        guard let pod = try await client.getIfPresent(.pods, namespace: namespace, name: name),
            pod.uid == user["uid"].string
        else { return false }
        return !Self.isDone(pod)
    }
}
