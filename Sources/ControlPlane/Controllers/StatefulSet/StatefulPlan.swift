internal import Codecs
internal import KubeAPI

/// A StatefulSet and its pods at one moment, and what follows from them: pure, so that it is tested without a client.
struct StatefulPlan: Sendable {
    let set: KubeObject
    /// The revision that is wanted, and the one that pods below the partition keep.
    let update: KubeObject
    let current: KubeObject
    var pods: [KubeObject]
    let now: Timestamp

    private var start: Int64 { self.set.spec["ordinals"]["start"].int(or: 0) }
    var ordinals: Range<Int64> { start..<start + max(0, set.specReplicas) }
    private var rolling: JSON { self.set.spec["updateStrategy"]["rollingUpdate"] }
    private var isRolling: Bool { self.set.spec["updateStrategy"]["type"].string != "OnDelete" }

    var replicas: [Int64: KubeObject] {
        var map: [Int64: KubeObject] = [:]
        for pod in pods {
            if let ordinal = StatefulIdentity.ordinal(of: pod, in: set), ordinals.contains(ordinal) {
                map[ordinal] = pod
            }
        }
        return map
    }

    /// Pods with a number that the set no longer has, highest first.
    var condemned: [KubeObject] {
        pods.compactMap { pod in StatefulIdentity.ordinal(of: pod, in: set).map { ($0, pod) } }
            .filter { !ordinals.contains($0.0) }.sorted { $0.0 > $1.0 }.map(\.1)
    }

    func isRunningAndReady(_ pod: KubeObject) -> Bool { pod.podPhase == "Running" && pod.isReadyPod }
    func isAvailable(_ pod: KubeObject) -> Bool {
        pod.podPhase == "Running"
            && pod.podAvailability(minReadySeconds: set.spec["minReadySeconds"].int(or: 0), now: now).available
    }
    private func isHealthy(_ pod: KubeObject) -> Bool { isRunningAndReady(pod) && !pod.isBeingDeleted }

    var firstUnhealthy: KubeObject? {
        let living = replicas
        for ordinal in ordinals { if let pod = living[ordinal], !isHealthy(pod) { return pod } }
        return condemned.last { !isHealthy($0) }
    }

    // MARK: - Pods

    /// Those below the partition are made from the old template.
    func newPod(_ ordinal: Int64) -> KubeObject {
        let kept = rolling.isNull ? set.status["currentReplicas"].int(or: 0) : rolling["partition"].int(or: 0)
        return StatefulIdentity.pod(of: set, ordinal, from: isRolling && ordinal < start + kept ? current : update)
    }

    /// Pods to replace now because they are of an old revision.
    func outdated(isOrdered: Bool) -> [KubeObject] {
        guard isRolling else { return [] }
        let living = replicas
        let targets = ordinals.dropFirst(Int(clamping: rolling["partition"].int(or: 0))).reversed()
        let most = max(
            1,
            rolling["maxUnavailable"].isNull
                ? 1 : rolling["maxUnavailable"].scaled(of: set.specReplicas, roundUp: false))
        if most == 1 {
            for ordinal in targets {
                guard let pod = living[ordinal] else { return [] }
                if StatefulIdentity.revision(pod) != update.name, !pod.isBeingDeleted { return [pod] }
                if !isHealthy(pod) { return [] }
            }
            return []
        }
        let down = ordinals.filter { ordinal in
            guard let pod = living[ordinal] else { return true }
            return pod.isBeingDeleted || !isAvailable(pod)
        }
        var room = Int(clamping: most) - down.count
        var outdated: [KubeObject] = []
        for ordinal in targets {
            guard let pod = living[ordinal], StatefulIdentity.revision(pod) != update.name, !pod.isBeingDeleted else {
                continue
            }
            // One that is down already costs nothing.
            if !isAvailable(pod) {
                outdated.append(pod)
            } else if room > 0 {
                room -= 1
                outdated.append(pod)
            }
        }
        return outdated
    }

