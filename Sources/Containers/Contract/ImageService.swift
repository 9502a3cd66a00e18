/// Images of the node: pulled, imported, listed, removed. An image is known by its id (digest of its configuration,
/// "sha256:..."), by its repository tags and by its repository digests.
package protocol ImageService: Sendable {
    /// Resolves a reference (docker.io and library/ defaults, tag latest) or an id among the images present.
    func image(_ reference: String) async -> ImageInfo?
    func images() async -> [ImageInfo]
    /// Pulls by registries.yaml and the given credentials; returns the image's id. Concurrent pulls of one reference share the work.
    func pull(_ reference: String, credentials: RegistryCredentials?) async throws(ImageError) -> ImageInfo
    func remove(_ reference: String) async throws(ImageError)
}

package struct RegistryCredentials: Sendable, Equatable {
    package var username = ""
    package var password = ""
    package var identityToken = ""
    package init(username: String = "", password: String = "", identityToken: String = "") {
        (self.username, self.password, self.identityToken) = (username, password, identityToken)
    }
}

package struct ImageInfo: Sendable, Equatable {
    /// Digest of the image's configuration: "sha256:<hex>".
    package var id = ""
    /// "docker.io/library/busybox:1.36"
    package var tags: [String] = []
    /// "docker.io/library/busybox@sha256:<hex of the manifest>"
    package var digests: [String] = []
    package var sizeBytes: Int64 = 0
    package var config = ImageConfig()
    /// Imported from agent/images: not garbage collected.
    package var pinned = false
    package init() {}
}

/// What of an image's configuration a container start needs.
package struct ImageConfig: Sendable, Equatable {
    package var entrypoint: [String] = []
    package var cmd: [String] = []
    /// "NAME=value"
    package var environment: [String] = []
    package var workingDirectory = ""
    /// "", "uid", "name", "uid:gid", "name:group"
    package var user = ""
    package var stopSignal = ""
    package var volumes: [String] = []
    package var labels: [String: String] = [:]
    package init() {}
}

package struct ImageError: Error, Sendable, CustomStringConvertible {
    package enum Code: Sendable, Equatable {
        case invalidReference, notFound, unauthorized, registryUnavailable, digestMismatch, invalidManifest, unsupported
        case unsafeLayer, io, inUse
    }
    package var code: Code
    package var message: String
    package var description: String { message }
    package init(_ code: Code, _ message: String) { (self.code, self.message) = (code, message) }
}

/// Where the runtime gets a container's root file system from; the overlayfs snapshotter is the real one.
package protocol Snapshotter: Sendable {
    /// Directories, lowest last, of the image's unpacked layers, for overlayfs `lowerdir`.
    func lowerDirectories(imageID: String) async throws(ImageError) -> [String]
}
