internal import Linux

/// Mounts of parts of volumes. A container may change its volume while the part is looked up, so the path is resolved
/// by the kernel with the volume as its root (openat2), and what was found is bound by descriptor before it is handed on.
/// Source: k8s.io/kubernetes/pkg/volume/util/subpath.
struct SubPaths {
    let mounter: any VolumeMounter
    let podDirectory: String

    /// The host path to give to the runtime for `subPath` of the volume at `volume`.
    func prepare(
        volume: String, volumeName: String, subPath: String, container: String, index: Int, group: UInt32?
    ) throws(SysError) -> String {
        let target = "\(podDirectory)/volume-subpaths/\(volumeName)/\(container)/\(index)"
        let root = try FileDescriptor.open(volume, O_RDONLY | O_DIRECTORY)
        let found = try open(root, subPath, mode: UInt32(try root.status().st_mode) & 0o777, group: group)
        let kind = try found.status().st_mode & S_IFMT
        try mounter.unmount(target)
        if Files.exists(target) { try Directories.removeTree(target) }
        if kind == S_IFDIR {
            try Directories.make(target, mode: 0o750)
        } else {
            try Directories.make(Path.parent(target), mode: 0o750)
            try Files.write(target, [], mode: 0o640)
        }
        try mounter.bind("/proc/self/fd/\(found.raw)", to: target, readOnly: false)
        return target
    }

    /// Opens what is there, or makes directories for it.
    private func open(
        _ root: borrowing FileDescriptor, _ path: String, mode: UInt32, group: UInt32?
    ) throws(SysError) -> FileDescriptor {
        do throws(SysError) {
            return try FileDescriptor.open(inRoot: root, path, O_PATH)
        } catch {
            guard error.code == ENOENT else { throw error }
        }
        var done = ""
        for part in path.split(separator: "/") where part != "." {
            let parent = try FileDescriptor.open(inRoot: root, done.isEmpty ? "." : done, O_RDONLY | O_DIRECTORY)
            let raw = parent.raw
            let name = String(part)
            if mkdirat(raw, name, mode_t(mode)) == 0 {
                try syscall("chmod", path) { fchmodat(raw, name, mode_t(mode), 0) }
                if let group { try syscall("chown", path) { fchownat(raw, name, uid_t.max, group, 0) } }
            } else if errno != EEXIST {
                throw SysError(errno, "mkdir", path: path)
            }
            done += done.isEmpty ? name : "/" + name
        }
        return try FileDescriptor.open(inRoot: root, path, O_PATH)
    }
}
