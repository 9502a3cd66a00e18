internal import Codecs
internal import KubeAPI

/// How many replicas a metric asks for. Pure.
/// Source: k8s.io/kubernetes/pkg/controller/podautoscaler/replica_calculator.go.
struct ReplicaCalculator: Sendable {
    enum Resource: Sendable, Equatable { case cpu, memory }
    enum Target: Sendable, Equatable {
        /// Percent of what the pods request.
        case utilization(Int64)
        /// Thousandths of a CPU, or bytes, for each pod.
        case average(Int64)
    }
    struct Proposal: Sendable, Equatable {
        var replicas: Int64
        /// Percent; nil where the target is an amount.
        var utilization: Int64?
        var average: Int64
    }
    struct Problem: Error, Equatable, CustomStringConvertible {
        var description: String
    }

    let resource: Resource
    /// nil: all containers.
    let container: String?
    let now: Timestamp
    /// How far usage may be off before anything is done, upwards and downwards.
    var tolerance = (up: 0.1, down: 0.1)

    private static let initialization = Duration.seconds(300)
    private static let firstReadiness = Duration.seconds(30)

    private var name: String { resource == .cpu ? "cpu" : "memory" }

    private func value(_ usage: PodUsage) -> Int64? {
        let values = resource == .cpu ? usage.milliCPU : usage.memory
        guard let container else { return Self.sum(values.values) }
        return values[container]
    }

    private func request(_ pod: KubeObject) throws(Problem) -> Int64 {
        var sum: Int64 = 0
        var isFound = false
        for list in ["containers", "initContainers"] {
            for own in pod.spec[list].elements {
                if list == "initContainers", own["restartPolicy"].string != "Always" { continue }
                let title = own["name"].string ?? ""
                if let container, container != title { continue }
                isFound = true
                guard let amount = own["resources"]["requests"][name].quantity else {
                    throw Problem(description: "missing request for \(name) in container \(title) of Pod \(pod.name)")
                }
                sum = Self.sum([sum, resource == .cpu ? amount.milliValue : amount.value])
            }
        }
        if let container, !isFound {
            throw Problem(
                description: "container \(container) not present in metrics for pod \(pod.namespace)/\(pod.name)")
        }
        return sum
    }

    // Requests may be as large as their type: sums stay at its end.

    private static func sum(_ values: some Sequence<Int64>) -> Int64 {
        values.reduce(0) { sum, value in
            let (next, overflow) = sum.addingReportingOverflow(value)
            return overflow ? .max : next
        }
    }

    private static func whole(_ value: Double) -> Int64 { Int64(min(max(value, 0), 0x1p62)) }

    private static func percent(_ part: Int64, of whole: Int64) -> Int64 {
        whole > 0 ? Self.whole((Double(part) * 100 / Double(whole)).rounded(.down)) : 0
    }

    private func isWithinTolerance(_ ratio: Double) -> Bool {
        ratio >= 1 - tolerance.down && ratio <= 1 + tolerance.up
    }

    func proposal(
        _ current: Int64, pods: [KubeObject], usage: [String: PodUsage], target: Target
    ) throws(Problem) -> Proposal {
        guard !pods.isEmpty else {
            throw Problem(description: "no pods returned by selector while calculating replica count")
        }
        var values: [String: Int64] = [:]
        var (ready, unready, missing): (Int64, [KubeObject], [KubeObject]) = (0, [], [])
        for pod in pods where !pod.isBeingDeleted && pod.podPhase != "Failed" {
            if pod.podPhase == "Pending" {
                unready.append(pod)
            } else if let used = usage[pod.uid], let value = value(used) {
                if resource == .cpu, isStarting(pod, used) {
                    unready.append(pod)
                } else {
                    values[pod.uid] = value
                    ready += 1
                }
            } else {
                missing.append(pod)
            }
        }
        guard !values.isEmpty else {
            throw Problem(description: "did not receive metrics for targeted pods (pods might be unready)")
        }
        var requests: [String: Int64] = [:]
        if case .utilization = target { for pod in pods { requests[pod.uid] = try request(pod) } }
        let average = Self.sum(values.values) / Int64(values.count)
        let ratio = try self.ratio(values, requests, target)
        var utilization: Int64?
        if case .utilization = target {
            utilization = Self.percent(Self.sum(values.values), of: Self.sum(values.keys.map { requests[$0] ?? 0 }))
        }
        func answer(_ replicas: Int64) -> Proposal {
            Proposal(replicas: replicas, utilization: utilization, average: average)
        }
        let growsWithUnready = !unready.isEmpty && ratio > 1
        if !growsWithUnready, missing.isEmpty {
            return answer(isWithinTolerance(ratio) ? current : Self.whole((ratio * Double(ready)).rounded(.up)))
        }
        // What is not known is assumed to speak against the change.
        for pod in missing {
            if ratio < 1 {
                switch target {
                case .utilization(let percent):
                    values[pod.uid] = Self.whole(Double(requests[pod.uid] ?? 0) * Double(max(100, percent)) / 100)
                case .average(let amount): values[pod.uid] = amount
                }
            } else if ratio > 1 {
                values[pod.uid] = 0
            }
        }
        if growsWithUnready { for pod in unready { values[pod.uid] = 0 } }
        let after = try self.ratio(values, requests, target)
        if isWithinTolerance(after) || ratio < 1 && after > 1 || ratio > 1 && after < 1 { return answer(current) }
        let replicas = Self.whole((after * Double(values.count)).rounded(.up))
        if after < 1 && replicas > current || after > 1 && replicas < current { return answer(current) }
        return answer(replicas)
    }

    private func ratio(
        _ values: [String: Int64], _ requests: [String: Int64], _ target: Target
    ) throws(Problem) -> Double {
        let used = Self.sum(values.values)
        switch target {
        case .utilization(let percent):
            let requested = Self.sum(values.keys.map { requests[$0] ?? 0 })
            guard requested > 0, percent > 0 else {
                throw Problem(description: "no metrics returned matched known pods")
            }
            return Double(Self.percent(used, of: requested)) / Double(percent)
        case .average(let amount):
            guard amount > 0 else { throw Problem(description: "the target average must be positive") }
            return Double(used) / Double(values.count) / Double(amount)
        }
    }

    /// CPU use right after the start says nothing about the load.
    private func isStarting(_ pod: KubeObject, _ usage: PodUsage) -> Bool {
        let condition = pod.condition("Ready")
        guard !condition.isNull, let start = pod.status["startTime"].string.flatMap({ Timestamp($0) }) else {
            return true
        }
        let isUnready = condition["status"].string == "False"
        let since = condition["lastTransitionTime"].string.flatMap { Timestamp($0) } ?? start
        if start.advanced(by: Self.initialization) > now {
            return isUnready || usage.time < since.advanced(by: usage.window)
        }
        return isUnready && start.advanced(by: Self.firstReadiness) > since
    }
}
