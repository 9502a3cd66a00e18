import Linux

/// A directory of keys and certificates that is brought up to date: files are replaced whole, and only when their content
/// changes. Those that cannot be made again are synced to the disk together at the end; the others are not, because
/// fifty syncs take a second on an SD card, and a certificate that a power failure has taken is just issued again.
struct PKIDirectory {
    let path: String
    private(set) var written: [String] = []
    private var precious: [String] = []

    init(path: String) { self.path = path }

    func full(_ name: String) -> String { name.isEmpty ? path : path + "/" + name }

    func makeDirectory(_ name: String) throws(PKIError) {
        do throws(SysError) { try Directories.make(full(name), mode: 0o700) } catch { throw .file("\(error)") }
    }

    /// Nil if there is no such file.
    func read(_ name: String) throws(PKIError) -> [UInt8]? {
        do throws(SysError) {
            return try Files.readIfPresent(full(name), limit: PEM.limit)
        } catch {
            throw .file("\(error)")
        }
    }

    /// - Parameter precious: the file cannot be made again.
    mutating func write(
        _ name: String, _ bytes: [UInt8], mode: UInt32, precious isPrecious: Bool = false
    ) throws(PKIError) {
        guard try read(name) != bytes else { return }
        try writeFile(full(name), bytes, mode: mode)
        written.append(name)
        if isPrecious { precious.append(name) }
    }

    func remove(_ name: String) throws(PKIError) {
        do throws(SysError) { try Files.remove(full(name)) } catch { throw .file("\(error)") }
    }

    /// Makes the precious files durable.
    mutating func synchronize() throws(PKIError) {
        var directories: Set<String> = []
        do throws(SysError) {
            // Start the writing of all of them first: one commit of the file system's journal then serves them all, and
            // the syncs that follow find their work done.
            for name in precious {
                let file = try FileDescriptor.open(full(name), O_RDONLY)
                _ = posix_fadvise(file.raw, 0, 0, POSIX_FADV_DONTNEED)
            }
            for name in precious {
                let file = try FileDescriptor.open(full(name), O_RDONLY)
                try file.sync()
                directories.insert(Path.parent(full(name)))
            }
            for directory in directories {
                let descriptor = try FileDescriptor.open(directory, O_RDONLY | O_DIRECTORY)
                try descriptor.sync()
            }
        } catch {
            throw .file("\(error)")
        }
        precious = []
    }
}
