/// Directories: made, listed and removed.
package enum Directories {
    /// mkdir -p; the mode is that of directories which are made, exact for the last one.
    package static func make(_ path: String, mode: UInt32 = 0o755) throws(SysError) {
        if mkdir(path, mode_t(mode)) == 0 {
            if chmod(path, mode_t(mode)) != 0 { throw SysError(errno, "chmod", path: path) }
            return
        }
        let code = errno
        switch code {
        case EEXIST:
            if Files.isDirectory(path) { return }
            throw SysError(ENOTDIR, "mkdir", path: path)
        case ENOENT:
            let parent = Path.parent(path)
            if parent == path || parent == "." { throw SysError(code, "mkdir", path: path) }
            try make(parent, mode: 0o755 | (mode & 0o777))
            // Once only: some file systems (proc) say ENOENT for what can never be made.
            if mkdir(path, mode_t(mode)) != 0, errno != EEXIST { throw SysError(errno, "mkdir", path: path) }
            if chmod(path, mode_t(mode)) != 0 { throw SysError(errno, "chmod", path: path) }
        default: throw SysError(code, "mkdir", path: path)
        }
    }

    package struct Entry: Sendable, Equatable {
        package enum Kind: Sendable { case file, directory, symbolicLink, other }
        package var name: String
        package var kind: Kind
    }

    /// Entries without "." and "..", sorted by name. At most `limit` of them; more is E2BIG.
    package static func list(_ path: String, limit: Int = 1 << 20) throws(SysError) -> [Entry] {
        let fd = try FileDescriptor.open(path, O_RDONLY | O_DIRECTORY)
        do throws(SysError) { return try list(fd, limit: limit) } catch {
            throw SysError(error.code, call: error.call, path: path)
        }
    }

    /// Lists the directory behind a descriptor, whose position is not touched.
    package static func list(_ directory: borrowing FileDescriptor, limit: Int = 1 << 20) throws(SysError) -> [Entry] {
        // A second open file description: readdir moves the position, and fdopendir takes its descriptor over.
        let copy = try FileDescriptor.open(".", O_RDONLY | O_DIRECTORY, at: directory.raw).take()
        guard let stream = fdopendir(copy) else {
            let code = errno
            _ = close(copy)
            throw SysError(code, "fdopendir")
        }
        defer { closedir(stream) }
        var result: [Entry] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                if errno != 0 { throw SysError(errno, "readdir") }
                break
            }
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                String(cString: UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))
            }
            if name == "." || name == ".." { continue }
            if result.count == limit { throw SysError(E2BIG, "readdir") }
            result.append(Entry(name: name, kind: kind(entry.pointee.d_type, name, copy)))
        }
        result.sort { $0.name < $1.name }
        return result
    }

    private static func kind(_ type: UInt8, _ name: String, _ directory: Int32) -> Entry.Kind {
        switch Int(type) {
        case DT_REG: return .file
        case DT_DIR: return .directory
        case DT_LNK: return .symbolicLink
        case DT_UNKNOWN:
            // Some file systems do not say.
            var status = stat()
            guard fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else { return .other }
            switch status.st_mode & S_IFMT {
            case S_IFREG: return .file
            case S_IFDIR: return .directory
            case S_IFLNK: return .symbolicLink
            default: return .other
            }
        default: return .other
        }
    }

    /// rm -rf: never follows symbolic links, never leaves the file system it started on (a mount point below it is
    /// EBUSY), works relative to descriptors so that a rename by somebody else cannot lead it astray. Missing is fine.
    package static func removeTree(_ path: String) throws(SysError) {
        if unlink(path) == 0 { return }
        let code = errno
        if code == ENOENT || code == ENOTDIR { return }
        guard code == EISDIR || code == EPERM else { throw SysError(code, "unlink", path: path) }
        var status = stat()
        if lstat(path, &status) != 0 {
            if errno == ENOENT { return }
            throw SysError(errno, "lstat", path: path)
        }
        do throws(SysError) {
            let fd = try FileDescriptor.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
            try removeContents(fd, device: try fd.status().st_dev, depth: 0)
        } catch {
            throw SysError(error.code, call: error.call, path: path)
        }
        if rmdir(path) != 0, errno != ENOENT { throw SysError(errno, "rmdir", path: path) }
    }

    private static func removeContents(
        _ directory: borrowing FileDescriptor, device: dev_t, depth: Int
    ) throws(SysError) {
        // One descriptor per level: bounded below the usual limit of 1024 open files.
        if depth > 512 { throw SysError(ELOOP, "removeTree") }
        let raw = directory.raw
        for entry in try list(directory) {
            if entry.kind != .directory {
                if unlinkat(raw, entry.name, 0) == 0 || errno == ENOENT { continue }
                if errno != EISDIR { throw SysError(errno, "unlink", path: entry.name) }
            }
            let child: FileDescriptor
            do throws(SysError) {
                child = try FileDescriptor.open(entry.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, at: raw)
            } catch {
                if error.code == ENOENT { continue }
                throw error
            }
            if try child.status().st_dev != device { throw SysError(EBUSY, "removeTree", path: entry.name) }
            try removeContents(child, device: device, depth: depth + 1)
            if unlinkat(raw, entry.name, AT_REMOVEDIR) != 0, errno != ENOENT {
                throw SysError(errno, "rmdir", path: entry.name)
            }
        }
    }

    /// Bytes allocated below `path` (512-byte blocks as du counts them), without following links.
    package static func allocatedBytes(_ path: String) throws(SysError) -> Int64 {
        let status = try Files.status(path, followLinks: false)
        var total = Int64(status.st_blocks) * 512
        guard status.st_mode & S_IFMT == S_IFDIR else { return total }
        let fd = try FileDescriptor.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
        try addAllocated(fd, &total, depth: 0)
        return total
    }

    private static func addAllocated(
        _ directory: borrowing FileDescriptor, _ total: inout Int64, depth: Int
    ) throws(SysError) {
        if depth > 512 { return }
        let raw = directory.raw
        for entry in try list(directory) {
            var status = stat()
            if fstatat(raw, entry.name, &status, AT_SYMLINK_NOFOLLOW) != 0 { continue }
            total += Int64(status.st_blocks) * 512
            guard status.st_mode & S_IFMT == S_IFDIR else { continue }
            let child: FileDescriptor
            do throws(SysError) {
                child = try FileDescriptor.open(entry.name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, at: raw)
            } catch { continue }
            try addAllocated(child, &total, depth: depth + 1)
        }
    }
}
