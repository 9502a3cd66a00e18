internal import Codecs

/// Names of resources that containers ask for. Source: pkg/apis/core/v1/helper.
package enum ResourceName {
    /// With a domain that is not Kubernetes' own, and a name (IsExtendedResourceName).
    package static func isExtended(_ name: String) -> Bool {
        name.utf8.contains(UInt8(ascii: "/")) && !name.contains("kubernetes.io/") && !name.hasPrefix("requests.")
            && LabelSyntax.keyProblem("requests." + name) == nil
    }
}

/// Names by which the attach/detach controller and a node's kubelet know the same volume. Source: pkg/volume/csi.
package enum CSINames {
    /// As it stands in a node's status.
    package static func volume(driver: String, handle: String) -> String { "kubernetes.io/csi/\(driver)^\(handle)" }

    /// Of a VolumeAttachment; `digest` is SHA-256 in hexadecimal digits.
    package static func attachment(handle: String, driver: String, node: String, digest: ([UInt8]) -> String) -> String
    {
        "csi-" + digest(Array((handle + driver + node).utf8))
    }
}
