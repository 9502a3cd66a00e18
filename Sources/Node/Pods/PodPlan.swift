internal import Codecs
internal import Containers

/// What is to be done next for a pod that shall run. Pure: from the pod, what the runtime has, and what probes said.
/// Source: computePodActions of k8s.io/kubernetes/pkg/kubelet/kuberuntime.
package struct PodPlan: Sendable, Equatable {
    package struct Stop: Sendable, Equatable {
        package enum Cause: Sendable, Equatable { case liveness, startup, definition, unknown }
        package var id: String
        package var name: String
        package var cause: Cause
        /// Of the "Killing" event.
        package var message: String
    }
    package struct Wait: Sendable, Equatable {
        package var name: String
        package var remaining: Duration
    }

    /// The sandbox is gone or dead: what is left of it is to be stopped, and a new one made with this attempt.
    package var createSandbox: UInt32?
    package var stop: [Stop] = []
    /// Names of the containers to start, in order. An init container comes alone.
    package var start: [String] = []
    /// Would start, but for their back-off.
    package var waiting: [Wait] = []
    /// Nothing runs and nothing will: the pod has ended.
    package var isFinished = false

    package init() {}
}

/// What is known about a running container beside the runtime's word.
package struct ContainerHealth: Sendable, Equatable {
    package var startupFailed = false
    package var livenessFailed = false
    /// Its startup probe has succeeded, or there is none.
    package var started = true
    package var ready = true
    package init() {}
}

