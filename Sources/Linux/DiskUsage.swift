import Synchronization

/// What a directory takes on its disk: `du -sx` without another program.
package struct DiskUsage: Sendable, Equatable {
    /// Allocated, not apparent size; hard links count once.
    package var bytes: Int64 = 0
    /// Files, directories and links: inodes.
    package var files: Int64 = 0
    package init() {}

    /// A missing directory is empty. `prefix`: of the names that count in the directory itself.
    package static func measure(_ path: String, prefix: String = "") throws(SysError) -> DiskUsage {
        var usage = DiskUsage()
        try checked("measure", path) { k3s_file_usage(path, prefix, &usage.bytes, &usage.files) }
        return usage
    }
}

/// Walks that are not repeated at once: what was found stays valid for a hundred times as long as finding it took, so
/// that asking often costs a hundredth of a core at most, and 1,000 files (3 ms) are at most 0.3 s behind.
///
/// No walk is shortened. Nothing that the kernel keeps tells cheaply and for certain that a tree has not grown: a file
/// grows without a change of its directory's times, quotas need a file system that was made or mounted for them, and
/// marks for events cost memory for each directory and have to be read.
package final class PacedDiskUsage: Sendable {
    private struct Entry {
        var usage: DiskUsage
        /// Of the monotonic clock.
        var until: Int64
    }
    private static let pace: Int64 = 100
    private static let limit = 1024
    private let entries = Mutex<[String: Entry]>([:])
    private let walks = Mutex(0)

    package init() {}

    /// How many walks there were.
    package var count: Int { walks.withLock { $0 } }

    /// `DiskUsage.measure`, now or a moment ago. - Parameter longest: nothing older than this is given.
    package func measure(
        _ path: String, prefix: String = "", longest: Duration = .seconds(60), now: Int64 = MonotonicClock.now(),
        walk: (String, String) throws(SysError) -> DiskUsage = DiskUsage.measure
    ) throws(SysError) -> DiskUsage {
        let key = prefix.isEmpty ? path : path + "/" + prefix + "*"
        if let known = entries.withLock({ $0[key] }), known.until > now { return known.usage }
        let begin = MonotonicClock.now()
        walks.withLock { $0 += 1 }
        let usage = try walk(path, prefix)
        let cost = MonotonicClock.now() - begin
        let until = now + min(cost * Self.pace, longest.nanoseconds)
        entries.withLock { entries in
            // Trees that are gone: nobody asks for them any more.
            if entries.count >= Self.limit { entries = entries.filter { $0.value.until > now } }
            if entries.count < Self.limit { entries[key] = Entry(usage: usage, until: until) }
        }
        return usage
    }
}
