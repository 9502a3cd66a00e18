import CShims
import Linux
import Logging
import Synchronization

/// The node's images: pulled from registries or imported from archives, unpacked into directories that overlayfs stacks,
/// listed, removed. State lives below one directory that belongs to this process alone; killing it at any moment leaves
/// whole images or none.
///
/// Compressed layers are dropped once they are unpacked (they would take another third of the disk and are never read
/// again); manifests and configurations stay in the content store.
package final class ImageStore: ImageService, Snapshotter, Sendable {
    package struct Options: Sendable {
        package var limits = LayerLimits()
        package var timing = RegistryTiming()
        package var platform = Platform.host
        /// Layers downloaded at the same time, over all pulls.
        package var parallelDownloads = 3
        /// Keep compressed layers in the content store.
        package var keepLayerBlobs = false
        /// Sync the file system before a layer counts as unpacked. Off only where a power cut does not matter.
        package var durable = true
        /// --airgap-extra-registry and --system-default-registry: imported images get tags under these as well.
        package var extraRegistries: [String] = []
        package init() {}
    }

    struct State {
        var images: [Digest: ImageRecord] = [:]
        /// Unpacked layers by chain id.
        var layers: [Digest: LayerRecord] = [:]
        var pulls: [PullKey: Task<Result<ImageInfo, ImageError>, Never>] = [:]
        var jobs: [Digest: LayerJob] = [:]
        /// Layers and blobs that a running pull or import counts on, with the number of those.
        var busy: [Digest: Int] = [:]
        var counter: UInt64 = 0
        var isInUse: (@Sendable (String) async -> Bool)?
    }

    struct PullKey: Hashable {
        var reference: ImageReference
        var username: String
        var password: String
        var identityToken: String
    }

    let paths: StorePaths
    let registries: RegistriesConfig
    let client: RegistryClient
    let sha256: SHA256Factory
    let logger: Logger
    let options: Options
    let state = Mutex(State())
    /// Held by blocking threads while names change on disk together with `state`.
    let disk = Mutex(())
    let downloads: TaskLimiter
    private let lock: ImageFile

    /// Opens or makes the store at `root`: removes what a crash left over, loads the database. Blocks on the disk.
    package init(
        root: String, registries: RegistriesConfig = RegistriesConfig(), transport: any RegistryTransport,
        sha256: @escaping SHA256Factory, logger: Logger, options: Options = Options()
    ) throws(ImageError) {
        paths = StorePaths(root: root)
        self.registries = registries
        self.sha256 = sha256
        self.logger = logger
        self.options = options
        client = RegistryClient(transport: transport, timing: options.timing, sha256: sha256, logger: logger)
        downloads = TaskLimiter(options.parallelDownloads)
        try paths.prepare()
        lock = try ImageFile.open(paths.lock, O_RDWR | O_CREAT | O_NOFOLLOW)
        guard flock(lock.fd, LOCK_EX | LOCK_NB) == 0 else {
            throw ImageError(.io, "image store \(root) is in use by another process")
        }
        try load()
    }

    /// Asked before an image is removed: does a container use the image with this id?
    package func setInUseCheck(_ check: @escaping @Sendable (String) async -> Bool) {
        state.withLock { $0.isInUse = check }
    }

    // MARK: lookup

    package func image(_ reference: String) async -> ImageInfo? { record(reference)?.info }

    package func images() async -> [ImageInfo] {
        state.withLock { $0.images.values.map(\.info) }.sorted { $0.id < $1.id }
    }

    /// By id ("sha256:…" or its 64 digits), by digest, by tag.
    func record(_ reference: String) -> ImageRecord? {
        let id = reference.hasPrefix("sha256:") ? reference : "sha256:" + reference
        if let digest = try? Digest(id) { return state.withLock { $0.images[digest] } }
        guard let parsed = try? ImageReference(reference) else { return nil }
        return record(parsed)
    }

    func record(_ reference: ImageReference) -> ImageRecord? {
        state.withLock { state in
            if let digest = reference.digest {
                let name = reference.name + "@" + digest.description
                return state.images.values.first { $0.digests.contains(name) }
            }
            guard let tag = reference.tagged else { return nil }
            return state.images.values.first { $0.tags.contains(tag) }
        }
    }

    package func lowerDirectories(imageID: String) async throws(ImageError) -> [String] {
        guard let record = record(imageID) else {
            throw ImageError(.notFound, "image \"\(clipped(imageID))\": not found")
        }
        let layers = state.withLock { state in record.layers.map { state.layers[$0] } }
        var result: [String] = []
        for layer in layers.reversed() {
            guard let layer else {
                throw ImageError(.io, "image \(record.id): a layer is missing: pull the image again")
            }
            result.append(paths.files(layer.chain))
            if layer.hidesBelow { break }
        }
        return result.isEmpty ? [paths.empty] : result
    }

    // MARK: names of temporary files

    func nextName(_ prefix: String) -> String {
        state.withLock { state in
            state.counter += 1
            return "\(prefix)-\(state.counter)"
        }
    }

    // MARK: loading

    private func load() throws(ImageError) {
        for directory in [paths.ingest, paths.staging] {
            for name in try ImageFS.names(directory) {
                logger.info("removing leftover of an interrupted pull: \(name)")
                try ImageFS.removeTree(directory + "/" + name)
            }
        }
        var layers: [Digest: LayerRecord] = [:]
        for name in try ImageFS.names(paths.snapshots) {
            let file = "\(paths.snapshots)/\(name)/layer.json"
            do throws(ImageError) {
                guard let bytes = try ImageFS.read(file, limit: 64 << 10) else {
                    throw invalidManifest(file, "missing")
                }
                let layer = try LayerRecord(bytes, file: file)
                guard LayerRecord.directoryName(layer.chain) == name else { throw invalidManifest(file, "wrong chain") }
                layers[layer.chain] = layer
            } catch {
                logger.error("unusable layer: \(error.message)")
            }
        }
        var images: [Digest: ImageRecord] = [:]
        var damaged = false
        for name in try ImageFS.names(paths.images) {
            let file = paths.images + "/" + name
            guard name.hasSuffix(".json") else {
                try ImageFS.removeFile(file)
                continue
            }
            do throws(ImageError) {
                let record = try ImageRecord(try ImageFS.read(file, limit: 4 << 20) ?? [], file: file)
                if let missing = record.layers.first(where: { layers[$0] == nil }) {
                    logger.error("forgetting image \(record.id): layer \(missing) is missing")
                    try ImageFS.removeFile(file)
                } else {
                    images[record.id] = record
                }
            } catch {
                damaged = true
                logger.error("unreadable image record: \(error.message)")
            }
        }
        state.withLock { ($0.images, $0.layers) = (images, layers) }
        // Layers of an image whose record cannot be read may be in use by a running container.
        if !damaged { try removeUnreferenced() }
    }
}
