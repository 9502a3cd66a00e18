import Linux

/// What mount(8) and umount(8) say of a failed system call, and their exit codes.
struct MountFailure: Error, Equatable {
    static let usage: Int32 = 1
    static let system: Int32 = 2
    static let failed: Int32 = 32
    static let someOK: Int32 = 64

    /// About what: the mount point mostly.
    var subject: String
    var text: String
    var code: Int32
    /// The kernel may have said more.
    var isOfKernel = false

    /// Of mount(2).
    static func mount(
        _ error: Int32, source: String?, target: String, type: String?, options: MountOptions
    ) -> MountFailure {
        let isNamed = source != nil
        let source = source ?? "none"
        let other = "mount(2) system call failed: \(errorText(error))"
        let isDirectory = Files.isDirectory(target)
        var text = other
        switch error {
        case EPERM:
            text =
                geteuid() != 0
                ? "must be superuser to use mount"
                : isDirectory ? "permission denied" : "mount point is not a directory"
        case EBUSY:
            text =
                options.isRemount ? "mount point is busy" : "\(source) already mounted or mount point busy"
            if !options.isRemount, let mounted = try? MountInfo.current().first(where: { $0.source == source }) {
                text = "\(source) already mounted on \(mounted.mountPoint)"
            }
        case ENOENT:
            if (try? Files.status(target, followLinks: false)) == nil {
                text = "mount point does not exist"
            } else if !Files.exists(target) {
                text = "mount point is a symbolic link to nowhere"
            } else if isNamed, !Files.exists(source) {
                text = "special device \(source) does not exist"
            }
        case ENOTDIR:
            if !isDirectory {
                text = "mount point is not a directory"
            } else if (try? Files.status(source)) == nil, errno == ENOTDIR {
                text = "special device \(source) does not exist (a path prefix is not a directory)"
            }
        case EINVAL:
            text =
                options.isRemount
                ? "mount point not mounted or bad option"
                : "wrong fs type, bad option, bad superblock on \(source), missing codepage or helper program, or other error"
            if options.isPropagationOnly { text = "not mount point or bad option" }
        case EMFILE: text = "mount table full"
        case EIO: text = "can't read superblock on \(source)"
        case ENODEV: text = type.map { "unknown filesystem type '\($0)'" } ?? "unknown filesystem type"
        case ENOTBLK: text = notBlock(source)
        case ENXIO: text = "\(source) is not a valid block device"
        case EACCES, EROFS:
            if options.flags & UInt(MS_RDONLY) != 0 {
                text = "cannot mount \(source) read-only"
            } else if options.explicitlyWritable {
                text = "\(source) is write-protected but explicit read-write mode requested"
            } else if options.isRemount {
                text = "cannot remount \(source) read-write, is write-protected"
            } else if options.isBind {
                text = "bind \(source) failed"
            }
        case ENOMEDIUM: text = "no medium found on \(source)"
        case EBADMSG: text = "cannot mount; probably corrupted filesystem on \(source)"
        default: break
        }
        return MountFailure(subject: target, text: text, code: failed, isOfKernel: true)
    }

    private static func notBlock(_ source: String) -> String {
        guard let status = try? Files.status(source) else {
            return "\(source) is not a block device, and stat(2) fails?"
        }
        switch status.st_mode & S_IFMT {
        case S_IFBLK:
            return
                "the kernel does not recognize \(source) as a block device; maybe \"modprobe driver\" is necessary"
        case S_IFREG: return "\(source) is not a block device; try \"-o loop\""
        default: return "\(source) is not a block device"
        }
    }

    /// Of umount(2).
    static func unmount(_ error: Int32, _ target: String) -> MountFailure {
        let text =
            switch error {
            case ENXIO: "invalid block device"
            case EINVAL: "not mounted"
            case EIO: "can't write superblock"
            case EBUSY: "target is busy"
            case ENOENT: "no mount point specified"
            case EPERM: geteuid() != 0 ? "must be superuser to unmount" : "permission denied"
            case EACCES: "block devices not permitted on filesystem"
            default: "umount(2) system call failed: \(errorText(error))"
            }
        return MountFailure(subject: target, text: text, code: failed)
    }
}
