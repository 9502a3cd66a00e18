import CShims
import Linux

/// The unpacked layers below the one being unpacked, seen as overlayfs would show them.
struct LowerLayers: Sendable {
    enum Found {
        case directory(ImageFile)
        /// Its target.
        case symlink([UInt8])
        case other
    }

    /// Root directories, topmost first.
    let directories: [ImageFile]

    init(_ directories: [ImageFile]) { self.directories = directories }

    /// What the merged layers have at a path whose leading components are real directories. nil: nothing.
    func find(_ path: [[UInt8]]) throws(ImageError) -> Found? {
        for layer in directories {
            switch try Self.find(path, in: layer) {
            case .found(let found): return found
            case .hidden: return nil
            case .absent: continue
            }
        }
        return nil
    }

    private enum Answer {
        case found(Found)
        /// The layer has nothing there and hides what is below.
        case hidden
        case absent
    }

    private static func find(_ path: [[UInt8]], in layer: ImageFile) throws(ImageError) -> Answer {
        var current = layer
        var opaque = false
        for (index, part) in path.enumerated() {
            let name = part.map { CChar(bitPattern: $0) } + [0]
            var info = k3s_file_info()
            let code = k3s_file_stat(current.fd, name, &info)
            if code == -ENOENT { return opaque ? .hidden : .absent }
            guard code == 0 else { throw ioError("stat", layer.path, -code) }
            if info.isWhiteout { return .hidden }
            if info.isDirectory {
                let fd = k3s_file_openat(current.fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0)
                guard fd >= 0 else { throw ioError("open", layer.path, -fd) }
                current = ImageFile(adopting: fd, path: layer.path)
                opaque = opaque || isOpaque(current)
                if index == path.count - 1 { return .found(.directory(current)) }
                continue
            }
            guard index == path.count - 1 else { return .hidden }
            return .found(info.isSymlink ? .symlink(try readLink(current.fd, name, layer.path)) : .other)
        }
        return .found(.directory(current))
    }

    static func isOpaque(_ directory: ImageFile) -> Bool {
        var value: UInt8 = 0
        return k3s_file_getxattr(directory.fd, LayerUnpacker.opaqueAttribute, &value, 1) == 1
            && value == UInt8(ascii: "y")
    }

    static func readLink(_ directory: Int32, _ name: [CChar], _ path: String) throws(ImageError) -> [UInt8] {
        var buffer = [CChar](repeating: 0, count: TarReader.maxPathBytes + 1)
        let n = readlinkat(directory, name, &buffer, buffer.count)
        guard n >= 0 else { throw ioError("readlink", path) }
        return buffer[..<n].map { UInt8(bitPattern: $0) }
    }

    /// Owner, mode, times and extended attributes, but not overlayfs's marks.
    static func copyAttributes(from source: ImageFile, to target: ImageFile) throws(ImageError) {
        let info = try source.info()
        guard fchown(target.fd, info.uid, info.gid) == 0 else { throw ioError("chown", target.path) }
        guard fchmod(target.fd, mode_t(info.mode & 0o7777)) == 0 else { throw ioError("chmod", target.path) }
        var names = [CChar](repeating: 0, count: 64 << 10)
        let length = Int(k3s_file_listxattr(source.fd, &names, names.count))
        guard length > 0 else { return }
        for name in names[..<length].split(separator: 0)
        where LayerUnpacker.isWanted(name.map { UInt8(bitPattern: $0) }) {
            let key = Array(name) + [0]
            var value = [UInt8](repeating: 0, count: 64 << 10)
            let size = Int(k3s_file_getxattr(source.fd, key, &value, value.count))
            if size >= 0 { _ = k3s_file_setxattr(target.fd, key, value, size) }
        }
    }
}
