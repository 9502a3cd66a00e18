/// The fields of one 512-byte header block: POSIX ustar, GNU, star and V7.
/// Sources: POSIX.1-2017 pax ("ustar Interchange Format"), GNU tar manual "Basic Tar Format".
package struct TarHeader {
    package static let blockSize = 512

    package let type: UInt8
    package let size: Int64
    private let block: [UInt8]

    /// nil: a block of zeros, the mark of the end.
    package init?(_ block: [UInt8]) throws(TarError) {
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
    package func entry() throws(TarError) -> TarEntry {
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

    /// The records of a pax header, "LENGTH key=value\n", where the length counts itself.
    package static func records(_ data: [UInt8]) throws(TarError) -> [(key: String, value: ArraySlice<UInt8>)] {
        var records: [(key: String, value: ArraySlice<UInt8>)] = []
        var index = 0
        while index < data.count {
            guard let space = data[index...].firstIndex(of: 0x20), space - index <= 10,
                let length = Int(String(decoding: data[index..<space], as: UTF8.self)),
                length > space - index + 2, length <= data.count - index, data[index + length - 1] == 0x0a,
                let equals = data[(space + 1)..<(index + length - 1)].firstIndex(of: UInt8(ascii: "="))
            else { throw TarError("invalid PAX record") }
            let key = String(decoding: data[(space + 1)..<equals], as: UTF8.self)
            records.append((key, data[(equals + 1)..<(index + length - 1)]))
            index += length
        }
        return records
    }

    // MARK: fields

    package static func string(_ bytes: ArraySlice<UInt8>) -> [UInt8] { Array(bytes.prefix { $0 != 0 }) }

    /// Octal digits, or GNU's base-256 (two's complement, the top bit of the first byte set).
    package static func number(_ bytes: ArraySlice<UInt8>) -> Int64? {
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
    private static func octal(_ bytes: ArraySlice<UInt8>) -> Int64? {
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

    package static func id(_ value: Int64, _ name: String) throws(TarError) -> UInt32 {
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

    // MARK: writing

    /// An entry's own type flag.
    package static func type(of kind: TarEntry.Kind) -> UInt8 {
        switch kind {
        case .file: UInt8(ascii: "0")
        case .hardLink: UInt8(ascii: "1")
        case .symlink: UInt8(ascii: "2")
        case .characterDevice: UInt8(ascii: "3")
        case .blockDevice: UInt8(ascii: "4")
        case .directory: UInt8(ascii: "5")
        case .fifo: UInt8(ascii: "6")
        }
    }

    /// Zeros that follow `size` bytes of data.
    package static func padding(_ size: Int64) -> Int { Int((512 - size % 512) % 512) }

    /// The block of an entry. Names are cut at 100 bytes: longer ones go into an extended header before it.
    package static func block(_ entry: TarEntry, type: UInt8) -> [UInt8] {
        var block = [UInt8](repeating: 0, count: blockSize)
        func put(_ bytes: some Collection<UInt8>, at offset: Int, limit: Int) {
            for (index, byte) in bytes.prefix(limit).enumerated() { block[offset + index] = byte }
        }
        func octal(_ value: Int64, at offset: Int, width: Int) {
            // What does not fit is in an extended header, which wins.
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

/// What is wrong with an archive; the reader adds which archive and where.
package struct TarError: Error {
    package var reason: String
    package var unsupported = false
    init(_ reason: String, unsupported: Bool = false) { (self.reason, self.unsupported) = (reason, unsupported) }
}
