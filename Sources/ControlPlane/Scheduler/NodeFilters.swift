internal import Codecs
internal import KubeAPI

/// The parts of the default profile that can refuse a node, in the order in which they are asked.
struct SchedulerPlugins: OptionSet, Sendable {
    var rawValue: UInt16
    static let unschedulable = Self(rawValue: 1)
    static let name = Self(rawValue: 2)
    static let taints = Self(rawValue: 4)
    static let nodeAffinity = Self(rawValue: 8)
    static let ports = Self(rawValue: 16)
    static let resources = Self(rawValue: 32)
    static let volumes = Self(rawValue: 64)
    static let spread = Self(rawValue: 128)
    static let podAffinity = Self(rawValue: 256)
    static let devices = Self(rawValue: 512)

    /// Which changes may help a pod that these have refused. Source: the plugins' EventsToRegister.
    var helpedBy: ClusterChange {
        var changes: ClusterChange = .nodeAdded
        if !isDisjoint(with: [.unschedulable, .taints]) { changes.insert(.nodeTaints) }
        if contains(.nodeAffinity) { changes.insert(.nodeLabels) }
        if contains(.ports) { changes.insert(.podGone) }
        if contains(.resources) { changes.formUnion([.podGone, .nodeRoom]) }
        if contains(.volumes) { changes.formUnion([.podGone, .nodeLabels, .storage]) }
        if contains(.devices) { changes.formUnion([.nodeLabels, .devices]) }
        if contains(.spread) { changes.formUnion([.podGone, .podAdded, .nodeLabels, .nodeTaints, .nodeGone]) }
        if contains(.podAffinity) { changes.formUnion([.podGone, .podAdded, .nodeLabels, .namespaceLabels]) }
        return changes
    }
}

/// Why a pod may not run on a node. Reasons are upstream's texts.
struct Refusal: Sendable, Equatable {
    var plugin: SchedulerPlugins
    var reasons: [String]
    /// Taking pods away from the node could not help.
    var isHopeless: Bool

    init(_ plugin: SchedulerPlugins, _ reason: String, hopeless: Bool = true) {
        (self.plugin, reasons, isHopeless) = (plugin, [reason], hopeless)
    }
}

/// One attempt to place one pod: what has to be known of the whole cluster for it, and the questions to a node.
/// Source: k8s.io/kubernetes/pkg/scheduler/framework/plugins.
struct NodeFilters: Sendable {
    let waiting: WaitingPod
    private var spread: SpreadCounts
    private var affinity: AffinityCounts
    private let volumes: VolumeNeeds
    private let devices: DeviceNeeds
    private let added: NodeSelection?
    private let wants: Amounts
    private let ports: [PodDemand.Port]
    private let usesRoom: Bool

    init(
        _ waiting: WaitingPod, _ cluster: ClusterState, namespaces: NamespaceLabels = [:],
        volumes: VolumeNeeds = VolumeNeeds(), devices: DeviceNeeds = DeviceNeeds(),
        profile: SchedulerProfile = SchedulerProfile()
    ) {
        self.waiting = waiting
        self.volumes = volumes
        self.devices = devices
        spread = SpreadCounts(waiting, cluster)
        affinity = AffinityCounts(waiting, cluster, namespaces)
        added = profile.addedAffinity
        ports = waiting.pod.demand.ports
        wants = waiting.pod.demand.requests
        usesRoom =
            wants.milliCPU > 0 || wants.memory > 0 || wants.ephemeralStorage > 0 || !wants.scalars.isEmpty
    }

    /// A pod of the node counts, or counts no longer: for trying out what would be.
    mutating func adjust(_ placed: ClusterState.Placed, _ sign: Int32, _ cluster: ClusterState) {
        spread.adjust(placed, sign, waiting, cluster)
        affinity.adjust(placed, sign, waiting, cluster)
    }

