internal import Codecs
internal import KubeAPI

/// What an object takes of a quota, and which quotas are about it. Source: pkg/quota/v1/evaluator/core.
enum QuotaUsage {
    static let quotas = GroupVersionResource("", "v1", "resourcequotas")
    static let claims = GroupVersionResource("", "v1", "persistentvolumeclaims")
    /// Kinds whose updates may take more.
    static let growing: Set<GroupVersionResource> = [.services, claims]

    private static let counted: Set<String> = [
        "configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers", "resourcequotas", "secrets",
        "services",
    ]
    private static let computed = ["cpu", "memory", "ephemeral-storage"]
    private static let one = Quantity(1)
    static let classSuffix = ".storageclass.storage.k8s.io/"

    /// Whether a name in a quota's `hard` counts objects of this kind.
    static func concerns(_ name: String, _ resource: GroupVersionResource) -> Bool {
        if name == "count/" + resource.groupResource { return true }
        guard resource.group.isEmpty else { return false }
        if name == resource.resource { return counted.contains(name) }
        switch resource.resource {
        case "pods":
            return computed.contains(name) || name.hasPrefix("requests.") && name != "requests.storage"
                || name.hasPrefix("limits.") || name.hasPrefix("hugepages-")
        case "services": return name == "services.nodeports" || name == "services.loadbalancers"
        case "persistentvolumeclaims": return name == "requests.storage" || name.contains(classSuffix)
        default: return false
        }
    }

    static func of(_ object: KubeObject, _ resource: GroupVersionResource, now: Timestamp) -> [String: Quantity] {
        var usage = ["count/" + resource.groupResource: one]
        guard resource.group.isEmpty, counted.contains(resource.resource) else { return usage }
        switch resource.resource {
        case "pods":
            if isFinished(object, now) { return usage }
            usage["pods"] = one
            for (name, amount) in PodAmounts.total(object.spec, "requests") {
                if computed.contains(name) || name.hasPrefix("hugepages-") { usage[name] = amount }
                usage["requests." + name] = amount
            }
            for (name, amount) in PodAmounts.total(object.spec, "limits") where computed.contains(name) {
                usage["limits." + name] = amount
            }
        case "services":
            usage["services"] = one
            let type = object.spec["type"].string
            let ports = Quantity(Int64(object.spec["ports"].elements.count))
            if type == "NodePort" { usage["services.nodeports"] = ports }
            if type == "LoadBalancer" {
                usage["services.loadbalancers"] = one
                if object.spec["allocateLoadBalancerNodePorts"].bool ?? true { usage["services.nodeports"] = ports }
            }
        case "persistentvolumeclaims":
            usage["persistentvolumeclaims"] = one
            let storage = object.spec["resources"]["requests"]["storage"].quantity
            if let storage { usage["requests.storage"] = storage }
            if let name = object.spec["storageClassName"].string, !name.isEmpty {
                usage[name + classSuffix + "persistentvolumeclaims"] = one
                if let storage { usage[name + classSuffix + "requests.storage"] = storage }
            }
        default: usage[resource.resource] = one
        }
        return usage
    }

    /// A pod that has ended, or that should have been gone for a while.
    private static func isFinished(_ pod: KubeObject, _ now: Timestamp) -> Bool {
        if ["Succeeded", "Failed"].contains(pod.status["phase"].string ?? "") { return true }
        guard let deleted = pod.deletionTimestamp else { return false }
        return now > deleted.advanced(by: .seconds(pod.metadata["deletionGracePeriodSeconds"].int ?? 0))
    }

    // MARK: - Scopes

    /// Whether a quota's scopes mean the object.
    static func matches(_ quota: KubeObject, _ object: KubeObject, _ resource: GroupVersionResource) -> Bool {
        let scopes = quota.spec["scopes"].elements.compactMap(\.string).map {
            (name: $0, op: "Exists", values: [String]())
        }
        let terms = quota.spec["scopeSelector"]["matchExpressions"].elements.map {
            (
                name: $0["scopeName"].string ?? "", op: $0["operator"].string ?? "",
                values: $0["values"].elements.compactMap(\.string)
            )
        }
        return (scopes + terms).allSatisfy { scope in
            if scope.name == "VolumeAttributesClass", resource == claims {
                return selects(scope.op, scope.values, object.spec["volumeAttributesClassName"].string)
            }
            guard resource == .pods else { return false }
            let spec = object.spec
            switch scope.name {
            case "Terminating": return spec["activeDeadlineSeconds"].int ?? -1 >= 0
            case "NotTerminating": return spec["activeDeadlineSeconds"].isNull
            case "BestEffort": return PodQOS.of(spec) == "BestEffort"
            case "NotBestEffort": return PodQOS.of(spec) != "BestEffort"
            case "PriorityClass": return selects(scope.op, scope.values, spec["priorityClassName"].string)
            case "CrossNamespacePodAffinity": return crossesNamespaces(spec["affinity"])
            default: return false
            }
        }
    }

    private static func selects(_ op: String, _ values: [String], _ value: String?) -> Bool {
        let value = value.flatMap { $0.isEmpty ? nil : $0 }
        switch op {
        case "Exists": return value != nil
        case "DoesNotExist": return value == nil
        case "In": return value.map(values.contains) ?? false
        case "NotIn": return !(value.map(values.contains) ?? false)
        default: return false
        }
    }

    private static func crossesNamespaces(_ affinity: JSON) -> Bool {
        for kind in ["podAffinity", "podAntiAffinity"] {
            let required = affinity[kind]["requiredDuringSchedulingIgnoredDuringExecution"].elements
            let preferred = affinity[kind]["preferredDuringSchedulingIgnoredDuringExecution"].elements
            for term in required + preferred.map({ $0["podAffinityTerm"] })
            where !term["namespaces"].elements.isEmpty || !term["namespaceSelector"].isNull {
                return true
            }
        }
        return false
    }

    // MARK: - What has to be said

    private static let demanded: Set<String> = [
        "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory",
    ]

    /// Where processor or memory is rationed every container has to say how much it wants. nil: it does.
    static func missing(_ pod: KubeObject, _ names: [String]) -> String? {
        var missing: [String: [String]] = [:]
        for container in pod.spec["containers"].elements + pod.spec["initContainers"].elements {
            for name in names where demanded.contains(name) {
                let parts = name.split(separator: ".").map(String.init)
                let (kind, resource) = parts.count == 2 ? (parts[0], parts[1]) : ("requests", name)
                if container["resources"][kind][resource].isNull, pod.spec["resources"][kind][resource].isNull {
                    missing[name, default: []].append(container["name"].string ?? "")
                }
            }
        }
        if missing.isEmpty { return nil }
        return "must specify "
            + missing.sorted { $0.key < $1.key }.map { "\($0.key) for: \($0.value.joined(separator: ","))" }
            .joined(separator: "; ")
    }
}
