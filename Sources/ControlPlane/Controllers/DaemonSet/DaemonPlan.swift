internal import Codecs
internal import KubeAPI

/// A DaemonSet, the nodes and its pods at one moment, and what follows from them: pure, so that it is tested without a client.
struct DaemonPlan: Sendable {
    let set: KubeObject
    /// Of the revision that is wanted.
    let hash: String
    let nodes: [KubeObject]
    var pods: [KubeObject]
    let now: Timestamp

    struct Step: Sendable {
        var delete: [KubeObject] = []
        /// Ended pods, which go as well, but not at once where they fail again and again.
        var finished: [KubeObject] = []
        /// Names of nodes that need a pod.
        var create: [String] = []
    }

    // MARK: - Where

    /// The node that a pod runs on or was made for.
    static func targetNode(of pod: KubeObject) -> String {
        if let node = pod.spec["nodeName"].string, !node.isEmpty { return node }
        let affinity = pod.spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        for term in affinity["nodeSelectorTerms"].elements {
            for field in term["matchFields"].elements
            where field["key"].string == "metadata.name" && field["operator"].string == "In" {
                return field["values"][0].string ?? ""
            }
        }
        return ""
    }

    /// What every daemon tolerates: it has to be on nodes that are in trouble.
    static func tolerations(hostNetwork: Bool) -> [JSON] {
        var list = [("not-ready", "NoExecute"), ("unreachable", "NoExecute")]
        list += ["disk-pressure", "memory-pressure", "pid-pressure", "unschedulable"].map { ($0, "NoSchedule") }
        if hostNetwork { list.append(("network-unavailable", "NoSchedule")) }
        return list.map { key, effect in
            ["key": .string("node.kubernetes.io/" + key), "operator": "Exists", "effect": .string(effect)]
        }
    }

    private func template() -> JSON {
        var template = set.spec["template"]
        let more = Self.tolerations(hostNetwork: template["spec"]["hostNetwork"].bool ?? false)
        var tolerations = template["spec"]["tolerations"].elements
        for toleration in more {
            tolerations.removeAll {
                $0["key"] == toleration["key"] && $0["effect"] == toleration["effect"]
                    && ($0["operator"].string ?? "Equal") == "Exists"
            }
            tolerations.append(toleration)
        }
        template["spec"]["tolerations"] = .array(tolerations)
        template["metadata"]["labels"][RevisionHistory.hashLabel] = .string(hash)
        if let generation = set.annotations["deprecated.daemonset.template.generation"] {
            template["metadata"]["labels"]["pod-template-generation"] = .string(generation)
        }
        return template
    }

    /// The pod for a node.
    func pod(for node: String) -> KubeObject {
        var pod = KubeObject.pod(from: template(), generateName: set.name + "-", owner: set)
        pod.spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = [
            "nodeSelectorTerms": [
                ["matchFields": [["key": "metadata.name", "operator": "In", "values": [.string(node)]]]]
            ]
        ]
        return pod
    }

    /// Whether a pod belongs on the node, and whether one that is there may stay.
    func fits(_ node: KubeObject) -> (run: Bool, stay: Bool) {
        let template = template()
        if let name = template["spec"]["nodeName"].string, !name.isEmpty, name != node.name { return (false, false) }
        var face = ClusterState.Node()
        face.name = node.name
        face.labels = LabelSet(node.metadata["labels"])
        guard NodeSelection(template["spec"]).matches(face) else { return (false, false) }
        let tolerations = template["spec"]["tolerations"].elements.map(Toleration.init)
        let hard = node.spec["taints"].elements.map(Taint.init).filter { taint in
            taint.effect != "PreferNoSchedule" && !tolerations.contains { $0.tolerates(taint) }
        }
        return (hard.isEmpty, !hard.contains { $0.effect == "NoExecute" })
    }

    /// By node; those that have ended and are going do not count.
    private var podsByNode: [String: [KubeObject]] {
        var map: [String: [KubeObject]] = [:]
        for pod in pods {
            let hasEnded = pod.podPhase == "Succeeded" || pod.podPhase == "Failed"
            if hasEnded, pod.isBeingDeleted { continue }
            map[Self.targetNode(of: pod), default: []].append(pod)
        }
        return map.mapValues { $0.sorted(by: Self.isOlder) }
    }

    /// Pods that are on a node come first, then the older ones.
    private static func isOlder(_ a: KubeObject, _ b: KubeObject) -> Bool {
        let (onA, onB) = (!(a.spec["nodeName"].string ?? "").isEmpty, !(b.spec["nodeName"].string ?? "").isEmpty)
        if onA != onB { return onA }
        return (a.creationTimestamp?.nanoseconds ?? 0, a.name) < (b.creationTimestamp?.nanoseconds ?? 0, b.name)
    }

    private func isAvailable(_ pod: KubeObject) -> Bool {
        pod.podAvailability(minReadySeconds: set.spec["minReadySeconds"].int(or: 0), now: now).available
    }
    private func isUpdated(_ pod: KubeObject) -> Bool { pod.labels[RevisionHistory.hashLabel] == hash }

    // MARK: - One pod a node

