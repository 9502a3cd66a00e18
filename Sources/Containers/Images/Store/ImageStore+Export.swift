import CShims
import Codecs
import Linux

extension ImageStore {
    /// Writes images into an archive that `ctr images import`, `docker load`, skopeo and this store read: an OCI image
    /// layout with docker's manifest.json. Layers are packed anew from the unpacked files, since their downloads are not
    /// kept: the content is the same, digests and with them the image's id are others. A file that is there is replaced
    /// once the archive is whole.
    /// - Parameters:
    ///   - references: tags and digests under which images are known, which are their names in the archive, or ids.
    ///   - platform: which the images have to be for; nil: what they are for.
    package func export(
        _ references: [String], to path: String, platform: String? = nil
    ) async throws(ImageError) {
        if let platform { try check(platform) }
        var images: [ImageRecord] = []
        for reference in references {
            guard var found = record(reference) else {
                throw ImageError(.notFound, "image \"\(reference)\": not found")
            }
            if let tag = try? ImageReference(reference).tagged, found.tags.contains(tag) { found.tags = [tag] }
            if let same = images.firstIndex(where: { $0.id == found.id }) {
                images[same].tags += found.tags.filter { !images[same].tags.contains($0) }
            } else {
                images.append(found)
            }
        }
        guard !images.isEmpty else {
            throw ImageError(.invalidReference, "please provide an image reference to export")
        }
        let wanted = images
        // Nobody removes them meanwhile.
        let held = wanted.flatMap { $0.layers + $0.blobs }
        hold(held)
        defer { letGo(held) }
        try await BlockingPool.images.run { [self] () throws(ImageError) in
            let temporary = path + "." + nextName("partial")
            do throws(ImageError) {
                let file = try ImageFile.open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
                try write(wanted, to: TarWriter { (bytes) throws(ImageError) in try file.writeAll(bytes) })
                try file.sync()
                try ImageFS.move(temporary, to: path)
            } catch {
                try? ImageFS.removeFile(temporary)
                throw error
            }
        }
    }

    /// A node has its images for its own platform only.
    private func check(_ text: String) throws(ImageError) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        guard (1...3).contains(parts.count), !parts.contains("") else {
            throw ImageError(.invalidReference, "invalid platform \"\(clipped(text))\": want os/architecture/variant")
        }
        var wanted = Platform(architecture: parts.count == 1 ? parts[0] : parts[1])
        if parts.count > 1 { wanted.os = parts[0] }
        if parts.count > 2 { wanted.variant = parts[2] }
        guard options.platform.normalized == wanted.normalized else {
            throw ImageError(
                .notFound, "no content for platform \(clipped(text)) on this node, which has \(options.platform)")
        }
    }

    /// Blocks.
    private func write(_ images: [ImageRecord], to tar: TarWriter) throws(ImageError) {
        try tar.file("oci-layout", Array("{\"imageLayoutVersion\":\"1.0.0\"}".utf8))
        var manifests: [JSON] = []
        var docker: [JSON] = []
        var written: Set<Digest> = []
        for image in images {
            var layers: [(digest: Digest, size: Int64)] = []
            for chain in image.layers { layers.append(try writeLayer(chain, to: tar, &written)) }
            guard let bytes = try ImageFS.read(paths.blob(image.id), limit: ImageDocument.maxBytes) else {
                throw ImageError(.io, "image \(image.id): its configuration is missing")
            }
            var config = try ManifestDocument.parse(bytes, "config \(image.id)")
            config["rootfs"]["diff_ids"] = .strings(layers.map(\.digest.description))
            let configuration = try writeBlob(config.encode(), to: tar, &written)
            let manifest: JSON = [
                "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": Self.descriptor("application/vnd.oci.image.config.v1+json", configuration),
                "layers": .array(layers.map { Self.descriptor("application/vnd.oci.image.layer.v1.tar", $0) }),
            ]
            let target = try writeBlob(manifest.encode(), to: tar, &written)
            var entry = Self.descriptor("application/vnd.oci.image.manifest.v1+json", target)
            for tag in image.tags {
                entry["annotations"] = [
                    "io.containerd.image.name": .string(tag),
                    "org.opencontainers.image.ref.name": .string(
                        tag.split(separator: ":").last.map(String.init) ?? tag),
                ]
                manifests.append(entry)
            }
            if image.tags.isEmpty { manifests.append(entry) }
            docker.append([
                "Config": .string("blobs/sha256/" + configuration.digest.hex), "RepoTags": .strings(image.tags),
                "Layers": .strings(layers.map { "blobs/sha256/" + $0.digest.hex }),
            ])
        }
        let index: JSON = [
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": .array(manifests),
        ]
        try tar.file("index.json", index.encode())
        try tar.file("manifest.json", JSON.array(docker).encode())
        try tar.end()
    }

    private static func descriptor(_ type: String, _ blob: (digest: Digest, size: Int64)) -> JSON {
        ["mediaType": .string(type), "digest": .string(blob.digest.description), "size": .int(blob.size)]
    }

    private func writeBlob(
        _ bytes: [UInt8], to tar: TarWriter, _ written: inout Set<Digest>
    ) throws(ImageError) -> (digest: Digest, size: Int64) {
        let digest = Digest.of(bytes, sha256)
        if written.insert(digest).inserted { try tar.file("blobs/sha256/" + digest.hex, bytes) }
        return (digest, Int64(bytes.count))
    }

    /// Its name is its digest, so that it has to be packed before it can be written.
    private func writeLayer(
        _ chain: Digest, to tar: TarWriter, _ written: inout Set<Digest>
    ) throws(ImageError) -> (digest: Digest, size: Int64) {
        let root = try ImageFile.open(paths.files(chain), O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
        let packed = try Ingest(path: paths.ingest + "/" + nextName("export"), sha256: sha256)
        var packer = LayerPacker(
            TarWriter { (bytes) throws(ImageError) in try packed.appendBlocking(bytes) }, name: "layer \(chain)")
        try packer.pack(root)
        let digest = packed.digest()
        let region = packed.region()
        guard written.insert(digest).inserted else { return (digest, region.size) }
        var entry = TarEntry()
        entry.path = Array(("blobs/sha256/" + digest.hex).utf8)
        entry.mode = 0o644
        entry.size = region.size
        try tar.header(entry)
        var buffer = [UInt8](repeating: 0, count: 256 << 10)
        var done: Int64 = 0
        while done < region.size {
            let count = try LayerPacker.read(
                region.file, into: &buffer, at: region.offset + done, limit: region.size - done)
            guard count > 0 else { throw ImageError(.io, "layer \(chain): shorter than it was") }
            try tar.write(Array(buffer.prefix(count)))
            done += Int64(count)
        }
        try tar.pad(region.size)
        return (digest, region.size)
    }
}
