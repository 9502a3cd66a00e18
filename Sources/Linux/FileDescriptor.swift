/// An owned file descriptor: closed exactly once, by `close()` or when the value goes.
///
/// `take()` hands the number over to somebody else (C, another process); nothing closes it then.
package struct FileDescriptor: ~Copyable, Sendable {
    /// The number, valid while this value lives. Do not close it.
    package let raw: Int32

    /// Takes ownership of an open descriptor.
    package init(owning raw: Int32) {
        precondition(raw >= 0, "a negative file descriptor is an error that nobody looked at")
        self.raw = raw
    }

    deinit { _ = Glibc.close(raw) }

    /// Closes now. The error matters only to writers of files (delayed write errors on network file systems).
    package consuming func close() throws(SysError) {
        let number = raw
        discard self
        // EINTR on Linux: the descriptor is gone all the same, so never try again.
        if Glibc.close(number) != 0, errno != EINTR { throw SysError(errno, "close") }
    }

    /// Gives up ownership.
    package consuming func take() -> Int32 {
        let number = raw
        discard self
        return number
    }

    package func duplicate() throws(SysError) -> FileDescriptor {
        let raw = raw
        return FileDescriptor(owning: try checked("fcntl") { k3s_fcntl(raw, F_DUPFD_CLOEXEC, 3) })
    }

    package func setNonBlocking(_ on: Bool = true) throws(SysError) {
        let raw = raw
        let flags = try checked("fcntl") { k3s_fcntl(raw, F_GETFL, 0) }
        _ = try checked("fcntl") { k3s_fcntl(raw, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) }
    }

    package func setCloseOnExec(_ on: Bool = true) throws(SysError) {
        let raw = raw
        _ = try checked("fcntl") { k3s_fcntl(raw, F_SETFD, on ? FD_CLOEXEC : 0) }
    }
}

extension FileDescriptor {
    /// open(2), always close-on-exec; relative to `directory` when given.
    package static func open(
        _ path: String, _ flags: Int32, mode: UInt32 = 0, at directory: Int32 = AT_FDCWD
    ) throws(SysError) -> FileDescriptor {
        FileDescriptor(
            owning: try checked("open", path) { k3s_openat(directory, path, flags | O_CLOEXEC, mode) })
    }

    /// Opens `path` below `root` as a process with that root directory would see it: symbolic links, absolute ones
    /// too, and ".." never lead outside (openat2 RESOLVE_IN_ROOT).
    package static func open(
        inRoot root: borrowing FileDescriptor, _ path: String, _ flags: Int32, mode: UInt32 = 0
    ) throws(SysError) -> FileDescriptor {
        let directory = root.raw
        return FileDescriptor(
            owning: try checked("openat2", path) {
                k3s_openat2(
                    directory, path, UInt64(UInt32(bitPattern: flags | O_CLOEXEC)), UInt64(mode),
                    UInt64(K3S_RESOLVE_IN_ROOT | K3S_RESOLVE_NO_MAGICLINKS))
            })
    }

    /// Both ends close-on-exec.
    package struct Pipe: ~Copyable, Sendable {
        package let read: FileDescriptor
        package let write: FileDescriptor
        init(read: consuming FileDescriptor, write: consuming FileDescriptor) {
            self.read = read
            self.write = write
        }
        package consuming func takeBoth() -> (read: Int32, write: Int32) { (read.take(), write.take()) }
    }

    package static func pipe(nonBlocking: Bool = false) throws(SysError) -> Pipe {
        var ends: (Int32, Int32) = (-1, -1)
        let flags = O_CLOEXEC | (nonBlocking ? O_NONBLOCK : 0)
        try checked("pipe2") {
            withUnsafeMutableBytes(of: &ends) { k3s_pipe($0.bindMemory(to: Int32.self).baseAddress, flags) }
        }
        return Pipe(read: FileDescriptor(owning: ends.0), write: FileDescriptor(owning: ends.1))
    }

    /// One read(2); fewer bytes than asked for are normal, 0 is the end.
    package func read(into buffer: UnsafeMutableRawBufferPointer) throws(SysError) -> Int {
        let raw = raw
        return try syscall("read") { Glibc.read(raw, buffer.baseAddress, buffer.count) }
    }

    /// Writes everything; for blocking descriptors.
    package func writeAll(_ bytes: UnsafeRawBufferPointer) throws(SysError) {
        let raw = raw
        var done = 0
        while done < bytes.count {
            let offset = done
            done += try syscall("write") {
                Glibc.write(raw, bytes.baseAddress.map { $0 + offset }, bytes.count - offset)
            }
        }
    }

    package func writeAll(_ bytes: [UInt8]) throws(SysError) {
        try bytes.withBytes { (buffer) throws(SysError) in try writeAll(buffer) }
    }

    package func status() throws(SysError) -> stat {
        var result = stat()
        let raw = raw
        try syscall("fstat") { fstat(raw, &result) }
        return result
    }

    /// fsync(2)
    package func sync() throws(SysError) {
        let raw = raw
        try syscall("fsync") { fsync(raw) }
    }
}

extension [UInt8] {
    /// `withUnsafeBytes` with a typed error.
    package func withBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
        let result = withUnsafeBytes { buffer -> Result<R, E> in
            do throws(E) { return .success(try body(buffer)) } catch { return .failure(error) }
        }
        return try result.get()
    }
}
