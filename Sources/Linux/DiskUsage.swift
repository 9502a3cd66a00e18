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
