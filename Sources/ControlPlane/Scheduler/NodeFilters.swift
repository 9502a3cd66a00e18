internal import Codecs
internal import KubeAPI

/// Whether a pod may run on a node, and how well it would. Reasons are upstream's texts.
/// Source: k8s.io/kubernetes/pkg/scheduler/framework/plugins.
struct NodeFilters: Sendable {
    let demand: PodDemand
    private let selector: [String: String]
    private let affinity: JSON
    private let tolerations: [JSON]

    init(_ pod: KubeObject) {
        demand = PodDemand(pod)
        selector = pod.spec["nodeSelector"].stringMap
        affinity = pod.spec["affinity"]["nodeAffinity"]
        tolerations = pod.spec["tolerations"].elements
    }

    /// Whether taking pods away from the node could not help: it is not (only) room that is missing.
    func isHopeless(_ reasons: [String], on node: ClusterState.Node) -> Bool {
        let wants = demand.requests
        let there = node.allocatable
        if wants.milliCPU > there.milliCPU || wants.memory > there.memory
            || wants.ephemeralStorage > there.ephemeralStorage
            || wants.scalars.contains(where: { $0.value > there.scalars[$0.key] ?? 0 })
        {
            return true
        }
        return reasons.contains { $0.hasPrefix("node(s)") && $0 != Self.noPorts }
    }
    private static let noPorts = "node(s) didn't have free ports for the requested pod ports"

    /// Empty: it fits.
    func reasons(against node: ClusterState.Node) -> [String] {
        if node.unschedulable, !tolerates("node.kubernetes.io/unschedulable", "", "NoSchedule") {
            return ["node(s) were unschedulable"]
        }
        for taint in node.taints where taint.effect == "NoSchedule" || taint.effect == "NoExecute" {
            if !tolerates(taint.key, taint.value, taint.effect) { return ["node(s) had untolerated taint(s)"] }
        }
        guard matchesSelectors(node) else {
            return ["node(s) didn't match Pod's node affinity/selector"]
        }
        if demand.ports.contains(where: { port in node.ports.contains { PodDemand.conflict(port, $0) } }) {
            return [Self.noPorts]
        }
        var reasons: [String] = []
        if node.pods + 1 > node.podLimit { reasons.append("Too many pods") }
        let wants = demand.requests
        func check(_ name: String, _ want: Int64, _ used: Int64, _ there: Int64) {
            if want > 0, want > there - used { reasons.append("Insufficient \(name)") }
        }
        check("cpu", wants.milliCPU, node.used.milliCPU, node.allocatable.milliCPU)
        check("memory", wants.memory, node.used.memory, node.allocatable.memory)
        check(
            "ephemeral-storage", wants.ephemeralStorage, node.used.ephemeralStorage, node.allocatable.ephemeralStorage)
        for (name, want) in wants.scalars.sorted(by: { $0.key < $1.key }) {
            check(name, want, node.used.scalars[name] ?? 0, node.allocatable.scalars[name] ?? 0)
        }
        return reasons
    }

    private func tolerates(_ key: String, _ value: String, _ effect: String) -> Bool {
        let taint = ClusterState.Taint(key: key, value: value, effect: effect)
        return tolerations.contains { Self.tolerates($0, taint) }
    }

    static func tolerates(_ toleration: JSON, _ taint: ClusterState.Taint) -> Bool {
        let (key, value, effect) = (taint.key, taint.value, taint.effect)
        if let wanted = toleration["effect"].string, !wanted.isEmpty, wanted != effect { return false }
        let name = toleration["key"].string ?? ""
        if toleration["operator"].string == "Exists" { return name.isEmpty || name == key }
        return name == key && (toleration["value"].string ?? "") == value
    }

    /// Node selector and required node affinity.
    func matchesSelectors(_ node: ClusterState.Node) -> Bool {
        selector.allSatisfy { node.labels[$0.key] == $0.value } && matchesRequiredAffinity(node)
    }

    private func matchesRequiredAffinity(_ node: ClusterState.Node) -> Bool {
        let required = affinity["requiredDuringSchedulingIgnoredDuringExecution"]
        guard !required.isNull else { return true }
        return required["nodeSelectorTerms"].elements.contains { Self.matches($0, node) }
    }

    static func matches(_ term: JSON, _ node: ClusterState.Node) -> Bool {
        let expressions = term["matchExpressions"].elements
        let fields = term["matchFields"].elements
        guard !expressions.isEmpty || !fields.isEmpty else { return false }
        return expressions.allSatisfy { matches($0, value: node.labels[$0["key"].string ?? ""]) }
            && fields.allSatisfy { matches($0, value: $0["key"].string == "metadata.name" ? node.name : nil) }
    }

    private static func matches(_ requirement: JSON, value: String?) -> Bool {
        let values = requirement["values"].elements.compactMap(\.string)
        switch requirement["operator"].string ?? "" {
        case "In": return value.map(values.contains) ?? false
        case "NotIn": return value.map { !values.contains($0) } ?? true
        case "Exists": return value != nil
        case "DoesNotExist": return value == nil
        case "Gt", "Lt":
            guard let have = value.flatMap({ Int64($0) }), let bound = values.first.flatMap({ Int64($0) }) else {
                return false
            }
            return requirement["operator"].string == "Gt" ? have > bound : have < bound
        default: return false
        }
    }

    // MARK: - Scores

    /// Higher is better; of the weights that upstream's default profile gives.
    func score(_ node: ClusterState.Node) -> Int64 {
        let cpu = share(node.scored.milliCPU + demand.scored.milliCPU, node.allocatable.milliCPU)
        let memory = share(node.scored.memory + demand.scored.memory, node.allocatable.memory)
        let least = Int64((1 - cpu) * 50 + (1 - memory) * 50)
        let balanced = Int64(100 - abs(cpu - memory) * 50)
        let disliked = node.taints.filter {
            $0.effect == "PreferNoSchedule" && !tolerates($0.key, $0.value, $0.effect)
        }
        var preferred: Int64 = 0
        for term in affinity["preferredDuringSchedulingIgnoredDuringExecution"].elements
        where Self.matches(term["preference"], node) {
            preferred += term["weight"].int(or: 0)
        }
        return least + balanced - Int64(disliked.count) * 300 + preferred * 2
    }

    private func share(_ used: Int64, _ there: Int64) -> Double {
        there > 0 ? min(1, Double(used) / Double(there)) : 1
    }
}