    /// nil: it fits.
    func refusal(of i: Int, _ cluster: ClusterState) -> Refusal? {
        let room = cluster.rooms[i]
        if room.unschedulable, !waiting.tolerates(.unschedulable) {
            return Refusal(.unschedulable, "node(s) were unschedulable")
        }
        if !waiting.nodeName.isEmpty, waiting.nodeName != cluster.nodes[i].name {
            return Refusal(.name, "node(s) didn't match the requested node name")
        }
        if room.isTainted, !waiting.toleratesHard(cluster.nodes[i].taints) {
            return Refusal(.taints, "node(s) had untolerated taint(s)")
        }
        if let added, !added.matches(cluster.nodes[i]) {
            return Refusal(.nodeAffinity, "node(s) didn't match scheduler-enforced node affinity")
        }
        if !waiting.selection.isEverything, !waiting.selection.matches(cluster.nodes[i]) {
            return Refusal(.nodeAffinity, "node(s) didn't match Pod's node affinity/selector")
        }
        if !ports.isEmpty, !cluster.nodes[i].ports.isEmpty,
            ports.contains(where: { port in
                cluster.nodes[i].ports.contains { PodDemand.conflict(port, $0) }
            })
        {
            return Refusal(.ports, "node(s) didn't have free ports for the requested pod ports", hopeless: false)
        }
        if let refusal = lacksRoom(room, i, cluster) { return refusal }
        if !volumes.isEmpty, let refusal = volumes.refusal(of: i, cluster, waiting.pod) { return refusal }
        if !spread.isEmpty {
            switch spread.check(cluster.nodes[i]) {
            case .fits: break
            case .missingLabel:
                return Refusal(
                    .spread, "node(s) didn't match pod topology spread constraints (missing required label)")
            case .skewed:
                return Refusal(.spread, "node(s) didn't match pod topology spread constraints", hopeless: false)
            }
        }
        if let refusal = refusedByPods(cluster.nodes[i]) { return refusal }
        // Last, as it costs most.
        return devices.isEmpty ? nil : devices.refusal(of: cluster.nodes[i])
    }

    private func refusedByPods(_ node: ClusterState.Node) -> Refusal? {
        if affinity.isIdle { return nil }
        switch affinity.check(node, waiting.pod) {
        case .fits: return nil
        case .notNear: return Refusal(.podAffinity, "node(s) didn't match pod affinity rules")
        case .notApart:
            return Refusal(.podAffinity, "node(s) didn't match pod anti-affinity rules", hopeless: false)
        case .refused:
            return Refusal(
                .podAffinity, "node(s) didn't satisfy existing pods anti-affinity rules", hopeless: false)
        }
    }

    private func lacksRoom(_ room: ClusterState.Room, _ i: Int, _ cluster: ClusterState) -> Refusal? {
        if room.pods < room.podLimit {
            if !usesRoom { return nil }
            if wants.scalars.isEmpty, wants.milliCPU == 0 || wants.milliCPU <= room.milliCPU &- max(0, room.usedCPU),
                wants.memory == 0 || wants.memory <= room.memory &- max(0, room.usedMemory),
                wants.ephemeralStorage == 0
                    || wants.ephemeralStorage <= room.ephemeralStorage &- max(0, room.usedStorage)
            {
                return nil
            }
        }
        var reasons: [String] = []
        var isHopeless = false
        if room.pods + 1 > room.podLimit { reasons.append("Too many pods") }
        func check(_ name: String, _ want: Int64, _ used: Int64, _ there: Int64) {
            guard want > 0, want > there &- max(0, used) else { return }
            reasons.append("Insufficient \(name)")
            if want > there { isHopeless = true }
        }
        check("cpu", wants.milliCPU, room.usedCPU, room.milliCPU)
        check("memory", wants.memory, room.usedMemory, room.memory)
        check("ephemeral-storage", wants.ephemeralStorage, room.usedStorage, room.ephemeralStorage)
        if !wants.scalars.isEmpty {
            let node = cluster.nodes[i]
            for (name, want) in wants.scalars.sorted(by: { $0.key < $1.key }) {
                check(name, want, node.usedScalars[name] ?? 0, node.scalars[name] ?? 0)
            }
        }
        guard !reasons.isEmpty else { return nil }
        var refusal = Refusal(.resources, "", hopeless: isHopeless)
        refusal.reasons = reasons
        return refusal
    }
}
