import Linux
import Logging
import Synchronization

extension ImageStore {
    /// Removes the image with all its tags, as CRI has it, then the layers and blobs nobody needs any more. Removing
    /// what is not there is fine; an image that a container uses is refused.
    package func remove(_ reference: String) async throws(ImageError) {
        guard let record = record(reference) else {
            if !reference.hasPrefix("sha256:"), (try? Digest("sha256:" + reference)) == nil {
                _ = try ImageReference(reference)
            }
            return
        }
        if let isInUse = state.withLock({ $0.isInUse }), await isInUse(record.id.description) {
            throw ImageError(.inUse, "image \(record.id) is in use by a container")
        }
        try await BlockingPool.images.run { [self] () throws(ImageError) in
            try changing { (_) throws(ImageError) in
                try ImageFS.removeFile(paths.image(record.id))
                state.withLock { $0.images[record.id] = nil }
            }
            try removeUnreferenced()
        }
        logger.info("removed image \(record.tags.first ?? record.id.description)", metadata: ["id": "\(record.id)"])
    }

    /// Runs `body` while nobody else changes names on disk. Only from blocking threads.
    func changing<R: Sendable>(_ body: (inout Void) throws(ImageError) -> R) throws(ImageError) -> R {
        let result: Result<R, ImageError> = disk.withLock { _ in
            var nothing: Void = ()
            do throws(ImageError) { return .success(try body(&nothing)) } catch { return .failure(error) }
        }
        return try result.get()
    }

    /// Counts on layers and blobs: they are not collected until they are let go.
    func hold(_ digests: [Digest]) {
        state.withLock { state in for digest in digests { state.busy[digest, default: 0] += 1 } }
    }

    func letGo(_ digests: [Digest]) {
        state.withLock { state in
            for digest in digests {
                let left = (state.busy[digest] ?? 1) - 1
                state.busy[digest] = left > 0 ? left : nil
            }
        }
    }

    /// Deletes layers and blobs that no image and no running pull refers to. Blocks.
    func removeUnreferenced() throws(ImageError) {
        let layers = state.withLock { Array($0.layers.keys) }
        for chain in layers {
            let trash = paths.staging + "/" + nextName("trash")
            let moved = try changing { (_) throws(ImageError) -> Bool in
                // Forgotten first, in one step with the question: a pull that comes now makes the layer anew.
                let forgotten = state.withLock { state in
                    guard state.isUnreferenced(layer: chain) else { return false }
                    state.layers[chain] = nil
                    return true
                }
                if forgotten { try ImageFS.move(paths.snapshot(chain), to: trash) }
                return forgotten
            }
            if moved { try ImageFS.removeTree(trash) }
        }
        // Directories without a usable record.
        let known = state.withLock { state in Set(state.layers.keys.map(LayerRecord.directoryName)) }
        for name in try ImageFS.names(paths.snapshots) where !known.contains(name) {
            let trash = paths.staging + "/" + nextName("trash")
            let moved = try changing { (_) throws(ImageError) -> Bool in
                let wanted = state.withLock { state in
                    state.layers.keys.contains { LayerRecord.directoryName($0) == name }
                }
                guard !wanted, ImageFS.exists(paths.snapshots + "/" + name) else { return false }
                try ImageFS.move(paths.snapshots + "/" + name, to: trash)
                return true
            }
            if moved { try ImageFS.removeTree(trash) }
        }
        for name in try ImageFS.names(paths.blobs) {
            try changing { (_) throws(ImageError) in
                if let digest = try? Digest("sha256:" + name),
                    state.withLock({ $0.isReferenced(blob: digest) })
                {
                    return
                }
                try ImageFS.removeFile(paths.blobs + "/" + name)
            }
        }
    }
}

extension ImageStore.State {
    /// Here, and wanted by nobody.
    func isUnreferenced(layer: Digest) -> Bool {
        layers[layer] != nil && busy[layer] == nil && !images.values.contains { $0.layers.contains(layer) }
    }

    func isReferenced(blob: Digest) -> Bool {
        busy[blob] != nil || images.values.contains { $0.blobs.contains(blob) }
    }
}

extension ImageStore {
    /// Gives an image another name; an image that had it loses it.
    package func tag(_ reference: String, as target: String) async throws(ImageError) -> ImageInfo {
        guard var record = record(reference) else {
            throw ImageError(.notFound, "image \"\(clipped(reference))\": not found")
        }
        guard let tag = try ImageReference(target).tagged else {
            throw ImageError(.invalidReference, "\(clipped(target)): expected a name with a tag, not a digest")
        }
        record.tags = [tag]
        return try await commit(record, [])
    }
}
