internal import Codecs
internal import Containers
internal import KubeAPI
internal import Logging

// In-place resize (KEP-1287): requests and limits of running containers change without a new pod. What a pod has been
// given and what its spec asks for are two things while a resize waits; everything but this file works with the former.

extension PodWorker {
    /// Why what the spec asks for is not given (yet): shown as a condition of the pod.
    struct Resize: Sendable, Equatable {
        /// "PodResizePending" or "PodResizeInProgress"
        var type: String
        /// "Deferred", "Infeasible", "Error"
        var reason: String
        var message: String
    }

    private static func resources(_ container: ContainerSpec) -> JSON {
        normalized(container.json["resources"])
    }

    private static func normalized(_ resources: JSON) -> JSON {
        // Absent and empty are the same.
        func member(_ name: String) -> JSON {
            resources[name].object.flatMap { $0.isEmpty ? nil : .object($0) } ?? .null
        }
        return ["limits": member("limits"), "requests": member("requests")]
    }

    private func resizable(_ pod: Pod) -> [ContainerSpec] { pod.containers + pod.initContainers.filter(\.isSidecar) }

    /// The pod with the resources that it has been given in place of those it asks for.
    func given(_ pod: Pod) -> Pod {
        guard resizable(pod).contains(where: { differs($0) }) else { return pod }
        var object = pod.object
        for list in ["containers", "initContainers"] {
            object.spec[list] = .array(
                object.spec[list].elements.map { json in
                    guard let name = json["name"].string, let resources = allocated[name] else { return json }
                    var json = json
                    for kind in ["limits", "requests"] { json["resources"][kind] = resources[kind] }
                    return json
                })
        }
        return Pod(object)
    }

    func resourcesReleased() {
        if resize?.reason == "Deferred" { wake() }
    }

    private func differs(_ container: ContainerSpec) -> Bool {
        allocated[container.name].map { $0 != Self.resources(container) } ?? false
    }

    /// Gives the pod what it asks for, where the node has it, and tells the runtime. Returns the pod with what it has.
    func resize(_ pod: Pod) async -> Pod {
        for container in resizable(pod) where allocated[container.name] == nil {
            allocated[container.name] = inherited(container, pod) ?? Self.resources(container)
        }
        let changed = resizable(pod).filter { differs($0) }
        guard !changed.isEmpty else {
            resize = nil
            return pod
        }
        if let refusal = context.resources.resize(pod) {
            if resize != refusal {
                record(pod, .warning, "Resize" + refusal.reason, refusal.message)
                resize = refusal
            }
            return given(pod)
        }
        do throws(RuntimeError) {
            try await apply(pod, changed)
            resize = nil
            record(pod, .normal, "ResizeCompleted", "Pod resize completed")
        } catch {
            resize = Resize(type: "PodResizeInProgress", reason: "Error", message: error.message)
            record(pod, .warning, "ResizeError", error.message)
            wake(after: .seconds(10), for: "resize")
        }
        return given(pod)
    }

    /// What a container that was adopted has, by the API's record.
    private func inherited(_ container: ContainerSpec, _ pod: Pod) -> JSON? {
        guard state.latest(container.name) != nil else { return nil }
        let statuses = pod.status["containerStatuses"].elements + pod.status["initContainerStatuses"].elements
        guard let known = statuses.first(where: { $0["name"].string == container.name })?["resources"],
            known.object != nil
        else { return nil }
        let resources = Self.normalized(known)
        // The status tells requests that only follow from limits; the spec does not.
        if container.json["resources"]["requests"].isNull, resources["requests"] == resources["limits"] {
            return ["limits": resources["limits"], "requests": .null]
        }
        return resources
    }

    /// The pod's cgroup is first wide enough for both states, then each container changes, then the pod's is made to fit.
    private func apply(_ pod: Pod, _ changed: [ContainerSpec]) async throws(RuntimeError) {
        let machine = context.resources.machine
        let old = PodResources.pod(given(pod), on: machine)
        let new = PodResources.pod(pod, on: machine)
        if let sandbox = sandboxID {
            var wide = new
            wide.memoryLimitBytes = Self.wider(old.memoryLimitBytes, new.memoryLimitBytes)
            wide.cpuQuotaMicroseconds = Self.wider(old.cpuQuotaMicroseconds, new.cpuQuotaMicroseconds)
            try await context.runtime.updateSandboxResources(sandbox, wide)
        }
        for container in changed {
            let before = allocated[container.name] ?? .null
            if let id = runningContainer(container.name) {
                if Self.needsRestart(container, before) {
                    record(pod, container, .normal, "Killing", "Container \(container.name) resize requires restart")
                    allocated[container.name] = Self.resources(container)
                    await stop(id, container, pod, grace: pod.gracePeriod)
                    again()
                } else {
                    try await context.runtime.updateResources(
                        id,
                        PodResources.container(container, of: pod, on: machine))
                }
            }
            allocated[container.name] = Self.resources(container)
        }
        if let sandbox = sandboxID { try await context.runtime.updateSandboxResources(sandbox, new) }
    }

    private static func wider(_ a: Int64?, _ b: Int64?) -> Int64? {
        guard let a, let b else { return nil }
        return max(a, b)
    }

    /// By the container's resizePolicy, for the resources that change.
    private static func needsRestart(_ container: ContainerSpec, _ before: JSON) -> Bool {
        container.json["resizePolicy"].elements.contains { policy in
            guard policy["restartPolicy"].string == "RestartContainer", let name = policy["resourceName"].string else {
                return false
            }
            let after = resources(container)
            return ["limits", "requests"].contains { before[$0][name] != after[$0][name] }
        }
    }
}
