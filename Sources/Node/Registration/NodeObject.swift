package import Codecs
package import KubeAPI

/// The Node object as this node writes it, from facts; pure.
package struct NodeObject {
    package var configuration: NodeConfiguration
    package var facts: HostFacts
    /// What device plugins offer, by resource.
    package var devices: [String: (capacity: Int64, allocatable: Int64)] = [:]
    /// Attached volumes that must stay.
    package var volumesInUse: [String] = []

    package init(configuration: NodeConfiguration, facts: HostFacts) {
        (self.configuration, self.facts) = (configuration, facts)
    }

    package var capacity: [String: Quantity] {
        let perCore = configuration.podsPerCore
        let pods = configuration.maximumPods
        return facts.capacity(
            pods: perCore > 0 ? min(pods, perCore.multipliedReportingOverflow(by: facts.cpus).0) : pods)
    }

    /// What is left of the capacity for pods: without what is reserved for the system, for Kubernetes, and by the hard
    /// eviction thresholds. Source: pkg/kubelet/cm/node_container_manager_linux.go.
    package var allocatable: [String: Quantity] {
        var allocatable = capacity
        for (name, amount) in capacity {
            var reserved = (configuration.kubeReserved[name] ?? .zero) + (configuration.systemReserved[name] ?? .zero)
            let signal: EvictionSignal? =
                name == "memory" ? .memoryAvailable : name == "ephemeral-storage" ? .nodeFSAvailable : nil
            if let signal {
                reserved = reserved + Quantity(configuration.eviction.reserved(signal, of: amount.value))
            }
            guard reserved > .zero else { continue }
            let left = max(amount - reserved, .zero)
            allocatable[name] =
                name == "cpu" ? left : Quantity(left.value, format: name == "memory" ? .binarySI : .decimalSI)
        }
        return allocatable
    }

    /// What the kernel holds all pods together to: the thresholds of eviction are no part of it, as pods are to be ended
    /// by the node before the kernel does it.
    var enforced: [String: Quantity] {
        guard configuration.enforcesAllocatable else { return capacity }
        var amounts = capacity
        for reserved in [configuration.kubeReserved, configuration.systemReserved] {
            for (name, amount) in reserved where name != "pid" {
                amounts[name] = max((amounts[name] ?? .zero) - amount, .zero)
            }
        }
        let processes = [configuration.kubeReserved, configuration.systemReserved].compactMap { $0["pid"] }
        if !processes.isEmpty {
            amounts["pid"] = max(Quantity(facts.maximumProcesses) - processes.reduce(.zero, +), Quantity(1))
        }
        return amounts
    }

    package var labels: [String: String] {
        var labels = [
            "kubernetes.io/hostname": configuration.hostname, "kubernetes.io/arch": facts.architecture,
            "kubernetes.io/os": "linux", "beta.kubernetes.io/arch": facts.architecture,
            "beta.kubernetes.io/os": "linux",
            "node.kubernetes.io/instance-type": configuration.instanceType,
            "beta.kubernetes.io/instance-type": configuration.instanceType,
        ]
        if configuration.offersEgress { labels["egress.k3s.io/cluster"] = "true" }
        if configuration.isServer { labels["node-role.kubernetes.io/control-plane"] = "true" }
        return labels
    }

    package var annotations: [String: String] {
        var annotations = configuration.annotations
        annotations["alpha.kubernetes.io/provided-node-ip"] = configuration.internalIPs.joined(separator: ",")
        annotations["k3s.io/internal-ip"] = configuration.internalIPs.joined(separator: ",")
        annotations["k3s.io/hostname"] = configuration.hostname
        if !configuration.externalIPs.isEmpty {
            annotations["k3s.io/external-ip"] = configuration.externalIPs.joined(separator: ",")
        }
        annotations["node.alpha.kubernetes.io/ttl"] = "0"
        annotations["volumes.kubernetes.io/controller-managed-attach-detach"] = "true"
        return annotations
    }

    /// To register with: labels and taints of the command line count now only.
    package func fresh(status: JSON) -> KubeObject {
        var object = KubeObject(GroupVersionKind("", "v1", "Node"), name: configuration.name)
        object.labels = configuration.labels.merging(labels) { mine, _ in mine }
        object.annotations = annotations
        var spec: JSON = ["providerID": .string(configuration.providerID)]
        if !configuration.taints.isEmpty {
            spec["taints"] = .array(
                configuration.taints.map { taint in
                    var json: JSON = ["key": .string(taint.key), "effect": .string(taint.effect)]
                    if !taint.value.isEmpty { json["value"] = .string(taint.value) }
                    return json
                })
        }
        object.spec = spec
        object.status = status
        return object
    }

    package struct Condition: Sendable, Equatable {
        package var type: String
        package var isTrue: Bool
        package var reason: String
        package var message: String
    }

    /// Upstream's four, in its order and words.
    package static func conditions(notReady: String?, pressure: Set<String>) -> [Condition] {
        func condition(
            _ type: String, under: (reason: String, message: String), else fine: (reason: String, message: String)
        ) -> Condition {
            let isTrue = pressure.contains(type)
            let said = isTrue ? under : fine
            return Condition(type: type, isTrue: isTrue, reason: said.reason, message: said.message)
        }
        return [
            condition(
                "MemoryPressure",
                under: ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
                else: ("KubeletHasSufficientMemory", "kubelet has sufficient memory available")),
            condition(
                "DiskPressure", under: ("KubeletHasDiskPressure", "kubelet has disk pressure"),
                else: ("KubeletHasNoDiskPressure", "kubelet has no disk pressure")),
            condition(
                "PIDPressure", under: ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
                else: ("KubeletHasSufficientPID", "kubelet has sufficient PID available")),
            notReady.map { Condition(type: "Ready", isTrue: false, reason: "KubeletNotReady", message: $0) }
                ?? Condition(
                    type: "Ready", isTrue: true, reason: "KubeletReady", message: "kubelet is posting ready status"),
        ]
    }

    /// `old`: the conditions there are, for the times of their transitions and for those of others.
    package func status(
        conditions: [Condition], images: [JSON], now: Timestamp, old: JSON
    ) -> JSON {
        var status: JSON = [:]
        var addresses: [JSON] = configuration.internalIPs.map { ["type": "InternalIP", "address": .string($0)] }
        addresses += configuration.externalIPs.map { ["type": "ExternalIP", "address": .string($0)] }
        addresses.append(["type": "Hostname", "address": .string(configuration.hostname)])
        status["addresses"] = .array(addresses)
        // Extended resources that somebody else has written stay.
        var shownCapacity = old["capacity"].stringMap
        var shownAllocatable = old["allocatable"].stringMap
        for (name, amount) in capacity { shownCapacity[name] = amount.description }
        for (name, amount) in allocatable { shownAllocatable[name] = amount.description }
        for (name, amount) in devices {
            shownCapacity[name] = String(amount.capacity)
            shownAllocatable[name] = String(amount.allocatable)
        }
        for name in shownCapacity.keys where shownAllocatable[name] == nil {
            shownAllocatable[name] = shownCapacity[name]
        }
        status["capacity"] = .map(shownCapacity)
        status["allocatable"] = .map(shownAllocatable)
        let known = old["conditions"].elements
        var list = conditions.map { condition -> JSON in
            let value = condition.isTrue ? "True" : "False"
            let before = known.first { $0["type"].string == condition.type }
            let since = before?["status"].string == value ? before?["lastTransitionTime"].string : nil
            return [
                "type": .string(condition.type), "status": .string(value), "lastHeartbeatTime": .string(now.rfc3339),
                "lastTransitionTime": .string(since ?? now.rfc3339), "reason": .string(condition.reason),
                "message": .string(condition.message),
            ]
        }
        list = known.filter { other in !conditions.contains { $0.type == other["type"].string } } + list
        status["conditions"] = .array(list)
        status["daemonEndpoints"] = ["kubeletEndpoint": ["Port": .int(Int64(configuration.kubeletPort))]]
        status["nodeInfo"] = [
            "machineID": .string(facts.machineID), "systemUUID": .string(facts.systemUUID),
            "bootID": .string(facts.bootID),
            "kernelVersion": .string(facts.kernelVersion), "osImage": .string(facts.osImage),
            "containerRuntimeVersion": .string(configuration.runtimeVersion),
            "kubeletVersion": .string(configuration.kubernetesVersion), "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": .string(facts.architecture), "swap": ["capacity": .int(facts.swapBytes)],
        ]
        if !volumesInUse.isEmpty || !old["volumesInUse"].elements.isEmpty {
            status["volumesInUse"] = .strings(volumesInUse)
        }
        if !images.isEmpty { status["images"] = .array(images) }
        status["runtimeHandlers"] = [
            ["name": "", "features": ["recursiveReadOnlyMounts": true, "userNamespaces": true]]
        ]
        status["features"] = ["supplementalGroupsPolicy": true]
        return status
    }
}
