package import Codecs
package import KubeAPI

/// A pod, decoded for as long as something looks into it. Workers keep the encoded object and make one of these when
/// they are woken.
package struct Pod: Sendable {
    package let object: KubeObject
    package let uid: String
    package let name: String
    package let namespace: String
    package let containers: [ContainerSpec]
    package let initContainers: [ContainerSpec]
    package let ephemeralContainers: [ContainerSpec]

    package init(_ object: KubeObject) {
        self.object = object
        uid = object.uid
        name = object.name
        namespace = object.namespace
        let spec = object.spec
        containers = spec["containers"].elements.map { ContainerSpec($0, .regular) }
        initContainers = spec["initContainers"].elements.map { ContainerSpec($0, .initial) }
        ephemeralContainers = spec["ephemeralContainers"].elements.map { ContainerSpec($0, .ephemeral) }
    }

    package var spec: JSON { object.spec }
    package var status: JSON { object.status }
    package var key: ObjectKey { object.key }
    package var allContainers: [ContainerSpec] { initContainers + containers + ephemeralContainers }
    package func container(_ name: String) -> ContainerSpec? { allContainers.first { $0.name == name } }

    package enum RestartPolicy: String, Sendable {
        case always = "Always"
        case onFailure = "OnFailure"
        case never = "Never"
    }
    package var restartPolicy: RestartPolicy {
        spec["restartPolicy"].string.flatMap(RestartPolicy.init(rawValue:)) ?? .always
    }
    package var hostNetwork: Bool { spec["hostNetwork"].bool ?? false }
    package var hostPID: Bool { spec["hostPID"].bool ?? false }
    package var hostIPC: Bool { spec["hostIPC"].bool ?? false }
    package var sharesProcessNamespace: Bool { spec["shareProcessNamespace"].bool ?? false }
    package var security: JSON { spec["securityContext"] }
    package var volumes: [JSON] { spec["volumes"].elements }

    /// "name_namespace(uid)", as log lines and events name a pod.
    package var label: String { "\(name)_\(namespace)(\(uid))" }
    /// "<ns>_<name>_<uid>": the pod's directory below /var/log/pods.
    package var logDirectoryName: String { "\(namespace)_\(name)_\(uid)" }

    /// How long its containers get between the stop signal and the kill, now.
    package var gracePeriod: Int64 {
        if object.isBeingDeleted, let seconds = object.metadata["deletionGracePeriodSeconds"].int {
            return max(seconds, 0)
        }
        return max(spec["terminationGracePeriodSeconds"].int ?? 30, 0)
    }

    package var isTerminal: Bool { ["Succeeded", "Failed"].contains(status["phase"].string ?? "") }

    /// Of the pod's resources: what its containers ask for at most at one time, plus overhead
    /// (k8s.io/component-helpers/resource.PodRequests).
    package func request(_ resource: String) -> Quantity {
        if let own = spec["resources"]["requests"][resource].string.flatMap({ Quantity($0) }) {
            return own + overhead(resource)
        }
        var sum = containers.reduce(Quantity.zero) { $0 + ($1.request(resource) ?? .zero) }
        var sidecars = Quantity.zero
        var peak = Quantity.zero
        for container in initContainers {
            let amount = container.request(resource) ?? .zero
            if container.isSidecar {
                sum = sum + amount
                sidecars = sidecars + amount
                peak = max(peak, sidecars)
            } else {
                peak = max(peak, sidecars + amount)
            }
        }
        return max(sum, peak) + overhead(resource)
    }

    /// nil: at least one container has no limit.
    package func limit(_ resource: String) -> Quantity? {
        if let own = spec["resources"]["limits"][resource].string.flatMap({ Quantity($0) }) {
            return own + overhead(resource)
        }
        var sum = Quantity.zero
        for container in containers {
            guard let amount = container.limit(resource) else { return nil }
            sum = sum + amount
        }
        var sidecars = Quantity.zero
        var peak = Quantity.zero
        for container in initContainers {
            guard let amount = container.limit(resource) else { return nil }
            if container.isSidecar {
                sum = sum + amount
                sidecars = sidecars + amount
                peak = max(peak, sidecars)
            } else {
                peak = max(peak, sidecars + amount)
            }
        }
        return max(sum, peak) + overhead(resource)
    }

    private func overhead(_ resource: String) -> Quantity {
        spec["overhead"][resource].string.flatMap { Quantity($0) } ?? .zero
    }

    package enum QOSClass: String, Sendable {
        case guaranteed = "Guaranteed"
        case burstable = "Burstable"
        case bestEffort = "BestEffort"
    }

    /// The class in the status, which never changes once set, or what requests and limits say.
    package var qosClass: QOSClass {
        if let known = status["qosClass"].string.flatMap(QOSClass.init(rawValue:)) { return known }
        let sets: [JSON] =
            spec["resources"].isNull
            ? (containers + initContainers).map { $0.json["resources"] } : [spec["resources"]]
        var guaranteed = true
        var any = false
        for resources in sets {
            for resource in ["cpu", "memory"] {
                let limit = resources["limits"][resource].string.flatMap { Quantity($0) }
                let request = resources["requests"][resource].string.flatMap { Quantity($0) }
                if (request ?? .zero) > .zero || (limit ?? .zero) > .zero { any = true }
                guard let limit, limit > .zero, (request ?? limit) == limit else {
                    guaranteed = false
                    continue
                }
            }
        }
        return !any ? .bestEffort : guaranteed ? .guaranteed : .burstable
    }

    /// From a file of the node.
    package var isStatic: Bool { (object.annotations[StaticPodManifest.source] ?? "api") != "api" }

    /// Spared when the node needs room (system-cluster-critical and above, and what comes from the node's own files).
    package var isCritical: Bool { isStatic || (spec["priority"].int ?? 0) >= 2_000_000_000 }

    /// Of high enough priority to be spared by everyone (system-node-critical).
    package var isNodeCritical: Bool {
        (spec["priority"].int ?? 0) >= 2_000_001_000
            || isStatic && spec["priorityClassName"].string == "system-node-critical"
    }
}
