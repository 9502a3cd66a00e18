package import Codecs
package import KubeAPI

/// What controllers ask of a pod.
extension KubeObject {
    package var podPhase: String { status["phase"].string ?? "" }

    /// Neither finished nor being deleted.
    package var isActivePod: Bool {
        let phase = podPhase
        return phase != "Succeeded" && phase != "Failed" && !isBeingDeleted
    }

    /// Asked to go, and still there.
    package var isTerminatingPod: Bool {
        let phase = podPhase
        return phase != "Succeeded" && phase != "Failed" && isBeingDeleted
    }

    package var isReadyPod: Bool { condition("Ready")["status"].string == "True" }

    /// Ready for at least `seconds`; otherwise how long it still takes, if it is ready at all.
    package func podAvailability(minReadySeconds: Int64, now: Timestamp) -> (available: Bool, after: Duration?) {
        let ready = condition("Ready")
        guard ready["status"].string == "True" else { return (false, nil) }
        guard minReadySeconds > 0 else { return (true, nil) }
        guard let since = ready["lastTransitionTime"].string.flatMap({ Timestamp($0) }) else { return (false, nil) }
        let at = since.advanced(by: .seconds(minReadySeconds))
        return at <= now ? (true, nil) : (false, at.duration(since: now))
    }

    /// The claim behind one of the pod's volumes: the one it names, or the one that is made for it.
    package func claimName(of volume: JSON) -> String? {
        if let name = volume["persistentVolumeClaim"]["claimName"].string { return name }
        return volume["ephemeral"].isNull ? nil : "\(name)-\(volume["name"].string ?? "")"
    }

    /// A pod as a workload's template describes it, owned by the workload.
    package static func pod(from template: JSON, generateName: String, owner: KubeObject) -> KubeObject {
        var pod = KubeObject(["apiVersion": "v1", "kind": "Pod"])
        var metadata: JSON = ["generateName": .string(generateName), "namespace": .string(owner.namespace)]
        for part in ["labels", "annotations", "finalizers"] { metadata[part] = template["metadata"][part] }
        metadata["ownerReferences"] = [OwnerReference(controller: owner).json]
        pod.metadata = metadata
        pod.spec = template["spec"]
        return pod
    }
}

extension JSON {
    /// A count with a default; what is no number is the default too (the API server does not let it in).
    package func int(or value: Int64) -> Int64 { int ?? value }

    /// "25%" or 3, of a total.
    package func scaled(of total: Int64, roundUp: Bool) -> Int64 {
        if let n = int { return n }
        guard let percent = IntOrPercent.percent(self) else { return 0 }
        let (high, low) = percent.multipliedFullWidth(by: total)
        // More than everything, whatever it is.
        guard high == 0, low < 1 << 62 else { return Int64.max / 100 }
        let product = Int64(low)
        return roundUp ? (product + 99) / 100 : product / 100
    }
}

/// Sets a condition in a list of conditions; the transition time moves only when the status does.
package func setCondition(
    _ conditions: inout JSON, type: String, status: String, reason: String, message: String, now: Timestamp,
    updateTime: Bool = false
) {
    var list = conditions.elements
    var condition: JSON = ["type": .string(type), "status": .string(status)]
    let old = list.first { $0["type"].string == type }
    if updateTime {
        let unchanged =
            old?["status"].string == status && old?["reason"].string == reason && old?["message"].string == message
        condition["lastUpdateTime"] = unchanged ? old?["lastUpdateTime"] ?? .null : .string(now.rfc3339)
    }
    condition["lastTransitionTime"] =
        old?["status"].string == status ? old?["lastTransitionTime"] ?? .string(now.rfc3339) : .string(now.rfc3339)
    condition["reason"] = .string(reason)
    condition["message"] = .string(message)
    if let i = list.firstIndex(where: { $0["type"].string == type }) {
        list[i] = condition
    } else {
        list.append(condition)
    }
    conditions = .array(list)
}

/// Runs one operation per item, at most `width` at a time; the first error wins, the others still run.
package func concurrently<T: Sendable>(
    _ items: [T], width: Int = 16, _ body: @escaping @Sendable (T) async throws(APIError) -> Void
) async throws(APIError) {
    let failure = await withTaskGroup(of: APIError?.self) { group -> APIError? in
        var failure: APIError?
        var next = 0
        func start() {
            let item = items[next]
            next += 1
            group.addTask {
                do throws(APIError) {
                    try await body(item)
                    return nil
                } catch {
                    return error
                }
            }
        }
        while next < min(width, items.count) { start() }
        while let result = await group.next() {
            failure = failure ?? result
            if next < items.count { start() }
        }
        return failure
    }
    if let failure { throw failure }
}
