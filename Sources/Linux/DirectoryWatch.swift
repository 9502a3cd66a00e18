/// inotify(7) watches on directories and those below them: something was written, moved, removed or made there.
///
/// Made before the directories are read, and anew after each change, nothing is missed and new directories are included.
/// Hidden files (".x") do not count. Costs one descriptor, and nothing while nothing changes.
package final class DirectoryWatch: Sendable {
    private let events: AsyncFD

    /// How deep directories are followed.
    private static let depthLimit = 16

    /// - Parameter attributes: a changed time, owner or mode counts as well.
    package init(_ directories: [String], attributes: Bool = false) throws(SysError) {
        let fd = inotify_init1(Int32(IN_CLOEXEC | IN_NONBLOCK))
        guard fd >= 0 else { throw SysError(errno, "inotify_init", path: directories.first) }
        events = try AsyncFD(FileDescriptor(owning: fd))
        var mask = UInt32(IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_ONLYDIR)
        if attributes { mask |= UInt32(IN_ATTRIB) }
        for directory in directories { try Self.add(fd, directory, mask, depth: 0) }
    }

    package func close() { events.close() }

    private static func add(_ fd: Int32, _ directory: String, _ mask: UInt32, depth: Int) throws(SysError) {
        guard inotify_add_watch(fd, directory, mask) >= 0 else {
            // Gone again, or not a directory.
            if depth > 0 { return }
            throw SysError(errno, "inotify_add_watch", path: directory)
        }
        guard depth < depthLimit else { return }
        for entry in (try? Directories.list(directory)) ?? [] where !entry.name.hasPrefix(".") {
            let path = directory + "/" + entry.name
            if Files.isDirectory(path) { try add(fd, path, mask, depth: depth + 1) }
        }
    }

    /// Until something changes that is not hidden. ECANCELED when the task is cancelled or the watch closed.
    package func wait() async throws(SysError) {
        while true {
            guard let bytes = try await events.read(limit: 16 << 10) else { throw SysError(EIO, "read inotify") }
            if Self.concerns(bytes) { return }
        }
    }

    /// struct inotify_event: wd, mask, cookie, len (32 bits each), then the name.
    private static func concerns(_ bytes: [UInt8]) -> Bool {
        var at = 0
        while at + 16 <= bytes.count {
            let length = bytes.withUnsafeBytes { Int($0.loadUnaligned(fromByteOffset: at + 12, as: UInt32.self)) }
            let name = bytes[(at + 16)..<min(bytes.count, at + 16 + length)]
            if name.first != UInt8(ascii: ".") { return true }
            at += 16 + length
        }
        return false
    }
}
