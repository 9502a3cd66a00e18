internal import Codecs
internal import KubeAPI

/// What a pod asks of other pods: near them, away from them. Source: KEP-2249 (namespaceSelector), KEP-3633
/// (matchLabelKeys, mismatchLabelKeys).
struct PodAffinity: Sendable {
    struct Term: Sendable {
        let key: String
        var selector: LabelSelector
        var namespaces: Set<String>
        var namespaceSelector: LabelSelector?
        /// 0 with what is required.
        let weight: Int64

        init(_ json: JSON, weight: Int64, namespace: String, labels: LabelSet) {
            self.weight = weight
            key = json["topologyKey"].string ?? ""
            selector = (try? LabelSelector(json: json["labelSelector"])) ?? .nothing
            for key in json["matchLabelKeys"].elements.compactMap(\.string) {
                if let value = labels[key] { selector.requirements.append(.init(key, .in([value]))) }
            }
            for key in json["mismatchLabelKeys"].elements.compactMap(\.string) {
                if let value = labels[key] { selector.requirements.append(.init(key, .notIn([value]))) }
            }
            namespaces = Set(json["namespaces"].elements.compactMap(\.string))
            if !json["namespaceSelector"].isNull {
                namespaceSelector = try? LabelSelector(json: json["namespaceSelector"])
            } else if namespaces.isEmpty {
                namespaces = [namespace]
            }
        }

        func matches(_ podClass: PodClass, _ known: NamespaceLabels) -> Bool {
            guard namespaces.contains(podClass.namespace) || selects(podClass.namespace, known) else { return false }
            return podClass.labels.matches(selector)
        }
        private func selects(_ namespace: String, _ known: NamespaceLabels) -> Bool {
            guard let namespaceSelector else { return false }
            return namespaceSelector.isEverything || (known[namespace] ?? LabelSet()).matches(namespaceSelector)
        }
    }

    private(set) var near: [Term] = []
    private(set) var apart: [Term] = []
    private(set) var preferredNear: [Term] = []
    private(set) var preferredApart: [Term] = []

    var isEmpty: Bool { near.isEmpty && apart.isEmpty && preferredNear.isEmpty && preferredApart.isEmpty }
    /// Some term can only be judged with the labels of namespaces.
    var needsNamespaces: Bool {
        (near + apart + preferredNear + preferredApart).contains { !($0.namespaceSelector?.isEverything ?? true) }
    }

    init() {}
    init(_ json: JSON, namespace: String, labels: LabelSet) {
        func required(_ kind: String) -> [Term] {
            json[kind]["requiredDuringSchedulingIgnoredDuringExecution"].elements.map {
                Term($0, weight: 0, namespace: namespace, labels: labels)
            }
        }
        func preferred(_ kind: String) -> [Term] {
            json[kind]["preferredDuringSchedulingIgnoredDuringExecution"].elements.map {
                Term($0["podAffinityTerm"], weight: $0["weight"].int(or: 0), namespace: namespace, labels: labels)
            }
        }
        near = required("podAffinity")
        apart = required("podAntiAffinity")
        preferredNear = preferred("podAffinity")
        preferredApart = preferred("podAntiAffinity")
    }
}

typealias NamespaceLabels = [String: LabelSet]

/// A value of a topology key: a zone, a host.
private struct Domain: Hashable {
    var key: String
    var value: String
}

/// Where the pods are that a pod must be near to or away from, and those that want to be away from it.
struct AffinityCounts: Sendable {
    private var near: [Domain: Int] = [:]
    private var apart: [Domain: Int] = [:]
    private var refusing: [Domain: Int] = [:]
    private let known: NamespaceLabels
    /// The pod would be the first of those that it wants to be near to.
    private let startsGroup: Bool
    private let asks: Bool
    private let isNeeded: Bool
    /// Every node would do.
    var isIdle: Bool { !asks && refusing.isEmpty }

    init(_ waiting: WaitingPod, _ cluster: ClusterState, _ known: NamespaceLabels) {
        self.known = known
        let own = waiting.pod.podClass
        let terms = own.affinity
        startsGroup = terms.near.allSatisfy { $0.matches(own, known) }
        let refusers = cluster.classes.withAffinity.filter { number in
            cluster.classes[number].affinity.apart.contains { $0.matches(own, known) }
        }
        asks = !terms.near.isEmpty || !terms.apart.isEmpty
        isNeeded = asks || !refusers.isEmpty
        guard isNeeded else { return }
        // Each class is looked at once, not each pod.
        var relevant = [Bool](repeating: false, count: cluster.classes.count)
        for number in refusers { relevant[Int(number)] = true }
        if asks {
            for number in relevant.indices where cluster.classes.isUsed(number) {
                let other = cluster.classes[Int32(number)]
                if !terms.near.isEmpty, terms.near.allSatisfy({ $0.matches(other, known) }) { relevant[number] = true }
                if terms.apart.contains(where: { $0.matches(other, known) }) { relevant[number] = true }
            }
        }
        for i in cluster.nodes.indices where cluster.rooms[i].exists {
            for group in cluster.nodes[i].groups where relevant[Int(group.podClass)] {
                add(cluster.classes[group.podClass], Int(group.count), cluster.nodes[i], own)
            }
        }
    }

