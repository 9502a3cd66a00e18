internal import Codecs
package import Containers
internal import KubeAPI

/// Requests and limits in the kernel's terms. Source: k8s.io/kubernetes/pkg/kubelet/cm/helpers_linux.go and qos/policy.go.
package enum PodResources {
    static let period: UInt64 = 100_000

    /// What of the node counts for the limits of its containers.
    package struct Machine: Sendable, Equatable {
        package var memory: Int64 = 0
        package var swap: Int64 = 0
        /// memorySwap.swapBehavior LimitedSwap.
        package var limitsSwap = false
        package var cpuCFSQuota = true
        package var pidsLimit: Int64 = -1
        package init() {}
    }

    package static func shares(milliCPU: Int64) -> UInt64 {
        milliCPU <= 0 ? 2 : UInt64(min(max(milliCPU * 1024 / 1000, 2), 262_144))
    }

    package static func quota(milliCPU: Int64) -> Int64? {
        milliCPU <= 0 ? nil : max(milliCPU * Int64(period) / 1000, 1000)
    }

    /// Below the node's cgroup root.
    package static func cgroupParent(_ qos: Pod.QOSClass) -> String {
        switch qos {
        case .guaranteed: "kubepods"
        case .burstable: "kubepods/burstable"
        case .bestEffort: "kubepods/besteffort"
        }
    }

    package static func oomScoreAdjustment(_ pod: Pod, _ container: ContainerSpec, memoryCapacity: Int64) -> Int {
        if pod.isNodeCritical { return -997 }
        switch pod.qosClass {
        case .guaranteed: return -997
        case .bestEffort: return 1000
        case .burstable:
            let request = container.request("memory")?.value ?? 0
            guard memoryCapacity > 0 else { return 999 }
            let score = 1000 - 1000 * request / memoryCapacity
            return Int(min(max(score, 3), 999))
        }
    }

    package static func container(
        _ container: ContainerSpec, of pod: Pod, on machine: Machine
    ) -> ContainerResources {
        var resources = ContainerResources()
        let request = container.request("cpu")?.milliValue ?? 0
        resources.cpuShares = shares(milliCPU: request)
        if machine.cpuCFSQuota, let limit = container.limit("cpu"), let quota = quota(milliCPU: limit.milliValue) {
            resources.cpuQuotaMicroseconds = quota
            resources.cpuPeriodMicroseconds = period
        }
        if let limit = container.limit("memory")?.value, limit > 0 { resources.memoryLimitBytes = limit }
        resources.hugePages = hugePages(container)
        resources.oomScoreAdj = oomScoreAdjustment(pod, container, memoryCapacity: machine.memory)
        if machine.limitsSwap { resources.swapLimitBytes = swap(container, of: pod, on: machine) }
        return resources
    }

    /// The share of the machine's swap that the container's request is of its memory; only burstable containers get any.
    /// Source: kuberuntime_container_linux.go, calcSwapForBurstablePods (KEP-2400).
    static func swap(_ container: ContainerSpec, of pod: Pod, on machine: Machine) -> Int64 {
        let request = container.request("memory")?.value ?? 0
        guard pod.qosClass == .burstable, !pod.isCritical, request > 0, machine.memory > 0,
            container.limit("memory")?.value != request
        else { return 0 }
        return Int64(clamping: Int128(request) * Int128(machine.swap) / Int128(machine.memory))
    }

    /// "hugepages-2Mi" in the kernel's name of the size, "2MB"; nil: the container asks for none.
    static func hugePages(_ container: ContainerSpec) -> [String: Int64]? {
        var sizes: [String: Int64] = [:]
        for name in container.json["resources"]["limits"].object?.keys ?? [] where name.hasPrefix("hugepages-") {
            let size = name.dropFirst("hugepages-".utf8.count)
            guard size.hasSuffix("i"), let amount = container.limit(String(name)) else { continue }
            sizes[size.dropLast() + "B"] = amount.value
        }
        return sizes.isEmpty ? nil : sizes
    }

    package static func pod(_ pod: Pod, on machine: Machine) -> ContainerResources {
        var resources = ContainerResources()
        resources.cpuShares = shares(milliCPU: pod.request("cpu").milliValue)
        if machine.cpuCFSQuota, let limit = pod.limit("cpu"), let quota = quota(milliCPU: limit.milliValue) {
            resources.cpuQuotaMicroseconds = quota
            resources.cpuPeriodMicroseconds = period
        }
        if let limit = pod.limit("memory")?.value, limit > 0 { resources.memoryLimitBytes = limit }
        if machine.pidsLimit > 0 { resources.pidsLimit = machine.pidsLimit }
        // The containers' limits count.
        if machine.limitsSwap { resources.swapLimitBytes = -1 }
        return resources
    }
}
