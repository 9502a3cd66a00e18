import CShims
import Codecs
import Linux

/// Applies a layer's tar stream to an empty directory in the form overlayfs wants: deletions become character devices
/// 0:0, opaque directories get the xattr `trusted.overlay.opaque`.
///
/// Every path is walked component by component from the directory's descriptor with O_NOFOLLOW; symbolic links are
/// expanded by hand inside the directory ("/" and ".." stop at its top, as for openat2's RESOLVE_IN_ROOT), so nothing
/// outside of it is ever reached, whatever the archive says. Nobody else writes there meanwhile.
///
/// A directory that the layer uses but does not describe takes owner, mode and xattrs from the layers below (and a
/// symbolic link below is followed), as if the layer had been applied on top of them.
/// Sources: OCI image specification layer.md; Documentation/filesystems/overlayfs.rst.
final class LayerUnpacker {
    static let maxSymlinks = 40
    static let maxDepth = 256
    static let whiteoutPrefix = Array(".wh.".utf8)
    static let opaqueMark = Array(".wh..wh..opq".utf8)

    let root: ImageFile
    /// Unpacked layers below, topmost first.
    let below: LowerLayers
    let limits: LayerLimits
    let name: String

    /// Bytes of file data on disk, in whole blocks; holes do not count.
    var diskBytes: Int64 = 0
    var entries = 0
    /// Files whose owners are not in this process's user namespace.
    var foreignOwners = 0
    private let (users, groups) = (IDMap.users, IDMap.groups)
    /// As overlayfs wants it, which is mounted with `userxattr` in a user namespace.
    static let opaqueAttribute = IDMap.users.isInitial ? "trusted.overlay.opaque" : "user.overlay.opaque"

    /// The layer hides everything below it (overlayfs ignores the mark on a root directory: the stack is cut instead).
    var hidesBelow = false

    /// The directory the last entry was in: archives are sorted, so it is nearly always the right one.
    var cached: (path: [UInt8], directory: ImageFile)?
    var directoryTimes = DirectoryTimes()
    var uncheckedBytes: Int64 = 0

    init(root: ImageFile, below: LowerLayers, limits: LayerLimits, name: String) {
        (self.root, self.below, self.limits, self.name) = (root, below, limits, name)
    }

    func apply(_ tar: TarReader) throws(ImageError) {
        while let entry = try tar.next() {
            entries += 1
            try apply(entry, tar)
            if directoryTimes.isFull { try restoreTimes() }
        }
        try restoreTimes()
    }

    private func apply(_ entry: TarEntry, _ tar: TarReader) throws(ImageError) {
        var components = Self.clean(entry.path)
        guard let last = components.popLast() else {
            // "./": the layer's own top directory.
            guard entry.kind == .directory else {
                throw unsafe("entry \"\(clipped(entry.name))\" names the root directory")
            }
            try setAttributes(root, entry)
            return try note([], entry)
        }
        if last == Self.opaqueMark {
            let directory = try parent(components)
            if directory === root { hidesBelow = true } else { try markOpaque(directory) }
            return
        }
        let place = try parent(components)
        if last.starts(with: Self.whiteoutPrefix) {
            // aufs kept files of its own under ".wh..wh."; they mean nothing here.
            if last.starts(with: Array(".wh..wh.".utf8)) { return }
            return try whiteout(Array(last.dropFirst(Self.whiteoutPrefix.count)), place, entry)
        }
        let target = last.map { CChar(bitPattern: $0) } + [0]
        switch entry.kind {
        case .file: try makeFile(entry, tar, place, target)
        case .directory: try makeDirectory(entry, place, target, components + [last])
        case .symlink: try makeSymlink(entry, place, target)
        case .hardLink: try makeHardLink(entry, place, target)
        case .characterDevice, .blockDevice, .fifo: try makeNode(entry, place, target)
        }
    }

    // MARK: attributes

    func setAttributes(_ file: ImageFile, _ entry: TarEntry) throws(ImageError) {
        let (uid, gid) = owner(entry)
        guard fchown(file.fd, uid, gid) == 0 else { throw failure("change owner of", entry, errno) }
        // After chown, which clears setuid and setgid.
        guard fchmod(file.fd, entry.mode) == 0 else { throw failure("change mode of", entry, errno) }
        for attribute in entry.xattrs where Self.isWanted(attribute.name) {
            let name = attribute.name.map { CChar(bitPattern: $0) } + [0]
            let code = k3s_file_setxattr(file.fd, name, attribute.value, attribute.value.count)
            if code != 0 { try judge(-code, attribute.name, entry) }
        }
    }

