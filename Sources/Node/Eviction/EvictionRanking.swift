internal import Codecs
package import KubeAPI

/// What a running pod uses of what may run out, beside what it asked for.
package struct EvictionCandidate: Sendable {
    package struct Container: Sendable {
        package var name: String
        package var memory: Int64 = 0
        package var memoryRequest: Int64 = 0
        /// Written layer and logs.
        package var disk: Int64 = 0
        package var diskRequest: Int64 = 0
        package init(name: String) { self.name = name }
    }
    package var uid: String
    package var name = ""
    package var priority: Int64 = 0
    package var containers: [Container] = []
    /// Of the pod's cgroup.
    package var memory: Int64 = 0
    package var memoryRequest: Int64 = 0
    package var processes: Int64 = 0
    /// Containers and emptyDir volumes.
    package var disk: Int64 = 0
    package var diskRequest: Int64 = 0
    package var inodes: Int64 = 0
    package init(uid: String) { self.uid = uid }

    func usage(_ signal: EvictionSignal) -> (used: Int64, request: Int64) {
        switch signal {
        case .memoryAvailable: (memory, memoryRequest)
        case .pidAvailable: (processes, 0)
        case .nodeFSInodesFree, .imageFSInodesFree: (inodes, 0)
        case .nodeFSAvailable, .imageFSAvailable: (disk, diskRequest)
        }
    }
}

package enum EvictionRanking {
    /// Who goes first: those that use more than they asked for (not asked of processes), then by priority, then by how
    /// much more. Source: rankMemoryPressure, rankDiskPressureFunc, rankPIDPressure.
    package static func ranked(_ pods: [EvictionCandidate], for signal: EvictionSignal) -> [EvictionCandidate] {
        func key(_ pod: EvictionCandidate) -> (Int, Int64, Int64, String) {
            let (used, request) = pod.usage(signal)
            let exceeds = signal == .pidAvailable || used > request
            return (exceeds ? 0 : 1, pod.priority, request - used, pod.uid)
        }
        return pods.map { (key($0), $0) }.sorted { $0.0 < $1.0 }.map(\.1)
    }

    /// In the pod's status and event.
    package static func message(_ pod: EvictionCandidate, _ met: EvictionState.Met) -> String {
        let signal = met.threshold.signal
        let resource = signal.resource
        func text(_ amount: Int64) -> String {
            Quantity(amount, format: signal.isCount ? .decimalSI : .binarySI).description
        }
        var message = "The node was low on resource: \(resource). "
        let threshold = met.threshold.amount.value(of: met.observation.capacity)
        message += "Threshold quantity: \(text(threshold)), available: \(text(met.observation.available)). "
        guard resource == "memory" || resource == "ephemeral-storage" else { return message }
        for container in pod.containers {
            let (used, request) =
                resource == "memory"
                ? (container.memory, container.memoryRequest) : (container.disk, container.diskRequest)
            guard used > request else { continue }
            message +=
                "Container \(container.name) was using \(text(used)), request is \(text(request)), "
                + "has larger consumption of \(resource). "
        }
        return message
    }
}
