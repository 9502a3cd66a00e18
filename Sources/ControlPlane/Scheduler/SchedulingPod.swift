internal import Codecs
internal import KubeAPI

/// A pod as the scheduler sees it: decoded once, compared with every node.
struct SchedulingPod: Sendable {
    let id: PodID
    let key: ObjectKey
    let priority: Int32
    let podClass: PodClass
    let isLeaving: Bool
    let isPreempted: Bool
    /// Seconds since 1970.
    let started: Int64

    var namespace: String { podClass.namespace }
    var labels: LabelSet { podClass.labels }
    var demand: PodDemand { podClass.demand }

    init(_ pod: KubeObject) {
        id = PodID(pod.uid)
        key = pod.key
        priority = Int32(clamping: pod.spec["priority"].int ?? 0)
        podClass = PodClass(pod)
        isLeaving = pod.isBeingDeleted
        let disruption = pod.condition("DisruptionTarget")
        isPreempted = disruption["status"] == "True" && disruption["reason"] == "PreemptionByScheduler"
        let start = pod.status["startTime"].string ?? pod.metadata["creationTimestamp"].string
        started = start.flatMap { Timestamp($0) }?.seconds ?? 0
    }
}

/// A pod that waits for a node, with what its own placing depends on.
struct WaitingPod: Sendable {
    let pod: SchedulingPod
    let name: String
    let generation: Int64
    let preempts: Bool
    let nominated: String
    let nodeName: String
    let selection: NodeSelection
    let tolerations: [Toleration]
    /// DoNotSchedule and ScheduleAnyway, in the order of the spec.
    var spread: [SpreadConstraint]
    var hasOwnSpread: Bool
    let images: [UInt64]
    let containers: Int
    /// Of the controller, for default spreading.
    let owner: OwnerReference?

    init(_ object: KubeObject) {
        let spec = object.spec
        let own = SchedulingPod(object)
        pod = own
        (name, generation) = (object.name, object.generation)
        preempts = spec["preemptionPolicy"].string != "Never"
        nominated = object.status["nominatedNodeName"].string ?? ""
        nodeName = spec["nodeName"].string ?? ""
        selection = NodeSelection(spec)
        tolerations = spec["tolerations"].elements.map(Toleration.init)
        spread = spec["topologySpreadConstraints"].elements.map { SpreadConstraint($0, labels: own.labels) }
        hasOwnSpread = !spread.isEmpty
        let all = spec["containers"].elements + spec["initContainers"].elements
        images = all.compactMap { container in
            container["image"].string.map { PodID.hash(Self.normalized(image: $0)) }
        }
        containers = all.count
        owner = object.controller
    }

    func tolerates(_ taint: Taint) -> Bool { tolerations.contains { $0.tolerates(taint) } }
    /// No taint that keeps pods away and is not tolerated.
    func toleratesHard(_ taints: [Taint]) -> Bool {
        taints.allSatisfy { !$0.isHard || tolerates($0) }
    }

    /// As nodes name their images: with a tag.
    private static func normalized(image: String) -> String {
        let bytes = Array(image.utf8)
        let slash = bytes.lastIndex(of: UInt8(ascii: "/")) ?? -1
        guard let colon = bytes.lastIndex(of: UInt8(ascii: ":")), colon > slash else { return image + ":latest" }
        return image
    }
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
    var isHard: Bool { effect == "NoSchedule" || effect == "NoExecute" }
    static let unschedulable = Taint(key: "node.kubernetes.io/unschedulable", value: "", effect: "NoSchedule")
}

struct Toleration: Sendable {
    let key: String
    let op: String
    let value: String
    let effect: String

    init(_ json: JSON) {
        key = json["key"].string ?? ""
        op = json["operator"].string ?? ""
        value = json["value"].string ?? ""
        effect = json["effect"].string ?? ""
    }

    func tolerates(_ taint: Taint) -> Bool {
        if !effect.isEmpty, effect != taint.effect { return false }
        if !key.isEmpty, key != taint.key { return false }
        switch op {
        case "Exists": return true
        case "", "Equal": return key == taint.key && value == taint.value
        case "Lt", "Gt":
            guard let own = Int64(value), let its = Int64(taint.value) else { return false }
            return op == "Lt" ? its < own : its > own
        default: return false
        }
    }
}

/// Node selector and node affinity. Source: k8s.io/component-helpers/scheduling/corev1/nodeaffinity.
struct NodeSelection: Sendable {
    /// Requirements on labels and on the node's name; all hold. A term that is empty or not understood matches nothing.
    struct Term: Sendable {
        var labels = LabelSelector()
        var names: [LabelSelector.Requirement] = []
        var matchesNothing = false

        init(_ json: JSON) {
            let (expressions, fields) = (json["matchExpressions"].elements, json["matchFields"].elements)
            matchesNothing = expressions.isEmpty && fields.isEmpty
            for expression in expressions {
                if let requirement = Self.requirement(expression) {
                    labels.requirements.append(requirement)
                } else {
                    matchesNothing = true
                }
            }
            for field in fields {
                if field["key"].string == "metadata.name", let requirement = Self.requirement(field) {
                    names.append(requirement)
                } else {
                    matchesNothing = true
                }
            }
        }

        private static func requirement(_ json: JSON) -> LabelSelector.Requirement? {
            let values = json["values"].elements.compactMap(\.string)
            let key = json["key"].string ?? ""
            switch json["operator"].string ?? "" {
            case "In": return .init(key, .in(values))
            case "NotIn": return .init(key, .notIn(values))
            case "Exists": return .init(key, .exists)
            case "DoesNotExist": return .init(key, .doesNotExist)
            case "Gt": return values.first.flatMap { Int64($0) }.map { .init(key, .greaterThan($0)) }
            case "Lt": return values.first.flatMap { Int64($0) }.map { .init(key, .lessThan($0)) }
            default: return nil
            }
        }

        func matches(_ node: ClusterState.Node) -> Bool {
            guard !matchesNothing else { return false }
            return node.labels.matches(labels)
                && (names.isEmpty || LabelSelector(names).matches { _ in node.name })
        }
    }

    private var selector: [LabelSet.Label] = []
    /// Alternatives; nil: any node.
    private var required: [Term]?
    private(set) var preferred: [(weight: Int64, term: Term)] = []

    init(_ spec: JSON) {
        if !spec["nodeSelector"].isNull { selector = LabelSet(spec["nodeSelector"]).labels }
        let affinity = spec["affinity"]["nodeAffinity"]
        guard !affinity.isNull else { return }
        let required = affinity["requiredDuringSchedulingIgnoredDuringExecution"]
        if !required.isNull { self.required = required["nodeSelectorTerms"].elements.map(Term.init) }
        preferred = affinity["preferredDuringSchedulingIgnoredDuringExecution"].elements.map {
            ($0["weight"].int(or: 0), Term($0["preference"]))
        }
    }

    var isEverything: Bool { selector.isEmpty && required == nil }

    func matches(_ node: ClusterState.Node) -> Bool {
        for label in selector where node.labels[label.key] != label.value { return false }
        guard let required else { return true }
        return required.contains { $0.matches(node) }
    }

    /// The only nodes that can be meant, where every alternative names its node: a daemon's pods. nil: any.
    var names: Set<String>? {
        guard let required, !required.isEmpty else { return nil }
        var all: Set<String> = []
        for term in required {
            var own: Set<String>?
            for name in term.names {
                if case .in(let values) = name.op { own = own?.intersection(values) ?? Set(values) }
            }
            guard let own else { return nil }
            all.formUnion(own)
        }
        return all
    }
}
