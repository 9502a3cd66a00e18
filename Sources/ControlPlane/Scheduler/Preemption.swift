internal import KubeAPI

/// A disruption budget, as far as it matters for choosing victims.
struct VictimBudget: Sendable {
    var namespace: String
    var selector: LabelSelector
    var allowed: Int64
}

/// Which pods have to go from which node, so that a more important one can run there. A value: nothing is done here.
/// Source: k8s.io/kubernetes/pkg/scheduler/framework/preemption, .../plugins/defaultpreemption.
struct Preemption {
    struct Victim: Equatable {
        var id: PodID
        var placed: ClusterState.Placed
        static func == (a: Self, b: Self) -> Bool { a.id == b.id }
    }
    struct Candidate {
        var node: Int
        /// The most important first.
        var victims: [Victim]
        var violations: Int
    }

    let waiting: WaitingPod
    let budgets: [VictimBudget]
    /// Why nodes that were tried did not help, by reason.
    private(set) var reasons: [String: Int] = [:]

    init(_ waiting: WaitingPod, budgets: [VictimBudget]) {
        (self.waiting, self.budgets) = (waiting, budgets)
    }

    /// - Parameters:
    ///   - nodes: those where somebody's going might help.
    ///   - cluster: is as before afterwards.
    ///   - refuses: whether the pod would not fit, with the cluster as it is at that moment.
    mutating func best(
        _ nodes: [Int], _ cluster: inout ClusterState, _ filters: inout NodeFilters,
        refuses: (Int, inout ClusterState, inout NodeFilters) -> Refusal?
    ) -> Candidate? {
        var lower: [Int32: [Victim]] = [:]
        for (id, placed) in cluster.pods where placed.priority < waiting.pod.priority {
            lower[placed.node, default: []].append(Victim(id: id, placed: placed))
        }
        // As many as upstream looks at: a tenth of the nodes, at least a hundred.
        let enough = max(100, cluster.nodeCount / 10)
        var found: [Candidate] = []
        for node in nodes {
            guard let potential = lower[Int32(node)], !potential.isEmpty else {
                reasons["No preemption victims found for incoming pod", default: 0] += 1
                continue
            }
            guard found.count < enough else { break }
            if let candidate = victims(on: node, of: potential, &cluster, &filters, refuses) {
                found.append(candidate)
            }
        }
        return found.min(by: isBetter)
    }

    private mutating func victims(
        on node: Int, of potential: [Victim], _ cluster: inout ClusterState, _ filters: inout NodeFilters,
        _ refuses: (Int, inout ClusterState, inout NodeFilters) -> Refusal?
    ) -> Candidate? {
        func change(_ victim: Victim, _ sign: Int32) {
            filters.adjust(victim.placed, sign, cluster)
            cluster.count(victim.placed, sign)
        }
        let sorted = potential.sorted(by: Self.isMoreImportant)
        for victim in sorted { change(victim, -1) }
        if let refusal = refuses(node, &cluster, &filters) {
            for victim in sorted { change(victim, 1) }
            for reason in refusal.reasons { reasons[reason, default: 0] += 1 }
            return nil
        }
        let (violating, others) = split(sorted, cluster)
        var victims: [Victim] = []
        var violations = 0
        // Who can stay, stays: first those that a budget protects.
        for (list, counts) in [(violating, 1), (others, 0)] {
            for victim in list {
                change(victim, 1)
                if refuses(node, &cluster, &filters) != nil {
                    change(victim, -1)
                    victims.append(victim)
                    violations += counts
                }
            }
        }
        for victim in victims { change(victim, 1) }
        return Candidate(node: node, victims: victims.sorted(by: Self.isMoreImportant), violations: violations)
    }

    private func split(_ sorted: [Victim], _ cluster: ClusterState) -> (violating: [Victim], others: [Victim]) {
        guard !budgets.isEmpty else { return ([], sorted) }
        var left = budgets.map(\.allowed)
        var (violating, others): ([Victim], [Victim]) = ([], [])
        for victim in sorted {
            let podClass = cluster.classes[victim.placed.podClass]
            var isViolation = false
            if !podClass.labels.labels.isEmpty {
                for (i, budget) in budgets.enumerated()
                where budget.namespace == podClass.namespace && !budget.selector.isEverything
                    && podClass.labels.matches(budget.selector)
                {
                    left[i] -= 1
                    if left[i] < 0 { isViolation = true }
                }
            }
            if isViolation { violating.append(victim) } else { others.append(victim) }
        }
        return (violating, others)
    }

    static func isMoreImportant(_ a: Victim, _ b: Victim) -> Bool {
        if a.placed.priority != b.placed.priority { return a.placed.priority > b.placed.priority }
        return a.placed.started < b.placed.started
    }

    /// Fewest broken budgets, least important victims, few victims, the youngest.
    private func isBetter(_ a: Candidate, _ b: Candidate) -> Bool {
        if a.violations != b.violations { return a.violations < b.violations }
        let (x, y) = (a.victims.first?.placed.priority ?? .min, b.victims.first?.placed.priority ?? .min)
        if x != y { return x < y }
        let (s, t) = (sum(a), sum(b))
        if s != t { return s < t }
        if a.victims.count != b.victims.count { return a.victims.count < b.victims.count }
        let (u, v) = (earliest(a), earliest(b))
        if u != v { return u > v }
        return a.node < b.node
    }
    /// Each counts above zero, so that fewer are better even with negative priorities.
    private func sum(_ candidate: Candidate) -> Int64 {
        candidate.victims.reduce(0) { $0 + Int64($1.placed.priority) + Int64(Int32.max) + 1 }
    }
    private func earliest(_ candidate: Candidate) -> Int64 {
        let top = candidate.victims.first?.placed.priority
        return candidate.victims.filter { $0.placed.priority == top }.map(\.placed.started).min() ?? .max
    }
}
