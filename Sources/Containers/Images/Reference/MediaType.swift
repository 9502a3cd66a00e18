/// Media types of the OCI image specification and of Docker's image manifest version 2, schema 2.
enum MediaType {
    static let ociIndex = "application/vnd.oci.image.index.v1+json"
    static let dockerList = "application/vnd.docker.distribution.manifest.list.v2+json"
    static let ociManifest = "application/vnd.oci.image.manifest.v1+json"
    static let dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
    static let ociConfig = "application/vnd.oci.image.config.v1+json"
    static let dockerConfig = "application/vnd.docker.container.image.v1+json"

    /// What a registry is asked for, in the order containerd asks.
    static let acceptManifests = [dockerManifest, dockerList, ociManifest, ociIndex, "*/*"].joined(separator: ", ")

    static func isIndex(_ type: String) -> Bool { type == ociIndex || type == dockerList }
    static func isManifest(_ type: String) -> Bool { type == ociManifest || type == dockerManifest }
    static func isSchema1(_ type: String) -> Bool {
        type.hasPrefix("application/vnd.docker.distribution.manifest.v1+")
    }
    static func isConfig(_ type: String) -> Bool { type == ociConfig || type == dockerConfig }

    /// File system layers, plain or compressed. Which compression is told by the bytes, as containerd does.
    static func isLayer(_ type: String) -> Bool {
        switch type {
        case "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "application/vnd.oci.image.layer.v1.tar+zstd",
            "application/vnd.oci.image.layer.nondistributable.v1.tar",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
            "application/vnd.docker.image.rootfs.diff.tar",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
            "application/vnd.docker.image.rootfs.diff.tar.zstd",
            "application/vnd.docker.image.rootfs.foreign.diff.tar",
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip":
            true
        default: false
        }
    }
}
