internal import Codecs
internal import KubeAPI
internal import Transport

/// A volume of a CSI driver as the API describes it, by a PersistentVolume or in the pod itself.
struct CSIVolume: Sendable {
    var driver: String
    var handle: String
    /// Name of the PersistentVolume; of an inline volume its name in the pod.
    var name: String
    /// nil: inline, made and removed with the pod.
    var persistent: KubeObject?
    var claim: KubeObject?
    var source: JSON
    /// Where secrets of inline volumes are.
    var namespace: String
    var readOnly: Bool

    init?(persistent volume: KubeObject, claim: KubeObject, readOnly: Bool) {
        source = volume.spec["csi"]
        guard let driver = source["driver"].string, let handle = source["volumeHandle"].string else { return nil }
        (self.driver, self.handle, name, persistent, self.claim) = (driver, handle, volume.name, volume, claim)
        namespace = claim.namespace
        self.readOnly = readOnly || source["readOnly"].bool ?? false
    }

    init?(inline spec: JSON, name: String, _ pod: Pod) {
        source = spec
        guard let driver = spec["driver"].string else { return nil }
        (self.driver, self.name, namespace) = (driver, name, pod.namespace)
        handle = "csi-" + SHA256.hexDigest(Array((pod.uid + name).utf8))
        readOnly = spec["readOnly"].bool ?? false
    }

    var uniqueName: String { CSINames.volume(driver: driver, handle: handle) }

    func attachmentName(node: String) -> String {
        CSINames.attachment(handle: handle, driver: driver, node: node, digest: SHA256.hexDigest)
    }

    var isBlock: Bool { persistent?.spec["volumeMode"].string == "Block" }
    var fileSystem: String { source["fsType"].string ?? "" }
    var mountOptions: [String] { persistent?.spec["mountOptions"].elements.compactMap(\.string) ?? [] }
    var attributes: [String: String] { source["volumeAttributes"].stringMap }
    var accessModes: [String] { persistent?.spec["accessModes"].elements.compactMap(\.string) ?? [] }

    /// The secret that a call is to be given; inline volumes have one, in the pod's namespace.
    func secret(_ field: String) -> (namespace: String, name: String)? {
        guard let name = source[field]["name"].string, !name.isEmpty else { return nil }
        return (source[field]["namespace"].string ?? namespace, name)
    }

    func capability(_ driver: CSIDrivers.Driver, group: UInt32?) -> JSON {
        let fine = driver.can(.singleNodeMultiWriter)
        let mode: Int64 =
            switch accessModes.first ?? "ReadWriteOnce" {
            case "ReadOnlyMany": 3
            case "ReadWriteMany": 5
            case "ReadWriteOncePod": fine ? 6 : 1
            default: fine && persistent != nil ? 7 : 1
            }
        var capability: JSON = ["access_mode": ["mode": .int(mode)]]
        if isBlock {
            capability["block"] = [:]
        } else {
            var mount: JSON = [:]
            if !fileSystem.isEmpty { mount["fs_type"] = .string(fileSystem) }
            if !mountOptions.isEmpty { mount["mount_flags"] = .strings(mountOptions) }
            if let group { mount["volume_mount_group"] = .string(String(group)) }
            capability["mount"] = mount
        }
        return capability
    }
}
