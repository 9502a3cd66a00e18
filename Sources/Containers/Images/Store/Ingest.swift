import Linux

/// A blob on its way in: written to a file of its own and hashed as it comes, so that nothing unverified ever carries a
/// digest as its name. Used by one task at a time; the file goes with the object unless it is moved away.
final class Ingest: @unchecked Sendable {
    /// Bytes are handed to the disk in pieces of this size.
    private static let batch = 256 << 10

    let path: String
    private let file: ImageFile
    private let sha256: SHA256Factory
    private var hash: any SHA256Hashing
    private var pending: [UInt8] = []
    private var moved = false
    /// Bytes taken so far.
    private(set) var count: Int64 = 0

    init(path: String, sha256: @escaping SHA256Factory) throws(ImageError) {
        self.path = path
        self.sha256 = sha256
        file = try ImageFile.open(path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW)
        hash = sha256()
    }

    deinit { if !moved { unlink(path) } }

    func append(_ bytes: [UInt8]) async throws(ImageError) {
        pending.append(contentsOf: bytes)
        count += Int64(bytes.count)
        if pending.count >= Self.batch { try await flush() }
    }

    /// The same, on a thread that may block.
    func appendBlocking(_ bytes: UnsafeRawBufferPointer) throws(ImageError) {
        try file.writeAll(bytes)
        hash.update(bytes)
        count += Int64(bytes.count)
    }

    private func flush() async throws(ImageError) {
        guard !pending.isEmpty else { return }
        let bytes = pending
        pending.removeAll(keepingCapacity: true)
        let (file, hash) = (self.file, self.hash)
        try await BlockingPool.images.run { () throws(ImageError) in
            hash.update(bytes)
            try bytes.withBytes { (raw: UnsafeRawBufferPointer) throws(ImageError) in try file.writeAll(raw) }
        }
    }

    func restart() async throws(ImageError) {
        pending.removeAll()
        count = 0
        hash = sha256()
        let file = self.file
        try await BlockingPool.images.run { () throws(ImageError) in try file.truncate(to: 0) }
    }

    /// The wording is containerd's, which people search for.
    func verify(_ descriptor: Descriptor, _ label: String) async throws(ImageError) {
        try await flush()
        guard count == descriptor.size else {
            throw ImageError(
                .digestMismatch,
                "failed commit on ref \"\(label)\": failed size validation: \(count) != \(descriptor.size): failed precondition"
            )
        }
        let digest = Digest(hash: hash.finish())
        guard digest == descriptor.digest else {
            throw ImageError(
                .digestMismatch,
                "failed commit on ref \"\(label)\": unexpected commit digest \(digest), expected \(descriptor.digest): "
                    + "failed precondition")
        }
    }

    /// Of what was taken; nothing may be added afterwards.
    func digest() -> Digest { Digest(hash: hash.finish()) }

    func region() -> FileRegion { FileRegion(file: file, offset: 0, size: count) }

    /// Makes the (verified) bytes durable under a new name.
    func move(to target: String) throws(ImageError) {
        try file.sync()
        try ImageFS.move(path, to: target)
        moved = true
    }
}
