internal import Codecs
internal import KubeAPI
internal import Store

/// `pods/eviction`: a deletion that asks the disruption budgets first.
/// Source: pkg/registry/core/pod/storage/eviction.go.
extension SubresourceEngine {
    private static let budgets = GroupVersionResource("policy", "v1", "poddisruptionbudgets")
    /// How many pods a budget may wait for before it answers nothing more.
    private static let disruptedLimit = 2000
    private static let attempts = 20

    func evict(
        _ pods: ServedResource, namespace: String, pod name: String, _ eviction: KubeObject, _ scope: RequestScope
    ) async throws(APIError) -> KubeObject {
        if !eviction.name.isEmpty, eviction.name != name {
            throw .badRequest("name in URL does not match name in Eviction object: \"\(eviction.name)\" != \"\(name)\"")
        }
        var options = try DeleteOptions(json: eviction["deleteOptions"])
        let dryRun = scope.dryRun || !eviction["deleteOptions"]["dryRun"].elements.isEmpty
        let scope =
            dryRun == scope.dryRun
            ? scope : RequestScope(user: scope.user, now: scope.now, dryRun: dryRun, fieldManager: scope.fieldManager)
        let pod = try registry.get(pods, namespace: namespace, name: name).decode()
        if let uid = options.uid, uid != pod.uid {
            throw .conflict(
                pods.gvr, name, "Precondition failed: UID in precondition: \(uid), UID in object meta: \(pod.uid)")
        }
        if !Self.ignoresBudgets(pod) {
            // What is decided here is decided about this pod only.
            options.uid = pod.uid
            try await askBudget(for: pod, scope)
        }
        if !pod.isBeingDeleted, !["Succeeded", "Failed"].contains(pod.status["phase"].string ?? "") {
            try await markDisrupted(pods, pod, scope)
        }
        _ = try await registry.delete(pods, namespace: namespace, name: name, options, scope)
        return Self.success(code: 201)
    }

    /// A pod that does not run is missed by nobody.
    private static func ignoresBudgets(_ pod: KubeObject) -> Bool {
        pod.isBeingDeleted || ["Succeeded", "Failed", "Pending"].contains(pod.status["phase"].string ?? "")
    }

    private func markDisrupted(
        _ pods: ServedResource, _ pod: KubeObject, _ scope: RequestScope
    ) async throws(APIError) {
        _ = try await registry.update(
            pods, namespace: pod.namespace, name: pod.name, subresource: "status", scope, retries: 5
        ) { current throws(APIError) in
            var current = current
            current.setCondition(
                "DisruptionTarget", status: "True", reason: "EvictionByEvictionAPI",
                message: "Eviction API: evicting", now: scope.now)
            return current
        }
    }

    /// Takes one disruption off the pod's budget, or says why there is none.
    private func askBudget(for pod: KubeObject, _ scope: RequestScope) async throws(APIError) {
        guard let budgets = registry.resources[Self.budgets] else { return }
        for _ in 0..<Self.attempts {
            guard let budget = try budget(for: pod, budgets) else { return }
            let status = budget.status
            if pod.condition("Ready")["status"].string != "True" {
                if budget.spec["unhealthyPodEvictionPolicy"].string == "AlwaysAllow" { return }
                let (current, desired) = (status["currentHealthy"].int ?? 0, status["desiredHealthy"].int ?? 0)
                // A pod that is not ready is no part of the healthy ones; there are enough without it.
                if current >= desired, desired > 0 { return }
            }
            let changed = try Self.decrement(budget, pod, scope.now)
            if scope.dryRun { return }
            do throws(APIError) {
                _ = try await registry.update(
                    budgets, namespace: budget.namespace, name: budget.name, subresource: "status", scope
                ) { _ throws(APIError) in changed }
                return
            } catch {
                // Somebody else took from it, or it is gone: look again.
                if !error.isConflict, !error.isNotFound { throw error }
            }
        }
        throw .tooManyRequests("the disruption budget of the pod changes too often to take from it", retryAfter: 10)
    }

    private func budget(for pod: KubeObject, _ budgets: ServedResource) throws(APIError) -> KubeObject? {
        var found: KubeObject?
        for item in try registry.list(budgets, namespace: pod.namespace, ListParameters()).items {
            let budget = try item.decode()
            guard !budget.spec["selector"].isNull, let selector = try? LabelSelector(json: budget.spec["selector"]),
                selector.matches(labels: pod.metadata["labels"])
            else { continue }
            if found != nil {
                throw .internalError(
                    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.")
            }
            found = budget
        }
        return found
    }

    private static func decrement(
        _ budget: KubeObject, _ pod: KubeObject, _ now: Timestamp
    ) throws(APIError) -> KubeObject {
        let status = budget.status
        func cause(_ error: APIError, _ message: String) -> APIError {
            var error = error
            error.causes = [.init(reason: "DisruptionBudget", message: message, field: "")]
            return error
        }
        if status["observedGeneration"].int ?? 0 < budget.generation {
            throw cause(
                .tooManyRequests(
                    "Cannot evict pod as it would violate the pod's disruption budget.", retryAfter: 10),
                "The disruption budget \(budget.name) is still being processed by the server.")
        }
        let allowed = status["disruptionsAllowed"].int ?? 0
        let disrupted = status["disruptedPods"].object ?? JSONObject()
        if allowed < 0 {
            throw .forbidden(budgets, budget.name, "pdb disruptions allowed is negative")
        }
        if disrupted.count > disruptedLimit {
            throw .forbidden(
                budgets, budget.name, "DisruptedPods map too big - too many evictions not confirmed by PDB controller")
        }
        guard allowed > 0 else {
            var why =
                "The disruption budget \(budget.name) needs \(status["desiredHealthy"].int ?? 0) healthy pods and has "
                + "\(status["currentHealthy"].int ?? 0) currently"
            let condition = budget.condition("DisruptionAllowed")
            if condition["reason"].string == "SyncFailed" {
                why =
                    "The disruption budget \(budget.name) does not allow evicting pods currently because it failed sync: "
                    + (condition["message"].string ?? "")
            }
            throw cause(
                .tooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", retryAfter: 0),
                why)
        }
        var changed = budget
        changed.json["status"]["disruptionsAllowed"] = .int(allowed - 1)
        if allowed == 1 {
            changed.setCondition(
                "DisruptionAllowed", status: "False", reason: "InsufficientPods", now: now)
            if var conditions = changed.status["conditions"].array,
                let i = conditions.firstIndex(where: { $0["type"].string == "DisruptionAllowed" })
            {
                conditions[i]["message"] = ""
                conditions[i]["observedGeneration"] = .int(budget.generation)
                changed.json["status"]["conditions"] = .array(conditions)
            }
        }
        changed.json["status"]["disruptedPods"][pod.name] = .string(now.rfc3339)
        return changed
    }
}
