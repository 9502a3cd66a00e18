/// Whole-file helpers. All take absolute or working-directory-relative paths and name the path in their error.
package enum Files {
    /// Reads a file of unknown size (so /proc and /sys work) up to `limit` bytes; longer is EFBIG.
    package static func read(_ path: String, limit: Int = 64 << 20) throws(SysError) -> [UInt8] {
        let fd = try FileDescriptor.open(path, O_RDONLY)
        return try read(fd, path: path, limit: limit)
    }

    /// Reads an open file from its position to the end.
    package static func read(
        _ fd: borrowing FileDescriptor, path: String? = nil, limit: Int = 64 << 20
    ) throws(SysError) -> [UInt8] {
        let size = Int(clamping: try fd.status().st_size)
        if size > limit { throw SysError(EFBIG, "read", path: path) }
        var result: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: size > 0 ? Swift.min(size + 1, 1 << 20) : 4096)
        let raw = fd.raw
        while true {
            let count = try syscall("read", path) {
                chunk.withUnsafeMutableBytes { Glibc.read(raw, $0.baseAddress, $0.count) }
            }
            if count == 0 { return result }
            if result.count + count > limit { throw SysError(EFBIG, "read", path: path) }
            result.append(contentsOf: chunk[0..<count])
        }
    }

    /// As text; bytes that are not UTF-8 become U+FFFD.
    package static func readString(_ path: String, limit: Int = 64 << 20) throws(SysError) -> String {
        String(decoding: try read(path, limit: limit), as: UTF8.self)
    }

    /// nil when there is no such file.
    package static func readIfPresent(_ path: String, limit: Int = 64 << 20) throws(SysError) -> [UInt8]? {
        do throws(SysError) { return try read(path, limit: limit) } catch {
            if error.code == ENOENT { return nil }
            throw error
        }
    }

    /// Writes into an existing file in one write(2), as sysfs, procfs and cgroupfs want it.
    package static func overwrite(_ path: String, _ text: String) throws(SysError) {
        let fd = try FileDescriptor.open(path, O_WRONLY | O_TRUNC)
        let raw = fd.raw
        let bytes = Array(text.utf8)
        try syscall("write", path) { bytes.withUnsafeBytes { Glibc.write(raw, $0.baseAddress, $0.count) } }
    }

    /// Creates or truncates; not atomic.
    package static func write(_ path: String, _ bytes: [UInt8], mode: UInt32 = 0o644) throws(SysError) {
        let fd = try FileDescriptor.open(path, O_WRONLY | O_CREAT | O_TRUNC, mode: mode)
        do throws(SysError) { try fd.writeAll(bytes) } catch {
            throw SysError(error.code, call: error.call, path: path)
        }
        try fd.close()
    }

    /// Readers see the old or the new content, never a mixture; with `sync` the new content survives a power failure
    /// once this returns. The mode is exact (the umask does not apply), so key files are never readable for a moment.
    package static func writeAtomically(
        _ path: String, _ bytes: [UInt8], mode: UInt32 = 0o644, sync: Bool = true
    ) throws(SysError) {
        let temporary = "\(path).\(getpid()).\(uniqueNumber()).tmp"
        do throws(SysError) {
            let fd = try FileDescriptor.open(temporary, O_WRONLY | O_CREAT | O_EXCL, mode: mode & 0o600)
            let raw = fd.raw
            try fd.writeAll(bytes)
            try syscall("fchmod", path) { fchmod(raw, mode_t(mode)) }
            if sync { try fd.sync() }
            try fd.close()
            try syscall("rename", path) { rename(temporary, path) }
        } catch {
            _ = unlink(temporary)
            throw SysError(error.code, call: error.call, path: path)
        }
        if sync { try syncDirectory(of: path) }
    }

    package static func writeAtomically(
        _ path: String, _ text: String, mode: UInt32 = 0o644, sync: Bool = true
    ) throws(SysError) {
        try writeAtomically(path, Array(text.utf8), mode: mode, sync: sync)
    }

    /// Makes a rename or a new name in the directory of `path` durable.
    package static func syncDirectory(of path: String) throws(SysError) {
        let fd = try FileDescriptor.open(Path.parent(path), O_RDONLY | O_DIRECTORY)
        try fd.sync()
    }

    /// A missing file is no error.
    package static func remove(_ path: String) throws(SysError) {
        if unlink(path) != 0, errno != ENOENT { throw SysError(errno, "unlink", path: path) }
    }

    package static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    package static func status(_ path: String, followLinks: Bool = true) throws(SysError) -> stat {
        var result = stat()
        try syscall("stat", path) { followLinks ? stat(path, &result) : lstat(path, &result) }
        return result
    }

    package static func isDirectory(_ path: String) -> Bool {
        guard let status = try? status(path) else { return false }
        return status.st_mode & S_IFMT == S_IFDIR
    }

    /// Target of a symbolic link.
    package static func readLink(_ path: String) throws(SysError) -> String {
        // Swift 6.2 has no typed errors here.
        let result = withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(PATH_MAX)) {
            (buffer) -> Result<String, SysError> in
            guard let base = buffer.baseAddress else { return .failure(SysError(ENOMEM, "readlink", path: path)) }
            let count = readlink(path, base, buffer.count)
            if count < 0 { return .failure(SysError(errno, "readlink", path: path)) }
            return .success(String(decoding: UnsafeRawBufferPointer(start: base, count: count), as: UTF8.self))
        }
        return try result.get()
    }

    /// Replaces what is at `path` by a symbolic link, atomically.
    package static func replaceLink(_ path: String, to target: String) throws(SysError) {
        if (try? readLink(path)) == target { return }
        let temporary = path + "_tmp"
        try remove(temporary)
        try syscall("symlink", temporary) { symlink(target, temporary) }
        try syscall("rename", path) { rename(temporary, path) }
    }

    private static func uniqueNumber() -> UInt64 { UInt64.random(in: 0...UInt64.max) }
}

/// Text operations on slash-separated paths; nothing here touches the file system.
package enum Path {
    package static func parent(_ path: String) -> String {
        let bytes = path.utf8
        guard let slash = bytes.lastIndex(of: UInt8(ascii: "/")) else { return "." }
        return slash == bytes.startIndex ? "/" : String(path[..<slash])
    }

    package static func last(_ path: String) -> String {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return path }
        return String(path[path.utf8.index(after: slash)...])
    }

    /// Absolute, without ".", "..", doubled or trailing slashes; ".." above the root stays at the root.
    package static func normalized(_ path: String) -> String {
        var parts: [Substring] = []
        for part in path.split(separator: "/") {
            if part == "." { continue }
            if part == ".." { _ = parts.popLast() } else { parts.append(part) }
        }
        return "/" + parts.joined(separator: "/")
    }

    package static func join(_ a: String, _ b: String) -> String {
        if a.isEmpty { return b }
        if b.isEmpty { return a }
        let left = a.hasSuffix("/") ? String(a.dropLast()) : a
        return b.hasPrefix("/") ? left + b : left + "/" + b
    }
}
