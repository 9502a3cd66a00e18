/// One member of a tar archive. Names are bytes: they need not be UTF-8.
struct TarEntry: Sendable, Equatable {
    enum Kind: Sendable, Equatable {
        case file, directory, symlink, hardLink, characterDevice, blockDevice, fifo
    }

    var kind: Kind = .file
    var path: [UInt8] = []
    /// Target of a symbolic or hard link.
    var link: [UInt8] = []
    /// The lower twelve bits: permissions, setuid, setgid, sticky.
    var mode: UInt32 = 0
    var uid: UInt32 = 0
    var gid: UInt32 = 0
    /// Bytes of data that follow; 0 for everything but files.
    var size: Int64 = 0
    /// Seconds and nanoseconds since the epoch.
    var modified: Int64 = 0
    var modifiedNanoseconds: Int64 = 0
    var deviceMajor: UInt32 = 0
    var deviceMinor: UInt32 = 0
    var xattrs: [(name: [UInt8], value: [UInt8])] = []

    /// For messages.
    var name: String { String(decoding: path, as: UTF8.self) }

    static func == (a: Self, b: Self) -> Bool {
        a.kind == b.kind && a.path == b.path && a.link == b.link && a.mode == b.mode && a.uid == b.uid
            && a.gid == b.gid && a.size == b.size && a.modified == b.modified
            && a.modifiedNanoseconds == b.modifiedNanoseconds && a.deviceMajor == b.deviceMajor
            && a.deviceMinor == b.deviceMinor
            && a.xattrs.elementsEqual(b.xattrs, by: { $0.name == $1.name && $0.value == $1.value })
    }
}

/// The fields of one 512-byte header block: POSIX ustar, GNU, star and V7.
/// Sources: POSIX.1-2017 pax ("ustar Interchange Format"), GNU tar manual "Basic Tar Format".
struct TarHeader {
    static let blockSize = 512

    let type: UInt8
    let size: Int64
    private let block: [UInt8]

    /// nil: a block of zeros, the mark of the end.
    init?(_ block: [UInt8]) throws(TarError) {
        precondition(block.count == Self.blockSize)
        if block.allSatisfy({ $0 == 0 }) { return nil }
        self.block = block
        type = block[156]
        guard let stored = Self.octal(block[148..<156]) else { throw TarError("invalid tar header checksum") }
        var unsigned: Int64 = 0
        var signed: Int64 = 0
        for (index, byte) in block.enumerated() {
            let value = (148..<156).contains(index) ? 0x20 : byte
            unsigned += Int64(value)
            signed += Int64(Int8(bitPattern: value))
        }
        guard stored == unsigned || stored == signed else { throw TarError("invalid tar header checksum") }
        guard let size = Self.number(block[124..<136]), size >= 0 else { throw TarError("invalid size in tar header") }
        self.size = size
    }

    /// The entry that the header alone describes; extension records change it afterwards.
    func entry() throws(TarError) -> TarEntry {
        var entry = TarEntry()
        entry.path = path
        entry.link = Self.string(block[157..<257])
        entry.mode = UInt32(truncatingIfNeeded: try field(100..<108, "mode") & 0o7777)
        entry.uid = try Self.id(try field(108..<116, "uid"), "uid")
        entry.gid = try Self.id(try field(116..<124, "gid"), "gid")
        entry.modified = try field(136..<148, "mtime")
        entry.size = size
        switch type {
        case 0, UInt8(ascii: "0"), UInt8(ascii: "7"):
            entry.kind = entry.path.last == UInt8(ascii: "/") ? .directory : .file
        case UInt8(ascii: "1"): entry.kind = .hardLink
        case UInt8(ascii: "2"): entry.kind = .symlink
        case UInt8(ascii: "3"): entry.kind = .characterDevice
        case UInt8(ascii: "4"): entry.kind = .blockDevice
        case UInt8(ascii: "5"): entry.kind = .directory
        case UInt8(ascii: "6"): entry.kind = .fifo
        case UInt8(ascii: "S"): throw TarError("sparse files are not supported", unsupported: true)
        default:
            throw TarError("unsupported tar entry type \(Self.printable(type))", unsupported: true)
        }
        if entry.kind == .characterDevice || entry.kind == .blockDevice {
            entry.deviceMajor = try Self.device(try field(329..<337, "device major"), "device major")
            entry.deviceMinor = try Self.device(try field(337..<345, "device minor"), "device minor")
        }
        return entry
    }

    private var path: [UInt8] {
        let name = Self.string(block[0..<100])
        guard block[257..<263].elementsEqual(Array("ustar\0".utf8)) else { return name }
        // star's own header has a shorter prefix and two times after it.
        let isStar = block[508..<512].elementsEqual(Array("tar\0".utf8))
        let prefix = Self.string(isStar ? block[345..<476] : block[345..<500])
        return prefix.isEmpty ? name : prefix + [UInt8(ascii: "/")] + name
    }

    private func field(_ range: Range<Int>, _ name: String) throws(TarError) -> Int64 {
        guard let value = Self.number(block[range]) else { throw TarError("invalid \(name) in tar header") }
        return value
    }

    // MARK: fields

    static func string(_ bytes: ArraySlice<UInt8>) -> [UInt8] { Array(bytes.prefix { $0 != 0 }) }

    /// Octal digits, or GNU's base-256 (two's complement, the top bit of the first byte set).
    static func number(_ bytes: ArraySlice<UInt8>) -> Int64? {
        guard let first = bytes.first, first & 0x80 != 0 else { return octal(bytes) }
        let negative = first & 0x40 != 0
        var value: UInt64 = negative ? .max : 0
        for (index, byte) in bytes.enumerated() {
            let part = index == 0 ? (negative ? byte | 0x80 : byte & 0x7f) : byte
            let lost = value >> 55
            guard lost == (negative ? 0x1ff : 0) else { return nil }
            value = value << 8 | UInt64(part)
        }
        return Int64(bitPattern: value)
    }

    /// Leading and trailing blanks and NULs are padding; an empty field is 0.
    static func octal(_ bytes: ArraySlice<UInt8>) -> Int64? {
        var rest = bytes
        while let first = rest.first, first == 0x20 || first == 0 { rest.removeFirst() }
        while let last = rest.last, last == 0x20 || last == 0 { rest.removeLast() }
        var value: Int64 = 0
        for byte in rest {
            if byte == 0 { break }
            guard (UInt8(ascii: "0")...UInt8(ascii: "7")).contains(byte), value < Int64.max >> 3 else { return nil }
            value = value << 3 | Int64(byte & 7)
        }
        return value
    }

    static func id(_ value: Int64, _ name: String) throws(TarError) -> UInt32 {
        // The kernel's invalid id, 2^32-1, is refused as well.
        guard value >= 0, value < Int64(UInt32.max) else { throw TarError("invalid \(name) \(value) in tar header") }
        return UInt32(value)
    }

    private static func device(_ value: Int64, _ name: String) throws(TarError) -> UInt32 {
        guard let number = UInt32(exactly: value) else { throw TarError("invalid \(name) \(value) in tar header") }
        return number
    }

    private static func printable(_ type: UInt8) -> String {
        (33...126).contains(type) ? "'" + String(UnicodeScalar(type)) + "'" : String(type)
    }
}

/// What is wrong with an archive; the reader adds which archive and where.
struct TarError: Error {
    var reason: String
    var unsupported = false
    init(_ reason: String, unsupported: Bool = false) { (self.reason, self.unsupported) = (reason, unsupported) }
}
