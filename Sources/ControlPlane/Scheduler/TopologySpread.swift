internal import Codecs
internal import KubeAPI

/// One of `spec.topologySpreadConstraints`, or of the defaults. Source: KEP-895, KEP-3022 (minDomains), KEP-3094
/// (inclusion policies), KEP-3243 (matchLabelKeys).
struct SpreadConstraint: Sendable {
    let key: String
    let maxSkew: Int
    let minDomains: Int
    var selector: LabelSelector
    let isHard: Bool
    let honorsAffinity: Bool
    let honorsTaints: Bool

    init(_ json: JSON, labels: LabelSet) {
        key = json["topologyKey"].string ?? ""
        maxSkew = Int(clamping: json["maxSkew"].int ?? 1)
        minDomains = Int(clamping: json["minDomains"].int ?? 1)
        selector = (try? LabelSelector(json: json["labelSelector"])) ?? .nothing
        for key in json["matchLabelKeys"].elements.compactMap(\.string) {
            if let value = labels[key] { selector.requirements.append(.init(key, .in([value]))) }
        }
        isHard = json["whenUnsatisfiable"].string != "ScheduleAnyway"
        honorsAffinity = json["nodeAffinityPolicy"].string != "Ignore"
        honorsTaints = json["nodeTaintsPolicy"].string == "Honor"
    }

    init(default key: String, maxSkew: Int, selector: LabelSelector) {
        (self.key, self.maxSkew, self.selector) = (key, maxSkew, selector)
        (minDomains, isHard, honorsAffinity, honorsTaints) = (1, false, true, false)
    }

    /// Whether a node's pods and its domain count for the pod's skew.
    func includes(_ node: ClusterState.Node, _ pod: WaitingPod) -> Bool {
        (!honorsAffinity || pod.selection.matches(node)) && (!honorsTaints || pod.toleratesHard(node.taints))
    }

    /// Which classes' pods count, by number of class.
    func matchingClasses(_ classes: PodClasses, _ pod: SchedulingPod) -> [Bool] {
        // Like upstream: a selector that is there and empty matches the pod itself, and counts nobody.
        let countsNobody = selector.isEverything
        return (0..<classes.count).map { number in
            guard !countsNobody, classes.isUsed(number) else { return false }
            return matches(classes[Int32(number)], pod)
        }
    }
    func matches(_ podClass: PodClass, _ pod: SchedulingPod) -> Bool {
        podClass.namespace == pod.namespace && podClass.labels.matches(selector)
    }

    static func count(_ matching: [Bool], on node: ClusterState.Node) -> Int {
        var sum = 0
        for group in node.groups where matching[Int(group.podClass)] { sum += Int(group.count - group.leaving) }
        return sum
    }
}

/// How many pods are in each domain, for the constraints that decide.
struct SpreadCounts: Sendable {
    fileprivate struct Domains: Sendable {
        var constraint: SpreadConstraint
        var matching: [Bool]
        var counts: [String: Int] = [:]
        /// 1 where the pod would be counted itself.
        var own: Int
        var smallest: Int?
    }
    private var list: [Domains] = []

    var isEmpty: Bool { list.isEmpty }

    init() {}
    init(_ waiting: WaitingPod, _ cluster: ClusterState) {
        let hard = waiting.spread.filter(\.isHard)
        guard !hard.isEmpty else { return }
        list = hard.map { constraint in
            Domains(
                constraint: constraint, matching: constraint.matchingClasses(cluster.classes, waiting.pod),
                own: waiting.pod.labels.matches(constraint.selector) ? 1 : 0)
        }
        for i in cluster.nodes.indices where cluster.rooms[i].exists {
            guard hard.allSatisfy({ cluster.nodes[i].labels[$0.key] != nil }) else { continue }
            for at in list.indices where list[at].constraint.includes(cluster.nodes[i], waiting) {
                guard let value = cluster.nodes[i].labels[list[at].constraint.key] else { continue }
                list[at].counts[value, default: 0] += SpreadConstraint.count(list[at].matching, on: cluster.nodes[i])
            }
        }
        for at in list.indices { list[at].findSmallest() }
    }

    enum Verdict { case fits, missingLabel, skewed }

    func check(_ node: ClusterState.Node) -> Verdict {
        for domains in list {
            guard let value = node.labels[domains.constraint.key] else { return .missingLabel }
            guard let smallest = domains.smallest else { continue }
            if (domains.counts[value] ?? 0) + domains.own - smallest > domains.constraint.maxSkew { return .skewed }
        }
        return .fits
    }

