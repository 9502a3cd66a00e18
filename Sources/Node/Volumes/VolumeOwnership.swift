internal import Containers
internal import Linux

/// Gives a volume's files to the pod's fsGroup: the group, its rights, and on directories the bit by which new files
/// inherit it. Source: pkg/volume/volume_linux.go.
enum VolumeOwnership {
    /// `onRootMismatch`: not if the volume's own directory has it all already.
    static func apply(_ path: String, group: UInt32, readOnly: Bool, onRootMismatch: Bool) throws(SysError) {
        if onRootMismatch, let status = try? Files.status(path), status.st_gid == group,
            UInt32(status.st_mode) & wanted(isDirectory: true, readOnly) == wanted(isDirectory: true, readOnly)
        {
            return
        }
        if let problem = NodeIDs.problem(user: nil, group: group) { throw SysError(EINVAL, call: problem) }
        try change(path, group, readOnly, depth: 0)
    }

    private static func wanted(isDirectory: Bool, _ readOnly: Bool) -> UInt32 {
        (readOnly ? 0o440 : 0o660) | (isDirectory ? 0o2110 : 0)
    }

    private static func change(_ path: String, _ group: UInt32, _ readOnly: Bool, depth: Int) throws(SysError) {
        let status = try Files.status(path, followLinks: false)
        if status.st_gid != group { try syscall("lchown", path) { lchown(path, uid_t.max, group) } }
        let kind = status.st_mode & S_IFMT
        guard kind != S_IFLNK else { return }
        let mode = UInt32(status.st_mode) & 0o7777
        let right = mode | wanted(isDirectory: kind == S_IFDIR, readOnly)
        // A change of the group may have taken bits away.
        if right != mode || status.st_gid != group { try syscall("chmod", path) { chmod(path, mode_t(right)) } }
        guard kind == S_IFDIR else { return }
        guard depth < 256 else { throw SysError(ELOOP, "chown", path: path) }
        for entry in try Directories.list(path) {
            do throws(SysError) { try change(path + "/" + entry.name, group, readOnly, depth: depth + 1) } catch {
                // Others may be at work there.
                if error.code != ENOENT { throw error }
            }
        }
    }
}
