internal import Codecs
package import KubeAPI
import Synchronization

/// Sizes workloads by what their pods use. Source: k8s.io/kubernetes/pkg/controller/podautoscaler (autoscaling/v2).
///
/// Metrics of the kinds Resource and ContainerResource; for the others there is no metrics API, which their condition says.
package final class HorizontalAutoscaler: Controller {
    package let name = "horizontal-pod-autoscaler"
    private let client: any KubeClient
    private let clock: any KubeClock
    private let metrics: any MetricsSource
    private let events: EventRecorder
    private let past = Mutex<[String: ScalingBehavior.Past]>([:])
    private static let period = Duration.seconds(15)

    private static let targets: [String: GroupVersionResource] = [
        "apps/Deployment": .deployments, "apps/ReplicaSet": .replicaSets, "apps/StatefulSet": .statefulSets,
        "/ReplicationController": .replicationControllers,
    ]

    package init(client: any KubeClient, clock: any KubeClock, metrics: any MetricsSource) {
        (self.client, self.clock, self.metrics) = (client, clock, metrics)
        events = EventRecorder(client: client, clock: clock, component: "horizontal-pod-autoscaler")
    }

    package var sources: [WatchSource] {
        [
            WatchSource(.horizontalPodAutoscalers) { [self] autoscaler, kind in
                if kind == .deleted { past.withLock { _ = $0.removeValue(forKey: autoscaler.uid) } }
                return [autoscaler.key]
            }
        ]
    }

    private struct Failure: Error {
        var condition: String
        var reason: String
        var message: String
    }

    package func reconcile(_ key: ObjectKey) async throws(APIError) -> Duration? {
        guard
            let autoscaler = try await client.getIfPresent(
                .horizontalPodAutoscalers, namespace: key.namespace, name: key.name), !autoscaler.isBeingDeleted
        else { return nil }
        // Own writes wake as well: what was looked at just now is good for a while.
        var round = Round(autoscaler, clock.now())
        do throws(Failure) {
            try await scale(&round)
        } catch {
            round.set(error.condition, false, error.reason, error.message)
            await events.event(autoscaler, type: .warning, reason: error.reason, error.message)
        }
        round.status["observedGeneration"] = .int(autoscaler.generation)
        try await client.writeStatus(round.status, of: autoscaler, .horizontalPodAutoscalers)
        return Self.period
    }

    /// One look at an autoscaler.
    private struct Round: Sendable {
        let autoscaler: KubeObject
        let now: Timestamp
        var status: JSON

        init(_ autoscaler: KubeObject, _ now: Timestamp) {
            (self.autoscaler, self.now) = (autoscaler, now)
            status = autoscaler.status.isNull ? [:] : autoscaler.status
        }
        mutating func set(_ type: String, _ isTrue: Bool, _ reason: String, _ message: String) {
            var conditions = status["conditions"]
            setCondition(
                &conditions, type: type, status: isTrue ? "True" : "False", reason: reason, message: message, now: now)
            status["conditions"] = conditions
        }
    }

    private func scale(_ round: inout Round) async throws(Failure) {
        let (resource, target) = try await target(round.autoscaler)
        round.set(
            "AbleToScale", true, "SucceededGetScale", "the HPA controller was able to get the target's current scale")
        let current = target.specReplicas
        let behavior = ScalingBehavior(round.autoscaler)
        round.status["currentReplicas"] = .int(target.status["replicas"].int(or: 0))
        var (desired, why) = (current, "")
        if current == 0, behavior.least != 0 {
            round.set(
                "ScalingActive", false, "ScalingDisabled",
                "scaling is disabled since the replica count of the target is zero")
            desired = 0
        } else if current > behavior.most {
            (desired, why) = (behavior.most, "Current number of replicas above Spec.MaxReplicas")
        } else if current < behavior.least {
            (desired, why) = (behavior.least, "Current number of replicas below Spec.MinReplicas")
        } else {
            let (wanted, metric) = try await propose(&round, target, current, behavior)
            let uid = round.autoscaler.uid
            let now = round.now
            let outcome = past.withLock { past in
                behavior.outcome(current: current, wanted: wanted, &past[uid, default: .init()], now: now)
            }
            round.set("AbleToScale", true, outcome.able.reason, outcome.able.message)
            round.set("ScalingLimited", outcome.limited.is, outcome.limited.reason, outcome.limited.message)
            desired = outcome.replicas
            why = wanted > current ? "\(metric) above target" : "All metrics below target"
        }
        if desired != current {
            try await resize(&round, resource, target, from: current, to: desired, why)
            let (uid, now) = (round.autoscaler.uid, round.now)
            past.withLock { behavior.note(change: desired - current, &$0[uid, default: .init()], now: now) }
            round.status["lastScaleTime"] = .string(now.rfc3339)
        }
        round.status["desiredReplicas"] = .int(desired)
    }

    private func target(_ autoscaler: KubeObject) async throws(Failure) -> (GroupVersionResource, KubeObject) {
        let reference = autoscaler.spec["scaleTargetRef"]
        let kind = reference["kind"].string ?? ""
        let group = GroupVersion(reference["apiVersion"].string ?? "")?.group ?? ""
        func failure(_ why: String) -> Failure {
            Failure(
                condition: "AbleToScale", reason: "FailedGetScale",
                message: "the HPA controller was unable to get the target's current scale: \(why)")
        }
        guard let resource = Self.targets["\(group)/\(kind)"] else {
            throw failure("no matches for kind \"\(kind)\" in group \"\(group)\"")
        }
        do throws(APIError) {
            return (
                resource,
                try await client.get(
                    resource, namespace: autoscaler.namespace, name: reference["name"].string ?? "")
            )
        } catch {
            throw failure(error.message)
        }
    }

    private func resize(
        _ round: inout Round, _ resource: GroupVersionResource, _ target: KubeObject, from current: Int64,
        to desired: Int64, _ why: String
    ) async throws(Failure) {
        do throws(APIError) {
            _ = try await client.patch(
                resource, namespace: target.namespace, name: target.name, ["spec": ["replicas": .int(desired)]],
                type: .merge, subresource: "scale")
        } catch {
            throw Failure(
                condition: "AbleToScale", reason: "FailedUpdateScale",
                message: "the HPA controller was unable to update the target scale: \(error.message)")
        }
        round.set(
            "AbleToScale", true, "SucceededRescale",
            "the HPA controller was able to update the target scale to \(desired)")
        await events.event(
            round.autoscaler, reason: "SuccessfulRescale", "New size: \(desired); reason: \(why)")
    }

    // MARK: - Metrics

    /// The largest of what the metrics ask for, and which one that was.
    private func propose(
        _ round: inout Round, _ target: KubeObject, _ current: Int64, _ behavior: ScalingBehavior
    ) async throws(Failure) -> (Int64, String) {
        let pods: [KubeObject]
        let usage: [String: PodUsage]?
        do throws(APIError) {
            let selector = try LabelSelector(workload: target)
            pods = try await client.list(
                .pods, namespace: target.namespace, options: ListOptions(labels: selector)
            ).decoded()
            usage = await metrics.usage(of: pods)
        } catch {
            throw Failure(condition: "ScalingActive", reason: "FailedGetResourceMetric", message: error.message)
        }
        var best: (replicas: Int64, name: String)?
        var first: Failure?
        var shown: [JSON] = []
        let specs = round.autoscaler.spec["metrics"].elements
        for spec in specs {
            do throws(Failure) {
                let (proposal, name, json) = try self.proposal(spec, pods, usage, current, behavior, round.now)
                if best.map({ proposal > $0.replicas }) ?? true { best = (proposal, name) }
                shown.append(json)
            } catch {
                first = first ?? error
            }
        }
        round.status["currentMetrics"] = shown.isEmpty ? .null : .array(shown)
        // With a part of the picture one may grow, but not shrink.
        guard let best, first == nil || best.replicas >= current else {
            let why =
                first
                ?? Failure(
                    condition: "ScalingActive", reason: "InvalidMetricSourceType", message: "no metrics are given")
            round.status["desiredReplicas"] = .int(current)
            throw why
        }
        round.set(
            "ScalingActive", true, "ValidMetricFound",
            "the HPA was able to successfully calculate a replica count from \(best.name)")
        return best
    }

    private func proposal(
        _ spec: JSON, _ pods: [KubeObject], _ usage: [String: PodUsage]?, _ current: Int64, _ behavior: ScalingBehavior,
        _ now: Timestamp
    ) throws(Failure) -> (Int64, String, JSON) {
        let type = spec["type"].string ?? ""
        let isContainer = type == "ContainerResource"
        let source = spec[isContainer ? "containerResource" : "resource"]
        let name = source["name"].string ?? ""
        let target = source["target"]
        func failure(_ why: String) -> Failure {
            let isKnown = type == "Resource" || isContainer
            let what = target["averageUtilization"].isNull ? "usage" : "utilization"
            return Failure(
                condition: "ScalingActive", reason: "FailedGet\(type)Metric",
                message: "the HPA was unable to compute the replica count: "
                    + (isKnown ? "failed to get \(name) \(what): \(why)" : why))
        }
        guard type == "Resource" || isContainer else {
            throw failure("unable to get metric: no custom or external metrics API is available")
        }
        guard name == "cpu" || name == "memory" else { throw failure("resource \(name) is not measured") }
        guard let usage else {
            throw failure("unable to get metrics for resource \(name): no metrics returned from resource metrics API")
        }
        var calculator = ReplicaCalculator(
            resource: name == "cpu" ? .cpu : .memory, container: isContainer ? source["container"].string : nil,
            now: now)
        calculator.tolerance = (behavior.up.tolerance, behavior.down.tolerance)
        let wanted: ReplicaCalculator.Target
        if let percent = target["averageUtilization"].int {
            wanted = .utilization(percent)
        } else if let amount = target["averageValue"].quantity {
            wanted = .average(name == "cpu" ? amount.milliValue : amount.value)
        } else {
            throw failure("neither a target utilization nor a target average value was set")
        }
        do throws(ReplicaCalculator.Problem) {
            let proposal = try calculator.proposal(current, pods: pods, usage: usage, target: wanted)
            let average = name == "cpu" ? Quantity(milli: proposal.average) : Quantity(proposal.average)
            var value: JSON = ["averageValue": .string(average.description)]
            if let percent = proposal.utilization { value["averageUtilization"] = .int(percent) }
            var shown: JSON = ["name": .string(name), "current": value]
            if isContainer { shown["container"] = source["container"] }
            let title =
                (isContainer ? "\(name) container resource" : "\(name) resource")
                + (proposal.utilization == nil ? "" : " utilization (percentage of request)")
            return (
                proposal.replicas, title,
                ["type": .string(type), isContainer ? "containerResource" : "resource": shown]
            )
        } catch {
            throw failure(error.description)
        }
    }
}
