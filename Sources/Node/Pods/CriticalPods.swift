internal import Codecs
internal import KubeAPI
internal import Logging

/// Which pods go so that a critical one has room: as few, and of as low a class, as the missing amounts allow.
/// Source: pkg/kubelet/preemption/preemption.go.
struct CriticalPods {
    struct Candidate: Sendable, Equatable {
        var uid: String
        var qos: Pod.QOSClass
        /// CPU in thousandths.
        var request: [String: Int64]
    }

    /// nil: all of them together are not enough.
    static func victims(for missing: [String: Int64], among candidates: [Candidate]) -> [Candidate]? {
        let classes = [Pod.QOSClass.bestEffort, .burstable, .guaranteed].map { qos in
            candidates.filter { $0.qos == qos }
        }
        guard rest(missing, candidates).isEmpty,
            let guaranteed = choose(classes[2], rest(missing, classes[0] + classes[1])),
            let burstable = choose(classes[1], rest(missing, classes[0] + guaranteed)),
            let others = choose(classes[0], rest(missing, burstable + guaranteed))
        else { return nil }
        return others + burstable + guaranteed
    }

    /// What is still missing without these.
    private static func rest(_ missing: [String: Int64], _ pods: [Candidate]) -> [String: Int64] {
        var rest: [String: Int64] = [:]
        for (resource, amount) in missing {
            let left = pods.reduce(amount) { $0.subtractingReportingOverflow($1.request[resource] ?? 0).0 }
            if left > 0 { rest[resource] = left }
        }
        return rest
    }

    /// Again and again the pod that comes nearest to what is missing.
    private static func choose(_ pods: [Candidate], _ missing: [String: Int64]) -> [Candidate]? {
        var (pods, missing, chosen) = (pods, missing, [Candidate]())
        while !missing.isEmpty {
            var best: (index: Int, distance: Double)?
            for (index, pod) in pods.enumerated() {
                let distance = missing.reduce(0.0) { sum, entry in
                    let left = Double(entry.value - min(pod.request[entry.key] ?? 0, entry.value)) / Double(entry.value)
                    return sum + left * left
                }
                if best.map({ distance < $0.distance || distance == $0.distance && isSmaller(pod, pods[$0.index]) })
                    ?? true
                {
                    best = (index, distance)
                }
            }
            guard let best else { return nil }
            let pod = pods.remove(at: best.index)
            missing = rest(missing, [pod])
            chosen.append(pod)
        }
        return chosen
    }

    private static func isSmaller(_ a: Candidate, _ b: Candidate) -> Bool {
        for resource in ["memory", "cpu"] {
            let (mine, other) = (a.request[resource] ?? 0, b.request[resource] ?? 0)
            if mine != other { return mine < other }
        }
        return false
    }
}

extension PodWorker {
    /// nil: the node took the pod, if need be at the expense of others.
    func takeRoom(_ pod: Pod) async -> PodStatusBuilder.Verdict? {
        guard let refusal = context.resources.admit(pod) else { return nil }
        let missing = context.resources.shortage(of: pod)
        guard pod.isCritical, !missing.isEmpty, refusal.reason.hasPrefix("OutOf") else { return refusal }
        let priority = pod.spec["priority"].int
        var candidates: [CriticalPods.Candidate] = []
        for worker in context.pods?.workers ?? [] where worker.uid != uid {
            if let candidate = await worker.preemptible(by: priority) { candidates.append(candidate) }
        }
        guard let victims = CriticalPods.victims(for: missing, among: candidates.sorted { $0.uid < $1.uid }) else {
            let list = missing.sorted { $0.key < $1.key }.map { "(res: \($0.key), q: \($0.value)), " }.joined()
            return PodStatusBuilder.Verdict(
                "UnexpectedAdmissionError",
                "Unexpected error while attempting to recover from admission failure: preemption: error finding a set of "
                    + "pods to preempt: no set of running pods found to reclaim resources: [\(list)]")
        }
        for victim in victims {
            guard let worker = context.pods?.worker(uid: victim.uid) else { continue }
            context.logger.info("pod \(worker.key) makes room for the critical pod \(key)")
            await worker.preempt()
        }
        // Each has its own grace; the pod is refused when one does not end.
        let limit = context.now().advanced(by: .seconds(180))
        while !Task.isCancelled, context.now() < limit, context.resources.hasAny(victims.map(\.uid)) {
            await context.clock.sleep(for: .milliseconds(250))
        }
        return context.resources.admit(pod)
    }

    /// nil: it has ended, or is as important.
    func preemptible(by priority: Int64?) -> CriticalPods.Candidate? {
        guard stage == .running, !isGone, let pod = decode(), !pod.isTerminal else { return nil }
        let isLess = pod.spec["priority"].int.flatMap { mine in priority.map { mine < $0 } } ?? false
        guard !pod.isCritical || isLess else { return nil }
        return CriticalPods.Candidate(uid: uid, qos: pod.qosClass, request: NodeResources.numbers(pod))
    }

    func preempt() {
        guard stage == .running, let pod = decode() else { return }
        let message = "Preempted in order to admit critical pod"
        record(pod, .warning, "Preempting", message)
        var verdict = PodStatusBuilder.Verdict("Preempting", message)
        verdict.disruption = "Pod was preempted by Kubelet to accommodate a critical pod."
        end(verdict, grace: nil)
    }
}
