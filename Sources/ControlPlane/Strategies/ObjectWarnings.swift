internal import Codecs
internal import KubeAPI

/// What is accepted in objects beside pods, and better not done.
/// Source: pkg/api/service/warnings.go, pkg/api/persistentvolume/util.go, and the WarningsOnCreate of strategies.
enum ObjectWarnings {
    /// Of workloads, whose names are parts of their pods' host names.
    static func name(_ object: KubeObject, ofPod: Bool = false) -> [String] {
        guard let problem = LabelSyntax.labelProblem(object.name) else { return [] }
        let place = ofPod ? "the Pod's hostname" : "Pod names and hostnames"
        return [
            "metadata.name: this is used in \(place), which can result in surprising behavior; a DNS label is recommended: "
                + "[\(problem)]"
        ]
    }

    static func service(_ object: KubeObject) -> [String] {
        let spec = object.spec
        var found: [String] = []
        if object.annotations["service.kubernetes.io/topology-aware-hints"] != nil {
            found.append(
                "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use "
                    + "service.kubernetes.io/topology-mode instead")
        }
        let hasExternal = !spec["externalIPs"].elements.isEmpty
        let isExternalName = spec["type"].string == "ExternalName"
        if spec["clusterIP"].string == "None" {
            if !(spec["loadBalancerIP"].string ?? "").isEmpty {
                found.append("spec.loadBalancerIP is ignored for headless services")
            }
            if hasExternal { found.append("spec.externalIPs is ignored for headless services") }
            if let affinity = spec["sessionAffinity"].string, affinity != "None" {
                found.append("spec.SessionAffinity is ignored for headless services")
            }
        }
        if isExternalName, hasExternal {
            found.append("spec.externalIPs is ignored when spec.type is \"ExternalName\"")
        }
        if !isExternalName, !(spec["externalName"].string ?? "").isEmpty {
            found.append("spec.externalName is ignored when spec.type is not \"ExternalName\"")
        }
        if spec["trafficDistribution"].string == "PreferClose" {
            found.append("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"")
        }
        return found
    }

    private static let beta = "volume.beta.kubernetes.io/storage-class"

    static func volume(_ object: KubeObject) -> [String] {
        var found: [String] = []
        if object.annotations[beta] != nil {
            found.append(
                "metadata.annotations[\(beta)]: deprecated since v1.8; use \"storageClassName\" attribute instead")
        }
        if object.spec["persistentVolumeReclaimPolicy"].string == "Recycle" {
            found.append(
                "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended "
                    + "approach is to use dynamic provisioning.")
        }
        found += fraction(object.spec["capacity"]["storage"], "spec.capacity[storage]")
        return found + PodWarnings.volume(object.spec, "spec")
    }

    static func claim(_ object: KubeObject) -> [String] {
        var found: [String] = []
        if object.annotations[beta] != nil {
            found.append(
                "metadata.annotations[\(beta)]: deprecated since v1.8; use \"storageClassName\" attribute instead")
        }
        for list in ["requests", "limits"] {
            found += fraction(object.spec["resources"][list]["storage"], "spec.resources.\(list)[storage]")
        }
        return found
    }

    static func fraction(_ amount: JSON, _ path: String) -> [String] {
        guard let text = amount.string, text.hasSuffix("m") else { return [] }
        return ["\(path): fractional byte value \"\(text)\" is invalid, must be an integer"]
    }
}
