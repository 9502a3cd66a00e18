internal import Containers
package import Codecs
package import Linux

/// Writes a set of files so that a reader sees all of the old ones or all of the new ones: the files lie in a directory
/// with a name of its own, `..data` points to it, and each visible name points into `..data`. One rename switches.
/// Source: k8s.io/kubernetes/pkg/volume/util/atomic_writer.go.
package struct AtomicWriter {
    package struct File: Sendable, Equatable {
        package var bytes: [UInt8]
        package var mode: UInt32
        /// nil: root.
        package var owner: UInt32?
        package init(_ bytes: [UInt8], mode: UInt32, owner: UInt32? = nil) {
            (self.bytes, self.mode, self.owner) = (bytes, mode, owner)
        }
    }

    let directory: String
    /// Group of files and directories, readable by it; nil: root's.
    var group: UInt32?

    package init(directory: String, group: UInt32? = nil) { (self.directory, self.group) = (directory, group) }

    package static func isSafe(_ path: String) -> Bool {
        !path.isEmpty && !path.hasPrefix("/") && path.utf8.count <= 4096
            && !path.split(separator: "/", omittingEmptySubsequences: false).contains("..") && !path.hasPrefix("..")
    }

    /// True: something was changed.
    @discardableResult
    package func write(_ payload: [String: File], stamp: Timestamp) throws(SysError) -> Bool {
        for path in payload.keys where !Self.isSafe(path) { throw SysError(EINVAL, "write", path: path) }
        let old = try? Files.readLink(directory + "/..data")
        if let old, isCurrent(payload, in: directory + "/" + old) { return false }
        let name = "..\(Self.directoryStamp(stamp)).\(UInt32.random(in: 100_000_000 ... .max))"
        let fresh = directory + "/" + name
        try Directories.make(fresh, mode: 0o755)
        do throws(SysError) {
            for (path, file) in payload { try write(file, to: fresh + "/" + path) }
            try own(fresh, directory: true, owner: nil)
        } catch {
            try? Directories.removeTree(fresh)
            throw error
        }
        try Files.remove(directory + "/..data_tmp")
        try syscall("symlink", directory) { symlink(name, directory + "/..data_tmp") }
        try syscall("rename", directory) { rename(directory + "/..data_tmp", directory + "/..data") }
        let visible = Set(payload.keys.compactMap { $0.split(separator: "/").first.map(String.init) })
        for entry in visible { try Files.replaceLink(directory + "/" + entry, to: "..data/" + entry) }
        for entry in Directories.names(directory) where !entry.hasPrefix("..") && !visible.contains(entry) {
            try Files.remove(directory + "/" + entry)
        }
        for entry in Directories.names(directory) where entry.hasPrefix("..") && entry != "..data" && entry != name {
            try Directories.removeTree(directory + "/" + entry)
        }
        return true
    }

    private func write(_ file: File, to path: String) throws(SysError) {
        let parent = Path.parent(path)
        if !Files.exists(parent) {
            try Directories.make(parent, mode: 0o755)
            try own(parent, directory: true, owner: nil)
        }
        try Files.write(path, file.bytes, mode: 0o600)
        try syscall("chmod", path) { chmod(path, mode_t(mode(of: file))) }
        try own(path, directory: false, owner: file.owner)
    }

    private func mode(of file: File) -> UInt32 { group == nil ? file.mode : file.mode | 0o440 }

    private func own(_ path: String, directory: Bool, owner: UInt32?) throws(SysError) {
        guard group != nil || owner != nil else { return }
        if let problem = NodeIDs.problem(user: owner, group: group) { throw SysError(EINVAL, call: problem) }
        try syscall("lchown", path) { lchown(path, owner ?? uid_t.max, group ?? gid_t.max) }
        if directory, group != nil { try syscall("chmod", path) { chmod(path, 0o2775) } }
    }

    private func isCurrent(_ payload: [String: File], in data: String) -> Bool {
        var found = 0
        for (path, file) in payload {
            guard let status = try? Files.status(data + "/" + path), UInt32(status.st_mode) & 0o7777 == mode(of: file),
                Int64(status.st_size) == Int64(file.bytes.count), (try? Files.read(data + "/" + path)) == file.bytes
            else { return false }
            found += 1
        }
        return Self.count(data) == found
    }

    private static func count(_ path: String) -> Int {
        guard let entries = try? Directories.list(path) else { return 0 }
        return entries.reduce(0) { $0 + ($1.kind == .directory ? count(path + "/" + $1.name) : 1) }
    }

    private static func directoryStamp(_ time: Timestamp) -> String {
        // 2026-01-02T03:04:05Z -> 2026_01_02_03_04_05
        String(
            time.rfc3339.dropLast().map { character in
                switch character {
                case "-", ":", "T": "_"
                default: character
                }
            })
    }
}
