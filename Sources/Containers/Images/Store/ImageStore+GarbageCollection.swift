import CShims
import Linux
import Logging
import Synchronization

/// When images that nobody uses go. The defaults are the kubelet's.
package struct ImageGCPolicy: Sendable {
    /// Percent of the file system in use from which images are removed, and down to which.
    package var highThreshold: Int64 = 85
    package var lowThreshold: Int64 = 80
    /// Images younger than this stay: a pod that is about to start may have pulled them.
    package var minimumAge: Duration = .seconds(120)
    package var period: Duration = .seconds(300)
    package init() {}
}

/// What one collection did.
package struct ImageGCReport: Sendable, Equatable {
    package var usedPercent: Int64 = 0
    package var removed: [String] = []
    package var freedBytes: Int64 = 0
    /// Set when less was freed than the policy wants; worded as the kubelet's event FreeDiskSpaceFailed.
    package var failure: String?
    package init() {}
}

/// The file system that images are on.
package struct DiskSpace: Sendable {
    package var capacity: Int64
    package var available: Int64
    package init(capacity: Int64, available: Int64) { (self.capacity, self.available) = (capacity, available) }
}

extension ImageStore {
    /// Collects every period until the task is cancelled. `report` is told of collections that removed or failed.
    package func collectGarbage(
        _ policy: ImageGCPolicy, report: @escaping @Sendable (ImageGCReport) async -> Void
    ) async {
        var known = ImageUses()
        while !Task.isCancelled {
            do throws(ImageError) {
                let result = try await collectOnce(policy, &known, now: .now, space: Self.space(of: paths.root))
                if let failure = result.failure { logger.warning("image garbage collection: \(failure)") }
                if !result.removed.isEmpty || result.failure != nil { await report(result) }
            } catch {
                logger.warning("image garbage collection: \(error.message)")
            }
            try? await Task.sleep(for: policy.period)
        }
    }

    package typealias ImageUses = Containers.ImageUses

    package func collectOnce(
        _ policy: ImageGCPolicy, _ uses: inout ImageUses, now: ContinuousClock.Instant, space: DiskSpace
    ) async throws(ImageError) -> ImageGCReport {
        let isInUse = state.withLock { $0.isInUse }
        return try await collectOnce(policy, &uses, now: now, space: space, logger: logger) { id in
            await isInUse?(id) ?? false
        }
    }

    package static func space(of path: String) throws(ImageError) -> DiskSpace {
        var status = statvfs()
        guard statvfs(path, &status) == 0 else { throw ioError("statvfs", path) }
        let block = Int64(status.f_frsize)
        return DiskSpace(capacity: Int64(status.f_blocks) * block, available: Int64(status.f_bavail) * block)
    }
}

/// When an image was seen first and used last, as far as this process knows.
package struct ImageUses: Sendable {
    var firstSeen: [String: ContinuousClock.Instant] = [:]
    var lastUsed: [String: ContinuousClock.Instant] = [:]
    package init() {}
}

extension ImageService {
    /// Notes which images are in use; removes the least recently used ones when the disk is fuller than the policy
    /// allows, until enough is free. Source: k8s.io/kubernetes/pkg/kubelet/images/image_gc_manager.go.
    package func collectOnce(
        _ policy: ImageGCPolicy, _ uses: inout ImageUses, now: ContinuousClock.Instant, space: DiskSpace,
        logger: Logger, isInUse: (String) async -> Bool
    ) async throws(ImageError) -> ImageGCReport {
        let present = await images()
        var candidates: [ImageInfo] = []
        for image in present {
            if uses.firstSeen[image.id] == nil { uses.firstSeen[image.id] = now }
            if await isInUse(image.id) {
                uses.lastUsed[image.id] = now
            } else if !image.pinned {
                candidates.append(image)
            }
        }
        let ids = Set(present.map(\.id))
        uses.firstSeen = uses.firstSeen.filter { ids.contains($0.key) }
        uses.lastUsed = uses.lastUsed.filter { ids.contains($0.key) }
        var report = ImageGCReport()
        guard space.capacity > 0 else { throw ImageError(.io, "invalid capacity 0 on image filesystem") }
        let available = min(space.available, space.capacity)
        report.usedPercent = 100 - available * 100 / space.capacity
        guard report.usedPercent >= policy.highThreshold else { return report }
        let wanted = space.capacity * (100 - policy.lowThreshold) / 100 - available
        candidates.sort { a, b in
            let (x, y) = (uses.lastUsed[a.id], uses.lastUsed[b.id])
            if let x, let y, x != y { return x < y }
            if (x == nil) != (y == nil) { return x == nil }
            return (uses.firstSeen[a.id] ?? now, a.id) < (uses.firstSeen[b.id] ?? now, b.id)
        }
        for image in candidates where report.freedBytes < wanted {
            // An image that has just come, or has just been let go, may be wanted again in a moment.
            if let seen = uses.firstSeen[image.id], now - seen < policy.minimumAge { continue }
            do throws(ImageError) {
                try await remove(image.id)
                report.removed.append(image.id)
                report.freedBytes += image.sizeBytes
            } catch {
                if error.code != .inUse { logger.warning("image \(image.id): \(error.message)") }
            }
        }
        if report.freedBytes < wanted {
            report.failure =
                "Failed to garbage collect required amount of images. Attempted to free \(wanted) bytes, but only "
                + "found \(report.freedBytes) bytes eligible to free."
        }
        return report
    }
}
