internal import Codecs
internal import KubeAPI

/// Amounts of what a node has and a pod asks for: milli-CPUs, bytes, pieces.
struct Amounts: Sendable, Hashable {
    var milliCPU: Int64 = 0
    var memory: Int64 = 0
    var ephemeralStorage: Int64 = 0
    /// More than anybody has; small enough that sums of many are numbers still.
    private static let limit: Int64 = 1 << 56

    /// Extended resources and huge pages; almost always empty.
    var scalars: [String: Int64] = [:]

    init() {}
    init(_ json: JSON) {
        guard let object = json.object else { return }
        for (name, value) in object {
            guard let quantity = value.quantity else { continue }
            switch name {
            case "cpu": milliCPU = min(quantity.milliValue, Self.limit)
            case "memory": memory = min(quantity.value, Self.limit)
            case "ephemeral-storage": ephemeralStorage = min(quantity.value, Self.limit)
            case "pods": break
            default: scalars[name] = min(quantity.value, Self.limit)
            }
        }
    }

    static func += (a: inout Self, b: Self) {
        a.milliCPU &+= b.milliCPU
        a.memory &+= b.memory
        a.ephemeralStorage &+= b.ephemeralStorage
        if !b.scalars.isEmpty { a.scalars.merge(b.scalars, uniquingKeysWith: &+) }
    }
    static func -= (a: inout Self, b: Self) {
        a.milliCPU -= b.milliCPU
        a.memory -= b.memory
        a.ephemeralStorage -= b.ephemeralStorage
        for (name, value) in b.scalars { a.scalars[name, default: 0] -= value }
    }
    mutating func formMaximum(_ b: Self) {
        milliCPU = max(milliCPU, b.milliCPU)
        memory = max(memory, b.memory)
        ephemeralStorage = max(ephemeralStorage, b.ephemeralStorage)
        scalars.merge(b.scalars, uniquingKeysWith: max)
    }
}

extension JSON {
    /// A quantity may be written as text or as a number.
    var quantity: Quantity? {
        switch self {
        case .string(let text): Quantity(text)
        case .int(let i): Quantity(i)
        case .double(let d): Quantity(d.description)
        default: nil
        }
    }
}

/// What a pod takes of its node. Source: KEP-753 (sidecars), k8s.io/component-helpers/resource.
struct PodDemand: Sendable, Hashable {
    struct Port: Sendable, Hashable {
        var transport: String
        var address: String
        var number: Int64
    }
    var requests = Amounts()
    /// As above, but at least 100m and 200 MB for each container that asks for nothing: for scores only.
    var scored = Amounts()
    var ports: [Port] = []

    init() {}
    init(_ pod: KubeObject) {
        let spec = pod.spec
        let resizing = Resizing(pod)
        var (sum, sumScored) = (Amounts(), Amounts())
        for container in spec["containers"].elements {
            let own = resizing.amounts(of: container)
            sum += own
            sumScored += Self.withDefaults(own)
            ports += Self.ports(of: container, hostNetwork: spec["hostNetwork"].bool ?? false)
        }
        // Init containers run one by one beside the sidecars that were started before them.
        var sidecars = Amounts()
        var peak = Amounts()
        for container in spec["initContainers"].elements {
            let isSidecar = container["restartPolicy"].string == "Always"
            var own = isSidecar ? resizing.amounts(of: container) : Amounts(container["resources"]["requests"])
            if isSidecar {
                sum += own
                sumScored += Self.withDefaults(own)
                sidecars += own
                own = sidecars
                ports += Self.ports(of: container, hostNetwork: spec["hostNetwork"].bool ?? false)
            } else {
                own += sidecars
            }
            peak.formMaximum(own)
        }
        sum.formMaximum(peak)
        sumScored.formMaximum(peak)
        // What is asked for the pod as a whole takes the place of its containers' sum (KEP-2837).
        let whole = Amounts(spec["resources"]["requests"])
        for amount in [\Amounts.milliCPU, \Amounts.memory] where whole[keyPath: amount] > 0 {
            sum[keyPath: amount] = whole[keyPath: amount]
            sumScored[keyPath: amount] = whole[keyPath: amount]
        }
        for (name, amount) in whole.scalars {
            sum.scalars[name] = amount
            sumScored.scalars[name] = amount
        }
        let overhead = Amounts(spec["overhead"])
        sum += overhead
        sumScored += overhead
        (requests, scored) = (sum, sumScored)
    }

    /// A pod that is resized where it runs takes what it has and what it will have, until the kubelet has done it
    /// (KEP-1287); what cannot be given on this node does not count.
    private struct Resizing {
        private let statuses: [JSON]
        private let isImpossible: Bool

        init(_ pod: KubeObject) {
            statuses = (pod.status["containerStatuses"].elements + pod.status["initContainerStatuses"].elements).filter
            {
                !$0["allocatedResources"].isNull || !$0["resources"]["requests"].isNull
            }
            isImpossible = !statuses.isEmpty && pod.condition("PodResizePending")["reason"].string == "Infeasible"
        }

        func amounts(of container: JSON) -> Amounts {
            let asked = Amounts(container["resources"]["requests"])
            guard !statuses.isEmpty, let status = statuses.first(where: { $0["name"] == container["name"] }) else {
                return asked
            }
            var amounts = Amounts(status["allocatedResources"])
            amounts.formMaximum(Amounts(status["resources"]["requests"]))
            if !isImpossible { amounts.formMaximum(asked) }
            return amounts
        }
    }

    private static func withDefaults(_ amounts: Amounts) -> Amounts {
        var amounts = amounts
        if amounts.milliCPU == 0 { amounts.milliCPU = 100 }
        if amounts.memory == 0 { amounts.memory = 200 << 20 }
        return amounts
    }

    private static func ports(of container: JSON, hostNetwork: Bool) -> [Port] {
        container["ports"].elements.compactMap { port in
            let number = port["hostPort"].int ?? (hostNetwork ? port["containerPort"].int : nil) ?? 0
            guard number > 0 else { return nil }
            return Port(
                transport: port["protocol"].string ?? "TCP", address: port["hostIP"].string ?? "0.0.0.0", number: number
            )
        }
    }

    static func conflict(_ a: Port, _ b: Port) -> Bool {
        a.number == b.number && a.transport == b.transport
            && (a.address == b.address || a.address == "0.0.0.0" || b.address == "0.0.0.0" || a.address.isEmpty
                || b.address.isEmpty)
    }
}
