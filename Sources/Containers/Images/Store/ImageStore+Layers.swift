import CShims
import Linux
import Logging
import Synchronization

/// A layer to be unpacked, and where its bytes come from.
struct LayerPlan: Sendable {
    var diffID: Digest
    var chain: Digest
    /// Chain ids of the layers below, lowest first.
    var below: [Digest]
    /// For messages and logs.
    var label: String
}

/// Bytes of a layer, and what keeps them on disk.
struct LayerSource: Sendable {
    var region: FileRegion
    var ingest: Ingest?
}

/// One layer being made, shared by all pulls that need it.
final class LayerJob: Sendable {
    let task: Task<Result<Void, ImageError>, Never>
    let number: UInt64
    /// Guarded by the store's state.
    let waiters = Mutex(1)

    init(_ task: Task<Result<Void, ImageError>, Never>, number: UInt64) { (self.task, self.number) = (task, number) }
}

extension ImageStore {
    typealias LayerFetch = @Sendable (Int) async throws(ImageError) -> LayerSource

    static func plans(_ document: ImageDocument, _ chains: [Digest], labels: [String]) -> [LayerPlan] {
        chains.indices.map { index in
            LayerPlan(
                diffID: document.diffIDs[index], chain: chains[index], below: Array(chains[..<index]),
                label: labels[index])
        }
    }

    /// Makes every layer that is not there yet: fetched in parallel, unpacked in order. The caller holds the chains.
    func unpack(_ plans: [LayerPlan], fetch: @escaping LayerFetch) async throws(ImageError) {
        var jobs: [(chain: Digest, job: LayerJob)] = []
        for (index, plan) in plans.enumerated() {
            if let job = job(for: plan, index, fetch) { jobs.append((plan.chain, job)) }
        }
        var failure: ImageError?
        for (chain, job) in jobs {
            if failure == nil, case .failure(let error) = await job.task.value { failure = error }
            leave(job, chain, cancelling: failure != nil)
        }
        if let failure { throw failure }
    }

    /// nil: the layer is there.
    private func job(for plan: LayerPlan, _ index: Int, _ fetch: @escaping LayerFetch) -> LayerJob? {
        state.withLock { state in
            if state.layers[plan.chain] != nil { return nil }
            if let running = state.jobs[plan.chain] {
                running.waiters.withLock { $0 += 1 }
                return running
            }
            let parent = plan.below.last.flatMap { state.jobs[$0] }
            state.counter += 1
            let number = state.counter
            let job = LayerJob(
                Task { [self] in
                    let result: Result<Void, ImageError>
                    do throws(ImageError) {
                        try await make(plan, index, after: parent, fetch)
                        result = .success(())
                    } catch {
                        result = .failure(error)
                    }
                    self.state.withLock { state in
                        if state.jobs[plan.chain]?.number == number { state.jobs[plan.chain] = nil }
                    }
                    return result
                }, number: number)
            state.jobs[plan.chain] = job
            return job
        }
    }

    /// With nobody left to wait for it, the work of a pull that failed is given up.
    private func leave(_ job: LayerJob, _ chain: Digest, cancelling: Bool) {
        let abandoned = state.withLock { state in
            let left = job.waiters.withLock { count in
                count -= 1
                return count
            }
            guard left == 0, cancelling else { return false }
            if state.jobs[chain]?.number == job.number { state.jobs[chain] = nil }
            return true
        }
        if abandoned { job.task.cancel() }
    }

    private func make(
        _ plan: LayerPlan, _ index: Int, after parent: LayerJob?, _ fetch: @escaping LayerFetch
    ) async throws(ImageError) {
        let source = try await downloads.run { () async throws(ImageError) -> LayerSource in
            if Task.isCancelled { throw ImageError(.registryUnavailable, "\(plan.label): pull canceled") }
            return try await fetch(index)
        }
        if let parent, case .failure(let error) = await parent.task.value { throw error }
        if Task.isCancelled { throw ImageError(.registryUnavailable, "\(plan.label): pull canceled") }
        let directory = paths.staging + "/" + nextName("layer")
        try await BlockingPool.images.run { [self] () throws(ImageError) in
            do throws(ImageError) {
                try unpack(plan, source, staging: directory)
            } catch {
                try? ImageFS.removeTree(directory)
                throw error
            }
        }
    }

