import CZlib
import Linux

package struct ZlibError: Error, Equatable, CustomStringConvertible {
    package var description: String
}

/// A streaming compressor over zlib.
struct Deflater: ~Copyable {
    enum Format {
        case zlib
        case gzip
    }

    enum Flush {
        case none
        case sync
        case finish
    }

    private let stream: UnsafeMutablePointer<z_stream>

    init(_ format: Format, level: Int32, dictionary: [UInt8]? = nil, smallWindow: Bool = false) throws(ZlibError) {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        let window: Int32 = (smallWindow ? 11 : 15) + (format == .gzip ? 16 : 0)
        let result = deflateInit2_(
            stream, level, Z_DEFLATED, window, smallWindow ? 3 : 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
            Int32(MemoryLayout<z_stream>.size))
        guard result == Z_OK else { throw ZlibError(description: "deflateInit: \(result)") }
        if let dictionary { deflateSetDictionary(stream, dictionary, UInt32(dictionary.count)) }
    }

    deinit {
        deflateEnd(stream)
        stream.deallocate()
    }

    mutating func compress(_ bytes: ArraySlice<UInt8>, flush: Flush) -> [UInt8] {
        let mode =
            switch flush {
            case .none: Z_NO_FLUSH
            case .sync: Z_SYNC_FLUSH
            case .finish: Z_FINISH
            }
        var out: [UInt8] = []
        var input = Array(bytes)
        input.withUnsafeMutableBufferPointer { source in
            stream.pointee.next_in = source.baseAddress
            stream.pointee.avail_in = UInt32(source.count)
            let room = 8192
            repeat {
                out.append(contentsOf: repeatElement(0, count: room))
                let start = out.count - room
                out.withUnsafeMutableBufferPointer { target in
                    stream.pointee.next_out = target.baseAddress.map { $0 + start }
                    stream.pointee.avail_out = UInt32(room)
                    _ = deflate(stream, mode)
                }
                out.removeLast(Int(stream.pointee.avail_out))
            } while stream.pointee.avail_out == 0
        }
        return out
    }
}

/// A streaming decompressor over zlib with a bound on what one call may produce.
struct Inflater: ~Copyable {
    private let stream: UnsafeMutablePointer<z_stream>
    private let dictionary: [UInt8]?

    /// zlib format, or gzip when told so.
    init(gzip: Bool = false, dictionary: [UInt8]? = nil) throws(ZlibError) {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        self.dictionary = dictionary
        let result = inflateInit2_(
            stream, gzip ? 31 : 15, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        guard result == Z_OK else { throw ZlibError(description: "inflateInit: \(result)") }
    }

    deinit {
        inflateEnd(stream)
        stream.deallocate()
    }

    mutating func decompress(_ bytes: [UInt8], limit: Int) throws(ZlibError) -> [UInt8] {
        var out: [UInt8] = []
        var input = bytes
        var failure: ZlibError?
        input.withUnsafeMutableBufferPointer { source in
            stream.pointee.next_in = source.baseAddress
            stream.pointee.avail_in = UInt32(source.count)
            let room = 4096
            while true {
                out.append(contentsOf: repeatElement(0, count: room))
                let start = out.count - room
                var result = out.withUnsafeMutableBufferPointer { target in
                    stream.pointee.next_out = target.baseAddress.map { $0 + start }
                    stream.pointee.avail_out = UInt32(room)
                    return inflate(stream, Z_SYNC_FLUSH)
                }
                out.removeLast(Int(stream.pointee.avail_out))
                if result == Z_NEED_DICT, let dictionary {
                    result = inflateSetDictionary(stream, dictionary, UInt32(dictionary.count))
                    if result == Z_OK { continue }
                }
                guard result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR else {
                    failure = ZlibError(description: "corrupt compressed data (zlib \(result))")
                    return
                }
                guard out.count <= limit else {
                    failure = ZlibError(description: "compressed data expands beyond \(limit) bytes")
                    return
                }
                if result == Z_STREAM_END || (stream.pointee.avail_in == 0 && stream.pointee.avail_out != 0) { return }
                if result == Z_BUF_ERROR { return }
            }
        }
        if let failure { throw failure }
        return out
    }
}

/// Whole texts in the gzip format.
package enum Gzip {
    /// The same bytes for the same text: there is no time in it.
    package static func compress(_ bytes: [UInt8]) throws(ZlibError) -> [UInt8] {
        var deflater = try Deflater(.gzip, level: 6)
        return deflater.compress(bytes[...], flush: .finish)
    }

    /// A file of any size, in pieces; the new one has the same mode.
    package static func compress(file source: String, to target: String) throws {
        let input = try FileDescriptor.open(source, O_RDONLY | O_CLOEXEC)
        let mode = UInt32(try Files.status(source).st_mode & 0o777)
        let output = try FileDescriptor.open(target, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode: mode)
        var deflater = try Deflater(.gzip, level: 6)
        var piece = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = piece.withUnsafeMutableBytes { read(input.raw, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw SysError(errno, "read", path: source) }
            var rest = deflater.compress(piece[..<count], flush: count == 0 ? .finish : .none)[...]
            while !rest.isEmpty {
                let written = rest.withUnsafeBytes { write(output.raw, $0.baseAddress, $0.count) }
                if written < 0, errno == EINTR { continue }
                guard written > 0 else { throw SysError(errno, "write", path: target) }
                rest = rest.dropFirst(written)
            }
            if count == 0 { return }
        }
    }
}
