internal import Codecs
internal import KubeAPI

/// What a pod asks for and may use altogether, by resource. Source: KEP-753 (sidecars), KEP-2837 (pod-level resources),
/// k8s.io/component-helpers/resource.
enum PodAmounts {
    /// - Parameter kind: "requests" or "limits".
    static func total(_ spec: JSON, _ kind: String, overhead: Bool = true) -> [String: Quantity] {
        var sum: [String: Quantity] = [:]
        var peak: [String: Quantity] = [:]
        var staying: [String: Quantity] = [:]
        for container in spec["containers"].elements { add(container["resources"][kind], to: &sum) }
        for container in spec["initContainers"].elements {
            var together = staying
            add(container["resources"][kind], to: &together)
            if container["restartPolicy"].string == "Always" {
                staying = together
                add(container["resources"][kind], to: &sum)
            }
            for (name, amount) in together { peak[name] = max(peak[name] ?? amount, amount) }
        }
        for (name, amount) in peak { sum[name] = max(sum[name] ?? amount, amount) }
        for (name, amount) in amounts(spec["resources"][kind]) { sum[name] = amount }
        if !overhead { return sum }
        for (name, amount) in amounts(spec["overhead"]) where kind == "requests" || sum[name] != nil {
            sum[name] = sum[name].map { $0 + amount } ?? amount
        }
        return sum
    }

    static func amounts(_ list: JSON) -> [(String, Quantity)] {
        (list.object ?? JSONObject()).compactMap { name, value in value.quantity.map { (name, $0) } }
    }

    private static func add(_ list: JSON, to sum: inout [String: Quantity]) {
        for (name, amount) in amounts(list) { sum[name] = sum[name].map { $0 + amount } ?? amount }
    }
}