package struct PodPlanner {
    let pod: Pod
    let state: PodRuntimeState
    /// By container id.
    let health: [String: ContainerHealth]
    /// How long a container's restart must still wait, by name.
    let backOff: (ContainerRecord) -> Duration?
    private var plan = PodPlan()

    package static func plan(
        _ pod: Pod, _ state: PodRuntimeState, health: [String: ContainerHealth] = [:],
        backOff: @escaping (ContainerRecord) -> Duration? = { _ in nil }
    ) -> PodPlan {
        var planner = PodPlanner(pod: pod, state: state, health: health, backOff: backOff)
        planner.run()
        return planner.plan
    }

    private init(
        pod: Pod, state: PodRuntimeState, health: [String: ContainerHealth],
        backOff: @escaping (ContainerRecord) -> Duration?
    ) {
        (self.pod, self.state, self.health, self.backOff) = (pod, state, health, backOff)
    }

    /// Whether a container that ended as `record` says is to be started again.
    package static func restarts(_ container: ContainerSpec, of pod: Pod, after record: ContainerRecord) -> Bool {
        if container.isSidecar { return true }
        for rule in container.json["restartPolicyRules"].elements where rule["action"].string == "Restart" {
            let codes = rule["exitCodes"]["values"].elements.compactMap(\.int)
            let listed = codes.contains(Int64(record.exitCode))
            if (rule["exitCodes"]["operator"].string == "NotIn") != listed { return true }
        }
        var policy =
            container.json["restartPolicy"].string.flatMap(Pod.RestartPolicy.init(rawValue:)) ?? pod.restartPolicy
        // An init container that has succeeded is never run again for the pod's policy's sake.
        if container.kind == .initial, policy == .always { policy = .onFailure }
        switch policy {
        case .always: return true
        case .onFailure: return record.exitCode != 0
        case .never: return false
        }
    }

    /// After some exit code at least.
    private static func mayRestart(_ container: ContainerSpec, of pod: Pod) -> Bool {
        container.isSidecar || !container.json["restartPolicyRules"].elements.isEmpty
            || (container.json["restartPolicy"].string ?? pod.restartPolicy.rawValue) != "Never"
    }

    private mutating func run() {
        let sandbox = state.sandbox
        if sandbox?.isReady != true {
            // A pod whose containers have all ended for good is not given a new sandbox.
            let wanted = pod.containers.contains { container in
                guard let record = state.latest(container.name) else { return true }
                guard record.hasExited else { return true }
                return Self.restarts(container, of: pod, after: record)
            }
            let initFailed = pod.initContainers.contains { container in
                guard let record = state.latest(container.name), record.hasExited, record.exitCode != 0 else {
                    return false
                }
                return !Self.restarts(container, of: pod, after: record)
            }
            guard wanted, !initFailed else {
                plan.isFinished = true
                return
            }
            plan.createSandbox = sandbox.map { $0.attempt + 1 } ?? 0
            return
        }
        for container in pod.ephemeralContainers where state.latest(container.name) == nil {
            plan.start.append(container.name)
        }
        if planInitContainers() { planContainers() }
    }

    private func current(_ container: ContainerSpec) -> ContainerRecord? {
        state.latest(container.name).flatMap { $0.sandbox == state.sandbox?.id ? $0 : nil }
    }

    private var hasStartedContainers: Bool { pod.containers.contains { current($0) != nil } }

    /// True: the regular containers may run.
    private mutating func planInitContainers() -> Bool {
        let initialized = hasStartedContainers
        for container in pod.initContainers {
            let record = current(container)
            if initialized, !container.isSidecar { continue }
            guard let record else {
                plan.start.append(container.name)
                if initialized { continue }
                return false
            }
            switch record.state {
            case .running:
                if stopIfUnhealthy(container, record) || !container.isSidecar || health[record.id]?.started == false {
                    if initialized { continue }
                    return false
                }
            case .exited:
                if record.exitCode == 0, !container.isSidecar { continue }
                guard Self.restarts(container, of: pod, after: record) else {
                    plan.isFinished = true
                    return false
                }
                restart(container, record)
                if initialized { continue }
                return false
            case .created, .unknown:
                plan.start.append(container.name)
                if initialized { continue }
                return false
            }
        }
        return true
    }

    private mutating func planContainers() {
        var alive = 0
        for container in pod.containers {
            // Of an older sandbox: it counts for the restart policy only.
            guard let record = state.latest(container.name) else {
                plan.start.append(container.name)
                continue
            }
            switch record.state {
            case .running where record.sandbox == state.sandbox?.id:
                if stopIfUnhealthy(container, record) {
                    if Self.mayRestart(container, of: pod) { alive += 1 }
                } else {
                    alive += 1
                }
            case .exited:
                if Self.restarts(container, of: pod, after: record) { restart(container, record) }
            case .running, .created, .unknown:
                plan.start.append(container.name)
            }
        }
        if alive == 0, plan.start.isEmpty, plan.waiting.isEmpty, plan.stop.isEmpty { plan.isFinished = true }
    }

    private mutating func restart(_ container: ContainerSpec, _ record: ContainerRecord) {
        if let remaining = backOff(record) {
            plan.waiting.append(PodPlan.Wait(name: container.name, remaining: remaining))
        } else {
            plan.start.append(container.name)
        }
    }

    private mutating func stopIfUnhealthy(_ container: ContainerSpec, _ record: ContainerRecord) -> Bool {
        let name = container.name
        let kind = container.kind == .initial ? "Init container" : "Container"
        let restarts = Self.mayRestart(container, of: pod)
        let suffix = restarts ? ", will be restarted" : ""
        let cause: PodPlan.Stop.Cause
        let message: String
        if !record.hash.isEmpty, record.hash != container.hash {
            cause = .definition
            message = "\(kind) \(name) definition changed, will be restarted"
        } else if health[record.id]?.startupFailed == true {
            cause = .startup
            message = "\(kind) \(name) failed startup probe" + suffix
        } else if health[record.id]?.livenessFailed == true {
            cause = .liveness
            message = "\(kind) \(name) failed liveness probe" + suffix
        } else {
            return false
        }
        plan.stop.append(PodPlan.Stop(id: record.id, name: name, cause: cause, message: message))
        return true
    }
}
