internal import Codecs
internal import KubeAPI

/// Rows of pods. Source: printPod of pkg/printers/internalversion/printers.go.
enum PodCells {
    static let cells = TableCells(make: make, conditions: conditions)

    private static func conditions(_ pod: KubeObject) -> JSON {
        let phase = pod.status["phase"].string ?? ""
        guard phase == "Succeeded" || phase == "Failed" else { return .null }
        let message = phase == "Succeeded" ? "The pod has completed successfully." : "The pod failed."
        return [["type": "Completed", "status": "True", "reason": .string(phase), "message": .string(message)]]
    }

    private static func make(_ pod: KubeObject, _ now: Timestamp) -> [JSON] {
        let summary = PodSummary(pod)
        var restarts = "\(summary.restarts)"
        if summary.restarts != 0, let last = summary.lastRestart { restarts += " (\(TableText.since(last, now)) ago)" }
        let gates = pod.spec["readinessGates"].elements
        let passed = gates.count { pod.condition($0["conditionType"].string ?? "")["status"].string == "True" }
        return [
            .string(pod.name), .string("\(summary.ready)/\(summary.total)"), .string(summary.reason), .string(restarts),
            .string(pod.age(now)), TableText.orNone(pod.status["podIPs"][0]["ip"].string ?? pod.status["podIP"].string),
            TableText.orNone(pod.spec["nodeName"].string), TableText.orNone(pod.status["nominatedNodeName"].string),
            .string(gates.isEmpty ? "<none>" : "\(passed)/\(gates.count)"),
        ]
    }
}

/// What a pod's many statuses come to.
struct PodSummary {
    private(set) var reason: String
    private(set) var ready = 0
    private(set) var total: Int
    private(set) var restarts: Int64 = 0
    private(set) var lastRestart: Timestamp?

    init(_ pod: KubeObject) {
        let status = pod.status
        let phase = status["phase"].string ?? ""
        reason = status["reason"].string.flatMap { $0.isEmpty ? nil : $0 } ?? phase
        if pod.condition("PodScheduled")["reason"].string == "SchedulingGated" { reason = "SchedulingGated" }
        let sidecars = Set(
            pod.spec["initContainers"].elements.filter { $0["restartPolicy"].string == "Always" }
                .compactMap { $0["name"].string })
        total = pod.spec["containers"].elements.count + sidecars.count
        let initializing = addInitContainers(pod, sidecars)
        if !initializing || pod.condition("Initialized")["status"].string == "True" {
            addContainers(pod, sidecars)
        }
        guard pod.isBeingDeleted else { return }
        if status["reason"].string == "NodeLost" {
            reason = "Unknown"
        } else if phase != "Succeeded", phase != "Failed" {
            reason = "Terminating"
        }
    }

    private mutating func countRestarts(_ container: JSON) {
        restarts += container["restartCount"].int ?? 0
        let finished = container["lastState"]["terminated"]["finishedAt"].string.flatMap { Timestamp($0) }
        if let finished, lastRestart.map({ $0 < finished }) ?? true { lastRestart = finished }
    }

    /// Returns whether an init container has still to be waited for.
    private mutating func addInitContainers(_ pod: KubeObject, _ sidecars: Set<String>) -> Bool {
        for (i, container) in pod.status["initContainerStatuses"].elements.enumerated() {
            countRestarts(container)
            let state = container["state"]
            let terminated = state["terminated"]
            if !terminated.isNull, terminated["exitCode"].int ?? 0 == 0 { continue }
            if sidecars.contains(container["name"].string ?? ""), container["started"].bool == true {
                if container["ready"].bool == true { ready += 1 }
                continue
            }
            let waiting = state["waiting"]["reason"].string ?? ""
            if !terminated.isNull {
                reason = "Init:" + Self.ending(terminated)
            } else if !waiting.isEmpty, waiting != "PodInitializing" {
                reason = "Init:" + waiting
            } else {
                reason = "Init:\(i)/\(pod.spec["initContainers"].elements.count)"
            }
            return true
        }
        return false
    }

    private static func ending(_ terminated: JSON) -> String {
        if let reason = terminated["reason"].string, !reason.isEmpty { return reason }
        if let signal = terminated["signal"].int, signal != 0 { return "Signal:\(signal)" }
        return "ExitCode:\(terminated["exitCode"].int ?? 0)"
    }

    private mutating func addContainers(_ pod: KubeObject, _ sidecars: Set<String>) {
        // From here on only what still runs counts.
        (restarts, lastRestart) = (0, nil)
        for container in pod.status["initContainerStatuses"].elements
        where sidecars.contains(container["name"].string ?? "") {
            countRestarts(container)
        }
        var running = false
        for container in pod.status["containerStatuses"].elements.reversed() {
            countRestarts(container)
            let state = container["state"]
            if let waiting = state["waiting"]["reason"].string, !waiting.isEmpty {
                reason = waiting
            } else if !state["terminated"].isNull {
                reason = Self.ending(state["terminated"])
            } else if container["ready"].bool == true, !state["running"].isNull {
                running = true
                ready += 1
            }
        }
        if reason == "Completed", running {
            reason = pod.condition("Ready")["status"].string == "True" ? "Running" : "NotReady"
        }
    }
}
