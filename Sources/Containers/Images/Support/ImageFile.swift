import CShims
import Linux

/// An open file or directory that closes with its last user. A class, because readers and jobs on other threads share it.
final class ImageFile: @unchecked Sendable {
    let fd: Int32
    /// For messages only; never used to find the file again.
    let path: String

    init(adopting fd: Int32, path: String) { (self.fd, self.path) = (fd, path) }
    deinit { _ = close(fd) }

    static func open(_ path: String, _ flags: Int32, _ mode: UInt32 = 0o600) throws(ImageError) -> ImageFile {
        let fd = k3s_file_openat(AT_FDCWD, path, flags, mode)
        guard fd >= 0 else { throw ioError("open", path, -fd) }
        return ImageFile(adopting: fd, path: path)
    }

    /// Bytes read, 0 at the end of the file.
    func pread(_ buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(ImageError) -> Int {
        guard let base = buffer.baseAddress, buffer.count > 0 else { return 0 }
        let n = k3s_file_pread(fd, base, buffer.count, offset)
        guard n >= 0 else { throw ioError("read", path, Int32(-n)) }
        return Int(n)
    }

    func writeAll(_ bytes: UnsafeRawBufferPointer) throws(ImageError) {
        var rest = bytes[...]
        while let base = UnsafeRawBufferPointer(rebasing: rest).baseAddress, !rest.isEmpty {
            let n = Linux.write(fd, base, rest.count)
            if n > 0 {
                rest = rest.dropFirst(n)
            } else if errno != EINTR {
                throw ioError("write", path)
            }
        }
    }

    func truncate(to size: Int64) throws(ImageError) {
        let code = k3s_file_truncate(fd, size)
        guard code == 0 else { throw ioError("truncate", path, -code) }
    }

    /// Moves the position forward; what is skipped becomes a hole.
    func skip(_ count: Int64) throws(ImageError) {
        let code = k3s_file_skip(fd, count)
        guard code == 0 else { throw ioError("seek", path, -code) }
    }

    func sync() throws(ImageError) {
        guard fsync(fd) == 0 else { throw ioError("fsync", path) }
    }

    func info() throws(ImageError) -> k3s_file_info {
        var info = k3s_file_info()
        let code = k3s_file_stat(fd, "", &info)
        guard code == 0 else { throw ioError("stat", path, -code) }
        return info
    }

    /// Writes everything that is dirty in this file's file system.
    func syncFileSystem() throws(ImageError) {
        let code = k3s_file_syncfs(fd)
        guard code == 0 else { throw ioError("syncfs", path, -code) }
    }

    /// The whole file as a region.
    func region() throws(ImageError) -> FileRegion {
        FileRegion(file: self, offset: 0, size: try info().size)
    }
}

func ioError(_ call: String, _ path: String, _ code: Int32 = errno) -> ImageError {
    ImageError(.io, "\(call) \(path): \(SysError.text(code))")
}

/// The string before the first NUL.
func text(_ characters: [CChar]) -> String {
    String(decoding: characters.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
}

/// File types in a mode (inode(7)). The macros of <sys/stat.h> reach Swift twice, by glibc's overlay and by CShims.
enum FileKind {
    static let mask: UInt32 = 0o170000
    static let fifo: UInt32 = 0o010000
    static let character: UInt32 = 0o020000
    static let directory: UInt32 = 0o040000
    static let block: UInt32 = 0o060000
    static let regular: UInt32 = 0o100000
    static let symlink: UInt32 = 0o120000
}

extension k3s_file_info {
    var kind: UInt32 { mode & FileKind.mask }
    var isDirectory: Bool { kind == FileKind.directory }
    var isSymlink: Bool { kind == FileKind.symlink }
    var isRegular: Bool { kind == FileKind.regular }
    /// overlayfs's mark for "deleted here": a character device 0:0.
    var isWhiteout: Bool { kind == FileKind.character && rdev_major == 0 && rdev_minor == 0 }
}

extension BlockingPool {
    /// Unpacking takes minutes on a small board: container starts, which use the shared pool, do not wait behind it.
    static let images = BlockingPool(limit: 6)
}

/// Whole-file and tree operations of the image store. `Linux.Files` and `Directories` have most of them for `String`
/// names; layers hold names of arbitrary bytes.
enum ImageFS {
    static func makeDirectory(_ path: String, _ mode: mode_t = 0o700) throws(ImageError) {
        var current = path.hasPrefix("/") ? "" : "."
        for part in path.split(separator: "/") {
            current += "/" + part
            if mkdir(current, mode) != 0, errno != EEXIST { throw ioError("mkdir", current) }
        }
    }

    static func exists(_ path: String) -> Bool {
        var info = k3s_file_info()
        return k3s_file_stat(AT_FDCWD, path, &info) == 0
    }

    /// The bytes of a small file; nil: there is none.
    static func read(_ path: String, limit: Int64) throws(ImageError) -> [UInt8]? {
        let fd = k3s_file_openat(AT_FDCWD, path, O_RDONLY, 0)
        if fd < 0 {
            if fd == -ENOENT { return nil }
            throw ioError("open", path, -fd)
        }
        let file = ImageFile(adopting: fd, path: path)
        let size = try file.info().size
        guard size <= limit else { throw ImageError(.io, "read \(path): \(size) bytes, expected \(limit) at most") }
        return try read(file, at: 0, count: Int(size))
    }

    static func read(_ file: ImageFile, at offset: Int64, count: Int) throws(ImageError) -> [UInt8] {
        var failure: ImageError?
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            while filled < count {
                do throws(ImageError) {
                    let rest = UnsafeMutableRawBufferPointer(
                        rebasing: UnsafeMutableRawBufferPointer(buffer)[filled..<count])
                    let n = try file.pread(rest, at: offset + Int64(filled))
                    if n == 0 { return }
                    filled += n
                } catch {
                    failure = error
                    return
                }
            }
        }
        if let failure { throw failure }
        return bytes
    }

    /// Replaces a file so that after a crash it holds the old bytes or the new ones, never a mixture.
    static func writeAtomically(_ path: String, _ bytes: [UInt8], mode: UInt32 = 0o600) throws(ImageError) {
        do throws(SysError) { try Files.writeAtomically(path, bytes, mode: mode) } catch {
            throw ImageError(.io, error.description)
        }
    }

    /// rename(2), then the directory is synced: the new name survives a power cut.
    static func move(_ from: String, to: String) throws(ImageError) {
        guard rename(from, to) == 0 else {
            let code = errno
            throw ioError("rename \(from) to", to, code)
        }
        do throws(SysError) { try Files.syncDirectory(of: to) } catch { throw ImageError(.io, error.description) }
    }

    static func removeFile(_ path: String) throws(ImageError) {
        if unlink(path) != 0, errno != ENOENT { throw ioError("unlink", path) }
    }

    /// Names in a directory without "." and ".."; none if there is no directory.
    static func names(_ path: String) throws(ImageError) -> [String] {
        let fd = Linux.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if fd < 0 {
            if errno == ENOENT { return [] }
            throw ioError("open", path)
        }
        return try names(adopting: fd, path: path).map(text).sorted()
    }

    /// Raw, NUL-terminated names (they need not be UTF-8).
    static func names(adopting fd: Int32, path: String) throws(ImageError) -> [[CChar]] {
        guard let stream = fdopendir(fd) else {
            _ = close(fd)
            throw ioError("opendir", path)
        }
        defer { closedir(stream) }
        var result: [[CChar]] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { pointer in
                    Array(UnsafeBufferPointer(start: pointer, count: strlen(pointer) + 1))
                }
            }
            if name == [46, 0] || name == [46, 46, 0] { continue }
            result.append(name)
        }
        return result
    }

    /// Removes a file or a whole tree, never through a symbolic link. Missing is fine.
    static func removeTree(_ path: String) throws(ImageError) {
        try removeTree(AT_FDCWD, Array(path.utf8CString), path: path, depth: 0)
    }

    static func removeTree(
        _ directory: Int32, _ name: [CChar], path: String, depth: Int
    ) throws(ImageError) {
        if unlinkat(directory, name, 0) == 0 || errno == ENOENT { return }
        guard errno == EISDIR || errno == EPERM else { throw ioError("unlink", path) }
        if unlinkat(directory, name, AT_REMOVEDIR) == 0 || errno == ENOENT { return }
        guard errno == ENOTEMPTY || errno == EEXIST else { throw ioError("rmdir", path) }
        guard depth < 600 else { throw ImageError(.io, "remove \(path): nested too deep") }
        let fd = Linux.openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard fd >= 0 else { throw ioError("open", path) }
        let inner = ImageFile(adopting: fd, path: path)
        let listing = dup(fd)
        guard listing >= 0 else { throw ioError("dup", path) }
        _ = fcntl(listing, F_SETFD, FD_CLOEXEC)
        for child in try names(adopting: listing, path: path) {
            try removeTree(inner.fd, child, path: path, depth: depth + 1)
        }
        if unlinkat(directory, name, AT_REMOVEDIR) != 0, errno != ENOENT { throw ioError("rmdir", path) }
    }
}
