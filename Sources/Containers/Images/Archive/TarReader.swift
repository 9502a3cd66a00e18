import Codecs

/// Reads a tar stream entry by entry, without ever holding a file in memory: ustar, GNU (long names, base-256 numbers)
/// and PAX (POSIX.1-2001) headers. Sparse files are refused.
final class TarReader {
    /// A PAX header with more than this is not metadata any more.
    static let maxExtensionBytes: Int64 = 1 << 20
    static let maxPathBytes = 4096
    /// No file system has larger files; sums of sizes below it cannot overflow.
    static let maxFileBytes: Int64 = 1 << 53

    private let source: any ByteSource
    private let name: String
    private let maxEntries: Int
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 16)
    private var bufferStart = 0
    private var bufferEnd = 0
    private var remaining: Int64 = 0
    private var padding: Int64 = 0
    private var entries = 0
    private var ended = false
    /// Bytes consumed so far; after `next()` the position of the entry's data.
    private(set) var position: Int64 = 0

    /// `name` starts every message, e.g. "layer sha256:…".
    init(_ source: any ByteSource, name: String, maxEntries: Int) {
        (self.source, self.name, self.maxEntries) = (source, name, maxEntries)
    }

    deinit { buffer.deallocate() }

    /// The next member, nil at the end. What is left of the previous member's data is skipped.
    func next() throws(ImageError) -> TarEntry? {
        if ended { return nil }
        try skip(remaining + padding)
        (remaining, padding) = (0, 0)
        var extensions = Extensions()
        while true {
            guard let block = try readBlock() else {
                ended = true
                if !extensions.isEmpty { throw invalid("archive ends after an extended header") }
                return nil
            }
            guard let header = try header(block) else {
                ended = true
                if !extensions.isEmpty { throw invalid("archive ends after an extended header") }
                return nil
            }
            entries += 1
            guard entries <= maxEntries else {
                throw ImageError(.unsafeLayer, "\(name): more than the limit of \(maxEntries) entries")
            }
            switch header.type {
            case UInt8(ascii: "x"): try readPax(header.size, into: &extensions)
            case UInt8(ascii: "g"): _ = try readExtension(header.size)
            case UInt8(ascii: "L"): extensions.path = TarHeader.string(try readExtension(header.size)[...])
            case UInt8(ascii: "K"): extensions.link = TarHeader.string(try readExtension(header.size)[...])
            default: return try finish(header, extensions)
            }
        }
    }

    /// Data of the current entry; 0 at its end.
    func read(into target: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
        let count = Int(min(Int64(target.count), remaining))
        guard count > 0 else { return 0 }
        try fill()
        guard bufferStart < bufferEnd else { throw invalid("unexpected end of archive inside a file") }
        let n = min(count, bufferEnd - bufferStart)
        target.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[bufferStart..<bufferStart + n]))
        consume(n)
        remaining -= Int64(n)
        return n
    }

    /// Data of the current entry without a copy: at most 64 KiB, valid until the next call; empty at its end.
    func withData<R>(_ body: (UnsafeRawBufferPointer) throws(ImageError) -> R) throws(ImageError) -> R {
        if remaining > 0 {
            try fill()
            guard bufferStart < bufferEnd else { throw invalid("unexpected end of archive inside a file") }
        }
        let n = Int(min(Int64(bufferEnd - bufferStart), remaining))
        let start = bufferStart
        consume(n)
        remaining -= Int64(n)
        return try body(UnsafeRawBufferPointer(rebasing: buffer[start..<start + n]))
    }

    // MARK: headers

    private struct Extensions {
        var path: [UInt8]?
        var link: [UInt8]?
        var size: Int64?
        var uid: UInt32?
        var gid: UInt32?
        var modified: (seconds: Int64, nanoseconds: Int64)?
        var xattrs: [(name: [UInt8], value: [UInt8])] = []
        var isEmpty: Bool {
            path == nil && link == nil && size == nil && uid == nil && gid == nil && modified == nil && xattrs.isEmpty
        }
    }

    private func header(_ block: [UInt8]) throws(ImageError) -> TarHeader? {
        do throws(TarError) { return try TarHeader(block) } catch { throw failure(error, nil) }
    }

    private func finish(_ header: TarHeader, _ extensions: Extensions) throws(ImageError) -> TarEntry {
        var entry: TarEntry
        do throws(TarError) { entry = try header.entry() } catch { throw failure(error, extensions.path) }
        if let path = extensions.path {
            entry.path = path
            if header.type == 0 || header.type == UInt8(ascii: "0") {
                entry.kind = path.last == UInt8(ascii: "/") ? .directory : .file
            }
        }
        if let link = extensions.link { entry.link = link }
        if let size = extensions.size { entry.size = size }
        if let uid = extensions.uid { entry.uid = uid }
        if let gid = extensions.gid { entry.gid = gid }
        if let time = extensions.modified { (entry.modified, entry.modifiedNanoseconds) = time }
        entry.xattrs = extensions.xattrs
        // Links, directories and devices carry no data, whatever their size field says (as Go's archive/tar reads them).
        if entry.kind != .file { entry.size = 0 }
        guard entry.size <= Self.maxFileBytes else { throw invalid("file of \(entry.size) bytes") }
        guard !entry.path.isEmpty else { throw invalid("entry without a name") }
        guard entry.path.count <= Self.maxPathBytes, entry.link.count <= Self.maxPathBytes else {
            throw invalid("name of more than \(Self.maxPathBytes) bytes: \(clipped(entry.name))")
        }
        guard !entry.path.contains(0), !entry.link.contains(0) else { throw invalid("NUL byte in a name") }
        remaining = entry.size
        padding = Int64(TarHeader.padding(entry.size))
        return entry
    }

    private func readPax(_ size: Int64, into extensions: inout Extensions) throws(ImageError) {
        let data = try readExtension(size)
        let records: [(key: String, value: ArraySlice<UInt8>)]
        do throws(TarError) { records = try TarHeader.records(data) } catch { throw failure(error, nil) }
        for record in records { try apply(record.key, record.value, to: &extensions) }
    }

    private func apply(_ key: String, _ value: ArraySlice<UInt8>, to extensions: inout Extensions) throws(ImageError) {
        func text() -> String { String(decoding: value, as: UTF8.self) }
        func bad() -> ImageError { invalid("invalid PAX value of \(key): \"\(clipped(text()))\"") }
        // An empty value takes a record back.
        switch key {
        case "path": extensions.path = value.isEmpty ? nil : Array(value)
        case "linkpath": extensions.link = value.isEmpty ? nil : Array(value)
        case "size":
            guard let size = Int64(text()), size >= 0 else { throw bad() }
            extensions.size = size
        case "uid", "gid":
            guard let number = Int64(text()) else { throw bad() }
            do throws(TarError) {
                let id = try TarHeader.id(number, key)
                if key == "uid" { extensions.uid = id } else { extensions.gid = id }
            } catch { throw bad() }
        case "mtime":
            if value.isEmpty { return extensions.modified = nil }
            guard let time = Self.time(text()) else { throw bad() }
            extensions.modified = time
        default:
            if key.hasPrefix("GNU.sparse.") {
                throw ImageError(.unsupported, "\(name): sparse files are not supported")
            }
            let prefix = "SCHILY.xattr."
            guard key.hasPrefix(prefix) else { return }
            let attribute = Array(key.utf8.dropFirst(prefix.utf8.count))
            guard !attribute.isEmpty, attribute.count <= 255, !attribute.contains(0) else { throw bad() }
            extensions.xattrs.append((attribute, Array(value)))
        }
    }

    /// "1350244992.023960108", also negative.
    static func time(_ text: String) -> (seconds: Int64, nanoseconds: Int64)? {
        let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        guard let whole = parts.first, var seconds = Int64(whole) else { return nil }
        var nanoseconds: Int64 = 0
        if parts.count == 2 {
            guard parts[1].utf8.allSatisfy({ (48...57).contains($0) }) else { return nil }
            var scale: Int64 = 100_000_000
            for digit in parts[1].utf8.prefix(9) {
                nanoseconds += Int64(digit - 48) * scale
                scale /= 10
            }
        }
        if whole.hasPrefix("-"), nanoseconds > 0 {
            guard seconds > Int64.min else { return nil }
            seconds -= 1
            nanoseconds = 1_000_000_000 - nanoseconds
        }
        return (seconds, nanoseconds)
    }

    private func readExtension(_ size: Int64) throws(ImageError) -> [UInt8] {
        guard size <= Self.maxExtensionBytes else {
            throw invalid("extended header of \(size) bytes, at most \(Self.maxExtensionBytes) expected")
        }
        var result: [UInt8] = []
        result.reserveCapacity(Int(size))
        while result.count < Int(size) {
            try fill()
            guard bufferStart < bufferEnd else { throw invalid("unexpected end of archive inside an extended header") }
            let n = min(Int(size) - result.count, bufferEnd - bufferStart)
            result.append(contentsOf: UnsafeRawBufferPointer(rebasing: buffer[bufferStart..<bufferStart + n]))
            consume(n)
        }
        try skip(Int64(TarHeader.padding(size)))
        return result
    }

    // MARK: blocks

    private func readBlock() throws(ImageError) -> [UInt8]? {
        var block: [UInt8] = []
        block.reserveCapacity(TarHeader.blockSize)
        while block.count < TarHeader.blockSize {
            try fill()
            if bufferStart == bufferEnd {
                if block.isEmpty { return nil }
                throw invalid("unexpected end of archive inside a header")
            }
            let n = min(TarHeader.blockSize - block.count, bufferEnd - bufferStart)
            block.append(contentsOf: UnsafeRawBufferPointer(rebasing: buffer[bufferStart..<bufferStart + n]))
            consume(n)
        }
        return block
    }

    private func skip(_ count: Int64) throws(ImageError) {
        var count = count
        while count > 0 {
            if bufferStart == bufferEnd {
                let skipped = source.skip(count)
                count -= skipped
                position += skipped
                if count == 0 { return }
            }
            try fill()
            guard bufferStart < bufferEnd else { throw invalid("unexpected end of archive inside a file") }
            let n = Int(min(count, Int64(bufferEnd - bufferStart)))
            consume(n)
            count -= Int64(n)
        }
    }

    private func fill() throws(ImageError) {
        guard bufferStart == bufferEnd else { return }
        (bufferStart, bufferEnd) = (0, 0)
        bufferEnd = try source.read(into: buffer)
    }

    private func consume(_ count: Int) {
        bufferStart += count
        position += Int64(count)
    }

    private func invalid(_ reason: String) -> ImageError { ImageError(.invalidManifest, "\(name): \(reason)") }

    private func failure(_ error: TarError, _ path: [UInt8]?) -> ImageError {
        let place = path.map { " (\(clipped(String(decoding: $0, as: UTF8.self))))" } ?? ""
        return ImageError(error.unsupported ? .unsupported : .invalidManifest, "\(name): \(error.reason)\(place)")
    }
}
