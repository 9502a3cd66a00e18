import Linux

/// Bytes to be read once, front to back, on a blocking thread.
protocol ByteSource: AnyObject {
    /// Fills the front of `buffer`; the number of bytes, 0 only at the end.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int
    /// Passes over up to `count` bytes where that is free; the number passed, 0 where they must be read.
    func skip(_ count: Int64) -> Int64
}

extension ByteSource {
    func skip(_ count: Int64) -> Int64 { 0 }
}

/// A part of a file that stays where it is: a downloaded blob, or an entry of an archive that is not compressed.
struct FileRegion: Sendable {
    var file: ImageFile
    var offset: Int64
    var size: Int64
}

final class FileRegionSource: ByteSource {
    private let region: FileRegion
    private var position: Int64 = 0

    init(_ region: FileRegion) { self.region = region }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
        let count = Int(min(Int64(buffer.count), region.size - position))
        guard count > 0 else { return 0 }
        let n = try region.file.pread(
            UnsafeMutableRawBufferPointer(rebasing: buffer[..<count]), at: region.offset + position)
        guard n > 0 else {
            throw ImageError(.io, "read \(region.file.path): unexpected end of file")
        }
        position += Int64(n)
        return n
    }

    func skip(_ count: Int64) -> Int64 {
        let skipped = min(count, region.size - position)
        position += skipped
        return skipped
    }
}

/// Bytes in memory.
final class ArraySource: ByteSource {
    private let bytes: [UInt8]
    private var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
        let count = min(buffer.count, bytes.count - position)
        guard count > 0 else { return 0 }
        bytes.withUnsafeBytes {
            buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[position..<position + count]))
        }
        position += count
        return count
    }
}

/// Counts and hashes what passes, and stops at a limit: a small archive that unpacks without end is refused here.
final class MeteredSource: ByteSource {
    private let source: any ByteSource
    private let hash: (any SHA256Hashing)?
    private let limit: Int64
    private let name: String
    private(set) var count: Int64 = 0

    init(_ source: any ByteSource, hash: (any SHA256Hashing)?, limit: Int64, name: String) {
        (self.source, self.hash, self.limit, self.name) = (source, hash, limit, name)
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
        let n = try source.read(into: buffer)
        count += Int64(n)
        guard count <= limit else {
            throw ImageError(.unsafeLayer, "\(name): unpacks to more than the limit of \(limit) bytes")
        }
        if n > 0 { hash?.update(UnsafeRawBufferPointer(rebasing: buffer[..<n])) }
        return n
    }

    /// Reads to the end, so that padding after a tar's last entry is hashed too.
    func drain() throws(ImageError) {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 16)
        defer { buffer.deallocate() }
        while try read(into: buffer) > 0 {}
    }

    func digest() -> Digest? { hash.map { Digest(hash: $0.finish()) } }
}
