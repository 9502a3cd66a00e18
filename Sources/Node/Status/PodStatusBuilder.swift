package import Codecs
internal import Containers
internal import KubeAPI

/// The status of a pod, from its spec and what is known about it here.
/// Source: k8s.io/kubernetes/pkg/kubelet/kubelet_pods.go (convertStatusToAPIStatus, getPhase) and status/generate.go.
package struct PodStatusBuilder {
    /// Why a container does not run yet.
    package struct Waiting: Sendable, Equatable {
        package var reason: String
        package var message: String
        package init(_ reason: String, _ message: String = "") { (self.reason, self.message) = (reason, message) }
    }
    /// Set once the pod was refused, evicted or ran out of time.
    package struct Verdict: Sendable, Equatable {
        package var reason: String
        package var message: String
        /// The node never took the pod: its containers have no state, as with the kubelet.
        package var isRejection = false
        /// Of condition DisruptionTarget: the node ended a pod that was well.
        package var isDisruption = false
        /// What the condition says; nil: the message.
        package var disruption: String?
        /// Seconds that the containers get at most; nil: what the pod says.
        package var grace: Int64?
        package init(_ reason: String, _ message: String) { (self.reason, self.message) = (reason, message) }
    }

    /// Shown while a resize waits or fails.
    package struct ResizeCondition: Sendable, Equatable {
        package var type: String
        package var reason: String
        package var message: String
    }

    package var pod: Pod
    package var state: PodRuntimeState
    package var health: [String: ContainerHealth] = [:]
    /// By container name.
    package var waiting: [String: Waiting] = [:]
    package var verdict: Verdict?
    package var resize: ResizeCondition?
    /// No container of it runs or will run: set when the pod has ended or is torn down.
    package var isTerminated = false
    package var hostIPs: [String] = []
    package var startTime: Timestamp?
    package var now: Timestamp
    /// Before the containers' ids.
    package var runtimeName = "containerd"

    package init(pod: Pod, state: PodRuntimeState, now: Timestamp) {
        (self.pod, self.state, self.now) = (pod, state, now)
    }

    package mutating func build() -> JSON {
        let old = pod.status
        var status: JSON = [:]
        if pod.object.generation > 0 { status["observedGeneration"] = .int(pod.object.generation) }
        let initStatuses = pod.initContainers.map { containerStatus($0) }
        let statuses = pod.containers.map { containerStatus($0) }
        var phase = phase(initStatuses, statuses)
        var verdict = verdict
        if ["Failed", "Succeeded"].contains(phase), !state.running.isEmpty {
            // Nobody may take a pod for ended while something of it runs.
            phase = old["phase"].string ?? "Pending"
            verdict = nil
        }
        status["phase"] = .string(phase)
        if let verdict {
            status["reason"] = .string(verdict.reason)
            status["message"] = .string(verdict.message)
        } else if ["Failed", "Succeeded"].contains(old["phase"].string ?? "") {
            status["reason"] = old["reason"]
            status["message"] = old["message"]
        }
        status["conditions"] = .array(conditions(phase, initStatuses, statuses))
        if let host = hostIPs.first {
            status["hostIP"] = .string(host)
            status["hostIPs"] = .array(hostIPs.map { ["ip": .string($0)] })
        }
        let addresses = state.sandbox?.addresses ?? old["podIPs"].elements.compactMap { $0["ip"].string }
        if let address = addresses.first {
            status["podIP"] = .string(address)
            status["podIPs"] = .array(addresses.map { ["ip": .string($0)] })
        }
        if let startTime { status["startTime"] = .string(startTime.rfc3339) }
        if verdict?.isRejection == true {
            status["qosClass"] = .string(pod.qosClass.rawValue)
            return status
        }
        if !initStatuses.isEmpty { status["initContainerStatuses"] = .array(initStatuses) }
        if !statuses.isEmpty {
            status["containerStatuses"] = .array(
                statuses.sorted { ($0["name"].string ?? "") < ($1["name"].string ?? "") })
        }
        if !pod.ephemeralContainers.isEmpty {
            status["ephemeralContainerStatuses"] = .array(pod.ephemeralContainers.map { containerStatus($0) })
        }
        status["qosClass"] = .string(pod.qosClass.rawValue)
        return status
    }

    // MARK: Containers

    private var isInitialized: Bool {
        pod.initContainers.allSatisfy { container in
            guard let record = state.latest(container.name) else { return false }
            if container.isSidecar {
                return record.isRunning && health[record.id]?.started != false || record.hasExited
            }
            return record.hasExited && record.exitCode == 0
        } || pod.containers.contains { state.latest($0.name) != nil }
    }

    private func containerStatus(_ container: ContainerSpec) -> JSON {
        let name = container.name
        var json: JSON = ["name": .string(name), "state": [:], "lastState": [:]]
        guard let record = state.latest(name) else {
            let known = pod.status[listKey(container.kind)].elements.first { $0["name"].string == name }
            json["state"] = stateWithoutRecord(container, known)
            json["ready"] = false
            json["restartCount"] = .int(known?["restartCount"].int ?? 0)
            json["image"] = .string(container.image)
            json["imageID"] = ""
            if container.kind != .ephemeral { json["started"] = false }
            addSpecFields(container, &json, running: false)
            return json
        }
        let health = health[record.id] ?? ContainerHealth()
        var ready = false
        var started = false
        switch record.state {
        case .running:
            json["state"] = ["running": ["startedAt": .string(Timestamp(nanoseconds: record.startedAt).rfc3339)]]
            started = health.started
            ready = started && health.ready && container.kind != .ephemeral
            if container.kind == .initial, !container.isSidecar { ready = false }
            if let previous = state.previous(name), previous.hasExited { json["lastState"] = terminated(previous) }
        case .exited:
            if !isTerminated, let waiting = waiting[name] {
                json["state"] = Self.waitingState(waiting)
                json["lastState"] = terminated(record)
            } else {
                json["state"] = terminated(record)
                if let previous = state.previous(name), previous.hasExited { json["lastState"] = terminated(previous) }
                ready = container.kind == .initial && record.exitCode == 0
            }
        case .created, .unknown:
            json["state"] = isTerminated ? Self.lost : Self.waitingState(waiting[name] ?? defaultWaiting(container))
            if let previous = state.previous(name), previous.hasExited { json["lastState"] = terminated(previous) }
        }
        json["ready"] = .bool(ready)
        json["restartCount"] = .int(Int64(record.attempt))
        json["image"] = .string(record.image.isEmpty ? container.image : record.image)
        json["imageID"] = .string(record.imageID)
        json["containerID"] = .string("\(runtimeName)://\(record.id)")
        if container.kind != .ephemeral { json["started"] = .bool(started) }
        addSpecFields(container, &json, running: record.isRunning)
        return json
    }

    private func listKey(_ kind: ContainerSpec.Kind) -> String {
        switch kind {
        case .initial: "initContainerStatuses"
        case .regular: "containerStatuses"
        case .ephemeral: "ephemeralContainerStatuses"
        }
    }

    /// What a container without an instance shows: it has not been made yet, or it is lost.
    private func stateWithoutRecord(_ container: ContainerSpec, _ known: JSON?) -> JSON {
        let wasThere = known.map { $0["containerID"].string?.isEmpty == false } ?? false
        if wasThere, let known, !known["state"]["terminated"].isNull { return known["state"] }
        if isTerminated, wasThere || (container.kind == .regular && isInitialized && verdict == nil) {
            return Self.lost
        }
        return Self.waitingState(waiting[container.name] ?? defaultWaiting(container))
    }

    private static let lost: JSON = [
        "terminated": [
            "exitCode": 137, "reason": "ContainerStatusUnknown",
            "message": "The container could not be located when the pod was terminated", "startedAt": .null,
            "finishedAt": .null,
        ]
    ]

    private func defaultWaiting(_ container: ContainerSpec) -> Waiting {
        pod.initContainers.isEmpty || (container.kind == .regular && isInitialized)
            ? Waiting("ContainerCreating") : Waiting("PodInitializing")
    }

    private static func waitingState(_ waiting: Waiting) -> JSON {
        var json: JSON = ["reason": .string(waiting.reason)]
        if !waiting.message.isEmpty { json["message"] = .string(waiting.message) }
        return ["waiting": json]
    }

    private func terminated(_ record: ContainerRecord) -> JSON {
        var json: JSON = ["exitCode": .int(Int64(record.exitCode))]
        let reason = record.reason.isEmpty ? (record.exitCode == 0 ? "Completed" : "Error") : record.reason
        json["reason"] = .string(reason)
        if !record.message.isEmpty { json["message"] = .string(record.message) }
        json.withObject { members in
            members.append("startedAt", Self.time(record.startedAt))
            members.append("finishedAt", Self.time(record.finishedAt))
        }
        json["containerID"] = .string("\(runtimeName)://\(record.id)")
        return ["terminated": json]
    }

    /// A time that has not come is null in the API.
    private static func time(_ nanoseconds: Int64) -> JSON {
        nanoseconds > 0 ? .string(Timestamp(nanoseconds: nanoseconds).rfc3339) : .null
    }

    private func addSpecFields(_ container: ContainerSpec, _ json: inout JSON, running: Bool) {
        let resources = container.json["resources"]
        if running {
            var shown: JSON = [:]
            if let limits = resources["limits"].object, !limits.isEmpty { shown["limits"] = .object(limits) }
            let requests = resources["requests"].object ?? resources["limits"].object
            if let requests, !requests.isEmpty {
                shown["requests"] = .object(requests)
                json["allocatedResources"] = .object(requests)
            }
            json["resources"] = shown
        }
        let mounts = container.volumeMounts.map { mount -> JSON in
            var shown: JSON = ["name": mount["name"], "mountPath": mount["mountPath"]]
            if mount["readOnly"].bool == true {
                shown["readOnly"] = true
                shown["recursiveReadOnly"] = "Disabled"
            }
            return shown
        }
        if !mounts.isEmpty { json["volumeMounts"] = .array(mounts) }
    }
}