    // MARK: - Status

    func status(collisions: Int64) -> JSON {
        var (all, ready, available): (Int64, Int64, Int64) = (0, 0, 0)
        var (old, new): (Int64, Int64) = (0, 0)
        for pod in pods where !pod.podPhase.isEmpty {
            all += 1
            if isRunningAndReady(pod) {
                ready += 1
                if isAvailable(pod) { available += 1 }
            }
            guard !pod.isBeingDeleted else { continue }
            let revision = StatefulIdentity.revision(pod)
            if revision == current.name { old += 1 }
            if revision == update.name { new += 1 }
        }
        var revision = current.name
        let wanted = set.specReplicas
        if isRolling, new == wanted, ready == wanted, all == wanted { (old, revision) = (new, update.name) }
        var status: JSON = ["observedGeneration": .int(set.generation), "replicas": .int(all)]
        if ready > 0 { status["readyReplicas"] = .int(ready) }
        if old > 0 { status["currentReplicas"] = .int(old) }
        if new > 0 { status["updatedReplicas"] = .int(new) }
        status["currentRevision"] = .string(revision)
        status["updateRevision"] = .string(update.name)
        status["collisionCount"] = .int(collisions)
        status["conditions"] = set.status["conditions"]
        status["availableReplicas"] = .int(available)
        return status
    }

    var nextAvailability: Duration? {
        let minReady = set.spec["minReadySeconds"].int(or: 0)
        return pods.compactMap { $0.podAvailability(minReadySeconds: minReady, now: now).after }.min()
    }
}

/// What makes a StatefulSet's pod that pod: its number, and the names and labels that follow from it.
enum StatefulIdentity {
    /// nil: not a name that this set gives.
    static func ordinal(of pod: KubeObject, in set: KubeObject) -> Int64? {
        guard let dash = pod.name.lastIndex(of: "-"), pod.name[..<dash] == set.name else { return nil }
        let digits = pod.name[pod.name.index(after: dash)...]
        guard !digits.isEmpty, digits.utf8.allSatisfy({ $0 &- 48 < 10 }) else { return nil }
        return Int64(digits)
    }

    static func revision(_ pod: KubeObject) -> String { pod.labels[RevisionHistory.hashLabel] ?? "" }

    static func labels(_ name: String, _ ordinal: Int64) -> [String: String] {
        ["statefulset.kubernetes.io/pod-name": name, "apps.kubernetes.io/pod-index": String(ordinal)]
    }

    static func claimName(_ template: JSON, _ set: KubeObject, _ ordinal: Int64) -> String {
        "\(template["metadata"]["name"].string ?? "")-\(set.name)-\(ordinal)"
    }

    static func pod(of set: KubeObject, _ ordinal: Int64, from revision: KubeObject) -> KubeObject {
        var template = revision["data"]["spec"]["template"]
        template["$patch"] = .null
        let name = "\(set.name)-\(ordinal)"
        var pod = KubeObject.pod(from: template, generateName: set.name + "-", owner: set)
        pod.metadata["name"] = .string(name)
        for (key, value) in labels(name, ordinal) { pod.metadata["labels"][key] = .string(value) }
        pod.metadata["labels"][RevisionHistory.hashLabel] = .string(revision.name)
        pod.spec["hostname"] = .string(name)
        pod.spec["subdomain"] = set.spec["serviceName"]
        var volumes: [JSON] = []
        var own: [String?] = []
        for claim in set.spec["volumeClaimTemplates"].elements {
            own.append(claim["metadata"]["name"].string)
            volumes.append([
                "name": claim["metadata"]["name"],
                "persistentVolumeClaim": ["claimName": .string(claimName(claim, set, ordinal))],
            ])
        }
        volumes += pod.spec["volumes"].elements.filter { !own.contains($0["name"].string) }
        if !volumes.isEmpty { pod.spec["volumes"] = .array(volumes) }
        return pod
    }
}
