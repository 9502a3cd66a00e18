internal import Codecs
internal import KubeAPI

/// A Deployment and its ReplicaSets at one moment, and what follows from them: pure, so that it is tested without a client.
struct Rollout: Sendable {
    static let revisionKey = "deployment.kubernetes.io/revision"
    static let desiredKey = "deployment.kubernetes.io/desired-replicas"
    static let maxKey = "deployment.kubernetes.io/max-replicas"
    static let historyKey = "deployment.kubernetes.io/revision-history"
    static let hashLabel = "pod-template-hash"

    var deployment: KubeObject
    var new: KubeObject?
    /// Oldest first.
    var old: [KubeObject]
    var deploymentRevision: Int64 = 0
    var conditions: JSON
    let now: Timestamp

    init(deployment: KubeObject, sets: [KubeObject], clock: any KubeClock) {
        self.deployment = deployment
        now = clock.now()
        conditions = deployment.status["conditions"]
        let sorted = sets.sorted(by: Self.isOlder)
        let current = sorted.first { Self.sameTemplate($0, deployment) }
        new = current
        old = sorted.filter { $0.uid != current?.uid }
    }

    private static func isOlder(_ a: KubeObject, _ b: KubeObject) -> Bool {
        (a.creationTimestamp?.nanoseconds ?? 0, a.name) < (b.creationTimestamp?.nanoseconds ?? 0, b.name)
    }

    var all: [KubeObject] { old + (new.map { [$0] } ?? []) }
    var replicas: Int64 { deployment.spec["replicas"].int(or: 1) }
    var isPaused: Bool { deployment.spec["paused"].bool ?? false }
    private var isRolling: Bool { deployment.spec["strategy"]["type"].string != "Recreate" }
    private var rolling: JSON { deployment.spec["strategy"]["rollingUpdate"] }

    var maxSurge: Int64 { isRolling ? rolling["maxSurge"].scaled(of: replicas, roundUp: true) : 0 }
    /// At least one where nothing may surge, or the rollout could not move.
    var maxUnavailable: Int64 {
        guard isRolling, replicas > 0 else { return 0 }
        let n = rolling["maxUnavailable"].scaled(of: replicas, roundUp: false)
        return min(replicas, n == 0 && maxSurge == 0 ? 1 : n)
    }

    mutating func replace(_ set: KubeObject) {
        if new?.uid == set.uid {
            new = set
        } else if let i = old.firstIndex(where: { $0.uid == set.uid }) {
            old[i] = set
        }
    }

    // MARK: - Templates

    static func sameTemplate(_ set: KubeObject, _ deployment: KubeObject) -> Bool {
        var a = set.spec["template"]
        var b = deployment.spec["template"]
        a["metadata"]["labels"][hashLabel] = .null
        b["metadata"]["labels"][hashLabel] = .null
        return a == b
    }

    /// FNV-1a of the template's text, in the alphabet that makes no words.
    static func templateHash(_ template: JSON, collisions: Int64) -> String {
        var hash: UInt32 = 2_166_136_261
        var bytes = template.encode()
        if collisions > 0 { bytes.append(decimal: collisions) }
        for byte in bytes { hash = (hash ^ UInt32(byte)) &* 16_777_619 }
        // What upstream's alphabet of 27 characters has for the ten digits.
        let alphabet = Array("456789bcdf")
        return String(String(hash).map { alphabet[Int($0.wholeNumberValue ?? 0)] })
    }

    func replicaSet(revision: Int64) -> KubeObject {
        var template = deployment.spec["template"]
        let hash = Self.templateHash(template, collisions: deployment.status["collisionCount"].int(or: 0))
        template["metadata"]["labels"][Self.hashLabel] = .string(hash)
        var selector = deployment.spec["selector"]
        selector["matchLabels"][Self.hashLabel] = .string(hash)
        var set = KubeObject(
            GroupVersionKind(.apps, "ReplicaSet"), name: "\(deployment.name)-\(hash)", namespace: deployment.namespace)
        set.metadata["labels"] = template["metadata"]["labels"]
        set.ownerReferences = [OwnerReference(controller: deployment)]
        set.inheritAnnotations(from: deployment)
        set.setRevision(revision)
        set.spec = ["replicas": 0, "selector": selector, "template": template]
        set.spec["minReadySeconds"] = deployment.spec["minReadySeconds"]
        var planned = self
        planned.new = set
        set.spec["replicas"] = .int(planned.newReplicaSetSize())
        set.setSizes(desired: replicas, max: replicas + maxSurge)
        return set
    }

    // MARK: - Sizes

    func newReplicaSetSize() -> Int64 {
        let current = new?.specReplicas ?? 0
        guard isRolling else { return replicas }
        if current >= replicas { return replicas }
        let total = all.reduce(0) { $0 + $1.specReplicas }
        let most = replicas + maxSurge
        if total >= most { return current }
        return current + min(most - total, replicas - current)
    }

