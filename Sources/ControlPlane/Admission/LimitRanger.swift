internal import Codecs
package import KubeAPI

extension AdmissionPlugin {
    /// Containers and claims get the defaults of their namespace's limit ranges and stay within them.
    package static let limitRanger = AdmissionPlugin(
        "LimitRanger", operations: [.create, .update], resources: [.pods, .persistentVolumeClaims],
        mutate: { request, registry throws(APIError) in
            guard request.resource == .pods, request.operation == .create, LimitRanger.concerns(request) else { return }
            for range in try LimitRanger.ranges(request.namespace, registry) {
                LimitRanger.setDefaults(&request.object, range)
            }
        },
        validate: { request, registry throws(APIError) in
            guard LimitRanger.concerns(request) else { return }
            for range in try LimitRanger.ranges(request.namespace, registry) {
                var problems: [String] = []
                // What two containers have in common is said once.
                for problem in LimitRanger.problems(request.object, isPod: request.resource == .pods, range)
                where !problems.contains(problem) { problems.append(problem) }
                if problems.isEmpty { continue }
                throw request.forbidden(
                    problems.count == 1 ? problems[0] : "[\(problems.joined(separator: ", "))]")
            }
        })
}

/// Source: plugin/pkg/admission/limitranger.
enum LimitRanger {
    private static let limitRanges = GroupVersionResource("", "v1", "limitranges")
    private static let annotation = "kubernetes.io/limit-ranger"

    /// A pod is judged once, and again when it is resized; a claim may grow.
    static func concerns(_ request: borrowing AdmissionRequest) -> Bool {
        if request.old?.isBeingDeleted ?? false { return false }
        if request.subresource == "resize" { return request.resource == .pods }
        return request.subresource.isEmpty
            && (request.operation == .create || request.resource == .persistentVolumeClaims)
    }

    static func ranges(_ namespace: String, _ registry: Registry) throws(APIError) -> [KubeObject] {
        guard let row = registry.resources[limitRanges] else { return [] }
        var ranges: [KubeObject] = []
        for item in try registry.list(row, namespace: namespace, ListParameters()).items {
            ranges.append(try item.decode())
        }
        return ranges
    }

    // MARK: - Defaults

    static func setDefaults(_ pod: inout KubeObject, _ range: KubeObject) {
        var defaults: [(kind: String, name: String, amount: JSON)] = []
        for limit in range.spec["limits"].elements where limit["type"].string == "Container" {
            for (name, amount) in limit["defaultRequest"].object ?? JSONObject() {
                defaults.append(("requests", name, amount))
            }
            for (name, amount) in limit["default"].object ?? JSONObject() { defaults.append(("limits", name, amount)) }
        }
        guard !defaults.isEmpty else { return }
        var told: [String] = []
        for (list, word) in [("containers", "container"), ("initContainers", "init container")] {
            var containers = pod.spec[list].elements
            if containers.isEmpty { continue }
            for i in containers.indices {
                var set: [String: [String]] = [:]
                for (kind, name, amount) in defaults where containers[i]["resources"][kind][name].isNull {
                    containers[i]["resources"][kind][name] = amount
                    set[kind, default: []].append(name)
                }
                let container = containers[i]["name"].string ?? ""
                for (kind, one) in [("requests", "request"), ("limits", "limit")] {
                    guard let names = set[kind] else { continue }
                    told.append("\(names.sorted().joined(separator: ", ")) \(one) for \(word) \(container)")
                }
            }
            pod.json["spec"][list] = .array(containers)
        }
        if told.isEmpty { return }
        pod.metadata["annotations"][annotation] = .string("LimitRanger plugin set: " + told.joined(separator: "; "))
    }

    // MARK: - Limits

    static func problems(_ object: KubeObject, isPod: Bool, _ range: KubeObject) -> [String] {
        var problems: [String] = []
        for limit in range.spec["limits"].elements {
            switch limit["type"].string ?? "" {
            case "Container" where isPod:
                for container in object.spec["containers"].elements + object.spec["initContainers"].elements {
                    let resources = container["resources"]
                    check(
                        limit, "Container", Self.map(resources["requests"]), Self.map(resources["limits"]), &problems)
                }
            case "Pod" where isPod:
                // Without the overhead, which nobody who writes a pod can say.
                check(
                    limit, "Pod", PodAmounts.total(object.spec, "requests", overhead: false),
                    PodAmounts.total(object.spec, "limits", overhead: false), &problems)
            case "PersistentVolumeClaim" where !isPod:
                check(
                    limit, "PersistentVolumeClaim", Self.map(object.spec["resources"]["requests"]), nil, &problems)
            default: break
            }
        }
        return problems
    }

    private static func map(_ list: JSON) -> [String: Quantity] {
        Dictionary(PodAmounts.amounts(list)) { first, _ in first }
    }

    /// - Parameter limits: nil for what has requests only.
    private static func check(
        _ limit: JSON, _ type: String, _ requests: [String: Quantity], _ limits: [String: Quantity]?,
        _ problems: inout [String]
    ) {
        for (name, enforced) in PodAmounts.amounts(limit["min"]) {
            let begin = "minimum \(name) usage per \(type) is \(enforced)"
            guard let request = requests[name] else {
                problems.append("\(begin).  No request is specified")
                continue
            }
            if request < enforced {
                problems.append("\(begin), but request is \(request)")
            } else if let own = limits?[name], own < enforced {
                problems.append("\(begin), but limit is \(own)")
            }
        }
        for (name, enforced) in PodAmounts.amounts(limit["max"]) {
            let begin = "maximum \(name) usage per \(type) is \(enforced)"
            guard let limits else {
                guard let request = requests[name] else {
                    problems.append("\(begin).  No request is specified")
                    continue
                }
                if request > enforced { problems.append("\(begin), but request is \(request)") }
                continue
            }
            guard let own = limits[name] else {
                problems.append("\(begin).  No limit is specified")
                continue
            }
            if own > enforced {
                problems.append("\(begin), but limit is \(own)")
            } else if let request = requests[name], request > enforced {
                problems.append("\(begin), but request is \(request)")
            }
        }
        guard let limits else { return }
        for (name, enforced) in PodAmounts.amounts(limit["maxLimitRequestRatio"]) {
            let begin = "\(name) max limit to request ratio per \(type) is \(enforced)"
            guard let request = requests[name], request > .zero else {
                problems.append("\(begin), but no request is specified or request is 0")
                continue
            }
            guard let own = limits[name], own > .zero else {
                problems.append("\(begin), but no limit is specified or limit is 0")
                continue
            }
            let ratio = Double(own.nanos) / Double(request.nanos)
            if ratio > Double(enforced.nanos) / 1e9 {
                problems.append("\(begin), but provided ratio is \(fixed(ratio))")
            }
        }
    }

    /// Six digits, as Go's %f.
    private static func fixed(_ value: Double) -> String {
        guard value < 1e12 else { return "\(value)" }
        let millionths = Int64((value * 1e6).rounded())
        return "\(millionths / 1_000_000).\(String(millionths % 1_000_000 + 1_000_000).dropFirst())"
    }
}
