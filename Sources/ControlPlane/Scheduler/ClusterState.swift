internal import Codecs
internal import KubeAPI

/// The nodes and what is taken of them: the one thing that the scheduler remembers between pods.
///
/// Two arrays with equal indices: `rooms` holds the numbers that every decision goes through, `nodes` what only some
/// look at. Pods are counted, not kept: a pod is a node, a class and two numbers (`Placed`), and pods that are equal for
/// the scheduler share a `PodClass`.
struct ClusterState: Sendable {
    /// What a node has and what is taken: milli-CPUs, bytes, pods.
    struct Room: Sendable {
        var milliCPU: Int64 = 0
        var memory: Int64 = 0
        var ephemeralStorage: Int64 = 0
        var podLimit: Int64 = 0
        var usedCPU: Int64 = 0
        var usedMemory: Int64 = 0
        var usedStorage: Int64 = 0
        var pods: Int64 = 0
        /// As used, with at least something for each container: for scores only.
        var scoredCPU: Int64 = 0
        var scoredMemory: Int64 = 0
        /// The node exists, not only pods that name it.
        var exists = false
        var unschedulable = false
        var isTainted = false
    }

    struct Node: Sendable {
        var name = ""
        var labels = LabelSet()
        var taints: [Taint] = []
        /// Extended resources and huge pages; almost always empty.
        var scalars: [String: Int64] = [:]
        var usedScalars: [String: Int64] = [:]
        var ports: [PodDemand.Port] = []
        /// Hashes of image names, sorted.
        var images: [UInt64] = []
        var groups: [Group] = []
    }

    /// Pods of one class on one node.
    struct Group: Sendable {
        var podClass: Int32
        var count: Int32
        /// Those of them that are on their way out.
        var leaving: Int32
    }

    struct Placed: Sendable {
        var node: Int32
        var podClass: Int32
        var priority: Int32
        var isLeaving: Bool
        /// Asked to go by a scheduler, to make room.
        var isPreempted: Bool
        /// Chosen for the node, but nobody has said yet that it is there.
        var isAssumed = false
        /// Seconds since 1970; when the pod started, or was made.
        var started: Int64
    }

    private(set) var rooms: [Room] = []
    private(set) var nodes: [Node] = []
    private(set) var nodeCount = 0
    private var index: [String: Int] = [:]
    private var freeSlots: [Int] = []
    private(set) var pods: [PodID: Placed] = [:]
    private(set) var classes = PodClasses()
    private(set) var images: [UInt64: (size: Int64, nodes: Int32)] = [:]

    func slot(of name: String) -> Int? {
        index[name].flatMap { rooms[$0].exists ? $0 : nil }
    }

    mutating func forgetNodes() {
        for i in rooms.indices {
            rooms[i].exists = false
            dropImages(i)
            nodes[i].images = []
            release(i)
        }
        nodeCount = 0
    }
    mutating func forgetPods() {
        for id in Array(pods.keys) { _ = remove(id) }
    }

    private mutating func slot(named name: String) -> Int {
        if let i = index[name] { return i }
        let i = freeSlots.popLast() ?? rooms.count
        if i == rooms.count {
            rooms.append(Room())
            nodes.append(Node())
        } else {
            (rooms[i], nodes[i]) = (Room(), Node())
        }
        nodes[i].name = name
        index[name] = i
        return i
    }

    private mutating func release(_ i: Int) {
        guard !rooms[i].exists, rooms[i].pods == 0, index.removeValue(forKey: nodes[i].name) != nil else { return }
        (rooms[i], nodes[i]) = (Room(), Node())
        freeSlots.append(i)
    }

    private mutating func dropImages(_ i: Int) {
        for image in nodes[i].images {
            guard var entry = images[image] else { continue }
            entry.nodes -= 1
            images[image] = entry.nodes > 0 ? entry : nil
        }
    }

    /// Returns what became different.
    mutating func update(node object: KubeObject, deleted: Bool) -> ClusterChange {
        if deleted {
            guard let i = index[object.name] else { return [] }
            if rooms[i].exists { nodeCount -= 1 }
            rooms[i].exists = false
            dropImages(i)
            nodes[i].images = []
            release(i)
            return .nodeGone
        }
        let i = slot(named: object.name)
        var change: ClusterChange = []
        if !rooms[i].exists {
            nodeCount += 1
            change = .nodeAdded
        }
        let labels = LabelSet(object.metadata["labels"])
        if nodes[i].labels != labels {
            nodes[i].labels = labels
            change.insert(.nodeLabels)
        }
        let taints = object.spec["taints"].elements.map(Taint.init)
        if nodes[i].taints != taints {
            nodes[i].taints = taints
            change.insert(.nodeTaints)
        }
        let allocatable = object.status["allocatable"].isNull ? object.status["capacity"] : object.status["allocatable"]
        let has = Amounts(allocatable)
        var room = rooms[i]
        room.exists = true
        room.unschedulable = object.spec["unschedulable"].bool ?? false
        if room.unschedulable != rooms[i].unschedulable { change.insert(.nodeTaints) }
        room.isTainted = !taints.isEmpty
        (room.milliCPU, room.memory, room.ephemeralStorage) = (has.milliCPU, has.memory, has.ephemeralStorage)
        room.podLimit = allocatable["pods"].quantity?.value ?? 0
        if room.milliCPU != rooms[i].milliCPU || room.memory != rooms[i].memory
            || room.ephemeralStorage != rooms[i].ephemeralStorage || room.podLimit != rooms[i].podLimit
            || has.scalars != nodes[i].scalars
        {
            change.insert(.nodeRoom)
        }
        rooms[i] = room
        nodes[i].scalars = has.scalars
        setImages(object.status["images"], i)
        return change
    }

