import Linux
import Logging

extension ImageStore {
    /// Imports `directory`, and again after each change below it, until the task is cancelled: a file written, moved or
    /// removed, two quiet seconds later (an archive being copied is not read half-way). The directory is made if it is
    /// missing. Nothing runs while nothing changes.
    package func watchDirectory(_ directory: String, settle: Duration = .seconds(2)) async throws(ImageError) {
        try ImageFS.makeDirectory(directory, 0o755)
        while !Task.isCancelled {
            // Watched before it is read, anew each time: no change is missed, and new directories are included.
            let changes = try DirectoryWatch(directory)
            defer { changes.close() }
            _ = await importDirectory(directory)
            do throws(ImageError) {
                try await changes.wait()
                while try await changes.wait(atMost: settle) {}
            } catch {
                if Task.isCancelled { return }
                throw error
            }
        }
    }
}

/// inotify(7) watches on a directory and those below it.
private final class DirectoryWatch: Sendable {
    private let events: AsyncFD

    init(_ directory: String) throws(ImageError) {
        let fd = inotify_init1(Int32(IN_CLOEXEC | IN_NONBLOCK))
        guard fd >= 0 else { throw ioError("inotify_init", directory) }
        let made: AsyncFD
        do throws(SysError) { made = try AsyncFD(FileDescriptor(owning: fd)) } catch {
            throw ImageError(.io, error.description)
        }
        events = made
        try add(fd, directory, depth: 0)
    }

    func close() { events.close() }

    private func add(_ fd: Int32, _ directory: String, depth: Int) throws(ImageError) {
        let mask = UInt32(IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_ONLYDIR)
        guard inotify_add_watch(fd, directory, mask) >= 0 else {
            // Gone again, or not a directory.
            if depth > 0 { return }
            throw ioError("inotify_add_watch", directory)
        }
        guard depth < 16 else { return }
        for name in try ImageFS.names(directory) where !name.hasPrefix(".") {
            let path = directory + "/" + name
            if Files.isDirectory(path) { try add(fd, path, depth: depth + 1) }
        }
    }

    /// Until something changes that is not hidden (the import's own cache file is).
    func wait() async throws(ImageError) {
        while true {
            let bytes: [UInt8]?
            do throws(SysError) { bytes = try await events.read(limit: 16 << 10) } catch {
                throw ImageError(.io, error.description)
            }
            guard let bytes else { throw ImageError(.io, "inotify: end of file") }
            if Self.concerns(bytes) { return }
        }
    }

    /// false: the time is over.
    func wait(atMost limit: Duration) async throws(ImageError) -> Bool {
        let answer = await timed(max(limit, .milliseconds(1))) { [self] () -> Result<Void, ImageError> in
            do throws(ImageError) { return .success(try await wait()) } catch { return .failure(error) }
        }
        guard let answer else { return false }
        do throws(ImageError) { try answer.get() } catch {
            if Task.isCancelled { throw error }
            return false
        }
        return true
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