    /// A pod comes to or leaves a node.
    mutating func adjust(
        _ placed: ClusterState.Placed, _ sign: Int32, _ waiting: WaitingPod, _ cluster: ClusterState
    ) {
        guard !list.isEmpty, !placed.isLeaving else { return }
        let node = cluster.nodes[Int(placed.node)]
        guard list.allSatisfy({ node.labels[$0.constraint.key] != nil }) else { return }
        for at in list.indices {
            let podClass = cluster.classes[placed.podClass]
            guard !list[at].constraint.selector.isEverything, list[at].constraint.matches(podClass, waiting.pod),
                list[at].constraint.includes(node, waiting), let value = node.labels[list[at].constraint.key]
            else { continue }
            list[at].counts[value, default: 0] += Int(sign)
            list[at].findSmallest()
        }
    }
}

extension SpreadCounts.Domains {
    fileprivate mutating func findSmallest() {
        smallest = counts.count < constraint.minDomains ? 0 : counts.values.min()
    }
}

/// The preference for nodes in domains with few pods like this one.
struct SpreadScore {
    private struct Part {
        var constraint: SpreadConstraint
        var matching: [Bool]
        var counts: [String: Int] = [:]
        var weight = 0.0
        var isHostname: Bool
    }
    private var parts: [Part] = []
    private let needsAllKeys: Bool

    /// nil: no constraint to go by.
    init?(_ waiting: WaitingPod, _ cluster: ClusterState, feasible: [Int]) {
        let soft = waiting.spread.filter { !$0.isHard }
        guard !soft.isEmpty else { return nil }
        needsAllKeys = waiting.hasOwnSpread
        parts = soft.map {
            Part(
                constraint: $0, matching: $0.matchingClasses(cluster.classes, waiting.pod),
                isHostname: $0.key == "kubernetes.io/hostname")
        }
        var counted = 0
        for i in feasible {
            if needsAllKeys, isIgnored(cluster.nodes[i]) { continue }
            counted += 1
            for at in parts.indices where !parts[at].isHostname {
                if let value = cluster.nodes[i].labels[parts[at].constraint.key] { parts[at].counts[value] = 0 }
            }
        }
        for at in parts.indices {
            let size = parts[at].isHostname ? counted : parts[at].counts.count
            parts[at].weight = NaturalLogarithm.of(Double(size + 2))
        }
        guard parts.contains(where: { !$0.isHostname && !$0.counts.isEmpty }) else { return }
        for i in cluster.nodes.indices where cluster.rooms[i].exists {
            if needsAllKeys, isIgnored(cluster.nodes[i]) { continue }
            for at in parts.indices where !parts[at].isHostname {
                guard let value = cluster.nodes[i].labels[parts[at].constraint.key], parts[at].counts[value] != nil,
                    parts[at].constraint.includes(cluster.nodes[i], waiting)
                else { continue }
                parts[at].counts[value, default: 0] += SpreadConstraint.count(parts[at].matching, on: cluster.nodes[i])
            }
        }
    }

    private func isIgnored(_ node: ClusterState.Node) -> Bool {
        parts.contains { node.labels[$0.constraint.key] == nil }
    }

    /// Normalised to 0...100.
    func scores(_ cluster: ClusterState, feasible: [Int]) -> [Int64] {
        var raw: [Int64?] = []
        raw.reserveCapacity(feasible.count)
        for i in feasible {
            if needsAllKeys, isIgnored(cluster.nodes[i]) {
                raw.append(nil)
                continue
            }
            var score = 0.0
            for part in parts {
                guard let value = cluster.nodes[i].labels[part.constraint.key] else { continue }
                let count =
                    part.isHostname
                    ? SpreadConstraint.count(part.matching, on: cluster.nodes[i]) : part.counts[value] ?? 0
                score += Double(count) * part.weight + Double(part.constraint.maxSkew - 1)
            }
            raw.append(Int64(score.rounded()))
        }
        let known = raw.compactMap { $0 }
        let (low, high) = (known.min() ?? 0, known.max() ?? 0)
        return raw.map { score in
            guard let score else { return 0 }
            return high == 0 ? 100 : 100 * (high + low - score) / high
        }
    }
}

/// The product has no libm but libc's, which only the Linux module imports.
enum NaturalLogarithm {
    /// Of x > 0, to about 1e-12: x = m * 2^e, ln m by the series of artanh.
    static func of(_ x: Double) -> Double {
        guard x > 0, x.isFinite else { return 0 }
        let z = (x.significand - 1) / (x.significand + 1)
        var (sum, power) = (0.0, z)
        for n in stride(from: 1.0, through: 49, by: 2) {
            sum += power / n
            power *= z * z
        }
        return 2 * sum + Double(x.exponent) * 0.693_147_180_559_945_3
    }
}