    private mutating func setImages(_ list: JSON, _ i: Int) {
        var hashes: [UInt64] = []
        var sizes: [UInt64: Int64] = [:]
        for image in list.elements {
            let size = image["sizeBytes"].int ?? 0
            for name in image["names"].elements {
                let hash = PodID.hash(name.string ?? "")
                if sizes.updateValue(size, forKey: hash) == nil { hashes.append(hash) }
            }
        }
        hashes.sort()
        guard hashes != nodes[i].images else { return }
        dropImages(i)
        nodes[i].images = hashes
        for hash in hashes {
            images[hash] = (sizes[hash] ?? 0, (images[hash]?.nodes ?? 0) + 1)
        }
    }

    // MARK: - Pods

    /// Returns what became different.
    mutating func update(pod object: KubeObject, deleted: Bool) -> ClusterChange {
        let phase = object.podPhase
        let node = object.spec["nodeName"].string ?? ""
        let id = PodID(object.uid)
        if deleted || phase == "Succeeded" || phase == "Failed" { return remove(id) ? .podGone : [] }
        guard !node.isEmpty else { return [] }
        return place(SchedulingPod(object), on: node)
    }

    @discardableResult
    mutating func place(_ pod: SchedulingPod, on node: String, assumed: Bool = false) -> ClusterChange {
        var change: ClusterChange = .podAdded
        if let placed = pods[pod.id] {
            if nodes[Int(placed.node)].name == node, classes[placed.podClass] == pod.podClass,
                placed.priority == pod.priority, placed.isLeaving == pod.isLeaving
            {
                pods[pod.id]?.isPreempted = pod.isPreempted
                pods[pod.id]?.started = pod.started
                pods[pod.id]?.isAssumed = assumed
                return placed.isAssumed && !assumed ? .podAdded : []
            }
            let isSame = classes[placed.podClass] == pod.podClass && !placed.isAssumed
            change = isSame ? [] : [.podAdded, .podGone]
            _ = remove(pod.id)
        }
        let i = slot(named: node)
        let placed = Placed(
            node: Int32(i), podClass: classes.enter(pod.podClass), priority: pod.priority, isLeaving: pod.isLeaving,
            isPreempted: pod.isPreempted, isAssumed: assumed, started: pod.started)
        pods[pod.id] = placed
        count(placed, 1)
        return change
    }

    @discardableResult
    mutating func remove(_ id: PodID) -> Bool {
        guard let placed = pods.removeValue(forKey: id) else { return false }
        count(placed, -1)
        classes.leave(placed.podClass)
        release(Int(placed.node))
        return true
    }

    mutating func enterClass(_ podClass: PodClass) -> Int32 { classes.enter(podClass) }
    mutating func leaveClass(_ number: Int32) { classes.leave(number) }

    /// Counts a pod where it is, or no longer does: also for trying out what would be without it.
    mutating func count(_ placed: Placed, _ sign: Int32) {
        let i = Int(placed.node)
        let (n, demand) = (Int64(sign), classes[placed.podClass].demand)
        rooms[i].usedCPU &+= n &* demand.requests.milliCPU
        rooms[i].usedMemory &+= n &* demand.requests.memory
        rooms[i].usedStorage &+= n &* demand.requests.ephemeralStorage
        rooms[i].scoredCPU &+= n &* demand.scored.milliCPU
        rooms[i].scoredMemory &+= n &* demand.scored.memory
        rooms[i].pods += n
        for (name, amount) in demand.requests.scalars { nodes[i].usedScalars[name, default: 0] &+= n &* amount }
        for port in demand.ports {
            if sign > 0 {
                nodes[i].ports.append(port)
            } else if let at = nodes[i].ports.firstIndex(of: port) {
                nodes[i].ports.remove(at: at)
            }
        }
        let leaving = placed.isLeaving ? sign : 0
        if let at = nodes[i].groups.firstIndex(where: { $0.podClass == placed.podClass }) {
            nodes[i].groups[at].count += sign
            nodes[i].groups[at].leaving += leaving
            if nodes[i].groups[at].count == 0 { nodes[i].groups.remove(at: at) }
        } else {
            nodes[i].groups.append(Group(podClass: placed.podClass, count: sign, leaving: leaving))
        }
    }
}

/// What an event changed, for those who wait. Source of the distinctions: k8s.io/kube-scheduler/framework.ClusterEvent.
struct ClusterChange: OptionSet, Sendable {
    var rawValue: UInt16
    static let nodeAdded = Self(rawValue: 1)
    static let nodeLabels = Self(rawValue: 2)
    static let nodeTaints = Self(rawValue: 4)
    static let nodeRoom = Self(rawValue: 8)
    static let nodeGone = Self(rawValue: 16)
    static let podAdded = Self(rawValue: 32)
    static let podGone = Self(rawValue: 64)
    static let namespaceLabels = Self(rawValue: 128)
    static let storage = Self(rawValue: 256)
    static let devices = Self(rawValue: 512)
}
