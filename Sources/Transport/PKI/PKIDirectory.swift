import Linux

/// A directory of keys and certificates that is brought up to date: files are replaced whole, only when their content
/// changes, and all of them are made durable together at the end.
struct PKIDirectory {
    let path: String
    private(set) var written: [String] = []

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

    mutating func write(_ name: String, _ bytes: [UInt8], mode: UInt32) throws(PKIError) {
        guard try read(name) != bytes else { return }
        try writeFile(full(name), bytes, mode: mode)
        written.append(name)
    }

    func remove(_ name: String) throws(PKIError) {
        do throws(SysError) { try Files.remove(full(name)) } catch { throw .file("\(error)") }
    }

    /// One sync of the file system for all the files: forty syncs would take a second on an SD card.
    func synchronize() throws(PKIError) {
        guard !written.isEmpty else { return }
        do throws(SysError) {
            let directory = try FileDescriptor.open(path, O_RDONLY | O_DIRECTORY)
            let raw = directory.raw
            try checked("syncfs", path) { k3s_syncfs(raw) }
        } catch {
            throw .file("\(error)")
        }
    }
}
