import CShims
import Linux
import Logging
import Synchronization

extension ImageStore {
    package func pull(
        _ reference: String, credentials: RegistryCredentials?
    ) async throws(ImageError) -> ImageInfo {
        let parsed = try ImageReference(reference)
        let key = PullKey(
            reference: parsed, username: credentials?.username ?? "", password: credentials?.password ?? "",
            identityToken: credentials?.identityToken ?? "")
        let task = state.withLock { state in
            if let running = state.pulls[key] { return running }
            let task = Task { [self] in
                let result: Result<ImageInfo, ImageError>
                do throws(ImageError) {
                    result = .success(try await perform(parsed, credentials))
                } catch {
                    result = .failure(
                        ImageError(error.code, "failed to pull and unpack image \"\(parsed)\": \(error.message)"))
                }
                self.state.withLock { $0.pulls[key] = nil }
                return result
            }
            state.pulls[key] = task
            return task
        }
        return try await task.value.get()
    }

    /// An image as a registry describes it, before its layers are here.
    private struct Resolved: Sendable {
        /// Digest of what the reference names: the index, if there is one.
        var target: Digest
        var manifest: ImageManifest
        var documents: [(digest: Digest, bytes: [UInt8])]
        var endpoint: Int
    }

    private func perform(
        _ reference: ImageReference, _ credentials: RegistryCredentials?
    ) async throws(ImageError) -> ImageInfo {
        let start = ContinuousClock.now
        let endpoints = registries.endpoints(for: reference.registry, credentials: credentials)
        if let info = try await unchanged(reference, endpoints) { return info }
        logger.info("pulling image \(reference)")
        let resolved: Resolved
        do throws(ImageError) {
            resolved = try await resolve(reference, endpoints)
        } catch {
            throw ImageError(error.code, "failed to resolve reference \"\(reference)\": \(error.message)")
        }
        let configuration = try await fetchConfig(resolved, reference, endpoints)
        let document = try ImageDocument(configuration, name: "config \(resolved.manifest.config.digest)")
        guard document.diffIDs.count == resolved.manifest.layers.count else {
            throw ImageError(
                .invalidManifest,
                "mismatched image rootfs and manifest layers: \(document.diffIDs.count) != \(resolved.manifest.layers.count)"
            )
        }
        if options.platform.rank(document.platform) == nil {
            logger.warning("image \(reference) is for \(document.platform), this node is \(options.platform)")
        }
        let chains = document.chainIDs(sha256)
        let documents = resolved.documents + [(resolved.manifest.config.digest, configuration)]
        var blobs = documents.map(\.digest)
        if options.keepLayerBlobs { blobs += resolved.manifest.layers.map(\.digest) }
        let held = chains + blobs
        hold(held)
        defer { letGo(held) }

        let layers = resolved.manifest.layers
        let plans = Self.plans(document, chains, labels: layers.map { "layer \($0.digest)" })
        try await unpack(plans) { [self] (index) async throws(ImageError) -> LayerSource in
            try await download(layers[index], reference, endpoints, resolved.endpoint)
        }
        var record = ImageRecord(id: resolved.manifest.config.digest)
        record.tags = [reference.tagged].compactMap { $0 }
        record.digests = ["\(reference.name)@\(resolved.target)"]
        record.layers = chains
        record.blobs = blobs
        record.config = document.config
        let info = try await commit(record, documents)
        logger.info(
            "pulled image \(reference)",
            metadata: [
                "id": "\(record.id)", "bytes": "\(layers.reduce(0) { $0 + $1.size })",
                "diskBytes": "\(info.sizeBytes)", "seconds": "\(seconds(since: start))",
            ])
        return info
    }

    /// With the image here, a HEAD request tells whether the tag still means it.
    private func unchanged(
        _ reference: ImageReference, _ endpoints: [RegistryEndpoint]
    ) async throws(ImageError) -> ImageInfo? {
        guard let present = record(reference) else { return nil }
        // A digest never changes its meaning.
        if reference.digest != nil { return present.info }
        guard let digest = await client.head(reference, endpoints),
            present.digests.contains("\(reference.name)@\(digest)")
        else { return nil }
        return present.info
    }

