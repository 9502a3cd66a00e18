import Codecs
import KubeAPI

/// Which nodes may take a pod, straight from the documentation's words: every pod is compared with every pod, nothing is
/// counted ahead, nothing remembered. Slow, and independent of the scheduler's code.
struct FilterOracle {
    var nodes: [JSON]
    /// Those that have a node.
    var pods: [JSON]
    /// Labels by name.
    var namespaces: [String: [String: String]]

    func feasible(_ pod: JSON) -> Set<String> {
        Set(nodes.filter { fits(pod, $0) }.map(name))
    }

    private func name(_ object: JSON) -> String { object["metadata"]["name"].string ?? "" }
    private func labels(_ object: JSON) -> [String: String] { object["metadata"]["labels"].stringMap }
    private func namespace(_ object: JSON) -> String { object["metadata"]["namespace"].string ?? "" }
    private func isOn(_ pod: JSON, _ node: JSON) -> Bool { pod["spec"]["nodeName"].string == name(node) }
    private func node(of pod: JSON) -> JSON? { nodes.first { isOn(pod, $0) } }

    private func fits(_ pod: JSON, _ node: JSON) -> Bool {
        isOpen(pod, node) && isSelected(pod, node) && hasRoom(pod, node) && hasPorts(pod, node)
            && isNear(pod, node) && isApart(pod, node) && isSpread(pod, node)
    }

    // MARK: - The node alone

    private func taints(_ node: JSON) -> [JSON] {
        var taints = node["spec"]["taints"].elements
        if node["spec"]["unschedulable"].bool == true {
            taints.append(["key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"])
        }
        return taints
    }

    private func isOpen(_ pod: JSON, _ node: JSON) -> Bool {
        for taint in taints(node) {
            if taint["effect"].string == "PreferNoSchedule" { continue }
            var isTolerated = false
            for toleration in pod["spec"]["tolerations"].elements {
                let effect = toleration["effect"].string ?? ""
                let sameEffect = effect == "" || effect == taint["effect"].string
                let key = toleration["key"].string ?? ""
                let sameKey = key == "" || key == taint["key"].string
                let exists = toleration["operator"].string == "Exists"
                let sameValue = (toleration["value"].string ?? "") == (taint["value"].string ?? "")
                if sameEffect, sameKey, exists || (key != "" && sameValue) { isTolerated = true }
            }
            if !isTolerated { return false }
        }
        return true
    }

    private func holds(_ expression: JSON, _ value: String?) -> Bool {
        let values = expression["values"].elements.map { $0.string ?? "" }
        switch expression["operator"].string ?? "" {
        case "In":
            guard let value else { return false }
            return values.contains(value)
        case "NotIn":
            guard let value else { return true }
            return !values.contains(value)
        case "Exists": return value != nil
        case "DoesNotExist": return value == nil
        case "Gt":
            guard let value, let x = Int(value), let y = Int(values[0]) else { return false }
            return x > y
        case "Lt":
            guard let value, let x = Int(value), let y = Int(values[0]) else { return false }
            return x < y
        default: return false
        }
    }

    private func isSelected(_ pod: JSON, _ node: JSON) -> Bool {
        let its = labels(node)
        for (key, value) in pod["spec"]["nodeSelector"].stringMap where its[key] != value { return false }
        let required = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        if required.isNull { return true }
        for term in required["nodeSelectorTerms"].elements {
            let expressions = term["matchExpressions"].elements
            let fields = term["matchFields"].elements
            if expressions.isEmpty && fields.isEmpty { continue }
            if expressions.allSatisfy({ holds($0, its[$0["key"].string ?? ""]) })
                && fields.allSatisfy({ holds($0, name(node)) })
            {
                return true
            }
        }
        return false
    }

    // MARK: - What runs there

    /// Thousandths.
    private func wanted(_ pod: JSON, _ resource: String) -> Int64 {
        func of(_ container: JSON) -> Int64 {
            Quantity(container["resources"]["requests"][resource].string ?? "0")!.milliValue
        }
        let spec = pod["spec"]
        var running = spec["containers"].elements.map(of).reduce(0, +)
        var highest: Int64 = 0
        var sidecars: Int64 = 0
        for container in spec["initContainers"].elements {
            if container["restartPolicy"].string == "Always" {
                sidecars += of(container)
                highest = max(highest, sidecars)
            } else {
                highest = max(highest, sidecars + of(container))
            }
        }
        running += sidecars
        let whole = spec["resources"]["requests"][resource].string.map { Quantity($0)!.milliValue }
        return (whole ?? max(running, highest)) + Quantity(spec["overhead"][resource].string ?? "0")!.milliValue
    }

    private func hasRoom(_ pod: JSON, _ node: JSON) -> Bool {
        let there = pods.filter { isOn($0, node) }
        let allocatable = node["status"]["allocatable"]
        guard Int64(there.count) < Int64(allocatable["pods"].string ?? "0")! else { return false }
        for resource in ["cpu", "memory", "ephemeral-storage", "example.com/gpu"] {
            let want = wanted(pod, resource)
            let has = Quantity(allocatable[resource].string ?? "0")!.milliValue
            let used = there.map { wanted($0, resource) }.reduce(0, +)
            if want > 0, want + used > has { return false }
        }
        return true
    }

    private func ports(_ pod: JSON) -> [(Int64, String, String)] {
        pod["spec"]["containers"].elements.flatMap { container in
            container["ports"].elements.compactMap { port in
                guard let number = port["hostPort"].int else { return nil }
                return (number, port["protocol"].string ?? "TCP", port["hostIP"].string ?? "0.0.0.0")
            }
        }
    }

