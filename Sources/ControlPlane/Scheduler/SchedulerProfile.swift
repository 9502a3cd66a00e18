internal import Codecs
package import KubeAPI

/// How the scheduler weighs nodes: what of kubescheduler.config.k8s.io/v1 has a meaning here.
package struct SchedulerProfile: Sendable {
    enum Strategy: Sendable, Equatable {
        case leastAllocated
        case mostAllocated
        /// Points of (utilisation in percent, score 0...10).
        case requestedToCapacity([(Int64, Int64)])

        static func == (a: Self, b: Self) -> Bool {
            switch (a, b) {
            case (.leastAllocated, .leastAllocated), (.mostAllocated, .mostAllocated): true
            case (.requestedToCapacity(let x), .requestedToCapacity(let y)):
                x.elementsEqual(y, by: { $0.0 == $1.0 && $0.1 == $1.1 })
            default: false
            }
        }
    }

    package var name = "default-scheduler"
    var strategy = Strategy.leastAllocated
    var resources: [(name: String, weight: Int64)] = [("cpu", 1), ("memory", 1)]
    var balanced = ["cpu", "memory"]
    var hardAffinityWeight: Int64 = 1
    var ignoresPreferredTermsOfExistingPods = false
    /// Of those that score, by name.
    var weights = SchedulerProfile.defaultWeights
    /// What every pod's node affinity is beside its own.
    var addedAffinity: NodeSelection?
    /// nil: the system's (hosts and zones).
    var defaultConstraints: [JSON]?
    /// 0: fewer the larger the cluster is.
    var percentageOfNodes: Int64 = 0
    var backoff: (initial: Int64, limit: Int64) = (1, 10)

    package init() {}

    static let defaultWeights: [String: Int64] = [
        "TaintToleration": 3, "NodeAffinity": 2, "NodeResourcesFit": 1, "PodTopologySpread": 2,
        "InterPodAffinity": 2, "NodeResourcesBalancedAllocation": 1, "ImageLocality": 1,
    ]

    /// How many nodes that fit are enough. Source: kube-scheduler's numFeasibleNodesToFind.
    func enough(of nodes: Int) -> Int {
        guard nodes >= 100, percentageOfNodes < 100 else { return nodes }
        let percent = percentageOfNodes > 0 ? Int(percentageOfNodes) : max(5, 50 - nodes / 125)
        return max(100, nodes * percent / 100)
    }

    /// The profiles of a KubeSchedulerConfiguration (YAML or JSON). Throws with the field's path.
    package static func read(_ text: [UInt8], path: String) throws(APIError) -> [SchedulerProfile] {
        func fail(_ what: String) -> APIError { .badRequest("\(path): \(what)") }
        let json: JSON
        do {
            json = try YAML.parse(text)
        } catch {
            throw fail("\(error)")
        }
        guard json["kind"].string == "KubeSchedulerConfiguration",
            json["apiVersion"].string == "kubescheduler.config.k8s.io/v1"
        else {
            throw fail(
                "kind and apiVersion: expected KubeSchedulerConfiguration of kubescheduler.config.k8s.io/v1")
        }
        if !json["extenders"].elements.isEmpty { throw fail("extenders: are not supported") }
        var base = SchedulerProfile()
        base.percentageOfNodes = json["percentageOfNodesToScore"].int(or: 0)
        base.backoff = (json["podInitialBackoffSeconds"].int(or: 1), json["podMaxBackoffSeconds"].int(or: 10))
        guard (0...100).contains(base.percentageOfNodes) else {
            throw fail("percentageOfNodesToScore: expected a number from 0 to 100")
        }
        guard base.backoff.initial > 0, base.backoff.limit >= base.backoff.initial else {
            throw fail("podInitialBackoffSeconds and podMaxBackoffSeconds: expected 0 < initial <= max")
        }
        let list = json["profiles"].elements
        guard !list.isEmpty else { return [base] }
        var profiles: [SchedulerProfile] = []
        for (i, entry) in list.enumerated() {
            var profile = base
            profile.name = entry["schedulerName"].string ?? "default-scheduler"
            if profiles.contains(where: { $0.name == profile.name }) {
                throw fail("profiles[\(i)].schedulerName: \"\(profile.name)\" is there twice")
            }
            if let problem = profile.setPlugins(entry["plugins"]) {
                throw fail("profiles[\(i)].plugins.\(problem)")
            }
            for (n, plugin) in entry["pluginConfig"].elements.enumerated() {
                if let problem = profile.set(plugin["name"].string ?? "", plugin["args"]) {
                    throw fail("profiles[\(i)].pluginConfig[\(n)].\(problem)")
                }
            }
            profiles.append(profile)
        }
        return profiles
    }

    /// Weights and which of those that score are off. Filters cannot be turned off. Returns what is wrong.
    private mutating func setPlugins(_ json: JSON) -> String? {
        for (point, set) in json.object ?? JSONObject() {
            guard point == "score" || point == "multiPoint" else {
                if set["enabled"].elements.isEmpty, set["disabled"].elements.isEmpty { continue }
                return "\(point): only score and multiPoint can be changed"
            }
            for plugin in set["disabled"].elements {
                let name = plugin["name"].string ?? ""
                if name == "*" { weights = [:] } else { weights[name] = nil }
            }
            for plugin in set["enabled"].elements {
                let name = plugin["name"].string ?? ""
                guard let usual = Self.defaultWeights[name] else {
                    if point == "multiPoint" { continue }
                    return "\(point).enabled: \"\(name)\" is not one that scores"
                }
                let weight = plugin["weight"].int(or: 0)
                weights[name] = weight > 0 ? min(weight, 1 << 20) : usual
            }
        }
        return nil
    }

    private mutating func set(_ plugin: String, _ args: JSON) -> String? {
        switch plugin {
        case "NodeResourcesFit":
            let scoring = args["scoringStrategy"]
            switch scoring["type"].string ?? "LeastAllocated" {
            case "LeastAllocated": strategy = .leastAllocated
            case "MostAllocated": strategy = .mostAllocated
            case "RequestedToCapacityRatio":
                let points = scoring["requestedToCapacityRatio"]["shape"].elements.map {
                    ($0["utilization"].int(or: 0), $0["score"].int(or: 0))
                }
                guard !points.isEmpty, zip(points, points.dropFirst()).allSatisfy({ $0.0 < $1.0 }),
                    points.allSatisfy({ (0...100).contains($0.0) && (0...10).contains($0.1) })
                else {
                    return
                        "args.scoringStrategy.requestedToCapacityRatio.shape: expected points of rising utilization (0 to 100) and score (0 to 10)"
                }
                strategy = .requestedToCapacity(points)
            case let other: return "args.scoringStrategy.type: \"\(other)\" is not known"
            }
            let list = scoring["resources"].elements.map {
                ($0["name"].string ?? "", min(100, max(1, $0["weight"].int(or: 1))))
            }
            if !list.isEmpty { resources = list }
        case "NodeResourcesBalancedAllocation":
            let list = args["resources"].elements.compactMap { $0["name"].string }
            if !list.isEmpty { balanced = list }
        case "InterPodAffinity":
            hardAffinityWeight = args["hardPodAffinityWeight"].int(or: 1)
            ignoresPreferredTermsOfExistingPods = args["ignorePreferredTermsOfExistingPods"].bool ?? false
            if !(0...100).contains(hardAffinityWeight) { return "args.hardPodAffinityWeight: expected 0 to 100" }
        case "PodTopologySpread":
            if args["defaultingType"].string == "List" || !args["defaultConstraints"].isNull {
                defaultConstraints = args["defaultConstraints"].elements
            }
        case "NodeAffinity":
            let added = args["addedAffinity"]
            addedAffinity = added.isNull ? nil : NodeSelection(["affinity": ["nodeAffinity": added]])
        case "DefaultPreemption", "VolumeBinding": break
        default: return "name: \"\(plugin)\" has no arguments here"
        }
        return nil
    }
}
