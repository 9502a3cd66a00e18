import Codecs

extension ImageArchive {
    /// The images in the archive that run on `platform`: an OCI image layout if it is one, else a docker archive.
    /// Blobs of other platforms may be missing, as k3s imports them.
    func images(for platform: Platform, sha256: @escaping SHA256Factory) throws(ImageError) -> [ArchivedImage] {
        let manifests = try json("manifest.json")
        let index = try json("index.json")
        guard manifests != nil || index != nil else {
            throw ImageError(
                .invalidManifest, "\(path): not an image archive: neither index.json nor manifest.json in it")
        }
        let repoTags = try self.repoTags(manifests ?? .null)
        if let index, try json("oci-layout") != nil || manifests == nil {
            return try layoutImages(index, platform, repoTags, sha256)
        }
        return try dockerImages(manifests ?? .null, platform, sha256)
    }

    // MARK: OCI image layout

    private func layoutImages(
        _ index: JSON, _ platform: Platform, _ repoTags: [Digest: [String]], _ sha256: @escaping SHA256Factory
    ) throws(ImageError) -> [ArchivedImage] {
        if let version = try json("oci-layout")?["imageLayoutVersion"].string, !version.hasPrefix("1.") {
            throw ImageError(
                .unsupported, "\(path): oci-layout: unsupported version \"\(clipped(version))\": want 1.0.0")
        }
        guard let list = index["manifests"].array else {
            throw invalidManifest("\(path): index.json: manifests", "want a list")
        }
        var images: [ArchivedImage] = []
        var skipped: [String] = []
        for (position, item) in list.enumerated() {
            let entry = try Descriptor(item, "\(path): index.json: manifests[\(position)]")
            guard MediaType.isIndex(entry.mediaType) || MediaType.isManifest(entry.mediaType) else { continue }
            if let other = entry.platform, platform.rank(other) == nil {
                skipped.append(other.description)
                continue
            }
            guard var image = try layoutImage(entry, platform, sha256) else {
                skipped.append(entry.digest.description)
                continue
            }
            image.names = try names(entry.annotations, repoTags[image.id] ?? [])
            if let same = images.firstIndex(where: { $0.id == image.id && $0.target == image.target }) {
                images[same].names += image.names.filter { !images[same].names.contains($0) }
            } else {
                images.append(image)
            }
        }
        guard !images.isEmpty else {
            throw ImageError(
                .notFound,
                "\(path): no image for platform \(platform) in it"
                    + (skipped.isEmpty ? "" : " (found \(clipped(skipped.joined(separator: ", "))))"))
        }
        return images
    }

    /// nil: nothing for this platform.
    private func layoutImage(
        _ entry: Descriptor, _ platform: Platform, _ sha256: @escaping SHA256Factory
    ) throws(ImageError) -> ArchivedImage? {
        guard let bytes = try blob(entry, sha256) else {
            throw invalidManifest(path, "blob \(entry.digest) is missing")
        }
        var documents = [(digest: entry.digest, bytes: bytes)]
        let manifest: ImageManifest
        var name = "\(path): manifest \(entry.digest)"
        switch try ManifestDocument(bytes, mediaType: entry.mediaType, name: name) {
        case .image(let found): manifest = found
        case .index(let list):
            // Of the entries for this machine, those whose blobs are in the archive.
            let present = list.filter { member("blobs/sha256/\($0.digest.hex)") != nil }
            guard let choice = ManifestDocument.choose(present, for: platform), let child = try blob(choice, sha256)
            else {
                return nil
            }
            name = "\(path): manifest \(choice.digest)"
            guard case .image(let found) = try ManifestDocument(child, mediaType: choice.mediaType, name: name) else {
                throw invalidManifest(name, "an index inside of an index")
            }
            manifest = found
            documents.append((choice.digest, child))
        }
        guard let config = try blob(manifest.config, sha256) else {
            throw invalidManifest(name, "config \(manifest.config.digest) is missing in the archive")
        }
        let document = try ImageDocument(config, name: "\(path): config \(manifest.config.digest)")
        guard document.diffIDs.count == manifest.layers.count else {
            throw invalidManifest(
                name,
                "mismatched image rootfs and manifest layers: \(document.diffIDs.count) != \(manifest.layers.count)")
        }
        var layers: [FileRegion] = []
        for layer in manifest.layers {
            guard let region = member("blobs/sha256/\(layer.digest.hex)") else {
                throw invalidManifest(name, "layer \(layer.digest) is missing in the archive")
            }
            layers.append(region)
        }
        return ArchivedImage(
            id: manifest.config.digest, config: config, document: document, target: entry.digest, documents: documents,
            layers: layers, labels: manifest.layers.map { "\(path): layer \($0.digest)" })
    }

