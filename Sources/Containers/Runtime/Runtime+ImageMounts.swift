import Codecs
import Linux
import Logging
import Synchronization

// Image volumes (KEP-4639): an image's layers mounted read-only on the node, from where containers bind them. A note for
// each says which image it is, for as long as it is mounted: across restarts, too.

extension Runtime {
    private var notes: String { configuration.root + "/image-mounts" }

    package func mountImage(_ id: String, at path: String) async throws(RuntimeError) {
        let layers: [String]
        do throws(ImageError) { layers = try await snapshotter.lowerDirectories(imageID: id) } catch {
            throw RuntimeError(.imageNotPresent, "image \"\(id)\": \(error.message)")
        }
        let notes = notes
        let note: JSON = ["image": .string(id), "path": .string(path)]
        let bytes = note.encode()
        try await onDisk(.io, "mount image \(id)") { () throws(SysError) in
            try Directories.make(path, mode: 0o755)
            if try Mounts.isMountPoint(path) { return }
            try Directories.make(notes, mode: 0o700)
            try Files.writeAtomically("\(notes)/\(Runtime.newID().prefix(16)).json", bytes, mode: 0o600)
            try Mounts.mountLayers(layers, at: path)
        }
    }

    /// By a container or by a volume.
    package func isInUse(image id: String) async -> Bool {
        if state.withLock({ $0.containers.values.contains { $0.status.imageID == id } }) { return true }
        let notes = notes
        let mounted = try? await onDisk(.io, "image mounts") { () throws(SysError) -> Bool in
            guard Files.isDirectory(notes) else { return false }
            let points = Set(try MountInfo.current().map(\.mountPoint))
            var found = false
            for entry in try Directories.list(notes) {
                let file = notes + "/" + entry.name
                let note = (try? JSON.parse(Files.read(file))) ?? .null
                if let path = note["path"].string, points.contains(path) {
                    if note["image"].string == id { found = true }
                } else {
                    try Files.remove(file)
                }
            }
            return found
        }
        // What cannot be found out stays.
        return mounted ?? true
    }
}
