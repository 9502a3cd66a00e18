internal import Codecs
internal import KubeAPI

/// How fast an autoscaler may go, and how long it hesitates. Pure but for what it remembers of the past.
/// Source: KEP-853; k8s.io/kubernetes/pkg/controller/podautoscaler/horizontal.go.
struct ScalingBehavior: Sendable {
    struct Rules: Sendable {
        var window: Int64
        var policies: [(isPercent: Bool, value: Int64, period: Int64)]
        var select: String
        var tolerance: Double

        init(_ json: JSON, window: Int64, policies: [(isPercent: Bool, value: Int64, period: Int64)]) {
            self.window = json["stabilizationWindowSeconds"].int ?? window
            let given = json["policies"].elements.map {
                (
                    isPercent: $0["type"].string == "Percent", value: $0["value"].int(or: 0),
                    period: $0["periodSeconds"].int(or: 15)
                )
            }
            self.policies = given.isEmpty ? policies : given
            select = json["selectPolicy"].string ?? "Max"
            tolerance = json["tolerance"].quantity.map { Double($0.milliValue) / 1000 } ?? 0.1
        }
    }

    /// What has been recommended and done lately.
    struct Past: Sendable {
        var recommendations: [(time: Timestamp, replicas: Int64)] = []
        /// Above zero: added; below: removed.
        var changes: [(time: Timestamp, replicas: Int64)] = []
    }

    struct Outcome: Sendable, Equatable {
        var replicas: Int64
        var able: (reason: String, message: String)
        var limited: (is: Bool, reason: String, message: String)

        static func == (a: Self, b: Self) -> Bool {
            a.replicas == b.replicas && a.able == b.able && a.limited == b.limited
        }
    }

    let up: Rules
    let down: Rules
    let least: Int64
    let most: Int64

    init(_ autoscaler: KubeObject) {
        let behavior = autoscaler.spec["behavior"]
        up = Rules(behavior["scaleUp"], window: 0, policies: [(false, 4, 15), (true, 100, 15)])
        down = Rules(behavior["scaleDown"], window: 300, policies: [(true, 100, 15)])
        least = autoscaler.spec["minReplicas"].int(or: 1)
        most = autoscaler.spec["maxReplicas"].int(or: 1)
    }

    func outcome(current: Int64, wanted: Int64, _ past: inout Past, now: Timestamp) -> Outcome {
        if past.recommendations.isEmpty { past.recommendations = [(now, current)] }
        let stable = stabilized(current, wanted, &past, now)
        let able: (String, String)
        if stable == wanted {
            able = ("ReadyForNewScale", "recommended size matches current size")
        } else if wanted >= current {
            able = (
                "ScaleUpStabilized",
                "recent recommendations were lower than current one, applying the lowest recent recommendation"
            )
        } else {
            able = (
                "ScaleDownStabilized",
                "recent recommendations were higher than current one, applying the highest recent recommendation"
            )
        }
        let limited = limited(current, stable, past, now)
        return Outcome(replicas: limited.0, able: able, limited: (limited.0 != stable, limited.1, limited.2))
    }

    private func stabilized(_ current: Int64, _ wanted: Int64, _ past: inout Past, _ now: Timestamp) -> Int64 {
        let upFrom = now.advanced(by: .seconds(-up.window))
        let downFrom = now.advanced(by: .seconds(-down.window))
        var (lowest, highest) = (wanted, wanted)
        for (time, replicas) in past.recommendations {
            if time > upFrom { lowest = min(lowest, replicas) }
            if time > downFrom { highest = max(highest, replicas) }
        }
        let oldest = min(upFrom, downFrom)
        past.recommendations.removeAll { $0.time <= oldest }
        past.recommendations.append((now, wanted))
        return min(max(current, lowest), highest)
    }

    private func limited(
        _ current: Int64, _ wanted: Int64, _ past: Past, _ now: Timestamp
    ) -> (Int64, String, String) {
        if wanted > current {
            let limit = max(current, bound(current, up, past, now, isUp: true))
            let allowed = min(most, limit)
            if wanted > allowed {
                return limit < most
                    ? (
                        allowed, "ScaleUpLimit",
                        "the desired replica count is increasing faster than the maximum scale rate"
                    )
                    : (allowed, "TooManyReplicas", "the desired replica count is more than the maximum replica count")
            }
        } else if wanted < current {
            let limit = min(current, bound(current, down, past, now, isUp: false))
            let allowed = max(least, limit)
            if wanted < allowed {
                return limit > least
                    ? (
                        allowed, "ScaleDownLimit",
                        "the desired replica count is decreasing faster than the maximum scale rate"
                    ) : (allowed, "TooFewReplicas", "the desired replica count is less than the minimum replica count")
            }
        } else if wanted > most {
            return (most, "TooManyReplicas", "the desired replica count is more than the maximum replica count")
        } else if wanted < least {
            return (least, "TooFewReplicas", "the desired replica count is less than the minimum replica count")
        }
        return (wanted, "DesiredWithinRange", "the desired count is within the acceptable range")
    }

    /// As far as the policies let go from what there was at the beginning of their periods.
    private func bound(_ current: Int64, _ rules: Rules, _ past: Past, _ now: Timestamp, isUp: Bool) -> Int64 {
        guard rules.select != "Disabled" else { return current }
        let bounds = rules.policies.map { policy -> Int64 in
            let from = now.advanced(by: .seconds(-policy.period))
            let start = current - past.changes.filter { $0.time > from }.reduce(0) { $0 + $1.replicas }
            let share = Double(start) * Double(policy.value) / 100
            if isUp {
                return policy.isPercent ? Int64((Double(start) + share).rounded(.up)) : start + policy.value
            }
            return policy.isPercent ? Int64(Double(start) - share) : start - policy.value
        }
        // "Max" lets the policy decide that changes most.
        let takesLargest = isUp == (rules.select != "Min")
        return (takesLargest ? bounds.max() : bounds.min()) ?? current
    }

    func note(change: Int64, _ past: inout Past, now: Timestamp) {
        let longest = (up.policies + down.policies).map(\.period).max() ?? 0
        let oldest = now.advanced(by: .seconds(-longest))
        past.changes.removeAll { $0.time < oldest }
        past.changes.append((now, change))
    }
}
