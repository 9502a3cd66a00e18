internal import Codecs
internal import KubeAPI

extension PodStatusBuilder {
    // MARK: Phase

    func phase(_ initStatuses: [JSON], _ statuses: [JSON]) -> String {
        let old = pod.status["phase"].string ?? ""
        if old == "Failed" || old == "Succeeded" { return old }
        if verdict != nil { return "Failed" }
        var pendingInit = false
        var failedInit = false
        // For good, by its own rules or the pod's.
        var lostInit = false
        let initialized = statuses.contains { !$0["containerID"].isNull }
        for (container, status) in zip(pod.initContainers, initStatuses) {
            let ended = status["state"]["terminated"]
            if container.isSidecar {
                if !initialized, status["started"].bool != true { pendingInit = true }
            } else if !ended.isNull {
                if ended["exitCode"].int != 0 { failedInit = true }
                if ended["exitCode"].int != 0, !restarts(container) { lostInit = true }
            } else if !status["lastState"]["terminated"].isNull, status["state"]["running"].isNull {
                if status["lastState"]["terminated"]["exitCode"].int != 0 {
                    failedInit = true
                    if !restarts(container) { lostInit = true }
                } else {
                    pendingInit = true
                }
            } else {
                pendingInit = true
            }
        }
        var waiting = 0
        var running = 0
        var stopped = 0
        var succeeded = 0
        var coming = 0
        for (container, status) in zip(pod.containers, statuses) {
            let state = status["state"]
            if state["running"].isNull, !isTerminated, restarts(container) { coming += 1 }
            if !state["running"].isNull {
                running += 1
            } else if !state["terminated"].isNull {
                stopped += 1
                if state["terminated"]["exitCode"].int == 0 { succeeded += 1 }
            } else if !status["lastState"]["terminated"].isNull {
                stopped += 1
            } else {
                waiting += 1
            }
        }
        if lostInit { return "Failed" }
        if isTerminated {
            if !failedInit, !pendingInit, waiting == 0, stopped == succeeded { return "Succeeded" }
            // A pod deleted before it ran stays Pending until it is gone, one that ran has failed.
            return stopped > 0 || failedInit ? "Failed" : "Pending"
        }
        if (pendingInit || failedInit) && !initialized { return "Pending" }
        if waiting > 0 { return "Pending" }
        if running > 0 { return "Running" }
        if stopped > 0 {
            if coming > 0 || pod.restartPolicy == .always { return "Running" }
            if stopped == succeeded { return "Succeeded" }
            return pod.restartPolicy == .never ? "Failed" : "Running"
        }
        return "Pending"
    }

    /// Whether an ended container starts again, by its own rules or the pod's.
    private func restarts(_ container: ContainerSpec) -> Bool {
        guard let record = state.latest(container.name), record.hasExited else { return false }
        return PodPlanner.restarts(container, of: pod, after: record)
    }

    // MARK: Conditions

    private struct Condition {
        var type: String
        var isTrue: Bool
        var reason = ""
        var message = ""
    }

    func conditions(_ phase: String, _ initStatuses: [JSON], _ statuses: [JSON]) -> [JSON] {
        let sandboxUp = state.sandbox.map { $0.isReady && !$0.addresses.isEmpty } ?? false
        let containersReady = containersReady(phase, initStatuses, statuses)
        var list = [
            Condition(type: "PodReadyToStartContainers", isTrue: sandboxUp && !isTerminated),
            initialized(phase, initStatuses, statuses), ready(containersReady), containersReady,
            Condition(type: "PodScheduled", isTrue: true),
        ]
        if let resize {
            list.append(Condition(type: resize.type, isTrue: true, reason: resize.reason, message: resize.message))
        }
        if phase == "Failed", let verdict, verdict.isDisruption {
            list.append(
                Condition(
                    type: "DisruptionTarget", isTrue: true, reason: "TerminationByKubelet",
                    message: verdict.disruption ?? verdict.message))
        }
        let old = pod.status["conditions"].elements
        return list.map { condition in
            let before = old.first { $0["type"].string == condition.type }
            let value = condition.isTrue ? "True" : "False"
            var json: JSON = ["type": .string(condition.type)]
            if pod.object.generation > 0 { json["observedGeneration"] = .int(pod.object.generation) }
            json["status"] = .string(value)
            json.withObject { $0.append("lastProbeTime", .null) }
            if let before, before["status"].string == value, let since = before["lastTransitionTime"].string {
                json["lastTransitionTime"] = .string(since)
            } else {
                json["lastTransitionTime"] = .string(now.rfc3339)
            }
            if !condition.reason.isEmpty { json["reason"] = .string(condition.reason) }
            if !condition.message.isEmpty { json["message"] = .string(condition.message) }
            return json
        }
    }

    private func initialized(_ phase: String, _ initStatuses: [JSON], _ statuses: [JSON]) -> Condition {
        if phase == "Succeeded" { return Condition(type: "Initialized", isTrue: true, reason: "PodCompleted") }
        let begun = statuses.contains { !$0["containerID"].isNull }
        let incomplete = zip(pod.initContainers, initStatuses).filter { container, status in
            container.isSidecar ? !begun && status["started"].bool != true : status["ready"].bool != true && !begun
        }.map(\.0.name)
        if incomplete.isEmpty { return Condition(type: "Initialized", isTrue: true) }
        return Condition(
            type: "Initialized", isTrue: false, reason: "ContainersNotInitialized",
            message: "containers with incomplete status: [\(incomplete.joined(separator: " "))]")
    }

    private func containersReady(_ phase: String, _ initStatuses: [JSON], _ statuses: [JSON]) -> Condition {
        if phase == "Succeeded" { return Condition(type: "ContainersReady", isTrue: false, reason: "PodCompleted") }
        if phase == "Failed" { return Condition(type: "ContainersReady", isTrue: false, reason: "PodFailed") }
        var unready = zip(pod.initContainers, initStatuses).filter { $0.isSidecar && $1["ready"].bool != true }.map(
            \.0.name)
        unready += zip(pod.containers, statuses).filter { $1["ready"].bool != true }.map(\.0.name)
        if unready.isEmpty { return Condition(type: "ContainersReady", isTrue: true) }
        return Condition(
            type: "ContainersReady", isTrue: false, reason: "ContainersNotReady",
            message: "containers with unready status: [\(unready.joined(separator: " "))]")
    }

    private func ready(_ containersReady: Condition) -> Condition {
        guard containersReady.isTrue else {
            return Condition(
                type: "Ready", isTrue: false, reason: containersReady.reason, message: containersReady.message)
        }
        let problems = pod.spec["readinessGates"].elements.compactMap { gate -> String? in
            let type = gate["conditionType"].string ?? ""
            guard let condition = pod.status["conditions"].elements.first(where: { $0["type"].string == type }) else {
                return "corresponding condition of pod readiness gate \"\(type)\" does not exist."
            }
            guard condition["status"].string == "True" else {
                return
                    "the status of pod readiness gate \"\(type)\" is not \"True\", but \(condition["status"].string ?? "")"
            }
            return nil
        }
        if problems.isEmpty { return Condition(type: "Ready", isTrue: true) }
        return Condition(
            type: "Ready", isTrue: false, reason: "ReadinessGatesNotReady", message: problems.joined(separator: ", "))
    }
}
