import Linux

/// A whole small file, decompressed when it is gzip or zstd by its first bytes.
package enum DecompressedFile {
    /// - Parameter limit: of the decompressed bytes.
    package static func read(_ path: String, limit: Int) throws(SysError) -> [UInt8] {
        let bytes = try Files.read(path, limit: limit)
        let source: any ByteSource
        do throws(ImageError) {
            switch Compression(magic: Array(bytes.prefix(6))) {
            case .none: return bytes
            case .gzip: source = try GzipSource(ArraySource(bytes), name: path)
            case .zstd: source = try ZstdSource(ArraySource(bytes), windowLog: 27, name: path)
            case .unsupported: throw ImageError(.unsupported, path)
            }
            var result: [UInt8] = []
            let chunk = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 16)
            defer { chunk.deallocate() }
            while true {
                let count = try source.read(into: chunk)
                if count == 0 { return result }
                result.append(contentsOf: chunk[..<count])
                if result.count > limit { throw ImageError(.io, path) }
            }
        } catch {
            throw SysError(EINVAL, "decompress", path: path)
        }
    }
}
