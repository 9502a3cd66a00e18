internal import Codecs
internal import KubeAPI

/// What a failed pod means for its Job. Source: KEP-3329; texts of k8s.io/kubernetes/pkg/controller/job.
struct PodFailurePolicy: Sendable {
    enum Verdict: Sendable, Equatable {
        case count, ignore, failIndex
        case failJob(String)
    }
    private let rules: [JSON]

    init(_ job: KubeObject) { rules = job.spec["podFailurePolicy"]["rules"].elements }

    func verdict(on pod: KubeObject) -> Verdict {
        for (i, rule) in rules.enumerated() {
            let action = rule["action"].string ?? ""
            let cause: String
            if let match = Self.exitCode(rule["onExitCodes"], pod) {
                cause =
                    "Container \(match.name) for pod \(pod.namespace)/\(pod.name) failed with exit code \(match.code)"
            } else if let condition = Self.condition(rule["onPodConditions"].elements, pod) {
                cause = "Pod \(pod.namespace)/\(pod.name) has condition \(condition)"
            } else {
                continue
            }
            switch action {
            case "Ignore": return .ignore
            case "FailIndex": return .failIndex
            case "FailJob": return .failJob("\(cause) matching FailJob rule at index \(i)")
            default: return .count
            }
        }
        return .count
    }

    private static func exitCode(_ rule: JSON, _ pod: KubeObject) -> (name: String, code: Int64)? {
        guard !rule.isNull else { return nil }
        let values = rule["values"].elements.compactMap(\.int)
        for list in ["containerStatuses", "initContainerStatuses"] {
            for status in pod.status[list].elements {
                let name = status["name"].string ?? ""
                if let wanted = rule["containerName"].string, wanted != name { continue }
                guard let code = status["state"]["terminated"]["exitCode"].int, code != 0 else { continue }
                if values.contains(code) == (rule["operator"].string == "In") { return (name, code) }
            }
        }
        return nil
    }

    private static func condition(_ patterns: [JSON], _ pod: KubeObject) -> String? {
        for pattern in patterns {
            let type = pattern["type"].string ?? ""
            if pod.condition(type)["status"].string == pattern["status"].string ?? "True" { return type }
        }
        return nil
    }
}