    func manage() -> Step {
        var step = Step()
        let byNode = podsByNode
        for node in nodes {
            let (shouldRun, mayStay) = fits(node)
            let here = byNode[node.name] ?? []
            if shouldRun, here.isEmpty {
                step.create.append(node.name)
            } else if mayStay {
                prune(here, on: node.name, shouldRun: shouldRun, &step)
            } else {
                step.delete += here.filter { !$0.isBeingDeleted }
            }
        }
        // Pods that still wait for a node that is gone.
        let names = Set(nodes.map(\.name))
        for (node, pods) in byNode where !names.contains(node) {
            step.delete += pods.filter { ($0.spec["nodeName"].string ?? "").isEmpty && !$0.isBeingDeleted }
        }
        return step
    }

    private func prune(_ here: [KubeObject], on node: String, shouldRun: Bool, _ step: inout Step) {
        let staying = here.filter { !$0.isBeingDeleted }
        step.finished += staying.filter { $0.podPhase == "Failed" || $0.podPhase == "Succeeded" }
        let running = staying.filter { $0.podPhase != "Failed" && $0.podPhase != "Succeeded" }
        guard limits.surge > 0 else {
            step.delete += running.dropFirst()
            return
        }
        if running.isEmpty, shouldRun { step.create.append(node) }
        guard running.count > 1 else { return }
        // While surging two may be there: a new one that is not ready yet, and a ready old one.
        let new = running.filter(isUpdated)
        let old = running.filter { !isUpdated($0) }
        step.delete += new.dropFirst() + old.dropFirst()
        if let new = new.first, let old = old.first, !old.isReadyPod || isAvailable(new) { step.delete.append(old) }
    }

    // MARK: - Rolling update

    /// Of the nodes that the set wants to be on.
    var limits: (unavailable: Int, surge: Int, desired: Int) {
        let desired = nodes.filter { fits($0).run }.count
        guard set.spec["updateStrategy"]["type"].string != "OnDelete" else { return (0, 0, desired) }
        let update = set.spec["updateStrategy"]["rollingUpdate"]
        var unavailable = update["maxUnavailable"].scaled(of: Int64(desired), roundUp: true)
        let surge = update["maxSurge"].scaled(of: Int64(desired), roundUp: true)
        if unavailable == 0, surge == 0 { unavailable = 1 }
        return (Int(clamping: unavailable), Int(clamping: surge), desired)
    }

    func rollingUpdate() -> Step {
        let (maxUnavailable, maxSurge, _) = limits
        var byNode = podsByNode
        for node in nodes where byNode[node.name] == nil && fits(node).run { byNode[node.name] = [] }
        var busy = 0
        var step = Step()
        var allowed: [(node: String, pod: KubeObject)] = []
        var candidates: [(node: String, pod: KubeObject)] = []
        for (node, pods) in byNode.sorted(by: { $0.key < $1.key }) {
            let staying = pods.filter { !$0.isBeingDeleted }
            let new = staying.filter(isUpdated)
            let old = staying.filter { !isUpdated($0) }
            // Two of a sort: `manage` clears up first.
            guard new.count < 2, old.count < 2 else {
                busy += 1
                continue
            }
            switch (new.first, old.first, maxSurge > 0) {
            case (nil, nil, false), (_?, _?, false): busy += 1
            case (let new?, nil, false): if !isAvailable(new) { busy += 1 }
            case (_, nil, true): break
            case (nil, let old?, _):
                if isAvailable(old) { candidates.append((node, old)) } else { allowed.append((node, old)) }
            case (let new?, let old?, true):
                if isAvailable(new) { step.delete.append(old) } else { busy += 1 }
            }
        }
        let chosen = allowed + candidates.prefix(max(0, (maxSurge > 0 ? maxSurge : maxUnavailable) - busy))
        if maxSurge > 0 {
            step.create += chosen.map(\.node)
        } else {
            step.delete += chosen.map(\.pod)
        }
        return step
    }

    // MARK: - Status

    func status(collisions: Int64) -> JSON {
        var (desired, scheduled, misscheduled): (Int64, Int64, Int64) = (0, 0, 0)
        var (ready, available, updated): (Int64, Int64, Int64) = (0, 0, 0)
        let byNode = podsByNode
        for node in nodes {
            let here = byNode[node.name] ?? []
            guard fits(node).run else {
                if !here.isEmpty { misscheduled += 1 }
                continue
            }
            desired += 1
            guard let oldest = here.first else { continue }
            scheduled += 1
            if oldest.isReadyPod {
                ready += 1
                if isAvailable(oldest) { available += 1 }
            }
            if isUpdated(oldest) { updated += 1 }
        }
        var status: JSON = [
            "currentNumberScheduled": .int(scheduled), "numberMisscheduled": .int(misscheduled),
            "desiredNumberScheduled": .int(desired), "numberReady": .int(ready),
            "observedGeneration": .int(set.generation),
        ]
        if updated > 0 { status["updatedNumberScheduled"] = .int(updated) }
        if available > 0 { status["numberAvailable"] = .int(available) }
        if desired > available { status["numberUnavailable"] = .int(desired - available) }
        if collisions > 0 { status["collisionCount"] = .int(collisions) }
        status["conditions"] = set.status["conditions"]
        return status
    }

    /// When the next pod will have been ready for long enough.
    var nextAvailability: Duration? {
        let minReady = set.spec["minReadySeconds"].int(or: 0)
        return pods.compactMap { $0.podAvailability(minReadySeconds: minReady, now: now).after }.min()
    }
}
