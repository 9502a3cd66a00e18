import CShims
import Codecs
import Linux

/// The members of an image archive (`docker save`, `skopeo copy … oci-archive:`, k3s's air-gap files) by name. The data
/// of an uncompressed archive stays where it is; a compressed one is read once and its members put into files.
final class ImageArchive: @unchecked Sendable {
    static let maxEntries = 100_000

    private var regions: [String: FileRegion] = [:]
    /// Symbolic and hard links: older `docker save` stores a layer shared by two images once.
    private var links: [String: String] = [:]
    /// Files that hold the members of a compressed archive; they go with this object.
    private var spooled: [Ingest] = []
    let path: String

    /// Blocks. `spool` names the next temporary file; `limit` bounds what a compressed archive may unpack to.
    init(
        path: String, limits: LayerLimits, sha256: @escaping SHA256Factory, spool: () -> String
    ) throws(ImageError) {
        self.path = path
        let region = try ImageFile.open(path, O_RDONLY).region()
        let plain = Compression(magic: try ImageFS.read(region.file, at: 0, count: Int(min(region.size, 6)))) == .none
        let source = MeteredSource(
            try region.decompressed(zstdWindowLog: limits.zstdWindowLog, name: path), hash: nil, limit: limits.bytes,
            name: path)
        let tar = TarReader(plain ? FileRegionSource(region) : source, name: path, maxEntries: Self.maxEntries)
        while let entry = try tar.next() {
            let name = Self.normalize(entry.path)
            switch entry.kind {
            case .file:
                if plain {
                    regions[name] = FileRegion(file: region.file, offset: tar.position, size: entry.size)
                } else {
                    regions[name] = try self.spool(tar, entry.size, Ingest(path: spool(), sha256: sha256), limits)
                }
            case .symlink:
                let directory = name.lastIndex(of: "/").map { String(name[...$0]) } ?? ""
                let target = String(decoding: entry.link, as: UTF8.self)
                links[name] = Self.normalize(Array((target.hasPrefix("/") ? target : directory + target).utf8))
            case .hardLink: links[name] = Self.normalize(entry.link)
            default: break
            }
        }
    }

    private func spool(
        _ tar: TarReader, _ size: Int64, _ ingest: Ingest, _ limits: LayerLimits
    ) throws(ImageError) -> FileRegion {
        var left = size
        var unchecked: Int64 = 0
        while left > 0 {
            let n = try tar.withData { (data: UnsafeRawBufferPointer) throws(ImageError) -> Int in
                try ingest.appendBlocking(data)
                return data.count
            }
            left -= Int64(n)
            unchecked += Int64(n)
            if unchecked >= 16 << 20 {
                unchecked = 0
                let free = k3s_file_free_bytes(ingest.region().file.fd)
                guard free < 0 || free >= limits.freeBytes else {
                    throw ImageError(.io, "\(path): no space left on device: \(free) bytes are free")
                }
            }
        }
        spooled.append(ingest)
        return ingest.region()
    }

    /// "./a//b/../c" is "a/c".
    private static func normalize(_ path: [UInt8]) -> String {
        String(decoding: Array(LayerUnpacker.clean(path).joined(separator: [UInt8(ascii: "/")])), as: UTF8.self)
    }

    /// A member, through its links; nil: there is none.
    func member(_ name: String) -> FileRegion? {
        var name = Self.normalize(Array(name.utf8))
        for _ in 0..<16 {
            if let region = regions[name] { return region }
            guard let target = links[name] else { return nil }
            name = target
        }
        return nil
    }

    /// The bytes of a small member; nil: there is none.
    func read(_ name: String) throws(ImageError) -> [UInt8]? {
        guard let region = member(name) else { return nil }
        guard region.size <= Int64(ManifestDocument.maxBytes) else {
            throw invalidManifest("\(path): \(clipped(name))", "larger than \(ManifestDocument.maxBytes) bytes")
        }
        let bytes = try ImageFS.read(region.file, at: region.offset, count: Int(region.size))
        guard Int64(bytes.count) == region.size else { throw invalidManifest(path, "unexpected end of archive") }
        return bytes
    }

    func json(_ name: String) throws(ImageError) -> JSON? {
        guard let bytes = try read(name) else { return nil }
        return try ManifestDocument.parse(bytes, "\(path): \(name)")
    }
}

/// One image of an archive, ready to be unpacked.
struct ArchivedImage: Sendable {
    var id: Digest
    var config: [UInt8]
    var document: ImageDocument
    /// Normalised references; those with a tag become tags.
    var names: [ImageReference] = []
    /// Digest of its manifest (of the index, where there is one); nil in a docker archive, which has none.
    var target: Digest?
    /// Index and manifest.
    var documents: [(digest: Digest, bytes: [UInt8])] = []
    var layers: [FileRegion]
    var labels: [String]
}
