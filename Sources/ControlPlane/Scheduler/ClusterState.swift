internal import Codecs
internal import KubeAPI

/// The nodes and what is taken of them: the one thing that the scheduler remembers between pods.
struct ClusterState: Sendable {
    struct Node: Sendable {
        var name = ""
        var labels: [String: String] = [:]
        var taints: [Taint] = []
        var unschedulable = false
        var allocatable = Amounts()
        var podLimit: Int64 = 110
        var used = Amounts()
        var scored = Amounts()
        var pods: Int64 = 0
        var ports: [PodDemand.Port] = []
    }

    struct Taint: Sendable, Equatable {
        var key: String
        var value: String
        var effect: String
        init(key: String, value: String, effect: String) {
            (self.key, self.value, self.effect) = (key, value, effect)
        }
        init(_ json: JSON) {
            key = json["key"].string ?? ""
            value = json["value"].string ?? ""
            effect = json["effect"].string ?? ""
        }
    }

    private struct Placed: Sendable {
        var node: String
        var demand: PodDemand
    }

    private(set) var nodes: [String: Node] = [:]
    private var pods: [String: Placed] = [:]

    mutating func forgetNodes() {
        for name in nodes.keys { nodes[name]?.name = "" }
    }
    mutating func forgetPods() {
        pods = [:]
        for name in nodes.keys {
            nodes[name]?.used = Amounts()
            nodes[name]?.scored = Amounts()
            nodes[name]?.pods = 0
            nodes[name]?.ports = []
        }
    }

    /// Nodes that exist, not only have pods.
    var existing: [Node] { nodes.values.filter { !$0.name.isEmpty } }

    /// Returns whether a pod that did not fit might fit now.
    mutating func update(node object: KubeObject, deleted: Bool) -> Bool {
        let name = object.name
        var node = nodes[name] ?? Node()
        if deleted {
            node.name = ""
            nodes[name] = node.pods > 0 ? node : nil
            return false
        }
        let before = node
        node.name = name
        node.labels = object.labels
        node.taints = object.spec["taints"].elements.map(Taint.init)
        node.unschedulable = object.spec["unschedulable"].bool ?? false
        let allocatable = object.status["allocatable"].isNull ? object.status["capacity"] : object.status["allocatable"]
        node.allocatable = Amounts(allocatable)
        node.podLimit = allocatable["pods"].quantity?.value ?? 0
        nodes[name] = node
        return before.name.isEmpty || before.labels != node.labels || before.taints != node.taints
            || before.unschedulable != node.unschedulable || before.allocatable != node.allocatable
            || before.podLimit != node.podLimit
    }

    /// Returns whether something became free.
    mutating func update(pod object: KubeObject, deleted: Bool) -> Bool {
        let phase = object.podPhase
        let node = object.spec["nodeName"].string ?? ""
        if deleted || phase == "Succeeded" || phase == "Failed" { return remove(object.uid) }
        if !node.isEmpty { place(object.uid, PodDemand(object), on: node) }
        return false
    }

    mutating func place(_ uid: String, _ demand: PodDemand, on node: String) {
        if let placed = pods[uid] {
            if placed.node == node, placed.demand == demand { return }
            _ = remove(uid)
        }
        pods[uid] = Placed(node: node, demand: demand)
        nodes[node, default: Node()].used += demand.requests
        nodes[node, default: Node()].scored += demand.scored
        nodes[node, default: Node()].pods += 1
        nodes[node, default: Node()].ports += demand.ports
    }

    mutating func remove(_ uid: String) -> Bool {
        guard let placed = pods.removeValue(forKey: uid), var node = nodes[placed.node] else { return false }
        node.used -= placed.demand.requests
        node.scored -= placed.demand.scored
        node.pods -= 1
        for port in placed.demand.ports { if let i = node.ports.firstIndex(of: port) { node.ports.remove(at: i) } }
        nodes[placed.node] = node.name.isEmpty && node.pods == 0 ? nil : node
        return true
    }
}