    /// What old sets may shrink to now: first those pods that are not available anyway, then as many as availability allows.
    func oldReplicaSetSizes() -> [(KubeObject, Int64)] {
        let oldTotal = old.reduce(0) { $0 + $1.specReplicas }
        guard oldTotal > 0 else { return [] }
        let newUnavailable = (new?.specReplicas ?? 0) - (new?.available ?? 0)
        let minAvailable = replicas - maxUnavailable
        let allowed = oldTotal + (new?.specReplicas ?? 0) - minAvailable - newUnavailable
        guard allowed > 0 else { return [] }
        var sizes: [(KubeObject, Int64)] = old.filter { $0.specReplicas > 0 }.map { ($0, $0.specReplicas) }
        var removed: Int64 = 0
        for i in sizes.indices where removed < allowed {
            let (set, size) = sizes[i]
            let n = min(allowed - removed, max(0, size - set.available))
            sizes[i].1 -= n
            removed += n
        }
        let available = all.reduce(0) { $0 + $1.available }
        var spare = available - minAvailable
        for i in sizes.indices where spare > 0 {
            let n = min(sizes[i].1, spare)
            sizes[i].1 -= n
            spare -= n
        }
        return sizes.filter { $0.0.specReplicas != $0.1 }
    }

    /// The size in the spec is not the one that the sets were last scaled for.
    var isScalingEvent: Bool {
        all.contains { set in
            guard set.specReplicas > 0, let desired = set.annotations[Self.desiredKey].flatMap({ Int64($0) }) else {
                return false
            }
            return desired != replicas
        }
    }

    func proportionalSizes() -> [(KubeObject, Int64)] {
        let active = all.filter { $0.specReplicas > 0 }
        if active.count <= 1 {
            guard let only = active.first ?? new ?? old.last else { return [] }
            return only.specReplicas == replicas ? [] : [(only, replicas)]
        }
        if let new, new.specReplicas == replicas, new.available == replicas,
            new.annotations[Self.desiredKey] == String(replicas)
        {
            return old.filter { $0.specReplicas > 0 }.map { ($0, 0) }
        }
        guard isRolling else { return [] }
        let total = active.reduce(0) { $0 + $1.specReplicas }
        let allowed = replicas > 0 ? replicas + maxSurge : 0
        let toAdd = allowed - total
        // The largest set takes the most; among equals the newer one grows, the older one shrinks.
        let ordered = active.sorted { a, b in
            if a.specReplicas != b.specReplicas { return a.specReplicas > b.specReplicas }
            return toAdd > 0 ? Self.isOlder(b, a) : Self.isOlder(a, b)
        }
        var added: Int64 = 0
        var sizes: [(KubeObject, Int64)] = []
        for set in ordered {
            var share: Int64 = 0
            if toAdd != 0 {
                let fraction = proportion(of: set)
                let left = toAdd - added
                if left != 0 { share = toAdd > 0 ? min(fraction, left) : max(fraction, left) }
            }
            sizes.append((set, set.specReplicas + share))
            added += share
        }
        if toAdd != 0, let first = sizes.indices.first { sizes[first].1 = max(0, sizes[first].1 + toAdd - added) }
        return sizes
    }

    private func proportion(of set: KubeObject) -> Int64 {
        if replicas == 0 { return -set.specReplicas }
        let noted = set.annotations[Self.maxKey].flatMap { Int64($0) } ?? 0
        let before = noted > 0 ? noted : deployment.status["replicas"].int(or: 0)
        guard before > 0 else { return 0 }
        let size = (Double(set.specReplicas * (replicas + maxSurge)) / Double(before)).rounded()
        return Int64(size) - set.specReplicas
    }
}

extension KubeObject {
    var specReplicas: Int64 { spec["replicas"].int(or: 1) }
    var available: Int64 { status["availableReplicas"].int(or: 0) }
    var revision: Int64 { annotations[Rollout.revisionKey].flatMap { Int64($0) } ?? 0 }

    mutating func setRevision(_ revision: Int64) {
        metadata["annotations"][Rollout.revisionKey] = .string(String(revision))
    }
    /// A set that is rolled back to gets a new number; those that it had are kept, up to 2,000 characters.
    mutating func renumber(_ revision: Int64) {
        if let previous = annotations[Rollout.revisionKey] {
            var past = (annotations[Rollout.historyKey] ?? "").split(separator: ",").map(String.init)
            past.append(previous)
            while past.count > 1, past.reduce(past.count - 1, { $0 + $1.utf8.count }) > 2000 { past.removeFirst() }
            metadata["annotations"][Rollout.historyKey] = .string(past.joined(separator: ","))
        }
        setRevision(revision)
    }
    mutating func setSizes(desired: Int64, max: Int64) {
        metadata["annotations"][Rollout.desiredKey] = .string(String(desired))
        metadata["annotations"][Rollout.maxKey] = .string(String(max))
    }

    /// A set carries its deployment's annotations (the change cause among them), but not what is the deployment's alone.
    mutating func inheritAnnotations(from deployment: KubeObject) {
        let own: Set = [
            "kubectl.kubernetes.io/last-applied-configuration", Rollout.revisionKey, Rollout.desiredKey, Rollout.maxKey,
            Rollout.historyKey, "deprecated.deployment.rollback.to",
        ]
        for (key, value) in deployment.annotations.sorted(by: { $0.key < $1.key }) where !own.contains(key) {
            metadata["annotations"][key] = .string(value)
        }
    }
}
