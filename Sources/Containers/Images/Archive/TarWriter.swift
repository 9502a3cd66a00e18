import Codecs
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
            try write(TarHeader.block(extended, type: UInt8(ascii: "x")))
            try write(records)
            try pad(extended.size)
        }
        try write(TarHeader.block(entry, type: TarHeader.type(of: entry.kind)))
    }

    func data(_ bytes: UnsafeRawBufferPointer) throws(ImageError) { try sink(bytes) }

    func write(_ bytes: [UInt8]) throws(ImageError) {
        try bytes.withBytes { (raw: UnsafeRawBufferPointer) throws(ImageError) in try sink(raw) }
    }

    /// Fills the last block of a member of `size` bytes.
    func pad(_ size: Int64) throws(ImageError) {
        let padding = TarHeader.padding(size)
        if padding > 0 { try write(Array(repeating: 0, count: padding)) }
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
}
