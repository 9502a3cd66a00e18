internal import Codecs
package import KubeAPI

extension AdmissionPlugin {
    /// A pod's overhead and placement are those of its runtime class. Source: plugin/pkg/admission/runtimeclass, KEP-688.
    package static let runtimeClass = AdmissionPlugin(
        "RuntimeClass", operations: [.create], resources: [.pods],
        mutate: { request, registry throws(APIError) in
            guard request.subresource.isEmpty else { return }
            try RuntimeClassAdmission.apply(&request, registry)
        })
}

enum RuntimeClassAdmission {
    private static let classes = GroupVersionResource("node.k8s.io", "v1", "runtimeclasses")

    static func apply(_ request: inout AdmissionRequest, _ registry: Registry) throws(APIError) {
        let spec = request.object.spec
        let name = spec["runtimeClassName"].string ?? ""
        let overhead = spec["overhead"]
        guard !name.isEmpty, let row = registry.resources[classes] else {
            if overhead.object?.isEmpty ?? true { return }
            throw request.forbidden(
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")
        }
        guard let found = try? registry.get(row, namespace: "", name: name).decode() else {
            throw request.forbidden("pod rejected: RuntimeClass \"\(name)\" not found")
        }
        let fixed = found["overhead"]["podFixed"]
        if found["overhead"].isNull {
            guard overhead.object?.isEmpty ?? true else {
                throw request.forbidden(
                    "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")
            }
        } else if overhead.object?.isEmpty ?? true {
            if !fixed.isNull { request.object.json["spec"]["overhead"] = fixed }
        } else if !same(overhead, fixed) {
            throw request.forbidden("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead")
        }
        for (key, value) in found["scheduling"]["nodeSelector"].object ?? JSONObject() {
            let own = spec["nodeSelector"][key]
            if !own.isNull, own != value {
                throw request.forbidden(
                    "conflict: runtimeClass.scheduling.nodeSelector[\(key)] = \(value.string ?? ""); "
                        + "pod.spec.nodeSelector[\(key)] = \(own.string ?? "")")
            }
            request.object.json["spec"]["nodeSelector"][key] = value
        }
        let more = found["scheduling"]["tolerations"].elements
        if more.isEmpty { return }
        request.object.json["spec"]["tolerations"] = .array(Tolerations.merged(spec["tolerations"].elements, more))
    }

    private static func same(_ a: JSON, _ b: JSON) -> Bool {
        func map(_ list: JSON) -> [String: Quantity] { Dictionary(PodAmounts.amounts(list)) { first, _ in first } }
        return map(a) == map(b)
    }
}

/// Source: pkg/util/tolerations.
enum Tolerations {
    /// Those of both, without what another one covers. Every one is compared with those that have its key and those that
    /// are for all keys, so that many of them take no time that grows with their square.
    static func merged(_ first: [JSON], _ second: [JSON]) -> [JSON] {
        let all = first + second
        var byKey: [String: [Int]] = [:]
        for (i, toleration) in all.enumerated() { byKey[toleration["key"].string ?? "", default: []].append(i) }
        // A pod with very many of one key keeps what it has: only what is the same is left out.
        for (key, indices) in byKey where indices.count > 256 {
            var seen: Set<String> = []
            byKey[key] = indices.filter { seen.insert(all[$0].text).inserted }
        }
        let universal = byKey[""] ?? []
        var merged: [JSON] = []
        for (i, toleration) in all.enumerated() {
            let key = toleration["key"].string ?? ""
            let same = byKey[key] ?? []
            if same.count > 256 {
                if same.sortedContains(i) { merged.append(toleration) }
                continue
            }
            let rivals = key.isEmpty ? same : same + universal
            let redundant = rivals.contains { j in
                guard j != i, covers(all[j], toleration) else { return false }
                // Of two that say the same, the first stays.
                return j < i || !covers(toleration, all[j])
            }
            if !redundant { merged.append(toleration) }
        }
        return merged
    }

    private static func covers(_ wide: JSON, _ narrow: JSON) -> Bool {
        if wide == narrow { return true }
        let exists = wide["operator"] == "Exists"
        let key = wide["key"].string ?? ""
        if key != narrow["key"].string ?? "", !(key.isEmpty && exists) { return false }
        let effect = wide["effect"].string ?? ""
        if effect != narrow["effect"].string ?? "", !effect.isEmpty { return false }
        if effect == "NoExecute", let most = wide["tolerationSeconds"].int {
            guard let seconds = narrow["tolerationSeconds"].int, seconds <= most else { return false }
        }
        if exists { return true }
        let equal: Set<String> = ["", "Equal"]
        return equal.contains(wide["operator"].string ?? "") && narrow["operator"] == "Equal"
            && wide["value"].string ?? "" == narrow["value"].string ?? ""
    }
}
