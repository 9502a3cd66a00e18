internal import Codecs
internal import KubeAPI

/// Which volumes would do for a claim. Source: pkg/controller/volume/persistentvolume, component-helpers/storage/volume.
enum VolumeMatch {
    static let boundByController = "pv.kubernetes.io/bound-by-controller"
    static let bindCompleted = "pv.kubernetes.io/bind-completed"
    static let selectedNode = "volume.kubernetes.io/selected-node"

    /// Volumes that are free and enough, the one that was kept for the claim first, then the smallest.
    static func candidates(_ claim: KubeObject, _ volumes: [KubeObject]) -> [KubeObject] {
        let wanted = claim.spec["resources"]["requests"]["storage"].quantity ?? .zero
        let selectorJSON = claim.spec["selector"]
        let selector =
            selectorJSON.isNull ? LabelSelector.everything : (try? LabelSelector(json: selectorJSON)) ?? .nothing
        var fitting: [(isKept: Bool, size: Quantity, volume: KubeObject)] = []
        for volume in volumes where !volume.isBeingDeleted {
            let size = volume.spec["capacity"]["storage"].quantity ?? .zero
            guard mode(volume) == mode(claim), modes(volume).isSuperset(of: modes(claim)) else { continue }
            if isFor(volume, claim) {
                if size >= wanted { fitting.append((true, size, volume)) }
                continue
            }
            guard volume.spec["claimRef"].isNull, volume.status["phase"].string == "Available",
                className(volume) == className(claim), attributes(volume) == attributes(claim),
                size >= wanted, selector.matches(volume.labels)
            else { continue }
            fitting.append((false, size, volume))
        }
        fitting.sort { a, b in
            if a.isKept != b.isKept { return a.isKept }
            return a.size == b.size ? a.volume.name < b.volume.name : a.size < b.size
        }
        return fitting.map(\.volume)
    }

    /// The volume names the claim (and, where it says which, this very one).
    static func isFor(_ volume: KubeObject, _ claim: KubeObject) -> Bool {
        let reference = volume.spec["claimRef"]
        guard reference["name"].string == claim.name, reference["namespace"].string == claim.namespace else {
            return false
        }
        let uid = reference["uid"].string ?? ""
        return uid.isEmpty || uid == claim.uid
    }

    static func className(_ object: KubeObject) -> String {
        object.annotations["volume.beta.kubernetes.io/storage-class"] ?? object.spec["storageClassName"].string ?? ""
    }
    static func mode(_ object: KubeObject) -> String { object.spec["volumeMode"].string ?? "Filesystem" }
    private static func attributes(_ object: KubeObject) -> String {
        object.spec["volumeAttributesClassName"].string ?? ""
    }
    static func modes(_ object: KubeObject) -> Set<String> {
        Set(object.spec["accessModes"].elements.compactMap(\.string))
    }
}
