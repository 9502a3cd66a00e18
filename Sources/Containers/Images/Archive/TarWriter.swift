import Linux

/// Writes a tar archive: ustar headers, and pax records for what does not fit them (long names, large numbers, extended
/// attributes). Source: POSIX.1-2017 pax ("ustar Interchange Format", "pax Extended Header").
struct TarWriter {
    typealias Sink = (UnsafeRawBufferPointer) throws(ImageError) -> Void

    private let sink: Sink

    init(_ sink: @escaping Sink) { self.sink = sink }

    /// `entry.size` bytes have to follow for a file; then `pad`.
    func header(_ entry: TarEntry) throws(ImageError) {
        var records: [UInt8] = []
        if entry.path.count > 100 { records += Self.record("path", entry.path) }
        if entry.link.count > 100 { records += Self.record("linkpath", entry.link) }
        for (name, value) in [("size", entry.size), ("uid", Int64(entry.uid)), ("gid", Int64(entry.gid))]
        where value >= (name == "size" ? 1 << 33 : 1 << 21) {
            records += Self.record(name, Array(String(value).utf8))
        }
        if entry.modified < 0 || entry.modified >= 1 << 33 || entry.modifiedNanoseconds != 0 {
            records += Self.record("mtime", Array(Self.time(entry.modified, entry.modifiedNanoseconds).utf8))
        }
        for attribute in entry.xattrs { records += Self.record("SCHILY.xattr.", attribute.name, attribute.value) }
        if !records.isEmpty {
            var extended = TarEntry()
            extended.path = Array("pax/header".utf8)
            extended.mode = 0o644
            extended.size = Int64(records.count)
            try write(Self.block(extended, type: UInt8(ascii: "x")))
            try write(records)
            try pad(extended.size)
        }
        let type: UInt8 =
            switch entry.kind {
            case .file: UInt8(ascii: "0")
            case .hardLink: UInt8(ascii: "1")
            case .symlink: UInt8(ascii: "2")
            case .characterDevice: UInt8(ascii: "3")
            case .blockDevice: UInt8(ascii: "4")
            case .directory: UInt8(ascii: "5")
            case .fifo: UInt8(ascii: "6")
            }
        try write(Self.block(entry, type: type))
    }

    func data(_ bytes: UnsafeRawBufferPointer) throws(ImageError) { try sink(bytes) }

    func write(_ bytes: [UInt8]) throws(ImageError) {
        try bytes.withBytes { (raw: UnsafeRawBufferPointer) throws(ImageError) in try sink(raw) }
    }

    /// Fills the last block of a member of `size` bytes.
    func pad(_ size: Int64) throws(ImageError) {
        let rest = Int(size % Int64(TarHeader.blockSize))
        if rest > 0 { try write(Array(repeating: 0, count: TarHeader.blockSize - rest)) }
    }

    /// A small member that is in memory.
    func file(_ name: String, _ bytes: [UInt8]) throws(ImageError) {
        var entry = TarEntry()
        entry.path = Array(name.utf8)
        entry.mode = 0o644
        entry.size = Int64(bytes.count)
        try header(entry)
        try write(bytes)
        try pad(entry.size)
    }

    /// The two blocks of zeros at the end.
    func end() throws(ImageError) { try write(Array(repeating: 0, count: 2 * TarHeader.blockSize)) }

    // MARK: - Forms

    /// "LENGTH name=value\n", where the length counts itself.
    private static func record(_ name: String, _ more: [UInt8] = [], _ value: [UInt8]) -> [UInt8] {
        let body = Array(name.utf8) + more + [UInt8(ascii: "=")] + value + [UInt8(ascii: "\n")]
        var digits = 1
        while String(body.count + digits + 1).utf8.count != digits { digits += 1 }
        return Array("\(body.count + digits + 1) ".utf8) + body
    }

    private static func record(_ name: String, _ value: [UInt8]) -> [UInt8] { record(name, [], value) }

    /// "1350244992.023960108"; of times before the epoch the fraction counts backwards, too.
    private static func time(_ seconds: Int64, _ nanoseconds: Int64) -> String {
        if nanoseconds == 0 { return String(seconds) }
        let isNegative = seconds < 0
        let fraction = isNegative ? 1_000_000_000 - nanoseconds : nanoseconds
        let digits = String(1_000_000_000 + fraction).dropFirst()
        return (isNegative ? "-\(-(seconds + 1))" : "\(seconds)") + "." + digits
    }

    private static func block(_ entry: TarEntry, type: UInt8) -> [UInt8] {
        var block = [UInt8](repeating: 0, count: TarHeader.blockSize)
        func put(_ bytes: some Collection<UInt8>, at offset: Int, limit: Int) {
            for (index, byte) in bytes.prefix(limit).enumerated() { block[offset + index] = byte }
        }
        func octal(_ value: Int64, at offset: Int, width: Int) {
            // What does not fit is in a pax record, which wins.
            let fits = value >= 0 && value < 1 << (3 * (width - 1))
            let digits = String(fits ? value : 0, radix: 8)
            put(
                Array((String(repeating: "0", count: width - 1 - digits.utf8.count) + digits).utf8), at: offset,
                limit: width - 1)
        }
        put(entry.path, at: 0, limit: 100)
        octal(Int64(entry.mode), at: 100, width: 8)
        octal(Int64(entry.uid), at: 108, width: 8)
        octal(Int64(entry.gid), at: 116, width: 8)
        octal(entry.size, at: 124, width: 12)
        octal(entry.modified, at: 136, width: 12)
        block[156] = type
        put(entry.link, at: 157, limit: 100)
        put(Array("ustar\0".utf8) + Array("00".utf8), at: 257, limit: 8)
        octal(Int64(entry.deviceMajor), at: 329, width: 8)
        octal(Int64(entry.deviceMinor), at: 337, width: 8)
        for index in 148..<156 { block[index] = 0x20 }
        let sum = block.reduce(0 as Int64) { $0 + Int64($1) }
        octal(sum, at: 148, width: 7)
        block[154] = 0
        return block
    }
}