    /// For what cannot be opened without side effects: links, devices, pipes.
    func setNodeAttributes(_ place: ImageFile, _ name: [CChar], _ entry: TarEntry) throws(ImageError) {
        let (uid, gid) = owner(entry)
        guard fchownat(place.fd, name, uid, gid, AT_SYMLINK_NOFOLLOW) == 0 else {
            throw failure("change owner of", entry, errno)
        }
        if entry.kind != .symlink, fchmodat(place.fd, name, entry.mode, 0) != 0 {
            throw failure("change mode of", entry, errno)
        }
        let path = Array("/proc/self/fd/\(place.fd)/".utf8CString.dropLast()) + name
        for attribute in entry.xattrs where Self.isWanted(attribute.name) {
            let key = attribute.name.map { CChar(bitPattern: $0) } + [0]
            let code = k3s_file_lsetxattr(path, key, attribute.value, attribute.value.count)
            if code != 0 { try judge(-code, attribute.name, entry) }
        }
        try check(
            k3s_file_set_time(place.fd, name, entry.modified, entry.modifiedNanoseconds), "set time of", entry)
    }

    /// In a user namespace ids that it does not have become root's.
    private func owner(_ entry: TarEntry) -> (uid_t, gid_t) {
        let (uid, gid) = (users.contains(entry.uid), groups.contains(entry.gid))
        if !uid || !gid { foreignOwners += 1 }
        return (uid ? entry.uid : 0, gid ? entry.gid : 0)
    }

    /// overlayfs's own attributes would let an image redirect its directories; SELinux labels belong to the host.
    static func isWanted(_ name: [UInt8]) -> Bool {
        let text = String(decoding: name, as: UTF8.self)
        return !text.hasPrefix("trusted.overlay.") && !text.hasPrefix("user.overlay.") && text != "security.selinux"
    }

    /// A file system without xattrs loses them, as with every container runtime; file capabilities are not lost silently.
    func judge(_ code: Int32, _ attribute: [UInt8], _ entry: TarEntry) throws(ImageError) {
        let text = String(decoding: attribute, as: UTF8.self)
        if code == ENOTSUP || code == EPERM || code == EINVAL, text != "security.capability" { return }
        throw failure("set \(clipped(text)) of", entry, code)
    }

    func markOpaque(_ directory: ImageFile) throws(ImageError) {
        let mark = Self.opaqueAttribute
        let code = k3s_file_setxattr(directory.fd, mark, "y", 1)
        guard code == 0 else { throw ioError("\(name): set \(mark) of", clipped(directory.path), -code) }
    }

    /// Times of directories are set when all is unpacked: each new file changes them.
    func note(_ path: [[UInt8]], _ entry: TarEntry) throws(ImageError) {
        directoryTimes.append(path, entry.modified, entry.modifiedNanoseconds)
    }

    func restoreTimes() throws(ImageError) {
        var times = directoryTimes
        directoryTimes = DirectoryTimes()
        try times.drain { (item: DirectoryTimes.Item) throws(ImageError) in
            // A later entry may have put something else there.
            guard let directory = try walk(item.path, create: false) else { return }
            let code = k3s_file_set_time(directory.fd, nil, item.seconds, item.nanoseconds)
            guard code == 0 else { throw ioError("\(name): set time of", clipped(directory.path), -code) }
        }
    }

    // MARK: messages

    static func text(_ components: [[UInt8]]) -> String {
        String(decoding: Array(components.joined(separator: [UInt8(ascii: "/")])), as: UTF8.self)
    }

    func check(_ code: Int32, _ action: String, _ entry: TarEntry) throws(ImageError) {
        if code != 0 { throw failure(action, entry, -code) }
    }

    func failure(_ action: String, _ entry: TarEntry, _ code: Int32) -> ImageError {
        ImageError(.io, "\(name): \(action) \"\(clipped(entry.name))\": \(SysError.text(code))")
    }

    func invalid(_ reason: String) -> ImageError { ImageError(.invalidManifest, "\(name): \(reason)") }
    func unsafe(_ reason: String) -> ImageError { ImageError(.unsafeLayer, "\(name): \(reason)") }
}

/// Paths and times of directories, packed; bounded at 1 MiB.
struct DirectoryTimes {
    typealias Item = (path: [[UInt8]], seconds: Int64, nanoseconds: Int64)
    private var packed: [UInt8] = []
    private var times: [(length: Int32, seconds: Int64, nanoseconds: Int32)] = []

    var isFull: Bool { packed.count + times.count * 24 > 1 << 20 }

    mutating func append(_ path: [[UInt8]], _ seconds: Int64, _ nanoseconds: Int64) {
        let text = Array(path.joined(separator: [UInt8(ascii: "/")]))
        packed.append(contentsOf: text)
        times.append((Int32(text.count), seconds, Int32(truncatingIfNeeded: nanoseconds)))
    }

    /// Hands out the items in reverse, so that inner directories come before outer ones, and forgets them.
    mutating func drain(_ body: (Item) throws(ImageError) -> Void) throws(ImageError) {
        let (packed, times) = (self.packed, self.times)
        (self.packed, self.times) = ([], [])
        var end = packed.count
        for time in times.reversed() {
            let start = end - Int(time.length)
            let parts = packed[start..<end].split(separator: UInt8(ascii: "/")).map(Array.init)
            end = start
            try body((parts, time.seconds, Int64(time.nanoseconds)))
        }
    }
}