    private func resolve(
        _ reference: ImageReference, _ endpoints: [RegistryEndpoint]
    ) async throws(ImageError) -> Resolved {
        let top = try await client.manifest(reference.object, of: reference, expecting: reference.digest, endpoints)
        var documents = [(digest: top.digest, bytes: top.bytes)]
        switch try ManifestDocument(top.bytes, mediaType: top.mediaType, name: "manifest \(top.digest)") {
        case .image(let manifest):
            return Resolved(target: top.digest, manifest: manifest, documents: documents, endpoint: top.endpoint)
        case .index(let manifests):
            guard let choice = ManifestDocument.choose(manifests, for: options.platform) else {
                throw ImageError(
                    .notFound, "no match for platform \(options.platform) in manifest \(top.digest): not found")
            }
            let child = try await client.manifest(
                choice.digest.description, of: reference, expecting: choice.digest, endpoints,
                startingWith: top.endpoint)
            documents.append((child.digest, child.bytes))
            guard
                case .image(let manifest) = try ManifestDocument(
                    child.bytes, mediaType: choice.mediaType, name: "manifest \(child.digest)")
            else {
                throw invalidManifest("manifest \(child.digest)", "an index inside of an index")
            }
            return Resolved(target: top.digest, manifest: manifest, documents: documents, endpoint: child.endpoint)
        }
    }

    private func fetchConfig(
        _ resolved: Resolved, _ reference: ImageReference, _ endpoints: [RegistryEndpoint]
    ) async throws(ImageError) -> [UInt8] {
        let config = resolved.manifest.config
        if let bytes = try ImageFS.read(paths.blob(config.digest), limit: ImageDocument.maxBytes),
            Digest.of(bytes, sha256) == config.digest
        {
            return bytes
        }
        let ingest = try Ingest(path: paths.ingest + "/" + nextName("config"), sha256: sha256)
        try await client.blob(
            config, of: reference, endpoints, startingWith: resolved.endpoint, kind: "config", into: ingest)
        return try ImageFS.read(ingest.region().file, at: 0, count: Int(config.size))
    }

    private func download(
        _ layer: Descriptor, _ reference: ImageReference, _ endpoints: [RegistryEndpoint], _ first: Int
    ) async throws(ImageError) -> LayerSource {
        if options.keepLayerBlobs, ImageFS.exists(paths.blob(layer.digest)) {
            return LayerSource(region: try ImageFile.open(paths.blob(layer.digest), O_RDONLY | O_NOFOLLOW).region())
        }
        let start = ContinuousClock.now
        logger.debug("downloading layer \(layer.digest)", metadata: ["bytes": "\(layer.size)"])
        let ingest = try Ingest(path: paths.ingest + "/" + nextName("layer"), sha256: sha256)
        try await client.blob(layer, of: reference, endpoints, startingWith: first, kind: "layer", into: ingest)
        logger.info(
            "downloaded layer \(layer.digest)",
            metadata: ["bytes": "\(layer.size)", "seconds": "\(seconds(since: start))"])
        return LayerSource(region: ingest.region(), ingest: ingest)
    }

    /// Writes the small documents and the image's record; tags move here from other images. The layers are in place
    /// and held. Tags and digests already known of the image stay.
    func commit(
        _ record: ImageRecord, _ documents: [(digest: Digest, bytes: [UInt8])]
    ) async throws(ImageError) -> ImageInfo {
        try await BlockingPool.images.run { [self] () throws(ImageError) in
            try changing { (_) throws(ImageError) -> ImageInfo in
                for document in documents where !ImageFS.exists(paths.blob(document.digest)) {
                    try ImageFS.writeAtomically(paths.blob(document.digest), document.bytes)
                }
                var record = record
                var robbed: [ImageRecord] = []
                state.withLock { state in
                    if let known = state.images[record.id] {
                        record.tags = Array(Set(known.tags + record.tags))
                        record.digests = Array(Set(known.digests + record.digests))
                        record.blobs += known.blobs.filter { !record.blobs.contains($0) }
                        record.pinned = record.pinned || known.pinned
                    }
                    for var other in state.images.values where other.id != record.id {
                        let kept = other.tags.filter { !record.tags.contains($0) }
                        if kept.count != other.tags.count {
                            other.tags = kept
                            robbed.append(other)
                        }
                    }
                    record.sizeBytes = Set(record.layers).reduce(0) { $0 + (state.layers[$1]?.diskBytes ?? 0) }
                }
                record.tags.sort()
                record.digests.sort()
                for blob in record.blobs {
                    var info = k3s_file_info()
                    if k3s_file_stat(AT_FDCWD, paths.blob(blob), &info) == 0 { record.sizeBytes += info.size }
                }
                for changed in robbed + [record] {
                    try ImageFS.writeAtomically(paths.image(changed.id), changed.encode())
                    state.withLock { $0.images[changed.id] = changed }
                }
                return record.info
            }
        }
    }
}
