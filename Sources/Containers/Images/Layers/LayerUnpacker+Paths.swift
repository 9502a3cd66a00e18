import CShims
import Linux

/// Finding and making the directory that an entry belongs to, without ever leaving the layer.
extension LayerUnpacker {
    /// "a//./b/../c/" is a, c: as Go's `path.Clean("/" + p)`.
    static func clean(_ path: [UInt8]) -> [[UInt8]] {
        var result: [[UInt8]] = []
        for part in path.split(separator: UInt8(ascii: "/")) {
            if part.elementsEqual([UInt8(ascii: ".")]) { continue }
            if part.elementsEqual(Array("..".utf8)) {
                _ = result.popLast()
            } else {
                result.append(Array(part))
            }
        }
        return result
    }

    func parent(_ components: [[UInt8]]) throws(ImageError) -> ImageFile {
        let key = Array(components.joined(separator: [UInt8(ascii: "/")]))
        if let cached, cached.path == key { return cached.directory }
        guard let directory = try walk(components, create: true) else {
            throw invalid("directory \"\(clipped(String(decoding: key, as: UTF8.self)))\" cannot be made")
        }
        cached = (key, directory)
        return directory
    }

    /// Opens a directory of the layer; with `create`, missing ones are made on the way. nil (only without `create`):
    /// there is none.
    func walk(_ components: [[UInt8]], create: Bool) throws(ImageError) -> ImageFile? {
        var stack = [root]
        var real: [[UInt8]] = []
        var pending = Array(components.reversed())
        var links = 0
        while let part = pending.popLast() {
            if part.isEmpty || part == [UInt8(ascii: ".")] { continue }
            if part == Array("..".utf8) {
                if stack.count > 1 {
                    stack.removeLast()
                    real.removeLast()
                }
                continue
            }
            guard stack.count < Self.maxDepth else { throw unsafe("directories nested deeper than \(Self.maxDepth)") }
            switch try step(stack, part, real, create: create) {
            case .directory(let next):
                stack.append(next)
                real.append(part)
            case .link(let target):
                links += 1
                guard links <= Self.maxSymlinks else {
                    throw unsafe("too many levels of symbolic links in \"\(Self.text(components))\"")
                }
                if target.first == UInt8(ascii: "/") {
                    stack.removeLast(stack.count - 1)
                    real.removeAll()
                }
                pending.append(contentsOf: target.split(separator: UInt8(ascii: "/")).reversed().map(Array.init))
                guard pending.count <= 4 * TarReader.maxPathBytes else {
                    throw unsafe("symbolic links expand without end in \"\(Self.text(components))\"")
                }
            case .missing: return nil
            }
        }
        return stack[stack.count - 1]
    }

    enum Step {
        case directory(ImageFile)
        case link([UInt8])
        case missing
    }

    func step(
        _ stack: [ImageFile], _ part: [UInt8], _ real: [[UInt8]], create: Bool
    ) throws(ImageError) -> Step {
        let here = stack[stack.count - 1]
        let name = part.map { CChar(bitPattern: $0) } + [0]
        let path = Self.text(real + [part])
        let fd = k3s_file_openat(here.fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0)
        if fd >= 0 { return .directory(ImageFile(adopting: fd, path: path)) }
        var replaceWhiteout = false
        switch -fd {
        case ENOENT: break
        case ENOTDIR, ELOOP:
            var info = k3s_file_info()
            let code = k3s_file_stat(here.fd, name, &info)
            guard code == 0 else { throw ioError("\(self.name): stat", clipped(path), -code) }
            if info.isSymlink { return .link(try LowerLayers.readLink(here.fd, name, path)) }
            guard info.isWhiteout else {
                if !create { return .missing }
                throw invalid("\"\(clipped(path))\" is not a directory, but has entries")
            }
            replaceWhiteout = true
        default: throw ioError("\(self.name): open", clipped(path), -fd)
        }
        guard create else { return .missing }
        let hidden = replaceWhiteout || hidesBelow || stack.contains(where: LowerLayers.isOpaque)
        let model = hidden ? nil : try below.find(real + [part])
        if let model, case .symlink(let target) = model { return .link(target) }
        if replaceWhiteout, unlinkat(here.fd, name, 0) != 0 { throw ioError("\(self.name): unlink", clipped(path)) }
        guard mkdirat(here.fd, name, 0o755) == 0 else { throw ioError("\(self.name): mkdir", clipped(path)) }
        let made = try open(here, name, path)
        if replaceWhiteout { try markOpaque(made) }
        if let model, case .directory(let original) = model {
            try LowerLayers.copyAttributes(from: original, to: made)
        } else if fchmod(made.fd, 0o755) != 0 {
            throw ioError("\(self.name): chmod", clipped(path))
        }
        return .directory(made)
    }

    func open(_ place: ImageFile, _ name: [CChar], _ path: String) throws(ImageError) -> ImageFile {
        let fd = k3s_file_openat(place.fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0)
        guard fd >= 0 else { throw ioError("\(self.name): open", clipped(path), -fd) }
        return ImageFile(adopting: fd, path: path)
    }

    /// Removes what is in the way of an entry. True: it was a whiteout.
    func clear(_ place: ImageFile, _ name: [CChar]) throws(ImageError) -> Bool {
        var info = k3s_file_info()
        let code = k3s_file_stat(place.fd, name, &info)
        if code == -ENOENT { return false }
        guard code == 0 else { throw ioError("\(self.name): stat", clipped(place.path), -code) }
        if info.isDirectory || info.isSymlink { cached = nil }
        try ImageFS.removeTree(place.fd, name, path: place.path, depth: 0)
        return info.isWhiteout
    }
}
