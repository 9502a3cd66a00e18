/// Mounts of the host's mount namespace: few, because a container's own are made in its namespace and vanish with it.
package enum Mounts {
    package static func bind(_ source: String, to target: String, recursive: Bool = false) throws(SysError) {
        let flags = UInt(MS_BIND) | (recursive ? UInt(MS_REC) : 0)
        try syscall("mount", target) { mount(source, target, nil, flags, nil) }
    }

    /// A file system of `type` at `target`; `options` as mount(8) writes them.
    package static func mountFilesystem(
        _ type: String, at target: String, flags: UInt = 0, options: String = ""
    ) throws(SysError) {
        try syscall("mount", target) { mount(type, target, type, flags, options) }
    }

    /// Changes at and below `path` stay in the mount namespace of the caller.
    package static func makePrivate(_ path: String) throws(SysError) {
        try syscall("mount", path) { mount(nil, path, nil, UInt(MS_REC) | UInt(MS_PRIVATE), nil) }
    }

    /// Detaches; a target that is no mount point is fine.
    package static func unmount(_ target: String, lazily: Bool = true) throws(SysError) {
        let flags = (lazily ? Int32(MNT_DETACH) : 0) | Int32(UMOUNT_NOFOLLOW)
        if umount2(target, flags) != 0 {
            let code = errno
            if code != EINVAL && code != ENOENT { throw SysError(code, "umount", path: target) }
        }
    }

    /// Unmounts everything at and below `path`, deepest and newest first. Returns what was unmounted.
    @discardableResult
    package static func unmountTree(_ path: String) throws(SysError) -> [String] {
        let below = path.hasSuffix("/") ? path : path + "/"
        let targets = try MountInfo.current().map(\.mountPoint).filter { $0 == path || $0.hasPrefix(below) }
        for target in targets.reversed() { try unmount(target) }
        return targets
    }

    /// A read-only view of image layers that is attached nowhere: files in it can be opened relative to the descriptor,
    /// and the mount goes with it. `layers`: topmost first.
    package static func detachedOverlay(layers: [String]) throws(SysError) -> FileDescriptor {
        guard let top = layers.first else { throw SysError(EINVAL, "overlay") }
        if layers.count == 1 { return try FileDescriptor.open(top, O_PATH | O_DIRECTORY) }
        do throws(SysError) { return try newOverlay(layers) } catch {
            if error.code != EINVAL { throw error }
            return try oldOverlay(layers)
        }
    }

    private static func newOverlay(_ layers: [String]) throws(SysError) -> FileDescriptor {
        let context = FileDescriptor(owning: try checked("fsopen", "overlay") { k3s_fsopen("overlay") })
        let raw = context.raw
        for layer in layers {
            try checked("fsconfig", layer) {
                k3s_fsconfig(raw, UInt32(K3S_FSCONFIG_SET_STRING), "lowerdir+", layer, 0)
            }
        }
        if !IDMap.users.isInitial {
            try checked("fsconfig", "overlay") {
                k3s_fsconfig(raw, UInt32(K3S_FSCONFIG_SET_FLAG), "userxattr", nil, 0)
            }
        }
        try checked("fsconfig", "overlay") { k3s_fsconfig(raw, UInt32(K3S_FSCONFIG_CMD_CREATE), nil, nil, 0) }
        return FileDescriptor(
            owning: try checked("fsmount", "overlay") { k3s_fsmount(raw, UInt32(K3S_MOUNT_ATTR_RDONLY)) })
    }

    /// Kernels before 6.7 know only the joined form, which fsconfig limits to 256 bytes and mount(2) to a page: by
    /// descriptor, whose names are short, on a directory that is gone at once.
    private static func oldOverlay(_ layers: [String]) throws(SysError) -> FileDescriptor {
        let target = "/tmp/.k3s-overlay-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"
        try Directories.make(target, mode: 0o700)
        defer { rmdir(target) }
        try oldOverlay(layers, at: target)
        defer { _ = try? unmount(target) }
        return try FileDescriptor.open(target, O_PATH | O_DIRECTORY)
    }

    private static func oldOverlay(_ layers: [String], at target: String) throws(SysError) {
        var descriptors: [Int32] = []
        defer { for fd in descriptors { close(fd) } }
        for layer in layers { descriptors.append(try FileDescriptor.open(layer, O_PATH | O_DIRECTORY).take()) }
        let joined = descriptors.map { "/proc/self/fd/\($0)" }.joined(separator: ":")
        guard joined.utf8.count < 4000 else { throw SysError(E2BIG, call: "overlay of \(layers.count) layers") }
        let marks = IDMap.users.isInitial ? "" : "userxattr,"
        try mountFilesystem("overlay", at: target, flags: UInt(MS_RDONLY), options: marks + "lowerdir=" + joined)
    }

    /// Mounts image layers, topmost first, read-only at a directory.
    package static func mountLayers(_ layers: [String], at target: String) throws(SysError) {
        guard let top = layers.first else { throw SysError(EINVAL, "overlay") }
        if layers.count == 1 {
            try bind(top, to: target)
            let flags = UInt(MS_BIND | MS_REMOUNT | MS_RDONLY)
            try syscall("mount", target) { mount(nil, target, nil, flags, nil) }
            return
        }
        do throws(SysError) {
            let tree = try newOverlay(layers)
            let raw = tree.raw
            try checked("move_mount", target) {
                k3s_move_mount(raw, "", AT_FDCWD, target, UInt32(K3S_MOVE_MOUNT_F_EMPTY_PATH))
            }
        } catch {
            if error.code != EINVAL { throw error }
            try oldOverlay(layers, at: target)
        }
    }

    /// Whether something is mounted exactly there.
    package static func isMountPoint(_ path: String) throws(SysError) -> Bool {
        try MountInfo.current().contains { $0.mountPoint == path }
    }
}

