import CShims
import Codecs
import Linux

/// How each kind of tar entry comes into being.
extension LayerUnpacker {
    func makeFile(_ entry: TarEntry, _ tar: TarReader, _ place: ImageFile, _ name: [CChar]) throws(ImageError) {
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW
        var fd = k3s_file_openat(place.fd, name, flags, 0o600)
        if fd == -EEXIST {
            _ = try clear(place, name)
            fd = k3s_file_openat(place.fd, name, flags, 0o600)
        }
        guard fd >= 0 else { throw failure("create", entry, -fd) }
        let file = ImageFile(adopting: fd, path: entry.name)
        try copy(tar, into: file, size: entry.size)
        try setAttributes(file, entry)
        try check(k3s_file_set_time(fd, nil, entry.modified, entry.modifiedNanoseconds), "set time of", entry)
    }

    /// Runs of zeros become holes: they cost no disk, however long they are.
    func copy(_ tar: TarReader, into file: ImageFile, size: Int64) throws(ImageError) {
        var left = size
        var hole: Int64 = 0
        while left > 0 {
            let n = try tar.withData { (data: UnsafeRawBufferPointer) throws(ImageError) -> Int in
                if data.count >= 4096, Self.isZero(data) {
                    hole += Int64(data.count)
                } else {
                    if hole > 0 { try file.skip(hole) }
                    hole = 0
                    try file.writeAll(data)
                    try account(data.count)
                }
                return data.count
            }
            left -= Int64(n)
        }
        if hole > 0 { try file.truncate(to: size) }
        let tail = size % 4096
        if tail > 0 { diskBytes += 4096 - tail }
    }

    static func isZero(_ data: UnsafeRawBufferPointer) -> Bool {
        guard let base = data.baseAddress, data[0] == 0 else { return false }
        return memcmp(base, base + 1, data.count - 1) == 0
    }

    /// Looks at the free space every 16 MiB.
    func account(_ count: Int) throws(ImageError) {
        diskBytes += Int64(count)
        uncheckedBytes += Int64(count)
        guard uncheckedBytes >= 16 << 20 else { return }
        uncheckedBytes = 0
        let free = k3s_file_free_bytes(root.fd)
        guard free < 0 || free >= limits.freeBytes else {
            throw ImageError(
                .io, "\(name): no space left on device: \(free) bytes are free, \(limits.freeBytes) must stay so")
        }
    }

    func makeDirectory(
        _ entry: TarEntry, _ place: ImageFile, _ name: [CChar], _ path: [[UInt8]]
    ) throws(ImageError) {
        var opaque = false
        if mkdirat(place.fd, name, 0o700) != 0 {
            guard errno == EEXIST else { throw failure("create", entry, errno) }
            var info = k3s_file_info()
            try check(k3s_file_stat(place.fd, name, &info), "look at", entry)
            if !info.isDirectory {
                // A directory in the place of one that this layer deletes must not show the old one's files.
                opaque = try clear(place, name)
                guard mkdirat(place.fd, name, 0o700) == 0 else { throw failure("create", entry, errno) }
            }
        }
        let directory = try open(place, name, entry.name)
        if opaque { try markOpaque(directory) }
        try setAttributes(directory, entry)
        try note(path, entry)
    }

    func makeSymlink(_ entry: TarEntry, _ place: ImageFile, _ name: [CChar]) throws(ImageError) {
        guard !entry.link.isEmpty else { throw invalid("symbolic link \"\(clipped(entry.name))\" without a target") }
        let target = entry.link.map { CChar(bitPattern: $0) } + [0]
        if symlinkat(target, place.fd, name) != 0 {
            guard errno == EEXIST else { throw failure("create", entry, errno) }
            _ = try clear(place, name)
            guard symlinkat(target, place.fd, name) == 0 else { throw failure("create", entry, errno) }
        }
        try setNodeAttributes(place, name, entry)
    }

    func makeHardLink(_ entry: TarEntry, _ place: ImageFile, _ name: [CChar]) throws(ImageError) {
        var components = Self.clean(entry.link)
        guard let last = components.popLast() else {
            throw unsafe("hard link \"\(clipped(entry.name))\" to the root directory")
        }
        let target = last.map { CChar(bitPattern: $0) } + [0]
        let source = try walk(components, create: false)
        var from = k3s_file_info()
        guard let source, k3s_file_stat(source.fd, target, &from) == 0 else {
            throw invalid(
                "hard link \"\(clipped(entry.name))\": target \"\(clipped(String(decoding: entry.link, as: UTF8.self)))\""
                    + " is not in the layer")
        }
        guard !from.isDirectory else { throw unsafe("hard link \"\(clipped(entry.name))\" to a directory") }
        // To itself: nothing to do, and nothing to remove first.
        var place = place
        if linkat(source.fd, target, place.fd, name, 0) == 0 { return }
        guard errno == EEXIST else { throw failure("link", entry, errno) }
        if try isSame(source, target, place, name) { return }
        _ = try clear(place, name)
        // What was in the way may have held the target's directory.
        place = try parent(Array(Self.clean(entry.path).dropLast()))
        guard linkat(source.fd, target, place.fd, name, 0) == 0 else { throw failure("link", entry, errno) }
    }

    func isSame(
        _ a: ImageFile, _ aName: [CChar], _ b: ImageFile, _ bName: [CChar]
    ) throws(ImageError) -> Bool {
        var (x, y) = (stat(), stat())
        return fstatat(a.fd, aName, &x, AT_SYMLINK_NOFOLLOW) == 0 && fstatat(b.fd, bName, &y, AT_SYMLINK_NOFOLLOW) == 0
            && x.st_ino == y.st_ino && x.st_dev == y.st_dev
    }

    func makeNode(_ entry: TarEntry, _ place: ImageFile, _ name: [CChar]) throws(ImageError) {
        let kind: UInt32 =
            switch entry.kind {
            case .characterDevice: FileKind.character
            case .blockDevice: FileKind.block
            default: FileKind.fifo
            }
        // Where none may be made (user namespaces) they would be of no use either: containers' /dev is another.
        if entry.kind != .fifo, !IDMap.users.isInitial { return }
        let mode = kind | entry.mode
        var code = k3s_file_mknodat(place.fd, name, mode, entry.deviceMajor, entry.deviceMinor)
        if code == -EEXIST {
            _ = try clear(place, name)
            code = k3s_file_mknodat(place.fd, name, mode, entry.deviceMajor, entry.deviceMinor)
        }
        try check(code, "create", entry)
        try setNodeAttributes(place, name, entry)
    }

    /// Whiteouts speak of the layers below only: what this layer itself has at the name stays.
    func whiteout(_ hidden: [UInt8], _ place: ImageFile, _ entry: TarEntry) throws(ImageError) {
        guard !hidden.isEmpty, hidden != Array(".".utf8), hidden != Array("..".utf8) else {
            throw unsafe("whiteout \"\(clipped(entry.name))\" without a name")
        }
        let name = hidden.map { CChar(bitPattern: $0) } + [0]
        let code = k3s_file_mknodat(place.fd, name, FileKind.character, 0, 0)
        if code == -EEXIST {
            var info = k3s_file_info()
            try check(k3s_file_stat(place.fd, name, &info), "look at", entry)
            if info.isDirectory { try markOpaque(try open(place, name, entry.name)) }
            return
        }
        try check(code, "create whiteout", entry)
    }
}
