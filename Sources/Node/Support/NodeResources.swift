internal import Codecs
package import KubeAPI
import Synchronization

/// What the node has to give and what its pods have been given: the base of admission.
package final class NodeResources: Sendable {
    private struct State {
        var allocatable: [String: Quantity] = [:]
        var capacity: [String: Quantity] = [:]
        var enforced: [String: Quantity] = [:]
        var machine = PodResources.Machine()
        var given: [String: [String: Quantity]] = [:]
        /// (address, protocol, port) of host ports, by pod.
        var ports: [String: [HostPort]] = [:]
        var labels: [String: String] = [:]
        /// CPU requests of the burstable pods, by uid, in thousandths.
        var burstable: [String: Int64] = [:]
        var changed: (@Sendable () -> Void)?
    }
    struct HostPort: Sendable, Equatable {
        var address: String
        var transport: String
        var port: Int64
        func conflicts(_ other: HostPort) -> Bool {
            transport == other.transport && port == other.port
                && (address == other.address || isEveryAddress || other.isEveryAddress)
        }
        private var isEveryAddress: Bool { address == "0.0.0.0" || address == "::" }
    }
    private let state = Mutex(State())

    package init() {}

    package func set(allocatable: [String: Quantity]) {
        state.withLock { $0.allocatable = allocatable }
        tell()
    }
    /// What there is, what all pods together are held to, and what counts for the limits of containers.
    package func set(
        capacity: [String: Quantity], enforced: [String: Quantity], machine: PodResources.Machine
    ) {
        state.withLock { ($0.capacity, $0.enforced, $0.machine) = (capacity, enforced, machine) }
        tell()
    }
    package var capacity: [String: Quantity] { state.withLock { $0.capacity } }
    package var enforced: [String: Quantity] { state.withLock { $0.enforced } }
    package var machine: PodResources.Machine { state.withLock { $0.machine } }
    package func set(labels: [String: String]) { state.withLock { $0.labels = labels } }
    package var allocatable: [String: Quantity] { state.withLock { $0.allocatable } }
    package var labels: [String: String] { state.withLock { $0.labels } }

    /// Called when what the pods have been given has changed.
    package func onChange(_ body: @escaping @Sendable () -> Void) { state.withLock { $0.changed = body } }
    var burstableMilliCPU: Int64 { state.withLock { $0.burstable.values.reduce(0, +) } }

    private static func note(_ pod: Pod, _ state: inout State) {
        state.burstable[pod.uid] = pod.qosClass == .burstable ? pod.request("cpu").milliValue : nil
    }

    private func tell() { state.withLock { $0.changed }?() }

    /// Takes what the pod asks for without a look at what is left: for pods that run already.
    func take(_ pod: Pod) {
        let request = Self.request(pod)
        let ports = Self.hostPorts(pod)
        state.withLock { state in
            state.given[pod.uid] = request
            Self.note(pod, &state)
            if !ports.isEmpty { state.ports[pod.uid] = ports }
        }
        tell()
    }

    func release(_ uid: String) {
        state.withLock { state in
            state.given[uid] = nil
            state.burstable[uid] = nil
            state.ports[uid] = nil
        }
        tell()
    }

    /// Takes what the pod asks for, or says why not.
    func admit(_ pod: Pod) -> PodStatusBuilder.Verdict? {
        let request = Self.request(pod)
        let ports = Self.hostPorts(pod)
        defer { tell() }
        return state.withLock { state in
            if !state.allocatable.isEmpty {
                for (resource, amount) in request.sorted(by: { $0.key < $1.key }) where amount > .zero {
                    let capacity = state.allocatable[resource] ?? .zero
                    let used = state.given.values.reduce(Quantity.zero) { $0 + ($1[resource] ?? .zero) }
                    guard used + amount > capacity else { continue }
                    let numbers =
                        resource == "cpu"
                        ? (amount.milliValue, used.milliValue, capacity.milliValue)
                        : (amount.value, used.value, capacity.value)
                    return PodStatusBuilder.Verdict(
                        "OutOf\(resource)",
                        "Node didn't have enough resource: \(resource), requested: \(numbers.0), used: \(numbers.1), capacity: \(numbers.2)"
                    )
                }
            }
            for port in ports where state.ports.values.contains(where: { $0.contains(where: port.conflicts) }) {
                return PodStatusBuilder.Verdict("NodePorts", "Predicate NodePorts failed")
            }
            state.given[pod.uid] = request
            Self.note(pod, &state)
            if !ports.isEmpty { state.ports[pod.uid] = ports }
            return nil
        }
    }

    /// How much more the node would need to take the pod; CPU in thousandths.
    func shortage(of pod: Pod) -> [String: Int64] {
        let request = Self.numbers(pod)
        return state.withLock { state in
            var missing: [String: Int64] = [:]
            for (resource, amount) in request {
                let capacity = Self.number(state.allocatable[resource] ?? .zero, resource)
                let used = state.given.values.reduce(0) { $0 + Self.number($1[resource] ?? .zero, resource) }
                // Whoever names the node itself may ask for any amount.
                let (sum, isTooMuch) = used.addingReportingOverflow(amount)
                let wanted = isTooMuch ? Int64.max : sum
                if wanted > capacity { missing[resource] = wanted - capacity }
            }
            return missing
        }
    }

    /// Whether one of these pods has not given back what it had.
    func hasAny(_ uids: [String]) -> Bool { state.withLock { state in uids.contains { state.given[$0] != nil } } }

    /// What a pod asks for; CPU in thousandths.
    static func numbers(_ pod: Pod) -> [String: Int64] {
        var numbers: [String: Int64] = [:]
        for (resource, amount) in request(pod) { numbers[resource] = number(amount, resource) }
        return numbers
    }

    private static func number(_ amount: Quantity, _ resource: String) -> Int64 {
        resource == "cpu" ? amount.milliValue : amount.value
    }

    /// Gives the pod what it asks for now in place of what it had, or says why not.
    func resize(_ pod: Pod) -> PodWorker.Resize? {
        let request = Self.request(pod)
        defer { tell() }
        return state.withLock { state in
            guard !state.allocatable.isEmpty else { return nil }
            for (resource, amount) in request.sorted(by: { $0.key < $1.key }) where amount > .zero {
                let capacity = state.allocatable[resource] ?? .zero
                let number = { (amount: Quantity) in resource == "cpu" ? amount.milliValue : amount.value }
                if amount > capacity {
                    return PodWorker.Resize(
                        type: "PodResizePending", reason: "Infeasible",
                        message:
                            "Node didn't have enough capacity: \(resource), requested: \(number(amount)), capacity: \(number(capacity))"
                    )
                }
                let others = state.given.filter { $0.key != pod.uid }.values
                let used = others.reduce(Quantity.zero) { $0 + ($1[resource] ?? .zero) }
                if used + amount > capacity {
                    return PodWorker.Resize(
                        type: "PodResizePending", reason: "Deferred",
                        message: "Node didn't have enough resource: \(resource)")
                }
            }
            state.given[pod.uid] = request
            Self.note(pod, &state)
            return nil
        }
    }

    private static func request(_ pod: Pod) -> [String: Quantity] {
        var names: Set<String> = ["cpu", "memory", "ephemeral-storage"]
        for container in pod.containers + pod.initContainers {
            for map in [container.json["resources"]["requests"], container.json["resources"]["limits"]] {
                for name in map.object?.keys ?? [] { names.insert(name) }
            }
        }
        var request = ["pods": Quantity(1)]
        for name in names {
            let amount = pod.request(name)
            if amount > .zero { request[name] = amount }
        }
        return request
    }

    private static func hostPorts(_ pod: Pod) -> [HostPort] {
        pod.containers.flatMap { container in
            container.json["ports"].elements.compactMap { port in
                guard let number = port["hostPort"].int, number > 0 else { return nil }
                let address = port["hostIP"].string.flatMap { $0.isEmpty ? nil : $0 } ?? "0.0.0.0"
                return HostPort(address: address, transport: port["protocol"].string ?? "TCP", port: number)
            }
        }
    }
}
