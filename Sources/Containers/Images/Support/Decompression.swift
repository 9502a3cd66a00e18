import CZlib
import CZstd
import Linux

/// Compressions of layers and archives, told apart by their first bytes, because media types and file names lie.
enum Compression: Equatable {
    case none, gzip, zstd
    /// Known, but not built in.
    case unsupported(String)

    init(magic: [UInt8]) {
        if magic.starts(with: [0x1f, 0x8b]) {
            self = .gzip
        } else if magic.starts(with: [0x28, 0xb5, 0x2f, 0xfd])
            || (magic.count >= 4 && magic[0] & 0xf0 == 0x50 && magic[1...3].elementsEqual([0x2a, 0x4d, 0x18]))
        {
            self = .zstd
        } else if magic.starts(with: Array("BZh".utf8)) {
            self = .unsupported("bzip2")
        } else if magic.starts(with: [0xfd, 0x37, 0x7a, 0x58, 0x5a]) {
            self = .unsupported("xz")
        } else if magic.starts(with: [0x04, 0x22, 0x4d, 0x18]) {
            self = .unsupported("lz4")
        } else {
            self = .none
        }
    }
}

extension FileRegion {
    /// What the region holds, decompressed. zstd frames that want a window above `zstdWindowLog` bits are refused:
    /// their decoder would take up to 2 GiB.
    func decompressed(zstdWindowLog: Int32, name: String) throws(ImageError) -> any ByteSource {
        let magic = try ImageFS.read(file, at: offset, count: Int(min(size, 6)))
        let plain = FileRegionSource(self)
        switch Compression(magic: magic) {
        case .none: return plain
        case .gzip: return try GzipSource(plain, name: name)
        case .zstd: return try ZstdSource(plain, windowLog: zstdWindowLog, name: name)
        case .unsupported(let kind):
            throw ImageError(.unsupported, "\(name): \(kind) compression is not supported: want gzip, zstd or none")
        }
    }
}

/// Input of a decoder: 64 KiB at a time.
private struct InputBuffer: ~Copyable {
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 16)
    var start = 0
    var end = 0
    var atEnd = false
    var isEmpty: Bool { start == end }

    deinit { bytes.deallocate() }

    mutating func refill(_ source: any ByteSource) throws(ImageError) {
        guard isEmpty, !atEnd else { return }
        start = 0
        end = try source.read(into: bytes)
        atEnd = end == 0
    }
}

/// Decodes gzip (RFC 1952), also of several members as eStargz and pigz write it.
final class GzipSource: ByteSource {
    private let source: any ByteSource
    private let name: String
    private let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
    private var input = InputBuffer()
    private var betweenMembers = true

    init(_ source: any ByteSource, name: String) throws(ImageError) {
        (self.source, self.name) = (source, name)
        stream.initialize(to: z_stream())
        // 15 window bits, +16: gzip framing only.
        let code = inflateInit2_(stream, 15 + 16, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        guard code == Z_OK else { throw ImageError(.io, "\(name): zlib: out of memory") }
    }

    deinit {
        inflateEnd(stream)
        stream.deallocate()
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
        guard buffer.count > 0 else { return 0 }
        while true {
            try input.refill(source)
            if betweenMembers {
                // Padding of zeros after the last member is common (tapes, block devices) and harmless.
                while !input.isEmpty, input.bytes[input.start] == 0 { input.start += 1 }
                if input.isEmpty, !input.atEnd { continue }
                if input.atEnd { return 0 }
                inflateReset(stream)
                betweenMembers = false
            }
            if input.isEmpty { throw ImageError(.invalidManifest, "\(name): gzip: unexpected EOF") }
            let available = input.end - input.start
            stream.pointee.next_in = input.bytes.baseAddress?.advanced(by: input.start)
                .assumingMemoryBound(to: UInt8.self)
            stream.pointee.avail_in = UInt32(available)
            stream.pointee.next_out = buffer.baseAddress?.assumingMemoryBound(to: UInt8.self)
            let room = min(buffer.count, 1 << 30)
            stream.pointee.avail_out = UInt32(room)
            let code = inflate(stream, Z_NO_FLUSH)
            input.start += available - Int(stream.pointee.avail_in)
            let produced = room - Int(stream.pointee.avail_out)
            switch code {
            case Z_STREAM_END: betweenMembers = true
            case Z_OK, Z_BUF_ERROR: break
            default: throw ImageError(.invalidManifest, "\(name): gzip: \(message(code))")
            }
            if produced > 0 { return produced }
        }
    }

    private func message(_ code: Int32) -> String {
        stream.pointee.msg.map { String(cString: $0) } ?? "error \(code)"
    }
}

/// Decodes Zstandard (RFC 8878): any number of frames, skippable ones included.
final class ZstdSource: ByteSource {
    private let source: any ByteSource
    private let name: String
    private let windowLog: Int32
    private let context: OpaquePointer
    private var input = InputBuffer()
    private var insideFrame = false

    init(_ source: any ByteSource, windowLog: Int32, name: String) throws(ImageError) {
        (self.source, self.windowLog, self.name) = (source, windowLog, name)
        guard let context = ZSTD_createDCtx() else { throw ImageError(.io, "\(name): zstd: out of memory") }
        self.context = context
        ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, windowLog)
    }

    deinit { ZSTD_freeDCtx(context) }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws(ImageError) -> Int {
        guard buffer.count > 0 else { return 0 }
        var output = ZSTD_outBuffer(dst: buffer.baseAddress, size: buffer.count, pos: 0)
        while true {
            try input.refill(source)
            // With the input at its end, decoded bytes may still wait inside.
            if input.atEnd, !insideFrame { return 0 }
            var chunk = ZSTD_inBuffer(src: input.bytes.baseAddress, size: input.end, pos: input.start)
            let code = ZSTD_decompressStream(context, &output, &chunk)
            let consumed = chunk.pos - input.start
            input.start = chunk.pos
            if ZSTD_isError(code) != 0 { throw failure(code) }
            insideFrame = code != 0
            if output.pos > 0 { return output.pos }
            if input.atEnd, consumed == 0, insideFrame {
                throw ImageError(.invalidManifest, "\(name): zstd: unexpected EOF")
            }
        }
    }

    private func failure(_ code: Int) -> ImageError {
        let text = String(cString: ZSTD_getErrorName(code))
        // ZSTD_getErrorCode needs zstd_errors.h; the code is the negated result (16: frameParameter_windowTooLarge).
        if 0 &- code == 16 {
            return ImageError(
                .unsupported, "\(name): zstd: the frame needs a window above \(Int64(1) << windowLog) bytes")
        }
        return ImageError(.invalidManifest, "\(name): zstd: \(text)")
    }
}