    private mutating func add(_ other: PodClass, _ count: Int, _ node: ClusterState.Node, _ own: PodClass) {
        for term in other.affinity.apart where term.matches(own, known) {
            if let value = node.labels[term.key] {
                Self.add(&refusing, Domain(key: term.key, value: value), count)
            }
        }
        let terms = own.affinity
        if !terms.near.isEmpty, terms.near.allSatisfy({ $0.matches(other, known) }) {
            for term in terms.near {
                if let value = node.labels[term.key] { Self.add(&near, Domain(key: term.key, value: value), count) }
            }
        }
        for term in terms.apart where term.matches(other, known) {
            if let value = node.labels[term.key] { Self.add(&apart, Domain(key: term.key, value: value), count) }
        }
    }
    private static func add(_ counts: inout [Domain: Int], _ domain: Domain, _ count: Int) {
        let sum = (counts[domain] ?? 0) + count
        counts[domain] = sum == 0 ? nil : sum
    }

    mutating func adjust(
        _ placed: ClusterState.Placed, _ sign: Int32, _ waiting: WaitingPod, _ cluster: ClusterState
    ) {
        guard isNeeded || !cluster.classes[placed.podClass].affinity.isEmpty else { return }
        add(
            cluster.classes[placed.podClass], Int(sign), cluster.nodes[Int(placed.node)], waiting.pod.podClass)
    }

    enum Verdict { case fits, notNear, notApart, refused }

    func check(_ node: ClusterState.Node, _ pod: SchedulingPod) -> Verdict {
        let terms = pod.podClass.affinity
        if !terms.near.isEmpty {
            var areThere = true
            for term in terms.near {
                guard let value = node.labels[term.key] else { return .notNear }
                if (near[Domain(key: term.key, value: value)] ?? 0) <= 0 { areThere = false }
            }
            if !areThere, !(near.isEmpty && startsGroup) { return .notNear }
        }
        for term in terms.apart where !apart.isEmpty {
            if let value = node.labels[term.key], (apart[Domain(key: term.key, value: value)] ?? 0) > 0 {
                return .notApart
            }
        }
        if !refusing.isEmpty {
            for label in node.labels.labels
            where (refusing[Domain(key: label.key, value: label.value)] ?? 0) > 0 {
                return .refused
            }
        }
        return .fits
    }
}

/// The preference for nodes near to and away from other pods, in both directions.
struct AffinityScore {
    private var weights: [Domain: Int64] = [:]

    /// nil: nobody prefers anything.
    init?(_ waiting: WaitingPod, _ cluster: ClusterState, _ known: NamespaceLabels, _ profile: SchedulerProfile) {
        let own = waiting.pod.podClass
        let terms = own.affinity
        let asks = !terms.preferredNear.isEmpty || !terms.preferredApart.isEmpty
        let others = !profile.ignoresPreferredTermsOfExistingPods || asks
        guard asks || (others && !cluster.classes.withAffinity.isEmpty) else { return nil }
        // What each class says for its nodes: a list of keys and weights, worked out once.
        var said: [[(key: String, weight: Int64)]?] = Array(repeating: nil, count: cluster.classes.count)
        for i in cluster.nodes.indices where cluster.rooms[i].exists {
            for group in cluster.nodes[i].groups {
                let number = Int(group.podClass)
                let list: [(key: String, weight: Int64)]
                if let known = said[number] {
                    list = known
                } else {
                    list = Self.preferences(own, cluster.classes[group.podClass], known, profile)
                    said[number] = list
                }
                for (key, weight) in list {
                    guard let value = cluster.nodes[i].labels[key] else { continue }
                    weights[Domain(key: key, value: value), default: 0] += weight * Int64(group.count)
                }
            }
        }
        if weights.isEmpty { return nil }
    }

    private static func preferences(
        _ own: PodClass, _ other: PodClass, _ known: NamespaceLabels, _ profile: SchedulerProfile
    ) -> [(key: String, weight: Int64)] {
        var list: [(key: String, weight: Int64)] = []
        for term in own.affinity.preferredNear where term.matches(other, known) { list.append((term.key, term.weight)) }
        for term in own.affinity.preferredApart where term.matches(other, known) {
            list.append((term.key, -term.weight))
        }
        if profile.hardAffinityWeight > 0 {
            for term in other.affinity.near where term.matches(own, known) {
                list.append((term.key, profile.hardAffinityWeight))
            }
        }
        if !profile.ignoresPreferredTermsOfExistingPods {
            for term in other.affinity.preferredNear where term.matches(own, known) {
                list.append((term.key, term.weight))
            }
            for term in other.affinity.preferredApart where term.matches(own, known) {
                list.append((term.key, -term.weight))
            }
        }
        return list
    }

    /// Normalised to 0...100.
    func scores(_ cluster: ClusterState, feasible: [Int]) -> [Int64] {
        let keys = Set(weights.keys.map(\.key))
        let raw = feasible.map { i in
            keys.reduce(Int64(0)) { sum, key in
                guard let value = cluster.nodes[i].labels[key] else { return sum }
                return sum + (weights[Domain(key: key, value: value)] ?? 0)
            }
        }
        let (low, high) = (raw.min() ?? 0, raw.max() ?? 0)
        return raw.map { high > low ? Int64(100 * (Double($0 - low) / Double(high - low))) : 0 }
    }
}
