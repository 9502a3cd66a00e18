package import Codecs
package import Linux

/// What of a log is asked for (core/v1.PodLogOptions).
package struct LogOptions: Sendable, Equatable {
    package var follow = false
    package var timestamps = false
    package var tailLines: Int64?
    package var since: Timestamp?
    package var limitBytes: Int64?
    package var stdout = true
    package var stderr = true
    package init() {}
}

/// Reads a container's log file piece by piece: from where the options say, to the end, and on through what is appended
/// later, across rotation (the file is renamed and a new one takes its name).
package struct LogReader: ~Copyable {
    private let path: String
    private let options: LogOptions
    private var file: FileDescriptor
    private var inode: UInt64
    private var open: [UInt8] = []
    private var left: Int64
    /// The last record was a partial one: the next goes on in the same line.
    private var continues = false

    private static let piece = 32 << 10
    /// A record is at most 16 KiB and its head; what is longer is not of the shim's making.
    private static let longest = 256 << 10

    package init(path: String, options: LogOptions) throws(SysError) {
        let opened = try FileDescriptor.open(path, O_RDONLY)
        let status = try opened.status()
        if let lines = options.tailLines { Self.seek(opened.raw, size: Int64(status.st_size), toLast: lines) }
        self.init(path, options, opened, inode: UInt64(status.st_ino))
    }

    /// Apart from what throws, after which Swift 6.2 would let go of the initial values twice.
    private init(_ path: String, _ options: LogOptions, _ file: consuming FileDescriptor, inode: UInt64) {
        (self.path, self.options, self.inode) = (path, options, inode)
        left = options.limitBytes ?? .max
        self.file = file
    }

    /// All of `limitBytes` has been given.
    package var isExhausted: Bool { left <= 0 }

    /// The next text; nil: nothing more for now.
    package mutating func next() throws(SysError) -> [UInt8]? {
        while !isExhausted {
            var buffer = [UInt8](repeating: 0, count: Self.piece)
            let count = try buffer.withUnsafeMutableBytesTyped { (bytes) throws(SysError) in try file.read(into: bytes)
            }
            guard count > 0 else { return nil }
            open.append(contentsOf: buffer[..<count])
            let text = takeLines()
            if open.count > Self.longest { open.removeAll() }
            if !text.isEmpty { return text }
        }
        return nil
    }

    /// Goes over to the new file where the old one was rotated away. True: there is something new to read.
    package mutating func reopen() -> Bool {
        guard let status = try? Files.status(path), UInt64(status.st_ino) != inode,
            let next = try? FileDescriptor.open(path, O_RDONLY), let opened = try? next.status()
        else { return false }
        file = next
        inode = UInt64(opened.st_ino)
        open = []
        return true
    }

    private mutating func takeLines() -> [UInt8] {
        guard let end = open.lastIndex(of: 0x0A) else { return [] }
        var out: [UInt8] = []
        for line in open[..<end].split(separator: 0x0A) {
            guard left > 0 else { break }
            guard let record = LogRecord(line) else { continue }
            guard record.isError ? options.stderr : options.stdout else { continue }
            if let since = options.since {
                guard let time = record.timestamp, time >= since else { continue }
            }
            let start = out.count
            if options.timestamps, !continues {
                out.append(contentsOf: record.time)
                out.append(0x20)
            }
            out.append(contentsOf: record.text)
            if !record.isPartial { out.append(0x0A) }
            continues = record.isPartial
            let added = Int64(out.count - start)
            if added > left { out.removeLast(Int(added - left)) }
            left -= added
        }
        open.removeSubrange(...end)
        return out
    }

    /// Reads backwards in blocks until enough line ends are seen.
    private static func seek(_ raw: Int32, size: Int64, toLast lines: Int64) {
        var position = size
        var found: Int64 = 0
        guard lines > 0 else {
            lseek(raw, off_t(size), SEEK_SET)
            return
        }
        while position > 0 {
            let length = min(position, Int64(piece))
            position -= length
            var block = [UInt8](repeating: 0, count: Int(length))
            let got = pread(raw, &block, Int(length), off_t(position))
            guard got > 0 else { break }
            for index in stride(from: got - 1, through: 0, by: -1) where block[index] == 0x0A {
                // The end of the last line is not the start of one.
                if position + Int64(index) == size - 1 { continue }
                found += 1
                if found == lines {
                    lseek(raw, off_t(position + Int64(index) + 1), SEEK_SET)
                    return
                }
            }
        }
        lseek(raw, 0, SEEK_SET)
    }
}

extension [UInt8] {
    /// `withUnsafeMutableBytes` with a typed error.
    mutating func withUnsafeMutableBytesTyped<R, E: Error>(
        _ body: (UnsafeMutableRawBufferPointer) throws(E) -> R
    ) throws(E) -> R {
        let result = withUnsafeMutableBytes { buffer -> Result<R, E> in
            do throws(E) { return .success(try body(buffer)) } catch { return .failure(error) }
        }
        return try result.get()
    }
}
