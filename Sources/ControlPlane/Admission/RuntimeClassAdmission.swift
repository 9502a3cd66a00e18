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
        if overhead.object?.isEmpty ?? true {
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
        var tolerations = spec["tolerations"].elements
        let more = found["scheduling"]["tolerations"].elements.filter { !tolerations.contains($0) }
        if more.isEmpty { return }
        tolerations += more
        request.object.json["spec"]["tolerations"] = .array(tolerations)
    }

    private static func same(_ a: JSON, _ b: JSON) -> Bool {
        func map(_ list: JSON) -> [String: Quantity] { Dictionary(PodAmounts.amounts(list)) { first, _ in first } }
        return map(a) == map(b)
    }
}