    /// Unpacks into a staging directory, verifies the diff id, and renames. Blocks.
    private func unpack(_ plan: LayerPlan, _ source: LayerSource, staging: String) throws(ImageError) {
        let start = ContinuousClock.now
        let files = staging + "/fs"
        try ImageFS.makeDirectory(files)
        guard chmod(staging, 0o711) == 0 else { throw ioError("chmod", staging) }
        guard chmod(files, 0o755) == 0 else { throw ioError("chmod", files) }
        let root = try ImageFile.open(files, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
        let unpacker = LayerUnpacker(root: root, below: try lower(plan.below), limits: options.limits, name: plan.label)
        let stream = MeteredSource(
            try source.region.decompressed(zstdWindowLog: options.limits.zstdWindowLog, name: plan.label),
            hash: sha256(),
            limit: options.limits.bytes, name: plan.label)
        try unpacker.apply(TarReader(stream, name: plan.label, maxEntries: options.limits.entries))
        try stream.drain()
        guard stream.digest() == plan.diffID else {
            throw ImageError(
                .digestMismatch, "wrong diff id calculated on extraction of \(plan.label), expected \(plan.diffID)")
        }
        let record = LayerRecord(
            chain: plan.chain, diffID: plan.diffID, diskBytes: unpacker.diskBytes, hidesBelow: unpacker.hidesBelow)
        try ImageFS.writeAtomically(staging + "/layer.json", record.encode())
        if options.durable { try root.syncFileSystem() }
        try changing { (_) throws(ImageError) in
            let target = paths.snapshot(plan.chain)
            if state.withLock({ $0.layers[plan.chain] != nil }) {
                // An abandoned job of the same layer came through first.
                return try ImageFS.removeTree(staging)
            }
            if ImageFS.exists(target) {
                // Left there without a usable record.
                let trash = paths.staging + "/" + nextName("trash")
                try ImageFS.move(target, to: trash)
                try ImageFS.removeTree(trash)
            }
            try ImageFS.move(staging, to: target)
            state.withLock { $0.layers[plan.chain] = record }
        }
        if options.keepLayerBlobs, let ingest = source.ingest { try keep(ingest, plan) }
        if unpacker.foreignOwners > 0 {
            let note = "files belong to root now: this node's user namespace has not their owners"
            logger.warning("\(plan.label): \(unpacker.foreignOwners) \(note) (/etc/subuid, /etc/subgid)")
        }
        logger.info(
            "unpacked \(plan.label)",
            metadata: [
                "bytes": "\(stream.count)", "entries": "\(unpacker.entries)",
                "seconds": "\(seconds(since: start))",
            ])
    }

    private func keep(_ ingest: Ingest, _ plan: LayerPlan) throws(ImageError) {
        guard let dash = plan.label.range(ofASCII: "sha256:") else { return }
        let digest = try Digest(plan.label[dash.lowerBound...])
        try changing { (_) throws(ImageError) in
            if !ImageFS.exists(paths.blob(digest)) { try ingest.move(to: paths.blob(digest)) }
        }
    }

    /// The layers below, topmost first, as far down as they can be seen.
    private func lower(_ chains: [Digest]) throws(ImageError) -> LowerLayers {
        var directories: [ImageFile] = []
        for chain in chains.reversed() {
            directories.append(try ImageFile.open(paths.files(chain), O_RDONLY | O_DIRECTORY | O_NOFOLLOW))
            if state.withLock({ $0.layers[chain]?.hidesBelow ?? false }) { break }
        }
        return LowerLayers(directories)
    }

    func seconds(since start: ContinuousClock.Instant) -> Double {
        let parts = (ContinuousClock.now - start).components
        return (Double(parts.seconds) * 1000 + Double(parts.attoseconds / 1_000_000_000_000_000)).rounded() / 1000
    }
}
