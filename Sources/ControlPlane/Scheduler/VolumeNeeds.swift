internal import Codecs
internal import KubeAPI

/// A volume of a pod that other pods' volumes may collide with.
struct VolumeUse: Sendable, Hashable {
    enum Kind: Sendable { case claim, disk }
    var kind: Kind
    var name: String
    var isReadOnly = false

    static func list(_ pod: KubeObject) -> [VolumeUse] {
        pod.spec["volumes"].elements.compactMap { volume in
            if let name = pod.claimName(of: volume) { return VolumeUse(kind: .claim, name: name) }
            if let iqn = volume["iscsi"]["iqn"].string {
                return VolumeUse(
                    kind: .disk, name: "iscsi \(iqn)", isReadOnly: volume["iscsi"]["readOnly"].bool ?? false)
            }
            return nil
        }
    }

    func collides(_ other: VolumeUse) -> Bool {
        kind == .disk && other.kind == .disk && name == other.name && !(isReadOnly && other.isReadOnly)
    }
}

/// What a pod's claims mean for the choice of a node: read from the API for each attempt, as few pods have any.
/// Source: the plugins VolumeBinding, VolumeZone, VolumeRestrictions and NodeVolumeLimits.
struct VolumeNeeds: Sendable {
    /// A claim that waits for the pod to have a node.
    struct Delayed: Sendable {
        var claim: KubeObject
        var storageClass: KubeObject
        /// Volumes that would do, the smallest first; where they are decides.
        var volumes: [KubeObject]
        /// Where the driver says how much it has left: its CSIStorageCapacity objects of the class.
        var capacities: [KubeObject]?
        var selectedNode: String? { claim.annotations["volume.kubernetes.io/selected-node"] }
        var isProvisioned: Bool {
            storageClass["provisioner"].string != "kubernetes.io/no-provisioner"
        }
    }

    /// No node will do, whichever it is.
    var failure: String?
    var bound: [KubeObject] = []
    var hasLostVolume = false
    var delayed: [Delayed] = []
    /// Names of claims that only one pod may have.
    var exclusive: [String] = []
    /// New CSI volumes of the pod by driver, those on nodes by claim, and how many a node can have.
    var csi: [String: Int] = [:]
    var drivers: [ObjectKey: String] = [:]
    var limits: [String: [String: Int]] = [:]
    private var hasDisks = false

    init() {}
    init(_ pod: SchedulingPod) { hasDisks = pod.podClass.volumes.contains { $0.kind == .disk } }

    var isEmpty: Bool {
        bound.isEmpty && delayed.isEmpty && !hasLostVolume && exclusive.isEmpty && csi.isEmpty && !hasDisks
    }

    /// nil: the node has, or can get, what the claims ask for.
    func refusal(of i: Int, _ cluster: ClusterState, _ pod: SchedulingPod) -> Refusal? {
        let node = cluster.nodes[i]
        if hasDisks {
            for group in node.groups {
                for other in cluster.classes[group.podClass].volumes
                where pod.podClass.volumes.contains(where: { $0.collides(other) }) {
                    return Refusal(.volumes, "node(s) had no available disk", hopeless: false)
                }
            }
        }
        if !exclusive.isEmpty, isTaken(cluster, pod) {
            return Refusal(
                .volumes,
                "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode",
                hopeless: false)
        }
        if !csi.isEmpty, exceedsLimit(node, cluster) {
            return Refusal(.volumes, "node(s) exceed max volume count", hopeless: false)
        }
        if hasLostVolume {
            return Refusal(.volumes, "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)")
        }
        for volume in bound where !Self.isReachable(volume, from: node) {
            return Refusal(.volumes, "node(s) didn't match PersistentVolume's node affinity")
        }
        if !delayed.isEmpty, plan(for: node) == nil {
            if plan(for: node, anySize: true) != nil {
                return Refusal(.volumes, "node(s) did not have enough free storage")
            }
            return Refusal(.volumes, "node(s) didn't find available persistent volumes to bind")
        }
        for volume in bound where !Self.isInZone(volume, node) {
            return Refusal(.volumes, "node(s) had no available volume zone")
        }
        return nil
    }