/// One line of /proc/self/mountinfo.
package struct MountInfo: Sendable, Equatable {
    package var id: Int64 = 0
    package var parent: Int64 = 0
    /// "254:1"
    package var device = ""
    package var root: String
    package var mountPoint: String
    package var options: [String]
    /// Tags between the options and the "-": "shared:1", "master:2".
    package var propagation: [String]
    package var type: String
    package var source: String
    package var superOptions: [String]

    package static func current() throws(SysError) -> [MountInfo] {
        parse(try Files.readString("/proc/thread-self/mountinfo"))
    }

    /// Lines that do not have the documented form are skipped.
    package static func parse(_ text: String) -> [MountInfo] {
        text.split(separator: "\n").compactMap { line in
            // A source without a name leaves two spaces.
            let fields = line.split(separator: " ", omittingEmptySubsequences: false)
            guard fields.count >= 10, let dash = fields[6...].firstIndex(of: "-"), fields.count >= dash + 4 else {
                return nil
            }
            return MountInfo(
                id: Int64(fields[0]) ?? 0, parent: Int64(fields[1]) ?? 0, device: String(fields[2]),
                root: unescape(fields[3]), mountPoint: unescape(fields[4]),
                options: fields[5].split(separator: ",").map(String.init),
                propagation: fields[6..<dash].map(String.init), type: String(fields[dash + 1]),
                source: unescape(fields[dash + 2]),
                superOptions: fields[dash + 3].split(separator: ",").map(String.init))
        }
    }

    /// Space, tab, newline and backslash are written as three octal digits.
    package static func unescape(_ field: Substring) -> String {
        guard field.utf8.contains(UInt8(ascii: "\\")) else { return String(field) }
        var bytes: [UInt8] = []
        var rest = Array(field.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "\\"), rest.count >= 3,
                let value = UInt8(String(decoding: rest.prefix(3), as: UTF8.self), radix: 8)
            {
                bytes.append(value)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
