internal import Codecs

/// Defaults that pods have and pod templates have not.
extension Defaulters {
    static let pod: Defaulter = { slots, context in
        guard case .object(var spec) = slots["spec"], let type = context.schema.type(named: "core/v1.PodSpec"),
            let requirements = context.schema.type(named: "core/v1.ResourceRequirements")
        else { return }
        let hostNetwork = spec["hostNetwork"] == true
        for list in ["containers", "initContainers"] {
            guard case .array(var containers)? = spec[list] else { continue }
            spec[list] = .null
            for i in containers.indices {
                requestsFromLimits(&containers[i], requirements)
                if hostNetwork { hostPorts(&containers[i], context.schema) }
            }
            spec[list] = .array(containers)
        }
        if case .object(var resources)? = spec["resources"] {
            podRequests(&resources, spec, requirements)
            spec["resources"] = .object(resources)
        }
        if spec["enableServiceLinks"] == nil { type.set("enableServiceLinks", to: true, in: &spec) }
        slots["spec"] = .object(spec)
    }

    /// A limit without a request is a request as well.
    private static func requestsFromLimits(_ container: inout JSON, _ type: TypeSchema) {
        guard case .object(var resources) = container["resources"], case .object(let limits)? = resources["limits"]
        else {
            return
        }
        var requests = resources["requests"]?.object ?? JSONObject()
        let before = requests.count
        for (key, value) in limits where requests[key] == nil { requests[key] = value }
        guard requests.count > before else { return }
        requests.sort()
        type.set("requests", to: .object(requests), in: &resources)
        container["resources"] = .object(resources)
    }

    /// On the host's network a container's port is the host's.
    private static func hostPorts(_ container: inout JSON, _ schema: Schema) {
        guard case .array(var ports) = container["ports"], let type = schema.type(named: "core/v1.ContainerPort") else {
            return
        }
        for i in ports.indices {
            guard case .object(var port) = ports[i], port["hostPort"]?.isGoZero ?? true,
                let number = port["containerPort"]
            else { continue }
            type.set("hostPort", to: number, in: &port)
            ports[i] = .object(port)
        }
        container["ports"] = .array(ports)
    }

    /// Resources of the pod as a whole, where they are given in part (KEP-2837): huge pages are limited to what the
    /// containers may have, then requests are what the containers ask for together, else the pod's own limits.
    private static func podRequests(_ resources: inout JSONObject, _ spec: JSONObject, _ type: TypeSchema) {
        var limits = resources["limits"]?.object ?? JSONObject()
        var requests = resources["requests"]?.object ?? JSONObject()
        guard !limits.isEmpty || !requests.isEmpty else { return }
        for (key, amount) in aggregate("limits", spec)
        where isHugePages(key) && requests[key] == nil && limits[key] == nil {
            limits[key] = .string(amount.description)
        }
        guard !limits.isEmpty else { return }
        // Huge pages cannot be promised twice, so that their requests follow limits only.
        for (key, amount) in aggregate("requests", spec)
        where requests[key] == nil && (key == "cpu" || key == "memory") {
            requests[key] = .string(amount.description)
        }
        for (key, value) in limits where requests[key] == nil {
            if key == "cpu" || key == "memory" || isHugePages(key) { requests[key] = value }
        }
        limits.sort()
        requests.sort()
        type.set("limits", to: .object(limits), in: &resources)
        if !requests.isEmpty { type.set("requests", to: .object(requests), in: &resources) }
    }

    private static func isHugePages(_ resource: String) -> Bool { resource.hasPrefix("hugepages-") }

    /// The sum over the containers and the init containers that stay, or what the greediest init container needs with those
    /// that stay before it.
    private static func aggregate(_ kind: String, _ spec: JSONObject) -> [(String, Quantity)] {
        var sum: [String: Quantity] = [:]
        var peak: [String: Quantity] = [:]
        var staying: [String: Quantity] = [:]
        func amounts(_ container: JSON) -> [(String, Quantity)] {
            (container["resources"][kind].object ?? [:]).compactMap { key, value in
                value.string.flatMap { Quantity($0) }.map { (key, $0) }
            }
        }
        func add(_ amounts: [(String, Quantity)], to total: inout [String: Quantity]) {
            for (key, amount) in amounts {
                guard let known = total[key] else {
                    total[key] = amount
                    continue
                }
                let (value, overflow) = known.nanos.addingReportingOverflow(amount.nanos)
                total[key] = Quantity(nanos: overflow ? .max : value, format: known.format)
            }
        }
        for container in spec["initContainers"]?.elements ?? [] {
            let asked = amounts(container)
            var together = staying
            if container["restartPolicy"] == "Always" {
                add(asked, to: &staying)
                add(asked, to: &sum)
                together = staying
            } else {
                add(asked, to: &together)
            }
            for (key, amount) in together { peak[key] = max(peak[key] ?? amount, amount) }
        }
        for container in spec["containers"]?.elements ?? [] { add(amounts(container), to: &sum) }
        for (key, amount) in peak { sum[key] = max(sum[key] ?? amount, amount) }
        return sum.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }
}