    private func isTaken(_ cluster: ClusterState, _ pod: SchedulingPod) -> Bool {
        for i in cluster.nodes.indices {
            for group in cluster.nodes[i].groups {
                let other = cluster.classes[group.podClass]
                if other.namespace == pod.namespace,
                    other.volumes.contains(where: { $0.kind == .claim && exclusive.contains($0.name) })
                {
                    return true
                }
            }
        }
        return false
    }

    private func exceedsLimit(_ node: ClusterState.Node, _ cluster: ClusterState) -> Bool {
        guard let limits = limits[node.name] else { return false }
        var there: [String: Set<ObjectKey>] = [:]
        for group in node.groups {
            let other = cluster.classes[group.podClass]
            for volume in other.volumes where volume.kind == .claim {
                let key = ObjectKey(namespace: other.namespace, name: volume.name)
                if let driver = drivers[key] { there[driver, default: []].insert(key) }
            }
        }
        return csi.contains { driver, count in
            limits[driver].map { (there[driver]?.count ?? 0) + count > $0 } ?? false
        }
    }

    static func isReachable(_ volume: KubeObject, from node: ClusterState.Node) -> Bool {
        let required = volume.spec["nodeAffinity"]["required"]
        guard !required.isNull else { return true }
        return required["nodeSelectorTerms"].elements.contains { NodeSelection.Term($0).matches(node) }
    }

    private static let zoneLabels = [
        "topology.kubernetes.io/zone", "topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
    ]
    private static func isInZone(_ volume: KubeObject, _ node: ClusterState.Node) -> Bool {
        let labels = volume.labels
        guard zoneLabels.contains(where: { labels[$0] != nil && node.labels[$0] != nil }) else {
            return !zoneLabels.contains { labels[$0] != nil } || !zoneLabels.contains { node.labels[$0] != nil }
        }
        return zoneLabels.allSatisfy { key in
            guard let zones = labels[key] else { return true }
            guard let own = node.labels[key] else { return false }
            // Several zones are joined by "__".
            return ("__" + zones + "__").contains("__" + own + "__")
        }
    }

    /// Which volume each claim would get on a node (nil: one that is made there); nil: that cannot be.
    func plan(for node: ClusterState.Node, anySize: Bool = false) -> [(claim: KubeObject, volume: KubeObject?)]? {
        var plan: [(claim: KubeObject, volume: KubeObject?)] = []
        var taken: Set<String> = []
        for need in delayed {
            if let selected = need.selectedNode {
                // Somebody is making it there already.
                guard selected == node.name else { return nil }
                plan.append((need.claim, nil))
                continue
            }
            let fitting = need.volumes.first { !taken.contains($0.name) && Self.isReachable($0, from: node) }
            if let fitting {
                taken.insert(fitting.name)
                plan.append((need.claim, fitting))
                continue
            }
            guard need.isProvisioned, Self.allows(need.storageClass, node), anySize || Self.hasRoom(need, node) else {
                return nil
            }
            plan.append((need.claim, nil))
        }
        return plan
    }

    /// Whether the driver has, where the node reaches it, enough in one piece. Source: volumebinding.hasEnoughCapacity.
    private static func hasRoom(_ need: Delayed, _ node: ClusterState.Node) -> Bool {
        guard let capacities = need.capacities else { return true }
        let size = need.claim.spec["resources"]["requests"]["storage"].string.flatMap { Quantity($0) } ?? .zero
        return capacities.contains { capacity in
            guard !capacity["nodeTopology"].isNull,
                let largest = (capacity["maximumVolumeSize"].string ?? capacity["capacity"].string)
                    .flatMap({ Quantity($0) }), largest >= size,
                let selector = try? LabelSelector(json: capacity["nodeTopology"])
            else { return false }
            return selector.matches { node.labels[$0] }
        }
    }

    private static func allows(_ storageClass: KubeObject, _ node: ClusterState.Node) -> Bool {
        let terms = storageClass["allowedTopologies"].elements
        return terms.isEmpty
            || terms.contains { term in
                term["matchLabelExpressions"].elements.allSatisfy { expression in
                    guard let value = node.labels[expression["key"].string ?? ""] else { return false }
                    return expression["values"].elements.contains { $0.string == value }
                }
            }
    }
}