    private func blob(_ descriptor: Descriptor, _ sha256: SHA256Factory) throws(ImageError) -> [UInt8]? {
        guard let bytes = try read("blobs/sha256/\(descriptor.digest.hex)") else { return nil }
        let digest = Digest.of(bytes, sha256)
        guard digest == descriptor.digest else {
            throw ImageError(
                .digestMismatch, "\(path): unexpected digest \(digest) of blob, expected \(descriptor.digest)")
        }
        return bytes
    }

    /// containerd's own annotation first, then the OCI one where it is more than a bare tag, then docker's RepoTags.
    private func names(_ annotations: [String: String], _ repoTags: [String]) throws(ImageError) -> [ImageReference] {
        var texts: [String] = []
        if let name = annotations["io.containerd.image.name"], !name.isEmpty {
            texts.append(name)
        } else if let name = annotations["org.opencontainers.image.ref.name"], name.contains(":") || name.contains("/")
        {
            texts.append(name)
        }
        var result: [ImageReference] = []
        for text in texts + repoTags {
            let reference = try reference(text)
            if !result.contains(reference) { result.append(reference) }
        }
        return result
    }

    private func reference(_ text: String) throws(ImageError) -> ImageReference {
        do throws(ImageError) { return try ImageReference(text) } catch {
            throw ImageError(error.code, "\(path): \(error.message)")
        }
    }

    // MARK: docker archive

    /// RepoTags of manifest.json by the image's id, where the name of the configuration file tells it.
    private func repoTags(_ manifests: JSON) throws(ImageError) -> [Digest: [String]] {
        var result: [Digest: [String]] = [:]
        for item in manifests.elements {
            guard let config = item["Config"].string else { continue }
            let file = config.split(separator: "/").last ?? ""
            let hex = file.hasSuffix(".json") ? file.dropLast(5) : file
            guard let id = try? Digest("sha256:" + hex) else { continue }
            result[id, default: []] += item["RepoTags"].elements.compactMap(\.string)
        }
        return result
    }

    private func dockerImages(
        _ manifests: JSON, _ platform: Platform, _ sha256: SHA256Factory
    ) throws(ImageError) -> [ArchivedImage] {
        guard let list = manifests.array, !list.isEmpty else {
            throw invalidManifest("\(path): manifest.json", "want a list of images")
        }
        var images: [ArchivedImage] = []
        for (position, item) in list.enumerated() {
            let name = "\(path): manifest.json[\(position)]"
            guard let configName = item["Config"].string, let config = try read(configName) else {
                throw invalidManifest("\(name): Config", "no such file in the archive")
            }
            let document = try ImageDocument(config, name: "\(path): \(clipped(configName))")
            guard let layerNames = item["Layers"].array, layerNames.count == document.diffIDs.count else {
                throw invalidManifest(
                    "\(name): Layers", "want the \(document.diffIDs.count) layers of the image's configuration")
            }
            var layers: [FileRegion] = []
            for (index, layer) in layerNames.enumerated() {
                guard let file = layer.string, let region = member(file) else {
                    throw invalidManifest("\(name): Layers[\(index)]", "no such file in the archive")
                }
                layers.append(region)
            }
            var image = ArchivedImage(
                id: Digest.of(config, sha256), config: config, document: document, layers: layers,
                labels: document.diffIDs.map { "\(path): layer with diff id \($0)" })
            for tag in item["RepoTags"].elements {
                guard let text = tag.string else { throw invalidManifest("\(name): RepoTags", "want a list of names") }
                image.names.append(try reference(text))
            }
            images.append(image)
        }
        return images
    }
}
