internal import Containers
internal import KubeAPI
internal import Logging
import Synchronization

/// The cgroups above the pods': "kubepods" holds what the node gives to pods, "kubepods/burstable" and
/// "kubepods/besteffort" the shares of their class, so that in contention guaranteed pods come before burstable and
/// those before best-effort ones. Source: k8s.io/kubernetes/pkg/kubelet/cm/qos_container_manager_linux.go and
/// node_container_manager_linux.go (enforceNodeAllocatable=pods).
final class QOSCgroups: Sendable {
    private let resources: NodeResources
    private let runtime: any ContainerRuntime
    private let logger: Logger
    private struct State {
        var applied: [String: ContainerResources] = [:]
        var isRunning = false
        var isStale = false
    }
    private let state = Mutex(State())

    init(_ context: NodeContext) {
        (resources, runtime, logger) = (context.resources, context.runtime, context.logger)
    }

    /// Applies what is the case now, and again whenever the pods' requests change.
    func start() {
        resources.onChange { [weak self] in self?.update() }
        update()
    }

    /// By path; a class without pods keeps the least shares. `node`: what all pods may use.
    static func limits(
        node amounts: [String: Quantity], burstableMilliCPU: Int64, limitsSwap: Bool = false
    ) -> [(path: String, resources: ContainerResources)] {
        var node = ContainerResources()
        if let cpu = amounts["cpu"] { node.cpuShares = PodResources.shares(milliCPU: cpu.milliValue) }
        if let memory = amounts["memory"], memory.value > 0 { node.memoryLimitBytes = memory.value }
        var burstable = ContainerResources()
        burstable.cpuShares = PodResources.shares(milliCPU: burstableMilliCPU)
        if let processes = amounts["pid"], processes.value > 0 { node.pidsLimit = processes.value }
        // Otherwise nobody below may swap, whatever it is allowed.
        if limitsSwap { node.swapLimitBytes = -1 }
        var bestEffort = ContainerResources()
        bestEffort.cpuShares = 2
        return [("kubepods", node), ("kubepods/burstable", burstable), ("kubepods/besteffort", bestEffort)]
    }

    /// One at a time: changes that arrive meanwhile are taken together.
    private func update() {
        let first = state.withLock { state in
            state.isStale = true
            defer { state.isRunning = true }
            return !state.isRunning
        }
        guard first else { return }
        Task {
            while state.withLock({ state in
                defer { state.isStale = false }
                if !state.isStale { state.isRunning = false }
                return state.isStale
            }) { await apply() }
        }
    }

    private func apply() async {
        let amounts = resources.enforced
        guard !amounts.isEmpty else { return }
        let wanted = Self.limits(
            node: amounts, burstableMilliCPU: resources.burstableMilliCPU, limitsSwap: resources.machine.limitsSwap)
        for (path, limits) in wanted
        where state.withLock({ $0.applied[path] }) != limits {
            do throws(RuntimeError) {
                try await runtime.updateCgroup(path, limits)
                state.withLock { $0.applied[path] = limits }
            } catch { logger.warning("\(error.message)") }
        }
    }
}