    private func hasPorts(_ pod: JSON, _ node: JSON) -> Bool {
        for other in pods where isOn(other, node) {
            for a in ports(pod) {
                for b in ports(other) where a.0 == b.0 && a.1 == b.1 {
                    if a.2 == b.2 || a.2 == "0.0.0.0" || b.2 == "0.0.0.0" { return false }
                }
            }
        }
        return true
    }

    // MARK: - Other pods

    private func selects(_ selector: JSON, _ its: [String: String]) -> Bool {
        guard !selector.isNull else { return false }
        for (key, value) in selector["matchLabels"].stringMap where its[key] != value { return false }
        return selector["matchExpressions"].elements.allSatisfy { holds($0, its[$0["key"].string ?? ""]) }
    }

    /// Whether a term of `owner` means `other`.
    private func means(_ term: JSON, _ owner: JSON, _ other: JSON) -> Bool {
        var isThere = term["namespaces"].elements.contains { $0.string == namespace(other) }
        if term["namespaces"].elements.isEmpty, term["namespaceSelector"].isNull {
            isThere = namespace(owner) == namespace(other)
        }
        if !term["namespaceSelector"].isNull,
            selects(term["namespaceSelector"], namespaces[namespace(other)] ?? [:])
        {
            isThere = true
        }
        guard isThere, selects(term["labelSelector"], labels(other)) else { return false }
        for key in term["matchLabelKeys"].elements.map({ $0.string ?? "" }) {
            if let own = labels(owner)[key], labels(other)[key] != own { return false }
        }
        for key in term["mismatchLabelKeys"].elements.map({ $0.string ?? "" }) {
            if let own = labels(owner)[key], labels(other)[key] == own { return false }
        }
        return true
    }

    private func terms(_ pod: JSON, _ kind: String) -> [JSON] {
        pod["spec"]["affinity"][kind]["requiredDuringSchedulingIgnoredDuringExecution"].elements
    }

    private func areTogether(_ a: JSON, _ b: JSON, _ key: String) -> Bool {
        guard let x = labels(a)[key], let y = labels(b)[key] else { return false }
        return x == y
    }

    private func isNear(_ pod: JSON, _ node: JSON) -> Bool {
        let asked = terms(pod, "podAffinity")
        if asked.isEmpty { return true }
        for term in asked where labels(node)[term["topologyKey"].string ?? ""] == nil { return false }
        let matching = pods.filter { other in
            self.node(of: other) != nil && asked.allSatisfy { means($0, pod, other) }
        }
        let all = asked.allSatisfy { term in
            matching.contains { areTogether(self.node(of: $0)!, node, term["topologyKey"].string ?? "") }
        }
        if all { return true }
        // The first of a group that wants to be together may start it, where none is anywhere.
        let isNowhere = !matching.contains { other in
            asked.contains { labels(self.node(of: other)!)[$0["topologyKey"].string ?? ""] != nil }
        }
        return isNowhere && asked.allSatisfy { means($0, pod, pod) }
    }

    private func isApart(_ pod: JSON, _ node: JSON) -> Bool {
        for other in pods {
            guard let there = self.node(of: other) else { continue }
            for term in terms(pod, "podAntiAffinity") where means(term, pod, other) {
                if areTogether(there, node, term["topologyKey"].string ?? "") { return false }
            }
            for term in terms(other, "podAntiAffinity") where means(term, other, pod) {
                if areTogether(there, node, term["topologyKey"].string ?? "") { return false }
            }
        }
        return true
    }

    private func isSpread(_ pod: JSON, _ node: JSON) -> Bool {
        let hard = pod["spec"]["topologySpreadConstraints"].elements.filter {
            $0["whenUnsatisfiable"].string == "DoNotSchedule"
        }
        for constraint in hard {
            let key = constraint["topologyKey"].string ?? ""
            guard let here = labels(node)[key] else { return false }
            func selected(_ other: JSON) -> Bool {
                for key in constraint["matchLabelKeys"].elements.map({ $0.string ?? "" }) {
                    if let own = labels(pod)[key], labels(other)[key] != own { return false }
                }
                return selects(constraint["labelSelector"], labels(other))
            }
            let counting = nodes.filter { candidate in
                hard.allSatisfy { labels(candidate)[$0["topologyKey"].string ?? ""] != nil }
                    && (constraint["nodeAffinityPolicy"].string == "Ignore" || isSelected(pod, candidate))
                    && (constraint["nodeTaintsPolicy"].string != "Honor" || toleratesTaints(pod, candidate))
            }
            var counts: [String: Int] = [:]
            for candidate in counting {
                let inside = pods.filter { other in
                    isOn(other, candidate) && namespace(other) == namespace(pod) && selected(other)
                        && other["metadata"]["deletionTimestamp"].isNull
                }
                counts[labels(candidate)[key]!, default: 0] += inside.count
            }
            if counts.isEmpty { continue }
            var lowest = counts.values.min()!
            if counts.count < Int(constraint["minDomains"].int ?? 1) { lowest = 0 }
            let skew = (counts[here] ?? 0) + (selected(pod) ? 1 : 0) - lowest
            if skew > Int(constraint["maxSkew"].int ?? 1) { return false }
        }
        return true
    }

    private func toleratesTaints(_ pod: JSON, _ node: JSON) -> Bool {
        var plain = node
        plain["spec"]["unschedulable"] = false
        return isOpen(pod, plain)
    }
}
