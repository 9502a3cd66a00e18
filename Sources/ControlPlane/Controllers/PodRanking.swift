internal import Codecs
internal import KubeAPI

/// Which pods a workload gives up first.
/// Source: ActivePodsWithRanks of k8s.io/kubernetes/pkg/controller/controller_utils.go, KEP-2255, KEP-2185.
struct PodRanking: Sendable {
    private let pod: KubeObject
    /// Smaller goes first; up to the pod's readiness.
    private let standing: [Int64]
    private let readySince: Timestamp?
    private let restarts: Int64
    private let created: Timestamp?

    private init(_ pod: KubeObject, neighbours: Int64) {
        self.pod = pod
        let node = pod.spec["nodeName"].string ?? ""
        let phase: Int64 = pod.podPhase == "Pending" ? 0 : pod.podPhase == "Unknown" ? 1 : 2
        let isReady = pod.isReadyPod
        let cost = pod.annotations["controller.kubernetes.io/pod-deletion-cost"].flatMap { Int64($0) } ?? 0
        standing = [node.isEmpty ? 0 : 1, phase, isReady ? 1 : 0, cost, -neighbours]
        readySince = isReady ? pod.condition("Ready")["lastTransitionTime"].string.flatMap { Timestamp($0) } : nil
        restarts = pod.status["containerStatuses"].elements.map { $0["restartCount"].int(or: 0) }.max() ?? 0
        created = pod.creationTimestamp
    }

    /// - Parameter related: those that count as neighbours on a node.
    static func victims(_ pods: [KubeObject], count: Int, related: [KubeObject], now: Timestamp) -> [KubeObject] {
        guard count < pods.count else { return pods }
        var perNode: [String: Int64] = [:]
        for pod in related { perNode[pod.spec["nodeName"].string ?? "", default: 0] += 1 }
        let ranked = pods.map { PodRanking($0, neighbours: perNode[$0.spec["nodeName"].string ?? ""] ?? 0) }
        return ranked.sorted { $0.goesBefore($1, now: now) }.prefix(count).map(\.pod)
    }

    private func goesBefore(_ other: Self, now: Timestamp) -> Bool {
        if standing != other.standing { return standing.lexicographicallyPrecedes(other.standing) }
        if let mine = readySince, let theirs = other.readySince, mine != theirs {
            return isYounger(mine, theirs, other, now)
        }
        if restarts != other.restarts { return restarts > other.restarts }
        if let mine = created, let theirs = other.created, mine != theirs { return isYounger(mine, theirs, other, now) }
        return pod.uid < other.pod.uid
    }

    /// Ages count by their order of magnitude only, so that not always the newest go, which may share a failure domain.
    private func isYounger(_ mine: Timestamp, _ theirs: Timestamp, _ other: Self, _ now: Timestamp) -> Bool {
        let (a, b) = (Self.magnitude(now, mine), Self.magnitude(now, theirs))
        return a == b ? pod.uid < other.pod.uid : a < b
    }

    private static func magnitude(_ now: Timestamp, _ since: Timestamp) -> Int {
        let age = now.nanoseconds - since.nanoseconds
        return age > 0 ? 63 - age.leadingZeroBitCount : -1
    }
}
