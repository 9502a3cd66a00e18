/// inotify(7) watches on directories and those below them: something was written, moved, removed or made there.
///
/// Made before the directories are read, and anew after each change, nothing is missed and new directories are included.
/// Hidden files (".x") do not count unless they are asked for. Costs one descriptor, and nothing while nothing changes.
package final class DirectoryWatch: Sendable {
    /// What is watched beside the set of files and what each holds once its writer has closed it.
    package struct Options: OptionSet, Sendable {
        package let rawValue: UInt8
        package init(rawValue: UInt8) { self.rawValue = rawValue }

        /// A changed time, owner or mode.
        package static let attributes = Options(rawValue: 1)
        /// Each write, also to a file that stays open.
        package static let writes = Options(rawValue: 2)
        /// The directories themselves alone: what is hidden in them and their own move count, what is below them does not.
        package static let shallow = Options(rawValue: 4)
    }

    private let events: AsyncFD
    private let options: Options

    /// How deep directories are followed.
    private static let depthLimit = 16

    package init(_ directories: [String], _ options: Options = []) throws(SysError) {
        self.options = options
        let fd = inotify_init1(Int32(IN_CLOEXEC | IN_NONBLOCK))
        guard fd >= 0 else { throw SysError(errno, "inotify_init", path: directories.first) }
        events = try AsyncFD(FileDescriptor(owning: fd))
        var mask = UInt32(IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_ONLYDIR)
        if options.contains(.attributes) { mask |= UInt32(IN_ATTRIB) }
        if options.contains(.writes) { mask |= UInt32(IN_MODIFY) }
        if options.contains(.shallow) { mask |= UInt32(IN_DELETE_SELF | IN_MOVE_SELF) }
        for directory in directories {
            guard inotify_add_watch(fd, directory, mask) >= 0 else {
                throw SysError(errno, "inotify_add_watch", path: directory)
            }
            if !options.contains(.shallow) { Self.addBelow(directory, fd, mask, depth: 1) }
        }
    }

    package func close() { events.close() }

    private static func addBelow(_ directory: String, _ fd: Int32, _ mask: UInt32, depth: Int) {
        for entry in (try? Directories.list(directory)) ?? [] where !entry.name.hasPrefix(".") {
            let path = directory + "/" + entry.name
            // What cannot be watched is gone again.
            guard Files.isDirectory(path), inotify_add_watch(fd, path, mask) >= 0, depth < depthLimit else { continue }
            addBelow(path, fd, mask, depth: depth + 1)
        }
    }

    /// Until something changes. ECANCELED when the task is cancelled or the watch closed.
    package func wait() async throws(SysError) {
        while true {
            guard let bytes = try await events.read(limit: 16 << 10) else { throw SysError(EIO, "read inotify") }
            if options.contains(.shallow) || Self.concerns(bytes) { return }
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
