import Linux
import Synchronization

/// Where things are below the store's root. Everything is made elsewhere (ingest, staging) and renamed into place, so
/// what has its final name is whole; what is left in the working directories at start is thrown away.
struct StorePaths: Sendable {
    let root: String

    /// Unverified bytes coming in.
    var ingest: String { root + "/ingest" }
    /// Layers being unpacked or removed.
    var staging: String { root + "/staging" }
    var snapshots: String { root + "/snapshots" }
    var blobs: String { root + "/content/blobs/sha256" }
    var images: String { root + "/images" }
    /// Which archives have been imported.
    var imports: String { root + "/imports.json" }
    var lock: String { root + "/lock" }
    /// Root of images without layers.
    var empty: String { root + "/empty" }

    func blob(_ digest: Digest) -> String { blobs + "/" + digest.hex }
    func image(_ id: Digest) -> String { images + "/" + id.hex + ".json" }
    func snapshot(_ chain: Digest) -> String { snapshots + "/" + LayerRecord.directoryName(chain) }
    /// What overlayfs gets.
    func files(_ chain: Digest) -> String { snapshot(chain) + "/fs" }

    func prepare() throws(ImageError) {
        try ImageFS.makeDirectory(root)
        // Containers of any user pass through to their root file system.
        guard chmod(root, 0o711) == 0 else { throw ioError("chmod", root) }
        for path in [ingest, staging, blobs, images] { try ImageFS.makeDirectory(path) }
        try ImageFS.makeDirectory(snapshots, 0o711)
        try ImageFS.makeDirectory(empty, 0o755)
    }
}

/// Lets a few tasks pass at a time; the others wait in line.
final class TaskLimiter: Sendable {
    private struct State {
        var free: Int
        var waiting: [CheckedContinuation<Void, Never>] = []
    }
    private let state: Mutex<State>

    init(_ limit: Int) { state = Mutex(State(free: max(1, limit))) }

    func run<T>(_ work: () async throws(ImageError) -> T) async throws(ImageError) -> T {
        await withCheckedContinuation { continuation in
            let now = state.withLock { state in
                if state.free > 0 {
                    state.free -= 1
                    return true
                }
                state.waiting.append(continuation)
                return false
            }
            if now { continuation.resume() }
        }
        defer {
            let next = state.withLock { state -> CheckedContinuation<Void, Never>? in
                if state.waiting.isEmpty {
                    state.free += 1
                    return nil
                }
                return state.waiting.removeFirst()
            }
            next?.resume()
        }
        return try await work()
    }
}
