import CShims
import Codecs
import Linux
import Logging
import Synchronization

/// What the import of a directory did.
package struct ImportReport: Sendable {
    package var imported: [ImageInfo] = []
    /// Files that did not change since they were imported.
    package var unchanged: [String] = []
    /// One message per bad file, naming it.
    package var errors: [ImageError] = []
}

extension ImageStore {
    static let archiveSuffixes = [
        ".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst", ".tar.lz4", ".tar.bz2", ".tbz", ".txt",
    ]

    /// Imports all archives below `<data-dir>/agent/images` and pulls what its .txt files list, one reference a line;
    /// all of these images are pinned, and images pinned by files that are gone are unpinned. A bad file is an error
    /// of its own, the others go on.
    ///
    /// A file of unchanged size and time whose images are all still here is not imported again. With `.cache.json` in
    /// the directory (k3s: the user makes it, empty), it is not imported again even if its images were removed.
    package func importDirectory(_ directory: String) async -> ImportReport {
        var report = ImportReport()
        let cacheFile = directory + "/.cache.json"
        let userCache = ImageFS.exists(cacheFile)
        var old = ImportCache(paths.imports, logger: logger)
        if userCache { old.merge(ImportCache(cacheFile, logger: logger)) }
        var new = ImportCache()
        let files: [(path: String, size: Int64, modified: Int64)]
        do throws(ImageError) {
            files = try await BlockingPool.images.run { () throws(ImageError) in try Self.archives(directory, depth: 0)
            }
        } catch {
            report.errors.append(error)
            return report
        }
        for file in files {
            if let entry = old.entries[file.path], entry.size == file.size, entry.modified == file.modified,
                userCache || present(entry.images)
            {
                new.entries[file.path] = entry
                report.unchanged.append(file.path)
                continue
            }
            do throws(ImageError) {
                let infos = try await file.path.hasSuffix(".txt") ? pullList(file.path) : importArchive(path: file.path)
                report.imported += infos
                new.entries[file.path] = .init(
                    size: file.size, modified: file.modified, images: infos.map(\.id))
            } catch {
                logger.error("\(error.message)")
                report.errors.append(error)
            }
        }
        do throws(ImageError) {
            try await setPinned(Set(new.entries.values.flatMap(\.images)))
            let bytes = new.encode()
            let paths = self.paths
            try await BlockingPool.images.run { () throws(ImageError) in
                try ImageFS.writeAtomically(paths.imports, bytes)
                if userCache { try ImageFS.writeAtomically(cacheFile, bytes, mode: 0o644) }
            }
        } catch {
            report.errors.append(error)
        }
        return report
    }

    private func present(_ ids: [String]) -> Bool {
        state.withLock { state in
            ids.allSatisfy { id in (try? Digest(id)).map { state.images[$0] != nil } ?? false }
        }
    }

    private func pullList(_ path: String) async throws(ImageError) -> [ImageInfo] {
        let bytes = try ImageFS.read(path, limit: 1 << 20) ?? []
        var infos: [ImageInfo] = []
        for line in String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline) {
            let text = line.drop { $0 == " " || $0 == "\t" }.prefix { $0 != " " && $0 != "\t" }
            if text.isEmpty || text.hasPrefix("#") { continue }
            do throws(ImageError) {
                infos.append(try await pull(String(text), credentials: nil))
            } catch {
                throw ImageError(error.code, "\(path): \(error.message)")
            }
        }
        return infos
    }

    /// Exactly these images are pinned.
    private func setPinned(_ ids: Set<String>) async throws(ImageError) {
        try await BlockingPool.images.run { [self] () throws(ImageError) in
            try changing { (_) throws(ImageError) in
                let changed = state.withLock { state in
                    state.images.values.filter { $0.pinned != ids.contains($0.id.description) }
                }
                for var record in changed {
                    record.pinned.toggle()
                    try ImageFS.writeAtomically(paths.image(record.id), record.encode())
                    state.withLock { $0.images[record.id] = record }
                }
            }
        }
    }

    /// Files with a known suffix, in the order of their names; hidden ones are left out. Blocks.
    private static func archives(
        _ directory: String, depth: Int
    ) throws(ImageError) -> [(path: String, size: Int64, modified: Int64)] {
        guard depth < 16 else { return [] }
        var result: [(path: String, size: Int64, modified: Int64)] = []
        for name in try ImageFS.names(directory) where !name.hasPrefix(".") {
            let path = directory + "/" + name
            // Links to archives on another disk are followed.
            let fd = k3s_file_openat(AT_FDCWD, path, O_RDONLY | O_NONBLOCK, 0)
            guard fd >= 0 else { continue }
            let info = try ImageFile(adopting: fd, path: path).info()
            if info.isDirectory {
                result += try archives(path, depth: depth + 1)
            } else if info.isRegular, archiveSuffixes.contains(where: { name.hasSuffix($0) }) {
                result.append((path, info.size, info.mtime_sec &* 1_000_000_000 &+ info.mtime_nsec))
            }
        }
        return result
    }
}

/// Size, time and images of the archives already imported, by path.
struct ImportCache: Sendable {
    struct Entry: Sendable, Equatable {
        var size: Int64
        /// Nanoseconds since the epoch.
        var modified: Int64
        var images: [String]
    }
    var entries: [String: Entry] = [:]

    init() {}

    /// A cache that cannot be read is an empty one: the archives are imported again.
    init(_ path: String, logger: Logger) {
        do throws(ImageError) {
            guard let bytes = try ImageFS.read(path, limit: 4 << 20), !bytes.isEmpty else { return }
            let json = try ManifestDocument.parse(bytes, path)
            for (file, value) in json.object?.members ?? [] {
                guard let size = value["size"].int, let modified = value["modTime"].int else { continue }
                entries[file] = Entry(
                    size: size, modified: modified, images: value["images"].elements.compactMap(\.string))
            }
        } catch {
            logger.warning("ignoring the cache of imported images: \(error.message)")
        }
    }

    mutating func merge(_ other: ImportCache) { entries.merge(other.entries) { mine, _ in mine } }

    func encode() -> [UInt8] {
        var object = JSONObject()
        for (file, entry) in entries.sorted(by: { $0.key < $1.key }) {
            object[file] = [
                "size": .int(entry.size), "modTime": .int(entry.modified), "images": .strings(entry.images),
            ]
        }
        return JSON.object(object).encode()
    }
}
