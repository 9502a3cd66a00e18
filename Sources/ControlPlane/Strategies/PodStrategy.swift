internal import Codecs
internal import KubeAPI

/// Pods. Source: pkg/registry/core/pod/strategy.go.
struct PodStrategy: ResourceStrategy {
    var tracksGeneration: Bool { true }
    var returnsDeletedObject: Bool { true }
    var selectableFields: [SelectableField] {
        [
            SelectableField("spec.nodeName"), SelectableField("spec.restartPolicy"),
            SelectableField("spec.schedulerName"), SelectableField("spec.serviceAccountName"),
            SelectableField("spec.hostNetwork", absent: "false"), SelectableField("status.phase"),
            SelectableField("status.podIP"), SelectableField("status.nominatedNodeName"),
        ]
    }

    func warnings(for object: KubeObject) -> [String] {
        ObjectWarnings.name(object, ofPod: true) + PodWarnings.annotations(object) + PodWarnings.of(object.spec, "spec")
    }

    func prepareForCreate(_ object: inout KubeObject, _ scope: RequestScope) {
        object.json["status"] = ["phase": "Pending", "qosClass": .string(PodQOS.of(object.spec))]
        if !object.spec["schedulingGates"].elements.isEmpty {
            object.setCondition(
                "PodScheduled", status: "False", reason: "SchedulingGated",
                message: "Scheduling is blocked due to non-empty scheduling gates", now: scope.now)
        }
    }

    func prepareForUpdate(_ object: inout KubeObject, old: KubeObject, subresource: String, _ scope: RequestScope) {
        if subresource.isEmpty {
            // The old name of a field that is one and the same.
            if !object.spec["serviceAccountName"].isNull {
                object.json["spec"]["serviceAccount"] = object.spec["serviceAccountName"]
            }
        } else if subresource == "status" {
            // Who owns a pod and when it goes is not the kubelet's to say; its class of service never changes.
            object.metadata["deletionTimestamp"] = old.metadata["deletionTimestamp"]
            object.metadata["deletionGracePeriodSeconds"] = old.metadata["deletionGracePeriodSeconds"]
            if object.status["qosClass"].isNull { object.json["status"]["qosClass"] = old.status["qosClass"] }
        } else if subresource == "ephemeralcontainers" || subresource == "resize" {
            let part =
                subresource == "resize"
                ? Self.resized(old.spec, to: object.spec)
                : Self.with(old.spec, ephemeral: object.spec["ephemeralContainers"])
            let version = object.resourceVersion
            object = old
            object.resourceVersion = version
            object.json["spec"] = part
        }
    }

    /// A pod that no kubelet knows, or that has finished, goes at once.
    func gracePeriod(of object: KubeObject, requested: Int64?) -> Int64? {
        var period = requested ?? object.spec["terminationGracePeriodSeconds"].int ?? 30
        if (object.spec["nodeName"].string ?? "").isEmpty { period = 0 }
        if ["Succeeded", "Failed"].contains(object.status["phase"].string ?? "") { period = 0 }
        return period < 0 ? 1 : period
    }
}

/// The class of service that follows from a pod's requests and limits.
/// Source: pkg/apis/core/v1/helper/qos.
enum PodQOS {
    static func of(_ spec: JSON) -> String {
        var requests: [String: Quantity] = [:]
        var limits: [String: Quantity] = [:]
        var guaranteed = true
        func add(_ list: JSON, to sums: inout [String: Quantity]) -> Set<String> {
            var seen: Set<String> = []
            for name in ["cpu", "memory"] {
                guard let quantity = list[name].string.flatMap({ Quantity($0) }), quantity > .zero else { continue }
                sums[name] = (sums[name] ?? .zero) + quantity
                seen.insert(name)
            }
            return seen
        }
        let pod = spec["resources"]
        if !pod["requests"].isNull || !pod["limits"].isNull {
            _ = add(pod["requests"], to: &requests)
            guaranteed = add(pod["limits"], to: &limits).count == 2
        } else {
            for container in spec["containers"].elements + spec["initContainers"].elements {
                _ = add(container["resources"]["requests"], to: &requests)
                if add(container["resources"]["limits"], to: &limits).count != 2 { guaranteed = false }
            }
        }
        if requests.isEmpty, limits.isEmpty { return "BestEffort" }
        if guaranteed {
            for (name, request) in requests where limits[name] != request { guaranteed = false }
        }
        return guaranteed && requests.count == limits.count ? "Guaranteed" : "Burstable"
    }
}
