internal import Codecs
internal import KubeAPI

/// How well nodes that fit would do, each part normalised to 0...100 and weighed as the profile says.
struct NodeScores {
    let waiting: WaitingPod
    let profile: SchedulerProfile
    let namespaces: NamespaceLabels

    /// One sum for each of the feasible nodes.
    func sums(_ cluster: ClusterState, feasible: [Int]) -> [Int64] {
        var sums = [Int64](repeating: 0, count: feasible.count)
        func add(_ plugin: String, _ scores: () -> [Int64]?) {
            guard let weight = profile.weights[plugin], let scores = scores() else { return }
            for i in sums.indices { sums[i] += weight * scores[i] }
        }
        add("TaintToleration") { taints(cluster, feasible) }
        add("NodeAffinity") { nodeAffinity(cluster, feasible) }
        add("NodeResourcesFit") { feasible.map { room($0, cluster) } }
        add("NodeResourcesBalancedAllocation") { balance(cluster, feasible) }
        add("PodTopologySpread") {
            SpreadScore(waiting, cluster, feasible: feasible)?.scores(cluster, feasible: feasible)
        }
        add("InterPodAffinity") {
            AffinityScore(waiting, cluster, namespaces, profile)?.scores(cluster, feasible: feasible)
        }
        add("ImageLocality") { images(cluster, feasible) }
        return sums
    }

    /// The fewer taints of the kind "rather not", the better.
    private func taints(_ cluster: ClusterState, _ feasible: [Int]) -> [Int64]? {
        guard feasible.contains(where: { cluster.rooms[$0].isTainted }) else { return nil }
        let soft = waiting.tolerations.filter { $0.effect.isEmpty || $0.effect == "PreferNoSchedule" }
        let counts = feasible.map { i in
            Int64(
                cluster.nodes[i].taints.count { taint in
                    taint.effect == "PreferNoSchedule" && !soft.contains { $0.tolerates(taint) }
                })
        }
        let most = counts.max() ?? 0
        return most == 0 ? nil : counts.map { 100 - 100 * $0 / most }
    }

    private func nodeAffinity(_ cluster: ClusterState, _ feasible: [Int]) -> [Int64]? {
        let preferred = waiting.selection.preferred + (profile.addedAffinity?.preferred ?? [])
        guard !preferred.isEmpty else { return nil }
        let sums = feasible.map { i in
            preferred.reduce(Int64(0)) { $0 + ($1.term.matches(cluster.nodes[i]) ? $1.weight : 0) }
        }
        let most = sums.max() ?? 0
        return most == 0 ? nil : sums.map { 100 * $0 / most }
    }

    private enum Kind { case scored, requested }

    /// What would be used and what there is of a resource.
    private func amounts(_ name: String, _ i: Int, _ cluster: ClusterState, _ kind: Kind) -> (Int64, Int64) {
        let demand = waiting.pod.demand
        let room = cluster.rooms[i]
        switch name {
        case "cpu":
            return kind == .scored
                ? (room.scoredCPU &+ demand.scored.milliCPU, room.milliCPU)
                : (room.usedCPU &+ demand.requests.milliCPU, room.milliCPU)
        case "memory":
            return kind == .scored
                ? (room.scoredMemory &+ demand.scored.memory, room.memory)
                : (room.usedMemory &+ demand.requests.memory, room.memory)
        case "ephemeral-storage":
            return (room.usedStorage &+ demand.requests.ephemeralStorage, room.ephemeralStorage)
        default:
            // A pod that asks for none of it does not care who has it.
            guard let wanted = demand.requests.scalars[name] else { return (0, 0) }
            return ((cluster.nodes[i].usedScalars[name] ?? 0) + wanted, cluster.nodes[i].scalars[name] ?? 0)
        }
    }

    /// NodeResourcesFit: room that would be left (or taken, by the strategy).
    func room(_ i: Int, _ cluster: ClusterState) -> Int64 {
        var (sum, weights): (Int64, Int64) = (0, 0)
        for (name, weight) in profile.resources {
            let (used, there) = amounts(name, i, cluster, .scored)
            guard there > 0 else { continue }
            switch profile.strategy {
            case .leastAllocated:
                sum += weight * (used > there || used < 0 ? 0 : percent(there - used, there))
                weights += weight
            case .mostAllocated:
                sum += weight * percent(min(max(0, used), there), there)
                weights += weight
            case .requestedToCapacity(let shape):
                let score = Self.interpolate(shape, used > there ? 100 : percent(used, there))
                guard score > 0 else { continue }
                sum += weight * score
                weights += weight
            }
        }
        return weights == 0 ? 0 : sum / weights
    }

    private func percent(_ part: Int64, _ whole: Int64) -> Int64 {
        let (product, overflow) = part.multipliedReportingOverflow(by: 100)
        return overflow ? part / (whole / 100) : product / whole
    }

    /// The shape's scores go to 10, ours to 100.
    static func interpolate(_ shape: [(Int64, Int64)], _ x: Int64) -> Int64 {
        for (n, point) in shape.enumerated() where x <= point.0 {
            guard n > 0 else { return 10 * shape[0].1 }
            let before = shape[n - 1]
            return 10 * before.1 + 10 * (point.1 - before.1) * (x - before.0) / (point.0 - before.0)
        }
        return 10 * (shape.last?.1 ?? 0)
    }

    /// The closer the shares of CPU and memory that are used, the better.
    private func balance(_ cluster: ClusterState, _ feasible: [Int]) -> [Int64]? {
        let wants = waiting.pod.demand.requests
        let asks = profile.balanced.contains { name in
            switch name {
            case "cpu": wants.milliCPU > 0
            case "memory": wants.memory > 0
            case "ephemeral-storage": wants.ephemeralStorage > 0
            default: (wants.scalars[name] ?? 0) > 0
            }
        }
        guard asks else { return nil }
        return feasible.map { i in
            var shares: (Double, Double) = (0, 0)
            var (count, sum, squares) = (0.0, 0.0, 0.0)
            for name in profile.balanced {
                let (used, there) = amounts(name, i, cluster, .requested)
                guard there > 0 else { continue }
                let share = min(1, Double(used) / Double(there))
                if count == 0 { shares.0 = share } else { shares.1 = share }
                count += 1
                sum += share
                squares += share * share
            }
            guard count > 1 else { return 100 }
            if count == 2 { return Int64((1 - abs(shares.0 - shares.1) / 2) * 100) }
            let mean = sum / count
            return Int64((1 - max(0, squares / count - mean * mean).squareRoot()) * 100)
        }
    }

    /// Images that are there already, by size, and by how many nodes have them.
    private func images(_ cluster: ClusterState, _ feasible: [Int]) -> [Int64]? {
        let known = waiting.images.compactMap { hash in
            cluster.images[hash].map { (hash, Double($0.size) * Double($0.nodes) / Double(max(1, cluster.nodeCount))) }
        }
        guard !known.isEmpty else { return nil }
        let least: Int64 = 23 << 20
        let most = Int64(waiting.containers) * (1000 << 20)
        return feasible.map { i in
            var sum: Int64 = 0
            for (hash, size) in known where cluster.nodes[i].images.sortedContains(hash) { sum += Int64(size) }
            return 100 * (min(max(sum, least), most) - least) / (most - least)
        }
    }
}

extension Array where Element: Comparable {
    /// Whether a value is among elements that are in their order, found by halving.
    func sortedContains(_ value: Element) -> Bool {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if self[middle] < value { low = middle + 1 } else { high = middle }
        }
        return low < count && self[low] == value
    }
}
