internal import Codecs
internal import KubeAPI

/// What an object takes of a quota, and which quotas are about it. Source: pkg/quota/v1/evaluator/core.
enum QuotaUsage {
    static let quotas = GroupVersionResource("", "v1", "resourcequotas")
    /// Kinds whose updates may take more.
    static let growing: Set<GroupVersionResource> = [.services, .persistentVolumeClaims, devices]
    static let devices = GroupVersionResource("resource.k8s.io", "v1", "resourceclaims")
    private static let deviceSuffix = ".deviceclass.resource.k8s.io/devices"
    /// How many devices a request for all of them counts for: the most that one claim may get.
    private static let allDevices: Int64 = 32

    /// Whether a write may take more: something new, what may grow, and a pod that is resized.
    static func judges(_ request: borrowing AdmissionRequest) -> Bool {
        if request.resource.resource == "events" { return false }
        guard request.subresource.isEmpty else { return request.resource == .pods && request.subresource == "resize" }
        return request.operation == .create || growing.contains(request.resource)
    }

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
        if resource == devices { return name.hasSuffix(deviceSuffix) }
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
        if resource == devices { countDevices(object.spec["devices"]["requests"].elements, &usage) }
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
            let chosen = object.spec["ports"].elements.count { $0["nodePort"].int ?? 0 != 0 }
            if type == "NodePort" { usage["services.nodeports"] = ports }
            if type == "LoadBalancer" {
                usage["services.loadbalancers"] = one
                let allocates = object.spec["allocateLoadBalancerNodePorts"].bool ?? true
                usage["services.nodeports"] = allocates ? ports : Quantity(Int64(chosen))
            }
        case "persistentvolumeclaims":
            usage["persistentvolumeclaims"] = one
            var storage = object.spec["resources"]["requests"]["storage"].quantity
            // A claim whose growing was taken back still has what was given to it.
            if let given = object.status["allocatedResources"]["storage"].quantity, let asked = storage, given > asked {
                storage = given
            }
            if let storage { usage["requests.storage"] = storage }
            let name =
                object.annotations["volume.beta.kubernetes.io/storage-class"] ?? object.spec["storageClassName"].string
            if let name, !name.isEmpty {
                usage[name + classSuffix + "persistentvolumeclaims"] = one
                if let storage { usage[name + classSuffix + "requests.storage"] = storage }
            }
        default: usage[resource.resource] = one
        }
        return usage
    }

    /// Of each class the most that one of its requests' alternatives may take.
    private static func countDevices(_ requests: [JSON], _ usage: inout [String: Quantity]) {
        func amount(_ request: JSON) -> Int64 {
            request["allocationMode"].string == "All" ? allDevices : request["count"].int ?? 1
        }
        var sums: [String: Int64] = [:]
        for request in requests {
            var most: [String: Int64] = [:]
            for one in [request["exactly"]] + request["firstAvailable"].elements {
                guard let name = one["deviceClassName"].string else { continue }
                most[name] = max(most[name] ?? 0, amount(one))
            }
            for (name, count) in most { sums[name] = (sums[name] ?? 0).addingReportingOverflow(count).partialValue }
        }
        for (name, count) in sums { usage[name + deviceSuffix] = Quantity(count) }
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
            if scope.name == "VolumeAttributesClass", resource == .persistentVolumeClaims {
                // Those that it asks for, that it has, and that it is on its way to.
                let status = object.status
                let names = [
                    object.spec["volumeAttributesClassName"].string, status["currentVolumeAttributesClassName"].string,
                    status["modifyVolumeStatus"]["targetVolumeAttributesClassName"].string,
                ].compactMap { $0 }.filter { !$0.isEmpty }
                return names.isEmpty
                    ? selects(scope.op, scope.values, nil)
                    : names.contains { selects(scope.op, scope.values, $0) }
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
