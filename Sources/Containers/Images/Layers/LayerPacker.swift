import CShims
import Codecs
import Linux

/// An unpacked layer as a tar archive again, overlayfs's marks turned back into whiteouts. The inverse of `LayerUnpacker`:
/// the same files, owners, modes, times and extended attributes, but not the same bytes as what was once downloaded.
/// Source: OCI image specification, layer.md.
struct LayerPacker {
    private static let maxDepth = 600
    private static let chunk = 256 << 10

    private let tar: TarWriter
    private let name: String
    /// First name of files with several, by device and inode.
    private var links: [UInt64: [UInt8]] = [:]

    init(_ tar: TarWriter, name: String) { (self.tar, self.name) = (tar, name) }

    mutating func pack(_ root: ImageFile) throws(ImageError) {
        try contents(of: root, [], depth: 0)
        try tar.end()
    }

    private mutating func contents(of directory: ImageFile, _ path: [UInt8], depth: Int) throws(ImageError) {
        guard depth < Self.maxDepth else {
            throw ImageError(.io, "\(name): directories nested deeper than \(Self.maxDepth)")
        }
        let listing = k3s_file_openat(directory.fd, ".", O_RDONLY | O_DIRECTORY, 0)
        guard listing >= 0 else { throw ioError("open", directory.path, -listing) }
        let names = try ImageFS.names(adopting: listing, path: directory.path)
        for child in names.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            try member(child, in: directory, path, depth)
        }
    }

    private mutating func member(
        _ child: [CChar], in directory: ImageFile, _ path: [UInt8], _ depth: Int
    ) throws(ImageError) {
        let last = child.dropLast().map(UInt8.init(bitPattern:))
        let full = path.isEmpty ? last : path + [UInt8(ascii: "/")] + last
        let shown = String(decoding: full, as: UTF8.self)
        var info = k3s_file_info()
        let code = k3s_file_stat(directory.fd, child, &info)
        guard code == 0 else { throw ioError("\(name): stat", shown, -code) }
        var entry = TarEntry()
        entry.path = full
        entry.mode = info.mode & 0o7777
        (entry.uid, entry.gid) = (info.uid, info.gid)
        (entry.modified, entry.modifiedNanoseconds) = (info.mtime_sec, info.mtime_nsec)
        if info.isWhiteout {
            entry.path = (path.isEmpty ? [] : path + [UInt8(ascii: "/")]) + Array(".wh.".utf8) + last
            return try tar.header(entry)
        }
        if !info.isDirectory, info.links > 1 {
            if let first = links[info.inode] {
                (entry.kind, entry.link) = (.hardLink, first)
                return try tar.header(entry)
            }
            links[info.inode] = full
        }
        switch info.kind {
        case FileKind.directory, FileKind.regular:
            let isDirectory = info.isDirectory
            let fd = k3s_file_openat(directory.fd, child, O_RDONLY | O_NOFOLLOW | (isDirectory ? O_DIRECTORY : 0), 0)
            guard fd >= 0 else { throw ioError("\(name): open", shown, -fd) }
            let file = ImageFile(adopting: fd, path: shown)
            entry.xattrs = try attributes(file)
            let isOpaque = entry.xattrs.contains { $0.name == Self.opaque }
            entry.xattrs.removeAll { $0.name.starts(with: Self.overlay) }
            if !isDirectory {
                entry.size = info.size
                try tar.header(entry)
                return try copy(file, info.size)
            }
            entry.kind = .directory
            entry.path.append(UInt8(ascii: "/"))
            try tar.header(entry)
            if isOpaque {
                var mark = TarEntry()
                mark.path = full + [UInt8(ascii: "/")] + LayerUnpacker.opaqueMark
                mark.mode = 0o644
                try tar.header(mark)
            }
            try contents(of: file, full, depth: depth + 1)
        case FileKind.symlink:
            entry.kind = .symlink
            entry.link = try LowerLayers.readLink(directory.fd, child, shown)
            try tar.header(entry)
        case FileKind.character, FileKind.block:
            entry.kind = info.kind == FileKind.block ? .blockDevice : .characterDevice
            (entry.deviceMajor, entry.deviceMinor) = (info.rdev_major, info.rdev_minor)
            try tar.header(entry)
        case FileKind.fifo:
            entry.kind = .fifo
            try tar.header(entry)
        // Sockets are of a process that is gone; tar has no form for them.
        default: break
        }
    }

    private static let overlay = Array(LayerUnpacker.opaqueAttribute.utf8.dropLast("opaque".utf8.count))
    private static let opaque = Array(LayerUnpacker.opaqueAttribute.utf8)

    private func copy(_ file: ImageFile, _ size: Int64) throws(ImageError) {
        var buffer = [UInt8](repeating: 0, count: Int(min(Int64(Self.chunk), max(size, 1))))
        var done: Int64 = 0
        while done < size {
            let bytes = try Self.read(file, into: &buffer, at: done, limit: size - done)
            guard bytes > 0 else { throw ImageError(.io, "\(name): \(file.path): shorter than it was") }
            try buffer.withBytes { (raw: UnsafeRawBufferPointer) throws(ImageError) in
                try tar.data(UnsafeRawBufferPointer(rebasing: raw[..<bytes]))
            }
            done += Int64(bytes)
        }
        try tar.pad(size)
    }

    static func read(
        _ file: ImageFile, into buffer: inout [UInt8], at offset: Int64, limit: Int64
    ) throws(ImageError) -> Int {
        let result = buffer.withUnsafeMutableBytes { raw -> Result<Int, ImageError> in
            let part = UnsafeMutableRawBufferPointer(rebasing: raw[..<Int(min(Int64(raw.count), limit))])
            do throws(ImageError) { return .success(try file.pread(part, at: offset)) } catch { return .failure(error) }
        }
        return try result.get()
    }

    private func attributes(_ file: ImageFile) throws(ImageError) -> [(name: [UInt8], value: [UInt8])] {
        var names = [CChar](repeating: 0, count: 64 << 10)
        let size = k3s_file_listxattr(file.fd, &names, names.count)
        // A file system without them has none.
        guard size > 0 else { return [] }
        var result: [(name: [UInt8], value: [UInt8])] = []
        for part in names.prefix(Int(size)).split(separator: 0) {
            var value = [UInt8](repeating: 0, count: 64 << 10)
            let count = k3s_file_getxattr(file.fd, Array(part) + [0], &value, value.count)
            guard count >= 0 else { throw ioError("\(name): getxattr", file.path, Int32(-count)) }
            result.append((part.map(UInt8.init(bitPattern:)), Array(value.prefix(Int(count)))))
        }
        return result.sorted { $0.name.lexicographicallyPrecedes($1.name) }
    }
}
