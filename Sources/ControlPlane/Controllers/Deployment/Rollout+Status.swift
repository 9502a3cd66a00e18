internal import Codecs
internal import KubeAPI

/// Conditions and counts of a rollout.
extension Rollout {
    private static let available = "NewReplicaSetAvailable"
    private static let timedOut = "ProgressDeadlineExceeded"

    private func progressing() -> JSON {
        conditions.elements.first { $0["type"].string == "Progressing" } ?? .null
    }

    private mutating func setProgressing(_ status: String, _ reason: String, _ message: String, refresh: Bool = false) {
        guard deployment.hasProgressDeadline else { return }
        setCondition(
            &conditions, type: "Progressing", status: status, reason: reason, message: message, now: now,
            updateTime: true)
        if refresh, case .array(var list) = conditions,
            let i = list.firstIndex(where: { $0["type"].string == "Progressing" })
        {
            list[i]["lastUpdateTime"] = .string(now.rfc3339)
            conditions = .array(list)
        }
    }

    mutating func markPaused() {
        guard progressing()["reason"].string != Self.timedOut, progressing()["reason"].string != "DeploymentPaused"
        else { return }
        setProgressing("Unknown", "DeploymentPaused", "Deployment is paused")
    }
    mutating func markResumed() {
        guard progressing()["reason"].string == "DeploymentPaused" else { return }
        setProgressing("Unknown", "DeploymentResumed", "Deployment is resumed")
    }
    mutating func created(_ set: KubeObject) {
        setProgressing("True", "NewReplicaSetCreated", "Created new replica set \"\(set.name)\"", refresh: true)
    }
    mutating func found(_ set: KubeObject) {
        guard progressing().isNull else { return }
        setProgressing("True", "FoundNewReplicaSet", "Found new replica set \"\(set.name)\"")
    }
    mutating func failed(_ error: APIError) {
        setProgressing("False", "ReplicaSetCreateError", error.message)
    }

    // MARK: - Counts

    private func total(_ field: String) -> Int64 { all.reduce(0) { $0 + $1.status[field].int(or: 0) } }

    var isComplete: Bool {
        let updated = new?.status["replicas"].int(or: 0) ?? 0
        return updated == replicas && total("replicas") == replicas && total("availableReplicas") == replicas
            && deployment.status["observedGeneration"].int(or: 0) >= deployment.generation
    }

    func status() -> JSON {
        var status: JSON = ["observedGeneration": .int(deployment.generation)]
        func count(_ field: String, _ n: Int64) { status[field] = n > 0 ? .int(n) : .null }
        let all = total("replicas")
        let available = total("availableReplicas")
        count("replicas", all)
        count("updatedReplicas", new?.status["replicas"].int(or: 0) ?? 0)
        count("readyReplicas", total("readyReplicas"))
        count("availableReplicas", available)
        count("unavailableReplicas", max(0, Swift.max(all, self.all.reduce(0) { $0 + $1.specReplicas }) - available))
        status["terminatingReplicas"] = .int(total("terminatingReplicas"))
        status["collisionCount"] = deployment.status["collisionCount"]
        var conditions = self.conditions
        if available >= replicas - maxUnavailable {
            setCondition(
                &conditions, type: "Available", status: "True", reason: "MinimumReplicasAvailable",
                message: "Deployment has minimum availability.", now: now, updateTime: true)
        } else {
            setCondition(
                &conditions, type: "Available", status: "False", reason: "MinimumReplicasUnavailable",
                message: "Deployment does not have minimum availability.", now: now, updateTime: true)
        }
        // Those of the new set first.
        let failure =
            ((new.map { [$0] } ?? []) + old).lazy.map { $0.condition("ReplicaFailure") }.first { !$0.isNull } ?? .null
        if failure.isNull {
            conditions = .array(conditions.elements.filter { $0["type"].string != "ReplicaFailure" })
        } else {
            setCondition(
                &conditions, type: "ReplicaFailure", status: failure["status"].string ?? "True",
                reason: failure["reason"].string ?? "", message: failure["message"].string ?? "", now: now,
                updateTime: true)
        }
        status["conditions"] = conditions
        return status
    }

    // MARK: - Progress

    /// Complete, moving, or stuck past the deadline.
    mutating func updateProgress() {
        guard !isPaused, !deployment.isBeingDeleted else { return }
        guard deployment.hasProgressDeadline else {
            conditions = .array(conditions.elements.filter { $0["type"].string != "Progressing" })
            return
        }
        let name = new.map { "ReplicaSet \"\($0.name)\"" } ?? "Deployment \"\(deployment.name)\""
        let before = deployment.status
        let updated = new?.status["replicas"].int(or: 0) ?? 0
        if progressing()["reason"].string == Self.available, total("replicas") == updated { return }
        let after = status()
        let isMoving =
            updated > before["updatedReplicas"].int(or: 0)
            || total("replicas") - updated < before["replicas"].int(or: 0) - before["updatedReplicas"].int(or: 0)
            || after["readyReplicas"].int(or: 0) > before["readyReplicas"].int(or: 0)
            || after["availableReplicas"].int(or: 0) > before["availableReplicas"].int(or: 0)
        if updated == replicas, total("replicas") == replicas, total("availableReplicas") == replicas {
            setProgressing("True", Self.available, "\(name) has successfully progressed.")
        } else if isMoving {
            setProgressing("True", "ReplicaSetUpdated", "\(name) is progressing.", refresh: true)
        } else if let deadline, deadline <= now {
            setProgressing("False", Self.timedOut, "\(name) has timed out progressing.")
        }
    }

    /// nil: done, timed out, or no deadline.
    private var deadline: Timestamp? {
        let condition = progressing()
        guard deployment.hasProgressDeadline, let reason = condition["reason"].string, reason != Self.available,
            reason != Self.timedOut, let since = condition["lastUpdateTime"].string.flatMap({ Timestamp($0) })
        else { return nil }
        return since.advanced(by: .seconds(deployment.spec["progressDeadlineSeconds"].int(or: 600) + 1))
    }

    var nextProgressCheck: Duration? {
        guard !isPaused, !isComplete, let deadline else { return nil }
        return max(.seconds(1), deadline.duration(since: now))
    }
}

extension KubeObject {
    fileprivate var hasProgressDeadline: Bool {
        let seconds = spec["progressDeadlineSeconds"].int(or: 600)
        return seconds < Int64(Int32.max)
    }
}
