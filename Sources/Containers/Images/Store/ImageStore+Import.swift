import Codecs
import Linux
import Logging

extension ImageStore {
    /// Imports every image of an archive and pins it: docker-archive or OCI layout, plain, gzip or zstd.
    package func importArchive(path: String) async throws(ImageError) -> [ImageInfo] {
        let start = ContinuousClock.now
        let infos: [ImageInfo]
        do throws(ImageError) {
            infos = try await importImages(path)
        } catch {
            // Most messages carry the path already.
            throw error.message.contains(path)
                ? ImageError(error.code, "failed to import \(error.message)")
                : ImageError(error.code, "failed to import \(path): \(error.message)")
        }
        logger.info(
            "imported \(path)",
            metadata: [
                "images": "\(infos.map { $0.tags.first ?? $0.id }.joined(separator: ", "))",
                "seconds": "\(seconds(since: start))",
            ])
        return infos
    }

    private func importImages(_ path: String) async throws(ImageError) -> [ImageInfo] {
        logger.info("importing images from \(path)")
        let (archive, images) = try await BlockingPool.images.run { [self] () throws(ImageError) in
            let archive = try ImageArchive(path: path, limits: options.limits, sha256: sha256) {
                paths.ingest + "/" + nextName("import")
            }
            return (archive, try archive.images(for: options.platform, sha256: sha256))
        }
        // Spooled members live as long as the archive object.
        defer { withExtendedLifetime(archive) {} }
        var infos: [ImageInfo] = []
        for image in images { infos.append(try await importImage(image)) }
        return infos
    }

    private func importImage(_ image: ArchivedImage) async throws(ImageError) -> ImageInfo {
        let chains = image.document.chainIDs(sha256)
        let documents = image.documents + [(image.id, image.config)]
        let held = chains + documents.map(\.digest)
        hold(held)
        defer { letGo(held) }
        let plans = Self.plans(image.document, chains, labels: image.labels)
        let layers = image.layers
        try await unpack(plans) { (index) async throws(ImageError) -> LayerSource in LayerSource(region: layers[index])
        }
        var record = ImageRecord(id: image.id)
        let names = withExtraRegistries(image.names)
        record.tags = names.compactMap(\.tagged)
        var digests: [String] = []
        for name in names {
            if let target = image.target { digests.append("\(name.name)@\(target)") }
            if let digest = name.digest { digests.append("\(name.name)@\(digest)") }
        }
        record.digests = Array(Set(digests)).sorted()
        record.layers = chains
        record.blobs = documents.map(\.digest)
        record.config = image.document.config
        record.pinned = true
        return try await commit(record, documents)
    }

    /// The same names at --airgap-extra-registry and --system-default-registry.
    private func withExtraRegistries(_ names: [ImageReference]) -> [ImageReference] {
        var result = names
        for registry in options.extraRegistries {
            for name in names where name.registry != registry {
                let copy = ImageReference(
                    registry: registry, repository: name.repository, tag: name.tag, digest: name.digest)
                if !result.contains(copy) { result.append(copy) }
            }
        }
        return result
    }
}
